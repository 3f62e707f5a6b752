"""`Signer`: signs the addresses of a run's sources for its workers, and again before they expire."""

from __future__ import annotations

import time

from vrecompute.datasets.dataset import Dataset
from vrecompute.execution.credentials import addresses_of, sources_end
from vrecompute.remote.signed import Signed, sign, signable

__all__ = ["Signer"]

# A task that was sent while half of a life was left has the other half.
_LIFE_S, _LEAST_S = 6 * 3600.0, 60.0


class Signer:
    """Of one Runner, whose process has the keys. Where it has none and they are not `required`, workers use theirs."""

    def __init__(self, dataset: Dataset, *, required: bool) -> None:
        self._dataset, self._required = dataset, required
        self._addresses = signable(addresses_of(dataset))
        self._signed: Signed | None = None
        self._again = 0.0

    def current(self) -> Signed | None:
        """What tasks are to be sent with from now on; None where no address can be signed. Raises CredentialError."""
        now = time.time()
        if self._addresses and now >= self._again:
            ends = sources_end(self._dataset)
            life_s = _LIFE_S if ends is None else max(_LEAST_S, min(_LIFE_S, ends - now))  # not beyond the keys' own
            self._signed = sign(self._addresses, life_s, required=self._required) or None
            self._again = now + life_s / 2
        return self._signed
