"""`WebServer`: the files of a folder over http or https on loopback, counting, and lying where it is told to."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["WebServer", "authority", "serving"]

_counting = threading.Lock()


@dataclass
class WebServer:
    """`lie(path, range, number)` may name a lie for a request: see `_Handler`. `sent` are bytes of content by path.

    `token` is what it asks for, if anything. It answers `several` ranges at once, and tells ETags, unless it must not.
    """

    folder: Path
    url: str = ""
    lie: Callable[[str, str, int], str] = lambda path, ranges, number: ""
    token: str = ""
    several: bool = True
    etags: bool = True
    digests: bool = False
    delay_s: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    tokens: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: WebServer

    def setup(self) -> None:
        super().setup()
        with _counting:
            self.told.connections += 1
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        """The checksum of a file, where the server keeps any."""
        data = (self.told.folder / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        if self.told.digests:
            self.send_header("Digest", f"adler32={zlib.adler32(data):08x}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()

    def do_GET(self) -> None:
        told, path = self.told, self.path
        with _counting:
            told.requests[path] += 1
        time.sleep(told.delay_s)
        given, ranges = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        told.tokens += [given] if given else []
        lie = told.lie(path, ranges, sum(told.requests.values()))
        if told.token and given != f"Bearer {told.token}":
            self._say(401)
        elif lie.isdecimal():
            self._say(int(lie), {"Retry-After": "0"} if lie == "429" else {})
        elif lie.startswith("to "):
            self._say(302, {"Location": lie[3:]})
        elif lie == "hang up":
            self.close_connection = True
        elif (file := told.folder / path.lstrip("/")).is_dir():
            names = sorted(f"{f.name}/" if f.is_dir() else f.name for f in file.iterdir())
            self._say(200, {"Content-Type": "text/html"}, "".join(f'<a href="{n}">{n}</a>' for n in names).encode())
        elif not file.is_file():
            self._say(404)
        else:
            self._content(file, ranges, lie)

    def _content(self, file: Path, ranges: str, lie: str) -> None:
        data = file.read_bytes()
        headers = {"ETag": f'"{hash(data)}"'} if self.told.etags else {}
        spans = (
            [tuple(map(int, span.split("-"))) for span in ranges.removeprefix("bytes=").split(",")] if ranges else []
        )
        if lie == "whole" or not spans or (len(spans) > 1 and not self.told.several):
            self._say(200, headers, data)
        elif any(first >= len(data) for first, _ in spans):
            self._say(416, {"Content-Range": f"bytes */{len(data)}"})
        elif len(spans) == 1:
            ((first, last),) = spans
            shown = first + 1 if lie == "shifted" else first
            headers |= {"Content-Range": f"bytes {shown}-{last}/{len(data) + (lie == 'longer')}"}
            self._say(206, headers, data[first : last + 1], lie=lie)
        else:
            parts = [
                f"\r\n--xyz\r\nContent-Range: bytes {a}-{b}/{len(data)}\r\n\r\n".encode() + data[a : b + 1]
                for a, b in spans
            ]
            headers |= {"Content-Type": "multipart/byteranges; boundary=xyz"}
            body = b"".join(parts) + b"\r\n--xyz--\r\n"
            with _counting:  # heads are no content
                self.told.sent[self.path] -= len(body) - sum(len(data[a : b + 1]) for a, b in spans)
            self._say(206, headers, body, lie=lie)

    def _say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", *, lie: str = "") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with _counting:  # before the other side has it
            self.told.sent[self.path] += len(body)
        cut = {"cut": len(body) // 2, "cut early": 12}.get(lie)
        self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None


@contextmanager
def serving(folder: Path, pem: Path | None = None, clients: Path | None = None, port: int = 0) -> Iterator[WebServer]:
    """A server of `folder` on loopback, over https with the certificate and key in `pem`, to such `clients` alone."""
    told = WebServer(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"told": told}))
    server.daemon_threads = True
    # clients hang up, as they should; one that is refused has time to read why before the connection is reset
    server.handle_error = lambda *_: time.sleep(0.2)  # type: ignore[method-assign]
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    told.url = f"http{'s' * (pem is not None)}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()


def authority(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that proves itself, and a file with it and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(random.getrandbits(100))
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)
    return folder / "ca.pem", folder / "server.pem"
