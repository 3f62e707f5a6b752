"""What must hold between keys of a site with `backend: htcondor`, said by `site check` before a run finds it out."""

from __future__ import annotations

from collections.abc import Iterator

from vrecompute.batch.queue_rules import queue_rules
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["htcondor_rules"]


def htcondor_rules(site: Site) -> Iterator[Diagnostic]:
    """What any queue's site must hold, and what a pool without a shared file system has. Pure."""
    yield from queue_rules(site, starts_images=True)
    if site.options.get("file_transfer", True) and site.store.workers_reach and "://" not in (site.store.url or ""):
        yield Diagnostic(
            at("store.workers_reach", "store.url", "options.file_transfer"),
            "machines of a pool reach no folder of this one: add `workers_reach: false` to store, or where they share "
            "its file systems `file_transfer: false` to options",
        )
