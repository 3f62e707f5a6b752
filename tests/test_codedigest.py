"""The digest of what will run: changed by every edit that `process` can reach, and by no other (law 3)."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import functools
import json
import linecache
import operator
import os
import pickle
import shutil
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path
from random import Random

import cloudpickle
import numpy as np
import pytest
from numba import njit, vectorize

from tests.edits import REACHED, UNREACHED, apply, write_analysis
from tests.events import write_events
from vrecompute import Analysis, Client, Result, sourcetext
from vrecompute.analysis import codedigest
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.loading import load_analysis
from vrecompute.analysis.machinery import machinery
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import Incomplete
from vrecompute.execution.byvalue import pack
from vrecompute.execution.plan import Plan
from vrecompute.execution.pool import _Shared
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.execution.task import TaskContext, compute
from vrecompute.kernels.eventloop import EventLoop

pytestmark = pytest.mark.usefixtures("lent_workers")

CHUNK_BYTES = 3400


@pytest.mark.parametrize("kinds", [REACHED, UNREACHED], ids=["reached", "unreached"])
def test_an_edit_changes_the_digest_exactly_where_process_can_reach_it(tmp_path, kinds, examples):
    random = Random(1)
    file = write_analysis(tmp_path)
    known = load_analysis(str(file), {})[0].code()
    assert not known.unnamed
    for number in range(examples(600)):
        kind = kinds[number % len(kinds)]
        file = apply(file.parent, kind, random)
        code = load_analysis(str(file), {})[0].code()
        assert not code.unnamed
        assert bool(difference(known.parts, code.parts)) == (kinds is REACHED), kind
        assert (known.digest == code.digest) == (kinds is UNREACHED), kind
        known = code


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=2, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 400, clusters=4))


def finished(client, analysis, events, store=None, **options):
    """Result bytes and chunks of a run in a store of its own, or the client's."""
    client._store_given = store or client._store_given
    run = client.run(analysis, events, chunk_bytes=CHUNK_BYTES, task_chunks=1, **options)
    return run.result(timeout_s=120).to_bytes(), run.report().chunks


def test_runs_in_one_store_give_the_numbers_of_a_fresh_one_whatever_is_edited_between(
    client, events, tmp_path, examples
):
    random = Random(2)
    file = write_analysis(tmp_path / "a")
    kept = tmp_path / "kept"
    before, chunks = finished(client, str(file), events, kept)
    assert chunks.computed == chunks.total > 1
    for number in range(examples(200)):
        kind = random.choice(REACHED if number % 2 else UNREACHED)
        file = apply(file.parent, kind, random)
        bytes_now, chunks = finished(client, str(file), events, kept)
        if kind in UNREACHED:
            assert (chunks.reused, chunks.computed, bytes_now) == (chunks.total, 0, before), kind
        else:
            assert (chunks.reused, chunks.computed) == (0, chunks.total), kind
            assert bytes_now == finished(client, str(file), events, tmp_path / f"fresh{number}")[0], kind
        before = bytes_now


SCRIPT = """
import sys
import numpy as np
from vrecompute.analysis import codedigest
from vrecompute.analysis import coderange
from vrecompute import Analysis, Client, Result, sourcetext

PT_MIN_GEV = 20.0

def select(pt):
    return pt > PT_MIN_GEV

class Muons(Analysis):
    name = "muons"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters={"selected": int(np.sum(select(events.flat("Muon_pt"))))})

if __name__ == "__main__":
    with Client(workers=1, threads=1, store=sys.argv[1]) as client:
        for cut in map(float, sys.argv[3:]):
            PT_MIN_GEV = cut or PT_MIN_GEV
            run = client.run(Muons, sys.argv[2])
            print(run.result()["events"].counters["selected"], run.report().chunks.reused)
"""


def lines_of(script: Path, *arguments: object) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_a_script_that_was_edited_is_computed_anew_and_so_is_a_constant_that_it_changes(tmp_path, events):
    import uproot

    pt = uproot.concatenate(f"{events}:Events", ["Muon_pt"], library="np")["Muon_pt"]
    truth = {cut: sum(int((each > cut).sum()) for each in pt) for cut in (20.0, 40.0, 60.0)}
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    assert lines_of(script, tmp_path / "s", events, 0, 60) == [f"{truth[20.0]} 0", f"{truth[60.0]} 0"]
    script.write_text(SCRIPT.replace("20.0", "40.0"))
    assert lines_of(script, tmp_path / "s", events, 0, 20) == [f"{truth[40.0]} 0", f"{truth[20.0]} 1"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes the text of the user's module `held`, and one that imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str):
        (tmp_path / "held.py").write_text(text)
        sys.modules.pop("held", None)
        import held

        return held

    yield write
    sys.modules.pop("held", None)


HELD = """
import numpy as np
from vrecompute import Analysis, Result

class Muons(Analysis):
    name = "muons"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters={"selected": int(np.sum(events.flat("Muon_pt") > 20.0))})
"""


def test_what_is_loaded_counts_and_not_what_its_file_says_by_now(client, events, module, tmp_path):
    store = tmp_path / "store"
    held = module(HELD)
    old, _ = finished(client, held.Muons, events, store)
    Path(held.__file__).write_text(HELD.replace("20.0", "40.0"))
    assert finished(client, held.Muons, events, store)[0] == old
    chunks = finished(client, held.Muons, events, store)[1]
    assert chunks.reused == chunks.total
    import importlib

    importlib.reload(held)
    new, chunks = finished(client, held.Muons, events, store)
    assert chunks.reused == 0
    assert new != old
    assert new == finished(client, module(HELD.replace("20.0", "40.0")).Muons, events, tmp_path / "fresh")[0]


def test_a_module_edited_before_it_was_ever_run_runs_as_loaded_and_is_not_reused(client, events, module, tmp_path):
    held = module(HELD)
    Path(held.__file__).write_text(HELD.replace("20.0", "40.0"))
    run = client.run(held.Muons, events)
    selected = run.result(timeout_s=60)["events"].counters["selected"]
    assert selected == client.run(module(HELD).Muons, events).result(timeout_s=60)["events"].counters["selected"]
    (warning,) = run.report().warnings
    assert "held: Muons.process() differs from" in warning
    assert "held.py, which was edited since: reload its module" in warning


def test_a_worker_with_other_code_refuses_it_by_name(client, events, tmp_path, monkeypatch):
    """The Runner says that its reader is another one than the workers'."""
    file = str(write_analysis(tmp_path / "mine"))
    analysis = load_analysis(file, {})[0]
    other = {**machinery(), "vrecompute.reader": "0" * 64}
    dataset = resolve(events)
    samples, views = {s.name: s for s in dataset.samples}, {s.name: s.process_view() for s in dataset.samples}
    first = PreflightContext(analysis, samples, views, "w", CHUNK_BYTES, str(tmp_path / "a"), analysis.code().parts)
    plan = Plan.of("w", dataset.samples, preflight(first, dataset.sources), CHUNK_BYTES)
    order = TaskContext(plan, analysis, str(tmp_path / "a"), code=analysis.code().parts)
    assert compute(order, 0, 1).failures == ()
    (failure,) = compute(replace(order, code={**order.code, **other}), 0, 1).failures
    assert failure.kind == "environment"
    assert "has different code of vrecompute.reader; results of different versions are never mixed" in failure.reason

    client._store_given = tmp_path / "b"
    monkeypatch.setattr(codedigest, "machinery", lambda: other)
    run = client.run(file, events)
    with pytest.raises(Incomplete, match=r"a worker on .* has different code of vrecompute\.reader"):
        run.result(timeout_s=120)
    assert not list((tmp_path / "b").glob("work/*/parts/*"))
    assert not list((tmp_path / "b").glob("sources/*"))


THRESHOLD = 20.0


def threshold(pt):
    return pt > THRESHOLD


@njit
def compiled(pt):
    return pt > THRESHOLD


@vectorize
def elementwise(pt):
    return pt > THRESHOLD


@dataclasses.dataclass(frozen=True)
class Cut:
    function: typing.Any
    least: float = 1.0
    names: list[str] = dataclasses.field(default_factory=list)


class Pair(typing.NamedTuple):
    function: typing.Any


class Kind(enum.Enum):
    FIRST = 1


Point = collections.namedtuple("Point", "x")


@contextlib.contextmanager
def around():
    yield THRESHOLD


@functools.singledispatch
def general(pt):
    return pt > THRESHOLD


@functools.cache
def cached(pt):
    return pt > THRESHOLD


class Lazy:
    @functools.cached_property
    def cut(self):
        return THRESHOLD

    def method(self):
        return THRESHOLD


HOLDERS = {
    "dict": {"f": threshold},
    "partial": functools.partial(threshold),
    "dataclass": Cut(threshold),
    "named tuple": Pair(threshold),
    "numba": compiled,
    "numba.vectorize": elementwise,
    "numpy.vectorize": np.vectorize(threshold),
    "context manager": around,
    "single dispatch": general,
    "cache": cached,
    "cached property": Lazy(),
    "method": Lazy().method,
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_functions_are_found_in_whatever_holds_them(kind, monkeypatch):
    held = HOLDERS[kind]

    def process(events):
        return held

    before = code_of(process)
    assert not before.unnamed
    assert code_of(process).digest == before.digest
    monkeypatch.setitem(globals(), "THRESHOLD", 30.0)
    assert difference(before.parts, code_of(process).parts) == [f"{__name__}: THRESHOLD"]


@pytest.mark.parametrize("value", [Kind.FIRST, Point(1), np.float64(2), {"b", "a"}, slice(1), np.dtype("f4"), np.add])
def test_data_has_a_name_of_its_own_in_the_digest(value):
    assert not code_of(lambda: value).unnamed


def test_a_class_within_a_function_and_a_function_within_a_class_reach_globals(monkeypatch):
    def process():
        class Inner:
            cut = THRESHOLD

        return Inner

    before = code_of(process).digest
    monkeypatch.setitem(globals(), "THRESHOLD", 31.0)
    assert code_of(process).digest != before


def test_several_lambdas_on_a_line_are_told_apart():
    first, second, same = (lambda x: x + 1), (lambda x: x + 2), (lambda x: x + 1)
    assert code_of(first).digest == code_of(same).digest != code_of(second).digest


@pytest.mark.parametrize(
    ("what", "reason"), [(sys.stdout, "has no content"), (np.frompyfunc(lambda x: x, 1, 1), "is compiled")]
)
def test_what_cannot_be_digested_makes_the_code_unique(what, reason):
    code = code_of(lambda: what)
    assert reason in code.unnamed[0]
    assert code_of(lambda: what).digest != code.digest


class Scaled(Analysis):
    name = "scaled"

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def process(self, events):
        return Result(counters={"n": self.factor * len(events)})


def test_what_an_instance_was_given_counts():
    digests = {Scaled(factor).code().digest for factor in (1.0, 2.0)}
    assert len(digests) == 2
    assert Scaled(2.0).code().digest in digests


def test_distributions_that_are_reached_are_found_without_being_declared():
    def process(events):
        import awkward as ak

        return operator.add(ak.num(events), np.ones(1))

    assert {"awkward", "numpy"} <= set(code_of(process).distributions)


def in_another_process(code: str, python: str = sys.executable, **environment: str) -> str:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"], **environment}
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=env).stdout


def test_an_event_loop_without_a_file_travels_with_its_source(tmp_path):
    """As one of a notebook's cell: the worker has neither the file nor the cell."""
    text = (
        "import numpy as np\nfrom vrecompute.kernels.eventloop import EventLoop\n"
        "loop = EventLoop(pt=np.linspace(0.0, 400.0, 11))\nCUT_GEV = 20.0\n"
        "def hard(muon, i):\n    return muon.pt[i] > CUT_GEV\n"
        "@loop.step\ndef fill(muon, pt):\n    if hard(muon, 0):\n        pt.fill(muon.pt[0], 1.0)\n"
    )
    linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(keepends=True), "<cell 1>")
    space: dict = {"__name__": "__main__"}
    exec(compile(text, "<cell 1>", "exec"), space)
    loop: EventLoop = space["loop"]

    def process(events):
        return loop

    packed = pack(MapAnalysis(process))
    (tmp_path / "packed").write_bytes(packed.data)
    there = in_another_process(
        f"import cloudpickle; a, *_ = cloudpickle.loads(open({str(tmp_path / 'packed')!r}, 'rb').read())\n"
        "print(a.code().digest, hash(a.function(None).source()) != 0, a.function.__code__.co_filename)"
    )
    assert there.split() == [packed.code.digest, "True", __file__]
    assert cloudpickle.loads(packed.data)[0].function(None).source() == loop.source()


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_every_python_reads_the_same_from_a_text(minor, tmp_path):
    """What is taken from source depends on no bytecode: an interpreter without our libraries suffices to see it."""
    built = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    python = str(built[-1]) if built else shutil.which(f"python3.{minor}")
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} here")
    script = tmp_path / "read.py"
    script.write_text(READ)
    folder = str(Path(sourcetext.__file__).parent)
    theirs = subprocess.check_output([python, "-I", str(script), folder], text=True)
    assert theirs == subprocess.check_output([sys.executable, "-I", str(script), folder], text=True)
    assert theirs.count("\n") == 9


READ = '''
import functools, hashlib, sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import sourcetext


def decorate(f):
    @functools.wraps(f)
    def inner(*a, **k):
        """doc"""
        return f(*a, **k)
    return inner


first, second, third = (lambda x: x + 1), (lambda x: x + 2), (lambda: (lambda y: None))


@decorate
def long(x, *, y: int = 3):
    """doc"""
    class K:
        z = y
    def h(): return f"{x!r:>{y}} {y=}" f"a{y}" "b" f'{"q"}' f"{{}}"
    return [h() for _ in range(3) if x in {1, 2}], lambda: None, {**{}}


async def co(x):
    async with x as (a, b): pass
    match x:
        case [1, *r] if r: return r
    try: pass
    except* ValueError: pass
    return (z := x)


class C:
    @property
    def m(self): return 1 if self else 2.5
    @staticmethod
    def st(): return -1, 1e300, 2j, b"x", ..., "é", None, True


for f in (first, second, third, third(), long, long.__wrapped__, long.__wrapped__(1)[1], C.m.fget, co):
    found = sourcetext.find(f.__code__)
    print(f.__code__.co_name, hashlib.sha256(repr(sourcetext.canonical(found.node)).encode()).hexdigest())
    made = sourcetext.rebuilt(found.file, found.text, f.__code__.co_flags, f.__code__.co_name, found.place)
    assert sourcetext.find(made).node is found.node
    assert (made.co_code, made.co_firstlineno) == (f.__code__.co_code, f.__code__.co_firstlineno)
'''


def test_what_dask_copies_from_worker_to_worker_keeps_its_source(tmp_path):
    text = "def process(events):\n    return len(events)\n"
    linecache.cache["<cell 2>"] = (len(text), None, text.splitlines(keepends=True), "<cell 2>")
    space: dict = {"__name__": "__main__"}
    exec(compile(text, "<cell 2>", "exec"), space)
    packed = pack(MapAnalysis(space["process"]))
    bare = cloudpickle.dumps(
        TaskContext(Plan.of("w", (), (), CHUNK_BYTES), None, str(tmp_path), code=packed.code.parts)
    )
    (tmp_path / "shared").write_bytes(pickle.dumps(_Shared(bare, packed.data)))
    path = str(tmp_path / "shared")
    first = f"import pickle; shared = pickle.load(open({path!r}, 'rb')); print(shared.context.other)"
    again = f"; open({path!r}, 'wb').write(pickle.dumps(shared))"
    assert in_another_process(first + again) == "\n"
    assert in_another_process(first) == "\n"


HONEST = """
import functools
import json
import numbers
import sys

from vrecompute import Analysis, Client, Result


class One(Analysis):
    name = "one"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        return Result(counters={"n": int((events.flat("Muon_pt") > self.cut()).sum())})

    def cut(self):
        return 20.0


class Two(Analysis):  # the text of its methods is that of another class
    name = "two"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        return Result(counters={"n": int((events.flat("Muon_pt") > self.cut()).sum())})

    def cut(self):
        return 20.0


class Three(Two):
    name = "three"


@functools.lru_cache(maxsize=3)
def cached(x):
    return 20.0 + x


class Cached(One):
    def cut(self):
        return cached(0)


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


slotted = Slotted(20.0)


class Slots(One):
    def cut(self):
        return slotted.x


@functools.singledispatch
def dispatched(x):
    return x + 100.0


@dispatched.register
def _(x: numbers.Real):  # an abstract class: what functools notes of it differs from process to process
    return 20.0 + x


@dispatched.register
def _(x: list):
    return dispatched(x[0])


class Dispatched(One):
    def cut(self):
        return dispatched([0])


class ByMethod(One):
    @functools.singledispatchmethod
    def of(self, x):
        return x + 100.0

    @of.register
    def _(self, x: int):
        return 20.0 + x

    def cut(self):
        return self.of(0)


view = memoryview(bytes([20]))


class View(One):
    def cut(self):
        return view[0]


with Client(workers=1, store=sys.argv[1]) as client:
    for analysis in (One, Two, Three, Cached, Slots, View, Dispatched, ByMethod):
        print(analysis.__name__, client.run(analysis, sys.argv[2]).result(timeout_s=100).total.counters["n"])
"""


def test_classes_of_one_text_caches_slots_views_and_dispatchers_reach_workers(tmp_path, events):
    (tmp_path / "honest.py").write_text(HONEST)
    words = [sys.executable, str(tmp_path / "honest.py"), str(tmp_path / "store"), events]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    names, numbers = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert names == ("One", "Two", "Three", "Cached", "Slots", "View", "Dispatched", "ByMethod")
    assert len(set(numbers)) == 1


GIVEN = """
import given
from vrecompute import Analysis, Result


class Given(Analysis):
    name = "given"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        return Result(counters={"cut": given.CUT})
"""


def test_what_a_function_of_a_module_gives_counts(client, events, tmp_path):
    (tmp_path / "ana.py").write_text(GIVEN)
    for cut in (20.0, 30.0):
        (tmp_path / "given.py").write_text(
            f"def __getattr__(name):\n    if name != 'CUT':\n        raise AttributeError(name)\n    return {cut}\n"
        )
        run = client.run(str(tmp_path / "ana.py"), events)
        assert run.report(timeout_s=120).status == "complete", run.report().failures
        assert run.report().chunks.reused == 0
        assert run.result().total.counters["cut"] == cut * run.report().chunks.total


WRITTEN = '''
"""20.0"""
import inspect
import typing
from dataclasses import dataclass

from vrecompute import Analysis, Result

CUT = 20.0
T = typing.TypeVar("T")


class Cuts:
    pt: typing.Annotated[float, 20.0]  # CLASS


class Pair(typing.NamedTuple):
    pt: typing.Annotated[float, 20.0]  # TUPLE


@dataclass
class Table:
    """20.0"""

    pt: typing.Literal["20.0"]  # FIELD


def given(pt: typing.Annotated[float, 20.0]) -> None:  # ARGUMENT
    """20.0"""
    # 20.0


def named(pt: typing.Annotated[float, CUT]) -> list[int] | None:
    """Nothing."""


def quoted(pt: "typing.Annotated[float, 20.0]") -> T:  # TEXT
    pass


class A(Analysis):
    name = "a"

    def columns(self, source):
        return ["run"]

    def process(self, events):
        return Result(counters={"cut": float(VALUE)})
'''
OF_TEXT = [
    ("Cuts.__annotations__['pt'].__metadata__[0]", "20.0]  # CLASS"),
    ("typing.get_type_hints(Pair, include_extras=True)['pt'].__metadata__[0]", "20.0]  # TUPLE"),
    ("Table.__dataclass_fields__['pt'].type.__args__[0]", '20.0"]  # FIELD'),
    ("given.__annotations__['pt'].__metadata__[0]", "20.0]) -> None:  # ARGUMENT"),
    ("named.__annotations__['pt'].__metadata__[0]", "CUT = 20.0"),
    ("quoted.__annotations__['pt'].split()[1].strip(']')", '20.0]") -> T:  # TEXT'),
    ("given.__doc__", '"""20.0"""\n    #'),
    ("Table.__doc__", '"""20.0"""\n\n    pt'),
    ("getattr(given, '__doc__')", '"""20.0"""\n    #'),
    ("inspect.getdoc(given)", '"""20.0"""\n    #'),
    ("__doc__", '"""20.0"""\nimport'),
    ("inspect.getsource(given).split()[-1]", "# 20.0\n"),
]


@pytest.mark.parametrize(("value", "place"), OF_TEXT)
def test_what_is_written_for_readers_counts_where_code_reads_it(tmp_path, value, place):
    parts = []
    for number in ("20.0", "30.0"):
        text = WRITTEN.replace("VALUE", value).replace(place, place.replace("20.0", number))
        (tmp_path / "a.py").write_text(text)
        analysis, _ = load_analysis(str(tmp_path / "a.py"), {})
        assert analysis.process(None).counters["cut"] == float(number)
        code = analysis.code()
        assert not code.unnamed
        parts.append(code.parts)
    assert parts[0] != parts[1]


@pytest.mark.parametrize("value", [value for value, _ in OF_TEXT])
def test_workers_find_the_same_of_what_is_written_for_readers(tmp_path, value):
    (tmp_path / "a.py").write_text(WRITTEN.replace("VALUE", value))
    analysis, _ = load_analysis(str(tmp_path / "a.py"), {})
    packed = pack(analysis)
    command = (
        "import cloudpickle, json, sys; a, *_ = cloudpickle.load(sys.stdin.buffer); print(json.dumps(a.code().parts))"
    )
    found = subprocess.run([sys.executable, "-c", command], input=packed.data, capture_output=True, check=True)
    assert difference(packed.code.parts, json.loads(found.stdout)) == []


def test_docstrings_and_comments_that_no_code_reads_do_not_count(tmp_path):
    digests = set()
    for number in ("20.0", "30.0"):
        text = WRITTEN.replace("VALUE", "(given, Table, named, quoted) and CUT")
        for place in ('"""20.0"""\n    #', '"""20.0"""\n\n    pt', '"""20.0"""\nimport', "# 20.0\n"):
            text = text.replace(place, place.replace("20.0", number))
        (tmp_path / "a.py").write_text(text)
        digests.add(load_analysis(str(tmp_path / "a.py"), {})[0].code().digest)
    assert len(digests) == 1
