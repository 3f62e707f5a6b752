"""`run.export` of a real run, fitted."""

from __future__ import annotations

import json

import pytest

from tests.runs import STACK_ANALYSIS, stack_dataset, stack_run
from vrecompute.errors import OutputError, UsageError

# of jsonschema, in pyhf, which its users can do nothing about
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")
pyhf = pytest.importorskip("pyhf", reason="pyhf is not installed: pip install 'vrecompute[stats]'")


@pytest.fixture(scope="module")
def ended(client, tmp_path_factory):
    return stack_run(client, tmp_path_factory.mktemp("spectra"))


def test_a_run_gives_a_workspace_of_its_normalised_histograms(ended, tmp_path):
    workspace = ended.export("pyhf", tmp_path / "workspace.json", luminosity_uncertainty=0.017)
    assert json.loads((tmp_path / "workspace.json").read_text()) == workspace
    (channel,) = workspace["channels"]
    dy = next(s for s in channel["samples"] if s["name"] == "dy")
    filled = ended.result()["dy"].histograms["pt"]
    factor = 0.35 * 2000 / 1500
    assert dy["data"] == pytest.approx(filled[0, :].values() * factor)
    modifiers = {(m["name"], m["type"]): m["data"] for m in dy["modifiers"]}
    assert modifiers["staterror_pt", "staterror"] == pytest.approx(filled[0, :].variances() ** 0.5 * factor)
    up = filled[1, :].values().sum() / filled[0, :].values().sum()
    assert modifiers["scale", "normsys"]["hi"] == pytest.approx(up)
    assert modifiers["luminosity", "normsys"]["hi"] == 1.017
    made = pyhf.Workspace(workspace)
    model = made.model()
    assert model.config.poi_name == "mu"
    assert len(pyhf.infer.mle.fit(made.data(model), model)) == model.config.npars


@pytest.fixture(scope="module")
def smeared(client, tmp_path_factory):
    """A run with a variation that says neither up nor down, and an empty bin."""
    dataset = stack_dataset(tmp_path_factory.mktemp("smeared"))
    code = STACK_ANALYSIS.replace('"scale_up": 1.03, "scale_down": 0.97', '"smeared": 1.03')
    (dataset.parent / "spectrum.py").write_text(code)
    run = client.run(str(dataset.parent / "spectrum.py"), str(dataset))
    assert run.report(timeout_s=120).status == "complete"
    return run


def test_what_is_wrong_is_said_by_the_run(ended, smeared):
    with pytest.raises(UsageError, match=r"name the samples that are signal: signals=\[...\] \(there are: data, dy"):
        ended.export("pyhf", signals=[])
    with pytest.raises(OutputError, match=r"/dev/null/x\.json: the export to pyhf cannot be written: Not a directory"):
        ended.export("pyhf", "/dev/null/x.json")
    with pytest.raises(UsageError, match="the data of channel 'pt' are blinded"):
        ended.export("pyhf", blind=(20, 40))
    expected = ended.export("pyhf", blind=(20, 40), asimov=True)
    totals = [s["data"] for s in expected["channels"][0]["samples"]]
    assert expected["observations"][0]["data"] == pytest.approx([sum(bins) for bins in zip(*totals, strict=True)])
    with pytest.warns(UserWarning, match="channel 'pt': left out, as their names say neither up nor down: smeared"):
        smeared.export("pyhf")
