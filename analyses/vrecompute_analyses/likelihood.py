"""Binned Poisson likelihoods with a log-linear background, profiled for many signal hypotheses at once.

The expectation of bin i is  mu_i = sum_k exp(offset_ik + features_ik . theta) + s * signal_i,  where k runs over
the quadrature nodes of the bin. Every fit below is a batch: the leading axis T is one signal hypothesis
(a mass, a width) each, so that a scan of hundreds of masses costs a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "LogLinear", "Profile", "deviance", "profile", "signed_significance"]

Floats = NDArray[np.float64]

_TINY = 1e-300  # keeps logarithms finite where a bin is empty and so is its prediction
_MAX_ITERATIONS = 60
_TOLERANCE = 1e-7  # of the Newton decrement, in units of the deviance
_ROUNDING = 1e-9  # of a deviance: the step at a minimum may seem to rise by this much


@dataclass(frozen=True)
class LogLinear:
    """A density whose logarithm is linear in its parameters, integrated over bins.

    `offset` (bins, nodes) holds the parameter-free part of the log density plus the log quadrature
    weight; `features` is (bins, nodes, parameters).
    """

    offset: Floats
    features: Floats

    @property
    def parameters(self) -> int:
        """How many parameters the density has."""
        return int(self.features.shape[-1])

    def expected(self, theta: Floats) -> Floats:
        """Expected counts (..., bins) for parameters (..., parameters)."""
        return np.asarray(self._nodes(theta).sum(axis=-1))

    def expected_and_jacobian(self, theta: Floats) -> tuple[Floats, Floats]:
        """Expected counts (..., bins), and their derivatives (..., bins, parameters)."""
        nodes = self._nodes(theta)
        jacobian = np.stack(
            [np.einsum("...ik,ik->...i", nodes, self.features[..., p]) for p in range(self.parameters)], axis=-1
        )
        return nodes.sum(axis=-1), jacobian

    def fix(self, theta: Floats, free: NDArray[np.bool_]) -> LogLinear:
        """The same density with the parameters that are not `free` held at `theta`."""
        held = self.features[..., ~free] @ theta[~free]
        return LogLinear(self.offset + held, self.features[..., free])

    def _nodes(self, theta: Floats) -> Floats:
        bins, nodes, parameters = self.features.shape
        linear = theta @ self.features.reshape(bins * nodes, parameters).T
        log_density = self.offset + linear.reshape(*theta.shape[:-1], bins, nodes)
        # A trial step far outside is refused by its deviance; it must not overflow on the way there.
        return np.asarray(np.exp(np.clip(log_density, -700.0, 300.0)))


@dataclass(frozen=True)
class Profile:
    """A batch of fits: parameters (T, P), signal (T,), its curvature uncertainty (T,), deviance (T,)."""

    theta: Floats
    signal: Floats
    signal_error: Floats
    deviance: Floats


def deviance(counts: Floats, expected: Floats) -> Floats:
    """Twice the negative log-likelihood ratio to the saturated model, summed over the last axis (Baker-Cousins)."""
    safe = np.maximum(expected, _TINY)
    # An empty bin has a ratio of 1 here, and so no logarithm.
    log_term = counts * np.log(np.where(counts > 0, counts, safe) / safe)
    return np.asarray(2.0 * np.sum(expected - counts + log_term, axis=-1))


def profile(
    model: LogLinear, counts: Floats, signal: Floats, theta: Floats, fixed_signal: Floats | None = None
) -> Profile:
    """Fit the background, and the signal strength where `fixed_signal` is None, in every row of a batch.

    counts (bins,) or (T, bins); signal (T, bins): expected counts per unit of strength; theta (P,) or (T, P):
    the start; fixed_signal (T,): strengths to hold. The strength may be negative as long as every expectation
    stays positive. Fisher scoring with step halving: the deviance never rises.
    """
    batch = signal.shape[0]
    counts = np.broadcast_to(counts, signal.shape)
    position = np.concatenate(
        [
            np.broadcast_to(theta, (batch, model.parameters)),
            np.zeros((batch, 1)) if fixed_signal is None else np.asarray(fixed_signal, float)[:, None],
        ],
        axis=1,
    )
    floats = fixed_signal is None
    current = _batch_deviance(model, counts, signal, position)
    active = np.ones(batch, dtype=bool)
    error = np.full(batch, np.nan)
    for _ in range(_MAX_ITERATIONS):
        rows = np.flatnonzero(active)
        step, decrement, covariance_ss = _fisher_step(model, counts[rows], signal[rows], position[rows], floats)
        if floats:
            error[rows] = np.sqrt(covariance_ss)
        before = current[rows]
        position[rows], current[rows] = _line_search(model, counts[rows], signal[rows], position[rows], step, before)
        done = (decrement < _TOLERANCE) | (before - current[rows] < _TOLERANCE)
        active[rows[done]] = False
        if not active.any():
            break
    return Profile(position[:, :-1], position[:, -1], error, current)


def signed_significance(model: LogLinear, counts: Floats, signal: Floats, theta: Floats) -> tuple[Floats, Profile]:
    """Local significance of every signal hypothesis: sign(s) sqrt(q0), q0 = -2 ln L(0)/L(s) (arXiv:1007.1727, eq. 12).

    Negative for a deficit. Also gives the fits with the signal free.
    """
    one = profile(model, counts, np.zeros_like(signal[:1]), theta, fixed_signal=np.zeros(1))
    free = profile(model, counts, signal, one.theta[0])
    q0 = np.maximum(one.deviance[0] - free.deviance, 0.0)
    return np.sign(free.signal) * np.sqrt(q0), free


def _expectation(model: LogLinear, signal: Floats, position: Floats) -> Floats:
    return model.expected(position[:, :-1]) + position[:, -1:] * signal


def _batch_deviance(model: LogLinear, counts: Floats, signal: Floats, position: Floats) -> Floats:
    expected = _expectation(model, signal, position)
    return np.where(np.any(expected <= 0, axis=1), np.inf, deviance(counts, expected))


def _fisher_step(
    model: LogLinear, counts: Floats, signal: Floats, position: Floats, floats: bool
) -> tuple[Floats, Floats, Floats]:
    """The scoring step (T, P+1), its decrement (T,), and the variance of the strength (T,)."""
    background, jacobian = model.expected_and_jacobian(position[:, :-1])
    expected = np.maximum(background + position[:, -1:] * signal, _TINY)
    if floats:
        jacobian = np.concatenate([jacobian, signal[..., None]], axis=-1)
    gradient = np.einsum("ti,tip->tp", 1.0 - counts / expected, jacobian)
    weighted = jacobian / expected[..., None]
    information = np.swapaxes(jacobian, 1, 2) @ weighted
    # Scaled to a unit diagonal before the ridge: the parameters differ by orders of magnitude.
    size = np.sqrt(np.maximum(np.einsum("tpp->tp", information), _TINY))
    scaled = information / (size[:, :, None] * size[:, None, :])
    scaled += 1e-10 * np.eye(scaled.shape[-1])
    inverse = np.linalg.inv(scaled)
    step = -np.einsum("tpq,tq->tp", inverse, gradient / size) / size
    decrement = -np.einsum("tp,tp->t", step, gradient)
    variance = inverse[:, -1, -1] / size[:, -1] ** 2
    if not floats:
        step = np.concatenate([step, np.zeros((len(step), 1))], axis=1)
    return step, decrement, np.maximum(variance, 0.0)


def _line_search(
    model: LogLinear, counts: Floats, signal: Floats, position: Floats, step: Floats, current: Floats
) -> tuple[Floats, Floats]:
    """The first of the step's halvings that does not raise the deviance; the old position where none does."""
    best, best_value = position.copy(), current.copy()
    waiting = np.arange(len(position))
    length = 1.0
    for _ in range(30):
        trial = position[waiting] + length * step[waiting]
        value = _batch_deviance(model, counts[waiting], signal[waiting], trial)
        good = value <= current[waiting] + _ROUNDING
        best[waiting[good]], best_value[waiting[good]] = trial[good], value[good]
        waiting = waiting[~good]
        if not len(waiting):
            break
        length *= 0.5
    return best, best_value
