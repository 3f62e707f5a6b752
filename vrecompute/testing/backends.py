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

from vrecompute.testing.clusters import ClusterContract
from vrecompute.testing.jobs import JobContract
from vrecompute.testing.leftovers import LeftoverContract
from vrecompute.testing.probes import ProbeContract
from vrecompute.testing.queues import QueueContract

__all__ = ["BackendContract"]


class BackendContract(JobContract, QueueContract, LeftoverContract, ClusterContract, ProbeContract):
    """The suite. `patience_s` is how long a job may take from submission to its end on this system."""
