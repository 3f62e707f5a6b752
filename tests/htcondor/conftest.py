"""The fixture `pool`: the running HTCondor lab, with the project installed as it is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.htcondor.lab import Pool
from tests.slurm.lab import lab_number


@pytest.fixture(scope="session")
def running_pool(absent: Callable[[str, str], None]) -> Pool:
    """The lab of this process, or a skip that says how to bring it up."""
    pool = Pool(lab_number())
    if not (pool.keys / "ssh_config").is_file() or not pool.on("submit", "condor_q", "-totals", check=False):
        absent("htcondor", "the HTCondor lab is not running: containers/htcondor/up (podman or docker)")
    return pool


@pytest.fixture
def pool(running_pool: Pool) -> Iterator[Pool]:
    """The lab with both machines up and nothing in its queue, before and after."""
    _settle(running_pool)
    yield running_pool
    _settle(running_pool)


#: One command, since each has to be started on a machine.
_QUIET = """
condor_rm -all > /dev/null 2>&1
for n in $(seq 180); do
  left=$(condor_q -af ClusterId) && machines=$(condor_status -af Machine | sort -u | wc -l) || left=unknown
  [ -z "$left" ] && [ "$machines" = 2 ] && exit 0
  sleep 0.5
done
condor_q; condor_status; exit 1
"""


def _settle(pool: Pool) -> None:
    pool.on("submit", "sh", "-c", _QUIET)
