"""Runs on a machine of the lab: a live cluster of a site, looked at from inside; tells facts as one line of JSON.

usage: live.py SITE [SCHEDULER_RUNS]
"""

import json
import logging
import subprocess
import sys
import time
import warnings
from dataclasses import replace

from distributed import Client
from distributed.security import Security

from vrecompute.batch.contract import SubmitError
from vrecompute.sites.load import load_site
from vrecompute_backends.slurm import SlurmBackend


def refuses(address: str, security: Security | None) -> bool:
    """Whether nobody can connect there with that security."""
    try:
        Client(address, security=security, timeout=5, set_as_default=False).close()
    except Exception:
        return True
    return False


def listening() -> list[str]:
    """Sockets that listen on the machine of a worker, Slurm's own aside: srun's, for what its step says."""
    told = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in told if '"srun"' not in line]


def logins(backend: SlurmBackend) -> int:
    """How many connections there are from this machine to the login node."""
    mine = backend.access.run(["printenv", "SSH_CONNECTION"]).text.split()[0]
    told = backend.access.run(["ss", "-Htn", "state", "established", "sport = :22"]).text.splitlines()
    return sum(f"{mine}:" in line for line in told)


def until(fits, patience_s: float = 180.0) -> None:
    started = time.monotonic()
    while not fits():
        if time.monotonic() - started > patience_s:
            raise TimeoutError
        time.sleep(0.05)


def main(name: str, scheduler_runs: str = "") -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    site = load_site(name)
    most = 3 if scheduler_runs == "allocation" else 2  # the scheduler's job counts too
    # as on a real site, an interval is longer than the seconds in which Slurm ends what a cancelled job runs
    site = replace(site, limits=replace(site.limits, max_jobs=most, min_poll=5))
    site = replace(site, scheduler_runs=scheduler_runs or site.scheduler_runs)
    backend = SlurmBackend(site)
    facts: dict[str, object] = {"site": site.name}
    polls = []
    poll = backend.poll
    backend.poll = lambda ids: polls.append(ids) or poll(ids)
    before = set(backend.access.names(backend.spool))
    with backend.open_cluster(100) as cluster:
        client = cluster.client
        client.wait_for_workers(4, timeout=180)
        facts["jobs_of_100_workers"] = len(cluster.job_ids())
        address = client.scheduler_info()["address"]
        worker = next(iter(client.nthreads()))
        if site.access.kind == "local":
            stranger = Security.temporary()
            facts["refused"] = [
                refuses(address, stranger),
                refuses(address.replace("tls://", "tcp://"), None),
                refuses(worker, stranger),
            ]
        first = cluster.job_ids()[0]
        backend.access.run(["scancel", first])
        asked = len(polls)
        until(lambda: first not in cluster.job_ids() and len(cluster.job_ids()) == 2)
        facts["replaced_after_polls"] = len(polls) - asked
        client.wait_for_workers(4, timeout=180)
        facts["deaths"] = [status.reason for status in cluster.deaths().values()]
        facts["sum"] = sum(client.gather(client.map(lambda n: n * n, range(10), pure=False)))
        facts["listening_on_c1"] = client.run(listening, workers=[next(w for w in client.nthreads() if ".11:" in w)])
        facts["listening"] = backend.access.run(["ss", "-Hltn"]).text.splitlines()
        if site.access.kind != "local":
            facts["logins"] = logins(backend)
        cluster.scale(2)
        until(lambda: len(cluster.job_ids()) == 1)
    until(lambda: not backend.access.run(["squeue", "-h", "-u", "alice"]).text.strip())
    left = set(backend.access.names(backend.spool)) - before
    facts["left"] = [n for n in left if "secrets" in n or n.endswith(".json")]
    refused = SlurmBackend(replace(site, options={**site.options, "partition": "nope"}))
    try:
        refused.open_cluster(1)
    except SubmitError as error:
        facts["refusal"] = str(error)
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
