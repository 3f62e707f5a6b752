"""What the user's modules do to libraries when they are imported is done on workers too, and counts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.events import write_events
from vrecompute.analysis.loading import load_analysis
from vrecompute.errors import AnalysisError

TEXT = """
import decimal, locale, os, random, sys, warnings
import awkward as ak
import matplotlib as mpl
import numpy as np
from awkward import behavior
from vrecompute import Analysis, Result

TABLE = {{}}


{top}


class Muons(Analysis):
    name = "muons"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        {use}
"""


def code(tmp_path, top, use="return Result()"):
    file = tmp_path / "cuts.py"
    file.write_text(TEXT.format(top=top, use=use))
    return load_analysis(str(file), {})[0].code()


def done(code):
    return [f.__code__.co_filename for f in code.effects]


CHANGES = {
    "decimal.getcontext().prec = 50": "decimal.getcontext.prec",
    "np.seterr(all='raise')": "np.seterr()",
    "old = np.seterr(all='raise')": "np.seterr()",
    "ak.behavior['x'] = 1": "ak.behavior",
    "behavior['x'] = 1": "behavior",
    "ak.behavior.update(x=1)": "ak.behavior.update()",
    "warnings.simplefilter('ignore', ImportWarning)": "warnings.simplefilter()",
    "locale.setlocale(locale.LC_NUMERIC, 'C')": "locale.setlocale()",
    "sys.setrecursionlimit(3000)": "sys.setrecursionlimit()",
    "os.environ['SOME_VARIABLE'] = 'secret'": "os.environ",
    "os.environ.setdefault('SOME_VARIABLE', 'secret')": "os.environ.setdefault()",
    "random.seed(1)": "random.seed()",
    "np.pi = np.pi": "np.pi",
    "setattr(np, 'pi', np.pi)": "np",
    "np.e += 0": "np.e",
    "for name in 'ab':\n    ak.behavior[name] = 1": "ak.behavior",
    "try:\n    import absent\n    absent.anything()\nexcept ImportError:\n    np.seterr()": "absent.anything()",
    "def change():\n    np.seterr(all='raise')\nchange()": "np.seterr()",
    "@ak.mixin_class(ak.behavior)\nclass Muon: pass": "ak.mixin_class()",
}


@pytest.fixture
def unchanged(monkeypatch):
    """Libraries as they were."""
    monkeypatch.setattr(sys.modules["awkward"], "behavior", {})
    monkeypatch.delenv("SOME_VARIABLE", raising=False)
    limit = sys.getrecursionlimit()
    with np.errstate():
        yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("top", "named"), CHANGES.items(), ids=CHANGES)
def test_what_an_import_does_to_a_library_counts_by_name_without_its_values(tmp_path, top, named):
    found, without = code(tmp_path, top), code(tmp_path, "")
    assert [name.rpartition(", ")[2].strip(">") for name in done(found)] == [named]
    assert found.digest != without.digest
    assert not any("secret" in name for name in found.parts)
    assert code(tmp_path, f"# said anew\n{top}  # here").parts == found.parts


NO_CHANGES = [
    "TABLE['x'] = 1",
    "TABLE.update(x=1)",
    "def fill():\n    TABLE['x'] = 1\nfill()",
    "mpl.use('agg')",
    "mpl.rcParams['figure.dpi'] = 100",
    "print('hello')",
    "os.makedirs('.', exist_ok=True)",
    "sys.path.insert(0, '.')",
    "edges = np.linspace(0, 1)\nedges[0] = 0.1",
    "with np.errstate(all='ignore'):\n    edges = np.log(np.zeros(1))",
    "if __name__ == '__main__':\n    np.seterr(all='raise')",
    "def unused():\n    np.seterr(all='raise')",
    "common = np.setdiff1d([1], [2])",
]


@pytest.mark.parametrize("top", NO_CHANGES)
def test_what_is_the_users_own_or_makes_no_number_is_not_done_again(tmp_path, top):
    assert done(code(tmp_path, top)) == []


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "top",
    [
        "for name in 'ab':\n    ak.behavior[name] = 1\n    TABLE[name] = 1",
        "def both():\n    np.seterr(all='raise')\n    TABLE['x'] = 1\nboth()",
    ],
)
def test_a_statement_that_changes_a_library_and_the_users_own_is_refused(tmp_path, top):
    with pytest.raises(AnalysisError, match=r"cuts.py:\d+ changes .* and TABLE when it is imported"):
        code(tmp_path, top)


def test_a_seed_is_told_where_the_code_draws_from_a_shared_generator(tmp_path):
    assert not code(tmp_path, "np.random.seed(1)", "return np.random.default_rng(1).random()").unnamed
    assert "default_rng([SEED" in code(tmp_path, "np.random.seed(1)", "return np.random.normal()").unnamed[0]
    assert "default_rng([SEED" in code(tmp_path, "random.seed(1)", "return random.random()").unnamed[0]
    assert not code(tmp_path, "np.random.seed(1)\ndef toys():\n    return np.random.normal()", "return 1").unnamed
    assert not code(tmp_path, "random.seed(1)\nTOY = random.gauss(0, 1)", "return TOY").unnamed


ANALYSIS = """
import decimal
import numpy as np
import awkward as ak
from vrecompute import Analysis, Result
import beside
{top}

@ak.mixin_class(ak.behavior)
class Muon:
    @property
    def twice(self):
        return 2 * self.x

class Changed(Analysis):
    name = "changed"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        twice = int(ak.sum(ak.zip({{"x": [1, 2]}}, with_name="Muon").twice))
        counters = {{"pi": int(np.pi * 100), "e": int(np.e), "twice": twice}}
        counters |= {{"digits": decimal.getcontext().prec, "raises": np.geterr()["divide"] == "raise"}}
        return Result(counters=counters)
"""
SESSION = """
import sys
from pathlib import Path
from vrecompute import Client

file, text = Path(sys.argv[1]), Path(sys.argv[1]).read_text()
with Client(workers=1, threads=2, store=sys.argv[3]) as client:
    for top in sys.argv[4:]:
        file.write_text(text.replace("{top}", top).replace("{{", "{").replace("}}", "}"))
        run = client.run(str(file), sys.argv[2], chunk_bytes=3400)
        chunks = run.report(timeout_s=200).chunks
        counters = run.result().total.counters
        print({n: v // chunks.total for n, v in counters.items()}, chunks.reused)
"""


def test_workers_do_what_the_file_and_its_modules_did_and_another_run_gets_others(tmp_path):
    (tmp_path / "ana.py").write_text(ANALYSIS)
    (tmp_path / "beside.py").write_text("import numpy\nnumpy.e = 7\n")
    (tmp_path / "session.py").write_text(SESSION)
    events = write_events(tmp_path / "e.root", 400, clusters=4)
    tops = ["decimal.getcontext().prec = 50\nnp.pi = 3", "np.seterr(all='raise')\nnp.pi = 4", "np.pi = 3.14"]
    words = [sys.executable, "session.py", "ana.py", str(events), "store", *tops]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    same = "'e': 7"
    assert ended.stdout.splitlines() == [
        f"{{'digits': 50, {same}, 'pi': 300, 'raises': 0, 'twice': 6}} 0",
        # as in this process: decimal's precision and numpy's errors stay set when another file is loaded
        f"{{'digits': 50, {same}, 'pi': 400, 'raises': 1, 'twice': 6}} 0",
        f"{{'digits': 50, {same}, 'pi': 314, 'raises': 1, 'twice': 6}} 0",
    ]


@pytest.mark.parametrize(
    "change", ["math.pi = 50.0", "setattr(math, 'pi', 50.0)", "from math import e; math.pi = 50.0"]
)
def test_a_change_that_is_undone_unseen_is_compared_where_it_is_reached_alone(tmp_path, monkeypatch, change):
    import math

    monkeypatch.setattr(math, "pi", math.pi)
    apart = code(tmp_path, f"import math\n{change}")
    used = code(tmp_path, f"import math\n{change}", "return Result(counters={'n': math.pi})")
    assert done(apart)
    assert "math.pi" not in apart.parts
    assert "math.pi" in used.parts
    doubled = code(tmp_path, "import math\nmath.pi = 2 * math.pi")
    assert "math.pi" in doubled.parts


@pytest.mark.parametrize(
    "change",
    [
        "np.asarray(a.layout.data)[1] = 70",
        "np.asarray(a.layout.data).setflags(write=True)",
        "np.asarray(TABLE['x'])[...] = 3",
        "np.ravel(x)[0] += 1",
        "for each in [x]:\n    np.asarray(each)[0] = 1",
        "def change(what):\n    np.asarray(what)[0] = 1\nchange(x)",
    ],
)
def test_what_a_library_makes_of_ones_own_is_ones_own(tmp_path, change):
    made = code(tmp_path, f"a = ak.Array([1, 2])\nx = np.ones(2)\nTABLE['x'] = x\n{change}")
    assert not done(made)
    assert not made.unnamed


@pytest.mark.parametrize(
    "change",
    [
        "decimal.getcontext().prec = 50",
        "NAME = 'math'\nimport importlib\nimportlib.import_module(NAME).tau = 6.283185307179586",
        "np.asarray(ak.behavior)[()]['x'] = 1",
    ],
)
def test_what_a_library_gives_of_its_own_is_the_librarys(tmp_path, change):
    assert done(code(tmp_path, change))
