"""A module that is imported by a name which holds its name counts and travels as one that is named by a text."""

from __future__ import annotations

import subprocess
import sys

from tests.events import write_events

HEAD = """
import importlib, sys
from importlib import import_module
import awkward as ak
from vrecompute import Client

NAME = "beside"
class Names:
    beside = "beside"
names = Names()
"""
WAYS = {
    "global": "def cut(): return import_module(NAME).CUT",
    "of importlib": "def cut(): return importlib.import_module(NAME).CUT",
    "__import__": "def cut(): return __import__(NAME).CUT",
    "variable": "def cut():\n    module = import_module(NAME)\n    return module.CUT",
    "default": "def cut(name='beside'): return import_module(name).CUT",
    "keyword": "def cut(*, name='beside'): return import_module(name).CUT",
    "closure": "def make(name):\n    def cut(): return import_module(name).CUT\n    return cut\ncut = make('beside')",
    "local": "def cut():\n    name = 'beside'\n    return import_module(name).CUT",
    "loop": "def cut():\n    for name in ('beside',):\n        return import_module(name).CUT",
    "class": "def cut(): return import_module(Names.beside).CUT",
    "object": "def cut(): return import_module(names.beside).CUT",
    "method": (
        "class Cutter:\n    name = 'beside'\n    def cut(self): return import_module(self.name).CUT\n"
        "cutter = Cutter()\ndef cut(): return cutter.cut()"
    ),
}
DIGEST = """
from vrecompute.analysis.codedigest import code_of
for way in WAYS:
    exec(compile(way, file := f"<{way}>", "exec"))
    sourcetext.keep(file, way)
    code = code_of(cut)
    assert "beside" in code.imported, (way, code)
    print(code.parts["beside: CUT"])
"""
RUN = """
if __name__ == "__main__":
    with Client(workers=1, store="store") as client:
        run = client.map(lambda events: {"n": int(ak.sum(events.weight > cut()))}, sys.argv[1], columns=["weight"])
        print(run.result().total.counters["n"], run.report().chunks.reused)
"""


def _output(folder, text, cut, *more):
    (folder / "beside.py").write_text(f"CUT = {cut}\n")
    (folder / "script.py").write_text(text)
    words = [sys.executable, "-B", "script.py", *more]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_its_content_counts(tmp_path):
    text = f"{HEAD}from vrecompute import sourcetext\nWAYS = {list(WAYS.values())!r}\n{DIGEST}"
    first, again, other = (_output(tmp_path, text, cut) for cut in (1, 1, 22))
    assert first == again
    assert [way for way, one, two in zip(WAYS, first, other, strict=True) if one == two] == []


def test_it_travels(tmp_path):
    events = str(write_events(tmp_path / "e.root", 100, clusters=1))
    assert _output(tmp_path, HEAD + WAYS["method"] + RUN, -1000, events) == ["100", "0"]
    assert _output(tmp_path, HEAD + WAYS["method"] + RUN, 1000, events) == ["0", "0"]
    assert _output(tmp_path, HEAD + WAYS["method"] + RUN, -1000, events) == ["100", "1"]
