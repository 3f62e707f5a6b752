"""The scheduler of a live cluster in a job: it tells where it is, and does not outlive its users."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from distributed import Client


@pytest.mark.slow
def test_a_scheduler_stays_while_somebody_is_connected_and_no_longer(tmp_path):
    announced = tmp_path / "here.json"
    command = [sys.executable, "-m", "vrecompute.batch.keepalive", "--announce", str(announced), "--no-tls"]
    process = subprocess.Popen([*command, "--patience-s", "4"], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not announced.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with Client(json.loads(announced.read_text())["address"], set_as_default=False) as client:
            time.sleep(8)
            assert process.poll() is None, "it stays for its user"
            assert client.nthreads() == {}
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "no client was connected for 4 s" in said
    assert not announced.exists()
