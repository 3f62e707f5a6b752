"""What HTCondor's commands are given and what their answers mean, with commands that play their part."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from vrecompute.batch import submissions
from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.sites.access import LocalAccess
from vrecompute.sites.model import Limits, Site, Stage
from vrecompute_backends.htcondor import HTCondorBackend
from vrecompute_backends.htcondor.record import ATTRIBUTES

JOB = Job("mine", ("true",))
TAKEN = "cat > /dev/null; echo '7.0 - 7.0'"


def line(**values):
    """What `-af:Vt` prints of a job, as shell text."""
    words = {**dict.fromkeys(ATTRIBUTES, "undefined"), "ClusterId": 7, "ProcId": 0, **values}
    return r"printf '%s\n' '" + "\t".join(str(words[name]) for name in ATTRIBUTES) + "'"


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """`pool(condor_submit=..., condor_q=...)`: a backend of commands with these shell texts; each notes its calls."""
    monkeypatch.setattr(submissions, "_LOOKS_S", (0.0, 0.0))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(options=None, **texts):
        for name, text in {"condor_q": "true", "condor_history": "true", "condor_rm": "true", **texts}.items():
            (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{text}\n')
            (tmp_path / name).chmod(0o755)
        site = Site(name="here", backend="htcondor", limits=Limits(min_poll=0), stage=Stage(scratch=str(tmp_path)))
        site = replace(site, options=options or {})
        return HTCondorBackend(site, LocalAccess())

    make.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    make.spool = tmp_path / "jobs"
    return make


def test_the_description_is_taken_out_of_the_script_and_nothing_stays(pool, tmp_path):
    backend = pool(condor_submit=f"cat > {tmp_path}/given; ls {tmp_path}/jobs > {tmp_path}/there; echo '7.0 - 7.2'")
    assert backend.submit_many(JOB, 3) == ["7.0", "7.1", "7.2"]
    given = (tmp_path / "given").read_text().splitlines()
    script = backend.script(JOB).splitlines()
    assert given[:-3] == [text.removeprefix("#HTCONDOR ") for text in script if text.startswith("#HTCONDOR ")]
    (name,) = (tmp_path / "there").read_text().split()
    assert given[-3:] == [f"initialdir = {pool.spool}", f"executable = {pool.spool}/{name}", "queue 3"]
    assert list(pool.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("complaint", "transient", "too_many", "words"),
    [
        ("ERROR: Can't find address of local schedd", True, False, "try again later"),
        ("ERROR: Number of submitted jobs would exceed MAX_JOBS_PER_OWNER", True, True, "would exceed"),
        ("ERROR: Failed to connect to local queue manager\nSECMAN:2002: policy", False, False, "condor_token_fetch"),
        ("ERROR: Failed to connect to queue manager\nAUTHENTICATE:1003:Failed", False, False, "condor_token_fetch"),
        (
            "ERROR: Failed to connect\nSECMAN:2011:Connection closed during command authorization",
            True,
            False,
            "taken|took",
        ),
        ("ERROR: Failed to connect\nSECMAN:2007:Failed to end classad message", True, False, "try again later"),
        ("ERROR: Parse error in expression: Requirements", False, False, "Parse error"),
    ],
)
def test_a_refusal_says_whether_to_try_again(pool, complaint, transient, too_many, words):
    backend = pool(condor_submit=f'cat > /dev/null; echo "{complaint}" >&2; exit 1')
    with pytest.raises(SubmitError, match=words) as refused:
        backend.submit(JOB)
    assert (refused.value.transient, refused.value.too_many) == (transient, too_many)


def test_a_pool_that_tells_nothing_to_who_asks_is_told_as_that(pool):
    said = "Error: (null)\\n\\nExtra Info: You probably saw this error because the condor_schedd is not\\nrunning"
    with pytest.raises(Unavailable, match=r"condor_q: \(null\) \(HTCondor does not accept who asks; .*token_fetch"):
        pool(condor_q=f"printf '{said}' >&2; exit 1").greet()


def test_a_job_that_was_taken_without_an_answer_is_found_by_its_name(pool):
    lost = "cat > /dev/null; echo 'ERROR: Failed to commit job submission' >&2; exit 1"
    found = f"[ \"$1\" != -af ] || echo '9 0 {int(time.time())} 1'"
    assert pool(condor_submit=lost, condor_q=found).submit(JOB) == "9.0"


def test_one_poll_asks_the_queue_once_and_the_history_for_what_is_not_in_it(pool):
    backend = pool(
        condor_submit=TAKEN,
        condor_q=line(ProcId=0, JobStatus=2, NumShadowStarts=1),
        condor_history=line(ProcId=1, JobStatus=4, ExitCode=0, NumShadowStarts=1),
    )
    seen = backend.poll(["7.0", "7.1", "8.0"])
    assert [status.state for status in seen.values()] == [State.RUNNING, State.COMPLETED, State.UNKNOWN]
    asked = [call for call in pool.calls() if call.startswith(("condor_q -allusers", "condor_history -match"))]
    assert [call.split(" -af")[0] for call in asked] == ["condor_q -allusers 7 8", "condor_history -match 2 7.1 8.0"]


def test_silence_of_the_queue_changes_nothing_and_that_of_the_history_ends_nothing(pool):
    backend = pool(condor_submit=TAKEN, condor_q=line(JobStatus=2, NumShadowStarts=1))
    assert backend.poll(["7.0"])["7.0"].state is State.RUNNING
    pool(condor_q="echo 'Failed to fetch ads' >&2; exit 1")
    assert backend.poll(["7.0"])["7.0"].state is State.RUNNING
    pool(condor_history="echo 'no history file' >&2; exit 1")
    assert backend.poll(["7.0"])["7.0"].state is State.RUNNING


def test_secrets_of_a_job_that_has_ended_are_deleted_whoever_submitted_it(pool):
    secret = replace(JOB, secret_files={"key": b"canary-0815"})
    backend = pool(condor_submit=TAKEN)
    backend.submit(secret)
    (folder,) = pool.spool.glob("secrets-*")
    other = pool(condor_q=line(JobStatus=2, NumShadowStarts=1, TransferInput=f'"{folder.name}, carried-x"'))
    other.poll(["7.0"])
    assert folder.is_dir()
    other = pool(condor_history=line(JobStatus=4, ExitCode=0, TransferInput=f'"{folder.name}, carried-x"'))
    other.poll(["7.0"])
    assert not folder.exists()


def test_secrets_of_a_client_that_was_killed_go_with_the_next_submission_and_no_others(pool):
    pool(condor_submit=TAKEN).submit(replace(JOB, secret_files={"key": b"canary-0815"}))
    pool(condor_submit=TAKEN.replace("7", "8"), condor_q="echo 7").submit(
        replace(JOB, secret_files={"key": b"canary-0816"})
    )
    (pool.spool / "secrets-of-another-system").mkdir()
    assert len(list(pool.spool.glob("secrets-*-0"))) == 2
    pool(condor_submit=TAKEN.replace("7", "9"), condor_q="exit 1").submit(JOB)
    assert len(list(pool.spool.glob("secrets-*-0"))) == 2, "a silent queue says nothing of them"
    pool(condor_submit=TAKEN.replace("7", "9"), condor_q="echo 8").submit(JOB)
    (kept,) = pool.spool.glob("secrets-*-0")
    assert (kept / "key").read_bytes() == b"canary-0816"
    assert (pool.spool / "secrets-of-another-system").is_dir()


def test_the_script_of_a_container_stays_until_its_job_is_in_the_queue_no_more(pool):
    pool(condor_submit=TAKEN).submit(replace(JOB, image="/images/a"))
    (script,) = pool.spool.glob("vre-*.sh")
    pool(condor_submit=TAKEN.replace("7", "8"), condor_q="echo 7").submit(replace(JOB, image="/images/a"))
    assert len(list(pool.spool.glob("vre-*.sh"))) == 2, "of the same words, and still apart"
    pool(condor_submit=TAKEN.replace("7", "9"), condor_q="echo 8").submit(JOB)
    (other,) = pool.spool.glob("vre-*.sh")
    assert other != script


@pytest.mark.parametrize("named", ["../elsewhere", "carried-x", "secrets-0/../../elsewhere", "secrets-" + "0" * 24])
def test_nothing_else_that_the_queue_names_is_deleted(pool, named, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "jobs" / "carried-x").mkdir(parents=True)
    backend = pool(condor_history=line(JobStatus=4, ExitCode=0, TransferInput=f'"{named}"'))
    assert backend.poll(["7.0"])["7.0"].state is State.COMPLETED
    assert (tmp_path / "elsewhere").is_dir()
    assert (tmp_path / "jobs" / "carried-x").is_dir()


def test_a_cancel_that_got_no_answer_is_owed(pool):
    backend = pool(condor_rm="echo 'Failed to connect to schedd' >&2; exit 1")
    with pytest.raises(Unavailable, match="cancel again later"):
        backend.cancel(["7.0"])
    assert backend.owed == ["7.0"]
    pool(condor_rm="echo 'Job 7.0 not found' >&2; exit 1")
    backend.cancel([])
    assert backend.owed == []


def test_machines_whose_number_of_cores_has_a_fraction_are_machines(pool):
    status = r"printf 'e1\t4.0\t4096\te1\ne2\tundefined\t1\te2\n'"
    told = pool(condor_status=status, condor_version="echo 23.9.6", condor_config_val="exit 1").survey()
    assert (told.queue.nodes, told.queue.largest_cores, told.queue.memory_bytes) == (1, 4, 4 << 30)


AFAR = {"schedd": "ap.pool", "pool": "cm.pool"}
NAMED = '[ "$_CONDOR_SCHEDD_HOST$_CONDOR_COLLECTOR_HOST" = ap.poolcm.pool ] || exit 9\n'


def test_each_command_is_told_of_the_schedd_elsewhere_and_its_jobs_have_a_spool_of_their_own(pool, tmp_path):
    backend = pool(
        AFAR,
        condor_submit=f'{NAMED}[ "$*" = "-terse -spool -" ] || exit 8; {TAKEN}',
        condor_q=NAMED + line(JobStatus=2, NumShadowStarts=1),
        condor_rm=NAMED,
        condor_version=f"{NAMED}echo 23.9.6",
    )
    assert backend.submit(JOB) == "7.0"
    assert backend.poll(["7.0"])["7.0"].state is State.RUNNING
    backend.cancel(["7.0"])
    assert backend.owed == []
    assert backend.greet() == "HTCondor 23.9.6"
    assert backend.spool == f"{tmp_path}/jobs-ap.pool"


def test_a_job_has_ended_once_what_it_made_was_retrieved(pool):
    there = line(JobStatus=4, ExitCode=0, NumShadowStarts=1, LeaveJobInQueue="true")
    backend = pool(AFAR, condor_q=there, condor_transfer_data="echo 'cut off' >&2; exit 1")
    status = backend.poll(["7.0"])["7.0"]
    assert (status.state, status.exit_code) == (State.RUNNING, None)
    assert status.reason == "job 7.0 has ended; what it made is still at the access point"
    pool(AFAR, condor_q=there, condor_transfer_data=NAMED)
    assert backend.poll(["7.0"])["7.0"].state is State.RUNNING
    (*_, asked) = [call for call in pool.calls() if call.startswith("condor_transfer_data")]
    assert asked == "condor_transfer_data -constraint LeaveJobInQueue && member(ClusterId, {7})"
    pool(AFAR, condor_history=line(JobStatus=4, ExitCode=0, NumShadowStarts=1, LeaveJobInQueue="false"))
    assert backend.poll(["7.0"])["7.0"].state is State.COMPLETED


def test_files_that_never_came_to_the_access_point_are_no_fault_of_the_job(pool):
    held = {"LastHoldReasonCode": 16, "RemoveReason": '"The job attribute PeriodicRemove expression evaluated to TRUE"'}
    status = pool(AFAR, condor_history=line(JobStatus=3, **held)).poll(["7.0"])["7.0"]
    assert (status.state, status.blame) == (State.NODE_FAIL, "infrastructure")
    assert "on the way to the access point" in status.reason


MERGING = Job("mine-merge", ("python", "-m", "vrecompute"), secret_files={"key": b"canary-0815"})


def test_a_final_node_waits_for_the_jobs_and_runs_the_command_in_the_spool(pool, tmp_path):
    backend = pool({"final_node": True}, condor_submit_dag=f"cp * {tmp_path}; pwd > {tmp_path}/where")
    assert backend.afterwards(["7.0", "7.1"], MERGING)
    assert (tmp_path / "where").read_text().strip() == f"{pool.spool}/condor-dag-mine-merge"
    assert (tmp_path / "run.dag").read_text().splitlines()[-1] == "FINAL final final.sub"
    assert '/../condor-7.log" 7' in (tmp_path / "wait.sh").read_text()
    said = (tmp_path / "final.sub").read_text().splitlines()
    assert {"universe = local", f"initialdir = {pool.spool}"} <= set(said)
    assert "canary" not in (tmp_path / "final.sh").read_text()
    (folder,) = pool.spool.glob("secrets-*-0")
    assert folder.name.removesuffix("-0") in (tmp_path / "final.sh").read_text(), "which deletes them"


@pytest.mark.parametrize("options", [{}, {"final_node": True}])
def test_without_a_final_node_clients_merge_and_nothing_stays(pool, options, caplog):
    backend = pool(options, condor_submit_dag="echo 'local universe is not allowed' >&2; exit 1")
    assert not backend.afterwards(["7.0"], MERGING)
    assert bool(options) == ("local universe is not allowed" in caplog.text)
    assert list(pool.spool.glob("secrets-*")) == []


@pytest.mark.parametrize(
    "said",
    [
        "Error: No passed search file and configuration key HISTORY is unset.",
        "Error 5: HISTORY undefined in remote configuration. No such related history to be queried.",
    ],
)
def test_an_access_point_without_a_history_is_no_silent_one(pool, said):
    answer = pool(condor_history=f"echo '{said}' >&2; exit 1").ask_about(["7.0"])
    assert (answer.gone, answer.silent, answer.accounting) == ({"7.0"}, False, False)
    answer = pool(condor_history="echo 'Failed to connect' >&2; exit 1").ask_about(["7.0"])
    assert (answer.gone, answer.silent, answer.accounting) == (frozenset(), True, True)
