"""What an installed driver says about options and sites; drivers are found by entry point, never imported by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel

from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic

__all__ = ["GROUP", "OptionsModel", "installed_drivers", "options_model"]

GROUP = "vrecompute.backends"


@dataclass(frozen=True)
class OptionsModel:
    """The pydantic model of a driver's options, or why there is none to check them with; and its own rules."""

    model: type[BaseModel] | None
    reason: str = ""
    rules: Callable[[Site], Iterable[Diagnostic]] = lambda site: ()


def installed_drivers() -> list[str]:
    """Names under which drivers are registered."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def options_model(backend: str) -> OptionsModel:
    """`options_model` and `site_rules` of the driver's class; the reason where driver or model is not there."""
    found = list(entry_points(group=GROUP, name=backend))
    if not found:
        return OptionsModel(None, f"no driver '{backend}' is installed here")
    try:
        driver: Any = found[0].load()
    except (ImportError, AttributeError) as error:
        return OptionsModel(None, f"the driver '{backend}' cannot be imported here: {error}")
    model = getattr(driver, "options_model", None)
    rules = getattr(driver, "site_rules", lambda site: ())
    if isinstance(model, type) and issubclass(model, BaseModel):
        return OptionsModel(model, rules=rules)
    return OptionsModel(None, f"the driver '{backend}' declares none", rules)
