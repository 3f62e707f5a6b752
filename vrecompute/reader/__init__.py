"""Declared columns of ROOT files as flat arrays and offsets: `inspect` a file, then `read` ranges of it.

`inspect` says what a file holds and what planning needs to know; `read` decodes the declared columns
of one range of events; `tabulate` makes the sidecar with which a worker reads without parsing the
file's metadata. All raise errors of `vrecompute.errors` that name the file and the column.
"""

from __future__ import annotations

from vrecompute.reader.baskets import BasketTable
from vrecompute.reader.bytesource import ByteSource, link_of, look_at
from vrecompute.reader.facts import FileFacts, inspect, require_columns
from vrecompute.reader.identity import Identity, origin_at, origin_of
from vrecompute.reader.localfile import stamp_of
from vrecompute.reader.pages import PageTable
from vrecompute.reader.read import READER_VERSION, Table, fetch_ahead, read, tabulate
from vrecompute.reader.retry import retried, unreadable
from vrecompute.reader.sidecar import table_from_bytes, table_to_bytes
from vrecompute.retries import count_retries
from vrecompute.traffic import count_traffic

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
