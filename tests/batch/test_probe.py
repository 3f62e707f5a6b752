"""What a canary's facts mean, without a cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vrecompute.batch import probe_job, worker_trial
from vrecompute.batch.canary import Seen
from vrecompute.batch.contract import JobStatus, State, SubmitError
from vrecompute.batch.finding import advice_on
from vrecompute.batch.post_mortem import how_it_ended, log_ends, telling
from vrecompute.batch.probe import judge
from vrecompute.batch.tls import fresh_keys, tls_environment
from vrecompute.batch.worker_command import WorkerShape
from vrecompute.batch.worker_finding import worker_finding
from vrecompute.batch.worker_trial import numbers, try_worker
from vrecompute.errors import Unavailable
from vrecompute.sites.model import Environment, Network, PortRange, Site
from vrecompute.stores.address import open_store

HERE = {"versions": {"numpy": "2.4.6"}}
PLACE = {
    "host": "login",
    "versions": {"numpy": "2.4.6"},
    "interfaces": {"lo": "127.0.0.1", "ib0": "10.0.0.1"},
    "taken": False,
}
TOLD = {
    "host": "c1",
    "versions": {"numpy": "2.4.6"},
    "interfaces": {"lo": "127.0.0.1", "ib0": "10.0.0.2", "eth0": "10.1.0.2"},
    "call": "",
    "free": {"scheduler": True, "workers": 1},
    "store": {"error": ""},
}
MET = {"called": True, "error": "", "skew_s": 0.1}
PORTS = {"scheduler_ports": PortRange(8786, 8786), "worker_ports": PortRange(9000, 9001)}


def site(interface="ib0", **more):
    network = Network(interface=interface, **more.pop("network", {}))
    return Site(name="x", backend="slurm", network=network, **more)


def found(interface="ib0", place=PLACE, told=TOLD, met=MET, store="", seen=None, **more):
    base = {"where": "login", "place": place, "told": told, "met": met, "job_id": "7", "ran": True, "store": store}
    return judge(site(interface, **more), HERE, Seen(**base | (seen or {})))


def wrong(*given, **more):
    judged = [f for f in found(*given, **more) if not f.ok]
    assert all(f.detail and f.advice for f in judged), judged
    return {f.check: f for f in judged}


def test_a_site_that_is_right_has_nothing_to_mend():
    assert wrong() == {}
    assert wrong(network=PORTS) == {}
    assert not any(f.advice for f in found(network=PORTS))


def test_versions_that_differ_are_named_wherever_they_do():
    judged = wrong(told={**TOLD, "versions": {"numpy": "2.5.0"}}, place={**PLACE, "versions": {"numpy": "2.3"}})
    assert judged["versions in jobs"].detail == "numpy 2.4.6 here, in jobs 2.5.0"
    assert judged["versions on login"].detail == "numpy 2.4.6 here, on login 2.3"
    assert judged["versions in jobs"].advice.startswith("environment:")


def test_an_interface_that_is_not_there_is_replaced_by_one_that_both_sides_have():
    assert wrong(interface="ib1")["interfaces"].advice == "network: {interface: ib0}"


def test_where_the_interface_is_missing_the_host_is_named_and_routes_without_it_mean_nothing():
    away = {"told": {**TOLD, "call": "10.1.0.1:1: Network is unreachable"}, "met": {}}
    both = wrong(interface="ib1", **away)
    assert list(both) == ["interfaces"]
    assert both["interfaces"].detail == (
        "c1 has no interface ib1, only ib0 10.0.0.2, eth0 10.1.0.2; login has no interface ib1, only ib0 10.0.0.1"
    )
    assert wrong(interface="eth0", **away)["interfaces"].detail == "login has no interface eth0, only ib0 10.0.0.1"
    assert wrong(interface="eth0", scheduler_runs="allocation") == {}


def test_a_closed_route_names_another_interface_or_a_mode_without_routes():
    closed = {**TOLD, "call": "10.0.0.1:1: timed out"}
    assert wrong(interface=None, told=closed)["route to the scheduler"].advice == "network: {interface: ib0}"
    assert "detached" in wrong(told=closed)["route to the scheduler"].advice
    assert "never called" in wrong(met={})["route to a worker"].detail


def test_a_scheduler_in_the_allocation_needs_no_call_from_jobs_and_is_not_advised_again():
    closed = {**TOLD, "call": "10.0.0.1:1: timed out"}
    assert wrong(told=closed, met={}, scheduler_runs="allocation") == {}
    judged = wrong(met={**MET, "error": "refused"}, scheduler_runs="allocation")
    assert list(judged) == ["route to a job"]
    assert "allocation" not in judged["route to a job"].advice
    assert "detached" in judged["route to a job"].advice


def test_ports_that_are_taken_are_named_with_their_machine():
    free = {"scheduler": False, "workers": 0}
    judged = wrong(network=PORTS, place={**PLACE, "taken": True}, told={**TOLD, "free": free})
    assert set(judged) == {"scheduler ports on login", "scheduler ports on c1", "worker ports on c1"}
    assert judged["scheduler ports on login"].detail == (
        "1 of 8786 cannot be opened on login: other programs use them; widen network.scheduler_ports"
    )
    assert judged["worker ports on c1"].advice == "network: {worker_ports: 9000-9101}"


def test_clocks_and_stores_that_disagree_are_named():
    assert "+61.0 s" in wrong(met={**MET, "skew_s": 61.0})["clock"].detail
    assert wrong(store="not what is seen")["store"].advice.startswith("store:")
    assert wrong(told={**TOLD, "store": {"error": "denied"}})["store"].detail == "denied"


def test_a_login_node_without_python_matters_only_where_the_scheduler_would_be_there():
    blind = {"place": {}, "complaint": "No module named vrecompute"}
    told = {**TOLD, "call": None}
    assert "No module named vrecompute" in wrong(seen=blind, told=told, scheduler_runs="login")["python"].detail
    assert wrong(seen=blind, told=told, scheduler_runs="allocation") == {}


def test_a_job_that_was_refused_or_did_not_run_hides_nothing_of_the_login_node():
    other = {**PLACE, "versions": {"numpy": "2.3"}}
    refused = wrong(
        seen={"told": {}, "ran": False, "refusal": "no such partition", "advice": "options: {partition: ...}"}
    )
    assert refused["queue"].advice == "options: {partition: ...}"
    late = wrong(place=other, seen={"told": {}, "ran": False, "reason": "its partition is down"})
    assert set(late) == {"versions on login", "queue"}
    dead = wrong(seen={"told": {}, "log": "Its log ends: python: not found"})
    assert "python: not found" in dead["queue"].detail
    assert dead["queue"].advice.startswith("environment:")


def test_ports_that_no_program_of_a_user_may_open_are_moved_and_not_widened():
    ports = {"scheduler_ports": PortRange(22, 22), "worker_ports": PortRange(80, 90)}
    free = {"scheduler": False, "workers": 0}
    judged = wrong(network=ports, place={**PLACE, "taken": True}, told={**TOLD, "free": free})
    assert "programs of users may open none below 1024" in judged["worker ports on c1"].detail
    assert judged["worker ports on c1"].advice == "network: {worker_ports: 1024-1126}"
    assert judged["scheduler ports on login"].advice == "network: {scheduler_ports: 1024-1125}"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("modules", "line 24: module: command not found | environment.modules: NoSuch/1 cannot be loaded"),
        ("setup", "environment.setup: a command of the site failed: aklog"),
        ("cvmfs", "environment.cvmfs: /cvmfs/x/setup.sh failed"),
        ("venv", "environment.venv: /opt/nothere/bin/python is no program on c1"),
    ],
)
def test_the_line_of_an_environment_that_failed_is_named_in_the_job_and_on_the_login_node(key, said):
    blind = {"place": {}, "complaint": said, "told": {}, "log": f"Its log ends: {said}"}
    judged = wrong(seen=blind, scheduler_runs="login")
    assert {judged[check].advice for check in ("python", "queue")} == {
        f"environment: {{{key}: ...}}   # the line that failed"
    }


def test_a_folder_that_nodes_do_not_see_is_no_trouble_with_python():
    seen = {"told": {}, "reason": "job 7 is completed", "log": "Its log ends: (nothing)", "spool": "/tmp/scr/jobs"}
    queue = wrong(seen=seen)["queue"]
    assert "in /tmp/scr/jobs: the node that ran it does not write into that folder of login" in queue.detail
    assert queue.advice == "stage: {scratch: ...}   # a folder that compute nodes and login node both see"


def test_a_system_that_cannot_be_asked_is_named_and_not_patience():
    seen = {"told": {}, "ran": False, "reason": "job 7 is queued after 60 s", "problem": "no token for slurmrestd: t"}
    queue = wrong(seen=seen, options={"prefer": "rest"})["queue"]
    assert queue.detail == "how job 7 is cannot be asked: no token for slurmrestd: t"
    assert "options.prefer: rest" in queue.advice
    assert "patience" not in queue.advice


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("python: not found", "variables: {PATH: ...}"),
        ("Current thread 0x00007 (most recent call first):\n  <no Python frame>", "variables: {PYTHONHOME: ...}"),
        ("ModuleNotFoundError: No module named 'encodings'", "variables: {PYTHONHOME: ...}"),
        ("environment.venv: /v/bin/python is no program on c1", "venv: ..."),
        ("environment.variables.PATH: needs the variable X, which is not set on c1", "variables: ..."),
        ("Segmentation fault", "venv: ..."),
    ],
)
def test_a_python_that_does_not_start_is_of_the_key_that_its_words_are_about(said, key):
    variables = {"PATH": "/nowhere", "PYTHONHOME": "/nowhere", "OTHER": "x"}
    judged = wrong(seen={"told": {}, "log": said}, environment=Environment(venv="/v", variables=variables))
    assert judged["queue"].advice.startswith(f"environment: {{{key}")


def test_what_passes_is_no_fault_of_the_file_and_a_spool_that_cannot_be_made_is_of_its_key():
    passing = SubmitError("sbatch: Unable to contact slurm controller", transient=True)
    assert advice_on(passing, "options: {...}").startswith("nothing in the site's file")
    assert advice_on(Unavailable("cannot make /proc/x", mend="stage.scratch"), "?") == "stage: {scratch: ...}"
    assert advice_on(SubmitError("Invalid job"), "options: {...}") == "options: {...}"


def test_a_job_whose_shell_ended_before_python_is_not_told_as_a_folder_that_its_node_does_not_see():
    judged = wrong(told={}, met={}, seen={"reason": "ended", "log": "Its log ends: (nothing)"})["queue"]
    assert "before Python began" in judged.detail
    assert judged.advice.startswith("environment: {setup")


def test_of_a_failed_start_the_line_that_says_why_is_told():
    known = ["Could not find platform independent libraries <prefix>", "sys.path = [", "]"]
    assert telling([*known, "Fatal Python error: init_fs_encoding", "Current thread 0x1:", "<no Python frame>"]) == (
        "Fatal Python error: init_fs_encoding"
    )
    assert telling(["environment.venv: no program", "exit 1"]) == "environment.venv: no program"
    assert telling([]) == ""


def test_of_a_job_that_never_had_a_node_none_is_lost():
    gone = how_it_ended("7", JobStatus(State.NODE_FAIL, elapsed_s=0.0))
    assert gone == "NODE_FAIL: job 7 was ended before it began by its batch system, as where its queue is removed"
    assert "lost its node" in how_it_ended("7", JobStatus(State.NODE_FAIL, elapsed_s=0.0, node="c1"))


class Logs:
    """A backend that has this log of every job."""

    def __init__(self, text):
        self.text = text

    def logs(self, job_id):
        return self.text


def test_the_end_of_a_log_is_of_what_the_job_said_and_not_of_pythons_tidying_up():
    tidying = "/usr/lib/python3/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: 3 leaked\n"
    log = "chunk 7 is under way\n" + 3 * (tidying + "  warnings.warn('resource_tracker: leaked')\n")
    assert log_ends(Logs(log), "7") == "Its log ends: chunk 7 is under way"


def test_a_store_that_the_node_does_not_share_with_the_client_gets_nothing_that_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(probe_job, "_LAG_S", 0.0)
    told = probe_job._try_store(str(tmp_path), "one")
    assert "differs between compute nodes and the client" in told["error"]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    open_store(str(tmp_path)).create(f"probe/one{probe_job.THEIRS}", b"here")
    told = probe_job._try_store(str(tmp_path), "one")
    assert (told["error"], Path(told["path"]).is_file()) == ("", True)


NUMBERS = {"numerics": {"numpy": "2.4.6"}, "code": {"state": "a"}}


def of_worker(said, code="a", **environment):
    tried = {"error": said, "numbers": {**NUMBERS, "code": {"state": code}}}
    where = site(environment=Environment(**environment), network={"worker_ports": PortRange(9000, 9001)})
    return worker_finding(where, NUMBERS, {**TOLD, "worker": tried})


def test_a_worker_that_computes_as_here_is_right():
    assert of_worker("").ok


@pytest.mark.parametrize(
    ("said", "environment", "advice"),
    [
        ("ValueError: port_stop must be greater than port_start", {}, "network: {worker_ports: ...}"),
        ("OSError: Too many open files", {"setup": ("ulimit -n 20",)}, "environment: {setup: ...}   # ulimit -n 20"),
        ("it has not connected", {"setup": ("aklog",)}, "environment: {setup: ...}   # aklog"),
        ("no such symbol", {"variables": {"LD_PRELOAD": "/x.so"}}, "environment: {variables: {LD_PRELOAD: ...}}"),
        ("it has not connected", {}, "environment: {...}"),
    ],
)
def test_a_worker_that_does_not_start_is_answered_with_the_line_that_keeps_it(said, environment, advice):
    found = of_worker(said, **environment)
    assert (found.ok, said in found.detail) == (False, True)
    assert found.advice.startswith(advice)


def test_code_that_is_compiled_otherwise_is_told_before_a_run_finds_it():
    found = of_worker("", "b", variables={"PATH": "/x", "NUMBA_DISABLE_JIT": "1"})
    assert "different code" in found.detail
    assert found.advice.startswith("environment: {variables: {NUMBA_DISABLE_JIT: ...}}")


@pytest.mark.parametrize(
    ("ports", "said"), [((0, 0), ""), ((10000, 10000), "worker ended with exit code 1. Its log ends: ValueError")]
)
def test_a_worker_is_tried_as_runs_start_it(ports, said, tmp_path, monkeypatch):
    """In a job its keys are in the environment; a worker that cannot be started says why."""
    pem = tmp_path / "keys.pem"
    pem.write_text(fresh_keys())
    for name, value in tls_environment(str(pem)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = worker_trial.worker_command

    def with_ports(*given, **more):
        return [*command(*given, **more), *(["--worker-port", "{}:{}".format(*ports)] if said else [])]

    monkeypatch.setattr(worker_trial, "worker_command", with_ports)
    tried = try_worker(WorkerShape(memory_bytes=1 << 30), pem)
    assert said in tried["error"]
    assert bool(tried["error"]) == bool(said)
    assert said or tried["numbers"] == numbers()


def test_a_job_without_a_log_is_blamed_on_a_directive_that_names_a_file():
    silent = {"told": {}, "log": "Its log ends: (nothing)", "spool": "/s", "reason": "FAILED"}
    judged = wrong(seen=silent, options={"directives": {"add": ["--input=/nope"]}})
    assert "as where the system cannot open a file of --input=/nope" in judged["queue"].detail
    assert judged["queue"].advice == "options: {directives: {add: ...}}   # --input=/nope"


def test_a_variable_is_blamed_where_what_is_said_has_its_value():
    dead = {"told": {}, "log": "Its log ends: srun: error: stat(/nope): No such file or directory"}
    judged = wrong(seen=dead, environment=Environment(variables={"PATH": "/x:$PATH", "SLURM_CONF": "/nope"}))
    assert judged["queue"].advice.startswith("environment: {variables: {SLURM_CONF: ...}}")
