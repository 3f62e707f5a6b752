"""What jobs ask for beside what a batch system says that it gives: every limit that is exceeded is told, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vrecompute.batch.contract import Job
from vrecompute.batch.planned import Planned
from vrecompute.batch.survey import Limit, Queue, Survey
from vrecompute.batch.system_limits import judge_limits
from vrecompute.sites.model import Nodes, Site, Workers

GIB = 1 << 30
SITE = Site(name="x", backend="slurm", workers=Workers(processes=4, memory=4 * GIB, walltime=3600, nodes=Nodes(min=3)))
WORKER = Job("workers", ("true",), cores=4, memory_bytes=4 * GIB, walltime_s=3600)
PLANNED = [
    Planned("worker job", WORKER),
    Planned("array of 3 worker jobs", WORKER, 3),
    Planned("detached job", Job("detached", ("true",), memory_bytes=None, walltime_s=3600, workers=12), live=False),
]
QUEUE = Queue(
    "batch", is_default=True, walltime_s=7200, nodes=3, cores=4, largest_cores=8, largest_memory_bytes=5 * GIB
)

HALF_AN_HOUR = (
    "queue batch gives at most 30m: the worker job asks for 1h, the array of 3 worker jobs asks for 1h, the detached "
    "job asks for 1h"
)


def wrong(*, limits=(), planned=PLANNED, names=(), site=SITE, unknown=(), **changes):
    other = Queue("small", walltime_s=60, nodes=1)
    survey = Survey("Q", (other, replace(QUEUE, **changes)), limits=limits, unknown=unknown)
    return [(f.detail, f.advice) for f in judge_limits(site, survey, planned, lambda job: names) if not f.ok]


def test_nothing_is_said_of_what_is_within_the_limits():
    assert wrong() == []
    at_most = [("jobs", 3), ("running jobs", 1), ("array", 3), ("walltime", 3600), ("nodes", 3), ("cores", 12)]
    assert wrong(limits=tuple(Limit(of, most, "rule") for of, most in at_most)) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"walltime_s": 1800},
            (
                HALF_AN_HOUR,
                "workers: {walltime: 30m}",
            ),
        ),
        (
            {"nodes": 2},
            ("queue batch gives at most 2 nodes: the detached job asks for 3", "workers: {nodes: {min: 2}}"),
        ),
        (
            {"largest_memory_bytes": 5 * GIB - 1, "largest_cores": None},
            (
                f"the largest node of queue batch gives at most {5 * GIB - 1}B: the detached job asks for 5GiB",
                "workers: {memory: ...}",
            ),
        ),
        (
            {"limits": (Limit("jobs", 2, "MaxSubmitJobs of the account a"),)},
            (
                "MaxSubmitJobs of the account a gives at most 2 jobs in the queue: a live run asks for 3",
                "workers: {nodes: {min: ...}}",
            ),
        ),
        (
            {"limits": (Limit("array", 2, "MaxArraySize"),)},
            (
                "MaxArraySize gives at most 2 jobs in an array: the array of 3 worker jobs asks for 3",
                "workers: {nodes: {min: 2}}",
            ),
        ),
    ],
)
def test_what_is_above_a_limit_is_told_once_with_its_jobs_and_the_line_that_heeds_it(given, said):
    assert wrong(**given) == [said]


def test_all_limits_are_told_at_once():
    found = wrong(walltime_s=60, nodes=1, largest_cores=2, largest_memory_bytes=GIB, is_up=False)
    assert [detail.partition(" gives")[0].partition(":")[0] for detail, _ in found] == [
        "queue batch is down and starts no job",
        "queue batch",
        "the largest node of queue batch",
        "the largest node of queue batch",
        "queue batch",
    ]


def test_a_job_for_several_queues_needs_one_that_gives_what_it_asks_for():
    assert wrong(names=("small", "batch")) == []
    assert len(wrong(names=("small",))) == 2
    assert wrong(names=("hidden",)) == [], "the system itself says what it makes of a name that it does not list"


def test_a_queue_that_takes_other_accounts_is_named():
    site = replace(SITE, options={"account": "mine"})
    assert wrong(site=site, accounts=("theirs",))[0][0].startswith("queue batch takes no jobs of the account mine")
    assert wrong(site=site, accounts=("theirs", "mine")) == []


def test_what_could_not_be_asked_is_named_and_is_no_fault():
    survey = Survey("Q", unknown=("limits of jobs: no database",))
    (right, unknown) = judge_limits(SITE, survey, PLANNED, lambda job: ())
    assert (right.ok, unknown.ok) == (True, True)
    assert unknown.detail == "not known: limits of jobs: no database"


def test_a_queue_of_controllers_that_is_down_is_named_by_its_own_key():
    down = Survey("s", (Queue("closed", is_up=False),), queue_option="partition")
    site = replace(SITE, options={"controller_partition": "closed"})
    planned = [Planned("scheduler job", Job("s", ("true",), memory_bytes=None, controller=True))]
    (found,) = judge_limits(site, down, planned, lambda job: ("closed",))
    assert found.advice == "options: {controller_partition: ...}"


def test_memory_that_jobs_grow_to_is_one_that_a_node_has():
    site = replace(SITE, workers=replace(SITE.workers, max_memory=8 * GIB))
    ((said, advice),) = wrong(site=site, planned=PLANNED[:1])
    assert said.startswith(
        "the largest node of queue batch gives at most 5GiB: the worker job would ask for up to 8GiB"
    )
    assert advice == "workers: {max_memory: 5GiB}"
    assert wrong(site=replace(SITE, workers=replace(SITE.workers, max_memory=5 * GIB))) == []
