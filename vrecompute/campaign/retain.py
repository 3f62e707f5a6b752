"""What is kept: versions of products, and runs; a run of a kept version, or of the latest attempt, always."""

from __future__ import annotations

import time

from vrecompute.campaign.ledger import LeaseLost, Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.products import Products
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tally import Tally
from vrecompute.errors import UnknownRun, VrecomputeError

__all__ = ["remove_strays", "retain"]


def retain(file: CampaignFile, ledger: Ledger, sites: Sites, products: Products) -> None:
    """Remove versions beyond `retention.versions`, and runs older than `retention.runs`."""
    kept: set[str] = set()
    for row in ledger.rows("SELECT unit, published_run FROM units"):
        if row["published_run"] is None:
            continue
        removed = products.prune(row["unit"], file.campaign.retention.versions, {row["published_run"]})
        if removed:
            with ledger.writing():
                for version in removed:
                    ledger.note("version removed", row["unit"], version)
        kept.update(products.versions(row["unit"]))
    latest = {row["run"] for row in ledger.rows("SELECT run, max(number) FROM attempts GROUP BY unit")}
    before = time.time() - file.campaign.retention.runs
    old = ledger.rows("SELECT number, unit, run, site FROM attempts WHERE state = 'ended' AND ended < ?", (before,))
    for row in old:
        if row["run"] in kept | latest:
            continue
        try:
            sites.called(row["site"]).delete(row["run"], exact=True)
        except UnknownRun:
            pass  # it is gone already
        except VrecomputeError:
            continue  # the next tick tries again
        with ledger.writing():
            ledger.do("UPDATE attempts SET state = 'retired' WHERE number = ?", (row["number"],))
            ledger.note("run deleted", row["unit"], row["run"])


def remove_strays(file: CampaignFile, ledger: Ledger, sites: Sites, tally: Tally) -> None:
    """End and delete runs of the campaign that its ledger does not know; parts of them are reused.

    The ledger in a store is a snapshot of the end of a tick: a tick that was killed, or taken over, has left runs that
    are in none. One that is wanted still was found by its name before this.
    """
    if file.ledger is not None:  # the file has each attempt before its run exists
        return
    name, client = file.campaign.name, sites[0]
    known = {row["run"] for row in ledger.rows("SELECT run FROM attempts")}
    for run in client.store.children("runs"):
        if run in known or not run.startswith(f"{name}-"):
            continue
        try:
            stray = client.attach(run, exact=True)
            if stray.manifest.labels.get("campaign") != name:
                continue
            ledger.check()
            if is_live := stray.status in {"queued", "running"}:
                stray.cancel()
            else:
                stray.delete()
            with ledger.writing():
                unit = stray.manifest.labels.get("unit", "")
                ledger.note("stray cancelled" if is_live else "stray deleted", unit, run)
            tally.done["strays cancelled" if is_live else "strays deleted"] += 1
        except LeaseLost:
            raise
        except VrecomputeError:
            continue  # the next tick tries again
