"""Of a script that goes on, workers do what has ended at its top level; what is under way is refused, or not reused."""

from __future__ import annotations

import decimal
import linecache
import math
import os
import re
import subprocess
import sys
import textwrap
import warnings
from types import ModuleType, SimpleNamespace

import IPython  # noqa: F401  # which a notebook has
import numpy as np
import pytest

from vrecompute.errors import UsageError

HEAD = """
import decimal, logging, math, os, random, sys, warnings
import numpy as np
import matplotlib.pyplot as plt
from vrecompute import Analysis, Client, Result
shown = []
class A(Analysis):
    name = "a"
    def columns(self, source):
        return ["x"]
    def process(self, events):
        return Result(counters={"pi": math.pi})
def run(client=None):
    code = A().code()
    shown.append([f.__code__.co_filename.rpartition(", ")[2][:-1] for f in code.effects])
    shown[-1] += [told.partition(";")[0] for told in code.unnamed]
"""
FIRST = HEAD.count("\n")


@pytest.fixture
def unchanged(monkeypatch):
    """Libraries as they were."""
    for module, name in ((math, "pi"), (math, "e"), (np, "pi"), (np, "e"), (np.random, "normal")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    state = np.random.get_state()
    with np.errstate(), decimal.localcontext(), np.printoptions(), warnings.catch_warnings():
        yield
    np.random.set_state(state)


@pytest.fixture
def shown(tmp_path, monkeypatch, unchanged):
    """`shown(text)`: what workers would do at each `run()` of a script, and why nothing is reused."""

    def carry_out(text: str) -> list[list[str]]:
        file = tmp_path / "script.py"
        file.write_text(HEAD + textwrap.dedent(text))
        main = ModuleType("__main__")
        main.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "__main__", main)
        exec(compile(file.read_text(), str(file), "exec"), vars(main))
        return vars(main)["shown"]

    return carry_out


def test_what_comes_after_the_run_is_not_done(shown):
    found = shown(
        """
        run()
        math.pi = 3.0
        run()
        with warnings.catch_warnings():
            np.seterr(all="raise")
            run()
        for name in ("e", "pi"):
            setattr(np, name, 3)
        if __name__ == "__main__":
            run()
        def setup():
            os.environ["CUTX"] = "5"
        setup()
        run()
        math.e = 1
        """,
    )
    first = ["math.pi"]
    assert found == [[], first, first, [*first, "np"], [*first, "np", "os.environ"]]


RUNNING = "which is still running, so workers cannot repeat it"
REFUSED = [
    (
        """\
def main():
    math.pi = 3
    run()
main()
""",
        (
            rf"script.py:2 changes math.pi inside main\(\), {RUNNING}; "
            "move it to the top level of script.py, above line 4"
        ),
    ),
    (
        """\
def main():
    run()
    math.pi = 3
if __name__ == '__main__':
    sys.exit(main())
""",
        r"script.py:3 .* main\(\)",
    ),
    (
        """\
def setup():
    math.pi = 3
def main():
    setup()
    run()
main()
""",
        r"script.py:2 .* inside main\(\)",
    ),
    (
        """\
class App:
    def go(self):
        import math as m
        m.pi = 3
        run()
App().go()
""",
        "script.py:4 .* m.pi",
    ),
    (
        """\
for v in (2, 3):
    math.pi = v
    run()
""",
        f"script.py:2 changes math.pi inside the `for` block of line 1, {RUNNING}",
    ),
    (
        """\
try:
    math.pi = 3
    run()
finally:
    math.pi = 4
""",
        "script.py:2 .* `try` block of line 1",
    ),
    (
        """\
with open(os.devnull):
    np.random.normal = len
    run()
""",
        "script.py:2 changes np.random.normal inside the `with`",
    ),
    (
        """\
def once():
    math.pi = 3
    with Client(): pass
once()
run()
""",
        (
            r"script.py:2 changes math.pi inside once\(\), which also uses Client, so workers cannot repeat it; "
            "write it alone at the top level of script.py"
        ),
    ),
    (
        """\
def once(c):
    math.pi = 3
    c()
once(dict)
run()
""",
        r"script.py:2 changes math.pi inside once\(\), which also uses c\(\)",
    ),
    (
        """\
def go(c):
    return Client
def once(c):
    math.pi = 3
once(go)
run()
""",
        "script.py:4 .* which also uses Client",
    ),
    (
        """\
for v in (2, 3):
    math.pi = v
    open(os.devnull)
run()
""",
        r"script.py:2 .* `for` block of line 1, which also uses open\(\)",
    ),
    (
        """\
math.pi = 3 if '--x' in sys.argv else 4
run()
""",
        "script.py:1 changes math.pi inside the statement of line 1, .* sys.argv",
    ),
    (
        """\
v = 2
math.pi = v
v = 3
run()
""",
        "script.py:2 changes math.pi by v, which line 3 defines anew",
    ),
    (
        """\
def setup():
    math.pi = 3
setup()
def setup():
    math.pi = 4
run()
""",
        "changes math.pi by setup, which line 4",
    ),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=range(len(REFUSED)))
def test_a_change_that_cannot_be_repeated_is_refused_by_its_line(shown, text, said):
    said = re.sub(r"script\.py:(\d)", lambda m: f"script.py:{FIRST + int(m[1])}", said)
    said = re.sub(r"line (\d)", lambda m: f"line {FIRST + int(m[1])}", said)
    with pytest.raises(UsageError, match=said):
        shown(text)


SETTINGS = """
warnings.filterwarnings("ignore")
logging.basicConfig(level=logging.INFO)
plt.rcParams["figure.dpi"] = 100
sys.path.insert(0, ".")
np.set_printoptions(precision=3)
np.seterr(all="raise")
np.random.seed(1)
decimal.getcontext().prec = 5
"""


def test_settings_that_make_no_number_or_go_with_a_run_do_not_count_inside_what_is_under_way(shown):
    text = f"def main():{textwrap.indent(SETTINGS, '    ')}    edges = np.append([1.0], 2.0)\n    run()\nmain()"
    assert shown(text) == [[]]


def test_what_may_alter_numbers_inside_main_makes_the_run_not_reusable(shown):
    ((told,),) = shown("def main():\n    os.environ['CUTX'] = '1'\n    run()\nif __name__ == '__main__':\n    main()")
    assert told == f"script.py:{FIRST + 2} changes os.environ inside main(), {RUNNING}"


def test_what_a_loop_of_runs_has_changed_is_mended_by_saying_it_after_it(shown):
    text = "for v in ('1', '2'):\n    os.environ['X'] = v\n    run()\nrun()\nos.environ['X'] = '3'\nrun()"
    under_way, _, ended, mended = shown(text)
    assert RUNNING in under_way[0]
    assert "which also uses" in ended[0]
    assert mended == ["os.environ"]


def test_a_script_that_is_edited_while_it_runs_is_the_one_that_was_started(shown, tmp_path):
    text = "run()\nfile = open(__file__, 'a+'); file.seek(0); old = file.read()\n"
    text += "open(__file__, 'w').write('import math; math.pi = 3\\n' + old)\nrun()\nmath.e = 2"
    assert shown(text) == [[], []]
    assert "math.pi = 3\n" in (tmp_path / "script.py").read_text()


@pytest.fixture
def cells(monkeypatch, unchanged):
    """`cells(*texts)`: what `run()` shows, or refuses, in each cell of a notebook."""

    def carry_out(*texts: str) -> list[list[str] | str]:
        main = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", main)
        names = vars(main)
        names |= {"In": [""], "get_ipython": lambda: main, "run_cell_magic": lambda *given: exec(given[-1], names)}
        main.run_cell_magic = names["run_cell_magic"]
        main.history_manager = SimpleNamespace(exceptions={}, input_hist_raw=names["In"])
        told: list[list[str] | str] = []
        for number, text in enumerate([HEAD, *texts]):
            names["In"].append(text)
            names[f"_i{number + 1}"] = text
            file = f"<ipython-input-{number}>"
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            names["shown"] = []
            try:
                exec(compile(text, file, "exec"), names)
                told += names["shown"]
            except UsageError as error:
                told.append(str(error))
        return told

    return carry_out


def test_of_a_notebook_what_a_loop_of_runs_changed_is_mended_in_a_cell_after_it(cells):
    refused, then, mended, other = cells(
        "for math.pi in (2, 3):\n    run()", "run()", "math.pi = 4; run(); math.e = 1", "np.e = 3\nrun()\nnp.pi = 3"
    )
    assert refused.startswith(
        f"the notebook:1 changes math.pi inside the `for` block of line 1, {RUNNING}; move it to a"
    )
    assert "the `for` block of line 1, which also uses" in then
    assert mended == ["math.pi"]
    assert other == ["math.pi", "math.e", "np.e"]


def test_what_is_timed_in_a_notebook_is_looked_at(cells):
    timed = "get_ipython().run_cell_magic('time', '', {!r})"
    done, refused, again = cells(
        timed.format("math.pi = 4"), "run()", timed.format("run()\nnp.pi = 3"), "np.pi = 3\nrun()"
    )
    assert done == ["math.pi"]
    assert refused.startswith(f"the notebook:3 changes np.pi inside the code after %%time, {RUNNING}")
    assert again == ["math.pi", "np.pi"]


def test_what_a_cell_defines_anew_is_not_what_a_change_before_it_read(cells):
    said, mended, edited = cells(
        "V = 3\nmath.pi = V", "V = 4\nrun()", "math.pi = V\nrun()", "V = 5\nmath.pi = V\nrun()"
    )
    assert said.startswith("the notebook:2 changes math.pi by V, which line 1 defines anew")
    assert mended == edited == ["math.pi"]


def test_loops_and_functions_without_changes_start_runs_as_ever(shown):
    text = """
    math.pi = 3.0
    def main(values):
        results = []
        for x in values:
            results.append(run())
        return results
    for v in (1, 2):
        x = v
        run()
    if __name__ == "__main__":
        main([1])
    """
    assert shown(text) == [["math.pi"]] * 3


@pytest.mark.slow
def test_numbers_are_those_of_the_moment_of_the_run(tmp_path):
    from tests.events import write_events

    write_events(tmp_path / "e.root", 20)
    script = HEAD.replace('return ["x"]', 'return ["Muon_pt"]') + textwrap.dedent(
        """
        old = math.pi
        math.pi = 3.0
        if __name__ == "__main__":
            with Client(workers=1, store="store") as client:
                print(client.run(A, "e.root").result().total.counters["pi"])
        math.pi = old
        math.e = 2.0
        """
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["3.0"], done.stderr
