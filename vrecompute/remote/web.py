"""`answer`: what a web server says to one request, by redirects and with a credential where it asks for one.

Connections are kept, at most CONNECTIONS to one host. https is verified by the authorities of this machine, of
$SSL_CERT_FILE and of $X509_CERT_DIR. http is for this machine's own services, and for hosts that
$VRECOMPUTE_PLAIN_HTTP names, with commas; credentials are never sent over it, nor to a host that did not ask.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from vrecompute.addresses import address_fault, led_to, link_of, parts_of
from vrecompute.errors import CredentialError, TransientRead, UnreadableFile
from vrecompute.remote.credentials import bearer_token, usable, why_none, x509_proxy
from vrecompute.remote.deadhosts import reaching
from vrecompute.remote.fetch import Passing, Unreached

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["USUAL", "Manner", "answer", "broken", "failed", "leave", "link_of"]

PLAIN_HTTP = "VRECOMPUTE_PLAIN_HTTP"
CONNECTIONS = 8
_CONNECT_S, _ANSWER_S, _FREE_S = 10.0, 30.0, 120.0
_REDIRECTS = 5
_PASSING = frozenset({408, 421, 425, 429, 500, 502, 503, 504})
_GRID_AUTHORITIES = "/etc/grid-security/certificates"

# Links whose servers asked this process for a token.
_asking: set[str] = set()
# Links whose servers answered this process a request.
_answered: set[str] = set()


@dataclass(frozen=True)
class Manner:
    """How a server is spoken to: verified by the certificates in the file `ca` alone, if given; with URLs that are
    `signed`, which need no credential besides, and are signed anew where they are not accepted.
    """

    ca: str = ""
    signed: bool = False


USUAL = Manner()


def answer(
    address: str, url: str, headers: Mapping[str, str], method: str = "GET", manner: Manner = USUAL
) -> tuple[BaseHTTPResponse, str]:
    """The answer of status 200, 206, 207 or 416 to a request, its content still to be read, and the URL that gave it.

    Raises Passing where another try may help, CredentialError and UnreadableFile where none does; all with the address.
    """
    for _ in range(_REDIRECTS + 1):
        response = _asked(address, method, url, headers, manner)
        where = response.headers.get("Location", "")
        if response.status not in (301, 302, 303, 307, 308) or not where:
            break
        leave(response)
        following = led_to(url, where)
        if not following:
            raise UnreadableFile(address, f"{link_of(url)} leads to what is no address")
        if fault := address_fault(following):
            raise UnreadableFile(address, f"{link_of(url)} leads to {link_of(following)}: {fault}")
        if url.startswith("https:") and not following.startswith("https:") and not _is_allowed(following):
            raise UnreadableFile(address, f"{link_of(url)} leads to {link_of(following)}, which is not encrypted")
        url = following
    else:
        raise UnreadableFile(address, f"it leads on and on, more than {_REDIRECTS} times; correct the address")
    if response.status not in (200, 206, 207, 416):
        leave(response)
        if manner.signed and response.status in (400, 401, 403):
            raise TransientRead(address, f"{link_of(url)} does not accept what was signed ({response.status})")
        raise _refused(address, url, response)
    return response, url


def leave(response: BaseHTTPResponse) -> None:
    """Give up what is left of an answer, and its connection with it."""
    response.close()
    response.release_conn()


def broken() -> tuple[type[Exception], ...]:
    """What connections raise. urllib3 is imported late: it tries a socket when it is."""
    from urllib3.exceptions import HTTPError

    return HTTPError, OSError


def failed(address: str, url: str, error: Exception) -> UnreadableFile:
    """What an exception of a connection means: Passing, unless it is about certificates, the server's or ours."""
    said = re.sub(r"^.*object at 0x[0-9a-f]+>?: ", "", " ".join(str(error).split()))
    cause = next((e for e in (error, *error.args) if isinstance(e, ssl.SSLError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UnreadableFile(
            address,
            f"the certificate of {link_of(url)} is not trusted here ({cause.verify_message}); name its authority in "
            "$SSL_CERT_FILE or $X509_CERT_DIR",
        )
    if cause is not None and re.search("ALERT.*(CERT|UNKNOWN_CA)", cause.reason or ""):
        proxy = x509_proxy()
        why = why_none() if proxy is None or proxy.is_over else f"{proxy} is not accepted"
        return CredentialError(address, f"{link_of(url)} asks for a certificate ({cause.reason}): {why}; renew it")
    kind = Unreached if _is_silence(error) else Passing
    why = f"{link_of(url)} does not answer: {said[:300]}"
    if url.startswith("https:") and _hung_up(error) and link_of(url) not in _answered:
        # by TLS 1.3 a server looks at certificates when its client has connected already, and may end without a word
        proxy = x509_proxy()
        shown = f"none: {why_none()}" if proxy is None or proxy.is_over else str(proxy)
        why += f"; a server that asks for a certificate may end so, and it was shown {shown}"
    return kind(address, why)


def _hung_up(error: Exception) -> bool:
    """Whether the other side ended the connection."""
    ends = ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError
    return any(isinstance(e, ends) for e in (error, *error.args))


def _is_silence(error: Exception) -> bool:
    """Whether there was no host to be connected to, or it said nothing at all, so that others of its files wait too."""
    from urllib3 import exceptions

    return isinstance(error, (exceptions.TimeoutError, exceptions.ProxyError))


def _asked(address: str, method: str, url: str, headers: Mapping[str, str], manner: Manner) -> BaseHTTPResponse:
    if fault := address_fault(url):
        raise UnreadableFile(address, f"{link_of(url)}: {fault}")
    parts = parts_of(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and _is_allowed(url)):
        raise UnreadableFile(
            address,
            f"{link_of(url)} is not encrypted, and everybody on the way can read and change what it gives; write "
            f"https://, or name the host in ${PLAIN_HTTP}",
        )
    asking = link_of(url) in _asking
    response = _request(address, method, url, headers, host if secure and asking else "", manner)
    if secure and response.status in (401, 403) and not asking and not manner.signed:
        token = bearer_token()
        if token is not None and not token.is_over and token.is_for(host):
            leave(response)
            _asking.add(link_of(url))
            response = _request(address, method, url, headers, host, manner)
    return response


def _request(
    address: str, method: str, url: str, headers: Mapping[str, str], host: str, manner: Manner
) -> BaseHTTPResponse:
    """The answer to one request; a token goes with it to `host`."""
    sent = {"Accept-Encoding": "identity", "User-Agent": "vrecompute", **headers}
    token = bearer_token() if host and not manner.signed else None
    if token is not None and not token.is_over and token.is_for(host):
        sent["Authorization"] = f"Bearer {token.value}"
    from urllib3 import Timeout

    with reaching(address, link_of(url)):
        try:
            response: BaseHTTPResponse = _pool(url, manner.ca).request(
                method,
                url,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=_CONNECT_S, read=_ANSWER_S),
                pool_timeout=_FREE_S,
            )
        except broken() as error:
            raise failed(address, url, error) from error
    _answered.add(link_of(url))
    return response


def _refused(address: str, url: str, response: BaseHTTPResponse) -> UnreadableFile:
    """What a status besides those that give something means."""
    status, link = response.status, link_of(url)
    good = usable()
    if url.startswith("https:") and (status == 401 or (status == 403 and good == [])):
        if good:
            why = f"does not accept {' or '.join(map(str, good))} ({status}); get one that it accepts"
        else:
            why = f"asks for a credential ({status}): {why_none()}; renew it"
        return CredentialError(address, f"{link} {why} and run again, and what is finished is kept")
    if status in _PASSING:
        after = response.headers.get("Retry-After", "")
        return Passing(address, f"{link} is too busy or failed ({status})", float(after) if after.isdecimal() else 0.0)
    known = {
        401: "asks for a credential, which is sent over https alone",
        403: f"does not permit it to {' or '.join(map(str, good or ())) or 'users without a credential'}",
        404: "has no such file",
        410: "has no such file any more",
    }
    said = f"{known[status]} ({status})" if status in known else f"answers {status} {response.reason or ''}".strip()
    return UnreadableFile(address, f"{link} {said}")


def _is_allowed(url: str) -> bool:
    """Whether a URL may be http: of this machine itself, or of a host that the user named."""
    host = parts_of(url).hostname or ""
    if host == "localhost" or host in os.environ.get(PLAIN_HTTP, "").replace(" ", "").split(","):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _pool(url: str, ca: str) -> Any:
    parts = parts_of(url)
    proxy = x509_proxy() if parts.scheme == "https" else None
    through = getproxies().get(parts.scheme, "")
    if through and (_is_allowed(url) or proxy_bypass(parts.netloc)):
        through = ""
    return _pools(os.getpid(), through, ca, *(("", 0) if proxy is None or proxy.is_over else (proxy.path, proxy.stamp)))


@lru_cache(maxsize=4)
def _pools(process: int, through: str, ca: str, proxy: str, stamp: int) -> Any:
    """Connections of this process, which an X.509 proxy in a file of this stamp opens."""
    from urllib3 import PoolManager, ProxyManager

    context = ssl.create_default_context(cafile=os.path.expanduser(ca) or None)
    folder = os.environ.get("X509_CERT_DIR", _GRID_AUTHORITIES)
    if not ca and os.path.isdir(folder):
        context.load_verify_locations(capath=folder)
    if proxy:
        with suppress(ssl.SSLError, OSError):  # one that cannot be used is as none
            context.load_cert_chain(proxy)
    options: dict[str, Any] = {"num_pools": 32, "maxsize": CONNECTIONS, "block": True, "ssl_context": context}
    return ProxyManager(through, **options) if through else PoolManager(**options)
