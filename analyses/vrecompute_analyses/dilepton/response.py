"""What a resonance looks like in the detector: mass response, signal templates, acceptance times efficiency.

The response (m_reco/m_true - 1) is the sum of a Crystal Ball and a Gaussian function, with the parametrisation
published with arXiv:1903.06248 (HEPData ins1725190, auxiliary material), m in GeV.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import crystalball, norm

from vrecompute.errors import UnreadableFile
from vrecompute_analyses.dilepton.spectrum import read_table
from vrecompute_analyses.likelihood import Floats

__all__ = ["Acceptance", "signal_templates"]

# Series of the published acceptance table: spin 0, 1, 2 of each channel.
_SERIES = {"ee": ("y01", "y02", "y03"), "mumu": ("y04", "y05", "y06")}
_TABLE_CHANNEL = {"ee": "ee", "mumu": "mm"}
# The published response is defined within half the mass.
_LARGEST_SHIFT = 0.5
# Nodes that stand for a Breit-Wigner line shape, and its range in units of its width.
_LINE_SHAPE_NODES = 80
_LINE_SHAPE_RANGE = (-2.0, 10.0)


@dataclass(frozen=True)
class _Response:
    """Parameters of the two components; `fraction` is that of the Crystal Ball. Each broadcasts like the mass."""

    mu_cb: Floats
    sigma_cb: Floats
    alpha: Floats
    power: Floats
    mu_gauss: Floats
    sigma_gauss: Floats
    fraction: Floats

    def cdf(self, shift: Floats) -> Floats:
        """Probability of a relative shift below `shift`, given one within half the mass."""
        low, high = self._cdf(np.float64(-_LARGEST_SHIFT)), self._cdf(np.float64(_LARGEST_SHIFT))
        inside = self._cdf(np.clip(shift, -_LARGEST_SHIFT, _LARGEST_SHIFT))
        return np.asarray((inside - low) / (high - low))

    def _cdf(self, shift: Floats | np.float64) -> Floats:
        tail = crystalball.cdf((shift - self.mu_cb) / self.sigma_cb, self.alpha, self.power)
        core = norm.cdf((shift - self.mu_gauss) / self.sigma_gauss)
        return np.asarray(self.fraction * tail + (1 - self.fraction) * core)


def _electron_response(m: Floats) -> _Response:
    log = np.log(m)
    return _Response(
        mu_cb=0.13287 - 0.410663 / log - 0.0126743 * log + 2.9547e-6 * log**4,
        sigma_cb=np.sqrt(0.0136624**2 + 0.230678**2 / m + (1.73254 / m) ** 2),
        alpha=np.full_like(m, 1.59112),
        power=1.13055 + 0.76705 * np.exp(-0.00298312 * m),
        mu_gauss=-0.00402708
        + 0.814172 / m
        - 3.94281e-7 * m
        + 7.97076e-6 * log**3
        - 87.6397 / m**2
        - 1.64806e-11 * m**2,
        sigma_gauss=np.sqrt(0.00553858**2 + 0.140909**2 / m + (0.644418 / m) ** 2),
        fraction=0.347003 + 0.135768 * np.exp(-0.00372497 * m) - 2.2822e-5 * m + 5.06351e-13 * m**3,
    )


def _muon_response(m: Floats) -> _Response:
    return _Response(
        mu_cb=-0.0891397
        + 10.6169 / m
        - 951.712 / m**2
        + 74775.3 / m**3
        + 5.60192e-5 * m
        - 1.58827e-9 * m**2
        - 3.81706e-13 * m**3,
        sigma_cb=0.0836349 - 8.98476 / m + 491.19 / m**2 + 5.18068e-5 * m - 3.45042e-10 * m**2,
        alpha=0.512577 + 252.922 / m - 79337.4 / m**2 + 7.31863e6 / m**3 + 0.000237883 * m,
        power=np.full_like(m, 6.08818),
        mu_gauss=-0.00410659 + 2.82352e-6 * m - 6.264e-9 * m**2 + 1.25547e-12 * m**3 - 9.94431e-17 * m**4,
        sigma_gauss=0.0214264 - 0.795058 / m + 15.4726 / m**2 + 3.38205e-5 * m - 1.64984e-9 * m**2,
        fraction=0.235477 - 31.2227 / m + 3447.34 / m**2 + 4.54408e-5 * m - 3.25374e-9 * m**2,
    )


def signal_templates(channel: str, masses_gev: Floats, width_percent: float, edges_gev: Floats) -> Floats:
    """Share (T, bins) of the selected signal that each bin gets, for resonances of these masses.

    The line shape is a Breit-Wigner of width `width_percent` of the mass, from m_X - 2 Gamma_X, where the fiducial
    region begins, to m_X + 10 Gamma_X, smeared with the mass response. (The tail above holds 1.6 % of a line that
    parton luminosities do not damp; left in, it would put signal where no background is expected.) A row sums
    to less than 1 where a part of the signal lies outside the bins.
    """
    masses = np.asarray(masses_gev, dtype=float)
    shifts, weights = _line_shape(width_percent / 100.0)
    true = masses[:, None] * (1.0 + shifts)
    # Beyond the range of the parametrisation the response of its end is used: nothing is measured there.
    parameters_at = np.clip(true, 130.0, 7000.0)[..., None]
    response = _electron_response(parameters_at) if channel == "ee" else _muon_response(parameters_at)
    cumulative = response.cdf(edges_gev / true[..., None] - 1.0)
    return np.asarray(np.einsum("tni,n->ti", np.diff(cumulative, axis=-1), weights))


def _line_shape(relative_width: float) -> tuple[Floats, Floats]:
    """Relative mass shifts that stand for a Breit-Wigner line shape, and their weights, which sum to 1.

    The shifts are dense in the core and logarithmic in the tails, each with the exact probability of its interval.
    """
    if relative_width <= 0:
        return np.zeros(1), np.ones(1)
    low, high = np.arcsinh(2.0 * np.array(_LINE_SHAPE_RANGE))  # the half width is the unit of a Cauchy distribution
    borders = np.linspace(low, high, _LINE_SHAPE_NODES + 1)
    weights = np.diff(np.arctan(np.sinh(borders)))
    centres = np.sinh(0.5 * (borders[1:] + borders[:-1]))
    return 0.5 * relative_width * centres, weights / weights.sum()


@dataclass(frozen=True)
class Acceptance:
    """Acceptance times efficiency of the signal against its mass, per channel."""

    mass_gev: dict[str, Floats]
    value: dict[str, Floats]

    @classmethod
    def from_csv(cls, path: Path, spin: int = 1) -> Acceptance:
        """The published table: channel (ee, mm), series (one per spin), mass_GeV, acc_times_eff."""
        rows = read_table(path, ("channel", "series", "mass_GeV", "acc_times_eff"))
        mass, value = {}, {}
        for channel, label in _TABLE_CHANNEL.items():
            points = sorted(
                (float(row["mass_GeV"]), float(row["acc_times_eff"]))
                for row in rows
                if row["channel"] == label and row["series"] == _SERIES[channel][spin]
            )
            if points:
                mass[channel], value[channel] = (np.array(column) for column in zip(*points, strict=True))
        if not mass:
            raise UnreadableFile(str(path), f"holds no acceptance for spin {spin} of channel ee or mm")
        return cls(mass, value)

    def at(self, channel: str, mass_gev: Floats) -> Floats:
        """Linear in ln(mass) between the table's points; NaN outside them."""
        return np.interp(
            np.log(mass_gev), np.log(self.mass_gev[channel]), self.value[channel], left=np.nan, right=np.nan
        )
