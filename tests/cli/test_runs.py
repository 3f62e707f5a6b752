"""`vrecompute runs`: what is done to runs of a store, whoever carries them out."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.batch.contract import JobId, JobStatus, State, SubmitError
from vrecompute.cli import main
from vrecompute.errors import Interrupted, Unavailable
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.runlog import ENDED, RunLog
from vrecompute.sites.model import local_site
from vrecompute.stores.directory import DirStore
from vrecompute.wording import first_cause

follow = importlib.import_module("vrecompute.cli.follow")


@pytest.fixture
def store(tmp_path) -> DirStore:
    """An empty store."""
    return DirStore(tmp_path / "store")


@pytest.fixture
def submitted(store, tmp_path, monkeypatch):
    """`submitted(state)`: the name of a detached run whose job the batch system says to be in that state."""
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 10)
    client = Client(store=store)
    states: dict[JobId, State] = {}

    def submit(self, job) -> JobId:
        return JobId(str(len(states)))

    monkeypatch.setattr(type(client.backend), "submit", submit)
    monkeypatch.setattr(type(client.backend), "poll", lambda self, ids: {i: JobStatus(states[i]) for i in ids})
    monkeypatch.setattr(
        type(client.backend), "cancel", lambda self, ids: states.update(dict.fromkeys(ids, State.CANCELLED))
    )

    def make(state: State) -> str:
        job = JobId(str(len(states)))
        run = client.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
        states[job] = state
        return run.id

    return make


@pytest.fixture
def vrecompute(store, capsys):
    """`vrecompute(*words)`: exit code, standard output and standard error of `vrecompute runs ...`."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["runs", words[0], "--store", str(store.root), *words[1:]])
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def runs_in(vrecompute) -> set[str]:
    return {run["run"] for run in json.loads(vrecompute("list", "--json")[1])}


def test_last_is_the_run_that_was_made_last(store, submitted, vrecompute):
    code, _, told = vrecompute("show", "last")
    assert (code, "there is no run in" in told) == (2, True)
    names = [submitted(State.QUEUED)]
    time.sleep(1.1)  # names count seconds
    names.append(submitted(State.QUEUED))
    assert json.loads(vrecompute("show", "last", "--json")[1])["run"] == names[-1]


def test_runs_that_have_ended_are_deleted_and_others_are_not_touched(store, submitted, vrecompute):
    gone, other = submitted(State.TIMEOUT), submitted(State.TIMEOUT)
    blobs = list(store.names("blobs"))
    assert vrecompute("delete", gone, "no-such-run")[0] == 2
    code, _, said = vrecompute("delete", "")  # an unset variable of a script
    assert (code, "the name of the run is empty" in said) == (2, True)
    assert runs_in(vrecompute) == {gone, other}
    assert vrecompute("delete", gone)[:2] == (0, f"deleted {gone}\n")
    assert runs_in(vrecompute) == {other}
    assert list(store.names("blobs")) == blobs
    assert list(store.names(f"runs/{gone}")) == []
    assert vrecompute("delete", gone)[0] == 2


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.UNKNOWN])
def test_a_run_that_may_yet_run_is_deleted_only_when_it_was_cancelled(store, submitted, vrecompute, state):
    run = submitted(state)
    code, _, said = vrecompute("delete", run)
    assert code == 4
    assert f"vrecompute runs cancel {run}" in said
    assert runs_in(vrecompute) == {run}
    assert vrecompute("cancel", run)[0] == 0
    assert vrecompute("delete", run)[0] == 0
    assert runs_in(vrecompute) == set()


def test_a_run_whose_manifest_is_damaged_is_deleted_unless_its_runner_speaks(store, submitted, vrecompute):
    run = submitted(State.TIMEOUT)
    log = RunLog(store, read_manifest(store, run))
    log.event("started")
    Path(store.root, f"runs/{run}/manifest.json").write_text("{}")
    assert vrecompute("delete", run)[0] == 4
    log.event(ENDED)
    assert vrecompute("delete", run)[0] == 0
    assert runs_in(vrecompute) == set()


def test_a_deletion_that_was_cut_short_is_repeated(store, submitted, vrecompute, monkeypatch):
    run = submitted(State.TIMEOUT)
    delete = DirStore.delete

    def killed(self, name):
        if name.endswith("manifest.json"):
            raise KeyboardInterrupt
        delete(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(DirStore, "delete", killed)
        assert vrecompute("delete", run)[0] == 130
    assert runs_in(vrecompute) == {run}
    assert vrecompute("delete", run)[0] == 0


def test_ctrl_c_ends_the_watching_of_a_queued_run_and_not_the_run(store, submitted, vrecompute, monkeypatch):
    run = submitted(State.QUEUED)

    def interrupted(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(follow.time, "sleep", interrupted)
        code, out, said = vrecompute("attach", run)
    assert (code, out) == (130, "")
    assert f"`vrecompute runs cancel {run}` ends it" in said
    assert "queued  its job waits in the queue" in said
    assert f"run {run}: queued since " in said
    assert ", job 0: its job waits in the queue" in said
    assert not store.exists(f"runs/{run}/cancel")
    assert json.loads(vrecompute("list", "--json")[1])[0]["state"] == "queued"
    assert "progress: queued: its job waits in the queue" in vrecompute("show", run)[1]


def test_an_attached_run_shows_the_attempt_that_began_last(store, submitted, vrecompute):
    run = submitted(State.RUNNING)
    for began, numbers in ((2, range(9)), (1, [99] * 20), (3, [1])):
        log = RunLog(store, read_manifest(store, run))
        log.writer = f"{0x70000000 + began:x}-{log.writer.partition('-')[2]}"
        for number in numbers:
            log.event("progress", stage="work", chunks_done=number, chunks_total=100)
    shown = json.loads(vrecompute("show", run, "--json")[1])
    assert (shown["state"], shown["progress"]["chunks_done"]) == ("running", 1)


def test_ctrl_c_of_one_who_attached_does_not_end_the_run_of_another_process(store, tmp_path):
    (tmp_path / "slow.py").write_text(SUM_ANALYSIS)
    data = write_events(tmp_path / "slow.root")
    words = ["run", str(tmp_path / "slow.py"), str(data), "--workers", "1", "--chunk-bytes", "3400B", "-p", "sleep_s=1"]
    place = ["--store", str(store.root)]
    with started(*words, *place) as running:
        assert comes_true(lambda: list(store.names("work")), 120)
        (run,) = store.children("runs")
        with started("runs", "attach", run, *place) as attached:
            assert attached.stderr is not None
            assert comes_true(lambda: "work" in attached.stderr.readline(), 60)
            attached.send_signal(signal.SIGINT)
            said = attached.communicate(timeout=60)[1]
        assert attached.returncode == 130
        assert f"vrecompute runs cancel {run}" in said
        out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert "COMPLETE" in out


def started(*words: str) -> subprocess.Popen[str]:
    """`vrecompute ...` as a process that heeds Ctrl-C, as one in a terminal does."""

    def listen():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    command = [sys.executable, "-m", "vrecompute", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def test_show_gives_job_state_reason_since_when_and_how_the_log_of_a_bad_end_ends(
    store, submitted, vrecompute, monkeypatch
):
    run = submitted(State.QUEUED)
    driver = type(Client().backend)
    why = "job 0 waits: it is next"
    monkeypatch.setattr(driver, "poll", lambda self, ids: {i: JobStatus(State.QUEUED, reason=why) for i in ids})
    shown = json.loads(vrecompute("show", run, "--json")[1])
    assert (shown["state"], shown["job"], shown["reason"], shown["log"]) == ("queued", "0", why, "")
    assert abs(datetime.fromisoformat(shown["since"]).timestamp() - time.time()) < 60
    end = JobStatus(State.TIMEOUT, reason="TIMEOUT: job 0 reached its walltime")
    monkeypatch.setattr(driver, "poll", lambda self, ids: dict.fromkeys(ids, end))
    monkeypatch.setattr(driver, "logs", lambda self, job: "".join(f"line {n}\n\n" for n in range(9)))
    told = vrecompute("show", run)[1]
    assert "state: interrupted\nsince: " in told
    assert "job: 0\nreason: TIMEOUT: job 0 reached its walltime\nlog: Its log ends: line 4 | line 5" in told
    with pytest.raises(Interrupted, match=r"reached its walltime\. Its log ends: line 4 .* line 8\."):
        Client(store=store).attach(run).result()


def test_a_job_that_ended_well_and_left_nothing_is_one_state_that_names_its_log(
    store, submitted, vrecompute, monkeypatch, tmp_path
):
    run = submitted(State.QUEUED)
    driver = type(Client().backend)
    end = JobStatus(State.COMPLETED, exit_code=0)
    monkeypatch.setattr(driver, "poll", lambda self, ids: dict.fromkeys(ids, end))
    monkeypatch.setattr(driver, "logs", lambda self, job: "nothing to do, leaving\n")
    monkeypatch.setenv("VRECOMPUTE_CACHE", str(tmp_path / "cache"))

    def told():
        (line,) = json.loads(vrecompute("list", "--json")[1])
        shown = json.loads(vrecompute("show", run, "--json")[1])
        assert (shown["state"], shown["reason"]) == (line["state"], line["reason"])
        return *(shown[key] for key in ("state", "reason", "log")), Client(store=store).attach(run).status

    late = "and the store does not show yet how the run ended: it may be a minute late"
    assert told() == ("unknown", f"job 0 has ended with exit code 0, {late}", "", "unknown")
    # which a command that begins later sees too: the first look was a while ago
    (first,) = (tmp_path / "cache" / "runs").glob("over-*")
    os.utime(first, (time.time() - 100, time.time() - 100))
    monkeypatch.setattr("vrecompute.seenover._FIRST", {})
    left = f"and left no word of the run: its log says what it did, `vrecompute runs logs {run}`"
    log = "Its log ends: nothing to do, leaving"
    assert told() == ("interrupted", f"job 0 has ended with exit code 0, {left}", log, "interrupted")


@pytest.mark.parametrize(
    "error", [SubmitError("here: sbatch refused job 'x': no controller", transient=True), Unavailable("ssh: no route")]
)
def test_a_submission_that_had_no_answer_is_kept_with_what_was_said(store, vrecompute, tmp_path, monkeypatch, error):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 10)

    def refuse(self, job):
        raise error

    with Client(store=store) as client:
        monkeypatch.setattr(type(client.backend), "submit", refuse)
        with pytest.raises(type(error)):
            client.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
    (line,) = json.loads(vrecompute("list", "--json")[1])
    shown = json.loads(vrecompute("show", line["run"], "--json")[1])
    assert {(each["state"], each["reason"]) for each in (line, shown)} == {("interrupted", str(error))}


def test_a_run_that_did_not_complete_says_why_on_one_line_of_the_list_with_its_site_and_since(
    store, submitted, vrecompute, tmp_path, monkeypatch
):
    queued = submitted(State.QUEUED)
    why = "job 0 waits: it asks for more time than its partition gives; lower `workers.walltime`"
    never = JobStatus(State.QUEUED, reason=why, never=True)
    monkeypatch.setattr(type(Client().backend), "poll", lambda self, ids: dict.fromkeys(ids, never))
    (tmp_path / "broken.py").write_text(
        SUM_ANALYSIS.replace("return Result", "raise ValueError('no')\n        return Result")
    )
    with Client(store=store, workers=1) as client:
        run = client.run(str(tmp_path / "broken.py"), str(tmp_path / "e.root"))
        run.wait(120)
    lines = {line["run"]: line for line in json.loads(vrecompute("list", "--json")[1])}
    for name, state in ((queued, "queued"), (run.id, "failed")):
        shown = json.loads(vrecompute("show", name, "--json")[1])
        assert {key: lines[name][key] for key in ("state", "reason", "site", "since")} == {
            key: shown[key] for key in ("state", "reason", "site", "since")
        }
        assert lines[name]["state"] == state
        assert abs(datetime.fromisoformat(lines[name]["since"]).timestamp() - time.time()) < 600
    assert (
        lines[queued]["reason"]
        == f"it can never start: {why}; `vrecompute runs cancel {queued}` takes it out of the queue"
    )
    assert "ValueError: no" in lines[run.id]["reason"]
    table = vrecompute("list")[1].splitlines()
    assert [line.split()[0] for line in table] == ["RUN", queued, run.id]
    assert f"  {first_cause(lines[queued]['reason'])}" in table[1]
    assert table[1].endswith("...")


def test_since_is_the_beginning_of_the_attempt_that_runs_or_waits(store, submitted, vrecompute, monkeypatch):
    run = submitted(State.QUEUED)
    driver = type(Client().backend)

    def age_s(**status):
        monkeypatch.setattr(driver, "poll", lambda self, ids: {i: JobStatus(**status) for i in ids})
        shown = json.loads(vrecompute("show", run, "--json")[1])
        assert shown["state"] == status["state"], shown
        return time.time() - datetime.fromisoformat(shown["since"]).timestamp()

    assert age_s(state=State.RUNNING, elapsed_s=3000) == pytest.approx(3000, abs=60), "its Runner has not begun"
    log = RunLog(store, read_manifest(store, run))
    began = int(time.time()) - 2000
    log.writer = f"{began:x}-{log.writer.partition('-')[2]}"
    log.event("progress", stage="work", chunks_done=1, chunks_total=100)
    assert age_s(state=State.RUNNING, elapsed_s=1900) == pytest.approx(2000, abs=60), "an answer may be some polls old"
    with monkeypatch.context() as patch:
        patch.setattr("vrecompute.execution.runlog._SILENCE_S", -1)
        assert age_s(state=State.QUEUED, attempt=1) == pytest.approx(0, abs=60), "it was put back"


def test_show_of_a_run_that_has_ended_gives_the_totals_of_its_outcome(store, tmp_path, vrecompute):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 100, clusters=4)
    with Client(store=store, workers=1) as client:
        run = client.run(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
        assert run.report(timeout_s=120).status == "complete"
    # as the head is where the Runner could not write its last event
    log = RunLog(store, read_manifest(store, run.id))
    log.event(ENDED)
    told = vrecompute("show", run.id)[1]
    assert "state: complete" in told
    assert "progress: done: 1 of 1 chunks, 100 of 100 events" in told
    assert json.loads(vrecompute("show", run.id, "--json")[1])["progress"]["chunks_total"] == 1


def test_attaching_to_a_run_whose_job_can_never_start_ends(store, submitted, vrecompute, monkeypatch):
    run = submitted(State.QUEUED)
    waits = JobStatus(State.QUEUED, reason="job 0 waits: no node has what it asks for", never=True)
    monkeypatch.setattr(type(Client().backend), "poll", lambda self, ids: dict.fromkeys(ids, waits))
    monkeypatch.setattr("vrecompute.run._NEVER_S", 1.0)
    code, _, said = vrecompute("attach", run)
    assert code == 2
    why = "can never start: job 0 waits: no node has what it asks for; its job is cancelled"
    assert why in said
    (line,) = json.loads(vrecompute("list", "--json")[1])
    assert (line["state"], why in line["reason"]) == ("refused", True)
    told = vrecompute("show", run)[1]
    assert "state: refused\n" in told
    assert why in told


def test_a_run_of_a_site_that_is_not_known_here_is_neither_taken_up_nor_called_interrupted(
    store, submitted, vrecompute, tmp_path
):
    submitted(State.QUEUED)
    there = Client(replace(local_site(), name="far away"), store=store)
    run = there.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root")).id
    assert "state: submitted" in vrecompute("show", run)[1]
    for command in ("attach", "cancel", "delete"):
        code, _, said = vrecompute(command, run)
        assert code in {2, 4}
        assert "far away" in said or "is submitted" in said


def test_a_run_that_was_cancelled_in_the_queue_is_so_by_every_door_also_where_its_site_is_not_known(
    store, submitted, vrecompute, tmp_path
):
    run = submitted(State.QUEUED)
    there = Client(replace(local_site(), name="far away"), store=store)
    far = there.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
    assert vrecompute("cancel", run)[0] == 0
    far.cancel()
    for name in (run, far.id):
        assert "state: cancelled\n" in (told := vrecompute("show", name)[1])
        assert "reason: it was cancelled by its user\n" in told
        (line,) = (facts for facts in json.loads(vrecompute("list", "--json")[1]) if facts["run"] == name)
        assert (line["state"], line["reason"]) == ("cancelled", "it was cancelled by its user")
        code, _, said = vrecompute("result", name, "--out", str(tmp_path / "out"))
        assert code == 130
        assert f"run {name} was cancelled: it was cancelled by its user. " in said
        assert "interrupted" not in said
    assert vrecompute("delete", run, far.id)[0] == 0


@pytest.mark.parametrize("speaks", [True, False])
def test_a_run_whose_job_is_suspended_says_so_by_every_door(store, submitted, vrecompute, monkeypatch, speaks):
    run = submitted(State.RUNNING)
    why = "job 0 is suspended: its processes are stopped"
    stopped = JobStatus(State.RUNNING, reason=why)
    monkeypatch.setattr(type(Client().backend), "poll", lambda self, ids: dict.fromkeys(ids, stopped))
    monkeypatch.setattr("vrecompute.whereabouts._QUIET_S", 0.0)
    if speaks:
        RunLog(store, read_manifest(store, run)).event("progress", stage="work", chunks_done=1, chunks_total=4)
    told = vrecompute("show", run)[1]
    assert "state: running\n" in told
    assert f"reason: {why}\n" in told
    (line,) = json.loads(vrecompute("list", "--json")[1])
    assert (line["state"], line["reason"]) == ("running", why)
    progress = Client(store=store).attach(run).progress()
    assert (progress.waiting, progress.waiting_for) == (why, "job")
