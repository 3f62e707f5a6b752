"""Peak memory on a large sample: a worker under 1 GB, the client under 500 MB; of 10 000 files it knows in 300 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ACCEPTANCE
from tests.events import SUM_ANALYSIS, write_events
from vrecompute_analyses.dilepton.generate import generate

# Files of the sample are listed again and again until there are this many bytes.
SAMPLE_BYTES = 5_000_000_000 if ACCEPTANCE else 300_000_000
FILES, EVENTS = (8, 2_000_000) if ACCEPTANCE else (2, 50_000)

SCRIPT = """
import json, sys
from pathlib import Path
from vrecompute import Client


def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    store, *files = sys.argv[1:]
    with Client(workers=2, threads=1, memory_bytes=2 << 30, store=store) as client:
        run = client.run("dilepton", files, channel="both", allow_duplicates=True)
        report = run.report()
        workers = list(client.dask.run(peak_bytes).values())
        print(json.dumps({
            "client": peak_bytes(), "workers": workers, "status": report.status, "seen": report.events.seen,
            "failures": [str(f) for f in report.failures], "work_s": report.time_s.get("work"),
        }))
"""


@pytest.fixture(scope="module")
def sample():
    """A generated sample, made once and kept between test runs."""
    folder = (
        Path(os.environ.get("VRECOMPUTE_CI_CACHE") or tempfile.gettempdir()) / f"vrecompute-sample-{EVENTS}-{FILES}"
    )
    if not (folder / "truth.json").exists():
        generate(folder, EVENTS, FILES, seed=5)
    return sorted(folder.glob("*.root"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.acceptance
def test_peak_memory_of_worker_and_client(sample, tmp_path, record_property):
    size = sum(path.stat().st_size for path in sample)
    times = -(-SAMPLE_BYTES // size)
    script = tmp_path / "client.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(tmp_path / "store"), *[str(p) for p in sample] * times]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    peak = json.loads(done.stdout.splitlines()[-1])
    for name, value in peak.items():
        record_property(name, value)
    print(f"{times * size / 1e9:.2f} GB: {peak}")
    assert (peak["status"], peak["seen"]) == ("complete", EVENTS * times), peak["failures"]
    assert max(peak["workers"]) < 1_000_000_000
    assert peak["client"] < 500_000_000


MANY_FILES, CLIENT_BYTES = 10_000, 300_000_000

MANY = """
import json, sys
from pathlib import Path
from vrecompute import Client


def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    analysis, folder, store = sys.argv[1:]
    began = peak_bytes()
    with Client(workers=2, threads=1, memory_bytes=2 << 30, store=store) as client:
        report = client.run(analysis, folder).report()
        run = peak_bytes()
        known = client.explain(analysis, folder, pt_min_gev=12)
        print(json.dumps({
            "began": began, "run": run, "explain": peak_bytes(), "status": report.status, "seen": report.events.seen,
            "unknown": known.sources_unknown, "new": known.chunks_new, "time_s": dict(report.time_s),
        }))
"""


def many_files(folder: Path, count: int) -> Path:
    """So many small files that differ in their UUID."""
    folder.mkdir()
    one = write_events(folder.parent / "one.root", 20, clusters=1).read_bytes()
    for number in range(count):
        (folder / f"{number:05}.root").write_bytes(one[:47] + number.to_bytes(16, "big") + one[63:])
    return folder


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_a_client_holds_ten_thousand_files_in_300_mb(tmp_path, record_property):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    (tmp_path / "client.py").write_text(MANY)
    folder = many_files(tmp_path / "files", MANY_FILES)
    command = [sys.executable, str(tmp_path / "client.py"), str(tmp_path / "sums.py"), str(folder), str(tmp_path / "s")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
    for name in ("began", "run", "explain"):
        record_property(name, told[name])
    assert (told["status"], told["seen"]) == ("complete", 20 * MANY_FILES)
    assert (told["unknown"], told["new"]) == (0, MANY_FILES)
    assert max(told["run"], told["explain"]) <= CLIENT_BYTES, told
