"""A proxy in front of a service that spoils what a test chooses; the service itself verifies and answers the rest."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: What happens to a request: nothing; an answer (status, code) in the service's place; `reset` before it is asked,
#: `lost` after it was; `cut` or `flip` of what it answers.
Spoil = str | tuple[int, str] | None
_HOPS = {"connection", "transfer-encoding", "expect", "keep-alive"}


class Proxy(ThreadingHTTPServer):
    """Listens at loopback; `spoil(method, path, headers)` says what becomes of a request."""

    daemon_threads = True

    def __init__(self, endpoint: str, authority: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = urlsplit(endpoint)
        self.context = ssl.create_default_context(cafile=authority)
        self.spoil: Callable[[str, str, dict[str, str]], Spoil] = lambda method, path, headers: None
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers))
        spoil = self.server.spoil(self.command, self.path, headers)
        if spoil == "reset":
            self.close_connection = True
            return
        if isinstance(spoil, tuple):
            said = f"<?xml version='1.0'?><Error><Code>{spoil[1]}</Code><Message>spoilt</Message></Error>".encode()
            self._answer(spoil[0], {}, b"" if self.command == "HEAD" else said)
            return
        to = http.client.HTTPSConnection(self.server.to.hostname, self.server.to.port, context=self.server.context)
        to.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name not in _HOPS:
                to.putheader(name, value)
        to.endheaders(body)
        answer = to.getresponse()
        data = answer.read()
        to.close()
        if spoil == "lost":
            self.close_connection = True
        elif spoil == "flip" and data:
            self._answer(answer.status, dict(answer.headers), bytes([data[0] ^ 1]) + data[1:])
        else:
            self._answer(answer.status, dict(answer.headers), data, cut=spoil == "cut")

    def _answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOPS | {"content-length"}:
                self.send_header(name, value)
        length = headers.get("Content-Length", headers.get("content-length")) if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _any


@contextmanager
def in_front_of(endpoint: str, authority: str) -> Iterator[Proxy]:
    """A running proxy."""
    with Proxy(endpoint, authority) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield proxy
        proxy.shutdown()
