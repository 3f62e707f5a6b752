"""A configuration of dask-jobqueue becomes a site that `site check` finds right, and nothing of it is lost unsaid."""

from __future__ import annotations

import re

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from vrecompute.cli.site import site as command
from vrecompute.newsite.jobqueue import SYSTEMS, from_jobqueue
from vrecompute.sites.load import load_site

# Made for these tests: keys as dask-jobqueue documents them, values as centres write them.
SLURM = """
jobqueue:
  slurm:
    name: dask-worker
    cores: 24
    memory: "120 GB"
    processes: 6
    python: /project/env/bin/python3.11
    interface: ib0
    death-timeout: 60
    local-directory: $TMPDIR
    shared-temp-directory: $SCRATCH/dask
    log-directory: logs
    queue: regular
    account: m0001
    walltime: '1-02:00:00'
    job-cpu: 24
    job-mem: 100GB
    job_extra_directives: ['-C haswell', '--qos=premium', '--exclusive', '--hint=nomultithread', "--comment=it's"]
    job-directives-skip: ['--mem', '-J']
    job-script-prologue:
      - module load gcc python/3.11
      - export OMP_NUM_THREADS=1
      - export API_TOKEN=abcdefgh1234
      - ulimit -c 0
    worker-extra-args: [--worker-port, '10000:10100', --lifetime=55m]
    scheduler-options: {dashboard_address: ':8787', port: 8786}
"""
HTCONDOR = """
jobqueue:
  htcondor:
    cores: 4
    memory: 8GiB
    disk: 10GB
    log-directory: /scratch/logs
    job-extra-directives: {+JobFlavour: '"longlunch"', accounting_group: g}
    job-script-prologue:
      - module purge
      - module use /opt/modules
      - module load Miniforge3
      - conda activate vre
    submit-command-extra: ["-spool"]
"""
PBS = """
jobqueue:
  pbs:
    cores: 36
    memory: 109GB
    processes: 5
    queue: regular
    project: UABC0001
    resource-spec: select=1:ncpus=36:mem=109GB
    walltime: '06:00:00'
    interface: ib0
"""
LSF = """
lsf:
    cores: 42
    memory: 500 GB
    ncpus: 42
    mem: 500000000000
    walltime: '00:30'
    use-stdin: true
    queue: batch
"""
TEXTS = {"slurm": SLURM, "htcondor": HTCONDOR, "pbs": PBS, "lsf": LSF}


def init(tmp_path, text, *arguments, name="mine"):
    config = tmp_path / "jobqueue.yaml"
    config.write_text(text)
    file = tmp_path / f"{name}.yaml"
    done = CliRunner().invoke(command, ["init", name, "--from", str(config), "--yes", "--out", str(file), *arguments])
    return done, file


@pytest.mark.parametrize("system", TEXTS)
def test_the_file_passes_the_check_and_every_key_is_in_it_or_named(system, tmp_path):
    done, file = init(tmp_path, TEXTS[system])
    assert done.exit_code == 0, done.output
    checked = CliRunner().invoke(command, ["check", str(file)])
    assert (checked.exit_code, "mine.yaml: ok" in checked.output) == (0, True), checked.output
    written = file.read_text()
    section = yaml.safe_load(TEXTS[system])
    for key in section.get("jobqueue", section)[system]:
        where = f"jobqueue.{system}.{key.replace('_', '-')}"
        same = {"slurm.job-cpu"}  # says what cores say
        assert where in written or where in done.output or where.removeprefix("jobqueue.") in same, where


def test_what_slurm_was_told_is_what_jobs_ask_for(tmp_path):
    done, file = init(tmp_path, SLURM)
    site = load_site(file)
    workers = site.workers
    assert (workers.processes, workers.threads, workers.memory, workers.walltime) == (6, 4, 120 * 10**9, 26 * 3600)
    assert (site.network.interface, str(site.network.worker_ports)) == ("ib0", "10000-10100")
    assert str(site.network.scheduler_ports) == "8786"
    assert site.options == {
        "partition": "regular", "account": "m0001", "constraint": "haswell", "qos": "premium", "whole_node": True,
        "directives": {"add": ["--hint=nomultithread"], "drop": ["--mem", "-J"]},
    }  # fmt: skip
    assert site.environment.modules == ("gcc", "python/3.11")
    assert (site.environment.venv, dict(site.environment.variables)) == ("/project/env", {"OMP_NUM_THREADS": "1"})
    assert site.stage.scratch == "$SCRATCH/dask"
    said = [line for line in done.output.splitlines() if "not taken over" in line]
    named = (
        "job-mem: 100GB", "log-directory: logs", "ulimit -c 0", "--lifetime 55m", "environment.variables.API_TOKEN",
        "--comment=it's", "dashboard_address", "name: dask-worker", "death-timeout", "local-directory",
    )  # fmt: skip
    for word in named:
        assert sum(word in line for line in said) == 1, word
    assert len(said) == len(named)
    assert "abcdefgh1234" not in done.output + file.read_text(), "no message shows a secret"


def test_what_htcondor_was_told_is_what_jobs_ask_for(tmp_path):
    _, file = init(tmp_path, HTCONDOR)
    site = load_site(file)
    assert site.options == {"disk": "10GB", "attributes": {"JobFlavour": "longlunch"}, "accounting_group": "g"}
    assert site.store.workers_reach is False


def test_a_command_that_the_driver_writes_itself_is_named_and_the_rest_is_taken(tmp_path):
    extra = "job-extra-directives: {universe: docker, rank: Memory}"
    done, file = init(tmp_path, f"jobqueue: {{htcondor: {{cores: 4, memory: 8GB, {extra}}}}}")
    assert done.exit_code == 0, done.output
    assert "not taken over: jobqueue.htcondor.job-extra-directives.universe: " in done.output
    assert "'universe' is written by the driver" in done.output
    assert load_site(file).options["commands"] == {"rank": "Memory"}


@pytest.mark.parametrize(
    ("system", "cores", "processes", "shape"),
    [("pbs", 36, 5, (5, 7)), ("htcondor", 4, None, (4, 1)), ("lsf", 42, None, (7, 6))],
)
def test_the_shape_is_what_dask_jobqueue_makes_of_it(system, cores, processes, shape, tmp_path):
    done, file = init(tmp_path, TEXTS[system])
    workers = load_site(file).workers
    assert (workers.processes, workers.threads) == shape
    assert ("leave 1 unused" in done.output) == (cores % (processes or 1) > 0)
    assert load_site(file).workers.walltime in {None, 6 * 3600, 1800}


def test_one_system_of_several_is_chosen_and_the_others_are_named(tmp_path):
    both = SLURM + HTCONDOR.split("jobqueue:\n")[1]
    done, file = init(tmp_path, both)
    assert done.exit_code == 2
    assert "say which with --backend" in done.output
    assert not file.exists()
    done, file = init(tmp_path, both, "--backend", "htcondor")
    assert (done.exit_code, load_site(file).backend) == (0, "htcondor"), done.output
    assert "jobqueue.slurm: a site is of one batch system" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobqueue: 3", "expected `jobqueue:`"),
        ("jobqueue: {slrum: {cores: 2}}", "did you mean 'slurm'"),
        ("a: [", "cannot be read as a configuration"),
        ("jobqueue: {slurm: {cores: many, memory: lots, walltime: soon}}", "many"),
    ],
)
def test_what_is_no_configuration_is_said(text, said, tmp_path):
    done, _ = init(tmp_path, text)
    assert said in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("directive", ["--mem=4G", "--time=3:00:00", "-t 10", "-N 2"])
def test_what_workers_have_is_no_directive_beside_it(directive, tmp_path):
    done, file = init(tmp_path, f"jobqueue: {{slurm: {{memory: 3GB, job-extra-directives: ['{directive}']}}}}")
    assert "directives" not in load_site(file).options
    assert f"job-extra-directives: {directive}: jobs ask for what their workers have; change workers." in done.output


@pytest.mark.parametrize("directive", ["--output=log.txt", "-e log", "--job-name=mine", "-D /tmp"])
def test_what_the_driver_says_of_jobs_is_no_directive_beside_it(directive, tmp_path):
    done, file = init(tmp_path, f"jobqueue: {{slurm: {{memory: 3GB, job-extra-directives: ['{directive}']}}}}")
    assert "directives" not in load_site(file).options
    assert f"job-extra-directives: {directive}: names, logs and the folder of jobs are the driver's" in done.output


def test_a_second_value_of_one_key_is_named(tmp_path):
    text = "jobqueue: {slurm: {queue: a, job-extra: [-p b, -p a], env-extra: [export A=1, export A=2]}}"
    done, file = init(tmp_path, text)
    assert load_site(file).environment.variables == {"A": "1"}
    assert load_site(file).options == {"partition": "a"}
    assert "job-extra: b: options.partition is a already" in done.output
    assert "A=2" in done.output or "env-extra: 2" in done.output
    assert done.exit_code == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.text(max_size=12) | st.sampled_from(["4GB", "01:00:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    sorted({key for text in TEXTS.values() for key in re.findall(r"^ +([a-z-]+):", text, re.MULTILINE)} - {"slurm"})
)


@example("slurm", {"worker-extra-args": False})
@example("htcondor", {"extra": "--nthreads '2"})
@given(st.sampled_from(SYSTEMS), st.dictionaries(keys | st.text(min_size=1, max_size=8), values, max_size=6))
def test_whatever_a_section_holds_becomes_a_right_site_or_is_named(system, given_):
    draft = from_jobqueue(system, given_)
    for key, value in {"schema": 1, "name": "x", "backend": system}.items():
        draft.values = {(key,): value, **draft.values}
    draft.settle()
    told = " ".join([*draft.origins.values(), *draft.left_out])
    for key, value in given_.items():
        if says(value) and key.strip():
            assert f"jobqueue.{system}.{key.replace('_', '-')}" in told, key


def says(value):
    if isinstance(value, (list, dict)):
        return any(says(item) for item in (value.values() if isinstance(value, dict) else value))
    return value is not None and bool(str(value).strip())
