"""A campaign on a pool that shares no path: parts go with jobs and come back, and growth costs its increment."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

HOME = "/home/alice/campaign"
CAMPAIGN = """\
schema: 1
name: lab
ledger: ledger.sqlite
products: products
store: /home/alice/store-campaign
sites: [lab-htcondor]
datasets: [{name: files, files: [FILES]}]
analyses: [{name: "/home/alice/lab/slow.py:Slow", key: slow, parameters: {sleep_s: 0}}]
shares: 2
walltime: 5m
"""


@pytest.fixture
def campaign(pool, data):
    """`command(word, files)`: (exit code, standard output) of a command of the campaign over these files."""
    pool.on("submit", "sh", "-c", f"rm -rf {HOME} /home/alice/store-campaign; mkdir -p {HOME}")

    def command(word, files, *words):
        pool.on("submit", "sh", "-c", f"cat > {HOME}/c.yaml", stdin=CAMPAIGN.replace("FILES", files))
        line = f'cd {HOME}; python -m vrecompute campaign "$@" 2> told; echo "rc=$?"; cat told >&2'
        told = pool.on("submit", "sh", "-c", line, "sh", word, "c.yaml", *words, timeout_s=900)
        output, _, code = told.rpartition("rc=")
        return int(code), output

    yield command
    pool.on("submit", "rm", "-rf", HOME, "/home/alice/store-campaign")


def test_a_dataset_that_grows_is_followed_by_shares(pool, campaign):
    listed = pool.on("submit", "sh", "-c", "ls /srv/data/lab/*.root").split()
    few, more = ", ".join(listed[:4]), ", ".join(listed[:5])
    code, output = campaign("tick", few)
    assert (code, output.strip()) == (0, "4 inputs new, 1 submitted")
    code, output = campaign("tick", few, "--wait", "--patience", "10m")
    assert (code, output.strip()) == (0, "1 published")
    code, output = campaign("tick", more, "--wait", "--patience", "10m")
    assert (code, output.strip()) == (0, "1 inputs new, 1 submitted, 1 published")
    report = json.loads(pool.on("submit", "cat", f"{HOME}/products/slow/files/current/report.json"))
    assert (report["status"], report["site"]) == ("complete", "lab-htcondor")
    assert (report["chunks"]["computed"], report["chunks"]["reused"]) == (1, 4)
    assert campaign("tick", more)[0] == 6
    assert pool.on("submit", "condor_q", "-af", "ClusterId").strip() == ""
