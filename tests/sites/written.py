"""Sites given as data: written to a file and read from it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrecompute.sites.leaves import leaves
from vrecompute.sites.load import load_site
from vrecompute.sites.model import Site


def site_of(data: Mapping[str, Any]) -> Site:
    """The site that a file with this content gives; JSON is YAML."""
    with tempfile.TemporaryDirectory() as folder:
        name = data["name"]
        path = Path(folder) / (f"{name}.yaml" if isinstance(name, str) and name.isidentifier() else "x.yaml")
        path.write_text(json.dumps({"schema": 1, **data}, indent=1, ensure_ascii=False), encoding="utf-8")
        return load_site(path)


def data_of(site: Site) -> dict[str, Any]:
    """Everything but unset keys, in the words and units of YAML."""
    result: dict[str, Any] = {}
    for path, value in leaves(site):
        if value is None:
            continue
        place = result
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return result
