"""`Signed`: addresses that the client has signed for workers, which then need no key: with a task, or in a secret file.

An address that is signed reads one file until it expires. It is a secret, and treated as one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from vrecompute.errors import CredentialError
from vrecompute.plugins import serving
from vrecompute.reader.bytesource import scheme_of
from vrecompute.records import json_of

__all__ = ["SIGNED_FILE", "Signed", "sign", "signable", "signed_for", "with_signed"]

#: The secret file by which a job is brought them.
SIGNED_FILE = "signed-addresses"


class Signed:
    """URLs by the address that each stands for, until `until` in seconds since 1970. No text of it shows one."""

    def __init__(self, urls: Mapping[str, str], until: float) -> None:
        self._urls = dict(urls)
        self.until = until

    def __len__(self) -> int:
        return len(self._urls)

    def url(self, address: str) -> str:
        """Empty where the address is not among them."""
        return self._urls.get(address, "")

    def encoded(self) -> bytes:
        """The content of the secret file."""
        return json.dumps({"until": self.until, "urls": self._urls}).encode()


_given: ContextVar[Signed | None] = ContextVar("signed", default=None)


def signable(addresses: Iterable[str]) -> list[str]:
    """Those whose scheme signs addresses."""
    return [a for a in dict.fromkeys(addresses) if scheme_of(a) and hasattr(serving(scheme_of(a)), "signed")]


def sign(addresses: Iterable[str], life_s: float, *, required: bool) -> Signed:
    """All of them, for so many seconds or as long as keys live.

    Those without keys here are left out; CredentialError where they are `required`.
    """
    until, urls = time.time() + life_s, dict[str, str]()
    for address in addresses:
        try:
            urls[address], ends = serving(scheme_of(address)).signed(address, life_s)  # type: ignore[union-attr]  # served
            until = min(until, ends)
        except CredentialError:
            if required:
                raise
    return Signed(urls, until)


def with_signed(signed: Signed, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function, on a worker, which reads addresses that were signed for it."""
    before = _given.set(signed)
    try:
        return function(*arguments, **named)
    finally:
        _given.reset(before)


def signed_for(address: str) -> Signed | None:
    """What this task, or this job, was given for an address; None where it has to use keys."""
    for signed in (_given.get(), _of_job()):
        if signed is not None and signed.url(address):
            return signed
    return None


def _of_job() -> Signed | None:
    path = Path(os.environ.get("VRECOMPUTE_SECRETS", "/nonexistent"), SIGNED_FILE)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, LookupError, TypeError):
        return None


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> Signed:
    said = json_of(path.read_bytes())
    return Signed(said["urls"], said["until"])
