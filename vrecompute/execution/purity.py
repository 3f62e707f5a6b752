"""`Purity`: whether what `process` returns for a chunk depends on the chunks that this process computed before.

All that the analysis reaches is digested again after some chunks. Where it changed, as a cache does too, the first
chunk is computed again: it has to give the same Result.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import AnalysisError, BadInput
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.skim import rows_digests
from vrecompute.results.file import result_members
from vrecompute.results.result import Result

__all__ = ["ChunkOf", "Purity"]

ChunkOf = tuple[PlannedSource, int, int]
"""Entries [start, stop) of a source."""
_Compute = Callable[[ChunkOf], tuple[Result, str]]

# So often what changes is found to make no difference.
_MOST_PROOFS = 3
_LOCK = threading.Lock()


@dataclass(frozen=True)
class _First:
    chunk: ChunkOf
    data: str
    result: str
    drawn: tuple[Any, Any]


class Purity:
    """Of one analysis in this process, whose tasks share what it keeps.

    `compute` makes the Result of a chunk and the digest of its data. An AnalysisError says what is found.
    """

    def __init__(self) -> None:
        self._chunks = self._proofs = self._under_way = 0
        self._crowded = False  # whether threads ever computed at the same time
        self._first: _First | None = None
        self._known: Mapping[str, str] = {}

    def checked(
        self,
        analysis: Analysis,
        code: Mapping[str, str],
        chunk: ChunkOf,
        compute: _Compute,
    ) -> Result:
        """The Result of a chunk; `code` are digests of all that the analysis reached before any."""
        if not code:
            return compute(chunk)[0]
        begins = None if self._first else (_generators(), {**code, **_parameters(analysis)})
        with _LOCK:
            self._under_way += 1
            self._crowded |= self._under_way > 1
        try:
            result, data = compute(chunk)
            if begins is not None:
                self._first, self._known = _First(chunk, data, _digest(result), begins[0]), begins[1]
            self._chunks += 1
            if self._first and self._proofs < _MOST_PROOFS and _is_looked_at(self._chunks):
                self._check(analysis, self._first, result, compute)
        finally:
            with _LOCK:
                self._under_way -= 1
        return result

    def _check(self, analysis: Analysis, first: _First, result: Result, compute: _Compute) -> None:
        try:
            now = {**analysis.code(looks=False).parts, **_parameters(analysis)}
        except RuntimeError:
            return  # another thread changes it at this moment
        if not (changed := difference(self._known, now)):
            return
        held, drawn = _digest(result), _generators()
        try:
            again, data = compute(first.chunk)
            if _differ(drawn, drawn_on := _generators()):
                if self._crowded:
                    return  # other threads draw from the same generators
                _set_generators(first.drawn)
                again, data = compute(first.chunk)
                _set_generators(drawn_on)
            is_same = data != first.data or _digest(again) == first.result
            if is_same and _digest(result) == held:
                self._known, self._proofs = now, self._proofs + 1
                return
            before = _digests(analysis)
            compute(first.chunk)
        except BadInput:
            return  # the file is not what it was
        own = [name for name, digest in _digests(analysis).items() if before.get(name) != digest]
        who = "the mapped function" if isinstance(analysis, MapAnalysis) else "process"
        what, (source, start, stop) = _named(changed, analysis, own), first.chunk
        if is_same:
            how = "its Result of one chunk changes with that of another. Return a copy, or make it anew"
        else:
            events = f"events {start}-{stop} of {source.path}"
            how = f"its Result depends on that: {events} gave two different Results. Make it anew"
        raise AnalysisError(f"{who} changes {what}, and {how} inside {who}, for each chunk")


def _is_looked_at(chunks: int) -> bool:
    """After the 1st, 2nd, 8th, 32nd ... chunk."""
    return chunks == 1 or (chunks.bit_count() == 1 and chunks.bit_length() % 2 == 0)


def _digest(result: Result) -> str:
    members = {name: sha256_of(data) for name, data in result_members(replace(result, tables={})).items()}
    return sha256_json([members, rows_digests(result)])


def _parameters(analysis: Analysis) -> dict[str, str]:
    return {"its parameters": repr(analysis.process_parameters())}


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
    for part in parts:
        name = part.removesuffix(" (new)").rpartition(": ")[2]
        if name in ("state", f"class {cls}"):
            told |= dict.fromkeys(f"{cls}.{attribute}" for attribute in own or _kept(analysis))
        elif name.endswith("()"):
            told[f"what {name.removesuffix('()')} keeps between calls"] = None
        elif name.startswith("class "):
            told[f"an attribute of {name}"] = None
        else:
            told[name] = None
    return ", ".join(list(told)[:3])
