"""Contracts as tests, for those who implement one: inherit a class, give its fixtures, run pytest."""

from __future__ import annotations

from vrecompute.testing.backends import BackendContract

__all__ = ["BackendContract"]
