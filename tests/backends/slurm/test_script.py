"""Job scripts: pure, clean under shellcheck, and nothing of a user is ever executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.contract import Job
from vrecompute.batch.scheduler_job import scheduler_job
from vrecompute.batch.shape import job_name, shape_of
from vrecompute.batch.spool import secrets_folder
from vrecompute.batch.tls import TLS_FILE
from vrecompute.batch.worker_command import WorkerShape, worker_command
from vrecompute.batch.worker_jobs import worker_job
from vrecompute.errors import UsageError
from vrecompute.sites.model import Environment, Limits, Network, Nodes, PortRange, Site, Workers
from vrecompute.sites.onsite import shell_word
from vrecompute_backends.slurm import SlurmBackend

SITE = Site(
    name="plain",
    backend="slurm",
    options={"partition": "batch", "account": "physics", "launcher": "srun"},
    workers=Workers(processes=4, threads=2, memory=8 << 30, walltime=3600, nodes=Nodes(min=1, max=4)),
    network=Network(interface="ib0", worker_ports=PortRange(10000, 10099)),
    environment=Environment(modules=("Stages/2026", "Python"), venv="$PROJECT/my venv", variables={"A": "~/x $B `c`"}),
)
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\nb",
    "-x",
    "~",
    "*",
    "\\",
    "",
]
hostile = st.sampled_from(HOSTILE) | st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


def shellcheck(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("install shellcheck to check the scripts")
    done = subprocess.run(["shellcheck", "-"], input=script.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def run_script(script, folder, **variables):
    """Run a rendered script as slurmd would, in a folder as the spool."""
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "TMPDIR": str(folder), **variables}
    return subprocess.run(
        ["bash"], input=script.encode(), cwd=folder, env=environment, capture_output=True, check=False
    )


@pytest.mark.parametrize("workers", [0, 3, 9])
@pytest.mark.parametrize("secret", [{}, {"key": b"canary"}, {TLS_FILE: b"canary"}])
@pytest.mark.parametrize("requeue", [True, False])
def test_scripts_are_pure_clean_and_hold_no_secret(workers, secret, requeue):
    job = Job(
        HOSTILE[0],
        ("python", *HOSTILE),
        workers=workers,
        requeue=requeue,
        secret_files=secret,
        environment={"X": "'$(y)"},
    )
    backend = SlurmBackend(SITE)
    script = backend.script(job)
    assert script == SlurmBackend(SITE).script(replace(job))
    assert "canary" not in script
    assert "#SBATCH --export=NIL\n" in script, "nothing of the submitting environment, which may hold secrets"
    shellcheck(script)


@given(name=hostile, arguments=st.lists(hostile, max_size=3), value=hostile)
def test_what_a_user_writes_arrives_and_is_not_executed(tmp_path, name, arguments, value):
    site = Site(name="plain", backend="slurm")
    job = Job(name, ("sh", "-c", r'printf "%s\0" "$X" "$@"', "sh", *arguments), environment={"X": value})
    done = run_script(SlurmBackend(site).script(job), tmp_path)
    assert done.stdout == b"".join(a.encode() + b"\0" for a in [value, *arguments])
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["7.0.end"]


@given(hostile)
def test_directives_are_one_harmless_line_each(name):
    lines = SlurmBackend(SITE).script(Job(name, ("true",))).splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert lines[1 : 1 + len(directives)] == directives
    assert not any(set(line) & set("$`;&|<>\"'\\") for line in directives)
    assert 0 < len(job_name(name)) <= 64


@given(st.text("ab $`\"'\\(){}~/", max_size=12))
def test_texts_of_a_site_keep_their_variables_and_nothing_else(text):
    done = subprocess.run(
        ["bash", "-c", f"printf '%s' {shell_word(text)}"],
        env={"a": "1", "b": "2", "HOME": "/h"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""
    if "$" not in text and not text.startswith("~"):
        assert done.stdout.decode() == text


@pytest.mark.parametrize(("code", "mark"), [(0, "0\n"), (3, "3\n"), (137, None)])
def test_an_end_by_itself_leaves_a_mark_and_an_end_by_signal_does_not(tmp_path, code, mark):
    script = SlurmBackend(Site(name="a", backend="slurm")).script(Job("a", ("sh", "-c", f"exit {code}")))
    done = run_script(script, tmp_path, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="2", SLURM_RESTART_COUNT="1")
    assert done.returncode == code
    path = tmp_path / "7_2.1.end"
    assert (path.read_text() if path.exists() else None) == mark


@pytest.mark.parametrize(
    ("requeue", "code", "left"), [(False, 0, False), (False, 143, False), (True, 0, False), (True, 143, True)]
)
def test_secrets_are_deleted_at_the_end_unless_another_attempt_needs_them(tmp_path, requeue, code, left):
    job = Job(
        "a", ("sh", "-c", f'cat "$VRECOMPUTE_SECRETS/key"; exit {code}'), requeue=requeue, secret_files={"key": b"s"}
    )
    folder = tmp_path / f"{secrets_folder(job)}-0"
    folder.mkdir()
    (folder / "key").write_bytes(b"s")
    assert run_script(SlurmBackend(Site(name="a", backend="slurm")).script(job), tmp_path).stdout == b"s"
    assert folder.exists() is left


def test_secret_folders_of_jobs_of_different_names_differ():
    job = Job("a", ("true",), secret_files={"key": b"s"})
    assert secrets_folder(job) != secrets_folder(replace(job, name="b"))
    with pytest.raises(UsageError, match=r"\.\./x"):
        secrets_folder(replace(job, secret_files={"../x": b""}))


def test_an_allocation_holds_its_workers_in_the_sites_shape():
    assert shape_of(Job("a", ("true",), workers=9, memory_bytes=1 << 30), SITE).nodes == 3
    one = shape_of(Job("a", ("true",), workers=3, memory_bytes=1 << 30), SITE)
    assert (one.nodes, one.cores, one.memory_bytes) == (1, 6, 7 << 30)
    lines = SlurmBackend(replace(SITE, options={**SITE.options, "whole_node": True})).script(
        Job("a", ("true",), workers=8, memory_bytes=1 << 30, walltime_s=61)
    )
    for directive in ("--nodes=2", "--exclusive", "--mem=9216M", "--time=00:02:00", "--no-kill", "--partition=batch"):
        assert f"#SBATCH {directive}\n" in lines


def test_a_site_drops_and_adds_directives_by_their_whole_name():
    options = {"directives": {"drop": ["--mem"], "add": ["--hint=nomultithread"]}}
    script = SlurmBackend(Site(name="a", backend="slurm", options=options)).script(Job("a", ("true",)))
    assert "--mem=" not in script
    assert "#SBATCH --hint=nomultithread\n" in script


@pytest.mark.parametrize(
    ("said", "began", "ends"),
    [
        ({"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": "1120"}, 1000, 1120),
        ({"SLURM_JOB_START_TIME": "1000"}, 1000, 1120),
        ({}, None, None),
    ],
)
def test_a_job_knows_when_it_began_and_when_it_ends(tmp_path, said, began, ends):
    show = ("sh", "-c", 'echo "$VRECOMPUTE_JOB_BEGAN $VRECOMPUTE_JOB_ENDS"')
    job = Job("a", show, walltime_s=61, environment={"began": "5"})
    now = int(time.time())
    words = run_script(SlurmBackend(Site(name="a", backend="slurm")).script(job), tmp_path, **said).stdout.split()
    found = [int(word) for word in words]
    if began is None:  # Slurm did not say: since now, as whole minutes
        assert 0 <= found[0] - now <= 10
        assert found[1] - found[0] == 120
    else:
        assert found == [began, ends]


def test_idle_workers_leave_jobs_of_a_live_cluster_and_no_others():
    job = worker_job(SlurmBackend(SITE), "tls://a:1", "w-0", {})
    drains = "--preload vrecompute.workers.drain"
    assert drains in " ".join(job.command)
    assert "--lifetime" not in job.command, "Dask's own would throw away what a worker is computing"
    assert drains not in " ".join(worker_command(WorkerShape(), "tls://a:1", leave=False))


def test_explain_shows_the_script_of_a_worker_job():
    """What `explain` prints is rendered by the one renderer, from the same job as a live cluster's."""
    script = SlurmBackend(SITE).describe(2)
    assert script.startswith("#!")
    assert "#SBATCH" in script
    assert "vrecompute.workers.daskworker tls://SCHEDULER:PORT" in script
    assert 'DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY="$VRECOMPUTE_SECRETS/dask-tls.pem"' in script
    assert "srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task=8" in script
    direct = SlurmBackend(replace(SITE, options={**SITE.options, "launcher": "direct"})).describe(2)
    assert "srun" not in direct
    shellcheck(script)


@pytest.mark.parametrize("whole_node", [False, True])
def test_explain_shows_the_job_of_a_scheduler_in_the_allocation(whole_node):
    """Where nodes are charged whole, workers share the scheduler's; elsewhere it asks for one core."""
    site = replace(SITE, scheduler_runs="allocation", options={**SITE.options, "whole_node": whole_node})
    backend = SlurmBackend(site)
    few, more = backend.describe(4), backend.describe(5)
    assert "batch.keepalive --announce vre-scheduler.json" in few
    assert more.count("#!/bin/bash") == 2
    assert few.count("#!/bin/bash") == (1 if whole_node else 2)
    assert ("batch.allocation --processes=4" in few) == whole_node
    assert "--cpus-per-task=1\n" in few or whole_node
    for script in more.split("#!/bin/bash")[1:]:
        shellcheck("#!/bin/bash" + script)


def test_one_job_is_not_enough_for_a_scheduler_in_the_allocation_and_workers():
    site = replace(SITE, scheduler_runs="allocation", limits=Limits(max_jobs=1))
    with pytest.raises(UsageError, match=r"limits.max_jobs: 1 leaves no job for workers"):
        SlurmBackend(site).open_cluster(1)


def test_the_scheduler_s_own_job_goes_where_such_jobs_belong():
    options = {**SITE.options, "controller_partition": "daemons"}
    backend = SlurmBackend(replace(SITE, scheduler_runs="allocation", options=options))
    assert "#SBATCH --partition=daemons\n" in backend.script(scheduler_job(backend, "s", 4, {}))
    assert "#SBATCH --partition=batch\n" in backend.script(worker_job(backend, "tls://x:1", "w", {}))
    whole = SlurmBackend(replace(backend.site, options={**options, "whole_node": True}))
    assert "#SBATCH --partition=batch\n" in whole.script(scheduler_job(whole, "s", 4, {})), "workers are in it, too"
    plain = SlurmBackend(replace(SITE, scheduler_runs="allocation"))
    assert "#SBATCH --partition=batch\n" in plain.script(scheduler_job(plain, "s", 4, {}))


def test_jobs_know_the_proxy_and_the_site_s_variables_win():
    site = replace(
        SITE,
        network=Network(compute_outbound="proxy", proxy="http://proxy.example.org:3128"),
        environment=Environment(variables={"https_proxy": "http://other.example.org"}),
    )
    done = shell(site, 'printf "%s %s" "$http_proxy" "$https_proxy"')
    assert done == "http://proxy.example.org:3128 http://other.example.org"


def shell(site, command):
    """What a command prints in a job of the site."""
    with tempfile.TemporaryDirectory() as folder:
        return run_script(SlurmBackend(site).script(Job("j", ("sh", "-c", command))), folder).stdout.decode()


@pytest.mark.parametrize(
    ("code", "variables", "said", "mark"),
    [
        (1, {}, "cannot be requeued (Requested operation is presently disabled)", "75\n"),
        (
            0,
            {"ATTEMPTS": "3", "AGAIN": "2"},
            "cannot be requeued (limits.core_hours of the site pays for 3 attempts)",
            "75\n",
        ),
        (0, {"ATTEMPTS": "3", "AGAIN": "1"}, "", None),
    ],
)
def test_a_command_out_of_time_has_its_job_requeued_where_that_is_allowed(tmp_path, code, variables, said, mark):
    """A requeued job waits for Slurm to end it: an end of its own would leave a mark, which means that it is over."""
    for name, text in {
        "scontrol": f'echo "$@" >> asked; echo "Requested operation is presently disabled" >&2; exit {code}',
        "sleep": 'kill -9 "$PPID"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    attempts = {"VRECOMPUTE_JOB_ATTEMPTS": variables["ATTEMPTS"]} if variables else {}
    job = Job("j", ("sh", "-c", "exit 75"), requeue=True, environment=attempts, secret_files={"key": b"s"})
    folder = tmp_path / f"{secrets_folder(job)}-0"
    folder.mkdir()
    script = SlurmBackend(Site(name="a", backend="slurm")).script(job)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run_script(script, tmp_path, PATH=path, SLURM_RESTART_COUNT=variables.get("AGAIN", "0"))
    assert said in done.stderr.decode()
    assert ("`vrecompute runs attach` finishes the run" in done.stderr.decode()) == bool(said)
    marks = list(tmp_path.glob("*.end"))
    assert [path.read_text() for path in marks] == ([mark] if mark else [])
    assert (tmp_path / "asked").exists() == ("pays for" not in said)
    assert folder.exists() == (not said), "the next attempt needs its secrets"
    plain = SlurmBackend(Site(name="a", backend="slurm")).script(replace(job, requeue=False))
    assert "scontrol" not in plain


def test_gpus_and_what_a_job_is_for_are_asked_for():
    site = replace(SITE, workers=replace(SITE.workers, gpus=2))
    backend = SlurmBackend(site)
    job = worker_job(backend, "tls://a:1", "w-0", {})
    assert "#SBATCH --gpus-per-node=2\n" in backend.script(job)
    assert "--resources GPU=0.5 " in backend.script(job), "four processes share two"
    detached = backend.script(Job("d", ("true",), workers=9, gpus=2))
    assert "#SBATCH --gpus-per-node=2\n" in detached
    assert " --gpus=2 " in detached
    assert worker_command(WorkerShape(2, gpus=2), "tls://a:1", leave=False)[-2:] == ["--resources", "GPU=1"]
    assert "GPU" not in SlurmBackend(SITE).script(worker_job(SlurmBackend(SITE), "tls://a:1", "w-0", {}))
    assert "gpus" not in SlurmBackend(SITE).script(worker_job(SlurmBackend(SITE), "tls://a:1", "w-0", {}))
    labelled = backend.script(replace(job, labels={"run": "a-1", "analysis": "x\n#SBATCH --evil"}))
    assert "#SBATCH --comment=run=a-1,analysis=x-SBATCH-evil\n" in labelled


def test_a_command_is_started_in_the_image_and_the_image_on_the_nodes():
    image = Environment(image="$PROJECT/the image.sif", image_command=("podman", "run", "--volume=$HOME:/h;id"))
    imaged = SlurmBackend(replace(SITE, environment=image, options={"launcher": "srun"}))
    script = imaged.script(worker_job(imaged, "tls://a:1", "w-0", {}))
    started = next(line for line in script.splitlines() if "daskworker" in line)
    assert started.startswith("srun ")
    assert ' "podman" "run" "--volume=$HOME:/h;id" "$PROJECT/the image.sif" sh -c ' in started
    plain = SlurmBackend(replace(SITE, environment=Environment(image="/a.sif"), options={}))
    sees = '--quiet exec --bind "${VRECOMPUTE_TMPDIR:-/tmp}"'
    assert f'\n"apptainer" {sees} "/a.sif" true\n' in plain.script(Job("a", ("true",), image="/a.sif"))
    assert f' {sees} --nv "/a.sif" true\n' in plain.script(Job("a", ("true",), image="/a.sif", gpus=1))
    command = ("/sw/bin/singularity", "exec", "--rocm", "--bind", "/p")
    amd = SlurmBackend(replace(SITE, environment=Environment(image="/a.sif", image_command=command)))
    started = f'\n"/sw/bin/singularity" {sees} "--rocm" "--bind" "/p" "/a.sif" true\n'
    assert started in amd.script(Job("a", ("true",), image="/a.sif", gpus=1))
    with pytest.raises(UsageError, match="would start its workers by srun from inside of the image"):
        imaged.script(Job("a", ("true",), workers=1, image="$PROJECT/the image.sif"))
    assert '"/a.sif" python -m vrecompute.batch.allocation' in plain.script(
        Job("a", ("true",), workers=1, image="/a.sif")
    )
