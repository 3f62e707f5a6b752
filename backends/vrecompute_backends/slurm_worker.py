"""The command that starts Dask workers on one node, the same in live and detached runs."""

from __future__ import annotations

from dataclasses import dataclass

from vrecompute.site import PortRange

__all__ = ["SETTINGS", "WorkerShape", "lifetime_of", "tls_environment", "worker_command"]

#: Dask settings of workers, as environment variables: a worker short of memory is restarted, nothing is
#: spilled (chunks are small), and a kernel that holds its thread for long is alive all the same.
SETTINGS = {
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "0.95",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "None",
}
# What the process that watches the workers of a node needs for itself.
_NANNY_BYTES = 192 << 20
_LEAST_SHARE = 0.8


@dataclass(frozen=True)
class WorkerShape:
    """`processes` workers on one node, `threads` each; `memory_bytes` is of one process, None without a limit."""

    processes: int = 1
    threads: int = 1
    memory_bytes: int | None = None
    interface: str | None = None
    ports: PortRange | None = None


def worker_command(shape: WorkerShape, address: str, name: str | None, walltime_s: int | None) -> list[str]:
    """The argument list of a node's workers. With a walltime they end by themselves before it, one after another."""
    command = ["python", "-m", "distributed.cli.dask_worker", address]
    command += [] if name is None else ["--name", name]
    command += ["--nworkers", str(shape.processes), "--nthreads", str(shape.threads), "--nanny"]
    # metrics and health are served without encryption: to this node alone
    command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    command += ["--death-timeout", "120"]
    # how a worker died, and with what memory, is told by the process that watches it
    command += ["--preload-nanny", "vrecompute.lastword"]
    if shape.memory_bytes is not None:
        share = max(shape.memory_bytes - _NANNY_BYTES // shape.processes, int(_LEAST_SHARE * shape.memory_bytes))
        command += ["--memory-limit", str(share)]
    if walltime_s is not None:
        lifetime, stagger = lifetime_of(walltime_s)
        command += ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"]
    if shape.interface is not None:
        command += ["--interface", shape.interface]
    if shape.ports is not None:
        middle = (shape.ports.first + shape.ports.last) // 2
        command += [
            "--worker-port",
            f"{shape.ports.first}:{middle}",
            "--nanny-port",
            f"{middle + 1}:{shape.ports.last}",
        ]
    return command


def lifetime_of(walltime_s: int) -> tuple[int, int]:
    """(lifetime, stagger) in seconds: a worker ends `lifetime` +- `stagger` after its start, before the walltime.

    >>> lifetime_of(3600), lifetime_of(120)
    ((3300, 120), (84, 12))
    """
    stagger = max(1, min(120, walltime_s // 10))
    margin = max(1, min(180, walltime_s // 5))
    return walltime_s - margin - stagger, stagger


def tls_environment(pem: str) -> dict[str, str]:
    """Variables with which every Dask program makes and takes connections with the key in `pem`, and no others."""
    names = ["CA_FILE", *(f"{role}__{part}" for role in ("CLIENT", "SCHEDULER", "WORKER") for part in ("CERT", "KEY"))]
    found = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": pem for name in names}
    return {**found, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
