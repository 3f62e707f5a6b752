"""`DirectiveContract`: what the system is asked for is what the job asks for, and no name becomes more than a name."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from vrecompute.batch.contract import Backend, State
from vrecompute.batch.shape import Shape, shape_of
from vrecompute.errors import UsageError
from vrecompute.testing.suite import Suite

__all__ = ["DirectiveContract"]

_NUMBER = re.compile(r"[0-9]+(?:[.][0-9]+)?")
#: No whole number of GB or GiB.
_MEMORY_BYTES = 3001 << 20

_HOUR_S = 3600
#: No whole minutes. Of the last two, read in any other unit, nothing is within an hour.
_WALLTIMES_S = (61, 80, 119, 3601, 86_399, 36_061, 36_089)
#: `602`, `10:02`, `10:01:01`, `1-10:01:01`
_TIME = re.compile(r"(?:[0-9]+-)?[0-9]+(?::[0-9]+){0,2}")

#: As directive, shell line or terminal would read it.
_NAME = "$(touch x) 'y\necho name-was-run\n"


class DirectiveContract(Suite):
    """Skipped for a driver that is no `QueueBackend`."""

    def test_the_system_is_asked_for_what_the_job_asks_for(self, backend: Backend) -> None:
        """A job with less than it asks for is slow or killed, and its directives are the only place to ask."""
        queue, job = self.queue(backend), self.job("true")
        shape = shape_of(job, queue.site)
        asked = queue.header(job, shape)
        larger = {
            "cores": (job, replace(shape, cores=shape.cores + 1)),
            "memory": (job, replace(shape, memory_bytes=2 * (shape.memory_bytes or 1 << 30))),
            "walltime": (replace(job, walltime_s=job.walltime_s + 3600), shape),
        }
        for what, given in larger.items():
            assert queue.header(*given) != asked, f"`header` is the same whatever the {what}: {asked}"

    def test_a_job_that_must_not_start_again_says_so_to_the_system(self, backend: Backend) -> None:
        """A system that starts jobs again by itself would start one of which another has taken the place."""
        queue = self.queue(backend)
        if not self.told_of_reruns:
            pytest.skip(f"{type(self).__name__}.told_of_reruns is False: the system starts no job again by itself")
        one, other = (self.job("true", requeue=requeue) for requeue in (False, True))
        asked, again = (queue.header(job, shape_of(job, queue.site)) for job in (one, other))
        assert asked != again, (
            f"`header` is the same whether a job may be started again (`job.requeue`) or not: {asked}; forbid it where "
            f"it is False, or set {type(self).__name__}.told_of_reruns = False where the system never does so by itself"
        )

    def test_no_less_memory_is_asked_for_than_the_job_needs(self, backend: Backend) -> None:
        """Workers use what they were promised: a job with less is killed. In any unit, and rounded up."""
        queue, job = self.queue(backend), self.job("true")
        shape = replace(shape_of(job, queue.site), nodes=1, cores=1, memory_bytes=_MEMORY_BYTES)
        asked, more = (
            Counter(found for line in queue.header(job, given) for found in _NUMBER.findall(line))
            for given in (shape, replace(shape, memory_bytes=2 * _MEMORY_BYTES))
        )
        of_memory = [float(number) for number in asked - more]
        units = [base**power for base in (1000, 1024) for power in range(5)]
        enough = [n for n in of_memory for unit in units if _MEMORY_BYTES <= n * unit < 1.5 * _MEMORY_BYTES]
        assert enough or not of_memory, f"none of {of_memory} is {_MEMORY_BYTES} bytes, or a little more"

    def test_no_less_walltime_is_asked_for_than_the_job_needs(self, backend: Backend) -> None:
        """A job that is ended before the time that it counts with loses work. In any unit, and rounded up."""
        queue, job = self.queue(backend), self.job("true")
        granted = {s: queue.granted_s(replace(job, walltime_s=s)) for s in _WALLTIMES_S}
        less = {asked: got for asked, got in granted.items() if got < asked}
        assert not less, f"`granted_s` is less than the job asks for (asked: granted): {less}"
        shape = shape_of(job, queue.site)
        for walltime_s in _WALLTIMES_S[-2:]:
            asked, more = (
                Counter(found for line in queue.header(given, shape) for found in _TIME.findall(line))
                for given in (replace(job, walltime_s=walltime_s), replace(job, walltime_s=2 * walltime_s))
            )
            of_time = list(asked - more)
            told = [seconds for text in of_time for seconds in _seconds(text)]
            enough = [seconds for seconds in told if walltime_s <= seconds <= walltime_s + _HOUR_S]
            assert enough or not of_time, f"none of {of_time} is {walltime_s} s, or a little more"

    def test_a_job_of_several_nodes_is_one_or_is_denied(self, backend: Backend) -> None:
        """Workers of a detached run that the system gave fewer nodes would share what it gave."""
        queue, job = self.queue(backend), self.job("true")
        one, two = Shape(1, 2, 1 << 30), Shape(2, 2, 1 << 30)
        if not queue.capabilities.spans:
            with pytest.raises(UsageError):
                queue.header(job, two)
            return
        asked = queue.header(job, two)
        assert asked != queue.header(job, one), f"`header` is the same whatever the number of nodes: {asked}"
        assert queue.step(2, 2), "`step` starts nothing on the second node; else say `Capabilities(spans=False)`"

    def test_a_name_is_a_word_of_the_directives_whatever_is_in_it(self, backend: Backend) -> None:
        """Names come from users, and a line break in a directive begins a line of the script."""
        queue, job = self.queue(backend), self.job("true", name=_NAME)
        asked = queue.header(job, shape_of(job, queue.site))
        assert not [line for line in asked if "\n" in line or "$(touch" in line], "use `job_name(job.name)`"
        job_id, status = self.end(backend, job)
        said = backend.logs(job_id)
        assert status.state is State.COMPLETED, said
        assert "name-was-run" not in said


def _seconds(text: str) -> list[int]:
    """What a time means in the forms that batch systems take: numbers of any unit, `m:s` or `h:m`, `h:m:s`, `d-h:m`."""
    days, _, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if days or len(numbers) == 3:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        return [((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds]
    if len(numbers) == 2:
        return [numbers[0] * unit + numbers[1] * unit // 60 for unit in (60, _HOUR_S)]
    return [numbers[0] * unit for unit in (1, 60, _HOUR_S)]
