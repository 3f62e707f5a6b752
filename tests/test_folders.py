"""A folder is made with all that are missing above it, as many as a path may have, and what is in the way is said."""

from __future__ import annotations

import os
import shutil

import pytest

from vrecompute.cli import main
from vrecompute.folders import make_folders

DEPTH = 1500


def test_a_folder_below_a_thousand_is_made_and_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = tmp_path.joinpath(*["a"] * DEPTH)
    try:
        make_folders(deep)
        make_folders(deep)
        assert deep.is_dir()
        with pytest.raises(SystemExit) as ended:
            main(["generate", os.path.relpath(deep / "made"), "--events", "4", "--files", "1"])
        assert not ended.value.code
        assert len(list((deep / "made").glob("*.root"))) == 1
    finally:  # what removes the folders of tests calls itself for each
        shutil.rmtree(deep, ignore_errors=True)
        while deep != tmp_path:
            deep = deep.parent
            if deep != tmp_path:
                deep.rmdir()


def test_what_is_in_the_way_is_as_it_was(tmp_path):
    (tmp_path / "file").write_text("x")
    for inside, error in (("file", FileExistsError), ("file/a", NotADirectoryError), ("file/a/b", NotADirectoryError)):
        with pytest.raises(error):
            make_folders(tmp_path / inside)
    with pytest.raises(OSError, match="too long"):
        make_folders(tmp_path / ("x" * 300))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
