"""A sidecar that is damaged is refused; one that is forged, with its checksum made right, crashes nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xxhash

from tests.events import write_events
from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute import reader
from vrecompute.errors import BadInput, ChangedFile, MissingColumn, StoreError

SMALL = Path(__file__).parents[1] / "rootfiles" / "small"
FILES = ["tree-5103.root", "tree-5115.root", "ntuple-5100.root", "ntuple-5110.root", "ntuple-5116.root"]
PIECES = [b"VRECTAB\2", b"fixed", b"counted", b"vector", b"<f8", b"|b1", b"|O", b">i4", b"null", b"-1", b"9" * 30]
PIECES += [b"[]", b"NaN", b'"baskets"', b'"pages"', b"\xff" * 8, b"\0" * 8, b"\xfe" + b"\xff" * 7, b"[" * 3000]
CHECKSUM_BYTES = 8


def with_checksum(body: bytes) -> bytes:
    return body + xxhash.xxh3_64_intdigest(body).to_bytes(CHECKSUM_BYTES, "little")


def readable(path: str, name: str) -> bool:
    with suppress(MissingColumn):
        return bool(reader.read(path, None, [name], 0, 0))
    return False


class Checked:
    """The files that sidecars are of, and what is in them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = {}
        self.truth = {}
        self.seeds = []
        for path in paths:
            facts = reader.inspect(path)
            names = [name for name in facts.available if readable(path, name)]
            self.paths[facts.identity] = path
            self.truth[path] = reader.read(path, None, names, 0, facts.entries)
            self.seeds.append(reader.table_to_bytes(reader.tabulate(path, None, names)))
            self.seeds.append(reader.table_to_bytes(reader.tabulate(path, None, names[:2])))

    def __call__(self, data: bytes) -> str:
        try:
            self.read(data, true=True)
            damaged = "whole"
        except (StoreError, ChangedFile) as error:  # one that was kept may be of a file that an earlier run made
            damaged = outcome_of(error)
        try:
            forged = self.read(with_checksum(data[:-CHECKSUM_BYTES]), true=False)
        except (StoreError, BadInput) as error:
            forged = outcome_of(error)
        return f"{damaged} {forged}"

    def read(self, data: bytes, *, true: bool) -> str:
        table = reader.table_from_bytes(data)
        path = self.paths.get(table.identity, next(iter(self.paths.values())))
        known = table.branches if isinstance(table, reader.BasketTable) else table.fields
        names = [n for n in [*known, *table.unsupported] if true or n in self.truth[path]]
        entries = table.identity.entries
        found = reader.read(path, table.tree, names, 0, entries, table=table)
        reader.read(path, table.tree, names, entries // 3, entries // 2, table=table)
        for name, column in found.items() if true else ():
            expected = self.truth[path][name]
            assert np.array_equal(column.values, expected.values, equal_nan=column.values.dtype.kind == "f")
            assert (column.offsets is None) == (expected.offsets is None)
            assert column.offsets is None or np.array_equal(column.offsets, expected.offsets)
        return f"read {len(found)}"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    made = str(write_events(tmp_path_factory.mktemp("fuzz") / "a.root", 60, clusters=3))
    return Checked([made, *[str(SMALL / name) for name in FILES]])


def test_a_damaged_sidecar_is_refused_and_a_forged_one_crashes_nothing(checked):
    fuzz(Target("sidecars", checked.seeds, checked, 500, PIECES, b","))
