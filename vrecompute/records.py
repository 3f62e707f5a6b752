"""Frozen dataclasses as JSON data, and strictly back from it: what the documents of a store are made of."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import cache
from reprlib import repr
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["ADDED", "from_data", "json_of", "to_data"]

#: Metadata of a field that records may lack: they were written before it was there, and its default is what held then.
ADDED = {"added": True}
_T = TypeVar("_T")
# Mistakes that a message names.
_MOST = 3


def json_of(text: str | bytes) -> Any:
    """What a JSON text from elsewhere says; ValueError for any other text, also one that nests too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def to_data(value: object) -> Any:
    """A dataclass, with those in it and in its tuples, as mappings of field to value; anything else is as it was."""
    if names := _names(value):
        return {name: to_data(getattr(value, name)) for name in names}
    return [to_data(item) for item in value] if _holds_records(value) else value


def from_data(kind: type[_T], data: Any, *, finite: bool = True) -> _T:
    """The value whose `to_data` went through JSON as `data`; ValueError, with the place, for any other data.

    A scalar must have the type of its field. A default is for new values: stored ones have every key that was not
    `ADDED` since their format began, and no other. `finite`: a float is a number that JSON has.
    """
    from pydantic import ValidationError  # what only writes, as workers do, needs not load it

    try:
        # JSON mode: strict about scalars, while mappings and lists become dataclasses and tuples
        made: _T = _adapter(cast("type", kind)).validate_json(json.dumps(data, allow_nan=not finite), strict=True)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        places = [".".join(map(str, error["loc"])) or "all" for error in errors[:_MOST]]
        said = [f"{at}: {e['msg']}, found {repr(e['input'])}" for at, e in zip(places, errors, strict=False)]
        more = f"; and {len(errors) - _MOST} more" if len(errors) > _MOST else ""
        raise ValueError("; ".join(said) + more) from invalid
    _check_keys(data, made)
    return made


def _check_keys(data: Any, made: object) -> None:
    if names := _names(made):
        if odd := [key for key in data.keys() ^ names if not names.get(key)]:
            found = [f"{'unknown' if key in data else 'missing'} key {key!r}" for key in sorted(odd)]
            raise ValueError(f"{type(made).__name__}: {', '.join(found[:_MOST])}")
        for name in names:
            if name in data and not isinstance(value := getattr(made, name), str | int):
                _check_keys(data[name], value)
    elif _holds_records(made):
        for item, each in zip(data, made, strict=True):
            _check_keys(item, each)


def _holds_records(value: object) -> TypeGuard[tuple[object, ...]]:
    return isinstance(value, tuple) and bool(value) and bool(_names(value[0]))


def _names(value: object) -> dict[str, bool]:
    """The fields of a dataclass, in order, and whether each is `ADDED`; none of anything else."""
    return _names_of(cast("type", type(value)))


@cache
def _names_of(kind: type) -> dict[str, bool]:
    return {f.name: "added" in f.metadata for f in fields(kind)} if is_dataclass(kind) else {}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
