"""Answers in JSON, as commands of batch systems give them; what a site prints around one is not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["json_at", "json_by_id", "json_records"]


def json_records(text: str, key: str) -> list[Mapping[str, Any]]:
    """The objects in the list `key` of the answer; ValueError where it is no answer, which must not read as "none".

    >>> json_records('Welcome! {"jobs": [{"id": 7}, null]} Bye.', "jobs")
    [{'id': 7}]
    """
    found = _answer(text).get(key)
    if not isinstance(found, list):
        raise ValueError(f"the answer in JSON has no list {key!r}")
    return [each for each in found if isinstance(each, Mapping)]


def json_by_id(text: str, key: str) -> dict[str, Mapping[str, Any]]:
    """The objects in the object `key` of the answer by their names there; ValueError where it is no answer.

    >>> json_by_id('Welcome! {"Jobs": {"7.mars": {"state": "R"}, "8.mars": null}} Bye.', "Jobs")
    {'7.mars': {'state': 'R'}}
    """
    found = _answer(text).get(key)
    if not isinstance(found, Mapping):
        raise ValueError(f"the answer in JSON has no object {key!r}")
    return {name: each for name, each in found.items() if isinstance(each, Mapping)}


def _answer(text: str) -> Mapping[str, Any]:
    """The object that begins with the first brace; ValueError where there is none."""
    data: Mapping[str, Any] = json.JSONDecoder().raw_decode(text, text.index("{"))[0]
    return data


def json_at(data: Any, *path: str) -> Any:
    """What JSON has at a path; None where something on the way is absent.

    >>> json_at({"time": {"limit": 5}}, "time", "limit"), json_at({"time": None}, "time", "limit")
    (5, None)
    """
    for key in path:
        data = (data or {}).get(key)
    return data
