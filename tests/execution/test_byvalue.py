"""What is sent to workers by value arrives as what it was."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from vrecompute.analysis.loading import load_analysis
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
