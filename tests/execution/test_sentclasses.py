"""Classes of the user's are on workers what they are here, wherever they stand and whatever saw them being made."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.loading import load_analysis
from vrecompute.execution.byvalue import pack

CLASSES = """
import abc
import collections
import enum
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypedDict, TypeVar

from vrecompute import Analysis, Result

T = TypeVar("T")


def made():
    class Made:
        cut = 20

        class Within:
            cut = 20

    return Made


Made = made()


class Registers:
    registry = {}
    names = []
    count = 0

    def __init_subclass__(cls, tag, scale=1, **options):
        super().__init_subclass__(**options)
        cls.tag = tag * scale
        Registers.registry[tag] = cls
        Registers.names.append(tag)
        Registers.count += 1


class One(Registers, tag="one"):
    cut = 20


class Two(One, tag="two", scale=2):
    cut = 20


class Meta(type):
    known = []

    def __new__(mcs, name, bases, members, *, needed):
        cls = super().__new__(mcs, name, bases, {**members, "fields": [n for n in members if n.startswith("f_")]})
        Meta.known.append(name)
        return cls

    def __init__(cls, name, bases, members, *, needed):
        super().__init__(name, bases, members)
        cls.needed = needed

    def __len__(cls):
        return len(cls.fields)


class MetaABC(abc.ABCMeta):
    def __new__(mcs, name, bases, members):
        if bases and members["cut"] < 1:
            raise ValueError(name)
        return super().__new__(mcs, name, bases, members)


class Abstract(metaclass=MetaABC):
    @abc.abstractmethod
    def select(self): ...


class Concrete(Abstract):
    cut = 20

    def select(self):
        return self.cut


class Fields(metaclass=Meta, needed=3):
    f_a = 1
    f_b = 2


class Held(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


class Nested(Analysis):
    name = "nested"

    class Cuts:
        cut = 20

        class Deep:
            cut = 20

            def above(self):
                return self.cut + Nested.Cuts.cut

    @dataclass
    class Config:
        cut: int = 20
        more: list = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class Frozen:
        cut: int = 20

    class Refused(Exception):
        def __init__(self, cut):
            super().__init__(cut)
            self.cut = cut

    class Region(enum.Enum):
        SIGNAL = 20

    class Flags(enum.Flag):
        A = 4
        B = 16

    class Pair(NamedTuple):
        cut: int = 20

    Old = collections.namedtuple("Old", ["cut"], defaults=[20])

    class Known(TypedDict):
        cut: int

    class Selects(Protocol):
        def select(self) -> int: ...

    class Of(Held[int]):
        pass

    class Counted(Registers, tag="counted"):
        cut = 20

    given = Cuts.Deep()

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        class Local:
            cut = 20

        try:
            raise self.Refused(20)
        except Nested.Refused as error:
            raised = error.cut
        found = {
            "Made": Made().cut, "Within": Made.Within().cut, "Deep": self.given.above(), "Config": self.Config().cut,
            "Frozen": self.Frozen().cut, "Refused": raised, "Region": self.Region.SIGNAL.value,
            "Flags": (self.Flags.A | self.Flags.B).value, "Pair": self.Pair().cut, "Old": self.Old().cut,
            "Known": self.Known(cut=20)["cut"], "Of": self.Of(20).value, "Local": Local.cut,
            "Registry": sum(each.cut for each in Registers.registry.values()) + Registers.count * 100,
            "Names": len(Registers.names) * 100 + len(One.tag) * 10 + len(Two.tag),
            "Meta": len(Fields) * 100 + Fields.needed * 10 + len(Meta.known), "Concrete": Concrete().select(),
            "Selects": len(self.Selects.__name__),
        }
        return Result(counters=found)
"""
EXPECTED = {"Made": 20, "Within": 20, "Deep": 40, "Config": 20, "Frozen": 20, "Refused": 20, "Region": 20, "Flags": 20}
EXPECTED |= {"Pair": 20, "Old": 20, "Known": 20, "Of": 20, "Local": 20, "Registry": 360, "Names": 336, "Meta": 231}
EXPECTED |= {"Concrete": 20, "Selects": 7}


def written(folder, text=CLASSES):
    file = folder / "nested.py"
    file.write_text(text)
    return str(file)


def test_another_process_has_the_same_classes(tmp_path):
    packed = pack(load_analysis(written(tmp_path), {})[0])
    assert not packed.code.unnamed
    there = pickle.loads(packed.data)[0]
    assert there.code(looks=False).parts == packed.code.parts
    assert there.process(None).counters == EXPECTED
    (tmp_path / "packed").write_bytes(packed.data)
    (tmp_path / "nested.py").unlink()
    words = "import pickle, sys; a = pickle.load(open(sys.argv[1], 'rb'))[0]; print(a.code().parts)"
    words += "; print(a.process(None).counters)"
    ended = subprocess.run([sys.executable, "-c", words, str(tmp_path / "packed")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [str(packed.code.parts), str(EXPECTED)]


PLACES = ["class Cuts:\n        cut = ", "class Deep:\n            cut = ", "class Made:\n        cut = "]
PLACES += ["cut: int = ", "class Frozen:\n        cut: int = ", "SIGNAL = "]
PLACES += ["class Pair(NamedTuple):\n        cut: int = "]
PLACES += ["defaults=[", 'tag="counted"):\n        cut = ', 'class One(Registers, tag="one"):\n    cut = ']
PLACES += ["class Within:\n            cut = ", "class Local:\n            cut = "]


def test_an_edit_of_any_of_them_is_seen(tmp_path):
    digests, counters = set(), set()
    for number, place in enumerate([None, *PLACES]):
        text = CLASSES if place is None else CLASSES.replace(f"{place}20", f"{place}{20 + number}", 1)
        assert (text == CLASSES) is (place is None)
        packed = pack(load_analysis(written(tmp_path, text), {})[0])
        digests.add(packed.code.digest)
        counters.add(str(pickle.loads(packed.data)[0].process(None).counters))
    assert len(digests) == len(counters) == 1 + len(PLACES)


REGISTRY = """
from vrecompute import Analysis, Result


class Base:
    registry = []

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        Base.registry.append(cls)


class A(Base):
    cut = 1


class B(Base):
    cut = 10


class Uses(Analysis):
    name = "uses"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        return Result(counters={"n": NAMED})
"""
BY_NAMES = ["sum(c.cut for c in Base.registry)", "sum(c.cut for c in A.registry)", "sum(c.cut for c in B.registry)"]
BY_NAMES += ["A.cut + sum(c.cut for c in Base.registry) - A.cut", "A.cut + B.cut + 0 * len(Base.registry)"]


@pytest.mark.parametrize("named", BY_NAMES)
def test_a_registry_is_what_it_is_here_by_whatever_name_it_is_reached(tmp_path, named):
    packed = pack(load_analysis(written(tmp_path, REGISTRY.replace("NAMED", named)), {})[0])
    there = pickle.loads(packed.data)[0]
    assert there.code(looks=False).parts == packed.code.parts
    assert there.process(None).counters == {"n": 11}


@pytest.mark.usefixtures("lent_workers")
def test_they_run_live_and_detached(tmp_path):
    file = written(tmp_path)
    events = str(write_events(tmp_path / "e.root", 100, clusters=1))
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        run = client.run(file, events)
        assert run.result(timeout_s=120)["events"].counters == EXPECTED
        assert client.submit(file, events, reuse=False).result(timeout_s=120)["events"].counters == EXPECTED
        assert client.run(file, events).wait(120).report().chunks.computed == 0
        written(tmp_path, CLASSES.replace("class Deep:\n            cut = 20", "class Deep:\n            cut = 21"))
        assert client.run(file, events).result(timeout_s=120)["events"].counters == EXPECTED | {"Deep": 41}
