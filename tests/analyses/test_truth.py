"""What was found is compared with what was generated, and a miss is a miss."""

from __future__ import annotations

import copy

import pytest

from vrecompute_analyses.dilepton.truth import compare

TRUTH = {"z": {"mass_gev": 91.1876}, "zprime": {"mass_gev": 1200.0}}


def products(**changes):
    channel = {
        "z_peak": {"mass_gev": 91.3, "mass_uncertainty_gev": 0.02, "valid": True},
        "spectrum": {"edges_gev": [1100.0, 1150.0, 1200.0, 1250.0, 1300.0, 1350.0]},
        "bump_scan": {"maximum": {"mass_gev": 1210.0, "local_significance": 7.0}},
    }
    weaker = copy.deepcopy(channel)
    weaker["bump_scan"]["maximum"] = {"mass_gev": 1320.0, "local_significance": 3.0}
    for path, value in changes.items():
        place = channel
        *outer, last = path.split("__")
        for key in outer:
            place = place[key]
        place[last] = value
    return {"channels": {"ee": channel, "mumu": weaker}}


def test_everything_found():
    comparison = compare(products(), TRUTH)
    assert comparison.passed
    assert [f.what for f in comparison.findings] == ["Z in ee", "Z in mumu", "Z' in ee"]


@pytest.mark.parametrize(
    "changes",
    [
        {"z_peak__mass_gev": 91.6},
        {"z_peak__valid": False},
        {"z_peak": {"skipped": "fewer than 200 events"}},
        {"bump_scan__maximum__local_significance": 4.9},
        {"bump_scan__maximum__mass_gev": 1320.0},
        {"bump_scan": {"skipped": "no mass bin"}},
    ],
)
def test_a_miss_is_a_miss(changes):
    comparison = compare(products(**changes), TRUTH)
    assert not comparison.passed
    assert sum(not f.passed for f in comparison.findings) == 1


def test_within_one_bin_is_found():
    assert compare(products(bump_scan__maximum__mass_gev=1160.0), TRUTH).passed
    assert not compare(products(bump_scan__maximum__mass_gev=1120.0), TRUTH).passed


def test_nothing_injected_is_nothing_to_find():
    findings = compare(products(), {**TRUTH, "zprime": None}).findings
    assert [f.what for f in findings] == ["Z in ee", "Z in mumu"]


def test_no_channel_is_no_success():
    assert not compare({"channels": {}}, {**TRUTH, "zprime": None}).passed
