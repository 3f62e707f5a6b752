"""Skims: rows that chunks keep, streamed to Parquet; the same rows however chunks are grouped."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.errors import Incomplete, UsageError

# The example of the documentation, as a user would save it.
DOCUMENT = Path(__file__).parents[2] / "docs" / "column-wise.md"
SKIM = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


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
