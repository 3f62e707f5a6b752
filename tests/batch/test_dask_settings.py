"""Settings of Dask: the same for workers of this machine and of jobs, as Dask itself reads them."""

from __future__ import annotations

import builtins
import itertools
import os
import resource
import subprocess
import sys

import dask
import numpy as np
import pytest
from distributed import Nanny

from vrecompute import Client
from vrecompute.batch.dask_settings import PROCESS_VARIABLES, SETTINGS, as_environment
from vrecompute.batch.prologue import prologue
from vrecompute.sites.model import Site


def test_variables_say_what_the_settings_say(monkeypatch):
    variables = as_environment()
    read = dask.config.collect_env(variables)
    with dask.config.set(dask.config.merge(dask.config.config, read)):
        told = {name: dask.config.get(name) for name in SETTINGS}
    assert told == dict(SETTINGS)


def test_a_cluster_of_dask_s_own_leaves_its_variables_here_and_not_with_our_workers(tmp_path, monkeypatch):
    for name in PROCESS_VARIABLES:
        monkeypatch.setenv(name, "65536")

    def found() -> tuple[dict[str, str], int]:
        return dict(os.environ), hash("a text")

    with Client(workers=1, store=tmp_path) as client:
        variables, seen = client.dask.submit(found, pure=False).result()
    assert {name: variables.get(name) for name in PROCESS_VARIABLES} == PROCESS_VARIABLES
    # a task of a detached run is no child of a nanny
    job = "\n".join([*prologue(Site(name="a", backend="slurm"), {}), f"{sys.executable} -c 'print(hash(\"a text\"))'"])
    assert int(subprocess.check_output(["bash", "-c", job])) == seen


@pytest.mark.parametrize("value", ["65536", "7"])
def test_variables_that_a_site_chooses_reach_workers_of_jobs(value, monkeypatch):
    """They are exported after ours, and nannies prefer them."""
    monkeypatch.setenv("PYTHONHASHSEED", value)
    with dask.config.set(dict(SETTINGS)):
        nanny = Nanny("tcp://127.0.0.1:1", loop=None)
    assert nanny.pre_spawn_env["PYTHONHASHSEED"] == value


def test_a_worker_uses_the_memory_of_the_chunk_before_again(tmp_path):
    """Whatever else it keeps. A page may be larger than another, so faults are not added up."""

    def faults(megabytes: int = 8) -> list[int]:
        """Of arrays one after the other, when two megabytes more are kept."""
        vars(builtins).setdefault("kept", []).extend(np.ones(100 << 7) for _ in range(20))
        found = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
        for _ in range(6):
            np.ones(megabytes << 17)
            found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        return [after - before for before, after in itertools.pairwise(found)]

    with Client(workers=1, store=tmp_path) as client:
        found = [client.dask.submit(faults, pure=False).result() for _ in range(45)]
    assert not [each for each in found if sum(n > 0 for n in each[1:]) > 2], "arrays got new memory"
