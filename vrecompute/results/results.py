"""`Results`: a run's Result of each sample, as a mapping that can be written, exported and read again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vrecompute.results.file import Completeness, read_completeness, read_results, write_results
from vrecompute.results.result import Result

__all__ = ["Results"]


class Results(Mapping[str, Result]):
    """Result by sample name. Equal results have equal `to_bytes`.

    `incomplete` says what a run that did not end complete has seen; None where nothing is missing.
    """

    def __init__(self, samples: Mapping[str, Result], incomplete: Completeness | None = None) -> None:
        self._samples = dict(samples)
        self.incomplete = incomplete

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
        """Export the histograms as TH1/TH2/TH3 named `<sample>/<histogram>`, one for each category of a category axis.

        Histograms that ROOT has no type for (more than three numeric axes) are left out. ':' and ';' become '_':
        ROOT's paths give them meanings of their own. Results of a run that is not complete have a text `incomplete`.
        """
        import numpy as np
        import uproot

        taken: set[str] = set()
        # moments of axes that reach to infinity are no numbers, and ROOT needs none
        with uproot.recreate(path) as file, np.errstate(all="ignore"):
            if self.incomplete is not None:
                file[_root_name("incomplete", taken)] = f"{self.incomplete.status}: {self.incomplete.text}"
            for sample, result in self._samples.items():
                folder = _root_name(sample, taken)
                for name, histogram in result.histograms.items():
                    for label, part in _without_categories(histogram):
                        if part.ndim <= 3:
                            file[_root_name(f"{folder}/{name}{label}", taken)] = part


def _root_name(name: str, taken: set[str]) -> str:
    """A name that ROOT takes and that no other has; it is added to `taken`."""
    name = re.sub("[:;]", "_", name)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _without_categories(histogram: Any) -> list[tuple[str, Any]]:
    """The histogram cut along its category axes: (suffix of the name, histogram of numeric axes)."""
    import boost_histogram as bh

    for number, axis in enumerate(histogram.axes):
        if isinstance(axis, (bh.axis.StrCategory, bh.axis.IntCategory)):
            pieces = []
            for category in list[Any](axis):
                index = tuple(bh.loc(category) if i == number else slice(None) for i in range(histogram.ndim))
                suffix = "" if category == "nominal" else f"_{category}"
                pieces += [(suffix + more, part) for more, part in _without_categories(histogram[index])]
            return pieces
    return [("", histogram)]
