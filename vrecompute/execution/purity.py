"""`Purity`: whether what `process` returns for a chunk depends on the chunks that this process computed before.

The value of a chunk is what the analysis gives as it was sent. All that it reaches is digested again after some chunks,
and so is what the process has around it, as the environment.
Where it changed, as a cache does too, the first chunk is computed again, and a later one by the analysis made anew,
with all that it keeps as it began: each has to give the same Result.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.analysis.code import Code, difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.analysis.remembered import held_by
from vrecompute.analysis.surroundings import Surroundings
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import AnalysisError, BadInput
from vrecompute.execution.anew import Sent, computing
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.skim import rows_digests
from vrecompute.results.file import result_members
from vrecompute.results.result import Result

__all__ = ["ChunkOf", "Impure", "Purity", "Work"]

ChunkOf = tuple[PlannedSource, int, int]
"""Entries [start, stop) of a source."""

# How the digests of what is among the surroundings too are called.
_SETTING = "arithmetic of "
# So often the first chunk is computed again.
_MOST_PROOFS = 3
_LOCK = threading.Lock()


class Impure(AnalysisError):
    """What `process` returns for a chunk depends on others. Chunks computed before may be as wrong."""


@dataclass(frozen=True)
class Work:
    """`analysis`, `compute`, which makes the Result of a chunk by it and the digest of the chunk's data, and `code`:
    digests of all that the analysis reached before any chunk, by name. `sent` makes it anew; None where nothing can.
    """

    analysis: Analysis
    compute: Callable[[ChunkOf, Analysis], tuple[Result, str]]
    code: Mapping[str, str] = field(default_factory=dict)
    sent: Sent | None = None

    def again(self, chunk: ChunkOf) -> tuple[Result, str]:
        """By the analysis as it is now."""
        with computing():
            return self.compute(chunk, self.analysis)


@dataclass(frozen=True)
class _Computed:
    """A chunk with what came of it, and the generators that the process shares before and after.

    `number` is which one began, from 1; `looks` which looks had found a change by then.
    """

    chunk: ChunkOf
    number: int
    looks: int
    drawn: tuple[Any, Any]
    data: str = ""
    result: str = ""
    drawn_on: tuple[Any, Any] | None = None


class Purity:
    """Of one analysis in this process, whose tasks share what it keeps. `Impure` says what is found."""

    def __init__(self) -> None:
        self._began = self._chunks = self._proofs = self._under_way = 0
        self._crowded = False  # whether threads ever computed at the same time
        self._first: _Computed | None = None
        self._around: Surroundings | None = None  # before any chunk
        self._known: Mapping[str, str] = {}
        self._changed: dict[str, None] = {}  # what was ever found changed
        self._looks = 0  # how many found a change
        self._proven = 0  # how many of these a chunk came after that was computed anew
        self._ending = threading.Lock()  # so that no chunk ends while what it may have found is looked for

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Purity, ()  # on a worker, which has computed nothing

    def checked(self, work: Work, chunk: ChunkOf) -> Result:
        """The Result of a chunk."""
        if not work.code:
            return work.again(chunk)[0]
        with _LOCK:
            self._began += 1
            self._under_way += 1
            alone, number = self._under_way == 1, self._began
            self._around = around = self._around or Surroundings.now()
            self._crowded |= not alone
        try:
            begun = _Computed(chunk, number, self._looks, _generators())
            parameters = {} if self._first else _parameters(work.analysis)
            result, data = work.again(chunk)
            made = replace(begun, data=data, drawn_on=_generators())
            with self._ending:
                self._chunks += 1
                if _is_looked_at(self._chunks):
                    made = replace(made, result=_digest(result))
                    if self._first is None:
                        self._first, self._known = made, {**work.code, **parameters, **around.described()}
                    self._look(work, self._first, made, result)
            # The first of all that is alone finds nothing of others; one beside others may.
            may_find = made.looks < self._looks and not (number == 1 and alone and self._began == 1)
            if work.sent is not None and (may_find or self._proven < made.looks):
                self._prove(work, work.sent, replace(made, result=_digest(result)))
        finally:
            with _LOCK:
                self._under_way -= 1
        return result

    def _look(self, work: Work, first: _Computed, made: _Computed, result: Result) -> None:
        """Where anything changed since the last look, see whether the first chunk gives what it gave."""
        now: dict[str, str] | None = None
        try:
            code = work.analysis.code(looks=False)
            now = {**code.parts, **_parameters(work.analysis), **_memories(code, work.analysis)}
            now |= Surroundings.now().described()
        except RuntimeError:
            pass  # another thread changes it at this moment
        changed = ["state"] if now is None else difference(self._known, now)
        if not changed:
            return
        self._changed |= dict.fromkeys(changed)
        self._looks += 1
        if now is not None and (self._proofs >= _MOST_PROOFS or self._is_same(work, first, made, result, changed)):
            self._known, self._proofs = now, self._proofs + 1

    def _is_same(self, work: Work, first: _Computed, made: _Computed, result: Result, changed: list[str]) -> bool:
        """Whether the first chunk gives what it gave, and does not change what came of another; False: not known."""
        drawn = _generators()
        try:
            again, data = work.again(first.chunk)
            if _differ(drawn, drawn_on := _generators()):
                if self._crowded:
                    return False  # other threads draw from the same generators
                _set_generators(first.drawn)
                again, data = work.again(first.chunk)
                _set_generators(drawn_on)
            is_same = data != first.data or _digest(again) == first.result
            if is_same and _digest(result) == made.result:
                return True
            before = _digests(work.analysis)
            work.again(first.chunk)
        except BadInput:
            return False  # the file is not what it was
        own = [name for name, digest in _digests(work.analysis).items() if before.get(name) != digest]
        what = _named(changed, work.analysis, own)
        if is_same:
            how = "its Result of one chunk changes with that of another. Return a copy, or make it anew"
            raise _impure(work.analysis, f"changes {what}, and {how}")
        how = f"its Result depends on that: {_title(first.chunk)} gave two different Results. Make it anew"
        raise _impure(work.analysis, f"changes {what}, and {how}")

    def _prove(self, work: Work, sent: Sent, made: _Computed) -> None:
        """Compute a chunk by the analysis as it was sent."""
        drawn_on = _generators()
        draws = made.drawn_on is None or _differ(made.drawn, made.drawn_on)
        if draws and self._crowded:
            return  # other threads draw from the same generators
        moved = self._around is not None and self._around.described() != Surroundings.now().described()
        try:
            with sent.anew(work.analysis, self._around if moved else None) as fresh:
                if draws:
                    _set_generators(made.drawn)
                again, data = work.compute(made.chunk, fresh)
        except BadInput:
            return  # the file is not what it was
        finally:
            if not self._crowded:
                _set_generators(drawn_on)
        if data != made.data:
            return
        if _digest(again) != made.result:
            what = _named(list(self._changed), work.analysis, [])
            raise _impure(
                work.analysis,
                f"takes {what} from one chunk to others, and its Result depends on that: {_title(made.chunk)} give "
                "another Result where no chunk was computed before, and each worker has its own first chunk. "
                "Make it anew",
            )
        self._proven = max(self._proven, made.looks if made.number > 1 else 0)


def _impure(analysis: Analysis, how: str) -> Impure:
    who = "the mapped function" if isinstance(analysis, MapAnalysis) else "process"
    return Impure(f"{who} {how} inside {who}, for each chunk")


def _title(chunk: ChunkOf) -> str:
    source, start, stop = chunk
    return f"events {start}-{stop} of {source.path}"


def _is_looked_at(chunks: int) -> bool:
    """After the 1st, 2nd, 8th, 32nd ... chunk."""
    return chunks == 1 or (chunks.bit_count() == 1 and chunks.bit_length() % 2 == 0)


def _digest(result: Result) -> str:
    members = {name: sha256_of(data) for name, data in result_members(replace(result, tables={})).items()}
    return sha256_json([members, rows_digests(result)])


def _parameters(analysis: Analysis) -> dict[str, str]:
    return {"its parameters": repr(analysis.process_parameters())}


def _memories(code: Code, analysis: Analysis) -> dict[str, str]:
    """Digests of what was kept of calls, by name; nothing of a function that was not called."""
    own = type(analysis).__module__.partition(".")[0]
    held = {name: values for name, memory in code.memories.items() if (values := held_by(memory)) is not None}
    return {n: sha256_json(dict(code_of(v, own, effects=(), looks=False).parts)) for n, v in held.items()}


def _generators() -> tuple[Any, Any]:
    """The states of those that all code of a process shares."""
    return random.getstate(), np.random.get_state(legacy=True)


def _set_generators(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _differ(states: tuple[Any, Any], others: tuple[Any, Any]) -> bool:
    (_, keys, *rest), (_, other_keys, *other_rest) = states[1], others[1]
    return states[0] != others[0] or rest != other_rest or not np.array_equal(keys, other_keys)


def _kept(analysis: Analysis) -> dict[str, Any]:
    """What an analysis keeps in itself and in its class besides its parameters, by name."""
    settings = {"values", "effects", *vars(Analysis)}
    kept = {**vars(type(analysis)), **vars(analysis)}
    return {n: v for n, v in kept.items() if n not in settings and not callable(v) and not n.startswith("__")}


def _digests(analysis: Analysis) -> dict[str, str]:
    own = type(analysis).__module__.partition(".")[0]
    return {n: code_of(v, own, effects=(), looks=False).parts["state"] for n, v in _kept(analysis).items()}


def _named(parts: list[str], analysis: Analysis, own: list[str]) -> str:
    """What changed, in words, by the names of parts; `own` are attributes of the analysis."""
    told: dict[str, None] = {}
    cls = type(analysis).__qualname__
    for part in [p for p in parts if not p.startswith(_SETTING)] or parts:
        name = part.removesuffix(" (new)").removesuffix(" (gone)").rpartition(": ")[2]
        if name in ("state", f"class {cls}"):
            told |= dict.fromkeys(f"{cls}.{attribute}" for attribute in own or _kept(analysis))
        elif name.endswith("()"):
            told[f"what {name.removesuffix('()')} keeps between calls"] = None
        elif name.startswith("class "):
            told[f"an attribute of {name}"] = None
        else:
            told[name] = None
    return ", ".join(list(told)[:3])
