"""What `explain` says is what the run then does: over cuts, files and half-finished runs, here and behind ssh."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ACCEPTANCE
from tests.events import write_events
from vrecompute import Client
from vrecompute.execution.explain import Explanation
from vrecompute.sites.model import Site, SiteAccess, Ssh
from vrecompute.stores.remote import AccessStore

pytestmark = pytest.mark.usefixtures("lent_workers")

ANALYSIS = """
import numpy as np
from vrecompute import Analysis, Parameter, Result

class Cuts(Analysis):
    name = "cuts"
    parameters = (Parameter("pt_min_gev", 10.0, "cut"), Parameter("weighs", False, "reads weights"))

    def columns(self, source):
        return ["Muon_pt", *(["weight"] if self["weighs"] else [])]

    def process(self, events):
        pt = events.flat("Muon_pt")
        return Result(cutflow={"mu": {"all": len(events), "pt": int(np.sum(pt > self["pt_min_gev"]))}})
"""
# Odd on purpose: shares of a file's bytes that are no whole numbers.
EVENTS, CLUSTERS, CHUNK_BYTES = 331, 7, 900
NAMES = ("a.root", "b.root", "c.root")


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    return [write_events(folder / f"{n}.root", EVENTS, n, clusters=CLUSTERS) for n in range(4)]


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    """A stand-in for ssh, whose other side is a shell here that has another home folder."""
    folder = tmp_path_factory.mktemp("bin")
    home = tmp_path_factory.getbasetemp()
    (folder / "ssh").write_text(f'#!/bin/sh\nfor command; do :; done\ncd {home} && exec sh -c "$command"\n')
    (folder / "ssh").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield Site(name="far", backend="slurm", access=SiteAccess(ssh=Ssh(host="login", multiplex=False)))


class World:
    """Some files and a store; `knows` are the files, by stamp and columns, that a run has opened."""

    def __init__(self, folder: Path, originals: list[Path], dask, far: Site) -> None:
        self.folder, self.originals = folder, originals
        (folder / "cuts.py").write_text(ANALYSIS)
        for number in range(2):
            self.put(number, NAMES[number])
        self.here = Client(dask=dask, store=folder / "store")
        self.far = Client(far, store=str(folder / "store"))
        self.knows: set[tuple[object, ...]] = set()

    def put(self, number: int, name: str) -> None:
        shutil.copyfile(self.originals[number], self.folder / name)

    def touch(self, name: str) -> None:
        if (self.folder / name).exists():
            os.utime(self.folder / name)

    def cut(self, name: str) -> None:
        if (self.folder / name).exists():
            os.truncate(self.folder / name, 3000)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def lose(self, number: int) -> None:
        """As a run that was killed: every `number`-th part was never written."""
        for part in sorted(self.folder.glob("store/work/*/parts/*.zip"))[::number]:
            part.unlink()

    def compare(self, files, **options) -> Explanation:
        """`explain`, there too, and the run."""
        paths = [str(self.folder / name) for name in files]
        asked = (str(self.folder / "cuts.py"), paths)
        options |= {"chunk_bytes": CHUNK_BYTES}
        known = self.here.explain(*asked, **options)
        if self.far is not None:
            assert isinstance(self.far.store, AccessStore)
            same = {"script": "", "threads": 0, "seconds": None, "memory_bytes": 0}
            assert replace(self.far.explain(*asked, **options), **same) == replace(known, **same)
        stamps = {
            path: (path, options["weighs"], s.st_ino, s.st_mtime_ns, s.st_ctime_ns)
            for path in paths
            if os.path.exists(path)
            for s in [os.stat(path)]
        }
        report = self.here.run(*asked, task_chunks=2, **options).wait(120).report()
        agrees(known, report)
        whole = {path for path in stamps if os.path.getsize(path) > 3000}
        never = len(paths) - sum(stamps.get(path) in self.knows for path in paths)
        assert known.sources_unknown >= never
        if len({os.path.getsize(path) for path in whole}) == len(whole):  # and no two may be copies of one
            assert known.sources_unknown == never
        self.knows |= {stamps[path] for path in whole}
        return known


def agrees(known: Explanation, report) -> None:
    """The numbers of a run are those that were told, or as far from them as was told."""
    chunks, failed = report.chunks, [f for f in report.failures if f.chunk is None]
    if known.stops:
        assert (known.chunks_new, known.disk_bytes, chunks.computed, report.bytes) == (0, 0, 0, 0)
        assert report.status == "failed"
    if known.sources_unknown:
        return
    assert len(failed) == len(known.bad)
    if known.stops:
        return
    assert (chunks.total, report.events.expected) == (known.chunks, known.events)
    assert known.chunks_new - known.chunks_in_doubt <= chunks.computed <= known.chunks_new
    if not known.chunks_in_doubt:
        assert (chunks.computed, chunks.reused) == (known.chunks_new, known.chunks_stored)
        assert report.bytes == known.disk_bytes


names = st.sampled_from(NAMES)
changes = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), names),
    st.tuples(st.just("touch"), names),
    st.tuples(st.just("cut"), names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("lose"), st.integers(1, 3)),
)
runs = st.fixed_dictionaries(
    {
        "files": st.lists(names, min_size=1, max_size=3, unique=True),
        "pt_min_gev": st.sampled_from([10.0, 12.0]),
        "weighs": st.booleans(),
        "on_bad": st.sampled_from(["skip", "fail"]),
        "max_bad": st.sampled_from([0.4, 1.0]),
        "reuse": st.sampled_from([True, True, False]),
        "allow_duplicates": st.booleans(),
    }
)


@settings(max_examples=60 if ACCEPTANCE else 6)
@given(steps=st.lists(st.tuples(st.lists(changes, max_size=2), runs), min_size=2, max_size=4))
def test_explain_tells_what_the_run_does(steps, tmp_path_factory, originals, dask, ssh):
    world = World(tmp_path_factory.mktemp("world"), originals, dask, ssh)
    try:
        for change, run in steps:
            for what, *given_ in change:
                getattr(world, what)(*given_)
            world.compare(**run)
    finally:
        world.here.close()
        world.far.close()


@pytest.fixture
def world(tmp_path, originals, dask, ssh):
    made = World(tmp_path, originals, dask, ssh)
    yield made
    made.here.close()
    made.far.close()


PLAIN = {"weighs": True, "on_bad": "fail", "max_bad": 1.0, "reuse": True, "allow_duplicates": False}


def test_of_a_half_finished_run_what_is_left_is_told_to_the_byte(world):
    both = NAMES[:2]
    assert world.compare(both, **PLAIN).sources_unknown == 2
    world.lose(2)
    known = world.compare(both, **PLAIN)
    assert known.sources_unknown == 0
    assert 0 < known.chunks_new < known.chunks
    assert known.disk_bytes > 0


def test_what_the_run_compares_first_is_told_as_doubtful(world):
    """A copy that was opened, by a run that ended at another file, while the original's parts are stored."""
    world.compare(["a.root"], **PLAIN)
    world.put(0, "c.root")
    world.put(1, "b.root")
    world.cut("b.root")
    assert world.compare(["c.root", "b.root"], **PLAIN).sources_unknown == 2
    known = world.compare(["c.root"], **PLAIN)
    assert (known.chunks_new, known.chunks_in_doubt) == (known.chunks, known.chunks)
    assert "up to" in str(known)
    assert "less for" in str(known)


def test_what_is_listed_twice_under_two_names_is_known_to_end_the_run(world):
    world.put(0, "c.root")
    pair = ["a.root", "c.root"]
    world.compare(pair, **PLAIN)
    known = world.compare(pair, **PLAIN)
    assert (known.sources_unknown, len(known.bad), known.chunks_new) == (0, 1, 0)
    assert "a run ends at bad sources" in str(known)
    assert world.compare(pair, **PLAIN | {"allow_duplicates": True}).bad == ()


def test_files_behind_ssh_are_looked_at_there_by_any_name(world, tmp_path, tmp_path_factory, monkeypatch):
    for path, relative in itertools.product(("a.root", "b.root"), (False, True)):
        world.compare([path], **PLAIN)
        asked = os.path.relpath(tmp_path / path, tmp_path_factory.getbasetemp() if relative else "/")
        asked = asked if relative else f"/{asked}"
        known = world.far.explain(str(tmp_path / "cuts.py"), asked, chunk_bytes=CHUNK_BYTES, weighs=True)
        assert (known.sources_unknown, known.chunks_stored) == (0, known.chunks)
    monkeypatch.setattr("vrecompute.execution.explain._MOST_THERE", 0)
    unseen = world.far.explain(str(tmp_path / "cuts.py"), asked, chunk_bytes=CHUNK_BYTES, weighs=True)
    assert (unseen.sources_unknown, unseen.chunks) == (1, 0)
    assert "what is in 1 files on ssh login: of more than 0 none is looked at there" in str(unseen)
    monkeypatch.undo()
    gone = world.far.explain(str(tmp_path / "cuts.py"), "/nowhere/a.root", chunk_bytes=CHUNK_BYTES)
    assert gone.sources_unknown == 1
