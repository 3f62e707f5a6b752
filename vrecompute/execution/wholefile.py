"""What only reading a file to its end can tell: its checksum. Kept in the store by address and stamp.

sources/<sha256 of address and stamp>.<algorithm>      the digest of the whole file
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vrecompute import reader
from vrecompute.datasets.checksum import ALGORITHMS, checksum_of, digest_of
from vrecompute.digest import sha256_json
from vrecompute.errors import CorruptFile, StoreError
from vrecompute.execution.replicas import read_somewhere
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store
from vrecompute.stores.objects import FORMAT, read_document, write_document

__all__ = ["check_checksum", "digest_at", "kept_digest", "whole_digest", "whole_sha256"]

_PIECE_BYTES = 4 << 20


def whole_sha256(store_url: str, addresses: Sequence[str]) -> str:
    """The sha256 of a whole file, on a worker. Raises UnreadableFile."""
    store = open_store(store_url)
    return read_somewhere(addresses, lambda address: whole_digest(store, address, "sha256"))


def whole_digest(store: Store, path: str, algorithm: str) -> str:
    """The hexadecimal digest of a whole file, which is read once for each address and stamp. Raises UnreadableFile."""
    origin = reader.origin_of(path)  # before it is read: a file that changes meanwhile is not what this names
    return _whole_digest(store, path, origin, algorithm)


def _whole_digest(store: Store, path: str, origin: str, algorithm: str) -> str:
    name = _name(origin, algorithm)
    if (known := _kept(store, name, algorithm)) is not None:
        return known
    digest = digest_at(path, algorithm)
    write_document(store, name, algorithm, {"file": digest})
    return digest


def kept_digest(store: Store, origin: str, algorithm: str) -> str | None:
    """The same of the file of an origin, where it was read before; None where it was not."""
    return _kept(store, _name(origin, algorithm), algorithm)


def check_checksum(store: Store, path: str, origin: str, checksum: str | None, *, opens: bool) -> bool:
    """Whether the checksum that the dataset gives, if any, is known to be that of the file.

    With `opens` it is read for that where it must be. Raises CorruptFile where the file has another.
    """
    if checksum is None:
        return True
    algorithm, _, wanted = checksum.partition(":")
    found = _whole_digest(store, path, origin, algorithm) if opens else kept_digest(store, origin, algorithm)
    if found is not None and found != wanted:
        raise CorruptFile(
            path,
            f"its {algorithm} is {found}, and the dataset says {wanted}: it was damaged, or is another file; "
            "copy it again, or mend the dataset",
        )
    return found is not None


@reader.retried(lambda path: None)
def digest_at(address: str, algorithm: str) -> str:
    """The hexadecimal digest of the whole file at an address, which is read for it unless its server tells it.

    Raises UnreadableFile.
    """
    source = reader.look_at(address)
    told = getattr(source, "checksum", lambda algorithm: None)(algorithm)
    if told is not None and len(told) == ALGORITHMS[algorithm]:
        return checksum_of(algorithm, told).partition(":")[2]

    def pieces() -> Iterator[memoryview]:
        buffer = np.empty(min(_PIECE_BYTES, source.size), dtype=np.uint8)
        for start in range(0, source.size, _PIECE_BYTES):
            stop = min(start + _PIECE_BYTES, source.size)
            source.read_ranges(np.array([[start, stop]]), buffer[: stop - start])
            yield buffer[: stop - start].data

    return digest_of(pieces(), algorithm)


def _name(origin: str, algorithm: str) -> str:
    return f"sources/{sha256_json([FORMAT, origin])}.{algorithm}"


def _kept(store: Store, name: str, algorithm: str) -> str | None:
    try:
        if store.exists(name):
            return read_document(
                store, name, algorithm, lambda raw: checksum_of(algorithm, raw["file"]).partition(":")[2]
            )
    except StoreError:
        pass  # read again
    return None
