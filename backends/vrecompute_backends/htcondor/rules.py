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
    schedd, files = site.options.get("schedd"), site.options.get("file_transfer", True)
    if site.options.get("pool") and not schedd:
        yield Diagnostic(
            at("options.pool"), "says where a schedd elsewhere is known: add `schedd: NAME` to options, or remove it"
        )
    if schedd and not files:
        yield Diagnostic(
            at("options.schedd", "options.file_transfer"),
            "files of jobs go to a schedd elsewhere by HTCondor's file transfer: leave out `file_transfer: false`, or "
            "the schedd and let `access` of the site name its machine",
        )
    if schedd and site.options.get("final_node"):
        yield Diagnostic(
            at("options.final_node", "options.schedd"),
            "a FINAL node runs where jobs are submitted, and a schedd elsewhere does not have the store: leave one out",
        )
    if schedd and site.scheduler_runs == "allocation":
        yield Diagnostic(
            at("scheduler_runs", "options.schedd"),
            "what a job writes comes from a schedd elsewhere when it has ended: a Dask scheduler in a job cannot tell "
            "where it is; write `client` or `login`",
        )
    if files and site.store.workers_reach and "://" not in (site.store.url or ""):
        yield Diagnostic(
            at("store.workers_reach", "store.url", "options.file_transfer"),
            "machines of a pool reach no folder of this one: add `workers_reach: false` to store, or where they share "
            "its file systems `file_transfer: false` to options",
        )
