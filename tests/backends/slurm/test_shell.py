"""Nothing of the shell that calls Slurm's commands changes what they do, or reaches a job."""

from __future__ import annotations

import subprocess

import pytest

from vrecompute.batch.contract import Job, JobId, State
from vrecompute.errors import Unavailable
from vrecompute.sites.access import LocalAccess
from vrecompute.sites.model import Limits, Site, Stage
from vrecompute_backends.slurm import SlurmBackend

#: As in a notebook inside an element of an array, on a site whose modules set a partition.
THEIRS = {
    "SBATCH_PARTITION": "sticky", "SBATCH_ACCOUNT": "other", "SBATCH_EXPORT": "ALL", "SBATCH_CLUSTERS": "beta",
    "SLURM_JOB_ID": "500", "SLURM_ARRAY_JOB_ID": "499", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "2",
    "SLURM_JOB_END_TIME": "1000000000", "SLURM_CLUSTERS": "beta", "SLURM_TIME_FORMAT": "relative", "SRUN_DEBUG": "1",
    "SQUEUE_STATES": "PD", "SQUEUE_PARTITION": "nowhere", "SQUEUE_FORMAT": "%i", "SACCT_FORMAT": "User",
    "SALLOC_ACCOUNT": "other", "SCANCEL_INTERACTIVE": "1", "SCANCEL_STATE": "PENDING", "SINFO_FORMAT": "%P",
    "_SLURM_SPANK_OPTION_pyxis_container_image": "x", "SPANK_THING": "1", "SLURM_ODD": "a\nSLURM_FAKE=b",
}  # fmt: skip
#: Where Slurm is and who asks it is not the site file's to say.
KEPT = {"SLURM_CONF": "/etc/slurm-two/slurm.conf", "SLURM_CONF_SERVER": "head", "SLURM_JWT": "token"}


@pytest.fixture
def backend(tmp_path, monkeypatch):
    """A backend of commands that write down what Slurm's variables they see, with those of a user's shell set."""
    (tmp_path / "bin").mkdir()
    for name, text in {
        "sbatch": f"cat > {tmp_path}/script; echo 777",
        "scancel": "true",
        "squeue": "true",
        "sacct": "true",
    }.items():
        path = tmp_path / "bin" / name
        path.write_text(
            f"#!/bin/sh\nenv | grep -E '^_?S[A-Z]+_' | grep -v ^SSL_ | sort > {tmp_path}/{name}.seen\n{text}\n"
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    for name, value in {**THEIRS, **KEPT, "SSH_AUTH_SOCK": "/x"}.items():
        monkeypatch.setenv(name, value)
    site = Site(name="here", backend="slurm", limits=Limits(min_poll=0), stage=Stage(scratch=str(tmp_path)))
    return SlurmBackend(site, LocalAccess())


def seen(tmp_path, name):
    return dict(line.split("=", 1) for line in (tmp_path / f"{name}.seen").read_text().splitlines())


def test_commands_see_none_of_it(backend, tmp_path):
    job_id = backend.submit(Job("mine", ("true",)))
    backend.poll([job_id])
    backend.cancel([job_id])
    ours = {"SSH_AUTH_SOCK": "/x"}
    assert seen(tmp_path, "sbatch") == {**KEPT, **ours}
    assert seen(tmp_path, "scancel") == {**KEPT, **ours}
    for name in ("squeue", "sacct"):
        assert seen(tmp_path, name) == {**KEPT, **ours, "SLURM_BITSTR_LEN": "0"}


def test_a_job_finds_its_own_secrets_and_leaves_its_own_mark(backend, tmp_path):
    job = Job("keys", ("sh", "-c", 'cat "$VRECOMPUTE_SECRETS/key"; echo "$VRECOMPUTE_JOB $VRECOMPUTE_INDEX"'),
              secret_files={"key": b"k\n"})  # fmt: skip
    backend.submit(job)
    # with --export=NIL slurmd hands on what sbatch saw of SLURM_*, and puts the job's own on top
    handed = {k: v for k, v in seen(tmp_path, "sbatch").items() if k.startswith("SLURM_")}
    env = {**handed, "SLURM_JOB_ID": "777", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", tmp_path / "script"], cwd=backend.spool, env=env, capture_output=True, text=True)
    assert done.stdout == "k\n777 0\n", done.stderr
    assert (tmp_path / "jobs" / "777.0.end").read_text() == "0\n"
    assert backend.poll([JobId("777")])[JobId("777")].state is State.COMPLETED


def test_a_command_that_is_not_there_is_said_to_be_missing(backend, tmp_path):
    for name in ("sbatch", "scancel"):
        (tmp_path / "bin" / name).unlink()
    with pytest.raises(Unavailable, match="command 'sbatch' was not found"):
        backend.submit(Job("mine", ("true",)))
    with pytest.raises(Unavailable, match="command 'scancel' was not found"):
        backend.cancel([JobId("7")])
