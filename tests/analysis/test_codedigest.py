"""Code digests change with code and nothing else (law 3)."""

from __future__ import annotations

import importlib
import linecache
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.digest import canonical_json, numerics, sha256_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5), st.randoms())
def test_canonical_json_ignores_the_order_of_keys(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_arrays_and_paths_are_data_and_objects_are_not():
    assert canonical_json({"a": np.arange(3), "p": Path("x/y")}) == b'{"a":[0,1,2],"p":"x/y"}'
    with pytest.raises(TypeError, match="object is not plain data"):
        canonical_json(object())


def test_digests_are_the_same_in_another_process():
    code = "from vrecompute.digest import *; from vrecompute_analyses.dilepton.process import Dilepton as D;"
    code += "print(sha256_json({'b': 1.5, 'a': [1]}), D().code().digest)"
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)}, {"PYTHONPATH": ":".join(sys.path)})
    }
    assert len(outputs) == 1
    assert sha256_json({"a": [1], "b": 1.5}) in outputs.pop()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own: process imports helper, finish imports both; and a function to edit a file of it.

    pkg/process.py -> pkg/helper.py;  pkg/finish.py -> pkg/process.py;  pkg/far.py imported inside a function
    """
    root = tmp_path / "pkg"
    root.mkdir()
    files = {
        "__init__.py": "",
        "helper.py": "CUT = 30  # GeV\n",
        "far.py": "SCALE = 1\n",
        "finish.py": "from pkg.process import Select\n",
        "process.py": (
            "from pkg.helper import CUT\n"
            "class Select:\n"
            "    finish_function = 'pkg.finish:finish'\n"
            "    def process(self):\n"
            "        from .far import SCALE\n"
            "        return CUT * SCALE\n"
        ),
    }
    for name, text in files.items():
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def digest_after(file: str = "helper.py", text: str | None = None) -> str:
        if text is not None:
            (root / file).write_text(text)
        for name in [n for n in sys.modules if n == "pkg" or n.startswith("pkg.")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return code_of(importlib.import_module("pkg.process").Select).digest

    yield digest_after
    for name in [n for n in sys.modules if n == "pkg" or n.startswith("pkg.")]:
        del sys.modules[name]


def test_a_changed_cut_changes_the_digest(package):
    assert package() != package("helper.py", "CUT = 31  # GeV\n")


def test_an_import_inside_a_function_counts(package):
    assert package() != package("far.py", "SCALE = 2\n")


def test_an_edited_finish_does_not_change_it(package):
    assert package() == package("finish.py", "from pkg.process import Select\nprint('edited')\n")


def test_comments_and_blank_lines_do_not_change_it(package):
    assert package() == package("helper.py", "# the cut\n\nCUT = 30\n")


def test_numerics_name_what_is_declared():
    found = numerics(["boost-histogram", "no-such-distribution"])
    assert {"numpy", "numba", "awkward", "uproot", "boost-histogram"} <= set(found)
    assert found["no-such-distribution"] == "absent"


def carried_out(file, text):
    """What IPython's `%run` leaves: functions whose module has no name any more."""
    file.write_text(text)
    names = {"__name__": "__main__"}
    exec(compile(text, str(file), "exec"), names)
    del names["__name__"]
    return names


def test_what_run_carried_out_is_of_the_analysis_and_each_file_keeps_its_names(tmp_path):
    def digest(one, other):
        first = carried_out(tmp_path / "one.py", f"PT = {one}\ndef cut(): return PT\n")["cut"]
        second = carried_out(tmp_path / "other.py", f"PT = {other}\ndef veto(): return PT\n")["veto"]
        code = code_of((first, second))
        linecache.clearcache()
        return code.digest, code.parts

    assert {name for name in digest(20, 20)[1] if "PT" in name or "cut" in name} == {"main: PT", "main: cut()"}
    pairs = [(20, 30), (30, 20), (25, 30), (20, 25), (30, 30), (20, 20)]
    assert len({digest(*pair)[0] for pair in pairs}) == len(pairs)
    assert digest(20, 30)[0] == digest(20, 30)[0]
    assert difference(digest(20, 30)[1], digest(20, 40)[1]) == ["main: PT #2"]
