"""What an installed driver says about options and sites; drivers are found by entry point, never imported by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel

from vrecompute.plugins import BACKENDS, installed
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["OptionsModel", "installed_drivers", "options_model"]


@dataclass(frozen=True)
class OptionsModel:
    """The pydantic model of a driver's options, or why there is none to check them with; and its own rules."""

    model: type[BaseModel] | None
    reason: str = ""
    rules: Callable[[Site], Iterable[Diagnostic]] = lambda site: ()
    #: Whether there is no such driver here, so that no run of the site starts.
    missing: bool = False

    @property
    def harmless(self) -> Collection[str]:
        """Options that can neither run nor send anything of the user's, as the model's `harmless` says."""
        return getattr(self.model, "harmless", ())


def installed_drivers() -> list[str]:
    """Names under which drivers are registered."""
    return list(installed(BACKENDS))


def options_model(backend: str) -> OptionsModel:
    """`options_model` and rules of the driver's class; the reason where driver or model is not there."""
    found = installed(BACKENDS).get(backend)
    if found is None:
        return OptionsModel(None, f"no driver '{backend}' is installed here", missing=True)
    try:
        driver: Any = found.load()
    except (ImportError, AttributeError) as error:
        return OptionsModel(None, f"the driver '{backend}' cannot be imported here: {error}", missing=True)
    model = getattr(driver, "options_model", None)
    rules = partial(_rules, driver)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return OptionsModel(model, rules=rules)
    return OptionsModel(None, f"the driver '{backend}' declares no options", rules)


def _rules(driver: Any, site: Site) -> Iterator[Diagnostic]:
    """What its `site_rules` find, and what its `capabilities` deny, as advice."""
    yield from getattr(driver, "site_rules", lambda site: ())(site)
    if (capabilities := getattr(driver, "capabilities", None)) is not None:
        yield from (Diagnostic(at(key), denied, advice=True) for key, denied in capabilities.denied(site))
