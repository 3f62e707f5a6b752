"""`vrecompute site check --probe` through the real queue."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

WRONG = """
schema: 1
name: wrong
extends: {site}
network: {{interface: ib9}}
"""


def probe(lab, machine, site):
    said = lab.on(machine, "python", "-m", "vrecompute", "site", "check", "--probe", "--json", site, check=False)
    return {finding["check"]: finding for finding in json.loads(said)[0]["probe"]}


@pytest.mark.parametrize(("machine", "site"), [("login", "lab-slurm"), ("client", "lab-slurm-ssh")])
def test_a_site_that_is_right_is_found_right(lab, machine, site):
    found = probe(lab, machine, site)
    assert {
        "slurm",
        "versions in jobs",
        "queue",
        "interfaces",
        "route to the scheduler",
        "route to a worker",
        "clock",
        "store",
    } <= set(found)
    assert [f for f in found.values() if not f["ok"]] == []


def test_a_wrong_interface_is_answered_with_the_line_that_mends_it(lab):
    write = "mkdir -p ~/site_configs && cat > ~/site_configs/wrong.yaml"
    lab.on("login", "sh", "-c", write, stdin=WRONG.format(site="/opt/vrecompute/sites/lab-slurm.yaml"))
    found = probe(lab, "login", "wrong")
    assert not found["interfaces"]["ok"]
    assert found["interfaces"]["advice"] == "network: {interface: ib0}"
