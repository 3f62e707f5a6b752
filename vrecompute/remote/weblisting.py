"""`entries`: what a folder of a web server holds: by WebDAV where it speaks that, else by its index page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import unquote

from vrecompute.addresses import address_fault, led_to, parts_of
from vrecompute.errors import CredentialError, UnreadableFile
from vrecompute.remote.fetch import Passing, patiently
from vrecompute.remote.web import answer, broken, failed, leave, link_of

__all__ = ["entries"]

_MOST_BYTES = 64 << 20
_DAV = "{DAV:}"


def entries(folder: str) -> list[tuple[str, bool]]:
    """Names in a folder, whose address ends with `/`, and whether each is a folder itself. Raises UnreadableFile."""
    try:
        status, _, content = patiently(lambda: _content(folder, "PROPFIND", {"Depth": "1"}))
        if status == 207:
            return _children(folder, _by_webdav(folder, content))
    except CredentialError:
        raise
    except UnreadableFile:
        pass  # its server may have an index page
    _, kind, content = patiently(lambda: _content(folder, "GET", {}))
    if "html" not in kind:
        raise UnreadableFile(folder, f"{link_of(folder)} shows no list of it, by WebDAV or as a page; name the files")
    page = _Links()
    page.feed(content.decode(errors="replace"))
    return _children(folder, page.found)


def _content(folder: str, method: str, headers: dict[str, str]) -> tuple[int, str, bytes]:
    response, _ = answer(folder, folder, headers, method)
    try:
        content = response.read(_MOST_BYTES + 1)
    except broken() as error:
        raise failed(folder, folder, error) from error
    finally:
        leave(response)
    if len(content) > _MOST_BYTES:
        raise UnreadableFile(folder, "its list is longer than any; name the files")
    if response.length_remaining:
        raise Passing(folder, f"{link_of(folder)} ended in the middle of its answer")
    return response.status, response.headers.get("Content-Type", "html"), content


def _by_webdav(folder: str, content: bytes) -> list[tuple[str, bool]]:
    """Links and whether each is a collection (RFC 4918)."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UnreadableFile(folder, f"its list by WebDAV makes no sense: {error}") from error
    found = []
    for item in root.iter(f"{_DAV}response"):
        is_folder = item.find(f".//{_DAV}resourcetype/{_DAV}collection") is not None
        is_folder = is_folder or any((e.text or "").strip() == "1" for e in item.iter(f"{_DAV}iscollection"))
        found.append((item.findtext(f"{_DAV}href", "").strip(), is_folder))
    return found


class _Links(HTMLParser):
    """Where the links of a page lead; to a folder where they end with a slash."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        link = dict(attrs).get("href")
        if tag == "a" and link:
            self.found.append((link, re.split("[?#]", link, maxsplit=1)[0].endswith("/")))


def _children(folder: str, links: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Of all links those that lead into the folder by one step."""
    here, children = parts_of(folder), {}
    for link, is_folder in links:
        where = led_to(folder, link)
        if not where or address_fault(where):
            continue
        there = parts_of(where)
        path, base = unquote(there.path), unquote(here.path)
        name = path.removeprefix(base).rstrip("/")
        if there.netloc == here.netloc and not there.query and path.startswith(base) and name and "/" not in name:
            children[name] = is_folder
    return list(children.items())
