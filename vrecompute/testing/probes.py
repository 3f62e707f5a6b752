"""`ProbeContract`: a probe finds what would keep a run from starting, all of it, and says what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from vrecompute.batch.contract import Backend
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.sites.model import Environment
from vrecompute.testing.suite import Suite

__all__ = ["ProbeContract"]

_NO_PYTHON = Environment(venv="/no such/venv")


#: What the spool keeps whoever asks: the system's latest answer, and what drivers keep of a queue.
_KEPT = ("polled-", "condor-")


class ProbeContract(Suite):
    """Skipped for a driver that is no `QueueBackend`: nothing of it waits for anything."""

    def test_a_probe_tells_all_that_keeps_a_run_from_starting(self, make_backend: Callable[..., Backend]) -> None:
        """Jobs that the system would not take, and an environment in which nothing runs: neither hides the other."""
        backend = make_backend()
        self.queue(backend)
        wrong = make_backend(environment=_NO_PYTHON, **self.too_large(backend))
        findings = wrong.probe(self.patience_s)
        found = {f.check for f in findings if not f.ok}
        assert found & {"worker job", "detached job", "limits"}, (
            f"nothing is said of jobs too large for any node; override `too_large` where they are taken: {findings}"
        )
        assert "queue" in found, findings
        assert all(f.advice for f in findings if not f.ok), findings

    def test_a_probe_of_a_site_that_is_right_leaves_nothing_in_the_spool(
        self, make_backend: Callable[..., Backend]
    ) -> None:
        """Neither the log of its job nor its mark: an administrator probes a site fifty times."""
        queue = self.queue(make_backend())
        before = self._left(queue)
        findings = queue.probe(self.patience_s)
        (canary,) = (f for f in findings if f.check == "queue")
        assert canary.ok, canary
        assert self._left(queue) == before

    def test_a_probe_ends_at_once_where_waiting_is_of_no_use(self, make_backend: Callable[..., Backend]) -> None:
        """A queue that starts nothing is a finding with the system's reason, long before the patience is over."""
        self.queue(make_backend())
        backend = make_backend(environment=_NO_PYTHON, **self.never_starts())
        began = time.monotonic()
        findings = backend.probe(self.patience_s)
        assert time.monotonic() - began < 0.8 * self.patience_s, findings
        (queue,) = (f for f in findings if f.check == "queue")
        assert (queue.ok, bool(queue.detail), bool(queue.advice)) == (False, True, True)

    def test_a_probe_says_what_it_waits_for_and_no_longer_than_it_may(
        self, make_backend: Callable[..., Backend]
    ) -> None:
        """A line from time to time with the reason; in the end the last reason is the finding, and no job is left."""
        self.queue(make_backend())
        backend = make_backend(environment=_NO_PYTHON, **self.waits_long())
        told: list[str] = []
        findings = backend.probe(5.0, told.append)
        (queue,) = (f for f in findings if f.check == "queue")
        assert not queue.ok
        assert queue.detail in told[-1], (queue, told)

    def _left(self, backend: QueueBackend) -> set[str]:
        """What jobs left in the spool."""
        listed = backend.access.run(["ls", "--", backend.spool]).text.split()
        return {name for name in listed if not name.startswith(_KEPT)}
