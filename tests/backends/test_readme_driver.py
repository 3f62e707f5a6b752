"""A driver of another batch system, as backends/README.md has it, through the whole suite that ships in the wheel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.backends.readme_driver import blocks, driver, suite
from vrecompute.batch.contract import SubmitError
from vrecompute.errors import Unavailable
from vrecompute.testing.clusters import ClusterContract


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestQQ(suite.TestMyDriver):
    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: driver.MyBackend(replace(qq_site, **changes))


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestItsSchedulerInAJob(ClusterContract):
    """Live mode in the third way, with nothing more of the driver."""

    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: driver.MyBackend(replace(qq_site, scheduler_runs="allocation", **changes))


def test_a_whole_driver_is_at_most_150_lines():
    assert len(blocks()["driver"].splitlines()) <= 150


def test_a_refusal_keeps_no_secret(qq_site, tmp_path):
    closed = driver.MyBackend(replace(qq_site, options={"queue": "closed"}))
    job = suite.TestMyDriver().job("true", secret_files={"key": b"s3cr3t"})
    with pytest.raises(SubmitError, match="queue closed takes no jobs"):
        closed.submit_many(job, 3)
    assert not list((tmp_path / "jobs").glob("secrets-*"))


def test_a_spool_without_room_for_secrets_is_a_site_that_cannot_be_used_now(qq_site, tmp_path):
    backend = driver.MyBackend(qq_site)
    put = backend.access.put

    def full(path, data, **options):
        put(path, b"", **options)
        raise OSError(f"this machine: {path}: cat: write error: No space left on device")

    backend.access.put = full
    job = suite.TestMyDriver().job("true", secret_files={"key": b"s3cr3t"})
    with pytest.raises(
        Unavailable, match=r"No space left on device; jobs of site 'mine' .* set another stage\.scratch"
    ):
        backend.submit(job)
    assert not list((tmp_path / "jobs").iterdir())
