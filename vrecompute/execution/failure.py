"""`Failure`: why a source or chunk is not in the result, as data that reports and exit codes are made of."""

from __future__ import annotations

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vrecompute.errors import BadInput, StoreError, VrecomputeError
from vrecompute.sourcetext import file_title
from vrecompute.utf8text import utf8

if TYPE_CHECKING:
    from vrecompute.execution.plan import Plan

__all__ = ["Failure", "failure_of", "failures_of_chunks", "is_users_frame", "place_of", "traceback_of"]

# What `--on-bad skip` may pass over: trouble with the data, never with the code.
_SKIPPABLE = frozenset(
    {"missing-tree", "missing-column", "corrupt", "changed", "entries", "unreadable", "data", "memory", "lost"}
)


@dataclass(frozen=True)
class Failure:
    """One source, or one chunk of it, that gave no result.

    `kind` is the class of failure: a BadInput's kind, `code` (the analysis raised), `memory`, `store`,
    `lost` (its workers died repeatedly), `walltime` (jobs end before it does) or `environment`. `start`, `stop`
    are None where the whole source failed.
    `entries` is how many events the failure costs, None where unknown. `detail` is the traceback of an error in code.
    Its texts are UTF-8: what else the message of an error holds is spelled out.
    """

    file: str
    sample: str
    kind: str
    reason: str
    start: int | None = None
    stop: int | None = None
    entries: int | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        for name in ("file", "sample", "reason", "detail"):
            object.__setattr__(self, name, utf8(getattr(self, name)))

    @property
    def skippable(self) -> bool:
        """Whether `--on-bad skip` may go on without it."""
        return self.kind in _SKIPPABLE

    @property
    def chunk(self) -> str | None:
        """The chunk as text, or None for the whole source."""
        return None if self.start is None else f"{self.start}-{self.stop}"

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.reason}"

    @property
    def where(self) -> str:
        """The file, and the events where it is not the whole of it."""
        return f"{self.file} (events {self.chunk})" if self.chunk else self.file


def failure_of(
    error: BaseException, file: str, sample: str, *, start: int | None = None, stop: int | None = None,
    entries: int | None = None,
) -> Failure:  # fmt: skip
    """The Failure for an exception; an unexpected one counts as the analysis' fault, with its traceback."""
    detail = ""
    if isinstance(error, BadInput):
        kind, reason = error.kind, error.reason
    elif isinstance(error, MemoryError):
        kind, reason = "memory", f"out of memory: {str(error) or 'allocation failed'}; use a smaller --chunk-bytes"
    elif isinstance(error, StoreError):
        kind, reason = "store", str(error)
    elif isinstance(error, VrecomputeError):
        kind, reason = "code", str(error)
    else:
        kind, reason = "code", f"{place_of(error)}{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += (
                '; workers get those of your modules that code names: write `import NAME`, or import_module("NAME") '
                "with the name as a text. Install a library where the workers are"
            )
        detail = traceback_of(error)
    if kind == "code" and start is not None and start == stop:
        reason += (
            f"; sample {sample!r} holds no events, and `process` is called with none for what its Result is to name: "
            "let it take an empty chunk, or leave the sample out"
        )
    return Failure(file, sample, kind, reason, start, stop, entries, detail)


def failures_of_chunks(plan: Plan, chunks: tuple[int, int], kind: str, reason: str) -> list[Failure]:
    """A Failure for each source that these chunks are of."""
    named = []
    for number, first, last in plan.slices(*chunks):
        source = plan.sources[number]
        start, stop = source.bounds[first], source.bounds[last]
        named.append(Failure(source.path, source.sample, kind, reason, start, stop, stop - start))
    return named


def traceback_of(error: BaseException) -> str:
    """The traceback from the user's first own frame on: how vrecompute came there does not help to mend it.

    All of it where no frame is the user's.
    """
    frames = error.__traceback__
    while frames is not None and not is_users_frame(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def place_of(error: BaseException) -> str:
    """Where the user's own code was when it was raised, however deep in libraries that was: `zmumu.py:27 in process: `.

    The innermost frame where none is the user's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if is_users_frame(f.filename)), frames[-1] if frames else None)
    return f"{file_title(frame.filename)}:{frame.lineno} in {frame.name}: " if frame else ""


def is_users_frame(filename: str) -> bool:
    """Whether code of this file is the user's own."""
    return not _is_installed(filename)


def _is_installed(filename: str) -> bool:
    """Whether a file is of vrecompute itself, the standard library or an installed package."""
    if filename.startswith("<frozen"):
        return True
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own = {Path(__file__).resolve().parents[1], *map(Path, folders)}
    path = Path(filename).resolve()
    return any(path.is_relative_to(folder) for folder in own) or not {"site-packages", "dist-packages"}.isdisjoint(
        path.parts
    )
