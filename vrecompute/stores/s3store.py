"""`S3Store`: a store in a bucket, whose objects are the bucket's; what it needs besides lies below `.vrecompute/`.

PREFIX/NAME                              an object; its metadata hold the sha256 of what was put
PREFIX/.vrecompute/creates/ENDPOINT      whether that service has conditional writes, found by the first writer
PREFIX/.vrecompute/claims/NAME/WRITER    who would create the object of a name, where it has none
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject, StoreError
from vrecompute.lifetime import Lifetime
from vrecompute.stores.address import StoreAddress
from vrecompute.stores.base import Entry, aside_name, checked, object_path
from vrecompute.stores.ownership import Owner
from vrecompute.stores.s3connection import S3Connection, md5_of
from vrecompute.stores.s3files import LARGE, download, download_small, drop_unfinished, upload

__all__ = ["S3Store"]

_OWN = ".vrecompute"
# How long another writer's claim is respected. A claim is made, and all are listed, in less: see `_may_write`.
_CLAIM_S, _CLAIM_LOOK_S = 5.0, 0.25
# A writer whose claim is older than those of others by this is gone.
_GONE_S = 600.0
# An object that was written less than this ago needs no refreshing.
_FRESH_S = 86_400.0
# More cannot be copied by one request.
_MOST_COPIED = 5 << 30


class S3Store:
    """A Store in a bucket; see `S3Connection` for its address.

    Objects appear whole, as S3 has it. A name is created once by a conditional write. A service that refuses these, or
    takes them without heed, is found out by trial once for each store, and then its writers make claims first.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.bucket = S3Connection(address)
        self.url = str(address)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    @property
    def secret_name(self) -> str:
        """Of the secret file by which a job gets the keys."""
        return self.bucket.address.secret_name

    def secret(self) -> bytes:
        """What the secret file holds; StoreRefused where there are no keys here."""
        return self.bucket.secret()

    def lifetime(self) -> Lifetime | None:
        """That of its keys, where they tell one."""
        return self.bucket.lifetime()

    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken."""
        key, sha256 = self._key(name), sha256_of(data)
        if self._conditional:
            return self._put_new(key, data, sha256)
        return self._claimed(name, sha256, lambda: self._put(key, data, sha256))

    def replace(self, name: str, data: bytes) -> None:
        """A write without a condition."""
        self._put(self._key(name), data, sha256_of(data))

    def put_file(self, name: str, path: Path) -> bool:
        """As `create`; of a large file some pieces are in memory at a time."""
        if path.stat().st_size <= LARGE:
            return self.create(name, path.read_bytes())
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        # Ceph completes an upload of several pieces without heed to a condition.
        return self._claimed(name, sha256, lambda: upload(self.bucket, self._key(name), path, sha256))

    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """The object's bytes; DamagedObject where they are not what was asked for, or not what was put."""

        def read(answer: dict[str, Any]) -> tuple[bytes, str | None]:
            with contextlib.closing(answer["Body"]) as body:
                if most_bytes is not None and answer["ContentLength"] > most_bytes:
                    raise DamagedObject(
                        f"{self.bucket}: {name!r} has {answer['ContentLength']} bytes, more than vrecompute writes "
                        "under such a name"
                    )
                return body.read(), _sha256_put(answer)

        data, put = self._ask(name, "get_object", then=read)
        return checked(str(self.bucket), name, data, sha256 or put)

    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """Its owner is not known: all who have keys of the bucket write with them."""
        return self.get(name, most_bytes=most_bytes), Owner()

    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """By one request where it is small; else several ranges at a time, each written where it belongs.

        What there is of an earlier try is kept.
        """
        key = self._key(name)
        if (large := download_small(self.bucket, key, path, sha256, LARGE)) is not None:
            download(self.bucket, key, large, path, sha256 or _sha256_put(large))

    def stat(self, name: str) -> Entry | None:
        """What a HEAD says of the object."""
        head = self._head(name)
        return None if head is None else Entry(name, head["ContentLength"], head["LastModified"].timestamp())

    def digest(self, name: str) -> str | None:
        """The sha256 of the object's bytes, which are read for that piece by piece; None where absent."""

        def read(answer: dict[str, Any]) -> str:
            digest = hashlib.sha256()
            with contextlib.closing(answer["Body"]) as body:
                for piece in body.iter_chunks(1 << 20):
                    digest.update(piece)
            return digest.hexdigest()

        try:
            return str(self._ask(name, "get_object", then=read))
        except AbsentObject:
            return None

    def set_aside(self, name: str) -> str:
        """Copy the object and remove it, and the claims of writers that did not come to write it."""
        aside = aside_name(name)
        with contextlib.suppress(AbsentObject):
            self._ask(aside, "copy_object", CopySource=self._source(name))
            self.delete(name)
        for claim in self._list(self._claims(name)):
            self._delete(claim["Key"])
        return aside

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return self.stat(name) is not None

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted."""
        yield from (entry.name for entry in self._entries(prefix))

    def children(self, prefix: str) -> list[str]:
        """What follows the prefix up to the next `/`, which the service lists as such."""
        start = f"{self._key(prefix)}/"
        found = {str(key.get("Prefix") or key["Key"]) for key in self._list(start, Delimiter="/")}
        return sorted(n for key in found if (n := key.removeprefix(start).strip("/")) and not n.startswith("."))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """As `names`, with sizes and times; where all are listed, uploads that stopped a day ago go."""
        if not prefix:
            drop_unfinished(self.bucket, self._start)
        yield from self._entries(prefix)

    def delete(self, name: str) -> None:
        """Remove an object; absent is fine."""
        self._delete(self._key(name))

    def refresh(self, name: str) -> None:
        """Copy an object of more than a day ago onto itself, unless it is too large for that."""
        head = self._head(name)
        if head is None or time.time() - head["LastModified"].timestamp() < _FRESH_S:
            return
        if head["ContentLength"] < _MOST_COPIED:
            told = {"MetadataDirective": "REPLACE", "Metadata": head["Metadata"]}
            with contextlib.suppress(AbsentObject):
                self._ask(name, "copy_object", CopySource=self._source(name), **told)

    def retire(self, name: str, before: float) -> bool:
        """Remove an object by its time of writing."""
        head = self._head(name)
        if head is None or head["LastModified"].timestamp() >= before:
            return False
        self._delete(self._key(name))
        return True

    def local_path(self, name: str) -> Path | None:
        """None: objects are read by requests."""
        return None

    def _ask(self, name: str, method: str, **given: Any) -> Any:
        return self.bucket.ask(repr(name), method, Key=self._key(name), **given)

    def _source(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket.bucket, "Key": self._key(name)}

    def _put(self, key: str, data: bytes, sha256: str, **condition: str) -> None:
        told: dict[str, Any] = {"ContentMD5": md5_of(data), "Metadata": {"sha256": sha256}, **condition}
        self.bucket.ask(repr(key), "put_object", Key=key, Body=data, **told)

    def _put_new(self, key: str, data: bytes, sha256: str) -> bool:
        """A write on the condition that there is no such object; whether it was met."""
        try:
            self._put(key, data, sha256, IfNoneMatch="*")
        except StoreError as error:
            if self._kind(error) != "changed":
                raise
            return False
        return True

    def _kind(self, error: StoreError) -> str:
        """That of the fault behind it."""
        fault = None if error.__cause__ is None else self.bucket.fault(error.__cause__)
        return "" if fault is None else fault.kind

    @property
    def creates_conditionally(self) -> bool:
        """Whether the service itself lets one of several writers of a name win, rather than claims."""
        return self._conditional

    @cached_property
    def _conditional(self) -> bool:
        """Whether the service honours a conditional write: as was found before, or by trial."""
        own = f"{self._start}{_OWN}"
        known = f"{own}/creates/{sha256_of(self.bucket.endpoint.encode())[:16]}"
        with contextlib.suppress(AbsentObject):
            said = self.bucket.ask(repr(known), "get_object", Key=known, then=lambda answer: answer["Body"].read())
            return bool(said == b"conditional")
        trial = f"{own}/trials/{secrets.token_hex(8)}"
        try:
            self._put_new(trial, b"", sha256_of(b""))
            honoured = not self._put_new(trial, b"", sha256_of(b""))
        except StoreError as error:
            if self._kind(error) != "unsupported":
                raise
            honoured = False
        self._delete(trial)
        said = b"conditional" if honoured else b"claims"
        self._put(known, said, sha256_of(said))
        return honoured

    def _claimed(self, name: str, sha256: str, write: Callable[[], None]) -> bool:
        """Write unless the name is taken; one of many writers does, where none knows of another but by a listing.

        Of a name that holds the sha256 of what is written, any writer may: the bytes are the same.
        """
        if self.exists(name):
            return False
        if sha256 in name:
            write()
            return True
        mine = self._claims(name) + secrets.token_hex(8)
        try:
            self._put(mine, b"", sha256_of(b""))
            if may := self._may_write(name, mine):
                write()
            return may
        finally:  # also of a claim whose answer was lost: it would be in the way of all others
            self._delete(mine)

    def _may_write(self, name: str, mine: str) -> bool:
        """Whether this claim is the only one, or the first of those that were made at the same time.

        Each writer claims, then lists: at most one sees itself alone. The others wait for its object; where none comes,
        all claims of that moment are in the listing, and in one order for all of them.
        """
        alone = [claim["Key"] for claim in self._list(self._claims(name))] == [mine]
        if alone or self.exists(name):
            return alone and not self.exists(name)
        deadline = time.monotonic() + _CLAIM_S
        while time.monotonic() < deadline:
            time.sleep(_CLAIM_LOOK_S)
            if self.exists(name):
                return False
        claims = {claim["Key"]: claim["LastModified"].timestamp() for claim in self._list(self._claims(name))}
        standing = [(at, key) for key, at in claims.items() if at > claims.get(mine, 0) - _GONE_S]
        return mine in claims and min(standing)[1] == mine and not self.exists(name)

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            return self.bucket.head(repr(name), self._key(name), self.bucket.ask)
        except AbsentObject:
            return None

    def _entries(self, prefix: str) -> Iterator[Entry]:
        for found in self._list(f"{self._key(prefix)}/" if prefix else self._start):
            name = found["Key"].removeprefix(self._start)
            if not any(not part or part.startswith(".") for part in name.split("/")):
                yield Entry(name, found["Size"], found["LastModified"].timestamp())

    def _list(self, start: str, **options: Any) -> Iterator[dict[str, Any]]:
        """What the service lists of keys that begin so, a page of a thousand a request."""
        more: dict[str, Any] = {}
        while True:
            answer = self.bucket.ask(f"the list of {start}", "list_objects_v2", Prefix=start, **options, **more)
            yield from answer.get("CommonPrefixes", [])
            yield from answer.get("Contents", [])
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def _delete(self, key: str) -> None:
        self.bucket.ask(repr(key), "delete_object", Key=key)

    @property
    def _start(self) -> str:
        """How all keys of this store begin."""
        return f"{self.bucket.prefix}/" if self.bucket.prefix else ""

    def _key(self, name: str) -> str:
        """The bucket's key of an object; StoreError for what is no name."""
        return self._start + object_path("", name)[1:]

    def _claims(self, name: str) -> str:
        """How the keys of all claims to a name begin."""
        return f"{self._start}{_OWN}/claims/{sha256_of(name.encode())}/"


def _sha256_put(answer: Mapping[str, Any]) -> str | None:
    """What the writer of an object says that it wrote; None of another program's."""
    said: str | None = answer.get("Metadata", {}).get("sha256")
    return said
