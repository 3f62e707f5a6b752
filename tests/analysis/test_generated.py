"""What is set of functions that Python generates for a class counts, and workers have it as it is in the session."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing
from collections import namedtuple

import attrs
import pytest

from tests.events import write_events
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of

Cuts = namedtuple("Cuts", "pt met")


class Typed(typing.NamedTuple):
    pt: float
    met: float = 1.0


@dataclasses.dataclass(order=True)
class Plain:
    pt: float = 1.0
    names: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Keywords:
    pt: float = 1.0


@attrs.define
class Attrs:
    pt: float = 1.0


def other(self, pt=1.0):
    self.pt = 2.0 * pt


def made(events):
    return Cuts(1, 2), Typed(1.0), Plain(), Keywords(), Attrs()


SET = {
    "namedtuple": (Cuts.__new__, "__defaults__", (0, 30)),
    "NamedTuple": (Typed.__new__, "__defaults__", (2.0,)),
    "dataclass": (Plain.__init__, "__defaults__", (2.0, *Plain.__init__.__defaults__[1:])),
    "dataclass by name": (Keywords.__init__, "__kwdefaults__", {"pt": 2.0}),
    "attrs": (Attrs.__init__, "__defaults__", (2.0,)),
    "attribute": (Plain.__eq__, "scale", 2.0),
    "code": (Keywords.__init__, "__code__", other.__code__),
    "code of another class": (Attrs.__init__, "__code__", Plain.__init__.__code__.replace(co_freevars=())),
}


@pytest.mark.parametrize("kind", SET)
def test_what_is_set_of_a_generated_function_counts(kind, monkeypatch):
    function, name, value = SET[kind]
    before = code_of(made)
    assert not before.unnamed
    monkeypatch.setattr(function, name, value, raising=False)
    assert difference(before.parts, code_of(made).parts)
    monkeypatch.undo()
    assert code_of(made).digest == before.digest


SCRIPT = """
import json
import sys
from collections import namedtuple
from dataclasses import dataclass

from vrecompute import Client

Cuts = namedtuple("Cuts", "pt met")
Cuts.__new__.__defaults__ = (0, 30)


@dataclass
class Plain:
    pt: float = 1.0


def cuts(events):
    return {"met": Cuts().met, "pt": Plain().pt}


def told():
    run = client.map(cuts, sys.argv[2], columns=["run"])
    counters = run.result(timeout_s=100).total.counters
    print(json.dumps([counters["met"], counters["pt"], run.report().chunks.reused]))


if __name__ == "__main__":
    client = Client(workers=1, threads=1, store=sys.argv[1])
    told()
    Cuts.__new__.__defaults__ = (0, 60)
    told()
    told()
    Plain.__init__.__defaults__ = (2.0,)
    told()
    client.close()
"""


def test_workers_have_what_is_set_of_a_generated_function(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [30, 1.0, 0],
        [60, 1.0, 0],
        [60, 1.0, 1],
        [60, 2.0, 0],
    ]
