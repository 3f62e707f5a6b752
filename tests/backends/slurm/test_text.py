"""Slurm's answers, as Slurm 24.11 gave them, become records and then statuses; anything else is silence."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.array_tasks import array_tasks
from vrecompute.batch.contract import State
from vrecompute.batch.marks import read_marks
from vrecompute_backends.slurm import poll
from vrecompute_backends.slurm.poll import Polled, merge
from vrecompute_backends.slurm.record import Record, parse_sacct, parse_sacct_json, parse_squeue, parse_squeue_json
from vrecompute_backends.slurm.states import STATES, is_unclear, status_of


def read(text, ids, form):
    """What a poll's whole output says."""
    return poll.read(*read_marks(text.splitlines()), ids, form)


SQUEUE = """\
9|FAILED|0|0:9|c2|0:01|5:00|RaisedSignal:9(Killed)
8|PENDING|0|0:0||0:00|5:00|Resources
7_2|PENDING|0|0:0||0:00|5:00|JobArrayTaskLimit
10|PENDING|0|0:0||0:00|5:00|JobHeldUser
7_0|RUNNING|1|0:0|c1|0:04|1-00:00:00|None
11|PENDING|0|0:0||0:00|UNLIMITED|PartitionDown
"""
SACCT = """\
8|PENDING|0|0:0|None assigned|0|5|3900M||0|0
9|FAILED|0|0:9|c2|1|5|50M||1|1
9.batch|CANCELLED by 0|0|0:9|c2|1|||317588K|1|1
12|CANCELLED by 1000|0|0:0|c1|7|5|500M||1|1
7_0|NODE_FAIL|0|0:0|c1|6|5|500M||1|1
7_0|COMPLETED|1|0:0|c1|6|5|500M||1|1
7_0.batch|COMPLETED|1|0:0|c1|6|||3048K|1|1
13|OUT_OF_MEMORY|0|0:125|c[1-2]|60|5|2G||2|2
13.0|OUT_OF_MEMORY|0|0:125|c1|50|||1048576K|1|1
14|OUT_OF_MEMORY|0|0:125|c2|1|5|100M||1|1
14.batch|OUT_OF_MEMORY|0|0:125|c2|1|||4580K|1|1
15|OUT_OF_MEMORY|0|0:125|c2|0|5|100M||1|1
"""
SQUEUE_JSON = {
    "jobs": [
        {
            "job_id": 5,
            "array_job_id": {"set": True, "infinite": False, "number": 3},
            "array_task_id": {"set": True, "infinite": False, "number": 0},
            "job_state": ["RUNNING"],
            "state_reason": "None",
            "restart_cnt": 2,
            "exit_code": {
                "status": ["SUCCESS"],
                "return_code": {"set": True, "infinite": False, "number": 0},
                "signal": {"id": {"set": False, "infinite": False, "number": 0}, "name": ""},
            },
            "nodes": "c1",
            "time_limit": {"set": True, "infinite": False, "number": 5},
        },
        {"job_id": 6, "array_task_id": None, "job_state": "PENDING", "state_reason": "Priority", "restart_cnt": 0},
        {"job_id": 7, "job_state": ["COMPLETED", "COMPLETING"], "state_reason": "None"},
    ]
}
SACCT_JSON = {
    "jobs": [
        {
            "job_id": 9,
            "array": {"job_id": 0, "task_id": {"set": False, "infinite": False, "number": 0}},
            "allocation_nodes": 1,
            "state": {"current": ["FAILED"], "reason": "None"},
            "restart_cnt": 0,
            "exit_code": {
                "return_code": {"set": False, "infinite": False, "number": 0},
                "signal": {"id": {"set": True, "infinite": False, "number": 9}, "name": "KILL"},
            },
            "nodes": "c2",
            "time": {"elapsed": 1, "limit": {"set": True, "infinite": False, "number": 5}},
            "tres": {"allocated": [{"type": "mem", "count": 50}]},
            "steps": [
                {"state": ["CANCELLED"], "tres": {"requested": {"max": [{"type": "mem", "count": 325210112}]}}},
            ],
        }
    ]
}


def test_squeue_text():
    found = {job_id: status_of(record) for job_id, record in parse_squeue(SQUEUE).items()}
    assert [found[i].state for i in ("8", "7_2", "10", "7_0", "11")] == [
        State.QUEUED, State.QUEUED, State.HELD, State.RUNNING, State.QUEUED,
    ]  # fmt: skip
    assert found["7_0"].attempt == 1
    assert "options.partition" in found["11"].reason
    assert "its owner holds it" in found["10"].reason
    assert parse_squeue(SQUEUE)["7_0"].limit_s == 86400


def test_sacct_text_gives_the_latest_attempt_and_the_peak_of_its_steps():
    found = {job_id: status_of(record) for job_id, record in parse_sacct(SACCT).items()}
    assert (found["7_0"].state, found["7_0"].attempt) == (State.COMPLETED, 1)
    assert found["12"].reason.startswith("CANCELLED: job 12 on c1 was cancelled by user 1000")
    assert found["9"].memory_peak_bytes == 317588 * 1024
    assert found["9"].memory_limit_bytes == 50 << 20


def test_both_shapes_of_a_memory_kill_are_oom_with_job_node_peak_and_limit():
    records = parse_sacct(SACCT)
    bare, grouped = status_of(records["9"]), status_of(records["13"])
    assert bare.state is grouped.state is State.OOM
    assert bare.reason.startswith("OOM: job 9 on c2 used 310 MiB of 50 MiB")
    assert grouped.reason.startswith("OOM: job 13 on c[1-2] used 1024 MiB of 1024 MiB")


def test_a_peak_that_accounting_did_not_see_is_not_given_for_one():
    records = parse_sacct(SACCT)
    sampled, unseen = status_of(records["14"]), status_of(records["15"])
    assert sampled.reason.startswith(
        "OOM: job 14 on c2 reached its memory limit of 100 MiB, of which accounting saw 4 MiB"
    )
    assert unseen.reason.startswith(
        "OOM: job 15 on c2 reached its memory limit of 100 MiB, of which accounting saw noth"
    )
    assert sampled.memory_peak_bytes == 4580 * 1024, "as accounting has it"
    assert unseen.memory_peak_bytes is None
    assert sampled.signal is None, "125 is no signal"


def test_json_says_the_same_as_text():
    found = parse_squeue_json(json.dumps(SQUEUE_JSON))
    assert parse_squeue_json(f"Welcome\n{json.dumps(SQUEUE_JSON)}\nsessions {{}} are recorded") == found
    assert (found["3_0"].state, found["3_0"].restarts, found["3_0"].limit_s) == ("RUNNING", 2, 300)
    assert status_of(found["6"]).state is State.QUEUED
    assert status_of(found["7"]).state is State.RUNNING, "a job that is completing has not ended"
    account = parse_sacct_json(json.dumps(SACCT_JSON))["9"]
    assert status_of(account).state is State.OOM
    assert account.memory_limit_bytes == 50 << 20


@given(st.text(max_size=200))
def test_nonsense_is_silence_and_never_an_end(text):
    for records in (parse_squeue(text), parse_sacct(text)):
        assert not any(status_of(r).state is State.COMPLETED for r in records.values() if r.state not in STATES)
    for form in ("commands", "json", "rest", "pyslurm"):
        assert read(text, ["1", "9"], form) == Polled({}, instead="the answer about jobs was cut short")


@pytest.mark.parametrize("code", ["1", "124"])
def test_an_error_of_squeue_or_sacct_is_silence(code):
    answer = read(f"==== squeue {code}\n{SQUEUE}\n==== sacct {code}\n{SACCT}", ["8", "9", "12"], "commands")
    assert (answer.records, answer.silent, answer.instead != "") == ({}, True, True)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("==== squeue 1\nslurm_load_jobs error: Unable to contact slurm controller\n", "Unable to contact slurm contr"),
        ("==== squeue 1\nslurm_load_jobs error: Invalid job id specified\n", ""),
        ("==== squeue 0\n", ""),
        ("==== squeue 124\n", "no answer within 30 s"),
        ("==== squeue 22\n{\n\ncurl: (22) The requested URL returned error: 401\n}\n", "error: 401"),
        ("==== squeue 127\n", "exit code 127"),
        ("", "cut short"),
    ],
)
def test_what_squeue_says_instead_of_an_answer_is_kept_for_the_user(said, told):
    instead = read(said, ["8"], "commands").instead
    assert bool(instead) == bool(told)
    assert told in instead


def test_a_silent_sacct_hides_nothing_of_squeue_and_is_known_to_be_silent():
    hung = read(f"9.0.end 3\n==== squeue 0\n{SQUEUE}\n==== sacct 124\n", ["8", "9", "7_0"], "commands")
    assert hung.silent
    assert {i: r.state for i, r in hung.records.items()} == {"8": "PENDING", "7_0": "RUNNING", "9": "FAILED"}
    assert not read(f"==== squeue 0\n{SQUEUE}\n", ["7_0"], "commands").silent, "sacct was not needed"


def test_a_site_without_accounting_has_no_more_to_say():
    without = "==== sacct 1\nSlurm accounting storage is disabled\n"
    answer = read(f"==== squeue 0\n{SQUEUE}\n{without}", ["9"], "commands")
    assert not answer.silent
    assert answer.records["9"].explained


def test_jobs_that_nobody_asked_for_are_left_out():
    """squeue --json of older versions tells all jobs of the cluster, and so does slurmrestd."""
    answer = f"==== squeue 0\n{json.dumps(SQUEUE_JSON)}\n==== sacct 0\n{json.dumps(SACCT_JSON)}\n"
    assert set(read(answer, ["6", "9"], "json").records) == {"6", "9"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("==== squeue 1\nsqueue: unrecognized option '--json'\nTry \"squeue --help\" for more information\n", "--json"),
        (
            "==== squeue 139\nsqueue: error: load_plugins: unable to find plugin: serializer/json\n",
            "unable to find plugin: serializer/json",
        ),
        (
            "==== sacct 0\nsacct: error: application/json output not supported by data_parser/v0.0.42\n",
            "output not supported by data_parser/v0.0.42",
        ),
    ],
)
def test_a_slurm_without_json_is_told_from_one_that_does_not_answer(said, why):
    answer = read(said, ["8"], "json")
    assert why in answer.refusal
    assert answer.records == {}
    assert not read(
        "==== squeue 1\nslurm_load_jobs error: Socket timed out on send/recv operation\n", [], "json"
    ).refusal


def test_elements_that_wait_or_never_started_are_told_as_one_and_known_one_by_one():
    waiting = dict.fromkeys(["set", "infinite"], False)
    job = {"job_id": 1, "array_job_id": {"set": True, "number": 1}, "array_task_id": waiting, "job_state": ["PENDING"]}
    queue = parse_squeue_json(json.dumps({"jobs": [{**job, "array_task_string": "8-499%2"}]}))
    assert len(queue) == 492
    assert queue["1_499"].job_id == "1_499"
    account = {
        "job_id": 514,
        "array": {"job_id": 514, "task_id": waiting, "task": "0x1C"},
        "state": {"current": "CANCELLED"},
    }
    by_json = parse_sacct_json(json.dumps({"jobs": [account]}))
    by_text = parse_sacct("514_[2-4]|CANCELLED by 2000|0|0:0|None assigned|0|5|100M||0|0\n")
    assert set(by_json) == set(by_text) == {"514_2", "514_3", "514_4"}
    assert set(parse_sacct("5_[1,3,...%2]|CANCELLED|0|0:0|c1|0|5|100M||0|0\n")) == {"5_1", "5_3"}, "cut short by Slurm"


@pytest.mark.parametrize(
    "jobs", [[{"job_id": 9, "array": "x"}], [{"job_id": 9, "state": 3}], [{"job_id": 9, "time": []}], 7]
)
def test_json_of_another_shape_is_silence(jobs):
    text = json.dumps({"jobs": jobs})
    assert read(f"==== squeue 1\n\n==== sacct 0\n{text}", ["9"], "json").records.get("9", Record("9", "")).state == ""


def test_only_a_kill_without_figures_is_unclear():
    assert is_unclear(Record("1", "FAILED", signal=9))
    assert is_unclear(Record("1", "CANCELLED by 0", exit_code=137))
    assert not is_unclear(Record("1", "FAILED", signal=9, memory_peak_bytes=1))
    assert not is_unclear(Record("1", "FAILED", exit_code=3))
    assert not is_unclear(Record("1", "TIMEOUT", signal=9))
    assert not is_unclear(Record("1", "RUNNING", signal=9))


def test_a_marker_beats_squeue_and_squeue_beats_sacct():
    queue = {"7": Record("7", "RUNNING")}
    accounts = {"7": Record("7", "FAILED", exit_code=1)}
    assert merge({}, queue, accounts)["7"].state == "RUNNING"
    assert merge({"7": {0: 0}}, queue, accounts)["7"].state == "COMPLETED"
    assert merge({"7": {0: 2}}, {}, {})["7"].exit_code == 2
    requeued = {"7": Record("7", "PENDING", restarts=1)}
    assert merge({"7": {0: 0}}, requeued, accounts)["7"].state == "PENDING", "a marker is of one attempt"
    assert merge({}, requeued, accounts)["7"].restarts == 1


def test_squeue_says_the_state_and_sacct_the_figures():
    queue, accounts = parse_squeue(SQUEUE), parse_sacct(SACCT)
    status = status_of(merge({}, queue, accounts)["9"])
    assert (status.state, status.signal, status.node) == (State.OOM, 9, "c2")


@pytest.mark.parametrize("state", [*STATES, "SOMETHING_NEW"])
def test_every_state_of_slurm_has_a_meaning_and_a_new_one_is_unknown(state):
    status = status_of(Record("1", state, exit_code=1, nodes="c1", elapsed_s=61.0, limit_s=60))
    assert status.state is STATES.get(state, State.UNKNOWN)
    if status.state.terminal and status.state is not State.COMPLETED:
        assert "job 1 on c1" in status.reason
        assert "00:01:01" in status.reason


def test_json_that_no_number_or_stack_can_hold_is_silence():
    for job in ('{"job_id": 7, "time_limit": Infinity}', '{"job_id": 7, "nodes": ' + '{"a":' * 10_000):
        text = f'==== squeue 0\n{{"jobs": [{job}]}}\n'
        assert read(text, ["7"], "json").instead.startswith("no valid answer of Slurm"), job[:40]


def test_records_of_another_shape_than_pyslurm_gives_are_silence():
    whole = json.dumps([asdict(Record("7", "RUNNING"))])
    assert set(read(f"==== squeue 0\n{whole}\n", ["7"], "pyslurm").records) == {"7"}
    for wrong in ('"state": null', '"state": 5', '"restarts": "x"', '"steps": 1'):
        key = wrong.partition(":")[0]
        value = json.dumps(json.loads(whole)[0][json.loads(key)])
        said = whole.replace(f"{key}: {value}", wrong)
        assert said != whole
        assert read(f"==== squeue 0\n{said}\n", ["7"], "pyslurm").instead, wrong


def test_a_number_with_thousands_of_digits_is_no_exit_code():
    answer = read(f"7.0.end {'9' * 5000}\n8.{'9' * 5000}.end 0\n==== squeue 0\n", ["7", "8"], "commands")
    assert answer.records == {}


def test_a_line_that_stands_for_millions_of_elements_takes_no_memory_for_them():
    found = parse_squeue("8_[0-4000000]|PENDING|0|0:0||0:00|5:00|Priority\n")
    assert len(found) == 100_000


def test_bits_of_a_long_list_of_elements_are_counted_in_no_time():
    begun = time.process_time()
    assert list(array_tasks("0x8" + "0" * 200_000 + "1")) == [0, 800_007]
    assert time.process_time() - begun < 5, "a shift of all bits for each takes a minute"
