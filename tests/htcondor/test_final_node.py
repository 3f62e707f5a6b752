"""A FINAL node on the access point ends detached runs though no client asks, and doing so twice is doing it once."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

STORE = "/home/alice/store-final"
SITE = "schema: 1\nname: final\nbackend: htcondor\nextends: lab-htcondor\noptions: {final_node: true}\n"
PLACE = "/home/alice/final.yaml"
LEFT = "ls ~/.local/state/vrecompute/htcondor | grep -E '^(carried|secrets)|[.]sh$'; true"
TOLD = "cat ~/.local/state/vrecompute/htcondor/condor-dag-vre-{}-0-merge/final.out"
OUTCOMES = "ls {}/runs/{}/outcomes 2> /dev/null | wc -l"


@pytest.fixture
def abandoned(pool, data):
    """A run of shares whose client was killed as soon as it had submitted it."""
    pool.on("submit", "sh", "-c", f"rm -rf {STORE}; cat > {PLACE}", stdin=SITE)

    def submitted(**settings):
        process, said = started(pool, "submit", "submit", PLACE, ANALYSIS, STORE, workers=0, **settings)
        process.kill()
        pool.on("submit", "kill", "-9", str(said["pid"]))
        process.wait(30)
        return said["run"]

    return submitted


def ended(pool, name):
    """Whether there is an outcome in the store; nothing is asked."""
    return int(pool.on("submit", "sh", "-c", OUTCOMES.format(STORE, name))) > 0


def test_a_run_that_nobody_asks_about_ends_complete_and_attaching_finds_the_same(pool, abandoned, reference):
    name = abandoned(sleep_s=0, shares=4)
    assert comes_true(lambda: ended(pool, name), 300), pool.on("submit", "condor_q", "-nobatch", "-dag")
    assert comes_true(lambda: pool.queue() == [], 60), "nor does the DAG stay"
    assert "complete: " in pool.on("submit", "sh", "-c", TOLD.format(name))
    assert pool.on("submit", "sh", "-c", LEFT) == ""
    command = ["python", "-m", "vrecompute", "runs", "list", "--store", STORE, "--no-ask", "--json"]
    (listed,) = json.loads(pool.on("submit", *command))
    assert listed["state"] == "complete", listed
    facts = run(pool, "submit", "attach", PLACE, name, STORE)
    assert (facts["before"], facts["status"], facts["sha"]) == ("complete", "complete", reference)
    assert facts["computed"] == FILES


def test_where_a_job_was_removed_what_lacks_is_left_to_who_attaches(pool, abandoned, reference):
    name = abandoned(sleep_s=2, shares=4)
    assert comes_true(lambda: len(pool.running()) >= 1, 120)
    pool.on("submit", "condor_rm", pool.running()[0])
    told = TOLD.format(name) + " 2> /dev/null; true"
    assert comes_true(lambda: "runs attach" in pool.on("submit", "sh", "-c", told), 300)
    assert not ended(pool, name)
    facts = run(pool, "submit", "attach", PLACE, name, STORE)
    assert (facts["status"], facts["sha"]) == ("complete", reference), facts
    assert comes_true(lambda: pool.queue() == [], 90)
