"""Workers that have no key of a real service read what their client signed for them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster

from tests.events import SUM_ANALYSIS, write_events
from tests.execution.test_credentials import held, listed
from tests.execution.test_hands import Elsewhere
from tests.patience import comes_true
from vrecompute import Client, reader
from vrecompute.errors import CredentialError
from vrecompute.remote import s3
from vrecompute.remote.signed import Signed, sign, with_signed
from vrecompute.reports.report import dumps
from vrecompute.sites.model import Limits, Stage

pytestmark = pytest.mark.s3
VARIABLE = "VRE_KEYS_THAT_WORKERS_LACK"


@pytest.fixture
def address(service, tmp_path, monkeypatch):
    """A file of 400 events, whose keys a variable of this process holds, and a copy here."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    service.put("signed/e.root", write_events(tmp_path / "e.root", 400, 3, clusters=4).read_bytes())
    return service.url("signed/e.root", credentials=f"env:{VARIABLE}")


def test_the_same_bytes_come_of_an_address_that_was_signed(service, address, tmp_path, monkeypatch):
    with monkeypatch.context() as here:
        here.setenv(VARIABLE, service.keys.read_text())
        s3._bucket.cache_clear()
        made, own = sign([address], 600, required=True), reader.look_at(address).stamp
    s3._bucket.cache_clear()
    with pytest.raises(CredentialError, match=f"neither variable {VARIABLE} is set"):
        reader.look_at(address)
    assert with_signed(made, lambda: reader.look_at(address).stamp) == own, "it is the same file to a run"
    read = with_signed(made, lambda: reader.read(address, "Events", ["Muon_pt"], 0, 400))
    right = reader.read(str(tmp_path / "e.root"), "Events", ["Muon_pt"], 0, 400)
    assert read["Muon_pt"].values.tobytes() == right["Muon_pt"].values.tobytes()
    spoilt = Signed({address: made.url(address).replace("Signature=", "Signature=0")}, made.until)
    with pytest.raises(CredentialError, match="the address that the client signed for this worker has expired") as said:
        with_signed(spoilt, lambda: reader.look_at(address))
    assert "X-Amz" not in str(said.value)


def test_workers_of_a_given_cluster_that_reach_no_store_need_no_key(service, address, tmp_path, monkeypatch):
    sums, seen = str(tmp_path / "sums.py"), []
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        monkeypatch.setenv(VARIABLE, service.keys.read_text())  # which its workers do not have
        with Client(dask=cluster, store=Elsewhere(tmp_path / "store")) as client:
            right = client.run(sums, str(tmp_path / "e.root")).report(timeout_s=120)
            run = client.run(sums, address, sleep_s=0.1, chunk_bytes=1000, reuse=False)
            assert comes_true(lambda: seen.append(listed("X-Amz-Sig")) or run.status != "running", 120)
            report = run.report()
    assert (report.status, report.cutflow) == ("complete", right.cutflow), report.failures
    assert not any(seen)
    assert "X-Amz" not in dumps(report)
    assert held(tmp_path / "store", "X-Amz-Sig") == []


@pytest.mark.acceptance
def test_a_detached_job_of_a_site_that_says_so_has_signed_addresses_and_no_key(
    services, tmp_path, monkeypatch, qq_site
):
    from tests.backends.readme_driver import driver

    service = services["ceph"]
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    service.put("signed/e.root", write_events(tmp_path / "e.root", 400, 3, clusters=4).read_bytes())
    address, sums, kept = service.url("signed/e.root", credentials=f"env:{VARIABLE}"), str(tmp_path / "sums.py"), []
    monkeypatch.setattr("vrecompute.workforce.load_backend", driver.MyBackend)
    monkeypatch.setenv(VARIABLE, service.keys.read_text())
    site = replace(
        qq_site,
        stage=Stage(scratch=qq_site.stage.scratch, presign=True),
        workers=replace(qq_site.workers, processes=1, memory=512 << 20),
        scheduler_runs="client",
        limits=Limits(min_poll=0),
    )
    with Client(site, workers=1) as client:
        live = client.run(sums, address, chunk_bytes=1000).report(timeout_s=240)
        run = client.submit(sums, address, chunk_bytes=1000, reuse=False, sleep_s=0.2)

        def brought():
            kept.append({path.name for path in held(tmp_path, "X-Amz-Sig")})

        assert comes_true(lambda: brought() or run.status == "complete", 240), run.report().failures
        assert run.report().result_sha256 == live.result_sha256
        text = client.explain(sums, address, detach=True).script + run.logs()
    assert set().union(*kept) == {"signed-addresses"}
    assert service.facts["secret"] not in text
    assert "X-Amz" not in text
    assert held(tmp_path, service.facts["secret"]) == []
    assert comes_true(lambda: not held(tmp_path, "X-Amz-Sig"), 60)
    assert Path(os.environ["HOME"]) == tmp_path
