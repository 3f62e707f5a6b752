"""What functions of FILE.py and of modules beside it import when they are called: as if they did so at the top."""

from __future__ import annotations

import sys
import time

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.analysisfile import load_file, sources_of
from vrecompute.analysis.loading import load_analysis

ANALYSIS = """
import importlib
import importlib as il
from importlib import import_module
from vrecompute import Analysis, Result
{top}

class Inner({bases}Analysis):
    name = "inner"

    def columns(self, source):
        return ("Muon_pt",)

    def process(self, events):
        {inner}
        return Result(counters={{"x": {value}}})


def finish(results, analysis, context):
    {finish}
    return {{"x": {value}}}
"""
# By what is written inside `process`: what its value is, and what stands at the top of the file.
WAYS = {
    "import hq": ("import hq", "hq.C", ""),
    "import hq as h": ("import hq as h", "h.C", ""),
    "from hq import C": ("from hq import C", "C", ""),
    "import_module": ("hq = importlib.import_module('hq')", "hq.C", ""),
    "import_module, alone": ("hq = import_module('hq')", "hq.C", ""),
    "import_module, of a library by another name": ("hq = il.import_module('hq')", "hq.C", ""),
    "import_module of a name": ("hq = import_module(NAME)", "hq.C", "NAME = 'hq'"),
    "__import__": ("hq = __import__('hq')", "hq.C", ""),
    "__import__ of a name": ("hq = __import__(NAME)", "hq.C", "NAME = 'hq'"),
    "a module in a folder": ("from sub import hq", "hq.C", ""),
    "a package": ("import pack", "pack.hq.C", ""),
    "a module in a package": ("import pack.hq", "pack.hq.C", ""),
    "what a package takes of a module": ("import pack.other", "pack.C", ""),
    "a relative import": ("from pack import inner", "inner.value()", ""),
    "a helper": ("pass", "helper()", "def helper():\n    import hq\n    return hq.C"),
    "a module beside": ("pass", "beside.value()", "import beside"),
    "a module beside, inside": ("import beside", "beside.value()", ""),
    "a base class beside": ("pass", "self.value() if 'self' in vars() else Inner().value()", "from beside import Base"),
    "a lambda": ("pass", "late()", "late = lambda: __import__('hq').C"),
    "a class in a function": ("pass", "helper()", "def helper():\n    class K:\n        import hq\n    return K.hq.C"),
    "a global": ("global hq; import hq", "helper()", "def helper():\n    return hq.C"),
    "a closure": (
        "pass",
        "h()",
        "def made():\n    def f():\n        import hq\n        return hq.C\n    return f\nh = made()",
    ),
}
BESIDE = {
    "beside.py": "def value():\n    import hq\n    return hq.C\n\nclass Base:\n    def value(self):\n"
    "        import hq\n        return hq.C\n",
    "pack/__init__.py": "from .hq import *\nfrom . import hq\n",
    "pack/other.py": "",
    "pack/inner.py": "def value():\n    from . import hq\n    from .hq import C\n    assert hq.C == C\n    return C\n",
}


def write(folder, way):
    inner, value, top = WAYS[way]
    bases = "Base, " if "import Base" in top else ""
    for name, text in BESIDE.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    text = ANALYSIS.format(top=top, inner=inner, value=value, bases=bases, finish=inner)
    (folder / "ana.py").write_text(text)
    return folder / "ana.py"


def number(folder, value):
    (folder / "sub").mkdir(exist_ok=True)
    for name in ("hq.py", "pack/hq.py", "sub/hq.py"):
        (folder / name).write_text(f"C = {value}\n")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The session's own module of the name, which it has imported, and which stays its own."""
    (tmp_path / "session" / "pack").mkdir(parents=True)
    (tmp_path / "session" / "hq.py").write_text("C = 7\n")
    (tmp_path / "session" / "pack" / "__init__.py").write_text("C = 7\n")
    (tmp_path / "session" / "pack" / "hq.py").write_text("C = 7\n")
    monkeypatch.syspath_prepend(tmp_path / "session")
    for name in ("hq", "pack", "sub", "beside"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import hq
    import pack

    yield hq
    assert sys.modules["hq"] is hq
    assert sys.modules["pack"] is pack
    for name in ("hq", "pack"):
        del sys.modules[name]
    for name in [n for n in sys.modules if n.startswith("pack.")]:
        del sys.modules[name]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_on_path", [False, True])
def test_an_edit_of_what_a_function_imports_is_another_code(tmp_path, monkeypatch, way, is_on_path):
    if is_on_path:  # as in a notebook, whose folder has the file
        monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path, way)
    digests = []
    for value in (20, 45, 20):
        number(tmp_path, value)
        digests.append(load_analysis(str(file), {})[0].code(looks=False).digest)
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_function_imports_is_beside_the_file_whatever_the_session_has_of_that_name(tmp_path, own, way):
    file = write(tmp_path / "mine", way)
    number(tmp_path / "mine", 20)
    code = load_analysis(str(file), {})[0].code(looks=False)
    (tmp_path / "session" / "hq.py").write_text("C = 8\n")
    own.C = 8
    assert load_analysis(str(file), {})[0].code(looks=False).digest == code.digest
    number(tmp_path / "mine", 45)
    assert load_analysis(str(file), {})[0].code(looks=False).digest != code.digest
    assert own.C == 8


@pytest.mark.parametrize("way", [w for w in WAYS if "import_module" not in w])
def test_functions_that_are_called_here_import_what_is_beside_their_file(tmp_path, own, way):
    file = write(tmp_path / "mine", way)
    for value in (20, 45):
        number(tmp_path / "mine", value)
        assert load_file(file).finish(None, None, None) == {"x": value}


def test_what_an_earlier_file_imported_stays_its_own(tmp_path):
    file = write(tmp_path, "import hq")
    number(tmp_path, 20)
    first = load_file(file)
    assert first.finish(None, None, None) == {"x": 20}
    number(tmp_path, 45)
    second = load_file(file)
    assert second.finish(None, None, None) == {"x": 45}
    assert first.finish(None, None, None) == {"x": 20}
    number(tmp_path, 60)
    assert load_file(file).finish(None, None, None) == {"x": 60}
    assert second.finish(None, None, None) == {"x": 45}
    number(tmp_path, 20)
    assert load_file(file).finish(None, None, None) == {"x": 20}


def test_files_that_are_read_by_what_a_function_imports_are_read_anew(tmp_path):
    file = write(tmp_path, "import hq")
    (tmp_path / "hq.py").write_text(
        "from pathlib import Path\nC = int((Path(__file__).parent / 'c.txt').read_text())\n"
    )
    found = []
    for value in ("20", "45"):
        (tmp_path / "c.txt").write_text(value)
        analysis = load_analysis(str(file), {})[0]
        found.append((load_file(file).finish(None, None, None)["x"], analysis.code(looks=False).digest))
        assert load_file(file) is sys.modules[type(analysis).__module__]
    assert [value for value, _ in found] == [20, 45]
    assert found[0][1] != found[1][1]


def test_a_module_that_a_name_holds_travels_with_the_file(tmp_path):
    file = write(tmp_path, "import_module of a name")
    number(tmp_path, 20)
    load_analysis(str(file), {})[0].code()
    assert sources_of(file)["hq.py"] == tmp_path / "hq.py"


@pytest.mark.parametrize("name", ["json", "numpy", "secrets", "uproot"])
def test_no_module_beside_the_file_stands_for_an_installed_or_standard_one_inside_a_function(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("C = 1\n")
    (tmp_path / "ana.py").write_text(f"def f():\n    import {name}\n    return {name}\n")
    assert load_file(tmp_path / "ana.py").f() is sys.modules[name]
    assert set(sources_of(tmp_path / "ana.py")) == {"analysis-file.py"}


def test_what_importing_does_to_libraries_is_that_of_the_module_beside_the_file(tmp_path, own):
    file = write(tmp_path / "mine", "import hq")
    (tmp_path / "mine" / "hq.py").write_text("import decimal\ndecimal.getcontext().prec = 11\nC = 1\n")
    effects = load_analysis(str(file), {})[0].code().effects
    assert [each.__code__.co_filename for each in effects] == ["<hq.py:2, decimal.getcontext.prec>"]


def test_runs_of_one_session_have_the_number_of_each_edit_live_and_detached(tmp_path, own):
    events = str(write_events(tmp_path / "e.root", 200, clusters=2))
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        for way in ("import hq", "what a package takes of a module", "import_module of a name"):
            file = write(tmp_path / "mine", way)
            for value in (20, 45):
                number(tmp_path / "mine", value)
                run = client.run(str(file), events)
                report = run.report(timeout_s=120)
                assert (report.status, report.chunks.reused) == ("complete", 0), report.failures
                assert run.result().total.counters["x"] == value * report.chunks.total
                assert run.products() == {"x": value} or "import_module" in way
        detached = client.submit(str(file), events, reuse=False)
        deadline = time.monotonic() + 300
        while detached.status not in {"complete", "failed", "interrupted"} and time.monotonic() < deadline:
            time.sleep(0.5)
        assert detached.status == "complete", detached.logs()
        assert detached.result().to_bytes() == run.result().to_bytes()
        # by a name that is made when it is called, it finds nothing that an earlier run left there
        (tmp_path / "mine" / "ana.py").write_text(
            file.read_text().replace("import_module(NAME)", "import_module('h' + NAME[1:])")
        )
        run = client.run(str(file), events)
        report = run.report(timeout_s=120)
        assert "hq.py is read at ana.py:15, inside process" in report.warnings[0]
        assert run.result().total.counters["x"] == 7 * report.chunks.total
