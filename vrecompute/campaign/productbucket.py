"""Products in a bucket, which has no links: `current` is a small object that is replaced as a whole.

    ANALYSIS/DATASET/current.json            {"schema": 1, "version": RUN, "prefix": "ANALYSIS/DATASET/versions/RUN"}

A version is whole before `current.json` names it, so that a reader who begins there never sees half of one. Its
campaign.json lists its files with their sha256.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from vrecompute.campaign.difference import compare, sentence
from vrecompute.campaign.products import FACTS, beyond
from vrecompute.digest import file_sha256
from vrecompute.errors import AbsentObject, DamagedObject
from vrecompute.folders import make_folders
from vrecompute.run import Run
from vrecompute.scratch import scratch
from vrecompute.stores.base import Store

__all__ = ["ProductBucket"]

# What versions are compared by.
_COMPARED = ("result/result.zip", "products/products.json")
# No list of files and no facts are larger.
_MOST_BYTES = 64 << 20


class ProductBucket:
    """See `Products`. `store` is that of the address which the campaign file names."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, unit: str) -> str | None:
        """The version that `current.json` names; one of another program's names none."""
        try:
            said = json.loads(self._store.get(f"{unit}/current.json", most_bytes=_MOST_BYTES))
        except (AbsentObject, ValueError):
            return None
        version = said.get("version") if isinstance(said, dict) else None
        return version if isinstance(version, str) else None

    def versions(self, unit: str) -> list[str]:
        """By the time at which the first object of each was written."""
        began: dict[str, float] = {}
        for entry in self._store.entries(f"{unit}/versions"):
            version = entry.name.removeprefix(f"{unit}/versions/").partition("/")[0]
            began[version] = min(entry.written, began.get(version, entry.written))
        return sorted(began, key=lambda version: (began[version], version))

    def publish(self, unit: str, run: Run, facts: Mapping[str, Any], still: Callable[[], None]) -> str:
        """Put all files of a version, its facts last, then let `current.json` name it."""
        prefix = f"{unit}/versions/{run.id}"
        with scratch("product") as folder:
            if not self._store.exists(f"{prefix}/{FACTS}"):
                version = folder / "version"
                run.save_quietly(version)
                files = {path.relative_to(version).as_posix(): path for path in sorted(version.rglob("*"))}
                # what is hidden is the folder's own
                shown = {n: p for n, p in files.items() if p.is_file() and not f"/{n}".count("/.")}
                for name, path in shown.items():
                    still()
                    self._put(f"{prefix}/{name}", path)
                still()
                made_of = {**facts, "files": {name: file_sha256(path) for name, path in shown.items()}}
                self._store.create(f"{prefix}/{FACTS}", _encoded(made_of))
            before, moved = self.current(unit), ""
            if before is not None and before != run.id:
                old, new = (self._fetched(unit, each, Path(folder) / "compared" / each) for each in (before, run.id))
                found = compare(old, new)
                moved = sentence(found)
                self._store.replace(f"{unit}/differences/{run.id}.json", _encoded(found))
        still()
        self._store.replace(f"{unit}/current.json", _encoded({"schema": 1, "version": run.id, "prefix": prefix}))
        return moved

    def prune(self, unit: str, versions: int, keep: Collection[str]) -> list[str]:
        """Remove objects, the facts first: what is left of a version is not taken for a whole one."""
        removed = beyond(self.versions(unit), versions, {self.current(unit), *keep})
        for version in removed:
            prefix = f"{unit}/versions/{version}"
            self._store.delete(f"{prefix}/{FACTS}")
            for name in list(self._store.names(prefix)):
                self._store.delete(name)
        return removed

    def place(self, unit: str, run: str) -> str:
        """The name of the object, after the address of the bucket."""
        return f"{self._store.url.partition('?')[0]}/{self._result(unit, run)}"

    def result_sha256(self, unit: str, run: str) -> str | None:
        """That of the object's bytes, which are read for it."""
        return self._store.digest(self._result(unit, run))

    def _put(self, name: str, path: Path) -> None:
        """Put a file; what a killed tick left under its name, and is another, goes."""
        if not self._store.put_file(name, path) and self._store.digest(name) != file_sha256(path):
            self._store.delete(name)
            self._store.put_file(name, path)

    def _fetched(self, unit: str, version: str, folder: Path) -> Path:
        """What of a version is compared, in a folder; what is damaged or gone is not."""
        for name in _COMPARED:
            path = folder / name
            make_folders(path.parent)
            try:
                self._store.get_file(f"{unit}/versions/{version}/{name}", path)
            except (AbsentObject, DamagedObject):
                continue
        return folder

    @staticmethod
    def _result(unit: str, run: str) -> str:
        return f"{unit}/versions/{run}/result/result.zip"


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, default=str) + "\n").encode()
