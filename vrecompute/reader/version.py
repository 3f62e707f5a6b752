"""`READER_VERSION`: which arrays the reader makes of a file."""

from __future__ import annotations

__all__ = ["READER_VERSION"]

READER_VERSION = 2
"""Part of the key of every partial result: raised when the same file would be decoded to other arrays."""
