"""The dwarfs analysis through a real client: the command line's parameters, products where they belong."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from vrecompute import Client
from vrecompute.cli import main
from vrecompute.errors import DatasetError

COMMON = {"bandwidth_deg": 5, "bandwidth_ln_counts": 0.2}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


def test_a_run_gives_products_figures_and_the_bytes_of_one_process(client, tables_dir, process, tmp_path):
    run = client.run("dwarfs", [str(tables_dir)], params={"step": "predict", **COMMON}).wait(120)
    assert run.report().status == "complete"
    found = run.result(timeout_s=60)
    here = process(tables_dir, chunk=1, step="predict", **COMMON)
    assert found["dwarfs"].arrays.keys() == here.arrays.keys()
    for name, array in here.arrays.items():
        assert found["dwarfs"].arrays[name].values.tobytes() == array.values.tobytes(), name
    out = run.save(tmp_path / "out")
    assert (out / "products" / "background.csv").is_file()
    assert (out / "figures" / "residuals.png").is_file()
    assert json.loads((out / "report.json").read_text())["status"] == "complete"


def test_a_map_is_one_grid_of_pixels_and_is_reused(client, tables_dir):
    parameters = {"step": "map", "nside": 16, **COMMON}
    first = client.run("dwarfs", tables_dir, params=parameters).wait(120)
    found = first.result(timeout_s=60)["dwarfs"].arrays
    assert np.array_equal(found["pixel/5_deg"].values, np.arange(12 * 16 * 16))
    again = client.run("dwarfs", tables_dir, params=parameters).wait(120)
    assert again.result(timeout_s=60).to_bytes() == first.result(timeout_s=60).to_bytes()


@pytest.mark.parametrize(
    ("module", "extra", "parameters"),
    [
        ("astropy_healpix", "astro", {"step": "map"}),
        ("sklearn", "ml", {"step": "estimators"}),
        ("sklearn", "ml", {"step": "predict", "estimator": "forest"}),
    ],
)
def test_a_missing_extra_is_named_before_workers_start(
    monkeypatch, tables_dir, tmp_path, capsys, module, extra, parameters
):
    monkeypatch.setattr(
        "vrecompute.analysis.loading.find_spec", lambda name: None if name == module else find_spec(name)
    )
    given = [f"-p{name}={value}" for name, value in parameters.items()]
    with pytest.raises(SystemExit) as ended:
        main(["run", "dwarfs", str(tables_dir), "--store", str(tmp_path / "store"), *given])
    assert ended.value.code == 2
    assert f"pip install 'vrecompute[{extra}]'" in capsys.readouterr().err
    assert not list((tmp_path / "store").glob("runs/*"))


def test_what_is_no_directory_is_refused(client, tables_dir):
    with pytest.raises(DatasetError, match="takes one directory"):
        client.run("dwarfs", [str(tables_dir), str(tables_dir)])
    with pytest.raises(DatasetError, match="takes one directory"):
        client.run("dwarfs", str(tables_dir / "scan_DM_mass.dat"))
