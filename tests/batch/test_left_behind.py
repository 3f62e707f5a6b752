"""What is left of runs that were ended in all ways: no job, no key, no folder of secrets, and nothing in /tmp.

On the simulated batch system; `tests/slurm/test_left.py` does the same on a real one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.readme_driver import blocks
from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute.batch.temporary import OWN_FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SITE = """
schema: 1
name: qq
backend: mysystem
workers: {{processes: 1, memory: 512MiB, walltime: 600s, nodes: {{min: 2}}}}
environment: {{venv: {prefix}, variables: {{PATH: "{folder}:$PATH", TMPDIR: {tmp}/temporary}}}}
stage: {{scratch: {tmp}}}
store: {{url: {tmp}/store}}
limits: {{min_poll: 1s}}
"""


SCRIPT = """
from vrecompute import Client
with Client("now.yaml") as client:
    client.run("sums.py", "e.root", sleep_s=2, chunk_bytes=1700).wait()
"""


class Place:
    """A QQ with a site file, and commands of vrecompute that know the driver."""

    def __init__(self, tmp: Path) -> None:
        self.tmp, self.jobs = tmp, tmp / "jobs"
        package, told = tmp / "installed" / "my_package", tmp / "installed" / "mine-1.dist-info"
        for folder in (package, told, tmp / "temporary", tmp / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "driver.py").write_text(blocks()["driver"])
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
        (told / "entry_points.txt").write_text("[vrecompute.backends]\nmysystem = my_package.driver:MyBackend\n")
        (tmp / "qq.yaml").write_text(SITE.format(prefix=sys.prefix, folder=tmp / "bin", tmp=tmp))
        (tmp / "sums.py").write_text(SUM_ANALYSIS)
        write_events(tmp / "e.root", 400, clusters=8)

    def start(self, *words: str, **options: str) -> subprocess.Popen[str]:
        """A command of vrecompute on the site, or the text of a script."""
        text = "".join(f"{key}: {value}\n" for key, value in options.items())
        (self.tmp / "now.yaml").write_text((self.tmp / "qq.yaml").read_text() + text)
        environment = {**os.environ, "PYTHONPATH": str(self.tmp / "installed"), "TMPDIR": str(self.tmp / "temporary")}
        command = [sys.executable, "-m", "vrecompute", *words, "--site", str(self.tmp / "now.yaml")]
        if words == (SCRIPT,):
            command = [sys.executable, "-c", SCRIPT]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}

        def listen() -> None:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        return subprocess.Popen(
            command, cwd=self.tmp, env=environment, text=True, preexec_fn=listen, start_new_session=True, **streams
        )

    def run(self, *words: str, sleep_s: float = 2, **options: str) -> subprocess.Popen[str]:
        command = ["run", "sums.py", "e.root", "-p", f"sleep_s={sleep_s}", "--chunk-bytes", "1700B", *words]
        return self.start(*command, **options)

    def states(self) -> list[str]:
        listed = subprocess.run(["qq", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
        return [word for line in listed if (word := line.split("|")[1]) in {"WAIT", "RUN"}]

    def at_work(self) -> bool:
        return bool(list((self.tmp / "store").glob("work/*/parts/*")))

    def left(self) -> list[str]:
        """Jobs; secrets and announcements in the spool; keys anywhere; what is in the temporary folder."""
        spooled = [n.name for n in self.jobs.glob("*") if n.name.startswith("secrets-") or n.suffix == ".json"]
        keys = []
        for path in [*self.tmp.rglob("*"), *Path("/dev/shm").glob("*")]:
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size < 1 << 20 and b"PRIVATE KEY-----" in path.read_bytes():
                    keys.append(str(path))
        files = [p for p in (self.tmp / "temporary").rglob("*") if p.is_file() and p.suffix != ".lock"]
        return [*self.states(), *spooled, *keys, *map(str, files)]


@pytest.fixture
def place(qq_site, tmp_path):
    return Place(tmp_path)


WAYS = {"term": signal.SIGTERM, "hup": signal.SIGHUP, "int": signal.SIGINT}


@pytest.mark.parametrize(
    ("way", "scheduler_runs"),
    [("term", "client"), ("hup", "allocation"), pytest.param("int", "client", marks=pytest.mark.acceptance)],
)
def test_a_client_that_is_told_to_end_while_its_jobs_wait(place, way, scheduler_runs):
    with place.run(scheduler_runs=scheduler_runs, options="{queue: busy}") as client:
        assert comes_true(lambda: "WAIT" in place.states())
        client.send_signal(WAYS[way])
        said = client.communicate(timeout=90)[0]
    assert client.returncode == 130, said
    assert "Traceback" not in said
    assert comes_true(lambda: place.left() == [], 10, 0.5), place.left()


def test_a_script_that_is_told_to_end_while_its_jobs_wait(place):
    with place.start(SCRIPT, options="{queue: busy}") as script:
        assert comes_true(lambda: "WAIT" in place.states())
        script.terminate()
        said = script.communicate(timeout=90)[0]
    assert "KeyboardInterrupt" in said
    assert script.returncode != 0
    assert comes_true(lambda: place.left() == [], 10, 0.5), place.left()


@pytest.mark.parametrize("scheduler_runs", ["client", pytest.param("allocation", marks=pytest.mark.acceptance)])
def test_a_client_that_is_told_to_end_while_its_jobs_work(place, scheduler_runs):
    with place.run(scheduler_runs=scheduler_runs) as client:
        assert comes_true(place.at_work, 90), client.terminate()
        client.terminate()
        said = client.communicate(timeout=90)[0]
    assert client.returncode == 130, said
    assert "Traceback" not in said
    assert comes_true(lambda: place.left() == [], 10, 0.5), place.left()


def broken(place):
    """Have no command of the batch system work once jobs wait; gives what mends them."""
    assert comes_true(lambda: "WAIT" in place.states())
    program = place.tmp / "bin" / "qq"
    text = program.read_text()
    program.write_text("#!/bin/sh\necho 'qq: no answer' >&2; exit 1\n")
    return lambda: program.write_text(text)


def test_a_client_that_cannot_cancel_says_which_jobs_and_how(place):
    with place.run(options="{queue: busy}") as client:
        mend = broken(place)
        client.terminate()
        said = client.communicate(timeout=90)[0]
        mend()
    assert client.returncode == 130, said
    assert "`qq cancel 1_0 1_1` ends them" in said
    subprocess.run(["qq", "cancel", "1"], check=True)


def test_a_site_that_answers_again_in_time_has_its_jobs_cancelled(place):
    with place.run(options="{queue: busy}") as client:
        mend = broken(place)
        client.terminate()
        line = next((line for line in client.stdout if "trying for" in line), "")
        assert "1_0, 1_1" in line
        mend()
        said = client.communicate(timeout=90)[0]
    assert "may go on" not in said
    assert comes_true(lambda: place.left() == [], 10, 0.5), place.left()


@pytest.mark.parametrize("end", ["cancel", "killed"])
def test_a_detached_run_that_another_process_ends(place, end):
    with place.run("--detach") as client:
        run = client.communicate(timeout=60)[0].split()[-1]
    assert comes_true(place.at_work, 120)
    assert [name for name in place.left() if name.startswith("secrets-tls-")]
    if end == "killed":  # outright, so that it cannot delete its keys
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(place.tmp / "jobs") == os.readlink(entry / "cwd"):
                    os.kill(int(entry.name), signal.SIGKILL)
    with place.start("runs", "cancel" if end == "cancel" else "show", run) as other:
        other.communicate(timeout=60)
    assert comes_true(lambda: place.states() == [], 30)

    # as the next job on that node begins
    sweep = "\n".join([*OWN_FOLDER, 'rm -rf -- "$own"'])
    subprocess.run(["bash", "-c", sweep], env={**os.environ, "TMPDIR": str(place.tmp / "temporary")}, check=True)

    def gone() -> bool:
        with place.start("runs", "show", run, "--json") as shown:
            state = json.loads(shown.communicate(timeout=60)[0])["state"]
        return state in {"cancelled", "interrupted"} and place.left() == []

    assert comes_true(gone, 4), place.left()
