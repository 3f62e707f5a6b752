"""`StoreAddress`: what names a store on any machine, in one text without a secret; `open_store` opens it.

    /folder                                                                     a folder
    s3://bucket/prefix?endpoint=https://object.example.org&credentials=env:VRE  what a scheme's own store serves

Where a secret is goes into the address, and the secret never does: each process that opens the store finds it.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from vrecompute.addresses import folder_fault
from vrecompute.digest import sha256_of
from vrecompute.errors import StoreRefused, UsageError
from vrecompute.plugins import STORES, installed
from vrecompute.secret_text import holds_secret
from vrecompute.sites.model import Credentials
from vrecompute.stores.base import Store
from vrecompute.stores.directory import DirStore
from vrecompute.stores.guarded import guarded

__all__ = ["SCHEMES", "STORE_VARIABLE", "StoreAddress", "default_store", "folder_of", "open_store", "secret_files"]

#: Where runs are kept where nothing else says.
STORE_VARIABLE = "VRECOMPUTE_STORE"
#: Where the batch system's own channel puts secret files for a job.
_SECRETS = "VRECOMPUTE_SECRETS"
_KINDS = ("profile", "file", "env")


@dataclass(frozen=True)
class StoreAddress:
    """`scheme://place`, the endpoint of the service, where its credentials are, and options of the scheme's own.

    `credentials` is `profile:NAME`, `file:PATH` or `env:NAME`; empty for what the service's library finds by itself.
    """

    scheme: str
    place: str
    endpoint: str = ""
    credentials: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """The address that `str` of it gives; UsageError, which does not show it, where it carries a secret."""
        scheme, _, rest = text.partition("://")
        place, _, query = rest.partition("?")
        cls.check(text)
        if "@" in place.partition("/")[0]:
            raise _refused(scheme)
        given = dict(parse_qsl(query))
        made = cls(scheme, place, given.pop("endpoint", ""), given.pop("credentials", ""), given)
        if made.credentials and made.credentials.partition(":")[0] not in _KINDS:
            raise UsageError(f"{scheme}://{place}: credentials are profile:NAME, file:PATH or env:NAME")
        return made

    @staticmethod
    def check(text: str) -> None:
        """UsageError, which does not show it, for an address of a store or a path that holds a secret."""
        if holds_secret(text):
            raise _refused(text.partition("://")[0] if "://" in text else "file")

    @classmethod
    def of(cls, url: str, endpoint: str | None, credentials: Credentials | None) -> StoreAddress:
        """The address that a site's `store` section gives."""
        kinds = {kind: getattr(credentials, kind, None) for kind in _KINDS}
        named = next((f"{kind}:{name}" for kind, name in kinds.items() if name), "")
        made = cls.parse(url)
        return cls(made.scheme, made.place, endpoint or made.endpoint, named or made.credentials, made.options)

    def __str__(self) -> str:
        known = {"endpoint": self.endpoint, "credentials": self.credentials, **self.options}
        query = urlencode({k: v for k, v in known.items() if v}, safe=":/", quote_via=quote)
        return f"{self.scheme}://{self.place}" + (f"?{query}" if query else "")

    @property
    def secret_name(self) -> str:
        """The secret file by which a job is brought what `credentials` names, or what stands for it without any."""
        kind, _, name = self.credentials.partition(":")
        return name if kind == "env" else f"store-{sha256_of(str(self).encode())[:16]}"

    @property
    def is_delivered(self) -> bool:
        """Whether this process is part of a job that was brought the secret."""
        return self._delivered.is_file()

    @property
    def _delivered(self) -> Path:
        return Path(os.environ.get(_SECRETS, "/nonexistent"), self.secret_name)

    def secret(self) -> str:
        """What the variable or file holds that `credentials` names, read anew each time: secrets are renewed.

        In a job that lacks the two, what it was brought. StoreRefused where there is nothing on this machine, or where
        others can read it.
        """
        kind, _, name = self.credentials.partition(":")
        where = f"{self.scheme}://{self.place}: on {socket.gethostname()}"
        if kind == "env" and (value := os.environ.get(name)):
            return value
        path = Path(name).expanduser() if kind == "file" else self._delivered
        if self.is_delivered and not path.is_file():
            path = self._delivered
        if kind == "env" and not self.is_delivered:
            raise StoreRefused(
                f"{where} neither variable {name} is set nor is there a secret file of that name in ${_SECRETS}; "
                "set the variable where the client runs"
            )
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise StoreRefused(f"{where} other users can read the secret file {path}; chmod 600 it")
            return path.read_text().strip()
        except OSError as error:
            raise StoreRefused(f"{where} the secret file {path} cannot be read: {error.strerror}") from error


def _refused(scheme: str) -> UsageError:
    return UsageError(
        f"the address of a {scheme} store carries a user or a secret, which would be written into jobs and "
        "reports; remove it and name where it is: ?credentials=profile:NAME, file:PATH or env:NAME"
    )


#: Schemes of this process besides those of installed packages.
SCHEMES: dict[str, Callable[[StoreAddress], Store]] = {}


def open_store(url: str | Path) -> Store:
    """The store that `url` names; UsageError for a scheme that no store serves, and for what is no folder.

    A store of a scheme is opened once in a process, so that its connections and what it resolved are shared.
    """
    text = str(url)
    if "\0" in text:
        raise UsageError(f"store {text!r}: the path of a folder has no null byte")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # which is in the manifest of each run
        raise UsageError(f"store {os.fsencode(text)!r}: its name is not UTF-8; name another folder") from error
    scheme, separator, _ = text.partition("://")
    if separator and scheme != "file":
        return _opened(text)
    store = DirStore(folder_of(text))
    if (
        there := next((p for p in (store.root, *store.root.parents) if os.path.lexists(p)), None)
    ) and not os.path.isdir(there):
        raise UsageError(f"store {store.url}: {there} is not a folder; give one that is, or that can be made")
    return store


def folder_of(text: str) -> str:
    """The path of a folder that a path or a `file://` address names; UsageError for one that makes no sense here."""
    StoreAddress.check(text)
    if fault := folder_fault(text):
        raise UsageError(f"store {text}: {fault}")
    return text.removeprefix("file://")


def default_store() -> str:
    """Where runs are kept by default: $VRECOMPUTE_STORE, else the user's data folder; UsageError without one."""
    if url := os.environ.get(STORE_VARIABLE):
        return url
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    if data.startswith("~"):
        raise UsageError(
            "this user has no home folder to keep runs in: HOME is not set; name a store with --store, "
            f"${STORE_VARIABLE} or Client(store=...)"
        )
    return str(Path(data) / "vrecompute" / "store")


def secret_files(store: Store, *, read: bool = True) -> dict[str, bytes]:
    """What a job has to be brought so that it can open the store by its url: name -> content; none for a folder.

    Without `read` the content is left out: a script tells of names alone. StoreRefused where it is missing here.
    """
    name = getattr(store, "secret_name", "")
    if not name:
        return {}
    return {name: store.secret() if read else b""}  # type: ignore[attr-defined]  # of stores that have a name for it


@lru_cache(maxsize=64)
def _opened(text: str) -> Store:
    address = StoreAddress.parse(text)
    if made := SCHEMES.get(address.scheme):
        return guarded(made(address))
    points = installed(STORES)
    if address.scheme not in points:
        raise UsageError(
            f"{address.scheme}://{address.place}: no store of the scheme {address.scheme!r} is installed here, but of "
            f"{', '.join(sorted({*points, *SCHEMES})) or 'none'}; give one of these or a folder. A package registers "
            f"its own as entry point {address.scheme!r} of the group {STORES!r}"
        )
    return guarded(points[address.scheme].load()(address))
