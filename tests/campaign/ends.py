"""What is true of a campaign whatever its ticks went through: one job a unit, and the end of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter

from tests.campaign.campaigns import CampaignFolder
from vrecompute.batch.contract import JobId
from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend

__all__ = ["assert_one_job_of_each_unit", "change", "check_end", "end_jobs", "live_jobs", "settle"]

_PATIENCE_S = 300.0


def live_jobs() -> list[JobId]:
    """Jobs of this test whose process is there."""
    backend = LocalBackend(local_site())
    spool = backend._spool
    ids = [JobId(path.name) for path in spool.iterdir()] if spool.is_dir() else []
    return [job for job in ids if not backend.poll([job])[job].state.terminal and backend._alive(job) is not None]


def end_jobs() -> None:
    """Cancel those that a test which failed has left."""
    LocalBackend(local_site()).cancel(live_jobs())


def names_of(jobs: list[JobId]) -> Counter[str]:
    spool = LocalBackend(local_site())._spool
    return Counter((spool / job / "script").read_text().splitlines()[1].split()[1] for job in jobs)


def assert_one_job_of_each_unit(folder: CampaignFolder) -> None:
    """No run has two live jobs, and no unit two runs whose end is not known."""
    assert not [name for name, count in names_of(live_jobs()).items() if count > 1]
    with folder.ledger() as ledger:
        attempts = ledger.rows("SELECT unit FROM attempts WHERE state IN ('planned', 'submitted')")
    assert not [unit for unit, count in Counter(row["unit"] for row in attempts).items() if count > 1]


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


def settle(folder: CampaignFolder) -> None:
    """Ticks until there is nothing to do, and all jobs have ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while (result := folder.tick()).exit_code != 6:
        folder.pass_time()
        assert time.monotonic() < deadline, result
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
