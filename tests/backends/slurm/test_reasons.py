"""Why a job waits: every reason is a sentence, and one after which nothing starts by itself is HELD."""

from __future__ import annotations

import pytest

from vrecompute.batch.contract import State
from vrecompute_backends.slurm.reasons import PENDING_REASONS, why_waiting
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.states import status_of

# what limits are named after in Slurm 24.11, by how they are put together
COUNTED = ("Cpu", "Mem", "Memory", "Node", "GRES", "License", "BB", "Energy", "Billing", "Unknown")
WHOSE = ("Assoc", "QOS")
LIMITS = [
    *(f"{whose}Grp{what}{how}" for whose in WHOSE for what in COUNTED for how in ("", "Minutes", "RunMinutes")),
    *(f"{whose}Max{what}{per}" for whose in WHOSE for what in COUNTED for per in ("PerJob", "MinutesPerJob")),
    *(f"QOSMax{what}Per{per}" for what in COUNTED for per in ("Node", "User")),
    *(f"Max{what}{per}" for what in COUNTED for per in ("PerAccount", "RunMinsPerAccount", "RunMinsPerUser")),
    *(f"QOSMin{what}" for what in COUNTED),
    *(f"{whose}Grp{what}Limit" for whose in WHOSE for what in ("Cpu", "CPURunMinutes", "Jobs", "SubmitJobs")),
    *("AssocGrpWallLimit", "AssocMaxJobsLimit", "AssocMaxSubmitJobLimit", "QOSMaxWallDurationPerJobLimit"),
    *("QOSMaxJobsPerUserLimit", "MaxJobsPerAccount", "MaxSubmitJobsPerAccount", "QOSMinCpuNotSatisfied"),
]  # fmt: skip


@pytest.mark.parametrize("reason", [*PENDING_REASONS, "SomethingNew"])
def test_every_reason_to_wait_is_a_sentence(reason):
    status = status_of(Record("1", "PENDING", reason=f"({reason}, UnavailableNodes:c1)"))
    assert status.state in {State.QUEUED, State.HELD}
    assert status.reason.startswith("job 1 waits: ")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Priority", "Priority"),
        ("(ReqNodeNotAvail, UnavailableNodes:c1)", "ReqNodeNotAvail"),
        ("launch failed requeued held", "launch failed requeued held"),
        ("", ""),
    ],
)
def test_jobs_that_wait_for_the_same_have_the_same_code(reason, code):
    assert {status_of(Record(job, "PENDING", reason=reason)).reason_code for job in ("1", "2_3")} == {code}
    assert status_of(Record("1", "RUNNING", reason=reason)).reason_code == ""


@pytest.mark.parametrize("reason", LIMITS)
def test_every_limit_says_whose_it_is_and_what_to_do(reason):
    said = why_waiting(reason)
    assert "Slurm gives the reason" not in said
    whose = "account" if "Account" in reason or "Assoc" in reason else "quality of service"
    assert whose in said
    assert "lower" in said or "raise" in said or "ask for more" in said or "used up" in said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("JobHeldAdmin", "an administrator holds it"),
        ("JobHeldUser", "its owner holds it"),
        ("JobHoldMaxRequeue", "requeued too often"),
        # Slurm's own words, with and without underscores and brackets, as its versions have it
        ("launch failed requeued held", "could not start it on a node"),
        ("(launch_failed_requeued_held)", "could not start it on a node"),
        ("launch_failure_limit_exceeded_requeued_held", "could not start it on a node"),
        ("job_requeued_in_held_state", "put back and is held"),
        ("job requeued in special exit state", "its exit code made Slurm hold it"),
        ("DependencyNeverSatisfied", "the job it waits for ended"),
    ],
)
def test_what_somebody_has_to_let_go_is_held_and_says_so(reason, said):
    status = status_of(Record("1", "PENDING", reason=reason))
    assert status.state is State.HELD
    assert said in status.reason


@pytest.mark.parametrize(
    "reason", ["Priority", "Resources", "FedJobLock", "BeginTime", "(Nodes required for job are DOWN)"]
)
def test_what_waits_for_its_turn_is_not(reason):
    status = status_of(Record("1", "PENDING", reason=reason))
    assert status.state is State.QUEUED
    assert "Slurm gives the reason" not in status.reason


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "AssocGrpCpuLimit",
            (
                "it and running jobs of its account would take more cores than its account allows; it starts when they "
                "end, and never if it alone asks for more: lower `workers`"
            ),
        ),
        (
            "QOSMaxMemoryPerUser",
            (
                "it and your running jobs would take more memory than its quality of service allows; it starts when "
                "they end, and never if it alone asks for more: lower `workers`"
            ),
        ),
        (
            "AssocGrpCPURunMinutesLimit",
            (
                "it and running jobs of its account would take more core minutes than its account allows at once; it "
                "starts when they end, and never if it alone asks for more: lower `workers.walltime`"
            ),
        ),
        (
            "QOSGrpJobsLimit",
            (
                "it and running jobs of its quality of service would take more jobs than its quality of service "
                "allows; it starts when they end, and never where that is none: lower `limits.max_jobs`"
            ),
        ),
    ],
)
def test_a_limit_of_many_jobs_does_not_promise_that_one_above_it_starts(reason, said):
    assert why_waiting(reason) == said


def test_a_job_that_another_cluster_of_a_federation_took_has_not_been_cancelled():
    status = status_of(Record("1", "REVOKED"))
    assert not status.state.terminal
    assert "another cluster" in status.reason


@pytest.mark.parametrize(
    "reason",
    ["QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit", "QOSMaxCpuPerJobLimit", "QOSMaxMemoryPerNode",
     "Job's QOS not permitted to use this partition (pallowq allows special not normal)",
     "Job's account not permitted to use this partition (p allows a not b)",
     "uid 2000 not in group permitted to use this partition (p). groups allowed: bob",
     "QOSMinCpuNotSatisfied", "PartitionTimeLimit", "PartitionDown", "BadConstraints", "InvalidAccount", "InvalidQOS"],
)  # fmt: skip
def test_a_job_that_is_itself_above_a_limit_never_starts(reason):
    status = status_of(Record("1", "PENDING", reason=reason))
    assert status.never
    assert status.reason_code == reason
    assert "Slurm gives the reason" not in status.reason


@pytest.mark.parametrize("reason", ["QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit", "AssocMaxCpuPerUser"])
def test_a_job_that_others_keep_below_a_limit_may_start(reason):
    assert not status_of(Record("1", "PENDING", reason=reason)).never
