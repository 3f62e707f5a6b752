"""A Model as a HistFactory workspace in JSON, as pyhf and cabinetry read it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vrecompute.results.varied import Values
from vrecompute.statistics.model import LUMINOSITY, Channel, Model, Template

__all__ = ["BOUNDS", "workspace_of"]

#: Between which values the parameter of interest is looked for.
BOUNDS = (0.0, 10.0)


def workspace_of(model: Model, measurement: str) -> dict[str, Any]:
    """The workspace, version 1.0.0 of its schema; plain data for `json.dump`.

    Finite simulated samples are a `staterror` of each channel. A systematic is split into its effect on the sum
    (`normsys`) and on the shape (`histosys`) under one name, so that both go with one parameter; that of the luminosity
    is a `normsys` of all samples. Of a systematic that is known in one direction the other is the mirror image.
    """
    parameter = {"name": model.poi, "inits": [1.0], "bounds": [list(BOUNDS)]}
    return {
        "channels": [_channel(channel, model) for channel in model.channels],
        "measurements": [{"name": measurement, "config": {"poi": model.poi, "parameters": [parameter]}}],
        "observations": [{"name": channel.name, "data": channel.observed.tolist()} for channel in model.channels],
        "version": "1.0.0",
    }


def _channel(channel: Channel, model: Model) -> dict[str, Any]:
    samples = []
    for template in channel.templates:
        modifiers: list[dict[str, Any]] = [
            {"name": f"staterror_{channel.name}", "type": "staterror", "data": template.stdev.tolist()}
        ]
        if template.is_signal:
            modifiers.append({"name": model.poi, "type": "normfactor", "data": None})
        if relative := model.luminosity_uncertainty:
            modifiers.append(_factor(LUMINOSITY, 1 + relative, 1 - relative))
        for name, (up, down) in template.moved.items():
            modifiers += _systematic(name, template, up, down)
        samples.append({"name": template.sample, "data": template.values.tolist(), "modifiers": modifiers})
    return {"name": channel.name, "samples": samples}


def _systematic(name: str, template: Template, up: Values, down: Values | None) -> list[dict[str, Any]]:
    """Factor and shape; the shapes have the sum of the nominal values."""
    total = template.values.sum()
    high = float(up.sum() / total)
    shape_up = up / high
    if down is None:
        low = 2 - high
        shape_down = 2 * template.values - shape_up
    else:
        low = float(down.sum() / total)
        shape_down = down / low
    modifiers = [_factor(name, high, low)]
    if np.size(up) > 1:  # one bin has no shape
        shapes = {"hi_data": shape_up.tolist(), "lo_data": shape_down.tolist()}
        modifiers.append({"name": name, "type": "histosys", "data": shapes})
    return modifiers


def _factor(name: str, high: float, low: float) -> dict[str, Any]:
    return {"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}
