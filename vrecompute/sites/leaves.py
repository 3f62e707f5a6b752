"""A `Site` taken apart into its keys, and written back in the words and units of YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from vrecompute.config.spelling import Spelling

__all__ = ["KeyPath", "leaves", "spelling_of"]

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


def spelling_of(hint: Any) -> Spelling | None:
    """The spelling in `Annotated[int, Spelling(...)]`, alone or beside None."""
    choices = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    for candidate in choices:
        for mark in getattr(candidate, "__metadata__", ()):
            if isinstance(mark, Spelling):
                return mark
    return None
