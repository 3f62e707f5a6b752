"""A lease in a store: numbered objects, each created once, of which the last one holds.

    campaigns/<name>/lease/<number>.json     whose it is, and until when; the number after the last is free for one

To take or to renew it is to create the next number, which only one client of a store can. So a holder whose number is
not the last one has lost it, whatever clocks say.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass, field

from vrecompute.campaign.ledger import LEASE_S, Busy, LeaseLost
from vrecompute.errors import AbsentObject, DamagedObject, UsageError
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_document, write_document

__all__ = ["StoreLease"]

# Numbers that stay, so that a listing which lags is not empty.
_KEPT = 3


@dataclass
class StoreLease:
    """The lease of a campaign. `life_s` is how long it holds without being renewed."""

    store: Store
    campaign: str
    life_s: float = LEASE_S
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    number: int = 0
    _renewed: float = 0.0

    def acquire(self) -> None:
        """Busy where another holds it, UsageError where the store has no conditional create."""
        if not getattr(self.store, "creates_conditionally", True):
            raise UsageError(
                f"{self.store.url}: its service has no conditional writes, and a lease needs them; keep the ledger on "
                "a disk (`ledger: PATH`), or use another store"
            )
        number, holder, until = self._last()
        if until > time.time():
            raise Busy(f"another tick of campaign {self.campaign!r} is at work: {holder}")
        # one that was suspended since it looked may create a number that others have used, and removed, meanwhile
        if not self._create(number + 1, time.time() + self.life_s) or self._last()[0] != self.number:
            raise Busy(f"another tick of campaign {self.campaign!r} began at the same moment")
        self._tidy()

    def renew(self) -> None:
        """LeaseLost where another has taken it."""
        if time.monotonic() - self._renewed < self.life_s / 4 and self.number:
            return
        number, _, _ = self._last()
        if number != self.number or not self._create(self.number + 1, time.time() + self.life_s):
            raise LeaseLost(f"another tick of campaign {self.campaign!r} has taken over; this one ends")
        self._tidy()

    def check(self) -> None:
        """LeaseLost unless it is ours at this moment."""
        if self._last()[0] != self.number:
            raise LeaseLost(f"another tick of campaign {self.campaign!r} has taken over; this one ends")

    def release(self) -> None:
        """Give it back at once; nothing where it was lost."""
        if self.number and self._last()[0] == self.number:
            self._create(self.number + 1, 0.0)
        self.number = 0

    def _create(self, number: int, until: float) -> bool:
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        body = {"token": self.token, "holder": holder, "until": until}
        name = self._name(number)
        # a store behind a connection may have created it although its answer was lost
        if not write_document(self.store, name, "lease", body) and self._said(name) != (self.token, until):
            return False
        self.number, self._renewed = number, time.monotonic()
        return True

    def _said(self, name: str) -> tuple[str, float]:
        """Whose a number is, and until when."""
        return read_document(self.store, name, "lease", lambda raw: (str(raw["token"]), float(raw["until"])))

    def _last(self) -> tuple[int, str, float]:
        """Number, holder and end of the last one; a listing may lag, so what follows is looked for by name."""
        names = [name for name in self.store.names(self._prefix) if name.endswith(".json")]
        number = max((int(name.rpartition("/")[2].removesuffix(".json")) for name in names), default=0)
        number = max(number, self.number)
        while self.store.exists(self._name(number + 1)):
            number += 1
        if not number:
            return 0, "", 0.0
        try:
            holder, until = read_document(
                self.store, self._name(number), "lease", lambda raw: (str(raw["holder"]), float(raw["until"]))
            )
        except (AbsentObject, DamagedObject):
            return number, "", 0.0  # it holds for no one
        return number, holder, until

    def _tidy(self) -> None:
        for name in list(self.store.names(self._prefix)):
            number = name.rpartition("/")[2].removesuffix(".json")
            if number.isdigit() and int(number) <= self.number - _KEPT:
                self.store.delete(name)

    @property
    def _prefix(self) -> str:
        return f"campaigns/{self.campaign}/lease"

    def _name(self, number: int) -> str:
        return f"{self._prefix}/{number:010}.json"
