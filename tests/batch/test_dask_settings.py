"""Settings of Dask: the same for workers of this machine and of jobs, as Dask itself reads them."""

from __future__ import annotations

import os
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
    def faults(megabytes: int = 8) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(megabytes << 17)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with Client(workers=1, store=tmp_path) as client:
        pages = (8 << 20) // os.sysconf("SC_PAGESIZE")
        client.dask.submit(faults, pure=False).result()
        assert client.dask.submit(faults, pure=False).result() < 2 * pages  # not 20 times
