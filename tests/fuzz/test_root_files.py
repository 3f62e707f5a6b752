"""Any bytes in a ROOT file are its columns or an error of ours that names the file: no crash, hang or huge memory."""

from __future__ import annotations

import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import xxhash

from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute import reader
from vrecompute.errors import BadInput

SMALL = Path(__file__).parents[1] / "rootfiles" / "small"
PIECES = [
    b"root",
    b"TTree",
    b"TBasket",
    b"Events",
    b"ZL\x08",
    b"XZ\0",
    b"L4\1",
    b"ZS\1",
    b"\x40\0\0\x10",
    b"\0" * 64,
    b"\xff" * 8,
]
# An envelope of RNTuple begins with its type (16 bits) and length (48 bits), and ends with an XXH3 of the rest.
ENVELOPE = re.compile(rb"(?=[\x01\x02\x03]\0[\s\S]{3}\0\0\0)")


def written(folder: Path) -> list[bytes]:
    """Trees and RNTuples of every codec with all kinds of columns that uproot writes."""
    chance = np.random.default_rng(1)
    counts = np.array([0, 2, 1, 3, 0, 0, 4, 1])
    columns = {
        "run": np.arange(8, dtype=np.int32),
        "good": chance.random(8) > 0.5,
        "p": chance.normal(size=(8, 3)),
        "pt": ak.unflatten(chance.random(counts.sum()).astype(np.float32), counts),
    }
    made = []
    for codec in (None, uproot.ZLIB(1), uproot.LZ4(1), uproot.ZSTD(1), uproot.LZMA(1)):
        for kind in ("mktree", "mkrntuple"):
            path = folder / "made.root"
            with uproot.recreate(path, compression=codec) as file:
                mine = columns if kind == "mktree" else {k: v for k, v in columns.items() if k != "p"}
                types = {
                    k: v.type.content if isinstance(v, ak.Array) else np.dtype((v.dtype, v.shape[1:]))
                    for k, v in mine.items()
                }
                made_in = getattr(file, kind)("Events", types if kind == "mktree" else mine)
                made_in.extend(mine)
            made.append(path.read_bytes())
    return made


CHUNK_BYTES = 1 << 26


def mended(data: bytes, envelopes: set[tuple[int, int]]) -> bytes:
    """With the checksums of RNTuple's envelopes made right again, so that what they hold is read."""
    new = bytearray(data)
    for at, length in envelopes:
        if at + length <= len(new):
            end = at + length
            new[end - 8 : end] = xxhash.xxh3_64_intdigest(bytes(new[at : end - 8])).to_bytes(8, "little")
    return bytes(new)


def envelopes_of(data: bytes) -> set[tuple[int, int]]:
    found = set()
    for match in ENVELOPE.finditer(data):
        at = match.start()
        end = at + int.from_bytes(data[at + 2 : at + 8], "little")
        if at + 16 < end <= len(data):
            digest = xxhash.xxh3_64_intdigest(data[at : end - 8])
            if data[end - 8 : end] == digest.to_bytes(8, "little"):
                found.add((at, end - at))
    return found


class Checked:
    """The check, with a file of its own for each input: open files are kept by path and stamp."""

    def __init__(self, folder: Path, seeds: list[bytes]) -> None:
        self.folder, self.number = folder, 0
        self.envelopes = {len(seed): envelopes_of(seed) for seed in seeds}

    def __call__(self, data: bytes) -> str:
        outcomes = [self.outcome(data)]
        if envelopes := self.envelopes.get(len(data)):
            outcomes.append(self.outcome(mended(data, envelopes)))
        assert not any(outcome.startswith("False") for outcome in outcomes), "another file is named"
        return " ".join(outcomes)

    def outcome(self, data: bytes) -> str:
        self.number += 1
        path = self.folder / f"{self.number}.root"
        path.write_bytes(data)
        try:
            return self.read(str(path))
        except BadInput as error:
            return f"{error.file == str(path)} {outcome_of(error)}"
        finally:
            path.unlink()

    def read(self, path: str) -> str:
        facts = reader.inspect(path)
        facts.bytes_of(facts.available)
        facts.cluster_starts(facts.available)
        try:
            return self.columns(path, facts, list(facts.available))
        except BadInput as error:
            outcomes = {outcome_of(error)}
        for name in list(facts.available)[:8]:
            try:
                outcomes.add(self.columns(path, facts, [name]))
            except BadInput as error:
                outcomes.add(outcome_of(error))
        return " ".join(sorted(outcomes))

    def columns(self, path: str, facts: reader.FileFacts, names: list[str]) -> str:
        table = reader.table_from_bytes(reader.table_to_bytes(reader.tabulate(path, facts.tree, names)))
        if facts.bytes_of(names) > CHUNK_BYTES:  # a file of 8 kB can hold 10^9 numbers that are all 0
            return "large"
        middle = facts.entries // 2
        reader.read(path, facts.tree, names, middle, min(middle + 3, facts.entries), expect=facts)
        found = reader.read(path, facts.tree, names, 0, facts.entries, expect=facts, table=table)
        return " ".join(sorted({str(column.values.dtype) for column in found.values()}))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    seeds = [*written(folder), *[path.read_bytes() for path in sorted(SMALL.glob("*.root"))]]
    return Target("root", seeds, Checked(folder, seeds), 100, PIECES, b"Events")


def test_any_bytes_are_columns_or_an_error_that_names_the_file(target):
    assert sum(map(len, target.check.envelopes.values())) >= 20
    fuzz(target)
