"""A DAG that waits for jobs which are in the queue already, and whose FINAL node then carries a command out.

    condor-dag-NAME/     its files, and what DAGMan and the FINAL node write; it goes with old logs

The jobs are no nodes of it: DAGMan ends all jobs of a node's cluster once one of them fails, and submits them when it
likes. The FINAL node runs on the access point itself (`universe = local`), in the spool, also where the DAG is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vrecompute.batch.carried import packed
from vrecompute.batch.contract import Job, JobId
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.shape import job_name
from vrecompute_backends.htcondor.description import ONCE
from vrecompute_backends.htcondor.schedd import condor
from vrecompute_backends.htcondor.submit import complaint

__all__ = ["FILES", "add_final_node"]

_LOG = logging.getLogger(__name__)
#: The files of the DAG, by name. The node that waits has no job: NOOP.
FILES = {
    "run.dag": "JOB jobs final.sub NOOP\nSCRIPT PRE jobs wait.sh\nFINAL final final.sub\n",
    "wait.sh": '#!/bin/sh\nexec condor_wait "$PWD/../condor-{cluster}.log" {cluster}\n',
    "final.sub": "universe = local\nexecutable = {folder}/final.sh\ninitialdir = {spool}\noutput = {folder}/final.out\n"
    f"error = {{folder}}/final.out\nlog = {{folder}}/final.log\nnotification = never\n+{ONCE} = false\nqueue\n",
}
#: $1 the spool, $2 the folder in it, $3 the name of the DAG; stdin its files, packed.
_SUBMIT = r"""
cd -- "$1" && umask 077 && rm -rf -- "$2" && mkdir -- "$2" && cd -- "$2" || exit 1
tar -xf - && chmod 700 wait.sh final.sh && condor_submit_dag -batch-name "$3" -notification never run.dag
"""


def add_final_node(backend: QueueBackend, ids: Sequence[JobId], job: Job, script: str) -> bool:
    """Have the script of `job` run on the access point once these jobs of one cluster have ended; whether it will."""
    name, cluster = job_name(job.name), ids[0].partition(".")[0]
    folder = f"{backend.spool}/condor-dag-{name}"
    given = {"cluster": cluster, "folder": folder, "spool": backend.spool}
    files = {path: text.format(**given) for path, text in FILES.items()} | {"final.sh": script}
    command = ["sh", "-c", _SUBMIT, "sh", backend.spool, f"condor-dag-{name}", name]
    done = condor(backend, command, stdin=packed(files), timeout_s=120)
    if done.code != 0:
        _LOG.warning(
            "%s: condor_submit_dag: %s; a client has to merge what job %s makes",
            backend.access, complaint(done), cluster,
        )  # fmt: skip
    return done.code == 0
