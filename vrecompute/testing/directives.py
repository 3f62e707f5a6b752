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
