"""Every column of every ROOT file of a folder beside uproot: `python -m tests.rootfiles.sweep DIR...`, by hand.

Tells where values differ, where this reader calls a column damaged that uproot reads, and what it refuses by type.
Made for collections of odd files, such as those of scikit-hep-testdata; none of them is kept here.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from vrecompute import reader
from vrecompute.datasets.columns import Column
from vrecompute.errors import BadInput, MissingColumn, MissingTree
from vrecompute.reader import ttree
from vrecompute.reader.flatten import flatten
from vrecompute.reader.handles import open_file


def sweep(path: str) -> Iterator[tuple[str, str]]:
    """(equal, refused, different, damaged or unchecked; what it is about) for every column of every tree of a file."""
    try:
        trees = open_file(path).kinds()
    except BadInput as error:
        yield "refused", str(error)
        return
    for tree, kind in trees.items():
        try:
            facts = reader.inspect(path, tree)
        except BadInput as error:
            yield "refused", f"{path}:{tree}: {error.reason}"
            continue
        with uproot.open(path) as file:
            theirs = ttree.branches(open_file(path), tree) if kind == "ttree" else file[tree]
            for name in facts.available:
                yield _compare(path, tree, name, theirs[name], facts)


def _compare(path: str, tree: str, name: str, branch: Any, facts: reader.FileFacts) -> tuple[str, str]:
    where = f"{path}:{tree}: {name} ({facts.available[name]})"
    try:
        ours = reader.read(path, tree, [name], 0, facts.entries)[name]
    except (MissingColumn, MissingTree):
        return "refused", where
    except BadInput as error:
        try:
            branch.array()
        except Exception:
            return "refused", where
        return "damaged", f"{where}: {error.reason}"
    try:
        array = branch.array()
        if array.fields:  # an RNTuple gives a record of what was asked for
            array = array[array.fields[0]] if len(array.fields) == 1 else array
        other = flatten(array)
    except Exception as error:
        return "unchecked", f"{where}: uproot: {type(error).__name__}"
    packed = facts.available[name].startswith(("Double32_t", "Float16_t"))
    return ("equal" if _same(ours, other, packed=packed) else "different"), where


def _same(ours: Column, other: Column, *, packed: bool) -> bool:
    """Whether two columns are equal; of packed numbers uproot rounds the last digits otherwise than ROOT and we do."""
    if (ours.offsets is None) != (other.offsets is None):
        return False
    if ours.offsets is not None and other.offsets is not None and not np.array_equal(ours.offsets, other.offsets):
        return False
    if packed:
        return ours.values.shape == other.values.shape and np.allclose(ours.values, other.values, rtol=1e-6, atol=1e-6)
    return bool(np.array_equal(ours.values, other.values, equal_nan=ours.values.dtype.kind == "f"))


def main() -> int:
    """Print what is not equal, then the counts; 1 where anything differs or is called damaged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--all", action="store_true", help="list what is refused and unchecked too")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    for path in sorted(p for folder in given.folders for p in folder.rglob("*.root")):
        for verdict, text in sweep(str(path)):
            counts[verdict] += 1
            if given.all or verdict in ("different", "damaged"):
                print(f"{verdict}: {text}", flush=True)
    print(dict(counts))
    return 1 if counts["different"] or counts["damaged"] else 0


if __name__ == "__main__":
    sys.exit(main())
