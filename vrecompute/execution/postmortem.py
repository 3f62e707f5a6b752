"""`lost_chunk`: why a chunk whose workers all died is lost (law 11), in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from vrecompute.batch.contract import JobStatus, State
from vrecompute.execution.failure import Failure
from vrecompute.execution.plan import Plan
from vrecompute.wording import bytes_text
from vrecompute.workers.worker_exit import WorkerExit

__all__ = ["FOR_MEMORY", "lost_chunk"]

#: What to do where workers die for memory.
FOR_MEMORY = "give workers more memory or use a smaller --chunk-bytes"
_FOR_TIME = "ask for a longer walltime or use a smaller --chunk-bytes"
_FOR_LUCK = "run again later: what is finished is reused"
_FOR_CODE = "run this chunk alone and find what ends the process: the analysis or a library that it calls"
_FOR_EITHER = f"{_FOR_CODE}; if it takes much memory at once, {FOR_MEMORY}"


def lost_chunk(
    plan: Plan,
    number: int,
    error: BaseException,
    deaths: Mapping[str, JobStatus],
    peaks: Mapping[str, tuple[int, int]],
    word: WorkerExit | None = None,
) -> Failure:
    """The Failure of a chunk whose workers all died, with what is known of the last one: job, node, peak, limit.

    Where the batch system ended its job (`deaths`), that is believed first, then what its nanny saw (`word`), then
    what else is known of the job; where all are silent, `peaks` has what the worker last reported of its memory,
    and of what it may use.
    """
    chunk = plan.chunk(number)
    sample = plan.sources[int(plan.table[number, 0])].sample
    worker = getattr(error, "last_worker", None)
    known = deaths.get(str(getattr(worker, "name", "")))
    used, limit = peaks.get(getattr(worker, "address", ""), (0, 0))
    oom, advice = known is not None and known.state is State.OOM, FOR_MEMORY
    if known is not None and known.blame == "infrastructure" and known.reason:
        how, advice = known.reason, _FOR_TIME if known.state is State.TIMEOUT else _FOR_LUCK
    elif word is not None and (word.explains or known is None):
        how, oom = str(word), word.for_memory
        advice = FOR_MEMORY if oom else _FOR_CODE if word.explains else _sought(word.peak_bytes, word.limit_bytes)
    elif known is not None and known.reason:
        how = known.reason
    elif limit:
        advice = _sought(used, limit)
        likely = "most likely memory" if advice is FOR_MEMORY else "why is not known"
        how = f"{likely}: its worker last reported {bytes_text(used)} of {bytes_text(limit)} in use"
    else:
        how, advice = "why is not known", _FOR_EITHER
    reason = f"its workers died repeatedly, also when it ran alone ({how}); {advice}"
    kind = "memory" if oom else "lost"
    return Failure(chunk.source, sample, kind, reason, chunk.start, chunk.stop, chunk.stop - chunk.start)


def _sought(used: int, limit: int) -> str:
    """What to do about a process that was killed by it is not known what, which may have had memory to spare."""
    return FOR_MEMORY if limit and used > limit // 2 else _FOR_EITHER
