"""`Dataset`: named samples of sources, as the user gave them; nothing is opened here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vrecompute.errors import DatasetError
from vrecompute.records import ADDED

__all__ = ["SAMPLE_NAME", "Dataset", "Sample", "Source", "check_sample_name"]

Unit = Literal["GeV", "MeV"]
#: Outputs are filed under it, so it is one harmless part of a path everywhere.
SAMPLE_NAME = "[A-Za-z0-9_][A-Za-z0-9_.+:-]{0,99}"


def check_sample_name(name: str) -> None:
    """Raise ValueError where a text cannot be the name of a sample."""
    if not re.fullmatch(SAMPLE_NAME, name):
        meant = re.sub(r"[^A-Za-z0-9_.+:-]+", "_", name).lstrip("_.+:-")[:100]
        raise ValueError(
            f"{name[:100]!r} is not a sample name of at most 100 letters, digits, '_', '.', '-', '+' and ':', the "
            "first a letter, digit or '_'" + (f"; did you mean {meant!r}?" if meant else "")
        )


@dataclass(frozen=True)
class Sample:
    """One physics sample: what its sources have in common. Raises DatasetError for a name that cannot be one and
    for numbers that are not finite.

    `is_data` is None where no one declared whether it is data or simulation. `unit` is the unit of momenta in its
    files, None where the analysis knows it from the layout. `weight` names the generator-weight column. `certified`
    is a golden JSON (run -> luminosity sections) for data. Cross-section and luminosity are read by normalisation
    alone and are no part of any key.
    """

    name: str
    is_data: bool | None = None
    unit: Unit | None = None
    weight: str | None = None
    tree: str | None = None
    certified: str | None = None
    cross_section_pb: float | None = None
    luminosity_ifb: float | None = None
    sum_of_weights: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            check_sample_name(self.name)
        except ValueError as error:
            raise DatasetError(str(error)) from error
        numbers = {key: getattr(self, key) for key in ("cross_section_pb", "luminosity_ifb", "sum_of_weights")}
        for key, value in (numbers | dict(self.metadata)).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise DatasetError(f"sample {self.name!r}: {key} is {value}; give a finite number")

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

    `path` is its address, a path or `scheme://...`, and names it in reports; `replicas` are others of the same file,
    each taken where the ones before fail. `size` in bytes and `checksum` (`sha256:DIGITS` or `adler32:DIGITS`) are
    those of the whole file, where the catalogue gives them.

    `ordinal` tells apart the same address listed more than once (`--allow-duplicates`).
    """

    path: str
    sample: str
    tree: str | None = None
    entries: int | None = None
    ordinal: int = 0
    checksum: str | None = field(default=None, metadata=ADDED)
    replicas: tuple[str, ...] = field(default=(), metadata=ADDED)
    size: int | None = field(default=None, metadata=ADDED)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is, in the order of trying."""
        return (self.path, *self.replicas)


@dataclass(frozen=True)
class Dataset:
    """Samples and their sources, in the order given. `notes` say how what the user named became them."""

    samples: tuple[Sample, ...]
    sources: tuple[Source, ...]
    name: str = ""
    notes: tuple[str, ...] = ()
