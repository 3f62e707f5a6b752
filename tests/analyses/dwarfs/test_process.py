"""The steps of the analysis over their grids: any grouping of items gives the same bytes."""

import numpy as np
import pytest

from tests.analyses.dwarfs.conftest import DWARFS, copy, truth
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import BadInput, CorruptFile, ParameterError, UnreadableFile, UsageError
from vrecompute_analyses.dwarfs.process import Dwarfs

STEPS = {
    "bandwidths": {},
    "predict": {"bandwidth_deg": 5},
    "limits": {"bandwidth_deg": 5, "bandwidth_ln_counts": 0.2, "channel": "bb,tautau", "pseudo_experiments": 3},
    "map": {"nside": 4, "map_bandwidths_deg": "4,6"},
}


@pytest.mark.parametrize("step", STEPS)
def test_any_grouping_of_items_gives_the_same_bytes(step, tables_dir, process):
    whole = process(tables_dir, chunk=10**6, step=step, **STEPS[step])
    for chunk in (1, 7) if step != "map" else (50, 191):
        parts = process(tables_dir, chunk=chunk, step=step, **STEPS[step])
        assert list(parts.arrays) == list(whole.arrays)
        for name, array in whole.arrays.items():
            assert parts.arrays[name].values.tobytes() == array.values.tobytes(), name
        assert parts.counters == whole.counters


def test_prediction_finds_the_true_background(tables_dir, process):
    found = process(tables_dir, step="predict", bandwidth_deg=6)
    expected = np.log(truth(np.array(list(DWARFS.values()))))
    for row, name in zip(expected, DWARFS, strict=True):
        assert np.all(np.abs(found.arrays[f"ln_background/{name}"].values - row) < 0.15)
        assert np.all(found.arrays[f"ln_background_error/{name}"].values > 0.05)


def test_map_covers_the_sky_and_counts_what_it_cannot_predict(tables_dir, process):
    found = process(tables_dir, step="map", nside=8, bandwidth_deg=0.5, bandwidth_ln_counts=0.2)
    assert found.arrays["pixel/0.5_deg"].values.tolist() == list(range(768))
    missing = np.isnan(found.arrays["ln_background/0.5_deg"].values).sum()
    assert missing > 0
    assert found.counters["predictions without a neighbour"] == missing


def test_grids_differ_where_their_work_does(tables_dir):
    def grid(**parameters):
        return Dwarfs(**parameters).open_directory(tables_dir).grids[0]

    assert grid(step="limits").size == 3 * 3
    assert grid(step="limits", channel="bb,WW", mass_range_gev="50,2000", dwarfs="Draco").size == 2 * 2
    assert grid(step="predict", dwarfs="LeoII,Draco").description["dwarf"] == ["LeoII", "Draco"]
    assert grid(step="map", nside=8).description == {"step": "map", "bandwidth_deg": [0.0], "pixel": 768}
    assert grid(step="map", nside=8).description != grid(step="map", nside=16).description


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"dwarfs": "Drako"}, "Drako is not among Draco"),
        ({"channel": "bb,xx"}, "xx is not among"),
        ({"channel": ""}, "nothing"),
        ({"mass_range_gev": "2,3"}, "holds no mass"),
        ({"step": "map", "nside": 12}, "power of two"),
        ({"step": "guess"}, "choose one of"),
    ],
)
def test_senseless_parameters_are_refused_before_anything_runs(tables_dir, parameters, words):
    with pytest.raises(ParameterError, match=words):
        Dwarfs(**parameters).open_directory(tables_dir)


@pytest.mark.parametrize(
    ("file", "text", "error", "words"),
    [
        ("misc/voids_all_25dSphs.dat", None, UnreadableFile, "is missing"),
        ("misc/voids_all_25dSphs.dat", "1 2\nx y\n", CorruptFile, "not a table of numbers"),
        ("misc/voids_all_25dSphs.dat", "1 2\n3 4\n", CorruptFile, "2 positions"),
        ("misc/voids_all_25dSphs.dat", "1 200\n" * 1500, CorruptFile, "latitudes"),
        ("misc/Newbins_counts_voids.dat", "1 2 3 4 5 -6\n" * 1500, CorruptFile, "negative"),
        ("misc/Newbins_counts_voids.dat", "1 2 3\n" * 1500, CorruptFile, "3 columns where 6"),
        ("default_dwarf_summary_table.dat", "Draco 1 2 3\n", CorruptFile, "Draco has 3 numbers"),
        ("default_dwarf_summary_table.dat", "# none\n", BadInput, "lists no dwarf"),
        ("misc/dwarf_counts_observed.dat", "Draco 1 2 3 4 5 6\n", CorruptFile, "no counts of Sculptor"),
        ("scan_DM_mass.dat", "", CorruptFile, "not a table"),
    ],
)
def test_a_bad_table_is_named(tables_dir, tmp_path, process, file, text, error, words):
    copy(tables_dir, tmp_path)
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
    with pytest.raises(error, match=words) as caught:
        process(tmp_path, step="limits", bandwidth_deg=5)
    assert file.rsplit("/")[-1] in str(caught.value)


def test_a_dwarf_far_from_every_void_is_an_error_with_advice(tables_dir, process):
    with pytest.raises(UsageError, match="larger bandwidth_deg"):
        process(tables_dir, step="limits", bandwidth_deg=0.01, bandwidth_ln_counts=0.2)


def test_a_bandwidth_narrower_than_the_gaps_has_no_score(tables_dir, process):
    with pytest.raises(UsageError, match=r"bandwidth_deg=0\.01: no pair of bandwidths has a finite score"):
        process(tables_dir, step="predict", bandwidth_deg=0.01)


@pytest.mark.parametrize("estimator", ["nearest", "forest"])
def test_any_estimator_predicts_backgrounds_and_limits(estimator, tables_dir, process):
    parameters = {"estimator": estimator, "bandwidth_deg": 5, "bandwidth_ln_counts": 0.2}
    found = process(tables_dir, step="predict", **parameters)
    expected = np.log(truth(np.array([DWARFS["Draco"]])))[0]
    assert np.all(np.abs(found.arrays["ln_background/Draco"].values - expected) < 0.25)
    limits = process(tables_dir, step="limits", background="profiled", pseudo_experiments=1, **parameters)
    assert np.isfinite(limits.arrays["likelihood/factor/bb/Draco"].values).all()


def test_process_needs_nothing_but_index_and_resources(tables_dir):
    analysis = Dwarfs(step="predict", bandwidth_deg=5)
    opening = analysis.open_directory(tables_dir)
    assert analysis.columns(None) == ()
    columns = Columns({"index": Column(np.array([1]))}, Sample("any"), 1, 2, resources=opening.resources)
    assert "ln_background/Sculptor" in analysis.process(columns).arrays
