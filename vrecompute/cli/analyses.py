"""`vrecompute analyses [NAME]`: what can be run, and its parameters."""

from __future__ import annotations

from typing import Any

import click

from vrecompute.cli.options import JSON
from vrecompute.cli.output import facts, table
from vrecompute.plugins import ANALYSES, installed

__all__ = ["analyses"]


@click.command()
@click.argument("name", required=False)
@JSON
def analyses(name: str | None, as_json: bool) -> None:
    """Every installed analysis, or the parameters of analysis NAME (or FILE.py)."""
    if name is None:
        rows = [_line(name) for name in installed(ANALYSES)]
        if as_json:
            facts([dict(zip(("name", "version", "title"), row, strict=True)) for row in rows])
        else:
            table(["ANALYSIS", "VERSION", "WHAT IT DOES"], rows)
        return
    from vrecompute.analysis.loading import load_analysis

    kind, _ = load_analysis(name, {})
    if as_json:
        facts({"name": kind.name, "version": kind.version, "title": kind.title, "parameters": _parameters(kind)})
        return
    click.echo(f"{kind.name} {kind.version}: {kind.title}\n")
    described = [(p["name"], _shown(p["default"]), p["type"], p["help"]) for p in _parameters(kind)]
    table(["PARAMETER", "DEFAULT", "TYPE", "WHAT IT IS"], described)
    click.echo("\nParameters of stage `finish` recompute no chunk." if kind.finish_function else "")


def _line(name: str) -> tuple[str, str, str]:
    from vrecompute.analysis.loading import load_analysis
    from vrecompute.errors import VrecomputeError

    try:
        kind, _ = load_analysis(name, {})
    except VrecomputeError as error:
        return name, "-", f"unavailable: {error}"
    return kind.name, kind.version, kind.title


def _parameters(kind: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": p.name,
            "default": p.default,
            "type": "list" if p.type is tuple else getattr(p.type, "__name__", "value"),
            "choices": list(p.choices),
            "stage": p.stage,
            "help": p.help + (f" (one of {', '.join(map(str, p.choices))})" if p.choices else ""),
        }
        for p in kind.parameters
    ]


def _shown(value: Any) -> str:
    """A default as it is typed after `-p name=`."""
    if isinstance(value, tuple | list):
        return ",".join(f"{item:g}" for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
