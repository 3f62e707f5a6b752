"""What a site says a run may have is what it gets, on a real Slurm."""

from __future__ import annotations

import pytest

from tests.slurm.runs import ANALYSIS, FILES, run, started
from tests.slurm.test_walltime import jobs_since, now

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def site(lab, name: str, lines: str) -> str:
    """The path of a site that extends the lab's, on the login node."""
    path = f"/home/alice/{name}.yaml"
    text = f"schema: 1\nname: {name}\nbackend: slurm\nextends: lab-slurm\n{lines}"
    lab.on("login", "sh", "-c", 'cat > "$1"', "sh", path, stdin=text)
    return path


def test_a_live_run_grows_to_as_many_jobs_as_the_site_gives(lab, reference):
    store, began = "/home/alice/store-growing", now(lab)
    lab.on("login", "rm", "-rf", store)
    growing = site(lab, "growing", "workers: {processes: 1, memory: 800MiB, nodes: {min: 1, max: 3}}\n")
    facts = run(lab, "login", "run", growing, ANALYSIS, store, sleep_s=2, workers=0)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    assert len(jobs_since(lab, began)) == 3, "24 chunks are work for six threads"


@pytest.mark.acceptance
def test_a_live_run_ends_where_its_core_hours_are_used_and_another_finishes_it(lab, reference):
    """A job of two cores and two minutes is 0.067 core-hours: there is one, and none after it."""
    store, began = "/home/alice/store-budget", now(lab)
    lab.on("login", "rm", "-rf", store)
    tight = site(lab, "tight", "workers: {walltime: 2m}\nlimits: {core_hours: 0.1}\n")
    process, first = started(lab, "login", "run", tight, ANALYSIS, store, sleep_s=10)
    output, _ = process.communicate(timeout=600)
    assert "OverBudget" in output, output[-2000:]
    assert "of 0.1 h used by this client, limits.core_hours" in output
    assert len(jobs_since(lab, began)) == 1
    facts = run(lab, "login", "resume", "lab-slurm", first["run"], store)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    assert facts["reused"] >= 2
    assert facts["reused"] + facts["computed"] == FILES
