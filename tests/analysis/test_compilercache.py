"""numba's `cache=True` in an analysis file, or in a module beside it: never a number of other text, never a crash."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import uproot

from vrecompute import Client

pytestmark = pytest.mark.usefixtures("lent_workers")

KERNELS = """
import numba

from cuts import CUT


@numba.vectorize(["float64(float64)"], cache=True)
def each(x):
    return 1.0 if x > CUT else 0.0


@numba.guvectorize(["(float64[:], float64[:])"], "(n)->()", cache=True)
def generalised(x, out):
    out[0] = 0
    for y in x:
        out[0] += y > CUT


@numba.njit("int64(float64[:])", cache=True)
def typed(x):
    return (x > CUT).sum()


@numba.njit(cache=True)
def lazy(x):
    return (x > CUT).sum()


ABOVE = lazy(__import__("numpy").arange(100.0))
"""

ANALYSIS = """
import numpy as np

from vrecompute import Analysis, Result


class Above(Analysis):
    name = "above"

    def columns(self, source):
        return ["met"]

    def process(self, events):
        @numba.njit("int64(float64[:])", cache=True)
        def inner(x):
            return (x > CUT).sum()

        x = np.ascontiguousarray(events.flat("met"))
        found = {"each": each(x).sum(), "generalised": generalised(x), "typed": typed(x), "lazy": lazy(x)}
        return Result(counters={**{k: int(v) for k, v in found.items()}, "inner": inner(x), "above": ABOVE})
"""
IMPORTS = "import numba\nfrom cuts import CUT\nfrom kernels import ABOVE, each, generalised, lazy, typed\n"

# As an earlier version loaded an analysis file, and as a script of the user's imports a module.
IMPORTED = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

sys.path.insert(0, {folder!r})
name = {name!r}
spec = spec_from_file_location(name, {file!r})
module = sys.modules[name] = module_from_spec(spec)
spec.loader.exec_module(module)
print(module.ABOVE, sum(module.typed.stats.cache_hits.values()), sum(module.lazy.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("events") / "e.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"met": np.arange(100.0)}
    return str(path)


def imported(file, name, before="") -> list[str]:
    """What numba had of a file imported by itself: what it computes, and how often it took what it had kept."""
    script = before + IMPORTED.format(folder=str(file.parent), file=str(file), name=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def numbers(client, file, events) -> set[int]:
    counters = client.run(str(file), events).result(timeout_s=120)["events"].counters
    assert len(counters) == 6
    return {int(value) for value in counters.values()}


@pytest.mark.parametrize("beside", [False, True], ids=["file", "module"])
def test_no_machine_code_is_taken_that_was_kept_with_other_values(client, events, tmp_path, beside):
    file, kernels = tmp_path / "a.py", tmp_path / "kernels.py"
    kernels.write_text(KERNELS)
    file.write_text((IMPORTS if beside else KERNELS) + ANALYSIS)
    (tmp_path / "cuts.py").write_text("CUT = 40\n")
    kept = kernels if beside else file
    assert imported(kept, "kernels" if beside else "vrecompute_user_0123456789abcdef")[0] == "59"
    (tmp_path / "cuts.py").write_text("CUT = 80\n")
    assert numbers(client, file, events) == {19}


def test_runs_keep_no_machine_code_beside_an_analysis_file(client, events, tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "a.py").write_text(IMPORTS + ANALYSIS)
    (tmp_path / "b.py").write_text(KERNELS + ANALYSIS)
    for cut, expected in ((40, {59}), (80, {19})):
        (tmp_path / "cuts.py").write_text(f"CUT = {cut}\n")
        assert numbers(client, tmp_path / "a.py", events) == expected
        assert numbers(client, tmp_path / "b.py", events) == expected
    assert not list(tmp_path.rglob("*.nb[ic]"))


@pytest.mark.parametrize("first", ["", "import numba\n"])
def test_what_the_user_imports_is_kept_as_ever(client, events, tmp_path, first):
    file = tmp_path / "a.py"
    file.write_text(KERNELS + ANALYSIS)
    (tmp_path / "cuts.py").write_text("CUT = 40\n")
    before = f"{first}import vrecompute.analysis.family\n"
    assert imported(file, "a", before) == ["59", "0", "0"]
    assert numbers(client, file, events) == {59}
    assert imported(file, "a", before) == ["59", "1", "1"]
