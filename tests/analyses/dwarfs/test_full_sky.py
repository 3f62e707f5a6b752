"""The full-sky map of real voids, nside 64 in 6 bins: the same bytes for any workers, and after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from vrecompute import Client

PARAMETERS = {"step": "map", "nside": 64, "metric": "planar", "bandwidth_deg": 1.4}
PROGRAM = """
import sys

from vrecompute import Client

if __name__ == "__main__":
    with Client(workers=2, store=sys.argv[2]) as client:
        how = {"step": "map", "nside": 64, "metric": "planar", "bandwidth_deg": 1.4}
        client.run("dwarfs", sys.argv[1], task_chunks=1, **how).wait()
"""


def mapped(tables: str, store, workers: int):
    """(result bytes, chunks) of the map."""
    with Client(workers=workers, store=store) as client:
        run = client.run("dwarfs", tables, task_chunks=1, **PARAMETERS)
        return run.result(timeout_s=120).to_bytes(), run.report().chunks


@pytest.mark.data
@pytest.mark.acceptance
def test_workers_and_a_kill_change_no_byte(data_dir, tmp_path):
    tables = str(data_dir / "fermi_mldwarfs")
    reference, chunks = mapped(tables, tmp_path / "one", workers=1)
    assert chunks.computed == chunks.total >= 10
    assert mapped(tables, tmp_path / "two", workers=2)[0] == reference

    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.Popen([sys.executable, tmp_path / "program.py", tables, tmp_path / "killed"], env=environment)
    deadline = time.monotonic() + 300
    while len(list((tmp_path / "killed").glob("work/*/parts/*.zip"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    again, chunks = mapped(tables, tmp_path / "killed", workers=2)
    assert chunks.reused >= 2
    assert again == reference
