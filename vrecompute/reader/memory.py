"""Memory that a thread uses again: working buffers, and slabs that a chunk's columns are laid out in.

A page touched for the first time costs more than decompressing into it, so a slab is used again as
soon as nothing refers to any column in it, and is big enough for huge pages.
"""

from __future__ import annotations

import sys
import threading

import numpy as np
from numpy.typing import NDArray

__all__ = ["Slab", "buffer", "slab"]

_KEPT_BYTES = 64 * 1024 * 1024
_KEPT_SLABS = 2  # a caller still holds one chunk while it reads the next
_ALIGNMENT = 64


class _Kept(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[np.uint8]] = {}
        self.slabs: list[NDArray[np.uint8]] = []


_kept = _Kept()


def buffer(name: str, size: int) -> NDArray[np.uint8]:
    """At least `size` bytes of this thread's working buffer of that name; valid until asked for again."""
    known = _kept.buffers.get(name)
    if known is None or len(known) < size:
        known = np.empty(max(size + size // 8, 1 << 16), dtype=np.uint8)
        if len(known) <= _KEPT_BYTES:
            _kept.buffers[name] = known
    return known


class Slab:
    """Bytes handed out from the front; every array handed out keeps all of them alive."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory
        self._used = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """`size` uninitialised bytes, aligned for any number; beyond the slab's end, ones of their own."""
        start = self._used
        if start + size > len(self._memory):
            return np.empty(size, dtype=np.uint8)
        self._used = start + size + -size % _ALIGNMENT
        return self._memory[start : start + size]

    def numbers(self, count: int) -> NDArray[np.int64]:
        """`count` uninitialised int64."""
        return self.take(count * 8).view(np.int64)


def slab(size: int) -> Slab:
    """A slab of at least `size` bytes that nothing else refers to."""
    # every column in a slab is a view that refers to it
    for position in range(len(_kept.slabs)):
        if len(_kept.slabs[position]) >= size and sys.getrefcount(_kept.slabs[position]) == _IDLE:
            return Slab(_kept.slabs[position])
    memory = np.empty(size + size // 8, dtype=np.uint8)
    if len(memory) <= _KEPT_BYTES:
        _kept.slabs.append(memory)
        if len(_kept.slabs) > _KEPT_SLABS:
            del _kept.slabs[0]
    return Slab(memory)


def _references_when_idle() -> int:
    alone = [np.empty(1, dtype=np.uint8)]
    return sys.getrefcount(alone[0])


_IDLE = _references_when_idle()
