"""`Code`: what an analysis or a function is of, by name and digest; `codedigest` finds it."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from vrecompute.digest import sha256_json

__all__ = ["NOT_REPEATED", "Code", "difference", "remedy"]

# What a worker has from its own installation.
_ITS_OWN = ("arithmetic of ", "vrecompute.", "vrecompute_")


@dataclass(frozen=True)
class Code:
    """`parts` are sha256 by name of all that is reached. `unnamed` says what could not be digested, and which
    files are read when it is called.

    `distributions` are installed libraries that are reached. `modules` are the user's modules that are reached by
    their own names, with the attributes that are, all where None; `imported` those that functions import when called.
    `effects` do what importing them did to libraries. `lost` says what objects do not keep when they are sent.
    `seeds` are modules (`numpy.random`, `random`) whose shared generator it gives a seed,
    `variables` those of the environment that it reads. `memories` are what `functools.lru_cache` made of functions that
    are reached, by name.
    """

    parts: Mapping[str, str]
    unnamed: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    modules: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    imported: Mapping[str, ModuleType] = field(default_factory=dict)
    effects: tuple[FunctionType, ...] = ()
    lost: tuple[str, ...] = ()
    seeds: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    memories: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @functools.cached_property
    def digest(self) -> str:
        """Of all parts; never the same twice where something is unnamed."""
        return sha256_json([dict(self.parts), secrets.token_hex(16) if self.unnamed else ""])


#: What is in all that is told of a change which workers did not do.
NOT_REPEATED = "so workers cannot repeat it"


def remedy(differing: Sequence[str], told: Sequence[str] = ()) -> str:
    """Why a worker may have other code than the client, and what to do: in words, by the names of what differs.

    `told` is what is known of the run besides: a change that was not repeated says its own place and remedy.

    The user's own is called "MODULE: NAME", what a library has "math.pi"; vrecompute's own comes from no client.
    """
    names = [name.partition(" (")[0] for name in differing]
    not_repeated = [each for each in told if NOT_REPEATED in each]
    if not_repeated and all(": " not in name for name in names):
        return "; ".join(not_repeated[:2])
    if any("." in name and ": " not in name and not name.startswith(_ITS_OWN) for name in names):
        return (
            "a library has another value there than here; write the change as an assignment (`math.pi = 3`, "
            "`ak.Array.NAME = ...`) at the top level of the file or notebook, or undo it"
        )
    if not any(": " in name or name == "state" for name in names):
        return "give client and workers the same environment"
    last = [name.rpartition(": ")[2].partition(" #")[0] for name in names]
    reasons = []
    if any(name.startswith("class ") for name in last):
        reasons.append(
            "making that class runs code that changes it (a metaclass, __init_subclass__, a decorator), or it is an "
            "Enum of which a member was changed since (`._value_ = ...`)"
        )
    if any(name.endswith("()") for name in last):
        reasons.append("that function is made anew by a class or a decorator there, or has no text")
    if any(not name.startswith("class ") and not name.endswith("()") for name in last):
        reasons.append(
            "making that object runs code that changes it (__new__, __setstate__), or it holds what no pickle keeps "
            "(a changed Enum)"
        )
    why = ", or ".join(reasons)
    return f"it was sent as it is here, and became another there: {why}; make it plain data, or a parameter"


def difference(wanted: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Names of the parts that differ: "cuts.py: select" where both have one, else with what happened to it."""
    names = []
    for name in sorted({*wanted, *here}):
        if wanted.get(name) != here.get(name):
            how = "" if name in wanted and name in here else " (new)" if name in here else " (gone)"
            names.append(name + how)
    return names
