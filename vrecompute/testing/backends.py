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

and, where the system has such limits, `limited` of `suite.Suite`, or `imaged` where it starts images itself, is all
that a driver's own test file needs. What the driver's `Capabilities` deny is skipped with that reason, and so is what
only a queue has for a driver of none.
"""

from __future__ import annotations

import time

from vrecompute.batch.contract import Backend
from vrecompute.testing.clusters import ClusterContract
from vrecompute.testing.jobs import JobContract
from vrecompute.testing.leftovers import LeftoverContract
from vrecompute.testing.probes import ProbeContract
from vrecompute.testing.queues import QueueContract

__all__ = ["BackendContract"]

# How long an array whose jobs have all ended may be looked for, where the system lists those that ended.
_GONE_S = 40.0


class BackendContract(JobContract, QueueContract, LeftoverContract, ClusterContract, ProbeContract):
    """The suite. `patience_s` is how long a job may take from submission to its end on this system."""

    def test_no_job_of_the_suite_is_left(self, backend: Backend) -> None:
        """The last test: what went on would be charged to who tried the driver."""
        queue = self.queue(backend)
        backend.cancel([backend.submit(self.job("sleep", "300", name="left-over"))])
        copies = [] if queue.array else [f"-{index}" for index in range(3)]
        names = [name + end for name in sorted({*self._names, "vre-probe"}) for end in ("", *copies)]
        deadline = time.monotonic() + self.patience_s + _GONE_S
        while left := {name: found for name in names if (found := queue.named(name))}:
            assert time.monotonic() < deadline, f"jobs of the suite are still in the queue: {left}"
            time.sleep(1)
