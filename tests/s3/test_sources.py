"""Objects of real S3 services as sources: the bytes of the file, with keys that are found, and never in a plan."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ACCEPTANCE
from tests.events import SUM_ANALYSIS, write_events
from tests.execution.conftest import dask  # noqa: F401  # a fixture
from tests.remote.agreement import agrees
from tests.s3.proxy import in_front_of
from vrecompute import Client, reader
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import ChangedFile, CredentialError, DatasetError, UnreadableFile
from vrecompute.execution import replicas
from vrecompute.reader import rawfile
from vrecompute.reports.report import dumps

pytestmark = pytest.mark.s3
COLUMNS = ["run", "weight", "Muon_pt"]


@pytest.fixture(scope="session")
def events(service, tmp_path_factory):
    """A file here, and the same as an object of each service."""
    path = write_events(tmp_path_factory.mktemp("files") / "e.root", 3000, 1, clusters=6)
    for name in ("d/e.root", "d/deep/f g.root", "d/notes.txt"):
        service.put(name, path.read_bytes())
    return path


@settings(max_examples=100 if ACCEPTANCE else 5)
@given(st.data())
def test_any_columns_and_ranges_are_those_of_the_file(service, events, data):
    agrees(data, service.url("d/e.root"), events, COLUMNS)


def test_a_run_gives_the_same_bytes_and_shows_no_key(service, events, dask, tmp_path, monkeypatch):  # noqa: F811 -- the fixture
    monkeypatch.setattr(replicas, "_gave", {})
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    sums, chosen = str(tmp_path / "sums.py"), {"chunk_bytes": 8000, "reuse": False}
    with Client(dask=dask, store=tmp_path / "store") as client:
        right = client.run(sums, str(events), **chosen).wait(120)
        entry = {"path": service.url("d/none.root"), "replicas": [service.url("d/e.root")]}
        (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: events\n  files:\n  - {json.dumps(entry)}\n")
        for given_ in (service.url("d/*.root"), str(tmp_path / "d.yaml")):
            ended = client.run(sums, given_, **chosen).wait(120)
            report = ended.report()
            assert (report.status, ended.result().to_bytes()) == ("complete", right.result().to_bytes()), (
                report.failures
            )
            assert [link.link for link in report.links] == [f"s3://{service.bucket}"]
            assert report.links[0].read_bytes > report.bytes
            assert service.facts["secret"] not in dumps(report)
            assert "X-Amz" not in dumps(report)
        kept = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
        assert service.facts["secret"].encode() not in kept
        assert b"X-Amz" not in kept


def test_folders_and_patterns(service, events):
    def names(prefix):
        return [source.path for source in resolve(service.url(prefix)).sources]

    assert names("d/") == [service.url("d/deep/f g.root"), service.url("d/e.root")]
    assert names("d/*.root") == [service.url("d/e.root")]
    assert names("d*/**/f*.root") == [service.url("d/deep/f g.root")]
    with pytest.raises(DatasetError, match="no file matches"):
        names("d/*.csv")
    with pytest.raises(DatasetError, match="holds nothing there"):
        names("none/")
    service.put("odd/what?/e.root", b"")
    with pytest.raises(DatasetError, match=r"/odd/what\?/ cannot be addressed"):
        names("odd/**/e.root")


def test_what_is_absent_or_changed_and_keys_that_are_not_accepted_have_their_names(service, events, tmp_path):
    with pytest.raises(UnreadableFile, match="has no such object"):
        reader.inspect(service.url("d/none.root"))
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"{service.facts['key']}\n{'0' * 40}\n")
    with pytest.raises(CredentialError) as raised:
        reader.inspect(service.url("d/e.root", credentials=f"file:{keys}"))
    assert "0" * 40 not in str(raised.value)
    address = service.url("changing.root")
    service.put("changing.root", write_events(tmp_path / "1.root", 300, 1, clusters=3).read_bytes())
    planned, table = reader.inspect(address), reader.tabulate(address, "Events", COLUMNS)
    service.put("changing.root", write_events(tmp_path / "2.root", 300, 2, clusters=3).read_bytes())
    with pytest.raises(ChangedFile, match="is not the planned file"):
        reader.read(address, "Events", COLUMNS, 100, 200, table=table, expect=planned)


def test_a_signature_that_is_no_longer_accepted_is_made_anew(service, events, monkeypatch):
    monkeypatch.setattr(rawfile, "_cache", OrderedDict())
    address = service.url("d/e.root")
    right = reader.read(address, "Events", COLUMNS, 0, 500)
    source = rawfile.opened_raw(address).source
    source._signed = source._signed.replace("Signature=", "Signature=0")
    again = reader.read(address, "Events", COLUMNS, 500, 1000)
    assert right["run"].values[0] == again["run"].values[0]


@pytest.mark.parametrize("status", [400, 403])
def test_keys_that_have_expired_are_named_though_the_answer_to_a_head_says_nothing(service, events, status):
    """One sentence for the run, and not an unreadable file for each chunk."""
    with in_front_of(service.endpoint, service.authority) as proxy:
        proxy.spoil = lambda *_: (status, "ExpiredToken")
        with pytest.raises(CredentialError, match="has expired: renew it"):
            reader.look_at(service.url("d/e.root", endpoint=proxy.endpoint, http="allowed"))
        assert len(proxy.asked) <= 3, "boto3 looks for another region where a HEAD gives 400"
