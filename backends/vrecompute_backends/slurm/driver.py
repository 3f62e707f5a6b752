"""`SlurmBackend`: jobs of one Slurm cluster, spoken to by its own commands on this machine or behind ssh.

Ids are 123, or 123_4 in an array; logs are slurm-ID.out in the spool. A mark of the spool is believed before squeue,
squeue before sacct.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import Job, JobId
from vrecompute.batch.known import Answer, Seen
from vrecompute.batch.outage import Outage
from vrecompute.batch.queue_driver import QueueDriver
from vrecompute.batch.shape import Shape
from vrecompute.batch.survey import Survey
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute_backends.slurm import submit
from vrecompute_backends.slurm.header import exclusion, granted_s, header, partition_of, step
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.rules import slurm_rules
from vrecompute_backends.slurm.shell import version
from vrecompute_backends.slurm.states import is_unclear, status_of
from vrecompute_backends.slurm.status import StatusQuery
from vrecompute_backends.slurm.survey import survey

__all__ = ["SlurmBackend"]

_ID = re.compile(r"[0-9]+(_[0-9]+)?")


class SlurmBackend(QueueDriver):
    """Slurm by `sbatch`, `squeue`, `sacct` and `scancel`."""

    system = "Slurm"
    capabilities = Capabilities(images=True, gpus=True)
    options_model = SlurmOptions
    site_rules = staticmethod(slurm_rules)
    options: SlurmOptions
    preamble = (
        "unset SLURM_CLUSTERS  # of a profile: job steps are of the cluster that the job is in",
        "HOME=~ USER=$(id -un)",
        "export HOME USER SLURM_EXPORT_ENV=ALL  # job steps see what this script sets",
        "id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
    )
    variables = {  # noqa: RUF012 -- a Mapping in QueueBackend
        "job": "${id:-$SLURM_JOB_ID}",
        "attempt": "${SLURM_RESTART_COUNT:-0}",
        "index": "${SLURM_ARRAY_TASK_ID:-0}",
        "began": "${SLURM_JOB_START_TIME:-}",
        "ends": "${SLURM_JOB_END_TIME:-}",
    }
    requeue = 'scontrol requeue "$SLURM_JOB_ID"'

    def __init__(self, site: Site, access: Access | None = None) -> None:
        super().__init__(site, access)
        self.ending = f"scancel --clusters={self.options.cluster}" if self.options.cluster else "scancel"
        self.whole_node, self.array = self.options.whole_node, self.options.array
        self.query = StatusQuery(site, self.options, self.access, self.ask_site)
        if self.options.prefer == "rest":
            self.outage = Outage(f"site {site.name!r}: slurmrestd at {self.options.rest_url}")

    def header(self, job: Job, shape: Shape) -> list[str]:
        """The #SBATCH lines."""
        return header(job, shape, self.options)

    def exclude(self, nodes: Sequence[str]) -> list[str]:
        """--exclude."""
        return exclusion(nodes, self.options)

    def granted_s(self, job: Job) -> int:
        """Whole minutes."""
        return granted_s(job)

    def step(self, nodes: int, cores: int) -> list[str]:
        """Nothing, or srun, as `options.launcher` says."""
        return step(self.options.launcher, nodes, cores)

    def hand_in(self, job: Job, script: str, count: int) -> str:
        """By sbatch, copies as one array."""
        return submit.hand_in(self.site, self.access, self.options.cluster, job, script, self._arguments(count))

    def dry_run(self, job: Job, script: str, count: int) -> str:
        """By `sbatch --test-only`."""
        return submit.dry_run(self.site, self.access, job, script, self._arguments(count))

    def queues_of(self, job: Job) -> Sequence[str]:
        """Partitions, as `header` names them."""
        return tuple(filter(None, (partition_of(job, self.options) or "").split(",")))

    def ages(self, name: str) -> Mapping[str, float]:
        """By squeue; an array counts as one."""
        return submit.ages(self.access, self.options.cluster, name)

    def is_id(self, text: str) -> bool:
        """Digits, and those of an array's element."""
        return _ID.fullmatch(text) is not None

    def ask_about(self, ids: Sequence[JobId]) -> Answer[Seen]:
        """By `options.prefer`."""
        answer = self.query.ask(ids)
        records = {
            job_id: Seen(status_of(record), record.explained, is_unclear(record))
            for job_id, record in answer.records.items()
        }
        return Answer(records, answer.silent, answer.instead, answer.gone, answer.accounting)

    def end(self, ids: Sequence[str]) -> None:
        """By scancel."""
        submit.cancel(self.access, self.options.cluster, ids)

    def log(self, job_id: JobId) -> str:
        """Where Slurm writes if nothing else is said."""
        return f"slurm-{job_id}.out"

    def survey(self) -> Survey:
        """By sinfo, scontrol and sacctmgr."""
        return survey(self.access, self.greet(), self.options)

    def greet(self) -> str:
        """What sinfo says."""
        return version(self.access)

    def _arguments(self, count: int) -> list[str]:
        return [f"--chdir={self.spool}", *([f"--array=0-{count - 1}"] if count > 1 else [])]
