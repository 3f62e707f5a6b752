"""The page on plots and statistics: its lines run as they stand, on data with a signal of known strength."""

from __future__ import annotations

import os
import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from vrecompute.cli import main

pytestmark = [
    pytest.mark.checkout,
    # of jsonschema, in pyhf, which its users can do nothing about
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning"),
]
PAGE = (Path(__file__).parents[1] / "docs" / "plots.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STRENGTH = 0.5


def block(word: str) -> str:
    (found,) = (code for code in BLOCKS if word in code)
    return found


def write(path: Path, masses) -> None:
    """Pairs of back-to-back muons with these masses in GeV, as NanoAOD has them."""
    half = np.asarray(masses) / 2
    ones = np.ones_like(half)
    columns = {"pt": (half, half), "eta": (0 * half, 0 * half), "phi": (0 * half, np.pi * ones)}
    muons = {name: ak.Array(np.stack(two, axis=1).astype(np.float32).tolist()) for name, two in columns.items()}
    muons["charge"] = ak.values_astype(ak.Array(np.stack([ones, -ones], axis=1).tolist()), np.int32)
    zipped = ak.zip(muons)
    with uproot.recreate(path) as file:
        file.mktree("Events", {"Muon": zipped.type.content})
        file["Events"].extend({"Muon": zipped})


def drell_yan(random, events):
    continuum = events // 4
    return np.concatenate([random.normal(91, 3, events - continuum), random.uniform(58, 122, continuum)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the page begins with, and the names that its first lines define."""
    folder, before = tmp_path_factory.mktemp("plots"), Path.cwd()
    random = np.random.default_rng(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VRECOMPUTE_STORE", str(folder / "store"))
        os.chdir(folder)
        try:
            with pytest.raises(SystemExit) as ended:
                main(["new", "zmumu"])
            assert not ended.value.code
            (dataset,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
            Path("zmumu.yaml").write_text(dataset)
            write(folder / "dy.root", drell_yan(random, 20000))
            write(folder / "zprime.root", random.normal(105, 1.5, 5000))
            expected = {"dy": 0.02 * 139e3, "zprime": STRENGTH * 0.004 * 139e3}
            signal = random.normal(105, 1.5, random.poisson(expected["zprime"]))
            write(folder / "data.root", np.concatenate([drell_yan(random, random.poisson(expected["dy"])), signal]))
            space: dict = {}
            exec(block("run.plot(").replace("Client()", "Client(workers=1)"), space)
            yield space
            space["client"].close()
        finally:
            os.chdir(before)


def test_the_figure_is_written_and_hides_what_is_blinded(place):
    assert Path("mass.png").read_bytes().startswith(b"\x89PNG")
    stack = place["plot"].stack
    assert stack.systematics == ("muon_scale", "luminosity")
    assert stack.expected.sum() == pytest.approx(0.02 * 139e3, rel=0.05)
    assert np.isnan(stack.data.values[40:50]).all()
    assert np.isfinite(stack.data.values[:40]).all()
    assert stack.notes == ()


def test_the_fits_find_the_signal_and_agree(place):
    exec(block("import pyhf"), place)
    mu = float(place["best"][place["model"].config.poi_index])
    exec(block("import cabinetry"), place)
    fit = place["fit"]
    at = fit.labels.index("mu")
    assert mu == pytest.approx(fit.bestfit[at], abs=0.02 * fit.uncertainty[at])
    assert abs(mu - STRENGTH) < 3 * fit.uncertainty[at]
    assert fit.bestfit[at] > 5 * fit.uncertainty[at]
    assert {"muon_scale", "luminosity"} <= set(fit.labels)


def test_functions_and_options_of_the_page_compute_nothing_again(place):
    file = Path("zmumu.py")
    options = re.sub(r"^", "    ", block("plot_options ="), flags=re.MULTILINE).rstrip()
    code = re.sub(r"^    plot_options = .*$", lambda _: options, file.read_text(), flags=re.MULTILINE)
    file.write_text(code + "\n\n" + block("def figures"))
    run = place["client"].run("zmumu.py", "zmumu.yaml")
    assert run.report(timeout_s=300).chunks.computed == 0
    assert run.products()["events"]["zprime"] == 5000
    plot = run.plot("mass")
    run.save("out")
    assert plot.stack.blinded.sum() == 10
    assert [layer.label for layer in plot.stack.layers] == ["Drell-Yan"]
    assert [signal.name for signal in plot.stack.signals] == ["zprime"]
    assert {p.name for p in Path("out/figures").rglob("*") if p.is_file()} == {"dy.png", "00-mass.png", "00-mass.pdf"}
