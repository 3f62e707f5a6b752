"""What a tick costs: of a campaign of which nothing changed no look into any file, of one more file that file alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.campaign.campaigns import CampaignFolder
from tests.campaign.test_tick import closed_window
from tests.conftest import ACCEPTANCE
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tick import tick
from vrecompute.campaign.wanted import look_for, units_of, wanted

# A tick that counts what it opens below a folder, and says its exit code, that count, and its seconds of CPU.
_COUNTED = """
import json, os, resource, sys
from vrecompute.campaign.load import read_campaign
from vrecompute.campaign.tick import tick

opened = []

def heard(event, given):
    if event == "open" and str(given[0]).startswith(sys.argv[2]) and not os.path.isdir(str(given[0])):
        opened.append(str(given[0]))

sys.addaudithook(heard)
before = resource.getrusage(resource.RUSAGE_SELF)
code = tick(read_campaign(sys.argv[1])).exit_code
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([code, len(opened), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return CampaignFolder(tmp_path / "campaign")


def counted_tick(folder: CampaignFolder) -> tuple[int, int]:
    """Exit code of a tick, and how many files of the data it opened."""
    command = [sys.executable, "-c", _COUNTED, str(folder.file), str(folder.folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, opened, cpu_s = json.loads(done.stdout)
    print(f"{len(list((folder.folder / 'data').iterdir()))} files: {cpu_s:.2f} s of CPU")
    return code, opened


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_file_more_costs_one_chunk(folder):
    files = 1000 if ACCEPTANCE else 30
    folder.add(*(f"f{number}" for number in range(files)), events=10)
    assert folder.tick(wait_s=1800).exit_code == 0
    assert folder.report()["chunks"] == {"total": files, "computed": files, "reused": 0, "failed": 0}
    folder.add("one more")
    assert folder.tick(wait_s=1800) == (0, "1 inputs new, 1 submitted, 1 published", True)
    assert folder.report()["chunks"] == {"total": files + 1, "computed": 1, "reused": files, "failed": 0}
    assert folder.report()["events"]["seen"] == 10 * files + 200
    assert folder.status()["chunks_computed_total"] == files + 1
    assert counted_tick(folder) == (6, 0)


def test_files_that_did_not_change_are_not_opened(folder):
    """They hold no events, so that a tick which opened one would fail too."""
    files = 10_000 if ACCEPTANCE else 1000
    for number in range(files):
        (folder.folder / "data" / f"{number}.root").write_bytes(b"no events")
    folder.write(window=closed_window())
    assert tick(folder.read()).summary == f"{files} inputs new"
    # as if a run had processed them
    read = folder.read()
    (unit,), sites = units_of(read), Sites(read)
    now = wanted(read, unit, look_for(read, unit.dataset, sites[0]), sites[0])
    sites.close()
    folder.do("UPDATE units SET published = ?", now.of(now.found.stamps))
    folder.write(window=None)
    assert counted_tick(folder) == (6, 0)
    assert folder.status()["attempts_total"] == 0
