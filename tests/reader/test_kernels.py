"""Every way a column can be stored decodes to what uproot makes of it, and no damage gets past unnamed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tests.events import write_events
from vrecompute.errors import BadInput, ChangedFile, CorruptFile, StoreError
from vrecompute.reader import codecs, inspect, kernels, read, table_from_bytes, table_to_bytes, tabulate, ttree
from vrecompute.reader.baskets import BasketTable, BranchTable
from vrecompute.reader.decode_baskets import read_baskets
from vrecompute.reader.handles import open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.rawfile import open_raw

CODECS = {
    "uncompressed": None,
    "zlib-1": uproot.ZLIB(1),
    "zlib-9": uproot.ZLIB(9),
    "lzma-1": uproot.LZMA(1),
    "lz4-1": uproot.LZ4(1),
    "lz4-9": uproot.LZ4(9),
    "zstd-1": uproot.ZSTD(1),
    "zstd-5": uproot.ZSTD(5),
    "zstd-19": uproot.ZSTD(19),
}
TYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def numbers(rng, dtype, shape):
    """Compressible numbers of any type, with the extremes of integers among them."""
    if dtype == "?":
        return rng.random(shape) < 0.3
    if dtype.startswith("f"):
        return np.round(rng.normal(size=shape) * 8).astype(dtype) / 8
    info = np.iinfo(dtype)
    return rng.choice(np.array([info.min, info.max, 0, 1, 2, 3], dtype=dtype), size=shape)


def write(path, baskets, compression=None, seed=3):
    """A TTree with one basket per entry of `baskets` (the list lengths of its events), of every type and layout."""
    rng = np.random.default_rng(seed)
    with uproot.recreate(path, compression=compression) as file:
        tree = None
        for lengths in baskets:
            events, total = len(lengths), int(np.sum(lengths, dtype=int))
            block = {f"s_{t}".replace("?", "b"): numbers(rng, t, events) for t in TYPES}
            block |= {f"a_{t}": numbers(rng, t, (events, 2, 3)) for t in ("i2", "f4")}
            jagged = {t.replace("?", "b"): ak.unflatten(numbers(rng, t, total), lengths) for t in TYPES}
            block["L"] = ak.zip(jagged)
            if tree is None:
                tree = file.mktree("Events", {name: _type(v) for name, v in block.items()})
            tree.extend(block)
    return str(path)


def _type(values):
    return values.type.content if isinstance(values, ak.Array) else np.dtype((values.dtype, values.shape[1:]))


def columns_of(path):
    return list(inspect(path).available)


def assert_same(path, start, stop, table=None, of=None):
    """Reading [start, stop) without uproot gives what uproot gives."""
    names = of or columns_of(path)
    if table is None:
        table = tabulate(path, None, names)
    assert not table.unsupported
    fast, others = read_baskets(open_raw(path), table, names, start, stop)
    assert not others
    slow = ttree.read(open_file(path), "Events", names, start, stop)
    for name in names:
        assert fast[name].values.dtype == slow[name].values.dtype
        assert fast[name].values.tobytes() == slow[name].values.tobytes(), name
        if slow[name].offsets is None:
            assert fast[name].offsets is None
        else:
            assert_array_equal(fast[name].offsets, slow[name].offsets)


def test_the_wheels_export_every_decompressor():
    assert set(codecs.found()) == {"zstd", "deflate", "lz4", "xxhash"}
    assert all(codecs.addresses())


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_and_type(tmp_path, codec):
    rng = np.random.default_rng(1)
    path = write(tmp_path / "a.root", [rng.poisson(1.3, 300), rng.poisson(1.3, 200)], CODECS[codec])
    for start, stop in ((0, 500), (0, 300), (300, 500), (100, 450), (299, 301), (7, 7)):
        assert_same(path, start, stop)


@pytest.mark.parametrize("codec", ["zlib-1", "lz4-1", "zstd-5"])
def test_without_native_decompressors_the_numbers_are_the_same(tmp_path, codec, monkeypatch):
    path = write(tmp_path / "a.root", [[1, 2, 0] * 50, [3] * 40], CODECS[codec])
    nothing = np.zeros(kernels.SLOTS, dtype=np.int64)
    monkeypatch.setattr("vrecompute.reader.decode_baskets.addresses", lambda: nothing)
    assert_same(path, 10, 170)


@given(
    baskets=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=6),
    codec=st.sampled_from(sorted(CODECS)),
    data=st.data(),
)
def test_any_range_of_any_baskets(tmp_path_factory, baskets, codec, data):
    path = write(tmp_path_factory.mktemp("any") / "a.root", baskets, CODECS[codec])
    entries = sum(len(b) for b in baskets)
    start = data.draw(st.integers(0, entries))
    stop = data.draw(st.integers(start, entries))
    assert_same(path, start, stop, of=["s_f4", "s_b", "a_i2", "L_f8", "nL", "L_i2"])


def test_one_event_per_basket_and_no_events_at_all(tmp_path):
    assert_same(write(tmp_path / "one.root", [[n % 3] for n in range(40)], uproot.ZSTD(1)), 3, 37)
    empty = str(tmp_path / "empty.root")
    with uproot.recreate(empty) as file:
        file.mktree("Events", {"x": "f8"})
    assert len(read(empty, None, ["x"], 0, 0)["x"].values) == 0


@pytest.mark.parametrize("codec", ["lz4-1", "zstd-1"])
def test_baskets_larger_than_a_compressed_block(tmp_path, codec):
    path = str(tmp_path / "big.root")  # a block holds at most 2^24 - 1 bytes
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        file.mktree("Events", {"x": "f8"}).extend({"x": np.arange(2_200_000) // 7 / 4})
    assert_same(path, 2_000_000, 2_199_999)


def test_a_chunk_stays_as_it_is_while_later_ones_are_read(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0] * 50] * 6)
    names = columns_of(path)
    held = [read(path, None, names, start, start + 150) for start in range(0, 900, 150)]
    for number, columns in enumerate(held):
        again = ttree.read(open_file(path), "Events", names, number * 150, number * 150 + 150)
        assert all(columns[n].values.tobytes() == again[n].values.tobytes() for n in names)


def test_threads_do_not_share_buffers(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0] * 50] * 6, uproot.ZSTD(1))
    table = tabulate(path, None, columns_of(path))
    failures = []

    def many(offset):
        try:
            for start in range(offset, 700, 50):
                assert_same(path, start, start + 170, table)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=many, args=(7 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_table_serves_without_the_metadata(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0] * 5, [3] * 40], uproot.ZSTD(1))
    names = columns_of(path)
    made = tabulate(path, None, names)
    data = table_to_bytes(made)
    table = table_from_bytes(data)
    assert table_to_bytes(table) == data
    assert table.identity == inspect(path).identity
    expected = ttree.read(open_file(path), "Events", names, 3, 50)
    whole = Path(path).read_bytes()
    only = bytearray(whole[:100]) + bytes(len(whole) - 100)  # the header and the baskets, no metadata
    for _, seek, size in payload_spans(made):
        only[seek : seek + size] = whole[seek : seek + size]
    Path(path).write_bytes(only)
    with pytest.raises(BadInput):
        read(path, None, names, 3, 50)
    with pytest.raises(ChangedFile, match="sampled content"):
        read(path, None, names, 3, 50, table=table)
    columns = read(path, None, names, 3, 50, table=of_any_content(table))
    assert all(columns[n].values.tobytes() == expected[n].values.tobytes() for n in names)


def test_a_table_of_another_file_is_refused(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0]])
    table = tabulate(path, None, ["s_f4"])
    write(tmp_path / "a.root", [[1, 2, 0]])
    with pytest.raises(ChangedFile, match="UUID"):
        read(path, None, ["s_f4"], 0, 3, table=table)


def test_columns_beside_the_table_are_found_nevertheless(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0]])
    table = tabulate(path, None, ["s_f4"])
    assert len(read(path, None, ["s_f4", "s_i2"], 0, 3, table=table)["s_i2"].values) == 3


@pytest.mark.parametrize("position", [0, 7, 9, 40, -20, -1])
def test_a_damaged_table_is_an_error(tmp_path, position):
    data = bytearray(table_to_bytes(tabulate(write(tmp_path / "a.root", [[1, 2, 0]]), None, ["L_f4"])))
    data[position] ^= 0x10
    with pytest.raises(StoreError, match="make it again"):
        table_from_bytes(bytes(data))
    with pytest.raises(StoreError):
        table_from_bytes(bytes(data[:5]))


def of_any_content(table):
    """The same table, for a file that was damaged since: what the samples see is not what is tested."""
    return replace(table, identity=replace(table.identity, content=""))


def payload_spans(table):
    for name, branch in table.branches.items():
        for seek, size in zip(branch.seeks, branch.sizes, strict=True):
            yield name, int(seek), int(size)


@pytest.mark.parametrize("codec", ["zlib-1", "lz4-1", "zstd-5", "lzma-1", "uncompressed"])
def test_a_flipped_byte_in_a_basket_is_named_or_leaves_the_shape_intact(tmp_path, codec):
    """ZLIB, LZ4 and LZMA carry checksums, so nothing gets past; ZSTD in ROOT and bare numbers have none."""
    path = tmp_path / "a.root"
    names = ["s_f8", "L_f4", "nL"]
    write(path, [[1, 2, 0] * 100], CODECS[codec])
    table = of_any_content(tabulate(str(path), None, names))
    whole = path.read_bytes()
    for name, seek, size in payload_spans(table):
        for position in range(seek, seek + size, max(1, size // 40)):
            damaged = bytearray(whole)
            damaged[position] ^= 0x5A
            path.write_bytes(damaged)
            try:
                columns = read(str(path), None, names, 0, 300, table=table)
            except CorruptFile as error:
                message = str(error)
                assert "a.root" in message
                assert repr(name) in message or codec == "uncompressed" or name == "nL"
            else:
                in_key = position < seek + 120
                assert in_key or codec in ("uncompressed", "zstd-5"), (name, position - seek)
                assert columns["L_f4"].offsets[-1] == len(columns["L_f4"].values)


def test_a_file_truncated_after_planning_is_corrupt(tmp_path):
    path = tmp_path / "a.root"
    write(path, [[1, 2, 0] * 100], uproot.ZSTD(5))
    table = tabulate(str(path), None, ["L_f4"])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CorruptFile, match="truncated"):
        read(str(path), None, ["L_f4"], 0, 300, table=table)


def test_baskets_beyond_two_gibibytes(tmp_path):
    """The same baskets, with the 8-byte positions that large files have, at 5 GiB in a sparse file."""
    path = tmp_path / "a.root"
    write(path, [[1, 2, 0] * 100, [2, 2] * 30], uproot.ZSTD(1))
    names = ["s_f8", "L_f4", "nL"]
    table = tabulate(str(path), None, names)
    expected = read(str(path), None, names, 17, 340)
    whole = path.read_bytes()
    far = tmp_path / "far.root"
    branches, at = {}, 5 << 30
    with open(far, "wb") as file:
        file.write(whole[:100])
        for name, branch in table.branches.items():
            seeks, sizes = [], []
            for seek, size in zip(branch.seeks, branch.sizes, strict=True):
                basket = with_long_positions(whole[seek : seek + size], at)
                file.seek(at)
                file.write(basket)
                seeks.append(at)
                sizes.append(len(basket))
                at += len(basket) + 100_000
            branches[name] = BranchTable(
                branch.layout, branch.dtype, branch.items, branch.counts, branch.first, np.array(seeks), np.array(sizes)
            )
    identity = Identity(table.identity.uuid, far.stat().st_size, table.identity.entries)
    moved = BasketTable(identity, "Events", branches, {})
    assert far.stat().st_blocks * 512 < 1 << 24
    columns = read(str(far), "Events", names, 17, 340, table=moved, expect=identity)
    assert all(columns[n].values.tobytes() == expected[n].values.tobytes() for n in names)


def with_long_positions(basket, position):
    """The basket with a TKey of version 1004, whose two positions have 8 bytes instead of 4."""

    def big(value, size):
        return value.to_bytes(size, "big")

    size, key = int.from_bytes(basket[:4], "big"), int.from_bytes(basket[14:16], "big")
    last = int.from_bytes(basket[key - 5 : key - 1], "big")
    head = big(size + 8, 4) + big(1004, 2) + basket[6:14] + big(key + 8, 2) + basket[16:18]
    names = basket[26 : key - 5]
    return head + big(position, 8) + big(100, 8) + names + big(last + 8, 4) + basket[key - 1 :]


@given(
    raw=st.binary(min_size=0, max_size=400),
    piece=st.tuples(*[st.integers(-(2**62), 2**62) | st.integers(-5, 400)] * 3, st.integers(0, 5)),
    tag=st.sampled_from([b"ZS\x01", b"ZL\x08", b"L4\x01", b"XZ\x00", b"??\x00"]),
    sizes=st.tuples(st.integers(0, 2**24 - 1) | st.integers(0, 300), st.integers(0, 2**24 - 1) | st.integers(0, 300)),
)
def test_no_bytes_whatsoever_make_a_kernel_leave_its_arrays(raw, piece, tag, sizes):
    """Guards on both sides of every output stay as they were; the process is still there to say so."""
    block = tag + sizes[0].to_bytes(3, "little") + sizes[1].to_bytes(3, "little") + raw
    key = 70
    header = b"".join(
        v.to_bytes(n, "big")
        for v, n in ((key + len(block), 4), (4, 2), (sizes[1], 4), (0, 4), (key, 2), (1, 2), (123, 4), (100, 4))
    )
    header += bytes(key - 9 - len(header)) + piece[3].to_bytes(4, "big") + (key + 16).to_bytes(4, "big") + b"\0"
    basket = np.frombuffer(header + block, dtype=np.uint8).copy()
    for pieces in ([0, len(basket), 0, piece[3], 123], [piece[0], piece[1], 0, piece[3], piece[2]]):
        table = np.array([pieces], dtype=np.int64)
        guarded = np.full(1000, 0xAB, dtype=np.uint8)
        scratch = np.full(1000, 0xCD, dtype=np.uint8)
        out, small = guarded[100:116], scratch[100:800]
        span, items = np.array([0, 4], dtype=np.int64), np.array([0, 1, 2, 3, 4], dtype=np.int64)
        kernels.survey(basket, table)
        kernels.decode_baskets(codecs.addresses(), basket, table, small, items, 0, span, 4, 4, out)
        offsets = np.zeros(piece[3] + 1, dtype=np.int64)
        kernels.decode_vectors(codecs.addresses(), basket, table, small, 4, out, offsets)
        for array, value, inside in ((guarded, 0xAB, slice(100, 116)), (scratch, 0xCD, slice(100, 800))):
            outside = array.copy()
            outside[inside] = value
            assert np.all(outside == value)


def test_every_error_names_the_file(tmp_path):
    path = write(tmp_path / "a.root", [[1, 2, 0]])
    with pytest.raises(BadInput) as error:
        read(path, None, ["absent"], 0, 3)
    assert error.value.file == path


def forged(data: bytes, old: bytes, new: bytes) -> bytes:
    """A sidecar whose header says something else, with its length and checksum made right."""
    length = int.from_bytes(data[8:12], "little")
    header = data[12 : 12 + length].replace(old, new)
    assert header != data[12 : 12 + length]
    body = data[:8] + len(header).to_bytes(4, "little") + header + data[12 + length : -8]
    return body + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"tree"', b'"wood"'),
        (b'"fixed"', b'"fluid"'),
        (b'"fixed"', b'"vector"'),
        (b'"<i4",1,', b'"<i4",0,'),
        (b'"<i4",1,', b'"<i4",1.5,'),
        (b'"<i4"', b'"|O"'),
        (b'"<i4"', b'">i4"'),
        (b'"<i4"', b'"(9,"'),
        (b'"counted"', b'"fixed"'),
        (b'"nMuon"]', b'"none"]'),
        (b'"lengths":[', b'"lengths":[9,'),
        (b'"lengths":[', b'"lengths":[-1,'),
        (b'"lengths":[4', b'"lengths":[3'),
        (b'"identity":[', b'"identity":[1,'),
        (b"{", b'{"a":' * 10_000),
        (b",", b",\xff"),
    ],
)
def test_a_forged_sidecar_is_refused_and_reads_nothing(tmp_path, old, new):
    path = write_events(tmp_path / "a.root", 60, clusters=3)
    data = table_to_bytes(tabulate(str(path), None, ["run", "weight", "Muon_pt"]))
    assert table_to_bytes(table_from_bytes(data)) == data
    with pytest.raises(StoreError, match="garbled"):
        table_from_bytes(forged(data, old, new))


@pytest.mark.parametrize("number", [-1, -(1 << 62), 1 << 62, 5])
def test_a_sidecar_with_numbers_of_another_file_is_refused(tmp_path, number):
    table = tabulate(str(write_events(tmp_path / "a.root", 60, clusters=3)), None, ["run"])
    for array, at in (("first", 0), ("first", 1), ("first", -1), ("seeks", 0), ("sizes", 1)):
        if number == 5 and (array, at) != ("first", 0):
            continue  # it may be true
        changed = getattr(table.branches["run"], array).copy()
        changed[at] = number
        wrong = replace(table, branches={"run": replace(table.branches["run"], **{array: changed})})
        with pytest.raises(StoreError, match="garbled"):
            table_from_bytes(table_to_bytes(wrong))


@pytest.mark.parametrize("layout", ["vector", "fixed"])
def test_entries_without_bytes_take_no_memory(tmp_path, layout):
    path = str(write_events(tmp_path / "a.root", 60, clusters=3))
    many = 1 << 40
    ends = np.array([0, many])
    mine = BranchTable(layout, "<i4", 1, "", ends, np.array([-1]), np.array([20]))
    lists = BranchTable("counted", "<f4", 1, "n", ends, np.array([-1]), np.array([20]))
    branches = {"n": mine} if layout == "vector" else {"n": mine, "v": lists}
    table = BasketTable(inspect(path).identity, "Events", branches, {}, bytes(20))
    with pytest.raises(CorruptFile, match="more or fewer values"):
        read_baskets(open_raw(path), table, list(branches), 0, many)
