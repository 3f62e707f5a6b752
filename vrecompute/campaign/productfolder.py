"""Products in a folder: `current` is a link, which is replaced as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vrecompute.campaign.difference import compare, sentence
from vrecompute.campaign.products import FACTS, beyond
from vrecompute.digest import file_sha256
from vrecompute.errors import StoreError, StoreFull
from vrecompute.folders import make_folders
from vrecompute.run import Run
from vrecompute.stores.base import NO_SPACE

__all__ = ["ProductFolder"]


class ProductFolder:
    """See `Products`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self, unit: str) -> str | None:
        """Where the link leads."""
        link = self._home(unit) / "current"
        return link.resolve().name if link.is_dir() else None

    def versions(self, unit: str) -> list[str]:
        """By the time at which the folder was last written."""
        found = (self._home(unit) / "versions").glob("*") if self._home(unit).is_dir() else ()
        return [version.name for version in sorted(found, key=lambda version: version.stat().st_mtime)]

    def publish(self, unit: str, run: Run, facts: Mapping[str, Any], still: Callable[[], None]) -> str:
        """Write a version, then let the link lead to it."""
        home = self._home(unit)
        version = home / "versions" / run.id
        with _writing(unit, home):
            if not (version / FACTS).exists():
                run.save_quietly(version)
                _write(version / FACTS, facts)
            before, moved = self.current(unit), ""
            if before is not None and before != run.id:
                found = compare(home / "versions" / before, version)
                moved = sentence(found)
                _write(home / "differences" / f"{run.id}.json", found)
            still()
            beside = home / f".current-{secrets.token_hex(4)}"
            beside.symlink_to(Path("versions") / run.id)
            beside.replace(home / "current")
            _sync(home)
        return moved

    def prune(self, unit: str, versions: int, keep: Collection[str]) -> list[str]:
        """Remove folders, and links that a killed tick left."""
        home = self._home(unit)
        with contextlib.suppress(OSError):
            for leftover in home.glob(".current-*"):
                leftover.unlink()
        removed = beyond(self.versions(unit), versions, {self.current(unit), *keep})
        for version in removed:
            shutil.rmtree(home / "versions" / version, ignore_errors=True)
        return removed

    def place(self, unit: str, run: str) -> str:
        """The path of the file."""
        return str(self._result(unit, run))

    def result_sha256(self, unit: str, run: str) -> str | None:
        """That of the file."""
        path = self._result(unit, run)
        return file_sha256(path) if path.exists() else None

    def _home(self, unit: str) -> Path:
        return self._root.joinpath(*unit.split("/"))

    def _result(self, unit: str, run: str) -> Path:
        return self._home(unit) / "versions" / run / "result" / "result.zip"


@contextlib.contextmanager
def _writing(unit: str, home: Path) -> Iterator[None]:
    """StoreError for what keeps a folder from being written."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in NO_SPACE else StoreError
        raise kind(
            f"product {unit}: {home} cannot be written: {error.strerror or error}; what was published stays"
        ) from error


def _write(path: Path, document: Mapping[str, Any]) -> None:
    make_folders(path.parent)
    beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    beside.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
    beside.replace(path)


def _sync(folder: Path) -> None:
    """Have the change of a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
