"""Declared columns of ROOT files as flat arrays and offsets: `inspect` a file, then `read` ranges of it.

`inspect` says what a file holds and what planning needs to know; `read` decodes the declared columns
of one range of events; `tabulate` makes the sidecar with which a worker reads without parsing the
file's metadata. All raise errors of `vrecompute.errors` that name the file and the column.

What decodes is imported when it is first used: a client that only asks what a file is needs no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vrecompute.reader.bytesource import ByteSource, link_of, look_at
from vrecompute.reader.identity import Identity, origin_at, origin_of
from vrecompute.reader.localfile import stamp_of
from vrecompute.reader.retry import retried, unreadable
from vrecompute.reader.version import READER_VERSION
from vrecompute.retries import count_retries
from vrecompute.traffic import count_traffic

if TYPE_CHECKING:
    from vrecompute.reader.baskets import BasketTable
    from vrecompute.reader.facts import FileFacts, inspect, require_columns
    from vrecompute.reader.pages import PageTable
    from vrecompute.reader.ranges import Table, fetch_ahead, read, tabulate
    from vrecompute.reader.sidecar import table_from_bytes, table_to_bytes

__all__ = [
    "READER_VERSION",
    "BasketTable",
    "ByteSource",
    "FileFacts",
    "Identity",
    "PageTable",
    "Table",
    "count_retries",
    "count_traffic",
    "fetch_ahead",
    "inspect",
    "link_of",
    "look_at",
    "origin_at",
    "origin_of",
    "read",
    "require_columns",
    "retried",
    "stamp_of",
    "table_from_bytes",
    "table_to_bytes",
    "tabulate",
    "unreadable",
]

_HOMES = {
    "baskets": ("BasketTable",),
    "facts": ("FileFacts", "inspect", "require_columns"),
    "pages": ("PageTable",),
    "ranges": ("Table", "fetch_ahead", "read", "tabulate"),
    "sidecar": ("table_from_bytes", "table_to_bytes"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What reads events, with the libraries that it needs."""
    if name in _MODULES:
        found = globals()[name] = getattr(import_module(f"vrecompute.reader.{_MODULES[name]}"), name)
        return found
    raise AttributeError(f"module 'vrecompute.reader' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
