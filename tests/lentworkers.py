"""Local workers that one test after another is lent: a `Client` of this machine starts none where some are there.

Starting a scheduler and workers costs more than most runs of tests do on them. Workers that are not as they were when
they were started (killed, scaled, at work, or with changed libraries) are ended, and the next test gets others.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from vrecompute.analysis.importeffects import done_here
from vrecompute.batch.contract import Cluster
from vrecompute.workers.dask_logs import dask_logs_kept_back
from vrecompute_backends.local import LocalBackend
from vrecompute_backends.local.driver import LocalDask

__all__ = ["Lender"]

# Variables that each test has of its own, and no worker looks at.
_OWN = frozenset({"PYTEST_CURRENT_TEST", "VRECOMPUTE_STORE"})
# How many idle clusters are kept: they take memory.
_AT_MOST = 2


class Lender:
    """Takes the place of `LocalBackend.open_cluster` for as long as it is patched; `close` ends what is there."""

    def __init__(self) -> None:
        self._there: list[tuple[tuple[Any, ...], LocalDask]] = []
        self._open = LocalBackend.open_cluster

    def lend(self, patch: pytest.MonkeyPatch) -> None:
        """From now on, workers that nobody has are given to who opens a cluster of their shape."""
        patch.setattr(LocalBackend, "open_cluster", lambda backend, workers: self._opened(backend, workers))

    def _opened(self, backend: LocalBackend, workers: int) -> Cluster:
        if backend.dashboard or backend.secret_files:
            return self._open(backend, workers)
        surroundings = sorted((name, value) for name, value in os.environ.items() if name not in _OWN)
        shape = (workers, repr(backend.site), tuple(surroundings), tuple(sys.path))
        there = [each for each in self._there if each[0] == shape]
        for each in there[:1]:
            self._there.remove(each)
        made = there[0][1] if there else self._open(backend, workers)
        return _Lent(made, lambda: self._take_back(shape, made))

    def close(self) -> None:
        """End them."""
        while self._there:
            self._there.pop()[1].close()

    def _take_back(self, shape: tuple[Any, ...], cluster: LocalDask) -> None:
        self._there.append((shape, cluster))
        if len(self._there) > _AT_MOST:
            self._there.pop(0)[1].close()


class _Lent(Cluster):
    """A cluster that goes back when it is closed."""

    def __init__(self, cluster: LocalDask, give_back: Callable[[], None]) -> None:
        self._cluster: LocalDask | None = cluster
        self._give_back = give_back
        self._client = cluster.client
        self.patience_s = cluster.patience_s
        self._processes = self._client.run(os.getpid)
        cluster._quiet.enter_context(dask_logs_kept_back())

    @property
    def client(self) -> Any:
        return self._client

    def scale(self, workers: int) -> None:
        self._processes = {}
        self._lent().scale(workers)

    def bring(self, secret_files: Mapping[str, bytes]) -> bool:
        if secret_files:
            self._processes = {}
        return self._lent().bring(secret_files)

    def lost(self) -> str:
        return self._lent().lost()

    def waiting(self) -> str:
        return self._lent().waiting()

    def close(self) -> None:
        if self._cluster is None:
            return
        cluster, self._cluster = self._cluster, None
        cluster._quiet.close()
        if self._as_it_was():
            self._give_back()
        else:
            cluster.close()

    def _lent(self) -> LocalDask:
        assert self._cluster is not None, "it was closed"
        return self._cluster

    def _as_it_was(self) -> bool:
        with contextlib.suppress(Exception):  # whatever it is, they are not
            idle = not any(self._client.processing().values())
            return (
                idle
                and self._processes == self._client.run(os.getpid)
                and not any(self._client.run(done_here).values())
            )
        return False
