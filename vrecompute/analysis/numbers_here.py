"""`numbers_here`: what decides the numbers of a run on this machine, found as runs find it: for a probe of a site."""

from __future__ import annotations

import socket
from typing import Any

import awkward
import numpy as np
import uproot
from numba import njit
from numpy.typing import NDArray

from vrecompute.analysis.codedigest import code_of
from vrecompute.digest import numerics
from vrecompute.errors import RunError
from vrecompute.kernels import eventloop
from vrecompute.kernels.numerics import score

__all__ = ["numbers_here"]

#: What a run imports before its first chunk: a library that does not load here is found by this import.
_NEEDED = (awkward, uproot, eventloop, score)


@njit  # type: ignore[untyped-decorator]  # numba is untyped
def _sum_of_squares(values: NDArray[np.float64]) -> float:
    total = 0.0
    for value in values:
        total += value * value
    return total


def numbers_here() -> dict[str, Any]:
    """Versions of libraries (`numerics`) and digests by name of a compiled function and what it reaches (`code`).

    RunError where what numba has compiled gives another number than arithmetic does.
    """
    if (found := _sum_of_squares(np.arange(4.0))) != 14.0:
        raise RunError(f"numba on {socket.gethostname()} computes 0 + 1 + 4 + 9 as {found}")
    return {"numerics": numerics(), "code": dict(code_of(_sum_of_squares, looks=False).parts)}
