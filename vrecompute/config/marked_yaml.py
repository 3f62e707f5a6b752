"""YAML read as a tree that remembers where every key and value stands, so that errors can point.

The grammar is PyYAML's; the meaning of plain scalars is YAML 1.2's core schema. YAML 1.1 would read `10:00:00`
as 36000, `no` as false, `010` as eight and `2026-01-01` as a date; here all of them stay text, and a number
with a leading zero is a problem, as is one that is not finite. Keys are always text. Tags are refused, duplicate
keys are problems, merge keys (`<<`) and anchors work. Size, depth and the expansion of aliases are bounded, so a
hostile file costs no more than a long one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vrecompute.regular_file import read_regular

__all__ = [
    "CONFIGURATION",
    "MAX_DEPTH",
    "Bounds",
    "Entry",
    "MappingNode",
    "Mark",
    "Node",
    "Problem",
    "ScalarNode",
    "SequenceNode",
    "decoded",
    "parse_yaml",
    "plain",
    "read_text",
]

#: PyYAML's types do not tell which events have tags and anchors.
Event = Any

#: libyaml where it is there.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH = 32


@dataclass(frozen=True)
class Bounds:
    """How much one file may hold: bytes, and values with aliases expanded."""

    max_bytes: int
    max_nodes: int
    what: str


#: A file that people write.
CONFIGURATION = Bounds(256 * 1024, 20_000, "configuration")

#: "\\ud800" in double quotes: no text that could be printed or sent on.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, order=True, slots=True)
class Mark:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong at a place, and what to do about it."""

    mark: Mark
    message: str

    def __str__(self) -> str:
        # messages quote what was written, and a terminal must not obey it
        said = f"{self.mark}: {self.message}"
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in said)


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """Text, a number, a truth value or null."""

    value: str | int | float | bool | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list of nodes."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a key, and where the key stands."""

    key: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys in the order of the file."""

    entries: dict[str, Entry]
    mark: Mark


Node = ScalarNode | SequenceNode | MappingNode


def plain(node: Node) -> Any:
    """The tree as dict, list and scalars, without its marks."""
    if isinstance(node, MappingNode):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return node.value


def read_text(path: Path, file: str, bounds: Bounds = CONFIGURATION) -> tuple[str, list[Problem]]:
    """The text of a file of UTF-8 within `bounds`; raises OSError where it cannot be read."""
    return decoded(read_regular(path, bounds.max_bytes), file, bounds)


def decoded(raw: bytes, file: str, bounds: Bounds = CONFIGURATION) -> tuple[str, list[Problem]]:
    """The text of UTF-8 within `bounds`."""
    if len(raw) > bounds.max_bytes:
        return "", [Problem(Mark(file, 1, 1), f"larger than {bounds.max_bytes // 1024} KiB; this is no {bounds.what}")]
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        mark = Mark(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        return "", [Problem(mark, "not UTF-8; save the file in UTF-8")]


def parse_yaml(text: str, file: str, bounds: Bounds = CONFIGURATION) -> tuple[MappingNode | None, list[Problem]]:
    """The mapping a text holds, and everything wrong with its form; None where nothing can be read from it.

    A syntax error ends the reading, so it comes with what was found before it only.
    """
    node, problems, broken = _parsed(text, file, bounds, _LOADER)
    if broken and len(text) <= CONFIGURATION.max_bytes:
        # PyYAML's own parser says more of what is wrong, and takes its time
        node, problems, _ = _parsed(text, file, bounds, yaml.SafeLoader)
    return node, sorted(problems)


def _parsed(text: str, file: str, bounds: Bounds, loader: Any) -> tuple[MappingNode | None, list[Problem], bool]:
    """The mapping or None, what is wrong, and whether the text is no YAML at all."""
    tree = _Tree(file, bounds)
    try:
        node = tree.build(yaml.parse(text, Loader=loader))
    except _Stop as stop:
        return None, [*tree.problems, stop.problem], False
    except (yaml.reader.ReaderError, UnicodeEncodeError) as error:
        place = error.position if isinstance(error, yaml.reader.ReaderError) else error.start
        # libyaml counts bytes
        before = (
            text[:place] if loader is yaml.SafeLoader else text.encode(errors="replace")[:place].decode(errors="ignore")
        )
        mark = Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return None, [Problem(mark, "a control character; remove it")], True
    except yaml.MarkedYAMLError as error:
        return None, [*tree.problems, _syntax_problem(error, file)], True
    if not isinstance(node, MappingNode):
        tree.say(node.mark, "expected `key: value` lines")
        return None, tree.problems, False
    return node, tree.problems, False


_ADVICE = {
    "'\\t'": "a tab; indent with spaces",
    "mapping values are not allowed": "an unexpected ':'; put a value with ': ' in quotes, or fix the indent",
    "could not find expected ':'": "a key without ':'; write `key: value`",
    "expected <block end>": "the indentation does not match the lines above; align keys of one section",
    "invalid Unicode character": "an escape sequence that is no character; write the character itself",
    "expected ',' or '}'": "a '{' is not closed; write {key: value, key: value}",
    "expected ',' or ']'": "a '[' is not closed; write [one, two]",
    "unexpected end of stream": "a quote is not closed",
    "cannot start any token": "a character that no value can start with; put the value in quotes",
    "block sequence entries": "an unexpected list item '- '; start it on a new line",
    "unknown escape": "an unknown escape; use single quotes for text with backslashes",
}


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    at = error.problem_mark or error.context_mark
    mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file, 1, 1)
    said = error.problem or error.context or "not YAML"
    advice = next((advice for words, advice in _ADVICE.items() if words in said), None)
    return Problem(mark, f"not YAML: {advice or said + '; put values with special characters in quotes'}")


class _Stop(Exception):
    """Nothing sensible can be read after this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass
class _Tree:
    file: str
    bounds: Bounds
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    n_nodes: int = 0

    def build(self, events: Iterator[Event]) -> Node:
        next(events)  # start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            raise _Stop(Problem(Mark(self.file, 1, 1), "empty; write `key: value` lines"))
        node = self.node(events, next(events), 0)
        next(events)  # end of the document
        if not isinstance(after := next(events), yaml.StreamEndEvent):
            self.say(self.mark(after), "a second document; write one per file, without `---` between")
        return node

    def say(self, mark: Mark, message: str) -> None:
        self.problems.append(Problem(mark, message))

    def mark(self, event: Event) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def count(self, n_nodes: int, mark: Mark) -> None:
        self.n_nodes += n_nodes
        if self.n_nodes > self.bounds.max_nodes:
            said = f"more than {self.bounds.max_nodes} values, aliases expanded; this is no {self.bounds.what}"
            raise _Stop(Problem(mark, said))

    def node(self, events: Iterator[Event], event: Event, depth: int) -> Node:
        mark = self.mark(event)
        if depth > MAX_DEPTH:
            said = f"nested deeper than {MAX_DEPTH} levels; this is no {self.bounds.what}"
            raise _Stop(Problem(mark, said))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise _Stop(Problem(mark, f"alias *{event.anchor} has no complete &{event.anchor} before it"))
            node, size = self.anchors[event.anchor]
            self.count(size, mark)
            return node
        before = self.n_nodes
        self.count(1, mark)
        if event.tag is not None:
            self.say(mark, f"tag {event.tag} is not supported; remove it")
        if isinstance(event, yaml.MappingStartEvent):
            node = self.mapping(events, mark, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(events, mark, depth)
        else:
            node = self.scalar(event, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.n_nodes - before)
        return node

    def sequence(self, events: Iterator[Event], mark: Mark, depth: int) -> SequenceNode:
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            if _is_empty(event):
                self.say(self.mark(event), "an item without a value; write one, or remove the '-'")
            items.append(self.node(events, event, depth + 1))
        return SequenceNode(tuple(items), mark)

    def mapping(self, events: Iterator[Event], mark: Mark, depth: int) -> MappingNode:
        entries: dict[str, Entry] = {}
        merged: list[MappingNode] = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            at = self.mark(event)
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(event, yaml.ScalarEvent):
                self.node(events, event, depth + 1)
                self.say(at, "a key must be text")
            value = next(events)
            node = self.node(events, value, depth + 1)
            if key == "<<" and not event.style:
                merged += self.merged(node)
            elif key is None:
                continue
            elif _SURROGATE.search(key):
                self.say(at, "half of a surrogate pair; write the letter itself")
            elif key in entries:
                self.say(at, f"'{key}' is given twice; the first is on line {entries[key].key.line}; remove one")
            else:
                if _is_empty(value):
                    self.say(at, f"'{key}' has no value; write one, or null for the default")
                entries[key] = Entry(at, node)
        for other in merged:
            entries = entries | {key: entry for key, entry in other.entries.items() if key not in entries}
        return MappingNode(entries, mark)

    def merged(self, node: Node) -> list[MappingNode]:
        several = node.items if isinstance(node, SequenceNode) else (node,)
        for item in several:
            if not isinstance(item, MappingNode):
                self.say(item.mark, "'<<' merges mappings only; write <<: *anchor")
        return [item for item in several if isinstance(item, MappingNode)]

    def scalar(self, event: yaml.ScalarEvent, mark: Mark) -> ScalarNode:
        if _SURROGATE.search(event.value):
            self.say(mark, "half of a surrogate pair; write the letter itself")
            return ScalarNode("", mark)
        if not event.implicit[0]:
            return ScalarNode(event.value, mark)
        if _PADDED.fullmatch(event.value):
            # eight, ten or text, according to who reads it
            self.say(mark, "a number with a leading zero; remove the zero, or put it in quotes if it is text")
        elif _ENDLESS.fullmatch(event.value) or _overflows(event.value):
            self.say(mark, "not a finite number; write one, or put it in quotes if it is text")
        return ScalarNode(_core(event.value), mark)


def _is_empty(event: Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "" and not event.style


_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PADDED = re.compile(r"[-+]?0[0-9]+")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
#: Longer than any number that is meant as one.
_LONGEST = 32


def _overflows(text: str) -> bool:
    return len(text) <= _LONGEST and _NUMBER.fullmatch(text) is not None and not math.isfinite(float(text))


def _core(text: str) -> str | int | float | bool | None:
    """A plain scalar by YAML 1.2's core schema, less its octal and hexadecimal numbers, .inf and .nan."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text[0] in "tT"
    if len(text) > _LONGEST:
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
