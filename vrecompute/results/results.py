"""`Results`: a run's Result of each sample, as a mapping that can be written, exported and read again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from vrecompute.errors import UsageError
from vrecompute.results.file import Completeness, read_completeness, read_results, write_results
from vrecompute.results.result import Result
from vrecompute.results.scaling import Scale, scaled_histogram
from vrecompute.results.views import cutflow_table, hist_of, html_of, named

__all__ = ["Results"]

# A key of a ROOT file holds names of at most 32 kB, and people read shorter ones.
_MOST_LETTERS = 1000
_UNSAID = Scale(None, "these results were not read by a run, which knows it: take them from its result()")


class Results(Mapping[str, Result]):
    """Result by sample name. Equal results have equal `to_bytes`.

    `incomplete` says what a run that did not end complete has seen; None where nothing is missing. `scales` are what
    brings each sample to its luminosity, which `Run.result` knows and a result file does not.
    """

    def __init__(
        self,
        samples: Mapping[str, Result],
        incomplete: Completeness | None = None,
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        self._samples = dict(samples)
        self.incomplete = incomplete
        self.scales = dict(scales or {})

    def __getitem__(self, sample: str) -> Result:
        try:
            return self._samples[sample]
        except KeyError:
            held = [
                f"; write results[{name!r}].{kind}[{sample!r}]"
                for name, result in self._samples.items()
                for kind in ("histograms", "counters", "arrays", "cutflow")
                if sample in getattr(result, kind)
            ]
            there = f"there is no sample {sample!r} (there are: {', '.join(self._samples)})"
            raise KeyError(there + "".join(held[:1])) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        parts = [f"{name}: {r.events} events, {len(r.histograms)} histograms" for name, r in self._samples.items()]
        if self.incomplete is not None:
            parts.insert(0, f"{self.incomplete.status}, {self.incomplete.text}")
        return f"Results({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        said = "" if self.incomplete is None else f"{self.incomplete.status}: {self.incomplete.text}"
        return html_of(self._samples, said)

    def hist(self, name: str, sample: str | None = None) -> Any:
        """The histogram of that name as a `hist.Hist`, whose axes have names and labels.

        The first axis is `samples`, a category axis, unless there is one sample only or `sample` names one. Variations
        are the categories of the axis `variation`, as the analysis called them; a sample that one of them does not
        change has its nominal values there. Raises KeyError where there is no such histogram or sample, UsageError
        where samples have other axes, or hist is not installed.
        """
        if sample is not None:
            _ = self[sample]
        return hist_of(self._samples, name, sample)

    def scaled(self) -> Results:
        """The same with the histograms of each sample normalised: cross-section x luminosity / sum of its weights.

        Histograms of data stay as they are, and so do counters, cutflows and arrays, which may count what has no
        weight. Raises UsageError that names each sample whose normalisation is not known, and why.
        """
        unknown = {name: self.scales.get(name, _UNSAID).because for name in self if self._factor(name) is None}
        if unknown:
            raise UsageError("not normalised: " + "; ".join(f"sample {n!r}: {why}" for n, why in unknown.items()))
        samples = {}
        for name, result in self._samples.items():
            factor = self._factor(name) or 0.0
            scaled = {key: scaled_histogram(h, factor) for key, h in result.histograms.items()}
            samples[name] = replace(result, histograms=scaled)
        return Results(samples, self.incomplete, {name: Scale(1.0, "", s.of_events) for name, s in self.scales.items()})

    def _factor(self, sample: str) -> float | None:
        return self.scales.get(sample, _UNSAID).factor

    def pandas(self) -> Any:
        """All cutflows as a pandas.DataFrame, one row a (sample, channel, cut).

        `events` are the numbers that the analysis counted. `weighted` are those of the channel CHANNEL_weighted, where
        the analysis fills one with sums of weights, and the number of events where the sample has no weights; `scaled`
        is that, normalised as `scaled`. What is not known is NaN. UsageError where pandas is not installed.
        """
        return cutflow_table(self._samples, self.scales)

    @property
    def total(self) -> Result:
        """All samples together, unscaled, in the order of their names."""
        total = Result()
        for name in sorted(self._samples):
            total = total + self._samples[name]
        return total

    def to_bytes(self) -> bytes:
        """The data-only file of docs/result-format.md."""
        return write_results(self._samples, self.incomplete)

    @classmethod
    def from_bytes(cls, data: bytes) -> Results:
        """The Results of `to_bytes`; StoreError where the data are damaged."""
        return cls(read_results(data), read_completeness(data))

    def to_root(self, path: Path) -> None:
        """Export the histograms as TH1/TH2/TH3, each sample in a folder, one for each category of a category axis.

        Titles of axes are their labels. Histograms that ROOT has no type for (more than three numeric axes) are left
        out. Names are cut after 1000 letters, and ':' and ';' become '_': ROOT's paths give them meanings of their own.
        Results of a run that is not complete have a text `incomplete`.
        """
        import numpy as np
        import uproot

        taken: set[str] = set()
        # of a path, uproot takes what follows `::` for something else; moments of axes that reach to infinity are no
        # numbers, and ROOT needs none
        with path.open("w+b") as opened, uproot.recreate(opened) as file, np.errstate(all="ignore"):
            if self.incomplete is not None:
                file[_root_name("", "incomplete", taken)] = f"{self.incomplete.status}: {self.incomplete.text}"
            for sample, result in self._samples.items():
                folder = _root_name("", sample, taken)
                for name, histogram in result.histograms.items():
                    for label, part in _without_categories(named(histogram, name)):
                        if part.ndim <= 3:
                            file[_root_name(folder, f"{name}{label}", taken)] = _written(part)


def _root_name(folder: str, name: str, taken: set[str]) -> str:
    """A path in a folder that ROOT takes and that is no other's; it is added to `taken`, and its folders with a '/'."""
    name = re.sub("[:;]", "_", name[:_MOST_LETTERS]).encode(errors="backslashreplace").decode()
    start = f"{folder}/" if folder else ""
    if any(f"{start}{above}" in taken for above in PurePosixPath(name).parents):
        name = name.replace("/", "_")  # a histogram has the name of what would be its folder
    path = f"{start}{name}"
    while path in taken or f"{path}/" in taken:
        path += "_"
    taken.update([path, *(f"{start}{above}/" for above in PurePosixPath(path.removeprefix(start)).parents)])
    return path


def _written(histogram: Any) -> Any:
    """The histogram with its counts as floating-point numbers: uproot writes no whole ones of 64 bits."""
    import boost_histogram as bh

    if histogram.storage_type not in (bh.storage.Int64, bh.storage.AtomicInt64):
        return histogram
    made = type(histogram)(*histogram.axes, storage=bh.storage.Double())
    made.view(flow=True)[...] = histogram.view(flow=True)
    return made


def _without_categories(histogram: Any) -> list[tuple[str, Any]]:
    """The histogram cut along its category axes: (suffix of the name, histogram of numeric axes).

    Where there is no numeric axis the last one of categories stays, whose names become labels of bins.
    """
    import boost_histogram as bh

    for number, axis in enumerate(histogram.axes):
        if histogram.ndim > 1 and isinstance(axis, (bh.axis.StrCategory, bh.axis.IntCategory)):
            pieces = []
            for category in list[Any](axis):
                index = tuple(bh.loc(category) if i == number else slice(None) for i in range(histogram.ndim))
                suffix = "" if category == "nominal" else f"_{category}"
                pieces += [(suffix + more, part) for more, part in _without_categories(histogram[index])]
            return pieces
    return [("", histogram)]
