"""Planning covers every entry once, for files of any size and clusters of any shape."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vrecompute.datasets.dataset import Sample
from vrecompute.digest import canonical_json
from vrecompute.execution.chunk_bounds import split
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.planning import with_empty_chunks
from vrecompute.records import from_data, to_data


@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(0, 10**9), st.integers(1, 10**8))
def test_split_covers_every_entry_once(sizes, data_bytes, chunk_bytes):
    clusters = [0]
    for size in sizes:
        clusters.append(clusters[-1] + size)
    entries = clusters[-1]
    bounds = split(entries, clusters, data_bytes, chunk_bytes)
    assert bounds[0] == 0
    assert bounds[-1] == entries
    assert all(a < b for a, b in itertools.pairwise(bounds))


@given(st.integers(1, 10**6), st.integers(1, 10**9), st.integers(1, 10**8))
def test_a_chunk_stays_within_chunk_bytes(entries, data_bytes, chunk_bytes):
    bounds = split(entries, [0, entries], data_bytes, chunk_bytes)
    per_event = data_bytes / entries
    largest = max(b - a for a, b in itertools.pairwise(bounds))
    assert largest * per_event <= chunk_bytes + per_event or largest == 1


def source(name: str, bounds: tuple[int, ...], sample: str = "s") -> PlannedSource:
    return PlannedSource(
        path=f"/data/{name}.root", sample=sample, kind="ttree", tree="Events", uuid=name, size=10,
        entries=bounds[-1], columns=("x",), bounds=bounds, view={},
    )  # fmt: skip


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.data())
def test_slices_of_any_tasks_cover_every_chunk_once(chunk_counts, data):
    sources = [source(f"f{i}", tuple(range(0, 10 * n + 1, 10))) for i, n in enumerate(chunk_counts)]
    plan = Plan.of("w", [Sample("s")], sources, 100)
    cuts = sorted(data.draw(st.sets(st.integers(0, plan.chunks))) | {0, plan.chunks})
    seen = [
        (number, chunk)
        for first, last in itertools.pairwise(cuts)
        for number, a, b in plan.slices(first, last)
        for chunk in range(a, b)
    ]
    assert seen == [(n, c) for n, s in enumerate(plan.sources) for c in range(s.chunks)]


def test_a_plan_survives_its_own_json_with_the_same_keys():
    plan = Plan.of("w", [Sample("s", metadata={"a": 1})], [source("a", (0, 5, 9)), source("b", (0, 3))], 100)
    again = from_data(Plan, json.loads(canonical_json(to_data(plan))))
    assert canonical_json(to_data(again)) == canonical_json(to_data(plan))
    assert [s.key for s in again.sources] == [s.key for s in plan.sources]
    # A literal, so that a change of the key is noticed: it would make every stored part unreachable.
    assert source("a", (0, 5, 9)).key == again.sources[[s.uuid for s in again.sources].index("a")].key


def test_the_key_names_what_changes_a_number_and_nothing_else():
    base = source("a", (0, 5, 9))
    moved = PlannedSource(**{**vars_of(base), "path": "/elsewhere/a.root", "disk_bytes": 7})
    assert moved.key == base.key
    for change in (
        {"uuid": "b"},
        {"bounds": (0, 4, 9)},
        {"columns": ("y",)},
        {"view": {"unit": "MeV"}},
        {"ordinal": 1},
    ):
        assert PlannedSource(**{**vars_of(base), **change}).key != base.key


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), max_size=8), st.randoms())
def test_each_sample_has_a_chunk_and_sources_without_events_have_none_beside_others(drawn, order):
    sources = [source(f"f{n}", (0, 7)[: entries + 1], sample) for n, (sample, entries) in enumerate(drawn)]
    made = with_empty_chunks(sources)
    assert [replace(s, bounds=()) for s in made] == [replace(s, bounds=()) for s in sources]
    shuffled = order.sample(sources, len(sources))
    assert sorted(with_empty_chunks(shuffled), key=lambda s: s.uuid) == sorted(made, key=lambda s: s.uuid)
    for sample in {sample for sample, _ in drawn}:
        full = sum(entries for name, entries in drawn if name == sample)
        assert sum(s.chunks for s in made if s.sample == sample) == max(1, full)


def vars_of(planned: PlannedSource) -> dict:
    return {k: v for k, v in vars(planned).items() if k not in {"identity", "key"}}
