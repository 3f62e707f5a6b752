"""Too much memory, in both shapes that Slurm has for it, and in those that it never hears of."""

from __future__ import annotations

import re

import pytest

from tests.slurm.runs import ANALYSIS, FILES, run
from vrecompute.batch.contract import Job, State
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

until = BackendContract().until

LIMIT = 100 << 20
ON_ONE_NODE = """
schema: 1
name: only-{node}
extends: /opt/vrecompute/sites/lab-slurm.yaml
options: {{directives: {{add: ["--nodelist={node}"]}}}}
"""
# Of a job of two processes and 1600 MiB: each has half, without half of what the process beside them needs.
OF_A_WORKER_MB = ((800 - 96) << 20) / 1e6


def eaten(lab, node: str, *programs: str):
    """How jobs on one node ended that may have 100 MiB each: by program, as text and as JSON tell it."""
    backend = lab.backend(directives={"add": [f"--nodelist={node}"]})
    ids = [backend.submit(Job("a", ("python", "-c", program), memory_bytes=LIMIT)) for program in programs]
    told = [until(asker, ids, lambda s: s.state.terminal, 240) for asker in (backend, lab.backend(prefer="json"))]
    for job_id, status in (pair for seen in told for pair in seen.items()):
        assert (status.state, status.blame, status.node) == (State.OOM, "memory", node)
        assert status.memory_limit_bytes == LIMIT
        assert re.search(
            rf"^OOM: job {job_id} on {node} .* of 100 MiB.* after 00:00:\d\d: raise `workers.memory`", status.reason
        )
        yield status


STEEP = "x = bytearray(500 << 20)\nimport time\ntime.sleep(60)"
SLOWLY = "import time\nx = []\nfor _ in range(500): x.append(bytearray(1 << 20)); time.sleep(0.02)\ntime.sleep(60)"


def test_a_node_that_polls_sees_the_peak_and_a_bare_signal(lab):
    for status in eaten(lab, "c1", STEEP):
        assert status.signal == 9
        assert status.memory_peak_bytes is not None
        assert status.memory_peak_bytes > LIMIT
        assert f"used {status.memory_peak_bytes / 2**20:.0f} MiB of 100 MiB" in status.reason


def test_a_node_with_control_groups_kills_at_the_limit_and_says_what_it_saw(control_groups):
    for status in eaten(control_groups, "c2", STEEP, SLOWLY):
        assert status.signal is None
        peak = status.memory_peak_bytes
        assert peak is None or peak <= LIMIT
        if peak is not None and peak >= 0.95 * LIMIT:
            assert f"used {peak / 2**20:.0f} MiB of 100 MiB" in status.reason
        else:
            assert "reached its memory limit of 100 MiB, of which accounting saw" in status.reason


def greedy(lab, how: str, site: str, store: str, **settings) -> str:
    """What a run on a site says of its one chunk that eats too much, where all others are computed."""
    # one death, then one alone, is enough here: that it takes several deaths has tests of its own
    asked = {"sleep_s": 0, "greedy_source": "events_0005", "on_bad": "skip", "deaths": 1, **settings}
    facts = run(lab, "login", how, site, ANALYSIS, f"/home/alice/{store}", **asked)
    assert (facts["status"], facts["computed"]) == ("partial", FILES - 1), facts
    (failure,) = facts["failures"]
    assert re.match(r"/home/alice/lab/\S*events_0005\S*\.root \(0, \d+\): memory: ", failure), failure
    assert "also when it ran alone" in failure
    return failure


@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_chunk_that_can_never_fit_is_named(lab, data, how):
    failure = greedy(lab, how, "lab-slurm", f"store-greedy-{how}")
    said = r"the worker in job [\d_]+ on c[12] was ended by its Dask nanny at ([\d.]+) (M|G)B of its ([\d.]+) MB"
    told = re.search(said, failure)
    assert told, failure
    peak_mb = float(told[1]) * (1000 if told[2] == "G" else 1)
    if how == "run":
        assert float(told[3]) == pytest.approx(OF_A_WORKER_MB, abs=0.1)
    assert peak_mb >= 0.9 * float(told[3])
    assert "give workers more memory or use a smaller --chunk-bytes" in failure


def only(lab, node: str) -> str:
    """The name of a site whose jobs all run on one node."""
    write = f"mkdir -p ~/.config/vrecompute/sites && cat > ~/.config/vrecompute/sites/only-{node}.yaml"
    lab.on("login", "sh", "-c", write, stdin=ON_ONE_NODE.format(node=node))
    return f"only-{node}"


def test_a_worker_killed_by_its_control_group_costs_its_chunk_alone(control_groups, data):
    """The memory is in no process, so that the nanny sees nothing of it, and the kernel is who kills."""
    failure = greedy(control_groups, "run", only(control_groups, "c2"), "store-kernel", greedy_how="file")
    said = (
        r"the worker in job [\d_]+ on c2 was killed by the kernel at the job's memory limit of 1.7 GB \(peak 1.7 GB\)"
    )
    assert re.search(said, failure), failure
    assert re.search(r"it was last seen at [\d.]+ MB of its 738.2 MB", failure), failure


@pytest.mark.acceptance
def test_a_job_that_slurm_kills_over_a_chunk_is_named_with_it(lab, data):
    """On a node that polls, the whole job goes, and with it everybody who could tell but Slurm."""
    failure = greedy(lab, "run", only(lab, "c1"), "store-polled", greedy_how="child")
    told = re.search(r"OOM: job [\d_]+ on c1 used (\d+) MiB of 1600 MiB after 00:00:\d\d", failure)
    assert told, failure
    assert int(told[1]) > 1600
