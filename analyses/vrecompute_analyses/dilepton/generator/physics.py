"""True dileptons: mass spectra, and the kinematics of the two leptons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError

__all__ = [
    "BEAM_ENERGY_GEV",
    "HIGH_MASS_MIN_GEV",
    "Z_MASS_GEV",
    "Z_WIDTH_GEV",
    "MassTable",
    "SignalSpec",
    "decay",
    "drell_yan",
    "high_mass",
    "resonance",
]

Floats = NDArray[np.float64]

Z_MASS_GEV = 91.1876
Z_WIDTH_GEV = 2.4952
BEAM_ENERGY_GEV = 13_000.0
DRELL_YAN_RANGE_GEV = (40.0, 6_000.0)
# The published spectra start at 225 GeV; starting below lets resolution feed the first bins as it does in data.
HIGH_MASS_MIN_GEV = 200.0
HIGH_MASS_MAX_GEV = 6_000.0
# Fall of the parton luminosity under a heavy resonance: exp(-m / this).
LUMINOSITY_SLOPE_GEV = 700.0
# arXiv:1903.06248, the published background parameters of the ee channel.
BACKGROUND_C, BACKGROUND_B, BACKGROUND_P = 1.0, 1.5, (-12.38, -4.295, -0.9191, -0.0845)


@dataclass(frozen=True)
class SignalSpec:
    """A Z' to inject: pole mass, width relative to the mass, and its share of all events."""

    mass_gev: float = 1_200.0
    relative_width: float = 0.012
    fraction: float = 0.0008

    def __post_init__(self) -> None:
        if not 100.0 <= self.mass_gev <= 6_000.0:
            raise UsageError(f"signal mass {self.mass_gev} GeV: choose one from 100 to 6000 GeV")
        if not 0.0 < self.relative_width <= 0.3:
            raise UsageError(f"relative signal width {self.relative_width}: choose one above 0 and at most 0.3")
        if not 0.0 <= self.fraction <= 0.2:
            raise UsageError(f"signal fraction {self.fraction}: choose one from 0 to 0.2")

    @property
    def width_gev(self) -> float:
        """Full width of the resonance."""
        return self.mass_gev * self.relative_width


@dataclass(frozen=True)
class MassTable:
    """An inverse cumulative distribution, tabulated: uniform numbers in, masses in GeV out."""

    mass_gev: Floats
    cumulative: Floats

    @classmethod
    def of(cls, density: Callable[[Floats], Floats], mass_gev: Floats) -> MassTable:
        """The table of a density (any normalisation) on increasing masses, by the trapezoidal rule."""
        value = density(mass_gev)
        area = np.concatenate([[0.0], np.cumsum(0.5 * (value[1:] + value[:-1]) * np.diff(mass_gev))])
        return cls(mass_gev, area / area[-1])

    def sample(self, uniform: Floats) -> Floats:
        """Masses for uniform numbers in [0, 1)."""
        return np.interp(uniform, self.cumulative, self.mass_gev)


def _drell_yan_density(m: Floats) -> Floats:
    peak = 0.9 * m**2 / ((m**2 - Z_MASS_GEV**2) ** 2 + Z_MASS_GEV**2 * Z_WIDTH_GEV**2)
    photon = 0.12 / m**2
    return m * (peak + photon) * m**-2.55 * np.exp(-m / 1_500.0) * (1.0 - m / BEAM_ENERGY_GEV) ** 8


def _high_mass_density(m: Floats) -> Floats:
    x = m / BEAM_ENERGY_GEV
    log_x = np.log(x)
    peak = Z_WIDTH_GEV / ((m - Z_MASS_GEV) ** 2 + 0.25 * Z_WIDTH_GEV**2)
    exponent = sum(p * log_x**power for power, p in enumerate(BACKGROUND_P))
    return peak * (1.0 - x**BACKGROUND_C) ** BACKGROUND_B * x**exponent


@lru_cache(maxsize=1)
def drell_yan() -> MassTable:
    """Z peak and Drell-Yan continuum from 40 GeV: an analytic stand-in for the leading-order spectrum."""
    low, high = DRELL_YAN_RANGE_GEV
    around_peak = Z_MASS_GEV + 0.5 * Z_WIDTH_GEV * np.tan(np.linspace(-1.52, 1.54, 4_001))
    grid = np.union1d(np.geomspace(low, high, 8_001), around_peak[(around_peak > low) & (around_peak < high)])
    return MassTable.of(_drell_yan_density, grid)


@lru_cache(maxsize=1)
def high_mass() -> MassTable:
    """The published background function f(m) of arXiv:1903.06248 (ee parameters), from 200 GeV."""
    return MassTable.of(_high_mass_density, np.geomspace(HIGH_MASS_MIN_GEV, HIGH_MASS_MAX_GEV, 8_001))


@lru_cache(maxsize=16)
def resonance(signal: SignalSpec) -> MassTable:
    """Breit-Wigner under a falling parton luminosity, within 40 half-widths of the pole."""
    offset = 0.5 * signal.width_gev * np.tan(np.linspace(-np.arctan(40.0), np.arctan(40.0), 8_001))
    grid = signal.mass_gev + offset
    grid = grid[(grid > 0.2 * signal.mass_gev) & (grid < 0.9 * BEAM_ENERGY_GEV)]

    def density(m: Floats) -> Floats:
        shape = 1.0 / ((m - signal.mass_gev) ** 2 + 0.25 * signal.width_gev**2)
        return shape * np.exp(-(m - signal.mass_gev) / LUMINOSITY_SLOPE_GEV)

    return MassTable.of(density, grid)


def decay(mass_gev: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """pT (GeV), eta and phi of the two leptons, each of shape (events, 2); column 0 is the negative one.

    The pair has rapidity N(0, min(1.2, 0.45 ln(13 TeV / m))) and pT ~ Gamma(1.4, 9 GeV) sqrt(1 + m / 900 GeV);
    the decay follows 1 + cos^2(theta*). Leptons are massless, so the longitudinal boost only shifts eta.
    """
    n = mass_gev.size
    rapidity = rng.standard_normal(n) * np.minimum(1.2, 0.45 * np.log(BEAM_ENERGY_GEV / mass_gev))
    pt_pair = rng.gamma(1.4, 9.0, n) * np.sqrt(1.0 + mass_gev / 900.0)
    phi_pair = rng.uniform(-np.pi, np.pi, n)
    phi_star = rng.uniform(-np.pi, np.pi, n)
    # The cumulative of 1 + c^2 is a depressed cubic, c^3 + 3 c = 8 u - 4, with one real root (Cardano).
    q = 4.0 * rng.random(n) - 2.0
    root = np.sqrt(q * q + 1.0)
    cos_star = np.cbrt(q + root) + np.cbrt(q - root)
    sin_star = np.sqrt(np.maximum(0.0, 1.0 - cos_star**2))

    momentum = 0.5 * mass_gev
    gamma = np.sqrt(mass_gev**2 + pt_pair**2) / mass_gev
    gamma_beta = pt_pair / mass_gev
    pt, eta, phi = (np.empty((n, 2)) for _ in range(3))
    for column, sign in ((0, 1.0), (1, -1.0)):
        x = sign * momentum * sin_star * np.cos(phi_star)
        y = sign * momentum * sin_star * np.sin(phi_star)
        z = sign * momentum * cos_star
        x = gamma * x + gamma_beta * momentum
        pt[:, column] = np.hypot(x, y)
        eta[:, column] = np.arcsinh(z / np.maximum(pt[:, column], 1e-9)) + rapidity
        phi[:, column] = _wrap(np.arctan2(y, x) + phi_pair)
    return pt, eta, phi


def _wrap(phi: Floats) -> Floats:
    return (phi + np.pi) % (2.0 * np.pi) - np.pi
