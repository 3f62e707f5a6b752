"""The registry names real files, and the converters make from the originals what the tests read."""

from __future__ import annotations

import http.server
import threading
from functools import partial

import awkward as ak
import pytest
import uproot

from tests.converters import atlas_dilepton, cms2011_zmumu
from tests.data_registry import REGISTRY, fetch, sha256_of


def test_every_file_has_a_public_original():
    for name, original in REGISTRY.items():
        if original.from_file:
            assert original.from_file in REGISTRY, name
            assert original.converter, name
        else:
            assert original.record or (len(original.commit) == 40 and original.path), name


@pytest.mark.data
@pytest.mark.parametrize("name", [n for n, o in REGISTRY.items() if o.sha256])
def test_the_data_are_the_registered_ones(data_file, name):
    assert sha256_of(data_file(name)) == REGISTRY[name].sha256


@pytest.mark.data
def test_cms_conversion_gives_the_events_of_the_tests(data_file, tmp_path):
    made = tmp_path / "made.root"
    cms2011_zmumu.convert(data_file("cms_csv/Zmumu_Run2011A.csv"), made)
    with uproot.open(made) as ours, uproot.open(data_file("hep_root/cms2011A_Zmumu.root")) as reference:
        events, expected = ours["Events"].arrays(), reference["Events"].arrays()
    assert len(events) == 10583
    assert set(expected.fields) <= set(events.fields)
    for name in expected.fields:
        assert ak.all(events[name] == expected[name]), name


YODA = """BEGIN YODA_SCATTER2D_V2 /REF/ATLAS_2019_I1725190/d01-x01-y01
Path: /REF/ATLAS_2019_I1725190/d01-x01-y01
---
# xval\t xerr-\t xerr+\t yval\t yerr-\t yerr+\t
2.287550e+02\t3.755000e+00\t3.755000e+00\t2.239060e+04\t0.000000e+00\t0.000000e+00
2.363905e+02\t3.880500e+00\t3.880500e+00\t1.978740e+04\t0.000000e+00\t0.000000e+00
END YODA_SCATTER2D_V2
"""


def test_spectrum_conversion_counts_events(tmp_path):
    source, target = tmp_path / "record.yoda", tmp_path / "spectrum_ee.csv"
    source.write_text(YODA)
    atlas_dilepton.convert(source, target)
    assert target.read_text().splitlines() == [
        "mlow_GeV,mhigh_GeV,n_observed",
        "225.0000,232.5100,16815",
        "232.5100,240.2710,15357",
    ]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.data
def test_fetch_verifies_and_converts(data_file, tmp_path):
    name = "cms_csv/Zmumu_Run2011A.csv"
    original = REGISTRY[name]
    served = tmp_path / "served" / original.repository / original.commit / original.path
    served.parent.mkdir(parents=True)
    served.write_bytes(data_file(name).read_bytes())
    handler = partial(_Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        converted = fetch("hep_root/cms2011A_Zmumu.root", tmp_path / "mine", base)
        with uproot.open(converted) as file:
            assert file["Events"].num_entries == 10583
        served.write_bytes(b"something else")
        with pytest.raises(ValueError, match="not the registered file"):
            fetch(name, tmp_path / "other", base)
        server.shutdown()
