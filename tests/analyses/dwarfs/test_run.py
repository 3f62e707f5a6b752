"""The dwarfs analysis through a real client: the command line's parameters, products where they belong."""

import json

import numpy as np
import pytest

from vrecompute import Client
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
    run.save(tmp_path)
    assert (tmp_path / "products" / "background.csv").is_file()
    assert (tmp_path / "figures" / "residuals.png").is_file()
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "complete"


def test_a_map_is_one_grid_of_pixels_and_is_reused(client, tables_dir):
    parameters = {"step": "map", "nside": 16, **COMMON}
    first = client.run("dwarfs", tables_dir, params=parameters).wait(120)
    found = first.result(timeout_s=60)["dwarfs"].arrays
    assert np.array_equal(found["pixel/5_deg"].values, np.arange(12 * 16 * 16))
    again = client.run("dwarfs", tables_dir, params=parameters).wait(120)
    assert again.result(timeout_s=60).to_bytes() == first.result(timeout_s=60).to_bytes()


def test_what_is_no_directory_is_refused(client, tables_dir):
    with pytest.raises(DatasetError, match="takes one directory"):
        client.run("dwarfs", [str(tables_dir), str(tables_dir)])
    with pytest.raises(DatasetError, match="takes one directory"):
        client.run("dwarfs", str(tables_dir / "scan_DM_mass.dat"))
