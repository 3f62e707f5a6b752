"""What preflight costs a file: opens and reads as the kernel counts them, and none where it is known already."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from tests.events import write_events
from tests.test_memory import many_files
from vrecompute.execution.fileknowledge import FileKnowledge
from vrecompute.reader import origin_of
from vrecompute.stores.directory import DirStore

COLUMNS = ("Muon_pt", "weight")
IO = Path("/proc/self/io")
_opened: list[str] = []
_hooked: list[bool] = []


def read_calls() -> int:
    """Calls of read and its kin that this process has made."""
    return int(next(line for line in IO.read_text().splitlines() if line.startswith("syscr")).split()[1])


@pytest.fixture
def opens() -> list[str]:
    """Paths of all files that are opened from now on."""
    if not _hooked:  # for good: audit hooks cannot be removed
        sys.addaudithook(lambda event, given: _opened.append(str(given[0])) if event == "open" else None)
        _hooked.append(True)
    _opened.clear()
    return _opened


def looked_at(store: DirStore, path: Path, opens: list[str]) -> tuple[int, int, bool]:
    """(opens of the file, reads, whether it could be planned) of one look, besides those of the store's objects."""
    gc.collect()
    opens.clear()
    began = read_calls()
    idle = read_calls() - began
    began = read_calls()
    known = FileKnowledge(store, str(path), "Events", origin_of(str(path)), opens=True)
    planned = known.facts() is not None and known.layout(COLUMNS) is not None
    reads = read_calls() - began - idle
    ours = [name for name in opens if name.startswith(str(store.root)) and not name.endswith(".tmp")]
    # an object is read in two calls, the second of which finds its end
    return opens.count(str(path)), reads - 2 * len(ours), planned


@pytest.mark.skipif(not IO.exists(), reason="the kernel does not count the reads of a process (/proc/self/io)")
@pytest.mark.parametrize(("events", "most_reads"), [(200, 3), (40_000, 12)], ids=["small", "over 256 KiB"])
def test_a_file_costs_one_open_and_few_reads_and_a_known_one_none(tmp_path, opens, events, most_reads):
    """The numbers that docs/architecture.md states."""
    store = DirStore(tmp_path / "store")
    looked_at(store, write_events(tmp_path / "warm.root", 200, 1, clusters=2), opens)
    seen = []
    for number in range(3):  # another thread of this process may read meanwhile
        path = write_events(tmp_path / f"{number}.root", events, number, clusters=4)
        assert (path.stat().st_size > 256 << 10) == (most_reads > 3)
        seen.append(looked_at(store, path, opens))
    assert {(opened, planned) for opened, _, planned in seen} == {(1, True)}
    assert min(reads for _, reads, _ in seen) <= most_reads
    opens.clear()
    known = FileKnowledge(store, str(path), "Events", origin_of(str(path)), opens=True)
    assert known.facts() is not None
    assert known.layout(COLUMNS) is not None
    assert str(path) not in opens
    path.touch()
    assert looked_at(store, path, opens)[0] == 1, "another stamp is another file"


def test_files_with_unchanged_stamps_are_not_opened_however_many_they_are(tmp_path, opens, examples):
    """Ten thousand at full counts, in a process that has not seen them: what is known is in the store."""
    folder = many_files(tmp_path / "files", examples(10_000))
    paths = sorted(map(str, folder.iterdir()))

    def look(store: DirStore) -> tuple[int, int]:
        """(files that are opened, files that can be planned)."""
        opens.clear()
        known = [FileKnowledge(store, path, "Events", origin_of(path), opens=True) for path in paths]
        planned = sum(each.facts() is not None and each.layout(COLUMNS) is not None for each in known)
        return len({name for name in opens if name.startswith(str(folder))}), planned

    assert look(DirStore(tmp_path / "store")) == (len(paths), len(paths))
    assert look(DirStore(tmp_path / "store")) == (0, len(paths))
    Path(paths[7]).touch()
    assert look(DirStore(tmp_path / "store")) == (1, len(paths))
