"""Ticks that are killed anywhere, or started twice: one job at most, and the bytes of an undisturbed campaign."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.conftest import ACCEPTANCE
from vrecompute import Client
from vrecompute.batch.contract import JobId
from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend

pytestmark = pytest.mark.slow

_PATIENCE_S = 300.0
# A tick that kills itself at its n-th statement of the ledger, or file that it writes, moves, links or removes, or
# process that it starts: sooner than any clock could. It ends with the number that it came to.
_KILLED = """
import os, sqlite3, sys
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import read_campaign
from vrecompute.campaign.tick import tick

at, wait_s, count = int(sys.argv[2]), float(sys.argv[3]), 0
EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.symlink", "subprocess.Popen", "shutil.rmtree"}

def step(*_):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), 9)

def heard(event, given):
    if event in EVENTS or (event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+")):
        step()

prepare = Ledger._prepare
def traced(self, **options):
    self._db.set_trace_callback(step)
    prepare(self, **options)

Ledger._prepare = traced
file = read_campaign(sys.argv[1])
sys.addaudithook(heard)
tick(file, wait_s=wait_s)
print(count)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = CampaignFolder(tmp_path / "campaign")
    yield made
    for job in live_jobs():
        LocalBackend(local_site()).cancel([job])


def live_jobs() -> list[JobId]:
    """Jobs of this test whose process is there."""
    backend = LocalBackend(local_site())
    spool = backend._spool
    ids = [JobId(path.name) for path in spool.iterdir()] if spool.is_dir() else []
    return [job for job in ids if not backend.poll([job])[job].state.terminal and backend._alive(job) is not None]


def names_of(jobs: list[JobId]) -> Counter[str]:
    spool = LocalBackend(local_site())._spool
    return Counter((spool / job / "script").read_text().splitlines()[1].split()[1] for job in jobs)


def settle(folder: CampaignFolder) -> None:
    """Ticks until there is nothing to do, and all jobs have ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while folder.tick().exit_code != 6:
        folder.pass_time()
        assert time.monotonic() < deadline
    while live_jobs():
        assert time.monotonic() < deadline, names_of(live_jobs())
        time.sleep(0.2)


def check_end(folder: CampaignFolder, tmp_path: Path) -> None:
    """The product is that of an undisturbed run over what is there, and the ledger says so."""
    with Client(workers=1, store=tmp_path / "undisturbed") as client:
        run = client.run(str(folder.folder / "sums.py"), str(folder.folder / "data" / "*.root"))
        assert run.result().to_bytes() == folder.result()
        assert folder.report()["events"] == {"seen": run.report().events.seen, "expected": run.report().events.seen}
    (unit,) = folder.status()["units"]
    assert (unit["state"], unit["failures"]) == ("done", 0)
    assert unit["result_sha256"] == folder.report()["result_sha256"]
    published = [e["subject"] for e in folder.history() if e["what"] == "published"]
    assert len(published) == len(set(published))
    with folder.ledger() as ledger:
        assert ledger.rows("SELECT * FROM attempts WHERE state IN ('planned', 'submitted')") == []
        listing = ledger.row("SELECT listing FROM attempts WHERE run = ?", (unit["published_run"],))
        assert sorted(ledger.listing(listing["listing"])) == sorted(map(str, (folder.folder / "data").iterdir()))


def killed_tick(folder: CampaignFolder, at: int, wait_s: float) -> int | None:
    """The number of steps of a tick that was not killed at one of them; None where it was."""
    command = [sys.executable, "-c", _KILLED, str(folder.file), str(at), str(wait_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    assert done.returncode in (0, -9), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


def test_a_tick_that_is_killed_anywhere_costs_nothing(folder, tmp_path):
    points, files = (200, 60) if ACCEPTANCE else (8, 4)
    chance = random.Random(7)
    folder.add(*(f"f{n}" for n in range(files // 2)))
    steps, arrived, killed = 60, files // 2, 0
    for _ in range(points):
        change = chance.random()
        if change < 0.5 and arrived < files:
            folder.add(f"f{arrived}")
            arrived += 1
        elif change < 0.6 and arrived > 2:
            (folder.folder / "data" / f"f{arrived - 1}.root").unlink(missing_ok=True)
        elif change < 0.7:
            folder.add("f0", events=chance.choice([100, 200]))
        came = killed_tick(folder, chance.randint(1, steps), chance.choice([0.0, 60.0]))
        killed += came is None
        steps = max(steps, came or 0)
        assert not [name for name, count in names_of(live_jobs()).items() if count > 1]
    assert killed > points // 4
    settle(folder)
    check_end(folder, tmp_path)


def test_two_ticks_at_once_are_one(folder, tmp_path):
    rounds = 50 if ACCEPTANCE else 2
    for number in range(rounds):
        folder.add(f"f{number}")
        ticks = [folder.start_tick() for _ in range(2)]
        told = [process.communicate(timeout=_PATIENCE_S) for process in ticks]
        assert {process.returncode for process in ticks} <= {0, 6}, told
        assert 0 in {process.returncode for process in ticks}
        assert not [name for name, count in names_of(live_jobs()).items() if count > 1]
    settle(folder)
    check_end(folder, tmp_path)
    assert folder.status()["chunks_computed_total"] == rounds


def test_of_two_jobs_of_a_run_one_stays_and_a_forgotten_one_is_found(folder):
    folder.add("a")
    folder.write(analyses=[{"name": "sums.py", "key": "sums", "parameters": {"sleep_s": 120}}])
    assert folder.tick(wait_s=0).exit_code == 0
    (job,) = live_jobs()
    (run,) = (entry["subject"] for entry in folder.history() if entry["what"] == "submitted")
    with Client(workers=1, store=folder.folder / "store") as client:
        attached = client.attach(run)
        # as if it had been killed before it could keep the id
        for name in list(client.store.names(f"runs/{run}/jobs")):
            client.store.delete(name)
        assert attached.hand_over() == [job]
        assert live_jobs() == [job]
        # as if another client had submitted it at the same time
        attached._detached.submit()
        assert len(live_jobs()) == 2
        (kept,) = attached.hand_over()
        deadline = time.monotonic() + _PATIENCE_S
        while live_jobs() != [kept]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        attached.cancel()
        while live_jobs():
            assert time.monotonic() < deadline
            time.sleep(0.2)
