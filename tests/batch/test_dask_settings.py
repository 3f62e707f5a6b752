"""Settings of Dask: the same for workers of this machine and of jobs, as Dask itself reads them."""

from __future__ import annotations

import builtins
import itertools
import resource

import dask
import numpy as np

from vrecompute import Client
from vrecompute.batch.dask_settings import SETTINGS, as_environment


def test_variables_say_what_the_settings_say(monkeypatch):
    variables = as_environment()
    read = dask.config.collect_env(variables)
    with dask.config.set(dask.config.merge(dask.config.config, read)):
        told = {name: dask.config.get(name) for name in SETTINGS}
    assert told == dict(SETTINGS)


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
