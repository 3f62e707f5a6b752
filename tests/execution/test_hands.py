"""Workers that do not reach the store: what they make comes back through Dask, and the Runner writes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.errors import DamagedObject, StoreError, StoreFull, UsageError
from vrecompute.execution.hands import Hands
from vrecompute.sites.model import SiteStore, local_site
from vrecompute.stores.directory import DirStore
from vrecompute.stores.handed import Handed
from vrecompute.stores.objects import content_name

ANALYSIS = """
import json
from vrecompute import Analysis, Parameter, Result

class Handy(Analysis):
    name = "handy"
    parameters = (Parameter("cut_gev", 20.0, "cut"),)

    def resources(self):
        return {"factor": "factor.json"}

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        factor = json.loads(events.resources["factor"].read_text())
        pt = events.flat("Muon_pt")
        pt = pt[pt > self["cut_gev"]].astype(float)
        return Result(
            counters={"sum": factor * float(pt.sum())},
            cutflow={"mu": {"all": len(events), "hard": len(pt)}},
            tables={"muons": {"pt": pt}},
        )
"""


class Elsewhere(DirStore):
    """A folder that only this process knows to be a store: no worker can open its url."""

    full = False

    @property
    def url(self) -> str:
        return "nowhere://but-here"

    def create(self, name, data):
        if self.full and name.startswith("work/"):
            raise StoreFull(f"no space left for {name}")
        return super().create(name, data)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    (folder / "factor.json").write_text("2.5")
    (folder / "handy.py").write_text(ANALYSIS.replace("factor.json", str(folder / "factor.json")))
    for number in range(2):
        write_events(folder / f"{number}.root", 300, number, clusters=3)
    return folder


def start(client, place, **options):
    options = {"chunk_bytes": 1000, "task_chunks": 2, **options}
    return client.run(str(place / "handy.py"), str(place / "*.root"), **options).wait(120)


def site(*, workers_reach: bool):
    return replace(local_site(), store=SiteStore(workers_reach=workers_reach))


@pytest.fixture(scope="module")
def right(place):
    """The bytes of a run whose workers write by themselves, its rows, and names of what is in its store."""
    with Client(workers=1, store=place / "ordinary") as client:
        run = start(client, place)
        assert run.status == "complete", run.report().failures
        names = {n for n in run.store.names("") if n.startswith(("work/", "sources/"))}
        yield run.result().to_bytes(), [p.read_bytes() for p in run.tables("muons")], names


def test_a_run_has_the_same_bytes_and_leaves_the_same_objects(place, right, tmp_path):
    store = Elsewhere(tmp_path / "store")
    with Client(site(workers_reach=False), workers=2, store=store) as client:
        run = start(client, place)
        assert run.status == "complete", run.report().failures
        assert run.result().to_bytes() == right[0]
        assert [p.read_bytes() for p in run.tables("muons")] == right[1]
        assert {n for n in store.names("") if n.startswith(("work/", "sources/"))} == right[2]
        assert start(client, place).report().chunks.reused == run.report().chunks.total
        changed = start(client, place, cut_gev=25.0)
        assert (changed.status, changed.report().chunks.reused) == ("complete", 0)
        with pytest.raises(UsageError, match="workers_reach: false"):
            client.submit(str(place / "handy.py"), str(place / "*.root"))
        store.full = True
        lost = start(client, place, cut_gev=30.0)
        assert (lost.status, lost.report().chunks.computed) == ("failed", 0), "a part is durable before it counts"
        assert "no space left" in lost.report().failures[0].reason
    with Client(site(workers_reach=True), workers=1, store=store) as client:
        assert "nowhere" in start(client, place, reuse=False).report().failures[0].reason


def test_only_what_proves_itself_is_kept_and_where_tasks_write(tmp_path):
    store = DirStore(tmp_path)
    hands = Hands(store, "r")
    name = content_name("work/w/parts", b"part", ".zip")
    assert hands.taken(Handed(7, {name: b"part"})) == 7
    assert store.get(name) == b"part"
    assert hands.taken(8) == 8
    for put, error in (
        ({"runs/r/manifest.json": b"{}"}, StoreError),
        ({name: b"other"}, DamagedObject),
        ({"work/w/../x": b"x"}, StoreError),
        ({"sources/x.json": json.dumps([1]).encode()}, DamagedObject),
    ):
        with pytest.raises(error):
            hands.taken(Handed(None, put))
    assert list(store.names("")) == [name]
