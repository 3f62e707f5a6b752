"""`Dataset`: named samples of sources, as the user gave them; nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Dataset", "Sample", "Source"]

Unit = Literal["GeV", "MeV"]


@dataclass(frozen=True)
class Sample:
    """One physics sample: what its sources have in common.

    `unit` is the unit of momenta in its files, None where the analysis knows it from the layout.
    `weight` names the generator-weight column. `certified` is a golden JSON (run -> luminosity
    sections) for data. Cross-section and luminosity are read by normalisation alone and are no part
    of any key.
    """

    name: str
    is_data: bool = False
    unit: Unit | None = None
    weight: str | None = None
    tree: str | None = None
    certified: str | None = None
    cross_section_pb: float | None = None
    luminosity_ifb: float | None = None
    sum_of_weights: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def process_view(self) -> dict[str, Any]:
        """The part of the sample that `process` may depend on, and so part of every key."""
        return {
            "is_data": self.is_data,
            "unit": self.unit,
            "weight": self.weight,
            "certified": self.certified,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True)
class Source:
    """One file (or grid) of a sample, by address. `entries` is what a catalogue says it holds, if one does.

    `ordinal` tells apart the same address listed more than once (`--allow-duplicates`).
    """

    path: str
    sample: str
    tree: str | None = None
    entries: int | None = None
    ordinal: int = 0


@dataclass(frozen=True)
class Dataset:
    """Samples and their sources, in the order given."""

    samples: tuple[Sample, ...]
    sources: tuple[Source, ...]
    name: str = ""
