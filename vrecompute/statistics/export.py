"""A Model in the form of a library that fits it, written where its user wants it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vrecompute.errors import OutputError, UsageError
from vrecompute.nearest import did_you_mean
from vrecompute.statistics.cabinetry import write_cabinetry
from vrecompute.statistics.model import Model
from vrecompute.statistics.workspace import workspace_of

__all__ = ["KINDS", "export_model"]

KINDS = ("pyhf", "cabinetry")


def export_model(kind: str, model: Model, measurement: str, path: Path | None) -> dict[str, Any]:
    """The workspace of "pyhf" or the configuration of "cabinetry", as `Run.export` gives and writes it.

    UsageError for another kind, or for cabinetry without a folder; OutputError where it cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no export to {kind!r}; {did_you_mean(kind, KINDS)}")
    try:
        if kind == "cabinetry":
            if path is None:
                raise UsageError('cabinetry reads files: name a folder for them, export("cabinetry", "fit")')
            return write_cabinetry(model, measurement, path)
        workspace = workspace_of(model, measurement)
        if path is not None:
            path.write_text(json.dumps(workspace, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the export to {kind} cannot be written: {error.strerror or error}") from error
    return workspace
