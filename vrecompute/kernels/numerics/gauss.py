"""Building blocks of the Gaussian-kernel sums: an exponential that vectorises, weights of one tile, a dot block.

Each function is compiled for float32 and for float64 from the same text. All take contiguous arrays
whose last axis runs over the points of one tile, so that the compiler turns every inner loop into SIMD.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from vrecompute.kernels.cache import compiled

__all__ = [
    "LOG2_E",
    "MAX_EXPONENT",
    "PRECISE",
    "REORDER",
    "angle_exponent",
    "dot_block",
    "exp2_minus",
    "tile_exponents",
    "tile_weights",
]

LOG2_E = 1.4426950408889634
# Largest t for which 2^-t is still a normal number in this precision.
MAX_EXPONENT = {"float32": 120.0, "float64": 1000.0}

# NaN, infinities and the sign of zero do not occur; products and sums may contract to one instruction.
PRECISE = {"contract", "nnan", "ninf", "nsz"}
# Sums may also be taken in another order, which is what lets a reduction use vector registers.
REORDER = PRECISE | {"reassoc"}


def exp2_minus(t: Any) -> Any:
    """2^-t for 0 <= t <= MAX_EXPONENT, to 2e-7 (float32) or 4e-16 (float64) relative; nonsense for larger t."""
    raise NotImplementedError("compiled code only")


# t = k - f with k whole: adding 1.5 * 2^23 (2^52) leaves k in the lowest bits of the sum, and subtracting it from the
# exponent bits of 2^f divides by 2^k. Minimax polynomials of 2^f on [-1/2, 1/2]: error 7.9e-8 and 3.2e-18.
@overload(exp2_minus, jit_options={"fastmath": PRECISE, "error_model": "numpy"})
def _exp2_minus(t: Any) -> Any:
    name = str(t)
    if name == "float32":

        def single(t: Any) -> Any:
            z = t + np.float32(12582912.0)
            f = (z - np.float32(12582912.0)) - t
            p = np.float32(0.0013390863364671234)
            p = p * f + np.float32(0.009676031918322054)
            p = p * f + np.float32(0.05550357114219078)
            p = p * f + np.float32(0.2402210748530834)
            p = p * f + np.float32(0.6931471880262288)
            p = p * f + np.float32(1.0000000754548972)
            k = np.int32(np.float32(z).view(np.int32) << np.int32(23))
            return np.int32(np.float32(p).view(np.int32) - k).view(np.float32)

        return single
    if name == "float64":

        def double(t: Any) -> Any:
            z = t + 6755399441055744.0
            f = (z - 6755399441055744.0) - t
            p = 4.4558179083360645e-10
            p = p * f + 7.074194297288521e-09
            p = p * f + 1.0178057087733941e-07
            p = p * f + 1.3215432535912375e-06
            p = p * f + 1.5252733841556773e-05
            p = p * f + 0.00015403530463724353
            p = p * f + 0.001333355814640647
            p = p * f + 0.009618129107587256
            p = p * f + 0.055504108664821625
            p = p * f + 0.24022650695910158
            p = p * f + 0.6931471805599453
            p = p * f + 1.0
            k = np.int64(np.float64(z).view(np.int64) << np.int64(52))
            return np.int64(np.float64(p).view(np.int64) - k).view(np.float64)

        return double
    return None


def angle_exponent(chord2: Any, kappa: Any) -> Any:
    """kappa * angle^2 for unit vectors `chord2` = |a-b|^2 apart, angle <= 60 degrees; angle in radians."""
    raise NotImplementedError("compiled code only")


# angle^2 = 4 asin(sqrt z)^2 with z = chord^2/4; minimax polynomials of it over z on [0, 1/4], error 6e-8 and 1.3e-17.
@overload(angle_exponent, jit_options={"fastmath": PRECISE, "error_model": "numpy"})
def _angle_exponent(chord2: Any, kappa: Any) -> Any:
    name = str(chord2)
    if name == "float32":

        def single(chord2: Any, kappa: Any) -> Any:
            z = chord2 * np.float32(0.25)
            p = np.float32(0.47287809925140173)
            p = p * z + np.float32(0.25274525678794324)
            p = p * z + np.float32(0.4670899487826745)
            p = p * z + np.float32(0.7105098951747584)
            p = p * z + np.float32(1.3333464113738211)
            p = p * z + np.float32(3.9999999544588545)
            return kappa * (p * z)

        return single
    if name == "float64":

        def double(chord2: Any, kappa: Any) -> Any:
            z = chord2 * 0.25
            p = 0.39001212954423375
            p = p * z - 0.25204701319741935
            p = p * z + 0.258424826131758
            p = p * z + 0.042201821784395036
            p = p * z + 0.12571727023371715
            p = p * z + 0.13129210143264508
            p = p * z + 0.15932231256744564
            p = p * z + 0.1948387939753623
            p = p * z + 0.24627293081165305
            p = p * z + 0.3250793434420089
            p = p * z + 0.4571428575511644
            p = p * z + 0.711111111107102
            p = p * z + 1.3333333333333488
            p = p * z + 4.0
            return kappa * (p * z)

        return double
    return None


@compiled(fastmath=PRECISE, error_model="numpy")
def tile_exponents(
    points: NDArray[Any], query: NDArray[Any], kappa: float, narrow: bool, wide: bool, out: NDArray[Any]
) -> None:
    """`out[j]` = t of weight 2^-t between `query` (F,) and the first points of the tile `points` (F, T).

    Flat metrics come scaled, t = |x - q|^2. On the sphere t = kappa * angle^2: `narrow` by polynomial
    (angles up to 60 degrees), `wide` by 2 atan2(|a-b|, |a+b|), exact at the antipode too; `query` and
    `points` then hold unit vectors (a common shift is allowed where narrow).
    """
    features, size = points.shape[0], out.size
    # Up to three features a pass: fewer trips through `out`.
    first = (features - 1) % 3 + 1
    p = query[0]
    if first == 1:
        for j in range(size):
            x = points[0, j] - p
            out[j] = x * x
    elif first == 2:
        q = query[1]
        for j in range(size):
            x, y = points[0, j] - p, points[1, j] - q
            out[j] = x * x + y * y
    else:
        q, r = query[1], query[2]
        for j in range(size):
            x, y, z = points[0, j] - p, points[1, j] - q, points[2, j] - r
            out[j] = x * x + y * y + z * z
    for f in range(first, features, 3):
        p, q, r = query[f], query[f + 1], query[f + 2]
        for j in range(size):
            x, y, z = points[f, j] - p, points[f + 1, j] - q, points[f + 2, j] - r
            out[j] = out[j] + x * x + y * y + z * z
    if narrow:
        k = out.dtype.type(kappa)
        for j in range(size):
            out[j] = angle_exponent(out[j], k)
    if wide:
        for j in range(size):
            plus = 0.0
            for i in range(features):
                u = np.float64(points[i, j]) + np.float64(query[i])
                plus += u * u
            angle = 2.0 * np.arctan2(np.sqrt(np.float64(out[j])), np.sqrt(plus))
            out[j] = out.dtype.type(kappa * angle * angle)


@compiled(fastmath=PRECISE, error_model="numpy")
def tile_weights(exponents: NDArray[Any], limit: float, out: NDArray[Any]) -> None:
    """`out[j]` = 2^-exponents[j], exactly 0 where the exponent passes `limit` (<= MAX_EXPONENT)."""
    top = out.dtype.type(limit)
    zero = out.dtype.type(0.0)
    for j in range(exponents.size):
        t = exponents[j]
        w = exp2_minus(t)
        out[j] = w if t <= top else zero


@compiled(fastmath=REORDER, error_model="numpy")
def dot_block(w: NDArray[Any], z0: NDArray[Any], z1: NDArray[Any], total: NDArray[np.float64], r: int, c: int) -> None:
    """Add the products of four rows of weights `w` (4, T) with two columns (T,) to `total[r:r+4, c:c+2]`.

    Eight running sums stay in registers; they are added to the float64 totals once per tile.
    """
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    zero = w.dtype.type(0.0)
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
    for j in range(z0.size):
        y0, y1 = z0[j], z1[j]
        a0 += w0[j] * y0
        a1 += w1[j] * y0
        a2 += w2[j] * y0
        a3 += w3[j] * y0
        b0 += w0[j] * y1
        b1 += w1[j] * y1
        b2 += w2[j] * y1
        b3 += w3[j] * y1
    total[r, c] += a0
    total[r + 1, c] += a1
    total[r + 2, c] += a2
    total[r + 3, c] += a3
    total[r, c + 1] += b0
    total[r + 1, c + 1] += b1
    total[r + 2, c + 1] += b2
    total[r + 3, c + 1] += b3
