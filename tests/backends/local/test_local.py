"""Jobs of this machine: submitted, polled, cancelled, killed; and a cluster that only this machine can reach."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.batch.contract import Job, JobId, State, SubmitError
from vrecompute.sites.model import local_site
from vrecompute.workers.walltime import ATTEMPTS
from vrecompute_backends.local import LocalBackend

LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture
def backend(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return LocalBackend(local_site())


def until(backend, job_id, wanted, seconds=20.0):
    """The status when it is one of `wanted`; fails after `seconds`."""
    if not comes_true(lambda: backend.poll([job_id])[job_id].state in wanted, seconds, 0.05):
        pytest.fail(f"still {backend.poll([job_id])[job_id]} after {seconds} s: {backend.logs(job_id)}")
    return backend.poll([job_id])[job_id]


def ended(backend, job, seconds=20.0):
    job_id = backend.submit(job)
    return job_id, until(backend, job_id, {s for s in State if s.terminal}, seconds)


def shell(text, **given):
    return Job("test", ("sh", "-c", text), **given)


def session_of(backend, job_id):
    """Processes of a job's session that live."""
    leader = int((backend._spool / job_id / "pid").read_text().split()[0])
    living = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return living


def test_a_job_runs_to_its_end_and_its_words_are_kept(backend):
    job_id, status = ended(backend, shell("echo out; echo err >&2"))
    assert (status.state, status.exit_code, status.blame) == (State.COMPLETED, 0, "none")
    assert sorted(backend.logs(job_id).split()) == ["err", "out"]
    # Another process on another day knows as much.
    assert LocalBackend(local_site()).poll([job_id])[job_id] == status


def test_a_command_that_fails_is_charged_to_the_code(backend):
    _, status = ended(backend, shell("exit 7"))
    assert (status.state, status.exit_code, status.blame) == (State.FAILED, 7, "code")
    assert "exit code 7" in status.reason
    # timeout(1) says 124 too, but this one had time left.
    assert ended(backend, shell("exit 124"))[1].state is State.FAILED


@pytest.mark.parametrize("text", ["sleep 60", "trap '' TERM; while :; do sleep 0.2; done"])
def test_the_walltime_ends_a_job_even_one_that_will_not(backend, text):
    _, status = ended(backend, shell(text, walltime_s=1), seconds=30)
    assert (status.state, status.blame) == (State.TIMEOUT, "infrastructure")
    assert "walltime of 1 s" in status.reason


def test_cancelling_ends_every_process_of_the_job_for_good(backend):
    job_id = backend.submit(shell("sleep 61 & sleep 62"))
    until(backend, job_id, {State.RUNNING})
    assert comes_true(lambda: len(session_of(backend, job_id)) >= 5)
    backend.cancel([job_id, JobId("never-was")])
    status = until(backend, job_id, {State.CANCELLED})
    assert (status.blame, status.reason) == ("infrastructure", "cancelled by its owner")
    assert not session_of(backend, job_id)
    assert backend.poll([job_id])[job_id].state is State.CANCELLED


def test_cancelling_what_has_ended_changes_nothing(backend):
    job_id, _ = ended(backend, shell("true"))
    backend.cancel([job_id])
    assert backend.poll([job_id])[job_id].state is State.COMPLETED


def test_a_killed_session_is_a_lost_node_and_its_secrets_go(backend):
    job_id = backend.submit(shell("sleep 63", secret_files={"key": b"s3cr3t"}))
    until(backend, job_id, {State.RUNNING})
    # those that its shell starts before the command end by themselves
    assert comes_true(lambda: any(_command(p.pid)[:1] == ["sleep"] for p in session_of(backend, job_id)))
    for process in session_of(backend, job_id):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    status = until(backend, job_id, {State.NODE_FAIL})
    assert (status.blame, "killed" in status.reason) == ("infrastructure", True)
    assert not (backend._spool / job_id / "secrets").exists()


def test_a_job_that_ends_while_it_is_looked_at_is_not_taken_for_lost(backend, monkeypatch):
    job_id = backend.submit(shell("sleep 0.5"))
    look = backend._alive

    def slowly(looked_at):
        assert comes_true(lambda: look(looked_at) is None)
        return

    monkeypatch.setattr(backend, "_alive", slowly)
    assert backend.poll([job_id])[job_id].state is State.COMPLETED


def test_a_killed_command_names_the_signal(backend):
    _, status = ended(backend, shell("kill -9 $$"))
    assert (status.state, status.signal) == (State.FAILED, 9)


def test_what_was_never_submitted_is_unknown(backend):
    assert backend.poll([JobId("no-such-job")])[JobId("no-such-job")].state is State.UNKNOWN
    assert backend.logs(JobId("no-such-job")) == ""


HOSTILE = [
    "a b",
    "'",
    '"',
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "\n touch pwned\n",
    "*",
    "\\",
    "é",
    "-n",
    "",
]


def test_hostile_arguments_names_and_values_arrive_as_they_are(backend):
    code = "import os, sys, json; print(json.dumps([sys.argv[1:], os.environ['VALUE']]))"
    value = "".join(HOSTILE)
    job = Job("\n touch pwned #", (sys.executable, "-c", code, *HOSTILE), environment={"VALUE": value})
    job_id, status = ended(backend, job)
    assert status.state is State.COMPLETED, backend.logs(job_id)
    import json

    assert json.loads(backend.logs(job_id)) == [HOSTILE, value]
    assert not list(backend._spool.rglob("pwned"))


@pytest.mark.parametrize(
    "job",
    [
        shell("true", environment={"A; touch pwned; B": "x"}),
        shell("true", secret_files={"../key": b"x"}),
        shell("true", secret_files={"": b"x"}),
        shell("true\0"),
    ],
)
def test_names_that_a_shell_would_take_for_more_are_refused(backend, job):
    with pytest.raises(SubmitError, match="test"):
        backend.submit(job)
    assert not backend._spool.exists()


def test_secrets_are_private_never_in_the_script_and_gone_at_the_end(backend):
    text = "stat -c '%a %n' $VRECOMPUTE_SECRETS $VRECOMPUTE_SECRETS/key; cat $VRECOMPUTE_SECRETS/key"
    job = shell(text, secret_files={"key": b"canary-1234"})
    assert "canary" not in backend.script(job) + repr(job)
    job_id, status = ended(backend, job)
    assert status.state is State.COMPLETED
    modes = [line.split()[0] for line in backend.logs(job_id).splitlines()[:2]]
    assert modes == ["700", "600"]
    assert backend.logs(job_id).endswith("canary-1234")
    folder = backend._spool / job_id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert comes_true(lambda: not (folder / "secrets").exists())
    assert "canary" not in "".join(p.read_text() for p in folder.iterdir() if p.is_file() and p.name != "output")


def test_a_variable_that_holds_a_secret_reaches_a_job_as_a_file_alone(backend, monkeypatch):
    """Any process listing of this user shows the environment of a job for as long as it runs."""
    monkeypatch.setenv("A_TOKEN", "canary-1234")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-forty-letters")
    monkeypatch.setenv("AWS_REGION", "eu")
    files = {"TOKEN": b"canary-1234\n", "store-1": b'{"SecretAccessKey": "canary-of-forty-letters", "Region": "eu"}'}
    job = shell("tr '\\0' '\\n' < /proc/$$/environ; cat $VRECOMPUTE_SECRETS/TOKEN | wc -c", secret_files=files)
    job_id, status = ended(backend, job)
    assert status.state is State.COMPLETED
    assert "canary" not in backend.logs(job_id)
    assert "AWS_REGION=eu" in backend.logs(job_id)
    assert backend.logs(job_id).split()[-1] == "12"


def test_the_script_is_a_pure_function_of_the_job(backend):
    job = shell("true", environment={"B": "2", "A": "1"})
    assert backend.script(job) == backend.script(replace(job, environment={"A": "1", "B": "2"}))


def listening(pids):
    """Addresses on which processes listen."""
    return {
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_cluster_listens_on_loopback_alone_and_leaves_nothing_behind(backend):
    before = listening([os.getpid()])
    with backend.open_cluster(1) as cluster:
        cluster.client.wait_for_workers(1, timeout=60)
        assert cluster.client.submit(sum, [1, 2]).result(timeout=30) == 3
        children = [p.pid for p in psutil.Process().children(recursive=True)]
        addresses = listening([os.getpid(), *children]) - before
        assert listening(children), "no worker listens at all"
        assert addresses <= LOOPBACK
    workers = [p for p in children if psutil.pid_exists(p) and "spawn_main" in " ".join(_command(p))]
    assert comes_true(lambda: not [p for p in workers if psutil.pid_exists(p) and _command(p)])
    cluster.close()


def _command(pid):
    try:
        return psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_worker_comes_back_however_late_dask_looks_for_it(backend):
    """Dask gives up a nanny for good that it finds between two workers, some time after the death of the first."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}), backend.open_cluster(1) as cluster:
        pids = [cluster.client.submit(os.getpid, pure=False).result(timeout=30)]
        for _ in range(3):
            os.kill(pids[-1], signal.SIGKILL)
            pids.append(cluster.client.submit(os.getpid, pure=False).result(timeout=30))
    assert len(set(pids)) == 4


def test_a_job_with_workers_hands_its_command_a_scheduler(backend):
    code = "from distributed import Client; print(Client().submit(sum, [20, 22]).result(), 'from a worker')"
    job_id, status = ended(backend, Job("dask", (sys.executable, "-c", code), workers=1, walltime_s=100), seconds=90)
    assert status.state is State.COMPLETED, backend.logs(job_id)
    assert "42 from a worker" in backend.logs(job_id)


@pytest.mark.parametrize(("attempts", "state", "starts"), [("", State.COMPLETED, 3), ("2", State.FAILED, 2)])
def test_a_job_that_is_out_of_time_is_started_again(backend, tmp_path, attempts, state, starts):
    """Its command says so by its exit code, and how often that may be is the site's to say."""
    command = (
        "sh", "-c",
        'echo "$VRECOMPUTE_JOB_BEGAN $VRECOMPUTE_JOB_ENDS" >> "$0"; [ "$(wc -l < "$0")" = 3 ] || exit 75',
        str(tmp_path / "starts"),
    )  # fmt: skip
    environment = {ATTEMPTS: attempts} if attempts else {}
    _, status = ended(backend, Job("again", command, walltime_s=60, requeue=True, environment=environment))
    assert (status.state, status.exit_code) == (state, 0 if state is State.COMPLETED else 75)
    told = [line.split() for line in (tmp_path / "starts").read_text().splitlines()]
    assert len(told) == starts
    assert {int(ends) - int(began) for began, ends in told} == {60}


def test_a_job_that_must_not_be_requeued_is_not(backend):
    _, status = ended(backend, Job("once", ("sh", "-c", "exit 75"), walltime_s=60))
    assert (status.state, status.exit_code) == (State.FAILED, 75)


@pytest.mark.slow
@pytest.mark.acceptance
def test_a_detached_run_longer_than_its_job_completes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root", 30, clusters=30)
    given = {"sleep_s": 1.0, "chunk_bytes": 1, "task_chunks": 1}
    with Client(workers=1, store=tmp_path / "store") as client:
        run = client.submit(str(tmp_path / "sums.py"), str(file), walltime_s=30, **given)
        report = run.report(timeout_s=240)
        assert (report.status, report.chunks.total) == ("complete", 30), run.logs()
        assert report.chunks.reused > 0, "an earlier attempt did some of them"
        here = client.run(str(tmp_path / "sums.py"), str(file), reuse=False, **{**given, "sleep_s": 0.0})
        assert here.report(timeout_s=60).result_sha256 == report.result_sha256


def test_the_folder_of_jobs_is_the_users_own(backend, tmp_path):
    assert Path(backend._spool).is_relative_to(tmp_path)
