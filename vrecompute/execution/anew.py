"""`Sent`: an analysis as bytes that came to a worker, of which it is made anew: with all that it keeps as it began.

Code that travels by value brings its own modules, classes and functions. What is imported here is imported once more:
the package of an installed analysis. Both are found by name while the analysis runs, so others wait for that long.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import cloudpickle

from vrecompute.analysis import Analysis
from vrecompute.analysis.coderange import counts, is_user
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.analysis.surroundings import Surroundings
from vrecompute.execution.byvalue import making_anew

__all__ = ["Opened", "Sent", "computing"]

_ABSENT = object()


class Opened(NamedTuple):
    """As `byvalue.pack` packs it: the `modules` are those that functions import when called, by value."""

    analysis: Analysis
    modules: list[ModuleType]
    effects: tuple[FunctionType, ...]
    key: str
    arithmetic: Mapping[str, Any]


class Sent:
    """`data` of a `Packed`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._swapped: bool | None = None

    def opened(self) -> Opened:
        """For this process to work with."""
        opened = Opened(*cloudpickle.loads(self._data))
        self._swapped = bool(opened.modules or _imported(opened.analysis))
        return opened

    @contextmanager
    def anew(self, used: Analysis, around: Surroundings | None = None) -> Iterator[Analysis]:
        """The analysis once more, beside the one that is `used`, for as long as the context lasts.

        `around` is what the process has around it meanwhile; None leaves that as it is.
        """
        gate = _GATE.alone() if self._swapped is not False or around else nullcontext()
        with (
            gate,
            around.held() if around else nullcontext(),
            _put_back(_imported(used)) as others,
            making_anew(),
        ):
            opened = Opened(*cloudpickle.loads(self._data))
            others(opened.modules)
            opened.analysis.effects = opened.effects
            yield opened.analysis


def _imported(analysis: Analysis) -> str:
    """The package of an analysis that is installed, and so was imported here; empty where it came by value."""
    thing: Any = analysis.function if isinstance(analysis, MapAnalysis) else type(analysis)
    module = str(getattr(thing, "__module__", None) or type(thing).__module__)
    own = module.partition(".")[0]
    is_there = own in sys.modules and own != "vrecompute" and counts(module, own)
    return own if is_there and not is_user(module, dynamic=module not in sys.modules) else ""


@contextmanager
def _put_back(package: str) -> Iterator[Any]:
    """Without the modules of a package and with those that are given; afterwards with those of before."""
    held: dict[str, Any] = {n: m for n, m in list(sys.modules.items()) if package and n.partition(".")[0] == package}
    for name in held:
        del sys.modules[name]

    def others(modules: list[ModuleType]) -> None:
        held.update({module.__name__: sys.modules.get(module.__name__, _ABSENT) for module in modules})
        sys.modules.update({module.__name__: module for module in modules})

    try:
        yield others
    finally:
        for name in [n for n in sys.modules if package and n.partition(".")[0] == package]:
            del sys.modules[name]
        for name, module in held.items():
            sys.modules.pop(name, None)
            sys.modules.update({} if module is _ABSENT else {name: module})


class _Gate:
    """Many threads compute, or one does that changes what modules are called."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:  # until others have computed the chunks that they are at
            self._changed.wait_for(lambda: not self._is_alone)
            self._is_alone = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()


_GATE = _Gate()
#: A context in which a chunk is computed, by no analysis that was made anew.
computing = _GATE.shared
