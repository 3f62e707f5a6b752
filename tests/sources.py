"""`Double`: a second implementation of `ByteSource`, which serves the files of a folder, and fails as it is told."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vrecompute.errors import TransientRead, UnreadableFile

__all__ = ["Double", "Doubles"]


@dataclass
class Doubles:
    """`double://HOST/NAME` is the file NAME of `folder`. `failing` is how often each host still fails; -1 is always.

    `looks` and `reads` count by address.
    """

    folder: Path
    failing: dict[str, int] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)

    def __call__(self, address: str) -> Double:
        """What the registry has for the scheme."""
        self.looks[address] += 1
        path = self.folder / address.rpartition("/")[2]
        if not path.is_file():
            raise UnreadableFile(address, "there is no such object")
        return Double(self, address, path.read_bytes())


class Double:
    """Bytes in memory; no stamp of a file system."""

    def __init__(self, doubles: Doubles, address: str, data: bytes) -> None:
        self._doubles, self._address, self._data = doubles, address, np.frombuffer(data, dtype=np.uint8)
        self.size = len(data)
        self.stamp = (self.size, hashlib.md5(data).hexdigest())

    def read_ranges(self, pieces, into) -> None:
        """The bytes, or the failure that is due."""
        self._doubles.reads[self._address] += 1
        host = self._address.split("/")[2]
        if left := self._doubles.failing.get(host, 0):
            self._doubles.failing[host] = left - 1 if left > 0 else left
            raise TransientRead(self._address, "the connection was lost")
        at = 0
        for start, stop in pieces.tolist():
            into[at : at + stop - start] = self._data[start:stop]
            at += stop - start
