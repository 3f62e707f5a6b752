"""Names made of content: canonical JSON, sha256, and the versions that may change a number (law 3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "canonical_json",
    "file_sha256",
    "numerics",
    "sha256_json",
    "sha256_of",
]

# Distributions whose versions may change a bit of a result.
_NUMERIC_DISTRIBUTIONS = ("numpy", "numba", "awkward", "uproot")


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain data; use numbers, text, lists and mappings")


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal sha256 of a data-only value."""
    return sha256_of(canonical_json(value))


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numerics(declared: Iterable[str] = ()) -> dict[str, str]:
    """Versions of the libraries that may change a number: numpy, numba, awkward, uproot and those declared."""
    found = {}
    for name in sorted({*_NUMERIC_DISTRIBUTIONS, *declared}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
