"""What a Client decides before it starts workers."""

from __future__ import annotations

import gc
import json
import os

import jsonschema
import pytest
import uproot

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import OverBudget, ParameterError, UsageError
from vrecompute.execution.plan import Plan
from vrecompute.reports.report import schema, summary_text
from vrecompute.sites.model import Environment, Limits, Site, SiteAccess, Ssh


def test_threads_give_way_to_memory_and_chunks_do_not(tmp_path, caplog):
    file = write_events(tmp_path / "e.root")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    with Client(workers=1, threads=4, memory_bytes=800 << 20, store=tmp_path / "store") as client:
        run = client.run(str(tmp_path / "sums.py"), str(file), chunk_bytes=64 << 20)
        assert run.report(timeout_s=60).status == "complete"
        assert list(client.dask.nthreads().values()) == [2]
    assert "2 instead of 4 threads" in caplog.text


def test_a_folder_is_what_its_dataset_yaml_says_and_what_no_one_declared_is_undeclared(tmp_path):
    """Through to the report, the page and the exported histograms, with a name that ROOT would read as two."""
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.root", "b.root", "not_listed.root"):
        write_events(data / name, 200, seed=ord(name[0]))
    (data / "dataset.yaml").write_text(
        "schema: 1\nluminosity_ifb: 2\nsamples:\n"
        "- {name: 'SR:2018', files: [a.root]}\n"
        "- {name: dy, files: [b.root], cross_section_pb: 1.9e3, sum_of_weights: -5.0}\n"
    )
    with Client(workers=1, store=tmp_path / "store") as client:
        explained = client.explain(str(tmp_path / "sums.py"), [str(data), str(data / "not_listed.root")])
        run = client.run(str(tmp_path / "sums.py"), str(data))
        report = run.report(timeout_s=60)
        run.save(tmp_path / "out")
    assert explained.dataset == (
        f"{data}/dataset.yaml: 2 files, samples SR:2018, dy",
        f"{data}/not_listed.root: 1 file as one sample, 'events', not declared as data or simulation",
    )
    assert explained.dataset[0] in str(explained)
    assert [(s.name, s.is_data, s.kind, s.events.seen) for s in report.samples] == [
        ("SR:2018", None, "undeclared", 200),
        ("dy", False, "simulation", 200),
    ]
    assert "samples   SR:2018 (undeclared), dy (simulation)" in summary_text(report)
    written = json.loads((tmp_path / "out/report.json").read_text())
    jsonschema.validate(written, schema())
    assert [sample["is_data"] for sample in written["samples"]] == [None, False]
    assert "<td>SR:2018</td><td>undeclared</td>" in (tmp_path / "out/report.html").read_text()
    with uproot.open(tmp_path / "out/result/histograms.root") as file:
        assert file["SR_2018/pt"].values().sum() > 0


def test_a_resource_that_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    analysis = (
        SUM_ANALYSIS + f"\n    def resources(self):\n        return {{'corrections': {str(tmp_path / 'pipe')!r}}}\n"
    )
    (tmp_path / "sums.py").write_text(analysis)
    file = write_events(tmp_path / "e.root")
    listed = Dataset((Sample("s", certified="/dev/zero"),), (Source(str(file), "s"),))
    (tmp_path / "plain.py").write_text(SUM_ANALYSIS)
    with Client(workers=1, store=tmp_path / "store") as client:
        with pytest.raises(UsageError, match=r"resource 'corrections': .*pipe is not a regular file"):
            client.explain(str(tmp_path / "sums.py"), str(file))
        with pytest.raises(UsageError, match="/dev/zero: cannot be read: not a regular file"):
            client.explain(str(tmp_path / "plain.py"), listed)


def test_what_the_core_hours_of_a_site_refuse_is_refused_by_explain_as_by_run(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    poor = Site(name="poor", backend="slurm", environment=Environment(venv="/v"), limits=Limits(core_hours=0.01))
    with Client(poor, store=tmp_path / "store") as client:
        for start in (client.run, client.explain):
            with pytest.raises(OverBudget, match=r"the smallest cluster may use .*limits\.core_hours"):
                start(str(tmp_path / "sums.py"), str(file))
        assert not client.runs()


def test_a_store_that_is_no_folder_is_refused_by_its_scheme_also_where_the_site_is_elsewhere():
    there = Site(name="there", backend="slurm", access=SiteAccess(ssh=Ssh(host="login.invalid")))
    with Client(there, store="ftp://runs/prefix") as client, pytest.raises(UsageError, match="scheme 'ftp'"):
        _ = client.store


def test_an_option_that_is_misspelt_is_answered_by_its_name(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    with (
        Client(store=tmp_path / "store") as client,
        pytest.raises(ParameterError, match=r"no parameter 'onbad'.*did you mean the option 'on_bad', which every run"),
    ):
        client.run(str(tmp_path / "sums.py"), str(file), onbad="skip")


def test_without_a_compiler_nothing_is_started_and_the_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    with Client(store=tmp_path / "store") as client:
        for start in (client.run, client.submit, client.explain):
            with pytest.raises(UsageError, match=r"switched off by NUMBA_DISABLE_JIT.*unset"):
                start(str(tmp_path / "sums.py"), str(file))
        assert not client.runs()


def test_a_repr_reads_nothing_and_asks_nobody(tmp_path):
    client = Client(str(tmp_path / "absent.yaml"), store="s3://nowhere/at-all")
    assert repr(client) == f"Client({str(tmp_path / 'absent.yaml')!r}, no workers yet)"


def test_a_run_that_has_ended_keeps_neither_its_plan_nor_its_parts(run, tmp_path):
    """A notebook keeps its runs; and memory of cycles is given back much later than at once."""
    path = str(write_events(tmp_path / "kept.root"))
    gc.disable()
    try:
        ended = run(path)
        assert ended.status == "complete"
        ended._thread.join(30)
        held = [o for o in gc.get_objects() if type(o) is Plan and any(s.path == path for s in o.sources)]
    finally:
        gc.enable()
    assert held == []


def test_a_closed_client_starts_nothing_and_still_tells_of_its_runs(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    client = Client(workers=1, store=tmp_path / "store")
    run = client.run(str(tmp_path / "sums.py"), str(file)).wait(120)
    client.close()
    for closed in (client, Client(workers=1, store=tmp_path / "store")):
        closed.close()
        for start in (lambda c: c.run(str(tmp_path / "sums.py"), str(file)), lambda c: c.map(len, str(file))):
            with pytest.raises(UsageError, match=r"^this Client was closed.*; make another with Client\(\)$"):
                start(closed)
        with pytest.raises(UsageError, match="was closed"):
            _ = closed.dask
        assert [each.run for each in closed.runs()] == [run.id]
        assert closed.attach(run.id).report().status == "complete"
        assert closed.explain(str(tmp_path / "sums.py"), str(file)).chunks_stored
