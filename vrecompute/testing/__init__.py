"""Contracts as tests, for those who implement one: inherit a class, give its fixtures, run pytest."""

from __future__ import annotations

import pkgutil

import pytest

# so that what fails shows values: pytest does that by itself in test files alone, and before they are imported
pytest.register_assert_rewrite(*(f"{__name__}.{found.name}" for found in pkgutil.iter_modules(__path__)))

from vrecompute.testing.backends import BackendContract  # noqa: E402
from vrecompute.testing.stores import StoreContract  # noqa: E402
from vrecompute.testing.unreliable import UnreliableStore  # noqa: E402

__all__ = ["BackendContract", "StoreContract", "UnreliableStore"]
