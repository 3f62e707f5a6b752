"""What there is to read of a file, in Python and on the command line; and resources beside an analysis' file."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.events import write_events
from vrecompute import Client
from vrecompute.cli import cli
from vrecompute.errors import MissingTree, UsageError
from vrecompute.reader import inspect

pytestmark = pytest.mark.usefixtures("lent_workers")

RESOURCE = """
from vrecompute import Analysis, Result


class Scale(Analysis):
    name = "scale"

    def resources(self):
        return {"factor": "factor.txt"}

    def columns(self, source):
        return ["weight"]

    def process(self, events):
        return Result(counters={"sum": float(events.resources["factor"].read_text()) * len(events)})
"""


@pytest.fixture
def file(tmp_path):
    return str(write_events(tmp_path / "a<b>.root", 500))


def test_columns_have_names_types_and_sizes(file):
    found = Client().columns(file)
    facts = inspect(file)
    assert found.names == list(facts.available)
    assert (found.tree, found.entries, found.of) == ("Events", 500, 1)
    (weight,) = (c for c in found.columns if c.name == "weight")
    stored = facts.stored["weight"]
    assert weight == ("weight", "double", stored.uncompressed_bytes, stored.compressed_bytes)
    assert weight.memory_bytes >= 4000
    assert "weight" in str(found)
    assert "tree Events, 500 events" in str(found)
    assert "a&lt;b&gt;.root" in found._repr_html_()
    assert Client().columns([file, file], match="Muon_*").names == ["Muon_pt"]
    assert Client().columns([file, file]).of == 2
    with pytest.raises(UsageError, match="no column of 'Events' matches 'muon'"):
        Client().columns(file, match="muon")
    with pytest.raises(MissingTree):
        Client().columns(file, tree="nominal")
    with pytest.raises(MissingTree):
        Client().columns({file: "nominal"})


def test_the_command_prints_the_same(file):
    done = CliRunner().invoke(cli, ["columns", file, "--match", "w*"])
    assert done.output.splitlines()[1].split() == ["COLUMN", "TYPE", "MEMORY", "DISK"]
    assert done.output.splitlines()[2].split()[:2] == ["weight", "double"]
    told = json.loads(CliRunner().invoke(cli, ["columns", file, "--json"]).output)
    assert told == Client().columns(file).to_data()


def test_a_resource_lies_beside_the_file_of_its_analysis(file, tmp_path, monkeypatch):
    for place, factor in (("analysis", 2), ("here", 3)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "factor.txt").write_text(str(factor))
    (tmp_path / "analysis" / "scale.py").write_text(RESOURCE)
    monkeypatch.chdir(tmp_path / "here")
    with Client(workers=1, store=tmp_path / "store") as client:
        assert client.run("../analysis/scale.py", file).result()["events"].counters["sum"] == 1000
        (tmp_path / "analysis" / "factor.txt").unlink()
        assert client.run("../analysis/scale.py", file).result()["events"].counters["sum"] == 1500
