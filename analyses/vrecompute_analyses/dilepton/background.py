"""The smooth dilepton background: the published function, its integrals over bins, and its fit.

f(m) = N BW_Z(m) (1 - x^c)^b x^(p0 + p1 ln x + p2 ln^2 x + p3 ln^3 x),  x = m / 13 TeV   (arXiv:1903.06248, eq. 1)

In ln x the exponents are almost degenerate. The same functions are linear in their parameters as
ln f = ln BW_Z + a0 + a1 u + a2 u^2 + a3 u^3 + a4 u^4 + b ln(1 - x^c),  u = ln(m / 600 GeV), which is what is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from iminuit import Minuit
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.likelihood import Floats, LogLinear, deviance

__all__ = [
    "PARAMETERS",
    "PUBLISHED",
    "BackgroundFit",
    "Published",
    "fit_background",
    "model_for",
    "published_fit",
]

PARAMETERS = ("a0", "a1", "a2", "a3", "a4", "b")

_Z_MASS_GEV, _Z_WIDTH_GEV = 91.1876, 2.4952
_SQRT_S_GEV = 13000.0
_PIVOT_GEV = 600.0
_NODES = 5  # Gauss-Legendre nodes per bin; with bins 3 % wide the integrals are exact to 1e-10
# Bins that a chi2 may use: below this prediction it is no chi2.
_CHI2_MIN_PREDICTION = 5.0
# Events that each further shape parameter needs before it is freed; below that it keeps its published value.
_LARGEST_B = 50.0
_EVENTS_FOR_PARAMETER = (0, 0, 200, 2000, 10000, 20000)


@dataclass(frozen=True)
class Published:
    """Published parameters of one channel; `events` is N, the normalisation over the published range."""

    c: float
    b: float
    p: tuple[float, float, float, float]
    events: float

    def theta(self) -> Floats:
        """The same function in the parameters (a0, ..., a4, b), with a0 for N = 1 at unit scale."""
        # With ln x = u + ln(pivot/sqrt(s)), the exponent's polynomial in ln x is one in u.
        in_log_x = Polynomial([0.0, *self.p])
        in_u = in_log_x(Polynomial([np.log(_PIVOT_GEV / _SQRT_S_GEV), 1.0]))
        return np.array([*in_u.coef, self.b])


PUBLISHED: Mapping[str, Published] = {
    "ee": Published(1.0, 1.5, (-12.38, -4.295, -0.9191, -0.0845), 178000.0),
    "mumu": Published(1.0 / 3.0, 11.8, (-7.38, -4.132, -1.0637, -0.1022), 138700.0),
}


@dataclass(frozen=True)
class BackgroundFit:
    """A background that describes a spectrum: `model.expected(theta)` in equivalent events of that spectrum.

    `free` tells which parameters were fitted. `chi2` runs over the `bins` bins whose prediction exceeds 5.
    """

    channel: str
    model: LogLinear
    theta: Floats
    errors: Floats
    free: NDArray[np.bool_]
    valid: bool
    chi2: float
    bins: int

    @property
    def ndf(self) -> int:
        """Bins of the chi2 minus fitted parameters."""
        return self.bins - int(self.free.sum())

    @property
    def expected(self) -> Floats:
        """Expected equivalent events per bin."""
        return self.model.expected(self.theta)

    @property
    def profiled_model(self) -> LogLinear:
        """The model with the parameters that a search profiles: the fitted ones but b.

        Over any measured range b is degenerate with a1..a4 (freeing it as well moves limits by less than 1 %),
        and it may sit at its bound.
        """
        return self.model.fix(self.theta, self._profiled)

    @property
    def profiled_theta(self) -> Floats:
        """The start values of `profiled_model`."""
        return self.theta[self._profiled]

    @property
    def _profiled(self) -> NDArray[np.bool_]:
        return np.asarray(self.free & (np.array(PARAMETERS) != "b"))


def model_for(channel: str, edges_gev: Floats) -> LogLinear:
    """The background of a channel integrated over these bins, for N = exp(a0) up to a constant."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    half = 0.5 * np.diff(edges_gev)[:, None]
    m = 0.5 * (edges_gev[1:] + edges_gev[:-1])[:, None] + half * node
    u = np.log(m / _PIVOT_GEV)
    offset = np.log(half * weight) + _log_breit_wigner(m)
    tail = np.log1p(-np.minimum((m / _SQRT_S_GEV) ** PUBLISHED[channel].c, 1 - 1e-12))
    return LogLinear(offset, np.stack([np.ones_like(u), u, u**2, u**3, u**4, tail], axis=-1))


def published_fit(channel: str, spectrum: Spectrum, events: float | None = None) -> BackgroundFit:
    """The function with its published parameters; nothing is fitted.

    `events` is its integral over the spectrum; None is the published normalisation, which goes with the
    published luminosity and range.
    """
    model = model_for(channel, spectrum.edges_gev)
    total = PUBLISHED[channel].events if events is None else events
    theta = _normalised(model, PUBLISHED[channel].theta(), total / spectrum.scale)
    free = np.zeros(len(PARAMETERS), dtype=bool)
    return _described(channel, model, spectrum, theta, np.zeros(len(PARAMETERS)), free, valid=True)


def fit_background(channel: str, spectrum: Spectrum) -> BackgroundFit:
    """Binned Poisson fit of the background function to a spectrum with at least one event (MIGRAD, exact gradient).

    Small samples cannot hold six parameters: the higher ones are freed as the number of events allows
    (a2 from 200, a3 from 2000, a4 from 10000, b from 20000) and keep their published values below that.
    """
    model = model_for(channel, spectrum.edges_gev)
    counts = spectrum.equivalent_counts
    free = np.array([counts.sum() >= needed for needed in _EVENTS_FOR_PARAMETER])
    start = _normalised(model, PUBLISHED[channel].theta(), float(counts.sum()))
    restricted = model.fix(start, free)

    def cost(theta: Floats) -> float:
        return float(deviance(counts, restricted.expected(theta)))

    def gradient(theta: Floats) -> Floats:
        expected, jacobian = restricted.expected_and_jacobian(theta)
        return np.asarray(2.0 * (1.0 - counts / np.maximum(expected, 1e-300)) @ jacobian)

    names = [name for name, is_free in zip(PARAMETERS, free, strict=True) if is_free]
    minuit = Minuit(cost, start[free], grad=gradient, name=names)
    minuit.errordef = Minuit.LEAST_SQUARES  # the cost is a deviance: one sigma raises it by 1
    if free[-1]:
        # Below zero the function would diverge at the kinematic limit; what data say about b is that little.
        minuit.limits["b"] = (0.0, _LARGEST_B)
    minuit.strategy = 2
    minuit.tol = 1e-3
    minuit.migrad(ncall=20000, iterate=10)
    if free[-1] and not 0.01 < minuit.values["b"] < 0.99 * _LARGEST_B:
        # At its bound a parameter spoils the second derivatives of all others.
        minuit.values["b"] = 0.0 if minuit.values["b"] < 1 else _LARGEST_B
        minuit.fixed["b"] = True
        minuit.migrad(ncall=20000)
    minuit.hesse()
    theta, errors = start.copy(), np.zeros(len(PARAMETERS))
    theta[free] = np.asarray(minuit.values)
    errors[free] = np.where(np.asarray(minuit.fixed), 0.0, np.asarray(minuit.errors))
    return _described(channel, model, spectrum, theta, errors, free, valid=bool(minuit.valid))


def _log_breit_wigner(m: Floats) -> Floats:
    return -np.log((m - _Z_MASS_GEV) ** 2 + 0.25 * _Z_WIDTH_GEV**2)


def _normalised(model: LogLinear, theta: Floats, events: float) -> Floats:
    scaled = theta.copy()
    scaled[0] += np.log(events / model.expected(theta).sum())
    return scaled


def _described(
    channel: str,
    model: LogLinear,
    spectrum: Spectrum,
    theta: Floats,
    errors: Floats,
    free: NDArray[np.bool_],
    valid: bool,
) -> BackgroundFit:
    expected = model.expected(theta)
    used = expected > _CHI2_MIN_PREDICTION
    counts = spectrum.equivalent_counts
    chi2 = float(np.sum((counts[used] - expected[used]) ** 2 / expected[used]))
    return BackgroundFit(channel, model, theta, errors, free, valid, chi2, int(used.sum()))
