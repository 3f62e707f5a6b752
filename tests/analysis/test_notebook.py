"""Analyses and event loops defined in cells of a real Jupyter kernel: they work, and their edits are seen."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import uproot

from tests.events import write_events

manager = pytest.importorskip("jupyter_client.manager", reason="a kernel needs vrecompute[test]")
pytest.importorskip("ipykernel", reason="a kernel needs vrecompute[test]")

ANALYSIS = """
class Muons(Analysis):
    name = "muons"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        pt = events.flat("Muon_pt")
        return Result(counters={"selected": int(np.sum(select(pt))), "module": int(np.sum(pt > mine.CUT_GEV))})
"""
LOOP = """
from vrecompute.eventloop import declared_columns, run_loop
from vrecompute.kernels.eventloop import EventLoop

loop = EventLoop(pt=np.linspace(0.0, 400.0, 11))

@loop.step
def fill(muon, event, pt, cut):
    cut.mu("events")
    for i in range(len(muon)):
        if muon.pt[i] > 20.0:
            pt.fill(muon.pt[i], event.weight)
"""
LOOP_ANALYSIS = """
class Loop(Analysis):
    name = "loop"
    def columns(self, source):
        return declared_columns(loop, {"muon": "Muon_{}"}, source)
    def process(self, events):
        return run_loop(loop, events, {"muon": "Muon_{}"})
"""
RUN = """
run = client.run(Muons, FILE)
print(run.result()["events"].counters["selected"], run.result()["events"].counters["module"],
      run.report().chunks.reused, len(run.report().warnings))
"""
RUN_LOOP = """
run = client.run(Loop, FILE)
print(run.result()["events"].histograms["pt"].sum(flow=True).value, run.report().chunks.reused)
"""


DIGITS = """
class Digits(Analysis):
    name = "digits"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters={"digits": decimal.getcontext().prec, "behavior": "mine" in behavior})
"""
RUN_DIGITS = """
run = client.run(Digits, FILE)
counters = run.result()["events"].counters
print(counters["digits"], int(counters["behavior"]), run.report().chunks.reused)
"""


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """`cell(text)`: what a cell of a kernel printed; its errors fail the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    kernel = manager.KernelManager(transport="ipc", ip=str(tmp_path / "k"))
    kernel.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.start_kernel()
    client = kernel.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)

        def run(text: str) -> str:
            printed: list[str] = []

            def output(message) -> None:
                content = message["content"]
                if message["msg_type"] == "stream" and content["name"] == "stdout":
                    printed.append(content["text"])
                assert message["msg_type"] != "error", "\n".join(content["traceback"])

            client.execute_interactive(text, timeout=240, output_hook=output)
            return "".join(printed).strip()

        yield run
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_cells_that_are_run_again_after_an_edit_give_the_new_numbers(cell, tmp_path):
    file = write_events(tmp_path / "e.root", 300, clusters=1)
    pt = np.concatenate(uproot.open(f"{file}:Events")["Muon_pt"].array(library="np"))
    n = {cut: int((pt > cut).sum()) for cut in (20.0, 30.0, 40.0, 60.0)}
    (tmp_path / "mine.py").write_text("CUT_GEV = 20.0\n")
    cell("%config InlineBackend.figure_format = 'svg'\nimport numpy as np, mine\nfrom vrecompute import *")
    cell(f"client = Client(workers=1, threads=1, store={str(tmp_path / 'store')!r}); FILE = {str(file)!r}")
    cell("def select(pt):\n    return pt > 20.0")
    cell(ANALYSIS)
    assert cell(RUN) == f"{n[20.0]} {n[20.0]} 0 0"
    assert cell(RUN) == f"{n[20.0]} {n[20.0]} 1 0"
    cell("def select(pt):\n    return pt > 40.0")
    assert cell(RUN) == f"{n[40.0]} {n[20.0]} 0 0"
    cell("# as before\ndef select(pt):\n    return (pt > 20.0)")
    assert cell(RUN) == f"{n[20.0]} {n[20.0]} 1 0"
    cell("mine.CUT_GEV = 60.0")
    assert cell(RUN) == f"{n[20.0]} {n[60.0]} 0 0"
    (tmp_path / "mine.py").write_text("CUT_GEV = 30.0\n")
    cell("import importlib; importlib.reload(mine);")
    assert cell(RUN) == f"{n[20.0]} {n[30.0]} 0 0"
    # Whatever follows in the notebook, a run has the code of its own time.
    cell("slow = client.run(Muons, FILE, reuse=False)\nmine.CUT_GEV = 60.0\ndef select(pt):\n    return pt > 60.0")
    assert cell("print(*map(slow.result()['events'].counters.get, ('selected', 'module')))") == f"{n[20.0]} {n[30.0]}"

    cell(LOOP)
    cell(LOOP_ANALYSIS)
    assert cell(RUN_LOOP) == f"{n[20.0]:.1f} 0"
    cell(LOOP.replace("> 20.0", "> 40.0"))
    assert cell(RUN_LOOP) == f"{n[40.0]:.1f} 0"
    cell("import decimal\nfrom awkward import behavior")
    cell(DIGITS)
    assert cell(RUN_DIGITS) == "28 0 0"
    cell("decimal.getcontext().prec = 50")
    cell("behavior['mine'] = Analysis")
    assert cell(RUN_DIGITS) == "50 1 0"
    cell("behavior['mine'] = Analysis")
    assert cell(RUN_DIGITS) == "50 1 1"
    said = cell(
        "import math\ntry:\n    for math.e in (2, 3):\n        client.run(Digits, FILE)\n"
        "except Exception as error:\n    print(error)"
    )
    assert said.startswith("the notebook:3 changes math.e inside the `try` block of line 2, which is still running")
    cell("math.e = 3")
    assert cell(RUN_DIGITS) == "50 1 0"
    said = cell("try:\n    client.submit(Muons, FILE)\nexcept Exception as error:\n    print(error)")
    assert "save it as FILE.py and submit that" in said
    cell("client.close()")


OLD_OBJECT = """
class Cut:
    def gev(self):
        return 20.0
    @property
    def more(self):
        return 0.0
"""
NEW_OBJECT = """
class Cut:
    def gev(self):
        return self.base() + 10.0
    def base(self):
        return 20.0
    @property
    def more(self):
        return 10.0
"""
RUN_MAP = """
run = client.map(count, FILE, columns=["Muon_pt"])
print(run.result()["events"].counters["value"], run.report().chunks.reused, len(run.report().warnings))
"""


def test_what_autoreload_changed_in_objects_of_before_is_run(cell, tmp_path):
    file = write_events(tmp_path / "e.root", 300, clusters=1)
    pt = np.concatenate(uproot.open(f"{file}:Events")["Muon_pt"].array(library="np"))
    n = {cut: int((pt > cut).sum()) for cut in (20.0, 30.0, 40.0)}
    (tmp_path / "mine.py").write_text(OLD_OBJECT)
    cell("%load_ext autoreload\n%autoreload 2\nimport awkward as ak, mine\nfrom vrecompute import Client")
    cell(f"client = Client(workers=1, threads=1, store={str(tmp_path / 'store')!r}); FILE = {str(file)!r}")
    cell("cut = mine.Cut()\ndef count(events):\n    return int(ak.sum(events.Muon_pt > cut.gev() + cut.more))")
    assert cell(RUN_MAP) == f"{n[20.0]} 0 0"
    (tmp_path / "mine.py").write_text(NEW_OBJECT)
    assert cell(RUN_MAP) == f"{n[40.0]} 0 0"
    assert cell(RUN_MAP) == f"{n[40.0]} 1 0"


def test_a_cell_with_a_vectorized_function_is_run_again(cell, tmp_path):
    file = write_events(tmp_path / "e.root", 300, clusters=1)
    pt = np.concatenate(uproot.open(f"{file}:Events")["Muon_pt"].array(library="np"))
    n = {cut: int((pt > cut).sum()) for cut in (20.0, 30.0)}
    compiled = "@numba.vectorize\ndef passes(pt):\n    return pt > CUT"
    cell("import awkward as ak, numba\nfrom vrecompute import Client\nCUT = 20.0")
    cell(f"client = Client(workers=1, threads=1, store={str(tmp_path / 'store')!r}); FILE = {str(file)!r}")
    cell(f"{compiled}\ndef count(events):\n    return int(passes(ak.to_numpy(ak.flatten(events.Muon_pt))).sum())")
    assert cell(RUN_MAP) == f"{n[20.0]} 0 0"
    cell(compiled)
    assert cell(RUN_MAP) == f"{n[20.0]} 1 0"
    cell(f"CUT = 30.0\n{compiled}")
    assert cell(RUN_MAP) == f"{n[30.0]} 0 0"


COUNT = """
try:
    run = client.map(count, FILE, columns=["run"])
    print(run.result(timeout_s=100, show_progress=False).total.counters["value"])
except Exception as error:
    print(error)
"""


def test_a_behavior_whose_class_was_defined_anew_is_said_with_the_cell_to_run_again(cell, tmp_path):
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    cell("import awkward as ak\nfrom vrecompute import *")
    cell(f"client = Client(workers=1, threads=1, store={str(tmp_path / 'store')!r}); FILE = {str(file)!r}")
    vector = "class PV(ak.Array):\n    @property\n    def cut(self):\n        return {}"
    cell(vector.format(1))
    cell("ak.behavior['*', 'PV'] = PV")
    cell("def count(events):\n    return {'value': 7}")
    assert cell(COUNT) == "7"
    cell(vector.format(2))
    said = cell(COUNT)
    assert "changes ak.behavior" in said
    assert "which line 1 defines anew, so workers cannot repeat it; write it once more, below that" in said
    cell("ak.behavior['*', 'PV'] = PV")
    assert cell(COUNT) == "7"
    cell("client.close()")


def test_the_place_of_a_read_is_that_of_a_notebook_cell(cell, tmp_path):
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    cell("import os\nfrom vrecompute import *")
    cell(f"client = Client(workers=1, threads=1, store={str(tmp_path / 'store')!r}); FILE = {str(file)!r}")
    cell("def count(events):\n    return {'value': len(os.environ.get('QC', ''))}")
    cell(COUNT)
    assert " at notebook cell:2, inside process" in cell("print(run.report().warnings)")
    cell("client.close()")
