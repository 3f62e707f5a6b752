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


def wrong(*, limits=(), planned=PLANNED, names=(), site=SITE, unknown=(), limits_of_queue=None, **changes):
    if limits_of_queue is not None:
        changes["limits"] = (Limit("jobs", limits_of_queue, "MaxSubmitJobs of the QOS none"),)
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


GPUS = replace(SITE, workers=replace(SITE.workers, gpus=2))
SPAN = "the detached job asks for"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (
            Limit("cores", 3, "GrpTRES of the account a", shared=True, chosen_by="options.account"),
            (
                (
                    "GrpTRES of the account a gives at most 3 cores to all jobs that run at once: the worker job asks "
                    "for "
                    f"4, the array of 3 worker jobs asks for 4, {SPAN} 12"
                ),
                "workers: {processes: 3}",
            ),
        ),
        (Limit("cores", 9, "MaxTRES"), (f"MaxTRES gives at most 9 cores: {SPAN} 12", "workers: {nodes: {min: 2}}")),
        (
            Limit("memory", 2 * GIB, "MaxTRES"),
            (
                (
                    "MaxTRES gives at most 2GiB: the worker job asks for 4GiB, the array of 3 worker jobs asks for "
                    "4GiB, "
                    f"{SPAN} 15GiB"
                ),
                "workers: {memory: ...}",
            ),
        ),
        (
            Limit("memory", 11 * GIB, "MaxTRES"),
            (f"MaxTRES gives at most 11GiB: {SPAN} 15GiB", "workers: {nodes: {min: 2}}"),
        ),
        (
            Limit("core minutes", 600, "GrpTRESRunMins of the QOS q", shared=True),
            (
                f"GrpTRESRunMins of the QOS q gives at most 600 core minutes to all jobs that run at once: {SPAN} 720",
                "workers: {walltime: 50m}",
            ),
        ),
        (
            Limit("jobs", 0, "MaxSubmitJobs of the account a", chosen_by="options.account"),
            (
                (
                    "MaxSubmitJobs of the account a gives at most 0 jobs in the queue: a live run asks for 3, a "
                    "detached "
                    "run asks for 1"
                ),
                "options: {account: ...}",
            ),
        ),
        (
            Limit("running jobs", 0, "GrpJobs of the QOS q", shared=True, chosen_by="options.qos"),
            (
                (
                    "GrpJobs of the QOS q gives at most 0 jobs at once: the worker job asks for 1, the array of 3 "
                    "worker "
                    f"jobs asks for 1, {SPAN} 1"
                ),
                "options: {qos: ...}",
            ),
        ),
    ],
)
def test_what_one_job_asks_for_is_compared_with_what_all_of_an_account_have(limit, said):
    assert wrong(limits=(limit,)) == [said]


def test_gpus_are_counted():
    job = replace(WORKER, gpus=2)
    limit = Limit("gpus", 1, "MaxTRES of the QOS q", chosen_by="options.qos")
    assert wrong(limits=(limit,), planned=[Planned("worker job", job)], site=GPUS) == [
        ("MaxTRES of the QOS q gives at most 1 GPU: the worker job asks for 2", "workers: {gpus: 1}")
    ]


@pytest.mark.parametrize(
    ("limit", "asks"),
    [
        (Limit("running jobs", 1, "MaxJobs of the account a"), "2 at once"),
        (Limit("cores", 4, "GrpTRES of the account a", shared=True), "5 at once"),
        (Limit("cores", 4, "MaxTRES of the account a"), ""),
    ],
)
def test_a_scheduler_in_a_job_needs_a_worker_job_beside_it(limit, asks):
    scheduler = Planned("scheduler job", Job("s", ("true",), memory_bytes=None, controller=True))
    found = wrong(limits=(limit,), planned=[scheduler, *PLANNED[:2]])
    assert [detail.rpartition(" ask for ")[2] for detail, _ in found] == ([asks] if asks else [])


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


def test_a_queue_that_starts_no_job_of_this_user_says_why_and_jobs_of_its_own_rules_are_counted():
    closed = (("takes no jobs of the QOS normal", "options.qos"),)
    (said,) = wrong(closed=closed)
    assert said[0].startswith("queue batch takes no jobs of the QOS normal: the worker job")
    assert said[1] == "options: {qos: ...}"
    (none,) = wrong(limits_of_queue=0)
    assert "gives at most 0 jobs in the queue: a live run asks for 3, a detached run asks for 1" in none[0]
