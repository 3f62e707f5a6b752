"""Numbers of the published analysis, from its own data."""

import numpy as np
import pytest

from vrecompute.kernels.numerics.regress import regress
from vrecompute.kernels.numerics.score import best_bandwidths, score, score_grid
from vrecompute_analyses.dwarfs.tables import FILES, read_voids
from vrecompute_analyses.dwarfs.training import bandwidth_grid

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def voids(published):
    return read_voids(published / FILES["voids"], published / FILES["void_counts"])


def test_zero_counts_leave_a_bin(voids):
    assert len(voids.counts) == 13178
    assert (voids.counts == 0).sum(axis=0).tolist() == [29, 45, 95, 190, 142, 174]


def test_bandwidth_score(voids):
    n = voids.counts[:, 0]
    found = score(voids.positions_deg[n > 0], n[n > 0], 1.4, 0.15, metric="planar")
    assert found.value == pytest.approx(-188031.2609832181, rel=1e-9)


def test_best_bandwidths_of_the_published_grid(voids):
    n = voids.counts[:, 0]
    s_grid, v_grid = bandwidth_grid("planar")
    grid = score_grid(voids.positions_deg[n > 0], n[n > 0], s_grid, v_grid, metric="planar")
    assert best_bandwidths(grid, s_grid, v_grid) == pytest.approx((1.9364, 0.11679), abs=1e-4)


def test_all_predictions_against_a_plain_implementation(published, voids, process):
    found = process(published, step="predict", metric="planar", bandwidth_deg=1.4, bandwidth_ln_counts=0.15)
    draco = np.exp(found.arrays["ln_background/Draco"].values)
    assert draco == pytest.approx([76.39, 53.52, 48.57, 30.82, 42.16, 35.91], abs=0.005)
    checked = 0
    for name, array in found.arrays.items():
        kind, _, dwarf = name.partition("/")
        if kind != "ln_background":
            continue
        position = found.arrays[f"position_deg/{dwarf}"].values
        for k in range(6):
            n = voids.counts[:, k]
            d2 = ((voids.positions_deg - position) ** 2).sum(axis=1)[n > 0]
            w, y = np.exp(-d2 / (2 * 1.4**2)), np.log(n[n > 0])
            mean = np.sum(w * y) / np.sum(w)
            variance = 0.15**2 + np.sum(w * y**2) / np.sum(w) - mean**2
            assert array.values[k] == pytest.approx(mean, rel=1e-12)
            error = found.arrays[f"ln_background_error/{dwarf}"].values[k]
            assert error == pytest.approx(np.sqrt(variance), rel=1e-11)
            checked += 1
    assert checked == 150


def test_near_the_pole_the_metrics_differ(voids):
    y, valid = np.log(np.maximum(voids.counts, 1)), voids.counts > 0
    sphere, planar = (
        regress(voids.positions_deg, y, [[287.5, -83.2]], 1.4, metric=m, valid=valid) for m in ("sphere", "planar")
    )
    assert np.abs(sphere.mean - planar.mean).max() > 0.05
    assert np.all(sphere.weight > 2 * planar.weight)
