"""Processes that are ours do not take apart at their exit what they refer to; what nothing refers to, they do."""

from __future__ import annotations

import subprocess
import sys

from tests.events import SUM_ANALYSIS
from vrecompute import Client

CYCLES = """
class Cycle:
    def __init__(self, path):
        self.path, self.self = path, self

    def __del__(self, touch=open):
        touch(self.path, "w").close()
"""


def test_cycles_that_are_referred_to_stay_and_others_end(tmp_path):
    program = f"{CYCLES}\nimport gc\ngc.disable()\nkept, _ = Cycle('kept'), Cycle('lost')\n_ = None\n"
    for begins, ended in (
        ("", {"kept", "lost"}),
        ("from vrecompute.workers import quick_exit as q; q.end_quickly()", {"lost"}),
    ):
        place = tmp_path / str(len(begins))
        place.mkdir()
        subprocess.run([sys.executable, "-c", f"{begins}\n{program}"], cwd=place, check=True)
        assert {path.name for path in place.iterdir()} == ended


def keep(path: str) -> None:
    import builtins

    space: dict[str, object] = {}
    exec(CYCLES, space)
    builtins.kept_by_a_test = space["Cycle"](path)


def test_a_worker_of_this_machine_ends_so(tmp_path):
    with Client(workers=1, store=tmp_path / "store") as client:
        client.dask.run(keep, str(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_the_command_line_ends_so(tmp_path):
    (tmp_path / "mine.py").write_text(f"{CYCLES}\nkept = Cycle('kept')\n{SUM_ANALYSIS}")
    subprocess.run([sys.executable, "-m", "vrecompute", "analyses", "mine.py"], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.py"]
