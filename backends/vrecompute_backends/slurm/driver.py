"""`SlurmBackend`: jobs of one Slurm cluster, spoken to by its own commands on this machine or behind ssh.

Ids are 123, or 123_4 in an array; logs are slurm-ID.out in the spool. A mark of the spool is believed before squeue,
squeue before sacct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import Job, JobId, JobStatus
from vrecompute.batch.known import Answer, Seen
from vrecompute.batch.outage import Outage
from vrecompute.batch.queue_driver import QueueDriver
from vrecompute.batch.shape import Shape, job_name, labelled
from vrecompute.batch.survey import Survey
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute.units import to_slurm_mb, to_slurm_time
from vrecompute_backends.slurm import submit
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.rules import asked_by, slurm_rules
from vrecompute_backends.slurm.states import is_unclear, status_of
from vrecompute_backends.slurm.status import StatusQuery
from vrecompute_backends.slurm.survey import survey

__all__ = ["SlurmBackend"]


class SlurmBackend(QueueDriver):
    """Slurm by `sbatch`, `squeue`, `sacct` and `scancel`."""

    system = "Slurm"
    capabilities = Capabilities(gpus=True)
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
        self.query = StatusQuery(self)
        if self.options.prefer == "rest":
            self.outage = Outage(f"site {site.name!r}: slurmrestd at {self.options.rest_url}")

    def header(self, job: Job, shape: Shape) -> list[str]:
        """The #SBATCH lines, changed as `options.directives` says."""
        options = self.options
        memory = "0" if options.whole_node else ""  # all that the node has
        if shape.memory_bytes is not None:
            memory = f"{to_slurm_mb(shape.memory_bytes)}M"
        named = ("account", "qos", "reservation", "constraint", "licenses", "gres")
        asked = {
            "job-name": job_name(job.name),
            "nodes": shape.nodes,
            "ntasks-per-node": 1,
            "cpus-per-task": shape.cores,
            "time": to_slurm_time(self.granted_s(job)),
            "export": "NIL",  # nothing of the submitting environment, which may hold secrets
            "open-mode": "append",
            "requeue" if job.requeue else "no-requeue": True,
            "exclusive": options.whole_node,
            "mem": memory,
            "gpus-per-node": shape.gpus,
            "comment": labelled(job),
            "no-kill": shape.nodes > 1,  # the others go on when a node is lost
            "clusters": options.cluster,
            "partition": self._partition(job),
            **{name: getattr(options, name) for name in named},
        }
        lines = [f"--{name}" if value is True else f"--{name}={value}" for name, value in asked.items() if value]
        return [f"#SBATCH {line}" for line in options.directives.applied(lines)]

    def exclude(self, nodes: Sequence[str]) -> list[str]:
        """--exclude, unless the site drops it, with what its own directives name: of two, sbatch heeds the last."""
        named = self.options.directives.one_list(("--exclude", "-x"), nodes)
        return [] if named is None else [f"#SBATCH --exclude={named}"]

    def granted_s(self, job: Job) -> int:
        """Whole minutes."""
        return 60 * -(-job.walltime_s // 60)

    def step(self, nodes: int, cores: int) -> list[str]:
        """Nothing, or srun. A script of one node needs none (`direct`), unless the site gives scripts one core only."""
        if self.options.launcher == "direct" and nodes == 1:
            return []
        # --overlap, --mem=0: the step shares the first node with the script; a lost node ends no other task
        sizes = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}", "--mem=0"]
        return ["srun", *sizes, "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"]

    def key_of(self, status: JobStatus) -> str:
        """By its reason, and by what the site asks for."""
        return asked_by(self.site, status.reason_code, super().key_of(status), count=0)

    def queues_of(self, job: Job) -> Sequence[str]:
        """Partitions: one, or several of which Slurm chooses."""
        return tuple(filter(None, (self._partition(job) or "").split(",")))

    def hand_in(self, job: Job, script: str, count: int) -> str:
        """By sbatch, copies as one array."""
        return submit.hand_in(self, job, script, count)

    def dry_run(self, job: Job, script: str, count: int) -> str:
        """By `sbatch --test-only`."""
        return submit.dry_run(self, job, script, count)

    def ages(self, name: str) -> Mapping[str, float]:
        """By squeue; an array counts as one."""
        return submit.ages(self.access, self.options.cluster, name)

    def ask_about(self, ids: Sequence[JobId]) -> Answer[Seen]:
        """By `options.prefer`."""
        return self.query.ask(ids).meaning(
            lambda record: Seen(status_of(record, self.spool), record.explained, is_unclear(record))
        )

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
        done = submit.slurm(self.access, ["sinfo", "--version"])
        if done.code != 0:
            raise Unavailable(f"{self.access}: sinfo --version: {done.text.strip() or submit.complaint(done)}")
        return done.text.strip() or submit.complaint(done)

    def _partition(self, job: Job) -> str | None:
        return (self.options.controller_partition if job.controller else None) or self.options.partition
