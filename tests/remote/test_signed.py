"""Addresses that are signed for workers: for how long, when anew, and no text that shows one."""

from __future__ import annotations

import json
import pickle
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import CredentialError
from vrecompute.execution import signer
from vrecompute.execution.credentials import job_secrets
from vrecompute.execution.signer import Signer
from vrecompute.remote import signed
from vrecompute.remote.signed import SIGNED_FILE, sign, signable, signed_for, with_signed
from vrecompute.sites.model import SiteStore, Stage, local_site
from vrecompute.stores.address import open_store

S3 = "s3://runs/{}.root?endpoint=https://object.example.org&credentials=env:VRE_SIGNED"
A, B = S3.format("a"), S3.format("b")


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("VRE_SIGNED", "key hunter2hunter2")
    monkeypatch.delenv("VRECOMPUTE_SECRETS", raising=False)


def dataset(*addresses: str) -> Dataset:
    return Dataset((Sample("s"),), tuple(Source(address, "s") for address in addresses))


def life(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0])


def test_a_task_finds_what_was_signed_for_it_and_nothing_shows_it():
    assert signable([A, "/a.root", "https://x/a.root", B, A]) == [A, B]
    made = sign([A], 600, required=True)
    assert life(made.url(A)) == 600
    assert "hunter2" not in made.url(A)
    assert "X-Amz" not in repr(made) + str(made)
    again = pickle.loads(pickle.dumps(made))
    assert with_signed(again, lambda: signed_for(A).url(A)) == made.url(A)
    assert with_signed(again, lambda: signed_for(B)) is None
    assert signed_for(A) is None


def test_without_keys_it_is_a_sentence():
    with pytest.raises(CredentialError, match="neither variable VRE_ABSENT is set"):
        sign([A.replace("VRE_SIGNED", "VRE_ABSENT")], 600, required=True)
    some = [A, B.replace("VRE_SIGNED", "VRE_ABSENT")]
    assert len(sign(some, 600, required=False)) == 1
    assert Signer(dataset(some[1]), required=False).current() is None, "workers may have keys of their own"


@pytest.mark.parametrize(
    ("site", "is_signed"),
    [
        (local_site(), False),
        (SimpleNamespace(stage=Stage(presign=True), store=SiteStore()), True),
        (SimpleNamespace(stage=Stage(), store=SiteStore(workers_reach=False)), True),
    ],
)
def test_a_job_is_brought_signed_addresses_in_place_of_keys(tmp_path, monkeypatch, site, is_signed):
    store = open_store(tmp_path / "store")
    live = job_secrets(site, store, dataset(A, B))
    assert live == ({} if is_signed else {"VRE_SIGNED": b"key hunter2hunter2"}), "its tasks bring them"
    brought = job_secrets(site, store, dataset(A, B), job_s=3600)
    assert brought.keys() == ({SIGNED_FILE} if is_signed else {"VRE_SIGNED"})
    assert job_secrets(site, store, dataset(A, B), job_s=3600, read=False) == dict.fromkeys(brought, b"")
    if not is_signed:
        return
    assert b"hunter2" not in brought[SIGNED_FILE]
    (tmp_path / SIGNED_FILE).write_bytes(brought[SIGNED_FILE])
    monkeypatch.setenv("VRECOMPUTE_SECRETS", str(tmp_path))
    assert life(signed_for(B).url(B)) == 3600 + 86400, "its walltime, and a day in the queue"
    monkeypatch.delenv("VRECOMPUTE_SECRETS")
    longest = json.loads(job_secrets(site, store, dataset(A), job_s=30 * 86400)[SIGNED_FILE])
    assert life(longest["urls"][A]) == 7 * 86400, "no service signs for longer"
    bucket = open_store("s3://runs/x?endpoint=https://object.example.org&credentials=env:VRE_SIGNED")
    assert (job_secrets(site, bucket, dataset(A)) == {}) is not site.store.workers_reach, (
        "the store's, where it is used"
    )


def test_a_runner_signs_anew_before_an_address_expires_and_not_beyond_its_keys(monkeypatch):
    clock = SimpleNamespace(now=1e9, time=lambda: clock.now)
    for module in (signer, signed):
        monkeypatch.setattr(module, "time", clock)
    assert Signer(dataset("/a.root"), required=True).current() is None
    made = Signer(dataset(A, B), required=True)
    first = made.current()
    assert life(first.url(A)) == 6 * 3600
    clock.now += 3 * 3600 - 1
    assert made.current() is first
    clock.now += 1
    second = made.current()
    assert second is not first


def test_an_address_ends_with_the_keys_that_signed_it(monkeypatch):
    until = time.time() + 3000
    keys = {"AccessKeyId": "key", "SecretAccessKey": "hunter2", "SessionToken": "t"}
    monkeypatch.setenv(
        "VRE_OF_AN_HOUR", json.dumps({**keys, "Expiration": datetime.fromtimestamp(until, UTC).isoformat()})
    )
    address = A.replace("VRE_SIGNED", "VRE_OF_AN_HOUR")
    made = Signer(dataset(address), required=True)
    assert made.current().until == pytest.approx(until, abs=1)
    assert life(made.current().url(address)) == pytest.approx(3000, abs=3)
    assert made._again == pytest.approx(until - 1500, abs=3), "half of what is left"
