"""The JSON schema of a site file, for editors: generated from the dataclasses that read it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from vrecompute.config.check import json_schema
from vrecompute.sites.drivers import installed_drivers, options_model
from vrecompute.sites.model import Site

__all__ = ["installed_options", "site_schema"]

#: What a file must say for itself whatever it extends.
_REQUIRED = ["name"]


def installed_options() -> dict[str, type[BaseModel]]:
    """The options of every driver that is installed here and declares them."""
    models = {name: options_model(name).model for name in installed_drivers()}
    return {name: model for name, model in models.items() if model is not None}


def site_schema(options: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The schema of a site file, with the options of these drivers (driver: model) told apart by `backend`.

    `null` is allowed for every key (it is the default), and no section has required keys: what a
    file leaves out may stand in the one it extends, which only `vrecompute site check` can see.
    """
    schema = copy.deepcopy(json_schema(Site))
    definitions = schema["$defs"]
    for section in (schema, *definitions.values()):
        _loosen(section)
    extends = {"type": "string", "minLength": 1}
    schema["properties"]["extends"] = {
        "description": "Name or path of a site file to start from, or several; the later wins, this file over all.",
        "anyOf": [extends, {"type": "array", "items": extends}],
    }
    rules = []
    for backend, model in sorted(options.items()):
        part = model.model_json_schema(ref_template=f"#/$defs/{backend}.{{model}}")
        definitions |= {f"{backend}.{name}": definition for name, definition in part.pop("$defs", {}).items()}
        definitions[f"{backend}.options"] = part
        rules.append(
            {
                "if": {"properties": {"backend": {"const": backend}}, "required": ["backend"]},
                "then": {"properties": {"options": {"$ref": f"#/$defs/{backend}.options"}}},
            }
        )
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A site of vrecompute",
        "required": _REQUIRED,
        "anyOf": [{"required": ["backend"]}, {"required": ["extends"]}],
    }
    # an empty allOf is no valid schema
    return head | schema | ({"allOf": rules} if rules else {})


def _loosen(section: dict[str, Any]) -> None:
    section.pop("required", None)
    section.pop("title", None)
    for key, prop in section.get("properties", {}).items():
        prop.pop("title", None)
        if "patternProperties" in prop:
            prop["additionalProperties"] = False
        choices = prop.get("anyOf", ())
        if key not in (*_REQUIRED, "backend") and {"type": "null"} not in choices:
            description = {"description": prop.pop("description")} if "description" in prop else {}
            section["properties"][key] = {"anyOf": [dict(prop), {"type": "null"}], **description}
