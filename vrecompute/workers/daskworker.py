"""`dask worker` as our clusters want it: what Dask reads from the user's files may be for another cluster.

python -m vrecompute.workers.daskworker ADDRESS [options of `dask worker`]       variables `DASK_...` hold
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import PurePosixPath

import dask

__all__ = ["main", "name_semaphores"]


def name_semaphores(otherwise: str = "") -> None:
    """Name semaphores of this process and its children after `$TMPDIR` of its job, with which they are deleted.

    Beside jobs they have the name `otherwise`, if any. A nanny has two queues for each of its workers, and Python gives
    their semaphores names that tell nothing.
    """
    folder = PurePosixPath(os.environ.get("TMPDIR", "")).name
    if not folder.startswith(f"vre-{os.getuid()}-"):
        folder = otherwise
    if folder:
        # no public way: what Python reads for each name, and children inherit
        multiprocessing.current_process()._config["semprefix"] = f"/{folder}"  # type: ignore[attr-defined]


def main() -> None:
    """Run a node's workers until they are asked to end."""
    name_semaphores()
    dask.config.refresh(paths=[], env=dict(os.environ))
    from distributed.cli.dask_worker import main as dask_worker

    dask_worker()


if __name__ == "__main__":
    main()
