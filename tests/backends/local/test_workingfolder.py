"""What lies in the working directory under the name of a module of Python is not run, whoever put it there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events

# What Python, Dask and multiprocessing import first in a process.
PLANTED = ("json", "re", "multiprocessing", "subprocess", "warnings", "weakref", "contextlib", "signal", "dask")


@pytest.mark.slow
def test_a_run_executes_no_module_of_the_folder_that_it_is_started_in(tmp_path):
    here, away = tmp_path / "here", tmp_path / "away"
    here.mkdir(), away.mkdir()
    write_events(away / "e.root", 40)
    (away / "sums.py").write_text(SUM_ANALYSIS)
    for name in PLANTED:
        (here / f"{name}.py").write_text(
            f"open({str(away / 'ran')!r}, 'a').write({name!r} + ' ')\nraise SystemExit(9)\n"
        )
    command = [Path(sys.executable).with_name("vrecompute"), "run", away / "sums.py", away / "e.root", "--workers", "1"]
    command += ["--store", away / "store", "--out", away / "out"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120, check=False)
    assert not (away / "ran").exists(), (away / "ran").read_text()
    assert done.returncode == 0, done.stderr
    assert json.loads((away / "out/report.json").read_text())["status"] == "complete"
