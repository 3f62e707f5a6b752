"""Workers that die for memory, one after another: said while it goes on, and what the run ends with, not its time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from tests.events import write_events
from tests.execution.test_patience import Pool
from vrecompute import Client
from vrecompute.execution import memory_deaths
from vrecompute.execution.memory_deaths import MemoryDeaths
from vrecompute.execution.patience import Patience, Wait
from vrecompute.execution.pool import Finished
from vrecompute.execution.runner_walltime import RunnerWalltime
from vrecompute.execution.schedule import Schedule, Task
from vrecompute.execution.worker_control import WorkerControl
from vrecompute.stores.directory import DirStore
from vrecompute.workers.worker_exit import WorkerExit

TOLD = (
    "2 workers in a row died for memory, the last so: the worker in job 7 on c1 was ended by its Dask nanny at "
    "720.0 MB of its 755.0 MB; give workers more memory or use a smaller --chunk-bytes"
)
DONE, KILLED = Finished("a", "done", None), Finished("a", "killed", None)


@dataclass
class Nannies:
    """A Dask client that gives what nannies reported."""

    events: list[tuple[float, dict]] = field(default_factory=list)

    def get_events(self, topic):
        return self.events

    def die(self, pid: int, by: str = "nanny") -> None:
        word = WorkerExit("tls://c1:1", pid, "c1", "7", -15, by, 720_000_000, 755_000_000)
        self.events.append((0.0, asdict(word)))


@pytest.fixture
def deaths(monkeypatch):
    monkeypatch.setattr(memory_deaths, "_ASK_S", 0.0)
    dask = Nannies()
    return dask, MemoryDeaths(dask)


def test_several_in_a_row_are_said_and_a_task_that_ends_well_begins_anew(deaths):
    dask, found = deaths
    dask.die(1)  # of another run, before
    found.look(None)
    dask.die(2)
    dask.die(3, by="")
    found.look(KILLED)
    assert (found.several, str(found)) == (False, ""), "one may have been one task's"
    dask.die(4)
    found.look(None)
    assert str(found) == TOLD
    found.look(DONE)
    found.look(None)
    assert str(found) == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_tells_what_its_workers_die_of_while_it_waits(deaths, workers):
    dask, found = deaths
    patience = Patience(WorkerControl(), found)
    pool = Pool(workers=workers, tasks=[("a", 1.0, 1)])
    assert patience.look(pool, None) == Wait()
    dask.die(1)
    dask.die(2)
    wait = patience.look(pool, None)
    assert (wait.kind, wait.reason) == ("memory", TOLD)


def test_where_no_task_has_ended_a_suspect_runs_before_the_others():
    """Else each of a thousand chunks kills three workers, before one of them is run alone."""
    schedule = Schedule(np.ones(4, dtype=bool))
    first = schedule.next(1, 0)
    assert first == Task(0, 1)
    schedule.suspect(first)
    assert schedule.next(1, in_flight=1) is None
    assert schedule.next(1, in_flight=0) == Task(0, 1, alone=True)
    schedule.suspect(first)
    schedule.finished(Task(1, 2), 1.0)
    after = schedule.next(1, in_flight=0)
    assert (after.first, after.alone) == (1, False), "what others do is known to end"


@pytest.fixture
def late(tmp_path):
    walltime = RunnerWalltime(DirStore(tmp_path))
    source = SimpleNamespace(sample="a", end=100)
    chunk = SimpleNamespace(source="f.root", start=0, stop=10)
    plan = SimpleNamespace(chunk=lambda n: chunk, sources=[source], table=np.zeros((4, 3), dtype=int))

    def failure(dying):
        walltime.not_reached(plan, [], Schedule(np.ones(4, dtype=bool)), dying)
        return walltime.late

    return failure


def test_a_job_whose_time_went_to_workers_that_died_for_memory_asks_for_memory(late):
    failure = late(TOLD)
    assert failure.kind == "memory"
    assert failure.reason.startswith(TOLD)
    assert "longer walltime" not in failure.reason
    assert late("").kind == "walltime"


GREEDY = """
import time
import numpy as np
from vrecompute import Analysis, Result


class Greedy(Analysis):
    name = "greedy"

    def columns(self, source):
        return ["weight"]

    def process(self, events):
        eaten = []
        for _ in range(20):
            eaten.append(np.ones(100_000_000, dtype=np.uint8))
            time.sleep(0.05)
        time.sleep(5)
        return Result(counters={"n": float(len(events))})
"""


def test_where_every_chunk_kills_its_worker_the_first_one_ends_the_run(tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    write_events(tmp_path / "e.root", 4000)
    (tmp_path / "site.yaml").write_text(
        "schema: 1\nname: small\nbackend: local\nworkers: {processes: 1, memory: 900MiB}\n"
    )
    with Client(str(tmp_path / "site.yaml"), workers=1, store=tmp_path / "store") as client:
        run = client.run(str(tmp_path / "greedy.py"), str(tmp_path / "e.root"), chunk_bytes="2kB").wait(300)
        outcome = run._outcome()
        died = [event for _, event in client.dask.get_events("vrecompute-worker-exit") if event["by"]]
    assert outcome.summary.status == "failed"
    assert outcome.summary.chunks.total >= 20
    assert outcome.failures[0].kind == "memory"
    assert "was ended by its Dask nanny at" in outcome.failures[0].reason
    assert len(died) <= 6, "three, and three alone"
