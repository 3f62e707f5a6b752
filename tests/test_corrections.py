"""A correctionlib payload as a resource: delivered to workers, applied column-wise, part of the key of every chunk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client

EDGES = [0.0, 20.0, 50.0, 1000.0]

CORRECTED = """
import correctionlib
import numpy as np

from vrecompute import Analysis, Result


class Corrected(Analysis):
    name = "corrected"
    dependencies = ("correctionlib",)

    def columns(self, source):
        return ["Muon_pt"]

    def resources(self):
        return {"scale_factors": PAYLOAD}

    def process(self, events):
        factors = correctionlib.CorrectionSet.from_file(str(events.resources["scale_factors"]))["muon_id"]
        pt = events.flat("Muon_pt").astype(float)
        return Result(counters={"muons": float(len(pt)), "corrected": float(np.sum(factors.evaluate(pt)))})
"""


def payload(path: Path, values: list[float]) -> Path:
    """Scale factors in bins of pT, in correctionlib's JSON schema 2."""
    content = {"nodetype": "binning", "input": "pt", "edges": EDGES, "content": values, "flow": "clamp"}
    correction = {
        "name": "muon_id",
        "version": 1,
        "inputs": [{"name": "pt", "type": "real"}],
        "output": {"name": "factor", "type": "real"},
        "data": content,
    }
    path.write_text(json.dumps({"schema_version": 2, "corrections": [correction]}))
    return path


def test_corrections_are_applied_on_workers_and_a_new_payload_recomputes(tmp_path):
    pytest.importorskip("correctionlib", reason="pip install 'vrecompute[corrections]'")
    import uproot

    events = write_events(tmp_path / "a.root")
    pt = np.concatenate([np.asarray(x) for x in uproot.open(f"{events}:Events")["Muon_pt"].array(library="np")])
    factors = payload(tmp_path / "scale_factors.json", [0.9, 1.0, 1.1])
    analysis = tmp_path / "corrected.py"
    analysis.write_text(CORRECTED.replace("PAYLOAD", repr(str(factors))))
    with Client(workers=1, store=tmp_path / "store") as client:
        # A file's suffix travels with it: correctionlib knows formats by nothing else.
        first = client.run(str(analysis), str(events)).result(timeout_s=60).total.counters
        assert first["muons"] == len(pt)
        expected = np.array([0.9, 1.0, 1.1])[np.digitize(pt, EDGES[1:-1])].sum()
        assert first["corrected"] == pytest.approx(expected, rel=1e-12)
        assert client.run(str(analysis), str(events)).report(timeout_s=60).chunks.computed == 0
        payload(factors, [1.0, 1.0, 1.0])
        second = client.run(str(analysis), str(events))
        assert second.result(timeout_s=60).total.counters["corrected"] == len(pt)
        assert second.report().chunks.reused == 0
