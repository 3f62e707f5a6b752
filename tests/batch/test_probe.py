"""What a canary's facts mean, without a cluster."""

from __future__ import annotations

from vrecompute.batch.probe import judge

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


def wrong(interface="ib0", place=PLACE, told=TOLD, met=MET, store=""):
    return {f.check: f for f in judge(interface, place, told, met, store) if not f.ok}


def test_a_site_that_is_right_has_nothing_to_mend():
    assert wrong() == {}
    assert not any(f.advice for f in judge("ib0", PLACE, TOLD, MET, ""))


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


def test_clocks_and_stores_that_disagree_are_named():
    assert "+61.0 s" in wrong(met={**MET, "skew_s": 61.0})["clock"].detail
    assert wrong(store="not what is seen")["store"].advice.startswith("store:")
    assert wrong(told={**TOLD, "store": {"error": "denied"}})["store"].detail == "denied"
