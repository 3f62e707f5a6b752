"""`address_fault`: what is wrong with an address that no server can be asked at; `parts_of`: the parts of another.

Whatever takes the address of a server apart does it here: Python's own functions raise ValueError for some texts.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

from vrecompute.errors import UnreadableFile

__all__ = ["address_fault", "folder_fault", "led_to", "link_of", "parts_of", "path_of", "service_fault"]

# Schemes whose addresses have `host:port`; what those of others have there is their own affair.
_SCHEMES = frozenset({"http", "https", "root", "roots"})
_MEND = "correct the address"


def address_fault(address: str) -> str:
    """A clause about an address of a server that names no host, no bucket or no port; empty for any other text.

    Of one in S3 it is also about the host of its service.

    >>> address_fault("https://site.example.org:182029/a.root")
    "the port '182029' is no number from 1 to 65535; correct the address"
    >>> address_fault("https://[::1/a.root")
    "the host '[::1' is no address of IPv6 in brackets, such as [::1]; correct the address"
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return ""
    try:
        address.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8; write its bytes as %E9 and so on"
    if scheme == "s3":
        return _s3_fault(rest)
    return _host_fault(address, _place(rest)) if scheme.lower() in _SCHEMES else ""


def folder_fault(address: str) -> str:
    """A clause about a `file://` address that is not the absolute path of a folder here; empty for any other text.

    >>> folder_fault("file:///tmp/runs?threads=4")
    "a folder has no options, such as '?threads=4'; leave them out, or write a path that has a '?' without file://"
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme != "file":
        return ""
    if place := _place(rest):
        return f"it names the host {place!r}, and a folder is one of this machine; write file:///path"
    if not rest.startswith("/"):
        return "it names no folder; write file:///path"
    options = rest.partition("?")[1] + rest.partition("?")[2]
    if options:
        return f"a folder has no options, such as {options!r}; leave them out, or write a path that has a '?' without file://"
    return ""


def service_fault(address: str) -> str:
    """As `address_fault` of the service of a store, which may be empty, and else is a web address."""
    if address and not re.match(r"https?://[^/?#]", address, re.IGNORECASE):
        return f"the service {address!r} is no web address; write https://host"
    return address_fault(address)


def parts_of(address: str) -> SplitResult:
    """Its parts, each of which may be asked for. Raises UnreadableFile for an address that `address_fault` is about."""
    if fault := address_fault(address):
        raise UnreadableFile(address, fault)
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UnreadableFile(address, f"it makes no sense ({error}); {_MEND}") from error
    return parts


def link_of(address: str) -> str:
    """`scheme://host:port` of any address, also of one that makes no sense; `file://` for a path."""
    scheme, separator, rest = address.partition("://")
    return f"{scheme}://{_place(rest)}" if separator else "file://"


def path_of(address: str) -> str:
    """What follows the host or the bucket, without a query: the part in which a pattern may be."""
    rest = address.partition("://")[2].partition("?")[0]
    return rest[len(_place(rest)) :]


def led_to(address: str, link: str) -> str:
    """Where a link leads that stands on a page, or in a redirect, at an address; empty for one that makes no sense."""
    try:
        return urljoin(address, link)
    except ValueError:
        return ""


def _place(rest: str) -> str:
    return re.split("[/?#]", rest, maxsplit=1)[0]


def _s3_fault(rest: str) -> str:
    bucket, _, query = rest.partition("?")
    if set(bucket := bucket.partition("/")[0]) & set("*["):
        return f"the bucket {bucket!r} is a pattern, and only paths in a bucket may be; name the bucket"
    services = (where for name, where in parse_qsl(query) if name in ("endpoint", "sts"))
    return next(filter(None, map(service_fault, services)), "")


def _host_fault(address: str, place: str) -> str:
    place = place.rpartition("@")[2]
    if set(place) & set("[]"):
        found = re.fullmatch(r"(\[(.*)\])(?::(.*))?", place)
        if found is None or not _is_ipv6(found[2]):
            host = place if found is None else found[1]
            return f"the host {host!r} is no address of IPv6 in brackets, such as [::1]; {_MEND}"
        port = found[3] or ""
    else:
        host, _, port = place.partition(":")
        if not host:
            return f"it names no host; {_MEND}"
        if "*" in host:
            return f"the host {host!r} is a pattern, and only paths on a host may be; name the host"
        if re.search(r"[\s\\%<>\"'^`{|}]", host) or not host.isprintable():
            return f"the host {host!r} has a character that no host has; {_MEND}"
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        return f"the port {port!r} is no number from 1 to 65535; {_MEND}"
    try:
        urlsplit(address)
    except ValueError:  # such as of a letter that stands for several, a slash among them
        return f"the host {place!r} has a character that no host has; {_MEND}"
    return ""


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
