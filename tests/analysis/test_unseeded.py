"""What `process` draws without a seed is new at each call: nothing of such a run is reused, and it is said."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Analysis, Client, Result
from vrecompute.analysis.codedigest import code_of

FUNCTION = """
import os
import random
import time
import uuid
from random import gauss as normal, random as flat
from secrets import randbelow

import numba
import numpy as np
from numpy.random import default_rng, normal as np_normal, rand
from scipy import stats
from scipy.stats import norm

SEED = 7
RNG = np.random.default_rng(1)


class Own:
    def rvs(self):
        return 1.0


OWN = Own()


@numba.njit
def compiled():
    return np.random.normal(0.0, 1.0)


def function(events):
    SEEN
"""
UNSEEDED = [
    "return np.random.normal(0, 1)",
    "return np.random.default_rng().normal()",
    "return np.random.default_rng(None).normal()",
    "return np.random.default_rng(seed=None).normal()",
    "return default_rng().normal()",
    "return np_normal(0, 1)",
    "return rand()",
    "return np.random.RandomState().normal()",
    "return np.random.Generator(np.random.PCG64()).normal()",
    "return random.gauss(0, 1)",
    "return normal(0, 1)",
    "return random.Random().random()",
    "return random.SystemRandom().random()",
    "return uuid.uuid4().int",
    "return os.urandom(4)[0]",
    "return randbelow(8)",
    "from random import random as r\n    return r()",
    "return flat()",
    "return norm.rvs()",
    "return stats.norm.rvs(size=3).sum()",
    "np.random.seed()\n    return np.random.normal()",
    "return compiled()",
    "from numpy import random as nr\n    return nr.normal()",
    "import random as r\n    return r.random()",
]
OTHER_SEED = [
    "return np.random.default_rng(int(time.time())).normal()",
    "seed = os.getpid() + 1\n    return np.random.default_rng([SEED, seed]).normal()",
    "np.random.seed(int(time.time()))\n    return np.random.normal()",
]
SEEDED = [
    "return np.random.default_rng([SEED, events.start]).normal()",
    "return np.random.default_rng(seed=events.start).normal()",
    "return default_rng(1).normal()",
    "rng = np.random.Generator(np.random.Philox(key=events.start))\n    return rng.normal()",
    "np.random.seed(events.start)\n    return np.random.normal()",
    "random.seed(1)\n    return random.gauss(0, 1)",
    "return random.Random(1).gauss(0, 1)",
    "return norm.rvs(random_state=1)",
    "return OWN.rvs()",
    "started = time.time()\n    return time.time() - started",
    "return np.random.RandomState(3).normal()",
    "return isinstance(RNG, np.random.Generator)",
]


def unnamed(tmp_path, body):
    file = tmp_path / "drawing.py"
    file.write_text(FUNCTION.replace("SEEN", body))
    names: dict = {"__name__": "drawing", "__file__": str(file)}
    exec(compile(file.read_text(), str(file), "exec"), names)
    return code_of(names["function"]).unnamed


@pytest.mark.parametrize("body", UNSEEDED)
def test_what_draws_without_a_seed_is_told_by_line(tmp_path, body):
    found = unnamed(tmp_path, body)
    assert found
    for told in found:
        assert "random numbers are drawn" in told
        assert "drawing.py:" in told
        assert told.endswith("draw from numpy.random.default_rng([SEED, events.start])")


@pytest.mark.parametrize("body", OTHER_SEED)
def test_a_seed_that_is_another_each_time_is_none(tmp_path, body):
    (told,) = unnamed(tmp_path, body)
    assert told.startswith("random numbers are drawn with another seed each time at drawing.py:")


@pytest.mark.parametrize("body", SEEDED)
def test_what_draws_with_a_seed_is_reused(tmp_path, body):
    assert not unnamed(tmp_path, body)


class Smeared(Analysis):
    name = "smeared"

    def columns(self, source):
        return ("Muon_pt",)

    def process(self, events):
        pt = ak.flatten(events.awkward["Muon_pt"])
        return Result(counters={"above": float(np.sum(pt * np.random.normal(1.0, 0.5, len(pt)) > 20.0))})


def test_a_run_that_draws_without_a_seed_is_not_reused_and_says_so(tmp_path):
    events = write_events(tmp_path / "e.root", 2000)
    with Client(workers=1, store=tmp_path / "store") as client:
        for _ in range(2):
            run = client.run(Smeared, str(events))
            run.result(timeout_s=120)
            report = run.report()
            assert report.status == "complete"
            assert report.chunks.reused == 0
            (warning,) = [w for w in report.warnings if "seed" in w]
            assert "random numbers are drawn without a seed at test_unseeded.py:" in warning
