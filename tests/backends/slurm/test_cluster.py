"""A live run that cannot be: refused before anything is written, asked or started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vrecompute import Client
from vrecompute.errors import OverBudget, UsageError
from vrecompute.sites.model import Limits, Nodes, Site, Workers

SITE = Site(name="here", backend="slurm", workers=Workers(processes=4, walltime=3600, nodes=Nodes(max=2)))


@pytest.mark.parametrize(
    ("changes", "workers", "error", "words"),
    [
        ({}, 9, UsageError, "at most 8 workers"),
        ({"limits": Limits(core_hours=3.9)}, 1, OverBudget, "more than the limit leaves .0 of 3.9 h used"),
        ({"scheduler_runs": "none"}, 1, UsageError, "submit detached instead"),
        ({"scheduler_runs": "allocation", "limits": Limits(max_jobs=1)}, 1, UsageError, "leaves no job for workers"),
    ],
)
def test_nothing_is_written_of_a_live_run_that_the_site_or_the_installation_refuses(
    tmp_path, changes, workers, error, words
):
    site = Site(**{**{k: getattr(SITE, k) for k in SITE.__dataclass_fields__}, **changes})
    with pytest.raises(error, match=words) as refused:
        Client(site, store=tmp_path / "store", workers=workers).run("dilepton", str(tmp_path))
    assert refused.value.exit_code in {2, 7}
    assert not (tmp_path / "store").exists()


def test_a_live_cluster_needs_no_other_cluster_library_and_leaves_ctrl_c_alone():
    code = (
        "import signal, sys; before = signal.getsignal(signal.SIGINT); import vrecompute.batch.cluster; "
        "assert signal.getsignal(signal.SIGINT) is before; assert 'dask_jobqueue' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
