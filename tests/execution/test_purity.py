"""`process` gives for a chunk what its events say, whatever its worker did before; where not, the run says by what."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
import uproot

from vrecompute.analysis.loading import load_analysis
from vrecompute.datasets.catalogue import resolve
from vrecompute.execution.anew import Sent
from vrecompute.execution.byvalue import pack
from vrecompute.execution.parts import impurity_of
from vrecompute.execution.plan import Plan
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.execution.task import TaskContext, compute
from vrecompute.stores.address import open_store

CHUNKS, EACH, CHUNK_BYTES = 8, 1000, 9000
HEAD = """
import functools
import random

import boost_histogram as bh
import numba
import numpy as np

from vrecompute import Analysis, Array, Parameter, Result


def fresh():
    return bh.Histogram(bh.axis.Regular(8, 0, 8000))


class Base(Analysis):
    name = "counter"

    def columns(self, source):
        return ["x"]


"""
IMPURE = {
    "a histogram of the module": (
        "h",
        """
        h = fresh()

        class Counter(Base):
            def process(self, events):
                h.fill(events.flat("x"))
                return Result(histograms={"h": h})
        """,
    ),
    "a histogram of the instance": (
        "Counter.h",
        """
        class Counter(Base):
            def process(self, events):
                if not hasattr(self, "h"):
                    self.h = fresh()
                self.h.fill(events.flat("x"))
                return Result(histograms={"h": self.h.copy()})
        """,
    ),
    "an attribute of the class": (
        "Counter.seen",
        """
        class Counter(Base):
            seen = 0

            def process(self, events):
                Counter.seen += len(events)
                return Result(counters={"n": Counter.seen})
        """,
    ),
    "an attribute of a helper class": (
        "Book",
        """
        class Book:
            seen = {}

        class Counter(Base):
            def process(self, events):
                Book.seen["n"] = Book.seen.get("n", 0) + len(events)
                return Result(counters=dict(Book.seen))
        """,
    ),
    "a number of the module": (
        "total",
        """
        total = 0

        class Counter(Base):
            def process(self, events):
                global total
                total += len(events)
                return Result(counters={"n": total})
        """,
    ),
    "a number that the module gets later": (
        "total",
        """
        class Counter(Base):
            def process(self, events):
                global total
                try:
                    total += len(events)
                except NameError:
                    total = len(events)
                return Result(counters={"n": total})
        """,
    ),
    "a default argument": (
        "Counter.process",
        """
        class Counter(Base):
            def process(self, events, seen=[]):
                seen.append(len(events))
                return Result(counters={"n": sum(seen)})
        """,
    ),
    "a closure": (
        "count",
        """
        def counting():
            seen = 0

            def count(n):
                nonlocal seen
                seen += n
                return seen

            return count

        count = counting()

        class Counter(Base):
            def process(self, events):
                return Result(counters={"n": count(len(events))})
        """,
    ),
    "an attribute of a function": (
        "count",
        """
        def count(n):
            count.seen = getattr(count, "seen", 0) + n
            return count.seen

        class Counter(Base):
            def process(self, events):
                return Result(counters={"n": count(len(events))})
        """,
    ),
    "an array that compiled code fills": (
        "sums",
        """
        sums = np.zeros(8)

        @numba.njit
        def fill(x, sums):
            for each in x:
                sums[int(each) // 1000] += 1.0

        class Counter(Base):
            def process(self, events):
                fill(events.flat("x"), sums)
                return Result(arrays={"sums": Array(sums.copy())})
        """,
    ),
    "events that were seen": (
        "seen",
        """
        seen = set()

        class Counter(Base):
            def process(self, events):
                new = [e for e in (events.flat("x") % 500).tolist() if not (e in seen or seen.add(e))]
                return Result(counters={"n": len(new)})
        """,
    ),
    "a scale that grows": (
        "Counter.largest",
        """
        class Counter(Base):
            largest = 0.0

            def process(self, events):
                self.largest = max(self.largest, float(events.flat("x").max()))
                return Result(counters={"n": float((events.flat("x") / self.largest).sum())})
        """,
    ),
    "the chunk before": (
        "Counter.last",
        """
        class Counter(Base):
            last = -1.0

            def process(self, events):
                gap, self.last = float(events.flat("x")[0]) - self.last, float(events.flat("x")[-1])
                return Result(counters={"gap": gap})
        """,
    ),
    "a generator of the module": (
        "rng",
        """
        rng = np.random.default_rng(1)

        class Counter(Base):
            def process(self, events):
                return Result(counters={"x": float((events.flat("x") + rng.normal(size=len(events))).sum())})
        """,
    ),
    "an object that holds it": (
        "book",
        """
        class Book:
            def __init__(self):
                self.pages = {"h": [fresh()]}

            def fill(self, x):
                return self.pages["h"][0].fill(x)

        book = Book()

        class Counter(Base):
            def process(self, events):
                return Result(histograms={"h": book.fill(events.flat("x"))})
        """,
    ),
    "a parameter": (
        "its parameters",
        """
        class Counter(Base):
            parameters = (Parameter("n", 0.0, "where it begins"),)

            def process(self, events):
                self.values["n"] += len(events)
                return Result(counters={"n": self["n"]})
        """,
    ),
    "a histogram of drawn numbers": (
        "h",
        """
        h = fresh()

        class Counter(Base):
            def process(self, events):
                h.fill(events.flat("x") + np.random.normal(size=len(events)))
                return Result(histograms={"h": h.copy()})
        """,
    ),
    "rows of a table": (
        "rows",
        """
        rows = []

        class Counter(Base):
            def process(self, events):
                rows.extend(events.flat("x")[:3].tolist())
                return Result(tables={"t": {"x": np.array(rows)}})
        """,
    ),
    "what is emptied and filled again, and returned itself": (
        "h",
        """
        h = fresh()

        class Counter(Base):
            def process(self, events):
                h.reset()
                h.fill(events.flat("x"))
                return Result(histograms={"h": h})
        """,
    ),
    "an array that is filled again, and returned itself": (
        "Counter.sums",
        """
        class Counter(Base):
            sums = np.zeros(1)

            def process(self, events):
                self.sums[:] = events.flat("x").sum()
                return Result(arrays={"sums": Array(self.sums)})
        """,
    ),
}
FIRST_WINS = {
    "an attribute": (
        "Counter.mean",
        """
        class Counter(Base):
            mean = None

            def process(self, events):
                x = events.flat("x")
                if self.mean is None:
                    self.mean = float(x.mean())
                return Result(counters={"n": int((x > self.mean).sum())})
        """,
    ),
    "edges that are made when they lack": (
        "Counter.q",
        """
        class Counter(Base):
            def process(self, events):
                x = events.flat("x")
                if not hasattr(self, "q"):
                    self.q = np.quantile(x, [0, 0.3, 1])
                return Result(arrays={"n": Array(np.histogram(x, self.q)[0], "sum")})
        """,
    ),
    "a dict of the class": (
        "Counter",
        """
        class Counter(Base):
            kept = {}

            def process(self, events):
                x = events.flat("x")
                return Result(counters={"n": int((x > self.kept.setdefault("mean", float(x.mean()))).sum())})
        """,
    ),
    "who saw an event first": (
        "seen",
        """
        seen = {}

        class Counter(Base):
            def process(self, events):
                x = events.flat("x")
                me = float(x[0])
                return Result(counters={"n": sum(seen.setdefault(int(each) % 10, me) == me for each in x)})
        """,
    ),
    "a default argument": (
        "Counter.process",
        """
        class Counter(Base):
            def process(self, events, kept=[]):
                x = events.flat("x")
                kept or kept.append(float(x.mean()))
                return Result(counters={"n": int((x > kept[0]).sum())})
        """,
    ),
    "a closure": (
        "above",
        """
        def made():
            mean = None

            def above(x):
                nonlocal mean
                mean = float(x.mean()) if mean is None else mean
                return int((x > mean).sum())

            return above

        above = made()

        class Counter(Base):
            def process(self, events):
                return Result(counters={"n": above(events.flat("x"))})
        """,
    ),
    "an attribute of a function": (
        "above",
        """
        def above(x):
            if not hasattr(above, "mean"):
                above.mean = float(x.mean())
            return int((x > above.mean).sum())

        class Counter(Base):
            def process(self, events):
                return Result(counters={"n": above(events.flat("x"))})
        """,
    ),
    "a dict that lru_cache keeps": (
        "what kept keeps between calls",
        """
        @functools.lru_cache
        def kept():
            return {}

        class Counter(Base):
            def process(self, events):
                x = events.flat("x")
                return Result(counters={"n": int((x > kept().setdefault("mean", float(x.mean()))).sum())})
        """,
    ),
    "the first argument that lru_cache takes for all others": (
        "what mean keeps between calls",
        """
        class Same:
            def __init__(self, x):
                self.x = x

            def __hash__(self):
                return 1

            def __eq__(self, other):
                return True

        @functools.cache
        def mean(same):
            return float(same.x.mean())

        class Counter(Base):
            def process(self, events):
                x = events.flat("x")
                return Result(counters={"n": int((x > mean(Same(x))).sum())})
        """,
    ),
    "a cached property": (
        "Counter.mean",
        """
        class Counter(Base):
            @functools.cached_property
            def mean(self):
                return float(self.x.mean())

            def process(self, events):
                self.x = events.flat("x")
                n = int((self.x > self.mean).sum())
                del self.x
                return Result(counters={"n": n})
        """,
    ),
    "a number that numba compiles in": (
        "limit",
        """
        limit = -1.0

        @numba.njit
        def above(x):
            return (x > limit).sum()

        class Counter(Base):
            def process(self, events):
                global limit
                x = events.flat("x")
                limit = float(x.mean()) if limit < 0 else limit
                return Result(counters={"n": int(above(x))})
        """,
    ),
    "a module beside the file": (
        "mean",
        """
        import kept

        class Counter(Base):
            def process(self, events):
                return Result(counters={"n": kept.above(events.flat("x"))})
        """,
    ),
    "a module that process imports": (
        "mean",
        """
        class Counter(Base):
            def process(self, events):
                import kept

                return Result(counters={"n": kept.above(events.flat("x"))})
        """,
    ),
}
BESIDE = """
mean = None


def above(x):
    global mean
    mean = float(x.mean()) if mean is None else mean
    return int((x > mean).sum())
"""
PURE = {
    "nothing": """
        class Counter(Base):
            def process(self, events):
                return Result(histograms={"h": fresh().fill(events.flat("x"))})
        """,
    "caches": """
        edges = {}
        largest = None

        @functools.lru_cache
        def cached(n):
            return n + 1

        class Counter(Base):
            calls = 0

            @functools.cached_property
            def table(self):
                return np.arange(10)

            def process(self, events):
                global largest
                largest = np.arange(100)
                Counter.calls += 1
                key = int(events.flat("x")[0])
                if key not in edges:
                    edges[key] = len(events)
                return Result(counters={"n": float(edges[key] + cached(len(events)) + self.table.sum())})
        """,
    "a buffer that is filled again": """
        buffer = np.zeros(10_000)

        class Counter(Base):
            def process(self, events):
                buffer[: len(events)] = events.flat("x") * 2
                return Result(arrays={"sum": Array(buffer[: len(events)].sum(keepdims=True))})
        """,
    "events changed in place": """
        cache = {}

        class Counter(Base):
            def process(self, events):
                x = events.flat("x")
                x += 1
                cache[float(x[0])] = 1
                return Result(counters={"x": float(x.sum())})
        """,
    "generators that the process shares": """
        cache = {}

        class Counter(Base):
            def process(self, events):
                cache[int(events.flat("x")[0])] = 1
                return Result(counters={"x": random.random() + np.random.normal()})
        """,
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "a.root"
    with uproot.recreate(path, compression=None) as made:
        made.mktree("Events", {"x": "float64"})
        for chunk in np.split(np.arange(CHUNKS * EACH, dtype=float), CHUNKS):
            made["Events"].extend({"x": chunk})
    return path


def context(file, folder, text) -> TaskContext:
    script = folder / "counter.py"
    script.write_text(HEAD + textwrap.dedent(text))
    (folder / "kept.py").write_text(BESIDE)
    analysis, _ = load_analysis(f"{script}:Counter", {})
    dataset = resolve([str(file)])
    views, samples = {s.name: s.process_view() for s in dataset.samples}, {s.name: s for s in dataset.samples}
    sources = preflight(PreflightContext(analysis, samples, views, "w", CHUNK_BYTES, str(folder)), dataset.sources)
    plan = Plan.of("w", dataset.samples, sources, CHUNK_BYTES)
    assert plan.chunks == CHUNKS
    packed = pack(analysis)
    sent = Sent(packed.data)
    return TaskContext(plan, opened(sent), str(folder), code=packed.code.parts, sent=sent)


def opened(sent):
    """The analysis that came to a worker, which finds its modules by name."""
    found = sent.opened()
    sys.modules.update({module.__name__: module for module in found.modules})
    return found.analysis


@pytest.mark.parametrize("kind", IMPURE)
def test_what_depends_on_chunks_before_is_an_error_that_names_what_changed(file, tmp_path, kind):
    name, text = IMPURE[kind]
    made = compute(context(file, tmp_path, text), 0, CHUNKS)
    (failure,) = made.failures
    assert failure.kind == "code"
    assert name in failure.reason
    assert "inside process, for each chunk" in failure.reason
    assert len(made.done) <= 1


@pytest.mark.parametrize("kind", FIRST_WINS)
def test_what_the_first_chunk_decides_for_others_is_an_error_that_names_what_keeps_it(file, tmp_path, kind):
    name, text = FIRST_WINS[kind]
    made = compute(context(file, tmp_path, text), 0, CHUNKS)
    (failure,) = made.failures
    assert failure.kind == "code"
    assert name in failure.reason
    assert "each worker has its own first chunk" in failure.reason
    assert made.done == (0,)
    assert impurity_of(open_store(str(tmp_path)), "w") == failure.reason


@pytest.mark.parametrize("kind", PURE)
def test_what_is_kept_without_a_difference_is_no_error(file, tmp_path, kind):
    made = compute(context(file, tmp_path, PURE[kind]), 0, CHUNKS)
    assert not made.failures
    assert len(made.done) == CHUNKS
