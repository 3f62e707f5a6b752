"""What a canary's facts mean, without a cluster."""

from __future__ import annotations

from vrecompute.batch.probe import judge
from vrecompute.sites.model import Network, PortRange, Site

PLACE = {"host": "login", "versions": {"numpy": "2.4.6"}, "interfaces": {"lo": "127.0.0.1", "ib0": "10.0.0.1"}}
TOLD = {
    "host": "c1",
    "versions": {"numpy": "2.4.6"},
    "interfaces": {"lo": "127.0.0.1", "ib0": "10.0.0.2", "eth0": "10.1.0.2"},
    "call": "",
    "called_back": True,
    "store": {"error": ""},
}
MET = {"called": True, "called_back": True, "error": "", "skew_s": 0.1}


def site(interface="ib0", **more):
    network = Network(interface=interface, **more.pop("network", {}))
    return Site(name="x", backend="slurm", network=network, **more)


def wrong(interface="ib0", place=PLACE, told=TOLD, met=MET, store="", **more):
    return {f.check: f for f in judge(site(interface, **more), place, told, met, store) if not f.ok}


def test_a_site_that_is_right_has_nothing_to_mend():
    assert wrong() == {}
    assert not any(f.advice for f in judge(site(), PLACE, TOLD, MET, ""))


def test_versions_that_differ_are_named():
    found = wrong(told={**TOLD, "versions": {"numpy": "2.5.0"}})["versions where the scheduler runs"]
    assert found.detail == "numpy 2.4.6, in jobs 2.5.0"
    assert found.advice.startswith("environment:")


def test_an_interface_that_is_not_there_is_replaced_by_one_that_both_sides_have():
    assert wrong(interface="ib1")["interfaces"].advice == "network: {interface: ib0}"


def test_a_closed_route_names_another_interface_or_a_mode_without_routes():
    closed = {**TOLD, "call": "10.0.0.1:1: timed out"}
    assert wrong(interface=None, told=closed)["route to the scheduler"].advice == "network: {interface: ib0}"
    assert "detached" in wrong(told=closed)["route to the scheduler"].advice
    assert "never called" in wrong(met={})["route to a worker"].detail


def test_a_scheduler_in_the_allocation_needs_no_call_from_jobs_and_is_not_advised_again():
    closed = {**TOLD, "call": "10.0.0.1:1: timed out"}
    assert wrong(told=closed, met={}, scheduler_runs="allocation") == {}
    found = wrong(met={**MET, "error": "refused"}, scheduler_runs="allocation")
    assert list(found) == ["route to a job"]
    assert "allocation" not in found["route to a job"].advice
    assert "detached" in found["route to a job"].advice


def test_ports_that_a_site_names_are_said_not_to_be_tried():
    judged = judge(site(network={"scheduler_ports": PortRange(8786, 8790)}), PLACE, TOLD, MET, "")
    assert [f.detail for f in judged if f.check == "ports"] == [
        "not tried: network.scheduler_ports; routes were tried on free ports"
    ]


def test_clocks_and_stores_that_disagree_are_named():
    assert "+61.0 s" in wrong(met={**MET, "skew_s": 61.0})["clock"].detail
    assert wrong(store="not what is seen")["store"].advice.startswith("store:")
    assert wrong(told={**TOLD, "store": {"error": "denied"}})["store"].detail == "denied"
