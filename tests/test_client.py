"""What a Client decides before it starts workers."""

from __future__ import annotations

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.errors import StoreError
from vrecompute.sites.model import Site, SiteAccess, Ssh


def test_threads_give_way_to_memory_and_chunks_do_not(tmp_path, caplog):
    file = write_events(tmp_path / "e.root")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    with Client(workers=1, threads=4, memory_bytes=800 << 20, store=tmp_path / "store") as client:
        run = client.run(str(tmp_path / "sums.py"), str(file), chunk_bytes=64 << 20)
        assert run.report(timeout_s=60).status == "complete"
        assert list(client.dask.nthreads().values()) == [2]
    assert "2 instead of 4 threads" in caplog.text


def test_a_store_that_is_no_folder_is_refused_by_its_scheme_also_where_the_site_is_elsewhere():
    there = Site(name="there", backend="slurm", access=SiteAccess(ssh=Ssh(host="login.invalid")))
    with Client(there, store="s3://runs/prefix") as client, pytest.raises(StoreError, match="scheme 's3'"):
        _ = client.store
