"""Skims: rows that chunks keep, streamed to Parquet; the same rows however chunks are grouped."""

from __future__ import annotations

import os
import re
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
import uproot

from tests.events import write_events
from vrecompute import Client
from vrecompute.errors import Incomplete, StoreError, UsageError

pytestmark = pytest.mark.usefixtures("lent_workers")

# The example of the documentation, as a user would save it.
DOCUMENT = Path(__file__).parents[2] / "docs" / "column-wise.md"
SKIM = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0].replace("genWeight", "weight")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=2, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def skim(tmp_path) -> Path:
    path = tmp_path / "skim.py"
    path.write_text(SKIM)
    return path


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [write_events(tmp_path / f"{seed}.root", seed=seed) for seed in range(2)]


def test_rows_are_kept_in_order_whatever_the_grouping_and_reused(client, skim, files, tmp_path, monkeypatch):
    rows, bytes_ = [], []
    for size in (1, 3, 7):
        monkeypatch.setattr(client, "_store_given", tmp_path / f"store-{size}")
        run = client.run(str(skim), [str(f) for f in files], chunk_bytes=2500, task_chunks=size)
        total = run.result(timeout_s=120).total
        table = pyarrow.dataset.dataset(run.tables("muons")).to_table()
        assert table.column_names == ["entry", "pt_gev", "weight"]
        assert 0 < len(table) == total.cutflow["mu"]["kept"] == total.summaries["muons"].rows
        assert min(table["pt_gev"].to_pylist()) > 80
        rows.append(table.to_pylist())
        bytes_.append(run.result().to_bytes())
    assert rows[0] == rows[1] == rows[2]
    assert bytes_[0] == bytes_[1] == bytes_[2]

    again = client.run(str(skim), [str(f) for f in files], chunk_bytes=2500)
    assert again.report(timeout_s=60).chunks.computed == 0
    assert pyarrow.dataset.dataset(again.tables("muons")).to_table().to_pylist() == rows[0]
    saved = sorted((again.save(tmp_path / "out") / "result" / "tables" / "muons").glob("*.parquet"))
    assert [row for path in saved for row in pyarrow.parquet.read_table(path).to_pylist()] == rows[0]


def test_a_table_that_is_not_there_is_named(client, skim, files):
    run = client.run(str(skim), [str(files[0])])
    run.wait(60)
    with pytest.raises(UsageError, match=r"no table 'electrons' \(it has: muons\)"):
        run.tables("electrons")


def test_columns_of_different_length_fail_with_their_lengths(client, skim, files):
    skim.write_text(SKIM.replace('events.flat("weight")[keep]', 'events.flat("weight")'))
    with pytest.raises(Incomplete, match=r"columns of skim table 'muons' differ in length \(entry: "):
        client.run(str(skim), [str(files[0])]).result(timeout_s=60)


EVENTS = """
import numpy as np

from vrecompute import Analysis, Array, Result


class Events(Analysis):
    name = "events"

    def columns(self, source):
        return [c for c in ("event", "weight") if c in source.available]

    def process(self, events):
        numbers = events.flat("event")
        rows = {name: events.flat(name) for name in events.names}
        return Result(
            tables={"all": rows}, arrays={"numbers": Array(numbers, "concat")}, counters={"last": numbers[-1]}
        )
"""
# Neighbours that are one number as float64.
LARGE = (1 << 53) + 1


def numbered(path: Path, dtype: str, first: int = LARGE, weight: str = "") -> Path:
    columns = {"event": np.arange(10).astype(dtype) + np.array(first, dtype)}
    if weight:
        columns["weight"] = np.ones(10, weight)
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: values.dtype for name, values in columns.items()})
        file["Events"].extend(columns)
    return path


@pytest.fixture
def events(tmp_path, client, monkeypatch):
    """`events(*files)`: a run of EVENTS that has ended, in this test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    (tmp_path / "analysis.py").write_text(EVENTS)
    return lambda *files: client.run(str(tmp_path / "analysis.py"), [str(f) for f in files]).wait(120)


@pytest.mark.parametrize(
    ("types", "firsts", "one"),
    [
        (("int64", "int32"), (LARGE, 5), "int64"),
        (("int64", "uint64"), (LARGE, LARGE + 20), "int64"),
        (("uint64", "int64"), (1 << 63, LARGE), "uint64"),
        (("int32", "float64"), (5, 50), "double"),
    ],
)
def test_files_of_different_types_make_one_table_and_no_number_changes(events, tmp_path, client, types, firsts, one):
    files = [numbered(tmp_path / f"{n}.root", t, f) for n, (t, f) in enumerate(zip(types, firsts, strict=True))]
    run = events(*files)
    numbers = sorted(first + n for first in firsts for n in range(10))
    out = run.save(tmp_path / "out")
    for paths in (run.tables("all"), sorted((out / "result" / "tables" / "all").glob("*"))):
        assert {str(pyarrow.parquet.read_schema(p).field("event").type) for p in paths} == {one}
        assert sorted(pyarrow.dataset.dataset(paths).to_table()["event"].to_pylist()) == numbers
    assert sorted(run.result().total.arrays["numbers"].values.tolist()) == numbers
    assert run.result().total.counters["last"] == sum(first + 9 for first in firsts)
    mapped = client.map(lambda e: ak.to_numpy(e.event), [str(f) for f in files], columns=["event"])
    assert sorted(mapped.result(timeout_s=60).total.arrays["value"].values.tolist()) == numbers


def test_types_that_make_no_table_fail_the_run_with_file_and_column(events, tmp_path):
    files = [numbered(tmp_path / "a.root", "int64"), numbered(tmp_path / "b.root", "float32", 1)]
    analysis = tmp_path / "analysis.py"
    analysis.write_text(EVENTS.replace('"numbers": Array(numbers, "concat")', ""))
    report = events(*files).report()
    assert report.status == "failed"
    assert re.search(r"[ab]\.root", report.failures[0].file)
    assert re.search(r"'all'.*column 'event': no numpy type holds every value of", report.failures[0].reason)


def test_a_column_that_a_sample_lacks_is_null_there(events, tmp_path):
    numbered(tmp_path / "data.root", "int64"), numbered(tmp_path / "mc.root", "int64", 5, weight="float32")
    dataset = tmp_path / "two.yaml"
    dataset.write_text("schema: 1\nsamples:\n- {name: d, files: [data.root]}\n- {name: m, files: [mc.root]}\n")
    run = events(dataset)
    table = pyarrow.dataset.dataset(run.tables("all")).to_table()
    assert table["weight"].to_pylist() == [None] * 10 + [1.0] * 10
    assert table["event"].to_pylist()[:2] == [LARGE, LARGE + 1]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("np.ones((len(events), 2))", r"shape \(10, 2\)"),
        ("np.array([{}] * len(events))", "type object"),
        ("np.array([None] * len(events))", "missing"),
        ("__import__('pyarrow').array([None] + [1] * (len(events) - 1))", "missing"),
        ("np.ma.masked_array(numbers, numbers % 2 == 0)", "masked"),
        ("[[1, 2], [3]]", "not an array of numbers"),
    ],
)
def test_what_is_no_column_is_named(events, tmp_path, column, says):
    run_file = tmp_path / "analysis.py"
    run_file.write_text(EVENTS.replace("{name: events.flat(name) for name in events.names}", f'{{"odd": {column}}}'))
    run = events(numbered(tmp_path / "a.root", "int64", 1))
    assert re.search(rf"column 'odd' of skim table 'all'.*{says}", run.report().failures[0].reason)


def test_pieces_that_are_lost_or_damaged_are_computed_again_and_only_they(client, skim, files, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")

    def run(**options):
        ended = client.run(str(skim), [str(f) for f in files], chunk_bytes=2500, task_chunks=1, **options)
        return ended.wait(120)

    first = run()
    rows = pyarrow.dataset.dataset(first.tables("muons")).to_table().to_pylist()
    pieces = sorted((tmp_path / "store").glob("work/*/tables/*/*/*.parquet"))
    pieces[0].unlink()
    os.truncate(pieces[1], 100)
    with pytest.raises(StoreError, match=r"missing or damaged; run the analysis again|is damaged.*run the analysis"):
        first.tables("muons")
    with pytest.raises(StoreError, match="run the analysis again"):
        first.save(tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()
    again = run()
    assert (again.report().status, again.report().chunks.computed) == ("complete", 2)
    assert any("parquet was damaged in the store" in w for w in again.report().warnings)
    for ended in (first, again):
        assert pyarrow.dataset.dataset(ended.tables("muons")).to_table().to_pylist() == rows
    data = bytearray(pieces[2].read_bytes())
    data[len(data) // 2] ^= 1
    pieces[2].write_bytes(data)
    assert run(reuse=False).report().status == "complete"
    assert pyarrow.dataset.dataset(first.tables("muons")).to_table().to_pylist() == rows
