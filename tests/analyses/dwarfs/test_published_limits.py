"""Limits from the published data against brute force, from the tables up, and against numbers found elsewhere."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analyses.dwarfs import brute
from tests.conftest import ACCEPTANCE
from vrecompute_analyses.dwarfs.finish import finish
from vrecompute_analyses.dwarfs.likelihood import SCALINGS, photons_per_annihilation
from vrecompute_analyses.dwarfs.process import Dwarfs
from vrecompute_analyses.dwarfs.tables import CHANNELS, FILES, read_dwarfs, read_j_samples, read_spectra, read_voids

pytestmark = pytest.mark.data
S_DEG, V = 1.4, 0.15
PARAMETERS = {"metric": "planar", "bandwidth_deg": S_DEG, "bandwidth_ln_counts": V}
FOUR = "Draco+Sculptor+UrsaMinor+LeoII"


@pytest.fixture
def limits(published, process, context):
    """The rows of limits.csv by (target, mass) of a run with some parameters."""

    def of(**parameters):
        given = {**PARAMETERS, "pseudo_experiments": 0, **parameters}
        result = process(published, step="limits", **given)
        products = finish({"dwarfs": result}, Dwarfs(step="limits", **given), context)
        with (context.directory / "limits.csv").open() as file:
            return {(row["target"], float(row["mass_gev"])): row for row in csv.DictReader(file)}, products

    return of


class Plain:
    """The likelihood of one dwarf, channel and mass from the published tables, written as plainly as possible."""

    def __init__(self, folder, name, channel, mass_gev):
        (dwarf,) = (d for d in read_dwarfs(folder / FILES["dwarfs"], folder / FILES["observed"]) if d.name == name)
        voids = read_voids(folder / FILES["voids"], folder / FILES["void_counts"])
        photons = photons_per_annihilation(read_spectra(folder / FILES["spectra"], channel), mass_gev)
        self.folder, self.dwarf = folder, dwarf
        self.signal = 10**dwarf.log10_j * photons * dwarf.exposure_cm2_s / (8 * np.pi * mass_gev**2)
        weight = np.exp(-0.5 * ((voids.positions_deg - dwarf.position_deg) ** 2).sum(axis=1) / S_DEG**2)
        self.ln_counts, self.variance = np.empty(6), np.empty(6)
        for k in range(6):
            n = voids.counts[:, k]
            w, y = weight[n > 0], np.log(n[n > 0])
            self.ln_counts[k] = (w * y).sum() / w.sum()
            self.variance[k] = V**2 + (w * y**2).sum() / w.sum() - self.ln_counts[k] ** 2
            if k == 0:
                self.of_first_bin = w, y

    def background(self, profiled):
        """-2 ln p(ln B_0 | position) by its shift from the prediction, out to six errors."""
        if not profiled:
            return brute.gaussian(0)
        w, y = self.of_first_bin
        reach = 6 * np.sqrt(self.variance[0])
        at = np.linspace(-reach, reach, 1001)
        p = np.array([(w * np.exp(-0.5 * ((self.ln_counts[0] + b - y) / V) ** 2)).sum() for b in at])
        return -reach, reach, lambda shift: np.interp(shift, at, -2 * np.log(p / p.max()))

    def j(self, factor):
        """-2 ln p of the shift of log10 J."""
        file = self.folder / f"Jfactors/Jfac_{'UMi' if self.dwarf.name == 'UrsaMinor' else self.dwarf.name}.txt"
        if factor == "gaussian" or not file.is_file():
            return brute.gaussian(self.dwarf.log10_j_error)
        samples = read_j_samples(file) - self.dwarf.log10_j
        width = samples.std(ddof=1) * len(samples) ** -0.2
        at = np.linspace(samples.min() - 3 * width, samples.max() + 3 * width, 1001)
        p = np.array([np.exp(-0.5 * ((d - samples) / width) ** 2).sum() for d in at])
        return at[0], at[-1], lambda d: np.interp(d, at, -2 * np.log(p / p.max()))

    def function(self, profiled=False, scaling="factor", j_factor="gaussian", points=101):
        """-2 ln L of the cross-section."""
        per_bin = self.ln_counts / self.ln_counts[0] if scaling == "published" else np.ones(6)
        what = (self.dwarf.counts, self.signal, np.exp(self.ln_counts), per_bin)
        priors = self.j(j_factor), self.background(profiled)
        return lambda sv: brute.minus_two_ln_l(sv, *what, *priors, points)


@pytest.mark.parametrize(
    ("target", "mass_gev", "expected"),
    [("Sculptor", 10, 5.848e-27), (FOUR, 10, 4.728e-27), ("Draco", 100, 5.977e-26), (FOUR, 100, 5.76e-26)],
)
def test_limits_found_by_brute_force_elsewhere(target, mass_gev, expected, limits):
    rows, _ = limits(mass_range_gev=f"{mass_gev},{mass_gev}", dwarfs=FOUR.replace("+", ","))
    assert float(rows[target, mass_gev]["sigmav_cm3_s"]) / expected == pytest.approx(1, abs=0.001)


@settings(max_examples=200 if ACCEPTANCE else 12)
@given(data=st.data())
def test_any_limit_is_that_of_brute_force(data, published, limits):
    names = [d.name for d in read_dwarfs(published / FILES["dwarfs"], published / FILES["observed"])]
    name = data.draw(st.sampled_from(names))
    channel = data.draw(st.sampled_from(sorted(CHANNELS)))
    mass = data.draw(st.sampled_from([8, 20, 90, 200, 300, 1000]))
    j_factor = data.draw(st.sampled_from(["gaussian", "samples"]))
    profiled = data.draw(st.booleans())
    rows, _ = limits(
        dwarfs=name,
        channel=channel,
        mass_range_gev=f"{mass},{mass}",
        j_factor=j_factor,
        background="profiled" if profiled else "fixed",
    )
    plain = Plain(published, name, channel, mass)
    for scaling in SCALINGS if profiled else ("factor",):
        found = rows[name, mass][f"sigmav_cm3_s_{scaling}" if profiled else "sigmav_cm3_s"]
        if not plain.signal.sum() > 0:
            assert found == ""
            continue
        unit = 1 / plain.signal.sum()
        expected, _ = brute.upper_limit(plain.function(profiled, scaling, j_factor), 1e-2 * unit, 1e5 * unit)
        assert float(found or "nan") / expected == pytest.approx(1, abs=0.005), (name, channel, mass, scaling)


def test_a_stack_with_a_profiled_background_in_both_scalings(published, limits):
    four = FOUR.split("+")
    parameters = {"mass_range_gev": "10,10", "dwarfs": ",".join(four), "background": "profiled"}
    for chosen in SCALINGS:
        rows, products = limits(background_scaling=chosen, **parameters)
        assert products["background_scaling"] == chosen
        assert rows[FOUR, 10]["sigmav_cm3_s"] == rows[FOUR, 10][f"sigmav_cm3_s_{chosen}"]
    for scaling in SCALINGS:
        functions = [Plain(published, name, "bb", 10.0).function(True, scaling, points=51) for name in four]
        expected, _ = brute.upper_limit(lambda sv, f=functions: sum(g(sv) for g in f), 1e-27, 1e-24)
        assert float(rows[FOUR, 10][f"sigmav_cm3_s_{scaling}"]) / expected == pytest.approx(1, abs=0.005)
        (found,) = products["curves"]["bb"][FOUR]["observed_cm3_s_by_scaling"][scaling]
        assert found / expected == pytest.approx(1, abs=0.005)


def test_all_dwarfs_together_prefer_a_signal_and_a_note_says_that_it_is_none(limits):
    _, products = limits(mass_range_gev="100,100")
    assert products["curves"]["bb"]["all"]["ts"][0] == pytest.approx(16.5, abs=0.1)
    assert "None of this is a signal" in " ".join(products["notes"])
