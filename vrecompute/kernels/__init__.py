"""Numba kernels: numpy and numba only, no Dask, no files."""

from __future__ import annotations

__all__ = ["CACHE_VARIABLE"]

CACHE_VARIABLE = "VRECOMPUTE_CACHE"
"""The environment variable that names the folder of compiled kernels, and of what else a user's processes keep."""
