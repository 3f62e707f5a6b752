"""Ticks that are killed anywhere, or started twice: one job at most, and the bytes of an undisturbed campaign."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.campaign.ends import assert_one_job_of_each_unit, change, check_end, end_jobs, live_jobs, settle
from tests.campaign.ticks import Ticks
from tests.conftest import ACCEPTANCE
from vrecompute import Client

pytestmark = pytest.mark.slow

_PATIENCE_S = 300.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield CampaignFolder(tmp_path / "campaign")
    end_jobs()


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(4) if ACCEPTANCE else range(1))
def test_a_tick_that_is_killed_anywhere_costs_nothing(folder, seed):
    kills, files = (50, 60) if ACCEPTANCE else (10, 6)  # 200 in all
    chance = random.Random(seed)
    folder.add(*(f"f{n}" for n in range(files // 2)))
    killed, deadline = Counter[str](), time.monotonic() + kills * _PATIENCE_S
    with Ticks(folder) as ticks:
        first = ticks.tick(wait_s=60.0)
        assert first is not None
        steps = first.steps
        while killed.total() < kills:
            assert time.monotonic() < deadline
            change(folder, chance, files)
            wait_s = chance.choice([0.0, 0.0, 0.0, 20.0])
            if killed.total() % 3:
                came = ticks.tick(chance.randint(1, chance.choice([60, steps])), wait_s)
                killed["at a step"] += came is None
                steps = max(steps, came.steps if came else 0)
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
        told = [folder.end_of(process) for process in ticks]
        codes = {code for code, _ in told}
        assert codes in ({0}, {0, 6}), told
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
