"""Daemons of the real Slurm go away for a while: nothing ends by silence, and all is told right in the end."""

from __future__ import annotations

import time

import pytest

from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.batch.marks import LONGEST_S
from vrecompute.errors import Unavailable
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

until = BackendContract().until
EATER = "import time; eaten = bytearray(600 << 20); time.sleep(60)"


def test_while_slurmctld_is_silent_nothing_ends(lab, outage_s):
    backend = lab.backend()
    runs = backend.submit(Job("a", ("sleep", "300"), walltime_s=600))
    ended = backend.submit(Job("b", ("true",)))
    until(backend, [runs], lambda s: s.state is State.RUNNING, 240)
    until(backend, [ended], lambda s: s.state is State.COMPLETED, 240)
    with lab.away("slurmctld"):
        stopped = time.monotonic()
        stranger = lab.backend()
        assert stranger.poll([runs])[runs].state in {State.UNKNOWN, State.RUNNING}
        with pytest.raises((SubmitError, Unavailable)) as refused:
            stranger.submit(Job("c", ("true",)))
        assert refused.value.exit_code == 5, "trying again later makes sense"
        while time.monotonic() - stopped < outage_s:
            seen = backend.poll([runs, ended])
            assert (seen[runs].state, seen[ended].state) == (State.RUNNING, State.COMPLETED)
            time.sleep(1)
    backend.cancel([runs])
    until(backend, [runs], lambda s: s.state is State.CANCELLED, 240)


@pytest.mark.parametrize("how", ["stopped", pytest.param("killed", marks=pytest.mark.acceptance)])
def test_while_slurmdbd_is_away_jobs_come_and_go_and_all_are_classified_in_the_end(lab, outage_s, how):
    # c1 polls memory; where control groups kill, as on c2, slurmctld itself says that it was for memory
    backend = lab.backend(directives={"add": ["--nodelist=c1"]})
    late = backend.submit(Job("late", ("sleep", "300"), walltime_s=600))
    gone = backend.submit(Job("gone", ("sleep", "300"), walltime_s=600))
    until(backend, [late, gone], lambda s: s.state is State.RUNNING, 240)
    slowest = 0.0
    with lab.away("slurmdbd", how):
        begun = time.monotonic()
        done = backend.submit(Job("done", ("true",)))
        fails = backend.submit(Job("fails", ("sh", "-c", "exit 3")))
        greedy = backend.submit(Job("greedy", ("python", "-c", EATER), memory_bytes=200 << 20))
        killed = backend.submit(Job("killed", ("sh", "-c", "kill -9 $PPID; sleep 60"), memory_bytes=200 << 20))
        backend.cancel([gone])
        lab.on("head", "scontrol", "update", f"JobId={late}", "EndTime=now+5")
        ids = [late, gone, done, fails, greedy, killed]
        told = False  # by squeue alone; on a busy machine jobs begin and end late
        while (waited := time.monotonic() - begun) < outage_s or (not told and waited < 240):
            asked = time.monotonic()
            seen = backend.poll(ids)
            slowest = max(slowest, time.monotonic() - asked)
            alive = {State.QUEUED, State.RUNNING}
            assert seen[done].state in alive | {State.COMPLETED}
            assert seen[fails].state in alive | {State.FAILED}
            assert seen[late].state in alive | {State.TIMEOUT}
            assert seen[gone].state in alive | {State.CANCELLED}
            assert {seen[greedy].state, seen[killed].state} <= alive, "whether it was memory is for accounting to say"
            told = seen[done].state.terminal and seen[fails].state.terminal
            time.sleep(0.5)
        assert (seen[done].state, seen[fails].state, seen[fails].exit_code) == (State.COMPLETED, State.FAILED, 3)
        quick = time.monotonic()
        assert lab.backend().poll([done, late])[done].state is State.COMPLETED, "squeue answers, whoever does not"
        assert time.monotonic() - quick < LONGEST_S
    assert slowest < LONGEST_S
    seen = until(backend, ids, lambda s: s.state.terminal, 120)
    assert [seen[i].state for i in ids] == [
        State.TIMEOUT, State.CANCELLED, State.COMPLETED, State.FAILED, State.OOM, State.FAILED,
    ]  # fmt: skip
    assert "of 200 MiB" in seen[greedy].reason
    assert seen[killed].signal == 9
