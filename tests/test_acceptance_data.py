"""The dilepton analysis on real events: published files, known counts, and normalisation of samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.events import write_events
from vrecompute import Client

# No cut but the mass window: what a count by hand would do.
OPEN = {"pt_min_gev": 0, "eta_max": 99, "lepton_id": "any", "isolation": False, "trigger": False}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=2, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.mark.data
def test_real_cms_dimuons(client, data_file):
    run = client.run(
        "dilepton", data_file("hep_root/cms2011A_Zmumu.root"), channel="mumu", mass_window_gev="81,101", **OPEN
    )
    cuts = run.report().cutflow["mumu"]
    assert (run.exit_code, run.report().events.seen) == (0, 10_583)
    assert (cuts["opposite_sign"], cuts["mass_window"]) == (10_227, 8_573)
    # Muons of 2011, not calibrated: below the 91.19 of the Z.
    assert run.products()["channels"]["mumu"]["z_peak"]["mass_gev"] == pytest.approx(90.8, abs=0.15)


@pytest.mark.data
def test_a_chunk_boundary_moves_no_event(client, data_file):
    runs = [
        client.run("dilepton", data_file("hep_root/cms2011A_Zmumu.root"), channel="mumu", chunk_bytes=size, **OPEN)
        for size in (1 << 25, 20_000)
    ]
    assert runs[1].report().chunks.total > 10 * runs[0].report().chunks.total
    assert runs[0].report().cutflow == runs[1].report().cutflow


@pytest.mark.data
def test_four_codecs_give_the_same_result_bytes(client, data_file):
    digests = set()
    for codec in ("", "-lz4", "-zstd", "-lzma"):
        run = client.run(
            "dilepton",
            data_file(f"hep_root/uproot-Zmumu{codec}.root"),
            channel="mumu",
            mass_window_gev=(60, 120),
            **OPEN,
        )
        report = run.report()
        cuts = report.cutflow["mumu"]
        assert (report.status, report.events.seen) == ("complete", 2304)
        assert (cuts["opposite_sign"], cuts["mass_window"]) == (2147, 2004)
        digests.add(report.result_sha256)
    assert len(digests) == 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "channel", "events", "electrons", "muons"),
    [
        ("Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root", "mumu", 1000, 0, 2372),
        ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "both", 200, 69, 41),
        ("nano_dimuon.root", "both", 40, 17, 84),
        ("nano_dy.root", "both", 40, 25, 18),
        ("pfnano.root", "both", 10, 5, 10),
        ("PHYSLITE_example.root", "both", 100, 134, 5),
        ("uproot-physlite-rntuple_v1-0-0-0.root", "both", 100, 57, 88),
    ],
)
def test_every_format_gives_its_known_counts(client, data_file, file, channel, events, electrons, muons):
    run = client.run("dilepton", data_file(f"hep_root/{file}"), channel=channel, **OPEN)
    assert (run.report().status, run.report().events.seen) == ("complete", events)
    counters = run.result()["events"].counters
    assert (counters["electrons"], counters["muons"]) == (electrons, muons)


@pytest.mark.data
def test_the_counts_are_those_of_uproot_alone(data_file):
    with uproot.open(data_file("hep_root/nano_dimuon.root")) as file:
        assert int(np.sum(file["Events/nMuon"].array())) == 84
    with uproot.open(data_file("hep_root/nano_dy.root")) as file:
        assert int(np.sum(file["Events/nElectron"].array())) == 25


@pytest.mark.data
def test_a_golden_json_masks_real_data(client, data_file, tmp_path):
    path = data_file("hep_root/nano_dy.root")
    with uproot.open(path) as file:
        run, section = (file["Events"][name].array(library="np") for name in ("run", "luminosityBlock"))
    chosen = section == section[0]
    good = tmp_path / "golden.json"
    good.write_text(json.dumps({str(run[0]): [[int(section[0]), int(section[0])]]}))
    catalogue = tmp_path / "data.yaml"
    catalogue.write_text(
        f"schema: 1\nsamples:\n- {{name: data, is_data: true, certified: golden.json, files: [{path}]}}\n"
    )
    ended = client.run("dilepton", catalogue, channel="ee", **OPEN)
    assert ended.report().status == "complete"
    assert ended.result()["data"].counters["uncertified"] == np.sum(~(chosen & (run == run[0])))
    # Another list is other work: nothing of the first is reused.
    good.write_text(json.dumps({str(run[0]): []}))
    again = client.run("dilepton", catalogue, channel="ee", **OPEN)
    assert again.report().chunks.reused == 0
    assert again.result()["data"].counters["uncertified"] == len(run)


@pytest.fixture
def sums(tmp_path):
    from tests.events import SUM_ANALYSIS

    path = tmp_path / "sums.py"
    path.write_text(SUM_ANALYSIS)
    return str(path)


def catalogue_of(folder: Path, *names: str) -> Path:
    path = folder / "mc.yaml"
    path.write_text(
        "schema: 1\nluminosity_ifb: 139.0\nsamples:\n"
        f"- {{name: dy, cross_section_pb: 2.5, weight: weight, files: [{', '.join(names)}]}}\n"
        f"- {{name: data, is_data: true, files: [{names[0]}]}}\n"
        f"- {{name: other, files: [{names[0]}]}}\n"
    )
    return path


def test_samples_are_normalised_to_their_luminosity(client, sums, tmp_path):
    files = [write_events(tmp_path / f"{seed}.root", 200, seed=seed, clusters=2) for seed in (1, 2)]
    run = client.run(sums, catalogue_of(tmp_path, *(f.name for f in files)))
    weights = sum(float(np.sum(uproot.open(f)["Events/weight"].array(library="np"))) for f in files)
    samples = {s.name: s for s in run.report().samples}
    # 1 /fb is 1000 /pb
    assert samples["dy"].scale == pytest.approx(2.5 * 139.0 * 1000 / weights, rel=1e-12)
    assert samples["dy"].sum_of_weights == pytest.approx(weights, rel=1e-12)
    assert samples["data"].scale == 1.0
    assert samples["other"].scale is None
    assert "cross_section_pb" in samples["other"].unscaled_because


@pytest.mark.acceptance
def test_a_sample_with_a_missing_file_is_not_normalised(client, sums, tmp_path):
    files = [write_events(tmp_path / f"{seed}.root", 200, seed=seed, clusters=2) for seed in (1, 2)]
    files[1].write_bytes(files[1].read_bytes()[:3000])
    run = client.run(sums, catalogue_of(tmp_path, *(f.name for f in files)), on_bad="skip")
    assert run.report().status == "partial"
    samples = {s.name: s for s in run.report().samples}
    assert samples["dy"].scale is None
    assert "missing" in samples["dy"].unscaled_because
    assert samples["data"].scale == 1.0
