"""A file system that fails once a file, or once a read, costs a little time and no run."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import stamina.instrumentation

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import reader
from vrecompute import retries as again
from vrecompute.errors import CorruptFile, TransientRead, UnreadableFile
from vrecompute.reader import localfile


@pytest.fixture
def path(tmp_path, monkeypatch) -> str:
    monkeypatch.setattr(again, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    return str(write_events(tmp_path / "e.root", 100, clusters=2))


def failing(monkeypatch, times: int, number: int = errno.EIO) -> list[int]:
    """The next reads fail with this error number; `left` counts down."""
    left, true = [times], os.preadv

    def preadv(descriptor, buffers, position):
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return true(descriptor, buffers, position)

    monkeypatch.setattr(localfile.os, "preadv", preadv)
    return left


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT])
def test_a_read_that_fails_in_passing_gives_the_same_numbers_and_is_counted(path, monkeypatch, number):
    right = reader.read(path, "Events", ["Muon_pt"], 0, 100)["Muon_pt"]
    left, retries = failing(monkeypatch, 2, number), reader.count_retries()
    found = reader.read(path, "Events", ["Muon_pt"], 0, 100)["Muon_pt"]
    assert left == [0]
    assert (found.values == right.values).all()
    assert len(retries) == 2
    assert retries[0].startswith(f"{path}: cannot be read at byte ")
    assert os.strerror(number) in retries[0]


def test_what_a_call_within_gave_up_is_not_tried_again_outside(path):
    calls = []

    def fails():
        calls.append(1)
        raise TransientRead("x", "fails")

    retries = reader.count_retries()
    with pytest.raises(TransientRead):
        again.persistent(lambda: again.persistent(fails, TransientRead), TransientRead)
    assert (len(calls), len(retries)) == (6, 5)


def test_a_read_that_always_fails_ends_with_the_reason(path, monkeypatch):
    reader.inspect(path)
    failing(monkeypatch, 1000)
    with pytest.raises(TransientRead, match="Input/output error"):
        reader.read(path, "Events", ["Muon_pt"], 0, 100)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, UnreadableFile), (errno.ENOENT, UnreadableFile), (errno.EISDIR, UnreadableFile)]
)
def test_what_will_not_pass_is_not_tried_again(path, monkeypatch, number, kind):
    reader.inspect(path)
    left = failing(monkeypatch, 1000, number)
    with pytest.raises(kind) as failed:
        reader.read(path, "Events", ["Muon_pt"], 0, 100)
    assert not isinstance(failed.value, TransientRead)
    assert left == [999]


def test_a_short_read_of_a_whole_file_is_tried_again_and_a_truncated_file_is_not(path, monkeypatch):
    right = reader.read(path, "Events", ["Muon_pt"], 0, 100)["Muon_pt"]
    true, nothing = os.preadv, [1]

    def preadv(descriptor, buffers, position):
        return nothing.pop() * 0 if nothing else true(descriptor, buffers, position)

    monkeypatch.setattr(localfile.os, "preadv", preadv)
    assert (reader.read(path, "Events", ["Muon_pt"], 0, 100)["Muon_pt"].values == right.values).all()
    assert not nothing
    facts = reader.inspect(path)
    os.truncate(path, facts.size // 2)
    with pytest.raises(CorruptFile):
        reader.read(path, "Events", ["Muon_pt"], 0, 100)


def test_retries_of_ours_are_not_logged_one_by_one_and_those_of_others_are(path, monkeypatch, caplog):
    """Whatever hooks the process has, also those that were set since."""
    failing(monkeypatch, 2)
    told = []
    before = stamina.instrumentation.get_on_retry_hooks()
    try:
        reader.read(path, "Events", ["Muon_pt"], 0, 100)
        assert caplog.records == []
        stamina.instrumentation.set_on_retry_hooks([told.append])
        failing(monkeypatch, 2)
        reader.read(path, "Events", ["Muon_pt"], 0, 50)
        assert told == []
        for attempt in stamina.retry_context(on=OSError, attempts=2, wait_initial=0.0, wait_jitter=0.0):
            with attempt:
                if attempt.num == 1:
                    raise OSError("of another library")
        assert [str(details.caused_by) for details in told] == ["of another library"]
    finally:
        stamina.instrumentation.set_on_retry_hooks(before)


# Loaded by every Python process: the first read of each ROOT file in it fails.
ONCE = """
import builtins, errno, os

seen = set()
true = os.preadv

def preadv(descriptor, buffers, position):
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    if name.endswith(".root") and name not in seen:
        seen.add(name)
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return true(descriptor, buffers, position)

os.preadv = preadv
"""


def test_a_run_over_a_file_system_that_fails_once_a_file_completes_and_says_so(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ONCE)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    for number in range(3):
        write_events(tmp_path / f"{number}.root", 100, seed=number, clusters=2)
    reports = []
    for failing_files in (False, True):
        where = str(tmp_path / "site") if failing_files else ""
        words = ["run", "sums.py", "0.root", "1.root", "2.root", "--workers", "1"]
        places = ["--store", f"store-{failing_files}", "--out", f"out-{failing_files}"]
        done = subprocess.run(
            [sys.executable, "-m", "vrecompute", *words, *places],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [where, os.environ.get("PYTHONPATH")]))},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((Path(tmp_path) / f"out-{failing_files}" / "report.json").read_text()))
        assert "stamina" not in done.stderr, "retries are told once, in the report"
        assert ("  retried   3 requests: " in done.stdout) == failing_files
    undisturbed, disturbed = reports
    assert disturbed["result_sha256"] == undisturbed["result_sha256"]
    assert (undisturbed["read_retries"], disturbed["read_retries"]) == (0, 3)
    assert "0.root: cannot be read at byte 0: Input/output error" in disturbed["retried"]
