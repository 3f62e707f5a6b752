"""Workers of a Client come with the work and go back."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.sites.model import Limits, Nodes, Site, Workers
from vrecompute.workers.dask_hooks import ask_workers, running_tasks

SITE = Site(
    name="growing",
    backend="local",
    workers=Workers(processes=1, nodes=Nodes(min=1, max=2)),
    limits=Limits(min_poll=1),
)


def workers_of(client: Client, wanted: int) -> bool:
    return comes_true(lambda: len(client.dask.nthreads()) == wanted)


def test_a_run_with_much_to_do_has_more_workers_and_gives_them_back(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "many.root", 60, clusters=60)
    with Client(SITE, store=tmp_path / "store") as client:
        run = client.run(str(tmp_path / "sums.py"), str(file), sleep_s=0.2, chunk_bytes=1, task_chunks=1)
        assert comes_true(lambda: run.progress().chunks_total)
        assert workers_of(client, 2)
        assert run.report(timeout_s=120).chunks.computed == 60
        assert workers_of(client, 1)


def test_they_grow_with_the_work_and_go_back(tmp_path):
    with Client(SITE, store=tmp_path / "store") as client:
        control = client._site_workers
        assert len(client.dask.nthreads()) == 1
        control.needed("a", 3)
        assert workers_of(client, 1)
        control.needed("b", 3)
        assert workers_of(client, 2), "two runs have more to do than one worker is for"
        control.needed("a", 0)
        assert workers_of(client, 2), "nobody is sent away while a run is at work"
        control.needed("b", 0)
        assert workers_of(client, 1)


def test_a_number_that_was_asked_for_stays(tmp_path):
    with Client(SITE, store=tmp_path / "store", workers=1) as client:
        assert len(client.dask.nthreads()) == 1
        client._site_workers.needed("a", 1000)
        time.sleep(0.5)
        assert len(client.dask.nthreads()) == 1


SETS_ENVIRONMENT = """
import os, sys
os.environ.setdefault("GIVEN_BY_THE_SCRIPT", "1")
from vrecompute import Client

def count(events):
    return {"events": len(events), "set": len(events) * int(os.environ["GIVEN_BY_THE_SCRIPT"])}

client = Client(workers=1, store=sys.argv[2])
for number in range(3):
    run = client.map(count, sys.argv[1], columns=["run"], reuse=False)
    print(run.result(timeout_s=120)["events"].counters, *client.dask.run(os.getpid).values())
client.close()
"""


def test_workers_that_have_done_what_a_run_does_to_libraries_stay_for_the_next(tmp_path):
    file = write_events(tmp_path / "e.root", 40)
    (tmp_path / "script.py").write_text(SETS_ENVIRONMENT)
    command = [sys.executable, str(tmp_path / "script.py"), str(file), str(tmp_path / "store")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = ended.stdout.splitlines()
    assert len(lines) == 3, ended.stderr
    assert lines[0].startswith("{'events': 40, 'set': 40} ")
    assert len(set(lines)) == 1, "each run had the same worker process"


ENDLESS = {
    "Python": "while True: pass",
    "C that keeps the lock of Python": "re.match('(a+)+$', 'a' * 60 + 'b')",
}


def fails_or_never_ends(events):
    if len(events) == 7:
        raise ValueError("seven events")
    while True:
        pass


def length(events):
    return len(events)


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_task_that_goes_on_after_its_run_was_cancelled_holds_no_worker(endless, tmp_path):
    (tmp_path / "never.py").write_text(f"import re\n\ndef never_ends(events):\n    {ENDLESS[endless]}\n")
    never_ends = runpy.run_path(str(tmp_path / "never.py"))["never_ends"]
    file = write_events(tmp_path / "e.root", 40)
    with Client(SITE, store=tmp_path / "store", workers=2) as client:
        assert client.map(length, str(file), columns=["run"]).result(timeout_s=120)["events"].counters["value"] == 40
        before = set(client.dask.run(os.getpid).values())
        run = client.map(never_ends, str(file), columns=["run"])
        assert comes_true(lambda: run.progress().stage == "work")
        time.sleep(2)  # until it has begun
        run.cancel()
        assert run.wait(60).status == "cancelled"
        assert comes_true(lambda: len(pids(client) & before) == 1 and len(pids(client)) == 2), "the other one stays"
        assert (
            client.map(length, str(file), columns=["run"], reuse=False)
            .result(timeout_s=120)["events"]
            .counters["value"]
            == 40
        )


def pids(client: Client) -> set[int]:
    """Processes of the workers that answer."""
    return {pid for pid in ask_workers(client.dask, os.getpid, timeout_s=1).values() if pid is not None}


def test_a_task_that_goes_on_after_its_run_has_failed_holds_no_worker(tmp_path):
    seven, file = write_events(tmp_path / "seven.root", 7), write_events(tmp_path / "e.root", 40)
    with Client(SITE, store=tmp_path / "store", workers=2) as client:
        run = client.map(fails_or_never_ends, [str(seven), str(file)], columns=["run"], on_bad="fail")
        assert run.wait(120).status == "failed"
        runs = [client.map(length, str(file), columns=["run"], reuse=False) for _ in range(3)]
        assert [each.result(timeout_s=120)["events"].counters["value"] for each in runs] == [40] * 3
        # its worker is begun anew, and may be two still before that
        assert comes_true(lambda: not any(ask_workers(client.dask, running_tasks, run.id, timeout_s=5).values()))
        assert comes_true(lambda: len(pids(client)) == 2)
