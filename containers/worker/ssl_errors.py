"""Debian 13's Python 3.13.5 leaves OpenSSL's error queue dirty when a peer is gone; this clears it.

`_ssl` returns early for ERR_LIB_SYS (python/cpython#127257, with OpenSSL 3.4 and later) without clearing
the queue, which is one per thread: the next read of ANOTHER connection of that thread then fails with
BrokenPipeError. Dask's event loop serves all its TLS connections on one thread, so one worker that
leaves would take others with it. Imported by a .pth file at interpreter start; only this image has it.
"""

import ctypes
import functools
import ssl
from collections.abc import Callable
from typing import Any

_clear = ctypes.CDLL("libcrypto.so.3").ERR_clear_error


def _clean(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: ssl.SSLSocket, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except OSError:
            _clear()
            raise

    return call


for _name in ("read", "write", "send", "do_handshake", "unwrap"):
    setattr(ssl.SSLSocket, _name, _clean(getattr(ssl.SSLSocket, _name)))
