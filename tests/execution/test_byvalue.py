"""What is sent to workers by value arrives as what it was."""

from __future__ import annotations

import pickle
import sys

import pytest

from vrecompute.analysis.loading import load_analysis
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
