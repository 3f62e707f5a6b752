"""Of a script that goes on, workers do what it has done so far to libraries, and nothing that comes after."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap

import pytest

from vrecompute.analysis.executed import reduced

HEAD = """
import math, os
import numpy as np
from vrecompute import Analysis, Result
class A(Analysis):
    name = "a"
    def columns(self, source):
        return ["x"]
    def process(self, events):
        return Result(counters={"pi": math.pi})
def show():
    print([f.__code__.co_filename.rpartition(", ")[2][:-1] for f in A().code().effects])
"""


def shown(tmp_path, text):
    """What `show()` printed, at each of its calls, of a script."""
    (tmp_path / "script.py").write_text(HEAD + textwrap.dedent(text))
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=100)
    return [ast.literal_eval(line) for line in done.stdout.splitlines()], done.stderr


def test_what_comes_after_the_run_is_not_done(tmp_path):
    found, errors = shown(
        tmp_path,
        """
        show()
        math.pi = 3.0
        show()
        with open(os.devnull) as nothing:
            np.seterr(all="raise")
            show()
            np.e = 2
        show()
        def tight():
            os.environ["CUTX"] = "5"
            show()
            os.environ["CUTY"] = "6"
        tight()
        if __name__ == "__main__":
            np.pi = 3
            show()
            try:
                np.inf = 1
                show()
            finally:
                np.nan = 1
            show()
        else:
            np.newaxis = 1
        math.e = 1
        """,
    )
    assert not errors
    first = ["math.pi", "np.seterr()"]
    assert found == [
        [],
        ["math.pi"],
        first,
        [*first, "np.e"],
        [*first, "np.e", "os.environ"],
        [*first, "np.e", "os.environ", "os.environ", "np.pi"],
        [*first, "np.e", "os.environ", "os.environ", "np.pi", "np.inf"],
        [*first, "np.e", "os.environ", "os.environ", "np.pi", "np.inf", "np.nan"],
    ]


def test_a_change_in_a_loop_that_starts_runs_is_refused_by_its_line(tmp_path):
    found, errors = shown(tmp_path, "show()\nfor v in ('2', '3'):\n    os.environ['CUTX'] = v\n    show()\n")
    assert found == [[]]
    line = HEAD.count("\n") + 2
    assert re.search(rf"AnalysisError: script\.py:{line} changes os\.environ in a loop that starts runs", errors), (
        errors
    )


def test_a_loop_without_changes_starts_runs_as_ever(tmp_path):
    found, errors = shown(tmp_path, "math.pi = 3.0\nfor v in (1, 2):\n    x = v\n    show()\n    print([])\n")
    assert (found, errors) == ([["math.pi"], [], ["math.pi"], []], "")


BLOCK = """
for key in settings:
    name = key.upper()
    client.run(name)
    os.environ[name] = key
    if key:
        print(key)
"""


def test_of_a_block_that_has_ended_what_matters_is_left():
    (node,) = ast.parse(BLOCK).body
    (left,) = reduced(node, lambda statement: isinstance(statement, ast.Assign))
    assert ast.unparse(left) == (
        "for key in settings:\n    name = key.upper()\n    os.environ[name] = key\n    if key:\n        pass"
    )


@pytest.mark.slow
def test_numbers_are_those_of_the_moment_of_the_run(tmp_path):
    from tests.events import write_events

    write_events(tmp_path / "e.root", 20)
    script = HEAD.replace('return ["x"]', 'return ["Muon_pt"]') + textwrap.dedent(
        """
        from vrecompute import Client
        if __name__ == "__main__":
            with Client(workers=1, store="store") as client:
                old = math.pi
                math.pi = 3.0
                print(client.run(A, "e.root").result().total.counters["pi"])
                math.pi = old
        math.pi = 2.0
        """
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["3.0"], done.stderr
