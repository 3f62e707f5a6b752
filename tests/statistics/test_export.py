"""What is exported, fitted by pyhf and by cabinetry, and numbers that can be worked out by hand."""

from __future__ import annotations

import json
import math

import boost_histogram as bh
import numpy as np
import pytest
import yaml

from vrecompute.errors import UsageError
from vrecompute.plots.options import PlotOptions
from vrecompute.results.result import Result
from vrecompute.statistics.export import export_model
from vrecompute.statistics.model import Model, model_of

cabinetry = pytest.importorskip("cabinetry", reason="cabinetry is not installed: pip install cabinetry")
pyhf = pytest.importorskip("pyhf", reason="pyhf is not installed: pip install 'vrecompute[stats]'")

# of jsonschema, in pyhf, which its users can do nothing about
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")
TOLERANCE = 1e-4
EDGES = np.array([0.0, 10.0, 20.0, 40.0, 80.0])


def histogram(values, errors=None, variations=None):
    names = ["nominal", *(variations or {})]
    h = bh.Histogram(bh.axis.StrCategory(names), bh.axis.Variable(EDGES), storage=bh.storage.Weight())
    for number, contents in enumerate([values, *(variations or {}).values()]):
        h.view()["value"][number] = contents
        h.view()["variance"][number] = np.square(errors if errors is not None else 0.03 * np.asarray(contents))
    return h


def sample(values, errors=None, **variations):
    return {"m": histogram(np.asarray(values, float), errors, {n: np.asarray(v, float) for n, v in variations.items()})}


@pytest.fixture
def samples():
    """Two channels: `m` with shapes, factors and one direction alone, and `n` where one sample is absent."""
    dy = np.array([50.0, 80.0, 60.0, 20.0])
    tt = np.array([10.0, 12.0, 20.0, 25.0])
    sig = np.array([1.0, 5.0, 12.0, 6.0])
    made = {
        "data": sample([63.0, 95.0, 97.0, 52.0]),
        "dy": sample(
            dy, scale_up=dy * [1.1, 1.05, 0.95, 0.9], scale_down=dy * [0.92, 0.96, 1.04, 1.1], pu_up=dy * 1.06
        ),
        "tt": sample(tt, scale_up=tt * [1.02, 1.0, 1.0, 0.97], scale_down=tt * 0.99, isrUp=tt * 1.2, isrDown=tt * 0.85),
        "sig": sample(sig, pu_up=sig * [1.0, 1.02, 1.05, 1.1], pu_down=sig * [1.0, 0.97, 0.96, 0.9]),
    }
    made["data"]["n"] = histogram([30.0, 41.0, 22.0, 9.0])
    made["dy"]["n"] = histogram(dy * 0.5, None, {"scale_up": dy * 0.52, "scale_down": dy * 0.47})
    made["tt"]["n"] = histogram(tt * 0.0)
    made["sig"]["n"] = histogram(sig * 0.1)
    return {name: Result(histograms=h) for name, h in made.items()}


def model(samples, channels=("m", "n"), *, asimov=False, poi="mu", **options) -> Model:
    chosen = PlotOptions(**({"signals": ["sig"], "luminosity_uncertainty": 0.02} | options))
    data = {"m": ["data"], "n": ["data"]}
    return model_of(samples, data, list(channels), chosen, poi=poi, asimov=asimov)


def fitted(workspace) -> dict[str, tuple[float, float]]:
    """Best value and uncertainty of each parameter, by pyhf alone."""
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=TOLERANCE, strategy=2))
    ws = pyhf.Workspace(workspace)
    made = ws.model()
    result = pyhf.infer.mle.fit(ws.data(made), made, return_uncertainties=True)
    return dict(zip(made.config.par_names, map(tuple, np.asarray(result).tolist()), strict=True))


def alike(one, other):
    """Whether two JSON documents are the same but for the last bits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float | int) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    return one == other


def built_by_cabinetry(config):
    cabinetry.templates.collect(config, method="uproot")
    return cabinetry.workspace.build(config)


def test_a_fit_of_the_workspace_agrees_with_cabinetry_s_own(samples, tmp_path):
    made = model(samples)
    workspace = export_model("pyhf", made, "spectrum", tmp_path / "workspace.json")
    config = export_model("cabinetry", made, "spectrum", tmp_path / "fit")
    theirs = built_by_cabinetry(config)
    ours = fitted(json.loads((tmp_path / "workspace.json").read_text()))
    loaded, data = cabinetry.model_utils.model_and_data(theirs)
    got = cabinetry.fit.fit(loaded, data, strategy=2, tolerance=TOLERANCE)
    assert len(got.labels) == len(ours) == 1 + 4 + 8  # mu, luminosity and three systematics, gammas of eight bins
    for label, value, error in zip(got.labels, got.bestfit, got.uncertainty, strict=True):
        assert ours[label][0] == pytest.approx(value, abs=1e-6), label
        assert ours[label][1] == pytest.approx(error, abs=1e-6), label
    # not only the fit: the same samples, modifiers and numbers
    for document in (workspace, theirs):
        document["channels"] = [
            c | {"samples": [s | {"modifiers": sorted(s["modifiers"], key=lambda m: (m["name"], m["type"]))}
                             for s in c["samples"]]} for c in document["channels"]
        ]  # fmt: skip
    assert alike(workspace["channels"], theirs["channels"])
    assert alike(workspace["observations"], theirs["observations"])


def test_the_configuration_is_read_again_from_its_folder(samples, tmp_path):
    config = export_model("cabinetry", model(samples), "spectrum", tmp_path / "fit")
    assert cabinetry.configuration.load(tmp_path / "fit" / "config.yml") == config
    assert yaml.safe_load((tmp_path / "fit" / "config.yml").read_text()) == config
    moved = export_model("cabinetry", model(samples, rebin=2), "spectrum", tmp_path / "fit")
    assert moved["General"]["HistogramFolder"] != config["General"]["HistogramFolder"]


def test_one_channel_without_systematics_gives_what_can_be_worked_out(samples):
    """With one bin and no other parameter, mu is (observed - background) / signal, its error that of the count."""
    bare = model(samples, ["m"], systematics=[], luminosity_uncertainty=0.0, rebin=4)
    workspace = export_model("pyhf", bare, "m", None)
    for s in workspace["channels"][0]["samples"]:
        s["modifiers"] = [m for m in s["modifiers"] if m["type"] == "normfactor"]
    # far away: Minuit calculates errors of a transformed parameter, which near its bounds has another scale
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-1000.0, 1000.0]]
    mu, error = fitted(workspace)["mu"]
    observed, background, signal = 307.0, 277.0, 24.0
    # Minuit ends where the estimated distance to the minimum is 0.002 x tolerance: so many standard deviations
    near = math.sqrt(2 * 0.002 * TOLERANCE)
    assert mu == pytest.approx((observed - background) / signal, abs=near * error)
    assert error == pytest.approx(math.sqrt(observed) / signal, rel=1e-4)


def test_modifiers_are_called_as_the_variations_and_have_their_effects(samples):
    (first, second) = export_model("pyhf", model(samples), "m", None)["channels"]
    by_sample = {s["name"]: {(m["name"], m["type"]): m["data"] for m in s["modifiers"]} for s in first["samples"]}
    assert set(by_sample["tt"]) == {
        ("staterror_m", "staterror"),
        *(
            ("luminosity", "normsys"),
            ("scale", "normsys"),
            ("scale", "histosys"),
            ("isr", "normsys"),
            ("isr", "histosys"),
        ),
    }
    assert by_sample["tt"]["isr", "normsys"] == pytest.approx({"hi": 1.2, "lo": 0.85})
    assert by_sample["tt"]["isr", "histosys"]["hi_data"] == pytest.approx([10, 12, 20, 25])
    assert by_sample["dy"]["luminosity", "normsys"] == {"hi": 1.02, "lo": 0.98}
    assert by_sample["dy"]["pu", "normsys"] == pytest.approx({"hi": 1.06, "lo": 0.94})  # its mirror image
    assert by_sample["dy"]["staterror_m", "staterror"] == pytest.approx([1.5, 2.4, 1.8, 0.6])
    assert by_sample["sig"]["mu", "normfactor"] is None
    assert ("mu", "normfactor") not in by_sample["dy"]
    # factor times shape is the variation again
    scale = by_sample["dy"]["scale", "normsys"]["hi"] * np.array(by_sample["dy"]["scale", "histosys"]["hi_data"])
    np.testing.assert_allclose(scale, [55, 84, 57, 18])
    assert [s["name"] for s in second["samples"]] == ["dy", "sig"]


def test_asimov_data_are_fitted_back(samples):
    made = model(samples, asimov=True)
    workspace = export_model("pyhf", made, "m", None)
    totals = np.sum([s["data"] for s in workspace["channels"][0]["samples"]], axis=0)
    np.testing.assert_allclose(workspace["observations"][0]["data"], totals)
    assert fitted(workspace)["mu"][0] == pytest.approx(1.0, abs=1e-4)


def test_what_a_fit_may_stumble_over_is_said(samples):
    assert set(model(samples).warnings) == {
        "channel 'm': sample 'dy' has 'pu_up' alone; down is taken for its mirror image",
        "channel 'm': sample 'dy' has no variation 'isr', and does not move with it",
        "channel 'm': sample 'tt' has no variation 'pu', and does not move with it",
        "channel 'm': sample 'sig' has no variation 'scale', and does not move with it",
        "channel 'm': sample 'sig' has no variation 'isr', and does not move with it",
        "channel 'n': sample 'tt' has no events there, and is left out",
        "channel 'n': sample 'sig' has no variation 'scale', and does not move with it",
    }
    samples["dy"].histograms["m"] = histogram([50, 80, 60, 0], None, {"pdf_0": [1, 2, 3, 4]})
    samples["tt"].histograms["m"] = histogram([1, 1, 1, 0])
    samples["sig"].histograms["m"] = histogram([1, 1, 1, 0])
    samples["data"].histograms["m"] = histogram([50, 80, 60, 0])
    assert model(samples, ["m"]).warnings == (
        "channel 'm': left out, as their names say neither up nor down: pdf_0",
        "channel 'm' expects nothing in 40 to 80, where nothing was observed",
    )


def broken(samples, **changes):
    for name, values in changes.items():
        samples[name].histograms["m"] = histogram(values) if not isinstance(values, bh.Histogram) else values
    return samples


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dy": [50, -80, 60, 20]}, "channel 'm' expects a negative number of events in 10 to 20; take bins together"),
        (
            {"dy": [9, 9, 9, 0], "tt": [1, 1, 1, 0], "sig": [1, 1, 1, 0]},
            "channel 'm' expects nothing where events were observed, in 40 to 80; take bins together",
        ),
        ({"dy": [-50, 0, 0, 20]}, "sample 'dy' expects -30 events in all bins together"),
        ({"data": [1, -2, 3, 4]}, "negative number of observed events in 10 to 20"),
        ({"sig": [0, 0, 0, 0]}, "no channel has any events of the signals sig: 'mu' has no effect"),
        ({"tt": bh.Histogram(bh.axis.Regular(3, 0, 1))}, "sample 'tt' has other bins than the others"),
    ],
)
def test_what_cannot_be_fitted_is_named(samples, changes, said):
    with pytest.raises(UsageError, match=said):
        model(broken(samples, **changes), ["m"])


def test_variations_and_storages_that_no_model_has_are_named(samples):
    tt = np.array([10.0, 12.0, 20.0, 25.0])
    samples["tt"].histograms["m"] = histogram(tt, None, {"isr_up": tt * 2.5})
    with pytest.raises(UsageError, match=r"'tt' expects 167.5 events with 'isr_up'; no factor describes that"):
        model(samples)
    plain = bh.Histogram(bh.axis.Variable(EDGES))
    plain.fill([5.0], weight=0.3)
    samples["tt"].histograms["m"] = plain
    with pytest.raises(UsageError, match=r"'tt' has no statistical uncertainty, .* storage=bh\.storage\.Weight"):
        model(samples)


def test_what_is_not_chosen_well_is_named(samples):
    data = {"m": ["data"], "n": ["data"]}
    options = PlotOptions(signals=["sig"])
    for channels, chosen, said in (
        (None, options, r"share no event: channels=\[...\] \(there are: m, n\)"),
        (["mm"], options, r"channel 'mm': there is no histogram 'mm' \(there are: m, n\); did you mean 'm'"),
        ({"a b": "m", "a-/b": "n"}, options, None),
        ({"a b": "m", "a/b": "n"}, options, "two channels are called 'a_b'"),
        (["m"], PlotOptions(), r"name the samples that are signal: signals=\[...\]"),
        (["m"], PlotOptions(signals=["si"]), "no sample 'si' .* did you mean 'sig'"),
        (["m"], PlotOptions(signals=["sig"], systematics=["scal"]), "no systematic 'scal' .*did you mean 'scale'"),
        (["m"], PlotOptions(signals=["sig"], blind=(0, 10)), "blinded; asimov=True takes .*, blind=False unblinds"),
    ):
        if said is None:
            assert [c.name for c in model_of(samples, data, channels, chosen).channels] == ["a_b", "a-_b"]
            continue
        with pytest.raises(UsageError, match=said):
            model_of(samples, data, channels, chosen)
    with pytest.raises(UsageError, match="has no sample of data; asimov=True"):
        model_of({s: r for s, r in samples.items() if s != "data"}, data, ["m"], options)
    with pytest.raises(UsageError, match="'scale' is the name of a systematic; give poi= another"):
        model(samples, poi="scale")
    with pytest.raises(UsageError, match=r"no export to 'pyhff'; did you mean 'pyhf'"):
        export_model("pyhff", model(samples), "m", None)
    with pytest.raises(UsageError, match="name a folder"):
        export_model("cabinetry", model(samples), "m", None)


def test_templates_that_cabinetry_would_keep_in_one_file_are_refused(samples, tmp_path):
    samples["x_dy"] = Result(histograms={"m": samples["dy"].histograms["m"]})
    data = {"m": ["data"], "n": ["data"]}
    made = model_of(samples, data, {"a": "m", "a_x": "n"}, PlotOptions(signals=["sig"]))
    with pytest.raises(UsageError, match="cabinetry would keep both channel 'a', sample 'x_dy' and channel 'a_x'"):
        export_model("cabinetry", made, "m", tmp_path)
