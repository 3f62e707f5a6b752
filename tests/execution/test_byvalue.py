"""What is sent to workers by value arrives as what it was."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import pytest

from vrecompute.analysis.loading import load_analysis
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.errors import AnalysisError
from vrecompute.execution.byvalue import pack

LAZY = """
import functools

from vrecompute import Analysis, Result


class Corrections:
    @functools.cached_property
    def scale(self):
        return 3


class Lazy(Analysis):
    name = "lazy"

    def columns(self, source):
        return ["x"]

    @functools.cached_property
    def corrections(self):
        return Corrections()

    def process(self, events):
        assert self.corrections is self.corrections
        return Result(counters={"n": self.corrections.scale})
"""


def test_cached_properties_are_sent_and_count(tmp_path):
    digests = set()
    for scale in (3, 4):
        file = tmp_path / f"lazy{scale}.py"
        file.write_text(LAZY.replace("3", str(scale)))
        packed = pack(load_analysis(str(file), {})[0])
        analysis = pickle.loads(packed.data)[0]
        assert analysis.process(None).counters == {"n": scale}
        assert vars(analysis)["corrections"].scale == scale
        digests.add(packed.code.digest)
    assert len(digests) == 2


INHERITING = """
import abc
import enum
from dataclasses import dataclass

from cutbase import Elsewhere
from vrecompute import Analysis, Result


class Base(Analysis):
    is_data = False
    label = None
    region = "signal"
    cut = 20

    def columns(self, source):
        return ["x"]

    def threshold(self):
        return self.cut


class Cfg:
    pt = 20


class Cfg17(Cfg):
    pt = 20


class Far(Elsewhere):
    pt = 20


class First:
    pass


class Second:
    pt = 20


class Both(First, Second):
    pt = 20


class Grand:
    pt = 10


class Below(Grand):
    pass


class Hides(Below, Second):
    pt = 20


@dataclass
class Config:
    "config"
    pt: int = 20
    eta: float | None = None


@dataclass
class Config17(Config):
    "config"
    pt: int = 20
    eta: float | None = None


class Selects(abc.ABC):
    pt = 20

    @abc.abstractmethod
    def select(self): ...


class Selection(Selects):
    pt = 20

    def select(self):
        return 1


class Cut(int):
    __hash__ = int.__hash__

    def __eq__(self, other):
        return int(self) == int(other)


class Tight(Cut):
    __eq__ = Cut.__eq__
    __hash__ = Cut.__hash__


class Named:
    def title(self):
        return self.name.lower()


class Region(Named, enum.Enum):
    SIGNAL = 20
    title = Named.title


def kinds():
    return [Cfg17, Far, Both, Hides, Config17, Selection]


class A(Base):
    name = "a"
    is_data = False
    label = None
    region = "signal"
    cut = 20
    threshold = Base.threshold

    def process(self, events):
        more = {kind.__name__: kind.pt for kind in kinds()}
        more["docs"] = len(Config17.__doc__ or "") - len(Config.__doc__ or "")
        more["made"] = Config17().pt + Tight(1) + len(Region.SIGNAL.title())
        return Result(counters={"cut": self.threshold(), **more})
"""
EXPECTED = {"cut": 20, "Cfg17": 20, "Far": 20, "Both": 20, "Hides": 20, "Config17": 20, "Selection": 20}
EXPECTED |= {"docs": 0, "made": 27}


@pytest.fixture
def inheriting(tmp_path, monkeypatch):
    """The module of an analysis whose attributes are what its bases have, and the analysis."""
    (tmp_path / "cutbase.py").write_text("class Elsewhere:\n    pt = 20\n")
    (tmp_path / "inheriting.py").write_text(INHERITING)
    monkeypatch.syspath_prepend(str(tmp_path))
    analysis = load_analysis(str(tmp_path / "inheriting.py") + ":A", {})[0]
    yield sys.modules[type(analysis).__module__], analysis
    sys.modules.pop("cutbase", None)


def sent(analysis):
    packed = pack(analysis)
    there = pickle.loads(packed.data)[0]
    assert there.code(looks=False).parts == packed.code.parts
    return packed.code.digest, there.process(None).counters


def test_an_attribute_that_is_what_its_base_has_is_sent(inheriting):
    assert sent(inheriting[1])[1] == EXPECTED


def test_a_base_that_has_another_changes_no_class_with_its_own(inheriting):
    module, analysis = inheriting
    before = sent(analysis)
    module.Base.cut, module.Cfg.pt, module.Elsewhere.pt, module.Second.pt = 30, 30, 30, 30
    after = sent(analysis)
    assert after[1] == EXPECTED
    assert after[0] != before[0]  # a base counts as what it is


def test_a_class_that_inherits_has_what_its_base_has(inheriting):
    module, analysis = inheriting
    before = sent(analysis)
    del module.A.cut
    module.Base.cut = 30
    inherits = sent(analysis)
    assert inherits[1] == EXPECTED | {"cut": 30}
    module.A.cut = 30
    owns = sent(analysis)
    assert owns[1] == inherits[1]
    assert len({before[0], inherits[0], owns[0]}) == 3


def test_what_numba_made_of_functions_is_sent_as_their_source(tmp_path):
    """What numba itself pickles has bytecode, of which a worker finds no text."""
    file = tmp_path / "compiled.py"
    file.write_text(COMPILED)
    packed = pack(load_analysis(str(file), {})[0])
    file.unlink()
    counters = "{'vectorized': 1.0, 'generalized': 2.0, 'c': 6.0}"
    assert _there(tmp_path, packed) == (sorted(packed.code.parts.values()), counters)


def test_models_of_pydantic_are_sent_and_count(tmp_path):
    digests = set()
    for cut, least in ((20, 0), (30, 0), (20, 10)):
        file = tmp_path / f"model{cut}{least}.py"
        file.write_text(MODEL.replace("CUT", str(cut)).replace("LEAST", str(least)))
        packed = pack(load_analysis(str(file), {})[0])
        assert _there(tmp_path, packed) == (sorted(packed.code.parts.values()), f"{{'pt': {cut}.5, 'inner': {cut}.0}}")
        digests.add(packed.code.digest)
    assert len(digests) == 3


def _there(folder, packed):
    """The digests of a packed analysis in another process, and what it counts."""
    words = "import pickle, sys; a = pickle.load(open(sys.argv[1], 'rb'))[0]; print(*sorted(a.code().parts.values()))"
    words += "; print(a.process(None).counters); assert a.code().parts == a.code().parts"
    (folder / "packed").write_bytes(packed.data)
    ended = subprocess.run([sys.executable, "-c", words, str(folder / "packed")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    digests, counters = ended.stdout.splitlines()
    return digests.split(), counters


def test_a_class_that_numba_compiled_is_refused_by_its_line(tmp_path):
    file = tmp_path / "compiled.py"
    file.write_text(JITCLASS)
    line = JITCLASS.splitlines().index("    def __init__(self, x):") + 1
    with pytest.raises(AnalysisError, match=rf"compiled.py:{line}: class Cut, which .*jitclass compiled, cannot be"):
        pack(load_analysis(str(file), {})[0])


HEAD = """
import numba as nb
import numpy as np
from vrecompute import Analysis, Result

CUT = 20.0
"""
PROCESS = """
class Compiled(Analysis):
    name = "compiled"

    def columns(self, source):
        return ["x"]

    def process(self, events):
        return Result(counters={counters})
"""
COMPILED = (
    HEAD
    + """
@nb.vectorize
def vectorized(x):
    return x > CUT

@nb.guvectorize(["void(float64[:], float64[:])"], "(n)->(n)")
def generalized(x, y):
    for i in range(len(x)):
        y[i] = x[i] > CUT - 10

@nb.cfunc("float64(float64)")
def c(x):
    return 2 * x
"""
    + PROCESS.replace(
        "{counters}",
        "{'vectorized': float(vectorized(np.array([15.0, 25.0])).sum()), "
        "'generalized': float(generalized(np.array([15.0, 25.0])).sum()), 'c': c.ctypes(3.0)}",
    )
)
JITCLASS = (
    HEAD
    + """
@nb.experimental.jitclass([("x", nb.float64)])
class Cut:
    def __init__(self, x):
        self.x = x
"""
    + PROCESS.replace("{counters}", "{'x': Cut(3.0).x}")
)
MODEL = """
import pydantic
from vrecompute import Analysis, Result

class Inner(pydantic.BaseModel):
    x: float = CUT.0

class Model(pydantic.BaseModel):
    pt: float = CUT
    inner: Inner = Inner()
    _more: float = pydantic.PrivateAttr(default=0.5)

    @pydantic.field_validator("pt")
    @classmethod
    def positive(cls, value):
        assert value > LEAST
        return value

model = Model(pt=CUT)
model.pt = CUT
""" + PROCESS.replace("{counters}", "{'pt': model.pt + model._more, 'inner': Model().inner.x}")


PACKAGE = {
    "__init__.py": "from .a import *\nfrom .a import t as u\nPT = 4\n",
    "a.py": "def t():\n    return 1\n",
    "b.py": "def s():\n    return 2\n",
    "c/__init__.py": "D = 8\n",
    "c/d.py": "E = 16\n",
}
# What a function imports of a package, and calculates with it.
OF_A_PACKAGE = {
    "names of a package after one of its modules": ("import lent.a", "lent.t() + lent.u() + lent.PT", 6),
    "a module without any use": ("import lent.b", "lent.PT", 4),
    "two modules": ("import lent.a, lent.b", "lent.a.t() + lent.b.s() + lent.PT", 7),
    "a module deeper": ("import lent.c.d", "lent.c.d.E + lent.c.D + lent.PT", 28),
    "under another name": ("import lent.c.d as x", "x.E", 16),
    "both": ("import lent.c.d as x, lent.b", "x.E + lent.c.D + lent.b.s()", 26),
    "in a class": ("class K:\n        import lent.c.d", "K.lent.c.d.E + K.lent.PT", 20),
    "as a whole": ("import lent.c.d", "getattr(lent, 'c').d.E", 16),
}


@pytest.mark.parametrize("way", OF_A_PACKAGE)
def test_a_package_has_its_own_names_where_a_function_imports_a_module_of_it(tmp_path, monkeypatch, way):
    imports, value, right = OF_A_PACKAGE[way]
    for name, text in PACKAGE.items():
        (tmp_path / "lent" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lent" / name).write_text(text)
    (tmp_path / "asks.py").write_text(f"def f(events):\n    {imports}\n    return {value}\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("asks").f
    try:
        data = pack(MapAnalysis(function)).data
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] in ("asks", "lent")]:
            del sys.modules[name]
    code = (
        "import pickle, sys\nanalysis, modules, *_ = pickle.load(sys.stdin.buffer)\n"
        "sys.modules.update({m.__name__: m for m in modules})\nprint(analysis.function(None))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd="/", check=False)
    assert done.stdout.decode().strip() == str(right), done.stderr.decode()
