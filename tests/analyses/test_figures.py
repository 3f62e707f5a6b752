"""Figures: every product that exists is drawn, what was skipped is not, and nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from tests.analyses.dilepton_toys import Context, OnlyFinish, result
from vrecompute.datasets.dataset import Sample
from vrecompute_analyses import plots
from vrecompute_analyses.dilepton.figures import draw, figures
from vrecompute_analyses.dilepton.finish import finish


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Products and figures of a small partial run with a resonance."""
    tmp_path = tmp_path_factory.mktemp("figures")
    acceptance = tmp_path / "acceptance.csv"
    acceptance.write_text("channel,series,mass_GeV,acc_times_eff\nee,y02,200,0.7\nee,y02,6000,0.7\n")
    samples = {"s": Sample("s", luminosity_ifb=10.0, metadata={"zprime_mass_gev": 1200.0})}
    results = {"s": result(np.random.default_rng(1), signal_events=80)}
    context = Context(tmp_path, samples, complete=False, completeness=0.973, completeness_text="973 of 1000 events")
    analysis = OnlyFinish(acceptance=str(acceptance), limit_widths_percent=(0.0, 3.0))
    products = finish(results, analysis, context)
    return products, results, context


def test_every_product_is_drawn_as_png_and_pdf_without_global_state(drawn):
    products, results, context = drawn
    before = dict(mpl.rcParams)
    paths = figures(products, results, context)
    assert dict(mpl.rcParams) == before
    names = {"spectrum_ee", "z_peak_ee", "bump_scan_ee", "limits_ee", "cutflow"}
    assert {path.name for path in paths} == {f"{n}.{kind}" for n in names for kind in ("png", "pdf")}
    assert all(path.stat().st_size > 5000 for path in paths)


def test_the_same_products_give_the_same_bytes(drawn):
    products, _, context = drawn
    peak = {"ee": {"z_peak": products["channels"]["ee"]["z_peak"]}}
    one, two = (
        [p.read_bytes() for p in draw(products | {"channels": peak, "cutflow": {}}, context.directory)] for _ in "ab"
    )
    assert len(one) == 2
    assert one == two


def test_what_was_skipped_is_not_drawn(drawn):
    _, _, context = drawn
    small = {"s": result(np.random.default_rng(1), events=5, z_events=20)}
    products = finish(small, OnlyFinish(), context)
    assert {path.stem for path in figures(products, small, context)} == {"cutflow"}


@pytest.mark.parametrize(
    ("complete", "completeness", "text"),
    [
        (True, 1.0, "complete"),
        (False, 0.97389, "PARTIAL: 97.3 % of events"),
        (False, 0.99999, "PARTIAL: 99.9 % of events"),
        (False, None, "PARTIAL: an unknown share of events"),
    ],
)
def test_a_header_states_the_completeness(complete, completeness, text):
    with plots.style():
        _, (axis,) = plots.panels()
        plots.header(axis, "Title", "sample", complete, completeness)
    assert text in [t.get_text() for t in axis.texts]
