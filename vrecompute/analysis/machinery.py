"""Digests of what makes numbers in vrecompute itself: its reader and its kernels."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vrecompute import sourcetext
from vrecompute.digest import sha256_json
from vrecompute.records import json_of

__all__ = ["machinery"]

# What of vrecompute makes numbers, besides the analyses.
_FOLDERS = ("reader", "kernels")
# What says how a text becomes a digest.
_HOW = ("analysis/machinery.py", "sourcetext.py", "digest.py")


@lru_cache(maxsize=1)
def machinery() -> dict[str, str]:
    """Digests of vrecompute's reader and kernels, by the source of all of their modules.

    To parse these takes a third of a second of each process. So the digests are kept beside the machine code of the
    same modules, under the sha256 of all texts that they depend on.
    """
    return _digests(Path(sys.modules["vrecompute"].__path__[0]))


def _digests(home: Path) -> dict[str, str]:
    files = [file for name in _FOLDERS for file in sorted((home / name).rglob("*.py"))]
    texts = {file.relative_to(home).as_posix(): file.read_text(encoding="utf-8") for file in files}
    how = {name: (home / name).read_text(encoding="utf-8") for name in _HOW}
    kept = _place(sha256_json({"of": texts, "how": how}))
    found = _read(kept)
    if not found:
        found = {f"vrecompute.{name}": _digest(texts, f"{name}/") for name in _FOLDERS}
        _write(kept, found)
    return found


def _digest(texts: Mapping[str, str], prefix: str) -> str:
    syntax = {name: sourcetext.syntax_of(text) for name, text in texts.items() if name.startswith(prefix)}
    return sha256_json({name: sourcetext.canonical(tree.body) for name, tree in syntax.items()})


def _place(key: str) -> Path | None:
    """The file of a key; None where no folder can be had."""
    from vrecompute.kernels.cache import cache_folder  # imports numba

    with contextlib.suppress(OSError):
        return cache_folder() / f"machinery-{key}.json"
    return None


def _read(kept: Path | None) -> dict[str, str]:
    """What a file holds, whole and undamaged; empty otherwise."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        said = json_of(kept.read_bytes()) if kept is not None else {}
        found = {f"vrecompute.{name}": str(said["digests"][f"vrecompute.{name}"]) for name in _FOLDERS}
        if said["sha256"] == sha256_json(found):
            return found
    return {}


def _write(kept: Path | None, found: Mapping[str, str]) -> None:
    """Keep them, by renaming: processes may race. A folder that is full costs time only."""
    if kept is None:
        return
    part = kept.with_name(f".{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps({"digests": found, "sha256": sha256_json(found)}), encoding="utf-8")
        part.replace(kept)
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
