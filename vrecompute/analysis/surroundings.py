"""What a process has around code of the user's that could carry a number from one call to the next.

That is the environment, the settings of Python's that `leftbehind` puts back, and how the thread calculates and prints.
"""

from __future__ import annotations

import contextlib
import decimal
import locale
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrecompute.analysis.leftbehind import SETTINGS, put_variables

__all__ = ["Surroundings"]

_OF_THREAD: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "decimal's context": (lambda: decimal.getcontext().copy(), lambda context: decimal.setcontext(context.copy())),
    "numpy's floating-point errors": (np.geterr, lambda errors: np.seterr(**errors)),
    "numpy's buffer size": (np.getbufsize, np.setbufsize),
    "numpy's print options": (np.get_printoptions, lambda options: np.set_printoptions(**options)),
}
# A relative path that is read in another working directory than the run's is an error already.
_ALL = {**{name: each for name, each in SETTINGS.items() if name != "working directory"}, **_OF_THREAD}


# What jobs tell their workers, as when they end, may change at any time and is no state of the user's.
_OURS = "VRECOMPUTE_"


@dataclass(frozen=True)
class Surroundings:
    """As they were at a moment: environment variables but our own, and other settings by what they are called."""

    variables: Mapping[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def now(cls) -> Surroundings:
        """Of this process and thread."""
        return cls(_variables(ours=False), {name: read() for name, (read, _) in _ALL.items()})

    def described(self) -> dict[str, str]:
        """Each as text, by a name that says to a reader what it is."""
        variables = {f"os.environ[{name!r}]": value for name, value in self.variables.items()}
        return variables | {name: repr(value) for name, value in self.settings.items()}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have these here meanwhile, and afterwards what there was; other threads have them too."""
        before = Surroundings.now()
        self._put()
        try:
            yield
        finally:
            before._put()

    def _put(self) -> None:
        put_variables({**self.variables, **_variables(ours=True)})
        time.tzset()
        for name, (read, write) in _ALL.items():
            if (wanted := self.settings[name]) is not None and repr(read()) != repr(wanted):
                with contextlib.suppress(OSError, ValueError, locale.Error):
                    write(wanted)


def _variables(*, ours: bool) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS) == ours}
