"""The fixture `pool`: the running HTCondor lab, with the project installed as it is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.htcondor.lab import Pool
from tests.slurm.lab import lab_number

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
    yield pool
    pool.on("submit", "condor_rm", "-all", check=False)


@pytest.fixture
def pool(running_pool: Pool) -> Pool:
    """The lab with both machines up and nothing in its queue."""
    done = running_pool.backend().access.run(["sh", "-c", _QUIET], timeout_s=240)
    assert done.code == 0, done.text
    return running_pool
