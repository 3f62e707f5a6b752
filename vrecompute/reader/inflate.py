"""Decompression for what no native function was found for (always LZMA): slower, the same bytes."""

from __future__ import annotations

import lzma
import struct
import zlib

import cramjam
import numpy as np
import xxhash
from numpy.typing import NDArray

from vrecompute.reader.kernels import AT, BYTES, SEEK

__all__ = ["inflate", "payload"]

_KEY = struct.Struct(">ihiIh")
_BORDER = struct.Struct(">i")


def inflate(packed: bytes, size: int) -> bytes:
    """`size` bytes from ROOT's compressed blocks; ValueError or a decompressor's own error where they are damaged."""
    out, at = bytearray(), 0
    while len(out) < size:
        tag = packed[at : at + 2]
        length = int.from_bytes(packed[at + 3 : at + 6], "little")
        whole = int.from_bytes(packed[at + 6 : at + 9], "little")
        block = packed[at + 9 : at + 9 + length]
        if len(block) != length or not whole:
            raise ValueError("a compressed block has an impossible header")
        out += _block(tag, block, whole)
        at += 9 + length
    if len(out) != size:
        raise ValueError(f"blocks hold {len(out)} bytes where {size} are expected")
    return bytes(out)


def _block(tag: bytes, block: bytes, whole: int) -> bytes:
    if tag == b"ZS":
        data = bytes(cramjam.zstd.decompress(block, output_len=whole))
    elif tag == b"ZL":
        data = zlib.decompress(block, bufsize=whole)
    elif tag == b"XZ":
        data = lzma.decompress(block)
    elif tag == b"L4":
        if xxhash.xxh64_digest(block[8:]) != block[:8]:
            raise ValueError("a compressed block differs from its checksum")
        data = bytes(cramjam.lz4.decompress_block(block[8:], output_len=whole))
    else:
        raise ValueError(f"unknown compression {tag!r}")
    if len(data) != whole:
        raise ValueError(f"a block holds {len(data)} bytes where its header says {whole}")
    return data


def payload(raw: NDArray[np.uint8], piece: NDArray[np.int64]) -> bytes:
    """The bytes of one basket (verified by `kernels.largest`) before its table of offsets."""
    data = raw[piece[AT] : piece[AT] + piece[BYTES]].tobytes()
    if piece[SEEK] < 0:
        return data
    size, _, length, _, key = _KEY.unpack_from(data)
    border = _BORDER.unpack_from(data, key - 5)[0] - key
    body = data[key:]
    return (body if size - key == length else inflate(body, length))[:border]
