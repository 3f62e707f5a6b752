"""Campaigns whose products, store, ledger and lease are in a bucket, and what becomes of them while it is away."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.campaign.test_troubles import told
from tests.s3.proxy import in_front_of
from vrecompute import retries
from vrecompute.campaign.ledger import LeaseLost
from vrecompute.campaign.productplace import open_products
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.storelease import StoreLease
from vrecompute.campaign.tick import open_ledger, tick
from vrecompute.campaign.verify import verify
from vrecompute.errors import UsageError

pytestmark = [pytest.mark.s3, pytest.mark.timeout(1200)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    return CampaignFolder(tmp_path / "campaign")


@pytest.fixture
def ceph(services):
    return services["ceph"]


@pytest.fixture
def away(ceph):
    """A bucket whose service answers nothing while `away.spoil` says so."""
    with in_front_of(ceph.endpoint, ceph.authority) as proxy:
        yield proxy


def place(ceph, away, prefix):
    return ceph.url(prefix, endpoint=away.endpoint, http="allowed")


def after(requests):
    """Whose service answers so many requests more."""
    left = itertools.count(requests, -1)
    return lambda *_: "reset" if next(left) <= 0 else None


def published(store):
    """The files of the version that `current.json` names, by name; each is what campaign.json says."""
    current = json.loads(store.get("sums/photons/current.json"))
    facts = json.loads(store.get(f"{current['prefix']}/campaign.json"))
    files = {name: store.get(f"{current['prefix']}/{name}") for name in facts["files"]}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == facts["files"]
    assert current["version"] == facts["run"]
    return files


def test_products_in_a_bucket(folder, service, prefix):
    folder.write(products=service.url(prefix), retention={"versions": 2})
    folder.add("a", "b")
    assert folder.tick() == (0, "2 inputs new, 1 submitted, 1 published", True)
    store = service.store(prefix)
    first = published(store)
    assert {"report.json", "report.html", "result/result.zip"} <= first.keys()
    assert folder.tick().exit_code == 6
    for name in ("c", "d"):
        folder.add(name)
        assert folder.tick().exit_code == 0
    report = json.loads(published(store)["report.json"])
    assert (report["status"], report["chunks"]["total"], report["chunks"]["computed"]) == ("complete", 4, 1)
    versions = open_products(folder.read()).versions("sums/photons")
    assert len(versions) == 2
    moved = json.loads(store.get(f"sums/photons/differences/{versions[-1]}.json"))
    assert (moved["before"], moved["after"]) == tuple(versions)
    assert moved["moved"]["events/events"] == {"before": 600.0, "after": 800.0, "relative": pytest.approx(1 / 3)}
    with folder.ledger() as ledger:
        compared = verify(folder.read(), ledger, Sites(folder.read()), None, 1, 1)
    assert [each.same for each in compared] == [True, True]
    assert compared[0].subject.startswith("s3://")


def test_a_campaign_whose_every_state_is_in_a_bucket_goes_on_on_a_fresh_host(folder, services, prefix, tmp_path):
    ceph = services["ceph"]
    folder.write(ledger="store", store=ceph.url(prefix), products=ceph.url(f"{prefix}-products"))
    folder.add("a", "b")
    assert folder.tick().exit_code == 0
    # another host, which has the file and the data alone
    folder.add("c")
    assert folder.tick().exit_code == 0
    report = json.loads(published(ceph.store(f"{prefix}-products"))["report.json"])
    assert (report["chunks"]["computed"], report["chunks"]["reused"]) == (1, 2)
    assert not (folder.folder / "ledger.sqlite").exists()
    # a tick of a third host is at work
    lease = StoreLease(ceph.store(prefix), "lat")
    lease.acquire()
    folder.add("d")
    result = tick(folder.read())
    assert (result.exit_code, result.is_news) == (6, False)
    assert "another tick of campaign 'lat' is at work" in result.summary
    lease.release()
    assert folder.tick().exit_code == 0


def test_a_tick_whose_lease_in_a_bucket_was_taken_over_stores_nothing_any_more(folder, services, prefix):
    ceph = services["ceph"]
    folder.write(ledger="store", store=ceph.url(prefix))
    folder.add("a")
    assert folder.tick().exit_code == 0
    store, sites = ceph.store(prefix), Sites(folder.read())
    before = list(store.names("campaigns/lat/ledger"))
    other = StoreLease(store, "lat", life_s=1e6)

    def taken_over_while_at_work():
        with open_ledger(folder.read(), sites, write=True) as ledger:
            ledger.acquire(1e10)
            # the clock of another host says that this one is silent
            assert other._create(other._last()[0] + 1, 2e10)

    with pytest.raises(LeaseLost, match="another tick of campaign 'lat' has taken over; this one ends"):
        taken_over_while_at_work()
    assert list(store.names("campaigns/lat/ledger")) == before
    other.check()
    other.release()
    sites.close()
    folder.add("b")
    assert folder.tick().exit_code == 0


def test_a_service_without_conditional_writes_has_no_ledger(folder, services, prefix):
    folder.write(ledger="store", store=services["swift"].url(prefix))
    folder.add("a")
    with pytest.raises(UsageError, match=r"no conditional writes.*keep the ledger on a disk"):
        folder.tick()


def test_a_bucket_of_products_that_is_away(folder, ceph, away, prefix):
    folder.write(products=place(ceph, away, prefix))
    folder.add("a")
    assert folder.tick().exit_code == 0
    first = published(ceph.store(prefix))
    folder.add("b")
    assert tick(folder.read()).exit_code == 0
    for requests in (0, 1, 2, 5, 9):  # at once, and in the middle of what is published
        away.spoil = after(requests)
        result = folder.tick()
        assert result.exit_code == 5
        assert away.endpoint in result.summary
        assert published(ceph.store(prefix)) == first
        assert folder.status()["units"][0]["state"] == "running"  # it ended, and waits to be published
    away.spoil = lambda *_: None
    assert folder.tick() == (0, "1 published", True)
    assert json.loads(published(ceph.store(prefix))["report.json"])["chunks"]["computed"] == 1
    assert folder.tick().exit_code == 6


def test_a_bucket_of_the_store_that_is_away(folder, ceph, away, prefix):
    folder.write(store=place(ceph, away, prefix))
    folder.add("a")
    for requests in (0, 3, 8, 20):
        away.spoil = after(requests)
        code, output = told(folder, "-v")  # that which is no news too
        assert code == 5, output
        assert away.endpoint in output
    away.spoil = lambda *_: None
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 1
    away.spoil = after(0)
    assert folder.tick().exit_code == 6  # where nothing is to be done, nothing is asked of it
    folder.add("b")
    codes = [(result.exit_code, result.is_news) for result in (folder.tick(), folder.tick(), folder.tick())]
    assert codes == [(5, True), (5, True), (5, False)]  # that there is a new file, what is wrong; and that once
    assert folder.report()["chunks"]["total"] == 1
    away.spoil = lambda *_: None
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"] == {"total": 2, "computed": 1, "reused": 1, "failed": 0}


def test_a_bucket_of_the_ledger_that_is_away(folder, ceph, away, prefix):
    folder.write(ledger="store", store=place(ceph, away, prefix))
    folder.add("a")
    away.spoil = after(0)
    code, output = told(folder)
    assert code == 5
    assert away.endpoint in output
    away.spoil = lambda *_: None
    assert folder.tick().exit_code == 0
    result = folder.result()
    folder.add("b")
    for requests in (5, 30):  # in the middle: it cannot give its lease back, which runs out
        away.spoil = after(requests)
        code, output = told(folder)
        assert code == 5, output
        assert folder.result() == result
        away.spoil = lambda *_: None
        code, output = told(folder, "-v")
        assert (code, "another tick of campaign 'lat' is at work" in output) == (6, True)
        lease = StoreLease(ceph.store(prefix), "lat")
        assert lease._create(lease._last()[0] + 1, 0.0)
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"] == {"total": 2, "computed": 1, "reused": 1, "failed": 0}


def test_a_bucket_of_a_dataset_that_is_away(folder, ceph, away, prefix):
    folder.add("a", "b")
    for name in ("a", "b"):
        ceph.put(f"{prefix}/{name}.root", (folder.folder / "data" / f"{name}.root").read_bytes())
    address, _, options = place(ceph, away, prefix).partition("?")
    folder.write(datasets=[{"name": "photons", "files": [f"{address}/*.root?{options}"]}])
    assert folder.tick().exit_code == 0
    for requests in (0, 1):
        away.spoil = after(requests)
        result = folder.tick()
        assert result.exit_code == 5
        assert "dataset 'photons' cannot be looked at, and is taken to be as it was" in result.summary
        assert folder.status()["inputs"] == {"there": 2, "vanished": 0}
    away.spoil = lambda *_: None
    assert folder.tick().exit_code == 6
