"""Shares of a run: any number of them, killed anywhere and begun again, give the bytes that one Runner gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from tests.execution.test_stock import EVENTS, TOTAL, edit, write
from vrecompute.errors import UsageError
from vrecompute.execution.gathered import gathered
from vrecompute.execution.manifest import Settings
from vrecompute.execution.merger import Merger
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.prepare import Request, prepare
from vrecompute.execution.runner import Runner
from vrecompute.execution.share import Share, share_ends
from vrecompute.execution.sharerunner import ShareRunner, died_at
from vrecompute.execution.spread import window
from vrecompute.results.file import read_results
from vrecompute.stores.directory import DirStore

CHUNKS = 12
COUNTED = SUM_ANALYSIS.replace(
    'time.sleep(self["sleep_s"])', 'os.mkdir(f"{CALLS}/{time.time_ns()}-{id(events)}")\n        self._check(events)'
).replace("import time", 'import os\nimport time\n\nCALLS = os.environ["CALLS"]', 1)
COUNTED += """
    def _check(self, events):
        if self["sleep_s"] and len(events) == 81:
            raise ValueError("no chunk may have 81 events")
"""


class Killed(BaseException):
    """What ends a Runner as a kill does: nothing of it is written down."""


class Doomed(ShareRunner):
    """Dies when it has said so often how far it is."""

    dies_after = 1 << 30

    def report(self, **changes: object) -> None:
        super().report(**changes)
        self.dies_after -= 1
        if self.dies_after < 0:
            raise Killed


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two files of twelve chunks together; the first of the second holds 81 events, and no other does."""
    folder = tmp_path_factory.mktemp("shares")
    (folder / "sums.py").write_text(COUNTED)
    (folder / "calls").mkdir()
    write_events(folder / "a.root", 700, 1, clusters=7)
    write_events(folder / "b.root", 401, 2, clusters=5)
    return folder


@pytest.fixture
def made(place, tmp_path, monkeypatch) -> Callable:
    """`made(shares)`: store, manifest and analysis of a run in a new store."""
    monkeypatch.setenv("CALLS", str(place / "calls"))
    numbers = iter(range(1000))

    def make(shares: int, **parameters):
        store = DirStore(tmp_path / f"store-{next(numbers)}")
        own = Settings(chunk_bytes=3400, task_chunks=1, on_bad=parameters.pop("on_bad", "fail"), max_bad=1.0)
        request = Request(str(place / "sums.py"), str(place / "*.root"), parameters, settings=own)
        analysis, manifest = prepare(request, store, "local", None)
        manifest = replace(manifest, shares=shares)
        manifest.write(store)
        return store, manifest, analysis

    return make


@pytest.fixture
def whole(made, dask) -> str:
    """The sha256 of the result of one Runner."""
    store, manifest, analysis = made(0)
    outcome = Runner(dask, store, manifest, analysis).execute()
    assert outcome.summary.status == "complete"
    return outcome.summary.result_sha256


@settings(max_examples=5)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_any_number_of_shares_killed_anywhere_gives_the_same_bytes(place, made, dask, whole, kills, dice):
    """`kills`: after so many words of its first Runner each share dies, if it is not done by then."""
    count = len(kills)
    store, manifest, analysis = made(count)
    before, died = len(list((place / "calls").iterdir())), 0
    left = list(range(count))
    while left:
        dice.shuffle(left)
        for index in left:
            runner = Doomed(dask, store, manifest, analysis, Share(index, count))
            runner.dies_after = kills[index]
            kills[index] = 1 << 30
            try:
                assert not runner.carry_out().failures
            except Killed:
                died += 1
        assert list(store.names(f"runs/{manifest.run}/outcomes")) == [], "a share does not end the run"
        left = gathered(store, manifest).needed()
    outcomes = [Merger(store, analysis, gathered(store, manifest)).execute() for _ in range(2)]
    for outcome in outcomes:
        assert (outcome.summary.status, outcome.summary.result_sha256) == ("complete", whole)
        chunks = outcome.summary.chunks
        assert (chunks.total, chunks.computed + chunks.reused, chunks.failed) == (CHUNKS, CHUNKS, 0)
    assert len(list((place / "calls").iterdir())) - before <= CHUNKS + died * window(_TwoThreads())


class _TwoThreads:
    def threads(self) -> int:
        return 2


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 40))
def test_shares_take_each_chunk_once_and_near_as_many_events_each(widths, count):
    bounds = tuple(int(b) for b in np.concatenate([[0], np.cumsum(widths)]))
    source = PlannedSource("f", "s", "ttree", "t", "u", 1, bounds[-1], ("x",), bounds, {})
    plan = Plan("work", (), (source,))
    ranges = [Share(index, count).chunks(plan) for index in range(count)]
    assert [number for chunks in ranges for number in chunks] == list(range(plan.chunks))
    events = [sum(widths[chunks.start : chunks.stop]) for chunks in ranges]
    assert max(events) <= bounds[-1] / count + max(widths)


def test_a_chunk_that_fails_is_named_by_the_share_that_has_it_and_nothing_is_begun_again(made, dask):
    store, manifest, analysis = made(3, sleep_s=1.0)
    ends = [ShareRunner(dask, store, manifest, analysis, Share(index, 3)).carry_out() for index in range(3)]
    assert [bool(end.failures) for end in ends].count(True) == 1
    found = gathered(store, manifest)
    assert found.needed() == []
    outcome = Merger(store, analysis, found).execute()
    assert outcome.summary.status == "failed"
    assert [(Path(f.file).name, f.start, f.stop, f.kind) for f in outcome.failures] == [("b.root", 0, 81, "code")]
    assert "no chunk may have 81 events" in outcome.failures[0].detail


def test_what_a_share_lacks_that_is_given_up_is_named_event_by_event(made, dask, whole):
    store, manifest, analysis = made(3, on_bad="skip")
    for index in (0, 2):
        ShareRunner(dask, store, manifest, analysis, Share(index, 3)).carry_out()
    found = gathered(store, manifest)
    assert found.needed() == [1]
    at = Share(1, 3).chunks(found.plan)[2]
    outcome = Merger(store, analysis, found, found.lost(1, "lost", "its machine is gone", at)).execute()
    assert outcome.summary.status == "partial"
    events = outcome.summary.events
    assert events.seen + sum(f.entries for f in outcome.failures) == events.expected
    first = outcome.failures[0]
    chunk = found.plan.chunk(at)
    assert (first.reason, first.file) == ("its machine is gone", chunk.source)
    assert (first.start, first.stop) == (chunk.start, chunk.stop)
    assert not any("its machine is gone" in failure.reason for failure in outcome.failures[1:])
    assert {failure.reason for failure in found.lost(1, "lost", "why")} == {"why"}, (
        "nothing is blamed that is not known"
    )
    ShareRunner(dask, store, manifest, analysis, Share(1, 3)).carry_out()
    outcome = Merger(store, analysis, gathered(store, manifest)).execute()
    assert (outcome.summary.status, outcome.summary.result_sha256) == ("complete", whole)


def test_a_part_that_is_damaged_is_computed_again_by_the_share_that_has_it(made, dask, whole):
    store, manifest, analysis = made(4)
    for index in range(4):
        ShareRunner(dask, store, manifest, analysis, Share(index, 4)).carry_out()
    ends, _ = share_ends(store, manifest)
    path = store.root / ends[2].parts[0]
    os.chmod(path, 0o600)
    path.write_bytes(path.read_bytes()[:-9])
    assert gathered(store, manifest).needed() == [2]
    assert ShareRunner(dask, store, manifest, analysis, Share(2, 4)).carry_out().counts.computed == 1
    found = gathered(store, manifest)
    assert found.needed() == []
    assert Merger(store, analysis, found).execute().summary.result_sha256 == whole


@pytest.mark.parametrize("change", ["edited", "touched"])
def test_shares_that_read_two_versions_of_a_file_give_the_latest(tmp_path, dask, change):
    path, store = write(tmp_path / "one.root", 1), DirStore(tmp_path / "store")
    (tmp_path / "total.py").write_text(TOTAL)
    request = Request(str(tmp_path / "total.py"), str(path), {}, settings=Settings(chunk_bytes=110_000))
    analysis, manifest = prepare(request, store, "local", None)
    manifest = replace(manifest, shares=3)
    manifest.write(store)

    def work(index: int) -> int:
        end = ShareRunner(dask, store, manifest, analysis, Share(index, 3)).carry_out()
        assert not end.failures
        return end.counts.computed

    work(0), work(1)
    edit(path, 1001.0) if change == "edited" else os.utime(path)  # a number that share 1 has read
    work(2)
    found = gathered(store, manifest)
    assert found.needed() == [1] * (change == "edited")
    for index in found.needed():
        assert 0 < work(index) <= 3
        found = gathered(store, manifest)
    assert found.needed() == []
    outcome = Merger(store, analysis, found).execute()
    counters = read_results(store.get(outcome.result))["events"].counters
    assert (outcome.summary.status, counters["sum"]) == ("complete", EVENTS + 1000 * (change == "edited"))


def test_machines_with_copies_of_their_own_agree(tmp_path, dask):
    """Each finds files with other times and inodes than the first, and has read no more than its own share of them."""
    store = DirStore(tmp_path / "store")
    paths = [write(tmp_path / name, 1) for name in ("a.root", "b.root")]
    (tmp_path / "total.py").write_text(TOTAL)
    settings = Settings(chunk_bytes=110_000, allow_duplicates=True)
    request = Request(str(tmp_path / "total.py"), [str(path) for path in paths], {}, settings=settings)
    analysis, manifest = prepare(request, store, "local", None)
    manifest = replace(manifest, shares=2)
    manifest.write(store)
    for index in range(2):
        assert not ShareRunner(dask, store, manifest, analysis, Share(index, 2)).carry_out().failures
        for path in paths:
            os.utime(path)
    found = gathered(store, manifest)
    assert found.needed() == []
    assert Merger(store, analysis, found).execute().summary.status == "complete"


class Interrupted(Runner):
    """Dies when most of its chunks are there."""

    def report(self, **changes: object) -> None:
        super().report(**changes)
        if self.progress.chunks_done > 5:
            raise Killed


@pytest.mark.parametrize("change", ["edited", "touched"])
def test_a_run_that_is_taken_up_after_a_file_was_edited_is_of_the_file_as_it_is(tmp_path, dask, change):
    path, store = write(tmp_path / "one.root", 1), DirStore(tmp_path / "store")
    (tmp_path / "total.py").write_text(TOTAL)
    settings = Settings(chunk_bytes=110_000, task_chunks=1)
    analysis, manifest = prepare(Request(str(tmp_path / "total.py"), str(path), {}, settings=settings), store, "", None)
    manifest.write(store)
    with pytest.raises(Killed):
        Interrupted(dask, store, manifest, analysis).execute()
    edit(path, 1001.0) if change == "edited" else os.utime(path)
    outcome = Runner(dask, store, manifest, analysis).execute()
    counters = read_results(store.get(outcome.result))["events"].counters
    assert (outcome.summary.status, counters["sum"]) == ("complete", EVENTS + 1000 * (change == "edited"))
    assert outcome.summary.chunks.computed <= 3


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "2/2", "-1/2", "a/b", "1/2/3", "0/0"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="I from 0 to N-1"):
        Share.parse(text)


def test_one_by_one_a_share_says_which_chunk_it_is_at(made, dask, whole, capsys):
    store, manifest, analysis = made(2)
    for index in range(2):
        ShareRunner(dask, store, manifest, analysis, Share(index, 2), one_by_one=True).carry_out()
    said = [f"chunk {number} begins" for number in range(CHUNKS)]
    assert capsys.readouterr().out.splitlines() == said
    assert died_at("\n".join([*said[:5], "Killed"])) == 4
    assert died_at("x chunk 3 begins") is None
    assert Merger(store, analysis, gathered(store, manifest)).execute().summary.result_sha256 == whole
