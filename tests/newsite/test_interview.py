"""A first site file from what Slurm and an administrator say: right as written, and never over another one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from vrecompute.batch.survey import Queue, Survey
from vrecompute.cli.site import site as command
from vrecompute.newsite.draft import Draft
from vrecompute.newsite.interview import ask_for_the_rest, from_survey
from vrecompute.sites.load import load_site

SINFO = """short|up|30:00|2|8|16000
batch*|up|1-00:00:00|10|32+|128000+
batch*|up|1-00:00:00|2|64|256000
gpu|drain|infinite|1|96|1000000
"""
CONFIG = "Configuration data as of today\nMaxArraySize            = 1001\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm whose commands print these texts; `slurm(NAME, text)` changes one."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def says(name, text, code=0):
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        (folder / name).chmod(0o755)

    says("sinfo", SINFO.strip())
    (folder / "sinfo").write_text(
        f"#!/bin/sh\n[ \"$1\" = --version ] && echo 'slurm 24.11.0' && exit\ncat <<'END'\n{SINFO}END\n"
    )
    says("sacctmgr", "physics||500\nphysics|40|")
    says("scontrol", CONFIG)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return says


def init(*arguments, answers=None):
    return CliRunner().invoke(command, ["init", *arguments], input=answers)


def test_slurm_is_asked_and_the_file_is_right_as_it_stands(slurm, tmp_path):
    done = init("mine", "--yes")
    assert done.exit_code == 0, done.output
    file = tmp_path / "config" / "vrecompute" / "sites" / "mine.yaml"
    assert "mine.yaml: ok" in done.output
    assert CliRunner().invoke(command, ["check", "mine"]).exit_code == 0
    site = load_site("mine")
    assert site.backend == "slurm"
    assert site.options == {"partition": "batch", "account": "physics"}
    # an eighth of the smallest node of the partition
    assert (site.workers.processes, site.workers.memory) == (4, 16000 - 16000 % 64 << 20)
    assert (site.workers.walltime, site.workers.nodes.max, site.limits.max_jobs) == (4 * 3600, 10, 40)
    assert "batch of slurm 24.11.0 has 12 nodes" in file.read_text()


def test_the_administrator_is_asked_with_what_is_known_as_default(slurm, tmp_path):
    answers = ["", "short", "2", "", "10m", "", "", *([""] if has_interfaces() else []), "/data/runs", "-"]
    done = init("mine", "--out", str(tmp_path / "mine.yaml"), answers="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    assert "Partition (short, batch, gpu) [batch]" in done.output
    site = load_site(tmp_path / "mine.yaml")
    assert (site.options["partition"], site.workers.processes, site.workers.walltime) == ("short", 2, 600)
    assert (site.workers.nodes.max, site.store.url, site.environment.venv) == (2, "/data/runs", None)


def has_interfaces():
    import os

    return bool(set(os.listdir("/sys/class/net")) - {"lo"})


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """An HTCondor of two machines, which share the file systems of the access point or do not: `pool(domain)`."""
    folder = tmp_path / "condor"
    folder.mkdir()

    def says(domain):
        slots = "".join(rf"{slot}\t{domain}\n" for slot in (r"e1\t16.0\t64000", r"e1\t16.0\t64000", r"e2\t8.0\t16000"))
        config = "FILESYSTEM_DOMAIN) echo home ;; MAX_JOBS_PER_SUBMISSION) echo 20000 ;; *) exit 1"
        texts = {
            "condor_q": "true",
            "condor_version": "echo '$CondorVersion: 23.9.6 2024-08-08'",
            "condor_status": f"printf '{slots}'",
            "condor_config_val": f"case $1 in {config} ;; esac",
        }
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return says


@pytest.mark.parametrize("domain", ["home", "e.example.org"])
def test_a_pool_is_asked_for_its_machines_and_whether_they_share_files(pool, tmp_path, domain):
    pool(domain)
    file = tmp_path / "mine.yaml"
    done = init("mine", "--backend", "htcondor", "--yes", "--out", str(file))
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(command, ["check", str(file)]).exit_code == 0
    site = load_site(file)
    assert site.store.workers_reach is (domain == "home")
    assert site.options == ({"file_transfer": False} if domain == "home" else {})
    # an eighth of the smallest machine for each of its cores
    assert (site.workers.processes, site.workers.memory) == (4, 8000 << 20)
    assert site.workers.nodes.max == 2
    assert "the pool of HTCondor 23.9.6 has 2 nodes" in file.read_text()


def test_an_answer_that_is_none_is_said_and_nothing_is_written(slurm, tmp_path):
    file = tmp_path / "mine.yaml"
    done = init("mine", "--out", str(file), answers="\nbatch\nmany\n" + "\n" * 12)
    assert (done.exit_code, file.exists()) == (2, False)
    assert "workers.processes: expected a whole number, found 'many'" in done.output


def test_what_slurm_does_not_tell_is_named(slurm, tmp_path):
    slurm("sacctmgr", "sacctmgr: error: no database", 1)
    slurm("scontrol", "MaxArraySize = 1")
    done = init("mine", "--yes", "--out", str(tmp_path / "mine.yaml"))
    assert "could not be asked for accounts and limits of jobs" in done.output
    assert load_site(tmp_path / "mine.yaml").options == {"partition": "batch", "array": False}


def test_a_slurm_that_is_not_there_and_a_driver_without_questions_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for backend, said in [
        ("slurm", "did not answer"),
        ("local", "its driver has no question"),
        ("gridengine", "no backend 'gridengine'"),
    ]:
        file = tmp_path / f"{backend}.yaml"
        done = init(backend, "--backend", backend, "--yes", "--out", str(file))
        assert (done.exit_code, said in done.output) == (0, True), done.output
        assert CliRunner().invoke(command, ["check", str(file)]).exit_code == 0


def test_a_file_that_is_there_stays_and_a_name_is_a_name(slurm, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    done = init("mine", "--yes", "--out", str(file))
    assert (done.exit_code, file.read_text()) == (2, "mine")
    assert "is there already" in done.output
    done = init("a/../b", "--yes")
    assert done.exit_code == 2
    assert "did you mean" in done.output


@pytest.mark.parametrize("config", ["nope.yaml", "."])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    done = init("x", "--from", config, "--yes", "--out", str(tmp_path / "x.yaml"))
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert f"--from {config}: it cannot be read: " in done.output


def test_the_site_of_this_machine_is_not_hidden_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "vrecompute" / "sites" / "local.yaml"
    done = init("local", "--backend", "local", "--yes")
    assert (done.exit_code, file.exists()) == (2, False)
    assert "--force" in done.output
    done = init("local", "--backend", "local", "--yes", "--force")
    assert (done.exit_code, file.exists()) == (0, True), done.output


def test_a_name_for_files_that_others_extend_is_refused_with_one_that_is_taken(tmp_path):
    done = init("_z4", "--backend", "local", "--yes", "--out", str(tmp_path / "_z4.yaml"))
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "begins with a letter or digit; did you mean 'z4'?" in done.output


def test_a_file_of_another_name_is_refused_before_anything_is_asked(tmp_path):
    done = init("mine", "--out", str(tmp_path / "other.yaml"))
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert f"write --out {tmp_path}/mine.yaml" in done.output


def test_behind_ssh_the_scheduler_is_on_the_login_node(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no ssh: the site does not answer
    file = tmp_path / "mine.yaml"
    done = init("mine", "--backend", "slurm", "--ssh", "login.example.org", "--yes", "--out", str(file))
    assert done.exit_code == 0, done.output
    assert "# on the site" not in file.read_text()
    assert "not looked for: the site did not answer" in file.read_text()
    site = load_site(file)
    assert (site.access.ssh.host, site.scheduler_runs) == ("login.example.org", "login")


@pytest.mark.parametrize(
    ("queue", "memory"),
    [
        (Queue("q", cores=4, memory_bytes=8 << 30), (8 << 30) - (1 << 30)),  # room for a detached job's Runner
        (Queue("q", cores=4, memory_bytes=1 << 30), None),
        (Queue("q", cores=4), None),
        (Queue("q"), None),
    ],
)
def test_a_job_fits_the_smallest_node(queue, memory):
    draft = Draft()
    draft.values = {("schema",): 1, ("name",): "x", ("backend",): "slurm"}
    from_survey(draft, Survey("a system", (queue,), "partition"), lambda question, default: default)
    ask_for_the_rest(draft, lambda question, default: default, here=False, answered=True)
    draft.settle()
    assert draft.values.get(("workers", "memory")) == (memory and f"{memory >> 30}GiB")
