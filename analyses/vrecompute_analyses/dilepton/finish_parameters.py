"""Parameters of the dilepton analysis that its fits, scan and limits read: changing one recomputes no chunk."""

from __future__ import annotations

from vrecompute.analysis import Parameter, interval

__all__ = ["FINISH_PARAMETERS"]

FINISH_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "fit_range_gev",
        (225.0, 6000.0),
        "mass range of the background fit, low,high",
        type=interval,
        stage="finish",
        above=0,
    ),
    Parameter(
        "scan_range_gev",
        (250.0, 6000.0),
        "resonance masses that are scanned, low,high",
        type=interval,
        stage="finish",
        above=0,
    ),
    Parameter(
        "signal_width_percent",
        0.0,
        "natural width of the scanned resonance, % of its mass",
        stage="finish",
        minimum=0,
        maximum=30,
    ),
    Parameter(
        "injected_mass_gev",
        0.0,
        "where a resonance was injected (0: as the sample's metadata say)",
        stage="finish",
        minimum=0,
    ),
    Parameter(
        "z_window_gev", (81.0, 101.0), "mass range of the Z-peak fit, low,high", type=interval, stage="finish", above=0
    ),
    Parameter(
        "z_response",
        "gauss",
        "mass response in the Z-peak fit",
        type=str,
        choices=("gauss", "crystal_ball"),
        stage="finish",
    ),
    Parameter("acceptance", "", "CSV of acceptance x efficiency (needed for limits)", type=str, stage="finish"),
    Parameter("luminosity_ifb", 0.0, "integrated luminosity, 1/fb (0: as the samples say)", stage="finish", minimum=0),
    Parameter(
        "signal_spin", 1, "spin of the resonance, for its acceptance", type=int, choices=(0, 1, 2), stage="finish"
    ),
    Parameter(
        "limit_widths_percent",
        (0.0, 0.5, 1.2, 3.0, 6.0, 10.0),
        "natural widths of the limits, % of the mass",
        type=tuple,
        stage="finish",
        minimum=0,
        maximum=30,
    ),
    Parameter(
        "limit_masses_gev",
        (300.0, 500.0, 1000.0, 3000.0, 5000.0),
        "masses at which limits are quoted besides the scanned ones",
        type=tuple,
        stage="finish",
        above=0,
    ),
    Parameter("cl", 0.95, "confidence level of the limits, such as 0.95", stage="finish", minimum=0.5, below=1),
    Parameter(
        "min_events_z", 200, "events in the Z window below which it is not fitted", type=int, stage="finish", minimum=0
    ),
    Parameter(
        "min_events_background",
        50,
        "events below which there is no background fit, scan or limit",
        type=int,
        stage="finish",
        minimum=0,
    ),
)
