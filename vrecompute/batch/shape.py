"""`Shape`: what a job asks its batch system for; and the name that it has there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vrecompute.batch.contract import Job
from vrecompute.sites.model import Site

__all__ = ["Shape", "job_name", "labelled", "shape_of"]

# What scheduler and Runner need beside the workers, if the job does not say.
_RUNNER_BYTES = 1 << 30


@dataclass(frozen=True)
class Shape:
    """What an allocation asks for: `nodes` of `cores`, `memory_bytes` and `gpus` each; None is the system's default."""

    nodes: int
    cores: int
    memory_bytes: int | None
    gpus: int = 0


def shape_of(job: Job, site: Site) -> Shape:
    """The allocation of a job: one node for a command alone; else as many as its workers fill.

    Scheduler and command share the cores of the first node with its workers, and have memory of their own.
    """
    if not job.workers:
        return Shape(1, job.cores, job.memory_bytes, job.gpus)
    workers = site.workers
    processes = min(job.workers, workers.processes)
    memory = workers.memory_per_process
    if memory is not None:
        memory = memory * processes + (job.memory_bytes or _RUNNER_BYTES)
    cores = max(job.cores, processes * workers.threads)
    return Shape(-(-job.workers // workers.processes), cores, memory, job.gpus)


def labelled(job: Job) -> str:
    """The labels of a job in one harmless word, `key=value` with commas between; empty where it has none."""
    return ",".join(f"{job_name(key)}={job_name(value)}" for key, value in job.labels.items())


def job_name(name: str) -> str:
    """A name that batch systems, their directives and terminals all read alike.

    >>> job_name("Z → µµ; $(reboot)")
    'Z-reboot'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name)[:64].strip("-.") or "vrecompute"
