"""A login node that greets everybody and sets options for Slurm's commands, a named cluster, a held job: for real."""

from __future__ import annotations

import pytest

from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

until = BackendContract().until
SMALL = 50 << 20
#: What sites, modules and users put there; each of these loses, hides or misleads jobs if it gets through.
SETTINGS = """
echo "*** Welcome to the lab ***"; echo "sessions are timed out after an hour" >&2
export SBATCH_PARTITION=closed SBATCH_EXPORT=ALL SLURM_CLUSTERS=nowhere SBATCH_CLUSTERS=nowhere SBATCH_TIMELIMIT=1
export SQUEUE_STATES=PD SQUEUE_PARTITION=closed SQUEUE_FORMAT=%i SACCT_FORMAT=User SLURM_TIME_FORMAT=relative
export SCANCEL_PARTITION=closed SCANCEL_STATE=PENDING SCANCEL_INTERACTIVE=1
export SLURM_ARRAY_JOB_ID=499 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=2 SLURM_CPU_BIND=quiet,mask_cpu:0x1
"""


@pytest.fixture
def greeted(lab):
    """The lab, whose login node does all that to every command."""
    lab.on(
        "login", "sh", "-c", "cp .bashrc .bashrc.kept 2> /dev/null || touch .bashrc.kept; cat > .bashrc", stdin=SETTINGS
    )
    yield lab
    lab.on("login", "mv", ".bashrc.kept", ".bashrc")


def test_settings_and_greetings_of_a_login_node_change_nothing_in_any_way_of_asking(greeted, rest):
    asking = [greeted.backend(**options) for options in ({}, {"prefer": "json"}, rest)]
    backend = asking[0]
    said = 'echo "$VRECOMPUTE_JOB $VRECOMPUTE_INDEX $SLURM_JOB_PARTITION"; cat "$VRECOMPUTE_SECRETS/key"'
    one = backend.submit(Job("one", ("sh", "-c", said), memory_bytes=SMALL, secret_files={"key": b"s3cr3t"}))
    many = backend.submit_many(Job("many", ("sleep", "300"), memory_bytes=SMALL), 2)
    for backend in asking:
        status = until(backend, [one], lambda s: s.state.terminal, 120)[one]
        assert (status.state, backend.logs(one)) == (State.COMPLETED, f"{one} 0 batch\ns3cr3t")
        until(backend, many, lambda s: s.state is State.RUNNING, 120)
    backend.cancel(many)
    for backend in asking:
        seen = until(backend, many, lambda s: s.state.terminal, 120)
        assert {s.state for s in seen.values()} == {State.CANCELLED}


def test_a_named_cluster_is_asked_in_every_way_and_another_is_refused(lab, rest):
    ways = [{}, {"prefer": "json"}, rest]
    submitter = lab.backend(cluster="lab")
    job_id = submitter.submit(Job("named", ("sleep", "300"), memory_bytes=SMALL))
    for options in ways:
        backend = lab.backend(cluster="lab", **options)
        until(backend, [job_id], lambda s: s.state is State.RUNNING, 120)
    submitter.cancel([job_id])
    for options in ways:
        backend = lab.backend(cluster="lab", **options)
        assert until(backend, [job_id], lambda s: s.state.terminal, 120)[job_id].state is State.CANCELLED
    with pytest.raises(SubmitError, match="nowhere"):
        lab.backend(cluster="nowhere").submit(Job("lost", ("true",)))


def test_a_job_that_was_put_back_and_held_is_held_with_a_reason_and_can_be_let_go(lab):
    backend = lab.backend()
    job_id = backend.submit(Job("held", ("sleep", "2"), memory_bytes=SMALL, requeue=True))
    until(backend, [job_id], lambda s: s.state is State.RUNNING, 120)
    lab.on("head", "scontrol", "requeuehold", job_id)
    status = until(backend, [job_id], lambda s: s.state is State.HELD, 120)[job_id]
    assert "is held; `scontrol release` lets it go" in status.reason
    assert lab.backend(prefer="json").poll([job_id])[job_id].state is State.HELD
    lab.on("login", "scontrol", "release", job_id)
    assert until(backend, [job_id], lambda s: s.state.terminal, 180)[job_id].state is State.COMPLETED
