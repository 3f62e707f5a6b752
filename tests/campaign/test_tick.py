"""Ticks of real campaigns on this machine, with real detached jobs: only the increment, and the truth."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests.campaign.campaigns import CampaignFolder
from vrecompute import Client
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tick import tick
from vrecompute.campaign.verify import verify
from vrecompute.errors import UnknownRun


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return CampaignFolder(tmp_path / "campaign")


def test_a_dataset_that_grows_costs_what_is_new(folder):
    folder.add("a", "b", "c")
    assert folder.tick() == (0, "3 inputs new, 1 submitted, 1 published", True)
    assert (folder.report()["status"], folder.report()["chunks"]["computed"]) == ("complete", 3)
    first = folder.product().resolve()
    # nothing changed: silence, and nothing is submitted
    assert folder.tick().exit_code == 6
    assert folder.status()["attempts_total"] == 1
    folder.add("d")
    assert folder.tick() == (0, "1 inputs new, 1 submitted, 1 published", True)
    assert folder.report()["chunks"] == {"total": 4, "computed": 1, "reused": 3, "failed": 0}
    assert folder.product().resolve() != first
    # what is gone is not counted any more, and costs nothing
    (folder.folder / "data" / "a.root").unlink()
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"] == {"total": 3, "computed": 0, "reused": 3, "failed": 0}
    assert folder.status()["chunks_computed_total"] == 4
    with Client(workers=1, store=folder.folder / "other") as client:
        alone = client.run(str(folder.folder / "sums.py"), str(folder.folder / "data" / "*.root")).result()
    assert alone.to_bytes() == folder.result()


def test_a_changed_analysis_reprocesses_all_and_says_what_moved(folder):
    folder.add("a", "b")
    assert folder.tick().exit_code == 0
    before = folder.product().resolve()
    folder.write(analyses=[{"name": "sums.py", "key": "sums", "parameters": {"pt_min_gev": 50}}])
    # as long as the new one is not complete, the old one is what is published
    assert folder.tick(wait_s=0).exit_code == 0
    assert folder.product().resolve() == before
    assert folder.tick().exit_code == 0
    after = folder.product().resolve()
    assert after != before
    assert folder.report()["chunks"]["computed"] == 2
    (difference,) = (folder.folder / "products" / "sums" / "photons" / "differences").iterdir()
    moved = json.loads(difference.read_text())["moved"]
    assert moved["events/cutflow/mu/pt"]["after"] < moved["events/cutflow/mu/pt"]["before"]
    assert "events/cutflow/mu/all" not in moved
    (planned,) = (e for e in folder.history("sums/photons") if e["what"] == "planned" and e["subject"] == after.name)
    assert planned["reason"] == "changed: parameters (pt_min_gev: 10.0 -> 50.0)"
    published = [e for e in folder.history("sums/photons") if e["what"] == "published"]
    assert "numbers moved" in published[-1]["moved"]


def test_a_bad_file_is_named_then_left_out_then_tried_again(folder):
    folder.write(retry={"attempts": 2, "wait": "1h"}, quarantine={"retry_every": "7d"})
    folder.add("a")
    bad = folder.folder / "data" / "bad.root"
    bad.write_bytes(b"no events")
    result = folder.tick()
    assert result.exit_code == 3
    assert f"sums/photons: {bad}: corrupt: " in result.summary
    assert not folder.product().exists()
    assert folder.tick().exit_code == 6  # it waits
    (unit,) = folder.status()["units"]
    assert (unit["state"], unit["reason"]) == ("new", "1 files failed; tried again later")
    folder.pass_time()
    result = folder.tick()  # fails again: in quarantine, and the product is made of the others
    assert (result.exit_code, folder.report()["status"]) == (3, "complete")
    made_of = json.loads((folder.product() / "campaign.json").read_text())
    assert (made_of["inputs"], [each["address"] for each in made_of["left_out"]]) == (1, [str(bad)])
    (failing,) = folder.status()["inputs_failing"]
    assert (failing["quarantined"], failing["failures"]) == (True, 2)
    assert folder.status()["units"][0]["state"] == "done"  # of what it is to be made of
    assert folder.tick().exit_code == 6
    # mended: it is another file, which nobody waits with
    bad.unlink()
    folder.add("bad")
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 2
    assert folder.status()["inputs_failing"] == []


def test_a_file_that_vanishes_while_a_run_is_at_work_is_no_trouble(folder):
    folder.add("a", "b", "c")
    folder.write(analyses=[{"name": "sums.py", "key": "sums", "parameters": {"sleep_s": 0.1}}])
    assert tick(folder.read()).exit_code == 0
    (folder.folder / "data" / "c.root").unlink()  # before its job opens it
    result = folder.tick()
    assert result == (0, "1 inputs vanished, 1 overtaken, 1 submitted, 1 published", True)
    assert folder.status()["inputs_failing"] == []
    assert folder.report()["chunks"]["total"] == 2
    assert folder.tick().exit_code == 6


def test_code_that_fails_is_the_units_own_fault(folder):
    folder.write(retry={"attempts": 1})
    folder.add("a", "b")
    text = (folder.folder / "sums.py").read_text()
    (folder.folder / "sums.py").write_text(text.replace('pt = events.flat("Muon_pt")', 'raise ValueError("no pt")'))
    result = folder.tick()
    assert result.exit_code == 4
    assert "ValueError: no pt" in result.summary
    (unit,) = folder.status()["units"]
    assert unit["state"] == "quarantined"
    assert folder.status()["inputs_failing"] == []
    assert folder.tick().exit_code == 6
    # mended code is tried at once
    (folder.folder / "sums.py").write_text(text)
    assert folder.tick().exit_code == 0
    assert folder.status()["units"][0]["state"] == "done"


def test_a_budget_takes_some_files_a_tick_and_publishes_when_all_are_there(folder):
    folder.add("a", "b", "c")
    size = (folder.folder / "data" / "a.root").stat().st_size
    folder.write(budget={"bytes_per_tick": f"{(2 * size + 2000) // 1024}KiB"})
    result = folder.tick()
    assert (result.exit_code, folder.product().exists()) == (7, False)
    assert "budget.bytes_per_tick is used up: 1 files of sums/photons wait" in result.summary
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"] == {"total": 3, "computed": 1, "reused": 2, "failed": 0}
    folder.write(budget={"bytes_per_month": "1KiB"})
    folder.add("d")
    result = folder.tick()
    assert (result.exit_code, result.is_news) == (7, True)
    assert folder.tick().is_news is False  # said once
    (unit,) = folder.status()["units"]
    assert (unit["state"], unit["reason"]) == ("behind", "not submitted yet")
    assert folder.status()["attempts_total"] == 2


def test_what_a_run_took_is_charged_to_the_budget(folder):
    folder.write(
        analyses=[{"name": "sums.py", "key": "sums", "parameters": {"sleep_s": 1}}],
        budget={"core_hours_per_month": 1 / 3600},  # far more than is estimated for a file as small
    )
    folder.add("a")
    assert folder.tick().exit_code == 0
    with folder.ledger() as ledger:
        (row,) = ledger.rows("SELECT core_s FROM attempts")
    took = {stage: s for stage, s in folder.report()["time_s"].items() if stage.startswith("task-")}
    assert 1 < row["core_s"] == pytest.approx(sum(took.values()))
    assert folder.status()["core_hours_total"] == pytest.approx(row["core_s"] / 3600, abs=1e-6)
    folder.add("b")
    result = folder.tick()
    assert result.exit_code == 7
    assert "budget.core_hours_per_month is used up: 1 files of sums/photons wait" in result.summary


def test_nothing_is_submitted_outside_of_the_window(folder):
    folder.write(window=closed_window())
    folder.add("a")
    result = folder.tick()
    assert (result.exit_code, result.summary) == (0, "1 inputs new")
    result = folder.tick()
    assert result.exit_code == 6
    assert "the window is closed until" in result.summary
    assert folder.status()["units"][0]["state"] == "new"
    folder.write(window=None)
    assert folder.tick().exit_code == 0
    assert folder.product().exists()


def test_a_dataset_that_cannot_be_looked_at_is_taken_to_be_as_it_was(folder):
    folder.write(datasets=[{"name": "photons", "files": ["data/*.root"]}])
    folder.add("a")
    assert folder.tick().exit_code == 0
    (folder.folder / "data").rename(folder.folder / "away")
    result = folder.tick()
    assert result.exit_code == 5
    assert "dataset 'photons' cannot be looked at, and is taken to be as it was" in result.summary
    assert folder.status()["inputs"] == {"there": 1, "vanished": 0}
    (folder.folder / "away").rename(folder.folder / "data")
    assert folder.tick().exit_code == 6


def test_a_ledger_that_is_in_use_or_another_campaigns_is_said(folder):
    with folder.ledger(write=True) as ledger:
        ledger.acquire(0.0)
        ledger.do("UPDATE lease SET until = 1e12")
        result = tick(folder.read())
        assert result.exit_code == 6
        assert "another tick of campaign 'lat' is at work" in result.summary


def test_a_ledger_in_the_store_goes_on_on_a_fresh_host(folder):
    folder.write(ledger="store")
    folder.add("a", "b")
    assert folder.tick().exit_code == 0
    assert not (folder.folder / "ledger.sqlite").exists()
    snapshots = list((folder.folder / "store" / "campaigns" / "lat" / "ledger").iterdir())
    assert len(snapshots) == 1
    assert folder.tick().exit_code == 6
    folder.add("c")
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["computed"] == 1
    # a snapshot that was lost: what was done is found again under the same names, and is published as it was
    result = folder.result()
    for snapshot in (folder.folder / "store" / "campaigns" / "lat" / "ledger").iterdir():
        snapshot.unlink()
    assert folder.tick().exit_code == 0
    assert folder.result() == result
    assert folder.report()["chunks"]["computed"] == 1


def test_a_run_of_shares_is_merged_by_a_tick(folder):
    folder.write(shares=2)
    folder.add("a", "b", "c")
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 3
    assert folder.report()["status"] == "complete"
    (submitted,) = (entry for entry in folder.history() if entry["what"] == "submitted")
    assert submitted["site"] == "local"


def test_a_site_that_does_not_answer_is_said_and_the_next_one_is_taken(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no Slurm
    site = {"schema": 1, "name": "away", "backend": "slurm", "options": {"partition": "batch"}}
    site |= {"scheduler_runs": "none", "workers": {"processes": 1, "threads": 1, "memory": "2GiB", "walltime": "1h"}}
    (folder.folder / "away.yaml").write_text(yaml.safe_dump(site))
    folder.write(sites=["away.yaml"])
    folder.add("a")
    result = folder.tick(wait_s=0)
    assert result.exit_code == 5
    assert "site 'away.yaml' does not answer" in result.summary
    assert folder.status()["units"][0]["state"] == "planned"
    folder.write(sites=["away.yaml", "local"])
    assert folder.tick(wait_s=0).exit_code == 5
    assert folder.tick().exit_code == 0
    assert folder.report()["site"] == "local"
    with folder.ledger() as ledger:
        states = [
            (row["site"], row["state"]) for row in ledger.rows("SELECT site, state FROM attempts ORDER BY number")
        ]
    assert states == [("away.yaml", "void"), ("local", "ended")]


def test_a_run_is_not_taken_for_another_whose_name_begins_with_its_own(folder):
    """As that of the first attempt for the tenth, once the first was deleted."""
    folder.add("a")
    assert folder.tick().exit_code == 0
    (run,) = (path.name for path in (folder.folder / "store" / "runs").iterdir())
    with folder.ledger(write=True) as ledger:
        tenth = dict(ledger.row("SELECT * FROM attempts"))
        first = tenth | {"number": 0, "run": run[:-1], "ended": 0.0}
        ledger.do(f"INSERT INTO attempts VALUES ({', '.join('?' * len(first))})", list(first.values()))
    assert folder.tick().exit_code == 6
    assert (folder.folder / "store" / "runs" / run / "manifest.json").exists()
    with folder.ledger() as ledger:
        states = {row["run"]: row["state"] for row in ledger.rows("SELECT run, state FROM attempts")}
    assert states == {run[:-1]: "retired", run: "ended"}
    with Client(workers=1, store=folder.folder / "store") as client:
        assert client.attach(run[:-1]).id == run  # as people abbreviate
        with pytest.raises(UnknownRun):
            client.attach(run[:-1], exact=True)
        with pytest.raises(UnknownRun):
            client.delete(run[:-1], exact=True)


def test_what_became_of_a_file_since_is_a_line_of_verify(folder):
    folder.add("a", "b", "c")
    assert folder.tick().exit_code == 0
    (folder.folder / "data" / "a.root").unlink()
    folder.add("b", events=100)
    file = folder.read()
    sites = Sites(file)
    with folder.ledger() as ledger:
        product, a, b, c = verify(file, ledger, sites, None, 3, None)
    sites.close()
    assert (product.same, a.same, b.same, c.same) == (True, False, False, True)
    assert "a.root" in a.why
    assert b.why == "the file changed, or its parts are gone"


def test_a_unit_that_is_wanted_no_more_keeps_its_product(folder):
    folder.add("a")
    assert folder.tick().exit_code == 0
    folder.write(analyses=[{"name": "sums.py", "key": "other"}], window=closed_window())
    assert folder.tick().exit_code == 6
    assert {u["unit"]: u["state"] for u in folder.status()["units"]} == {
        "other/photons": "new",
        "sums/photons": "removed",
    }
    assert folder.report()["status"] == "complete"


def closed_window():
    now = datetime.now(UTC)
    later, end = now + timedelta(hours=3), now + timedelta(hours=4)
    return {"start": f"{later:%H:%M}", "end": f"{end:%H:%M}", "timezone": "UTC"}
