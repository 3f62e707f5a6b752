"""Checksums of whole files, as catalogues give them: `sha256:` or `adler32:` and hexadecimal digits."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable

__all__ = ["ALGORITHMS", "checksum_of", "digest_of"]

#: Number of hexadecimal digits by algorithm; adler32 is what WLCG storage and Rucio keep.
ALGORITHMS = {"sha256": 64, "adler32": 8}


def checksum_of(algorithm: str, digits: object) -> str:
    """`algorithm:digits` in small letters; ValueError for digits that no such checksum has."""
    length = ALGORITHMS[algorithm]
    if not isinstance(digits, str) or not re.fullmatch(rf"[0-9A-Fa-f]{{{length}}}", digits):
        found = f"{digits!r}" if isinstance(digits, str) else f"{digits!r}, which is not text: put it into quotes"
        raise ValueError(f"expected {length} hexadecimal digits, found {found}")
    return f"{algorithm}:{digits.lower()}"


def digest_of(pieces: Iterable[bytes | memoryview], algorithm: str) -> str:
    """The hexadecimal digest of bytes that come in pieces."""
    if algorithm == "adler32":
        value = 1
        for piece in pieces:
            value = zlib.adler32(piece, value)
        return f"{value:08x}"
    digest = hashlib.new(algorithm)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
