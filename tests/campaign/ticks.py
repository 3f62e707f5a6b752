"""Ticks of a campaign that are killed or stopped at one of their steps, each a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import NamedTuple

from tests.campaign.campaigns import CampaignFolder

__all__ = ["Ended", "Ticks"]

# A process that has imported what ticks need, and forks one for each line of JSON. The tick gets a signal at its n-th
# step: a statement of the ledger, or a file that it writes, moves, links or removes, or a process that it starts; or
# SIGKILL from outside, so many seconds after it began. One that is stopped goes on when it is told to.
_FORKS = """
import importlib, json, os, select, signal, sys
from vrecompute.campaign import ledger as ledgers
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import read_campaign
from vrecompute.campaign.tick import TickResult, tick
from vrecompute.errors import VrecomputeError

EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.symlink", "subprocess.Popen", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OURS = ("vrecompute.", "vrecompute_backends.", "uproot", "awkward", "pydantic", "jinja2", "numba")
ledgers._BUSY_S = float(sys.argv[2])

def carry_out(at, number, wait_s, answer):
    count = 0

    def step(*_):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), number)

    def heard(event, given):
        if event in EVENTS or (event == "open" and given[2] & WRITES):
            step()

    prepare = Ledger._prepare
    def traced(self, **options):
        self._db.set_trace_callback(step)
        prepare(self, **options)

    Ledger._prepare = traced
    file = read_campaign(sys.argv[1])
    sys.addaudithook(heard)
    try:
        result = tick(file, wait_s=wait_s)
    except VrecomputeError as error:  # as the command line does
        result = TickResult(error.exit_code, str(error), True)
    counted, count = count, -(10 ** 9)
    # all of it fits into a pipe, which is read afterwards
    modules = [name for name in sys.modules if name.startswith(OURS)]
    os.write(answer, json.dumps([counted, result.exit_code, result.summary[:2000], modules]).encode())

def ended(child, ours):
    said = open(ours, "rb").read()
    status = os.waitpid(child, 0)[1]
    *told, modules = json.loads(said) if said else (0, 0, "", [])
    print(json.dumps([os.waitstatus_to_exitcode(status), *told]), flush=True)
    for name in modules:
        importlib.import_module(name)

stopped = None
for line in sys.stdin:
    given = json.loads(line)
    if given is None:
        os.kill(stopped[0], signal.SIGCONT)
        ended(*stopped)
        stopped = None
        continue
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        try:
            carry_out(given["at"], given["signal"], given["wait_s"], theirs)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(theirs)
    if given["after_s"] is not None and not select.select([ours], [], [], given["after_s"])[0]:
        os.kill(child, signal.SIGKILL)
    # looked at, not reaped
    how = os.waitid(os.P_PID, child, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    if how.si_code == os.CLD_STOPPED:
        stopped = child, ours
        print("null", flush=True)
    else:
        ended(child, ours)
if stopped:
    os.kill(stopped[0], signal.SIGKILL)
"""
_PATIENCE_S = 30.0


class Ended(NamedTuple):
    """How a tick ended by itself."""

    steps: int
    exit_code: int
    summary: str


class Ticks:
    """Starts one after the other; a stopped one stays while others are at work.

    `busy_s` is how long they wait for a ledger that another process has locked.
    """

    def __init__(self, folder: CampaignFolder, busy_s: float = 20.0) -> None:
        command = [sys.executable, "-c", _FORKS, str(folder.file), str(busy_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Ticks:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def tick(self, at: int = 0, wait_s: float = 0.0, after_s: float | None = None) -> Ended | None:
        """How a tick ended; None for one that was killed, at its step number `at` or after so many seconds."""
        return self._ended({"at": at, "signal": signal.SIGKILL, "wait_s": wait_s, "after_s": after_s})

    def stop(self, at: int, wait_s: float = 0.0) -> Ended | None:
        """How a tick ended that has less than `at` steps; None for one that is stopped there, until `go_on`."""
        return self._ended({"at": at, "signal": signal.SIGSTOP, "wait_s": wait_s, "after_s": None})

    def go_on(self) -> Ended:
        """How the tick that was stopped ended."""
        ended = self._ended(None)
        assert ended is not None
        return ended

    def _ended(self, words: dict[str, object] | None) -> Ended | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        if said is None:
            return None
        code, *told = said
        assert code in (0, -signal.SIGKILL)
        return Ended(*told) if code == 0 else None
