"""Bearer tokens and X.509 proxies of this user, where grid software leaves them; read anew each time, never kept.

A token is that of $BEARER_TOKEN, of the file $BEARER_TOKEN_FILE, of the secret file BEARER_TOKEN that a job was
brought, of $XDG_RUNTIME_DIR/bt_u<uid> or of /tmp/bt_u<uid> (WLCG Bearer Token Discovery 1.0); a proxy is that of
$X509_USER_PROXY, of the secret file of that name that a job was brought, or of /tmp/x509up_u<uid>. One that has expired
is passed over for one that has not.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from vrecompute.lifetime import Lifetime, moment_text, token_claims
from vrecompute.regular_file import read_regular

__all__ = [
    "Proxy",
    "Token",
    "bearer_token",
    "lead_to_brought",
    "lifetime",
    "secret_files",
    "usable",
    "why_none",
    "x509_proxy",
]

_MOST_BYTES = 64 * 1024
_FOLDER, _ME = "/tmp", os.getuid()
_TOKEN_FILE, _PROXY_FILE = "BEARER_TOKEN", "X509_USER_PROXY"
_ANY = ("/jwt/v1/any", "ANY")  # how the audience "any" of a WLCG token ends


@dataclass(frozen=True)
class Token:
    """A bearer token, which no text of it shows. `where` is where it was found; `expires` in seconds since 1970."""

    value: str = field(repr=False)
    where: str
    expires: float | None = None
    audience: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it has expired."""
        return self.expires is not None and self.expires <= time.time()

    def is_for(self, host: str) -> bool:
        """Whether a host may see it: any where it does not say for which it is."""
        hosts = {re.sub(r"^[a-z]+://", "", a).partition("/")[0].partition(":")[0] for a in self.audience}
        return not self.audience or host in hosts or any(audience.endswith(_ANY) for audience in self.audience)

    @property
    def name(self) -> str:
        """What it is, and where."""
        return f"the bearer token of {self.where}"

    def __str__(self) -> str:
        return f"{self.name}{_over(self.expires)}"


@dataclass(frozen=True)
class Proxy:
    """The file of an X.509 proxy: certificates and key. `stamp` is another one when it was renewed."""

    path: str
    stamp: int
    expires: float

    @property
    def is_over(self) -> bool:
        """Whether it has expired."""
        return self.expires <= time.time()

    @property
    def name(self) -> str:
        """What it is, and where."""
        return f"the X.509 proxy {self.path}"

    def __str__(self) -> str:
        return f"{self.name}{_over(self.expires)}"


_C = TypeVar("_C", Token, Proxy)


def _over(expires: float | None) -> str:
    if expires is None or expires > time.time():
        return ""
    return f", which expired at {moment_text(expires)}"


def bearer_token() -> Token | None:
    """The first token that is found and has not expired; where all have, the first."""
    texts = ((where, text.strip()) for where, text in _tokens())
    return _best(
        Token(text, where, *token_claims(text)) for where, text in texts if re.fullmatch(r"[A-Za-z0-9._~+/=-]+", text)
    )


def x509_proxy() -> Proxy | None:
    """The first proxy that is found and has not expired; where all have, the first."""
    return _best(_proxies())


def secret_files(host: str, *, read: bool = True) -> dict[str, bytes]:
    """What a job has to be brought to show a host what it may be shown from here: name -> content, empty unless `read`.

    What has expired is left here.
    """
    token, proxy = bearer_token(), x509_proxy()
    found: dict[str, bytes] = {}
    if token is not None and not token.is_over and token.is_for(host):
        found[_TOKEN_FILE] = token.value.encode() if read else b""
    if proxy is not None and not proxy.is_over:
        with suppress(OSError):
            found[_PROXY_FILE] = read_regular(Path(proxy.path), _MOST_BYTES) if read else b""
    return found


def lead_to_brought() -> None:
    """Name what this job was brought in the environment, for software that looks there, unless something else is."""
    for variable, path in {
        "BEARER_TOKEN_FILE": _brought(_TOKEN_FILE),
        "X509_USER_PROXY": _brought(_PROXY_FILE),
    }.items():
        if os.path.isfile(path):
            os.environ.setdefault(variable, path)


def _best(found: Iterable[_C]) -> _C | None:
    """The first that has not expired, or else the first."""
    several = list(found)
    return next((item for item in several if not item.is_over), several[0] if several else None)


def _proxies() -> Iterator[Proxy]:
    places = [os.environ.get("X509_USER_PROXY", ""), _brought(_PROXY_FILE), own := f"{_FOLDER}/x509up_u{_ME}"]
    for path in filter(None, places):
        with suppress(OSError):
            status = os.stat(path)
            if (path != own or status.st_uid == _ME) and (proxy := _proxy(Path(path), status.st_mtime_ns)) is not None:
                yield proxy


def _brought(name: str) -> str:
    """The secret file of that name, of a job that was brought it."""
    return os.path.join(os.environ.get("VRECOMPUTE_SECRETS", "/nonexistent"), name)


@lru_cache(maxsize=4)
def _proxy(path: Path, stamp: int) -> Proxy | None:
    from cryptography import x509

    with suppress(ValueError, OSError):
        chain = x509.load_pem_x509_certificates(read_regular(path, _MOST_BYTES))
        return Proxy(str(path), stamp, min(c.not_valid_after_utc for c in chain).timestamp())
    return None


def usable() -> list[Token | Proxy] | None:
    """What there is that has not expired, token and proxy; None where nothing was found, be it expired or not."""
    found = [item for item in (bearer_token(), x509_proxy()) if item is not None]
    return [item for item in found if not item.is_over] if found else None


def lifetime(host: str) -> Lifetime | None:
    """That of the credential which a host may be shown the longest; None without one, or where it tells no end."""
    token, proxy = bearer_token(), x509_proxy()
    shown = [item for item in (token if token is not None and token.is_for(host) else None, proxy) if item is not None]
    lives = [Lifetime(item.name, item.expires) for item in shown if item.expires is not None]
    return max(lives, key=lambda life: life.ends) if lives and len(lives) == len(shown) else None


def why_none() -> str:
    """What there is that cannot be used, or where nothing was found."""
    found = [str(item) for item in (bearer_token(), x509_proxy()) if item is not None and item.is_over]
    return "; ".join(found) or (
        "no bearer token ($BEARER_TOKEN, $BEARER_TOKEN_FILE, $XDG_RUNTIME_DIR or /tmp) and no X.509 proxy "
        "($X509_USER_PROXY or /tmp) was found"
    )


def _tokens() -> Iterator[tuple[str, str]]:
    if value := os.environ.get("BEARER_TOKEN"):
        yield "$BEARER_TOKEN", value
    named = os.environ.get("BEARER_TOKEN_FILE")
    own = f"bt_u{_ME}"
    places = [
        (f"$BEARER_TOKEN_FILE ({named})", named, False),
        ("this job", _brought(_TOKEN_FILE), False),
        (f"$XDG_RUNTIME_DIR/{own}", os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), own), True),
        (f"{_FOLDER}/{own}", f"{_FOLDER}/{own}", True),
    ]
    for where, path, shared in places:
        if path and (content := _content(Path(path), shared=shared)) is not None:
            yield where, content.decode(errors="replace")


def _content(path: Path, *, shared: bool) -> bytes | None:
    """What a file holds; None without one. In a folder that all users share, only one of this user counts."""
    try:
        return None if shared and path.stat().st_uid != _ME else read_regular(path, _MOST_BYTES)
    except OSError:
        return None
