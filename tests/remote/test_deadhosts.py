"""A server that is gone costs its patience once, and the next replica is read; one without replicas is waited for."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.events import write_events
from tests.remote.test_http import forget
from tests.webserver import serving
from vrecompute import reader
from vrecompute.errors import UnreadableFile
from vrecompute.execution import replicas
from vrecompute.execution.replicas import note_replicas, read_somewhere
from vrecompute.remote import deadhosts, web

FILES = 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    forget(monkeypatch)
    monkeypatch.setattr(replicas, "_gave", {})
    write_events(tmp_path / "0.root", 100, 1, clusters=1)
    for number in range(1, FILES):
        shutil.copy(tmp_path / "0.root", tmp_path / f"{number}.root")
    return tmp_path


@pytest.fixture
def tried(monkeypatch):
    """Hosts in the order in which connections to them were begun or used again."""
    asked, pool = [], web._pool
    monkeypatch.setattr(web, "_pool", lambda url, ca: asked.append(web.link_of(url)) or pool(url, ca))
    return asked


def test_a_server_that_is_stopped_is_asked_a_few_times_and_once_it_is_back_again(folder, tried, monkeypatch, caplog):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(deadhosts, "time", clock)
    notes = note_replicas()
    with serving(folder) as there, ExitStack() as stack:
        first = stack.enter_context(serving(folder))
        port = int(first.url.rpartition(":")[2])

        def entries(number: int) -> int:
            addresses = [f"{first.url}/{number}.root", f"{there.url}/{number}.root"]
            return read_somewhere(addresses, lambda at: reader.inspect(at).entries)

        assert entries(0) == 100
        assert first.url in tried
        assert there.url not in tried
        stack.close()
        web._pools.cache_clear()  # the connection that was kept ends
        tried.clear()
        with caplog.at_level(logging.WARNING):
            assert [entries(number) for number in range(1, FILES)] == [100] * (FILES - 1)
        assert tried.count(first.url) == deadhosts.FAILURES
        (said,) = [m for m in caplog.messages if first.url in m]
        assert "does not answer" in said
        assert "3 times in a row, and is left alone for now" in list(notes.told)[-1]
        clock.now += deadhosts.LEFT_ALONE_S + 1
        replicas._gave.clear()
        reader_again(monkeypatch)
        assert entries(1) == 100
        assert tried.count(first.url) == deadhosts.FAILURES + 1, "one failure is enough now"
        stack.enter_context(serving(folder, port=port))
        clock.now += deadhosts.LEFT_ALONE_S + 1
        replicas._gave.clear()
        reader_again(monkeypatch)
        assert entries(2) == 100
        assert deadhosts._silent == {}
        assert there.requests.keys() >= {"/1.root", "/11.root"}


def reader_again(monkeypatch) -> None:
    """Nothing is open; what is known of hosts stays."""
    silent = deadhosts._silent
    forget(monkeypatch)
    monkeypatch.setattr(deadhosts, "_silent", silent)


def test_without_another_replica_a_dead_host_has_the_patience_of_any_other(folder, tried):
    with serving(folder) as server:
        pass
    for number in range(2):
        with pytest.raises(UnreadableFile, match="also when it was tried again"):
            reader.inspect(f"{server.url}/{number}.root")
    assert len(tried) >= 12, "each is tried six times"


def test_the_last_replica_is_waited_for_though_all_are_dead(folder, tried):
    with serving(folder) as one, serving(folder) as two:
        pass
    for _ in range(3):
        replicas._gave.clear()
        tried.clear()
        with pytest.raises(UnreadableFile, match="no replica is left"):
            read_somewhere([f"{one.url}/0.root", f"{two.url}/0.root"], lambda at: reader.inspect(at).entries)
    assert one.url not in tried
    assert tried.count(two.url) >= 6


def test_an_answer_of_any_kind_is_a_sign_of_life(folder, tried):
    with serving(folder) as server, serving(folder) as other:
        server.lie = lambda path, ranges, number: "503"
        for number in range(2):
            addresses = [f"{server.url}/{number}.root", f"{other.url}/{number}.root"]
            assert read_somewhere(addresses, lambda at: reader.inspect(at).entries) == 100
    assert deadhosts._silent == {}
    assert tried.count(server.url) >= 12
