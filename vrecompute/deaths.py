"""Post-mortem of a chunk that outlived no worker (law 11), in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from vrecompute.backend import JobStatus, State
from vrecompute.failure import Failure
from vrecompute.plan import Plan
from vrecompute.wording import bytes_text

__all__ = ["lost_chunk"]


def lost_chunk(
    plan: Plan,
    number: int,
    error: BaseException,
    deaths: Mapping[str, JobStatus],
    peaks: Mapping[str, tuple[int, int]],
) -> Failure:
    """The Failure of a chunk that outlived no worker, with what is known of the last one: job, node, peak, limit."""
    chunk = plan.chunk(number)
    sample = plan.sources[int(plan.table[number, 0])].sample
    address = getattr(getattr(error, "last_worker", None), "address", "")
    known = deaths.get(address)
    used, limit = peaks.get(address, (0, 0))
    if known is not None and known.reason:
        how = known.reason
    elif limit:
        how = f"most likely memory: {bytes_text(used)} of the {bytes_text(limit)} of its worker when last heard"
    else:
        how = "most likely memory"
    kind = "memory" if known is not None and known.state is State.OOM else "lost"
    longer = known is not None and known.state is State.TIMEOUT
    advice = "ask for a longer walltime" if longer else "give workers more memory"
    reason = f"its workers died repeatedly, also when it ran alone ({how}); {advice} or use a smaller --chunk-bytes"
    return Failure(chunk.source, sample, kind, reason, chunk.start, chunk.stop, chunk.stop - chunk.start)
