"""What a function draws from random generators without a seed: other numbers each time that it is called (law 4).

It is found in the text. A generator that was made at import counts by its state.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from vrecompute.analysis.asking import attribute_of, is_a

__all__ = ["DRAWN", "INSTEAD", "INSTEAD_IN_LIBRARY", "Names", "draws_of", "seeds_of"]

#: What to do instead, at the end of what is told.
INSTEAD = "draw from numpy.random.default_rng([SEED, events.start])"
#: The same of what a library draws by itself.
INSTEAD_IN_LIBRARY = f"give what draws them a seed (random_state=SEED, rng=SEED), or {INSTEAD}"
#: What is in all that is told of random numbers.
DRAWN = "random numbers are drawn"
# Makers of generators, which take a seed.
_MAKERS = {
    "numpy.random": frozenset(
        {"MT19937", "PCG64", "PCG64DXSM", "Philox", "RandomState", "SFC64", "SeedSequence", "default_rng"}
    ),
    "random": frozenset({"Random"}),
}
# What of these modules draws nothing.
_QUIET = {
    "numpy.random": frozenset({"BitGenerator", "Generator", "get_bit_generator", "get_state", "set_bit_generator"}),
    "random": frozenset({"getstate"}),
}
_SEEDS = frozenset({"seed", "set_state", "setstate"})
# What no seed fixes, as a source of numbers and of seeds.
_ENTROPY = frozenset(
    {"os.getrandom", "os.urandom", "random.SystemRandom", "uuid.uuid1", "uuid.uuid4"}
    | {f"secrets.{name}" for name in ("choice", "randbelow", "randbits", "token_bytes", "token_hex")}
)
_CHANGES = _ENTROPY | {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "os.getpid",
    "threading.get_ident",
    "threading.get_native_id",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.time",
    "time.time_ns",
}


class Names(Protocol):
    """What the names in the text of a function are."""

    def name_of(self, node: ast.AST) -> str | None:
        """The full name of what a library has."""

    def thing_of(self, node: ast.AST) -> Any:
        """What a name from outside the function is."""

    def origins(self, expressions: list[ast.expr]) -> Iterator[ast.AST]:
        """All nodes that expressions come from."""

    def is_users(self, node: ast.AST, method: str) -> bool:
        """Whether it is an object of the user's, with that method."""


def draws_of(tree: ast.AST, names: Names) -> Iterator[tuple[ast.Call, str]]:
    """Each call that draws without a seed, or makes a generator without one, and what of it is not fixed."""
    calls = [(node, *_split(node, names)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    seeded = seeds_of(tree, names)
    for call, module, last in calls:
        if f"{module}.{last}" in _ENTROPY:
            yield call, f"{DRAWN} that have no seed"
        elif module in _MAKERS:
            if last in _MAKERS[module] or last in _SEEDS:
                given = _given(call)
                if not given:
                    yield call, f"{DRAWN} without a seed"
                elif any(isinstance(n, ast.Call) and names.name_of(n.func) in _CHANGES for n in names.origins(given)):
                    yield call, f"{DRAWN} with another seed each time"
            elif last not in _QUIET[module] and module not in seeded:
                yield call, f"{DRAWN} without a seed"
        elif last == "rvs" and not (_is_fixed(call, names) or "numpy.random" in seeded):
            yield call, f"{DRAWN} without a seed (random_state)"


def seeds_of(tree: ast.AST, names: Names) -> set[str]:
    """The modules to whose shared generator a function gives a seed, or a state."""
    calls = [(node, *_split(node, names)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {module for call, module, last in calls if last in _SEEDS and _given(call)}


def _split(call: ast.Call, names: Names) -> tuple[str, str]:
    """The module of what is called, where it is one with generators, and its last name."""
    thing = names.thing_of(call.func)
    last = str(attribute_of(thing, "__name__", ""))
    of = attribute_of(thing, "__self__")  # one that all of a process shares, by a name of its own
    if is_a(of, random.SystemRandom):
        return "random", "SystemRandom"
    if is_a(of, np.random.RandomState) and thing == getattr(np.random, last, None):
        return "numpy.random", last
    if is_a(of, random.Random) and thing == getattr(random, last, None):
        return "random", last
    module, _, last = (names.name_of(call.func) or "").rpartition(".")
    if module.startswith("numpy.random."):
        module = "numpy.random"  # where its parts are defined
    return module, last or getattr(call.func, "attr", "")


def _is_fixed(call: ast.Call, names: Names) -> bool:
    """Whether `X.rvs(...)` is given a generator, or draws nothing that is known."""
    given = any(k.arg in ("random_state", None) for k in call.keywords)
    return given or not isinstance(call.func, ast.Attribute) or names.is_users(call.func.value, "rvs")


def _given(call: ast.Call) -> list[ast.expr]:
    """The arguments that may be a seed."""
    given = [*call.args, *(k.value for k in call.keywords)]
    return [a for a in given if not (isinstance(a, ast.Constant) and a.value is None)]
