"""A tick that is suspended anywhere, and whose lease another takes meanwhile: it notices, and writes nothing more."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.campaign.ends import assert_one_job_of_each_unit, change, check_end, end_jobs, settle
from tests.campaign.ticks import Ticks
from tests.conftest import ACCEPTANCE
from vrecompute.campaign import ledger as ledgers
from vrecompute.campaign.export import export_json
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.storelease import StoreLease

pytestmark = pytest.mark.slow

_WAIT_S = 60.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(ledgers, "_BUSY_S", 0.5)
    yield CampaignFolder(tmp_path / "campaign")
    end_jobs()


def lose_lease(folder: CampaignFolder) -> bool:
    """Have the lease of a tick that is suspended run out, as only time would; False where no tick has it."""
    if folder.keys.get("ledger") != "store":
        with folder.ledger(write=True) as ledger:
            held = ledger.row("SELECT * FROM lease")
            ledger.do("UPDATE lease SET until = 0")
        return held is not None
    sites = Sites(folder.read())
    lease = StoreLease(sites[0].store, "lat")
    number, _, until = lease._last()
    # the clock of another host says so; that one has ended already
    is_lost = until > 0 and lease._create(number + 1, 0.0)
    sites.close()
    return is_lost


def ticks_that_ended(folder: CampaignFolder) -> int:
    with folder.ledger() as ledger:
        return len(ledger.rows("SELECT number FROM ticks WHERE ended IS NOT NULL"))


def written(folder: CampaignFolder) -> dict[str, object]:
    """All that the ledger says, and its snapshots."""
    snapshots = folder.folder / "store" / "campaigns" / "lat" / "ledger"
    with folder.ledger() as ledger:
        return {**export_json(ledger), "snapshots": sorted(os.listdir(snapshots)) if snapshots.is_dir() else []}


def suspend_and_take_over(folder: CampaignFolder, rounds: int, seed: int, files: int = 8) -> Counter[str]:
    """So many ticks that are suspended at some step while others are at work; how they ended, by what befell them."""
    chance, told = random.Random(seed), Counter[str]()
    with Ticks(folder, busy_s=0.5) as ticks:
        first = ticks.tick(wait_s=_WAIT_S)
        assert first is not None
        steps = first.steps
        while told["taken over"] < rounds:
            change(folder, chance, files)
            finished = ticks_that_ended(folder)
            ended = ticks.stop(chance.randint(1, chance.choice([60, steps])), chance.choice([0.0, _WAIT_S]))
            if ended is not None:
                steps = max(steps, ended.steps)
                continue
            has_finished = ticks_that_ended(folder) > finished
            try:
                is_lost = lose_lease(folder)
            except sqlite3.OperationalError:  # it is suspended in a transaction, which keeps the file
                told["in a transaction"] += 1
                other = ticks.tick()
                assert other is not None
                assert (other.exit_code, "is locked by another process" in other.summary) == (5, True)
                assert ticks.go_on().exit_code in (0, 6)
                continue
            change(folder, chance, files)
            other = ticks.tick(wait_s=_WAIT_S)
            assert other is not None
            assert other.exit_code in (0, 3, 6)  # 3 of a file that vanished while a job was about to read it
            before = written(folder)
            late = ticks.go_on()
            if not is_lost:
                told["without a lease"] += 1
                assert late.exit_code in (0, 6)
                continue
            assert written(folder) == before
            assert_one_job_of_each_unit(folder)
            if has_finished:
                told["at its end"] += 1
                assert late.exit_code in (0, 3, 6)
                continue
            told["taken over"] += 1
            assert (late.exit_code, late.summary) == (5, "another tick of campaign 'lat' has taken over; this one ends")
    return told


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("ledger", ["ledger.sqlite", "store"])
def test_a_suspended_tick_that_was_taken_over_writes_nothing_any_more(folder, ledger):
    folder.write(ledger=ledger)
    folder.add("f0", "f1", "f2")
    print(suspend_and_take_over(folder, 25 if ACCEPTANCE else 3, seed=1))
    settle(folder)
    check_end(folder)


def test_a_run_that_no_snapshot_of_the_ledger_has_is_ended_and_deleted(folder):
    """As a tick leaves it that was killed once it had submitted, where something else is wanted by now."""
    folder.write(ledger="store", analyses=[{"name": "sums.py", "key": "sums", "parameters": {"sleep_s": 60}}])
    folder.add("a")
    assert folder.tick(wait_s=0).exit_code == 0
    (stray,) = (folder.folder / "store" / "runs").iterdir()
    (snapshot,) = (folder.folder / "store" / "campaigns" / "lat" / "ledger").iterdir()
    snapshot.unlink()
    folder.write(analyses=[{"name": "sums.py", "key": "sums"}])
    result = folder.tick()
    assert result.exit_code == 0
    assert "1 strays cancelled" in result.summary
    settle(folder)
    assert not stray.exists()
    assert {"stray cancelled", "stray deleted"} <= set(folder.happened())
    check_end(folder)


def test_a_product_that_is_not_the_one_of_the_ledger_is_published_again(folder):
    """As a tick leaves it that was suspended while it published, or a hand."""
    folder.add("a")
    assert folder.tick().exit_code == 0
    first = folder.product().resolve()
    folder.add("b")
    assert folder.tick().exit_code == 0
    second, result = folder.product().resolve(), folder.result()
    folder.product().unlink()
    folder.product().symlink_to(Path("versions") / first.name)
    assert folder.tick() == (0, "1 published again", True)
    assert folder.product().resolve() == second
    (entry,) = (e for e in folder.history("sums/photons") if e["what"] == "published again")
    assert (entry["subject"], entry["instead"]) == (second.name, first.name)
    folder.product().unlink()
    assert folder.tick() == (0, "1 published again", True)
    assert folder.result() == result
    assert folder.tick().exit_code == 6
    # all of it is gone, and its run too: it is made again, of the parts that exist
    for place in (folder.folder / "products", folder.folder / "store" / "runs"):
        place.rename(place.with_name("away"))
    assert folder.tick().exit_code == 0
    assert hashlib.sha256(folder.result()).digest() == hashlib.sha256(result).digest()
    assert folder.report()["chunks"] == {"total": 2, "computed": 0, "reused": 2, "failed": 0}
    assert "product lost" in folder.happened()
