"""Credentials that end before a run does: said once, by `explain`, at the start and by the Runner, and never shown."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS
from tests.remote.test_http import token
from vrecompute import Client
from vrecompute.execution.shortlived import short_lived, sites_of, warn_of_short_lived
from vrecompute.lifetime import Lifetime, token_claims
from vrecompute.remote import credentials
from vrecompute.stores.address import open_store

SERVER = "https://data.example.org:8443"


@pytest.fixture(autouse=True)
def _none(monkeypatch, tmp_path):
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "XDG_RUNTIME_DIR", "VRECOMPUTE_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_FOLDER", str(tmp_path))


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
    from tests.webserver import authority

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
        from vrecompute.datasets.dataset import Dataset, Sample, Source

        store = open_store(url if kind == "store" else tmp_path)
        sources = (Source(url, "s"),) if kind == "source" else ()
        return list(short_lived(store, Dataset((Sample("s"),), sources), time.time() + 3000, "the job").values())

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
    from types import SimpleNamespace

    from vrecompute.datasets.dataset import Dataset, Sample, Source

    monkeypatch.setenv("BEARER_TOKEN", token(600))
    files = tuple(Source(f"{SERVER}/{n}.root", "s", replicas=(f"root://other:1094//{n}.root",)) for n in range(99))
    dataset = Dataset((Sample("s"),), files)
    assert len(sites_of(dataset)) == 2
    with caplog.at_level(logging.WARNING):
        warn_of_short_lived(open_store(tmp_path), SimpleNamespace(run="r", dataset=dataset), 3000)
    (said,) = caplog.messages
    assert said.startswith("run r: the bearer token of $BEARER_TOKEN ends 40 min")
