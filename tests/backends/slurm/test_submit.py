"""A submission without an answer: which job is taken for it, which is not, and what happens before the next."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch import submissions
from vrecompute.batch.contract import Job, JobId, State, SubmitError
from vrecompute.batch.planned import Planned
from vrecompute.batch.queue_backend import StartsLate
from vrecompute.batch.rehearsal import rehearse
from vrecompute.errors import SiteError, Unavailable
from vrecompute.sites.access import LocalAccess
from vrecompute.sites.model import Limits, Site, Stage
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm.submit import submitted

JOB = Job("mine", ("true",))
NOW, LONG_AGO = "$(date +%Y-%m-%dT%H:%M:%S)", "2026-01-01T00:00:00"
TIMED_OUT = "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """`slurm(sbatch=..., squeue=...)`: a backend of commands with these shell texts, each of which notes its calls."""
    monkeypatch.setattr(submissions, "_LOOKS_S", (0.0, 0.0))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(options=(), **texts):
        for name, text in {"scancel": "true", **texts}.items():
            (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{text}\n')
            (tmp_path / name).chmod(0o755)
        site = Site(name="here", backend="slurm", limits=Limits(min_poll=0), stage=Stage(scratch=str(tmp_path)))
        return SlurmBackend(replace(site, options=dict(options)), LocalAccess())

    make.calls = lambda: [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    make.texts = lambda: (tmp_path / "calls").read_text()
    return make


LEAKS = ("SBATCH_PARTITION", "SBATCH_EXPORT", "SBATCH_TIMELIMIT", "SLURM_CLUSTERS", "SLURM_JOB_ID")
LEAKS += ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


def test_variables_of_the_submitting_shell_reach_neither_sbatch_nor_the_job(slurm, monkeypatch, tmp_path):
    """As of a notebook that is an element of an array: `SBATCH_*` override directives, and a job inherits `SLURM_*`."""
    for name in LEAKS:
        monkeypatch.setenv(name, "1")
    backend = slurm(sbatch=f"cat > /dev/null; env > {tmp_path}/environment; echo 7", scancel=f"env > {tmp_path}/cancel")
    backend.cancel([backend.submit(JOB)])
    for file in ("environment", "cancel"):
        assert not {line.partition("=")[0] for line in (tmp_path / file).read_text().splitlines()} & set(LEAKS)


def test_the_newest_job_of_the_name_since_then_is_taken_for_it(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")  # a user's taste, in which "09:30" and "Tue" are times
    standard = '[ "$SLURM_TIME_FORMAT" = standard ] || exit 1; '
    backend = slurm(sbatch=TIMED_OUT, squeue=standard + f'echo "9 {NOW}"; echo "10 {NOW}"; echo "11 {LONG_AGO}"')
    assert backend.submit(JOB) == "10"
    assert backend.poll([JobId("10")])[JobId("10")].state is State.QUEUED
    assert "--name=mine" in slurm.texts()


@pytest.mark.parametrize("shown", [f'echo "11 {LONG_AGO}"', "true"])
def test_an_older_job_of_the_name_is_not(slurm, shown):
    backend = slurm(sbatch=TIMED_OUT, squeue=shown)
    with pytest.raises(SubmitError, match="timed out") as refused:
        backend.submit(JOB)
    assert refused.value.transient
    assert slurm.calls() == ["sbatch", "squeue", "squeue"]


def test_nor_is_one_that_was_submitted_here(slurm):
    slurm(sbatch="echo 7", squeue="exit 1").submit(JOB)
    backend = slurm(sbatch="echo 7", squeue="exit 1")
    assert backend.submit(JOB) == "7"
    slurm(sbatch=TIMED_OUT, squeue=f'echo "7 {NOW}"')
    with pytest.raises(SubmitError, match="timed out"):
        backend.submit(JOB)


@pytest.mark.parametrize(
    "squeue", ["exit 1", "echo Welcome to the cluster", f'echo "7 {NOW} and more"', f'echo "7 {NOW}+01:00"']
)
def test_nothing_is_submitted_before_what_may_be_there_is_found_and_cancelled(slurm, squeue):
    backend = slurm(sbatch=TIMED_OUT, squeue=squeue)
    for error in (SubmitError, Unavailable):
        with pytest.raises(error):
            backend.submit(JOB)
    assert slurm.calls() == ["sbatch", "squeue", "squeue"]
    slurm(sbatch="echo 8", squeue=f'echo "7 {NOW}"', scancel="echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(Unavailable, match="contact slurm controller"):
        backend.submit(JOB)
    slurm(sbatch="echo 8", squeue=f'echo "7 {NOW}"')
    assert backend.submit(replace(JOB, name="another")) == "8"
    assert slurm.texts().endswith(f"scancel 7\nsbatch --parsable --chdir={backend.spool}\n")
    assert backend.submit(JOB) == "8"
    assert slurm.calls()[-2:] == ["sbatch", "sbatch"], "it is settled once"


def test_a_refusal_with_a_reason_asks_nothing_more(slurm):
    backend = slurm(sbatch="echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1", squeue="exit 1")
    with pytest.raises(SubmitError, match="invalid partition") as refused:
        backend.submit(JOB)
    assert not refused.value.transient
    assert slurm.calls() == ["sbatch"]


BANNER = "echo '------------'; echo '  Welcome to the machine'; echo '--> Verifying submit host...OK'; "


@pytest.mark.parametrize(
    "said",
    [
        BANNER + "echo 4711",
        "echo 4711; echo 'Your job is charged 3 node-hours'",
        "echo 'Submitted batch job 4711'",
        "printf '\\033[1;32mSubmitted batch job 4711\\033[0m\\r\\n'",
        "echo 'Submitted batch job 4711'; echo 4711",
        "echo 'maintenance: it may be timed out' >&2; echo 4711",
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(slurm, said):
    assert slurm(sbatch=said, squeue="exit 1").submit(JOB) == "4711"
    assert slurm.calls() == ["sbatch"]


@pytest.mark.parametrize("said", ["true", BANNER + "true", "echo 2026; echo 4711", "echo 4711; exit 1"])
def test_an_answer_that_leaves_doubt_is_a_lost_one(slurm, said):
    assert slurm(sbatch=said, squeue=f'echo "4711 {NOW}"').submit(JOB) == "4711"
    slurm(sbatch=said, squeue="true")
    with pytest.raises(SubmitError, match="does not say whether it took job 'mine'") as unknown:
        slurm(sbatch=said, squeue="true").submit(JOB)
    assert unknown.value.transient


def test_a_greeting_with_words_of_hope_makes_no_refusal_transient(slurm):
    greeting = "echo 'Sessions are timed out after an hour; try again later' >&2; "
    backend = slurm(
        sbatch=greeting + "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", squeue="exit 1"
    )
    with pytest.raises(SubmitError, match="refused job 'mine': sbatch: error: invalid partition") as refused:
        backend.submit(JOB)
    assert not refused.value.transient
    assert slurm.calls() == ["sbatch"]


@given(
    st.lists(st.from_regex(r"[^0-9\r\n\v\f\x1c-\x1e\x85\u2028\u2029]*", fullmatch=True)),
    st.integers(1, 10**9),
    st.data(),
)
def test_an_id_is_found_in_any_text_without_numbers(lines, number, data):
    where = data.draw(st.integers(0, len(lines)))
    assert submitted("\n".join([*lines[:where], f"{number};far", *lines[where:]])) == (str(number), "far")
    assert submitted("\n".join(lines)) is None


@pytest.mark.parametrize("said", ["echo '4711;beta'", "echo 'Submitted batch job 4711 on cluster beta'"])
@pytest.mark.parametrize("named", [{}, {"cluster": "alpha"}])
def test_a_job_of_a_cluster_that_the_site_does_not_name_is_cancelled_there_and_refused(slurm, said, named):
    backend = slurm(sbatch=said, squeue="exit 1", options=named)
    with pytest.raises(SubmitError, match=r"it is cancelled.*cluster: beta") as refused:
        backend.submit(JOB)
    assert not refused.value.transient
    assert slurm.texts().splitlines()[-1] == "scancel --clusters=beta 4711"


@pytest.mark.parametrize("prefer", ["commands", "json"])
def test_a_cluster_is_named_in_whatever_is_asked(slurm, prefer):
    backend = slurm(
        sbatch="echo '4711;beta'", squeue="exit 1", sacct="exit 1", options={"cluster": "beta", "prefer": prefer}
    )
    job_id = backend.submit(JOB)
    assert "#SBATCH --clusters=beta\n" in backend.script(JOB)
    backend.poll([job_id])
    backend.cancel([job_id])
    slurm(sbatch=TIMED_OUT, squeue=f'echo "CLUSTER: beta"; echo "4712 {NOW}"')
    assert backend.submit(JOB) == "4712"
    calls = [line for line in slurm.texts().splitlines() if not line.startswith("sbatch")]
    assert {line.split()[0] for line in calls} == {"squeue", "sacct", "scancel"}
    assert all("--clusters=beta" in line for line in calls)


@pytest.mark.parametrize(
    "directive",
    [
        "--clusters=beta",
        "-M beta",
        "--cluster beta",
        "--array=0-3",
        "--test-only",
        "--wait",
        "--output=log",
        "-o log",
        "-elog",
        "--open-mode=truncate",
        "--chdir /tmp",
        "-D /tmp",
        "--job-name=x",
    ],
)
def test_a_directive_that_the_driver_would_have_to_know_of_is_refused(slurm, directive):
    with pytest.raises(SiteError, match=r"options\.directives\.add\[0\]: .* cannot be added"):
        slurm(sbatch="exit 1", options={"directives": {"add": [directive]}})
    slurm(sbatch="exit 1", options={"directives": {"add": ["--cluster-constraint=fast", "--exclude=n1"]}})


def test_copies_without_arrays_are_all_submitted_or_none(slurm, tmp_path):
    third = f'[ "$(grep -c ^sbatch {tmp_path}/calls)" -lt 3 ] || {{ echo "sbatch: error: no" >&2; exit 1; }}; '
    backend = slurm(sbatch=third + f'grep -c ^sbatch "{tmp_path}/calls"', squeue="exit 1", options={"array": False})
    with pytest.raises(SubmitError, match=": no"):
        backend.submit_many(replace(JOB, secret_files={"key": b"s3cr3t"}), 4)
    assert slurm.texts().splitlines()[-1] == "scancel 1 2"
    assert not list((tmp_path / "jobs").glob("secrets-*"))


def test_what_jobs_left_long_ago_goes_and_nothing_else(slurm, tmp_path):
    spool = tmp_path / "jobs"
    (spool / "secrets-0-0").mkdir(parents=True)
    names = ["slurm-1.out", "1.0.end", "vre-1.json", "secrets-0-0/key", "notes.txt", "slurm-2.out", "2.0.end"]
    for name in names:
        (spool / name).write_text("x")
    for name in ("slurm-1.out", "1.0.end", "vre-1.json", "secrets-0-0", "notes.txt"):
        os.utime(spool / name, (0, 0))
    assert slurm(sbatch="echo 7", squeue="exit 1").submit(JOB) == "7"
    assert {p.name for p in spool.iterdir()} == {"notes.txt", "slurm-2.out", "2.0.end"}


def test_whoever_cancels_a_detached_job_takes_its_key_along(slurm):
    job_id = slurm(sbatch="echo 7", squeue="exit 1").submit(replace(JOB, workers=2))
    other = slurm(squeue="exit 1")
    folders = [Path(other.spool) / f"secrets-tls-{number}" for number in (7, 8)]
    for folder in folders:
        folder.mkdir()
        (folder / "dask-tls.pem").write_text("key")
    other.poll([job_id])
    other.cancel([job_id])
    assert [folder.exists() for folder in folders] == [False, True]


def test_a_job_that_was_cancelled_here_is_cancelled_at_once(slurm):
    told = "7|CANCELLED|0|0:9|c1|0:04|5:00|None"
    silent = {
        "sbatch": "echo 7",
        "squeue": f"echo '{told}'",
        "sacct": "echo 'slurmdbd: Connection refused' >&2; exit 1",
    }
    backend = slurm(**silent)
    job_id = backend.submit(JOB)
    backend.cancel([job_id])
    assert backend.poll([job_id])[job_id].state is State.CANCELLED
    # of another's end only accounting can say that it was not for its memory
    other = slurm(**silent)
    assert other.poll([job_id])[job_id].state is State.RUNNING


RESERVED = """
echo "ReservationName=other StartTime=2026-01-01T00:00:00 EndTime=2026-01-02T00:00:00 Duration=1-00:00:00"
echo "ReservationName=maint StartTime=$(date -d '+330 seconds' +%Y-%m-%dT%H:%M:%S) EndTime=2099-01-01T00:00:00"
"""


@pytest.mark.parametrize(
    ("starts", "scontrol", "directives", "said", "mend"),
    [
        ("2099-01-01T00:00:00", RESERVED, (), "reservation maint .* a walltime of 5m would end", "workers.walltime"),
        (
            "2099-01-01T00:00:00",
            "exit 1",
            ("--begin=2099-01-01",),
            "2099-01-01T00:00:00 .* from now",
            "options.directives",
        ),
        ("2099-01-01T00:00:00", "echo No reservations", (), "from now", ""),
    ],
)
def test_a_job_that_would_start_after_days_is_not_one_that_is_simply_taken(
    slurm, starts, scontrol, directives, said, mend
):
    sbatch = f"cat > /dev/null; echo 'sbatch: Job 3 to start at {starts} using 1 processors on nodes c1' >&2"
    backend = slurm({"directives": {"add": list(directives)}}, sbatch=sbatch, scontrol=scontrol)
    with pytest.raises(StartsLate, match=said) as late:
        backend.dry_run(JOB, "#!/bin/sh", 1)
    assert late.value.mend == mend
    assert not rehearse(backend, Planned("worker job", JOB)).ok
    assert rehearse(backend, Planned("worker job", JOB), patience_s=1e12).ok


def test_a_job_that_would_start_soon_is_taken(slurm):
    sbatch = f"cat > /dev/null; echo 'sbatch: Job 3 to start at '{NOW}' using 1 processors on nodes c1' >&2"
    assert "to start at" in slurm(sbatch=sbatch, scontrol=RESERVED).dry_run(JOB, "#!/bin/sh", 1)


def test_a_limit_of_one_job_is_no_reason_to_try_again_later(slurm):
    policy = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)"
    for code, passes in (("QOSMaxCpuPerJobLimit", False), ("QOSMaxSubmitJobPerUserLimit", True)):
        backend = slurm(sbatch=f"cat > /dev/null; echo 'sbatch: error: {code}' >&2; echo '{policy}' >&2; exit 1")
        with pytest.raises(SubmitError) as refused:
            backend.submit(JOB)
        assert (refused.value.transient, "try again later" in str(refused.value)) == (passes, passes)


@pytest.mark.parametrize(("queue", "passes"), [("true", False), ("echo 12", True), ("exit 1", True)])
def test_a_limit_on_jobs_in_the_queue_that_allows_none_is_no_reason_to_try_again_later(slurm, queue, passes):
    said = "cat > /dev/null; echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1"
    with pytest.raises(SubmitError) as refused:
        slurm(sbatch=said, squeue=queue).submit(JOB)
    assert refused.value.transient == passes
    assert ("allows none" in str(refused.value)) != passes


def test_a_folder_for_jobs_that_can_never_be_made_is_a_mistake_of_the_sites_file(tmp_path):
    (tmp_path / "file").write_text("")
    backend = SlurmBackend(
        Site(name="here", backend="slurm", stage=Stage(scratch=str(tmp_path / "file"))), LocalAccess()
    )
    with pytest.raises(Unavailable, match="cannot make the folder") as wrong:
        _ = backend.spool
    assert (wrong.value.exit_code, wrong.value.mend) == (2, "stage.scratch")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder to another user")
def test_a_folder_for_jobs_that_another_user_made_beforehand_is_none(tmp_path):
    """Who owns it could change the scripts in it, which run as this user."""
    backend = SlurmBackend(Site(name="here", backend="slurm", stage=Stage(scratch=str(tmp_path))), LocalAccess())
    (tmp_path / "jobs").mkdir()
    os.chown(tmp_path / "jobs", 65534, -1)
    (tmp_path / "jobs").chmod(0o777)
    with pytest.raises(Unavailable, match="belongs to another user"):
        _ = backend.spool
    os.chown(tmp_path / "jobs", 0, -1)
    assert backend.spool == str(tmp_path / "jobs")
    assert (tmp_path / "jobs").stat().st_mode & 0o022 == 0
