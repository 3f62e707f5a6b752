"""What a physicist gets wrong in an event loop comes back through a whole run as a sentence, and nothing is dropped."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from tests.events import write_events
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.errors import Incomplete

LOOP = """
import numpy as np

from vrecompute import Analysis
from vrecompute.eventloop import declared_columns, run_loop
from vrecompute.kernels.eventloop import EventLoop

loop = EventLoop(pt=np.linspace(20.0, 40.0, 11))


@loop.step
def fill(muon, event, pt, cut):
    cut.mu("events")
    for i in range(len(muon)):
        pt.fill(muon.pt[i], event.weight)


class Loop(Analysis):
    name = "loop"

    def columns(self, source):
        return declared_columns(loop, {"muon": "Muon_{}"}, source)

    def process(self, events):
        return run_loop(loop, events, {"muon": "Muon_{}"})
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def loop(tmp_path):
    """`loop(text, ...)`: the analysis file, with some of its text replaced."""

    def made(*changes: tuple[str, str]) -> str:
        text = LOOP
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "loop.py").write_text(text)
        return str(tmp_path / "loop.py")

    return made


def weighted(path: Path, files: str, weight: str) -> str:
    """A dataset of one sample with a weight column."""
    path.write_text(
        f"schema: 1\nname: d\nsamples:\n  - {{name: mc, unit: GeV, weight: {weight}, files: [{Path(files).name}]}}\n"
    )
    return str(path)


def ended(client, analysis, dataset) -> str:
    run = client.run(analysis, dataset)
    with pytest.raises(Incomplete) as caught:
        run.result(timeout_s=120)
    report = run.report()
    assert report.status == "failed"
    assert report.exit_code == 4
    assert report.failures
    assert report.failures[0].reason in str(caught.value)
    return report.failures[0].reason


def test_a_typing_error_names_line_and_column(client, loop, tmp_path):
    events = write_events(tmp_path / "a.root")
    analysis = loop(("muon.pt[i], event.weight", "muon.pt[i] & 3, event.weight"))
    reason = ended(client, analysis, str(events))
    assert "loop.py:" in reason
    assert "muon.pt (float32)" in reason
    assert "cannot be compiled" in reason
    assert "Traceback" not in reason


def test_a_missing_column_is_named(client, loop, tmp_path):
    events = write_events(tmp_path / "a.root")
    reason = ended(client, loop(("muon.pt[i]", "muon.pT[i]")), str(events))
    assert "Muon_pT" in reason


def test_a_weight_that_is_not_finite_names_its_event(client, loop, tmp_path):
    random = np.random.default_rng(1)
    weight = random.normal(1.0, 0.1, 500)
    weight[321] = np.nan
    counts = random.poisson(1.5, 500)
    with uproot.recreate(tmp_path / "nan.root") as file:
        file.mktree("Events", {"w": "float64", "Muon": "var * {pt: float32}"})
        pt = random.gamma(2.0, 20.0, counts.sum()).astype(np.float32)
        file["Events"].extend({"w": weight, "Muon": ak.zip({"pt": ak.unflatten(pt, counts)})})
    reason = ended(client, loop(), weighted(tmp_path / "d.yaml", str(tmp_path / "nan.root"), "w"))
    assert "weight 'w' is nan in event 321" in reason


def test_momenta_in_another_unit_are_named(client, tmp_path):
    from vrecompute_analyses.dilepton.generate import generate

    made = generate(tmp_path / "sample", 2000, 1, 1)
    dataset = Path(made.dataset)
    text = dataset.read_text()
    assert "unit: GeV" in text
    dataset.write_text(text.replace("unit: GeV", "unit: MeV"))
    reason = ended(client, "dilepton", str(dataset))
    assert "which no sample has: if momenta are in GeV, say so" in reason


def test_values_outside_the_axis_are_kept_in_under_and_overflow(client, loop, tmp_path):
    events = write_events(tmp_path / "a.root")
    pt = ak.flatten(uproot.open(f"{events}:Events")["Muon_pt"].array())
    histogram = client.run(loop(), str(events)).result(timeout_s=120).total.histograms["pt"]
    values = histogram.values(flow=True)[0]
    assert values[0] == np.sum(pt < 20.0) > 0
    assert values[-1] == np.sum(pt >= 40.0) > 0
    assert values.sum() == len(pt)


def test_the_terminal_says_it_in_one_message(loop, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VRECOMPUTE_STORE", str(tmp_path / "store"))
    events = write_events(tmp_path / "a.root")
    with pytest.raises(SystemExit) as code:
        main(["run", loop(("muon.pt[i], event.weight", "muon.pt[i] & 3, event.weight")), str(events), "--workers", "1"])
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert code.value.code == 4
    assert "muon.pt (float32), cannot be compiled:" in " ".join(said.split())
    assert "numba/core" not in said
