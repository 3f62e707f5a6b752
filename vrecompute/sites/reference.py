"""Every key of a site as a table: its kind, its default and its sentence, for docs/sites.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vrecompute.config.spelling import Spelling
from vrecompute.sites.leaves import spelling_of
from vrecompute.sites.model import Site

__all__ = ["reference_table"]


def reference_table() -> str:
    """A Markdown table of every key."""
    rows = ["| key | kind | default | |", "|---|---|---|---|"]
    rows += [f"| `{key}` | {kind} | {default} | {sentence} |" for key, kind, default, sentence in _keys(Site, "")]
    return "\n".join(rows)


def _keys(section: type[Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
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
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
