"""Cells of a real Jupyter kernel that raised: workers do what was done, and where that is not known nothing is said."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.events import write_events

pytest.importorskip("ipykernel", reason="a kernel needs vrecompute[test]")
from tests.kernel import Kernel

pytestmark = pytest.mark.usefixtures("lent_workers")

HEAD = """
import contextlib, math, os, sys
later = None
from vrecompute import Analysis, Client, Result
class A(Analysis):
    name = "a"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters={name: getattr(math, name, 0) for name in ("a", "b", "c")})
def show():
    try:
        code = A().code()
    except Exception as error:
        print("refused:", error)
    else:
        print(*[each.__code__.co_filename.rpartition(", ")[2][:-1] for each in code.effects], *code.unnamed)
"""
RAISED = "so workers cannot repeat it; write it once more in a cell, and alone"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raised")
    (folder / "half.py").write_text("import math\nmath.half = 1\nraise KeyError\nmath.never = 1\n")
    (folder / "whole.py").write_text("import math\nmath.whole = 1\n")
    (folder / "plain.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / "absent.py").write_text("import math\nimport other\nmath.absent = 1\nimport no_such_module\n")
    (folder / "other.py").write_text("import math\nmath.other = 1\n")
    (folder / "lazy.py").write_text("raise RuntimeError('imported')\n")
    with Kernel(folder) as kernel:
        kernel.run(HEAD)
        yield kernel


@pytest.fixture
def cells(kernel):
    """`cells(*texts)`: what the last printed, in a notebook whose earlier cells are forgotten."""

    def run(*texts: str) -> str:
        kernel.run("get_ipython().history_manager.reset(); get_ipython().execution_count = 1")
        kernel.run(HEAD)
        said = [kernel.run(textwrap.dedent(text)) for text in texts]
        return said[-1].strip()

    return run


def test_numbers_of_workers_have_what_came_before_the_line_that_raised_and_nothing_after_it(kernel, tmp_path):
    file, store = str(write_events(tmp_path / "e.root", 20)), str(tmp_path / "store")
    kernel.run(f"client = Client(workers=1, threads=1, store={store!r})")
    try:
        said = kernel.run("math.a = 3\nno_such_name()\nmath.b = 4")
        assert said.startswith("NameError")
        run = f"c = client.run(A, {file!r}).result().total.counters; print(*(c[n] for n in 'abc'))"
        assert kernel.run(run).strip() == "3 0 0"
        assert kernel.run("math.c = 5").strip() == ""
        # Workers have done what the first run's cells did; another run needs others.
        kernel.run(f"client.close(); client = Client(workers=1, threads=1, store={store!r})")
        assert kernel.run(run).strip() == "3 0 5"
    finally:
        kernel.run("client.close()\nfor name in 'abc':\n    vars(math).pop(name, None)")


DONE = {
    "before and after the line": (["math.a = 1\nboom()\nmath.b = 1"], "math.a"),
    "an error of the user's function": (
        ["def f():\n    math.c = 1\n    boom()", "math.a = 1\nx = 1; y = 2\n\nboom()\nmath.b = 1"],
        "math.a",
    ),
    "an assignment whose value raised": (["math.a = 1\nmath.b = boom()"], "math.a"),
    "setattr whose value raised": (["math.a = 1\nsetattr(math, 'b', boom())"], "math.a"),
    "an error while another was handled": (
        ["math.a = 1\ntry:\n    boom()\nexcept NameError:\n    1 / 0\nmath.b = 1"],
        "math.a",
    ),
    "KeyboardInterrupt": (["math.a = 1\nraise KeyboardInterrupt\nmath.b = 1"], "math.a"),
    "SystemExit": (["math.a = 1\nsys.exit(3)\nmath.b = 1"], "math.a"),
    "a cell of several lines a statement": (["math.a = 1\nx = [\n    1,\n    boom(),\n]\nmath.b = 1"], "math.a"),
    "no Python": (["math.a = 1\nif:"], ""),
    "return outside a function": (["math.a = 1\nreturn\nmath.b = 1"], "math.a"),
    "await": (["import asyncio\nmath.a = 1\nawait asyncio.sleep(0)\nawait boom()\nmath.b = 1"], "math.a"),
    "failed the second time": (
        ["math.a = 1\nmath.b = 1", "math.a = 1\nboom()\nmath.b = 1"],
        "math.b math.a",
    ),
    "the same cell, failed the second time": (
        ["go = 0", "math.a = 1\nassert not go\nmath.b = 1", "go = 1", "math.a = 1\nassert not go\nmath.b = 1"],
        "math.b math.a",
    ),
    "failed the first time": (
        ["del later", "for math.b in (1,): later", "later = 1", "for math.b in (1,): later"],
        "math.b",
    ),
    "%%time that raised": (["%%time\nx = 1\nboom()", "math.a = 1"], "math.a"),
    "%time with options": (["%time --no-raise-error x = 1", "%timeit -n1 -r1 math.a = 1"], "math.a"),
    "%env": (["%env CUTX=5", "%set_env CUTY 6"], "os.environ os.environ"),
    "%run of a file that changes nothing": (["%run plain.py", "math.a = twice(1)"], "math.a"),
    "exec of a text that changes nothing": (["exec('x = 1')", "math.a = x"], "math.a"),
    "try and except": (["try:\n    math.a = 1\n    boom()\n    math.b = 1\nexcept NameError:\n    pass"], "math.a"),
    "suppress": (["with contextlib.suppress(NameError):\n    math.a = 1\n    boom()\n    math.b = 1"], "math.a"),
    "a branch that is not taken": (["if 0:\n    math.a = 1\nelse:\n    math.b = 1"], "math.a"),
    "return half-way": (["def f():\n    math.a = 1\n    return\n    math.b = 1\nf()"], "math.a"),
    "a number that IPython skips": (
        ["get_ipython().execution_count += 1", "math.a = 1\nboom()\nmath.b = 1"],
        "math.a",
    ),
    "a cell that imports what its functions call": (
        ["import os.path as p\nclass A(A):\n    def process(self, events):\n        return p.join(p.split('a'), 'x')"],
        "",
    ),
    "a module that is never imported": (["def f():\n    import lazy\n    from lazy.x import y\nmath.a = 1"], "math.a"),
    "an import that raised, done once more": (
        ["try:\n    import absent\nexcept ImportError:\n    pass", "math.absent = 1"],
        "math.other math.absent",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DONE)
def test_workers_do_what_was_done(cells, case):
    texts, effects = DONE[case]
    assert cells(*texts, "show()") == effects


def test_a_cell_that_is_run_again_has_ended_before_and_is_under_way(cells):
    cell = "math.a = 1\nshow()\nmath.b = 1"
    assert cells(cell) == "math.a"
    assert cells(cell, cell) == "math.b math.a"


REFUSED = {
    "a loop that raised": (
        ["for math.a in (1, 2):\n    boom()"],
        f"the notebook:1 changes math.a inside the `for` block of line 1, which raised NameError, {RAISED}",
    ),
    "a function that raised": (
        ["def f():\n    math.a = 1\n    boom()", "f()"],
        f"the notebook:2 changes math.a inside f(), which raised NameError, {RAISED}",
    ),
    "a line of several statements": (
        ["math.a = 1; boom()"],
        f"the notebook:1 changes math.a inside the statement of line 1, which raised NameError, {RAISED}",
    ),
    "%%capture": (
        ["%%capture\nmath.a = 1\nboom()\nmath.b = 1"],
        f"the notebook:2 changes math.a inside the code after %%capture, which hides whether it raised, {RAISED}",
    ),
    "%time that tells of no error": (
        ["%time --no-raise-error setattr(math, 'a', boom())"],
        "the notebook:1 changes math inside the code after %time --no-raise-error, which hides whether it raised",
    ),
    "%run of a file that raised": (["%run half.py"], f"half.py:2 changes math.half inside %run half.py, {RAISED}"),
    "%run": (["%run whole"], f"whole.py:2 changes math.whole inside %run whole, {RAISED}"),
    "exec": (["exec('math.a = 1')"], f"the notebook:1 changes math.a inside exec(), {RAISED}"),
    "exec of a file": (["exec(open('whole.py').read())"], "whole.py:2 changes math.whole inside exec()"),
    "exec in a function": (["def f():\n    exec('math.a = 1')", "f()"], "the notebook:1 changes math.a inside exec()"),
    "run_path": (["import runpy", "runpy.run_path('whole.py')"], "whole.py:2 changes math.whole inside run_path()"),
    "run_cell": (["get_ipython().run_cell('math.a = 1')"], "the notebook:1 changes math.a inside run_cell()"),
    "an import that raised": (
        ["try:\n    import absent\nexcept ImportError:\n    pass"],
        (
            "absent.py:3 changes math.absent inside absent.py, whose import raised, so workers cannot repeat it; "
            "write it where the import is, and alone"
        ),
    ),
    "a cell that was ended by an import": (["import absent"], "absent.py:3 changes math.absent inside absent.py"),
    "what IPython has forgotten": (
        ["math.a = 1", "del _i2"],
        (
            "the notebook:1 changes math.a inside a cell, of which IPython does not know any more whether it raised, "
            f"{RAISED}"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_to_be_done_is_refused(cells, case):
    texts, says = REFUSED[case]
    assert cells(*texts, "show()").startswith(f"refused: {says}")


def test_a_module_changes_what_its_text_did_when_it_was_loaded(cells, tmp_path):
    def written(text: str) -> str:
        (tmp_path / "edited.py").write_text(f"import math\n{text}\n")
        return f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import edited"

    start = ["import importlib", written("math.a = 1")]
    assert cells(*start, "show()") == "math.a"
    written("math.bee = 1")
    assert cells(start[1].rpartition(";")[2].strip(), "show()") == "math.a", "not loaded anew"
    assert cells("import importlib, edited", "importlib.reload(edited);", "show()") == "math.bee"
    written("math.sea = 1\nraise KeyError\nmath.b = 1")
    says = "refused: edited.py:2 changes math.sea inside edited.py, whose reload raised"
    assert cells("import importlib, edited", "importlib.reload(edited);", "show()").startswith(says)


def test_a_module_that_was_edited_before_the_first_look_at_it_is_refused(cells, tmp_path):
    (tmp_path / "early.py").write_text("import math\nmath.a = 1\n")
    edit = f"open({str(tmp_path / 'early.py')!r}, 'w').write('import math\\nmath.bee = 1\\n');"
    said = cells(f"sys.path[:0] = [{str(tmp_path)!r}]; sys.dont_write_bytecode = False; import early", edit, "show()")
    assert said.startswith("refused: early.py:2 changes math.bee inside a module, whose file was edited after it was")


def test_what_is_not_known_to_be_done_and_may_alter_numbers_makes_the_run_not_reusable(cells):
    said = cells("for os.environ['CUTX'] in '12':\n    boom()", "exec(str(1))", "show()")
    assert "changes os.environ inside the `for` block of line 1, which raised NameError" in said
    assert "calls exec() inside exec()" in said
    assert not said.startswith("refused")


def test_a_script_that_raised_and_goes_on_at_a_prompt(tmp_path):
    (tmp_path / "script.py").write_text(f"{HEAD}\nmath.a = 1\nboom()\nmath.b = 1\n")
    typed = "show()\nboom()\nshow()\n"
    done = subprocess.run(
        [sys.executable, "-i", "script.py"], cwd=tmp_path, input=typed, capture_output=True, text=True, timeout=120
    )
    first, second = done.stdout.splitlines()
    assert first == "math.a"
    assert second.startswith("refused: script.py:")
    assert "inside a script, of which Python does not know any more whether it raised" in second
    assert second.endswith("write it alone at the top level of script.py, and start that again")
