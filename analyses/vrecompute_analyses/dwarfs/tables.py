"""The tables of a directory laid out as the public MLFermiLATDwarfs one: voids, dwarfs, J-factors, spectra.

Counts are in six macro bins of energy, made of 24 fine ones; exposures are given in the fine ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import BadInput, CorruptFile, UnreadableFile

__all__ = [
    "BINS",
    "CHANNELS",
    "EDGES_GEV",
    "FILES",
    "Dwarf",
    "Floats",
    "Spectra",
    "Voids",
    "j_samples_files",
    "read_dwarfs",
    "read_j_samples",
    "read_masses",
    "read_spectra",
    "read_voids",
]

Floats = NDArray[np.float64]

# Macro bins: first fine bin of each and the end, and their edges in GeV.
FINE_EDGES = (0, 1, 2, 3, 4, 6, 24)
EDGES_GEV = (0.5, 0.67, 0.89, 1.19, 1.58, 2.81, 500.0)
BINS = 6

FILES: Mapping[str, str] = {
    "voids": "misc/voids_all_25dSphs.dat",
    "void_counts": "misc/Newbins_counts_voids.dat",
    "dwarfs": "default_dwarf_summary_table.dat",
    "observed": "misc/dwarf_counts_observed.dat",
    "spectra": "AtProduction_gammas.dat",
    "masses": "scan_DM_mass.dat",
}

# Annihilation channels by the column of the PPPC4DMID table (with electroweak corrections), counted from 0.
CHANNELS: Mapping[str, int] = {"ee": 4, "mumu": 7, "tautau": 10, "qq": 11, "cc": 12, "bb": 13, "tt": 14, "WW": 17,
                               "ZZ": 20, "gg": 21, "hh": 23}  # fmt: skip

# Names of J-factor sample files that are not those of the table of dwarfs.
_SAMPLE_NAMES = {"UMi": "UrsaMinor"}


@dataclass(frozen=True)
class Voids:
    """Positions (M, 2), Galactic longitude and latitude in degrees, of empty sky regions, and counts (M, 6)."""

    positions_deg: Floats
    counts: Floats


@dataclass(frozen=True)
class Dwarf:
    """One galaxy: Galactic position in degrees, log10 of J in GeV^2/cm^5 and its error, exposures, counts.

    `exposure_cm2_s` (6,) is the mean of the exposures of the fine bins of each macro bin.
    """

    name: str
    position_deg: tuple[float, float]
    log10_j: float
    log10_j_error: float
    exposure_cm2_s: Floats
    counts: Floats


@dataclass(frozen=True)
class Spectra:
    """Photons per annihilation: dN/dlog10(x), x = E / mass, shape (masses, x), of one channel."""

    masses_gev: Floats
    log10_x: Floats
    density: Floats


def _stamp(path: Path) -> tuple[str, int, int]:
    """What tells one content of a path from another, for caches."""
    try:
        facts = path.stat()
    except OSError as error:
        raise UnreadableFile(str(path), f"cannot be read: {error.strerror or error}") from error
    return str(path), facts.st_mtime_ns, facts.st_size


def _numbers(path: Path, columns: int | None, **how: Any) -> Floats:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # numpy warns of a file without data
            table = np.loadtxt(path, ndmin=2, **how)
    except OSError as error:
        raise UnreadableFile(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, UserWarning) as error:
        raise CorruptFile(str(path), f"is not a table of numbers: {error}") from error
    if columns is not None and table.shape[1] != columns:
        raise CorruptFile(str(path), f"has {table.shape[1]} columns where {columns} are expected")
    if not np.isfinite(table).all():
        raise CorruptFile(str(path), "holds values that are not finite")
    return np.asarray(table, dtype=np.float64)


def read_voids(positions: Path, counts: Path) -> Voids:
    """The void regions. Raises BadInput where the two files do not fit together or hold no such numbers."""
    return _read_voids(_stamp(positions), _stamp(counts))


@lru_cache(maxsize=4)
def _read_voids(positions: tuple[str, int, int], counts: tuple[str, int, int]) -> Voids:
    where, n = _numbers(Path(positions[0]), 2), _numbers(Path(counts[0]), BINS)
    if len(where) != len(n):
        raise CorruptFile(counts[0], f"has counts of {len(n)} regions, but {positions[0]} has {len(where)} positions")
    if (n < 0).any():
        raise CorruptFile(counts[0], "holds negative counts")
    if (np.abs(where[:, 1]) > 90).any():
        raise CorruptFile(positions[0], "holds latitudes beyond 90 degrees")
    return Voids(where, n)


def read_dwarfs(table: Path, observed: Path) -> tuple[Dwarf, ...]:
    """The dwarfs in the order of the table, with their observed counts.

    Raises BadInput for a line that is no dwarf, or a dwarf without counts.
    """
    return _read_dwarfs(_stamp(table), _stamp(observed))


@lru_cache(maxsize=4)
def _read_dwarfs(table: tuple[str, int, int], observed: tuple[str, int, int]) -> tuple[Dwarf, ...]:
    counts = {line[0]: line[1:] for line in _words(Path(observed[0]))}
    found = []
    for words in _words(Path(table[0])):
        name = words[0]
        if name not in counts:
            raise CorruptFile(observed[0], f"has no counts of {name}, which {table[0]} lists")
        try:
            numbers = np.array([float(w) for w in words[1:]])
            n = np.array([float(w) for w in counts[name]])
        except ValueError as error:
            raise CorruptFile(table[0], f"the line of {name} is not a name and numbers: {error}") from error
        if len(numbers) != 4 + FINE_EDGES[-1] or len(n) != BINS:
            raise CorruptFile(
                table[0],
                f"{name} has {len(numbers)} numbers and {len(n)} counts where {4 + FINE_EDGES[-1]} and {BINS} are "
                "expected",
            )
        fine = numbers[4:]
        exposure = np.array([fine[a:b].mean() for a, b in pairwise(FINE_EDGES)])
        found.append(Dwarf(name, (numbers[0], numbers[1]), numbers[2], numbers[3], exposure, n))
    if not found:
        raise BadInput(table[0], "lists no dwarf")
    return tuple(found)


def _words(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(str(path), f"cannot be read: {error}") from error
    return [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_spectra(path: Path, channel: str) -> Spectra:
    """The spectra of one channel of CHANNELS."""
    return _read_spectra(_stamp(path), channel)


@lru_cache(maxsize=16)
def _read_spectra(path: tuple[str, int, int], channel: str) -> Spectra:
    table = _numbers(Path(path[0]), 3, skiprows=1, usecols=(0, 1, CHANNELS[channel]))
    masses, log10_x = np.unique(table[:, 0]), np.unique(table[:, 1])
    ordered = table[np.lexsort((table[:, 1], table[:, 0]))]
    if len(table) != len(masses) * len(log10_x) or not np.array_equal(ordered[:, 0], masses.repeat(len(log10_x))):
        raise CorruptFile(path[0], f"{len(table)} rows are not {len(masses)} masses times {len(log10_x)} energies")
    return Spectra(masses, log10_x, ordered[:, 2].reshape(len(masses), len(log10_x)))


def read_masses(path: Path) -> tuple[float, ...]:
    """Masses in GeV, one a line."""
    return tuple(float(m) for m in np.unique(_numbers(path, 1)[:, 0]))


def j_samples_files(directory: Path) -> dict[str, Path]:
    """Files of J-factor samples by dwarf."""
    found = sorted((directory / "Jfactors").glob("Jfac_*.txt"))
    names = [path.stem.removeprefix("Jfac_") for path in found]
    return {_SAMPLE_NAMES.get(name, name): path for name, path in zip(names, found, strict=True)}


def read_j_samples(path: Path) -> Floats:
    """Samples of log10 of J in GeV^2/cm^5."""
    return _read_j_samples(_stamp(path))


@lru_cache(maxsize=64)
def _read_j_samples(path: tuple[str, int, int]) -> Floats:
    values = _numbers(Path(path[0]), 1)[:, 0]
    if (values <= 0).any():
        raise CorruptFile(path[0], "holds J factors that are not positive")
    return np.asarray(np.log10(values))
