"""Live mode on the lab: encrypted, bounded, replaced when jobs go, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

PROGRAM = (Path(__file__).parent / "live.py").read_text()


@pytest.mark.parametrize(
    ("machine", "site", "scheduler_runs"),
    [
        ("login", "lab-slurm", "login"),
        ("client", "lab-slurm-ssh", "allocation"),
        pytest.param("login", "lab-slurm", "allocation", marks=pytest.mark.acceptance),
        pytest.param("client", "lab-slurm-ssh", "login", marks=pytest.mark.acceptance),
    ],
)
def test_a_live_cluster(lab, machine, site, scheduler_runs):
    command = ["sh", "-c", 'exec python - "$@" 2>&1', "sh", site, scheduler_runs]
    said = lab.on(machine, *command, stdin=PROGRAM, timeout_s=800, check=False)
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert lines, said[-3000:]
    facts = json.loads(lines[-1])
    assert facts["sum"] == 285
    assert facts["jobs_of_100_workers"] == 2, "limits.max_jobs is honoured"
    assert facts.get("refused", [True]) == [True] * len(facts.get("refused", [True]))
    assert facts["replaced_after_polls"] <= 2
    assert facts.get("logins", 1) == 1, "commands, the scheduler and the tunnel share one connection"
    assert facts["deaths"]
    assert all(reason.startswith("CANCELLED: job ") for reason in facts["deaths"])
    assert facts["left"] == []
    assert "invalid partition" in facts["refusal"]
    # sshd, and the scheduler on the fabric; all else on loopback
    public = [line.split()[3] for line in facts["listening"] if line and not line.split()[3].startswith("127.")]
    assert [a for a in public if not a.endswith(":22") and not a.startswith(f"{lab.net}.1.20:102")] == []
    (listening,) = facts["listening_on_c1"].values()
    nodes = [line.split()[3] for line in listening if line and not line.split()[3].startswith("127.")]
    ours = (f"{lab.net}.1.11:100", f"{lab.net}.1.11:102")
    assert [a for a in nodes if not a.endswith(":6818") and not a.startswith(ours)] == []
