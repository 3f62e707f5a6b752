"""Skim tables: the rows a chunk keeps, streamed to Parquet chunk by chunk and never merged in memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError, UsageError
from vrecompute.result import Result, TableSummary
from vrecompute.store import Store

__all__ = ["write_tables"]


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
