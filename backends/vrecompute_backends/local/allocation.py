"""What runs inside a local job that has workers: a Dask cluster of this machine, and the command beside it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace

from vrecompute.batch.tls import TLS_FILE, tls_environment
from vrecompute.scratch import scratch
from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend

__all__ = ["main"]


def main() -> int:
    """Start the workers, run the command with their scheduler's address and keys, and give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    site = local_site()
    site = replace(site, workers=replace(site.workers, processes=given.workers, threads=given.threads))
    with LocalBackend(site).open_cluster(given.workers) as cluster, scratch("keys") as folder:
        pem = folder / TLS_FILE  # the folder is this user's alone
        pem.write_text(cluster.keys)
        own = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
        environment = {**own, **tls_environment(str(pem)), "DASK_SCHEDULER_ADDRESS": cluster.client.scheduler.address}
        return subprocess.run(given.command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
