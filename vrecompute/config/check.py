"""Checks what a file of YAML says against a frozen dataclass or a pydantic model and says every mistake in words.

pydantic finds the mistakes; this turns each into a sentence with what to do. After the first pass the wrong keys
are taken out and what remains is checked again, until something stands on which rules across keys can speak.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from vrecompute.config import marked_yaml
from vrecompute.config.marked_yaml import Mark, Node, Problem
from vrecompute.config.spelling import read_count, read_flag, read_ratio, read_text, shown
from vrecompute.nearest import did_you_mean, nearest
from vrecompute.secret_text import redacted

__all__ = ["Checked", "Fault", "Location", "as_problem", "check", "json_schema", "mark_of", "without_null"]

Location = tuple[str | int, ...]

#: More mistakes than anyone reads.
_MOST = 1000


@dataclass(frozen=True)
class Fault:
    """A mistake at a location of the data; `of_key` where the key is wrong rather than its value."""

    at: Location
    message: str
    of_key: bool = False


@dataclass(frozen=True)
class Checked:
    """What could be made of the data without its wrong parts, every mistake, and the locations left out."""

    value: Any
    faults: tuple[Fault, ...]
    left_out: frozenset[Location]


def check(
    kind: type, data: Mapping[str, Any], fill: Mapping[str, Any] | None = None, also: tuple[str, ...] = ()
) -> Checked:
    """Check `data` against `kind`; `fill` stands in for required keys that are missing or wrong.

    `also` are top-level keys that other code reads, and that a suggestion may name.
    The value is None where too little is right to make one.
    """
    adapter = _adapter(kind)
    schema = json_schema(kind)
    rest = copy.deepcopy(dict(data))
    faults: list[Fault] = []
    left_out: set[Location] = set()
    for _ in range(8):
        errors: list[ErrorDetails] = []
        try:
            # JSON mode: strict about scalars, while mappings and lists may become dataclasses and tuples
            value = adapter.validate_json(json.dumps(rest), strict=True)
        except ValidationError as invalid:
            errors = _worth_saying(invalid.errors(include_url=False))
        if not errors:
            return Checked(value, tuple(faults), frozenset(left_out))
        # a key that had to go is missing next time: that was said already
        faults += [fault for fault in _explain(errors, schema, also) if fault.at not in left_out]
        for error in errors:
            left_out |= _take_out(rest, error, fill or {})
    return Checked(None, tuple(faults), frozenset(left_out))


def without_null(value: Any) -> Any:
    """The plain value without the keys that are `null`: that is the default, as if they were not there."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value]
    return value


def as_problem(tree: Node, fault: Fault) -> Problem:
    """A fault at its place in the tree that the data came from."""
    # an unknown or missing key is named in the message; its section is where it is
    section = fault.at[:-1] if fault.of_key else fault.at
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in section)[1:]
    said = f"{place}: {fault.message}" if place else fault.message
    return Problem(mark_of(tree, fault.at, fault.of_key), redacted(said))


def mark_of(tree: Node, at: Location, of_key: bool = False) -> Mark:
    """Where a value stands, or its key; of what is not there, the key of the innermost section that is."""
    node, mark = tree, tree.mark
    for n, step in enumerate(at, 1):
        if isinstance(node, marked_yaml.MappingNode) and step in node.entries:
            entry = node.entries[str(step)]
            node = entry.node
            mark = entry.key if n < len(at) or of_key or not isinstance(node, marked_yaml.ScalarNode) else node.mark
        elif isinstance(node, marked_yaml.SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            mark = node.mark
        else:
            break
    return mark


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def json_schema(kind: type) -> dict[str, Any]:
    """The JSON schema of a section or of a driver's options."""
    return _adapter(kind).json_schema()


def _worth_saying(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """The first errors, without those that a list is too short because of its wrong items."""
    errors = errors[:_MOST]
    around = {error["loc"][:n] for error in errors for n in range(len(error["loc"]))}
    return [error for error in errors if not (error["type"] == "too_short" and error["loc"] in around)]


def _take_out(rest: dict[str, Any], error: ErrorDetails, fill: Mapping[str, Any]) -> set[Location]:
    """Remove the key an error is about; a missing one is filled in, or else takes its whole section with it."""
    at = _without_key_step(error["loc"])
    if error["type"] == "missing" and len(at) == 1:
        if at[0] in fill:
            rest[str(at[0])] = fill[str(at[0])]
        return {at}
    if error["type"] == "missing":
        return {at, _drop(rest, at[:-1])}
    return {_drop(rest, at)}


def _without_key_step(at: Location) -> Location:
    """pydantic points at the key of a mapping, rather than its value, by an extra last step."""
    return at[:-1] if at[-1:] == ("[key]",) else at


def _drop(rest: dict[str, Any], at: Location) -> Location:
    if not at:
        # a rule of the model over all its keys: nothing is left to look at
        rest.clear()
        return at
    place: Any = rest
    for n, step in enumerate(at[:-1], 1):
        if not _has(place, step):
            return at
        if isinstance(place[step], list):
            # dropping an item would shift the others; drop the list
            at = at[:n]
            break
        place = place[step]
    if isinstance(place, dict):
        place.pop(at[-1], None)
    return at


def _has(place: Any, step: str | int) -> bool:
    return step in place if isinstance(place, dict) else isinstance(place, list) and step in range(len(place))


def _explain(errors: list[ErrorDetails], schema: dict[str, Any], also: tuple[str, ...]) -> Iterator[Fault]:
    meant: set[Location] = set()
    # unknown keys first: one that is a misspelling explains why another is missing
    for error in sorted(errors, key=lambda error: error["type"] == "missing"):
        at = _without_key_step(error["loc"])
        kind = error["type"]
        if at != error["loc"]:
            yield Fault(at, _wrong_value(error, {}), of_key=True)
        elif kind in ("unexpected_keyword_argument", "extra_forbidden"):
            known = [*_properties(schema, at[:-1]), *(also if len(at) == 1 else ())]
            meant.add((*at[:-1], nearest(str(at[-1]), known) or ""))
            yield Fault(at, _unknown_key(str(at[-1]), at[:-1], known, schema), of_key=True)
        elif kind == "missing" and at in meant:
            continue
        elif kind == "missing":
            sentence = _properties(schema, at[:-1]).get(str(at[-1]), {}).get("description", "it is required")
            message = f"'{at[-1]}' is missing; add `{at[-1]}: ...`: {sentence}"
            yield Fault(at, message, of_key=True)
        else:
            yield Fault(at, _wrong_value(error, _properties(schema, at)))


def _unknown_key(key: str, section: Location, known: list[str], schema: dict[str, Any]) -> str:
    elsewhere = [path for path in _all_keys(schema) if path[-1] == key and path[:-1] != section]
    if elsewhere and nearest(key, known) is None:
        return f"unknown key '{key}' here; did you mean '{'.'.join(elsewhere[0])}'?"
    return f"unknown key '{key}'; {did_you_mean(key, known) if known else 'remove it'}"


def _wrong_value(error: ErrorDetails, inside: Mapping[str, Any]) -> str:
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        if len(choices) == 1:
            return f"expected {choices[0]}, found {shown(value)}; write {choices[0]}"
        return f"{shown(value)} is not one of {', '.join(choices)}; {_choose(value, choices)}"
    if kind in ("dataclass_type", "model_type", "model_attributes_type", "dict_type", "mapping_type"):
        keys = f" of {', '.join(inside)}" if inside else ""
        both = {"min", "max"} <= inside.keys() and type(value) is int
        example = f"{{min: {value}, max: {value}}}" if both else "{key: value} or an indented block"
        return f"expected a mapping{keys}, found {shown(value)}; write {example}"
    if kind in ("tuple_type", "list_type"):
        hint = "start each item with '- '" if isinstance(value, dict) else f"did you mean [{value}]?"
        return f"expected a list, found {shown(value)}; {hint}"
    if kind == "too_short":
        return f"expected at least {context['min_length']} item, found none; write [one]"
    readers = {"bool": read_flag, "int": read_count, "float": read_ratio, "string": read_text}
    if (reader := readers.get(kind.split("_")[0])) and kind.endswith(("_type", "_parsing")):
        try:
            reader(value)
        except ValueError as reason:
            return str(reason)
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} does not have the form {context['pattern']}; write no other characters"
    return f"{error['msg'].lower()}, found {shown(value)}"


def _choose(value: object, choices: list[str]) -> str:
    meant = nearest(str(value), choices)
    return f"did you mean '{meant}'?" if meant else "write one of these"


def _properties(schema: dict[str, Any], at: Location) -> dict[str, Any]:
    """The keys that may stand in the section at a location."""
    place = schema
    for step in at:
        inside = _resolve(schema, place) if isinstance(step, int) else _section(schema, place)
        place = (
            inside.get("properties", {}).get(step) or inside.get("items") or inside.get("additionalProperties") or {}
        )
        place = place if isinstance(place, dict) else {}
    return dict(_section(schema, place).get("properties", {}))


def _section(schema: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """A section, or that of the items of a list."""
    inside = _resolve(schema, place)
    return _resolve(schema, inside["items"]) if isinstance(inside.get("items"), dict) else inside


def _resolve(schema: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, alone or beside null."""
    for candidate in (place, *place.get("anyOf", ()), *place.get("allOf", ())):
        if "$ref" in candidate:
            return dict(schema["$defs"][candidate["$ref"].rsplit("/", 1)[-1]])
    return place


def _all_keys(schema: dict[str, Any], at: Location = ()) -> Iterator[tuple[str, ...]]:
    for key in _properties(schema, at):
        yield (*map(str, at), key)
        yield from _all_keys(schema, (*at, key))
