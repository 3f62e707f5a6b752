"""Whatever keeps what the first chunk decides: no complete number depends on workers or the order of chunks."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import uproot

from tests.execution.test_purity import context, opened
from vrecompute.execution.purity import Purity
from vrecompute.execution.task import compute

CHUNKS, EACH = 8, 1000

# Each is `keep(x)`, which gives `{make}` of the values that it gets first, and what it says before that.
HOLDERS = {
    "attribute": ("", "if not hasattr(self, 'own'): self.own = {make}", "self.own"),
    "class attribute": ("", "Counter.kept = {make} if Counter.kept is None else Counter.kept", "Counter.kept"),
    "module global": ("held = None", "global held; held = {make} if held is None else held", "held"),
    "dict of the module": ("held = {{}}", "held.setdefault('v', {make})", "held['v']"),
    "default argument": ("", "_kept or _kept.append({make})", "_kept[0]"),
    "closure": (
        "def made(v):\n    return lambda x: [v or v.append({make}), v[0]][1]\n\nkeep = made([])",
        "kept = keep(x)",
        "kept",
    ),
    "function attribute": (
        "def keep(x):\n    keep.v = getattr(keep, 'v', None) or {make}\n    return keep.v",
        "kept = keep(x)",
        "kept",
    ),
    "module beside the file": ("import beside", "kept = beside.keep(x)", "kept"),
    "module that process imports": ("", "import beside; kept = beside.keep(x)", "kept"),
    "lru_cache": ("@functools.lru_cache\ndef held(): return {{}}", "held().setdefault('v', {make})", "held()['v']"),
}
BESIDE = """
import numpy as np

v = []


def keep(x):
    v or v.append({make})
    return v[0]
"""
# What is decided, and whether it is the same whichever chunk comes first.
DECIDED = {
    "float(x.mean())": False,
    "float(np.log1p(np.arange(1000)).sum())": True,
}
TEXT = """
{before}

class Counter(Base):
    kept = None

    def process(self, events, _kept=[]):
        x = events.flat("x")
        {keep}
        return Result(counters={{"n": int((x > {kept}).sum()), "events": len(x)}})
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "a.root"
    values = np.random.default_rng(7).permutation(CHUNKS * EACH).astype(float)
    with uproot.recreate(path, compression=None) as made:
        made.mktree("Events", {"x": "float64"})
        for chunk in np.split(np.sort(values.reshape(CHUNKS, EACH), axis=0), CHUNKS):
            made["Events"].extend({"x": chunk.reshape(-1)})
    return path


@pytest.mark.parametrize("decided", DECIDED)
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_number_depends_on_which_chunk_came_first(file, tmp_path, holder, decided):
    folder, numbers = tmp_path, (5, 2, 0)
    before, keep, kept = (each.format(make=decided) for each in HOLDERS[holder])
    (folder / "beside.py").write_text(BESIDE.format(make=decided))
    sys.modules.pop("beside", None)  # of the example before, whose workers were this process too
    order = context(file, folder, textwrap.dedent(TEXT).format(before=before, keep=keep, kept=kept))
    got = {}
    for number in numbers:  # by one worker, in this order
        report = compute(order, number, number + 1)
        if report.failures:
            assert not DECIDED[decided]
            assert "each worker has its own first chunk" in report.failures[0].reason
            break
        got[number] = report.part  # whose name is of its content
    assert len(got) == len(numbers) or not DECIDED[decided]
    for number, part in got.items():
        assert compute(another_worker(order), number, number + 1).part == part


def another_worker(order):
    """What it is sent."""
    return replace(order, analysis=opened(order.sent), purity=Purity())
