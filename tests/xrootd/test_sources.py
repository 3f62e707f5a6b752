"""Files of a real XRootD server, by root:// and https://: the same bytes, few of them, and what fails by its name."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ACCEPTANCE
from tests.events import SUM_ANALYSIS, write_events
from tests.relay import relayed
from tests.remote.agreement import agrees
from vrecompute import Client, reader
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import ChangedFile, DatasetError, UnreadableFile
from vrecompute.execution import replicas
from vrecompute.execution.replicas import read_somewhere
from vrecompute.execution.wholefile import digest_at
from vrecompute.remote import deadhosts
from vrecompute_analyses.dilepton.generate import generate

pytestmark = pytest.mark.xrootd
COLUMNS = ["run", "weight", "Muon_pt"]


# Without the fits, which no source has a part in.
SPECTRA = """
from vrecompute_analyses.dilepton.process import Dilepton


class Spectra(Dilepton):
    name = "spectra"
    finish_function = None
    figures_function = None
"""


@pytest.fixture(scope="module")
def events(lab):
    return write_events(lab.folder / "e.root", 3000, 1, clusters=6)


@pytest.fixture
def client(dask, tmp_path, monkeypatch):
    monkeypatch.setattr(replicas, "_gave", {})
    with Client(dask=dask, store=tmp_path / "store") as client:
        yield client


@settings(max_examples=200 if ACCEPTANCE else 10)
@given(st.data())
def test_any_columns_and_ranges_are_those_of_the_file(lab, events, data):
    agrees(data, data.draw(st.sampled_from([lab.root, lab.https])) + "e.root", events, COLUMNS)


def test_a_dilepton_run_gives_the_same_bytes_from_each(lab, client, tmp_path):
    (tmp_path / "spectra.py").write_text(SPECTRA)
    generate(lab.folder / "dilepton", events=20_000, files=2, seed=1, cluster_bytes=500_000)
    for path in (lab.folder / "dilepton").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    results = {}
    for place in (f"{lab.folder}/", lab.root, lab.https):
        run = client.run(str(tmp_path / "spectra.py"), f"{place}dilepton/", reuse=False, chunk_bytes=1 << 20)
        assert run.wait(200).status == "complete", run.report().failures
        results[place] = run.result().to_bytes()
        (link,) = run.report().links
        assert link.link == reader.link_of(place)
        assert link.read_bytes > run.report().bytes
    assert len(set(results.values())) == 1


def test_a_few_columns_move_few_bytes(lab):
    """17 of 101 columns: at most 1.15 times the bytes of their baskets, counted on the wire."""
    import uproot

    random = np.random.default_rng(1)
    names = [f"c{n}" for n in range(101)]
    with uproot.recreate(lab.folder / "wide.root", compression=None) as file:
        file.mktree("Events", dict.fromkeys(names, "float32"))
        for _ in range(20):
            file["Events"].extend({name: random.normal(size=2000).astype(np.float32) for name in names})
    wanted = [*names[3:99:6], "c100"]
    with relayed(lab.port) as relay:
        address = f"{lab.through(relay.port)}wide.root"
        facts, table = reader.inspect(address), reader.tabulate(address, "Events", wanted)
        reader.read(address, "Events", wanted, 0, 1, table=table)
        traffic, before = reader.count_traffic(), relay.received
        reader.read(address, "Events", wanted, 2000, 40_000, table=table)
        needed = facts.compressed_bytes_of(wanted) * 19 / 20
        assert needed <= relay.received - before <= 1.15 * needed
        ((size, requests),) = traffic.links.values()
        assert needed <= size <= relay.received - before
        assert requests <= 2


@pytest.mark.parametrize("dies", ["before", "in the middle"])
def test_a_replica_that_dies_is_followed_by_the_next(lab, events, client, tmp_path, dies):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    sums, chosen = str(tmp_path / "sums.py"), {"chunk_bytes": 4000, "task_chunks": 2, "reuse": False}
    right = client.run(sums, str(events), **chosen).wait(120)
    with relayed(lab.port) as relay:
        relay.cut_after = 110_000 if dies == "in the middle" else 0
        entry = {"path": f"{lab.through(relay.port)}e.root", "replicas": [f"{lab.https}e.root"]}
        (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: events\n  files:\n  - {json.dumps(entry)}\n")
        ended = client.run(sums, str(tmp_path / "d.yaml"), **chosen).wait(400)
        report = ended.report()
        assert (report.status, ended.result().to_bytes()) == ("complete", right.result().to_bytes()), report.failures
        assert relay.received > relay.cut_after
    assert any("was read for root://" in warning for warning in report.warnings)
    assert report.read_retries > 0


def test_a_server_that_is_gone_is_given_up_once_and_not_for_each_file(lab, events, monkeypatch):
    monkeypatch.setattr(deadhosts, "_silent", {})
    monkeypatch.setattr(replicas, "_gave", {})
    with relayed(lab.port) as relay:
        dead = lab.through(relay.port)
        relay.cut_after = 0
    for number in range(3):
        (lab.folder / f"gone-{number}.root").write_bytes((lab.folder / "e.root").read_bytes())
        began = time.monotonic()
        addresses = [f"{dead}gone-{number}.root", f"{lab.https}gone-{number}.root"]
        assert read_somewhere(addresses, lambda at: reader.inspect(at).entries) > 0
        took_s = time.monotonic() - began
    assert [silence.failures for silence in deadhosts._silent.values()] == [deadhosts.FAILURES]
    assert took_s < 10, "one attempt of XRootD's own takes longer"


def test_what_cannot_be_read_says_why(lab, events):
    for address, match in (
        (f"{lab.root}none.root", "has no such file"),
        (lab.root.rstrip("/"), "has a folder there; end the address with '/'"),
        (lab.through(9) + "e.root", "also when it was tried again"),
    ):
        began = time.monotonic()
        with pytest.raises(UnreadableFile, match=match):
            reader.inspect(address)
        assert time.monotonic() - began < 100


def test_a_file_that_changes_is_not_read_as_the_one_that_was_planned(lab):
    path, address = lab.folder / "changing.root", f"{lab.root}changing.root"
    write_events(path, 300, 1, clusters=3)
    planned, table = reader.inspect(address), reader.tabulate(address, "Events", COLUMNS)
    reader.read(address, "Events", COLUMNS, 0, 100, table=table, expect=planned)
    write_events(path, 400, 2, clusters=4)
    with pytest.raises(ChangedFile, match="is not the planned file"):
        reader.read(address, "Events", COLUMNS, 100, 200, table=table, expect=planned)


def test_folders_and_patterns_name_what_they_name_on_a_disk(lab, events):
    (lab.folder / "list" / "deep").mkdir(parents=True)
    for name in ("a.root", "b.txt", "deep/c.root"):
        (lab.folder / "list" / name).touch()
    for pattern in ("", "*.root", "*/c.root", "**/*.root"):
        local = [s.path.removeprefix(f"{lab.folder}/") for s in resolve(f"{lab.folder}/list/{pattern}").sources]
        for place in (lab.root, lab.https):
            afar = [s.path.removeprefix(place) for s in resolve(f"{place}list/{pattern}").sources]
            assert sorted(afar) == sorted(local)
    with pytest.raises(DatasetError, match="no file matches"):
        resolve(f"{lab.root}list/*.csv")


def test_a_checksum_that_the_server_keeps_is_not_computed_from_bytes_that_move(lab, events):
    for place in (lab.root, lab.https):
        traffic = reader.count_traffic()
        assert digest_at(f"{place}e.root", "adler32") == digest_at(str(events), "adler32")
        assert traffic.links[reader.link_of(place)][0] < 10
        assert digest_at(f"{place}e.root", "sha256") == digest_at(str(events), "sha256")
        assert traffic.links[reader.link_of(place)][0] >= events.stat().st_size
