"""`ByteSource`: the bytes of a source, by whatever the scheme of its address stands for; an address without is a path.

/data/a.root                 a file of this machine
scheme://place/a.root        what the `vrecompute.sources` entry point of that name gives for it, without reading it
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vrecompute.addresses import address_fault, link_of
from vrecompute.errors import UnreadableFile
from vrecompute.plugins import serving
from vrecompute.reader.localfile import LocalFile

__all__ = ["ByteSource", "Stamp", "link_of", "look_at", "scheme_of"]

Stamp = tuple[int | str, ...]


class ByteSource(Protocol):
    """A source as it was when it was looked at; any thread may read from it.

    `stamp` is another one where the content may be another: size and times, or an ETag. Errors are those of
    `vrecompute.errors`, with the address: TransientRead where another try may help, UnreadableFile, CorruptFile.
    What it reads it counts (`vrecompute.traffic.fetched`).

    A source where latency counts also has `begin_ranges`, with the arguments of `read_ranges`: the requests are under
    way when it returns, and what it returns waits for them, or raises. The next chunk is then fetched while this one is
    worked on. One that has `proves_itself`, and it is true, compares each answer with its stamp, and need not be looked
    at for each chunk. One whose server knows checksums has `checksum`, which gives that of an algorithm in hexadecimal
    digits, or None.

    What serves a scheme may have, besides, of which the last three ask no server:

    entries(folder)                    names in the folder at an address, and whether each is a folder itself
    lifetime(address)                  the Lifetime of the credential that it is read with; None where none is known
    secret_files(address, read=True)   what a job has to be brought to read it, name -> content, empty unless `read`
    signed(address, seconds)           a URL that reads it so long without a key, and its end in seconds since 1970
    """

    @property
    def size(self) -> int:
        """Bytes of all of it."""

    @property
    def stamp(self) -> Stamp:
        """Equal as long as the content is."""

    def read_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """Fill `into` with the bytes [start, stop) of all `pieces`, shape (n, 2), one after another."""


def scheme_of(address: str) -> str:
    """The scheme; empty for a path."""
    return address.partition("://")[0] if "://" in address else ""


def look_at(address: str) -> ByteSource:
    """The source at an address as it is now. Raises UnreadableFile."""
    scheme = scheme_of(address)
    if not scheme:
        return LocalFile.look(address)
    if fault := address_fault(address):
        raise UnreadableFile(address, fault)
    if (serve := serving(scheme)) is None:
        raise UnreadableFile(
            address, f"sources of the scheme {scheme!r} cannot be read here; install the package that serves them"
        )
    source: ByteSource = serve(address)
    return source
