"""Recomputes a random sample of what a campaign published, and compares bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from vrecompute.attachedrun import AttachedRun
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.productplace import open_products
from vrecompute.campaign.products import Products
from vrecompute.campaign.sites import Sites
from vrecompute.client import Client
from vrecompute.errors import UsageError, VrecomputeError
from vrecompute.scratch import scratch

__all__ = ["Verified", "verify"]


@dataclass(frozen=True)
class Verified:
    """What was compared: `unit`, `subject` (a file, or the product), chunks, and whether it is the same, or why not."""

    unit: str
    subject: str
    chunks: int
    same: bool
    why: str = ""


def verify(
    file: CampaignFile, ledger: Ledger, sites: Sites, key: str | None, sample: int, seed: int | None
) -> list[Verified]:
    """Compare the published results with the ledger, and `sample` files of each, computed anew here, with their parts.

    Of a unit or a run where there is a `key`; UsageError where nothing of it is published.
    """
    rows = ledger.rows(
        "SELECT u.unit, a.run, a.site, a.listing, a.code, a.result_sha256, a.manifest_sha256 FROM units u "
        "JOIN attempts a ON a.run = u.published_run ORDER BY u.unit"
    )
    rows = [row for row in rows if key is None or key in (row["unit"], row["run"])]
    if not rows:
        raise UsageError(f"nothing is published{f' of {key!r}' if key else ''}; there is nothing to verify")
    chosen, products = random.Random(seed), open_products(file)
    found: list[Verified] = []
    for row in rows:
        found.append(_product(products, row))
        client = sites.called(row["site"])
        run = client.attach(row["run"], exact=True, manifest_sha256=row["manifest_sha256"])
        files = sorted(ledger.listing(row["listing"]))
        for address in sorted(chosen.sample(files, min(sample, len(files)))):
            try:
                found.append(_recomputed(client, run, row["unit"], address))
            except VrecomputeError as error:  # of one file, which may be gone; the others are compared all the same
                found.append(Verified(row["unit"], address, 0, False, str(error)))
    return found


def _product(products: Products, row: Any) -> Verified:
    """Whether the file that is published is the one that the ledger names."""
    place = products.place(row["unit"], row["run"])
    found = products.result_sha256(row["unit"], row["run"])
    if found is None:
        return Verified(row["unit"], place, 0, False, "it is not there")
    same = found == row["result_sha256"]
    return Verified(row["unit"], place, 0, same, "" if same else "its sha256 is not the one of the ledger")


def _recomputed(client: Client, run: AttachedRun, unit: str, address: str) -> Verified:
    """One file: its parts in the store, merged, against the same chunks computed anew in another store."""
    manifest, analysis = run.manifest, run.analysis()
    only = replace(
        manifest.dataset, sources=tuple(source for source in manifest.dataset.sources if source.path == address)
    )
    with scratch("verify") as folder:
        size = manifest.settings.chunk_bytes
        with Client(store=client.store, workers=1) as here:
            kept = here.run(analysis, only, chunk_bytes=size).wait()
            report = kept.report()
            try:
                bytes_kept = kept.result().to_bytes()
            finally:
                kept.delete()
        with Client(store=folder / "store", workers=1) as anew:
            bytes_anew = anew.run(analysis, only, reuse=False, chunk_bytes=size).result().to_bytes()
    if report.analysis.digest != manifest.code:
        return Verified(unit, address, 0, False, "the analysis is not the one that made it: its code changed")
    if report.chunks.computed:
        return Verified(unit, address, report.chunks.total, False, "the file changed, or its parts are gone")
    same = bytes_kept == bytes_anew
    return Verified(unit, address, report.chunks.total, same, "" if same else "computed anew it has other bytes")
