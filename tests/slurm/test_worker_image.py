"""The image of containers/worker, built and run by the engine that carries the lab."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.slurm.lab import LABS

pytestmark = [pytest.mark.slurm, pytest.mark.checkout, pytest.mark.timeout(900)]


@pytest.mark.acceptance
def test_an_ordinary_user_starts_at_once_with_the_machine_code_of_the_image(running_lab):
    done = subprocess.run([LABS / "worker" / "build"], capture_output=True, text=True, check=False, timeout=850)
    assert done.returncode == 0, done.stderr[-3000:]
    image, warm, cold = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert image["size"] < 1.5e9
    assert warm["user"] == cold["user"] == 1000
    assert warm["compiled"] == 0
    assert warm["folder"].startswith("/tmp/vrecompute-1000/"), "a copy: the image's own cannot be written"
    assert cold["compiled"] > 0
    assert warm["cpu_s"] < cold["cpu_s"] / 3
