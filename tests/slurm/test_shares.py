"""A detached run of many jobs: one array, of which some are taken away."""

from __future__ import annotations

import pytest

from tests.slurm.runs import ANALYSIS, FILES, run, started, wait_for_parts

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

SHARES = 6


def test_an_array_of_shares_gives_the_same_bytes_whoever_cancels_one_of_them_and_whoever_ends_the_run(lab, reference):
    process, said = started(lab, "login", "submit", "lab-slurm", ANALYSIS, "store-shares", sleep_s=2, shares=SHARES)
    wait_for_parts(lab, "store-shares", 2)
    process.kill()
    lab.on("login", "kill", "-9", str(said["pid"]))
    ids = lab.on("login", "squeue", "--me", "--noheader", "--array", "--format=%A %i %t").splitlines()
    assert len({line.split()[1].partition("_")[0] for line in ids}) == 1, ids
    working = [line.split()[1] for line in ids if line.split()[2] == "R"]
    lab.on("login", "scancel", working[0])
    facts = run(lab, "login", "attach", "lab-slurm", said["run"], "store-shares")
    assert (facts["status"], facts["sha"]) == ("complete", reference), facts
    assert facts["computed"] + facts["reused"] == FILES
