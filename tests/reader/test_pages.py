"""RNTuple pages: every encoding of the specification that the kernels know, against numpy's own arithmetic."""

from __future__ import annotations

import dataclasses

import awkward as ak
import cramjam
import numpy as np
import pytest
import uproot
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from vrecompute.errors import CorruptFile, StoreError
from vrecompute.reader import inspect, kernels, read, rntuple, table_from_bytes, table_to_bytes, tabulate
from vrecompute.reader.codecs import addresses
from vrecompute.reader.decode_pages import read_pages
from vrecompute.reader.handles import open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.pages import FieldTable, PageColumn, PageTable
from vrecompute.reader.rawfile import open_raw

ENCODINGS = {
    0x00: "?", 0x02: "u1", 0x03: "i1", 0x05: "i2", 0x07: "i4", 0x09: "i8", 0x0C: "f4", 0x0D: "f8",
    0x11: "i2", 0x12: "u2", 0x13: "i4", 0x14: "u4", 0x15: "i8", 0x16: "u8", 0x18: "f4", 0x19: "f8",
}  # fmt: skip
INDICES = (0x0E, 0x0F, 0x1A, 0x1B)
PAGES = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=3)
CLUSTERS = st.lists(PAGES, min_size=1, max_size=4)
UUID = "12345678-1234-5678-1234-567812345678"


def encode(values, encoding):
    """One page as the specification describes it, uncompressed."""
    if encoding == 0x00:
        return np.packbits(values, bitorder="little").tobytes()
    if encoding in (0x1A, 0x1B):
        values = np.diff(values, prepend=values.dtype.type(0))
    if encoding in (0x11, 0x13, 0x15):
        bits = values.dtype.itemsize * 8 - 1
        values = (values << 1) ^ (values >> bits)
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.dtype.itemsize)
    return planes.T.tobytes() if encoding >= 0x11 else planes.tobytes()


def pack(page, compressed):
    block = bytes(cramjam.zstd.compress(page, level=3)) if compressed else page
    if len(block) + 9 >= len(page):
        return page
    return b"ZS\x01" + len(block).to_bytes(3, "little") + len(page).to_bytes(3, "little") + block


class Writer:
    """A file that has a ROOT header and then nothing but pages, and their table."""

    def __init__(self, compressed=True, checked=True):
        self.compressed, self.checked = compressed, checked
        header = b"root" + (62400).to_bytes(4, "big") + (100).to_bytes(4, "big") + (100).to_bytes(4, "big")
        self.data = bytearray(header + bytes(29) + b"\0\1" + bytes.fromhex(UUID.replace("-", "")) + bytes(37))

    def column(self, encoding, clusters):
        """A physical column; `clusters` are lists of pages, which are arrays."""
        counts, seeks, sizes, starts = [0], [], [], [0]
        for pages in clusters:
            for values in pages:
                page = pack(encode(values, encoding), self.compressed)
                if self.checked:
                    page += xxhash.xxh3_64_intdigest(page).to_bytes(8, "little")
                self.data += b"between"
                seeks.append(len(self.data))
                sizes.append(len(page))
                counts.append(len(values))
                self.data += page
            starts.append(len(counts) - 1)
        first = np.cumsum(counts).astype(np.int64)
        checked = np.full(len(seeks), int(self.checked), dtype=np.int64)
        return PageColumn(encoding, first, np.array(seeks, np.int64), np.array(sizes, np.int64), checked, first[starts])

    def table(self, path, clusters, fields, columns):
        path.write_bytes(self.data)
        identity = Identity(UUID, len(self.data), int(clusters[-1]))
        table = PageTable(identity, "Events", np.array(clusters, np.int64), fields, columns, {})
        assert table_to_bytes(table_from_bytes(table_to_bytes(table))) == table_to_bytes(table)
        return table


def values_of(rng, dtype, n):
    if dtype == "?":
        return rng.random(n) < 0.3
    if dtype.startswith("f"):
        return np.round(rng.normal(size=n) * 8).astype(dtype)
    info = np.iinfo(dtype)
    return rng.choice(np.array([info.min, info.max, 0, 1, 2, 3], dtype=dtype), size=n)


def split_at(values, cuts):
    return np.split(values, sorted(cuts))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_numbers(tmp_path, encoding, compressed):
    values = values_of(np.random.default_rng(encoding), ENCODINGS[encoding], 1000)
    writer = Writer(compressed)
    column = writer.column(encoding, [split_at(values[:600], [100, 333]), split_at(values[600:], [5])])
    path = tmp_path / "p.root"
    table = writer.table(path, [0, 600, 1000], {"x": FieldTable(0, None, 1, "")}, {0: column})
    for start, stop in ((0, 1000), (0, 0), (99, 101), (101, 999), (600, 601), (5, 605)):
        x = read(str(path), "Events", ["x"], start, stop, table=table)["x"]
        assert x.values.dtype == np.dtype(ENCODINGS[encoding])
        assert_array_equal(x.values, values[start:stop])


@given(
    counts=CLUSTERS,
    index=st.sampled_from(INDICES),
    repeat=st.sampled_from([1, 3]),
    data=st.data(),
)
def test_any_range_of_any_clusters_and_pages(tmp_path_factory, counts, index, repeat, data):
    """`counts[cluster][page][entry]` are lengths of lists; ends of lists start anew in each cluster."""
    writer, ends, items, clusters, position = Writer(), [], [], [0], 0
    dtype = np.uint32 if index in (0x0E, 0x1A) else np.uint64
    for pages in counts:
        total = np.cumsum([n for page in pages for n in page]).astype(dtype)
        ends.append(split_at(total, np.cumsum([len(p) for p in pages])[:-1]))
        size = int(total[-1]) * repeat
        cuts = data.draw(st.lists(st.integers(0, size), max_size=2))
        items.append(split_at(np.arange(position, position + size, dtype=np.int32), cuts))
        position += size
        clusters.append(clusters[-1] + len(total))
    columns = {0: writer.column(0x13, items), 1: writer.column(index, ends)}
    fields = {"x": FieldTable(0, 1, repeat, ""), "n": FieldTable(None, 1, 1, "u4")}
    path = tmp_path_factory.mktemp("pages") / "p.root"
    table = writer.table(path, clusters, fields, columns)
    lengths = np.array([n for pages in counts for page in pages for n in page])
    start = data.draw(st.integers(0, len(lengths)))
    stop = data.draw(st.integers(start, len(lengths)))
    for names in (["n", "x"], ["x"], ["n"]):
        columns = read(str(path), None, names, start, stop, table=table)
        if "n" in names:
            assert_array_equal(columns["n"].values, lengths[start:stop])
            assert columns["n"].values.dtype == np.uint32
        if "x" in names:
            assert_array_equal(np.diff(columns["x"].offsets), lengths[start:stop] * repeat)
            first = lengths[:start].sum() * repeat
            assert_array_equal(columns["x"].values, np.arange(first, first + lengths[start:stop].sum() * repeat))


@pytest.mark.parametrize("native", [True, False])
def test_a_column_added_late_is_empty_before(tmp_path, native, monkeypatch):
    """Such a column is not stored for its first entries (here 5, beyond the first cluster of 3)."""
    writer = Writer()
    counts = np.array([0, 0, 0, 0, 0, 2, 1, 0, 4])
    stored = writer.column(0x1B, [[], [np.cumsum(counts[5:7]).astype("u8")], [np.array([0, 4], "u8")]])
    late = PageColumn(
        0x1B,
        np.r_[0, stored.first + 5],
        np.r_[0, stored.seeks],
        np.r_[0, stored.sizes],
        np.r_[0, stored.checked],
        np.array([0, 3, 7, 9]),
    )
    values = writer.column(0x18, [[], [np.arange(3, dtype="f4")], [np.arange(3, 7, dtype="f4")]])
    path = tmp_path / "p.root"
    table = writer.table(path, [0, 3, 7, 9], {"x": FieldTable(0, 1, 1, "")}, {0: values, 1: late})
    if not native:
        only_xxh3 = np.zeros(kernels.SLOTS, dtype=np.int64)
        only_xxh3[kernels.XXH3] = addresses()[kernels.XXH3]
        monkeypatch.setattr("vrecompute.reader.decode_pages.addresses", lambda: only_xxh3)
    for start, stop in ((0, 9), (0, 3), (4, 6), (5, 9), (8, 9), (2, 5)):
        x = read(str(path), None, ["x"], start, stop, table=table)["x"]
        assert_array_equal(np.diff(x.offsets), counts[start:stop])
        assert_array_equal(x.values, np.arange(counts[:start].sum(), counts[:stop].sum()))


@pytest.mark.parametrize("compressed", [True, False])
def test_no_flipped_byte_of_a_page_gets_past_its_checksum(tmp_path, compressed):
    writer = Writer(compressed)
    column = writer.column(0x18, [[np.round(np.arange(300) / 7).astype("f4")]])
    path = tmp_path / "p.root"
    table = writer.table(path, [0, 300], {"x": FieldTable(0, None, 1, "")}, {0: column})
    whole = path.read_bytes()
    for position in range(int(column.seeks[0]), int(column.seeks[0] + column.sizes[0])):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"column 'x', elements \[0, 300\): the data differ from their checksum"):
            read(str(path), None, ["x"], 0, 300, table=table)


@given(
    raw=st.binary(max_size=300),
    piece=st.tuples(*[st.integers(-(2**62), 2**62) | st.integers(-5, 400)] * 2, st.integers(0, 40)),
    kind=st.tuples(*[st.integers(0, 1)] * 3),
    width=st.sampled_from([0, 1, 2, 4, 8]),
)
@example(raw=b"\0\0", piece=(0, 0, 11), kind=(1, 1, 0), width=1)  # of bytes, no zigzag is known
def test_no_bytes_whatsoever_make_the_page_kernel_leave_its_arrays(raw, piece, kind, width):
    page = np.frombuffer(b"ZS\x01\x20\0\0\x10\0\0" + raw, dtype=np.uint8).copy()
    for at, size in ((0, len(page)), piece[:2]):
        pieces = np.array([[at, size, 0, piece[2], 123]], dtype=np.int64)
        guarded, scratch = np.full(1000, 0xAB, dtype=np.uint8), np.full(1000, 0xCD, dtype=np.uint8)
        out, small = guarded[200 : 200 + 10 * max(width, 1)], scratch[200:600]
        for checked in (0, 1):
            kernels.decode_pages(
                addresses(), page, pieces, np.array([checked]), small, np.array([3, 13]), width, np.array(kind), out
            )
        assert np.all(np.r_[guarded[:200], guarded[200 + len(out) :]] == 0xAB)
        assert np.all(np.r_[scratch[:200], scratch[600:]] == 0xCD)


def test_lists_that_disagree_with_the_number_of_values_are_corrupt(tmp_path):
    for ends in ([2, 1, 3], [1, 2, 4], [1, 2, 2]):
        writer = Writer()
        columns = {
            0: writer.column(0x07, [[np.arange(3, dtype="i4")]]),
            1: writer.column(0x0F, [[np.array(ends, dtype="u8")]]),
        }
        path = tmp_path / f"{ends}.root"
        table = writer.table(path, [0, 3], {"x": FieldTable(0, 1, 1, "")}, columns)
        with pytest.raises(CorruptFile, match="lengths of lists"):
            read(str(path), None, ["x"], 0, 3, table=table)


@pytest.mark.parametrize("codec", [None, uproot.ZLIB(1), uproot.LZ4(1), uproot.ZSTD(5), uproot.LZMA(1)])
def test_what_uproot_writes(tmp_path, codec, monkeypatch):
    path = str(tmp_path / "u.root")
    rng = np.random.default_rng(5)
    lengths = rng.poisson(1.5, 300)
    values = ak.unflatten(np.round(rng.normal(size=lengths.sum()) * 8).astype("f4"), lengths)
    with uproot.recreate(path, compression=codec) as file:
        ntuple = file.mkrntuple(
            "Events", {"a": np.dtype("i8"), "b": np.dtype("?"), "J": values.type.content, "e": np.dtype("u2")}
        )
        for low in range(0, 300, 100):
            part = slice(low, low + 100)
            some = np.arange(low, low + 100)
            ntuple.extend({"a": some - 50, "b": some % 3 == 0, "J": values[part], "e": some.astype("u2")})
    names = ["a", "b", "J", "e"]
    table = tabulate(path, None, names)
    assert not table.unsupported
    nothing = np.zeros(kernels.SLOTS, dtype=np.int64)
    for native in (True, False):
        if not native:
            monkeypatch.setattr("vrecompute.reader.decode_pages.addresses", lambda: nothing)
        for start, stop in ((0, 300), (100, 200), (99, 201), (250, 250), (299, 300)):
            slow = rntuple.read(open_file(path), "Events", names, start, stop)
            fast, others = read_pages(open_raw(path), table, names, start, stop)
            assert others == ([] if native else names)  # without XXH3 no page could be verified
            fast = fast if native else read(path, None, names, start, stop)
            for name in names:
                assert fast[name].values.dtype == slow[name].values.dtype
                assert_array_equal(fast[name].values, slow[name].values)
            assert_array_equal(fast["J"].offsets, slow["J"].offsets)


def test_bytes_and_boundaries_for_planning(tmp_path):
    path = str(tmp_path / "u.root")
    with uproot.recreate(path, compression=None) as file:
        ntuple = file.mkrntuple("Events", {"a": np.dtype("f8")})
        ntuple.extend({"a": np.arange(40.0)})
        ntuple.extend({"a": np.arange(60.0)})
    facts = inspect(path)
    assert facts.cluster_starts(["a"]).tolist() == [0, 40, 100]
    assert facts.bytes_of(["a"]) == 800
    assert facts.compressed_bytes_of(["a"]) == 800


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": [0, 3, 1 << 40]}, "more elements than its bytes can hold"),
        ({"first": [0, 5, 3]}, "out of order"),
        ({"first": [1, 3, 5]}, "out of order"),
        ({"seeks": [-1, 200]}, "out of order"),
        ({"sizes": [7, 20]}, "out of order"),
        ({"checked": [2, 1]}, "out of order"),
        ({"encoding": 0x99}, "out of order"),
    ],
)
def test_a_forged_table_of_pages_is_refused(tmp_path, change, said):
    writer = Writer()
    ends = writer.column(0x0F, [[np.array([3, 5, 5], "u8")]])
    values = writer.column(0x09, [[np.arange(3), np.arange(2)]])
    fields = {"v": FieldTable(2, 1, 1, "")}
    table = writer.table(tmp_path / "a.root", [0, 3], fields, {1: ends, 2: values})
    changed = {key: np.array(value) if isinstance(value, list) else value for key, value in change.items()}
    if "first" in change:
        changed["clusters"] = np.array([0, change["first"][-1]])
    wrong = dataclasses.replace(table, columns={1: ends, 2: dataclasses.replace(values, **changed)})
    with pytest.raises(StoreError, match=said):
        table_from_bytes(table_to_bytes(wrong))
