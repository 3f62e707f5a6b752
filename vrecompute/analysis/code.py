"""`Code`: what an analysis or a function is of, by name and digest; `codedigest` finds it."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType

from vrecompute.digest import sha256_json

__all__ = ["Code", "difference"]


@dataclass(frozen=True)
class Code:
    """`parts` are sha256 by name of all that is reached. `unnamed` says what could not be digested, and which
    files are read when it is called.

    `distributions` are installed libraries that are reached. `modules` are the user's modules that are reached by
    their own names, with the attributes that are, all where None; `imported` those that functions import when called.
    `effects` do what importing them did to libraries.
    """

    parts: Mapping[str, str]
    unnamed: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    modules: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    imported: tuple[str, ...] = ()
    effects: tuple[FunctionType, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        """Of all parts; never the same twice where something is unnamed."""
        return sha256_json([dict(self.parts), secrets.token_hex(16) if self.unnamed else ""])


def difference(wanted: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Names of the parts that differ: "cuts.py: select" where both have one, else with what happened to it."""
    names = []
    for name in sorted({*wanted, *here}):
        if wanted.get(name) != here.get(name):
            how = "" if name in wanted and name in here else " (new)" if name in here else " (gone)"
            names.append(name + how)
    return names
