"""`S3Source`: an object in S3 as a `ByteSource`; its address has the options of an S3 store's (`stores.s3connection`).

    s3://bucket/path/a.root?endpoint=https://object.example.org&credentials=env:VRE

Keys sign URLs here, for minutes; ranges are read from these as from any web server. A worker that was given a URL of
the object, signed by its client, needs no keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from vrecompute.errors import (
    AbsentObject,
    CredentialError,
    StoreError,
    StoreRefused,
    TransientRead,
    TransientStore,
    UnreadableFile,
    UsageError,
)
from vrecompute.lifetime import Lifetime
from vrecompute.reader.bytesource import link_of
from vrecompute.remote import http
from vrecompute.remote.deadhosts import reaching
from vrecompute.remote.fetch import Passing, Piece, Unreached, patiently
from vrecompute.remote.signed import signed_for
from vrecompute.remote.web import Manner
from vrecompute.stores.address import StoreAddress
from vrecompute.stores.s3connection import S3Connection
from vrecompute.traffic import fetched

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["S3Source"]

_SIGNED_S = 3600
# Keys with an end are renewed a quarter of an hour before it: what they signed lately is good.
_KEPT_S = 300.0


class S3Source(http.HttpSource):
    """The object as it was when it was looked at. Raises UnreadableFile, CredentialError where keys are at fault."""

    def __init__(self, address: str) -> None:
        self._connection, self._key = _place(address)
        self._signed, self._signed_at = "", 0.0
        http.one_by_one(link_of(address))
        super().__init__(address, Manner(ca=self._connection.address.options.get("ca", ""), signed=True))

    @staticmethod
    def entries(folder: str) -> list[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder itself. Raises UnreadableFile."""
        connection, prefix = _place(folder)
        found = _listed(folder, connection, prefix)
        if not found:
            raise UnreadableFile(folder, f"{link_of(folder)} holds nothing there")
        return found

    @staticmethod
    def lifetime(address: str) -> Lifetime | None:
        """See `ByteSource`."""
        if (given := signed_for(address)) is not None:
            return Lifetime("the address that was signed for this job", given.until)
        return _place(address)[0].lifetime()

    @staticmethod
    def secret_files(address: str, *, read: bool = True) -> dict[str, bytes]:
        """See `ByteSource`."""
        connection = _place(address)[0]
        return {connection.address.secret_name: connection.secret() if read else b""}

    def checksum(self, algorithm: str) -> None:
        """No service tells any that is known to be of the whole object."""

    @staticmethod
    def signed(address: str, life_s: float) -> tuple[str, float]:
        """See `ByteSource`."""
        connection, key = _place(address)
        url, until = _understood(address, lambda: connection.signed(key, life_s))
        return url, until

    def _look(self) -> None:
        if signed_for(self.address) is not None:
            super()._look()
            return
        connection = self._connection
        said = _asked(self.address, connection, lambda: connection.head("reading it", self._key, connection.ask_once))
        told = said["ResponseMetadata"]["HTTPHeaders"]
        self.size = int(said["ContentLength"])
        self._validators = {n: told[n.lower()] for n in http.TOLD if n.lower() in told}
        fetched(self.link, 0)

    def _transfer(self, request: list[Piece], into: memoryview) -> None:
        self._connection.bandwidth.take(sum(piece.stop - piece.start for piece in request))
        super()._transfer(request, into)

    def _ask(self, ranges: str) -> BaseHTTPResponse:
        try:
            return super()._ask(ranges)
        except TransientRead as error:
            if isinstance(error, Passing) or signed_for(self.address) is None:
                raise
            why = "the address that the client signed for this worker has expired, or its keys may not read it"
            raise CredentialError(
                self.address, f"{error.reason}: {why}; run again, what is finished is kept"
            ) from error

    def _url(self) -> str:
        if (given := signed_for(self.address)) is not None:
            return given.url(self.address)
        if not self._signed or time.monotonic() > self._signed_at + _KEPT_S:
            self._signed, _ = self.signed(self.address, _SIGNED_S)
            self._signed_at = time.monotonic()
        return self._signed


def _place(address: str) -> tuple[S3Connection, str]:
    """The bucket that an address is in, and the key there."""
    try:
        said = StoreAddress.parse(address)
        bucket, _, key = said.place.partition("/")
        return _bucket(str(StoreAddress(said.scheme, bucket, said.endpoint, said.credentials, said.options))), key
    except UsageError as error:
        raise UnreadableFile(address, str(error)) from error


@lru_cache(maxsize=64)
def _bucket(url: str) -> S3Connection:
    return S3Connection(StoreAddress.parse(url))


def _listed(folder: str, connection: S3Connection, prefix: str) -> list[tuple[str, bool]]:
    start, found = prefix.rstrip("/") + "/" if prefix.strip("/") else "", []
    more: dict[str, Any] = {}
    while True:
        what = {"Prefix": start, "Delimiter": "/", **more}
        ask = partial(connection.ask_once, "reading it", "list_objects_v2", **what)
        said = patiently(partial(_asked, folder, connection, ask))
        found += [(item["Prefix"][len(start) :].rstrip("/"), True) for item in said.get("CommonPrefixes", ())]
        found += [(item["Key"][len(start) :], False) for item in said.get("Contents", ()) if item["Key"] != start]
        if not said.get("IsTruncated"):
            return found
        more = {"ContinuationToken": said["NextContinuationToken"]}


def _asked(address: str, connection: S3Connection, ask: Callable[[], Any]) -> Any:
    """What the service answers. Raises as `_understood`."""
    with reaching(address, connection.address.endpoint or link_of(address)):
        return _understood(address, ask)


def _understood(address: str, ask: Callable[[], Any]) -> Any:
    """What `ask` gives. Raises what a refusal means of a source."""
    try:
        return ask()
    except TransientStore as error:
        kind = Passing if hasattr(error.__cause__, "response") else Unreached
        raise kind(address, str(error)) from error
    except (StoreRefused, UsageError) as error:
        raise CredentialError(address, str(error)) from error
    except AbsentObject as error:
        raise UnreadableFile(address, f"{link_of(address)} has no such object") from error
    except StoreError as error:
        raise UnreadableFile(address, str(error)) from error
