"""A Model as cabinetry takes it: a configuration, and a ROOT file of all templates that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boost_histogram as bh
import numpy as np

from vrecompute.digest import sha256_json
from vrecompute.errors import UsageError
from vrecompute.folders import make_folders
from vrecompute.results.varied import Values
from vrecompute.statistics.model import LUMINOSITY, Channel, Model
from vrecompute.statistics.workspace import BOUNDS, workspace_of

__all__ = ["write_cabinetry"]

_DATA = "Data"


def write_cabinetry(model: Model, measurement: str, folder: Path) -> dict[str, Any]:
    """The configuration, written to `folder`/config.yml with its templates in `folder`/histograms.root.

    cabinetry collects them (`cabinetry.templates.collect`) into a folder that is named by their numbers, so that none
    of an earlier export are taken for these. Its paths begin where `folder` does.

    UsageError where two channels and samples would have one file there.
    """
    import yaml

    make_folders(folder)
    _check_files(model)
    content = sha256_json(workspace_of(model, measurement))[:12]
    regions = [channel.name for channel in model.channels]
    config: dict[str, Any] = {
        "General": {
            "Measurement": measurement,
            "POI": model.poi,
            "InputPath": f"{folder}/histograms.root:{{RegionPath}}/{{SamplePath}}{{VariationPath}}",
            "HistogramFolder": f"{folder}/templates-{content}",
            "VariationPath": "",
        },
        "Regions": [{"Name": name, "RegionPath": name} for name in regions],
        "Samples": [{"Name": _DATA, "SamplePath": _DATA, "Data": True}, *_samples(model)],
        "NormFactors": [
            {"Name": model.poi, "Samples": _signals(model), "Nominal": 1.0, "Bounds": list(BOUNDS)},
        ],
        "Systematics": _systematics(model),
    }
    _write_histograms(model, folder / "histograms.root")
    (folder / "config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config


def _signals(model: Model) -> list[str]:
    return list(dict.fromkeys(t.sample for c in model.channels for t in c.templates if t.is_signal))


def _samples(model: Model) -> list[dict[str, Any]]:
    names = dict.fromkeys(t.sample for c in model.channels for t in c.templates)
    everywhere = [c.name for c in model.channels]
    made = []
    for name in names:
        where = [c.name for c in model.channels if any(t.sample == name for t in c.templates)]
        made.append({"Name": name, "SamplePath": name} | ({} if where == everywhere else {"Regions": where}))
    return made


def _systematics(model: Model) -> list[dict[str, Any]]:
    """One entry for all channels where a systematic moves the same samples in the same way; they share a parameter."""
    made: list[dict[str, Any]] = []
    if relative := model.luminosity_uncertainty:
        changes = {"Up": {"Normalization": relative}, "Down": {"Normalization": -relative}}
        made.append({"Name": LUMINOSITY, "Type": "Normalization", **changes})
    for systematic in model.systematics:
        groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
        for channel in model.channels:
            moved = {t.sample: t.moved[systematic][1] for t in channel.templates if systematic in t.moved}
            for mirrored in (False, True):
                if samples := tuple(s for s, down in moved.items() if (down is None) == mirrored):
                    groups.setdefault((samples, mirrored), []).append(channel.name)
        for number, ((samples, mirrored), channels) in enumerate(groups.items()):
            safe = _safe(systematic)
            path = f"_{safe}"
            made.append(
                {
                    "Name": safe if not number else f"{safe}-{number}",
                    "ModifierName": systematic,
                    "Type": "NormPlusShape",
                    "Up": {"VariationPath": f"{path}_up"},
                    "Down": {"Symmetrize": True} if mirrored else {"VariationPath": f"{path}_down"},
                    "Samples": list(samples),
                    "Regions": channels,
                }
            )
    return made


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _check_files(model: Model) -> None:
    """cabinetry names a file of a template CHANNEL_SAMPLE_SYSTEMATIC_WAY, which two of them may share."""
    files: dict[str, str] = {}
    for channel in model.channels:
        for template in channel.templates:
            if template.sample == _DATA:
                raise UsageError(f"cabinetry's data are called {_DATA!r} here; give the simulated sample another name")
            for name in ("", *template.moved):
                file = f"{channel.name}_{template.sample}" + (f"_{_safe(name)}" if name else "")
                this = f"channel {channel.name!r}, sample {template.sample!r}" + (f", {name!r}" if name else "")
                if files.setdefault(file, this) != this:
                    raise UsageError(f"cabinetry would keep both {files[file]} and {this} as {file}: rename one")


def _write_histograms(model: Model, path: Path) -> None:
    import uproot

    # of a path, uproot takes what follows `::` for something else
    with path.open("w+b") as opened, uproot.recreate(opened) as file, np.errstate(all="ignore"):
        for channel in model.channels:
            contents: dict[str, tuple[Values, Values]] = {_DATA: (channel.observed, np.sqrt(channel.observed))}
            for template in channel.templates:
                contents[template.sample] = (template.values, template.stdev)
                for name, (up, down) in template.moved.items():
                    ways: Mapping[str, Values | None] = {"up": up, "down": down}
                    for way, values in ways.items():
                        if values is not None:
                            contents[f"{template.sample}_{_safe(name)}_{way}"] = (values, np.zeros_like(values))
            for name, (values, stdev) in contents.items():
                file[f"{channel.name}/{name}"] = _histogram(channel, values, stdev)


def _histogram(channel: Channel, values: Values, stdev: Values) -> bh.Histogram[Any]:
    edges = channel.edges if np.isfinite(channel.edges).all() else np.arange(len(channel.edges), dtype=float)
    made: bh.Histogram[Any] = bh.Histogram(bh.axis.Variable(edges), storage=bh.storage.Weight())
    view: Any = made.view()
    view["value"], view["variance"] = values, stdev**2
    return made
