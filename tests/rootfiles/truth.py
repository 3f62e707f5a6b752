"""What ROOT read from a generated file, and how what the reader gives differs from it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vrecompute import reader
from vrecompute.errors import MissingColumn

__all__ = ["TrueColumn", "differences", "truth_of"]


class TrueColumn(NamedTuple):
    """Values of all entries, one after another, and how many each entry has."""

    values: NDArray[Any]
    counts: NDArray[np.int32]


def truth_of(path: Path) -> dict[str, TrueColumn]:
    """The columns of FILE.root.truth (or .truth.gz), by name."""
    packed = path.with_name(f"{path.name}.truth.gz")
    data = (
        gzip.decompress(packed.read_bytes()) if packed.exists() else path.with_name(f"{path.name}.truth").read_bytes()
    )
    found, at = {}, 0
    while at < len(data):
        end = data.index(b"\n", at)
        name, dtype, entries, size = data[at:end].decode().split(" ")
        at = end + 1 + 4 * int(entries)
        counts = np.frombuffer(data[end + 1 : at], dtype="<i4")
        found[name] = TrueColumn(np.frombuffer(data[at : at + int(size)], dtype=dtype), counts)
        at += int(size)
    return found


def differences(path: Path, truth: Mapping[str, TrueColumn], start: int, stop: int) -> Iterator[str]:
    """Every column of [start, stop) that the reader gives otherwise than ROOT, all read together.

    A column that is refused by its type is right too: the reader says what it can read.
    """
    available = reader.inspect(str(path)).available
    names = []
    for name in truth:
        try:
            reader.read(str(path), "Events", [name], start, start)
            names.append(name)
        except MissingColumn:
            if name not in available:
                yield f"{path.name}: {name} is not listed"
    for name, column in reader.read(str(path), "Events", names, start, stop).items():
        whole, ends = truth[name], np.r_[0, np.cumsum(truth[name].counts)]
        values, counts = whole.values[ends[start] : ends[stop]], whole.counts[start:stop]
        lengths = np.ones(stop - start) if column.offsets is None else np.diff(column.offsets)
        same = np.array_equal(lengths, counts) and np.array_equal(column.values, values)
        if not same or column.values.dtype.kind != values.dtype.kind:
            yield f"{path.name}: {name} ({available[name]}): {column.values[:4]} where ROOT reads {values[:4]}"
