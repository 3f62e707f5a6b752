"""Dask's lines are kept back where our own clusters are, and nothing else is."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.workers.dask_logs import dask_logs_kept_back


@given(ends=st.permutations(range(4)))
def test_several_overlap_and_end_in_any_order(ends):
    levels = {name: logging.getLogger(name).level for name in ("distributed", "distributed.client")}
    held = [dask_logs_kept_back() for _ in ends]
    for each in held:
        each.__enter__()
    for number in ends:
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
        assert not logging.getLogger("distributed.made_later").isEnabledFor(logging.ERROR)
        held[number].__exit__(None, None, None)
    assert {name: logging.getLogger(name).level for name in levels} == levels


def test_a_level_that_was_chosen_meanwhile_stays(monkeypatch):
    logger = logging.getLogger("distributed.chosen")
    logger.setLevel(logging.INFO)
    with dask_logs_kept_back():
        logger.setLevel(logging.DEBUG)
    assert logger.level == logging.DEBUG
    logger.setLevel(logging.NOTSET)


PROGRAM = """
import logging, os, signal, sys
{first}
from vrecompute import Client
if __name__ == "__main__":
    with Client(workers=1, store=sys.argv[1]) as client:
        (worker,) = client.dask.run(os.getpid).values()
        os.kill(worker, signal.SIGKILL)
        client.dask.run_on_scheduler(lambda: logging.getLogger("distributed.core").error("of the scheduler"))
        logging.getLogger("distributed.client").error("of the client")
        logging.getLogger("mine").warning("a line of mine")
        client.dask.submit(int, pure=False).result(timeout=60)
"""


@pytest.mark.parametrize("first", ["logging.basicConfig(level=logging.INFO)", "import distributed", ""])
def test_a_program_s_own_lines_are_seen_and_dask_s_are_not(tmp_path, first):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(first=first))
    command = [sys.executable, str(program), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "numexpr" not in line]
    assert len(said) == 1, done.stderr
    assert "a line of mine" in said[0]
