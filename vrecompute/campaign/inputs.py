"""What became of the files of a dataset since the latest look: new, changed, vanished; told from stamps alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from vrecompute.campaign.ledger import Ledger

__all__ = ["Difference", "difference", "record"]


class Difference(NamedTuple):
    """Addresses, sorted."""

    new: list[str]
    changed: list[str]
    vanished: list[str]

    @property
    def is_none(self) -> bool:
        """Whether nothing changed."""
        return not (self.new or self.changed or self.vanished)


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> Difference:
    """What is between two looks (address -> stamp)."""
    return Difference(
        sorted(now.keys() - before.keys()),
        sorted(address for address in now.keys() & before.keys() if now[address] != before[address]),
        sorted(before.keys() - now.keys()),
    )


def record(ledger: Ledger, dataset: str, stamps: Mapping[str, str], sizes: Mapping[str, int]) -> Difference:
    """Keep what was seen of a dataset, and say in the history what is another than before; nothing where nothing is."""
    seen = ledger.rows("SELECT address, stamp FROM inputs WHERE dataset = ? AND is_there", (dataset,))
    found = difference({row["address"]: row["stamp"] for row in seen}, stamps)
    if found.is_none:
        return found
    now = time.time()
    with ledger.writing():
        ledger.do_many(
            "INSERT INTO inputs VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (dataset, address) DO UPDATE SET "
            "stamp = excluded.stamp, size = excluded.size, is_there = 1, changed = excluded.changed",
            [(dataset, a, stamps[a], sizes[a], now, now) for a in (*found.new, *found.changed)],
        )
        ledger.do_many(
            "UPDATE inputs SET is_there = 0, changed = ? WHERE dataset = ? AND address = ?",
            [(now, dataset, address) for address in found.vanished],
        )
        # another file, or none: what was wrong with it is no more
        ledger.do_many("DELETE FROM troubles WHERE address = ?", [(a,) for a in (*found.changed, *found.vanished)])
        for kind, addresses in zip(("new", "changed", "vanished"), found, strict=True):
            for address in addresses:
                ledger.note(f"input {kind}", dataset, address, stamp=stamps.get(address))
    return found
