"""The written specification is true: its reader, as it stands in the document, reads a result without vrecompute."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import boost_histogram as bh
import numpy as np
import pytest
import uproot

from vrecompute.digest import canonical_json
from vrecompute.errors import DamagedObject
from vrecompute.results.file import Completeness, pack, unpack, write_results
from vrecompute.results.result import Result
from vrecompute.results.results import Results

DOCUMENT = Path(__file__).parents[2] / "docs" / "result-format.md"


PART = Completeness("partial", 3, 9, "3 of 9 events (33 %)")


@pytest.mark.checkout
@pytest.mark.parametrize("completeness", [None, PART])
def test_the_reader_of_the_document_reads_a_result_without_vrecompute(tmp_path, completeness):
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0]
    histogram = bh.Histogram(
        bh.axis.StrCategory(["nominal"]), bh.axis.Variable(np.linspace(60, 120, 5)), storage=bh.storage.Weight()
    )
    histogram.fill("nominal", [70.0, 91.0, 500.0], weight=[1.0, 2.0, 4.0])
    result = Result(histograms={"mass": histogram}, cutflow={"mumu": {"all": 3.0, "window": 2.0}}, events=3)
    path = tmp_path / "zmumu" / "result"
    path.mkdir(parents=True)
    (path / "result.zip").write_bytes(write_results({"generated": result, "other": Result()}, completeness))
    blocked = "import sys; sys.modules['vrecompute'] = None\n"
    printed = subprocess.check_output([sys.executable, "-c", blocked + code], text=True, cwd=tmp_path)
    said = None if completeness is None else str(dict(sorted(asdict(PART).items())))
    assert printed == f"{said} 3 {{'all': 3.0, 'window': 2.0}} 7.0 [ 60. 120.]\n"
    assert len(code.strip().splitlines()) <= 20


def test_results_of_a_run_that_is_not_complete_say_so_wherever_they_are_opened(tmp_path):
    results = {"s": Result(events=3, histograms={"h": bh.Histogram(bh.axis.Regular(2, 0, 1))})}
    whole, part = write_results(results), write_results(results, PART)
    assert write_results(results, Completeness("complete", 3, 3, "3 of 3 events (100 %)")) == whole != part
    assert Results.from_bytes(whole).incomplete is None
    opened = Results.from_bytes(part)
    assert (opened.incomplete, opened.to_bytes()) == (PART, part)
    assert repr(opened).startswith("Results(partial, 3 of 9 events (33 %); s: 3 events")
    for name, file in (("whole", Results.from_bytes(whole)), ("part", opened)):
        file.to_root(tmp_path / f"{name}.root")
    with uproot.open(tmp_path / "whole.root") as whole_root, uproot.open(tmp_path / "part.root") as part_root:
        assert str(part_root["incomplete"]) == "partial: 3 of 9 events (33 %)"
        assert {*part_root.keys(cycle=False)} - {*whole_root.keys(cycle=False)} == {"incomplete"}


@pytest.mark.parametrize("said", [None, {}, {**asdict(PART), "events_seen": "3"}, []])
def test_a_file_that_does_not_say_how_incomplete_it_is_is_damaged(said):
    members = unpack(write_results({"s": Result()}))
    head = {"format": "vrecompute-results", "version": 2, "samples": {"s": "s0/"}, "completeness": said}
    with pytest.raises(DamagedObject, match="does not say how complete it is"):
        Results.from_bytes(pack(members | {"results.json": canonical_json(head)}))
