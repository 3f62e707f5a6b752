"""`Packing`: ROOT's Float16_t and Double32_t in fewer bits, told by the branch's title; uproot misreads many of them.

After TBufferFile::ReadFloat16 and ReadDouble32, and GetRange of TStreamerElement.cxx, whose reading of a title
is followed to the letter: what it makes of `[a,b,bits]` is what is in the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column

__all__ = ["Packing", "packing_of"]

_DOUBLE32, _FLOAT16 = 9, 19  # TVirtualStreamerInfo::EReadWrite; 20 more for a fixed-size array of them
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")
_PI_WORDS = {"2pi": 2.0, "2*pi": 2.0, "twopi": 2.0, "pi/2": 0.5, "pi/4": 0.25, "pi": 1.0}


@dataclass(frozen=True)
class Packing:
    """How the numbers of one branch are stored: as integers in steps of 1/`factor` from `low`, or truncated.

    Where `factor` is 0, `bits` is the length of the mantissa, 0 for a plain float. `items` are per entry or list item.
    """

    native: str
    factor: float
    low: float
    bits: int
    items: int
    counted: bool

    @property
    def width(self) -> int:
        """Bytes of one stored number."""
        return 3 if self.bits else 4

    @property
    def type(self) -> str:
        """The type as text."""
        name = "Float16_t" if self.native == "<f4" else "Double32_t"
        return name + ("[]" if self.counted else "") + (f"[{self.items}]" if self.items > 1 else "")

    def interpretation(self) -> Any:
        """For uproot: the bytes as they are stored."""
        from uproot.interpretation.jagged import AsJagged
        from uproot.interpretation.numerical import AsDtype

        stored = AsDtype(np.dtype(("u1", (self.items * self.width,))))
        return AsJagged(stored) if self.counted else stored

    def column(self, stored: Column) -> Column:
        """The numbers out of the bytes; a list per entry where they are several."""
        if not 0 <= self.bits <= 14:
            raise ValueError(f"numbers of {self.bits} bits where 14 are the most")
        offsets = None if stored.offsets is None else stored.offsets // self.width
        if self.items == 1 and not self.counted:
            offsets = None
        return Column(self._numbers(stored.values.reshape(-1, self.width)), offsets)

    def _numbers(self, stored: NDArray[np.uint8]) -> NDArray[Any]:
        if self.factor:
            steps = np.ascontiguousarray(stored).view(">u4").reshape(-1)
            return (steps / self.factor + self.low).astype(self.native)
        if not self.bits:
            return np.ascontiguousarray(stored).view(">f4").reshape(-1).astype(self.native)
        exponent, mantissa = stored[:, 0].astype(np.uint32), np.ascontiguousarray(stored[:, 1:]).view(">u2").reshape(-1)
        kept = mantissa.astype(np.uint32) & np.uint32((1 << (self.bits + 1)) - 1)
        size = ((exponent << np.uint32(23)) | (kept << np.uint32(23 - self.bits))).view(np.float32)
        return np.where(mantissa & np.uint16(1 << (self.bits + 1)), -size, size).astype(self.native)


def packing_of(branch: Any) -> Packing | None:
    """How the numbers of a branch of Float16_t or Double32_t are stored; None for any other branch."""
    leaves = branch.member("fLeaves")
    if len(leaves) != 1:
        return None
    leaf = leaves[0]
    title = str(leaf.member("fTitle"))
    if leaf.classname == "TLeafElement":
        kind = leaf.member("fType")
        if kind not in (_DOUBLE32, _FLOAT16, _DOUBLE32 + 20, _FLOAT16 + 20):
            return None
        half, comment = kind % 20 == _FLOAT16, "" if branch.streamer is None else str(branch.streamer.title)
    elif leaf.classname in ("TLeafF16", "TLeafD32"):
        half, comment = leaf.classname == "TLeafF16", title.partition("/")[2]
    else:
        return None
    factor, low = _range(comment)
    bits = 0 if factor else int(low) or (12 if half else 0)
    items = math.prod(int(n) for n in re.findall(r"\[(\d+)\]", title.split("/")[0]))
    return Packing("<f4" if half else "<f8", factor, low, bits, items, leaf.member("fLeafCount") is not None)


def _range(title: str) -> tuple[float, float]:
    """Factor and lower bound that ROOT takes from a title; a factor of 0 and the bits of a truncated number."""
    for part in re.findall(r"\[([^\]]*)\]", title)[:2]:  # the first pair of brackets may be a dimension
        ends = part.split(",")
        if len(ends) < 2:
            continue
        bits = int(_number(ends[2])) if len(ends) > 2 else 32
        bits = bits if 2 <= bits <= 32 else 32
        low, high = _bound(ends[0]), _bound(ends[1])
        if low < high:
            return (float(1 << bits) if bits < 32 else float(0xFFFFFFFF)) / (high - low), low
        return 0.0, bits + 0.1 if bits < 15 else low
    return 0.0, 0.0


def _bound(text: str) -> float:
    text = text.lower().replace(" ", "")
    for word, times in _PI_WORDS.items():
        if word in text:
            return times * math.pi * (-1 if "-" in text else 1)
    return _number(text)


def _number(text: str) -> float:
    found = _NUMBER.match(text.strip())
    return float(found[0]) if found else 0.0
