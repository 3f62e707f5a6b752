"""Signal templates and acceptance: normalisation, position, width, interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES
from vrecompute.errors import UnreadableFile
from vrecompute_analyses.dilepton.response import Acceptance, _electron_response, signal_templates

FINE = np.geomspace(100, 13000, 4000)
CENTRES = np.sqrt(FINE[1:] * FINE[:-1])


@pytest.mark.parametrize("channel", ["ee", "mumu"])
@pytest.mark.parametrize("width", [0.0, 1.2, 10.0])
def test_a_template_holds_the_whole_signal_near_its_mass(channel, width):
    masses = np.array([300.0, 1000.0, 4000.0])
    templates = signal_templates(channel, masses, width, FINE)
    assert np.all(templates >= 0)
    assert templates.sum(axis=1) == pytest.approx(1, abs=0.02)
    modes = CENTRES[np.argmax(templates, axis=1)]
    assert modes == pytest.approx(masses, rel=0.02)


def test_width_and_resolution_widen_a_template():
    def spread(channel, width):
        template = signal_templates(channel, np.array([1000.0]), width, FINE)[0]
        low, high = np.interp([0.25, 0.75], np.cumsum(template), FINE[1:])
        return high - low

    assert spread("ee", 0.0) < spread("ee", 1.2) < spread("ee", 10.0)
    assert spread("ee", 0.0) < spread("mumu", 0.0)
    # A Breit-Wigner has its quartiles half a width from its centre.
    assert spread("ee", 10.0) == pytest.approx(100.0, rel=0.12)


def test_core_resolution_is_the_published_one():
    """sqrt(0.00554^2 + 0.1409^2/m + (0.6444/m)^2) for electrons."""
    expected = np.sqrt(0.00554**2 + 0.1409**2 / 1000 + (0.6444 / 1000) ** 2)
    assert _electron_response(np.array([1000.0])).sigma_gauss[0] == pytest.approx(expected, rel=1e-3)


def test_a_resonance_above_the_bins_leaves_them_almost_empty():
    assert signal_templates("ee", np.array([8000.0]), 0.0, EDGES).sum() < 0.05


def test_acceptance_is_interpolated_and_ends_with_its_table(tmp_path):
    path = tmp_path / "acc.csv"
    path.write_text("channel,series,mass_GeV,acc_times_eff\nee,y02,100,0.5\nee,y02,400,0.7\nee,y01,100,0.1\n")
    acceptance = Acceptance.from_csv(path)
    assert acceptance.at("ee", np.array([100.0, 200.0, 500.0])) == pytest.approx([0.5, 0.6, np.nan], nan_ok=True)
    assert "mumu" not in acceptance.value
    with pytest.raises(UnreadableFile, match="spin 2"):
        Acceptance.from_csv(path, spin=2)
