"""The resonance search in one mass spectrum: background fit, bump scan and limits, as JSON-able products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.errors import ParameterError
from vrecompute_analyses.dilepton.background import PARAMETERS, BackgroundFit, fit_background, published_fit
from vrecompute_analyses.dilepton.bumpscan import BumpScan, scan_for_bump, scan_masses
from vrecompute_analyses.dilepton.exclusion import CrossSectionLimits, cross_section_limits
from vrecompute_analyses.dilepton.finish_parameters import FINISH_PARAMETERS
from vrecompute_analyses.dilepton.response import Acceptance
from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.likelihood import Floats
from vrecompute_analyses.limits import BANDS

__all__ = ["BAND_NAMES", "Normalisation", "Settings", "numbers", "read_normalisation", "search", "skipped"]

# Keys of the expected limits, from -2 to +2 standard deviations.
BAND_NAMES = ("minus2", "minus1", "median", "plus1", "plus2")


@dataclass(frozen=True)
class Settings:
    """The parameters of the search, checked."""

    fit_range_gev: tuple[float, float]
    scan_range_gev: tuple[float, float]
    z_window_gev: tuple[float, float]
    signal_width_percent: float
    limit_widths_percent: tuple[float, ...]
    limit_masses_gev: tuple[float, ...]
    cl: float
    min_events_z: int
    min_events_background: int

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """From an analysis's parameters (defaults where it has none); ParameterError says what makes no sense."""
        known = {p.name: values.get(p.name, p.default) for p in FINISH_PARAMETERS}
        for name in ("fit_range_gev", "scan_range_gev", "z_window_gev"):
            low, high = known[name]
            if low == high:
                raise ParameterError(f"parameter {name}={low:g},{high:g}: give two different masses in GeV")
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Normalisation:
    """What turns events into fb: acceptance times efficiency, and an integrated luminosity in 1/fb."""

    acceptance: Acceptance
    luminosity_ifb: float


def skipped(reason: str) -> dict[str, Any]:
    """The product that stands for one which could not be made."""
    return {"skipped": reason}


def numbers(values: Floats) -> list[float | None]:
    """A JSON-able list; what is not finite becomes None."""
    return [float(value) if np.isfinite(value) else None for value in values]


def search(
    channel: str,
    spectrum: Spectrum,
    settings: Settings,
    normalisation: Normalisation | str,
    injected_mass_gev: float | None = None,
    published_events: float | None = None,
) -> dict[str, Any]:
    """Products of one channel: `spectrum`, `background`, `background_published`, `bump_scan`, `limits`.

    `normalisation` may be the reason why there is none. `published_events` normalises the published background
    (None: to the spectrum). Whatever cannot be done is {"skipped": reason}.
    """
    fitted = spectrum.window(*settings.fit_range_gev)
    events = float(fitted.equivalent_counts.sum())
    head = {
        "edges_gev": numbers(fitted.edges_gev),
        "counts": numbers(fitted.counts),
        "uncertainties": numbers(np.sqrt(np.maximum(fitted.variances, 0.0))),
        "events": fitted.total,
        "equivalent_events": events,
    }
    if events < max(settings.min_events_background, 1):
        reason = skipped(f"fewer than {settings.min_events_background} events in {_range(settings.fit_range_gev)}")
        keys = ("background", "background_published", "bump_scan", "limits")
        return {"spectrum": head, **{key: dict(reason) for key in keys}}
    fit = fit_background(channel, fitted)
    reference = published_fit(channel, fitted, fitted.total if published_events is None else published_events)
    return {
        "spectrum": head,
        "background": _background_product(fit, fitted),
        "background_published": _background_product(reference, fitted),
        "bump_scan": _bump_product(fitted, fit, settings, injected_mass_gev),
        "limits": _limits_product(fitted, fit, settings, normalisation),
    }


def _background_product(fit: BackgroundFit, spectrum: Spectrum) -> dict[str, Any]:
    return {
        "function": "N BW_Z(m) (1-x^c)^b x^(p0+p1 ln x+p2 ln^2 x+p3 ln^3 x), as polynomial a0..a4 in ln(m/600 GeV)",
        "parameters": dict(zip(PARAMETERS, map(float, fit.theta), strict=True)),
        "uncertainties": {
            name: float(error)
            for name, error, free in zip(PARAMETERS, fit.errors, fit.free, strict=True)
            if free
        },
        "at_limit": [
            name for name, error, free in zip(PARAMETERS, fit.errors, fit.free, strict=True) if free and error == 0
        ],
        "free": [name for name, free in zip(PARAMETERS, fit.free, strict=True) if free],
        "valid": fit.valid,
        "chi2": fit.chi2,
        "bins": fit.bins,
        "ndf": fit.ndf,
        "expected": numbers(fit.expected * spectrum.scale),
    }  # fmt: skip


def _bump_product(
    spectrum: Spectrum, fit: BackgroundFit, settings: Settings, injected_mass_gev: float | None
) -> dict[str, Any]:
    masses = scan_masses(spectrum, *settings.scan_range_gev)
    if not len(masses):
        return skipped(f"no mass bin of the spectrum lies in {_range(settings.scan_range_gev)}")
    scan = scan_for_bump(spectrum, fit, masses, settings.signal_width_percent)
    best = scan.best
    product: dict[str, Any] = {
        "width_percent": settings.signal_width_percent,
        "masses_gev": numbers(scan.masses_gev),
        "local_significance": numbers(scan.significance),
        "signal_events": numbers(scan.signal * spectrum.scale),
        "maximum": {
            **_at(scan, best, spectrum),
            "global_significance": scan.global_significance,
            **_quality(spectrum.equivalent_counts, scan.background + scan.signal_shape),
            "background": numbers(scan.background * spectrum.scale),
            "signal": numbers(scan.signal_shape * spectrum.scale),
        },
    }
    if injected_mass_gev is not None:
        product["injected"] = _injected(scan, injected_mass_gev, spectrum)
    return product


def _quality(counts: Floats, expected: Floats) -> dict[str, Any]:
    """Chi2 of signal plus background, over bins with a prediction above 5."""
    used = expected > 5
    return {"chi2": float(np.sum((counts[used] - expected[used]) ** 2 / expected[used])), "bins": int(used.sum())}


def _at(scan: BumpScan, index: int, spectrum: Spectrum) -> dict[str, Any]:
    mass = float(scan.masses_gev[index])
    low, high = _bin_of(spectrum, mass)
    return {
        "mass_gev": mass,
        "bin_gev": [low, high],
        "local_significance": float(scan.significance[index]),
        "signal_events": float(scan.signal[index]) * spectrum.scale,
        "signal_events_uncertainty": float(scan.signal_error[index]) * spectrum.scale,
    }


def _injected(scan: BumpScan, mass_gev: float, spectrum: Spectrum) -> dict[str, Any]:
    if not scan.masses_gev[0] <= mass_gev <= scan.masses_gev[-1]:
        return {"true_mass_gev": mass_gev, **skipped("it lies outside the scanned masses")}
    nearest = int(np.argmin(np.abs(np.log(scan.masses_gev / mass_gev))))
    bins = np.searchsorted(spectrum.edges_gev, [mass_gev, scan.masses_gev[scan.best]])
    return {
        "true_mass_gev": mass_gev,
        **_at(scan, nearest, spectrum),
        "bins_from_maximum": abs(int(bins[1]) - int(bins[0])),
    }


def _bin_of(spectrum: Spectrum, mass_gev: float) -> tuple[float, float]:
    index = int(np.clip(np.searchsorted(spectrum.edges_gev, mass_gev) - 1, 0, len(spectrum.counts) - 1))
    return float(spectrum.edges_gev[index]), float(spectrum.edges_gev[index + 1])


def _limits_product(
    spectrum: Spectrum, fit: BackgroundFit, settings: Settings, normalisation: Normalisation | str
) -> dict[str, Any]:
    if isinstance(normalisation, str):
        return skipped(normalisation)
    if fit.channel not in normalisation.acceptance.value:
        return skipped(f"the acceptance table has no {fit.channel} channel")
    wanted = np.array(sorted(settings.limit_masses_gev))
    curves = []
    for width in settings.limit_widths_percent:
        limits = cross_section_limits(
            spectrum,
            fit,
            normalisation.acceptance,
            normalisation.luminosity_ifb,
            width,
            settings.scan_range_gev,
            settings.cl,
        )
        if not len(limits.masses_gev):
            return skipped("no scanned mass lies inside the acceptance table")
        quoted = limits.at(wanted) if len(wanted) else limits
        curves.append({**_curve(limits), "quoted": _curve(quoted)})
    return {
        "quantity": "upper limit on the fiducial cross-section times branching ratio, fb",
        "method": "asymptotic CLs, background profiled, no systematic uncertainties",
        "cl": settings.cl,
        "luminosity_ifb": normalisation.luminosity_ifb,
        "curves": curves,
    }


def _curve(limits: CrossSectionLimits) -> dict[str, Any]:
    expected = {name: numbers(limits.expected_fb[:, i]) for i, name in enumerate(BAND_NAMES[: len(BANDS)])}
    return {
        "width_percent": limits.width_percent,
        "masses_gev": numbers(limits.masses_gev),
        "observed_fb": numbers(limits.observed_fb),
        "expected_fb": expected,
    }


def _range(limits_gev: tuple[float, float]) -> str:
    return f"{limits_gev[0]:g}-{limits_gev[1]:g} GeV"


def read_normalisation(acceptance_csv: Path, luminosity_ifb: float, spin: int) -> Normalisation:
    """The acceptance table of a spin, with a luminosity."""
    return Normalisation(Acceptance.from_csv(acceptance_csv, spin), luminosity_ifb)
