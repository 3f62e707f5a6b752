"""A ledger for hosts without a durable disk: snapshots of the closed SQLite file in the store, under the lease there.

    campaigns/<name>/ledger/<number of the lease>-<sha256>.sqlite

A fresh host starts from the latest one. What a killed tick did after it is found again: names of runs are the same for
the same attempt, so the run is taken over, and a product that is published twice is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.storelease import StoreLease
from vrecompute.digest import file_sha256
from vrecompute.errors import UsageError
from vrecompute.scratch import scratch
from vrecompute.stores.base import Store

__all__ = ["store_ledger"]

# Snapshots that stay.
_KEPT = 5


@contextlib.contextmanager
def store_ledger(store: Store, campaign: str, *, write: bool) -> Iterator[Ledger]:
    """The ledger of the latest snapshot, in a temporary folder; with `write` under the lease, and stored afterwards.

    Raises Busy while another tick holds the lease, LeaseLost where it was taken over: then nothing is stored.
    """
    lease = StoreLease(store, campaign)
    if write:
        lease.acquire()
    try:
        with scratch("ledger") as folder:
            path = folder / "ledger.sqlite"
            latest = _latest(store, campaign)
            if latest is None and not write:
                raise UsageError(
                    f"campaign {campaign!r} has no ledger in {store.url} yet; `vrecompute campaign tick` begins it"
                )
            if latest is not None:
                store.get_file(latest, path, sha256=latest.rpartition("-")[2].removesuffix(".sqlite"))
            with Ledger(path, campaign, write=write) as ledger:
                if write:
                    ledger.renew, ledger.confirm = lease.renew, lease.check
                yield ledger
            if write:
                lease.check()
                _keep(store, campaign, lease.number, path)
    finally:
        if write:
            lease.release()


def _prefix(campaign: str) -> str:
    return f"campaigns/{campaign}/ledger"


def _latest(store: Store, campaign: str) -> str | None:
    return max((name for name in store.names(_prefix(campaign)) if name.endswith(".sqlite")), default=None)


def _keep(store: Store, campaign: str, number: int, path: Path) -> None:
    store.put_file(f"{_prefix(campaign)}/{number:010}-{file_sha256(path)}.sqlite", path)
    names = [name for name in store.names(_prefix(campaign)) if name.endswith(".sqlite")]
    for name in sorted(names)[:-_KEPT]:
        store.delete(name)
