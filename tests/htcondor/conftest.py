"""Fixtures of the HTCondor lab: `pool`, which runs the project as it is here; `data` on its machines; `reference`, the
sha256 of a result that nothing disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.htcondor.lab import Pool
from tests.slurm.lab import lab_number
from tests.slurm.runs import ANALYSIS, FILES, run

SLURM = Path(__file__).parents[1] / "slurm"
_QUIET = """
condor_rm -all > /dev/null 2>&1
for n in $(seq 180); do
  left=$(condor_q -af ClusterId) && machines=$(condor_status -af Machine | sort -u | wc -l) || left=unknown
  [ -z "$left" ] && [ "$machines" = 2 ] && exit 0
  sleep 0.5
done
condor_q; condor_status; exit 1
"""


@pytest.fixture(scope="session")
def running_pool(absent: Callable[[str, str], None]) -> Iterator[Pool]:
    """The lab of this process, or a skip that says how to bring it up."""
    pool = Pool(lab_number())
    if not (pool.keys / "ssh_config").is_file() or not pool.on("submit", "condor_q", "-totals", check=False):
        absent("htcondor", "the HTCondor lab is not running: containers/htcondor/up (podman or docker)")
    for machine in ("e1", "e2"):
        pool.power("start", machine)
    yield pool
    pool.on("submit", "condor_rm", "-all", check=False)


@pytest.fixture
def pool(running_pool: Pool) -> Pool:
    """The lab with both machines up and nothing in its queue."""
    done = running_pool.backend().access.run(["sh", "-c", _QUIET], timeout_s=240)
    assert done.code == 0, done.text
    return running_pool


@pytest.fixture(scope="session")
def data(running_pool: Pool) -> None:
    """Files at the same place of each machine, as a site's software area has them, and programs on the access point."""
    generate = ["generate", "/srv/data/lab", "--events", "24000", "--files", str(FILES), "--seed", "7"]
    for machine in ("root@submit", "root@desk", "e1", "e2"):
        running_pool.on(machine, "sh", "-c", "rm -rf /srv/data && install -d -m 1777 /srv/data")
    for machine in ("submit", "desk"):
        running_pool.on(machine, "sh", "-c", "rm -rf store-* lab && mkdir -p lab")
    running_pool.on("submit", "python", "-m", "vrecompute", *generate)
    packed = running_pool.on("submit", "sh", "-c", "tar -C /srv -cf - data | base64")
    for machine in ("root@desk", "e1", "e2"):
        running_pool.on(machine, "sh", "-c", "base64 -d | tar -C /srv -xf - && chmod -R a+rX /srv/data", stdin=packed)
    described = "sed 's#path: #path: /srv/data/lab/#' /srv/data/lab/dataset.yaml > lab/dataset.yaml"
    for machine in ("submit", "desk"):
        running_pool.on(machine, "sh", "-c", described)
        for path in (SLURM / "slow.py", SLURM / "program.py"):
            running_pool.on(machine, "sh", "-c", 'cat > "lab/$0"', path.name, stdin=path.read_text())


@pytest.fixture(scope="session")
def reference(running_pool: Pool, data: None) -> str:
    """The result's sha256 of an undisturbed run on one machine, in the same image."""
    facts = run(running_pool, "submit", "run", "here", ANALYSIS, "/home/alice/store-here", sleep_s=0)
    assert (facts["status"], facts["computed"]) == ("complete", FILES)
    return str(facts["sha"])
