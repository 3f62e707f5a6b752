"""The regression benchmark: its peers agree with the kernels, and its file holds every figure it promises."""

import json

import numpy as np
import pytest

from vrecompute.kernels.numerics.regress import regress
from vrecompute.kernels.numerics.score import score

regression = pytest.importorskip("benchmarks.regression", reason="needs the extra 'bench': scikit-learn")


@pytest.mark.parametrize("kind", ["dense", "sky"])
def test_peers_of_the_regression_agree(kind):
    train, y, query, s, cut = regression.training(kind, 3000, 20)
    ours = regress(train, y, query, s, metric="planar", cut_sigma=cut)
    seen = ours.weight[:, 0] > 1e-3
    for dtype, error in (("float64", 1e-9), ("float32", 1e-3)):
        mean, variance = regression.regress_numpy(train, y, query, s, dtype)
        assert np.abs(mean - ours.mean)[seen].max() < error
        assert np.abs(variance - ours.variance)[seen].max() < error
    if kind == "sky":  # nearest neighbours are all that matters there alone
        assert np.abs(regression.knn(train, y, query, s, 2500) - ours.mean)[seen].max() < 1e-6


def test_peers_of_the_score_agree(monkeypatch):
    monkeypatch.delenv("VRECOMPUTE_TEST_DATA", raising=False)
    positions, n, what = regression.voids()
    positions, n = positions[:1500], n[:1500]
    assert what.startswith("generated")
    found = score(positions, n, 6.0, regression.V, metric="planar")
    monkeypatch.setattr(regression, "S_DEG", 6.0)
    assert regression.score_numpy(positions, n) == pytest.approx(found.value, rel=1e-9)
    clear = found.sums[:100] > 1e-3
    assert np.allclose(regression.kde_sums(positions, n, 100)[clear], found.sums[:100][clear], rtol=1e-9)


@pytest.mark.slow
def test_the_file_holds_ratios_errors_and_goals(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VRECOMPUTE_TEST_DATA", raising=False)
    positions, n, what = regression.voids()
    monkeypatch.setattr(regression, "voids", lambda: (positions[::8], n[::8], what))
    monkeypatch.setattr(regression, "S_DEG", 6.0)
    file = tmp_path / "figures.json"
    small = ["regression", "--points", "4000", "--queries", "200", "--rounds", "1", "--json", str(file)]
    monkeypatch.setattr("sys.argv", small)
    assert regression.main() == 0
    figures = json.loads(file.read_text())
    assert figures["identical"] is True
    assert {"numpy", "sklearn_kde", "numba_brute"} <= figures["score"]["ratios"].keys()
    assert figures["dense"]["share_of_sgemm"]["median"] > 0
    assert set(figures["goals"]) >= {"score over numpy", "60 % of sgemm"}
    assert "ratios" in capsys.readouterr().out
