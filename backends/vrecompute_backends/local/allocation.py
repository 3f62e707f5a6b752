"""What runs inside a local job that has workers: a Dask cluster of this machine, and the command beside it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace

from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend

__all__ = ["main"]


def main() -> int:
    """Start the workers, run the command with DASK_SCHEDULER_ADDRESS set, and give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    site = local_site()
    site = replace(site, workers=replace(site.workers, processes=given.workers, threads=given.threads))
    with LocalBackend(site).open_cluster(given.workers) as cluster:
        environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": cluster.client.scheduler.address}
        return subprocess.run(given.command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
