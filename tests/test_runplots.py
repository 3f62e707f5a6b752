"""`run.plot`, and the same figures on the page of a run."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from tests.runs import STACK_ANALYSIS, stack_dataset, stack_run
from vrecompute.errors import UsageError


@pytest.fixture(scope="module")
def ended(client, tmp_path_factory):
    return stack_run(client, tmp_path_factory.mktemp("spectra"))


def test_a_figure_of_a_run_is_of_normalised_samples(ended):
    plot = ended.plot("pt")
    filled = ended.result()
    per_event = {"dy": 0.35 * 2000 / 1500, "tt": 0.12 * 2000 / 800}
    expected = sum(f * filled[s].histograms["pt"][0, :].values() for s, f in per_event.items())
    variance = sum(f**2 * filled[s].histograms["pt"][0, :].variances() for s, f in per_event.items())
    moved = [sum(f * filled[s].histograms["pt"][n, :].values() for s, f in per_event.items()) for n in (1, 2)]
    np.testing.assert_allclose(plot.stack.expected, expected, rtol=1e-12)
    np.testing.assert_allclose(plot.stack.statistical, np.sqrt(variance), rtol=1e-12)
    up = np.maximum(np.maximum(moved[0] - expected, moved[1] - expected), 0)
    np.testing.assert_allclose(plot.stack.systematic_up, up, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(plot.stack.data.values, filled["data"].histograms["pt"][0, :].values())
    assert [layer.label for layer in plot.stack.layers] == ["tt", "Drell-Yan"]
    assert [text.get_text() for text in plot.axes[0].texts] == ["Muon spectrum", "2 fb⁻¹"]
    assert plot.figure.texts[0].get_text() == ended.report().completeness_text
    assert plot._repr_png_().startswith(b"\x89PNG")


def test_options_of_the_call_come_before_those_of_the_analysis(ended):
    plot = ended.plot("pt", signals=[], blind=(20, 30), luminosity_uncertainty=0.1)
    assert not plot.stack.signals
    assert plot.stack.blinded.tolist() == [False, True] + [False] * 7
    assert plot.stack.systematics == ("scale", "luminosity")
    assert len(plot.stack.layers) == 3
    raw = ended.plot("pt", normalised=False)
    filled = ended.result()["dy"].histograms["pt"][0, :].values()
    np.testing.assert_array_equal(raw.stack.layers[-1].values, filled)
    with pytest.raises(UsageError, match=r"no option 'sginals'; did you mean 'signals'"):
        ended.plot("pt", sginals=["sig"])
    with pytest.raises(KeyError, match=r"no histogram 'mass' \(there are: pt\)"):
        ended.plot("mass")


def test_the_page_has_the_same_figure(ended, tmp_path):
    ended.save(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture) == ended.plot("pt").content(".png")
    stacks = tmp_path / "out" / "figures" / "stacks"
    assert sorted(p.name for p in stacks.iterdir()) == ["00-pt.pdf", "00-pt.png"]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["warnings"] == []


def test_what_is_blinded_is_on_no_page_and_recomputes_nothing(ended, client, tmp_path):
    dataset = next(iter(ended.manifest.dataset.sources)).path.replace("data.root", "spectra.yaml")
    blinded = STACK_ANALYSIS.replace('signals=["sig"],', 'signals=["sig"], blind={"pt": True},')
    (tmp_path / "spectrum.py").write_text(blinded)
    run = client.run(str(tmp_path / "spectrum.py"), dataset)
    assert run.report(timeout_s=120).chunks.computed == 0
    assert run.plot("pt").stack.data is None
    assert run.plot("pt", blind=False).stack.data is not None
    run.save(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Data are blinded, and not drawn here, of: pt." in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert any("pt, dy" in caption for caption in captions)
    assert not any("pt, data" in caption for caption in captions)


def test_samples_that_cannot_be_normalised_are_named_and_drawn_as_filled(client, ended, tmp_path):
    dataset = stack_dataset(tmp_path)
    dataset.write_text(dataset.read_text().replace(", cross_section_pb: 0.12", ""))
    run = client.run(str(tmp_path / "spectrum.py"), str(dataset))
    assert run.report(timeout_s=120).status == "complete"
    with pytest.raises(UsageError, match=r"not normalised: sample 'tt': the dataset gives no cross_section_pb"):
        run.plot("pt")
    assert len(run.plot("pt", normalised=False).stack.layers) == 2
    run.save(tmp_path / "out")
    assert not (tmp_path / "out" / "figures").exists()


def test_options_that_are_none_are_refused_where_the_class_is_written():
    with pytest.raises(UsageError, match=r"Spectrum.plot_options is \{'log': True\}; write PlotOptions"):
        exec(re.sub(r"PlotOptions\(signals.*", '{"log": True}', STACK_ANALYSIS), {})
