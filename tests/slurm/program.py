"""Runs on a machine of the lab: one run of an analysis, told as lines of JSON.

usage: program.py run|submit|attach|resume SITE WHAT [NAME=VALUE...]      WHAT is an analysis, or a run to attach to
SITE is `here`, `jobqueue` for a cluster of dask-jobqueue (Slurm's or HTCondor's), or the name of a site. Settings of
the site's workers are given as site.walltime=60, its scheduler_runs as site.scheduler_runs=allocation, whole nodes as
site.whole_node=yes, a partition as site.partition=NAME, one more directive as site.directive=--no-requeue. `deaths=1`
shortens what needs several walltimes; `workers=0` asks for no number of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import dask

from vrecompute import Client
from vrecompute.errors import Incomplete
from vrecompute.execution import pool
from vrecompute.sites.load import load_site
from vrecompute.sites.model import Site

if TYPE_CHECKING:
    from dask_jobqueue import HTCondorCluster, SLURMCluster

DATASET = os.path.expanduser("~/lab/dataset.yaml")


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def site_of(name: str, changes: dict[str, str]) -> Site | None:
    if name == "here":
        return None
    site = load_site(name)
    site = replace(site, scheduler_runs=changes.pop("scheduler_runs", site.scheduler_runs))
    options = dict(site.options)
    if word := changes.pop("directive", ""):
        options["directives"] = {"add": [word]}
    if partition := changes.pop("partition", ""):
        options["partition"] = partition
    if whole := changes.pop("whole_node", ""):
        options["whole_node"] = whole == "yes"
    site = replace(site, options=options)
    return replace(site, workers=replace(site.workers, **{k: int(v) for k, v in changes.items()}))


def jobqueue() -> SLURMCluster | HTCondorCluster:
    """What a user of dask-jobqueue has for this lab: four workers in jobs of their own."""
    from dask_jobqueue import HTCondorCluster, SLURMCluster

    if shutil.which("condor_submit"):
        directives = {"should_transfer_files": "YES", "transfer_executable": "false"}
        cluster = HTCondorCluster(
            cores=1, memory="700MB", disk="500MB", interface="eth0", python="/opt/venv/bin/python",
            job_extra_directives=directives, worker_extra_args=["--no-dashboard"],
        )  # fmt: skip
        cluster.scale(jobs=4)
        return cluster
    here = os.path.expanduser("~/jobqueue")
    dask.config.set({"temporary-directory": here})
    cluster = SLURMCluster(
        queue="batch", account="physics", cores=1, memory="1200MB", walltime="00:10:00", interface="ib0",
        local_directory=here, log_directory=here, job_script_prologue=[f"export PATH={os.environ['PATH']}"],
    )  # fmt: skip
    cluster.scale(jobs=4)
    return cluster


def main(how: str, name: str, what: str, *settings: str) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    given = dict(setting.split("=", 1) for setting in settings)
    changes = {k.removeprefix("site."): given.pop(k) for k in list(given) if k.startswith("site.")}
    store = given.pop("store")
    patience_s = float(given.pop("patience_s", 900))
    pool._DEATHS = int(given.pop("deaths", pool._DEATHS))
    workers = int(given.pop("workers", 4)) or None
    options = {"task_chunks": 1, "on_bad": given.pop("on_bad", "fail")}
    options |= {"shares": int(given.pop("shares"))} if "shares" in given else {}
    with contextlib.ExitStack() as opened:
        if name == "jobqueue":
            client = opened.enter_context(Client(dask=opened.enter_context(jobqueue()), store=store))
        else:
            client = opened.enter_context(Client(site_of(name, changes), store=store, workers=workers))
        if how in {"attach", "resume"}:
            run = client.attach(what)
            tell(before=run.status, job=str(run.job_status()))
            run = run.resume() if how == "resume" else run
        else:
            run = getattr(client, how)(what, DATASET, **options, **given)
        tell(run=run.id, pid=os.getpid())
        summary = run.report(timeout_s=patience_s)
        tell(
            status=summary.status,
            sha=summary.result_sha256,
            computed=summary.chunks.computed,
            reused=summary.chunks.reused,
            failures=[f"{f.file} {f.chunk}: {f.kind}: {f.reason}" for f in summary.failures],
            work_s=summary.time_s.get("work"),
        )
        if summary.status != "complete":
            try:
                run.result()
            except Incomplete as error:
                tell(message=str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
