"""Runs in the worker image: what the first events of a fresh worker cost, told as one line of JSON."""

import json
import os
import time

from vrecompute.analysis.loading import load_analysis
from vrecompute.kernels.cache import cache_folder


def main() -> None:
    """Print the facts."""
    kept = set(cache_folder().iterdir())
    analysis, _ = load_analysis("dilepton", {})
    wall, cpu = time.perf_counter(), time.process_time()
    analysis.rehearse()
    facts = {
        "user": os.getuid(),
        "folder": str(cache_folder()),
        "compiled": len(set(cache_folder().iterdir()) - kept),
        "cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
