"""Every store of ours, and the double that tests use in place of one, through the suite that is shipped."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vrecompute import retries
from vrecompute.sites.access import LocalAccess
from vrecompute.stores.directory import DirStore
from vrecompute.stores.remote import AccessStore
from vrecompute.testing import StoreContract, UnreliableStore


class TestDirStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path):
        return lambda: DirStore(tmp_path / "store")


class TestAccessStore(StoreContract):
    """On this machine it runs the commands that it runs on another."""

    @pytest.fixture
    def make_store(self, tmp_path: Path):
        return lambda: AccessStore(LocalAccess(), str(tmp_path / "store"))

    @pytest.fixture
    def grow_old(self):
        """By the clock of the machine that it is on."""

        def grow(store, name):
            long_ago = time.time() - 2 * 86_400
            os.utime(Path(store.url, name), (long_ago, long_ago))

        return grow


class TestUnreliableStore(StoreContract):
    """Requests that fail are made again; what is new is listed late."""

    lag_s = 0.3

    @pytest.fixture
    def make_store(self, tmp_path: Path, monkeypatch):
        monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
        return lambda: UnreliableStore(DirStore(tmp_path / "store"), failing=0.2, losing=0.0, lag_s=self.lag_s)
