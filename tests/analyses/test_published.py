"""Published spectra: the same products from CSV files, as a function and as a command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, spectrum_counts
from vrecompute.errors import UnreadableFile
from vrecompute_analyses.dilepton.published import analyse_published, main


@pytest.fixture
def folder(tmp_path):
    counts = spectrum_counts(np.random.default_rng(2), 30_000)
    rows = [f"{a},{b},{n:.0f}" for a, b, n in zip(EDGES[:-1], EDGES[1:], counts, strict=True)]
    (tmp_path / "spectrum_ee.csv").write_text("\n".join(["mlow_GeV,mhigh_GeV,n_observed", *rows]) + "\n")
    return tmp_path


def test_one_spectrum_without_acceptance(folder):
    products = analyse_published(folder)
    assert list(products["channels"]) == ["ee"]
    channel = products["channels"]["ee"]
    assert channel["background"]["valid"]
    assert channel["limits"]["skipped"] == "there is no acceff.csv"


def test_the_command_prints_json_and_names_what_it_lacks(folder, capsys, tmp_path_factory):
    assert main([str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["channels"]["ee"]["spectrum"]["events"] > 20_000
    assert main([str(tmp_path_factory.mktemp("empty"))]) == 4
    assert "holds neither" in capsys.readouterr().err
    assert main([]) == 2


def test_no_spectrum_is_an_error(tmp_path):
    with pytest.raises(UnreadableFile, match="neither"):
        analyse_published(tmp_path)


@pytest.mark.data
def test_the_published_record(data_dir):
    products = analyse_published(data_dir / "atlas_dilepton139", {"limit_widths_percent": (0.0,)})
    ee, mumu = products["channels"]["ee"], products["channels"]["mumu"]
    assert ee["background_published"]["chi2"] == pytest.approx(75.6, rel=0.01)
    assert mumu["background_published"]["chi2"] == pytest.approx(69.4, rel=0.01)
    assert (ee["background"]["bins"], mumu["background"]["bins"]) == (66, 62)
    quoted = ee["limits"]["curves"][0]["quoted"]
    assert quoted["expected_fb"]["median"] == pytest.approx(quoted["published_expected_fb"], rel=0.08)
    json.dumps(products, allow_nan=False)
