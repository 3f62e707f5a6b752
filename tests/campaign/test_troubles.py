"""What is away, locked, full or lost: the exit code, message and state that the table of docs/campaigns.md has.

And the next tick goes on. Sites, files that fail, budget and window: `test_tick`; buckets: `tests/s3/test_campaign`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess

import pytest
from click.testing import CliRunner

from tests.campaign.campaigns import CampaignFolder
from vrecompute.campaign import ledger as ledgers
from vrecompute.campaign.tick import tick
from vrecompute.cli.campaign import campaign


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return CampaignFolder(tmp_path / "campaign")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB; `fill()` leaves no room on it, or as much as it is told; `empty()` gives that back."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield SmallDisk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=False)


class SmallDisk:
    def __init__(self, place):
        self.place = place

    def fill(self, left=0):
        with contextlib.suppress(OSError), (self.place / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        os.truncate(self.place / "ballast", (self.place / "ballast").stat().st_size - left)

    def empty(self):
        (self.place / "ballast").unlink()


def told(folder: CampaignFolder, *options: str) -> tuple[int, str]:
    """Exit code and output of a tick of the command line."""
    result = CliRunner().invoke(campaign, ["tick", str(folder.file), *options])
    return result.exit_code, result.output


@pytest.mark.parametrize("key", ["products", "page", "metrics"])
def test_nothing_is_written_into_the_store_of_the_runs(folder, key):
    folder.write(**{key: "linked/runs/mine"})
    folder.add("a.root")
    (folder.folder / "linked").symlink_to("store")
    code, said = told(folder)
    assert code == 2
    assert f"runs/mine lies inside the store {folder.folder / 'store'}" in said
    assert not (folder.folder / "store").exists()


def its_process_ends(folder: CampaignFolder) -> None:
    """A tick that could not give its lease back was in this process, which goes on."""
    folder.do("DELETE FROM lease")


def test_a_ledger_that_another_process_locks(folder, monkeypatch):
    monkeypatch.setattr(ledgers, "_BUSY_S", 0.2)
    folder.add("a")
    assert folder.tick().exit_code == 0
    folder.add("b")
    with contextlib.closing(sqlite3.connect(folder.folder / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        code, output = told(folder)
        assert code == 5
        assert f"ledger {folder.folder / 'ledger.sqlite'} is locked by another process" in output
        assert "the next tick goes on" in output
        assert folder.status()["inputs"]["there"] == 1  # readers go on, and nothing was done
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 2


def test_a_ledger_that_is_locked_in_the_middle_of_a_tick(folder, monkeypatch):
    monkeypatch.setattr(ledgers, "_BUSY_S", 0.2)
    folder.add("a")
    other = sqlite3.connect(folder.folder / "ledger.sqlite", isolation_level=None)
    with contextlib.closing(other):

        def lock(line):
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")

        with pytest.raises(ledgers.Unavailable, match="is locked by another process"):
            tick(folder.read(), wait_s=60, say=lock)
    its_process_ends(folder)
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 1


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_disk_of_the_ledger_that_is_full(folder, small_disk, is_begun):
    folder.write(ledger=str(small_disk.place / "ledger.sqlite"))
    folder.add("a")
    if is_begun:
        assert folder.tick().exit_code == 0
        folder.add("b")
    small_disk.fill()
    code, output = told(folder, "--wait")
    assert code == 5, output
    assert f"ledger {small_disk.place / 'ledger.sqlite'} cannot be written: " in output
    assert "make room, and the next tick goes on" in output
    small_disk.empty()
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 1 + is_begun


def test_a_disk_of_the_store_that_is_full(folder, small_disk):
    folder.write(store=str(small_disk.place / "store"))
    small_disk.fill()
    folder.add("a")
    code, output = told(folder)
    assert code == 4, output
    assert "sums/photons: " in output
    assert "o space left" in output
    assert folder.status()["units"][0]["state"] in ("planned", "new")
    small_disk.empty()
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 1


def test_a_disk_of_the_products_that_is_full(folder, small_disk):
    folder.write(products=str(small_disk.place / "products"))
    folder.add("a")
    assert folder.tick().exit_code == 0
    first = (small_disk.place / "products" / "sums" / "photons" / "current").resolve()
    small_disk.fill()
    folder.add("b")
    result = folder.tick()  # it does not wait for what another tick has to publish
    assert result.exit_code == 4
    assert "cannot" in result.summary
    assert "o space left" in result.summary
    current = small_disk.place / "products" / "sums" / "photons" / "current"
    assert current.resolve() == first
    assert (current / "result" / "result.zip").stat().st_size
    assert folder.status()["units"][0]["state"] == "running"  # it ended, and waits to be published
    assert tick(folder.read()).is_news is False
    small_disk.empty()
    assert tick(folder.read()) == (0, "1 published", True)
    assert current.resolve() != first
    assert folder.status()["chunks_computed_total"] == 2


def test_a_disk_that_fills_up_in_the_middle_of_a_tick(folder, small_disk):
    """It holds ledger, store and products: whatever cannot be written first, the product stays whole."""
    folder.write(**{key: str(small_disk.place / key) for key in ("ledger", "store", "products")})
    current = small_disk.place / "products" / "sums" / "photons" / "current"
    folder.add("a")
    assert folder.tick().exit_code == 0
    codes = set()
    for number, left in enumerate((0, 8, 32, 64, 128, 256)):
        folder.add(f"f{number}")
        small_disk.fill(left << 10)
        code, output = told(folder, "--wait", "--patience", "2m")
        codes.add(code)
        assert code in (0, 4, 5), output
        assert code == 0 or "sums/photons" in output or "cannot be written" in output
        facts = json.loads((current / "campaign.json").read_text())
        data = (current / "result" / "result.zip").read_bytes()
        assert hashlib.sha256(data).hexdigest() == facts["result_sha256"]
        small_disk.empty()
        its_process_ends(folder)
        folder.pass_time()
    print(codes)
    while folder.tick().exit_code != 6:
        folder.pass_time()
    report = json.loads((current / "report.json").read_text())
    assert (report["status"], report["chunks"]["total"]) == ("complete", 7)
    assert {4, 5} & codes


def test_a_run_that_was_submitted_in_the_window_is_published_after_it(folder):
    from tests.campaign.test_tick import closed_window

    folder.add("a")
    assert tick(folder.read()).exit_code == 0
    folder.write(window=closed_window())
    folder.add("b")
    result = folder.tick()
    assert (result.exit_code, result.summary) == (0, "1 inputs new, 1 published")
    assert folder.report()["chunks"]["total"] == 1
    result = folder.tick()
    assert result.exit_code == 6
    assert "the window is closed until" in result.summary
    folder.write(window=None)
    assert folder.tick().exit_code == 0
    assert folder.report()["chunks"]["total"] == 2


def test_a_page_that_cannot_be_written_is_said_and_changes_nothing_else(folder):
    (folder.folder / "folder").mkdir()
    folder.write(page="folder")
    folder.add("a")
    code, output = told(folder, "--wait", "-v")
    assert code == 0
    assert f"{folder.folder / 'folder'} cannot be written: " in output
    assert "not told" in folder.happened()
    assert os.listdir(folder.folder / "folder") == []
    assert folder.report()["status"] == "complete"
