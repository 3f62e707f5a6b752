"""The written specification is true: its reader, as it stands in the document, reads a result without vrecompute."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import boost_histogram as bh
import numpy as np
import pytest

from vrecompute.results.file import write_results
from vrecompute.results.result import Result

DOCUMENT = Path(__file__).parents[2] / "docs" / "result-format.md"


@pytest.mark.checkout
def test_the_reader_of_the_document_reads_a_result_without_vrecompute(tmp_path):
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0]
    histogram = bh.Histogram(
        bh.axis.StrCategory(["nominal"]), bh.axis.Variable(np.linspace(60, 120, 5)), storage=bh.storage.Weight()
    )
    histogram.fill("nominal", [70.0, 91.0, 500.0], weight=[1.0, 2.0, 4.0])
    result = Result(histograms={"z_mumu": histogram}, cutflow={"mumu": {"all": 3.0, "window": 2.0}}, events=3)
    path = tmp_path / "zmumu" / "result"
    path.mkdir(parents=True)
    (path / "result.zip").write_bytes(write_results({"events": result, "other": Result()}))
    blocked = "import sys; sys.modules['vrecompute'] = None\n"
    printed = subprocess.check_output([sys.executable, "-c", blocked + code], text=True, cwd=tmp_path)
    assert printed == "3 {'all': 3.0, 'window': 2.0} 7.0 [ 60. 120.]\n"
    assert len(code.strip().splitlines()) <= 12
