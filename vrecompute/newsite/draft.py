"""`Draft`: a site file in the making. What it writes passes `site check`, and names what it could not take over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vrecompute.errors import SiteError
from vrecompute.scratch import scratch
from vrecompute.sites.load import examine_site

__all__ = ["Draft"]

_PLAIN = re.compile(r"[A-Za-z/$][A-Za-z0-9/$_.-]*|[0-9]+(?:[A-Za-z]+|-[0-9]+)")
_WORDS = frozenset({"true", "false", "null"})
_Key = tuple[str, ...]


@dataclass
class Draft:
    """Values by key, as YAML has them, each with where it came from; `left_out` says what became no value, and why."""

    values: dict[_Key, Any] = field(default_factory=dict)
    origins: dict[_Key, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def take(self, key: str, value: Any, origin: str) -> None:
        """Let a key with dots have this value; a list grows by it, and a second value is named."""
        path = tuple(key.split("."))
        if isinstance(value, list):
            value = [*self.values.get(path, []), *value]
        elif self.values.get(path, value) != value:
            self.drop(f"{origin}: {value}", f"{key} is {self.values[path]} already")
            return
        self.values[path] = value
        self.origins[path] = origin

    def has(self, key: str) -> bool:
        """Whether it has a value."""
        return tuple(key.split(".")) in self.values

    def drop(self, origin: str, why: str) -> None:
        """Name what is not taken over."""
        self.left_out.append(f"{origin}: {why}")

    def settle(self) -> str:
        """The text, which `site check` finds right. What was found in another file and is wrong here is left out.

        Raises SiteError with every problem of what was answered.
        """
        with scratch("site") as folder:
            file = folder / "site.yaml"
            while True:
                lines = list(self._lines(_tree(self.values), ()))
                text = "".join(f"{line}\n" for line, _, _ in lines)
                file.write_text(text)
                problems = examine_site(file).problems
                if not problems:
                    return text
                # one at a time: others may be about the same
                problem = problems[0]
                _, path, number = lines[problem.mark.line - 1]
                path = self._foreign_below(path, problem.message)
                if not self._is_foreign(path):
                    raise SiteError("; ".join(each.message for each in problems))
                self._remove(path, number, problem.message)

    def _is_foreign(self, path: _Key) -> bool:
        return self.origins.get(path, "").startswith("jobqueue")

    def _foreign_below(self, path: _Key, said: str) -> _Key:
        """The key that a problem of a whole mapping is about: the one that it names, of those from another file."""
        if path in self.values:
            return path
        below = [each for each in self.values if each[: len(path)] == path and self._is_foreign(each)]
        return next((each for each in below if repr(each[-1]) in said), path)

    def _remove(self, path: _Key, number: int | None, why: str) -> None:
        origin, value, key = self.origins[path], self.values[path], ".".join(path)
        why = why if key in why else f"{key}: {why}"
        if number is None:
            del self.values[path]
            self.drop(origin, why)
            return
        self.values[path] = [item for n, item in enumerate(value) if n != number]
        self.drop(origin, why)
        if not self.values[path]:
            del self.values[path]

    def _lines(self, tree: Any, at: _Key) -> Iterator[tuple[str, _Key, int | None]]:
        """Each line of the text with its key, and its number in a list."""
        indent = "  " * len(at)
        for key, value in tree.items():
            path = (*at, key)
            remark = f"  # {said}" if (said := self.origins.get(path)) else ""
            if isinstance(value, dict):
                yield f"{indent}{_scalar(key)}:", path, None
                yield from self._lines(value, path)
            elif isinstance(value, list):
                yield f"{indent}{_scalar(key)}:{remark}", path, None
                yield from ((f"{indent}  - {_scalar(item)}", path, n) for n, item in enumerate(value))
            else:
                yield f"{indent}{_scalar(key)}: {_scalar(value)}{remark}", path, None


def _tree(values: dict[_Key, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        place = tree
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value
    return tree


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and text not in _WORDS):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
