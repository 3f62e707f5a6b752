"""`Signer`: signs the addresses of a run's sources for its workers, and again before they expire."""

from __future__ import annotations

import time

from vrecompute.datasets.dataset import Dataset
from vrecompute.execution.credentials import addresses_of
from vrecompute.remote.signed import Signed, sign, signable

__all__ = ["Signer"]

# A task that was sent while half of a life was left has the other half.
_LIFE_S, _LEAST_S = 6 * 3600.0, 60.0


class Signer:
    """Of one Runner, whose process has the keys. Where it has none and they are not `required`, workers use theirs."""

    def __init__(self, dataset: Dataset, *, required: bool) -> None:
        self._required = required
        self._addresses = signable(addresses_of(dataset))
        self._signed: Signed | None = None
        self._again = 0.0

    def current(self) -> Signed | None:
        """What tasks are to be sent with from now on; None where no address can be signed. Raises CredentialError."""
        now = time.time()
        if self._addresses and now >= self._again:
            signed = sign(self._addresses, _LIFE_S, required=self._required)
            self._signed = signed or None
            self._again = now + max(_LEAST_S, (signed.until - now) / 2)
        return self._signed
