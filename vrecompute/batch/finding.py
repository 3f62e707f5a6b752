"""`Finding`: one fact that a probe found, and the line of the site's file that would mend it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBE_PATIENCE_S", "Finding", "advice_on", "no_word", "yaml_line"]

#: How long a probe's job may wait in the queue where nothing else is said.
PROBE_PATIENCE_S = 240.0


@dataclass(frozen=True)
class Finding:
    """`check` names what was looked at. `advice` is the YAML line that would mend it, empty where nothing is wrong."""

    check: str
    ok: bool
    detail: str
    advice: str = ""


def no_word(line: str) -> None:
    """What a probe calls with a line while it waits, where nothing is to be printed."""
    del line


def advice_on(error: Exception, otherwise: str) -> str:
    """The line of the site's file that an error is about; that none is, where it may pass; else `otherwise`."""
    if key := getattr(error, "mend", ""):
        return yaml_line(key)
    if getattr(error, "transient", False):
        return "nothing in the site's file: probe again once the batch system answers"
    return otherwise


def yaml_line(key: str, value: str = "...") -> str:
    """A key with dots as the line of a site file that sets it.

    >>> yaml_line("workers.nodes.min", "4")
    'workers: {nodes: {min: 4}}'
    """
    first, *others = key.split(".")
    return f"{first}: " + "".join(f"{{{each}: " for each in others) + value + "}" * len(others)
