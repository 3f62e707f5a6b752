"""Benchmarks: peers solve the same task, disagreement stops the clock, and a ratio guards against regressions."""

from __future__ import annotations

import json
import math
import os
import sys

import awkward as ak
import numpy as np
import pytest
import uproot

from benchmarks import scale, selection, table, task
from benchmarks.peerprocess import Absent, PeerProcess
from benchmarks.peers import decompression, uproot_awkward
from benchmarks.peers import vrecompute as vrecompute_peer
from benchmarks.sample import sample_files
from benchmarks.task import Outcome, differences


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return sample_files(tmp_path_factory.mktemp("benchmark"), 4_000, 3, "ttree")


def plainly(path: str) -> Outcome:
    """The task event by event in plain Python, variation by variation, as its words say."""
    outcome = Outcome.empty()
    events = uproot.open(path)[task.TREE].arrays(list(task.COLUMNS))
    for channel, variations in task.VARIATIONS.items():
        names = [f"{task.COLLECTION[channel]}_{m}" for m in task.MEMBERS[channel]]
        for event in ak.to_list(events[[*names, task.TRIGGER[channel], task.WEIGHT]]):
            leptons = list(zip(*(event[n] for n in names), strict=True))
            for number, variation in enumerate(variations):
                passed = [True, event[task.TRIGGER[channel]]]
                pair = leading_two(channel, leptons, variation) if passed[-1] else []
                passed.append(len(pair) == 2)
                passed.append(passed[-1] and pair[0][3] * pair[1][3] < 0)
                mass = invariant_mass(*pair) if passed[-1] else 0.0
                passed.append(task.MASS_RANGE_GEV[0] <= mass <= task.MASS_RANGE_GEV[1])
                if number == 0:
                    outcome.cutflow[channel] = [
                        n + bool(p) for n, p in zip(outcome.cutflow[channel], passed, strict=True)
                    ]
                bin = int(np.searchsorted(task.EDGES_GEV, mass, side="right")) - 1
                if passed[3] and 0 <= bin < task.BINS:
                    w = event[task.WEIGHT]
                    outcome.spectra[channel][number, bin] += (w, w * w)
    return outcome


def leading_two(channel, leptons, variation):
    kept = []
    for pt, eta, phi, charge, identification, isolation in leptons:
        if variation.kind == "resolution":
            pt *= 1 + variation.shift * float(task.smearing(np.array([pt]), np.array([phi]), channel)[0])
        else:
            pt *= 1 + variation.shift
        crack = channel == "ee" and task.CRACK_ETA[0] < abs(eta) < task.CRACK_ETA[1]
        identified = identification >= (task.CUT_BASED_MEDIUM if channel == "ee" else 1)
        inside = abs(eta) < task.ETA_MAX[channel] and not crack
        if pt > task.PT_MIN_GEV and identified and isolation <= task.ISOLATION_MAX and inside:
            kept.append((pt, eta, phi, charge))
    return sorted(kept, key=lambda lepton: -lepton[0])[:2]


def invariant_mass(a, b):
    return math.sqrt(2 * a[0] * b[0] * (math.cosh(a[1] - b[1]) - math.cos(a[2] - b[2])))


@pytest.fixture(scope="module")
def expected(files):
    return plainly(files[0])


@pytest.mark.parametrize("style", ["usual", "tuned"])
def test_columnar_peers_solve_the_task_as_its_words_say(files, expected, style):
    assert all(np.count_nonzero(s[..., 0]) > 50 for s in expected.spectra.values())
    assert differences("peer", uproot_awkward.run(files, 1_500, style=style), expected) == []


def test_vrecompute_solves_the_task_as_its_words_say(files, expected):
    outcome = vrecompute_peer.run(files, 0)
    assert differences("vrecompute", outcome, expected) == []
    assert differences("two threads", vrecompute_peer.run(files, 0, threads=2), outcome) == []


def test_the_task_has_2800_numbers_and_every_variation_moves_some(files):
    outcome = uproot_awkward.run(files, 4_000)
    assert sum(s.size for s in outcome.spectra.values()) == 2800
    for spectra in outcome.spectra.values():
        assert all(np.any(spectra[v] != spectra[0]) for v in range(1, len(spectra)))


def test_seventeen_branches_are_needed(files):
    needed = {*task.COLUMNS, "nElectron", "nMuon"}
    assert len(needed) == 17
    assert needed <= set(uproot.open(files[0])[task.TREE].keys())


def test_smearing_is_standard_normal():
    rng = np.random.default_rng(5)
    numbers = task.smearing(rng.exponential(50.0, 20_000), rng.uniform(-3, 3, 20_000), "ee")
    assert abs(numbers.mean()) < 0.03
    assert numbers.std() == pytest.approx(1.0, abs=0.02)
    assert np.mean(np.abs(numbers) > 1.96) == pytest.approx(0.05, abs=0.006)


def test_one_number_off_is_found(files):
    found, reference = (uproot_awkward.run(files, 4_000) for _ in range(2))
    assert differences("peer", found, reference) == []
    found.spectra["ee"][3, 40, 1] += 1e-6
    found.cutflow["mumu"][2] += 1
    said = differences("peer", found, reference)
    assert len(said) == 2
    assert "1 of 1400 numbers" in said[0]
    assert "mumu cutflow" in said[1]


def test_outcomes_survive_being_saved(tmp_path, files):
    outcome = uproot_awkward.run(files, 4_000)
    outcome.save(tmp_path / "outcome.npz")
    assert differences("saved", Outcome.load(tmp_path / "outcome.npz"), outcome, tolerance=0.0) == []


def test_the_floor_decompresses_every_needed_basket(files):
    assert decompression.run(files, 0) > 0.0
    tree = uproot.open(files[0])[task.TREE]
    baskets = sum(tree[n].num_baskets for n in (*task.COLUMNS, "nElectron", "nMuon"))
    assert 0 < len(decompression._blocks(tuple(files))) <= baskets


def test_an_absent_peer_says_why():
    with pytest.raises(Absent, match="ModuleNotFoundError"):
        PeerProcess("no_such_peer", sys.executable)
    with pytest.raises(Absent, match="cannot be started"):
        PeerProcess("uproot_awkward", "/no/such/python")


def test_a_peer_that_fails_is_absent_and_the_others_go_on(files, tmp_path):
    broken = {"ttree": [str(tmp_path / "missing.root")]}
    report = selection.measure(["vrecompute", "uproot_awkward"], broken, 1, 1)
    assert not report["identical"]
    assert "missing.root" in report["absent"]["uproot_awkward"]
    assert "ratios" not in report


def test_no_time_is_told_where_peers_disagree(files):
    report = {"identical": False, "differences": ["coffea: ee cutflow"], "absent": {}, "machine": {}}
    assert selection.describe(report).splitlines() == ["NOT identical; no times:", "coffea: ee cutflow"]


@pytest.mark.slow
def test_vrecompute_stays_well_ahead_of_uproot_and_awkward(tmp_path):
    """A guard, not a benchmark: far below the ratio measured on a quiet machine, so that only a regression trips it."""
    files = {"ttree": sample_files(tmp_path, 120_000, 1, "ttree")}
    report = selection.measure(["vrecompute", "uproot_awkward", "decompression"], files, 120_000, rounds=3)
    assert report["identical"], report["differences"]
    assert report["absent"] == {}
    assert report["ratios"]["uproot_awkward"] > 2.5
    assert report["ratios"]["coffea"] is None


@pytest.mark.slow
def test_all_peers_that_are_installed_agree(tmp_path):
    files = {format: sample_files(tmp_path, 20_000, 2, format) for format in ("ttree", "rntuple")}
    python = os.environ.get("VRECOMPUTE_ROOT_PYTHON", sys.executable)
    report = selection.measure(list(selection.RUNS), files, 20_000, rounds=1, root_python=python)
    assert report["identical"], report["differences"]
    assert {selection.RUNS[name][0] for name in report["absent"]} <= {"rdataframe", "coffea"}, report["absent"]
    assert "target" in selection.describe(report)


def test_scale_counts_every_chunk():
    report = scale.measure(chunks=60, chunk_s=0.001, workers=1, threads=2, task_s=0.05)
    assert report["complete"], report["failures"]
    assert report["figures"]["scheduler_us_per_chunk"] > 0


REPORT = {
    "identical": True,
    "events": 1000,
    "absent": {"rdataframe": "ModuleNotFoundError: No module named 'ROOT'"},
    "machine": {"cpu": "a", "cores": 2, "system": "Linux", "python": "3.11"},
    "ratios": {"coffea": 6.54, "decompression": 2.0, "threads": 1.7, "rdataframe": None},
    "peers": {
        name: {
            "version": "v",
            "chunk_events": chunk,
            "cpu_s_per_mev": {"median": cpu, "low": cpu, "high": cpu},
        }
        for name, chunk, cpu in (("vrecompute", None, 0.3), ("coffea", 500_000, 2.0), ("decompression", None, 0.15))
    },
}


def test_table_is_put_between_its_marks(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{table.BEGIN}\nold\n{table.END}\nend\n")
    assert table.main([str(tmp_path / "r.json"), "--into", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("end\n")
    assert "old" not in text
    assert "| coffea NanoEvents, chunks of 500k (v) | 2.000 | 2.000-2.000 | 6.5 |" in text
    assert "| decompression alone (the floor) (v) | 0.150 | 0.150-0.150 | 0.50 |" in text
    assert "| rdataframe | absent: ModuleNotFoundError" in text
    assert "1.70 times" in text


def test_table_refuses_times_of_peers_that_disagreed(tmp_path, capsys):
    (tmp_path / "r.json").write_text(json.dumps({"identical": False}))
    assert table.main([str(tmp_path / "r.json")]) == 1
    assert "disagreed" in capsys.readouterr().err
