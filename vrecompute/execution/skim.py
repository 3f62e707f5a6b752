"""Skim tables: the rows a chunk keeps, streamed to Parquet chunk by chunk and never merged in memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError, UsageError
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.parts import table_name
from vrecompute.execution.plan import Plan
from vrecompute.results.result import Result, TableSummary
from vrecompute.stores.base import Store

__all__ = ["TablePiece", "save_tables", "table_pieces", "write_tables"]


@dataclass(frozen=True)
class TablePiece:
    """The rows that one chunk kept for one table: the store's name of a Parquet file."""

    sample: str
    source: str
    start: int
    stop: int
    stored: str


def table_pieces(store: Store, manifest: Manifest, table: str) -> Iterator[TablePiece]:
    """The pieces of a table of a run, in the order of its plan: by sample, source and event.

    Of an unfinished run, those that are there. Raises StoreError where the run has no plan yet.
    """
    plan = Plan.from_json(store.get(f"{manifest.prefix}plan.json"))
    for source in plan.sources:
        for start, stop in zip(source.bounds[:-1], source.bounds[1:], strict=True):
            name = table_name(plan.work, source.key, table, start, stop)
            if store.exists(name):
                yield TablePiece(source.sample, source.path, start, stop, name)


def save_tables(store: Store, manifest: Manifest, tables: Mapping[str, set[str]], folder: Path) -> list[Path]:
    """Copy tables, each of some samples, to `folder`/TABLE/SAMPLE-NNNNNN.parquet, numbered in the plan's order."""
    written = []
    for table, samples in tables.items():
        (folder / table).mkdir(parents=True, exist_ok=True)
        for number, piece in enumerate(table_pieces(store, manifest, table)):
            if piece.sample not in samples:
                continue
            target = folder / table / f"{piece.sample}-{number:06}.parquet"
            target.write_bytes(store.get(piece.stored))
            written.append(target)
    return written


def write_tables(store: Store, result: Result, names: Mapping[str, str]) -> None:
    """Move the rows of `result.tables` into the store under `names` and leave summaries in their place.

    Raises AnalysisError where the columns of a table differ in length.
    """
    for table, columns in result.tables.items():
        arrays = {name: np.ascontiguousarray(values) for name, values in columns.items()}
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{n}: {len(v)}" for n, v in arrays.items())
            raise AnalysisError(f"the columns of skim table {table!r} differ in length ({sizes})")
        rows = lengths.pop() if lengths else 0
        store.create(names[table], _parquet(arrays))
        result.summaries[table] = TableSummary(rows, _digest(arrays))
    result.tables = {}


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Over names, types and values, not over Parquet bytes: those change with the library that writes them."""
    digest = hashlib.sha256()
    for name, values in arrays.items():
        digest.update(f"{name}\0{values.dtype.str}\0{len(values)}\0".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _parquet(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError("skim tables need pyarrow: pip install 'vrecompute[tables]'") from error
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(arrays)), buffer, compression="zstd")
    return buffer.getvalue()
