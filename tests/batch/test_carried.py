"""Files that a job carries: there, back, and no more than fits into memory; the rest is in the suite for drivers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch import carried
from vrecompute.batch.contract import Job
from vrecompute.errors import Unavailable
from vrecompute.sites.access import LocalAccess

HERE = LocalAccess()
names = st.text("aé .-_$'\"", min_size=1, max_size=8).filter(lambda name: name.strip(". ") != "")
FILES = st.dictionaries(names | st.builds("{}/{}".format, st.just("d"), names), st.binary(max_size=20), max_size=5)


@given(FILES)
def test_what_is_brought_comes_back(tmp_path_factory, files):
    spool = str(tmp_path_factory.mktemp("spool"))
    for name in ("mine", "mine-1"):
        carried.bring(HERE, spool, Job(name, ("true",), carried=files), 2)
    first, last = carried.carrying(Job("mine", ("true",)))
    work = 'cd -- "$VRECOMPUTE_CARRIED"; echo "$VRECOMPUTE_INDEX" > "made $VRECOMPUTE_INDEX"'
    script = "\n".join([*first, *first, f"({work})", *last])
    for index in "01":
        command = ["env", f"VRECOMPUTE_INDEX={index}", "bash", "-c", f"cd '{spool}'; {script}"]
        assert HERE.run(command).code == 0
        for name, content in files.items():
            assert (Path(spool) / "carried-mine" / name).read_bytes() == content
    assert carried.take_back(HERE, spool, "mine") == {"made 0": b"0\n", "made 1": b"1\n"}
    carried.forget(HERE, spool, "mine")
    assert carried.take_back(HERE, spool, "mine") == {}
    assert sorted(path.name for path in Path(spool).iterdir()) == [
        "carried-mine-1",
        *(f"carried-mine-1@{i}" for i in "01"),
    ]


def test_what_a_job_replaces_comes_back_and_what_goes_along_is_not_touched(tmp_path):
    carried.bring(HERE, str(tmp_path), Job("mine", ("true",), carried={"a/b": b"old", "c": b"same"}))
    first, last = carried.carrying(Job("mine", ("true",)))
    work = 'cd -- "$VRECOMPUTE_CARRIED" && echo new > part && mv part a/b'
    script = "\n".join([f"cd '{tmp_path}'", *first, f"({work})", *last])
    assert HERE.run(["env", "VRECOMPUTE_INDEX=0", "bash", "-c", script]).code == 0
    assert carried.take_back(HERE, str(tmp_path), "mine") == {"a/b": b"new\n"}
    assert (tmp_path / "carried-mine" / "a/b").read_bytes() == b"old"


def test_links_are_left_out_and_too_much_is_not_read(tmp_path, monkeypatch):
    carried.bring(HERE, str(tmp_path), Job("mine", ("true",), carried={}))
    (tmp_path / "carried-mine@0" / "a").write_bytes(b"b")
    os.symlink("/etc/passwd", tmp_path / "carried-mine@0" / "link")
    assert carried.take_back(HERE, str(tmp_path), "mine") == {"a": b"b"}
    monkeypatch.setattr(carried, "_MOST_KIB", 0)
    with pytest.raises(Unavailable, match=r"they hold \d+ KiB, more than 0"):
        carried.take_back(HERE, str(tmp_path), "mine")
