"""Checksums of whole files, as catalogues give them: `sha256:` or `adler32:` and hexadecimal digits."""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path

__all__ = ["ALGORITHMS", "checksum_of", "digest_of_file"]

#: Number of hexadecimal digits by algorithm; adler32 is what WLCG storage and Rucio keep.
ALGORITHMS = {"sha256": 64, "adler32": 8}
_PIECE = 1 << 20


def checksum_of(algorithm: str, digits: object) -> str:
    """`algorithm:digits` in small letters; ValueError for digits that no such checksum has."""
    length = ALGORITHMS[algorithm]
    if not isinstance(digits, str) or not re.fullmatch(rf"[0-9A-Fa-f]{{{length}}}", digits):
        found = f"{digits!r}" if isinstance(digits, str) else f"{digits!r}, which is not text: put it into quotes"
        raise ValueError(f"expected {length} hexadecimal digits, found {found}")
    return f"{algorithm}:{digits.lower()}"


def digest_of_file(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file's content, read in pieces. Raises OSError."""
    with path.open("rb") as file:
        if algorithm != "adler32":
            return hashlib.file_digest(file, algorithm).hexdigest()
        value = 1
        while piece := file.read(_PIECE):
            value = zlib.adler32(piece, value)
    return f"{value:08x}"
