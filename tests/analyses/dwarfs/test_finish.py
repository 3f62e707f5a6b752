"""Products and figures of every step; what a TS with a fixed background is called."""

import csv
import json

import numpy as np
import pytest

from tests.analyses.dwarfs.conftest import copy
from vrecompute.errors import UsageError
from vrecompute_analyses.dwarfs.estimators import ESTIMATORS
from vrecompute_analyses.dwarfs.figures import figures
from vrecompute_analyses.dwarfs.finish import finish
from vrecompute_analyses.dwarfs.process import Dwarfs

FILES = {
    "bandwidths": {"bandwidths.csv"},
    "predict": {"background.csv"},
    "limits": {"limits.csv", "expected.csv", "notes.txt"},
    "map": {"map_4_deg.fits", "map_6_deg.fits"},
    "estimators": {"estimators.csv"},
}
PARAMETERS = {
    "bandwidths": {},
    "predict": {"bandwidth_deg": 5},
    "limits": {"bandwidth_deg": 5, "bandwidth_ln_counts": 0.2, "stack": "Draco,LeoII", "pseudo_experiments": 5},
    "map": {"nside": 4, "map_bandwidths_deg": "4,6"},
    "estimators": {"bandwidth_deg": 5, "bandwidth_ln_counts": 0.2},
}


def plain(value):
    """As the framework keeps products: JSON, None for what is not a number."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def few_estimators(monkeypatch):
    """Those that need no time."""
    quick = {name: ESTIMATORS[name] for name in ("kernel", "nearest")}
    monkeypatch.setattr("vrecompute_analyses.dwarfs.process.ESTIMATORS", quick)


@pytest.mark.parametrize("step", FILES)
def test_every_step_has_products_and_figures(step, tables_dir, process, context):
    result = process(tables_dir, step=step, **PARAMETERS[step])
    analysis = Dwarfs(step=step, **PARAMETERS[step])
    products = json.loads(json.dumps(plain(finish({"dwarfs": result}, analysis, context))))
    assert {p.name for p in context.directory.iterdir()} == FILES[step]
    assert products["complete"] is True
    drawn = figures(products, {"dwarfs": result}, context)
    assert len(drawn) >= 2
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_limits_are_a_table_of_targets(tables_dir, process, context):
    result = process(tables_dir, step="limits", **PARAMETERS["limits"])
    products = finish({"dwarfs": result}, Dwarfs(step="limits", **PARAMETERS["limits"]), context)
    rows = table(context.directory / "limits.csv")
    assert list(rows[0]) == ["target", "channel", "mass_gev", "sigmav_cm3_s", "cl", "background"]
    assert {r["target"] for r in rows} == {"Draco", "Sculptor", "LeoII", "Draco+LeoII", "all"}
    assert {(r["cl"], r["background"], r["channel"]) for r in rows} == {("0.95", "fixed", "bb")}
    limits = {(r["target"], float(r["mass_gev"])): float(r["sigmav_cm3_s"] or "nan") for r in rows}
    assert 1e-27 < limits["all", 100.0] < 1e-22
    curve = products["curves"]["bb"]["all"]
    assert np.all(np.diff(curve["expected_cm3_s"], axis=0) >= 0)


def test_backgrounds_are_a_table(tables_dir, process, context):
    finish(
        {"dwarfs": process(tables_dir, step="predict", bandwidth_deg=5)},
        Dwarfs(step="predict", bandwidth_deg=5),
        context,
    )
    rows = table(context.directory / "background.csv")
    assert list(rows[0]) == ["dwarf", "bin", "counts_observed", "ln_background", "ln_background_error"]
    assert len(rows) == 3 * 6


def test_a_large_ts_is_explained_and_never_called_a_signal(tables_dir, process, context):
    for background, words in (("fixed", "None of this is a signal"), ("profiled", "no evidence of a signal")):
        parameters = {"background": background, **PARAMETERS["limits"]}
        result = process(tables_dir, step="limits", **parameters)
        for name, array in result.arrays.items():
            if name.startswith("likelihood/"):
                array.values[:, 3] += 8.0  # at no signal
        analysis = Dwarfs(step="limits", **parameters)
        products = finish({"dwarfs": result}, analysis, context)
        assert words in " ".join(products["notes"])
        assert words in (context.directory / "notes.txt").read_text()


def test_a_stack_says_which_dwarfs_it_is_without(tables_dir, process, context):
    parameters = {**PARAMETERS["limits"], "dwarfs": "Draco,Sculptor"}
    result = process(tables_dir, step="limits", **parameters)
    products = finish({"dwarfs": result}, Dwarfs(step="limits", **parameters), context)
    assert "without LeoII" in " ".join(products["notes"])
    assert set(products["curves"]["bb"]) == {"Draco", "Sculptor", "all"}


def test_limits_with_a_profiled_background_are_given_for_both_scalings(tables_dir, process, context):
    parameters = {**PARAMETERS["limits"], "background": "profiled", "background_scaling": "published"}
    result = process(tables_dir, step="limits", **parameters)
    products = json.loads(json.dumps(plain(finish({"dwarfs": result}, Dwarfs(step="limits", **parameters), context))))
    for row in table(context.directory / "limits.csv"):
        assert row["sigmav_cm3_s"] == row["sigmav_cm3_s_published"]
        assert float(row["sigmav_cm3_s_factor"]) / float(row["sigmav_cm3_s"]) == pytest.approx(1, abs=0.3)
        assert row["sigmav_cm3_s_factor"] != row["sigmav_cm3_s"]
    assert products["curves"]["bb"]["all"]["observed_cm3_s_by_scaling"].keys() == {"factor", "published"}
    assert figures(products, {"dwarfs": result}, context)


def test_a_background_without_logarithm_has_no_published_scaling(tables_dir, tmp_path, process, context):
    copy(tables_dir, tmp_path)
    counts = np.loadtxt(tables_dir / "misc/Newbins_counts_voids.dat")
    counts[:, 0] = 1
    np.savetxt(tmp_path / "misc/Newbins_counts_voids.dat", counts)
    parameters = {**PARAMETERS["limits"], "background": "profiled"}
    result = process(tmp_path, step="limits", **parameters)
    products = finish({"dwarfs": result}, Dwarfs(step="limits", **parameters), context)
    rows = table(context.directory / "limits.csv")
    assert {bool(row["sigmav_cm3_s_published"]) for row in rows} == {False}
    assert {bool(row["sigmav_cm3_s_factor"]) for row in rows} == {True}
    assert "published scaling" in " ".join(products["notes"])
    with pytest.raises(UsageError, match="choose factor"):
        process(tmp_path, step="limits", background_scaling="published", **parameters)
