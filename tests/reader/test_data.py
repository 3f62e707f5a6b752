"""Every numeric column of the real files, decoded by the kernels, equals what uproot makes of it."""

from __future__ import annotations

import pytest
from numpy.testing import assert_array_equal

from vrecompute.errors import CorruptFile, MissingColumn
from vrecompute.reader import inspect, read, rntuple, table_from_bytes, table_to_bytes, tabulate, ttree
from vrecompute.reader.handles import open_file
from vrecompute.reader.pages import PageTable

pytestmark = pytest.mark.data

# columns that the kernels decode, of those that hold numbers; the others are read by uproot
FILES = {
    "PHYSLITE_example.root": (645, 729),
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root": (11, 11),
    "cms2011A_Zmumu.root": (7, 7),
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": (947, 947),
    "nano_dimuon.root": (1601, 1601),
    "nano_dy.root": (1499, 1499),
    "pfnano.root": (1802, 1802),
    "uproot-Zmumu.root": (19, 19),
    "uproot-Zmumu-lz4.root": (19, 19),
    "uproot-Zmumu-lzma.root": (19, 19),
    "uproot-Zmumu-zstd.root": (19, 19),
    "uproot-physlite-rntuple_v1-0-0-0.root": (777, 777),
}
PUBLISHED = [
    ("PHYSLITE_example.root", "AnalysisElectronsAuxDyn.pt", 134),
    ("PHYSLITE_example.root", "AnalysisMuonsAuxDyn.pt", 5),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Electron_pt", 69),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Muon_pt", 41),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Jet_pt", 537),
    ("Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root", "Muon_pt", 2372),
    ("uproot-physlite-rntuple_v1-0-0-0.root", "AnalysisElectronsAuxDyn:pt", 57),
    ("uproot-physlite-rntuple_v1-0-0-0.root", "AnalysisMuonsAuxDyn:pt", 88),
]


def reference(handle, facts, names, start, stop):
    return (ttree if facts.kind == "ttree" else rntuple).read(handle, facts.tree, names, start, stop)


@pytest.mark.parametrize("name", FILES)
def test_every_numeric_column(data_dir, name):
    path = str(data_dir / "hep_root" / name)
    facts, handle = inspect(path), open_file(path)
    numeric = []
    for column in facts.available:
        try:
            reference(handle, facts, [column], 0, 0)
        except MissingColumn:
            continue
        numeric.append(column)
    table = table_from_bytes(table_to_bytes(tabulate(path, facts.tree, numeric)))
    assert (len(numeric) - len(table.unsupported), len(numeric)) == FILES[name]
    entries = facts.entries
    for start, stop in ((0, entries), (entries // 3, entries * 2 // 3)):
        fast = read(path, facts.tree, numeric, start, stop, expect=facts, table=table)
        slow = reference(handle, facts, numeric, start, stop)
        for column in numeric:
            assert fast[column].values.dtype == slow[column].values.dtype, column
            assert fast[column].values.tobytes() == slow[column].values.tobytes(), column
            assert (fast[column].offsets is None) == (slow[column].offsets is None), column
            if fast[column].offsets is not None:
                assert_array_equal(fast[column].offsets, slow[column].offsets, err_msg=column)


@pytest.mark.parametrize(("name", "column", "objects"), PUBLISHED)
def test_published_numbers_of_objects(data_dir, name, column, objects):
    path = str(data_dir / "hep_root" / name)
    facts = inspect(path)
    assert len(read(path, None, [column], 0, facts.entries)[column].values) == objects


def test_counts_of_an_rntuple_are_its_lengths(data_dir):
    path = str(data_dir / "hep_root" / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root")
    columns = read(path, None, ["nMuon", "Muon_pt", "Muon_charge"], 100, 900)
    assert columns["nMuon"].values.dtype.name == "uint32"
    assert_array_equal(columns["nMuon"].values, columns["Muon_pt"].offsets[1:] - columns["Muon_pt"].offsets[:-1])
    assert columns["Muon_pt"].offsets is columns["Muon_charge"].offsets


def test_the_four_codecs_hold_the_same_content(data_dir):
    tables = []
    for codec in ("", "-lz4", "-zstd", "-lzma"):
        path = str(data_dir / "hep_root" / f"uproot-Zmumu{codec}.root")
        tables.append(read(path, "events", ["px1", "M", "Q1", "Run"], 0, 2304))
    for other in tables[1:]:
        for name, column in tables[0].items():
            assert_array_equal(column.values, other[name].values)


def test_a_real_page_with_a_flipped_byte_is_corrupt(data_dir, tmp_path):
    original = data_dir / "hep_root" / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root"
    table = tabulate(str(original), None, ["Muon_eta"])
    assert isinstance(table, PageTable)
    page = next(iter(table.columns.values()))
    damaged = bytearray(original.read_bytes())
    damaged[int(page.seeks[0]) + int(page.sizes[0]) // 2] ^= 1
    path = tmp_path / "damaged.root"
    path.write_bytes(damaged)
    with pytest.raises(CorruptFile, match=r"damaged\.root: column 'Muon_eta', .*checksum"):
        read(str(path), None, ["Muon_eta"], 0, 1000)
