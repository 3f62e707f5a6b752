"""Decoding kernels: decompress baskets and pages and lay out their numbers, without the interpreter lock.

Each call decodes one column of a whole chunk. Every position and length that comes from the file is
checked before it is used: damage makes a kernel return a status, never touch memory out of bounds.

Formats: `TKey` and `TBasket` as in ROOT's TFile documentation; the 9-byte block header of ROOT's
core/zip/src/RZip.cxx; pages as in the RNTuple Binary Format Specification 1.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vrecompute.kernels.cache import compiled
from vrecompute.reader.byteorder import move, swap, undelta, unsplit
from vrecompute.reader.c_calls import int32_of_6, int32_of_lz4, int64_of_1, int64_of_2, int64_of_3, int64_of_5

OK, BAD_KEY, BAD_BLOCK, BAD_STREAM, BAD_CHECKSUM, BAD_LENGTH, NO_CODEC, UNKNOWN_CODEC, NOT_VECTOR, BAD_COUNT = range(10)

# slots of the array of C functions' addresses
ZSTD_CREATE, ZSTD_FREE, ZSTD_DECOMPRESS, DEFLATE_CREATE, DEFLATE_FREE, DEFLATE_DECOMPRESS = range(6)
LZ4_DECOMPRESS, XXH64, XXH3, SLOTS = range(6, 10)

# columns of a table of pieces (baskets or pages): position in `raw`, bytes there, first entry or element,
# entries or elements, position in the file (-1: a bare payload without key, from memory)
AT, BYTES, FIRST, COUNT, SEEK = range(5)

BLOCK_HEADER, _LZ4_CHECKSUM, VECTOR_HEADER = 9, 8, 10

_kernel = compiled(no_cfunc_wrapper=True)
_inlined = compiled(inline="always")


@_inlined
def _big16(raw: Any, at: int) -> Any:
    return (np.int64(raw[at]) << 8) | np.int64(raw[at + 1])


@_inlined
def _big32(raw: Any, at: int) -> Any:
    value = (_big16(raw, at) << 16) | _big16(raw, at + 2)
    return value - (value >> 31 << 32)


@_inlined
def _big64(raw: Any, at: int) -> Any:
    return (_big32(raw, at) << 32) | (_big32(raw, at + 4) & 0xFFFFFFFF)


@_inlined
def _little24(raw: Any, at: int) -> Any:
    return np.int64(raw[at]) | np.int64(raw[at + 1]) << 8 | np.int64(raw[at + 2]) << 16


@_kernel
def _key(raw: Any, piece: Any) -> tuple[int, int, int, int]:
    """Of one basket: status, length of its key, uncompressed bytes, bytes before its table of offsets."""
    at, size = piece[AT], piece[BYTES]
    if at < 0 or size < 0 or size > len(raw) - at:
        return BAD_KEY, 0, 0, 0
    if piece[SEEK] < 0:
        return OK, 0, size, size
    if size < 45:
        return BAD_KEY, 0, 0, 0
    length, key = _big32(raw, at + 6), _big16(raw, at + 14)
    if _big32(raw, at) != size or key < 45 or key > size or length < 0:
        return BAD_KEY, 0, 0, 0
    # the basket's own header ends the key: version, buffer size, offsets size, entries, last byte, a flag
    entries, border = _big32(raw, at + key - 9), _big32(raw, at + key - 5) - key
    if entries != piece[COUNT] or border < 0 or border > length:
        return BAD_KEY, 0, 0, 0
    return OK, key, length, border


@_kernel
def _fits(raw: Any, at: int, stop: int, size: int) -> bool:
    """Whether the headers of the blocks in raw[at:stop] promise `size` bytes uncompressed."""
    total = 0
    while total < size and stop - at >= BLOCK_HEADER:
        total += _little24(raw, at + 6)
        at += BLOCK_HEADER + _little24(raw, at + 3)
    return total == size and at <= stop


@_kernel
def survey(raw: Any, pieces: Any) -> tuple[int, int, int, int]:
    """Over baskets: status, the piece it is about, the most uncompressed bytes, the sum of payload bytes."""
    most, total = 0, 0
    for i in range(len(pieces)):
        status, key, length, border = _key(raw, pieces[i])
        if status == OK and pieces[i, SEEK] >= 0 and pieces[i, BYTES] - key != length:
            at = pieces[i, AT]
            # so that a damaged key cannot make anyone allocate more than its blocks could fill
            if not _fits(raw, at + key, at + pieces[i, BYTES], length):
                status = BAD_BLOCK
        if status != OK:
            return status, i, 0, 0
        most = max(most, length)
        total += border
    return OK, 0, most, total


@_kernel
def open_codecs(functions: Any) -> Any:
    """Working states of the decompressors of this thread, to be closed again."""
    states = np.zeros(2, np.int64)
    if functions[ZSTD_CREATE] != 0:
        states[0] = int64_of_1(functions[ZSTD_CREATE], (0,))
    if functions[DEFLATE_CREATE] != 0:
        states[1] = int64_of_1(functions[DEFLATE_CREATE], (0,))
    return states


@_kernel
def close_codecs(functions: Any, states: Any) -> None:
    """Free what `open_codecs` made."""
    if states[0] != 0:
        int64_of_1(functions[ZSTD_FREE], (states[0],))
    if states[1] != 0:
        int64_of_1(functions[DEFLATE_FREE], (states[1],))


@_kernel
def _inflate(functions: Any, states: Any, raw: Any, at: Any, stop: int, out: Any, size: int) -> int:
    """Decompress the blocks in raw[at:stop] to exactly `size` bytes at the start of `out`."""
    filled = np.int64(0)
    while filled < size:
        if stop - at < BLOCK_HEADER:
            return BAD_BLOCK
        tag = _big16(raw, at)
        packed, whole = _little24(raw, at + 3), _little24(raw, at + 6)
        at += BLOCK_HEADER
        if packed > stop - at or whole > size - filled or whole == 0:
            return BAD_BLOCK
        source, target = raw.ctypes.data + at, out.ctypes.data + filled
        if tag == 0x5A53:  # ZS
            if states[0] == 0:
                return NO_CODEC
            if int64_of_5(functions[ZSTD_DECOMPRESS], (states[0], target, whole, source, packed)) != whole:
                return BAD_STREAM
        elif tag == 0x5A4C:  # ZL; without a place for the actual size, only exactly `whole` bytes succeed
            if states[1] == 0:
                return NO_CODEC
            if int32_of_6(functions[DEFLATE_DECOMPRESS], (states[1], source, packed, target, whole, 0)) != 0:
                return BAD_STREAM
        elif tag == 0x4C34:  # L4, an XXH64 of the block before it
            if functions[LZ4_DECOMPRESS] == 0 or functions[XXH64] == 0:
                return NO_CODEC
            if packed <= _LZ4_CHECKSUM:
                return BAD_BLOCK
            source, length = source + _LZ4_CHECKSUM, packed - _LZ4_CHECKSUM
            if int64_of_3(functions[XXH64], (source, length, 0)) != _big64(raw, at):
                return BAD_CHECKSUM
            done = int32_of_lz4(functions[LZ4_DECOMPRESS], (source, target, np.int32(length), np.int32(whole)))
            if done != whole:
                return BAD_STREAM
        else:
            return NO_CODEC if tag == 0x585A else UNKNOWN_CODEC  # XZ
        at += packed
        filled += whole
    return OK


@_kernel
def _payload(functions: Any, states: Any, raw: Any, piece: Any, scratch: Any) -> tuple[int, int, int, int]:
    """Of one basket: status, whether its payload is in `scratch` (else in `raw`), where, its bytes."""
    status, key, length, border = _key(raw, piece)
    at, stop = piece[AT] + key, piece[AT] + piece[BYTES]
    if status != OK or stop - at == length:
        return status, 0, at, border
    if length > len(scratch):
        return BAD_KEY, 0, 0, 0
    return _inflate(functions, states, raw, at, stop, scratch, length), 1, 0, border


@_kernel
def decode_baskets(
    functions: Any,
    raw: Any,
    pieces: Any,
    scratch: Any,
    items: Any,
    low: int,
    span: Any,
    unit: int,
    width: int,
    out: Any,
) -> tuple[int, int]:
    """Numbers of entries [span[0], span[1]) into `out`, as bytes in native order: status, and the piece it is about.

    An item has `unit` bytes in numbers of `width`. `items[e - low]` is the first item of entry e; an empty
    `items` means one item per entry.
    """
    states = open_codecs(functions)
    status, i, start, stop = OK, 0, span[0], span[1]
    origin = items[start - low] if len(items) else start
    for i in range(len(pieces)):
        first, last = pieces[i, FIRST], pieces[i, FIRST] + pieces[i, COUNT]
        a, b = max(first, start), min(last, stop)
        if a >= b:
            continue
        status, inflated, at, border = _payload(functions, states, raw, pieces[i], scratch)
        if status != OK:
            break
        if len(items):
            if first < low or last - low >= len(items):
                status = BAD_COUNT
                break
            first, last, a, b = items[first - low], items[last - low], items[a - low], items[b - low]
        to, size = (a - origin) * unit, (b - a) * unit
        if border != (last - first) * unit or to < 0 or to + size > len(out):
            status = BAD_LENGTH
            break
        if inflated:
            swap(scratch, (a - first) * unit, out, to, size, width)
        else:
            swap(raw, at + (a - first) * unit, out, to, size, width)
    close_codecs(functions, states)
    return status, i


@_kernel
def decode_vectors(
    functions: Any, raw: Any, pieces: Any, scratch: Any, width: int, out: Any, offsets: Any
) -> tuple[int, int]:
    """Every std::vector of numbers in the baskets into `out` and `offsets`: status, and the piece it is about.

    Each vector is a byte count with bit 30 set, a 2-byte version, its length, and its numbers.
    """
    states = open_codecs(functions)
    status, to, entry, i = OK, 0, 0, 0
    for i in range(len(pieces)):
        status, inflated, at, border = _payload(functions, states, raw, pieces[i], scratch)
        if status != OK:
            break
        source = scratch if inflated else raw
        stop = at + border
        for _ in range(pieces[i, COUNT]):
            if stop - at < VECTOR_HEADER:
                status = BAD_LENGTH
                break
            size = _big32(source, at + 6) * width
            if _big32(source, at) != (size + 6 | 1 << 30):
                status = NOT_VECTOR
                break
            at += VECTOR_HEADER
            if size < 0 or size > stop - at or size > len(out) - to:
                status = BAD_LENGTH
                break
            swap(source, at, out, to, size, width)
            at, to, entry = at + size, to + size, entry + 1
            offsets[entry] = to // width
        if status == OK and at != stop:
            status = BAD_LENGTH
        if status != OK:
            break
    close_codecs(functions, states)
    return status, i


@_kernel
def _page(functions: Any, states: Any, raw: Any, piece: Any, checked: bool, scratch: Any, size: int) -> tuple[int, int]:
    """Of one page of `size` bytes uncompressed: status, and whether it is in `scratch`, else in `raw`."""
    at, stop = piece[AT], piece[AT] + piece[BYTES]
    if at < 0 or piece[BYTES] < 0 or piece[BYTES] > len(raw) - at or size > len(scratch):
        return BAD_BLOCK, 0
    if checked:
        stop -= 8
        if stop < at:
            return BAD_BLOCK, 0
        expected = np.int64(0)
        for i in range(8):
            expected |= np.int64(raw[stop + i]) << 8 * i
        if int64_of_2(functions[XXH3], (raw.ctypes.data + at, stop - at)) != expected:
            return BAD_CHECKSUM, 0
    if stop - at == size:
        return OK, 0
    return _inflate(functions, states, raw, at, stop, scratch, size), 1


@_kernel
def decode_pages(
    functions: Any, raw: Any, pieces: Any, checked: Any, scratch: Any, span: Any, width: int, encoding: Any, out: Any
) -> tuple[int, int]:
    """Elements [span[0], span[1]) of one column into `out`, as bytes: status, and the page it is about.

    `width` is bytes per element, 0 for bits; `encoding` tells split, zigzag and delta, each 0 or 1.
    `scratch` holds two pages: one as stored, one decoded as a whole for its running sum. No bytes: all 0.
    """
    states = open_codecs(functions)
    split, zigzag, delta = encoding[0] != 0, encoding[1] != 0, encoding[2] != 0
    status, i, start, stop, wide, half = OK, 0, span[0], span[1], max(width, 1), len(scratch) // 2
    stored, whole = scratch[:half], scratch[half:]
    for i in range(len(pieces)):
        first, count = pieces[i, FIRST], pieces[i, COUNT]
        a, b = max(first, start) - first, min(first + count, stop) - first
        if a >= b:
            continue
        to, size = (first + a - start) * wide, (b - a) * wide
        if to < 0 or to + size > len(out) or count * wide > half:
            status = BAD_LENGTH
            break
        if pieces[i, BYTES] == 0:
            out[to : to + size] = 0
            continue
        direct = width > 0 and not split and b - a == count
        target = out[to : to + size] if direct else stored
        packed = count * width if width else (count + 7) // 8
        status, inflated = _page(functions, states, raw, pieces[i], checked[i] != 0, target, packed)
        if status != OK:
            break
        source, at = (target, 0) if inflated else (raw, pieces[i, AT])
        if direct and inflated:
            pass
        elif width == 0:
            for k in range(a, b):
                out[to + k - a] = source[at + (k >> 3)] >> (k & 7) & 1
        elif delta:
            unsplit(source, at, count, 0, b, whole, 0, width, False)
            undelta(whole, 0, b, width)
            move(whole, a * width, out, to, size)
        elif split:
            unsplit(source, at, count, a, b, out, to, width, zigzag)
        else:
            move(source, at + a * width, out, to, size)
    close_codecs(functions, states)
    return status, i
