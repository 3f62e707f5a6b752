"""`dask worker` as our clusters want it: what Dask reads from the user's files may be for another cluster.

python -m vrecompute.workers.daskworker ADDRESS [options of `dask worker`]       variables `DASK_...` hold
"""

from __future__ import annotations

import os

import dask

__all__ = ["main"]


def main() -> None:
    """Run a node's workers until they are asked to end."""
    dask.config.refresh(paths=[], env=dict(os.environ))
    from distributed.cli.dask_worker import main as dask_worker

    dask_worker()


if __name__ == "__main__":
    main()
