"""`BackendContract`: what every driver must do, as tests that run real jobs on its batch system.

    class TestMine(BackendContract):
        @pytest.fixture
        def make_backend(self):
            return lambda **changes: MyBackend(replace(MY_SITE, **changes))

        def hold(self, backend, job_id):
            subprocess.run(["my-hold", job_id], check=True)

        def never_starts(self):
            return {"options": {"queue": "closed"}}

        def waits_long(self):
            return {"options": {"queue": "full"}}

and of `suite.Suite`, `accounting`, where the system has such limits, `limited` and `over_memory`, `lose_node` where a
node can be taken away, `imaged` where it starts images itself, and `too_large` where it takes jobs of any memory, is
all that a driver's own test file needs. What the driver's `Capabilities` deny is skipped with that reason, and so is
what only a queue has for a driver of none.
"""

from __future__ import annotations

import time

from vrecompute.batch.contract import Backend, JobId, State
from vrecompute.testing.answers import AnswerContract
from vrecompute.testing.clusters import ClusterContract
from vrecompute.testing.directives import DirectiveContract
from vrecompute.testing.jobs import JobContract
from vrecompute.testing.leftovers import LeftoverContract
from vrecompute.testing.outages import OutageContract
from vrecompute.testing.probes import ProbeContract
from vrecompute.testing.queues import QueueContract

__all__ = ["BackendContract"]

# How long an array whose jobs have all ended may be looked for, where the system lists those that ended.
_GONE_S = 40.0
# Of a job of this suite.
_MOST_COPIES = 3


class BackendContract(
    JobContract,
    DirectiveContract,
    AnswerContract,
    QueueContract,
    OutageContract,
    LeftoverContract,
    ClusterContract,
    ProbeContract,
):
    """The suite. `patience_s` is how long a job may take from submission to its end on this system."""

    def test_no_job_of_the_suite_is_left(self, backend: Backend) -> None:
        """The last test: what went on would be charged to who tried the driver."""
        queue = self.queue(backend)
        backend.cancel([backend.submit(self.job("sleep", "300", name="left-over"))])
        copies = [] if queue.array else [f"-{index}" for index in range(_MOST_COPIES)]
        names = [name + end for name in sorted({*self._names, "vre-probe"}) for end in ("", *copies)]
        deadline = time.monotonic() + self.patience_s + _GONE_S

        def go_on(name: str) -> list[JobId]:
            """An array is listed for a while after its end, by an id that is no job's: its copies tell."""
            found = queue.named(name)
            return [i for i in found if not queue.array or self._goes_on(backend, [i, *queue.copies(i, _MOST_COPIES)])]

        while left := {name: found for name in names if (found := go_on(name))}:
            assert time.monotonic() < deadline, f"jobs of the suite are still in the queue: {left}"
            time.sleep(1)

    def _goes_on(self, backend: Backend, ids: list[JobId]) -> bool:
        """Whether one of them does, or the system says nothing of any."""
        states = {status.state for status in backend.poll(ids).values()} - {State.UNKNOWN}
        return not states or not all(state.terminal for state in states)
