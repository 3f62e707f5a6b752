"""uproot's reading of RNTuple list frames: a damaged length never gives more items than there are bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["bound_list_frames"]

# "RNTuple Binary Format Specification" 1.0, section "Frames": an item of a list begins with a size of 4 bytes or more.
_LEAST_BYTES = 4


@cache
def bound_list_frames() -> None:
    """Once in a process: a list frame that cannot be is a ValueError before its items are read.

    uproot reads as many items as the frame says it has, 2^32 at most, without looking at its length.
    """
    from uproot.models import RNTuple as model

    class Bounded(model.ListFrameReader):  # type: ignore[misc]  # uproot is untyped
        def read(self, chunk: Any, cursor: Any, context: Any) -> Any:
            ahead = cursor.copy()
            size = -ahead.field(chunk, model._rntuple_frame_size_format, context)
            items = ahead.field(chunk, model._rntuple_frame_num_items_format, context)
            if not items * _LEAST_BYTES <= size <= chunk.stop - chunk.start:
                raise ValueError(f"a list frame says that it has {items} items in {size} bytes")
            return super().read(chunk, cursor, context)

    model.ListFrameReader = Bounded  # by this name its other readers make theirs, each time that they read
