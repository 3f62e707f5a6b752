"""Kill -9 of a client, of a worker, or of everything, at a random moment: running it again makes it whole."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client

CHUNKS, WORKERS, PACE_S = 24, 2, 0.15
MARK = "VRECOMPUTE_TEST_MARK"
SCRIPT = f"""
import sys
from vrecompute import Client

with Client(workers={WORKERS}, store="store") as client:
    run = client.run(sys.argv[1], sys.argv[2], chunk_bytes=1, task_chunks=1)
    print(run.report(timeout_s=150).result_sha256)
"""
# Each call of `process` that was begun leaves a folder, where its worker was started.
COUNTED = SUM_ANALYSIS.replace(
    'time.sleep(self["sleep_s"])',
    f'os.mkdir(f"calls/{{time.time_ns()}}-{{os.getpid()}}")\n        time.sleep({PACE_S})',
).replace("import time", "import os\nimport time", 1)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "sums.py").write_text(COUNTED)
    (folder / "script.py").write_text(SCRIPT)
    write_events(folder / "e.root", CHUNKS, clusters=CHUNKS)
    return folder


class Command:
    """The script in a session and a folder of its own; all that it starts bears a mark in its environment."""

    def __init__(self, work: Path, place: Path) -> None:
        self.mark = uuid.uuid4().hex
        (place / "calls").mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, *(str(work / name) for name in ("script.py", "sums.py", "e.root"))],
            cwd=place,
            env={**os.environ, MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def everything(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def victims(self, who: str) -> list[psutil.Process]:
        if who == "client":
            return [psutil.Process(self.process.pid)]
        if who == "all":
            return self.everything()
        workers = []
        for process in self.everything():
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(process.cmdline()):
                    workers.append(process)
        return workers[:1]

    def end(self) -> str:
        out, err = self.process.communicate(timeout=200)
        assert self.process.returncode == 0, err
        return out.strip()


def calls(place: Path) -> int:
    return len(list((place / "calls").iterdir()))


@pytest.fixture(scope="module")
def undisturbed(work, tmp_path_factory) -> tuple[str, float]:
    """The sha256 of the result, and how long a command takes."""
    place = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    sha256 = Command(work, place).end()
    assert calls(place) == CHUNKS
    return sha256, time.monotonic() - started


@pytest.fixture(scope="module")
def whole(work, tmp_path_factory) -> Iterator[Callable[[Path], tuple[str, int]]]:
    """`whole(place)`: the sha256 of a run in its store, and the calls that it began; by workers that are there already.

    The command itself would start others for each.
    """
    here, one = tmp_path_factory.mktemp("whole"), threading.Lock()
    (here / "calls").mkdir()
    with contextlib.chdir(here):
        client = Client(workers=WORKERS, store=here / "store")
        client.dask.wait_for_workers(WORKERS, timeout=150)

    def made(place: Path) -> tuple[str, int]:
        with one:
            before, client._store_given = calls(here), place / "store"
            run = client.run(str(work / "sums.py"), str(work / "e.root"), chunk_bytes=1, task_chunks=1)
            return run.report(timeout_s=150).result_sha256, calls(here) - before

    with client:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("who", ["client", "worker", "all"])
def test_after_a_kill_the_same_bytes_and_nothing_twice_but_what_was_in_flight(
    work, undisturbed, whole, tmp_path, who, examples
):
    """Of ten, two are made whole by the command, as its user would; in `make acceptance` all."""
    right, takes_s = undisturbed
    dice = random.Random(f"kills of {who}")
    full = examples(60) == 60
    moments = [dice.uniform(0.1, 0.8) * takes_s for _ in range(60 if full else 10)]
    places = [tmp_path / str(number) for number in range(len(moments))]
    ways = [None if full or number % 5 == 0 else whole for number in range(len(moments))]
    with ThreadPoolExecutor(2) as pool:  # each mostly waits
        results = pool.map(lambda *each: killed(work, who, *each), places, moments, ways)
        for place, found in zip(places, results, strict=True):
            assert found == right, (who, place.name)


def killed(work: Path, who: str, place: Path, moment_s: float, whole: Callable[[Path], tuple[str, int]] | None) -> str:
    """Kill at a moment, have it made whole, look at what was computed and left; the sha256 of the result."""
    command = Command(work, place)
    time.sleep(moment_s)
    for victim in command.victims(who):
        with contextlib.suppress(psutil.Error):
            victim.send_signal(signal.SIGKILL)
    found, more = (command.end() if who == "worker" else None), 0
    command.process.communicate()
    assert comes_true(lambda: not command.everything(), 40), [p.cmdline() for p in command.everything()]
    if not found:
        found, more = whole(place) if whole else (Command(work, place).end(), 0)
    assert calls(place) + more <= CHUNKS + WORKERS, (who, place.name)
    left = [p for p in (place / "store").rglob("*") if p.name.startswith(".")]
    assert len(left) <= 1 + WORKERS, left
    return found
