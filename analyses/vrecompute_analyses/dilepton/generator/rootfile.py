"""`write_root`: one TTree or RNTuple in a ROOT file whose bytes depend on its content alone."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Literal

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.generator.events import EventBatch

__all__ = ["COMPRESSIONS", "CompressionName", "FormatName", "write_root"]

FormatName = Literal["ttree", "rntuple"]
CompressionName = Literal["zstd", "zlib", "lz4", "lzma", "none"]
COMPRESSIONS: Mapping[CompressionName, uproot.compression.Compression | None] = MappingProxyType(
    {
        "zstd": uproot.ZSTD(5),
        "zlib": uproot.ZLIB(1),
        "lz4": uproot.LZ4(4),
        "lzma": uproot.LZMA(4),
        "none": None,
    }
)
FROZEN_DATE = datetime.datetime(2020, 1, 1)
_clock = threading.Lock()


@contextmanager
def _frozen_dates() -> Iterator[None]:
    """Make uproot write one fixed date.

    ROOT stores the time of writing (TDatime, whole seconds) in every key and directory, so the same events
    written twice differ. ROOT has a file option for this (`?reproducible`); uproot has none, but turns
    every date into its 32-bit code through one function, which is replaced meanwhile.
    """
    with _clock:
        original = uproot._util.datetime_to_code
        uproot._util.datetime_to_code = lambda _now: original(FROZEN_DATE)
        try:
            yield
        finally:
            uproot._util.datetime_to_code = original


def write_root(
    path: Path,
    tree: str,
    clusters: Iterable[EventBatch],
    identity: uuid.UUID,
    *,
    format: FormatName = "ttree",
    compression: CompressionName = "zstd",
) -> None:
    """Write `clusters` one after the other as `tree`; the file appears under `path` only when complete.

    `identity` becomes the UUID of the file: derive it from everything the content depends on. Jagged columns
    are leaf-count arrays in a TTree (`nMuon`, `Muon_pt[nMuon]`) and vectors beside an `nMuon` in an RNTuple.
    """
    # uproot writes the base name into the file, so the temporary file differs in its folder only.
    with (
        _frozen_dates(),
        TemporaryDirectory(prefix=".partial-", dir=path.parent) as partial,
        uproot.recreate(
            Path(partial) / path.name, compression=COMPRESSIONS[compression], uuid_function=lambda: identity
        ) as file,
    ):
        target: Any = None
        for batch in clusters:
            columns = _ttree_columns(batch) if format == "ttree" else _rntuple_columns(batch)
            if target is None:
                target = _declare(file, tree, columns, format)
            target.extend(columns)
        file.close()
        (Path(partial) / path.name).replace(path)


def _declare(file: Any, tree: str, columns: Mapping[str, Any], format: FormatName) -> Any:
    types = {n: c.type.content if isinstance(c, ak.Array) else c.dtype for n, c in columns.items()}
    return file.mktree(tree, types) if format == "ttree" else file.mkrntuple(tree, types)


def _ttree_columns(batch: EventBatch) -> dict[str, Any]:
    """Scalars as they are; each collection as a list of records, which uproot writes as n<Name>, <Name>_<member>."""
    columns: dict[str, Any] = dict(batch.scalars)
    for name, collection in batch.collections.items():
        members = list(collection.members)
        content = ak.contents.RecordArray([_content(collection.members[m]) for m in members], members)
        columns[name] = ak.Array(ak.contents.ListOffsetArray(_offsets(collection.counts), content))
    return columns


def _rntuple_columns(batch: EventBatch) -> dict[str, Any]:
    """The same names as in the TTree: one vector field per member, and the count."""
    columns: dict[str, Any] = dict(batch.scalars)
    for name, collection in batch.collections.items():
        offsets = _offsets(collection.counts)
        columns[f"n{name}"] = collection.counts.astype(np.int32)
        for member, values in collection.members.items():
            columns[f"{name}_{member}"] = ak.Array(ak.contents.ListOffsetArray(offsets, _content(values)))
    return columns


def _content(values: NDArray[Any]) -> ak.contents.NumpyArray:
    return ak.contents.NumpyArray(np.ascontiguousarray(values))


def _offsets(counts: NDArray[np.int64]) -> ak.index.Index64:
    return ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]))
