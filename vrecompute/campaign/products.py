"""The products of a campaign as folders: each version whole, and `current` one of them at each moment.

PRODUCTS/ANALYSIS/DATASET/current                 a link to the version that is published
PRODUCTS/ANALYSIS/DATASET/versions/RUN/           what `--out` of a run holds, and campaign.json: what it is made of
PRODUCTS/ANALYSIS/DATASET/differences/RUN.json    which numbers moved from the version before
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from vrecompute.campaign.difference import compare, sentence
from vrecompute.errors import StoreError, StoreFull
from vrecompute.run import Run
from vrecompute.stores.base import NO_SPACE

__all__ = ["current_of", "folder_of", "prune", "publish"]

_FACTS = "campaign.json"


def folder_of(products: Path, unit: str) -> Path:
    """Where the versions of a unit's product are."""
    return products.joinpath(*unit.split("/"))


def current_of(products: Path, unit: str) -> Path | None:
    """The version that is published; None where none is."""
    link = folder_of(products, unit) / "current"
    return link.resolve() if link.is_dir() else None


def publish(products: Path, unit: str, run: Run, facts: Mapping[str, Any], still: Callable[[], None]) -> str:
    """Make what a run gave the unit's current version, and say what moved; once more changes nothing.

    `still` raises where this process may not publish any more. StoreError where the folder cannot be written: the
    version before stays the current one.
    """
    home = folder_of(products, unit)
    version = home / "versions" / run.id
    try:
        if not (version / _FACTS).exists():
            run.save(version)
            _write(version / _FACTS, facts)
        before = current_of(products, unit)
        moved = ""
        if before is not None and before != version.resolve():
            found = compare(before, version)
            moved = sentence(found)
            _write(home / "differences" / f"{run.id}.json", found)
        still()
        beside = home / f".current-{secrets.token_hex(4)}"
        beside.symlink_to(Path("versions") / run.id)
        beside.replace(home / "current")
        _sync(home)
    except OSError as error:
        kind = StoreFull if error.errno in NO_SPACE else StoreError
        raise kind(
            f"product {unit}: {home} cannot be written: {error.strerror or error}; what was published stays"
        ) from error
    return moved


def prune(products: Path, unit: str, versions: int, keep: Collection[str]) -> list[str]:
    """Remove the oldest versions beyond so many, never the current one nor those to `keep`; their names."""
    home = folder_of(products, unit)
    current = current_of(products, unit)
    with contextlib.suppress(OSError):
        for leftover in home.glob(".current-*"):
            leftover.unlink()
    found = sorted((home / "versions").glob("*"), key=lambda v: v.stat().st_mtime) if home.is_dir() else []
    others = [v for v in found if v.resolve() != current and v.name not in keep]
    removed = others[: max(0, len(found) - versions)]
    for version in removed:
        shutil.rmtree(version, ignore_errors=True)
    return [version.name for version in removed]


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
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
