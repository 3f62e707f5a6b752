"""What is kept in a store proves itself when it is read. There are two kinds of objects:

documents   JSON that carries its kind, a format version, the name it was written under, and a sha256 of all that
content     any bytes, under a name that holds their sha256; a document or a part says what they are of

A name holds run, work or source, so an object that was copied to the place of another is noticed as damage is.
A sha256 finds damage, not forgery by a user who may write to the store.
Readers change nothing. Writers set aside what is damaged under the name they need, and write it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vrecompute.digest import canonical_json, sha256_of
from vrecompute.errors import DamagedObject, OtherFormat, StoreError, VrecomputeError
from vrecompute.regular_file import open_regular
from vrecompute.stores.base import ASIDE, Store
from vrecompute.stores.ownership import Owner
from vrecompute.utf8text import utf8_data

__all__ = [
    "FORMAT",
    "SetAside",
    "content_name",
    "get_document",
    "holds",
    "intact",
    "read_content",
    "read_document",
    "sealed",
    "set_aside",
    "sha256_in",
    "write_as_made",
    "write_content",
    "write_document",
]

#: Version of all documents in a store; parts have one of their own.
FORMAT = 3
# No document of ours is larger; the manifest of 100,000 files has about 30 MB.
_MOST_BYTES = 256 << 20
_ENVELOPE = ("format", "version", "of")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Of a pair, or half of one, as JSON in ASCII spells it.
_SURROGATE = re.compile(rb"\\ud[89a-f]")
_log = logging.getLogger("vrecompute")
# Stamps of files on this machine whose content was found to have this sha256.
_proven: dict[tuple[Path, str], tuple[int, ...]] = {}
_MOST_PROVEN = 4096
_T = TypeVar("_T")


def sealed(name: str, kind: str, body: Mapping[str, Any], *, ordered: bool = False) -> bytes:
    """The bytes of a document. Keys are sorted, so that equal values give equal bytes, unless order is part of it.

    Its sha256 is of the compact text of all else, in the order it stands in. Text that is no UTF-8, which strict
    readers of JSON refuse, is spelled out.
    """
    compact = _compact if ordered else canonical_json
    document: dict[str, Any] = {"format": f"vrecompute-{kind}", "version": FORMAT, "of": name, **body}
    if _SURROGATE.search(said := compact(document)):
        document = utf8_data(json.loads(said))
        said = compact(document)
    document["sha256"] = sha256_of(said)
    return json.dumps(document, allow_nan=False).encode() if ordered else canonical_json(document)


def write_document(store: Store, name: str, kind: str, body: Mapping[str, Any], *, ordered: bool = False) -> bool:
    """Make a document durable; False where one that is intact has the name."""
    return _write_sealed(store, name, kind, sealed(name, kind, body, ordered=ordered))


def write_as_made(store: Store, name: str, data: bytes) -> None:
    """Make an object durable as the process would that made it and cannot reach the store; DamagedObject for others."""
    found = _SHA256.search(name.rpartition("/")[2])
    if found is not None and found.group() == sha256_of(data):
        write_content(store, name, data)
        return
    try:
        kind = str(json.loads(data)["format"]).removeprefix("vrecompute-")
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedObject(f"what came under {name!r} is neither a document nor the content of that name") from error
    _write_sealed(store, name, kind, data)


def _write_sealed(store: Store, name: str, kind: str, data: bytes) -> bool:
    def readable() -> bool:
        try:
            read_document(store, name, kind, lambda found: found)
        except DamagedObject:
            return False
        except StoreError:
            if store.exists(name):
                raise
            return False  # another process set it aside
        return True

    return _write(store, name, data, readable)


def get_document(store: Store, name: str) -> tuple[bytes, Owner]:
    """The bytes of a document, unread, and whose they are."""
    return store.get_owned(name, most_bytes=_MOST_BYTES)


def read_document(
    store: Store, name: str, kind: str, make: Callable[[dict[str, Any]], _T], data: bytes | None = None
) -> _T:
    """What `make` makes of the document under `name`; DamagedObject or OtherFormat, with reason, where there is none.

    Whatever `make` raises for want of a key, or for a value of another kind, is damage too. `data` is what the store
    holds, if that was read already, by `get_document`.
    """
    try:
        body = json.loads(store.get(name, most_bytes=_MOST_BYTES) if data is None else data)
        if not isinstance(body, dict) or body.pop("sha256", None) != _sha256_of(body):
            raise ValueError("its content does not match the sha256 in it")
        found_kind, version, of = (body.pop(key, None) for key in _ENVELOPE)
        if type(version) is not int:
            raise ValueError("its version is no number")
        if version != FORMAT:
            raise OtherFormat(
                f"{store.url}: {name} has format {version}, and this vrecompute reads and writes format {FORMAT}; "
                "it is left as it is: read it with the version that wrote it, or run the analysis again"
            )
        if (found_kind, of) != (f"vrecompute-{kind}", name):
            raise ValueError(f"it was written as {of!r} ({found_kind})")
        return make(body)
    except (StoreError, OSError):
        raise
    except RecursionError as error:
        raise DamagedObject(f"{store.url}: {name} is damaged: it is nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, VrecomputeError) as error:
        raise DamagedObject(f"{store.url}: {name} is damaged: {error}") from error


def content_name(folder: str, data: bytes, suffix: str = "") -> str:
    """The name of `data` below `folder`."""
    return f"{folder}/{sha256_of(data)}{suffix}"


def sha256_in(name: str) -> str:
    """The sha256 in the last part of a name; DamagedObject where there is none."""
    found = _SHA256.search(name.rpartition("/")[2])
    if found is None:
        raise DamagedObject(f"{name!r} is not a name that holds a sha256")
    return found.group()


def write_content(store: Store, name: str, data: bytes, *, loud: bool = False) -> None:
    """Make `data`, whose sha256 is in `name`, durable. Outside a run it is `loud`: no report tells of damage there."""
    _write(store, name, data, lambda: intact(store, name), loud=loud)


def read_content(store: Store, name: str) -> bytes:
    """The bytes under a name that holds their sha256; DamagedObject where they are others."""
    return store.get(name, sha256=sha256_in(name))


def intact(store: Store, name: str) -> bool:
    """Whether the object is there and its bytes agree with its name. On this machine, hashed once until it changes."""
    sha256, path = sha256_in(name), store.local_path(name)
    return (path is not None and holds(path, sha256)) or store.digest(name) == sha256


def holds(path: Path, sha256: str) -> bool:
    """Whether what is read at a path of this machine has that sha256; hashed once until it changes."""
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if _proven.get((path, sha256)) == stamp:
                return True
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return False
    if found == sha256:
        if len(_proven) >= _MOST_PROVEN:
            _proven.clear()
        _proven[path, sha256] = stamp
    return found == sha256


def set_aside(store: Store, name: str, why: object, *, loud: bool = False) -> None:
    """Move what is under `name` out of the way. The report of the run says so; a warning only where it is `loud`."""
    kept = store.set_aside(name)
    level = logging.WARNING if loud else logging.INFO
    _log.log(level, "%s: it is made again; the damaged object is kept as %s", why, kept)


class SetAside:
    """What any process sets aside in a store from `begin` on."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._before: set[str] = set()

    def begin(self) -> None:
        """What is aside by now is not meant."""
        self._before = set(self.store.names(ASIDE))

    def said(self) -> list[str]:
        """A sentence for each object."""
        try:
            new = sorted(set(self.store.names(ASIDE)) - self._before)
        except StoreError as error:
            return [f"the damaged objects of the store cannot be listed: {error}"]
        names = [name.removeprefix(f"{ASIDE}/").rpartition(".")[0] for name in new]
        return [f"{n} was damaged in the store; it was set aside as {a}" for n, a in zip(names, new, strict=True)]


def _write(store: Store, name: str, data: bytes, is_good: Callable[[], bool], *, loud: bool = False) -> bool:
    for _ in range(3):
        if store.create(name, data):
            return True
        store.refresh(name)  # before it is looked at: from then on it is not retired
        if is_good():
            return False
        set_aside(store, name, f"{store.url}: {name} is damaged", loud=loud)
    raise StoreError(
        f"{store.url}: {name} is damaged each time it is written; check the disk, "
        f"and see what was set aside in {ASIDE}/ there"
    )


def _sha256_of(document: Mapping[str, Any]) -> str:
    return sha256_of(_compact(document))


def _compact(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
