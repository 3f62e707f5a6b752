"""`Spectrum`: a dilepton mass spectrum as the fits see it: bin edges, contents and variances."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.errors import UnreadableFile
from vrecompute_analyses.likelihood import Floats

__all__ = ["Spectrum", "read_table"]

# Published edges are rounded to this much (GeV); a range limit at an edge must keep that edge's bin.
_EDGE_TOLERANCE_GEV = 0.01


@dataclass(frozen=True)
class Spectrum:
    """Counts per mass bin. Weighted spectra carry variances that differ from their counts."""

    edges_gev: Floats
    counts: Floats
    variances: Floats

    @classmethod
    def from_histogram(cls, histogram: Any, variation: str = "nominal") -> Spectrum:
        """One variation of a boost-histogram with axes (variation, mass) and Weight storage; flow bins are left out."""
        import boost_histogram as bh

        view = histogram[bh.loc(variation), :].view()
        return cls(
            np.asarray(histogram.axes[1].edges, dtype=float),
            np.asarray(view["value"], dtype=float),
            np.asarray(view["variance"], dtype=float),
        )

    @classmethod
    def from_csv(cls, path: Path) -> Spectrum:
        """A published table with columns mlow_GeV, mhigh_GeV, n_observed; UnreadableFile says what is wrong with it."""
        table = read_table(path, ("mlow_GeV", "mhigh_GeV", "n_observed"))
        low, high, counts = (np.array([float(row[name]) for row in table]) for name in table[0])
        if np.any(np.abs(low[1:] - high[:-1]) > _EDGE_TOLERANCE_GEV):
            raise UnreadableFile(str(path), "its mass bins are not contiguous")
        return cls(np.append(low, high[-1]), counts, counts.copy())

    @property
    def total(self) -> float:
        """Sum of the contents."""
        return float(self.counts.sum())

    @property
    def scale(self) -> float:
        """Weight of an equivalent unweighted event, sum(w^2)/sum(w) (Bohm, Zech, NIM A 748 (2014) 1); 1 for data."""
        return float(self.variances.sum() / self.total) if self.total > 0 else 1.0

    @property
    def equivalent_counts(self) -> Floats:
        """Contents in equivalent unweighted events: what a Poisson likelihood may be given."""
        return np.maximum(self.counts, 0.0) / self.scale

    def window(self, low_gev: float, high_gev: float) -> Spectrum:
        """The bins that lie inside [low, high] as a whole."""
        inside = (self.edges_gev[:-1] >= low_gev - _EDGE_TOLERANCE_GEV) & (
            self.edges_gev[1:] <= high_gev + _EDGE_TOLERANCE_GEV
        )
        chosen = np.flatnonzero(inside)
        if not len(chosen):
            return Spectrum(self.edges_gev[:1], self.counts[:0], self.variances[:0])
        first, last = int(chosen[0]), int(chosen[-1]) + 1
        return Spectrum(self.edges_gev[first : last + 1], self.counts[first:last], self.variances[first:last])

    def __add__(self, other: Spectrum) -> Spectrum:
        if not np.array_equal(self.edges_gev, other.edges_gev):
            raise ValueError("spectra with different bins cannot be added")
        return Spectrum(self.edges_gev, self.counts + other.counts, self.variances + other.variances)

    def __mul__(self, factor: float) -> Spectrum:
        return Spectrum(self.edges_gev, self.counts * factor, self.variances * factor**2)


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """These columns of a CSV file, row by row; UnreadableFile where the file, a column or a number is missing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UnreadableFile(str(path), f"has no column {missing[0]!r}; it needs {', '.join(columns)}")
            rows = [{name: row[name] for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(str(path), str(error)) from error
    if not rows:
        raise UnreadableFile(str(path), "holds no rows")
    for number, row in enumerate(rows, start=2):
        for name, text in row.items():
            if name not in {"channel", "series"}:
                try:
                    float(text)
                except (TypeError, ValueError) as error:
                    raise UnreadableFile(str(path), f"line {number}: {name}={text!r} is not a number") from error
    return rows
