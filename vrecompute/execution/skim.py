"""Skim tables: the rows a chunk keeps, streamed to Parquet chunk by chunk and never merged in memory."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.digest import sha256_of
from vrecompute.errors import AnalysisError, DamagedObject, StoreError, UsageError
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.parts import Piece, read_part, stored_parts
from vrecompute.execution.plan import Plan, read_plan
from vrecompute.results.plainarray import refuse_missing
from vrecompute.results.promotion import ValueType, exact_array
from vrecompute.results.result import Result, TableSummary, joint_columns
from vrecompute.results.tree import MergeTree, Node
from vrecompute.stores.base import Store
from vrecompute.stores.copies import local_copy, process_copy
from vrecompute.stores.objects import intact, read_content, write_content
from vrecompute.utf8text import is_utf8, utf8
from vrecompute.wording import shortened

__all__ = ["TablePiece", "check_tables", "piece_path", "read_piece", "rows_digests", "table_pieces", "write_tables"]


@dataclass(frozen=True)
class TablePiece:
    """The rows that one chunk kept for one table: the store's name of a Parquet file.

    `columns` are those of the whole table; `types_differ` says whether the file has others.
    """

    sample: str
    source: str
    start: int
    stop: int
    stored: str
    columns: tuple[tuple[str, ValueType], ...]
    types_differ: bool


def table_pieces(
    store: Store,
    manifest: Manifest,
    results: Mapping[str, Result],
    chunks: Sequence[tuple[int, int]],
    origins: Mapping[str, str],
) -> dict[str, list[TablePiece]]:
    """The pieces of each table of a run that has ended, in the order of its plan: by sample, source and event.

    `results` are its own, `chunks` the ranges of numbers of those in them, `origins` as in its Outcome. Raises
    DamagedObject where what is in the store is not what they were made of.
    """
    tables = sorted({table for result in results.values() for table in result.summaries})
    if not tables:
        return {}
    plan = read_plan(store, manifest.plan_name)
    known = _known(store, plan, manifest.run, origins)
    counts = Counter(source.sample for source in plan.sources)
    have = np.zeros(plan.chunks, dtype=bool)
    for first, last in chunks:
        have[first:last] = True
    found: dict[str, list[TablePiece]] = {}
    for table in tables:
        columns = _columns(results, table)
        pieces = found.setdefault(table, [])
        samples = {name: MergeTree[TableSummary](count) for name, count in counts.items()}
        places: Counter[str] = Counter()
        for number, source in enumerate(plan.sources):
            tree: MergeTree[TableSummary] = MergeTree(source.chunks)
            for leaf in np.flatnonzero(have[plan.offsets[number] : plan.offsets[number + 1]]).tolist():
                span = source.bounds[leaf], source.bounds[leaf + 1]
                if (piece := known.get((source.key, table, *span))) is None:
                    continue
                tree.add(Node(0, leaf), piece.summary)
                types_differ = _types(piece.summary.columns) != _types(columns)
                stored = piece.name(plan.work, source.key)
                pieces.append(TablePiece(source.sample, source.path, *span, stored, columns, types_differ))
            if (summary := tree.value()) is not None:
                samples[source.sample].add(Node(0, places[source.sample]), summary)
            places[source.sample] += 1
        for sample, result in results.items():
            whole = samples[sample].value() if sample in samples else None
            if whole != result.summaries.get(table):
                raise DamagedObject(
                    f"{store.url}: table {table!r} of sample {sample!r} has {whole.rows if whole else 0} rows in the "
                    f"store, and run {manifest.run} ended with other rows; run the analysis again, which computes "
                    "what is missing"
                )
    return found


def _known(store: Store, plan: Plan, run: str, origins: Mapping[str, str]) -> dict[tuple[str, str, int, int], Piece]:
    """The pieces that parts tell of, by source key, table and range.

    Of several, one that is in the store; of these, one that was made of the very file that the run ended with.
    """
    opened = {(source.key, origins.get(source.origin, source.origin)) for source in plan.sources}
    keys = {key for key, _ in opened}
    known: dict[tuple[str, str, int, int], tuple[tuple[bool, bool], Piece]] = {}
    for name in stored_parts(store, plan.work, run):
        try:
            nodes = [node for node in read_part(store, name) if node.source_key in keys]
        except DamagedObject:
            continue  # where its pieces are in no other part, they are missed
        for node in nodes:
            for piece in node.pieces:
                where = (node.source_key, piece.table, piece.start, piece.stop)
                is_there = intact(store, piece.name(plan.work, node.source_key))
                rank = (is_there, (node.source_key, node.origin) in opened)
                if where not in known or rank > known[where][0]:
                    known[where] = rank, piece
    return {where: piece for where, (_, piece) in known.items()}


def _types(columns: tuple[tuple[str, ValueType], ...]) -> list[tuple[str, Any]]:
    return [(name, type_.dtype) for name, type_ in columns]


def check_tables(results: Mapping[str, Result]) -> None:
    """Raise AnalysisError, naming table and column, where the rows of all samples do not make one table."""
    for table in sorted({table for result in results.values() for table in result.summaries}):
        try:
            _columns(results, table)
        except ValueError as error:
            raise AnalysisError(f"the rows of skim table {table!r} of different samples: {error}") from error


def _columns(results: Mapping[str, Result], table: str) -> tuple[tuple[str, ValueType], ...]:
    """The columns of all samples together."""
    return joint_columns(result.summaries[table] for result in results.values() if table in result.summaries)


def read_piece(store: Store, piece: TablePiece) -> bytes:
    """The Parquet file of a piece, in the types of its whole table; DamagedObject where it is not what was written."""
    try:
        data = read_content(store, piece.stored)
    except StoreError as error:
        raise DamagedObject(f"{error}; run the analysis again: its rows are computed again") from error
    return _in_types(data, piece.columns) if piece.types_differ else data


def piece_path(store: Store, piece: TablePiece) -> Path:
    """A path on this machine to what `read_piece` gives."""
    if not piece.types_differ:
        return local_copy(store, piece.stored)
    return process_copy(f"{store.url} {piece.stored} {piece.columns}", ".parquet", lambda: read_piece(store, piece))


def write_tables(store: Store, result: Result, work: str, source_key: str, start: int, stop: int) -> list[Piece]:
    """Move the rows of `result.tables` into the store, leave summaries in their place, and say where they are.

    Raises AnalysisError, naming the column, where columns of a table differ in length or are no columns.
    """
    pieces = []
    for table, columns in result.tables.items():
        arrays = _arrays(table, columns)
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{n}: {len(v)}" for n, v in arrays.items())
            raise AnalysisError(f"the columns of skim table {table!r} differ in length ({sizes})")
        types = tuple((name, ValueType.of(values)) for name, values in arrays.items())
        summary = TableSummary(lengths.pop() if lengths else 0, _digest(arrays), types)
        data = _parquet(arrays)
        piece = Piece(table, start, stop, sha256_of(data), summary)
        write_content(store, piece.name(work, source_key), data)
        pieces.append(piece)
        result.summaries[table] = summary
    result.tables = {}
    return pieces


def rows_digests(result: Result) -> dict[str, str]:
    """Digests of the rows that a Result still holds, by table. Raises AnalysisError as `write_tables` does."""
    return {table: _digest(_arrays(table, columns)) for table, columns in result.tables.items()}


def _arrays(table: str, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: _column(table, name, values) for name, values in columns.items()}


def _column(table: str, name: Any, values: Any) -> NDArray[Any]:
    """One column as an array that Parquet holds as it is."""
    what = f"column {name!r} of skim table {table!r}"
    if not isinstance(name, str):
        raise AnalysisError(f"{what} has a name that is not text; name it by text")
    if not is_utf8(name):
        raise AnalysisError(
            f"the name of column '{utf8(name)}' of skim table {table!r} is not UTF-8; write it in UTF-8"
        )
    refuse_missing(what, values)
    try:
        array = np.ascontiguousarray(exact_array(values))
    except (TypeError, ValueError) as error:
        raise AnalysisError(f"{what} is not an array of numbers: {error}") from error
    if np.ndim(values) != 1 or array.dtype.kind not in "biufUSmM" or array.dtype == np.longdouble:
        raise AnalysisError(f"{what} has shape {np.shape(values)} and type {array.dtype}; it must be one number a row")
    if array.dtype.kind == "U" and (odd := next((text for text in array.tolist() if not is_utf8(text)), "")):
        raise AnalysisError(f"{what} has text that is not UTF-8, '{shortened(utf8(odd))}'; write it in UTF-8")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Over names, types and values, not over Parquet bytes: those change with the library that writes them."""
    digest = hashlib.sha256()
    for name, values in arrays.items():
        digest.update(f"{name}\0{values.dtype.str}\0{len(values)}\0".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _parquet(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    pa, pq = _pyarrow()
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(arrays)), buffer, compression="zstd")
    return buffer.getvalue()


def _in_types(data: bytes, columns: tuple[tuple[str, ValueType], ...]) -> bytes:
    """A Parquet file with the columns and types of the whole table; no value changes, what a sample lacks is null."""
    pa, pq = _pyarrow()
    table = pq.read_table(io.BytesIO(data))
    fields, values = [], []
    for name, type_ in columns:
        dtype = type_.dtype
        own = table.column(name) if name in table.column_names else pa.nulls(len(table))
        wanted = pa.from_numpy_dtype(dtype) if dtype is not None else own.type
        fields.append(pa.field(name, wanted))
        values.append(own.cast(wanted))
    buffer = io.BytesIO()
    pq.write_table(pa.table(values, schema=pa.schema(fields)), buffer, compression="zstd")
    return buffer.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError("skim tables need pyarrow: pip install 'vrecompute[tables]'") from error
    return pa, pq
