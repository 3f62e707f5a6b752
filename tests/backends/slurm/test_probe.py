"""What a canary's facts mean, and why none is sent, without a cluster."""

from __future__ import annotations

from dataclasses import replace

from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import Environment, Site, Ssh
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm.probe import judge

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


SITE = Site(name="here", backend="slurm", environment=Environment(venv="/nowhere"))


def test_without_slurm_or_a_connection_nothing_is_sent_and_the_way_in_is_to_be_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    unreachable = SshAccess(Ssh(host="no-such-host.invalid"))
    for access, words in ((None, "command 'sinfo' was not found"), (unreachable, "no-such-host.invalid")):
        (found,) = SlurmBackend(SITE, access).probe()
        assert (found.check, found.ok) == ("slurm", False)
        assert words in found.detail
        assert found.advice.startswith("access: {ssh: {host: ...}}")
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho slurm_load_ctl_conf error >&2; exit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    (found,) = SlurmBackend(SITE).probe()
    assert found.detail == "this machine: sinfo --version: slurm_load_ctl_conf error"


def test_an_environment_without_vrecompute_is_told_with_what_its_python_says(tmp_path, monkeypatch):
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho slurm 24.11.5\n")
    (tmp_path / "sinfo").chmod(0o755)
    (tmp_path / "python").write_text("#!/bin/sh\necho Traceback >&2; echo no module of ours >&2; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "bin").symlink_to(tmp_path)
    slurm, python = SlurmBackend(replace(SITE, environment=Environment(venv=str(tmp_path)))).probe()
    assert (slurm.ok, slurm.detail) == (True, "slurm 24.11.5 on this machine")
    assert (python.ok, python.detail) == (False, "vrecompute does not start on this machine: no module of ours")
    assert python.advice.startswith("mend environment.venv")
