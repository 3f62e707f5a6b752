"""What HTCondor's words mean, one record at a time: whom an end is charged to, and what a person is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.contract import State, latest
from vrecompute_backends.htcondor.holds import ACCIDENTS, hold_ends, why_held
from vrecompute_backends.htcondor.record import ATTRIBUTES, Record, parse
from vrecompute_backends.htcondor.states import status_of, why_waiting

RUN = {
    "ClusterId": 12, "ProcId": 3, "JobStatus": 2, "NumShadowStarts": 1, "NumJobStarts": 0, "JobCurrentStartDate": 1000,
    "EnteredCurrentStatus": 1000, "RemoteHost": "slot1_1@e1", "RequestMemory": 128, "VrecomputeWalltime": 60,
    "VrecomputeOnce": True,
}  # fmt: skip
AGAIN = {"VrecomputeOnce": False}
BY_POLICY = {"JobStatus": 3, "RemoveReason": "The job attribute PeriodicRemove expression '...' evaluated to TRUE"}
NO_IMAGE = {"NumJobStarts": 1, "VacateReason": "Error from slot1@e1: Singularity test failed:FATAL: no image /a.sif"}
BY_ALICE = {"JobStatus": 3, "RemoveReason": "via condor_rm (by user alice)", "EnteredCurrentStatus": 1010}


def told(**changes):
    return status_of(Record({**RUN, **changes}, now=1005))


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"JobStatus": 1, "NumShadowStarts": 0, "RemoteHost": None}, State.QUEUED, "has not looked for a machine"),
        (
            {"JobStatus": 1, "NumShadowStarts": 0, "LastRejMatchReason": "no match found"},
            State.QUEUED,
            "no machine that is free has what it asks for",
        ),
        ({}, State.RUNNING, ""),
        ({"JobStatus": 6}, State.RUNNING, ""),
        ({"JobStatus": 7}, State.RUNNING, "job 12.3 is suspended: its processes are stopped"),
        ({"JobStatus": 4, "ExitCode": 0, "ExitBySignal": False}, State.COMPLETED, ""),
        ({"JobStatus": 4, "ExitCode": 3, "ExitBySignal": False}, State.FAILED, "job 12.3 on e1 ended with exit code 3"),
        ({"JobStatus": 4, "ExitSignal": 11, "ExitBySignal": True}, State.FAILED, "signal 11"),
        (
            {"JobStatus": 4, "ExitSignal": 9, "ExitBySignal": True, "ResidentSetSize": 128 << 10},
            State.OOM,
            "used 128 MiB of 128 MiB",
        ),
        (BY_ALICE, State.CANCELLED, "was cancelled by user alice"),
        ({**BY_POLICY, "EnteredCurrentStatus": 1061}, State.TIMEOUT, "reached its walltime of 00:01:00"),
        ({**BY_POLICY, "LastHoldReasonCode": 34}, State.OOM, "reached its memory limit"),
        ({**BY_POLICY, "LastHoldReasonCode": 21, "LastHoldReasonSubCode": 102}, State.OOM, "raise `workers.memory`"),
        ({**BY_POLICY, "NumJobStarts": 1}, State.PREEMPTED, "was preempted"),
        (
            {**BY_POLICY, "LastHoldReasonCode": 13, "LastHoldReason": "no such file: x"},
            State.FAILED,
            "job 12.3 was held: files for it could not be transferred (no such file: x)",
        ),
        (
            {"JobStatus": 3, "RemoveReason": "The system macro SYSTEM_PERIODIC_REMOVE expression is TRUE"},
            State.CANCELLED,
            "by the pool (The system macro",
        ),
        ({"JobStatus": 1, "NumJobStarts": 1}, State.PREEMPTED, "was preempted by another job"),
        ({"JobStatus": 1, "NumJobStarts": 1, **AGAIN}, State.QUEUED, "was put back, and waits"),
        ({"JobStatus": 1, **NO_IMAGE, **AGAIN}, State.QUEUED, "put back, and waits: its container image could not be"),
        ({"JobStatus": 1, **NO_IMAGE}, State.FAILED, "on e1: its container image could not be used; mend `env"),
        ({**BY_POLICY, **NO_IMAGE, **AGAIN}, State.FAILED, "mend `environment.image` (FATAL: no image /a.sif)"),
        ({"JobStatus": 4, "ExitCode": 3, **NO_IMAGE, **AGAIN}, State.FAILED, "ended with exit code 3"),
        ({"JobStatus": 4, "NumJobStarts": 2, "NumShadowStarts": 2, "ExitCode": 75}, State.PREEMPTED, "was preempted"),
        ({"JobStatus": 4, "NumJobStarts": 1, "ExitCode": 75}, State.FAILED, "exit code 75"),
        ({"JobStatus": 4, "NumJobStarts": 2, "ExitCode": 75, **AGAIN}, State.FAILED, "exit code 75"),
        ({"JobStatus": 5, "HoldReasonCode": 1, "HoldReason": "via condor_hold"}, State.HELD, "`condor_release`"),
        ({"JobStatus": 5, "HoldReasonCode": 34}, State.OOM, "OOM"),
        ({"JobStatus": 5, "HoldReasonCode": 21, "HoldReasonSubCode": 102}, State.OOM, "OOM"),
        ({"JobStatus": 5, "HoldReasonCode": 46}, State.TIMEOUT, "TIMEOUT"),
        ({"JobStatus": 5, "HoldReasonCode": 26}, State.HELD, "the policy of the access point holds it"),
        ({"JobStatus": 5, "HoldReasonCode": 13, **AGAIN}, State.HELD, "files for it could not be transferred"),
        ({"JobStatus": 5, "HoldReasonCode": 6}, State.NODE_FAIL, "its machine could not start it"),
        ({"JobStatus": 99}, State.UNKNOWN, ""),
    ],
)  # fmt: skip
def test_a_record_is_a_state_and_a_sentence(changes, state, words):
    status = told(**changes)
    assert status.state is state
    assert words in status.reason, status.reason


def test_an_attempt_is_numbered_by_the_shadows_before_it():
    assert [told(NumShadowStarts=n, **AGAIN).attempt for n in (1, 2, 3)] == [0, 1, 2]
    assert [told(NumShadowStarts=n).attempt for n in (1, 2, 3)] == [0, 0, 0], "it must not start again"
    assert [told(JobStatus=1, NumShadowStarts=n, **AGAIN).attempt for n in (0, 1, 2)] == [0, 1, 2]
    assert told(JobStatus=4, NumShadowStarts=2, ExitCode=0, **AGAIN).attempt == 1
    assert told(JobStatus=3, NumShadowStarts=0).attempt == 0


@pytest.mark.parametrize(
    "end", [BY_ALICE, {**BY_POLICY, "LastHoldReasonCode": 13}, {**BY_POLICY, "LastHoldReasonCode": 34}]
)
@pytest.mark.parametrize("once", [True, False])
def test_the_end_of_a_job_that_was_held_is_not_before_what_was_known_of_it(end, once):
    """A status of an earlier attempt is not believed."""
    held = {"JobStatus": 5, "HoldReasonCode": end.get("LastHoldReasonCode", 1), "VrecomputeOnce": once}
    gone = {**end, "LastJobStatus": 5, "LastHoldReasonCode": held["HoldReasonCode"], "VrecomputeOnce": once}
    seen = latest(told(**held), told(**gone))
    assert seen.state.terminal
    assert seen.state is (told(**held).state if told(**held).state.terminal else told(**gone).state)


def test_time_and_memory_are_in_seconds_and_bytes():
    assert (told().elapsed_s, told().memory_limit_bytes) == (5, 128 << 20)
    assert told(**BY_ALICE, ResidentSetSize=1000).elapsed_s == 10
    assert told(ResidentSetSize=1000).memory_peak_bytes == 1000 << 10
    assert told(JobStatus=1, NumShadowStarts=0).elapsed_s is None
    assert told(**{**BY_ALICE, "NumShadowStarts": 0}).elapsed_s == 0, "it costs nothing"


def test_what_no_waiting_ends_is_said_of_a_hold_by_a_policy_alone():
    assert told(JobStatus=5, HoldReasonCode=26).never
    assert not told(JobStatus=5, HoldReasonCode=1).never
    assert not told(JobStatus=1, NumShadowStarts=0, LastRejMatchReason="no match found").never


@given(st.integers(-1, 60) | st.none(), st.integers(-1, 300) | st.none(), st.text(max_size=50))
def test_every_hold_has_a_sentence_and_an_end_only_where_a_policy_removes_it(code, subcode, said):
    assert why_held(code, said)
    assert "\n" not in why_held(code, said)
    ends = hold_ends(code, subcode)
    assert (ends is not None) == (code in {34, 46, 47, *ACCIDENTS} or (code, subcode) == (21, 102))


def test_a_reason_that_is_not_known_is_quoted():
    assert why_waiting("Something new") == "HTCondor gives the reason 'Something new'"


@given(st.lists(st.text(alphabet='ab\t"\\ 1.(', max_size=20), max_size=30))
def test_lines_of_another_shape_are_skipped(words):
    assert parse(["\t".join(words)]) == {} or len(words) >= 1


def test_a_line_of_literals_is_a_record():
    words = {**dict.fromkeys(ATTRIBUTES, "undefined"), "ClusterId": "7", "ProcId": "0", "ExitBySignal": "false"}
    words |= {"HoldReason": r'"a \"b\"\n\tc"', "ResidentSetSize": "(1 + 2)"}
    (record,) = parse(["Welcome!", "\t".join(words.values())]).values()
    assert (record.job_id, record.text("HoldReason")) == ("7.0", 'a "b"\n\tc')
    assert (record.number("ResidentSetSize"), record.true("ExitBySignal")) == (None, False)
