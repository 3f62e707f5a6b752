"""`Relay`: a port of loopback that leads to another, counts what comes back, delays it, and can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Relay", "relayed"]


@dataclass
class Relay:
    """`received` are bytes that came from the other side; with `latency_s` each answer comes so much later.

    Once it has passed on `cut_after` bytes it is gone for good, as a machine is that loses its power.
    """

    target: int
    port: int = 0
    received: int = 0
    latency_s: float = 0.0
    cut_after: int | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def cut(self) -> None:
        """Close everything, and accept nothing more."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _carry(self, source: socket.socket, sink: socket.socket, *, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if back and self.latency_s:
                    time.sleep(self.latency_s)
                if back:
                    self.received += len(data)
                sink.sendall(data)
                if self.cut_after is not None and self.received > self.cut_after:
                    self.cut()
            sink.shutdown(socket.SHUT_WR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = listening.accept()
                there = socket.create_connection(("127.0.0.1", self.target))
                self._open += [here, there]
                for each in (here, there):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, sink, back in ((here, there, False), (there, here, True)):
                    threading.Thread(
                        target=self._carry, args=(source, sink), kwargs={"back": back}, daemon=True
                    ).start()


@contextlib.contextmanager
def relayed(target: int) -> Iterator[Relay]:
    """A relay to a port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    relay = Relay(target, listening.getsockname()[1])
    relay._open.append(listening)
    threading.Thread(target=relay._accept, args=(listening,), daemon=True).start()
    try:
        yield relay
    finally:
        relay.cut()
