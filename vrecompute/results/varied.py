"""`Varied`: one sample's histogram of one numeric axis, nominal and with each of its variations, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError
from vrecompute.nearest import hint
from vrecompute.results.variations import NOMINAL
from vrecompute.results.views import named

__all__ = ["Varied", "varied"]

Values = NDArray[np.float64]
_CATEGORIES = (bh.axis.StrCategory, bh.axis.IntCategory)


@dataclass(frozen=True)
class Varied:
    """Bin contents by variation, each of shape (bins,), with `edges` of shape (bins + 1,) and the axis' `label`.

    `variances` are those of the nominal contents; None where the histogram was filled with weights and keeps none.
    Underflow and overflow are in none of them.
    """

    label: str
    edges: Values
    values: Mapping[str, Values]
    variances: Values | None

    @property
    def nominal(self) -> Values:
        """The contents without any variation."""
        return self.values[NOMINAL]


def varied(histogram: bh.Histogram[Any], name: str, select: Mapping[str, str] | None = None, rebin: int = 1) -> Varied:
    """The arrays of a histogram; UsageError where it has not one numeric axis, or a category that is not chosen.

    `select` names one category of each category axis other than that of the variations. `rebin` bins become one.
    """
    made: Any = named(histogram, name)
    numeric = [axis.name for axis in made.axes if not isinstance(axis, _CATEGORIES)]
    if len(numeric) != 1:
        raise UsageError(f"histogram {name!r} has {len(numeric)} numeric axes ({', '.join(numeric)}); it needs one")
    made = made[tuple(_place(axis, name, select or {}) for axis in made.axes)]
    places: dict[str, Any] = {NOMINAL: ()}
    at = [axis.name for axis in made.axes].index(numeric[0])
    if made.ndim == 2:
        categories = list[Any](made.axes[1 - at])
        places = {str(c): (n, slice(None)) if at == 1 else (slice(None), n) for n, c in enumerate(categories)}
    axis = made.axes[at]
    if axis.size % rebin:
        raise UsageError(f"histogram {name!r} has {axis.size} bins, which cannot be taken together {rebin} by {rebin}")

    def together(values: Any) -> Values:
        array: Values = np.asarray(values, dtype=np.float64).reshape(-1, rebin).sum(axis=1)
        return array

    contents, variances = made.values(), made.variances()
    return Varied(
        label=axis.label,
        edges=np.asarray(axis.edges, dtype=np.float64)[::rebin],
        values={variation: together(contents[place] if place else contents) for variation, place in places.items()},
        variances=None if variances is None else together(variances[places[NOMINAL]] if made.ndim == 2 else variances),
    )


def _place(axis: Any, name: str, select: Mapping[str, str]) -> Any:
    """Where to index an axis: at the category that was chosen, or all of it."""
    if not isinstance(axis, _CATEGORIES):
        return slice(None)
    categories = [str(c) for c in list[Any](axis)]
    if axis.name in select:
        if (wanted := select[axis.name]) not in categories:
            known = f"(there are: {', '.join(categories)}){hint(wanted, categories)}"
            raise UsageError(f"axis {axis.name!r} of histogram {name!r} has no category {wanted!r} {known}")
        return categories.index(wanted)
    if NOMINAL in categories:
        return slice(None)
    raise UsageError(
        f"histogram {name!r} has the categories {', '.join(categories)} of {axis.name!r}; choose one: "
        f"select={{{axis.name!r}: {(categories or ['...'])[0]!r}}}"
    )
