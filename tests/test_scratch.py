"""Temporary folders end with their processes, and those of killed processes with the next one of their user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vrecompute import scratch

MAKES = """
import time
from vrecompute.scratch import process_scratch, scratch
(process_scratch() / "file").write_text("x")
with scratch("test") as folder:
    (folder / "file").write_text("x")
    print("there", flush=True)
    if {waits}:
        time.sleep(600)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary files, here and in processes that are started."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_swept", set())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def process(*, waits: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKES.format(waits=waits)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "there\n"
    return started


def old(place: Path) -> list[Path]:
    """What is there, as of an hour ago."""
    found = sorted(place.iterdir())
    for path in found:
        os.utime(path, (0, 0), follow_symlinks=False)
    return found


def test_a_process_that_ends_leaves_nothing(place):
    assert process(waits=False).communicate(timeout=60) == ("", None)
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_and_that_of_a_living_one_stays(place):
    killed = process(waits=True)
    theirs = old(place)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    living = process(waits=True)
    try:
        assert len(theirs) == 2
        assert len(set(old(place)) - set(theirs)) == 2
        with scratch.scratch("mine") as mine:
            assert len(list(place.iterdir())) == 3
            assert not any(path.exists() for path in theirs)
            assert mine.is_dir()
    finally:
        living.kill()
        living.communicate(timeout=60)


def test_a_folder_that_was_made_just_now_may_not_be_locked_yet(place):
    (place / "vrecompute-scratch-a").mkdir()
    with scratch.scratch("mine"):
        assert (place / "vrecompute-scratch-a").is_dir()
    old(place)
    scratch._swept.clear()
    with scratch.scratch("mine"):
        assert not (place / "vrecompute-scratch-a").exists()


def test_links_and_folders_of_others_are_left_alone(place, monkeypatch):
    (place / "kept").mkdir()
    (place / "kept" / "file").write_text("x")
    (place / "vrecompute-scratch-link").symlink_to(place / "kept")
    (place / "vrecompute-scratch-theirs").mkdir()
    old(place)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with scratch.scratch("mine"):
            pass
    assert sorted(p.name for p in place.iterdir()) == ["kept", "vrecompute-scratch-link", "vrecompute-scratch-theirs"]
    scratch._swept.clear()
    with scratch.scratch("mine"):
        pass
    assert sorted(p.name for p in place.iterdir()) == ["kept", "vrecompute-scratch-link"]
    assert (place / "kept" / "file").read_text() == "x"
