"""`ByteSource`: the bytes of a source, by whatever the scheme of its address stands for; an address without is a path.

/data/a.root                 a file of this machine
scheme://place/a.root        what the `vrecompute.sources` entry point of that name serves
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UnreadableFile
from vrecompute.plugins import SOURCES, installed
from vrecompute.reader.localfile import LocalFile

__all__ = ["SCHEMES", "ByteSource", "Stamp", "is_served", "look_at", "scheme_of"]

Stamp = tuple[int | str, ...]


class ByteSource(Protocol):
    """A source as it was when it was looked at; any thread may read from it.

    `stamp` is another one where the content may be another: size and times, or an ETag. Errors are those of
    `vrecompute.errors`, with the address: TransientRead where another try may help, UnreadableFile, CorruptFile.
    """

    @property
    def size(self) -> int:
        """Bytes of all of it."""

    @property
    def stamp(self) -> Stamp:
        """Equal as long as the content is."""

    def read_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """Fill `into` with the bytes [start, stop) of all `pieces`, shape (n, 2), one after another."""


#: Schemes of this process besides those of installed packages. Each takes an address, looks, and reads nothing.
SCHEMES: dict[str, Callable[[str], ByteSource]] = {}


def scheme_of(address: str) -> str:
    """The scheme; empty for a path."""
    return address.partition("://")[0] if "://" in address else ""


def is_served(scheme: str) -> bool:
    """Whether sources of the scheme can be read here."""
    return scheme in SCHEMES or scheme in installed(SOURCES)


def look_at(address: str) -> ByteSource:
    """The source at an address as it is now. Raises UnreadableFile."""
    scheme = scheme_of(address)
    if not scheme:
        return LocalFile.look(address)
    return _serving(address, scheme)(address)


def _serving(address: str, scheme: str) -> Callable[[str], ByteSource]:
    if scheme not in SCHEMES:
        if scheme not in (points := installed(SOURCES)):
            raise UnreadableFile(
                address, f"sources of the scheme {scheme!r} cannot be read here; install the package that serves them"
            )
        SCHEMES[scheme] = points[scheme].load()
    return SCHEMES[scheme]
