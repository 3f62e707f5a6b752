"""Declared columns of ROOT files as flat arrays and offsets: `inspect` a file, then `read` ranges of it.

`inspect` says what a file holds and what planning needs to know; `read` decodes the declared columns
of one range of events. Both raise errors of `vrecompute.errors` that name the file and the column.
"""

from __future__ import annotations

from vrecompute.reader.facts import FileFacts, inspect
from vrecompute.reader.identity import Identity
from vrecompute.reader.read import READER_VERSION, read

__all__ = ["READER_VERSION", "FileFacts", "Identity", "inspect", "read"]
