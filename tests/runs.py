"""A run of data, two backgrounds and a signal with variations, as a user would have it, for figures and fits."""

from __future__ import annotations

from pathlib import Path

from tests.events import write_events
from vrecompute import Client
from vrecompute.run import Run

__all__ = ["STACK_ANALYSIS", "stack_dataset", "stack_run"]

STACK_ANALYSIS = """
import boost_histogram as bh

from vrecompute import Analysis, Parameter, PlotOptions, Result


class Spectrum(Analysis):
    name = "spectrum"
    title = "Muon spectrum"
    parameters = (Parameter("pt_min_gev", 10.0, "cut"),)
    plot_options = PlotOptions(signals=["sig"], labels={"dy": "Drell-Yan"})

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        pt = events.flat("Muon_pt").astype(float)
        shifts = {"nominal": 1.0}
        if not events.sample.is_data:
            shifts |= {"scale_up": 1.03, "scale_down": 0.97}
        axis = bh.axis.Regular(9, 10, 100, metadata="$p_T$ [GeV]")
        histogram = bh.Histogram(bh.axis.StrCategory(list(shifts)), axis, storage=bh.storage.Weight())
        for name, shift in shifts.items():
            histogram.fill(name, (pt * shift)[pt * shift > self["pt_min_gev"]])
        cuts = {"mu": {"all": float(len(events)), "pt": float((pt > self["pt_min_gev"]).sum())}}
        return Result(histograms={"pt": histogram}, cutflow=cuts)
"""

_DATASET = """
schema: 1
name: spectra
luminosity_ifb: 2
samples:
  - {name: data, is_data: true, files: [data.root]}
  - {name: dy, cross_section_pb: 0.35, files: [dy.root]}
  - {name: tt, cross_section_pb: 0.12, files: [tt.root]}
  - {name: sig, cross_section_pb: 0.05, files: [sig.root]}
"""


def stack_dataset(folder: Path) -> Path:
    """`spectrum.py` and `spectra.yaml` in `folder`, with its files; the path of the latter."""
    for seed, (name, events) in enumerate({"data": 1000, "dy": 1500, "tt": 800, "sig": 600}.items()):
        write_events(folder / f"{name}.root", events, seed, clusters=2)
    (folder / "spectrum.py").write_text(STACK_ANALYSIS)
    (folder / "spectra.yaml").write_text(_DATASET)
    return folder / "spectra.yaml"


def stack_run(client: Client, folder: Path) -> Run:
    """A complete run over `stack_dataset`."""
    dataset = stack_dataset(folder)
    run = client.run(str(dataset.parent / "spectrum.py"), str(dataset))
    assert run.report(timeout_s=120).status == "complete"
    return run
