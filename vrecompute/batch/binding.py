"""A system's own Python library, asked in a separate process: whether it fits the system, and its words in a poll.

Such libraries hold Python's lock while they wait, change how their process loads others, or die with the system's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

__all__ = ["UNUSABLE", "Binding", "tell_parts", "tell_unusable"]

#: How a part of a poll begins that says that the library does not work here at all; the rest of the line is why.
UNUSABLE = "unusable: "


@dataclass(frozen=True)
class Binding:
    """`distribution` is made for one release of the `system`, which `command` tells."""

    distribution: str
    system: str
    command: str

    def mismatch(self, said: str) -> str:
        """Why the library cannot ask the system whose command said this, and what to do; empty if it can."""
        name = self.distribution
        there = re.search(r"([0-9]{1,4})\.([0-9]{1,4})", said)
        built = f"it is built with the headers of that {self.system}"
        get = f"install {name} {there[0]} ({built})" if there else f"mend {self.command.split()[0]}"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"{name} is not installed here; {get}"
        here = re.match(r"([0-9]+)\.([0-9]+)", version)
        if here and there and (int(here[1]), int(here[2])) == (int(there[1]), int(there[2])):
            return ""
        return f"{name} {version} does not match {said.strip() or f'what `{self.command}` says: nothing'}; {get}"


def tell_unusable(part: str, error: Exception) -> None:
    """Print a part of a poll that says that the library cannot even be imported."""
    _tell(part, 2, _unusable(error))


def tell_parts(questions: Mapping[str, Callable[[], Any]], refusal: type[Exception]) -> None:
    """Print what each question gives, as JSON, as the parts of a poll: one before the next is asked.

    Code 1 of a part is silence: the library raised its own `refusal`.
    """
    for part, question in questions.items():
        try:
            code, said = 0, json.dumps(question())
        except refusal as error:
            code, said = 1, str(error)
        except (AttributeError, TypeError) as error:  # another release of the library than the driver was written for
            code, said = 2, _unusable(error)
        _tell(part, code, said)


def _unusable(error: Exception) -> str:
    return f"{UNUSABLE}{type(error).__name__}: {error}"


def _tell(part: str, code: int, said: str) -> None:
    print(f"==== {part} {code}\n{said}", flush=True)
