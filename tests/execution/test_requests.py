"""Runs over a store that lags, fails and counts: the same bytes, with requests that are bounded by a formula."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client, retries
from vrecompute.execution.manifest import Settings
from vrecompute.execution.prepare import Request
from vrecompute.execution.runner import Runner
from vrecompute.stores import address
from vrecompute.stores.directory import DirStore
from vrecompute.testing import UnreliableStore

SOURCES, CLUSTERS = 3, 8


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("files")
    return [str(write_events(folder / f"{n}.root", 400, n, clusters=CLUSTERS)) for n in range(SOURCES)]


def most_requests(parts: int, sources: int, seconds: float, failed: int) -> float:
    """The bound that docs/architecture.md states."""
    return 30 + 12 * sources + 2 * parts + 2 * seconds + 3 * failed


def carried_out(dask, files, store, folder: Path, monkeypatch, name: str):
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    monkeypatch.setitem(address.SCHEMES, name, lambda given: store)
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    settings = Settings(chunk_bytes=1000, task_chunks=2)
    made, manifest = Client(store=store)._prepare(Request(str(folder / "sums.py"), files, {}, settings=settings))
    manifest.write(store)
    began = time.monotonic()
    summary = Runner(dask, store, manifest, made).execute().summary
    parts = len(list(store.store.names("work")))
    most = most_requests(parts, len(files), time.monotonic() - began, store.failed)
    assert sum(store.asked.values()) <= most, store.asked
    assert store.asked["list"] <= 6 + store.failed
    assert (summary.status, summary.chunks.computed, summary.warnings) == ("complete", SOURCES * CLUSTERS * 2, ())
    return summary


def test_a_store_that_lags_and_fails_costs_no_bit_and_few_requests(dask, files, tmp_path, monkeypatch):
    seen = {}
    for name, failing in (("sound", 0.0), ("failing", 0.05), ("bad", 0.2)):
        double = UnreliableStore(
            DirStore(tmp_path / name), failing=failing, lag_s=0.3 * bool(failing), url=f"{name}://x"
        )
        summary = carried_out(dask, files, double, tmp_path, monkeypatch, name)
        seen[name] = summary.result_sha256
        assert bool(summary.read_retries) == bool(failing)
        assert 0.7 * double.failed <= summary.read_retries <= double.failed, "the log's own thread counts none"
    assert len(set(seen.values())) == 1
    assert "failed in passing" in summary.retried or "was lost" in summary.retried


def test_a_store_that_fails_for_good_ends_the_run_with_its_words(dask, files, tmp_path, monkeypatch):
    double = UnreliableStore(DirStore(tmp_path / "store"), url="dead://x")
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    monkeypatch.setitem(address.SCHEMES, "dead", lambda given: double)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    made, manifest = Client(store=double)._prepare(Request(str(tmp_path / "sums.py"), files, {}))
    manifest.write(double)
    double.failing = 1.0
    outcome = Runner(dask, double, manifest, made).execute()
    assert outcome.summary.status == "failed"
    assert "dead://x: " in outcome.failures[0].reason


class RefusesParts(DirStore):
    """As a store of another package whose service goes away, and which says so by what its library raises."""

    def create(self, name, data):
        if "/parts/" in name:
            raise ConnectionRefusedError(111, "Connection refused")
        return super().create(name, data)


def test_what_a_store_raises_is_told_of_the_store_and_of_no_lost_scheduler(dask, files, tmp_path, monkeypatch):
    """Where a worker writes, and where the Runner does."""
    monkeypatch.setitem(address.SCHEMES, "theirs", lambda given: RefusesParts(tmp_path / "store"))
    monkeypatch.setattr(RefusesParts, "url", "theirs://refuses")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    client = Client(store="theirs://refuses")
    for reach in (True, False):
        made, manifest = client._prepare(Request(str(tmp_path / "sums.py"), files, {}))
        manifest.write(client.store)
        summary = Runner(dask, client.store, manifest, made, workers_reach=reach).execute().summary
        assert summary.status == "failed"
        assert {failure.kind for failure in summary.failures} == {"store"}
        assert "ConnectionRefusedError" in summary.failures[0].reason
        assert "RefusesParts serves" in summary.failures[0].reason


class FullInPreflight(DirStore):
    """What is known of files finds no space."""

    def create(self, name, data):
        if name.startswith("sources/"):
            raise OSError(28, "No space left on device")
        return super().create(name, data)


def test_a_full_store_blames_no_event_file(dask, files, tmp_path, monkeypatch):
    monkeypatch.setitem(address.SCHEMES, "full", lambda given: FullInPreflight(tmp_path / "store"))
    monkeypatch.setattr(FullInPreflight, "url", "full://store")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    client = Client(store="full://store")
    made, manifest = client._prepare(Request(str(tmp_path / "sums.py"), files, {}))
    manifest.write(client.store)
    summary = Runner(dask, client.store, manifest, made).execute().summary
    assert summary.status == "failed"
    (failure,) = summary.failures
    assert (failure.file, failure.kind) == ("full://store", "store")
    assert "No space left" in failure.reason
