"""What only reading a file to its end can tell: its checksum. Kept in the store by address and stamp.

sources/<sha256 of address and stamp>.<algorithm>      the digest of the whole file
"""

from __future__ import annotations

from pathlib import Path

from vrecompute import reader
from vrecompute.datasets.checksum import checksum_of, digest_of_file
from vrecompute.datasets.dataset import Source
from vrecompute.digest import sha256_json
from vrecompute.errors import CorruptFile, StoreError
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store
from vrecompute.stores.objects import FORMAT, read_document, write_document

__all__ = ["check_checksum", "is_checked", "whole_digest", "whole_sha256"]


def whole_sha256(store_url: str, path: str) -> str:
    """The sha256 of a whole file, on a worker. Raises UnreadableFile."""
    return whole_digest(open_store(store_url), path, "sha256")


def whole_digest(store: Store, path: str, algorithm: str) -> str:
    """The hexadecimal digest of a whole file, which is read once for each address and stamp. Raises UnreadableFile."""
    name = _name(path, algorithm)  # before it is read: a file that changes meanwhile is not what this names
    if (known := _kept(store, name, algorithm)) is not None:
        return known
    digest = _digest(path, algorithm)
    write_document(store, name, algorithm, {"file": digest})
    return digest


def is_checked(store: Store, source: Source) -> bool:
    """Whether the checksum that the dataset gives, if any, is known to be that of the file as it is; reads no file."""
    algorithm, _, wanted = (source.checksum or "").partition(":")
    return not wanted or _kept(store, _name(source.path, algorithm), algorithm) == wanted


def check_checksum(store: Store, source: Source) -> None:
    """Raise CorruptFile where the file is not the one whose checksum its catalogue gives."""
    if source.checksum is None:
        return
    algorithm, _, wanted = source.checksum.partition(":")
    found = whole_digest(store, source.path, algorithm)
    if found != wanted:
        raise CorruptFile(
            source.path,
            f"its {algorithm} is {found}, and the dataset says {wanted}: it was damaged, or is another file; "
            "copy it again, or mend the dataset",
        )


@reader.retried(lambda path: None)
def _digest(path: str, algorithm: str) -> str:
    try:
        return digest_of_file(Path(path), algorithm)
    except OSError as error:
        raise reader.unreadable(path, "cannot be read", error) from error


def _name(path: str, algorithm: str) -> str:
    return f"sources/{sha256_json([FORMAT, reader.origin_of(path)])}.{algorithm}"


def _kept(store: Store, name: str, algorithm: str) -> str | None:
    try:
        if store.exists(name):
            return read_document(
                store, name, algorithm, lambda raw: checksum_of(algorithm, raw["file"]).partition(":")[2]
            )
    except StoreError:
        pass  # read again
    return None
