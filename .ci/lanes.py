"""CI's lanes: at most three side by side, each within a stated budget; a table says what each of them took.

    unit     every test that needs no lab, on the oldest Python here (`make test`)
    wheel    the wheel, away from the checkout, on each Python here; on the newest also the tests that may tell them
             apart, few examples each
    LAB      one lane for each containers/LAB/lab.toml: the lab comes up, its tests run, it goes down
    newest   the newest release of every dependency instead of the locked one: reported by name, fails nothing

A lab test that fails is run once more, alone, after all lanes have ended. If it passes then, it is unstable: both logs
are shown and its name is printed. More than two unstable tests fail, as does a test that fails twice. Nothing else is
tried again.

    python .ci/lanes.py PYTHON...     interpreters, the oldest first; VRECOMPUTE_LAB_CACHE keeps what is made
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ["VRECOMPUTE_LAB_CACHE"])
AT_ONCE = 3
UNSTABLE_AT_MOST = 2
# A lane that needs this many times its budget hangs, or the machine does.
PATIENCE = 4
WITHOUT_LABS = "not data and not slow and not checkout and not lab"
# Where another Python or another library may mean something else; `make test PYTHON=python3.13` runs all the rest.
TELLING = "tests/analysis tests/kernels tests/reader tests/results tests/test_eventloop.py"


@dataclass
class Lane:
    """One lane: what it may take, and what it took. `failed` names tests; `code` is the exit code of the worst step."""

    name: str
    wall_s: float
    cpu_s: float
    memory_mb: float
    must_pass: bool = True
    code: int = 0
    log: str = ""
    took_s: float = 0.0
    used_cpu_s: float = 0.0
    peak_mb: float = 0.0
    tests: int = 0
    skips: int = 0
    failed: list[str] = field(default_factory=list)

    def step(self, command: list[str], environment: dict[str, str] | None = None, where: Path = ROOT) -> int:
        """Run one command in a process group of its own until its time is over; its output joins the log."""
        began = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(
                command,
                cwd=where,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            late = threading.Timer(PATIENCE * self.wall_s, os.killpg, (process.pid, signal.SIGKILL))
            late.start()
            watching = threading.Thread(target=self._watch, args=(process.pid,), daemon=True)
            watching.start()
            _, status, usage = os.wait4(process.pid, 0)
            late.cancel()
            watching.join()
            process.returncode = code = os.waitstatus_to_exitcode(status)
            output.seek(0)
            self.log += f"$ {' '.join(command)}\n{output.read()}"
        if code == -signal.SIGKILL:
            self.log += f"\nended after {PATIENCE} x its budget of {self.wall_s:.0f} s\n"
        self.took_s += time.monotonic() - began
        self.used_cpu_s += usage.ru_utime + usage.ru_stime
        self.code = self.code or code
        return code

    def pytest(self, command: list[str], where: Path = ROOT, environment: dict[str, str] | None = None) -> int:
        """Run a command that ends in pytest; counts its tests and skips, and names those that failed."""
        with tempfile.TemporaryDirectory() as folder:
            report, cache = Path(folder) / "report.xml", Path(folder) / "cache"
            options = f"--junitxml={report} -o cache_dir={cache}"
            code = self.step([*command[:-1], f"{command[-1]} {options}".strip()], environment, where)
            if report.exists():
                for suite in ElementTree.parse(report).getroot().iter("testsuite"):
                    self.tests += int(suite.get("tests", 0))
                    self.skips += int(suite.get("skipped", 0))
            last = cache / "v/cache/lastfailed"
            if last.exists():
                self.failed += list(json.loads(last.read_text()))
        return code

    def _watch(self, pid: int) -> None:
        """The most memory that the processes below `pid` had together, looked at every two seconds."""
        while psutil.pid_exists(pid):
            try:
                top = psutil.Process(pid)
                if top.status() == psutil.STATUS_ZOMBIE:
                    return
                sizes = [p.memory_info().rss for p in [top, *top.children(recursive=True)] if p.is_running()]
                self.peak_mb = max(self.peak_mb, sum(sizes) / 1e6)
            except psutil.Error:
                pass
            time.sleep(2)

    def row(self) -> str:
        """The lane's line of the table."""
        over = " over" if self.took_s > self.wall_s or self.used_cpu_s > self.cpu_s else ""
        said = "passed" if not self.code else "failed" if self.must_pass else "differs"
        figures = f"{self.took_s:7.0f} /{self.wall_s:5.0f} {self.used_cpu_s:8.0f} /{self.cpu_s:5.0f}"
        memory = f"{self.peak_mb:7.0f} /{self.memory_mb:5.0f}"
        return f"{self.name:10} {said:8} {figures} {memory} {self.tests:6} {self.skips:6} {len(self.failed):6}{over}"


@contextmanager
def by_nice() -> Iterator[None]:
    """Nice counts between lanes. Linux may give each session the same share instead, and a lane is a session.

    Nothing changes where this process may not say so.
    """
    switch = Path("/proc/sys/kernel/sched_autogroup_enabled")
    before = switch.read_text() if os.access(switch, os.W_OK) else ""
    if before:
        switch.write_text("0")
    try:
        yield
    finally:
        if before:
            switch.write_text(before)


def shell(words: str) -> list[str]:
    """A command for a shell, with pytest's options to be added at its end."""
    return ["bash", "-c", words]


def unit(lane: Lane, pythons: list[Path]) -> None:
    """Every test that needs no lab."""
    # labs have clocks of their own: the others give way to them
    make = f"nice -n 5 make --no-print-directory PYTHON={pythons[0]} test"
    # Many wait: more at once than there are cores. A file is split only where a process has nothing left to do: whole
    # files, those of most tests first, would leave the long ones of few tests to the end.
    how = "-n 3 --dist worksteal --durations=40 -m 'not lab'"
    lane.pytest(quoted(make, how), environment={"VRECOMPUTE_REQUIRE": "data"})


def quoted(make: str, arguments: str) -> list[str]:
    """`make test` with ARGS, which pytest's own options join."""
    return [*make.split(), f"ARGS={arguments}"]


def environment(python: Path, name: str, requirements: Path | None) -> Path:
    """The bin folder of an environment kept between runs: of a lock file, or of whatever is newest."""
    mark = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16] if requirements else "unpinned"
    folder = CACHE / "environments" / f"{name}-{mark}"
    if not (folder / "complete").exists() or subprocess.run([folder / "bin/python", "-c", ""], check=False).returncode:
        for old in folder.parent.glob(f"{name}-*"):
            shutil.rmtree(old)
        subprocess.run([python, "-m", "venv", folder], check=True)
        if requirements:
            pip(folder / "bin", "--require-hashes", "-r", str(requirements))
        (folder / "complete").touch()
    return folder / "bin"


def pip(place: Path, *arguments: str) -> None:
    """Install into an environment."""
    command = ["nice", str(place / "python"), "-m", "pip", "--disable-pip-version-check", "-qq", "install", *arguments]
    subprocess.run(command, check=True)


def minor(python: Path) -> str:
    """`py311` of an interpreter."""
    code = "import sys; print('py%d%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel, and a folder with what its tests need beside it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    away = folder / "away"
    away.mkdir()
    for name in ("tests", "benchmarks", "site_configs", "containers", "docs", "README.md", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, away / name)
        else:
            shutil.copy(ROOT / name, away)
    (away / "backends").mkdir()
    shutil.copy(ROOT / "backends" / "README.md", away / "backends")  # its driver is a test
    return next((folder / "dist").glob("*.whl")), away


def wheel(lane: Lane, pythons: list[Path]) -> None:
    """The wheel starts on every Python, and runs tests on the newest, some with workers of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        made, away = built(Path(folder))
        places: list[Path] = []
        for python in pythons:
            place = environment(python, minor(python), ROOT / "requirements" / f"{minor(python)}.txt")
            # this wheel and no other: versions do not tell wheels of two commits apart
            pip(place, "--no-deps", "--force-reinstall", str(made))
            lane.step([str(place / "vrecompute"), "--version"], where=away)
            lane.step([str(place / "vrecompute"), "analyses"], where=away)
            places.append(place)
        chosen = f"{TELLING} tests/config tests/test_codedigest.py tests/test_packaging.py"
        chosen += " tests/test_python_minors.py tests/test_records.py tests/execution/test_byvalue.py"
        tests = f"nice -n 7 {place}/python -m pytest -q --hypothesis-profile=brief -m '{WITHOUT_LABS}' {chosen}"
        others = {"VRECOMPUTE_OTHER_PYTHON": str(places[-2] / "python")} if places[1:] else {}
        lane.pytest(shell(tests), where=away, environment=others)


def newest(lane: Lane, pythons: list[Path]) -> None:
    """What the next release of a dependency will break."""
    with tempfile.TemporaryDirectory() as folder:
        made, away = built(Path(folder))
        place = environment(pythons[-1], "newest", None)
        pip(place, "--upgrade", "--upgrade-strategy", "eager", "--force-reinstall", "--no-deps", str(made))
        pip(place, "--upgrade", "--upgrade-strategy", "eager", f"{made}[test]")
        chosen = f"{TELLING} tests/execution/test_runner.py tests/workers/test_dask_hooks.py"
        tests = f"nice -n 10 {place}/python -m pytest -q --hypothesis-profile=brief -m '{WITHOUT_LABS}' {chosen}"
        lane.pytest(shell(tests), where=away)


@dataclass(frozen=True)
class Lab:
    """A lab as its lab.toml says."""

    name: str
    tests: list[str]
    instances: int
    lane: Lane

    @staticmethod
    def read(path: Path) -> Lab:
        """The lab of a lab.toml."""
        said = tomllib.loads(path.read_text())
        name = path.parent.name
        return Lab(name, said["tests"], said["instances"], Lane(name, said["wall_s"], said["cpu_s"], said["memory_mb"]))

    def script(self, name: str, number: int) -> subprocess.CompletedProcess[str]:
        """Run `up` or `down` of one instance."""
        command = [str(ROOT / "containers" / self.name / name)]
        chosen = {**os.environ, "VRECOMPUTE_LAB": str(number)}
        return subprocess.run(command, env=chosen, capture_output=True, text=True, check=False)

    def up(self) -> bool:
        """Bring all instances up; where one does not come, the log says so."""
        for number in range(1, self.instances + 1):
            done = self.script("up", number)
            self.lane.log += done.stderr[-4000:]
            if done.returncode:
                self.lane.log += f"\n.ci/run: the lab {self.name} did not come up\n"
                self.lane.code = self.lane.code or done.returncode
                return False
        return True

    def down(self) -> None:
        """Remove all instances; caches stay."""
        for number in range(1, self.instances + 1):
            self.script("down", number)

    def required(self) -> dict[str, str]:
        """Whose absence fails: the lab's, and control groups of version 1 where this machine has them."""
        names = ["data", self.name]
        if self.name == "slurm" and Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
            names.append("control-groups")
        return {"VRECOMPUTE_REQUIRE": ",".join(names)}

    def command(self, python: Path, arguments: str) -> list[str]:
        """`make test` of this lab's tests."""
        return quoted(f"make --no-print-directory PYTHON={python} test", f"-m {self.name} {arguments}")

    def run(self, coming: threading.Event, python: Path) -> None:
        """Wait until the lab is up, run its tests, and take it down."""
        coming.wait()
        if not self.lane.code:
            many = f"-n {self.instances} --dist worksteal" if self.instances > 1 else ""
            where = " ".join(self.tests)
            self.lane.pytest(self.command(python, f"{many} --durations=25 {where}"), environment=self.required())
        self.down()

    def again(self, python: Path) -> list[str]:
        """Run the tests that failed once more, each alone; those that pass now."""
        passed = []
        self.up()
        for test in list(self.lane.failed):
            alone = Lane(f"{self.name}: {test}", self.lane.wall_s, self.lane.cpu_s, self.lane.memory_mb)
            alone.pytest(self.command(python, f"'{test}'"), environment=self.required())
            print(f"\n== {test}, alone, after it had failed in its lane\n{alone.log}", flush=True)
            if not alone.code:
                passed.append(test)
        self.down()
        return passed


def main(pythons: list[Path]) -> int:
    """Run all lanes; the exit code of CI."""
    lanes = {"unit": Lane("unit", 1200, 1500, 8000), "wheel": Lane("wheel", 900, 600, 4000)}
    labs = [Lab.read(path) for path in sorted((ROOT / "containers").glob("*/lab.toml"))]
    fresh = Lane("newest", 900, 400, 4000, must_pass=False)
    coming = {lab.name: threading.Event() for lab in labs}

    def bring_up() -> None:
        for lab in labs:
            lab.up()
            coming[lab.name].set()

    def carried(lane: Lane, work: Callable[..., None], *arguments: object) -> Lane:
        try:
            work(*arguments)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
            lane.code, lane.log = error.returncode or 1, f"{lane.log}\n{error}\n{said}"
        print(f"\n== {lane.name}: {'passed' if not lane.code else 'exit code ' + str(lane.code)}", flush=True)
        print(lane.log, flush=True)
        return lane

    threading.Thread(target=bring_up, daemon=True).start()
    psutil.cpu_percent()  # counts from here
    with by_nice(), ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = [pool.submit(carried, lanes["unit"], unit, lanes["unit"], pythons)]
        under_way += [pool.submit(carried, lab.lane, lab.run, coming[lab.name], pythons[0]) for lab in labs]
        under_way += [pool.submit(carried, lanes["wheel"], wheel, lanes["wheel"], pythons)]
        under_way += [pool.submit(carried, fresh, newest, fresh, pythons)]
        ended = [one.result() for one in under_way]

    busy = psutil.cpu_percent()  # daemons and jobs of labs are in no lane's CPU seconds

    suspects = sum(len(lab.lane.failed) for lab in labs)
    unstable: list[str] = []
    if 0 < suspects <= UNSTABLE_AT_MOST:
        for lab in labs:
            if lab.lane.failed and lab.lane.code == 2:  # make's: pytest ended, and tests failed
                unstable += lab.again(pythons[0])
                lab.lane.failed = [test for test in lab.lane.failed if test not in unstable]
                lab.lane.code = lab.lane.code if lab.lane.failed else 0

    print("\nlane       ended    seconds/budget  CPU s/budget  MB/stated   tests  skips failed")
    for lane in ended:
        print(lane.row())
    for test in unstable:
        print(f"unstable: {test} failed in its lane and passed alone; both logs are above")
    if fresh.code:
        print(f"newest dependencies: {', '.join(fresh.failed) or 'see its log'}")
    bad = [lane for lane in ended if lane.code and lane.must_pass]
    tests, skips = (sum(getattr(lane, name) for lane in ended if lane.must_pass) for name in ("tests", "skips"))
    failed = sum(len(lane.failed) or 1 for lane in bad)
    print(f"\nall cores together were busy {busy:.0f} % of the time that lanes ran")
    print(f"\n{tests - skips - failed} passed, {failed} failed, {skips} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main([Path(python) for python in sys.argv[1:]]))
