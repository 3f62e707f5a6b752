"""A file that this machine has and workers do not see: as with a Dask cluster of other machines."""

from __future__ import annotations

import socket

import pytest

from vrecompute.errors import UnreadableFile
from vrecompute.execution.failure import failure_of
from vrecompute.execution.preflight import told_here
from vrecompute.reader.localfile import LocalFile


def failure_of_absent(path):
    """As a worker tells it that has no such file."""
    with pytest.raises(UnreadableFile) as absent:
        LocalFile.look(str(path))
    return failure_of(absent.value, str(path), "muons", entries=3)


def test_a_file_that_this_machine_has_is_said_to_be_unseen_by_workers(tmp_path):
    path = tmp_path / "muons.root"
    told = failure_of_absent(path)
    path.write_bytes(b"root")
    said = told_here(told).reason
    assert said.startswith("cannot be opened: No such file or directory where the workers are, though this machine (")
    assert socket.gethostname() in said
    assert "give paths that workers see too" in said


def test_a_file_that_is_nowhere_is_told_as_it_is(tmp_path):
    told = failure_of_absent(tmp_path / "muons.root")
    assert told_here(told) is told
    (tmp_path / "folder").mkdir()
    elsewhere = failure_of(UnreadableFile("root://host//muons.root", told.reason), "root://host//muons.root", "muons")
    assert told_here(elsewhere) is elsewhere
