"""How a command is started on each node of a job."""

from __future__ import annotations

__all__ = ["step"]


def step(launcher: str, nodes: int, cores: int) -> list[str]:
    """What is put before a command to start it once on each of the allocation's nodes: nothing, or srun.

    A script of one node needs no srun (`direct`), unless the site gives scripts one core only.
    """
    if launcher == "direct" and nodes == 1:
        return []
    # --overlap, --mem=0: the step shares the first node with the script; a lost node ends no other task
    sizes = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}", "--mem=0"]
    return ["srun", *sizes, "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"]
