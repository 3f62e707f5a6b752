"""Runs on a machine of the lab: one run of an analysis, told as lines of JSON.

usage: program.py run|submit|attach SITE WHAT [NAME=VALUE...]      WHAT is an analysis, or a run to attach to
Settings of the site's workers are given as site.walltime=60.
"""

import json
import logging
import os
import sys
import warnings
from dataclasses import replace

from vrecompute import Client
from vrecompute.errors import Incomplete
from vrecompute.site import Site

DATASET = os.path.expanduser("~/lab/dataset.yaml")


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def site_of(name: str, changes: dict[str, str]) -> Site | None:
    if name == "here":
        return None
    site = Site.load(name)
    return replace(site, workers=replace(site.workers, **{k: int(v) for k, v in changes.items()}))


def main(how: str, name: str, what: str, *settings: str) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    given = dict(setting.split("=", 1) for setting in settings)
    changes = {k.removeprefix("site."): given.pop(k) for k in list(given) if k.startswith("site.")}
    store = given.pop("store")
    options = {"task_chunks": 1, "on_bad": given.pop("on_bad", "fail")}
    with Client(site_of(name, changes), store=store, workers=4) as client:
        run = client.attach(what) if how == "attach" else getattr(client, how)(what, DATASET, **options, **given)
        tell(run=run.id, pid=os.getpid())
        summary = run.report(timeout_s=240)
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
