"""Addresses of the decompressors' C functions, for the kernels to call without the interpreter.

The wheels of zstandard, lz4, deflate and xxhash carry the libraries' own functions as exported symbols,
so nothing but PyPI is needed; a library of the system serves where a wheel hides its symbols. Calls
through an address given at run time, other than by name at link time, let numba cache the kernels, and
a library that is missing is a 0 that they can test. What is missing (always LZMA) goes through `inflate`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vrecompute.reader import kernels

__all__ = ["addresses", "found"]

_LIBRARIES: dict[str, tuple[str, str, tuple[str, ...], tuple[tuple[int, str], ...]]] = {
    # name: (wheel, its extension modules, the system's names, (slot of the kernels, symbol) ...)
    "zstd": (
        "zstandard",
        "_cffi*",
        ("libzstd.so.1", "libzstd.dylib"),
        (
            (kernels.ZSTD_CREATE, "ZSTD_createDCtx"),
            (kernels.ZSTD_FREE, "ZSTD_freeDCtx"),
            (kernels.ZSTD_DECOMPRESS, "ZSTD_decompressDCtx"),
        ),
    ),
    "deflate": (
        "deflate",
        "_deflate*",
        ("libdeflate.so.0", "libdeflate.dylib"),
        (
            (kernels.DEFLATE_CREATE, "libdeflate_alloc_decompressor"),
            (kernels.DEFLATE_FREE, "libdeflate_free_decompressor"),
            (kernels.DEFLATE_DECOMPRESS, "libdeflate_zlib_decompress"),
        ),
    ),
    "lz4": (
        "lz4",
        "block/_block*",
        ("liblz4.so.1", "liblz4.dylib"),
        ((kernels.LZ4_DECOMPRESS, "LZ4_decompress_safe"),),
    ),
    "xxhash": (
        "xxhash",
        "_xxhash*",
        ("libxxhash.so.0", "libxxhash.dylib"),
        ((kernels.XXH64, "XXH64"), (kernels.XXH3, "XXH3_64bits")),
    ),
}


@functools.cache
def found() -> dict[str, str]:
    """For each library the file that its functions come from; libraries without one are left out."""
    return {name: path for name in _LIBRARIES if (path := _load(name)[0])}


@functools.cache
def addresses() -> NDArray[np.int64]:
    """Addresses by the slots that `kernels` defines; 0 where no library has the function."""
    slots = np.zeros(kernels.SLOTS, dtype=np.int64)
    for name in _LIBRARIES:
        for slot, address in _load(name)[1].items():
            slots[slot] = address
    slots.flags.writeable = False
    return slots


@functools.cache
def _load(name: str) -> tuple[str, dict[int, int]]:
    symbols = _LIBRARIES[name][3]
    for path in _candidates(name):
        try:
            library = ctypes.CDLL(path)
            functions = {slot: ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value for slot, symbol in symbols}
        except (OSError, AttributeError):
            continue
        return path, {slot: address for slot, address in functions.items() if address}
    return "", {}


def _candidates(name: str) -> Iterator[str]:
    wheel, pattern, system, _ = _LIBRARIES[name]
    spec = importlib.util.find_spec(wheel)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for suffix in (".so", ".dylib", ".pyd"):
            yield from sorted(str(p) for p in Path(folder).glob(pattern + suffix))
    yield from system
