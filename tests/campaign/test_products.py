"""Products: a version is whole before it is the current one, wherever publishing stops, in a folder and in a bucket."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute.campaign.productbucket import ProductBucket
from vrecompute.campaign.productfolder import ProductFolder
from vrecompute.campaign.products import FACTS
from vrecompute.errors import StoreError
from vrecompute.stores.directory import DirStore

UNIT = "sums/photons"


class Stops(DirStore):
    """A store whose change number `at` is not made, and none after it."""

    def __init__(self, root, at):
        super().__init__(root)
        self.left = at

    def _change(self):
        self.left -= 1
        if self.left < 0:
            raise StoreError("the process is gone")

    def create(self, name, data):
        self._change()
        return super().create(name, data)

    def put_file(self, name, path):
        self._change()
        return super().put_file(name, path)

    def replace(self, name, data):
        self._change()
        super().replace(name, data)

    def delete(self, name):
        self._change()
        super().delete(name)


@pytest.fixture(scope="module")
def runs(client, tmp_path_factory):
    """Two runs that ended, with other numbers."""
    folder = tmp_path_factory.mktemp("sums")
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    files = [str(write_events(folder / f"{seed}.root", 100, seed)) for seed in range(2)]
    both = [client.run(str(folder / "sums.py"), file) for file in files]
    for run in both:
        run.result(timeout_s=300)
    return both


def whole(root):
    """The version that a reader finds, after looking that all of it is there; None where there is none."""
    store = DirStore(root)
    if not store.exists(f"{UNIT}/current.json"):
        return None
    current = json.loads(store.get(f"{UNIT}/current.json"))
    facts = json.loads(store.get(f"{current['prefix']}/{FACTS}"))
    for name, sha256 in facts["files"].items():
        assert hashlib.sha256(store.get(f"{current['prefix']}/{name}")).hexdigest() == sha256
    assert "result/result.zip" in facts["files"]
    return current["version"]


def nothing():
    pass


def test_a_bucket_shows_whole_versions_wherever_publishing_stops(runs, tmp_path):
    first, second = runs
    at, finished = 0, False
    while not finished:
        root = tmp_path / str(at)
        ProductBucket(DirStore(root)).publish(UNIT, first, {"run": first.id}, nothing)
        try:
            ProductBucket(Stops(root, at)).publish(UNIT, second, {"run": second.id}, nothing)
            finished = True
        except StoreError:
            assert whole(root) == first.id
        # what was left is completed, and once more changes nothing
        for _ in range(2):
            ProductBucket(DirStore(root)).publish(UNIT, second, {"run": second.id}, nothing)
            assert whole(root) == second.id
        at += 1
    assert at > 5


def test_what_a_killed_writer_left_that_is_another_is_replaced(runs, tmp_path):
    run, store = runs[0], DirStore(tmp_path)
    store.create(f"{UNIT}/versions/{run.id}/report.json", b"half of")
    ProductBucket(store).publish(UNIT, run, {"run": run.id}, nothing)
    assert whole(tmp_path) == run.id


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_versions_go_but_for_the_current_one_and_what_is_kept(runs, tmp_path, kind):
    products = ProductFolder(tmp_path) if kind == "folder" else ProductBucket(DirStore(tmp_path))
    assert (products.current(UNIT), products.versions(UNIT)) == (None, [])
    first, second = (run.id for run in runs)
    for run in runs:
        products.publish(UNIT, run, {"run": run.id}, nothing)
    assert (products.current(UNIT), products.versions(UNIT)) == (second, [first, second])
    assert products.result_sha256(UNIT, first) == runs[0].report().result_sha256
    assert products.prune(UNIT, 2, ()) == []
    assert products.prune(UNIT, 1, {first}) == []
    assert products.prune(UNIT, 1, ()) == [first]
    assert products.versions(UNIT) == [second]
    assert products.result_sha256(UNIT, first) is None
    assert products.prune(UNIT, 1, ()) == []


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_one_that_may_not_publish_any_more_does_not(runs, tmp_path, kind):
    products = ProductFolder(tmp_path) if kind == "folder" else ProductBucket(DirStore(tmp_path))
    products.publish(UNIT, runs[0], {}, nothing)

    def lost():
        raise StoreError("taken over")

    with pytest.raises(StoreError, match="taken over"):
        products.publish(UNIT, runs[1], {}, lost)
    assert products.current(UNIT) == runs[0].id
