"""A failed chunk once more, in this process: where its code fails, the debugger starts in the user's own frame."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from vrecompute.analysis import Analysis
from vrecompute.errors import BadInput, StoreError, UsageError
from vrecompute.execution.failure import Failure, is_users_frame
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import PlannedSource, read_plan
from vrecompute.execution.task import TaskContext, process_events, read_chunk
from vrecompute.results.result import Result
from vrecompute.stores.base import Store

__all__ = ["debug_chunk"]


def debug_chunk(
    store: Store, manifest: Manifest, analysis: Analysis, failures: Sequence[Failure], number: int
) -> Result:
    """The Result of the chunk of a failure, or what its code raises, after the debugger was left; see `Run.debug`."""
    of_chunks = [f for f in failures if f.start is not None and f.stop is not None]
    if not 0 <= number < len(of_chunks):
        known = f"numbers of failed chunks are 0 to {len(of_chunks) - 1}" if of_chunks else "no chunk of it failed"
        raise UsageError(f"run {manifest.run} has no failed chunk {number}: {known}")
    failure = of_chunks[number]
    start, stop = failure.start or 0, failure.stop or 0
    try:
        plan = read_plan(store, manifest.plan_name)
    except StoreError as error:
        raise UsageError(f"run {manifest.run} kept no plan, which says how its chunks are read: {error}") from error
    source = _source_of(failure, plan.sources)
    context = TaskContext(
        plan,
        analysis,
        store.url,
        resources=dict(manifest.resources),
        certified=dict(manifest.certified),
        own=type(analysis).__module__.partition(".")[0],
        folder=manifest.folder,
        unnamed=manifest.unnamed,
    )
    columns = read_chunk(source, start, stop, store)
    try:
        return process_events(context, (source, start, stop), columns, store)
    except BadInput:
        raise
    except Exception as error:
        print(f"{failure.where}: {failure.reason}")
        _debugger().interaction(None, _at_users_frame(error.__traceback__))
        raise


def _source_of(failure: Failure, sources: Sequence[PlannedSource]) -> PlannedSource:
    """The source of a plan that a chunk is of."""
    named = [s for s in sources if (s.path, s.sample) == (failure.file, failure.sample or s.sample)]
    if not named:
        raise UsageError(f"{failure.where} is not in the plan of the run: its files were others then")
    return named[0]


def _at_users_frame(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the first to the last frame of the user's own, so that the debugger starts there."""
    every: list[TracebackType] = []
    while frames is not None:
        every.append(frames)
        frames = frames.tb_next
    own = [n for n, frame in enumerate(every) if is_users_frame(frame.tb_frame.f_code.co_filename)]
    chosen = every[own[0] : own[-1] + 1] if own else every
    made: TracebackType | None = None
    for frame in reversed(chosen):
        made = TracebackType(made, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return made


def _debugger() -> Any:
    """IPython's debugger where this is a notebook or IPython, Python's own elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        return shell.debugger_cls() if hasattr(shell, "debugger_cls") else shell.InteractiveTB.debugger_cls()
    from pdb import Pdb  # what the user asked for

    return Pdb()
