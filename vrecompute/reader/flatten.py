"""From the awkward arrays that uproot makes to `Column`s: flat values, int64 offsets that start at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column

__all__ = ["NotFlat", "flatten", "native", "share_offsets"]


class NotFlat(TypeError):
    """The data are neither one number per event nor one list of numbers per event."""


def flatten(array: Any) -> Column:
    """One awkward array as a column. Records of one field are looked through, fixed-size axes flattened.

    Raises NotFlat for strings, objects, options, unions and lists within lists.
    """
    layout = array.layout
    offsets: NDArray[np.int64] | None = None
    while True:
        if layout.is_record and len(layout.fields) == 1:
            layout = layout.content(0)
        elif layout.parameter("__array__") in ("string", "bytestring"):
            raise NotFlat("strings")
        elif layout.is_regular:
            if offsets is None:
                offsets = np.arange(len(layout) + 1, dtype=np.int64)
            offsets = offsets * layout.size
            layout = layout.content[: len(layout) * layout.size]
        elif layout.is_list:
            if offsets is not None:
                raise NotFlat("lists within lists")
            layout = layout.to_ListOffsetArray64(True)
            offsets = np.asarray(layout.offsets.data, dtype=np.int64)
            layout = layout.content[: offsets[-1]]
        elif layout.is_numpy:
            break
        else:
            raise NotFlat(str(array.type.content))
    values = np.asarray(layout.data)
    if values.ndim > 1:
        offsets, values = _flatten_axes(offsets, values)
    return Column(native(values), offsets)


def _flatten_axes(offsets: NDArray[np.int64] | None, values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    per_item = int(np.prod(values.shape[1:]))
    if offsets is None:
        offsets = np.arange(len(values) + 1, dtype=np.int64)
    return offsets * per_item, values.reshape(-1)


def native(values: NDArray[Any]) -> NDArray[Any]:
    """`values`, contiguous and in native byte order; NotFlat unless they are numbers or booleans."""
    if values.dtype.kind not in "biuf":
        raise NotFlat(str(values.dtype))
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def share_offsets(columns: dict[str, Column]) -> dict[str, Column]:
    """The same columns, where equal offsets are one object, so that collections are recognised by identity."""
    distinct: list[NDArray[np.int64]] = []
    shared = {}
    for name, column in columns.items():
        shared[name] = column
        offsets = column.offsets
        if offsets is None:
            continue
        known = next((d for d in distinct if d is offsets or _equal(d, offsets)), None)
        if known is None:
            distinct.append(offsets)
        else:
            shared[name] = Column(column.values, known)
    return shared


def _equal(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    return bool(a[-1] == b[-1]) and np.array_equal(a, b)
