"""The example of docs/event-loops.md runs, on real data too."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.reader import inspect, read

pytestmark = pytest.mark.checkout
DOCUMENT = Path(__file__).parent.parent / "docs" / "event-loops.md"


@pytest.fixture
def example(tmp_path):
    """The module of the document's example."""
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    path = tmp_path / "zmumu_loop.py"
    path.write_text(found.group(1))
    spec = importlib.util.spec_from_file_location("zmumu_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zmumu_loop"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["zmumu_loop"]


@pytest.mark.data
def test_the_example_finds_the_muons_of_real_data(example, data_file):
    path = str(data_file("hep_root/cms2011A_Zmumu.root"))
    facts = inspect(path, None)
    sample = Sample("data", is_data=True)
    analysis = example.ZmumuLoop()
    columns = analysis.columns(SourceView(sample, facts.available, facts.tree, path))
    events = Columns(
        read(path, facts.tree, columns, 0, facts.entries), sample, 0, facts.entries, analysis.variations(sample)
    )
    result = analysis.process(events)
    assert result.cutflow == {"mumu": {"events": 10583.0, "two_muons": 10583.0, "opposite_sign": 10227.0}}
    values = result.histograms["mass"].values(flow=True)
    assert values[:3].sum(axis=1).tolist() == [10227.0] * 3
    peak = [int(row[1:-1].argmax()) for row in values[:3]]
    assert 85 <= 60 + peak[0] * 0.5 <= 95
