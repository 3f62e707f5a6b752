"""Whatever Slurm's commands print is an answer or an error of ours: an IndexError would end a client that polls."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from tests.fuzz.engine import Target, fuzz, outcome_of
from tests.sites.written import site_of
from vrecompute.batch import submissions
from vrecompute.batch.contract import Job, JobStatus
from vrecompute.batch.marks import read_marks
from vrecompute.errors import VrecomputeError
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm.poll import read
from vrecompute_backends.slurm.pyslurm_query import mismatch
from vrecompute_backends.slurm.reasons import held, reason_code, why_waiting
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.states import is_unclear, status_of

SQUEUE = """\
7.0.end 0
8_1.1.end 137
==== squeue 0
7|RUNNING|0|0:0|c1|1:23|4:00:00|None
8_1|PENDING|1|0:0||0:00|1-00:00:00|ReqNodeNotAvail, UnavailableNodes:c[1-4]
8_[2-5%2]|PENDING|0|0:0||0:00|UNLIMITED|AssocGrpCPUMinutesLimit
9|FAILED|0|0:9|c2|0:01|5:00|JobHeldUser
==== sacct 0
8_0|OUT_OF_MEMORY|0|0:125|c1|83|240|9216Mn||1|4
8_0.batch|OUT_OF_MEMORY|0|0:125|c1|83|||1.50G|1|4
8_0.extern|COMPLETED|0|0:0|c1|83|||0|1|4
9|CANCELLED by 1000|0|0:15|c1|83|240|2Gc||1|4
9_[6-8,10...]|CANCELLED by 1000|0|0:0|None assigned|0|Partition_Limit|2G||0|0
"""
NUMBER = {"set": True, "infinite": False, "number": 5}
JOBS = {
    "jobs": [
        {
            "job_id": 9,
            "array_job_id": {**NUMBER, "number": 8},
            "array_task_id": NUMBER,
            "array_task_string": "0-3,7%2",
            "job_state": ["COMPLETED", "COMPLETING"],
            "state_reason": "Priority",
            "restart_cnt": 2,
            "exit_code": {"return_code": NUMBER, "signal": {"id": NUMBER, "name": ""}},
            "nodes": "c1",
            "start_time": {**NUMBER, "number": 1700000000},
            "end_time": 1700000100,
            "time_limit": NUMBER,
        },
        {"job_id": 7, "job_state": "PENDING", "state_reason": "(Resources)", "exit_code": 256},
    ]
}
ACCOUNTS = {
    "jobs": [
        {
            "job_id": 9,
            "array": {"job_id": 8, "task_id": NUMBER, "task": "0x12"},
            "state": {"current": ["FAILED"], "reason": "None"},
            "exit_code": {"return_code": NUMBER, "signal": {"signal_id": 9}},
            "time": {"elapsed": 83, "limit": NUMBER},
            "allocation_nodes": 2,
            "tres": {"allocated": [{"type": "mem", "count": 2048}]},
            "steps": [{"state": "FAILED", "tres": {"requested": {"max": [{"type": "mem", "count": 1 << 30}]}}}],
        }
    ]
}
RECORDS = [asdict(Record("7", "RUNNING", "None", 1, 0, 9, "c1", 5, 6, 1.5, 60, ("FAILED",)))]
SEEDS = [
    SQUEUE,
    f"==== squeue 0\n{json.dumps(JOBS)}\n==== sacct 0\n{json.dumps(ACCOUNTS)}\n",
    f"==== squeue 0\n{json.dumps(RECORDS)}\n==== sacct 1\nunusable: no such library\n",
    "==== squeue 1\nslurm_load_jobs error: Invalid job id specified\n==== sacct 1\naccounting storage is disabled\n",
    "\x1b[1mWelcome!\x1b[0m\nSubmitted batch job 4711 on cluster beta\n",
    "4711;beta\n",
    "2026-11-28T12:00:00\nCLUSTER: beta\n4711 2026-11-28T11:59:59\n4712 N/A\n",
    "slurm 25.05.3\n",
    json.dumps({"paths": {f"/{part}/v0.0.{n}/jobs/": {} for part in ("slurm", "slurmdb") for n in (42, 43)}}),
]
PIECES = [
    *("|", "||||||||||", "==== squeue 0\n", "==== sacct 0\n", "==== sacct 124\n"),
    *("7.0.end 0\n", "8_[0-4000000]", "8_[",),
    *("9" * 30, "9" * 5000, "-1", "1e400", "NaN", "Infinity", "null", "[" * 3000, '{"a":' * 3000, "0x" + "f" * 2000),
    *("²", "٣", "۷|RUNNING|0|0:0|c1|1:23|4:00:00|None", "\x85", "\u2028", "\r", "\0", "\ud800", "é", "..."),
    *("99999999-99:99:99", "1.5.5G", "?", "UNLIMITED", "Min", "AssocMaxUnknown", "launch failed requeued held"),
    *("0001-01-01T00:00:00+23:59", "2026-11-28T12:00:00Z", "9999-12-31", "COMPLETED COMPLETING", ",", "unusable: x"),
]  # fmt: skip
IDS = ["7", "8_0", "8_1", "8_2", "9", "8_4000000"]


class Says(LocalAccess):
    """A login node on which every command prints the same."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def run(self, command, *, stdin=b"", timeout_s=60.0):
        del command, stdin, timeout_s
        return Completed(0, self.text, self.text)


def attempt(action, *arguments) -> str:
    try:
        action(*arguments)
    except VrecomputeError as error:
        return outcome_of(error)[:40]
    return "answered"


def check(data: bytes) -> str:
    outcomes = []
    text = Completed(0, data, b"").text
    for form in ("commands", "json", "rest", "pyslurm"):
        answer = read(*read_marks(text.splitlines()), IDS, form)
        for record in answer.records.values():
            assert isinstance(is_unclear(record), bool)
            status = status_of(record)
            assert isinstance(status, JobStatus)
            json.dumps(asdict(status), default=str)
            outcomes.append(f"{status.state} {bool(status.reason)}")
        outcomes.append(f"{bool(answer.instead)} {answer.silent} {bool(answer.refusal)} {bool(answer.gone)}")
    for line in text.splitlines()[:20]:
        assert isinstance(held(line), bool)
        assert isinstance(why_waiting(line), str)
        assert isinstance(reason_code(line), str)
    assert isinstance(mismatch(text), str)
    says = Says(data)
    for options in ({}, {"prefer": "json"}, {"prefer": "rest", "rest_url": "http://h:1"}, {"prefer": "pyslurm"}):
        backend = SlurmBackend(replace(SITE, options=options), says)
        backend._files._path = "/spool"
        outcomes.append(attempt(backend.ask_about, IDS))
    outcomes += [attempt(backend.submit, Job("fuzz", ("true",))), attempt(backend.greet)]
    return " ".join(sorted(set(outcomes)))


SITE = site_of({"name": "x", "backend": "slurm"})


def test_whatever_slurm_prints_is_an_answer_or_an_error_of_ours(monkeypatch):
    monkeypatch.setattr(submissions, "_LOOKS_S", (0.0,))
    monkeypatch.setenv("SLURM_JWT", "token")
    seeds = [seed.encode() for seed in SEEDS]
    fuzz(Target("slurm", seeds, check, 300, [p.encode("utf-8", "surrogatepass") for p in PIECES], b"|"))
