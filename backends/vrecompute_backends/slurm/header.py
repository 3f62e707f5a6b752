"""What a job asks Slurm for: the #SBATCH lines of its script, and srun where a command starts on each node."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vrecompute.batch.contract import Job
from vrecompute.batch.shape import Shape, job_name
from vrecompute.units import to_slurm_mb, to_slurm_time
from vrecompute_backends.slurm.options import SlurmOptions

__all__ = ["exclusion", "granted_s", "header", "partition_of", "step"]


def granted_s(job: Job) -> int:
    """What a job is given, in seconds: Slurm counts whole minutes."""
    return 60 * -(-job.walltime_s // 60)


def header(job: Job, shape: Shape, options: SlurmOptions) -> list[str]:
    """The directives, changed as `options.directives` says."""
    lines = [
        f"--job-name={job_name(job.name)}",
        f"--nodes={shape.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={shape.cores}",
        f"--time={to_slurm_time(granted_s(job))}",
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
    if shape.gpus:
        lines.append(f"--gpus-per-node={shape.gpus}")
    if job.labels:
        lines.append("--comment=" + ",".join(f"{job_name(key)}={job_name(value)}" for key, value in job.labels.items()))
    if shape.nodes > 1:
        lines.append("--no-kill")  # the others go on when a node is lost
    named = ("partition", "account", "qos", "reservation", "constraint", "licenses", "gres")
    values = {"clusters": options.cluster, **{name: getattr(options, name) for name in named}}
    values["partition"] = partition_of(job, options)
    lines += [f"--{name}={value}" for name, value in values.items() if value is not None]
    dropped = set(options.directives.drop)
    lines = [line for line in lines if line.partition("=")[0] not in dropped]
    return [f"#SBATCH {line}" for line in (*lines, *options.directives.add)]


def partition_of(job: Job, options: SlurmOptions) -> str | None:
    """The partition of a job, or several with commas; None for the default one of Slurm."""
    return (options.controller_partition if job.controller else None) or options.partition


def exclusion(nodes: Sequence[str], options: SlurmOptions) -> list[str]:
    """--exclude, unless the site drops it, with those that its own directive names: of two, sbatch heeds the last."""
    if "--exclude" in options.directives.drop:
        return []
    given = (re.fullmatch(r"(?:--exclude[ =]|-x ?)(.+)", directive) for directive in options.directives.add)
    return [f"#SBATCH --exclude={','.join([*(found[1] for found in given if found), *nodes])}"]


def step(launcher: str, nodes: int, cores: int) -> list[str]:
    """What is put before a command to start it once on each of the allocation's nodes: nothing, or srun.

    A script of one node needs no srun (`direct`), unless the site gives scripts one core only.
    """
    if launcher == "direct" and nodes == 1:
        return []
    # --overlap, --mem=0: the step shares the first node with the script; a lost node ends no other task
    sizes = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}", "--mem=0"]
    return ["srun", *sizes, "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"]
