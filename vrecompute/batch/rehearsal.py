"""What the batch system would say to the jobs of a site's runs: refusals, and jobs that it would never start.

A driver that can ask its system gives `dry_run`. Else jobs of the same shape are submitted, looked at until the system
says what becomes of them, and cancelled.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from vrecompute.batch.contract import JobStatus, State, SubmitError
from vrecompute.batch.finding import PROBE_PATIENCE_S, Finding, advice_on
from vrecompute.batch.planned import Planned
from vrecompute.batch.queue_backend import QueueBackend, StartsLate
from vrecompute.errors import Unavailable, VrecomputeError

__all__ = ["rehearse"]

# How long jobs that are submitted for a look may take to say why they wait.
_LOOK_S = 10.0


def rehearse(backend: QueueBackend, planned: Planned, patience_s: float = PROBE_PATIENCE_S) -> Finding:
    """Whether the batch system would take these jobs, and start them within a day or the patience; in whose words."""
    try:
        said = backend.dry_run(planned.job, backend.script(planned.job), planned.count)
        return Finding(planned.what, True, said if said is not None else _submitted_for_a_look(backend, planned))
    except StartsLate as error:
        return Finding(planned.what, error.after_s <= patience_s, str(error), advice_on(error, "options: {...}"))
    except VrecomputeError as error:
        otherwise = "mend what the message names, or `options` and `workers` of the site"
        return Finding(planned.what, False, str(error), advice_on(error, otherwise))


def _submitted_for_a_look(backend: QueueBackend, planned: Planned) -> str:
    """Jobs of the same shape that do nothing; SubmitError where they are refused or would wait for ever."""
    job = replace(planned.job, name="vre-probe-look", command=("true",), secret_files={}, requeue=False)
    ids = backend.submit_many(job, planned.count)
    status = JobStatus(State.UNKNOWN)
    try:
        deadline = time.monotonic() + _LOOK_S
        while status.state in {State.UNKNOWN, State.QUEUED} and not status.never and time.monotonic() < deadline:
            time.sleep(0.5)
            status = backend.poll(ids[:1])[ids[0]]
    finally:
        with contextlib.suppress(Unavailable):
            backend.cancel(ids)
            backend.forget(ids)
    if status.never or status.state is State.HELD:
        raise SubmitError(f"{backend.system} took the {planned.what} and would never start it: {status.reason}")
    return f"{backend.system} took it; it was cancelled after a look"
