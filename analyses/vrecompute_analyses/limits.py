"""Asymptotic CLs upper limits (Cowan et al., arXiv:1007.1727; CLs: A. Read, J. Phys. G 28 (2002) 2693).

The test statistic is q~_mu of that paper (eq. 16); its distributions are the asymptotic ones (eq. 62-66), with the
Asimov data set of the background-only fit. Where fewer than a few events are expected they are known to give
limits below those of pseudo-experiments (about 2 instead of 3 events where nothing is expected nor seen).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import norm

from vrecompute_analyses.likelihood import Floats, LogLinear, profile

__all__ = ["BANDS", "UpperLimits", "upper_limits"]

# The quantiles of the expected limit, in standard deviations, in the order of `UpperLimits.expected`.
BANDS: tuple[int, ...] = (-2, -1, 0, 1, 2)

_STEPS = 40
_PRECISION = 1e-4  # relative, of a limit


@dataclass(frozen=True)
class UpperLimits:
    """Upper limits on the signal strength: observed (T,), and expected (T, 5) at -2, -1, 0, +1, +2 sigma."""

    observed: Floats
    expected: Floats


def upper_limits(model: LogLinear, counts: Floats, signal: Floats, theta: Floats, cl: float = 0.95) -> UpperLimits:
    """CLs upper limits at confidence level `cl` on the strength of every row of `signal` (T, bins).

    The background parameters (start: theta) are profiled in every fit. Limits are NaN for a signal that
    leaves nothing in the bins, or whose limit is not within e^12 of its first guess.
    """
    alpha = 1.0 - cl
    usable = signal.sum(axis=1) > 0
    observed = np.full(len(signal), np.nan)
    expected = np.full((len(signal), len(BANDS)), np.nan)
    if usable.any():
        scan = _Scan(model, counts, signal[usable], theta)
        targets = [norm.ppf(1 - alpha * norm.cdf(band)) + band for band in BANDS]
        bands = [scan.solve(partial(scan.below, target), scan.guess) for target in targets]
        expected[usable] = np.stack(bands, axis=1)
        observed[usable] = scan.solve(lambda s: np.log(np.maximum(scan.cls(s), 1e-300) / alpha), bands[2])
    return UpperLimits(observed, expected)


class _Scan:
    """The profile likelihood of a batch of signals as a function of their strength."""

    def __init__(self, model: LogLinear, counts: Floats, signal: Floats, theta: Floats) -> None:
        self.model = model
        self.counts = counts
        self.signal = signal
        null = profile(model, counts, np.zeros_like(signal[:1]), theta, fixed_signal=np.zeros(1))
        self.theta = null.theta[0]
        self.null_deviance = float(null.deviance[0])
        self.asimov = model.expected(self.theta)
        self.free = profile(model, counts, signal, self.theta)
        around = profile(model, self.asimov, signal, self.theta)
        # Never below two events: there the curvature at zero says nothing.
        self.guess = 2.0 * around.signal_error + 2.0 / signal.sum(axis=1)

    def root_q_asimov(self, strength: Floats) -> Floats:
        """sqrt(q_mu) on the Asimov data, where the best strength is 0 and the deviance there is 0."""
        fit = profile(self.model, self.asimov, self.signal, self.theta, fixed_signal=strength)
        return np.asarray(np.sqrt(np.maximum(fit.deviance, 0.0)))

    def below(self, target: float, strength: Floats) -> Floats:
        """How far sqrt(q_mu) on the Asimov data lies below a target: the expected limit is where this is 0."""
        return target - self.root_q_asimov(strength)

    def cls(self, strength: Floats) -> Floats:
        """CLs of the observed counts."""
        fit = profile(self.model, self.counts, self.signal, self.free.theta, fixed_signal=strength)
        reference = np.where(self.free.signal < 0, self.null_deviance, self.free.deviance)
        q = np.where(self.free.signal > strength, 0.0, np.maximum(fit.deviance - reference, 0.0))
        root_a = np.maximum(self.root_q_asimov(strength), 1e-9)
        root = np.sqrt(q)
        far = root > root_a
        sum_tail = norm.sf(np.where(far, (q + root_a**2) / (2 * root_a), root))
        b_tail = norm.sf(np.where(far, (q - root_a**2) / (2 * root_a), root - root_a))
        return np.asarray(sum_tail / np.maximum(b_tail, 1e-300))

    def solve(self, falling: Callable[[Floats], Floats], guess: Floats) -> Floats:
        """The strength where `falling` crosses zero, in every row: a bracket in ln(strength), then Illinois."""
        low = np.log(guess)
        high = low.copy()
        f_low = falling(np.exp(low))
        f_high = f_low.copy()
        for _ in range(_STEPS):
            too_high, too_low = f_low < 0, f_high > 0
            if not (too_high.any() or too_low.any()):
                break
            trial = np.where(too_high, low - 0.3, high + 0.3)
            value = falling(np.exp(trial))
            # The end that was tried before is a bound for the other side.
            high, f_high = np.where(too_high, low, high), np.where(too_high, f_low, f_high)
            low, f_low = np.where(too_low & ~too_high, high, low), np.where(too_low & ~too_high, f_high, f_low)
            low, f_low = np.where(too_high, trial, low), np.where(too_high, value, f_low)
            moved = too_low & ~too_high
            high, f_high = np.where(moved, trial, high), np.where(moved, value, f_high)
        found = np.exp(_illinois(falling, low, f_low, high, f_high))
        # Without a bracket it would be the end of the search.
        return np.where((f_low < 0) | (f_high > 0), np.nan, found)


def _illinois(falling: Callable[[Floats], Floats], low: Floats, f_low: Floats, high: Floats, f_high: Floats) -> Floats:
    """Regula falsi that halves the weight of an end which stays (Dowell and Jarratt, BIT 11 (1971) 168)."""
    middle = 0.5 * (low + high)
    side = np.zeros(len(low))
    for _ in range(_STEPS):
        span = f_low - f_high
        share = np.divide(f_low, span, out=np.full_like(span, 0.5), where=span > 0)
        previous, middle = middle, low + np.clip(share, 0.02, 0.98) * (high - low)
        value = falling(np.exp(middle))
        right = value > 0
        f_high = np.where(right & (side > 0), 0.5 * f_high, f_high)
        f_low = np.where(~right & (side < 0), 0.5 * f_low, f_low)
        low, f_low = np.where(right, middle, low), np.where(right, value, f_low)
        high, f_high = np.where(right, high, middle), np.where(right, f_high, value)
        side = np.where(right, 1.0, -1.0)
        if np.all((np.abs(middle - previous) < _PRECISION) | (high - low < _PRECISION)):
            break
    return middle
