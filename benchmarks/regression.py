"""The background regression beside its peers, in one run: `python -m benchmarks.regression [--json FILE]`.

Score: the leave-one-out bandwidth score of the void regions (of VRECOMPUTE_TEST_DATA, or generated ones of
the same number), one core. Regression: 200 000 training points, 50 000 queries, 6 features, mean and
variance of 12 outputs, one core; `dense` has a kernel so wide that nothing can be skipped, `sky` has positions
on a sphere with three features derived from them, bandwidth 0.05, cut at 7 sigma.

Contestants take turns in every round; figures are medians over rounds of CPU time per query (of wall time
where two threads are compared with one), ratios are medians of the ratio within a round, with their range.
A slow peer does a stated subset of the queries: each is linear in them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.kernels.brute import regress_brute, score_brute
from vrecompute.kernels.numerics.regress import regress
from vrecompute.kernels.numerics.score import score

Floats = NDArray[Any]
S_DEG, V = 1.4, 0.15
FEATURES, OUTPUTS = 6, 12
# Sums, products and one per comparison, of one pair of a query and a training point: differences and squares; the
# cut; the exponential (split 3, polynomial 10, scaling 1); one multiply-add for each of 1 + 2 x 12 columns.
FLOP_PER_PAIR = 3 * FEATURES - 1 + 2 + 14 + 2 * (1 + 2 * OUTPUTS)


class Disagreement(Exception):
    """A peer gives other numbers: nothing is timed."""


def agree(part: str, error: dict[str, float], limits: dict[str, float]) -> None:
    """Raise Disagreement where an error is above its limit."""
    wrong = {name: error[name] for name, limit in limits.items() if not error[name] <= limit}
    if wrong:
        raise Disagreement(f"{part}: relative to its peers {wrong}, allowed {limits}")


@dataclass
class Contest:
    """Contestants that take turns: name -> (function, queries it does).

    `cpu` are CPU seconds per query of the calling thread, which do its work alone (none for a name that says
    threads); `wall` are seconds by the clock.
    """

    name: str
    contestants: dict[str, tuple[Callable[[], Any], int]]
    cpu: dict[str, list[float]] = field(default_factory=dict)
    wall: dict[str, list[float]] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        for function, _ in self.contestants.values():
            function()  # compile, page in
        for _ in range(rounds):
            for name, (function, queries) in self.contestants.items():
                wall, cpu = time.perf_counter(), time.thread_time()
                function()
                self.cpu.setdefault(name, []).append((time.thread_time() - cpu) / queries)
                self.wall.setdefault(name, []).append((time.perf_counter() - wall) / queries)

    def ratio(self, peer: str, ours: str) -> dict[str, float]:
        times = self.wall if "threads" in peer + ours else self.cpu
        each = np.array(times[peer]) / np.array(times[ours])
        return {"median": float(np.median(each)), "low": float(each.min()), "high": float(each.max())}

    def table(self, unit: float, unit_name: str) -> None:
        print(f"{self.name}")
        for name, (_, queries) in self.contestants.items():
            clock = "wall" if "threads" in name else "CPU"
            low, middle, high = np.quantile((self.wall if clock == "wall" else self.cpu)[name], [0, 0.5, 1]) / unit
            print(f"  {name:38s} {middle:10.4g} {clock} {unit_name}  ({low:.4g} .. {high:.4g}, {queries} queries)")


def voids() -> tuple[Floats, Floats, str]:
    """Positions in degrees and counts of the void regions."""
    folder = os.environ.get("VRECOMPUTE_TEST_DATA")
    if folder:
        base = Path(folder) / "fermi_mldwarfs" / "misc"
        positions = np.loadtxt(base / "voids_all_25dSphs.dat")
        counts = np.loadtxt(base / "Newbins_counts_voids.dat")[:, 0]
        return positions[counts > 0], counts[counts > 0], "LAT void regions"
    rng = np.random.default_rng(1)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 13149)))
    positions = np.stack([rng.uniform(0, 360, 13149), latitude], axis=1)
    return positions, np.maximum(rng.poisson(20 + 120 / (1 + np.abs(latitude) / 10)), 1.0), "generated void regions"


def score_numpy(positions: Floats, n: Floats, rows: int = 32) -> float:
    """L(s, v) by numpy, float64, a few rows of pairs at a time so that they stay in the cache."""
    x = np.ascontiguousarray((positions / S_DEG).T)
    y = np.log(n) / V
    inner = np.empty(len(n))
    for a in range(0, len(n), rows):
        b = min(a + rows, len(n))
        t = (x[0] - x[0, a:b, None]) ** 2
        t += (x[1] - x[1, a:b, None]) ** 2
        t += (y - y[a:b, None]) ** 2
        t *= -0.5
        np.exp(t, out=t)
        t[np.arange(b - a), np.arange(a, b)] = 0.0
        inner[a:b] = t.sum(axis=1)
    return float(np.sum(np.log(inner / n / ((2 * np.pi) ** 1.5 * S_DEG**2 * V * (len(n) - 1)))))


def kde_sums(positions: Floats, n: Floats, queries: int) -> Floats:
    """The sums over other points by scikit-learn's exact KernelDensity, for the first `queries` points."""
    from sklearn.neighbors import KernelDensity

    x = np.column_stack([positions / S_DEG, np.log(n) / V])
    density = KernelDensity(bandwidth=1.0, kernel="gaussian", rtol=0, atol=0).fit(x)
    # It knows no leave-one-out: a point's own kernel, 1, is taken off, which costs lonely points their digits.
    return np.asarray(np.exp(density.score_samples(x[:queries])) * (2 * np.pi) ** 1.5 * len(n) - 1.0)


def regress_numpy(train: Floats, y: Floats, query: Floats, s: float, dtype: str, tile: int | None = None) -> Floats:
    """Mean and variance (2, N, E) by two matrix products and one exp per 256 queries and `tile` points, in `dtype`."""
    if len(query) > 256:
        return np.concatenate([regress_numpy(train, y, query[a : a + 256], s, dtype, tile) for a in (0, 256)], axis=1)
    middle = train.mean(axis=0)
    x, q = ((a - middle) / s for a in (train, query))
    x, q = x.astype(dtype), q.astype(dtype)
    origin = y.mean(axis=0)
    columns = np.concatenate([np.ones((len(y), 1)), y - origin, (y - origin) ** 2], axis=1).astype(dtype)
    half = 0.5 * (x**2).sum(axis=1)
    half_q = 0.5 * (q**2).sum(axis=1)
    sums = np.zeros((len(q), columns.shape[1]))
    tile = tile or len(x)
    for a in range(0, len(x), tile):
        t = q @ x[a : a + tile].T
        t -= half[a : a + tile]
        t -= half_q[:, None]
        np.exp(t, out=t)
        sums += t @ columns[a : a + tile]
    mean = sums[:, 1 : 1 + y.shape[1]] / sums[:, :1]
    return np.stack([mean + origin, sums[:, 1 + y.shape[1] :] / sums[:, :1] - mean**2])


def knn(train: Floats, y: Floats, query: Floats, s: float, neighbours: int) -> Floats:
    """The mean by scikit-learn's KNeighborsRegressor with Gaussian weights on its `neighbours` nearest points."""
    from sklearn.neighbors import KNeighborsRegressor

    def gauss(d: Floats) -> Floats:
        return np.asarray(np.exp(-0.5 * (d / s) ** 2))

    model = KNeighborsRegressor(neighbours, weights=gauss, algorithm="auto")
    return np.asarray(model.fit(train, y).predict(query))


def contest_score(rounds: int) -> dict[str, Any]:
    positions, n, what = voids()
    some = 1000
    whole = len(n)
    ours = score(positions, n, S_DEG, V, metric="planar")
    numpy_value = score_numpy(positions, n)
    brute = score_brute(positions, n, S_DEG, V, metric="planar")
    kde = kde_sums(positions, n, some)
    clear = ours.sums[:some] > 1e-3
    error = {
        "against_numpy": abs(ours.value / numpy_value - 1),
        "against_numba_brute": abs(ours.value / brute - 1),
        "sums_against_sklearn": float(np.abs(kde[clear] / ours.sums[:some][clear] - 1).max()),
    }
    agree("score", error, {"against_numpy": 1e-9, "against_numba_brute": 1e-9, "sums_against_sklearn": 1e-6})
    contest = Contest(
        f"leave-one-out score, {what}: {whole} x {whole}, float64, one core",
        {
            "vrecompute, cut at 8 sigma": (lambda: score(positions, n, S_DEG, V, metric="planar"), whole),
            "  same, two threads": (lambda: score(positions, n, S_DEG, V, metric="planar", threads=2), whole),
            "numpy": (lambda: score_numpy(positions, n), whole),
            "numba, every pair": (lambda: score_brute(positions, n, S_DEG, V, metric="planar"), whole),
            "scikit-learn KernelDensity, exact": (lambda: kde_sums(positions, n, some), some),
        },
    )
    contest.run(rounds)
    contest.table(1e-6, "us/point")
    ratios = {
        name: contest.ratio(peer, "vrecompute, cut at 8 sigma")
        for name, peer in (
            ("numpy", "numpy"),
            ("sklearn_kde", "scikit-learn KernelDensity, exact"),
            ("numba_brute", "numba, every pair"),
        )
    }
    ratios["one_core_over_two"] = contest.ratio("vrecompute, cut at 8 sigma", "  same, two threads")
    print(f"  L = {ours.value:.10f}, relative difference {error}\n")
    return {"ratios": ratios, "error": error}


def training(kind: str, count: int, queries: int) -> tuple[Floats, Floats, Floats, float, float]:
    """Training features, outputs, query features, bandwidth and cut of one regression problem."""
    rng = np.random.default_rng(2)

    def features(number: int) -> Floats:
        if kind == "dense":
            return rng.random((number, FEATURES))
        x = rng.normal(size=(number, 3))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        derived = [np.abs(x[:, 2]), 0.5 * np.exp(-((x[:, 1] / 0.4) ** 2)), 0.3 * np.sin(3 * x[:, 0])]
        return np.column_stack([x, *derived])

    train, query = features(count), features(queries)
    y = np.stack([np.sin((k + 1) * train[:, k % FEATURES]) for k in range(OUTPUTS)], axis=1)
    y += 0.2 * rng.normal(size=y.shape)
    return (train, y, query, 0.3, 11.0) if kind == "dense" else (train, y, query, 0.05, 7.0)


def contest_regression(kind: str, count: int, queries: int, rounds: int) -> dict[str, Any]:
    train, y, query, s, cut = training(kind, count, queries)
    few, some = min(64, queries), min(512, queries)

    def ours(threads: int = 1, number: int = queries) -> Any:
        return regress(
            train,
            y,
            query[:number],
            s,
            metric="planar",
            cut_sigma=cut,
            precision="float32",
            threads=threads,
        )

    a = np.random.default_rng(3).random((1024, 1024)).astype(np.float32)
    entries: dict[str, tuple[Callable[[], Any], int]] = {
        "vrecompute float32": (ours, queries),
        "  same, two threads": (lambda: ours(2), queries),
        "sgemm 1024": (lambda: [a @ a for _ in range(20)], 20),
        "numpy float32 (BLAS)": (lambda: regress_numpy(train, y, query[:some], s, "float32"), some),
        "numpy float32 (BLAS), cache blocks": (lambda: regress_numpy(train, y, query[:some], s, "float32", 4096), some),
        "numpy float64 (BLAS)": (lambda: regress_numpy(train, y, query[:some], s, "float64"), some),
        "numba, every pair, float64": (lambda: regress_brute(train, y, query[:few], s, metric="planar"), few),
    }
    exact = regress_brute(train, y, query[:few], s, metric="planar")
    found = ours(number=few)
    error = {
        "mean": float(np.abs(found.mean - exact.mean).max()),
        "variance": float(np.abs(found.variance - exact.variance).max()),
        "numpy_float32_mean": float(np.abs(regress_numpy(train, y, query[:few], s, "float32")[0] - exact.mean).max()),
    }
    if kind == "sky":
        neighbours = 3000
        entries["scikit-learn KNeighborsRegressor"] = (lambda: knn(train, y, query[:few], s, neighbours), few)
        error["knn_mean"] = float(np.abs(knn(train, y, query[:few], s, neighbours) - exact.mean).max())
    agree(kind, error, dict.fromkeys(error, 1e-5))
    contest = Contest(f"regression, {kind}: {count} training points, 6 features, 12 outputs, one core", entries)
    contest.run(rounds)
    contest.table(1e-6, "us/query")
    one = "vrecompute float32"
    peers = {"numpy_float32": "numpy float32 (BLAS)", "numpy_float64": "numpy float64 (BLAS)"}
    peers["numpy_float32_blocked"] = "numpy float32 (BLAS), cache blocks"
    peers["numba_brute"] = "numba, every pair, float64"
    if kind == "sky":
        peers["sklearn_knn"] = "scikit-learn KNeighborsRegressor"
    ratios = {name: contest.ratio(peer, one) for name, peer in peers.items()}
    ratios["one_core_over_two"] = contest.ratio(one, "  same, two threads")
    outcome: dict[str, Any] = {"ratios": ratios, "error": error}
    if kind == "dense":
        sgemm = 2 * 1024**3 / np.array(contest.cpu["sgemm 1024"])
        share = FLOP_PER_PAIR * count / np.array(contest.cpu[one]) / sgemm
        outcome["share_of_sgemm"] = {"median": float(np.median(share)), "low": share.min(), "high": share.max()}
        print(f"  sgemm {np.median(sgemm) / 1e9:.0f} GFLOP/s; ours at {np.median(share):.0%} of it", end="; ")
        print(f"{FLOP_PER_PAIR} FLOP a pair")
    print(f"  largest error against float64, every pair: {error}\n")
    return outcome


GOALS = (
    ("score", "numpy", 100.0),
    ("score", "sklearn_kde", 100.0),
    ("dense", "numpy_float32", 4.0),
    ("sky", "numpy_float32", 20.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure here")
    parser.add_argument("--points", type=int, default=200_000, help="training points of the regression")
    parser.add_argument("--queries", type=int, default=50_000, help="queries of the regression")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    try:
        with threadpool_limits(1):
            outcome = {
                "score": contest_score(given.rounds),
                "dense": contest_regression("dense", given.points, given.queries, given.rounds),
                "sky": contest_regression("sky", given.points, given.queries, given.rounds),
            }
    except Disagreement as error:
        print(f"not identical, nothing timed: {error}")
        return 1
    print("ratios: peer time / our time, median (range) over rounds")
    for part, facts in outcome.items():
        for name, r in facts["ratios"].items():
            print(f"  {part:6s} {name:20s} {r['median']:8.2f}  ({r['low']:.2f} .. {r['high']:.2f})")
    goals = {f"{p} over {n}": outcome[p]["ratios"][n]["median"] >= goal for p, n, goal in GOALS}
    goals["60 % of sgemm"] = outcome["dense"]["share_of_sgemm"]["median"] >= 0.6
    for name, reached in goals.items():
        print(f"  {'reached' if reached else 'MISSED':8s} {name}")
    report = {**outcome, "goals": goals, "identical": True}
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
