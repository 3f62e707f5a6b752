"""Text that any program reads as UTF-8. Python also has text that is none: half of a surrogate pair stands in it for a
byte that is not UTF-8 (`os.fsdecode(b"caf\\xe9")`), or comes from elsewhere.

Messages for people are spelled out by `utf8`. What names something is refused where `is_utf8` says no: two names
could become one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["is_utf8", "utf8", "utf8_data"]

_HALF = re.compile("[\ud800-\udfff]")
# As `surrogateescape` writes the bytes 0x80 to 0xff.
_FIRST_BYTE, _LAST_BYTE, _BYTES = 0xDC80, 0xDCFF, 0xDC00


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    return text.isascii() or _HALF.search(text) is None


def utf8(text: str) -> str:
    """`text` with what is no UTF-8 spelled out: a byte as Python writes it, half of a surrogate pair by its number.

    >>> utf8("caf\\udce9 \\ud800")
    'caf\\\\xe9 \\\\ud800'
    """
    return text if is_utf8(text) else _HALF.sub(_spelled_out, text)


def _spelled_out(half: re.Match[str]) -> str:
    number = ord(half.group())
    return f"\\x{number - _BYTES:02x}" if _FIRST_BYTE <= number <= _LAST_BYTE else f"\\u{number:04x}"


def utf8_data(value: Any) -> Any:
    """Data as of JSON with each text in it, names too, as `utf8` gives it."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {utf8(name) if isinstance(name, str) else name: utf8_data(item) for name, item in value.items()}
    return [utf8_data(item) for item in value] if isinstance(value, list | tuple) else value
