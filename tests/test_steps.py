"""An analysis in steps: the result of a step is a resource of the next, and part of its key."""

from __future__ import annotations

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.workforce import Workforce

STEPS = """
from pathlib import Path

import numpy as np

from vrecompute import Analysis, Array, Parameter, Result, Results


class Centred(Analysis):
    '''First the mean of pt, then the sum of squares around it.'''

    name = "centred"
    steps = ("mean", "spread")
    parameters = (Parameter("power", 2.0, "of the distance"),)
    step = ""

    def at_step(self, step):
        made = type(self)(**self.values)
        made.step = step
        return made

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        pt = events.flat("Muon_pt").astype(float)
        if self.step == "mean":
            return Result(arrays={"moments": Array(np.array([pt.sum(), len(pt)]))})
        before = Results.from_bytes(Path(events.resources["mean"]).read_bytes())["events"].arrays["moments"].values
        return Result(arrays={"spread": Array(np.array([np.sum(np.abs(pt - before[0] / before[1]) ** self["power"])]))})
"""


@pytest.fixture
def client(tmp_path):
    with Client(workers=2, store=tmp_path / "store") as made:
        yield made


def test_a_step_reads_the_result_of_the_one_before(client, tmp_path):
    import numpy as np
    import uproot

    (tmp_path / "centred.py").write_text(STEPS)
    file = write_events(tmp_path / "a.root")
    run = client.run(str(tmp_path / "centred.py"), str(file), chunk_bytes=1500)
    spread = run.result(timeout_s=60)["events"].arrays["spread"].values[0]
    pt = uproot.open(file)["Events/Muon_pt"].array(library="ak").layout.content.data.astype(float)
    assert spread == pytest.approx(np.sum((pt - pt.mean()) ** 2), rel=1e-12)
    report = run.report()
    assert (report.status, report.events.seen, report.events.expected) == ("complete", 1000, 1000)
    assert (report.chunks.total, report.chunks.computed) == (40, 40)

    again = client.run(str(tmp_path / "centred.py"), str(file), chunk_bytes=1500)
    assert again.report(timeout_s=60).chunks.computed == 0
    assert again.result().to_bytes() == run.result().to_bytes()

    other = write_events(tmp_path / "b.root", seed=1)
    both = client.run(str(tmp_path / "centred.py"), [str(file), str(other)], chunk_bytes=1500)
    # the mean moved: of the first step only the new file is computed, of the second everything
    chunks = both.report(timeout_s=60).chunks
    assert (chunks.reused, chunks.computed) == (20, 60)


def test_workers_stay_until_the_last_step(client, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Workforce, "needed", lambda control, run, chunks: told.append(chunks))
    (tmp_path / "centred.py").write_text(STEPS)
    file = write_events(tmp_path / "a.root")
    run = client.run(str(tmp_path / "centred.py"), str(file), chunk_bytes=1500)
    assert run.report(timeout_s=60).status == "complete"
    assert told == [20, 20, 0]
