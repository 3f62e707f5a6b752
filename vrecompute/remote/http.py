"""`HttpSource`: a file on a web server as a `ByteSource`: WebDAV storage, XRootD's and dCache's https, any site.

Ranges are asked for in few requests: up to 64 of them and 4 MiB in one, where the server answers several ranges at once
(RFC 9110, multipart/byteranges), and one by one where it does not.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vrecompute.addresses import parts_of
from vrecompute.errors import CredentialError, TransientRead, UnreadableFile
from vrecompute.lifetime import Lifetime
from vrecompute.reader.bytesource import Stamp, link_of
from vrecompute.reader.identity import sampled_content
from vrecompute.remote import credentials, weblisting
from vrecompute.remote.fetch import Limits, Passing, Piece, at_once, begin, patiently, requests_of
from vrecompute.remote.web import USUAL, Manner, answer, broken, failed, leave
from vrecompute.traffic import fetched

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["TOLD", "HttpSource", "one_by_one"]

_REQUEST_BYTES = 4 << 20
_SEVERAL = Limits(ranges=64, request_bytes=_REQUEST_BYTES, range_bytes=_REQUEST_BYTES)
_ONE = Limits(ranges=1, request_bytes=_REQUEST_BYTES, range_bytes=_REQUEST_BYTES)
# What an answer tells of the file, as far as its server tells it.
TOLD = ("ETag", "Last-Modified")
_BLOCK_BYTES = 256 * 1024
_REQUEST_S = 300.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MOST_LINES = 32

# Links whose servers answer one range at a time.
_one_by_one: set[str] = set()


def one_by_one(link: str) -> None:
    """The servers of a link answer one range at a time."""
    _one_by_one.add(link)


class _OneByOne(Exception):
    """The server does not answer several ranges as such."""


class HttpSource:
    """The file as it was when it was looked at: by the range of its first byte, since not all servers answer HEAD.

    Its stamp is its size, ETag and time of modification, which a WebDAV server may have to be asked for; where there is
    neither, the sha256 of samples. Each answer is compared with it. Redirects are followed once. Raises UnreadableFile.
    """

    def __init__(self, address: str, manner: Manner = USUAL) -> None:
        self.address = address
        self.link = link_of(address)
        self._manner = manner
        self.size = 0
        self._leads_to = ""
        self._validators: Mapping[str, str] = {}
        patiently(self._look)
        told = tuple(self._validators.values()) or (sampled_content(self),)
        self.stamp: Stamp = (self.size, *told)
        self.proves_itself = any(name in self._validators for name in TOLD)

    entries = staticmethod(weblisting.entries)

    @staticmethod
    def lifetime(address: str) -> Lifetime | None:
        """See `ByteSource`."""
        parts = parts_of(address)
        return credentials.lifetime(parts.hostname or "") if parts.scheme == "https" else None

    @staticmethod
    def secret_files(address: str, *, read: bool = True) -> dict[str, bytes]:
        """See `ByteSource`."""
        parts = parts_of(address)
        return credentials.secret_files(parts.hostname or "", read=read) if parts.scheme == "https" else {}

    def read_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """See `ByteSource`."""
        at_once(self._requests(pieces, into), self.link)

    def begin_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> Callable[[], None]:
        """See `ByteSource`."""
        return begin(self._requests(pieces, into), self.link)

    def checksum(self, algorithm: str) -> str | None:
        """What the server says that the file's checksum is (RFC 3230); None where it tells none of the kind."""
        try:
            url = self._leads_to or self._url()
            response, _ = answer(self.address, url, {"Want-Digest": algorithm}, "HEAD", self._manner)
        except UnreadableFile:
            return None
        leave(response)
        found = re.search(rf"\b{algorithm}=([0-9a-fA-F]{{8}})\b", response.headers.get("Digest", ""))
        return found[1] if found and algorithm == "adler32" else None

    def _requests(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> list[Callable[[], None]]:
        limits = _ONE if self.link in _one_by_one else _SEVERAL
        return [partial(self._fetch, request, into) for request in requests_of(pieces, limits)]

    def _look(self) -> None:
        response = self._ask("0-0")
        try:
            if response.status == 416:
                return  # nothing is in it
            if response.status != 206:
                raise UnreadableFile(
                    self.address, f"{self.link} gives whole files only and no ranges of them; copy the file first"
                )
            _, _, self.size = self._range_in(response.headers.get("Content-Range", ""))
            names = (name for name in TOLD if name in response.headers)
            self._validators = {name: response.headers[name] for name in names}
            response.read()
        except broken() as error:
            raise failed(self.address, self.link, error) from error
        finally:
            leave(response)
        fetched(self.link, 1)
        if not self._validators and (changed := patiently(partial(self._property, "getlastmodified"))):
            self._validators = {"getlastmodified": changed}

    def _property(self, name: str) -> str:
        """A property of the file by WebDAV (RFC 4918); empty where the server does not speak it, or not to us."""
        try:
            response, _ = answer(self.address, self._leads_to or self._url(), {"Depth": "0"}, "PROPFIND")
            said = response.read(_BLOCK_BYTES).decode(errors="replace")
            leave(response)
        except Passing:
            raise  # without it the file would seem to be another one
        except UnreadableFile:
            return ""
        except broken() as error:
            raise failed(self.address, self.link, error) from error
        fetched(self.link, 0)
        found = re.search(rf"<[^<>]*\b{name}\b[^<>]*>([^<>]+)<", said)
        return found[1].strip() if found else ""

    def _fetch(self, request: list[Piece], into: NDArray[np.uint8]) -> None:
        """Fill `into` with the pieces of one request, or of as many as there are pieces, each tried again by itself."""
        if len(request) == 1:
            self._transfer(request, into.data)
            return
        if self.link not in _one_by_one:
            try:
                self._transfer(request, into.data)
                return
            except _OneByOne:
                one_by_one(self.link)
        for piece in request:
            patiently(partial(self._transfer, [piece], into.data))

    def _transfer(self, request: list[Piece], into: memoryview) -> None:
        response = self._ask(",".join(f"{piece.start}-{piece.stop - 1}" for piece in request))
        stream = _Stream(self.address, self.link, response)
        try:
            self._check(response)
            several = "multipart/" in response.headers.get("Content-Type", "")
            if response.status != 206 or several != (len(request) > 1):
                if len(request) > 1:
                    raise _OneByOne
                raise Passing(self.address, f"{self.link} gave something else than the range that was asked for")
            left = {(piece.start, piece.stop): piece for piece in request}
            while left:
                said = stream.part() if several else response.headers.get("Content-Range", "")
                start, stop, size = self._range_in(said)
                if size != self.size:
                    raise TransientRead(self.address, f"changed while it was read: it has {size} bytes")
                if (start, stop) not in left:
                    raise (
                        _OneByOne if several else Passing(self.address, f"{self.link} gave other bytes than asked for")
                    )
                piece = left.pop((start, stop))
                stream.fill(into[piece.at : piece.at + piece.stop - piece.start])
            stream.end()
        except broken() as error:
            raise failed(self.address, self.link, error) from error
        finally:
            leave(response)
            fetched(self.link, stream.filled)

    def _url(self) -> str:
        """What to ask for it."""
        return self.address

    def _ask(self, ranges: str) -> BaseHTTPResponse:
        """The answer to a request for ranges; one that fails where redirects led before begins at the address again."""
        leads_to = self._leads_to
        url = leads_to or self._url()
        try:
            response, where = answer(self.address, url, {"Range": f"bytes={ranges}"}, manner=self._manner)
        except UnreadableFile as error:
            self._leads_to = ""
            if leads_to and not isinstance(error, CredentialError):
                raise Passing(self.address, error.reason) from error
            raise
        if where != url:
            self._leads_to = where
        return response

    def _check(self, response: BaseHTTPResponse) -> None:
        if response.status == 416:
            raise TransientRead(self.address, "changed while it was read: it is shorter now")
        for name, value in self._validators.items():
            if (now := response.headers.get(name, value)) != value:
                raise TransientRead(self.address, f"changed while it was read: its {name} was {value}, is now {now}")

    def _range_in(self, said: str) -> tuple[int, int, int]:
        """Start, stop and the size of the whole of a Content-Range."""
        match = _RANGE.fullmatch(said.strip())
        if not match or (size := self.size if match[3] == "*" else int(match[3])) <= 0:
            raise UnreadableFile(self.address, f"{self.link} answers with ranges that make no sense: {said[:80]!r}")
        return int(match[1]), int(match[2]) + 1, size


class _Stream:
    """The content of an answer. `filled` are the bytes that were put where they belong."""

    def __init__(self, address: str, link: str, response: BaseHTTPResponse) -> None:
        self.address, self.link, self.filled = address, link, 0
        self._response = response
        self._stream = io.BufferedReader(response, _BLOCK_BYTES)
        self._until = time.monotonic() + _REQUEST_S

    def part(self) -> str:
        """The Content-Range of the next part of a multipart answer, whose content comes next."""
        said = ""
        for _ in range(_MOST_LINES):
            line = self._stream.readline(4096)
            if not line:
                raise Passing(self.address, f"{self.link} ended in the middle of its answer")
            name, _, value = line.decode("latin-1").partition(":")
            if name.strip().lower() == "content-range":
                said = value
            if said and not line.strip():
                break
        if not said:
            raise _OneByOne
        return said

    def fill(self, view: memoryview) -> None:
        """The next bytes. Raises Passing where they do not come."""
        while view:
            if time.monotonic() > self._until:
                raise Passing(self.address, f"{self.link} took longer than {_REQUEST_S:.0f} s for one request")
            count = self._stream.readinto1(view[:_BLOCK_BYTES])
            if not count:
                raise Passing(self.address, f"{self.link} ended in the middle of its answer")
            self.filled += count
            view = view[count:]

    def end(self) -> None:
        """Pass over what is left, so that the connection can be used again."""
        self._response.drain_conn()
