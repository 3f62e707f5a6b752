"""A small directory of tables with known truth, and a way to run a step of the analysis over its whole grid."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute_analyses.dwarfs.process import Dwarfs

DWARFS = {"Draco": (86.4, 34.7), "Sculptor": (287.5, -83.2), "LeoII": (220.2, 67.2)}


def truth(positions):
    """True background counts (N, 6) of positions: smooth in latitude."""
    level = 20 + 80 * np.exp(-np.abs(positions[:, 1:]) / 30)
    return level * np.array([1.0, 0.8, 0.6, 0.5, 0.5, 0.4])


@pytest.fixture(scope="session")
def published(data_dir, absent) -> Path:
    """The published directory."""
    folder = data_dir / "fermi_mldwarfs"
    if not folder.is_dir():
        absent("data", f"{folder} is missing")
    return folder


@pytest.fixture(scope="session")
def tables_dir(tmp_path_factory) -> Path:
    """Tables of 1500 voids and three dwarfs in the layout of the published ones."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "misc").mkdir()
    (folder / "Jfactors").mkdir()
    rng = np.random.default_rng(7)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 1500)))
    positions = np.stack([rng.uniform(0, 360, 1500), lat], axis=1)
    np.savetxt(folder / "misc/voids_all_25dSphs.dat", positions)
    np.savetxt(folder / "misc/Newbins_counts_voids.dat", rng.poisson(truth(positions)))
    where = np.array(list(DWARFS.values()))
    exposures = " ".join(["4e11"] * 24)
    lines = [f"{n} {p[0]} {p[1]} 18.5 0.1 {exposures}\n" for n, p in DWARFS.items()]
    (folder / "default_dwarf_summary_table.dat").write_text("# a comment\n" + "".join(lines))
    counts = rng.poisson(truth(where))
    lines = [f"{n} {' '.join(map(str, c))}\n" for n, c in zip(DWARFS, counts, strict=True)]
    (folder / "misc/dwarf_counts_observed.dat").write_text("".join(lines))
    (folder / "scan_DM_mass.dat").write_text("10\n100\n1000\n")
    x = np.linspace(-8.9, 0, 90)
    rows = []
    for mass in (5.0, 50.0, 500.0, 5000.0):
        spectrum = 30 * 10 ** (0.5 * (x + 1)) * np.exp(-8 * 10**x)
        rows += [[mass, u, *([s] * 29)] for u, s in zip(x, spectrum, strict=True)]
    np.savetxt(folder / "AtProduction_gammas.dat", rows, header="mDM Log10x ...", comments="# ")
    np.savetxt(folder / "Jfactors/Jfac_Draco.txt", 10 ** rng.normal(18.5, 0.1, 300))
    return folder


def copy(source, target):
    """The files of a folder in another."""
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())


def process(directory, chunk=None, **parameters):
    """The Result of every item of a step, in chunks of `chunk`."""
    analysis = Dwarfs(**parameters)
    opening = analysis.open_directory(directory)
    (grid,) = opening.grids
    size = chunk or grid.chunk_items
    parts = []
    for start in range(0, grid.size, size):
        stop = min(start + size, grid.size)
        columns = {"index": Column(np.arange(start, stop, dtype=np.int64))}
        parts.append(analysis.process(Columns(columns, Sample("dwarfs"), start, stop, resources=opening.resources)))
    return reduce(add, parts)


@pytest.fixture(scope="session", name="process")
def _process():
    """The function `process(directory, chunk, **parameters)`."""
    return process


@pytest.fixture
def context(tmp_path):
    """The context of a complete run."""
    return SimpleNamespace(directory=tmp_path, complete=True, completeness=1.0)
