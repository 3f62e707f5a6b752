"""Which numbers of a product moved from one version to the next, and by how much."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.results.results import Results

__all__ = ["compare", "numbers_of", "sentence"]

# Numbers that a sentence names.
_NAMED = 3


def compare(before: Path, after: Path) -> dict[str, Any]:
    """What differs between two folders of a product: numbers moved, only there before, only there now."""
    old, new = numbers_of(before), numbers_of(after)
    moved = {
        name: {"before": old[name], "after": new[name], "relative": _relative(old[name], new[name])}
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name] and not (math.isnan(old[name]) and math.isnan(new[name]))
    }
    return {
        "before": before.name,
        "after": after.name,
        "compared": len(old.keys() & new.keys()),
        "moved": moved,
        "gone": sorted(old.keys() - new.keys()),
        "new": sorted(new.keys() - old.keys()),
    }


def sentence(difference: Mapping[str, Any]) -> str:
    """The same in a sentence: how many numbers moved, and which moved most."""
    moved = difference["moved"]
    if not (moved or difference["gone"] or difference["new"]):
        return f"none of {difference['compared']} numbers moved"
    most = sorted(moved, key=lambda name: -abs(moved[name]["relative"] or math.inf))[:_NAMED]
    told = [f"{name} {moved[name]['before']:.6g} -> {moved[name]['after']:.6g}" for name in most]
    words = [f"{len(moved)} of {difference['compared']} numbers moved" + (f": {', '.join(told)}" if told else "")]
    words += [f"{len(difference[kind])} {kind}" for kind in ("gone", "new") if difference[kind]]
    return "; ".join(words)


def numbers_of(folder: Path) -> dict[str, float]:
    """The numbers of a product by name: counters, cuts, sums and bins of histograms, arrays, and fitted values."""
    found: dict[str, float] = {}
    result = folder / "result" / "result.zip"
    if result.exists():
        for sample, of in Results.from_bytes(result.read_bytes()).items():
            found[f"{sample}/events"] = float(of.events)
            found |= {f"{sample}/counter/{k}": float(v) for k, v in of.counters.items() if _is_number(v)}
            for channel, cuts in of.cutflow.items():
                found |= {f"{sample}/cutflow/{channel}/{cut}": float(n) for cut, n in cuts.items()}
            for name, histogram in of.histograms.items():
                found |= _values(f"{sample}/histogram/{name}", np.asarray(histogram.values(flow=True)))
            for name, array in of.arrays.items():
                found |= _values(f"{sample}/array/{name}", np.asarray(array.values))
    products = folder / "products" / "products.json"
    if products.exists():
        found |= dict(_leaves("product", json.loads(products.read_text(encoding="utf-8"))))
    return found


def _values(name: str, values: Any) -> dict[str, float]:
    if values.dtype.kind not in "biuf":
        return {}
    flat = values.ravel().astype(float)
    return {f"{name}/sum": float(flat.sum())} | {f"{name}/{n}": float(v) for n, v in enumerate(flat[:10_000])}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}/{key}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(f"{name}/{number}", item)
    elif _is_number(value):
        yield name, float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _relative(before: float, after: float) -> float | None:
    """None where that is no finite number."""
    relative = (after - before) / abs(before) if before else math.inf
    return relative if math.isfinite(relative) else None
