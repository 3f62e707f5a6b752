"""Whether the workers of any Dask cluster reach a store: they read an object of it, and what they write arrives."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from distributed import Client as DaskClient

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, VrecomputeError
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store
from vrecompute.workers.dask_hooks import ask_each

__all__ = ["unreached"]

# How long a worker may take: a file system that hangs is none that it reaches.
_ANSWER_S, _SILENT_S = 30.0, 10.0


def unreached(dask: DaskClient, store: Store, known: str) -> dict[str, str]:
    """The workers that are there now and do not reach the store, each with the reason; `known` is an object of it."""
    prefix, known_sha256 = f"probe/{secrets.token_hex(8)}", sha256_of(store.get(known))
    # one that does not even say that it waits is none that reaches it
    answers = ask_each(dask, _try, store.url, known, known_sha256, prefix, timeout_s=_ANSWER_S + _SILENT_S)
    return {worker: why for worker, said in answers.items() if (why := said or _not_here(store, prefix, worker))}


async def _try(url: str, known: str, known_sha256: str, prefix: str, dask_worker: Any) -> str:
    """On a worker, and not in the loop that keeps it alive: what is wrong, empty where nothing is."""
    trial = asyncio.to_thread(_read_and_write, url, known, known_sha256, _proof(prefix, dask_worker.address))
    try:
        await asyncio.wait_for(trial, _ANSWER_S)
    except TimeoutError:
        return f"{url} did not answer within {_ANSWER_S:.0f} s"
    except (VrecomputeError, OSError) as error:
        return str(error)
    return ""


def _read_and_write(url: str, known: str, known_sha256: str, name: str) -> None:
    store = open_store(url)
    store.get(known, sha256=known_sha256)  # before anything is written: another folder of that name stays as it is
    store.create(name, name.encode())


def _not_here(store: Store, prefix: str, worker: str) -> str:
    name = _proof(prefix, worker)
    try:
        store.get(name, sha256=sha256_of(name.encode()))
        store.delete(name)
    except StoreError as error:
        return f"what it wrote did not arrive: {error}"
    return ""


def _proof(prefix: str, worker: str) -> str:
    return f"{prefix}-{sha256_of(worker.encode())[:16]}"
