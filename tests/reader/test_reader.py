"""`inspect` and `read`: what they return for generated files, and what they say about damaged ones."""

from __future__ import annotations

import json
import os
import pickle
import queue
import socket
import threading

import awkward as ak
import numpy as np
import pytest
import uproot

from vrecompute.errors import (
    BadInput,
    ChangedFile,
    CorruptFile,
    MissingColumn,
    MissingTree,
    UnreadableFile,
    UsageError,
)
from vrecompute.reader import FileFacts, Identity, inspect, read
from vrecompute.reader.handles import open_file

LENGTHS = [[0, 2, 1], [3, 0], [0, 0, 0, 4, 1]]


def write_ttree(path):
    """Three baskets of 3, 2 and 5 events: scalars of several types, a leaf-count list, a fixed-size array."""
    rng = np.random.default_rng(7)
    with uproot.recreate(path) as file:
        tree = None
        for lengths in LENGTHS:
            n, total = len(lengths), sum(lengths)
            muons = {
                "pt": ak.unflatten(rng.random(total).astype(np.float32), lengths),
                "charge": ak.unflatten(rng.integers(-1, 2, total).astype(np.int32), lengths),
            }
            block = {
                "run": np.arange(n, dtype=np.uint32),
                "met": rng.normal(size=n).astype(np.float32),
                "pass": rng.random(n) > 0.5,
                "Muon": ak.zip(muons),
                "p": rng.normal(size=(n, 3)),
            }
            if tree is None:
                tree = file.mktree("Events", {name: entry_type(v) for name, v in block.items()})
            tree.extend(block)
    return str(path)


def entry_type(values):
    return values.type.content if isinstance(values, ak.Array) else np.dtype((values.dtype, values.shape[1:]))


@pytest.fixture
def ttree(tmp_path):
    return write_ttree(tmp_path / "a.root")


def test_inspect_says_what_planning_needs(ttree):
    facts = inspect(ttree)
    assert (facts.kind, facts.tree, facts.entries) == ("ttree", "Events", 10)
    assert set(facts.available) == {"run", "met", "pass", "nMuon", "Muon_pt", "Muon_charge", "p"}
    assert facts.cluster_starts(["met", "Muon_pt"]).tolist() == [0, 3, 5, 10]
    # a list cannot be decoded without its counts, which several lists share
    alone = facts.bytes_of(["Muon_pt"]), facts.bytes_of(["Muon_charge"]), facts.bytes_of(["nMuon"])
    assert min(alone[:2]) > alone[2] > 0
    assert facts.bytes_of(["Muon_pt", "Muon_charge", "nMuon"]) == alone[0] + alone[1] - alone[2]
    assert FileFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert pickle.loads(pickle.dumps(facts)) == facts
    few = facts.only(["Muon_pt"])
    assert set(few.available) == {"Muon_pt", "nMuon"}
    assert few.bytes_of(["Muon_pt"]) == alone[0]


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (0, 3), (3, 5), (1, 9), (4, 4), (9, 10)])
def test_any_range_of_a_ttree_equals_uproot(ttree, start, stop):
    names = ["run", "met", "pass", "nMuon", "Muon_pt", "Muon_charge", "p"]
    columns = read(ttree, None, names, start, stop, expect=inspect(ttree))
    assert list(columns) == names
    with uproot.open(ttree) as file:
        expected = file["Events"].arrays(entry_start=start, entry_stop=stop)
    for name in ("run", "met", "pass", "nMuon"):
        assert columns[name].offsets is None
        assert columns[name].values.tolist() == expected[name].tolist()
    assert columns["pass"].values.dtype == np.dtype(bool)
    assert columns["met"].values.dtype == np.dtype("f4")
    assert columns["met"].values.dtype.isnative
    for name in ("Muon_pt", "Muon_charge"):
        assert columns[name].values.tolist() == ak.flatten(expected[name]).tolist()
        assert np.diff(columns[name].offsets).tolist() == ak.num(expected[name]).tolist()
        assert columns[name].offsets[0] == 0
    assert columns["Muon_pt"].offsets is columns["Muon_charge"].offsets
    assert columns["p"].offsets.tolist() == [3 * i for i in range(stop - start + 1)]
    assert columns["p"].values.tolist() == ak.ravel(expected["p"]).tolist()


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (0, 3), (1, 9), (4, 4), (9, 10)])
def test_any_range_of_an_rntuple_equals_what_was_written(tmp_path, start, stop):
    path = str(tmp_path / "n.root")
    lengths = [n for basket in LENGTHS for n in basket]
    pt = ak.unflatten(np.arange(sum(lengths), dtype=np.float32), lengths)
    records = ak.zip({"pt": pt, "q": ak.values_astype(pt, np.int32)})
    with uproot.recreate(path) as file:
        tree = file.mkrntuple("Events", {"met": np.dtype("f8"), "Muon_pt": pt.type.content, "El": records.type.content})
        for low, high in ((0, 3), (3, 5), (5, 10)):
            tree.extend({"met": np.arange(low, high) / 3, "Muon_pt": pt[low:high], "El": records[low:high]})
    facts = inspect(path)
    assert (facts.kind, facts.entries) == ("rntuple", 10)
    assert facts.cluster_starts(["Muon_pt"]).tolist() == [0, 3, 5, 10]
    columns = read(path, "Events", ["met", "Muon_pt", "El.pt", "El.q"], start, stop, expect=facts.identity)
    assert columns["met"].values.tolist() == (np.arange(start, stop) / 3).tolist()
    for name in ("Muon_pt", "El.pt", "El.q"):
        assert columns[name].values.tolist() == ak.flatten(pt[start:stop]).tolist()
        assert np.diff(columns[name].offsets).tolist() == lengths[start:stop]
    assert columns["El.pt"].offsets is columns["El.q"].offsets
    # uproot itself returns empty records for a field that is not there
    with pytest.raises(MissingColumn, match=r"'Muon_pz' \(nearest: Muon_pt"):
        read(path, "Events", ["Muon_pz"], start, stop)
    with pytest.raises(MissingColumn, match="'El' is of type"):
        read(path, "Events", ["El"], start, stop)


def test_missing_columns_name_the_nearest(ttree):
    with pytest.raises(MissingColumn, match=r"lacks 'Muon_pT' \(nearest: Muon_pt\), 'zzz'"):
        read(ttree, None, ["met", "Muon_pT", "zzz"], 0, 10)
    with pytest.raises(MissingColumn, match="Muon_pt"):
        inspect(ttree).require(["Muon_pT"])


def test_text_is_refused_by_type(tmp_path):
    path = str(tmp_path / "s.root")
    with uproot.recreate(path) as file:
        file.mktree("Events", {"name": str, "x": "f8"}).extend({"name": ["a", "b"], "x": np.zeros(2)})
    with pytest.raises(MissingColumn, match="'name' is of type"):
        read(path, None, ["name"], 0, 2)


def write_trees(path, *names):
    with uproot.recreate(path) as file:
        for name in names:
            file.mktree(name, {"x": "f8"}).extend({"x": np.zeros(2)})
    return str(path)


def test_the_tree_is_the_usual_one_or_an_error_that_lists_them(tmp_path):
    three = write_trees(tmp_path / "three.root", "other", "nominal", "deep/down")
    assert (inspect(three).tree, inspect(three).others) == ("nominal", "'deep/down', 'other'")
    assert inspect(three, "deep/down").tree == "deep/down"
    with pytest.raises(MissingTree, match=r"no tree 'Nominal' \(did you mean 'nominal'\?\); it holds 'deep/down'"):
        inspect(three, "Nominal")
    assert inspect(write_trees(tmp_path / "one.root", "own")).tree == "own"
    many = inspect(write_trees(tmp_path / "many.root", "Events", *(f"t{n:02}" for n in range(20))))
    assert many.others.endswith("'t11' and 8 more")
    with pytest.raises(MissingTree, match="holds 'a', 'b'; name one"):
        inspect(write_trees(tmp_path / "two.root", "a", "b"))
    with pytest.raises(MissingTree, match="holds no tree"):
        inspect(write_trees(tmp_path / "none.root"))


def test_another_file_at_the_same_path_is_changed(ttree):
    facts = inspect(ttree)
    for other in (
        Identity("0" * 32, facts.size, facts.entries),
        Identity(facts.uuid, facts.size + 1, facts.entries),
        Identity(facts.uuid, facts.size, facts.entries - 1),
    ):
        with pytest.raises(ChangedFile, match="run the analysis again"):
            read(ttree, None, ["met"], 0, 1, expect=other)
    write_ttree(ttree)
    with pytest.raises(ChangedFile, match="UUID"):
        read(ttree, None, ["met"], 0, 1, expect=facts)


def test_ranges_outside_the_tree_are_usage_errors(ttree):
    for start, stop in ((-1, 2), (0, 11), (5, 4)):
        with pytest.raises(UsageError, match="outside tree 'Events' of 10 entries"):
            read(ttree, None, ["met"], start, stop)


def test_absent_files_and_directories_are_unreadable(tmp_path):
    with pytest.raises(UnreadableFile, match="No such file"):
        inspect(str(tmp_path / "absent.root"))
    with pytest.raises(UnreadableFile, match="directory"):
        inspect(str(tmp_path))


@pytest.mark.parametrize("kind", ["device", "pipe", "socket"])
def test_what_is_no_file_is_said_without_waiting(tmp_path, kind):
    path = str(tmp_path / "a.root")
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(path)
        with pytest.raises(UnreadableFile, match=f"is a {kind}, and no file"):
            inspect("/dev/zero" if kind == "device" else path)


@pytest.mark.parametrize("content", [b"", b"hello", b"root", b"\x00" * 5000])
def test_what_is_no_root_file_is_corrupt(tmp_path, content):
    path = tmp_path / "x.root"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"x\.root"):
        inspect(str(path))


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_a_truncated_file_is_corrupt_wherever_it_ends(tmp_path, kind):
    path = tmp_path / "a.root"
    if kind == "ttree":
        write_ttree(path)
    else:
        with uproot.recreate(path) as file:
            file["Events"] = {"met": np.arange(1000.0)}
    whole = path.read_bytes()
    for length in {0, 1, 50, 90, 200, len(whole) // 2, len(whole) - 200, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match=r"a\.root"):
            read(str(path), None, ["met"], 0, 3)


def test_no_flipped_byte_is_more_than_a_named_error(tmp_path):
    path = tmp_path / "a.root"
    write_ttree(path)
    whole = path.read_bytes()
    before = uproot_models()
    described = whole.index(b"TBranch\0")  # versions of classes are around
    for position in {*range(0, len(whole), 211), *range(described - 100, described + 40)}:
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            columns = read(str(path), None, ["run", "met", "nMuon", "Muon_pt", "p"], 0, 10)
        except (BadInput, UsageError):  # the latter where the damage is in the number of entries
            continue
        assert len(columns["Muon_pt"].values) == columns["Muon_pt"].offsets[-1]
    assert uproot_models() == before  # what a damaged file says of its classes is no business of the next file


def test_a_damaged_length_takes_no_more_memory_than_the_file_is_long(ttree):
    source = open_file(ttree)._file.file.source
    size = os.stat(ttree).st_size
    (several,) = source.chunks([(10, 1 << 50)], queue.Queue())
    for chunk, start in ((source.chunk(0, 1 << 50), 0), (several, 10), (source.chunk(1 << 40, 1 << 50), 1 << 40)):
        chunk.wait(insist=False)
        assert len(chunk.raw_data) == max(0, size - start)


def uproot_models():
    """uproot's registry of models of ROOT classes, by version."""
    return {name: dict(getattr(cls, "known_versions", {})) for name, cls in uproot.classes.items()}


def test_threads_share_one_open_file(ttree):
    expected = read(ttree, None, ["Muon_pt"], 0, 10)["Muon_pt"]
    right = []

    def many():
        for _ in range(20):
            column = read(ttree, None, ["Muon_pt"], 0, 10)["Muon_pt"]
            right.append(np.array_equal(column.values, expected.values))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80
