"""Why no machine matches an idle job: what is read of an analysis, and when it is asked for."""

from __future__ import annotations

import pytest

from vrecompute_backends.htcondor import matching
from vrecompute_backends.htcondor.matching import Matching, why_unmatched
from vrecompute_backends.htcondor.record import Record

TABLE = """
The Requirements expression for job 68.000 reduces to these conditions:

         Slots
Step    Matched  Condition
-----  --------  ---------
[0]           2  TARGET.Arch == "X86_64"
{}

068.000:  Run analysis summary ignoring user priority.  Of 2 machines,
      2 are rejected by your job's requirements
"""
IDLE = {"ClusterId": 7, "ProcId": 0, "JobStatus": 1, "LastRejMatchReason": "no match found ", "EnteredCurrentStatus": 0}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[5]           0  TARGET.Memory >= RequestMemory", "none of 2 machines has so much memory free"),
        ("[7]           0  TARGET.Cpus >= RequestCpus", "lower `workers.processes`"),
        ("[1]           0  TARGET.HasContainer", "none of 2 machines has a runtime of containers; use"),
        ("[2]           0  TARGET.HasSIF", "unpack `environment.image` to a folder"),
        ('[1]           0  Machine == "nowhere"', 'has `Machine == "nowhere"`; mend `options.requirements`'),
        ("[3]           1  A == 1\n[4]           0  [0] && [3]", "meets all that it requires"),
        ("[5]           2  TARGET.Memory >= RequestMemory", ""),
    ],
)
def test_the_condition_that_no_machine_meets_is_named(rows, words):
    said = why_unmatched(TABLE.format(rows).splitlines())
    assert words in said if words else said == ""


def test_one_job_of_a_submission_is_asked_about_after_a_while_and_seldom(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(matching.time, "monotonic", lambda: now[0])
    asked = Matching()
    asked.learn({"7.0": Record(IDLE, now=29)}, [])
    assert asked.wanted == "", "it may be matched yet"
    records = {f"7.{n}": Record({**IDLE, "ProcId": n}, now=31) for n in range(3)}
    asked.learn(records, [])
    assert asked.wanted == "7.0"
    asked.learn(records, TABLE.format("[1]   0  TARGET.Memory >= RequestMemory").splitlines())
    assert asked.wanted == ""
    assert "memory" in asked.why("7.2")
    assert asked.why("8.0") == ""
    now[0] += 601
    asked.learn(records, [])
    assert asked.wanted == "7.0", "machines may have come"


def test_a_job_that_runs_or_waits_its_turn_is_not_asked_about():
    asked = Matching()
    for changes in ({"JobStatus": 2}, {"LastRejMatchReason": "insufficient priority"}, {"LastRejMatchReason": None}):
        asked.learn({"7.0": Record({**IDLE, **changes}, now=99)}, [])
        assert asked.wanted == ""
