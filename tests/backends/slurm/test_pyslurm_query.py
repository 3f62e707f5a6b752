"""pyslurm: its objects become records; one that is absent, does not match or does not work is told and gone around.

pyslurm is built with the headers of one Slurm, so its place is taken here by objects with the attributes,
and the oddities, that pyslurm 25.11.2 gives its own.
"""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace

import pytest

from vrecompute.batch.contract import State
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed, LocalAccess, SshAccess
from vrecompute.sites.model import Limits, Site, Ssh, Stage
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm.pyslurm_query import mismatch, queued, recorded
from vrecompute_backends.slurm.states import status_of

STAND_IN = """
from types import SimpleNamespace as Object

class PyslurmError(Exception): pass
class RPCError(PyslurmError): pass

def job(**facts):
    plain = dict(array_id=None, array_task_id=None, array_tasks_waiting=None, state_reason=None, requeue_count=0,
                 exit_code=0, exit_code_signal=0, time_limit=5, allocated_nodes="c1", run_time=7)
    return Object(**{**plain, **facts})

class Jobs:
    @staticmethod
    def load():
        jobs = [job(id=7, state="RUNNING"), job(id=8, state="FAILED", exit_code_signal=9), job(id=99, state="RUNNING")]
        jobs.append(job(id=10, state="PENDING", state_reason="Resources", array_id=10, array_tasks_waiting="1-2"))
        return {j.id: j for j in jobs}

class db:
    class JobFilter:
        def __init__(self, **asked): self.ids = asked["ids"]
    class Jobs:
        @staticmethod
        def load(asked):
            assert asked.ids == [7, 8, 10], asked.ids
            ACCOUNTING
"""
ENDED = """
            steps = {"batch": Object(state="CANCELLED")}
            ended = job(id=8, state="FAILED", exit_code_signal=9, nodelist="c1", elapsed_time=7, num_nodes=1,
                        memory=50, stats=Object(resident_memory=325210112), steps=steps)
            return {8: ended}
"""


class Counted(LocalAccess):
    """This machine, with a Slurm that only tells its version, and text of squeue."""

    commands: list[list[str]]

    def __init__(self, version="slurm-wlm 24.11.5\n", code=0):
        self.commands, self.version, self.code = [], version, code

    def run(self, command, **options):
        """Run and count; sinfo is answered here."""
        self.commands.append(list(command))
        if "sinfo" in command:
            return Completed(self.code, self.version.encode(), b"")
        return super().run(command, **options)


def backend(tmp_path, access):
    site = Site(
        name="here",
        backend="slurm",
        options={"prefer": "pyslurm"},
        limits=Limits(min_poll=0),
        stage=Stage(scratch=str(tmp_path)),
    )
    return SlurmBackend(site, access)


def install(tmp_path, monkeypatch, version, code):
    """A module `pyslurm` and what pip writes beside it, for this process and those it starts."""
    folder = tmp_path / "installed"
    (folder / f"pyslurm-{version}.dist-info").mkdir(parents=True)
    (folder / f"pyslurm-{version}.dist-info" / "METADATA").write_text(f"Name: pyslurm\nVersion: {version}\n")
    (folder / "pyslurm.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    old = __import__("os").environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{old}")


def commands_of_slurm(tmp_path, monkeypatch):
    """squeue and sacct as the lab's answered, for the way that is gone around to."""
    for name, text in (("squeue", "7|RUNNING|0|0:0|c1|0:04|5:00|None\n"), ("sacct", "")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat << 'END'\n{text}END\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_a_poll_of_any_number_of_jobs_is_one_command(tmp_path, monkeypatch, caplog):
    install(tmp_path, monkeypatch, "24.11.0", STAND_IN.replace("ACCOUNTING", ENDED))
    access = Counted()
    asker = backend(tmp_path, access)
    assert asker.spool
    seen = asker.poll(["7", "8", "10_1", "10_2"])
    assert [c[0] for c in access.commands] == ["bash", "sh", "sh"], "the folder, the version, the poll"
    assert access.commands[1][-2:] == ["sinfo", "--version"]
    assert [s.state for s in seen.values()] == [State.RUNNING, State.OOM, State.QUEUED, State.QUEUED]
    assert seen["8"].reason.startswith("OOM: job 8 on c1 used 310 MiB of 50 MiB")
    asker.poll(["7"])
    assert len(access.commands) == 4
    assert not caplog.records


def test_a_database_that_does_not_answer_is_silence(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "24.11.0", STAND_IN.replace("ACCOUNTING", "raise RPCError('no answer')"))
    asker = backend(tmp_path, Counted())
    answer = asker.query.ask(["7", "8", "10_1"])
    assert answer.silent
    assert (answer.records["7"].state, answer.records["8"].explained) == ("RUNNING", False)
    assert asker.poll(["8"])["8"].state is State.RUNNING, "why it was killed is still to come"


def test_a_process_that_dies_on_the_way_keeps_what_it_said(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "24.11.0", STAND_IN.replace("ACCOUNTING", "import os; os._exit(3)"))
    asker = backend(tmp_path, Counted())
    answer = asker.query.ask(["7", "8", "10_1"])
    assert answer.silent
    assert answer.records["7"].state == "RUNNING"


@pytest.mark.parametrize(
    ("version", "code", "why"),
    [
        (None, "", "pyslurm is not installed here; install pyslurm 24.11"),
        ("25.11.2", "", "pyslurm 25.11.2 does not match slurm-wlm 24.11.5; install pyslurm 24.11"),
        ("24.11.0", "raise ImportError('libslurmfull.so: no such file')", "ImportError: libslurmfull.so: no such file"),
        ("24.11.0", "class PyslurmError(Exception): pass", "AttributeError: module 'pyslurm' has no attribute 'Jobs'"),
    ],
)
def test_what_does_not_match_or_work_is_told_once_and_the_commands_are_used(
    tmp_path, monkeypatch, caplog, version, code, why
):
    if version:
        install(tmp_path, monkeypatch, version, code)
    commands_of_slurm(tmp_path, monkeypatch)
    asker = backend(tmp_path, Counted())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert asker.poll(["7"])["7"].state is State.RUNNING
    (said,) = [record.getMessage() for record in caplog.records]
    assert why in said
    assert "site 'here'" in said
    assert "options: {prefer: commands}" in said


def test_a_site_behind_ssh_is_asked_by_commands(caplog):
    asker = SlurmBackend(
        Site(name="far", backend="slurm", options={"prefer": "pyslurm"}), SshAccess(Ssh(host="login.invalid"))
    )
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable):
        asker.query.ask(["7"])
    assert "this site is reached by ssh login.invalid" in caplog.text
    assert asker.query.way == "commands"


def test_a_slurm_that_does_not_tell_its_version_now_is_asked_again_later(tmp_path):
    asker = backend(tmp_path, Counted(code=1))
    assert asker.poll(["7"])["7"].state is State.UNKNOWN
    assert asker.query.way == "pyslurm"


@pytest.mark.parametrize(
    ("slurm", "fits"), [("slurm 24.05.1", True), ("slurm-wlm 24.5.3", True), ("slurm 25.05.0", False)]
)
def test_versions_match_by_release(tmp_path, monkeypatch, slurm, fits):
    install(tmp_path, monkeypatch, "24.5.1", "")
    assert (mismatch(slurm) == "") is fits


def test_oddities_of_pyslurm():
    plain = dict.fromkeys(["array_id", "array_task_id", "array_tasks_waiting", "state_reason"])
    plain |= {"state": "COMPLETED", "requeue_count": 0, "exit_code": 0, "exit_code_signal": 0}
    core = {**plain, "allocated_nodes": None, "run_time": 0, "time_limit": None}
    first = SimpleNamespace(id=6, **{**core, "array_id": 5})
    assert list(queued([first])) == ["5_0"], "the number of element 0 is None"
    figures = {"nodelist": "c1", "elapsed_time": None, "time_limit": "PartitionLimit", "num_nodes": 2, "memory": 0}
    stats, steps = SimpleNamespace(resident_memory=0), {"batch": SimpleNamespace(state="COMPLETED")}
    never = {**plain, "array_id": 5, "array_tasks_waiting": "0x6", "state": "CANCELLED"}
    found = recorded([SimpleNamespace(id=5, **never, **figures, stats=stats, steps=steps)])
    assert set(found) == {"5_1", "5_2"}, "accounting keeps the bits of their numbers"
    status = status_of(found["5_1"])
    assert (status.state, status.memory_peak_bytes, status.memory_limit_bytes) == (State.CANCELLED, None, None)


def test_a_version_of_many_digits_is_looked_at_in_no_time():
    begun = time.process_time()
    assert "mend sinfo" in mismatch("9" * 200_000)
    assert time.process_time() - begun < 5, "a search that begins anew at each digit takes hours"
