"""Random numbers without a state: a standard normal that is a function of the values it is made from."""

from __future__ import annotations

import math

import numpy as np

from vrecompute.kernels.loop.binning import float_bits
from vrecompute.kernels.loop.inline import inline

__all__ = ["hashed_normal", "normal_quantile"]


@inline
def _mix(z: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of z changes half of the bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inline
def normal_quantile(u: float) -> float:
    """The standard normal quantile of u in (0, 1), to 1.2e-9 relative (P. J. Acklam's rational approximation)."""
    if u < 0.02425 or u > 1.0 - 0.02425:
        q = math.sqrt(-2.0 * math.log(min(u, 1.0 - u)))
        tail = (
            (
                (((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838) * q - 2.549732539343734)
                * q
                + 4.374664141464968
            )
            * q
            + 2.938163982698783
        ) / (
            (((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996) * q + 3.754408661907416) * q
            + 1.0
        )
        return tail if u < 0.5 else -tail
    q = u - 0.5
    r = q * q
    return (
        (
            (
                (
                    ((-3.969683028665376e01 * r + 2.209460984245205e02) * r - 2.759285104469687e02) * r
                    + 1.383577518672690e02
                )
                * r
                - 3.066479806614716e01
            )
            * r
            + 2.506628277459239
        )
        * q
        / (
            (
                (
                    ((-5.447609879822406e01 * r + 1.615858368580409e02) * r - 1.556989798598866e02) * r
                    + 6.680131188771972e01
                )
                * r
                - 1.328068155288572e01
            )
            * r
            + 1.0
        )
    )


@inline
def hashed_normal(a: float, b: float, stream: int) -> float:
    """A standard normal number that depends on a, b and `stream` alone, so on no order and no grouping of events."""
    seed = np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
    first = _mix(np.uint64(float_bits(np.float64(a))) + seed)
    z = _mix(first ^ np.uint64(float_bits(np.float64(b))))
    return normal_quantile((float(z >> np.uint64(12)) + 0.5) * 2.0**-52)
