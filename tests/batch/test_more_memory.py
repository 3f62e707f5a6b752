"""Jobs that follow one that was ended for its memory ask for more of it, where the site gives more."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.cluster import QueueCluster
from vrecompute.batch.contract import JobStatus, State
from vrecompute.batch.worker_jobs import worker_job
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site, Workers

GIB = 1 << 30


def site(memory: int | None, most: int | None) -> Site:
    return Site(name="s", backend="slurm", workers=Workers(processes=2, memory=memory, max_memory=most))


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40))
def test_it_doubles_up_to_what_the_site_says(memory, most):
    limits, asked = SiteLimits(site(memory, most)), memory
    while (more := limits.more_memory(asked)) is not None:
        assert asked < more <= min(most, 2 * asked)
        asked = more
    assert asked == max(memory, most)


def test_a_site_that_says_nothing_gives_no_more():
    assert SiteLimits(site(GIB, None)).more_memory(GIB) is None
    assert SiteLimits(site(None, GIB)).more_memory(None) is None


def test_workers_of_one_generation_that_die_alike_double_it_once(qq_site):
    ours = replace(qq_site, workers=site(GIB, 8 * GIB).workers)
    first, second = (SimpleNamespace(batch=SimpleNamespace(memory_bytes=GIB)) for _ in range(2))
    cluster = SimpleNamespace(
        backend=SimpleNamespace(site=ours),
        memory_bytes=GIB,
        _jobs=SimpleNamespace(workers={"a": first, "b": second}),
        _statuses={"a": JobStatus(State.OOM), "b": JobStatus(State.OOM)},
        _ended={},
    )
    for name in "ab":
        QueueCluster._note_death(cluster, name)
    assert cluster.memory_bytes == 2 * GIB
    cluster._statuses["a"] = JobStatus(State.FAILED)
    QueueCluster._note_death(cluster, "a")
    assert cluster.memory_bytes == 2 * GIB


def test_each_of_its_processes_has_its_part(qq_site):
    from tests.backends.readme_driver import driver

    backend = driver.MyBackend(replace(qq_site, workers=site(GIB, 4 * GIB).workers))
    for asked, memory in ((None, GIB), (4 * GIB, 4 * GIB)):
        job = worker_job(backend, "tls://a:1", "w", {}, asked)
        assert job.memory_bytes == memory
        limit = int(job.command[job.command.index("--memory-limit") + 1])
        assert 0.8 * memory / 2 <= limit < memory / 2
