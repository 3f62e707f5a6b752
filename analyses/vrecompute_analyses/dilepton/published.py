"""The same fits, scan and limits on published spectra: `python -m vrecompute_analyses.dilepton.published DIR`.

DIR holds spectrum_ee.csv and spectrum_mumu.csv (mlow_GeV, mhigh_GeV, n_observed), and optionally acceff.csv for
limits and limits_exp_ee.csv (mass_GeV, w<width>pct_fb; in fb, although one published header says pb) to compare with.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.errors import UnreadableFile, VrecomputeError
from vrecompute_analyses.dilepton.background import PUBLISHED
from vrecompute_analyses.dilepton.search import Normalisation, Settings, numbers, read_normalisation, search
from vrecompute_analyses.dilepton.spectrum import Spectrum, read_table

__all__ = ["LUMINOSITY_IFB", "analyse_published", "main"]

# Of the published spectra (arXiv:1903.06248).
LUMINOSITY_IFB = 139.0


def analyse_published(directory: Path, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Products by channel (see `search.search`) of the published spectra in a directory.

    `values` overrides parameters of FINISH_PARAMETERS by name. Raises UnreadableFile where a spectrum or the
    acceptance table is broken, and where there is no spectrum at all.
    """
    settings = Settings.from_values(values or {})
    table = directory / "acceff.csv"
    spin = int((values or {}).get("signal_spin", 1))
    normalisation: Normalisation | str = (
        read_normalisation(table, LUMINOSITY_IFB, spin) if table.exists() else "there is no acceff.csv"
    )
    channels = {}
    for channel, reference in PUBLISHED.items():
        path = directory / f"spectrum_{channel}.csv"
        if path.exists():
            spectrum = Spectrum.from_csv(path)
            product = search(channel, spectrum, settings, normalisation, published_events=reference.events)
            _compare(product["limits"], directory / f"limits_exp_{channel}.csv")
            channels[channel] = product
    if not channels:
        raise UnreadableFile(str(directory), "holds neither spectrum_ee.csv nor spectrum_mumu.csv")
    return {
        "schema": 1,
        "analysed": "published spectra",
        "complete": True,
        "completeness": 1.0,
        "completeness_text": "complete",
        "channels": channels,
    }


def _compare(limits: dict[str, Any], published: Path) -> None:
    """Add the published expected limit to each curve whose width was published."""
    if "curves" not in limits or not published.exists():
        return
    with published.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file), [])
    for curve in limits["curves"]:
        column = f"w{curve['width_percent']:g}pct_fb"
        if column in columns:
            rows = read_table(published, ("mass_GeV", column))
            mass, value = (np.array([float(row[name]) for row in rows]) for name in ("mass_GeV", column))
            for part in (curve, curve["quoted"]):
                at = np.log(np.array(part["masses_gev"], dtype=float))
                log_limit = np.interp(at, np.log(mass), np.log(value), left=np.nan, right=np.nan)
                part["published_expected_fb"] = numbers(np.exp(log_limit))


def main(arguments: list[str]) -> int:
    """Print the products of a directory as JSON; the exit code."""
    if len(arguments) != 1:
        print("usage: python -m vrecompute_analyses.dilepton.published DIR", file=sys.stderr)
        return 2
    try:
        print(json.dumps(analyse_published(Path(arguments[0])), indent=1, allow_nan=False))
    except VrecomputeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
