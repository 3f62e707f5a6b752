"""What an installed driver says about its options; drivers are found by entry point, never imported by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel

__all__ = ["GROUP", "OptionsModel", "installed_drivers", "options_model"]

GROUP = "vrecompute.backends"


@dataclass(frozen=True)
class OptionsModel:
    """The pydantic model of a driver's options, or why there is none to check them with."""

    model: type[BaseModel] | None
    reason: str = ""


def installed_drivers() -> list[str]:
    """Names under which drivers are registered."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def options_model(backend: str) -> OptionsModel:
    """`options_model` of the driver's class; the reason where the driver or the model is not there."""
    found = list(entry_points(group=GROUP, name=backend))
    if not found:
        return OptionsModel(None, f"no driver '{backend}' is installed here")
    try:
        driver: Any = found[0].load()
    except (ImportError, AttributeError) as error:
        return OptionsModel(None, f"the driver '{backend}' cannot be imported here: {error}")
    model = getattr(driver, "options_model", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return OptionsModel(model)
    return OptionsModel(None, f"the driver '{backend}' declares none")
