"""What a run may ask of a site is refused before anything is started."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.errors import OverBudget, UsageError
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Limits, Nodes, Site, Workers
from vrecompute.workers.walltime import ATTEMPTS

SITE = Site(
    name="here",
    backend="slurm",
    workers=Workers(processes=2, threads=4, walltime=7200, sweet_spot=1800, nodes=Nodes(min=1, max=5)),
    limits=Limits(core_hours=16),
)


def test_what_is_not_asked_for_is_the_site_s():
    allowance = SiteLimits(SITE)
    assert (allowance.workers(), allowance.job_s(), allowance.longest_s) == (2, 1800, 7200)
    plain = SiteLimits(replace(SITE, workers=Workers()))
    assert (plain.workers(), plain.job_s(), plain.longest_s) == (1, 3600, 3600)
    assert plain.workers(1000) == 1000, "nodes.max is not set"


def test_more_than_the_site_gives_is_refused_with_the_key_that_says_so():
    with pytest.raises(UsageError, match=r"at most 10 workers \(workers.nodes.max: 5, 2 in each job\), and 11"):
        SiteLimits(SITE).workers(11)
    with pytest.raises(UsageError, match=r"at most 2 h 00 min \(workers.walltime\), and 2 h 01 min"):
        SiteLimits(SITE).job_s(7260)
    with pytest.raises(OverBudget, match=r"5 x 8 cores for 30 min 00 s are 20 core-hours, and one run may plan 16"):
        SiteLimits(SITE).attempts(10, 1800)


@given(st.integers(1, 10), st.integers(60, 7200), st.floats(0.1, 100))
def test_attempts_are_as_many_as_the_core_hours_are_worth(workers, job_s, core_hours):
    allowance = SiteLimits(replace(SITE, limits=Limits(core_hours=core_hours)))
    each = -(-workers // 2) * 8 * job_s / 3600
    try:
        attempts = allowance.attempts(workers, job_s)
    except OverBudget:
        assert each > core_hours
    else:
        assert attempts is not None
        assert attempts >= 1
        assert attempts * each <= core_hours * (1 + 1e-12)
        assert (attempts + 1) * each > core_hours * (1 - 1e-12)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_work_never_wants_fewer_workers(less, more):
    allowance = SiteLimits(SITE)
    less, more = sorted((less, more))
    assert 2 <= allowance.grown(less) <= allowance.grown(more) <= 10


def test_a_run_grows_while_each_thread_has_chunks_and_not_where_the_site_does_not_say_so():
    allowance = SiteLimits(SITE)
    assert [allowance.grown(chunks) for chunks in (0, 32, 33, 64, 65, 10_000)] == [2, 2, 4, 4, 6, 10]
    assert SiteLimits(replace(SITE, workers=replace(SITE.workers, nodes=Nodes(min=2)))).grown(10_000) == 4


def test_a_submission_beyond_the_limits_leaves_nothing_behind(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    here = Site(name="here", backend="local", workers=Workers(walltime=3600), limits=Limits(core_hours=0.5))
    with Client(here, store=tmp_path / "store") as client:
        with pytest.raises(OverBudget, match=r"limits\.core_hours"):
            client.submit(str(tmp_path / "sums.py"), str(file))
        with pytest.raises(UsageError, match=r"workers\.walltime"):
            client.submit(str(tmp_path / "sums.py"), str(file), walltime_s=7200)
        assert client.runs() == []


def test_a_job_is_requeued_as_often_as_its_core_hours_are_worth(tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(tmp_path / "e.root")
    for core_hours, words in ((None, "--requeue"), (5, f"export {ATTEMPTS}=2"), (3, "--no-requeue")):
        there = replace(SITE, limits=Limits(core_hours=core_hours))
        with Client(there, store=tmp_path / "store", workers=2) as client:
            script = client.explain(str(tmp_path / "sums.py"), str(file), detach=True, walltime_s=900).script
        assert words in script
