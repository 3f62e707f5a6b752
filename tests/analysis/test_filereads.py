"""A file that `process` reads by itself is in no key: parts of such a run are not reused, and the report says why."""

from __future__ import annotations

import contextlib
import json

import awkward as ak
import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.loading import load_analysis
from vrecompute.analysis.processreads import Reads
from vrecompute.analysis.silentreaders import opens_files
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import UsageError

HEAD = """
import functools
import gzip
import io
import json
import os
import pathlib
import pickle
import tempfile
from io import StringIO
from os import environ
from pathlib import Path

import importlib

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.ipc
import pyarrow.parquet as pq
import uproot
from numpy import load as fetched
from pyarrow import csv, orc
from pyarrow.parquet import ParquetFile as Opener

import cuts
from vrecompute import Analysis, Result
from vrecompute.datasets.columns import OptionalColumn

HERE = Path(__file__).parent
FILE = HERE / "cuts.json"


class Table:
    def __init__(self, path):
        self.values = json.loads(Path(path).read_text())

    def open(self):
        return self.values


class Opened:
    def open(self):
        return 20.0

    def exists(self):
        return True


TABLE = Table(FILE)


class Local(type(FILE)):
    pass  # what it reads with is pathlib's


class Holder:
    def __init__(self, path):
        self.path = path


READ = {{"table": pq.read_table}}
FILES = pafs.LocalFileSystem()
ARROW = pa.table({{"a": [20.0]}})


class Keeps:
    files = FILES


def defaults(path, read=pq.read_table):
    return read(path)


read_again = np.load
held = functools.partial(np.load, HERE / "cuts.npy")


def again(file):
    file = open(file)
    return json.load(file)["pt_min_gev"]


class A(Analysis):
    name = "a"

    def columns(self, source):
        return ("Muon_pt",)

    def process(self, events):
        pt_min_gev = {0}
        return Result(counters={{"above": float(np.sum(events.flat("Muon_pt") > pt_min_gev))}})
"""
CUTS = """
import json
import os
from gzip import open as unpacked
from pathlib import Path

HERE = Path(__file__).parent
AT_IMPORT = json.loads((HERE / "cuts.json").read_text())["pt_min_gev"]


def pt_min_gev():
    with open(HERE / "cuts.json") as file:
        return json.load(file)["pt_min_gev"]


def unused():
    return open("unused.json").read()


def is_there():
    from os.path import exists
    return exists("cuts.json")


def write(value):
    with open("log.txt", "a") as file:
        file.write(str(value))
    with Path("log.txt").open("w") as file:
        file.write(str(value))
    return value


def settled():
    os.environ["OMP_NUM_THREADS"] = "1"
    return 20.0


def through_memory(value):
    import io
    import numpy as np
    memory = io.BytesIO()
    np.save(memory, value)
    memory.seek(0)
    return np.load(memory)


def through_a_file_of_its_own(value):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "value"
        file.write_text(str(value))
        return float(file.read_text())


def read(path):
    return json.loads(path.read_text())["pt_min_gev"]
"""


def write(folder, expression, more=""):
    folder.mkdir(exist_ok=True)
    (folder / "cuts.json").write_text('{"pt_min_gev": 20.0}')
    (folder / "cuts.txt").write_text("20.0")
    np.save(folder / "cuts.npy", [20.0])
    (folder / "cuts.py").write_text(CUTS)
    (folder / "analysis.py").write_text(HEAD.format(expression) + more)
    return folder / "analysis.py"


def told(file, declared=()):
    """What the text of an analysis tells, and what is heard while its `process` is called."""
    analysis, _ = load_analysis(str(file), {})
    pt = Column(np.linspace(0.0, 50.0, 6, dtype=np.float32), np.array([0, 2, 4, 6]))
    resources = {path.stem: path for path in declared}
    events = Columns({"Muon_pt": pt}, Sample("s"), 0, 3, resources=resources)
    reads = Reads()
    with contextlib.suppress(Exception), reads.watching("", declared):
        analysis.process(events)
    return [*analysis.code().unnamed, *reads.told]


# Heard while `process` is called.
HEARD = {
    "cuts.pt_min_gev()": "cuts.json is read at cuts.py:12",
    "json.load(open('cuts.json'))['pt_min_gev']": "cuts.json is read at analysis.py:",
    "json.loads(FILE.read_text())['pt_min_gev']": "cuts.json is read at analysis.py:",
    "json.load(FILE.open())['pt_min_gev']": "cuts.json is read",
    "json.loads(Path(__file__).with_name('cuts.json').read_bytes())['pt_min_gev']": "cuts.json is read",
    "json.loads(pathlib.Path.read_text(FILE))['pt_min_gev']": "cuts.json is read",
    "json.load(io.open(HERE / 'cuts.json'))['pt_min_gev']": "cuts.json is read",
    "np.loadtxt('cuts.txt')": "cuts.txt is read",
    "np.load('cuts.npy')[0]": "cuts.npy is read",
    "json.load(gzip.open('cuts.json.gz'))": "cuts.json.gz is read",
    "os.read(os.open('cuts.json', os.O_RDONLY), 10)": "cuts.json is read",
    "Table(FILE).values['pt_min_gev']": "cuts.json is read at analysis.py:",
    "again('cuts.json')": "cuts.json is read at analysis.py:",
    "(lambda: json.load(open('cuts.json')))()['pt_min_gev']": "cuts.json is read",
    "cuts.read(FILE)": "cuts.json is read at cuts.py:",
    "pickle.load(open('w', 'rb'))": "w is read",
    "fetched('cuts.npy')[0]": "cuts.npy is read",
    "read_again('cuts.npy')[0]": "cuts.npy is read",
    "json.load(cuts.unpacked('cuts.json.gz'))": "cuts.json.gz is read",
    "[*map(np.load, ['cuts.npy'])][0]": "cuts.npy is read",
    "functools.partial(np.load, 'cuts.npy')()": "cuts.npy is read",
    "held()[0]": "cuts.npy is read",
    "json.loads(Local(FILE).read_text())": "cuts.json is read",
    "json.load(Holder(FILE).path.open())": "cuts.json is read",
    "uproot.concatenate('cuts.root:t')['pt_min_gev'][0]": "cuts.root is read",
    "[a for a in uproot.iterate('cuts.root:t')][0]": "cuts.root is read",
}
# Found in the text: nothing is heard of it.
FOUND = {
    "float(os.environ['PT_MIN'])": "an environment variable is read at analysis.py:",
    "float(environ.get('PT_MIN', 1))": "an environment variable is read",
    "float(os.getenv('PT_MIN', 1))": "an environment variable is read",
    "float(os.environb[b'PT_MIN'])": "an environment variable is read",
    "float(os.path.expandvars('$PT_MIN'))": "an environment variable is read",
    "len(os.path.expanduser('~')) + 0.0": "an environment variable is read",
    "len(str(Path('~').expanduser())) + 0.0": "an environment variable is read",
    "len(str(Path.home())) + 0.0": "an environment variable is read",
    "float(os.path.exists('/'))": "/ is looked for at analysis.py:",
    "float(os.path.getsize('cuts.json'))": "cuts.json is looked for",
    "float(os.stat('cuts.json').st_size)": "cuts.json is looked for",
    "float(os.access('cuts.json', os.R_OK))": "cuts.json is looked for",
    "float(FILE.exists())": "a file (FILE) is looked for",
    "float(FILE.stat().st_size)": "a file (FILE) is looked for",
    "float((HERE / 'cuts.json').is_file())": "cuts.json is looked for",
    "cuts.is_there() + 0.0": "cuts.json is looked for at cuts.py:",
    "ak.from_parquet('cuts.parquet')[0]": "cuts.parquet is read",
    "ak.from_feather('cuts.feather')[0]": "cuts.feather is read",
    "pq.ParquetFile('cuts.parquet').read()": "cuts.parquet is read at analysis.py:",
    "next(pq.ParquetFile('cuts.parquet').iter_batches())": "cuts.parquet is read",
    "pq.ParquetDataset(['cuts.parquet']).read()": "cuts.parquet is read",
    "pq.read_metadata('cuts.parquet').num_rows": "cuts.parquet is read",
    "orc.ORCFile('cuts.orc').read()": "cuts.orc is read",
    "csv.open_csv('cuts.csv').read_all()": "cuts.csv is read",
    "float(pa.input_stream('cuts.txt').read())": "cuts.txt is read",
    "float(pa.OSFile('cuts.txt').read())": "cuts.txt is read",
    "pafs.LocalFileSystem().open_input_stream('cuts.txt').read()": "cuts.txt is read",
    "pafs.LocalFileSystem().get_file_info('cuts.txt').size": "cuts.txt is read",
    "[fs := pafs.LocalFileSystem(), fs.open_input_file('cuts.txt')][1].read()": "a file (by pyarrow.fs.LocalFile",
    "pads.FileSystemDataset.from_paths(['cuts.parquet'])": "cuts.parquet is read",
    "pads.dataset('cuts.parquet').to_table()": "cuts.parquet is read",
    "getattr(pq, 'read_' + 'table')('cuts.parquet')": "a file (by pyarrow.parquet) is read",
    "getattr(pq, 'ParquetFile')('cuts.parquet')": "cuts.parquet is read",
    "vars(pq)['read_' + 'table']('cuts.parquet')": "a file (pq) is read",
    "[arrow := pq, arrow.ParquetFile('cuts.parquet').read()][1]": "cuts.parquet is read",
    "[opened := pq.ParquetFile, opened('cuts.parquet').read()][1]": "cuts.parquet is read",
    "importlib.import_module('pyarrow.parquet').ParquetFile('cuts.parquet')": "cuts.parquet is read",
    "__import__('pyarrow.parquet').parquet.ParquetFile('cuts.parquet')": "cuts.parquet is read",
    "[*map(pq.ParquetFile, ['cuts.parquet'])][0].read()": "cuts.parquet is read",
    "Opener('cuts.parquet').read()": "cuts.parquet is read",
    "READ['table']('cuts.parquet')": "what is kept of pyarrow.parquet.core.read_table may read a file when it is",
    "FILES.open_input_file('cuts.txt').read()": "what is kept of pyarrow._fs.LocalFileSystem may read a file when",
    "Keeps.files.open_input_file('cuts.txt').read()": "what is kept of pyarrow._fs.LocalFileSystem may read a",
    "defaults('cuts.parquet')": "what is kept of pyarrow.parquet.core.read_table may read a file",
}
NOT_READ = [
    "20.0",
    "len(pa.table({'a': pa.array([1.0])})) + 19.0",
    "pc.sum(pa.array([20.0])).as_py()",
    "pa.ipc.open_stream(pa.BufferReader(b'')).read_all()",
    "pq.read_table(events.resources['cuts'])",
    "[*map(pq.ParquetFile, events.resources.values())][0]",
    "pq.write_table(pa.table({'a': [1.0]}), '/dev/null') or 20.0",
    "pafs.LocalFileSystem().open_input_stream(events.resources['cuts']).read()",
    "[f := pafs.LocalFileSystem, f().open_input_file(events.resources['cuts'])][0]",
    "isinstance(TABLE, pq.ParquetFile) + 20.0",
    "ARROW['a'][0].as_py()",
    "cuts.AT_IMPORT",
    "cuts.write(20.0)",
    "cuts.settled()",
    "TABLE.values['pt_min_gev']",
    "TABLE.open()['pt_min_gev']",
    "Opened().open()",
    "[opened := Opened(), opened.open()][1]",
    "float(Opened().exists())",
    "float(events.resources['cuts'].exists())",
    "np.concatenate([np.ones(1), np.ones(1)])[0]",
    "np.loadtxt(io.StringIO('20.0'))",
    "np.loadtxt(StringIO('20.0'))",
    "cuts.through_memory(20.0)",
    "cuts.through_a_file_of_its_own(20.0)",
    "[*map(np.load, events.resources.values())][0]",
    "isinstance(TABLE, (io.TextIOWrapper, np.memmap)) + 20.0",
    "json.loads('20.0')",
    "json.loads(events.resources['cuts'].read_text())['pt_min_gev']",
]


@pytest.mark.parametrize("expression", [*HEARD, *FOUND])
def test_what_process_reads_is_told_by_name_and_line(tmp_path, monkeypatch, expression):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, expression)
    first = told(file)[0]
    assert first.startswith({**HEARD, **FOUND}[expression])
    assert ", inside process; " in first
    code = load_analysis(str(file), {})[0].code()
    assert bool(code.unnamed) is (expression in FOUND)
    assert (code.digest == load_analysis(str(file), {})[0].code().digest) is (expression in HEARD)


@pytest.mark.parametrize(
    ("names", "opens"),
    [
        ("h5py.File h5py.h5f.open h5py.is_hdf5 netCDF4.Dataset netCDF4.MFDataset tables.open_file tables.File", True),
        ("ROOT.TChain ROOT.RDataFrame ROOT.TFile.Open ROOT.gROOT.ProcessLine ROOT.RDF.Experimental.FromSpec", True),
        (
            "duckdb.sql duckdb.connect polars.scan_parquet polars.sql polars.DataFrame.deserialize fsspec.filesystem",
            True,
        ),
        ("zarr.open zarr.open_group xarray.open_mfdataset pandas.HDFStore torch.jit.load pyarrow.dataset", True),
        ("pyarrow.csv.open_csv pyarrow.lib.input_stream pyarrow._fs.LocalFileSystem pyarrow.hdfs.connect", True),
        ("h5py.string_dtype netCDF4.num2date tables.Float64Col ROOT.TLorentzVector ROOT.VecOps.RVec ROOT.TH1D", False),
        (
            "pyarrow.array pyarrow.lib.table pyarrow.compute.sum pyarrow.RecordBatchReader pyarrow.csv.ReadOptions",
            False,
        ),
        ("pyarrow.BufferOutputStream pyarrow.parquet.write_table pyarrow.parquet.ParquetWriter pyarrow.schema", False),
        ("pyarrow.dataset.field polars.DataFrame polars.col zarr.zeros torch.tensor numpy.load duckdb.Error", False),
    ],
)
def test_a_library_that_opens_files_in_c_is_taken_for_a_reader_but_for_what_stays_in_memory(names, opens):
    assert {name: opens_files(name) for name in names.split()} == dict.fromkeys(names.split(), opens)


@pytest.mark.parametrize("expression", NOT_READ)
def test_what_process_does_not_read_is_not_told(tmp_path, monkeypatch, expression):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, expression)
    assert told(file, [tmp_path / "cuts.json"]) == []


RESOURCES = """
    def resources(self):
        return {"cuts": FILE}
"""


def test_a_declared_file_may_be_read_by_helpers_and_another_is_still_told(tmp_path):
    known = write(tmp_path / "known", "cuts.read(events.resources['cuts'])", RESOURCES)
    assert told(known, [known.parent / "cuts.json"]) == []
    other = write(tmp_path / "other", "cuts.read(events.resources['cuts']) + cuts.pt_min_gev()", RESOURCES)
    (undeclared,) = told(other, [known.parent / "cuts.json"])
    assert undeclared.startswith("cuts.json is read at cuts.py:12")


BEFORE = """
    def __init__(self, **given):
        super().__init__(**given)
        self.cut = json.loads(FILE.read_text())

"""


def test_what_is_read_before_process_is_in_the_key_by_value(tmp_path):
    codes = []
    for value in (20.0, 30.0):
        file = write(tmp_path / str(value), "self.cut['pt_min_gev'] + cuts.AT_IMPORT", BEFORE)
        (file.parent / "cuts.json").write_text(json.dumps({"pt_min_gev": value}))
        codes.append(load_analysis(str(file), {})[0].code())
    assert [c.unnamed for c in codes] == [(), ()]
    assert {n for n in codes[0].parts if codes[0].parts[n] != codes[1].parts[n]} >= {"cuts: AT_IMPORT", "state"}


def test_an_edited_file_gives_its_own_number_and_the_report_says_what_is_not_reused(tmp_path):
    file = write(tmp_path / "a", "json.load(open(FILE))['pt_min_gev']")
    events = write_events(tmp_path / "e.root", 200)
    above = []
    with Client(workers=1, store=tmp_path / "store") as client:
        for value in (0.0, 1e6):
            (file.parent / "cuts.json").write_text(json.dumps({"pt_min_gev": value}))
            run = client.run(str(file), str(events))
            above.append(run.result(timeout_s=120).total.counters["above"])
            assert run.report().chunks.reused == 0
            assert any("cuts.json is read at analysis.py:" in w for w in run.report().warnings)
    assert above[0] > 0 == above[1]


def test_a_file_that_was_read_at_import_is_read_again_when_it_has_changed(tmp_path):
    file = write(tmp_path, "cuts.AT_IMPORT")
    first, same = (load_analysis(str(file), {})[0] for _ in range(2))
    assert type(first) is type(same)
    (tmp_path / "cuts.json").write_text('{"pt_min_gev": 50.0}')
    edited = load_analysis(str(file), {})[0]
    assert edited.code().digest != first.code().digest
    assert difference(first.code().parts, edited.code().parts) == ["cuts: AT_IMPORT"]
    (tmp_path / "cuts.json").unlink()
    with pytest.raises(UsageError, match=r"analysis\.py cannot be imported: FileNotFoundError"):
        load_analysis(str(file), {})


def test_an_archive_that_was_opened_at_import_is_read_later_and_not_reused(tmp_path):
    np.savez(tmp_path / "cuts.npz", pt_min_gev=20.0)
    file = write(tmp_path, "ARCHIVE['pt_min_gev']", '\n\nARCHIVE = np.load(HERE / "cuts.npz")\n')
    assert "has no content that could be compared" in load_analysis(str(file), {})[0].code().unnamed[0]


def test_a_mapped_function_that_reads_a_file_is_told_of_too():
    def above(events):
        return float((events.flat("Muon_pt") > ak.from_parquet("cuts.parquet")).sum())

    line = above.__code__.co_firstlineno + 1
    (told,) = code_of(above).unnamed
    assert told.startswith(
        f"cuts.parquet is read at test_filereads.py:{line}, inside process; declare it in resources()"
    )
