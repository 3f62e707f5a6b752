"""Which lab of this machine a test runs on: `VRECOMPUTE_LAB`, and `VRECOMPUTE_SECOND_LAB` for what waits longest."""

from __future__ import annotations

import os

# Half of the whole time, nearly all of it waiting for Slurm's whole minutes and for daemons to come back.
_LONG = frozenset({"test_limits", "test_silence", "test_walltime"})


def lab_number(module: str) -> int:
    """The number of the lab for tests of a module."""
    first = os.environ.get("VRECOMPUTE_LAB", "1")
    second = os.environ.get("VRECOMPUTE_SECOND_LAB", first)
    return int(second if module.rpartition(".")[2] in _LONG else first)
