"""The state of a campaign as one HTML file without scripts, which a phone shows, and as Prometheus' text."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vrecompute.errors import StoreError
from vrecompute.folders import make_folders

__all__ = ["metrics_text", "page", "replace_file"]


def page(status: Mapping[str, Any], history: Sequence[Mapping[str, Any]], code: int, headline: str) -> str:
    """The page. Everything shown is escaped."""
    environment = Environment(
        loader=PackageLoader("vrecompute.campaign"), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    environment.filters["clock"] = _clock
    shown = [{"reason": "", "moved": "", **each} for each in reversed(history)]
    template = environment.get_template("status.html")
    return template.render(status=status, history=shown, code=code, headline=headline or "nothing to do")


def _clock(moment: str) -> str:
    """A time of the ledger, to the minute, as people read it."""
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"


def metrics_text(status: Mapping[str, Any], code: int, now: float) -> str:
    """Prometheus' text format, for the textfile collector of a node."""
    label = f'campaign="{status["campaign"]}"'
    lines: list[str] = []

    def metric(name: str, kind: str, said: str, values: Mapping[str, float]) -> None:
        lines.extend([f"# HELP vrecompute_campaign_{name} {said}", f"# TYPE vrecompute_campaign_{name} {kind}"])
        lines.extend(f"vrecompute_campaign_{name}{{{label}{more}}} {value}" for more, value in values.items())

    metric("last_tick_seconds", "gauge", "When the latest tick ended, in seconds since 1970.", {"": now})
    metric("last_tick_exit_code", "gauge", "Exit code of the latest tick; 6 is nothing to do.", {"": code})
    states = {f',state="{state}"': count for state, count in status["units_by_state"].items()}
    metric("units", "gauge", "Units by state.", states)
    metric("inputs", "gauge", "Files that are there.", {"": status["inputs"]["there"]})
    failing = status["inputs_failing"]
    quarantined = sum(1 for each in failing if each["quarantined"])
    metric("inputs_quarantined", "gauge", "Files in quarantine, by unit and file.", {"": quarantined})
    metric("chunks_computed_total", "counter", "Chunks computed.", {"": status["chunks_computed_total"]})
    metric("chunks_reused_total", "counter", "Chunks taken from parts.", {"": status["chunks_reused_total"]})
    metric("core_hours_total", "counter", "Core-hours of tasks.", {"": status["core_hours_total"]})
    return "\n".join(lines) + "\n"


def replace_file(path: Path, text: str) -> None:
    """Make a text what is in a file, whole at each moment; StoreError where that cannot be written."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        make_folders(path.parent)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
