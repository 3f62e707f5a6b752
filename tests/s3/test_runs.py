"""Runs whose store is a bucket: the same bytes as in a folder, by every door, and no key where it does not belong."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pyarrow.dataset
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.execution.test_skim import SKIM
from tests.patience import comes_true
from tests.s3.issuer import issuing
from tests.s3.proxy import in_front_of
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.errors import StoreRefused, UntrustedRun
from vrecompute.sites.model import Limits

pytestmark = pytest.mark.s3


@pytest.fixture
def sums(tmp_path) -> str:
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    return str(tmp_path / "sums.py")


@pytest.fixture
def files(tmp_path) -> list[str]:
    return [str(write_events(tmp_path / f"{seed}.root", 400, seed, clusters=4)) for seed in range(2)]


@pytest.fixture
def stored(client, monkeypatch):
    """The client with one worker, whose runs are kept at an address from now on."""

    def at(url: object) -> Client:
        monkeypatch.setattr(client, "_store_given", url)
        return client

    return at


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_runs_are_the_same_in_a_bucket(service, prefix, stored, sums, files, tmp_path, capsys):
    small = {"chunk_bytes": 1000, "task_chunks": 2}
    wanted = stored(tmp_path / "folder").run(sums, files, **small).report(timeout_s=240).result_sha256
    url = service.url(prefix)
    client = stored(url)
    first = client.run(sums, files, labels={"for": "s3"}, **small)
    assert first.report(timeout_s=240).result_sha256 == wanted
    again = client.run(sums, files, **small).report(timeout_s=240)
    assert (again.chunks.computed, again.result_sha256) == (0, wanted)
    assert {run.state for run in client.runs()} == {"complete"}
    assert [run.run for run in client.runs(labels={"for": "s3"})] == [first.id]
    attached = client.attach(first.id)
    assert attached.report().result_sha256 == wanted
    with pytest.raises(UntrustedRun, match="has no known owner"):
        attached.analysis()
    assert command("runs", "list", "--store", url) == 0
    assert first.id in capsys.readouterr().out
    assert command("runs", "show", first.id, "--store", url) == 0
    assert command("runs", "result", first.id, "--store", url, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["result_sha256"] == wanted
    assert command("runs", "delete", first.id, "--store", url) == 0
    assert len(client.runs()) == 1
    before = set(client.store.names(""))
    assert command("store", "gc", "--store", url, "--yes") == 0
    assert set(client.store.names("")) == before, "nothing is older than seven days"
    assert f"file:{service.keys}" in url
    secret = service.facts["secret"]
    assert secret not in capsys.readouterr().out + repr(client) + repr(first) + url
    assert all(secret.encode() not in client.store.get(name) for name in before)


def test_skim_tables_are_in_the_bucket(service, prefix, stored, files, tmp_path):
    (tmp_path / "skim.py").write_text(SKIM)
    run = stored(service.url(prefix)).run(str(tmp_path / "skim.py"), files, chunk_bytes=2500)
    total = run.result(timeout_s=240).total
    table = pyarrow.dataset.dataset(run.tables("muons")).to_table()
    assert 0 < len(table) == total.summaries["muons"].rows


def test_a_detached_run_is_brought_the_keys_in_a_secret_file_alone(
    services, prefix, sums, files, tmp_path, monkeypatch
):
    """Its address names a file that is gone by the time the job reads it."""
    service, keys = services["ceph"], tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text(service.keys.read_text())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Client(workers=1, store=service.url(prefix, credentials=f"file:{keys}")) as client:
        script = client.explain(sums, files, detach=True).script
        run = client.submit(sums, files)
        keys.unlink()
        (folder,) = (tmp_path / "state" / "vrecompute" / "jobs").iterdir()
        (secret,) = (folder / "secrets").iterdir()
        assert (secret.stat().st_mode & 0o777, secret.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert run.report(timeout_s=240).status == "complete"
        assert comes_true(lambda: not (folder / "secrets").exists(), 30)
        said = [script, *(path.read_text() for path in folder.iterdir() if path.is_file())]
        said += [client.store.get(name).decode(errors="replace") for name in client.store.names("")]
        word = service.facts["secret"]
        assert not any(word in text for text in said)
        attached = Client(store=service.url(prefix)).attach(run.id)
        assert (attached.status, attached.report().result_sha256) == ("complete", run.report().result_sha256)


def test_jobs_of_a_queue_are_brought_the_keys(services, prefix, sums, files, tmp_path, monkeypatch, qq_site):
    """Live and detached; the jobs of this queue have nothing of the environment that the address names."""
    from tests.backends.readme_driver import driver

    service, variable = services["ceph"], "VRE_KEYS_OF_A_TEST"
    monkeypatch.setattr("vrecompute.workforce.load_backend", driver.MyBackend)
    monkeypatch.setenv(variable, service.keys.read_text())
    kept = replace(qq_site.store, url=service.url(prefix, credentials=f"env:{variable}"))
    workers = replace(qq_site.workers, processes=1, memory=512 << 20)
    site = replace(qq_site, store=kept, workers=workers, scheduler_runs="client", limits=Limits(min_poll=0))
    with Client(site, workers=1) as client:
        script = client.explain(sums, files).script
        live = client.run(sums, files).report(timeout_s=240)
        detached = client.submit(sums, files, reuse=False)
        assert detached.report(timeout_s=240).result_sha256 == live.result_sha256
        logs = detached.logs()
    assert comes_true(lambda: not list(tmp_path.rglob("secrets-*")), 60)
    said = [script, logs, *(p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file())]
    assert "VRECOMPUTE_SECRETS" in script
    assert not any(service.facts["secret"] in text for text in said)


def test_a_token_that_expires_ends_the_run_with_one_sentence_and_it_goes_on(services, prefix, stored, sums, files):
    service, parts = services["ceph"], itertools.count()

    def spoil(method, path, headers):
        written = next(parts) if method == "PUT" and "/parts/" in path else 0
        return (400, "ExpiredToken") if written >= 2 or refused else None

    refused = False
    with in_front_of(service.endpoint, service.authority) as proxy:
        proxy.spoil = spoil
        url = service.url(prefix, endpoint=proxy.endpoint, http="allowed")
        run = stored(url).run(sums, files, chunk_bytes=1000, task_chunks=1, sleep_s=0.01)
        report = run.report(timeout_s=240)
        assert report.status == "failed"
        assert [failure.kind for failure in report.failures] == ["store"]
        assert "has expired: renew it" in report.failures[0].reason
        proxy.spoil = lambda *_: None
        done = stored(url).run(sums, files, chunk_bytes=1000, task_chunks=1, sleep_s=0.01).report(timeout_s=240)
        assert (done.status, done.chunks.reused > 0) == ("complete", True)
        proxy.spoil = lambda *_: (400, "ExpiredToken")
        with pytest.raises(StoreRefused, match="has expired: renew it"):
            stored(url).run(sums, files)


def test_a_web_identity_token_is_exchanged_for_keys_that_soon_expire(services, lab, prefix, tmp_path):
    """And read anew: the issuer's next token is in the same file."""
    service, token = services["ceph"], tmp_path / "token"
    with issuing(service.url("x"), service.bucket) as (role, fresh):
        token.touch(mode=0o600)
        token.write_text(fresh())
        store = service.store(prefix, credentials=f"file:{token}", role=role)
        store.create("x", b"x")
        assert store.get("x") == b"x"
        session = store.bucket.client._request_signer._credentials
        assert session.token
        assert session.secret_key != service.facts["secret"]
        assert store.secret() == token.read_bytes(), "a job is brought the token, not the keys"
        token.write_text(fresh()[:-8] + "AAAAAAAA")
        with pytest.raises(StoreRefused, match=r"does not (accept|permit this to) the keys of file:"):
            service.store(prefix, credentials=f"file:{token}", role=role).get("x")
