"""The command that starts Dask workers on the nodes of a job, the same in live and detached runs."""

from __future__ import annotations

from dataclasses import dataclass

from vrecompute.batch.dask_settings import as_environment
from vrecompute.sites.model import PortRange

__all__ = ["SETTINGS", "WorkerShape", "halves", "worker_command"]

#: Dask's settings, as environment variables of a job.
SETTINGS = as_environment()
# What the process that watches the workers of a node needs for itself.
_NANNY_BYTES = 192 << 20
_LEAST_SHARE = 0.8


@dataclass(frozen=True)
class WorkerShape:
    """`processes` workers on one node, `threads` each; `memory_bytes` is of one process, None without a limit.

    `gpus` are those of the node, of which each process has its share as Dask's resource GPU.
    """

    processes: int = 1
    threads: int = 1
    memory_bytes: int | None = None
    interface: str | None = None
    ports: PortRange | None = None
    gpus: int = 0


def worker_command(shape: WorkerShape, address: str, *, leave: bool) -> list[str]:
    """The argument list of a node's workers. With `leave`, idle ones go before their job is ended at its walltime."""
    command = ["python", "-m", "vrecompute.workers.daskworker", address]
    command += ["--nworkers", str(shape.processes), "--nthreads", str(shape.threads), "--nanny"]
    # metrics and health are served without encryption: to this node alone
    command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    command += ["--death-timeout", "120"]
    # the nanny reports how a worker died, and with what memory
    command += ["--preload-nanny", "vrecompute.workers.worker_exit"]
    if shape.memory_bytes is not None:
        share = max(shape.memory_bytes - _NANNY_BYTES // shape.processes, int(_LEAST_SHARE * shape.memory_bytes))
        command += ["--memory-limit", str(share)]
    command += ["--preload", "vrecompute.workers.quick_exit"]
    command += ["--preload", "vrecompute.workers.drain"] if leave else []
    command += ["--resources", f"GPU={shape.gpus / shape.processes:g}"] if shape.gpus else []
    if shape.interface is not None:
        command += ["--interface", shape.interface]
    if shape.ports is not None:
        workers, nannies = halves(shape.ports)
        command += ["--worker-port", _given(workers), "--nanny-port", _given(nannies)]
    return command


def halves(ports: PortRange) -> tuple[PortRange, PortRange]:
    """The ports of a node's workers, and those of the processes that watch them."""
    middle = (ports.first + ports.last) // 2
    return PortRange(ports.first, middle), PortRange(min(middle + 1, ports.last), ports.last)


def _given(ports: PortRange) -> str:
    """As Dask reads it, which refuses a range that ends where it begins."""
    return str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"
