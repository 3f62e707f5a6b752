"""A campaign on the lab's Slurm: a tick that was lost is taken over, and growth costs its increment."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

HOME = "/home/alice/campaign"
CAMPAIGN = """\
schema: 1
name: lab
ledger: ledger.sqlite
products: products
store: /home/alice/store-campaign
sites: [lab-slurm]
datasets: [{name: files, files: [data/*.root]}]
analyses: [{name: "/home/alice/lab/slow.py:Slow", key: slow, parameters: {sleep_s: 2}}]
workers: 2
walltime: 5m
"""


@pytest.fixture
def campaign(lab, data):
    """`command(*words)`: (exit code, standard output) of a command of the campaign on the login node."""
    lab.on("login", "sh", "-c", f"rm -rf {HOME} /home/alice/store-campaign; mkdir -p {HOME}/data")
    lab.on("login", "sh", "-c", f"cat > {HOME}/c.yaml", stdin=CAMPAIGN)

    def command(word, *words):
        line = f'cd {HOME}; python -m vrecompute campaign "$@" 2> told; echo "rc=$?"; cat told >&2'
        told = lab.on("login", "sh", "-c", line, "sh", word, "c.yaml", *words, timeout_s=900)
        output, _, code = told.rpartition("rc=")
        return int(code), output

    yield command
    lab.on("login", "rm", "-rf", HOME, "/home/alice/store-campaign")


def add(lab, *numbers):
    """Files of the lab's dataset arrive, whole."""
    for number in numbers:
        one = f"ls /home/alice/lab/*.root | sed -n {number}p"
        lab.on("login", "sh", "-c", f'cp "$({one})" {HOME}/part && mv {HOME}/part {HOME}/data/{number}.root')


def jobs(lab):
    return lab.on("login", "squeue", "--me", "--noheader", "--format=%F").split()


def test_a_dataset_that_grows_is_followed_and_a_lost_tick_is_taken_over(lab, campaign):
    add(lab, 1, 2, 3)
    code, output = campaign("tick")
    assert (code, output.strip()) == (0, "3 inputs new, 1 submitted")
    (job,) = jobs(lab)
    # as if that tick had been killed before it could keep the id of its job
    lab.on("login", "sh", "-c", "rm -r /home/alice/store-campaign/runs/*/jobs")
    assert campaign("tick")[0] == 6
    assert jobs(lab) == [job]
    code, output = campaign("tick", "--wait", "--patience", "10m")
    assert (code, output.strip()) == (0, "1 published")
    add(lab, 4)
    code, output = campaign("tick", "--wait", "--patience", "10m")
    assert (code, output.strip()) == (0, "1 inputs new, 1 submitted, 1 published")
    report = json.loads(lab.on("login", "cat", f"{HOME}/products/slow/files/current/report.json"))
    assert (report["status"], report["site"]) == ("complete", "lab-slurm")
    assert (report["chunks"]["computed"], report["chunks"]["reused"]) == (1, 3)
    assert campaign("tick")[0] == 6
    assert comes_true(lambda: jobs(lab) == [])
