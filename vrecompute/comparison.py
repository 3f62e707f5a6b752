"""`Comparison`: in what two runs of a store differ, what went in and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from vrecompute.errors import RunError
from vrecompute.results.result import Result
from vrecompute.run import Run
from vrecompute.wording import printable

__all__ = ["Comparison", "Difference", "compare"]

_ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in both runs: what kind of thing, its name, and what it is in each."""

    kind: str
    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """The names of two runs and what differs; `same_result` where both have the same result, bit by bit."""

    first: str
    second: str
    same_result: bool
    differences: tuple[Difference, ...]

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """(kind, name, first, second) of each difference, as text."""
        return [(d.kind, d.name, d.first, d.second) for d in self.differences]

    @property
    def heading(self) -> str:
        """What of the results is the same."""
        result = "the same result, bit by bit" if self.same_result else "different results"
        return f"{self.first} and {self.second}: {result}"

    def __str__(self) -> str:
        lines = [f"  {kind} {name}: {first} | {second}" for kind, name, first, second in self.rows]
        return "\n".join(printable(line) for line in [self.heading, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = [("", "", self.first, self.second), *self.rows]
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return f"<p>{escape(self.heading)}</p><table>{body}</table>"

    def to_data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "runs": [self.first, self.second],
            "same_result": self.same_result,
            "differences": [vars(difference) for difference in self.differences],
        }


def compare(first: Run, second: Run) -> Comparison:
    """What differs between two runs that have ended; RunError where one has not."""
    for run in (first, second):
        if run.is_live():
            raise RunError(f"run {run.id} has not ended yet; compare it when it has")
    a, b = first.report(), second.report()
    one, other = first.manifest, second.manifest
    found = [
        *_of("analysis", {"name": one.analysis}, {"name": other.analysis}),
        *_of("parameter", one.parameters, other.parameters),
        *_of("code", _parts(one.code_parts), _parts(other.code_parts)),
        *_of("resource", one.resources, other.resources),
        *_of("source", _sources(one), _sources(other)),
        *_of("setting", vars(one.settings), vars(other.settings)),
        *_of("version", a.versions, b.versions),
        *_of("status", {"status": a.status}, {"status": b.status}),
        *_of("events", {"seen": a.events.seen}, {"seen": b.events.seen}),
        *_of("cut", _cuts(a.cutflow), _cuts(b.cutflow)),
    ]
    same = a.result_sha256 is not None and a.result_sha256 == b.result_sha256
    if not same and a.result_sha256 and b.result_sha256:
        found += _histograms(first.result(allow_partial=True), second.result(allow_partial=True))
    return Comparison(first.id, second.id, same, tuple(found))


def _of(kind: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(kind, name, str(first.get(name, _ABSENT)), str(second.get(name, _ABSENT)))
        for name in dict.fromkeys([*first, *second])
        if first.get(name, _ABSENT) != second.get(name, _ABSENT)
    ]


def _parts(parts: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:12] for name, digest in parts.items()}


def _sources(manifest: Any) -> dict[str, str]:
    return {source.path: source.sample for source in manifest.dataset.sources}


def _cuts(cutflow: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{channel} {cut}": count for channel, cuts in cutflow.items() for cut, count in cuts.items()}


def _histograms(first: Mapping[str, Result], second: Mapping[str, Result]) -> list[Difference]:
    """Histograms that differ, by the sums of all their bins."""
    found = []
    for sample in dict.fromkeys([*first, *second]):
        mine = first[sample].histograms if sample in first else {}
        others = second[sample].histograms if sample in second else {}
        for name in dict.fromkeys([*mine, *others]):
            a, b = mine.get(name), others.get(name)
            if a is not None and b is not None and a == b:
                continue
            found.append(Difference("histogram", f"{sample} {name}", _sum(a), _sum(b)))
    return found


def _sum(histogram: Any) -> str:
    return _ABSENT if histogram is None else f"{float(np.sum(histogram.values(flow=True))):.12g}"
