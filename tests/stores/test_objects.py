"""Objects of a store prove themselves: kind, format, name and bytes; what is hostile takes neither memory nor time."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
import json
import logging
import os
import resource
import zipfile

import boost_histogram as bh
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.datasets.dataset import Sample
from vrecompute.digest import canonical_json, sha256_of
from vrecompute.errors import DamagedObject, OtherFormat, StoreError
from vrecompute.execution.collect import Collector
from vrecompute.execution.parts import PartNode, read_part, write_part
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.results.file import pack, read_results, unpack, write_results
from vrecompute.results.result import Array, Result
from vrecompute.results.tree import Node
from vrecompute.sites.access import LocalAccess
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import (
    FORMAT,
    SetAside,
    content_name,
    intact,
    read_content,
    read_document,
    sealed,
    write_content,
    write_document,
)
from vrecompute.stores.ownership import Owner
from vrecompute.stores.remote import AccessStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@pytest.fixture(params=["here", "behind an access"])
def store(request, tmp_path):
    return DirStore(tmp_path) if request.param == "here" else AccessStore(LocalAccess(), str(tmp_path))


@given(st.dictionaries(st.text(max_size=5).filter(lambda k: k not in {"of", "format", "version", "sha256"}), JSON),
       st.booleans(), st.data())  # fmt: skip
def test_a_document_is_read_as_it_was_written_and_any_bit_counts(tmp_path_factory, body, ordered, data):
    store = DirStore(tmp_path_factory.mktemp("sealed"))
    write_document(store, "a/b.json", "thing", body, ordered=ordered)
    read = read_document(store, "a/b.json", "thing", lambda found: found)
    assert read == body
    if ordered:
        assert list(read) == list(body)
    raw = bytearray(store.get("a/b.json"))
    position, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    raw[position] ^= 1 << bit
    (store.root / "a" / "b.json").write_bytes(raw)
    with contextlib.suppress(DamagedObject, OtherFormat):
        assert read_document(store, "a/b.json", "thing", lambda found: found) == body


def test_a_document_says_what_it_is_of(store):
    write_document(store, "runs/a/plan.json", "plan", {"x": 1})
    store.create("runs/b/plan.json", store.get("runs/a/plan.json"))
    with pytest.raises(DamagedObject, match=r"written as 'runs/a/plan\.json'"):
        read_document(store, "runs/b/plan.json", "plan", dict)
    with pytest.raises(DamagedObject, match="vrecompute-plan"):
        read_document(store, "runs/a/plan.json", "outcome", dict)
    with pytest.raises(DamagedObject, match="'y'"):
        read_document(store, "runs/a/plan.json", "plan", lambda body: body["y"])
    assert not write_document(store, "runs/a/plan.json", "plan", {"x": 2})
    assert read_document(store, "runs/a/plan.json", "plan", dict) == {"x": 1}


def test_another_format_is_named_and_never_overwritten(store):
    document = {"format": "vrecompute-plan", "of": "plan.json", "version": FORMAT + 1}
    raw = canonical_json({**document, "sha256": sha256_of(canonical_json(document))})
    store.create("plan.json", raw)
    for act in (
        lambda: read_document(store, "plan.json", "plan", dict),
        lambda: write_document(store, "plan.json", "plan", {}),
    ):
        with pytest.raises(OtherFormat, match=rf"plan\.json has format {FORMAT + 1}.*left as it is"):
            act()
    assert store.get("plan.json") == raw


WRONG = {
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
    "emptied": lambda path: os.truncate(path, 0),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "nothing": lambda path: (path.unlink(), path.symlink_to("gone")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_damage_is_set_aside_by_who_writes_and_by_nobody_else(store, tmp_path, wrong, caplog, monkeypatch):
    monkeypatch.setattr("vrecompute.stores.claims._CLAIM_S", 0.2)
    caplog.set_level(logging.INFO, "vrecompute")
    name = content_name("blobs", b"good", ".json")
    document = "sources/x.json"
    write_content(store, name, b"good")
    write_document(store, document, "source", {"x": 1})
    assert intact(store, name)
    aside = SetAside(store)
    aside.begin()
    for path in (tmp_path / name, tmp_path / document):
        WRONG[wrong](path)
    assert not intact(store, name)
    with pytest.raises(StoreError):
        read_content(store, name)
    with pytest.raises(StoreError):
        read_document(store, document, "source", dict)
    assert aside.said() == []
    write_content(store, name, b"good", loud=True)
    write_document(store, document, "source", {"x": 1})
    # of a run's own documents its report tells
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert read_content(store, name) == b"good"
    assert read_document(store, document, "source", dict) == {"x": 1}
    kept = os.listdir(tmp_path / "aside" / "blobs")
    assert len(kept) == len(os.listdir(tmp_path / "aside" / "sources")) == 1
    if wrong != "a folder":
        assert any(kept[0] in said and "was damaged in the store" in said for said in aside.said())
    assert kept[0] in caplog.text


def test_content_that_is_written_again_is_not_hashed_twice_until_it_changes(tmp_path, monkeypatch):
    store = DirStore(tmp_path)
    name = content_name("blobs", b"good")
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, how: hashed.append(how) or digest(file, how))
    for _ in range(3):
        write_content(store, name, b"good")
    assert hashed == ["sha256"]
    (tmp_path / name).write_bytes(b"evil")
    write_content(store, name, b"good")
    assert store.get(name) == b"good"


def test_what_is_too_large_is_not_read(tmp_path):
    store = DirStore(tmp_path)
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(300 << 30)
    with pytest.raises(DamagedObject, match="more than vrecompute writes"):
        read_document(store, "x.json", "plan", dict)


def test_a_large_object_is_hashed_before_it_is_read(tmp_path):
    store = DirStore(tmp_path)
    name = content_name("work/w/parts", b"x", ".zip")
    (tmp_path / name).parent.mkdir(parents=True)
    with (tmp_path / name).open("wb") as file:
        file.truncate(300 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedObject, match="damaged"):
        read_part(store, name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


def part_with(store, **changes):
    """A part of work `w` that proves itself, with something else in its head."""
    name = write_part(store, "w", [PartNode("s", Node(0, 0), Result(events=1))])
    members = unpack(store.get(name))
    members["part.json"] = canonical_json(json.loads(members["part.json"]) | changes)
    data = pack(members)
    name = content_name("work/w/parts", data, ".zip")
    write_content(store, name, data)
    return name


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": [["s", 10**11, 0, "n0/", []]]},
        {"nodes": [["s", 40, 1 << 40, "n0/", []]]},
        {"nodes": [["s", -1, 0, "n0/", []]]},
        {"nodes": [["s", 0, 0.5, "n0/", []]]},
        {"nodes": [["s", 0, 0, "gone/", []]]},
        {"nodes": [["s", 0, 0, "n0/", [["t", 0, 1]]]]},
        {"nodes": [["s", 0, 0, "n0/", [["../t", 0, 1, "0" * 64, [1, "x", []]]]]]},
        {"nodes": [["s", 0, 0, "n0/", [["t", 0, "../1", "0" * 64, [1, "x", []]]]]]},
        {"nodes": [["s", 0, 0, "n0/", [["t", 0, 1, "../x", [1, "x", []]]]]]},
        {"nodes": None},
        {"work": "v"},
        {"version": FORMAT - 1},
    ],
)
def test_a_part_that_cannot_be_is_damaged(tmp_path, changes):
    store = DirStore(tmp_path)
    with pytest.raises(DamagedObject):
        read_part(store, part_with(store, **changes))


def test_a_node_above_its_tree_is_not_taken(tmp_path):
    source = PlannedSource("f", "s", "ttree", "t", "u", 1, 4, ("x",), (0, 1, 2, 3, 4), {})
    collector = Collector(Plan.of("w", [Sample("s")], [source], 100))
    high = PartNode(source.key, Node(40, 0), Result(events=99))
    assert collector.add([high]) == 0
    assert collector.add([PartNode(source.key, Node(2, 0), Result(events=4))]) == 4
    assert collector.results()["s"].events == 4


def changed(member: str, change):
    """The bytes of a result whose member `member` says something else."""
    histogram = bh.Histogram(bh.axis.Regular(4, 0, 1), bh.axis.StrCategory(["a"]), storage=bh.storage.Weight())
    result = Result(histograms={"h": histogram}, arrays={"a": Array(np.arange(3))}, cutflow={"c": {"x": 1.0}}, events=3)
    members = unpack(write_results({"s": result}))
    if member.endswith(".json"):
        document = json.loads(members[member])
        change(document)
        members[member] = canonical_json(document)
    else:
        members[member] = change(members[member])
    return pack(members)


def header(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


HOSTILE = {
    "bins": lambda: changed("s0/h0.json", lambda d: d["axes"][0].update(bins=10**11)),
    "bins less than none": lambda: changed("s0/h0.json", lambda d: d["axes"][0].update(bins=-1)),
    "a transform": lambda: changed(
        "s0/h0.json",
        lambda d: d["axes"][0].update(
            bins=10**11, writer_info={"boost-histogram": {"transform": "log", "bins": 10**11, "lower": 1, "upper": 2}}
        ),
    ),
    "categories": lambda: changed("s0/h0.json", lambda d: d["axes"][1].update(categories=["a"] * 100)),
    "storage": lambda: changed("s0/h0.json", lambda d: d["storage"].pop("values")),
    "no axes": lambda: changed("s0/h0.json", lambda d: d.update(axes=7)),
    "shape": lambda: changed("s0/a0.npy", lambda d: header(d, b"(3,), }        ", b"(30000000000,),}")[: len(d)]),
    "objects": lambda: changed("s0/a0.npy", lambda d: header(d, b"'<i8'", b"'|O' ")),
    "a cut": lambda: changed("s0/result.json", lambda d: d.update(cutflow=[["c", [["x", "many"]]]])),
    "events": lambda: changed("s0/result.json", lambda d: d.update(events=1.5)),
    "an array": lambda: changed("s0/result.json", lambda d: d["arrays"]["a"].update(path="s0/gone.npy")),
    "samples": lambda: changed("results.json", lambda d: d.update(samples=[1])),
    "a version": lambda: changed("results.json", lambda d: d.update(version=99)),
    "a list": lambda: pack({"results.json": b"[]"}),
    "nesting": lambda: pack({"results.json": b"[" * 100_000}),
    "nothing": lambda: b"",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_result_file_that_cannot_be_is_damaged_and_takes_no_memory(name):
    data = HOSTILE[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedObject):
        read_results(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_compressed_or_doubled_member_is_refused_unread():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("results.json", "w") as member:
        for _ in range(256):
            member.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedObject, match="compressed"):
        unpack(bomb.getvalue())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10
    doubled = io.BytesIO()
    with zipfile.ZipFile(doubled, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    with pytest.raises(DamagedObject, match="larger than the file"):
        unpack(doubled.getvalue())


def test_equal_documents_have_equal_bytes():
    assert sealed("n", "k", {"a": 1, "b": np.float64(2)}) == sealed("n", "k", {"b": 2.0, "a": 1})


def test_the_owner_of_an_object_is_told(store, tmp_path):
    write_content(store, name := content_name("a", b"whole"), b"whole")
    assert store.get_owned(name) == (b"whole", Owner(getpass.getuser(), is_me=True))
    if os.getuid() == 0:
        os.chown(tmp_path / name, 12345, -1)
        assert store.get_owned(name) == (b"whole", Owner("12345", is_me=False))
