"""Contracts as tests, for those who implement one: inherit a class, give its fixtures, run pytest."""

from __future__ import annotations

from vrecompute.testing.backends import BackendContract
from vrecompute.testing.stores import StoreContract
from vrecompute.testing.unreliable import UnreliableStore

__all__ = ["BackendContract", "StoreContract", "UnreliableStore"]
