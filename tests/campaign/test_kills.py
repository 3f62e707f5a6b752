"""Ticks that are killed anywhere, or started twice: one job at most, and the bytes of an undisturbed campaign."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.conftest import ACCEPTANCE
from vrecompute import Client
from vrecompute.batch.contract import JobId
from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend

pytestmark = pytest.mark.slow

_PATIENCE_S = 300.0
# A process that has imported what ticks need, and forks one for each line of JSON. The tick is killed with SIGKILL: at
# its n-th statement of the ledger, or file that it writes, moves, links or removes, or process that it starts; or from
# outside, so many seconds after it began. Its exit status is said, and the number of steps of one that was not killed.
_KILLER = """
import importlib, json, os, select, signal, sys
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import read_campaign
from vrecompute.campaign.tick import tick

EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.symlink", "subprocess.Popen", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def carry_out(at, wait_s, answer):
    count = 0

    def step(*_):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event, given):
        if event in EVENTS or (event == "open" and given[2] & WRITES):
            step()

    prepare = Ledger._prepare
    def traced(self, **options):
        self._db.set_trace_callback(step)
        prepare(self, **options)

    Ledger._prepare = traced
    file = read_campaign(sys.argv[1])
    sys.addaudithook(heard)
    tick(file, wait_s=wait_s)
    counted, count = count, -(10 ** 9)
    os.write(answer, json.dumps([counted, list(sys.modules)]).encode())

for line in sys.stdin:
    given = json.loads(line)
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        try:
            carry_out(given["at"], given["wait_s"], theirs)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(theirs)
    if given["after_s"] is not None and not select.select([ours], [], [], given["after_s"])[0]:
        os.kill(child, signal.SIGKILL)
    said = open(ours, "rb").read()
    status = os.waitpid(child, 0)[1]
    steps, modules = json.loads(said) if said else (0, [])
    print(json.dumps([os.waitstatus_to_exitcode(status), steps]), flush=True)
    for name in modules:
        if name.startswith(("vrecompute.", "vrecompute_backends.", "uproot", "awkward", "pydantic", "jinja2", "numba")):
            importlib.import_module(name)
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


def assert_one_job_of_each_unit(folder: CampaignFolder) -> None:
    """No run has two live jobs, and no unit two runs whose end is not known."""
    assert not [name for name, count in names_of(live_jobs()).items() if count > 1]
    with folder.ledger() as ledger:
        attempts = ledger.rows("SELECT unit FROM attempts WHERE state IN ('planned', 'submitted')")
    assert not [unit for unit, count in Counter(row["unit"] for row in attempts).items() if count > 1]


def settle(folder: CampaignFolder) -> None:
    """Ticks until there is nothing to do, and all jobs have ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while folder.tick().exit_code != 6:
        folder.pass_time()
        assert time.monotonic() < deadline
    while live_jobs():
        assert time.monotonic() < deadline, names_of(live_jobs())
        time.sleep(0.2)


def check_end(folder: CampaignFolder) -> None:
    """Ledger, product and bytes are those of a campaign that nothing disturbed, over what is there; no job is left."""
    assert live_jobs() == []
    undisturbed = CampaignFolder(folder.folder, ledger="undisturbed.sqlite", products="alone", store="stored")
    assert undisturbed.tick().exit_code == 0
    undisturbed_end, undisturbed_facts = end_of(undisturbed, "alone")
    folder.write()
    end, facts = end_of(folder, "products")
    assert facts == undisturbed_facts
    assert end == undisturbed_end
    assert folder.report()["events"] == {"seen": facts["events"], "expected": facts["events"]}
    published = [e["subject"] for e in folder.history() if e["what"] == "published"]
    assert len(published) == len(set(published))
    with folder.ledger() as ledger:
        assert ledger.rows("SELECT * FROM attempts WHERE state IN ('planned', 'submitted')") == []
        known = {row["run"] for row in ledger.rows("SELECT run FROM attempts")}
    assert {path.name for path in (folder.folder / "store" / "runs").iterdir()} <= known


def end_of(folder: CampaignFolder, products: str) -> tuple[dict[str, object], dict[str, object]]:
    """What of a campaign's end does not depend on the way to it; and what its product says that it is made of."""
    with folder.ledger() as ledger:
        inputs = ledger.rows("SELECT address, stamp, size FROM inputs WHERE is_there ORDER BY address")
        (unit,) = ledger.rows("SELECT unit, published, result_sha256, failures, quarantined, reason FROM units")
        (attempt,) = ledger.rows(
            "SELECT a.listing, a.code, a.events, a.status FROM attempts a JOIN units u ON u.published_run = a.run"
        )
        listing = ledger.listing(attempt["listing"])
        troubles = ledger.rows("SELECT * FROM troubles")
    assert sorted(listing) == sorted(map(str, (folder.folder / "data").iterdir()))
    product = folder.folder / products / "sums" / "photons" / "current"
    result = (product / "result" / "result.zip").read_bytes()
    assert hashlib.sha256(result).hexdigest() == unit["result_sha256"]
    facts = json.loads((product / "campaign.json").read_text())
    end = {
        "inputs": [tuple(row) for row in inputs],
        "unit": tuple(unit),
        "attempt": tuple(attempt),
        "listing": listing,
        "troubles": len(troubles),
        "result": result,
        "cutflow": json.loads((product / "report.json").read_text())["cutflow"],
    }
    return end, {key: value for key, value in facts.items() if key not in ("run", "before")}


class Ticks:
    """Ticks of a campaign that are killed; each is a process of its own."""

    def __init__(self, folder: CampaignFolder) -> None:
        command = [sys.executable, "-c", _KILLER, str(folder.file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Ticks:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tick(self, at: int, wait_s: float, after_s: float | None = None) -> int | None:
        """The number of steps of a tick that was not killed at one of them; None where it was."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"at": at, "wait_s": wait_s, "after_s": after_s}) + "\n")
        self._process.stdin.flush()
        code, steps = json.loads(self._process.stdout.readline())
        assert code in (0, -signal.SIGKILL)
        return int(steps) if code == 0 else None


def change(folder: CampaignFolder, chance: random.Random, files: int) -> None:
    """Something becomes of the files: most often one arrives, as long as fewer than that many have."""
    data = folder.folder / "data"
    there = sorted(path.stem for path in data.iterdir())
    missing = [f"f{n}" for n in range(files) if f"f{n}" not in there]
    draw = chance.random()
    if draw < 0.45 and missing:
        folder.add(*chance.sample(missing, min(len(missing), chance.choice([1, 1, 2]))))
    elif draw < 0.6 and len(there) > 2:
        (data / f"{chance.choice(there)}.root").unlink()
    elif draw < 0.85:
        folder.add(chance.choice(there), events=chance.choice([100, 150, 200]))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(4) if ACCEPTANCE else range(1))
def test_a_tick_that_is_killed_anywhere_costs_nothing(folder, seed):
    kills, files = (50, 60) if ACCEPTANCE else (10, 6)  # 200 in all
    chance = random.Random(seed)
    folder.add(*(f"f{n}" for n in range(files // 2)))
    killed, deadline = Counter[str](), time.monotonic() + kills * _PATIENCE_S
    with Ticks(folder) as ticks:
        steps = ticks.tick(0, 60.0) or 0
        while killed.total() < kills:
            assert time.monotonic() < deadline
            change(folder, chance, files)
            wait_s = chance.choice([0.0, 0.0, 0.0, 20.0])
            if killed.total() % 3:
                came = ticks.tick(chance.randint(1, chance.choice([60, steps])), wait_s)
                killed["at a step"] += came is None
                steps = max(steps, came or 0)
            else:
                killed["by the clock"] += ticks.tick(0, wait_s, chance.uniform(0.0, 3.0)) is None
            assert_one_job_of_each_unit(folder)
    folder.add(*(f"f{n}" for n in range(files) if not (folder.folder / "data" / f"f{n}.root").exists()))
    settle(folder)
    print(f"killed {dict(killed)}; a tick had up to {steps} steps")
    check_end(folder)


@pytest.mark.timeout(7200)
def test_two_ticks_at_once_are_one(folder):
    rounds = 50 if ACCEPTANCE else 5
    for number in range(rounds):
        folder.add(f"f{number}")
        ticks = [folder.start_tick() for _ in range(2)]
        told = [process.communicate(timeout=_PATIENCE_S) for process in ticks]
        assert {process.returncode for process in ticks} <= {0, 6}, told
        assert 0 in {process.returncode for process in ticks}
        assert_one_job_of_each_unit(folder)
    settle(folder)
    check_end(folder)
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
