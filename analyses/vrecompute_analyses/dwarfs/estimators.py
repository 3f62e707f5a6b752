"""Estimators of ln(background counts) from sky position behind one interface: kernel, k-NN, forest, network.

All but the kernel are scikit-learn's (extra 'ml'). Each gives the conditional mean and variance of
ln(counts); what they are worth is measured on held-out voids by `calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from vrecompute.errors import UsageError
from vrecompute.kernels.numerics.neighbours import Metric, unit_vectors
from vrecompute_analyses.dwarfs.tables import BINS, Floats, Voids
from vrecompute_analyses.dwarfs.training import Bandwidths, predict

__all__ = ["ESTIMATORS", "Estimator", "Forest", "Kernel", "Nearest", "Network", "fitted", "make_estimator"]


# The network's batch, which is the most scikit-learn takes in one step by default.
_BATCH = 200


class Estimator(Protocol):
    """Learns from voids, predicts ln(counts) elsewhere."""

    def fit(self, voids: Voids) -> None:
        """Learn from these voids; replaces what was learned before."""
        ...

    def predict(self, positions_deg: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ln(counts), each (N, 6), at Galactic positions (N, 2) in degrees."""
        ...


def _targets(voids: Voids) -> Floats:
    """ln(counts), with half a count where there is none, which has no logarithm."""
    return np.asarray(np.log(np.maximum(voids.counts, 0.5)))


def _features(positions_deg: Floats) -> Floats:
    """The unit vector, which has no seam, and longitude about the Galactic centre, latitude and its modulus."""
    lon, lat = positions_deg[:, 0], positions_deg[:, 1]
    wrapped = np.mod(lon + 180.0, 360.0) - 180.0
    return np.column_stack([unit_vectors(positions_deg), wrapped / 90.0, lat / 90.0, np.abs(lat) / 90.0])


def _sklearn(module: str, name: str) -> Any:
    from importlib import import_module

    try:
        return getattr(import_module(f"sklearn.{module}"), name)
    except ImportError as error:
        raise UsageError("this estimator needs the extra 'ml': pip install 'vrecompute[ml]'") from error


@dataclass
class Kernel:
    """The published one: Gaussian-kernel regression; a position without a void near gets the mean of all."""

    widths: Bandwidths
    metric: Metric = "sphere"
    _voids: Voids | None = field(default=None, repr=False)

    def fit(self, voids: Voids) -> None:
        """Keep the voids."""
        self._voids = voids

    def predict(self, positions_deg: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ln(counts)."""
        assert self._voids is not None, "fit comes before predict"
        found = predict(self._voids, positions_deg, self.widths, self.metric)
        everywhere = _targets(self._voids)
        known = np.isfinite(found.mean)
        mean = np.where(known, found.mean, everywhere.mean(axis=0))
        return mean, np.where(known, found.variance, everywhere.var(axis=0))


@dataclass
class Nearest:
    """Mean and variance of the `neighbours` nearest voids on the sphere."""

    neighbours: int = 40
    _tree: Any = field(default=None, repr=False)
    _values: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    def fit(self, voids: Voids) -> None:
        """Sort the voids into a tree."""
        self._values = _targets(voids)
        self._tree = _sklearn("neighbors", "NearestNeighbors")(n_neighbors=min(self.neighbours, len(self._values)))
        self._tree.fit(unit_vectors(voids.positions_deg))

    def predict(self, positions_deg: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ln(counts)."""
        near = self._values[self._tree.kneighbors(unit_vectors(positions_deg), return_distance=False)]
        return near.mean(axis=1), near.var(axis=1, ddof=1)


@dataclass
class Forest:
    """Extremely randomised trees of ln(counts) and its square, which together give the variance."""

    trees: int = 100
    leaf: int = 15
    seed: int = 1
    _model: Any = field(default=None, repr=False)
    _middle: Floats = field(default_factory=lambda: np.empty(0), repr=False)

    def fit(self, voids: Voids) -> None:
        """Grow the trees."""
        y = _targets(voids)
        self._middle = y.mean(axis=0)
        y = y - self._middle
        self._model = _sklearn("ensemble", "ExtraTreesRegressor")(
            n_estimators=self.trees, min_samples_leaf=self.leaf, random_state=self.seed
        )
        self._model.fit(_features(voids.positions_deg), np.concatenate([y, y**2], axis=1))

    def predict(self, positions_deg: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ln(counts)."""
        both = self._model.predict(_features(positions_deg))
        mean, square = np.split(both, 2, axis=1)
        return mean + self._middle, np.maximum(square - mean**2, 1e-4)


@dataclass
class Network:
    """A small network for the mean, and one for the logarithm of the squared residual, on Fourier features."""

    width: int = 48
    seed: int = 1
    _models: Any = field(default=None, repr=False)

    def fit(self, voids: Voids) -> None:
        """Train both."""
        y, x = _targets(voids), self._inputs(voids.positions_deg)
        centre, scale = y.mean(axis=0), y.std(axis=0)
        mean = self._trained(x, (y - centre) / scale)
        # ln of a squared normal variable is -1.27 on average below ln of its variance; the offset is set by the mean.
        residual2 = (y - centre - scale * mean.predict(x)) ** 2
        level = residual2.mean(axis=0)
        spread = self._trained(x, np.log(residual2 / level + 1e-2))
        shift = np.log(level / np.exp(spread.predict(x)).mean(axis=0))
        self._models = (mean, spread, centre, scale, shift)

    def predict(self, positions_deg: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ln(counts)."""
        mean, spread, centre, scale, shift = self._models
        x = self._inputs(positions_deg)
        return centre + scale * mean.predict(x), np.exp(spread.predict(x) + shift)

    def _trained(self, x: Floats, y: Floats) -> Any:
        # Stopped at a number of epochs that is enough, not by a tolerance: no warning, and the same work everywhere.
        model = _sklearn("neural_network", "MLPRegressor")(
            hidden_layer_sizes=(self.width, self.width), alpha=1e-3, learning_rate_init=3e-3, random_state=self.seed
        )
        rng = np.random.default_rng(self.seed)
        for _ in range(15):
            order = rng.permutation(len(x))
            for start in range(0, len(x), _BATCH):
                model.partial_fit(x[order[start : start + _BATCH]], y[order[start : start + _BATCH]])
        return model

    @staticmethod
    def _inputs(positions_deg: Floats) -> Floats:
        base = _features(positions_deg)
        angles = np.pi * base[:, :3]
        waves = [f(k * angles) for k in (1, 2, 4) for f in (np.sin, np.cos)]
        return np.concatenate([base, *waves], axis=1)


ESTIMATORS: Mapping[str, Callable[[Bandwidths, Metric], Estimator]] = {
    "kernel": lambda widths, metric: Kernel(widths, metric),
    "nearest": lambda widths, metric: Nearest(),
    "forest": lambda widths, metric: Forest(),
    "network": lambda widths, metric: Network(),
}


def make_estimator(name: str, widths: Bandwidths, metric: Metric) -> Estimator:
    """The estimator of this name, not fitted."""
    return ESTIMATORS[name](widths, metric)


def fitted(name: str, voids: Voids, widths: Bandwidths, metric: Metric) -> Estimator:
    """The estimator of this name that has learnt from all `voids`; kept for the next time it is asked for."""
    return _fitted(name, voids.positions_deg.tobytes(), voids.counts.tobytes(), widths, metric)


@lru_cache(maxsize=4)
def _fitted(name: str, positions: bytes, counts: bytes, widths: Bandwidths, metric: Metric) -> Estimator:
    estimator = make_estimator(name, widths, metric)
    estimator.fit(Voids(np.frombuffer(positions).reshape(-1, 2), np.frombuffer(counts).reshape(-1, BINS)))
    return estimator
