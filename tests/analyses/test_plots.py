"""Shared plot parts: Poisson intervals and the mass axis."""

from __future__ import annotations

import numpy as np
import pytest

from vrecompute_analyses import plots


def test_poisson_intervals_are_garwoods():
    """0: [0, 1.84], 1: [0.17, 3.30], 10: [6.89, 14.27] (PDG, statistics review)."""
    below, above = plots.poisson_interval(np.array([0.0, 1.0, 10.0]))
    assert above == pytest.approx([1.841, 2.300, 4.267], abs=2e-3)
    assert below == pytest.approx([0.0, 0.827, 3.109], abs=2e-3)


def test_a_mass_axis_has_plain_numbers_inside_its_range():
    with plots.style():
        figure, (axis,) = plots.panels()
        plots.mass_axis(axis, 225, 5806, "m [GeV]")
        figure.canvas.draw()
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels[:3] == ["300", "500", "700"]
    assert axis.get_xlabel() == "m [GeV]"
