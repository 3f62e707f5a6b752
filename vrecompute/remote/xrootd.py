"""`RootSource`: a file of an XRootD server as a `ByteSource`, by XRootD's own Python bindings: the extra `xrootd`.

Ranges are read by vector_read, up to 1024 and 8 MiB in one request. The bindings find tokens and proxies themselves.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.addresses import parts_of
from vrecompute.errors import CredentialError, TransientRead, UnreadableFile
from vrecompute.lifetime import Lifetime
from vrecompute.reader.bytesource import Stamp, link_of
from vrecompute.remote import credentials
from vrecompute.remote.deadhosts import reaching
from vrecompute.remote.fetch import Limits, Passing, Piece, Unreached, at_once, begin, patiently, requests_of
from vrecompute.traffic import fetched

__all__ = ["RootSource"]

# Servers read at most 2 MiB less a header for one range (readv_ior_max).
_LIMITS = Limits(ranges=1024, request_bytes=8 << 20, range_bytes=(2 << 20) - 16)
_ANSWER_S = 30
# Settings of the bindings, which else let a request wait for half an hour; those of $XRD_... in the environment stay.
_PATIENCE = {
    "ConnectionWindow": 10,
    "ConnectionRetry": 1,
    "StreamErrorWindow": 0,
    "RequestTimeout": _ANSWER_S,
    "StreamTimeout": _ANSWER_S,
    "TimeoutResolution": 1,
}
# Errors that a server answers (XProtocol.hh), and that the client finds (XrdClStatus.hh).
_ANSWERED = 400
_SAID = {3010: "does not permit it", 3011: "has no such file", 3015: "has no such file", 3016: "has a folder there"}
_NOT_PERMITTED, _NOT_AUTHENTICATED = 3010, 3030
_FAILING = frozenset({3005, 3007, 3008, 3012, 3014, 3020, 3024, 3029, 3031, 3034, 3035})
_NO_LOGIN = frozenset({203, 204})
_HEXADECIMAL = re.compile("[0-9a-fA-F]+")
_SENSELESS = frozenset({3, 9, 13, 15, 101})


class RootSource:
    """The file as it was when it was looked at; it is opened when it is read. Raises UnreadableFile."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.link = link_of(address)
        self._lock = threading.Lock()
        self._file: Any = None
        status = patiently(partial(_look, address))
        self.size = int(status.size)
        self.stamp: Stamp = (self.size, int(status.modtime))
        fetched(self.link, 0)

    @staticmethod
    def entries(folder: str) -> Iterator[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder itself. Raises UnreadableFile."""
        from XRootD.client.flags import DirListFlags, StatInfoFlags

        found = patiently(lambda: _asked(folder, "dirlist", DirListFlags.STAT))
        return ((entry.name, bool(entry.statinfo.flags & StatInfoFlags.IS_DIR)) for entry in found)

    @staticmethod
    def lifetime(address: str) -> Lifetime | None:
        """See `ByteSource`."""
        return credentials.lifetime(parts_of(address).hostname or "")

    @staticmethod
    def secret_files(address: str, *, read: bool = True) -> dict[str, bytes]:
        """See `ByteSource`."""
        return credentials.secret_files(parts_of(address).hostname or "", read=read)

    def checksum(self, algorithm: str) -> str | None:
        """What the server says that the file's checksum is; None where it has none of the kind."""
        from XRootD.client.flags import QueryCode

        try:
            system, path = _system(self.address)
            asked = f"{path}?cks.type={algorithm}"
            said = _said(self.address, lambda: system.query(QueryCode.CHECKSUM, asked, timeout=_ANSWER_S))
        except UnreadableFile:
            return None
        kind, _, digits = said.rstrip(b"\0").decode("latin-1").partition(" ")
        return digits if kind == algorithm and _HEXADECIMAL.fullmatch(digits) else None

    def read_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """See `ByteSource`."""
        at_once(self._requests(pieces, into), self.link)

    def begin_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> Callable[[], None]:
        """See `ByteSource`."""
        return begin(self._requests(pieces, into), self.link)

    def _requests(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> list[Callable[[], None]]:
        return [partial(self._fetch, request, into) for request in requests_of(pieces, _LIMITS)]

    def _fetch(self, request: list[Piece], into: NDArray[np.uint8]) -> None:
        file, got = self._opened(), 0
        try:
            wanted = [(piece.start, piece.stop - piece.start) for piece in request]
            found = _said(self.address, lambda: file.vector_read(wanted, timeout=_ANSWER_S))
            for piece, chunk in zip(request, found.chunks, strict=True):
                if (chunk.offset, len(chunk.buffer)) != (piece.start, piece.stop - piece.start):
                    raise Passing(self.address, f"{self.link} gave other bytes than asked for")
                into[piece.at : piece.at + len(chunk.buffer)] = np.frombuffer(chunk.buffer, dtype=np.uint8)
                got += len(chunk.buffer)
        except UnreadableFile:
            self._file = None  # opened anew: its server may be gone, and another one have it
            raise
        finally:
            fetched(self.link, got)

    def _opened(self) -> Any:
        with self._lock:
            if self._file is None:
                file = _client(self.address).File()
                _said(self.address, lambda: file.open(self.address, timeout=_ANSWER_S))
                status = _said(self.address, lambda: file.stat(timeout=_ANSWER_S))
                if (int(status.size), int(status.modtime)) != self.stamp:
                    raise TransientRead(self.address, "changed while it was opened")
                self._file = file
            return self._file


def _look(address: str) -> Any:
    status = _asked(address, "stat")
    from XRootD.client.flags import StatInfoFlags

    if status.flags & StatInfoFlags.IS_DIR:
        raise UnreadableFile(
            address, f"{link_of(address)} has a folder there; end the address with '/' to take all of it"
        )
    return status


def _asked(address: str, what: str, *given: Any) -> Any:
    """What the server of an address says of its path."""
    system, path = _system(address)
    return _said(address, lambda: getattr(system, what)(path, *given, timeout=_ANSWER_S))


def _system(address: str) -> tuple[Any, str]:
    client = _client(address)
    url = client.URL(address)
    return client.FileSystem(f"{url.protocol}://{url.hostid}"), url.path_with_params


def _said(address: str, ask: Callable[[], tuple[Any, Any]]) -> Any:
    """What the answer to a request holds. Raises what its status means."""
    with reaching(address, link_of(address)):
        return _content(address, *ask())


def _content(address: str, status: Any, content: Any) -> Any:
    if status.ok:
        return content
    link, said = link_of(address), " ".join(status.message.split())
    refused = {_NOT_AUTHENTICATED} | (
        {_NOT_PERMITTED} if credentials.usable() == [] else set()
    )  # all there is has expired
    if status.code in _NO_LOGIN or (status.code == _ANSWERED and status.errno in refused):
        raise CredentialError(
            address, f"{link} does not let {socket.gethostname()} in ({said}): {credentials.why_none()}"
        )
    if status.code == _ANSWERED and status.errno not in _FAILING:
        raise UnreadableFile(address, f"{link} {_SAID.get(status.errno, 'refuses it')} ({said})")
    if status.code in _SENSELESS:
        raise UnreadableFile(address, f"{link} cannot be asked for it ({said})")
    kind = Passing if status.code == _ANSWERED else Unreached
    raise kind(address, f"{link} does not give it ({said})")


@cache
def _bindings() -> Any:
    credentials.lead_to_brought()
    client: Any = import_module("XRootD.client")
    for name, seconds in _PATIENCE.items():
        client.EnvPutInt(name, seconds)
    return client


def _client(address: str) -> Any:
    try:
        return _bindings()
    except ImportError as error:
        raise UnreadableFile(
            address,
            f"XRootD's Python bindings, which read it, are not installed on {socket.gethostname()}: "
            "pip install 'vrecompute[xrootd]'",
        ) from error
