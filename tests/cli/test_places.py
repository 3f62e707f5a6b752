"""Folders that are not there or cannot be written are told with what to name instead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from vrecompute.batch.temporary import scratch_folder
from vrecompute.errors import StoreError, UsageError
from vrecompute.sites.model import local_site
from vrecompute.stores.address import default_store
from vrecompute.stores.directory import DirStore
from vrecompute_backends.local import LocalBackend


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, as in some containers."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "VRECOMPUTE_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_names_a_store():
    with pytest.raises(UsageError, match=r"no home folder .* name a store with --store"):
        default_store()
    with pytest.raises(UsageError, match="set XDG_STATE_HOME"):
        _ = LocalBackend(local_site())._spool


@pytest.mark.parametrize("folder", ["/proc/1/none", "/dev/null/none"])
def test_a_store_that_cannot_be_made_is_told_with_the_option_that_names_another(folder):
    with pytest.raises(StoreError, match=r"cannot be written .*--store, \$VRECOMPUTE_STORE"):
        DirStore(folder).create("runs/x", b"")


def test_no_folder_for_temporary_files_names_the_variable(monkeypatch):
    def absent():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", absent)
    with pytest.raises(UsageError, match="set TMPDIR"):
        scratch_folder()


def test_a_shell_in_a_folder_that_was_removed_is_told_so(tmp_path):
    words = 'cd "$1" && rmdir "$1" && exec "$0" -c "from vrecompute.cli import main; main()" runs list'
    (tmp_path / "gone").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path))}
    ended = subprocess.run(
        ["sh", "-c", words, sys.executable, str(tmp_path / "gone")],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    said = "Error: the folder that this shell is in was removed; go to another with cd\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", said)
