"""Histograms of every storage add up to the same bytes whatever was written in between, and to what is right."""

from __future__ import annotations

import itertools
from functools import reduce

import boost_histogram as bh
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from tests.events import write_events
from vrecompute import Client, Result
from vrecompute.results.file import pack, read_results, result_from_members, result_members, unpack, write_results
from vrecompute.results.tree import MergeTree, Node

STORAGES = ["Int64", "Double", "Weight", "Mean", "WeightedMean", "Unlimited", "AtomicInt64"]
MEANS = {"Mean": "_sum_of_deltas_squared", "WeightedMean": "_sum_of_weighted_deltas_squared"}
# x, y and weight of an entry: of few values, so that bins have none, one, or many equal ones; some lie outside
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([-1.0, 0.1, 0.4, 0.6, 0.9, 2.0]), st.floats(-1e6, 1e6), st.sampled_from([0.1, 0.25, 1.0, 3.0])
    ),
    max_size=40,
)


def filled(storage, entries, *, growing=False):
    axis = bh.axis.StrCategory(["a", "b"], growth=True) if growing else bh.axis.Regular(4, 0.0, 1.0)
    histogram = bh.Histogram(axis, storage=getattr(bh.storage, storage)())
    x, y, weight = np.array(entries, float).reshape(-1, 3).T
    given_too = {"sample": y} if storage in MEANS else {}
    if storage in ("Weight", "WeightedMean", "Double", "Unlimited"):
        given_too["weight"] = weight
    if len(x):
        histogram.fill(np.where(x < 0.5, "a", "b") if growing else x, **given_too)
    return Result(histograms={"h": histogram}, events=len(entries))


def written(result):
    return result_from_members(result_members(result))


@given(st.sampled_from(STORAGES), ENTRIES, st.booleans(), st.data())
def test_what_is_written_and_read_in_between_changes_no_bit_of_a_sum(storage, entries, growing, data):
    places = st.integers(0, len(entries))
    cuts = sorted([0, len(entries), *data.draw(st.lists(places, max_size=9))])
    chunks = [filled(storage, entries[a:b], growing=growing) for a, b in itertools.pairwise(cuts)]
    plain, parts = MergeTree[Result](len(chunks)), MergeTree[Result](len(chunks))
    for number, chunk in enumerate(chunks):
        plain.add(Node(0, number), chunk)
    for number in data.draw(st.permutations(range(len(chunks)))):
        parts.add(Node(0, number), written(chunks[number]))
    total, of_parts = plain.value(), parts.value()
    assert write_results({"s": of_parts}) == write_results({"s": total}) == write_results({"s": written(total)})
    view, expected = (r.histograms["h"].view(flow=True) for r in (written(of_parts), total))
    assert np.asarray(view).tobytes() == np.asarray(expected).tobytes()


@given(st.sampled_from(list(MEANS)), ENTRIES, st.data())
def test_sums_of_means_are_those_of_all_entries_at_once(storage, entries, data):
    cuts = sorted([0, len(entries), *data.draw(st.lists(st.integers(0, len(entries)), max_size=9))])
    results = [written(filled(storage, entries[a:b])) for a, b in itertools.pairwise(cuts)]
    view = reduce(lambda a, b: written(a + b), results).histograms["h"].view(flow=True)
    x, y, weight = np.array(entries, float).reshape(-1, 3).T
    weight = weight if storage == "WeightedMean" else np.ones_like(weight)
    for number, (low, high) in enumerate(itertools.pairwise([-np.inf, 0.0, 0.25, 0.5, 0.75, 1.0, np.inf])):
        here = (x >= low) & (x < high)
        mean = np.average(y[here], weights=weight[here]) if here.any() else 0.0
        squares = float(np.sum(weight[here] * (y[here] - mean) ** 2))
        scale = float(np.sum(weight[here] * y[here] ** 2))
        assert view[number]["value"] == pytest.approx(mean, rel=1e-9, abs=1e-9 * np.sqrt(scale))
        assert view[number][MEANS[storage]] == pytest.approx(squares, rel=1e-9, abs=1e-12 * scale)
        if storage == "Mean" and here.sum() > 1:
            assert view.variance[number] == pytest.approx(np.var(y[here], ddof=1), rel=1e-9, abs=1e-12 * scale)


@pytest.mark.parametrize("storage", MEANS)
def test_a_file_without_the_sums_reads_as_far_as_its_variances_tell(storage):
    result = filled(storage, [(0.1, 0.25, 0.3), (0.3, 1.0, 1.0), (0.3, 2.0, 1.0), (0.9, 0.1, 1.0), (0.9, 0.2, 0.5)])
    data = write_results({"s": result})
    older = pack({name: held for name, held in unpack(data).items() if not name.endswith("_sums_of_squares.npy")})
    assert older != data
    view, expected = (read_results(d)["s"].histograms["h"].view(flow=True) for d in (older, data))
    for field in expected.dtype.names:
        assert view[field] == pytest.approx(expected[field], rel=1e-12)
    twice = read_results(older)["s"] + read_results(older)["s"]
    assert np.isfinite(twice.histograms["h"].view(flow=True)[MEANS[storage]]).all()


def profiles(events):
    run, weight = events.flat("run").astype(float), events.flat("weight")
    made = {}
    for storage in STORAGES:
        made[storage] = bh.Histogram(bh.axis.Regular(150, 0, 3000), storage=getattr(bh.storage, storage)())
        weighted = {"weight": weight} if storage in ("Weight", "WeightedMean", "Unlimited") else {}
        made[storage].fill(run * 31 % 3100, **weighted, **({"sample": weight} if storage in MEANS else {}))
    return made


@pytest.mark.usefixtures("lent_workers")
def test_one_and_two_workers_give_the_same_bytes_and_the_numbers_of_one_fill(tmp_path):
    file = write_events(tmp_path / "e.root", 400, clusters=40)
    options = {"columns": ["run", "weight"], "takes": "columns", "chunk_bytes": 100}
    found = []
    for workers, task_chunks in ((1, 40), (2, 1)):
        with Client(workers=workers, threads=1, store=tmp_path / f"store{workers}") as client:
            run = client.map(profiles, str(file), task_chunks=task_chunks, **options)
            found.append((run.result(timeout_s=120).to_bytes(), run.report().chunks.total))
        assert run.report().status == "complete"
    assert found[0] == found[1]
    assert found[0][1] > 8
    sums = read_results(found[0][0])["events"].histograms
    assert sums["Mean"].view(flow=True).count.min() <= 1
    arrays = uproot.open(f"{file}:Events").arrays(["run", "weight"], library="np")
    at, y = arrays["run"].astype(float) * 31 % 3100, arrays["weight"]
    for storage, squares in MEANS.items():
        weight = y if storage == "WeightedMean" else np.ones_like(y)
        view = sums[storage].view(flow=True)
        for number, (low, high) in enumerate(itertools.pairwise([-np.inf, *np.linspace(0, 3000, 151), np.inf])):
            here = (at >= low) & (at < high)
            mean = np.average(y[here], weights=weight[here]) if here.any() else 0.0
            right = np.sum(weight[here] * (y[here] - mean) ** 2)
            assert view[number][squares] == pytest.approx(right, rel=1e-9, abs=1e-12)
