"""`FileKnowledge`: what was found of a tree of a file, kept in the store by the file and its stamp alone.

sources/<sha256 of address, stamp and tree>.json                   a file's facts besides its columns
sources/<sha256 of names and types>.columns                        names and types of its columns; shared by like files
sources/<sha256 of address, stamp, tree and columns>.json          how these columns lie in the file
sources/<sha256 of the table>.table                                where every basket or page of these columns lies

Of no analysis and no parameter, so that a changed cut opens no file again; of the reader's own code, which finds it.
It is a memory, and the file is what is true: what is not of the kind that was written, or disagrees with the file as it
is now, is set aside, and the file asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from vrecompute import reader
from vrecompute.analysis.machinery import machinery
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import ChangedFile, OtherFormat, StoreError
from vrecompute.execution.keptfacts import check_layout, facts_of
from vrecompute.execution.origins import origin_before
from vrecompute.records import json_of
from vrecompute.stores.base import Store
from vrecompute.stores.objects import FORMAT, read_content, read_document, set_aside, write_content, write_document

if TYPE_CHECKING:
    from vrecompute.execution.failure import Failure
    from vrecompute.execution.manifest import Manifest
    from vrecompute.execution.plan import Plan
    from vrecompute.reader import FileFacts

__all__ = ["FileKnowledge", "forget_disproved"]

_T = TypeVar("_T")
_SHA256 = re.compile("[0-9a-f]{64}")


class FileKnowledge:
    """Of `tree` of the file at `path`, which is `origin` now; None is its only or first usual tree.

    With `opens`, what the store does not know is found in the file and kept; without, it is None. `size` is that of the
    file in bytes as it is now; None where that is not known without a request.
    """

    def __init__(
        self, store: Store, path: str, tree: str | None, origin: str, *, opens: bool, size: int | None = None
    ) -> None:
        self.origin = origin
        self._store, self._path, self._tree, self._opens, self._size = store, path, tree, opens, size
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

    def forget(self, columns: Sequence[str], why: str) -> None:
        """Set aside what the store knows of the file, since it is not so."""
        for name in (_name(self._key), _name([*self._key, list(columns)])):
            if self._store.exists(name):
                set_aside(self._store, name, f"{self._store.url}: {name} is wrong: {why}")

    def _kept(self, name: str, kind: str, make: Callable[[Mapping[str, Any]], _T | None]) -> _T | None:
        try:
            if not self._store.exists(name):
                return None
            return make(read_document(self._store, name, kind, dict) | {"path": self._path})
        except (OtherFormat, ValueError, TypeError, LookupError) as error:
            # its name has the format in it, so that no other version wrote it; and nothing else makes it right
            if self._opens:
                set_aside(self._store, name, f"{self._store.url}: {name} is damaged: {error}")
        except StoreError:
            pass  # it is only a memory of what the file says: the file is asked again
        return None

    def _facts_of(self, raw: Mapping[str, Any]) -> FileFacts:
        columns = json_of(read_content(self._store, _columns(_sha256(raw, "columns"))))
        if not isinstance(columns, list) or not all(map(_is_column, columns)):
            raise ValueError("its columns are no names with their types")
        if raw["available"] or raw["boundaries"] or raw["stored"]:
            raise ValueError("it lists columns in a second place")
        return replace(self._checked(raw, "columns"), available=dict(columns))

    def _layout_of(self, raw: Mapping[str, Any]) -> tuple[FileFacts, str] | None:
        sha256 = _sha256(raw, "table")
        found = self._checked(raw, "table")
        check_layout(found)
        return (found, sha256) if self._store.exists(f"sources/{sha256}.table") else None

    def _checked(self, raw: Mapping[str, Any], besides: str) -> FileFacts:
        found = facts_of({key: value for key, value in raw.items() if key != besides})
        if self._size is not None and found.size != self._size:
            raise ValueError(f"it says that the file has {found.size} bytes, and the file has {self._size}")
        return found


def forget_disproved(store: Store, manifest: Manifest, plan: Plan, failures: Sequence[Failure]) -> None:
    """Set aside what the store knows of files that were found to be others, though none was changed meanwhile.

    So the next run looks at them anew.
    """
    others = {(failure.sample, failure.file) for failure in failures if failure.kind == ChangedFile.kind}
    named = {(s.sample, s.path): s.tree for s in manifest.dataset.sources if (s.sample, s.path) in others}
    for source in plan.sources:
        if (at := (source.sample, source.path)) in named and origin_before(source, asks=True) == source.origin:
            tree = named[at] or plan.sample(source.sample).tree
            known = FileKnowledge(store, source.places[0], tree, source.origin, opens=False)
            known.forget(source.columns, "the file that it is of is another")


def _is_column(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _sha256(raw: Mapping[str, Any], key: str) -> str:
    if not isinstance(raw[key], str) or not _SHA256.fullmatch(raw[key]):
        raise ValueError(f"{key} is no sha256")
    return str(raw[key])


def _name(key: Sequence[Any]) -> str:
    return f"sources/{sha256_json(key)}.json"


def _columns(sha256: str) -> str:
    return f"sources/{sha256}.columns"
