"""What libraries draw without a seed while `process` runs is told of and not reused; what has a seed is."""

from __future__ import annotations

import copy
import pickle
import random
import re

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.processreads import Reads

DATA = np.arange(100.0)
KERNEL = scipy.stats.gaussian_kde(DATA)


def forest(seed=None):
    model = RandomForestClassifier(n_estimators=3, random_state=seed)
    return float(model.fit(DATA[:, None], DATA > 30).predict_proba([[30.5]])[0, 1])


def bootstrapped(**given):
    return float(scipy.stats.bootstrap((DATA,), np.mean, n_resamples=50, **given).standard_error)


def minimum(seed=None):
    bounds = [(0, 2)]
    found = scipy.optimize.differential_evolution(lambda x: (x[0] - 1) ** 2, bounds, maxiter=1, polish=False, rng=seed)
    return float(found.x[0])


def annealed():
    return float(scipy.optimize.dual_annealing(lambda x: abs(x[0] - 1), [(0, 2)], maxiter=2, no_local_search=True).x[0])


UNSEEDED = {
    "bootstrap": lambda events: bootstrapped(),
    "permutation_test": lambda events: float(
        scipy.stats.permutation_test((DATA, DATA + 3), lambda x, y: x[0] - y[0], n_resamples=20).null_distribution[0]
    ),
    "monte_carlo_test": lambda events: float(
        scipy.stats.monte_carlo_test(DATA, scipy.stats.norm.rvs, lambda x: x[0], n_resamples=9).null_distribution[0]
    ),
    "quasi Monte Carlo": lambda events: float(scipy.stats.qmc.Sobol(1).random(2)[0, 0]),
    "resampled kernel": lambda events: float(KERNEL.resample(1)[0, 0]),
    "differential evolution": lambda events: minimum(),
    "annealing": lambda events: annealed(),
    "Series.sample": lambda events: float(pd.Series(DATA).sample(1).iloc[0]),
    "DataFrame.sample": lambda events: float(pd.DataFrame({"a": DATA}).sample(1)["a"].iloc[0]),
    "train_test_split": lambda events: float(train_test_split(DATA)[0][0]),
    "resample": lambda events: float(resample(DATA)[0]),
    "forest": lambda events: forest(),
    "another name": lambda events: float(getattr(np.random, "nor" + "mal")()),
    "RandomState": lambda events: float(getattr(np.random, "Random" + "State")().normal()),
    "default_rng": lambda events: float(getattr(np.random, "default" + "_rng")().normal()),
}
SEEDED = {
    "bootstrap": lambda events: bootstrapped(rng=3),
    "differential evolution": lambda events: minimum(3),
    "Series.sample": lambda events: float(pd.Series(DATA).sample(1, random_state=3).iloc[0]),
    "train_test_split": lambda events: float(train_test_split(DATA, random_state=3)[0][0]),
    "forest": lambda events: forest(3),
    "RandomState": lambda events: float(np.random.RandomState(3).normal()),
    "shared": lambda events: [np.random.seed(3), float(pd.Series(DATA).sample(1).iloc[0])][1],
    "shared of Python": lambda events: [random.seed(3), random.random()][1],
    "kernel": lambda events: float(KERNEL.resample(1, seed=3)[0, 0]),
    "copied": lambda events: float(copy.deepcopy(np.random.default_rng(3)).normal()),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=1, store=tmp_path_factory.mktemp("drawn") / "store") as client:
        yield client


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 50, clusters=1))


def runs(client, file, function):
    for _ in range(2):
        run = client.map(lambda events: {"value": function(events)}, file, columns=["run"])
        yield run.result(timeout_s=120).total.counters["value"], run.report()


@pytest.mark.parametrize("kind", UNSEEDED)
def test_what_a_library_draws_without_a_seed_is_told_and_not_reused(client, file, kind):
    (one, first), (other, second) = runs(client, file, UNSEEDED[kind])
    assert (first.chunks.reused, second.chunks.reused) == (0, 0)
    for report in (first, second):
        assert any("random numbers are drawn without a seed" in warning for warning in report.warnings)
    assert one != other or kind in ("train_test_split", "resample", "forest", "Series.sample", "DataFrame.sample")


@pytest.mark.parametrize("kind", SEEDED)
def test_what_a_library_draws_with_a_seed_is_reused(client, file, kind):
    (one, _), (other, second) = runs(client, file, SEEDED[kind])
    assert second.chunks.reused == 1
    assert one == other
    assert not any("random" in warning for warning in second.warnings)


def told(draw):
    reads = Reads()
    with reads.watching(""):
        draw()
    return reads.told


def test_the_line_is_told_where_a_generator_is_made_without_a_seed():
    for draw in (UNSEEDED["default_rng"], UNSEEDED["RandomState"], UNSEEDED["quasi Monte Carlo"]):
        (one,) = told(lambda draw=draw: draw(None))
        assert re.match(r"random numbers are drawn without a seed at test_entropy\.py:\d+, inside process; give", one)


QUIET = {
    "seeded": lambda: np.random.RandomState(7),
    "many": lambda: [np.random.RandomState(seed) for seed in range(3)],
    "read again": lambda: pickle.loads(pickle.dumps([np.random.default_rng(7), np.random.RandomState(7)])),
    "jumped": lambda: np.random.PCG64(7).jumped(),
    "spawned": lambda: np.random.default_rng(7).spawn(2),
    "shared": lambda: np.random.seed(7),
    "given a generator": lambda: np.random.RandomState(np.random.MT19937(7)),
}


@pytest.mark.parametrize("kind", QUIET)
def test_a_generator_with_a_seed_is_not_told(kind):
    assert told(QUIET[kind]) == ()


def test_numpy_draws_the_same_while_it_is_listened_to():
    told(lambda: None)
    assert np.random.RandomState(7).normal() == 1.690525703800356
    assert isinstance(np.random.RandomState(7)._bit_generator, np.random.MT19937)
    assert np.random.default_rng().normal() != np.random.default_rng().normal()
