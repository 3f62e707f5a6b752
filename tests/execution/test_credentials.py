"""Credentials of runs: one that ends too early is said once, and never shown; jobs are brought what they need alone."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from tests.remote.test_http import token
from tests.webserver import authority, serving
from vrecompute import Client
from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import StoreRefused
from vrecompute.execution.credentials import job_secrets, short_lived, sites_of, warn_of_short_lived
from vrecompute.lifetime import Lifetime, token_claims
from vrecompute.remote import credentials
from vrecompute.sites.model import Limits, local_site
from vrecompute.stores.address import open_store

SERVER = "https://data.example.org:8443"


@pytest.fixture(autouse=True)
def _none(monkeypatch, tmp_path):
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "XDG_RUNTIME_DIR", "VRECOMPUTE_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_FOLDER", str(tmp_path))


def dataset(*addresses: str) -> Dataset:
    return Dataset((Sample("s"),), tuple(Source(address, "s") for address in addresses))


@pytest.fixture
def explained(tmp_path):
    """What `explain` says of credentials for files at an address, in a job of 50 minutes or in none."""
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)

    def explain(address: str, store: str = "", **how: object) -> tuple[str, ...]:
        with Client(workers=1, store=store or tmp_path / "store") as client:
            known = client.explain(str(tmp_path / "sums.py"), address, **({"detach": True, "walltime_s": 3000} | how))
        assert all(sentence in str(known) for sentence in known.credentials)
        return known.credentials

    return explain


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_sentence_is_said_exactly_where_it_ends_too_early(ends_in, takes_s):
    now = time.time()
    said = Lifetime("the keys", now + ends_in).short_of(now + takes_s, "the run")
    if abs(ends_in) > 1 and abs(ends_in - takes_s) > 1:
        assert bool(said) == (ends_in < max(takes_s, 0))
        assert ("expired at" in said) == (ends_in < 0)


@given(st.one_of(st.floats(), st.text(), st.none(), st.integers()))
def test_any_claim_is_a_date_or_none(claim):
    import base64

    body = base64.urlsafe_b64encode(json.dumps({"exp": claim}).encode()).decode().rstrip("=")
    ends = token_claims(f"x.{body}.y")[0]
    if ends is not None:
        assert Lifetime("it", ends).short_of(time.time(), "the run") or ends >= time.time()


def test_explain_says_by_how_much_a_token_is_too_short_and_shows_none_of_it(explained, tmp_path, monkeypatch):
    value = token(600)
    (tmp_path / "token").write_text(value)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
    (said,) = explained(f"{SERVER}/a.root")
    where = f"$BEARER_TOKEN_FILE ({tmp_path}/token)"
    assert said.startswith(f"the bearer token of {where} ends 40 min ")
    assert "before the planned end of the job; renew it in the next 9 min" in said
    assert value not in said
    assert explained(f"{SERVER}/a.root", detach=False, walltime_s=None) == (), "no end is planned"
    assert explained(str(tmp_path / "token")) == (), "files of this machine need none"
    (tmp_path / "token").write_text(token(4000))
    assert explained(f"{SERVER}/a.root") == ()
    (tmp_path / "token").write_text(token(-60))
    (said,) = explained(f"{SERVER}/a.root", detach=False, walltime_s=None)
    assert "expired at" in said
    (tmp_path / "token").write_text(token(600, "https://other.example.org"))
    assert explained(f"{SERVER}/a.root") == (), "this server is never shown it"


def test_of_a_token_and_a_proxy_the_one_that_lasts_counts(explained, tmp_path, monkeypatch):
    monkeypatch.setenv("BEARER_TOKEN", token(600))
    assert len(explained(f"{SERVER}/a.root")) == 1
    monkeypatch.setenv("X509_USER_PROXY", str(authority(tmp_path)[1]))
    assert explained(f"{SERVER}/a.root") == ()
    monkeypatch.setenv("BEARER_TOKEN", "opaque")
    assert explained(f"{SERVER}/a.root") == ()


@pytest.mark.parametrize("kind", ["store", "source"])
def test_keys_of_a_bucket_tell_their_end_or_that_of_the_token_they_come_of(explained, tmp_path, monkeypatch, kind):
    until = datetime.fromtimestamp(time.time() + 600, UTC).isoformat()
    monkeypatch.setenv("VRE", json.dumps({"AccessKeyId": "i", "SecretAccessKey": "hunter2", "Expiration": until}))
    url = "s3://runs/x.root?endpoint=https://object.example.org&credentials=env:VRE"

    def said(url: str) -> list[str]:
        store = open_store(url if kind == "store" else tmp_path)
        return list(short_lived(store, dataset(*[url] * (kind == "source")), time.time() + 3000, "the job").values())

    (keys,) = said(url)
    assert keys.startswith("the S3 key of env:VRE ends 40 min")
    monkeypatch.setenv("VRE", token(600))
    (exchanged,) = said(f"{url}&role=arn:x")
    assert exchanged.startswith("the web-identity token of env:VRE ends 40 min")
    monkeypatch.setenv("VRE", "id secret")
    assert said(url) == []
    monkeypatch.delenv("VRE")
    assert said(url) == []


def test_the_start_says_it_once(caplog, tmp_path, monkeypatch, explained):
    monkeypatch.setenv("BEARER_TOKEN", token(600))
    files = dataset(*(f"{scheme}//{n}.root" for n in range(99) for scheme in (SERVER, "root://other:1094")))
    assert len(sites_of(files)) == 2
    with caplog.at_level(logging.WARNING):
        warn_of_short_lived(open_store(tmp_path), SimpleNamespace(run="r", dataset=files), 3000)
    (said,) = caplog.messages
    assert said.startswith("run r: the bearer token of $BEARER_TOKEN ends 40 min")


S3 = "s3://runs/x.root?endpoint=https://object.example.org&credentials="


def test_a_job_is_brought_what_its_sources_and_store_need_and_nothing_else(tmp_path, monkeypatch):
    value, proxy = token(600), authority(tmp_path)[1]
    here = open_store(tmp_path / "store")
    monkeypatch.setenv("BEARER_TOKEN", value)
    assert job_secrets(local_site(), here, dataset("/a.root", f"{SERVER}/a.root".replace("https", "http"))) == {}
    for address in (f"{SERVER}/a.root", "root://data.example.org//a.root"):
        assert job_secrets(local_site(), here, dataset(address)) == {"BEARER_TOKEN": value.encode()}
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    monkeypatch.setenv("VRE", "id secret")
    everything = {"BEARER_TOKEN": value.encode(), "X509_USER_PROXY": proxy.read_bytes(), "VRE": b"id secret"}
    of_all = dataset(f"{SERVER}/a.root", f"{S3}env:VRE")
    assert job_secrets(local_site(), here, of_all) == everything
    assert job_secrets(local_site(), here, of_all, read=False) == dict.fromkeys(everything, b"")
    assert job_secrets(local_site(), open_store(f"{S3}env:VRE"), dataset()) == {"VRE": b"id secret"}
    monkeypatch.setenv("BEARER_TOKEN", token(600, "https://other.example.org"))
    assert "BEARER_TOKEN" not in job_secrets(local_site(), here, of_all), "it is for another host"
    monkeypatch.setenv("BEARER_TOKEN", token(-1))
    assert "BEARER_TOKEN" not in job_secrets(local_site(), here, of_all), "it has expired"
    monkeypatch.delenv("VRE")
    assert "VRE" not in job_secrets(local_site(), here, of_all), "the job may find it where it is"
    with pytest.raises(StoreRefused):
        job_secrets(local_site(), open_store(f"{S3}env:VRE"), dataset())


def test_what_a_job_was_brought_is_found_there_and_named_to_other_software(tmp_path, monkeypatch):
    proxy = authority(tmp_path)[1]
    (tmp_path / "X509_USER_PROXY").write_bytes(proxy.read_bytes())
    (tmp_path / "BEARER_TOKEN").write_text(value := token(600))
    assert (credentials.bearer_token(), credentials.x509_proxy()) == (None, None)
    monkeypatch.setenv("VRECOMPUTE_SECRETS", str(tmp_path))
    monkeypatch.setenv("BEARER_TOKEN", token(-1))
    monkeypatch.setenv("X509_USER_PROXY", "/nonexistent")
    assert credentials.bearer_token().value == value, "what has expired is passed over"
    assert credentials.x509_proxy().path == str(tmp_path / "X509_USER_PROXY")
    (tmp_path / "BEARER_TOKEN").unlink()
    assert credentials.bearer_token().is_over, "and named where there is no other"
    monkeypatch.delenv("X509_USER_PROXY")
    credentials.lead_to_brought()
    assert os.environ["X509_USER_PROXY"] == str(tmp_path / "X509_USER_PROXY")
    assert "BEARER_TOKEN_FILE" not in os.environ


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A file on a server that gives it for a token alone, which $BEARER_TOKEN of this process holds; and the token."""
    folder = tmp_path / "served"
    folder.mkdir()
    write_events(folder / "a.root", 200, 1, clusters=2)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    ca, pem = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    with serving(folder, pem) as server:
        server.token = token(3000)
        monkeypatch.setenv("BEARER_TOKEN", server.token)
        yield server


def listed(word: str, such: str = "") -> list[str]:
    """Commands of processes whose arguments or environment show it, besides this one; of those with `such` in theirs.

    Commands that this process has at the moment, such as `qq submit`, have its environment.
    """
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and int(process.name) != os.getpid():
                text = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
                if word.encode() in text and such.encode() in text:
                    found.append((process / "cmdline").read_text(errors="replace"))
    return found


def held(folder: Path, word: str) -> list[Path]:
    """Files below a folder that hold it."""
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.mark.acceptance
def test_a_token_of_a_variable_reaches_workers_and_jobs_of_this_machine_as_files_alone(guarded, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    sums, address, seen = str(tmp_path / "sums.py"), f"{guarded.url}/a.root", []
    with Client(workers=1, store=tmp_path / "store") as client:
        live = client.run(sums, address, sleep_s=0.2, chunk_bytes=1000)
        assert comes_true(lambda: seen.append(listed(guarded.token)) or live.status != "running", 120)
        assert live.report().status == "complete", live.report().failures
        assert [path.name for path in held(tmp_path / "tmp", guarded.token)] == ["BEARER_TOKEN"]
        renewed = guarded.token = token(4000)
        monkeypatch.setenv("BEARER_TOKEN", renewed)
        assert client.run(sums, address, reuse=False).report(timeout_s=120).status == "complete"
        job = client.submit(sums, address, reuse=False)
        assert comes_true(lambda: seen.append(listed(renewed)) or job.status == "complete", 120), job.report().failures
        assert comes_true(lambda: not held(tmp_path / "state", renewed), 30)
    assert not any(seen)
    assert not [*held(tmp_path / "tmp", "e30."), *held(tmp_path / "store", "e30."), *held(tmp_path / "state", "e30.")]


@pytest.mark.acceptance
def test_a_token_reaches_jobs_of_a_queue_as_a_secret_file_alone(guarded, tmp_path, monkeypatch, qq_site):
    """Live and detached; jobs of this queue have nothing of the environment. Workers that lack it are begun anew."""
    from tests.backends.readme_driver import driver

    monkeypatch.setattr("vrecompute.workforce.load_backend", driver.MyBackend)
    variables = {**qq_site.environment.variables, "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]}
    site = replace(
        qq_site,
        environment=replace(qq_site.environment, variables=variables),
        workers=replace(qq_site.workers, processes=1, memory=512 << 20),
        scheduler_runs="client",
        limits=Limits(min_poll=0),
    )
    sums, address, seen = str(tmp_path / "sums.py"), f"{guarded.url}/a.root", []
    with Client(site, workers=1) as client:
        here = client.run(sums, str(tmp_path / "served" / "a.root")).report(timeout_s=240)
        live = client.run(sums, address, reuse=False)

        def look():
            seen.append(listed(guarded.token, "VRECOMPUTE_JOB="))

        assert comes_true(lambda: look() or live.status != "running", 240)
        assert live.report().result_sha256 == here.result_sha256
        script = client.explain(sums, address, detach=True).script
        detached = client.submit(sums, address, reuse=False)
        assert detached.report(timeout_s=240).result_sha256 == here.result_sha256, detached.report().failures
    assert not any(seen)
    assert "VRECOMPUTE_SECRETS" in script
    assert guarded.token not in script + detached.logs()
    assert comes_true(lambda: not held(tmp_path, guarded.token), 60), held(tmp_path, guarded.token)
