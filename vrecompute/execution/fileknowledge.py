"""`FileKnowledge`: what was found of a tree of a file, kept in the store by the file and its stamp alone.

sources/<sha256 of address, stamp and tree>.json                   a file's facts besides its columns
sources/<sha256 of names and types>.columns                        names and types of its columns; shared by like files
sources/<sha256 of address, stamp, tree and columns>.json          how these columns lie in the file
sources/<sha256 of the table>.table                                where every basket or page of these columns lies

Of no analysis and no parameter, so that a changed cut opens no file again; of the reader's own code, which finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from vrecompute import reader
from vrecompute.analysis.machinery import machinery
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import StoreError
from vrecompute.stores.base import Store
from vrecompute.stores.objects import FORMAT, read_content, read_document, write_content, write_document

if TYPE_CHECKING:
    from vrecompute.reader import FileFacts

__all__ = ["FileKnowledge"]

_T = TypeVar("_T")


class FileKnowledge:
    """Of `tree` of the file at `path`, which is `origin` now; None is its only or first usual tree.

    With `opens`, what the store does not know is found in the file and kept; without, it is None.
    """

    def __init__(self, store: Store, path: str, tree: str | None, origin: str, *, opens: bool) -> None:
        self.origin = origin
        self._store, self._path, self._tree, self._opens = store, path, tree, opens
        self._key = [FORMAT, machinery()["vrecompute.reader"], self.origin, tree]
        self._opened: FileFacts | None = None

    def facts(self) -> FileFacts | None:
        """Everything but how columns lie in the file. Raises BadInput where it cannot be read."""
        name = _name(self._key)
        known = self._kept(name, "file", self._facts_of)
        if known is not None or not self._opens:
            return known
        self._opened = opened = reader.inspect(self._path, self._tree)
        columns = json.dumps(list(opened.available.items())).encode()
        write_content(self._store, _columns(sha256_of(columns)), columns)
        bare = replace(opened, available={}, boundaries=(), stored={})
        write_document(self._store, name, "file", bare.to_json() | {"columns": sha256_of(columns)})
        return opened

    def layout(self, columns: Sequence[str]) -> tuple[FileFacts, str] | None:
        """How `columns` lie in the file, and the sha256 of the table of their baskets or pages. Raises BadInput."""
        name = _name([*self._key, list(columns)])
        known = self._kept(name, "layout", self._layout_of)
        if known is not None or not self._opens:
            return known
        opened = self._opened or reader.inspect(self._path, self._tree)
        table = reader.table_to_bytes(reader.tabulate(self._path, opened.tree, tuple(columns)))
        found = opened.only(columns), sha256_of(table)
        write_content(self._store, f"sources/{found[1]}.table", table)
        write_document(self._store, name, "layout", found[0].to_json() | {"table": found[1]})
        return found

    def _kept(self, name: str, kind: str, make: Callable[[Mapping[str, Any]], _T]) -> _T | None:
        try:
            if not self._store.exists(name):
                return None
            return read_document(self._store, name, kind, lambda raw: make(raw | {"path": self._path}))
        except StoreError:
            return None  # it is only a memory of what the file says: the file is asked again

    def _facts_of(self, raw: Mapping[str, Any]) -> FileFacts:
        columns = json.loads(read_content(self._store, _columns(raw["columns"])))
        return replace(_facts(raw), available=dict(columns))

    def _layout_of(self, raw: Mapping[str, Any]) -> tuple[FileFacts, str] | None:
        kept = self._store.exists(f"sources/{raw['table']}.table")
        return (_facts(raw), raw["table"]) if kept else None


def _facts(raw: Mapping[str, Any]) -> FileFacts:
    from vrecompute.reader import FileFacts  # with what decodes files: a client that knows of none needs no compiler

    return FileFacts.from_json(raw)


def _name(key: Sequence[Any]) -> str:
    return f"sources/{sha256_json(key)}.json"


def _columns(sha256: str) -> str:
    return f"sources/{sha256}.columns"
