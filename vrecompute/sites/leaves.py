"""A `Site` taken apart into its keys, and written back in the words and units of YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from vrecompute.sites.spelling import Spelling

__all__ = ["KeyPath", "as_mapping", "leaves", "spelling_of"]

#: Where a value stands in a site: ("workers", "memory").
KeyPath = tuple[str, ...]


def leaves(section: Any, at: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key of a site that holds a value or could hold one, in the words and units of YAML; unset is None."""
    hints = get_type_hints(type(section), include_extras=True)
    for key in dataclasses.fields(section):
        value = getattr(section, key.name)
        if dataclasses.is_dataclass(value) and (writer := spelling_of(hints[key.name])) is None:
            yield from leaves(value, (*at, key.name))
        elif isinstance(value, Mapping):
            yield from _mapping_leaves(value, (*at, key.name))
        elif isinstance(value, tuple):
            yield (*at, key.name), list(value) or None
        else:
            writer = spelling_of(hints[key.name])
            yield (*at, key.name), writer.write(value) if writer and value is not None else value


def _mapping_leaves(value: Mapping[str, Any], at: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not value:
        yield at, None
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _mapping_leaves(item, (*at, key))
        else:
            yield (*at, key), item


def as_mapping(section: Any) -> dict[str, Any]:
    """The nested mapping of all keys that are set."""
    result: dict[str, Any] = {}
    for path, value in leaves(section):
        if value is None:
            continue
        place = result
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return result


def spelling_of(hint: Any) -> Spelling | None:
    """The spelling in `Annotated[int, Spelling(...)]`, alone or beside None."""
    choices = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    for candidate in choices:
        for mark in getattr(candidate, "__metadata__", ()):
            if isinstance(mark, Spelling):
                return mark
    return None
