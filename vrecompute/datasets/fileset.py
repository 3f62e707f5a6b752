"""Filesets as coffea and uproot have them: samples by name with their files, and the tree of each file.

    {"dy": {"files": {"dy_1.root": "Events"}, "metadata": {...}}, "data": ["data_*.root"]}
    {"a.root": "Events", "b.root": "Events"}

A `.json` file holds the first of these; what coffea's preprocessing adds to it is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrecompute.errors import DatasetError
from vrecompute.nearest import hint
from vrecompute.regular_file import read_regular

__all__ = ["FilesetFile", "FilesetSample", "is_fileset_of_trees", "parse_fileset", "read_fileset"]

_MOST_BYTES = 32 << 20
_OF_A_SAMPLE = ("files", "treename", "metadata")
_OF_A_FILE = ("object_path", "num_entries")
# What coffea finds of samples and files when it prepares them; a run finds these by itself.
_FOUND = ("form", "compressed_form", "save_form", "format", "steps", "uuid", "did")


@dataclass(frozen=True)
class FilesetFile:
    """A file or pattern, its tree, and its number of events; None for what is not said."""

    path: str
    tree: str | None = None
    entries: int | None = None


@dataclass(frozen=True)
class FilesetSample:
    """A named sample."""

    name: str
    files: tuple[FilesetFile, ...]
    tree: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def is_fileset_of_trees(given: Mapping[Any, Any]) -> bool:
    """Whether it maps paths to their trees, as uproot takes it, and not names to samples."""
    return bool(given) and all(isinstance(tree, str) or tree is None for tree in given.values())


def read_fileset(path: Path) -> tuple[FilesetSample, ...]:
    """The samples of a JSON file; DatasetError where it is not one."""
    try:
        given = json.loads(read_regular(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a fileset in JSON: {error}") from error
    if not isinstance(given, dict) or is_fileset_of_trees(given):
        raise DatasetError(
            f"{path}: not a fileset: write {{SAMPLE: {{'files': {{PATH: TREE}}}}}} or {{SAMPLE: [PATH, ...]}}"
        )
    return parse_fileset(given, str(path))


def parse_fileset(given: Mapping[Any, Any], where: str) -> tuple[FilesetSample, ...]:
    """The samples of a mapping; DatasetError names what of it is not of a fileset."""
    if not given:
        raise DatasetError(f"{where} has no samples")
    return tuple(_sample(name, value, where) for name, value in given.items())


def _sample(name: Any, value: Any, where: str) -> FilesetSample:
    at = f"{where}: sample {name!r}"
    if not isinstance(name, str):
        raise DatasetError(f"{at}: a sample is named by a text")
    parts = value if isinstance(value, Mapping) and "files" in value else {"files": value}
    _known(parts, (*_OF_A_SAMPLE, *_FOUND), at)
    tree, metadata = parts.get("treename"), parts.get("metadata") or {}
    if not isinstance(tree, str | None) or not isinstance(metadata, Mapping):
        raise DatasetError(f"{at}: `treename` is the name of a tree, and `metadata` a mapping")
    files = parts["files"]
    if isinstance(files, str):
        files = [files]
    if not isinstance(files, Mapping | Sequence) or not files:
        raise DatasetError(f"{at}: its files are a list of paths, or a mapping of paths to their trees")
    pairs = files.items() if isinstance(files, Mapping) else [(path, None) for path in files]
    return FilesetSample(name, tuple(_file(path, said, at) for path, said in pairs), tree, dict(metadata))


def _file(path: Any, said: Any, at: str) -> FilesetFile:
    if hasattr(path, "__fspath__"):
        path = path.__fspath__()
    if not isinstance(path, str):
        raise DatasetError(f"{at}: {path!r} is no path of a file")
    if isinstance(said, str | None):
        return FilesetFile(path, said)
    if not isinstance(said, Mapping):
        raise DatasetError(f"{at}: {path}: {said!r} is not the name of a tree")
    _known(said, (*_OF_A_FILE, *_FOUND), f"{at}: {path}")
    tree, entries = said.get("object_path"), said.get("num_entries")
    if not isinstance(tree, str | None) or type(entries) not in (int, type(None)):
        raise DatasetError(f"{at}: {path}: `object_path` is the name of a tree, and `num_entries` a whole number")
    return FilesetFile(path, tree, entries)


def _known(parts: Mapping[Any, Any], keys: Sequence[str], at: str) -> None:
    for key in parts:
        if key not in keys:
            raise DatasetError(f"{at}: {key!r} is not a key of a fileset{hint(str(key), keys)}")
