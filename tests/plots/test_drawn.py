"""A figure shows the numbers of its stack, hides what is blinded, and changes nothing of matplotlib."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from tests.plots.test_stack import data, sample
from vrecompute.errors import UsageError
from vrecompute.plots.drawn import Caption, draw_stack
from vrecompute.plots.options import PlotOptions
from vrecompute.plots.stack import stack_of


@pytest.fixture
def samples():
    return {"data": data(0), "dy": sample(1, ["pu_up", "pu_down"]), "tt": sample(2, weight=0.2), "sig": sample(3)}


def drawn(samples, caption=None, **options):
    chosen = PlotOptions(**options)
    return draw_stack(stack_of(samples, ["data"], "m", chosen), chosen, caption)


def legend(plot):
    return [text.get_text() for text in plot.axes[0].get_legend().get_texts()]


def points(axis):
    """Where points with error bars are, without those that have no height."""
    (bars,) = axis.containers[-1:]
    x, y = bars[0].get_data()
    return {float(a): float(b) for a, b in zip(x, y, strict=True) if np.isfinite(b)}


def corners(axis, label):
    """Lower and upper heights of the band with this label, by bin."""
    (band,) = [c for c in axis.collections if c.get_label() == label]
    vertices = band.get_paths()[0].vertices
    found = {}
    for x in (65, 75, 85, 95, 105, 115):
        heights = [y for at, y in vertices if abs(at - x) <= 5.001]
        found[x] = (min(heights), max(heights))
    return found


def test_the_drawn_heights_are_those_of_the_stack(samples):
    plot = drawn(samples, signals=["sig"])
    stack, (top, ratio) = plot.stack, plot.axes
    assert points(top) == dict(zip((65, 75, 85, 95, 105, 115), stack.data.values, strict=True))
    for x, value in points(ratio).items():
        n = int((x - 60) // 10)
        assert value == pytest.approx(stack.data.values[n] / stack.expected[n])
    # the band of a bin ends where that of its neighbour begins, so each has at least its own corners
    whole = corners(top, "stat. ⊕ syst.")
    for n, x in enumerate((65, 75, 85, 95, 105, 115)):
        assert whole[x][0] <= stack.expected[n] - stack.total_down[n] + 1e-9
        assert whole[x][1] >= stack.expected[n] + stack.total_up[n] - 1e-9
    heights = {
        round(y, 9) for c in top.collections if c.get_label() == "stat. ⊕ syst." for _, y in c.get_paths()[0].vertices
    }
    assert {round(y, 9) for y in stack.expected + stack.total_up} <= heights
    assert {round(y, 9) for y in stack.expected - stack.total_down} <= heights
    lower = {round(y, 9) for c in ratio.collections if c.get_label() == "stat." for _, y in c.get_paths()[0].vertices}
    assert {round(1 + y, 9) for y in stack.statistical / stack.expected} <= lower


def test_words_are_those_of_the_histogram_and_the_run(samples):
    caption = Caption("Z peak", 139.0, "9 of 10 events (90 %)", complete=False)
    plot = drawn(samples, caption, signals=["sig"], labels={"dy": "Drell-Yan"}, energy_tev=13.6)
    top, ratio = plot.axes
    assert (ratio.get_xlabel(), top.get_ylabel()) == ("m [GeV]", "Events / 10 GeV")
    assert [text.get_text() for text in top.texts] == ["Z peak", "139 fb⁻¹ (13.6 TeV)"]
    (below,) = plot.figure.texts
    assert (below.get_text(), below.get_weight()) == ("9 of 10 events (90 %)", "bold")
    assert legend(plot) == ["data", "Drell-Yan", "tt", "stat. ⊕ syst.", "sig"]


def test_blinded_data_are_in_no_line_of_the_figure(samples):
    plot = drawn(samples, signals=["sig"], blind=(80, 100))
    assert set(points(plot.axes[0])) == set(points(plot.axes[1])) == {65, 75, 105, 115}
    assert "data blinded" in legend(plot)
    assert "data" in legend(plot)
    whole = drawn(samples, signals=["sig"], blind=True)
    assert "data" not in legend(whole)
    assert len(whole.axes) == 2  # what is expected, with its uncertainty, is shown


def test_without_data_there_is_no_ratio_and_without_systematics_no_word_of_them(samples):
    plot = drawn({"tt": samples["tt"]})
    assert len(plot.axes) == 1
    assert legend(plot) == ["tt", "stat."]
    only = drawn({"data": samples["data"]})
    assert legend(only) == ["data"]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_figure_gives_the_same_bytes(samples, tmp_path, suffix):
    first, second = (drawn(samples).content(suffix) for _ in range(2))
    assert first == second
    assert drawn(samples).save(tmp_path / f"m{suffix}").read_bytes() == first
    with pytest.raises(UsageError, match=r"written as .pdf, .png, .svg, not as '.gif'"):
        drawn(samples).save(tmp_path / "m.gif")


def test_drawing_changes_no_setting_of_matplotlib(samples):
    with mpl.rc_context({"font.size": 31.0, "text.usetex": True}):
        before = dict(mpl.rcParams)
        drawn(samples)._repr_png_()
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("log", [False, True])
def test_negative_empty_and_single_bins_are_drawn(log):
    samples = {"data": data(0, 0), "dy": sample(1, events=3, weight=-0.5), "tt": sample(2, events=0)}
    assert drawn(samples, log=log).content(".png")
    assert drawn(samples, log=log, rebin=6).content(".png")


def test_a_missing_library_is_named_with_its_extra(samples, tmp_path):
    code = (
        "import sys; sys.modules['mplhep'] = None\n"
        "from tests.plots.test_drawn import *\n"
        "try: drawn({'data': data(0), 'dy': sample(1)})\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mplhep is not installed: pip install 'vrecompute[plots]'"
