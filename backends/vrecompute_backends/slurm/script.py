"""The one renderer of Slurm job scripts: a pure function of a job and a site.

No text of a user is ever read as shell code. Names become harmless words, arguments and values are
quoted, and texts that a site file documents as resolved on the site keep `$NAME` and nothing else.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from hashlib import sha256

from vrecompute.batch.contract import Job
from vrecompute.batch.prologue import prologue
from vrecompute.batch.tls import TLS_FILE, tls_environment
from vrecompute.errors import UsageError
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import shell_word
from vrecompute.units import to_slurm_mb, to_slurm_time
from vrecompute.workers.walltime import BEGAN, ENDS
from vrecompute_backends.slurm.options import SlurmOptions

__all__ = [
    "Shape",
    "job_name",
    "render",
    "secrets_folder",
    "shape_of",
]

# What scheduler and Runner need beside the workers, if the job does not say.
_RUNNER_BYTES = 1 << 30


@dataclass(frozen=True)
class Shape:
    """What an allocation asks for: `nodes` of `cores` and `memory_bytes` each; None is the system's default."""

    nodes: int
    cores: int
    memory_bytes: int | None


def shape_of(job: Job, site: Site) -> Shape:
    """The allocation of a job: one node for a command alone; else as many as its workers fill.

    Scheduler and command share the cores of the first node with its workers, and have memory of their own.
    """
    if not job.workers:
        return Shape(1, job.cores, job.memory_bytes)
    workers = site.workers
    processes = min(job.workers, workers.processes)
    memory = workers.memory_per_process
    if memory is not None:
        memory = memory * processes + (job.memory_bytes or _RUNNER_BYTES)
    return Shape(-(-job.workers // workers.processes), max(job.cores, processes * workers.threads), memory)


def render(job: Job, site: Site, options: SlurmOptions) -> str:
    """The script of a job, as `sbatch` reads it from its standard input, with the spool folder as --chdir."""
    folder = secrets_folder(job)
    lines = ["#!/bin/bash -l", *(f"#SBATCH {line}" for line in _directives(job, site, options))]
    lines += [
        "# shellcheck disable=SC1003,SC2016  # quoted text is meant to stay as it is",
        "unset SLURM_CLUSTERS  # of a profile: job steps are of the cluster that the job is in",
        "HOME=~ USER=$(id -un)",
        "export HOME USER SLURM_EXPORT_ENV=ALL  # job steps see what this script sets",
        "id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
        "mark=${id:-$SLURM_JOB_ID}.${SLURM_RESTART_COUNT:-0}.end",
        'export VRECOMPUTE_JOB="${id:-$SLURM_JOB_ID}"',
        'export VRECOMPUTE_INDEX="${SLURM_ARRAY_TASK_ID:-0}"',
        # of this attempt: a requeued job has its whole walltime again
        "began=${SLURM_JOB_START_TIME:-$(date +%s)}",
        f'export {BEGAN}="$began" {ENDS}="${{SLURM_JOB_END_TIME:-$((began + {_walltime_s(job)}))}}"',
        *prologue(site, job.environment),
    ]
    if folder:
        lines.append(f'export VRECOMPUTE_SECRETS="$PWD/{folder}-${{SLURM_ARRAY_TASK_ID:-0}}"')
        if TLS_FILE in job.secret_files:
            there = tls_environment(f"$VRECOMPUTE_SECRETS/{TLS_FILE}")
            lines += [f"export {name}={shell_word(value)}" for name, value in there.items()]
        if not job.requeue:
            lines.append("trap 'rm -rf -- \"$VRECOMPUTE_SECRETS\"' EXIT")
    lines += [shlex.join(_command(job, site, options)), "code=$?"]
    if folder and job.requeue:  # an attempt that is killed may be followed by another, which needs them
        lines.append('[ "$code" -ge 128 ] || rm -rf -- "$VRECOMPUTE_SECRETS"')
    lines += [
        "# an end by itself leaves a mark; what a signal ended is for Slurm to explain",
        'if [ "$code" -lt 128 ]; then echo "$code" > "$mark.part" && mv -- "$mark.part" "$mark"; fi',
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def secrets_folder(job: Job) -> str:
    """The folder in the spool that the job's secret files go to, empty without any; it tells nothing of them.

    Jobs of one name with the same secrets share it, and lose it together: name jobs with secrets apart.
    """
    if not job.secret_files:
        return ""
    digest = sha256(job.name.encode())
    for name, content in sorted(job.secret_files.items()):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise UsageError(f"{name!r} is not a name for a secret file: use letters, digits, '.', '_' and '-'")
        digest.update(name.encode() + b"\0" + sha256(content).digest())
    return f"secrets-{digest.hexdigest()[:24]}"


def job_name(name: str) -> str:
    """A name that Slurm, `#SBATCH` lines and terminals all read alike.

    >>> job_name("Z → µµ; $(reboot)")
    'Z-reboot'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name)[:64].strip("-.") or "vrecompute"


def _walltime_s(job: Job) -> int:
    """What a job is given, in seconds: Slurm counts whole minutes."""
    return 60 * -(-job.walltime_s // 60)


def _directives(job: Job, site: Site, options: SlurmOptions) -> list[str]:
    shape = shape_of(job, site)
    lines = [
        f"--job-name={job_name(job.name)}",
        f"--nodes={shape.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={shape.cores}",
        f"--time={to_slurm_time(_walltime_s(job))}",
        "--export=NIL",  # nothing of the submitting environment, which may hold secrets
        "--open-mode=append",
        "--requeue" if job.requeue else "--no-requeue",
    ]
    if options.whole_node:
        lines.append("--exclusive")
    if shape.memory_bytes is not None:
        lines.append(f"--mem={to_slurm_mb(shape.memory_bytes)}M")
    elif options.whole_node:
        lines.append("--mem=0")  # all that the node has
    if shape.nodes > 1:
        lines.append("--no-kill")  # the others go on when a node is lost
    named = ("partition", "account", "qos", "reservation", "constraint", "licenses", "gres")
    values = {"clusters": options.cluster, **{name: getattr(options, name) for name in named}}
    if job.controller and options.controller_partition is not None:
        values["partition"] = options.controller_partition
    lines += [f"--{name}={value}" for name, value in values.items() if value is not None]
    dropped = set(options.directives.drop)
    lines = [line for line in lines if line.partition("=")[0] not in dropped]
    return [*lines, *options.directives.add]


def _command(job: Job, site: Site, options: SlurmOptions) -> list[str]:
    if not job.workers:
        return list(job.command)
    workers, network = site.workers, site.network
    command = ["python", "-m", "vrecompute_backends.slurm.allocation"]
    command += ["--workers", str(job.workers), "--processes", str(min(job.workers, workers.processes))]
    command += ["--threads", str(workers.threads), "--launcher", options.launcher]
    given = {
        "memory-bytes": workers.memory_per_process,
        "interface": network.interface,
        "ports": network.worker_ports,
        "scheduler-ports": network.scheduler_ports,
    }
    for name, value in given.items():
        command += [] if value is None else [f"--{name}", str(value)]
    return [*command, *([] if network.tls else ["--no-tls"]), "--", *job.command]
