"""Every key of a site, and every option of a driver, as a table of kinds, defaults and sentences, for docs/."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from vrecompute.config.spelling import Spelling
from vrecompute.sites.leaves import spelling_of
from vrecompute.sites.model import Site

__all__ = ["options_table", "reference_table"]


_Row = tuple[str, str, str, str]
#: Kinds of a JSON schema in words.
_KINDS = {"boolean": "true or false", "integer": "whole number", "number": "number", "string": "text"}


def reference_table() -> str:
    """A Markdown table of every key."""
    return _table(_keys(Site, ""))


def options_table(model: type[BaseModel]) -> str:
    """A Markdown table of a driver's options."""
    schema = model.model_json_schema()
    return _table(_options(schema, schema.get("$defs", {}), "options."))


def _table(rows: Iterator[_Row]) -> str:
    lines = [f"| `{key}` | {kind} | {default} | {sentence} |" for key, kind, default, sentence in rows]
    return "\n".join(["| key | kind | default | |", "|---|---|---|---|", *lines])


def _options(section: Mapping[str, Any], parts: Mapping[str, Any], prefix: str) -> Iterator[_Row]:
    for name, given in section["properties"].items():
        place = next((each for each in given.get("anyOf", ()) if each.get("type") != "null"), given)
        inner = parts.get(str(place.get("$ref", "")).rpartition("/")[2], {})
        if "properties" in inner:
            yield from _options(inner, parts, f"{prefix}{name}.")
            continue
        kind = ", ".join(f"`{choice}`" for choice in place.get("enum", ())) or _KINDS.get(place.get("type", ""), "text")
        if place.get("type") == "array":
            kind = f"list of {_KINDS.get(place['items'].get('type', ''), 'text')}"
        default = "required" if name in section.get("required", ()) else _word(given.get("default"))
        yield f"{prefix}{name}", kind, default, given.get("description", "")


def _word(value: Any) -> str:
    if value is None or value == []:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _keys(section: type[Any], prefix: str) -> Iterator[_Row]:
    hints = get_type_hints(section, include_extras=True)
    for key in dataclasses.fields(section):
        name, hint = f"{prefix}{key.name}", hints[key.name]
        inner = next((kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)), None)
        spelling = spelling_of(hint)
        if spelling is None and isinstance(inner, type):
            yield from _keys(inner, f"{name}.")
        else:
            yield name, _kind(hint, spelling), _default(key, spelling), key.metadata["description"]


def _kind(hint: Any, spelling: Spelling | None) -> str:
    if spelling is not None:
        return spelling.word
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is tuple:
        item = spelling_of(get_args(hint)[0])
        return f"list of {item.word}" if item else "list"
    return "mapping"


def _default(key: dataclasses.Field[Any], spelling: Spelling | None) -> str:
    if key.default is dataclasses.MISSING:
        return "required" if key.default_factory is dataclasses.MISSING else ""
    if key.default is None or isinstance(key.default, (tuple, Mapping)):
        return ""
    value = spelling.write(key.default) if spelling else key.default
    return _word(value)
