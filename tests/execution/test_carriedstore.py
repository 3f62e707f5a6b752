"""The part of a store that goes with a job: what of it is taken back, in which order, and what is not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import write_events
from vrecompute.errors import StoreError
from vrecompute.execution.carriedstore import carried_objects, take_back_objects
from vrecompute.execution.head import read_head
from vrecompute.run import Run
from vrecompute.stores.directory import DirStore

MINE = SimpleNamespace(prefix="runs/mine/", run="mine")


@pytest.fixture
def made(run, tmp_path):
    """A run that has ended."""
    return run(str(write_events(tmp_path / "e.root", events=200)))


class Watched(DirStore):
    """Remembers in which order objects came."""

    def __init__(self, root):
        super().__init__(root)
        self.came = []

    def create(self, name, data):
        self.came.append(name)
        return super().create(name, data)


def objects_of(store):
    return {name: store.get(name) for name in store.names("")}


def test_what_a_run_made_elsewhere_is_the_same_run_here(made, tmp_path):
    there = objects_of(made.store)
    here = Watched(tmp_path / "here")
    made.manifest.write(here)
    for _ in range(2):
        take_back_objects(here, made.manifest, there)
    seen = Run(here, made.manifest, made.analysis)
    assert (seen.status, seen.report().result_sha256) == ("complete", made.report().result_sha256)
    outcomes = [n for n, name in enumerate(here.came) if "/outcomes/" in name]
    parts = [n for n, name in enumerate(here.came) if "/parts/" in name]
    assert max(parts[: len(parts) // 2]) < min(outcomes), "a result is not there before what it was made of"
    assert read_head(here, made.id).said == read_head(made.store, made.id).said


def test_parts_of_the_same_work_go_along_unless_nothing_is_to_be_reused(made, run, tmp_path):
    carried = carried_objects(made.store, made.manifest, made.analysis())
    assert made.manifest.object_name in carried
    assert set(made.manifest.source_files.values()) <= set(carried)
    assert [name for name in carried if "/parts/" in name]
    fresh = run(str(tmp_path / "e.root"), reuse=False)
    assert not [n for n in carried_objects(fresh.store, fresh.manifest, fresh.analysis()) if "/parts/" in n]


NAMES = ["runs/other/manifest.json", "aside/x", "../x", "work/../../x", "work/.tmp", "/work/x", "runs/mine/../x", ""]


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=9), min_size=1))
def test_what_is_not_of_the_run_is_not_taken(tmp_path, brought):
    store = DirStore(tmp_path / "store")
    take_back_objects(store, MINE, brought)
    assert list(tmp_path.rglob("*")) == []


def test_an_object_that_is_there_stays_as_it_is_and_a_name_that_is_none_is_refused(tmp_path):
    store = DirStore(tmp_path / "store")
    store.create("work/w/parts/p", b"first")
    take_back_objects(store, MINE, {"work/w/parts/p": b"second", "work/w/parts/q": b"new"})
    assert (store.get("work/w/parts/p"), store.get("work/w/parts/q")) == (b"first", b"new")
    with pytest.raises(StoreError, match="is not a name"):
        take_back_objects(store, MINE, {"work//p": b""})
