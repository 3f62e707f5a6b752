"""Random kills of clients, jobs and machines of a detached run: the same bytes, nothing twice, nothing left.

Each chunk that is begun leaves a line on its machine with the attempt that computes it. An attempt that ended well is
never repeated; what another one computed may be.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.conftest import ACCEPTANCE
from tests.patience import comes_true
from tests.slurm.runs import FILES, PROGRAM, finish, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(5400)]

KILLS, MOST_A_RUN, SHARES = (60, 12, 8) if ACCEPTANCE else (6, 6, 8)
ANALYSIS, SITE = "/home/alice/lab/told.py:Told", "lab-htcondor"
STORE, DIARY = "/home/alice/store-kills", "/srv/data/diary"
#: A job that is removed loses what it made, and a share is given up after three submissions that made nothing.
REMOVALS = 2
PACE_S = 8
SPOOL = "ls ~/.local/state/vrecompute/htcondor | grep -E '^(carried|secrets)|[.]sh$'; true"
EXECUTED = "ls -A /var/lib/condor/execute; pgrep -f '[v]recompute work'; true"


@dataclass
class Disturbed:
    """A run whose clients, jobs and machines are killed."""

    pool: object
    choices: random.Random
    store: str
    diary: str
    kinds: Counter = field(default_factory=Counter)
    off: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = {"workers": 0, "shares": SHARES, "diary": self.diary, "sleep_s": PACE_S}
        self.client, self.said = started(self.pool, "submit", "submit", SITE, ANALYSIS, self.store, **settings)

    def kill(self) -> None:
        """One random kill, at a random moment; machines come back after a while."""
        time.sleep(self.choices.uniform(0.2, 3))
        self.plug_in(self.choices.uniform(3, 15))
        running = self.pool.running()
        if not running:  # jobs begin, or a client merges what they left, which it shall be killed at now and then
            comes_true(lambda: self.client.poll() is not None or self.pool.running(), 30, 1)
            running = self.pool.running()
        kinds = ["client", "vacate", "starter", "shadow", "machine", "remove"] if running else ["client"]
        if self.off:
            kinds = [kind for kind in kinds if kind != "machine"]
        if self.kinds["remove"] >= REMOVALS:
            kinds = [kind for kind in kinds if kind != "remove"]
        kind = self.choices.choice(kinds)
        machine = self.choices.choice(sorted({"e1", "e2"} - set(self.off)))
        victim = self.choices.choice(running or [""])
        if kind == "client":
            # again, where it was only about to begin
            end = ("submit", "pkill", "-9", "-f", "[l]ab/program.py")
            assert comes_true(lambda: self.pool.on(*end, check=False) or self.client.poll() is not None, 120, 1)
            words = ["attach", SITE, self.said["run"], f"store={self.store}"]
            self.client = self.pool.start("submit", "python", PROGRAM, *words)
        elif kind == "machine":
            self.pool.power("kill", machine)
            self.off[machine] = time.monotonic()
        else:
            done = {
                "vacate": ("submit", "condor_vacate_job", victim),
                "remove": ("submit", "condor_rm", victim),
                "starter": (machine, "pkill", "-9", "-n", "condor_starter"),
                "shadow": ("root@submit", "pkill", "-9", "-n", "condor_shadow"),
            }[kind]
            self.pool.on(*done, check=False)
        self.kinds[kind] += 1
        print(json.dumps({"run": self.said["run"], "kill": kind, "running": len(running)}), flush=True)

    def plug_in(self, after_s: float = 0.0) -> None:
        """Have machines come back that have been off for so long."""
        for machine, since in list(self.off.items()):
            if time.monotonic() - since >= after_s:
                self.pool.power("start", machine)
                del self.off[machine]

    def attempts_that_ended_well(self) -> set[tuple[str, str]]:
        """(job, attempt)."""
        which = f'JobStatus == 4 && ExitCode == 0 && regexp("{self.said["run"]}", JobBatchName)'
        told = self.pool.on("submit", "condor_history", "-constraint", which, "-af:j", "NumShadowStarts")
        return {(job, str(int(shadows) - 1)) for job, shadows in map(str.split, told.splitlines())}

    def computed(self) -> list[tuple[tuple[str, str], str]]:
        """((job, attempt), chunk) of each chunk that was begun."""
        read = ("sh", "-c", 'cat "$0"-*', self.diary)
        lines = [line for m in ("e1", "e2") for line in self.pool.on(m, *read, check=False).splitlines()]
        return [((job, attempt), f"{place} {start}") for job, attempt, place, start in map(str.split, lines)]


@pytest.fixture
def undisturbed(pool, data):
    """The sha256 of a run on one machine."""
    for machine in ("submit", "e1", "e2"):
        pool.on(machine, "sh", "-c", f"rm -rf {STORE}* {DIARY}*", check=False)
    facts = run(pool, "submit", "run", "here", ANALYSIS, f"{STORE}-here", sleep_s=0, diary=f"{DIARY}-here")
    assert facts["status"] == "complete", facts
    return facts["sha"]


@pytest.mark.slow
def test_kills_of_clients_jobs_and_machines_cost_no_byte_and_nothing_twice(pool, undisturbed):
    kinds, repeated, begun, runs = Counter(), 0, 0, 0
    while (left := KILLS - sum(kinds.values())) > 0:
        runs += 1
        disturbed = Disturbed(pool, random.Random(runs), f"{STORE}-{runs}", f"{DIARY}-{runs}")
        try:
            while sum(disturbed.kinds.values()) < min(left, MOST_A_RUN) and disturbed.client.poll() is None:
                disturbed.kill()
        finally:
            disturbed.plug_in()
        facts = finish(disturbed.client)
        assert (facts["status"], facts["sha"], facts["failures"]) == ("complete", undisturbed, []), facts
        computed, well = disturbed.computed(), disturbed.attempts_that_ended_well()
        assert len({chunk for _, chunk in computed}) == FILES
        once = Counter(chunk for attempt, chunk in computed if attempt in well)
        assert max(once.values(), default=0) <= 1, once
        assert comes_true(lambda: pool.queue() == [], 120), pool.queue()
        assert pool.on("submit", "sh", "-c", SPOOL) == ""
        for machine in ("e1", "e2"):
            assert comes_true(lambda at=machine: pool.on(at, "sh", "-c", EXECUTED, check=False) == "", 60)
        kinds += disturbed.kinds
        begun, repeated = begun + len(computed), repeated + len(computed) - FILES
        print(json.dumps({"run": runs, **disturbed.kinds, "begun": len(computed), "chunks": FILES}), flush=True)
    print(json.dumps({"kills": dict(kinds), "runs": runs, "begun": begun, "repeated": repeated}))
