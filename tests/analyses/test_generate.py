"""The generator: same seed, same bytes; any cut of the same stream; distributions as its truth file says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vrecompute import reader
from vrecompute.analysis import SourceView
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.columns import Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import UnreadableFile, UsageError
from vrecompute.execution.reading import reading_of
from vrecompute_analyses.dilepton.generate import SignalSpec, generate
from vrecompute_analyses.dilepton.generator import physics
from vrecompute_analyses.dilepton.generator.events import EventBatch, truncate_mantissa
from vrecompute_analyses.dilepton.generator.layout import LAYOUTS
from vrecompute_analyses.dilepton.generator.mixture import MIXTURES, EventSource
from vrecompute_analyses.dilepton.generator.rootfile import FROZEN_DATE
from vrecompute_analyses.dilepton.process import Dilepton


def digests(directory: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.iterdir())}


def columns(paths, tree="Events", names=("event", "Electron_pt", "Muon_phi", "Jet_eta", "genWeight")) -> ak.Array:
    return ak.concatenate([uproot.open(p)[tree].arrays(list(names)) for p in paths])


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("sample"), 60_000, 2, seed=3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("wide"), 40_000, 1, seed=3, layout="benchmark")


@pytest.mark.parametrize("format", ["ttree", "rntuple"])
def test_same_seed_same_bytes_in_another_process(tmp_path, format):
    code = (
        "import sys; from pathlib import Path; from vrecompute_analyses.dilepton.generate import generate\n"
        f"generate(Path(sys.argv[1]), 3000, 2, seed=11, cluster_bytes=100_000, format={format!r})"
    )
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, timeout=120)
    generate(tmp_path / "here", 3000, 2, seed=11, cluster_bytes=100_000, format=format)
    first = digests(tmp_path / "a")
    assert set(first) == {"events_0000.root", "events_0001.root", "truth.json", "dataset.yaml"}
    assert first == digests(tmp_path / "b") == digests(tmp_path / "here")


def test_no_file_holds_the_time_of_writing(tmp_path):
    """Bytes are the same on another day only if every date in the file is the frozen one."""
    made = generate(tmp_path, 2000, 1, seed=1)
    with uproot.open(made.files[0]) as file:
        assert {file.key(name).fDatime for name in file} == {uproot._util.datetime_to_code(FROZEN_DATE)}
        assert file.created_on == file.modified_on == FROZEN_DATE


def test_another_seed_gives_other_bytes_and_another_identity(tmp_path):
    one, two = (generate(tmp_path / str(s), 1000, 1, seed=s) for s in (1, 2))
    assert digests(one.directory)["events_0000.root"] != digests(two.directory)["events_0000.root"]
    assert uproot.open(one.files[0]).file.uuid != uproot.open(two.files[0]).file.uuid


def test_the_files_of_a_sample_have_distinct_identities(sample):
    assert len({uproot.open(p).file.uuid for p in sample.files}) == len(sample.files)


@pytest.mark.parametrize(
    "other", [{"files": 5}, {"cluster_bytes": 40_000}, {"compression": "lz4"}, {"format": "rntuple"}]
)
def test_events_do_not_depend_on_how_they_are_cut_or_stored(tmp_path, other):
    plain = generate(tmp_path / "plain", 12_345, 1, seed=5)
    cut = generate(tmp_path / "cut", 12_345, **({"files": 2} | other), seed=5)
    expected, found = columns(plain.files), columns(cut.files)
    assert ak.array_equal(expected, found, dtype_exact=False)
    assert cut.truth["processes"] == plain.truth["processes"]


@given(st.integers(0, 25_000), st.integers(1, 3_000))
@settings(max_examples=8, deadline=None)
def test_any_range_is_a_slice_of_the_stream(start, length):
    source = EventSource(9, MIXTURES["search"], None)
    whole = EventSource(9, MIXTURES["search"], None).events(0, 30_000).sliced(start, start + length)
    part = source.events(start, start + length)
    assert len(part) == length
    assert_same(part, whole)


def assert_same(a: EventBatch, b: EventBatch) -> None:
    for name, values in a.scalars.items():
        np.testing.assert_array_equal(values, b.scalars[name])
    for name, collection in a.collections.items():
        np.testing.assert_array_equal(collection.counts, b.collections[name].counts)
        for member, values in collection.members.items():
            np.testing.assert_array_equal(values, b.collections[name].members[member])


def test_fewer_events_are_the_beginning_of_more(tmp_path):
    few, many = generate(tmp_path / "few", 500, 1, seed=2), generate(tmp_path / "many", 900, 1, seed=2)
    assert ak.array_equal(columns(few.files), columns(many.files)[:500])


def test_event_numbers_are_unique_and_sections_follow(sample):
    events = columns(sample.files, names=("run", "luminosityBlock", "event"))
    assert ak.to_list(events.event[:3]) == [1, 2, 3]
    assert len(np.unique(ak.to_numpy(events.event))) == sample.events
    np.testing.assert_array_equal(events.luminosityBlock, (events.event - 1) // 1000 + 1)


def test_the_z_peak_is_where_truth_says(sample):
    a = columns(sample.files, names=("Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge", "Muon_mediumId"))
    leptons = ak.zip({n[5:]: a[n] for n in a.fields})
    leptons = leptons[(leptons.pt > 30) & leptons.mediumId]
    pairs = leptons[ak.num(leptons) >= 2][:, :2]
    one, two = pairs[:, 0], pairs[:, 1]
    mass = np.sqrt(2 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi)))
    peak = ak.to_numpy(mass[(mass > 81) & (mass < 101)])
    assert peak.size > 4_000
    assert abs(np.median(peak) - sample.truth["z"]["mass_gev"]) < 0.3
    assert ak.mean(one.charge * two.charge < 0) > 0.99


def test_truth_counts_what_the_files_hold(sample):
    truth = json.loads((sample.directory / "truth.json").read_text())
    assert truth == sample.truth
    events = columns(sample.files, names=("genProcess", "genDileptonPdgId", "genDileptonMass", "genWeight"))
    zprime = events[events.genProcess == 3]
    assert len(zprime) == truth["processes"]["zprime"]["events"] == truth["zprime"]["events"] > 20
    assert ak.sum(zprime.genDileptonPdgId == 11) == truth["processes"]["zprime"]["ee"]
    assert abs(np.median(ak.to_numpy(zprime.genDileptonMass)) - 1200) < truth["zprime"]["width_gev"]
    assert sum(p["events"] for p in truth["processes"].values()) == sample.events
    assert ak.all(events.genWeight == 1)


def test_no_signal_means_none(tmp_path):
    made = generate(tmp_path, 20_000, 1, seed=3, signal=None)
    assert made.truth["zprime"] is None
    assert made.truth["processes"]["zprime"]["events"] == 0


def test_the_signal_takes_its_share():
    events = EventSource(4, MIXTURES["search"], SignalSpec(fraction=0.05)).events(0, 20_000)
    assert np.mean(events.scalars["genProcess"] == 3) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(("mass", "width"), [(300.0, 0.005), (1200.0, 0.012), (3000.0, 0.012)])
def test_resonance_has_the_mass_and_width_it_was_given(mass, width):
    table = physics.resonance(SignalSpec(mass, width))
    low, middle, high = table.sample(np.array([0.25, 0.5, 0.75]))
    # A Breit-Wigner's quartiles are half a width from the pole; falling parton luminosity pulls them down a little.
    assert abs(middle - mass) < 0.2 * mass * width
    assert high - low == pytest.approx(mass * width, rel=0.15)


def test_decay_conserves_the_invariant_mass():
    rng = np.random.default_rng(1)
    mass = np.geomspace(40, 5000, 2_000)
    pt, eta, phi = physics.decay(mass, rng)
    found = np.sqrt(2 * pt[:, 0] * pt[:, 1] * (np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])))
    np.testing.assert_allclose(found, mass, rtol=1e-6)
    assert np.all(np.abs(phi) <= np.pi)


def test_benchmark_sample_is_the_one_peers_are_compared_on(wide):
    tree = uproot.open(wide.files[0])["Events"]
    assert len(tree.keys()) == 101
    assert 0.93 * 454 < wide.files[0].stat().st_size / wide.events < 1.07 * 454
    a = tree.arrays(["nElectron", "nMuon", "HLT_Ele32_WPTight_Gsf", "HLT_IsoMu24", "genWeight"])
    assert ak.mean(a.nElectron) == pytest.approx(1.35, abs=0.03)
    assert ak.mean(a.nMuon) == pytest.approx(1.35, abs=0.03)
    assert ak.mean(a["HLT_Ele32_WPTight_Gsf"]) == pytest.approx(0.35, abs=0.015)
    assert ak.mean(a["HLT_IsoMu24"]) == pytest.approx(0.35, abs=0.015)
    assert 0.03 < ak.mean(a.genWeight < 0) < 0.07


def test_clusters_have_the_size_asked_for(tmp_path):
    made = generate(tmp_path, 20_000, 1, layout="benchmark", cluster_bytes=2_000_000)
    expected = 20_000 * LAYOUTS["benchmark"].bytes_per_event / 2_000_000
    assert uproot.open(made.files[0])["Events"]["run"].num_baskets == pytest.approx(expected, abs=1)


def test_leptons_are_in_falling_pt_and_few_bits_wide(sample):
    pt = columns(sample.files, names=("Electron_pt",))["Electron_pt"]
    assert ak.all(pt[:, :-1] >= pt[:, 1:])
    assert not np.any(ak.to_numpy(ak.flatten(pt)).view(np.uint32) & 0x7FF)


@given(st.floats(2.0**-10, 2.0**13, width=32), st.integers(8, 14))
@settings(max_examples=50)
def test_truncation_rounds_to_nearest(value, bits):
    kept = truncate_mantissa(np.array([value]), bits)[0]
    assert abs(float(kept) - value) <= abs(value) * 2.0 ** -(bits + 1)
    assert kept == truncate_mantissa(np.array([kept]), bits)[0]


def test_atlas_layout_holds_the_same_events_in_mev(tmp_path, sample):
    made = generate(tmp_path, 2_000, 1, seed=3, layout="atlas")
    ntuple = uproot.open(made.files[0])["nominal"].arrays()
    nano = columns(sample.files)[:2_000]
    np.testing.assert_allclose(ak.flatten(ntuple.el_pt), 1000 * ak.flatten(nano.Electron_pt), rtol=2e-4)
    assert {"el_quality", "el_relIso", "mu_isMedium", "mu_relIso", "HLT_mu26_ivarmedium"} <= set(ntuple.fields)
    description = yaml.safe_load(made.dataset.read_text())
    assert description["samples"][0]["unit"] == "MeV"
    assert description["samples"][0]["tree"] == "nominal"


def test_the_dilepton_analysis_finds_the_same_pairs_in_every_layout_and_format(tmp_path):
    found = {}
    for layout, format in (("nanoaod", "ttree"), ("nanoaod", "rntuple"), ("atlas", "ttree")):
        made = generate(tmp_path / f"{layout}-{format}", 8_000, 1, seed=3, layout=layout, format=format)
        found[layout, format] = selected(str(made.files[0]), LAYOUTS[layout])
    expected = found["nanoaod", "ttree"]
    assert min(expected.cutflow[channel]["two_leptons"] for channel in ("ee", "mumu")) > 800
    for result in found.values():
        assert result.cutflow == expected.cutflow
        assert result.counters == expected.counters


def selected(path, layout):
    sample = Sample("generated", unit=layout.unit, weight=layout.weight)
    analysis = Dilepton(mass_window_gev="81,101")
    facts = reader.inspect(path, layout.tree)
    columns = reading_of(analysis, SourceView(sample, facts.available, facts.tree)).columns
    values = reader.read(path, layout.tree, columns, 0, facts.entries)
    return analysis.process(Columns(values, sample, 0, facts.entries, place=path))


def test_dataset_file_is_one_that_runs_accept(sample):
    dataset = resolve(sample.dataset)
    (described,) = dataset.samples
    assert (described.unit, described.weight, described.tree) == ("GeV", "genWeight", "Events")
    assert [Path(s.path).resolve() for s in dataset.sources] == [p.resolve() for p in sample.files]
    assert sum(s.entries for s in dataset.sources) == sample.events


def test_dataset_file_names_every_file_its_entries_and_its_checksum(sample):
    (described,) = yaml.safe_load(sample.dataset.read_text())["samples"]
    assert [f["path"] for f in described["files"]] == [p.name for p in sample.files]
    assert [f["entries"] for f in described["files"]] == [uproot.open(p)["Events"].num_entries for p in sample.files]
    assert [f["sha256"] for f in described["files"]] == [
        hashlib.sha256(p.read_bytes()).hexdigest() for p in sample.files
    ]


def test_progress_is_told_up_to_the_end(tmp_path):
    seen = []
    generate(tmp_path, 1_000, 3, cluster_bytes=20_000, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (1_000, 1_000)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"events": 0}, "at least one event"),
        ({"events": 3, "files": 4}, "no file is empty"),
        ({"files": 0}, "from 1"),
        ({"seed": -1}, "seed=-1"),
        ({"cluster_bytes": 0}, "cluster_bytes=0"),
        ({"layout": "nano"}, "nanoaod"),
        ({"format": "tree"}, "rntuple"),
        ({"compression": "brotli"}, "zstd"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, arguments, says):
    with pytest.raises(UsageError, match=says):
        generate(tmp_path / "out", **({"events": 10, "files": 1} | arguments))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [{"mass_gev": 5.0}, {"relative_width": 0.0}, {"fraction": 0.9}])
def test_an_impossible_signal_is_refused(bad):
    with pytest.raises(UsageError, match="choose one"):
        SignalSpec(**bad)


def test_files_of_another_sample_are_not_mixed_in(tmp_path):
    generate(tmp_path, 10, 3)
    with pytest.raises(UsageError, match=r"another sample \(events_0002.root\)"):
        generate(tmp_path, 10, 2)
    assert len(list(tmp_path.glob("*.root"))) == 3


@pytest.mark.parametrize("name", ["dataset.yaml", "truth.json", "events_0000.root", "mine.root"])
def test_what_somebody_else_wrote_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine: 1")
    with pytest.raises(UsageError, match=rf"files of another sample \({name}\)"):
        generate(tmp_path, 10, 1)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine: 1"}


def test_a_sample_is_written_again_in_its_place_also_after_an_interruption(tmp_path):
    generate(tmp_path, 10, 2)
    generate(tmp_path, 20, 2)

    def interrupt(written, events):
        if written > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, 20, 2, progress=interrupt)
    assert not (tmp_path / "truth.json").exists()
    assert generate(tmp_path, 10, 2).truth["events"] == 10


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile, match="cannot write a sample here"):
        generate(tmp_path / "file" / "below", 10, 1)


def test_a_folder_that_readers_would_take_for_two_addresses_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UsageError, match="choose a folder without it"):
        generate(tmp_path / "a::b", 10, 1)
    assert not list(tmp_path.iterdir())
