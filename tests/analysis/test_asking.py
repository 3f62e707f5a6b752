"""Objects that answer strangely when they are asked what they are: they are digested, and sent or refused by name."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import types
from unittest import mock

import awkward as ak
import numpy as np
import pytest
import uproot

from tests.events import write_events
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.errors import AnalysisError
from vrecompute.execution.byvalue import pack


class AttrDict(dict):
    __getattr__ = dict.__getitem__


class Keyed:
    def __init__(self, **given):
        self.__dict__.update(given)

    def __getattr__(self, name):
        raise KeyError(name)


class Within:
    """Before it has anything, its `__getattr__` never ends."""

    def __init__(self, **given):
        self.held = given

    def __getattr__(self, name):
        return self.held[name]


class Any(dict):
    def __getattr__(self, name):
        return Any()


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

    def __getattr__(self, name):
        raise RuntimeError(name)


class Compares:
    x = 3

    def __eq__(self, other):
        return np.array([True, False])

    __hash__ = None


class Refuses:
    x = 3

    def __bool__(self):
        raise ValueError("bool")

    __len__ = __iter__ = __hash__ = __eq__ = __repr__ = __contains__ = __bool__


class Properties:
    x = 3

    @property
    def __code__(self):
        raise KeyError("code")

    __func__ = __self__ = __name__ = __module__ = __wrapped__ = __dict__ = __closure__ = py_func = __code__


class Meta(type):
    def __getattr__(cls, name):
        raise KeyError(name)


class OfMeta(metaclass=Meta):
    x = 3


class Lies:
    x = 3

    def __init__(self, kind):
        self.kind = kind

    @property
    def __class__(self):
        return self.kind


class Raises:
    x = 3

    @property
    def __class__(self):
        raise KeyError("class")


def answering():
    held = Any(x=3)
    held.x = 3
    return held


# Made in the tests: pytest asks its parameters too.
WORK = {kind.__name__: functools.partial(kind, x=3) for kind in (AttrDict, Keyed, Within, Slotted)}
WORK |= {kind.__name__: kind for kind in (Compares, Refuses, Properties)} | {"answering": answering}
WORK |= {"OfMeta": lambda: OfMeta, "space": lambda: types.SimpleNamespace(x=3)}
WORK |= {"Mock": lambda: mock.Mock(x=3), "MagicMock": lambda: mock.MagicMock(x=3)}
KINDS = [types.FunctionType, types.ModuleType, type, np.ufunc, np.ndarray, property, functools.partial, int, dict]
REFUSED = {kind.__name__: functools.partial(Lies, kind) for kind in KINDS}
REFUSED |= {"raises": Raises, "mock of a class": lambda: mock.Mock(spec=Compares, x=3)}
TEXTS = ["held.x", "[held][0].x", "getattr(held, 'x')", "held() if NEVER else held.x", "held[0] if NEVER else held.x"]
TEXTS += ["held.a.b.c(1) if NEVER else held.x", "open(held) if NEVER else held.x", "held.load() if NEVER else held.x"]
TEXTS += ["np.sum(held.y) if NEVER else held.x", "held.rvs(3) if NEVER else held.x"]


def functions(held, folder):
    for number, text in enumerate(TEXTS):
        file = folder / f"f{number}.py"
        file.write_text(f"def f(events):\n    return {{'n': {text}}}\n")
        names = {"__name__": "__main__", "held": held, "np": np, "NEVER": False}
        exec(compile(file.read_text(), file, "exec"), names)
        yield names["f"]

    def default(events, held=held):
        return {"n": held.x}

    kept, listed, space = {"k": held}, [held], types.SimpleNamespace(held=held)

    class Holds:
        inner = held

    yield from (lambda events: {"n": held.x}, default, lambda events: {"n": kept["k"].x})
    yield from (lambda events: {"n": listed[0].x}, lambda events: {"n": space.held.x})
    yield lambda events: {"n": vars(Holds)["inner"].x}


@pytest.mark.parametrize("kind", WORK)
def test_what_answers_strangely_is_digested_and_sent(kind, tmp_path):
    for function in functions(WORK[kind](), tmp_path):
        packed = pack(MapAnalysis(function))
        there = pickle.loads(packed.data)[0]
        assert there.function(None) == {"n": 3}
        assert there.code(looks=False).parts == packed.code.parts


@pytest.mark.parametrize("kind", REFUSED)
def test_what_says_that_it_is_another_is_refused_by_a_sentence(kind, tmp_path):
    for function in functions(REFUSED[kind](), tmp_path):
        with pytest.raises(AnalysisError, match="cannot be sent to workers"):
            pack(MapAnalysis(function))


def test_what_answers_strangely_counts():
    def digest(held):
        return code_of(lambda events: held.x).digest

    for make in (AttrDict, Keyed, Within):
        assert digest(make(x=3)) == digest(make(x=3)) != digest(make(x=4))


class Scaled:
    """What holds a function by the name that numba has for one is more than that function."""

    def __init__(self, scale):
        self.py_func, self.scale = len, scale

    def __call__(self, events):
        return self.scale


def test_what_only_looks_like_a_function_of_numba_counts_as_what_it_is():
    def plain(events): ...

    def digest(scale):
        held = Scaled(scale)
        held.py_func = plain
        return code_of(lambda events: held(events)).digest

    assert digest(2.0) == digest(2.0) != digest(3.0)


@pytest.mark.parametrize("kind", ["property", "staticmethod", "classmethod", "functools.cached_property"])
def test_a_subclass_of_what_python_puts_around_functions_counts(kind, tmp_path):
    text = (
        "import functools\nclass Own({0}):\n    scale = {1}\n    def __get__(self, it, cls=None):\n        return {1}\n"
    )
    text += "class Holds:\n    @Own\n    def x(self): ...\ndef f(events):\n    return Holds().x\n"
    digests = set()
    for scale in (1, 1, 2):
        file = tmp_path / f"own{scale}.py"
        file.write_text(text.format(kind, scale))
        names = {"__name__": "__main__"}
        exec(compile(file.read_text(), file, "exec"), names)
        digests.add(code_of(names["f"]).digest)
    assert len(digests) == 2


def test_a_dictionary_with_attributes_runs_in_a_session(tmp_path):
    lines = [
        "import sys",
        "import awkward as ak",
        "from vrecompute import Client",
        "class AttrDict(dict):\n    def __getattr__(self, name): return self[name]",
        "cuts = AttrDict(pt=20.0)",
        "with Client(workers=1, threads=1, store=sys.argv[1]) as client:",
        "    run = client.map(lambda events: int(ak.sum(events.Muon_pt > cuts.pt)), sys.argv[2], columns=['Muon_pt'])",
        "    print(run.result(timeout_s=100).total.counters['value'])",
    ]
    file = write_events(tmp_path / "e.root", 100, clusters=1)
    (tmp_path / "script.py").write_text("\n".join(lines))
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    right = int(ak.sum(uproot.open(f"{file}:Events")["Muon_pt"].array() > 20.0))
    assert done.stdout.split() == [str(right)]
