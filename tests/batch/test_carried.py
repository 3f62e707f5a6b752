"""Files that a job carries: there, back, and no more than fits into memory; the rest is in the suite for drivers."""

from __future__ import annotations

import os

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
    carried.bring(HERE, spool, Job("mine", ("true",), carried=files))
    assert carried.take_back(HERE, spool, "mine") == files
    carried.forget(HERE, spool, "mine")
    assert carried.take_back(HERE, spool, "mine") == {}


def test_links_are_left_out_and_too_much_is_not_read(tmp_path, monkeypatch):
    carried.bring(HERE, str(tmp_path), Job("mine", ("true",), carried={"a": b"b"}))
    os.symlink("/etc/passwd", tmp_path / "carried-mine" / "link")
    assert carried.take_back(HERE, str(tmp_path), "mine") == {"a": b"b"}
    monkeypatch.setattr(carried, "_MOST_KIB", 0)
    with pytest.raises(Unavailable, match=r"it holds \d+ KiB, more than 0"):
        carried.take_back(HERE, str(tmp_path), "mine")
