"""A process that has a file open has its samples; one that opens it reads them, and refuses another file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.events import write_events
from vrecompute.errors import ChangedFile
from vrecompute.reader import rawfile
from vrecompute.reader.handles import forget, open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.ranges import read


def test_samples_are_read_once_for_each_opening_and_refuse_another_file(tmp_path, monkeypatch):
    path, given = str(write_events(tmp_path / "e.root", 100)), []
    plain = rawfile.sampled_content
    monkeypatch.setattr(rawfile, "sampled_content", lambda source: given.append(plain(source)) or given[-1])
    file = open_file(path)
    found = Identity(file.uuid, file.size, 100, file.content)
    read(path, "Events", ["run"], 0, 100, expect=found)
    assert len(given) == 1, "as by a worker that looked at the file in preflight"
    forget(path)
    read(path, "Events", ["run"], 0, 100, expect=found)
    assert len(given) == 2, "as by any other worker"
    forget(path)
    with pytest.raises(ChangedFile, match="is not the planned file: sha256 of its sampled content"):
        read(path, "Events", ["run"], 0, 100, expect=replace(found, content="0" * 64))
    assert len(given) == 3
