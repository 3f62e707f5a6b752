"""Kernels that lay out bytes as this machine has them: of big-endian numbers, and of split and delta-encoded pages.

No position is checked here: `kernels` has checked every one against the file before it calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vrecompute.kernels.cache import compiled

__all__ = ["move", "swap", "undelta", "unsplit"]

_8, _16, _32 = np.uint64(8), np.uint64(16), np.uint64(32)
_LOW8, _LOW16 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)

_kernel = compiled(no_cfunc_wrapper=True)


@_kernel
def move(source: Any, at: int, out: Any, to: int, size: int) -> None:
    """Copy bytes as they are. numba takes a second to compile an assignment of slices, with the texts of its errors."""
    a8, b8 = source[at : at + size], out[to : to + size]
    for i in range(len(b8)):
        b8[i] = a8[i]


@_kernel
def swap(source: Any, at: int, out: Any, to: int, size: int, width: int) -> None:
    """Copy big-endian numbers of `width` bytes in native order."""
    if width == 1:
        move(source, at, out, to, size)
    elif width == 4:
        a32, b32 = source[at : at + size].view(np.uint32), out[to : to + size].view(np.uint32)
        for i in range(len(b32)):
            v = a32[i]
            b32[i] = v >> 24 | (v >> 8 & np.uint32(0xFF00)) | (v << 8 & np.uint32(0xFF0000)) | v << 24
    elif width == 8:
        a64, b64 = source[at : at + size].view(np.uint64), out[to : to + size].view(np.uint64)
        for i in range(len(b64)):
            w = a64[i]
            w = w >> _32 | w << _32
            w = (w >> _16 & _LOW16) | (w & _LOW16) << _16
            b64[i] = (w >> _8 & _LOW8) | (w & _LOW8) << _8
    else:
        for i in range(0, size, 2):
            out[to + i], out[to + i + 1] = source[at + i + 1], source[at + i]


@_kernel
def unsplit(source: Any, at: int, count: int, a: int, b: int, out: Any, to: int, width: int, zigzag: bool) -> None:
    """Elements [a, b) of a page of `count`, whose first bytes come first, then all second bytes, and so on."""
    size = (b - a) * width
    if width == 4:
        out32 = out[to : to + size].view(np.uint32)
        p0, p1 = source[at + a : at + b], source[at + count + a : at + count + b]
        p2, p3 = source[at + 2 * count + a : at + 2 * count + b], source[at + 3 * count + a : at + 3 * count + b]
        for i in range(b - a):
            v = np.uint32(p0[i]) | np.uint32(p1[i]) << 8 | np.uint32(p2[i]) << 16 | np.uint32(p3[i]) << 24
            out32[i] = (v >> np.uint32(1)) ^ (np.uint32(0) - (v & np.uint32(1))) if zigzag else v
        return
    for byte in range(width):
        plane = source[at + byte * count + a : at + byte * count + b]
        for i in range(b - a):
            out[to + i * width + byte] = plane[i]
    if zigzag and width == 8:
        out64 = out[to : to + size].view(np.uint64)
        for i in range(b - a):
            w = out64[i]
            out64[i] = (w >> np.uint64(1)) ^ (np.uint64(0) - (w & np.uint64(1)))
    elif zigzag and width == 2:
        out16 = out[to : to + size].view(np.uint16)
        for i in range(b - a):
            h = out16[i]
            out16[i] = (h >> np.uint16(1)) ^ (np.uint16(0) - (h & np.uint16(1)))


@_kernel
def undelta(out: Any, to: int, count: int, width: int) -> None:
    """Running sum over the elements of one page, whose first is absolute within its cluster."""
    if width == 4:
        out32 = out[to : to + count * 4].view(np.uint32)
        for i in range(1, len(out32)):
            out32[i] += out32[i - 1]
    elif width == 8:
        out64 = out[to : to + count * 8].view(np.uint64)
        for i in range(1, len(out64)):
            out64[i] += out64[i - 1]
