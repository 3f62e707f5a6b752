"""What a shell does before a command of ours, tried in the shell: setup, modules, virtual and conda environments."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from vrecompute.batch.dask_settings import PROCESS_VARIABLES
from vrecompute.batch.prologue import login_shell, prologue
from vrecompute.sites.model import Environment, Site

#: Says what it is asked for; `missing` is a module that it does not have.
MODULE = 'module() { echo "module $*"; [ "$2" != missing ]; }'
#: As conda 4 and later prints it: from then on `conda` is a function.
CONDA = """#!/bin/sh
[ "$1 $2" = "shell.bash hook" ] && echo 'conda() { [ "$2" = vre ] && echo "activated $2"; }'
"""
MAMBA = CONDA.replace('"$1 $2" = "shell.bash hook"', '"$*" = "shell hook --shell bash"').replace("conda()", "mamba()")


def shell(environment, *before, path="", **variables):
    """How bash ends that runs the lines, and then says that it goes on."""
    lines = [*before, *prologue(Site(name="a", backend="slurm", environment=environment), {}), "echo goes on"]
    given = {"PATH": f"{path}{os.environ['PATH']}", **variables}
    return subprocess.run(["bash", "-c", "\n".join(lines)], env=given, capture_output=True, text=True, check=False)


def program(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return f"{folder}:"


def test_modules_are_purged_then_their_folders_named_then_loaded():
    done = shell(
        Environment(purge_modules=True, module_paths=("$A/one", "/two"), modules=("Stages/2026", "Python")),
        MODULE,
        A="/opt",
    )
    assert done.stdout.splitlines() == [
        "module purge",
        "module use /two",
        "module use /opt/one",  # the last that is put in front is searched first
        "module load Stages/2026",
        "module load Python",
        "goes on",
    ]


@pytest.mark.parametrize(
    "environment",
    [Environment(modules=("missing",)), Environment(module_paths=("missing",)), Environment(purge_modules=True)],
)
def test_a_module_that_is_not_there_ends_the_job(environment):
    done = shell(environment, MODULE if environment.modules or environment.module_paths else "true")
    assert (done.returncode, "goes on" in done.stdout) == (1, False)


def test_setup_is_shell_and_comes_first():
    lines = ("token=$(echo '$5'); export TOKEN=$token", 'if [ -n "$A" ]; then echo "A is $A"; fi')
    done = shell(Environment(setup=lines, modules=("x",), variables={"B": "$TOKEN"}), MODULE, A="1")
    assert done.stdout.splitlines() == ["A is 1", "module load x", "goes on"]


def test_a_setup_that_goes_elsewhere_comes_back(tmp_path):
    done = shell(Environment(setup=("cd /; CDPATH=/",)), f"cd {tmp_path}", "trap pwd EXIT")
    assert done.stdout.splitlines() == ["goes on", str(tmp_path)]


@pytest.mark.parametrize("line", ["false", "no-such-command-0815", "if", "} || true", "echo 'open", "exit 3"])
def test_a_setup_that_fails_ends_the_job_and_is_named(line):
    done = shell(Environment(setup=(line, "true")))
    assert done.returncode != 0
    assert "goes on" not in done.stdout
    if not line.startswith("exit"):
        assert done.stderr.splitlines()[-1] == f"environment.setup: a command of the site failed: {line}"


def test_a_virtual_environment_is_active_or_ends_the_job(tmp_path):
    folder = tmp_path / "my env"
    folder.mkdir()
    program(folder / "bin", "python", "#!/bin/sh\necho its python")
    done = shell(Environment(venv="$WHERE/my env"), "trap python EXIT", WHERE=str(tmp_path))
    assert done.stdout.splitlines() == ["goes on", "its python"]
    (folder / "bin/python").unlink()
    (folder / "bin/python").symlink_to("/no/python")  # as where the Python that it was made of is gone
    absent = shell(Environment(venv=str(folder)))
    assert (absent.returncode, absent.stdout) == (1, "")
    assert absent.stderr == f"environment.venv: {folder}/bin/python is no program on {os.uname().nodename}\n"


def test_a_conda_environment_is_activated_by_its_folder_without_any_conda(tmp_path):
    folder = tmp_path / "my env"
    folder.mkdir()
    program(folder / "bin", "python", "#!/bin/sh\necho its python")
    (folder / "etc/conda/activate.d").mkdir(parents=True)
    (folder / "etc/conda/activate.d/libs.sh").write_text('export LIBS="$CONDA_PREFIX/share"\n')
    done = shell(Environment(conda="$WHERE/my env"), "trap 'python; echo \"$LIBS\"' EXIT", WHERE=str(tmp_path))
    assert done.stdout.splitlines() == ["goes on", "its python", f"{folder}/share"]
    absent = shell(Environment(conda=f"{tmp_path}/none"))
    assert (absent.returncode, absent.stderr) == (1, f"environment.conda: no Python in {tmp_path}/none/bin\n")


@pytest.mark.parametrize(("name", "text"), [("conda", CONDA), ("mamba", MAMBA)])
def test_a_conda_environment_is_activated_by_its_name(tmp_path, name, text):
    path = program(tmp_path / "bin", name, text)
    assert shell(Environment(conda="vre"), path=path).stdout.splitlines() == ["activated vre", "goes on"]
    other = shell(Environment(conda="other"), path=path)
    assert (other.returncode, other.stdout) == (1, "")


def test_the_lines_are_clean_under_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("install shellcheck to check the scripts")
    site = Site(name="a", backend="slurm")
    made = [
        Environment(setup=("aklog; echo 'a'",), module_paths=("$A b",), conda="vre"),
        Environment(conda="~/x y"),
        Environment(venv="$A/x y"),
    ]
    lines = [line for environment in made for line in prologue(replace(site, environment=environment), {})]
    given = ["shellcheck", "--shell=bash", "--exclude=SC2016", "-"]
    done = subprocess.run(given, input="\n".join(lines), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("key", "environment"),
    [
        ("venv", Environment(venv="$NOWHERE/venv")),
        ("conda", Environment(conda="${NOWHERE}/conda")),
        ("cvmfs", Environment(cvmfs="$NOWHERE/setup.sh")),
        ("module_paths", Environment(module_paths=("$HOME/m", "$NOWHERE/m"), modules=("a",))),
        ("modules", Environment(modules=("python/$NOWHERE",))),
        ("variables.CONFIG", Environment(variables={"CONFIG": "$NOWHERE/etc"})),
    ],
)
def test_a_variable_that_is_not_set_ends_the_job_with_its_name_and_that_of_the_key(key, environment):
    done = shell(environment, MODULE)
    assert (done.returncode, "goes on" in done.stdout) == (1, False)
    told = f"environment.{key}: needs the variable NOWHERE, which is not set on {os.uname().nodename}\n"
    assert done.stderr == told
    assert shell(environment, MODULE, NOWHERE="").stderr == told, "what is left of a path is another place"


def test_a_value_may_go_before_what_its_variable_had_or_had_not():
    done = shell(Environment(variables={"LIBS": "/x:$LIBS"}), "trap 'echo \"$LIBS\"' EXIT")
    assert done.stdout.splitlines() == ["goes on", "/x:"]


def test_beside_jobs_a_variable_that_only_jobs_have_is_no_mistake():
    site = Site(name="a", backend="slurm", environment=Environment(variables={"PLACE": "/x/$ONLY_IN_JOBS"}))
    done = subprocess.run(login_shell(site, {}, "echo $PLACE"), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["/x/"]


def test_a_name_without_a_conda_says_what_to_write():
    done = shell(Environment(conda="vre"))
    assert done.returncode == 1
    assert done.stderr.startswith("environment.conda: no conda, mamba or micromamba here; write the folder")


def test_one_order_of_sets_of_names_unless_the_site_says_another():
    site = Site(name="a", backend="slurm")
    chosen = replace(site, environment=replace(site.environment, variables={"PYTHONHASHSEED": "7"}))
    program = [sys.executable, "-c", "print(hash('a text'))"]
    for where, seed in ((site, PROCESS_VARIABLES["PYTHONHASHSEED"]), (chosen, "7")):
        lines = "\n".join([*prologue(where, {}), shlex.join(program)])
        right = subprocess.check_output(program, env={**os.environ, "PYTHONHASHSEED": seed})
        assert subprocess.check_output(["bash", "-c", lines]) == right


@pytest.mark.parametrize("line", ["cat > /dev/null", "read x || true", "yes noise | head -c 200000"])
def test_what_a_setup_reads_and_prints_is_not_the_commands(line):
    site = Site(name="a", backend="slurm", environment=Environment(setup=(line,)))
    done = subprocess.run(login_shell(site, {}, "cat"), input=b"mine\n", capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")


def test_what_a_setup_leaves_running_does_not_hold_the_output_of_the_command():
    """As an ssh-agent does: who reads the command's output would wait for the agent's end."""
    site = Site(name="a", backend="slurm", environment=Environment(setup=("sleep 20 & agent=$!",)))
    shell = subprocess.Popen(login_shell(site, {}, "echo $agent; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    said, _ = shell.communicate(b"mine\n", timeout=15)
    agent, _, rest = said.partition(b"\n")
    assert rest == b"mine\n"
    os.kill(int(agent), signal.SIGTERM)


@pytest.mark.parametrize("line", ["exit 0", "sleep 600"])
def test_a_setup_that_ends_its_shell_or_waits_until_it_is_ended_is_named(line):
    site = Site(name="a", backend="slurm", environment=Environment(setup=(line,)))
    command = ["timeout", "2", *login_shell(site, {}, "echo goes on")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"environment.setup: a command of the site waits, or ends the shell that it is for: {line}"
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", said)
