"""Runs over files on a web server: the same bytes, what moved in the report, and one sentence for a credential."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.remote.test_http import forget, token
from tests.webserver import WebServer, authority, serving
from vrecompute import Client
from vrecompute.execution import replicas
from vrecompute.execution.progress import Progress
from vrecompute.reader import rawfile
from vrecompute.reader.rawfile import RawFile
from vrecompute.remote import credentials
from vrecompute.reports.html import page
from vrecompute.reports.report import dumps, loads, summary_text

CHUNK_BYTES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("files")
    for number in range(2):
        write_events(made / f"{number}.root", 600, number, clusters=6)
    (made / "sums.py").write_text(SUM_ANALYSIS)
    authority(made)
    return made


@pytest.fixture
def server(folder, monkeypatch) -> WebServer:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    monkeypatch.setattr(credentials, "_FOLDER", str(folder))
    monkeypatch.setattr(replicas, "_gave", {})
    forget(monkeypatch)
    with serving(folder, folder / "server.pem") as made:
        yield made


@pytest.fixture
def client(dask, tmp_path):
    with Client(dask=dask, store=tmp_path / "store") as client:
        yield client


def test_the_same_bytes_over_https_and_what_moved_is_told(client, server, folder, monkeypatch):
    begun, used = [], []
    ahead, covering = RawFile.fetch_ahead, rawfile._covering
    monkeypatch.setattr(RawFile, "fetch_ahead", lambda file, *pieces: begun.append(1) or ahead(file, *pieces))
    monkeypatch.setattr(rawfile, "_covering", lambda *asked: used.append(covering(*asked)) or used[-1])
    sums, chosen = str(folder / "sums.py"), {"chunk_bytes": CHUNK_BYTES, "task_chunks": 3}
    files = [str(folder / f"{n}.root") for n in range(2)]
    local = client.run(sums, files, **chosen, reuse=False).wait(120)
    afar = client.run(sums, [f"{server.url}/{n}.root" for n in range(2)], **chosen, reuse=False).wait(120)
    report = afar.report()
    assert (report.status, afar.result().to_bytes()) == ("complete", local.result().to_bytes()), report.failures
    assert len(begun) == 2 * 12 - 2 * 4, "every chunk but the first of each task"
    assert len(used) == len(begun)
    assert all(each is not None for each in used)
    (link,) = report.links
    assert (link.link, link.read_bytes) == (server.url, sum(server.sent.values()))
    assert link.requests == sum(server.requests.values())
    assert {x.link for x in local.report().links} == {"file://"}
    assert f"requests from {server.url}" in summary_text(report)
    assert f"requests from {server.url}" in page(report)
    assert loads(dumps(report)).links == report.links
    explained = client.explain(sums, [f"{server.url}/{n}.root" for n in range(2)], **chosen, reuse=False)
    assert explained.links == {server.url: explained.disk_bytes} == {server.url: report.bytes}
    assert f" of columns from {server.url}; heads of files and gaps between columns come besides" in str(explained)


def test_a_replica_that_dies_in_the_middle_is_followed_by_the_next(client, server, folder, tmp_path):
    sums = str(folder / "sums.py")
    (folder / "copy").mkdir()
    shutil.copy(folder / "0.root", folder / "copy")
    server.lie = lambda path, ranges, number: "hang up" if path == "/0.root" and server.requests[path] > 12 else ""
    entry = {"path": f"{server.url}/0.root", "replicas": [f"{server.url}/copy/0.root", str(folder / "0.root")]}
    (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: events\n  files:\n  - {json.dumps(entry)}\n")
    right = client.run(sums, str(folder / "0.root"), chunk_bytes=CHUNK_BYTES, reuse=False).wait(120)
    ended = client.run(sums, str(tmp_path / "d.yaml"), chunk_bytes=CHUNK_BYTES, task_chunks=2, reuse=False).wait(120)
    report = ended.report()
    assert (report.status, ended.result().to_bytes()) == ("complete", right.result().to_bytes()), report.failures
    assert server.requests["/0.root"] > 12
    assert any(
        w.startswith(f"replicas were read in place of others: {server.url}/copy/0.root") for w in report.warnings
    )


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_a_token_that_expires_in_the_middle_is_one_sentence_and_what_is_done_is_kept(
    client, server, folder, monkeypatch, on_bad
):
    sums, chosen = str(folder / "sums.py"), {"chunk_bytes": CHUNK_BYTES, "task_chunks": 1}
    server.token = token(600)
    monkeypatch.setenv("BEARER_TOKEN", server.token)

    def expires(path: str, ranges: str, number: int) -> str:
        if server.token != "renewed" and number > 20:
            server.token = "renewed"
            monkeypatch.setenv("BEARER_TOKEN", token(-1))
        return ""

    server.lie = expires
    files = [f"{server.url}/{n}.root" for n in range(2)]
    ended = client.run(sums, files, **chosen, on_bad=on_bad).wait(120)
    report = ended.report()
    assert report.status == "failed"
    assert [f.kind for f in report.failures] == ["credentials"]
    assert "the bearer token of $BEARER_TOKEN, which expired at" in report.failures[0].reason
    assert "renew it and run again" in report.failures[0].reason
    assert "e30." not in dumps(report)
    monkeypatch.setenv("BEARER_TOKEN", "renewed")
    again = client.run(sums, files, **chosen)
    assert again.wait(120).status == "complete", again.report().failures
    assert again.report().chunks.reused >= report.chunks.computed


def test_requests_that_fail_at_random_change_nothing_but_the_retries(client, server, folder):
    sums, chosen = str(folder / "sums.py"), {"chunk_bytes": CHUNK_BYTES, "task_chunks": 2, "reuse": False}
    files = [f"{server.url}/{n}.root" for n in range(2)]
    right = client.run(sums, files, **chosen).wait(120)
    chance, lies = random.Random(5), ["503", "429", "hang up", "cut"]
    server.lie = lambda path, ranges, number: chance.choice(lies) if chance.random() < 0.05 else ""
    ended = client.run(sums, files, **chosen).wait(120)
    report, before = ended.report(), right.report()
    assert (report.status, ended.result().to_bytes()) == ("complete", right.result().to_bytes()), report.failures
    assert (before.read_retries, before.retried) == (0, "")
    assert report.read_retries > 0
    assert server.url in report.retried
    alike = ("events", "chunks", "bytes", "cutflow", "files", "samples", "warnings", "failures")
    assert all(getattr(report, name) == getattr(before, name) for name in alike)


def test_a_server_of_one_range_a_time_that_fails_often_gives_the_same_bytes_at_first_contact(client, server, folder):
    """In the run that finds out what it is: every range fails five times, and no try of one counts for another."""
    sums, chosen = str(folder / "sums.py"), {"chunk_bytes": 1 << 20, "reuse": False}
    right = client.run(sums, [str(folder / f"{n}.root") for n in range(2)], **chosen).wait(120)
    server.several, asked = False, Counter[tuple[str, str]]()

    def fails_five_times(path: str, ranges: str, number: int) -> str:
        asked[path, ranges] += 1
        return "503" if "," not in ranges and asked[path, ranges] <= 5 else ""

    server.lie = fails_five_times
    ended = client.run(sums, [f"{server.url}/{n}.root" for n in range(2)], **chosen).wait(120)
    assert any("," in ranges for _, ranges in asked), "no request asked for several ranges"
    assert ended.status == "complete", ended.report().failures
    assert ended.result().to_bytes() == right.result().to_bytes()
    assert ended.report().read_retries == 5 * sum("," not in ranges for _, ranges in asked)


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_an_expired_token_is_not_shown_to_a_server_for_every_file(client, server, folder, monkeypatch, on_bad):
    monkeypatch.setattr("vrecompute.execution.planner._BATCH", 1)
    server.token = token(600)
    monkeypatch.setenv("BEARER_TOKEN", token(-1))
    for number in range(2, 60):
        if not (folder / f"{number}.root").exists():
            (folder / f"{number}.root").symlink_to(folder / "0.root")
    ended = client.run(
        str(folder / "sums.py"), [f"{server.url}/{n}.root" for n in range(60)], on_bad=on_bad, allow_duplicates=True
    ).wait(120)
    assert [f.kind for f in ended.report().failures] == ["credentials"]
    assert len(server.requests) < 30


def test_a_runner_says_once_that_a_token_ends_before_it_would(client, server, folder, monkeypatch, caplog):
    monkeypatch.setattr("vrecompute.execution.runner._LIVES_S", 0.0)
    server.token = token(600)
    monkeypatch.setenv("BEARER_TOKEN", server.token)
    real = Progress.__init__
    monkeypatch.setattr(Progress, "__init__", lambda self, **given: real(self, **{**given, "eta_s": 3000.0}))
    files = [f"{server.url}/{n}.root" for n in range(2)]
    ended = client.run(str(folder / "sums.py"), files, chunk_bytes=CHUNK_BYTES, reuse=False).wait(120)
    (said,) = [message for message in caplog.messages if "bearer token" in message]
    assert f"run {ended.id}: the bearer token of $BEARER_TOKEN ends 40 min" in said
    assert "the planned end of the run" in said
    assert ended.report().warnings == ()
    kept = b"".join(path.read_bytes() for path in Path(client.store.url).rglob("*") if path.is_file())
    assert server.token.encode() not in kept
    assert b"ends 40 min" in kept
