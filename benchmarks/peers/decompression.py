"""The floor: decompressing the needed baskets, already in memory, into one reused buffer. Nothing is decoded."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

import uproot

from benchmarks import task

# ROOT's record header (TKey): bytes on disk, version, uncompressed size, date, header size; then the payload in
# blocks of a 9-byte header: algorithm, method, compressed and uncompressed size as 3-byte little-endian numbers.
_KEY = struct.Struct(">iHiIH")
_BLOCK_HEADER = 9


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("zstd") or "libzstd.so.1"
    library = ctypes.CDLL(name)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.ZSTD_createDCtx.restype = pointer
    library.ZSTD_decompressDCtx.argtypes = [pointer, pointer, size, pointer, size]
    library.ZSTD_decompressDCtx.restype = size
    library.ZSTD_isError.argtypes = [size]
    return library


def version() -> str:
    """Of what is measured."""
    return f"libzstd {_library().ZSTD_versionNumber()}"


@lru_cache(maxsize=1)
def _blocks(files: tuple[str, ...]) -> list[tuple[bytes, int]]:
    """(compressed bytes, uncompressed size) of every block of the needed branches."""
    return [block for path in files for block in _blocks_of(path)]


def _blocks_of(path: str) -> Iterator[tuple[bytes, int]]:
    with uproot.open(path) as file, open(path, "rb") as raw:
        tree = file[task.TREE]
        for name in ("nElectron", "nMuon", *task.COLUMNS):
            branch = tree[name]
            for number in range(branch.num_baskets):
                seek, size = branch.member("fBasketSeek")[number], branch.member("fBasketBytes")[number]
                record = os.pread(raw.fileno(), size, seek)
                on_disk, _, uncompressed, _, header = _KEY.unpack_from(record)
                if on_disk - header == uncompressed:
                    continue  # stored as it is: nothing to decompress
                position = header
                while position < on_disk:
                    if record[position : position + 2] != b"ZS":
                        raise RuntimeError(f"{path}: branch {name} is not compressed by zstd")
                    sizes = record[position + 3 : position + _BLOCK_HEADER]
                    length, target = int.from_bytes(sizes[:3], "little"), int.from_bytes(sizes[3:], "little")
                    start = position + _BLOCK_HEADER
                    yield record[start : start + length], target
                    position = start + length


def run(files: Sequence[str], chunk_events: int, threads: int = 1, style: str = "usual") -> float:
    """CPU seconds of decompression alone; the blocks are brought into memory first, untimed."""
    blocks = _blocks(tuple(files))
    library = _library()
    context = library.ZSTD_createDCtx()
    buffer = ctypes.create_string_buffer(max(size for _, size in blocks))
    start = time.process_time()
    for block, size in blocks:
        if library.ZSTD_decompressDCtx(context, buffer, size, block, len(block)) != size:
            raise RuntimeError("a block did not decompress to its size")
    spent = time.process_time() - start
    library.ZSTD_freeDCtx(ctypes.c_void_p(context))
    return spent
