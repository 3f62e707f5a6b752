"""A poll as a command: clean and quick scripts, ways that are absent given up, a daemon that hangs left alone."""

from __future__ import annotations

import logging
import resource
import shutil
import subprocess
import time

import pytest

from vrecompute.batch import accounting
from vrecompute.batch.contract import State
from vrecompute.batch.marks import MARKS
from vrecompute.batch.shared_answer import shared
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute.sites.model import Limits, Site, Stage
from vrecompute_backends.slurm import SlurmBackend, pyslurm_query, rest, submit
from vrecompute_backends.slurm.poll import by_commands
from vrecompute_backends.slurm.submit import FORGET

ALIVE = "7|RUNNING|0|0:0|c1|0:04|5:00|None"
KILLED = "7|FAILED|0|0:9|c1|0:04|5:00|RaisedSignal:9(Killed)"
HUNG = f"==== squeue 0\n{KILLED}\n==== sacct 124\n"
OOM = "7|FAILED|0|0:9|c1|4|5|50M||1|1\n7.batch|CANCELLED|0|0:9|c1|4|||317588K|1|1"


class Told(LocalAccess):
    """A site whose polls answer what they are told to, in turn; the last one again and again."""

    def __init__(self, *answers):
        self.answers, self.commands = list(answers), []

    def run(self, command, **options):
        """Answer and remember."""
        self.commands.append(list(command))
        if command[0] == "bash":
            return Completed(0, b"/spool\n", b"")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Completed(0, answer.encode(), b"")


def backend(access, tmp_path=None, **options):
    stage = Stage(scratch=str(tmp_path)) if tmp_path else Stage()
    return SlurmBackend(
        Site(name="here", backend="slurm", options=options, limits=Limits(min_poll=0), stage=stage), access
    )


def program(tmp_path, monkeypatch, **texts):
    """Commands of these names and shell texts, before all others."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    "body",
    [
        MARKS + FORGET + by_commands("commands", accounting=True)[0],
        MARKS + FORGET + rest.POLL,
        MARKS + FORGET + pyslurm_query.BODY,
        FORGET + submit._FIND,
        MARKS + shared('ask qq list "$2"', [], 30),
    ],
)
def test_the_scripts_are_clean(body):
    if shutil.which("shellcheck") is None:
        pytest.skip("install shellcheck to check the scripts")
    # SC2086: arguments of Slurm's commands are several words
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", "SC2086", "-"], input=body.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


def test_markers_of_the_jobs_asked_for_are_read_and_no_others(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, squeue="exit 1", sacct="exit 1")
    asker = backend(LocalAccess(), tmp_path)
    for name, text in (
        ("7.0.end", "0"),
        ("7.1.end", "3"),
        ("77.0.end", "0"),
        ("8_1.0.end", "0"),
        ("8_1.1.end.part", "9"),
    ):
        (tmp_path / "jobs").mkdir(exist_ok=True)
        (tmp_path / "jobs" / name).write_text(f"{text}\n")
    seen = asker.poll(["7", "8_1", "8_2"])
    assert [(s.state, s.attempt) for s in seen.values()] == [
        (State.FAILED, 1), (State.COMPLETED, 0), (State.UNKNOWN, 0),
    ]  # fmt: skip


def test_sacct_is_asked_once_for_each_array_and_only_about_jobs_that_are_not_alive(tmp_path, monkeypatch):
    said = f"cat << 'END'\n{ALIVE}\n8_1|PENDING|0|0:0||0:00|5:00|None\n8_2|FAILED|0|0:9|c1|0:01|5:00|None\nEND"
    program(tmp_path, monkeypatch, squeue=said, sacct=f'echo "$@" > {tmp_path}/asked')
    asker = backend(LocalAccess(), tmp_path)
    asker.poll(["7", "8_1"])
    assert not (tmp_path / "asked").exists()
    asker.poll(["7", "8_1", "8_2", "8_3", "9"])
    assert (tmp_path / "asked").read_text().split()[-1] == "--jobs=8,9"


def test_a_large_answer_is_quick_to_look_through(tmp_path, monkeypatch):
    line = '      "name": "a field of a job, of which there are many",'
    program(tmp_path, monkeypatch, squeue=f"yes '{line}' | head -c 4000000", sacct='echo "{}"')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    backend(LocalAccess(), tmp_path, prefer="json").poll([str(i) for i in range(1000, 1500)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < 10, "a shell's own loops take half a minute of a processor"


def test_a_slurm_without_json_is_asked_by_text_after_one_warning(tmp_path, monkeypatch, caplog):
    old = """case "$*" in *--json*) echo "$(basename "$0"): unrecognized option '--json'" >&2; exit 1 ;; esac\n"""
    program(tmp_path, monkeypatch, squeue=old + f"echo '{ALIVE}'", sacct=old)
    asker = backend(LocalAccess(), tmp_path, prefer="json")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert asker.poll(["7"])["7"].state is State.RUNNING
    (said,) = [record.getMessage() for record in caplog.records]
    assert "site 'here': options.prefer: json does not work here: unrecognized option '--json'" in said
    assert "options: {prefer: commands}" in said


def test_accounting_that_hangs_is_left_alone_and_asked_again_later(monkeypatch):
    access = Told(HUNG, f"==== squeue 0\n{KILLED}\n", f"==== squeue 0\n{KILLED}\n==== sacct 0\n{OOM}\n")
    asker = backend(access)
    monkeypatch.setattr(accounting, "_HUNG_S", -1.0)
    assert asker.poll(["7"])["7"].state is State.RUNNING
    assert asker.poll(["7"])["7"].state is State.RUNNING, "that nobody was asked is no answer either"
    monkeypatch.setattr(accounting, "_LEFT_ALONE_S", 0.0)
    assert asker.poll(["7"])["7"].state is State.OOM
    assert [c[-1] for c in access.commands if c[0] == "sh"] == ["accounting", "", "accounting"]


def test_silence_is_told_once_after_a_while_and_its_end_too(monkeypatch, caplog):
    """The first poll was answered, so this is an outage: a daemon that is started again is away for some seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    alive = f"==== squeue 0\n{ALIVE}\n"
    away = "==== squeue 1\nslurm_load_jobs error: Unable to contact slurm controller\n"
    asker = backend(Told(alive, away, Unavailable("no connection"), away, away, alive, alive, away))
    told = []
    with caplog.at_level(logging.WARNING):
        for now[0] in range(1000, 1160, 20):
            assert asker.poll(["7"])["7"].state is State.RUNNING
            told.append(len(caplog.records))
    assert told == [0, 0, 0, 1, 1, 2, 2, 2]
    gone, back = [record.getMessage() for record in caplog.records]
    assert "has not answered for 40 s (problem: slurm_load_jobs error: Unable to contact" in gone
    assert "answers again, after 80 s" in back


def test_a_slurm_that_never_answered_is_told_at_once(caplog):
    with caplog.at_level(logging.WARNING):
        backend(Told(Unavailable("login: no such host"))).poll(["7"])
    (said,) = [record.getMessage() for record in caplog.records]
    assert "site 'here': Slurm" in said
    assert "does not answer (problem: login: no such host)" in said


@pytest.mark.parametrize("silence", [HUNG, Unavailable("no connection")])
def test_a_killed_job_waits_for_accounting_as_long_as_it_is_silent_and_no_longer_than_that(monkeypatch, silence):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    asker = backend(Told(HUNG, silence))
    for now[0] in (1000.0, 1100.0, 1200.0, 1290.0):
        assert asker.poll(["7"])["7"].state is State.RUNNING
    asker.access.answers = [f"==== squeue 0\n{KILLED}\n==== sacct 0\n7|RUNNING|0|0:0|c1|4|5|50M||1|1\n"]
    assert asker.poll(["7"])["7"].state is State.RUNNING, "it has just come back, and is still writing"
    now[0] = 1321.0
    assert asker.poll(["7"])["7"].state is State.FAILED


def test_an_end_that_is_clear_does_not_wait_for_silent_accounting(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    asker = backend(Told("==== squeue 0\n7|TIMEOUT|0|0:0|c1|5:04|5:00|TimeLimit\n==== sacct 124\n"))
    assert asker.poll(["7"])["7"].state is State.RUNNING
    now[0] = 1031.0
    assert asker.poll(["7"])["7"].state is State.TIMEOUT


NOBODY = "slurm_load_jobs error: Invalid job id specified"
UNACCOUNTED = f"==== squeue 1\n{NOBODY}\n==== sacct 1\nSlurm accounting storage is disabled"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def polled(asker, clock, after_s):
    clock[0] += after_s
    return asker.poll(["7"])["7"]


@pytest.mark.parametrize(
    ("gone", "last_s"),
    [
        (UNACCOUNTED, 31),
        (f"==== squeue 1\n{NOBODY}\n==== sacct 127\nsacct: not found", 31),
        ("==== squeue 0\n\n==== sacct 1\nSlurm accounting storage is disabled", 31),
        # with accounting, which may have much to catch up with
        (f"==== squeue 1\n{NOBODY}\n==== sacct 0\n", 601),
        # a runaway job: accounting never heard of its end
        (f"==== squeue 1\n{NOBODY}\n==== sacct 0\n7|RUNNING|0|0:0|c1|4|5|50M||1|1\n", 601),
    ],
)
def test_a_job_that_nobody_knows_any_more_has_ended_and_is_charged_to_nobody(clock, gone, last_s):
    asker = backend(Told(f"==== squeue 0\n{ALIVE}", gone))
    assert polled(asker, clock, 0).state is State.RUNNING
    for after_s in (1, 1, last_s - 3):
        assert polled(asker, clock, after_s).state is State.RUNNING, "an answer may lag"
    ended = polled(asker, clock, 2)
    assert (ended.state, ended.blame) == (State.NODE_FAIL, "infrastructure")
    assert "job 7 has ended without an exit code and is in no queue" in ended.reason


def test_a_job_that_was_put_back_is_queued_while_squeue_has_it_or_does_not_answer(clock):
    put_back = "==== sacct 0\n7|REQUEUED|0|0:0|c1|4|5|50M||1|1\n"
    waits = f"==== squeue 0\n7|PENDING|1|0:0||0:00|5:00|BeginTime\n{put_back}"
    asker = backend(Told(waits, f"==== squeue 124\n\n{put_back}"))
    assert [polled(asker, clock, s).state for s in (0, 400, 400)] == [State.QUEUED] * 3


PUT_BACK = "==== sacct 0\n7|REQUEUED|0|0:0|c1|4|5|50M||1|1\n"


@pytest.mark.parametrize(
    "said",
    [
        f"==== squeue 0\n7|CANCELLED|1|143:0|c1|0:01|5:00|None\n{PUT_BACK}",
        f"==== squeue 0\n7|CANCELLED|1|0:9|c1|0:01|5:00|None\n{PUT_BACK}",
        f"==== squeue 1\n{NOBODY}\n{PUT_BACK}",
    ],
)
def test_a_job_that_was_cancelled_while_it_was_put_back_is_cancelled_at_the_first_look(clock, said):
    """As Slurm tells it, first with the job in its memory, later without: accounting has no record of that attempt."""
    seen = polled(backend(Told(said)), clock, 0)
    assert (seen.state, seen.attempt) == (State.CANCELLED, 1)
    assert seen.reason.startswith("CANCELLED: job 7 ")


def test_a_job_that_this_process_cancelled_and_nobody_knows_any_more_is_cancelled(clock):
    asker = backend(Told(f"==== squeue 0\n{ALIVE}", f"==== squeue 1\n{NOBODY}\n==== sacct 0\n"))
    polled(asker, clock, 0)
    asker.cancel(["7"])
    assert [polled(asker, clock, s).state for s in (1, 1, 31)] == [State.RUNNING] * 2 + [State.CANCELLED]


def test_a_job_of_another_process_is_found_ended_too(clock):
    asker = backend(Told(UNACCOUNTED))
    assert [polled(asker, clock, s).state for s in (0, 1, 31)] == [State.UNKNOWN, State.UNKNOWN, State.NODE_FAIL]


@pytest.mark.parametrize(
    "back",
    [
        f"==== squeue 0\n{ALIVE}",
        f"7.0.end 0\n{UNACCOUNTED}",
    ],
)
def test_one_look_at_it_in_between_begins_anew(clock, back):
    asker = backend(Told(UNACCOUNTED, UNACCOUNTED, back, UNACCOUNTED))
    seen = [polled(asker, clock, s).state for s in (0, 29, 29, 29)]
    assert State.NODE_FAIL not in seen


@pytest.mark.parametrize(
    "silence",
    [
        UNACCOUNTED.replace(NOBODY, "slurm_load_jobs error: Unable to contact slurm controller"),
        f"==== squeue 1\n{NOBODY}\n==== sacct 1\nsacct: error: slurmdbd: Connection refused",
        f"==== squeue 1\n{NOBODY}\n==== sacct 124\n",
        "==== squeue 124\n",
        "",
    ],
)
def test_silence_of_one_that_may_know_is_no_end(clock, silence):
    asker = backend(Told(silence))
    assert {polled(asker, clock, s).state for s in (0, 100, 1000, 1000)} == {State.UNKNOWN}
