"""Answers in JSON, as commands of batch systems give them; what a site prints around one is not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["json_at", "json_records"]


def json_records(text: str, key: str) -> list[Mapping[str, Any]]:
    """The objects in the list `key` of the answer; ValueError where it is no answer, which must not read as "none".

    >>> json_records('Welcome! {"jobs": [{"id": 7}, null]} Bye.', "jobs")
    [{'id': 7}]
    """
    data, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    found = data.get(key)
    if not isinstance(found, list):
        raise ValueError(f"the answer in JSON has no list {key!r}")
    return [each for each in found if isinstance(each, Mapping)]


def json_at(data: Any, *path: str) -> Any:
    """What JSON has at a path; None where something on the way is absent.

    >>> json_at({"time": {"limit": 5}}, "time", "limit"), json_at({"time": None}, "time", "limit")
    (5, None)
    """
    for key in path:
        data = (data or {}).get(key)
    return data
