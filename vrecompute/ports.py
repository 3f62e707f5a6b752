"""`port_fault`: what is wrong with the port of an address, which no server could ever be asked at."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

__all__ = ["port_fault"]

# Schemes whose addresses have `host:port`; what those of others have there is their own affair.
_SCHEMES = frozenset({"http", "https", "root", "roots"})


def port_fault(address: str) -> str:
    """A clause about an address of a server whose port is no number from 1 to 65535; empty for any other address.

    Of one in S3 it is the port of its service.

    >>> port_fault("https://site.example.org:182029/a.root")
    "the port '182029' is no number from 1 to 65535; correct the address"
    """
    scheme, _, rest = address.partition("://")
    if scheme == "s3":
        services = (where for name, where in parse_qsl(rest.partition("?")[2]) if name in ("endpoint", "sts"))
        return next(filter(None, map(port_fault, services)), "")
    if scheme not in _SCHEMES:
        return ""
    place = urlsplit(address).netloc.rpartition("@")[2]
    port = place.rpartition("]")[2].partition(":")[2]  # [::1] is a host
    if not port or (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        return ""
    return f"the port {port!r} is no number from 1 to 65535; correct the address"
