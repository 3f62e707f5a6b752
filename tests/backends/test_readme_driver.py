"""A driver of another batch system, as backends/README.md has it, through the whole suite that ships in the wheel."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.accounted_driver import Accounted
from tests.backends.readme_driver import blocks, driver, suite
from tests.backends.weighed_driver import Weighed
from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import State, SubmitError
from vrecompute.batch.planned import Planned
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.rehearsal import rehearse
from vrecompute.errors import Unavailable, UsageError
from vrecompute.sites.model import Workers
from vrecompute.testing.clusters import ClusterContract
from vrecompute.testing.outages import OutageContract


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestQQ(suite.TestMyDriver):
    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: driver.MyBackend(replace(qq_site, **changes))


class OneByOne(driver.MyBackend):
    """A system without arrays of jobs."""

    array = False


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestWithoutArrays(suite.TestMyDriver):
    walltime_s = 20  # it is counted as in TestQQ

    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: OneByOne(replace(qq_site, **changes))


class OfOneNode(driver.MyBackend):
    """A system that gives one node to a job, as the README has it."""

    capabilities = Capabilities(spans=False)

    def header(self, job, shape):
        if shape.nodes > 1:
            raise UsageError(f"job {job.name!r} needs {shape.nodes} nodes; a job of QQ has one")
        return super().header(job, shape)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    "name",
    [
        "test_a_job_with_workers_finds_them_as_any_dask_program_does",
        "test_a_job_of_several_nodes_is_one_or_is_denied",
        "test_what_explain_prints_is_what_would_run",
    ],
)
def test_a_system_may_give_one_node_to_a_job(qq_site, processes, name):
    backend = OfOneNode(replace(qq_site, workers=replace(qq_site.workers, processes=processes)))
    getattr(suite.TestMyDriver(), name)(backend)


def test_a_driver_that_denies_one_thing_denies_nothing_else():
    assert Capabilities(spans=False) == replace(driver.MyBackend.capabilities, spans=False)
    assert OfOneNode.capabilities.images


class Once(driver.MyBackend):
    """A system without a command that starts a job again."""

    requeue = ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_driver_may_have_no_command_that_starts_a_job_again(qq_site):
    suite.TestMyDriver().test_a_command_out_of_time_goes_on_in_another_attempt(Once(qq_site))


class ByExitCode(driver.MyBackend):
    """A system that starts a job again whose script ends with a code of its own."""

    requeue = "exit 99"

    def header(self, job, shape):
        return [*super().header(job, shape), *(["#QQ again=99"] if job.requeue else [])]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_may_be_started_again_by_the_exit_code_of_its_script(qq_site):
    suited, backend = suite.TestMyDriver(), ByExitCode(qq_site)
    suited.test_a_command_out_of_time_goes_on_in_another_attempt(backend)
    suited.test_no_attempt_more_than_is_paid_for(backend)


class CountsNothing(driver.MyBackend):
    """A driver whose jobs take each attempt for the first."""

    variables = driver.MyBackend.variables | {"attempt": "0"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_whose_attempts_are_not_counted_ends(qq_site):
    suited, backend = suite.TestMyDriver(), CountsNothing(qq_site)
    job_id, status = suited.end(backend, suited.python("raise SystemExit(75)", requeue=True), 60)
    assert (status.state, status.exit_code, status.attempt) == (State.FAILED, 75, 1)
    assert "its attempt before was number 0 too: variables['attempt'] of the driver" in backend.logs(job_id)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_driver_may_tell_of_memory(qq_site):
    suite.TestMyDriver().test_memory_is_told_in_bytes(Weighed(qq_site))


class LosesItsAttempt(driver.MyBackend):
    """The command that tells the attempt is not in the PATH of a login."""

    variables = driver.MyBackend.variables | {"attempt": "$(qq-attempt)"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_whose_attempt_is_no_number_ends_and_a_probe_says_so(qq_site):
    suited, backend = suite.TestMyDriver(), LosesItsAttempt(qq_site)
    job_id, status = suited.end(backend, suited.python("print('began')", secret_files={"key": b"s3cr3t"}))
    said = backend.logs(job_id)
    assert status.state is State.FAILED
    assert f"job {job_id}: variables['attempt'] of the driver mysystem gives '', which is no number" in said
    assert "began" not in said
    assert not list(Path(backend.spool).glob("*.end")) + list(Path(backend.spool).glob("secrets-*"))
    [queue] = [found for found in backend.probe() if found.check == "queue"]
    assert queue.advice == "variables['attempt'] of the driver mysystem: a shell text that gives 0, 1, ..."


def test_what_a_test_submitted_is_cancelled_after_its_failure(qq_site):
    suited = suite.TestMyDriver()

    def make_backend():
        return driver.MyBackend(qq_site)

    ids = []

    def fails():
        with suited.ending_all(make_backend):
            ids.extend(make_backend().submit_many(suited.job("sleep", "300"), 2))
            pytest.fail("as a test does")

    with pytest.raises(pytest.fail.Exception, match="as a test does"):
        fails()
    ended = suited.until(make_backend(), ids, lambda status: status.state.terminal, 30)
    assert {status.state for status in ended.values()} == {State.CANCELLED}
    assert "hand_in" in vars(driver.MyBackend), "and the driver is what it was"
    assert not driver.MyBackend.hand_in.__qualname__.startswith("Suite")


def test_an_unseen_id_has_the_form_of_one_that_was_seen():
    suited = suite.TestMyDriver()
    assert [suited.unseen_id(seen) for seen in ("17.mars", "12_3", "4.0")] == [
        "900000017.mars", "900000012_3", "900000004.0",
    ]  # fmt: skip
    with pytest.raises(pytest.fail.Exception, match=r"override TestMyDriver\.unseen_id"):
        suited.unseen_id("mars")


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestItsSchedulerInAJob(ClusterContract):
    """Live mode in the third way, with nothing more of the driver."""

    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: driver.MyBackend(replace(qq_site, scheduler_runs="allocation", **changes))


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestItsTwoQuestions(OutageContract):
    """Of a system with accounting."""

    @pytest.fixture
    def make_backend(self, qq_site):
        return lambda **changes: Accounted(replace(qq_site, **changes))


def test_a_whole_driver_is_at_most_150_lines():
    assert len(blocks()["driver"].splitlines()) <= 150


def test_a_refusal_keeps_no_secret(qq_site, tmp_path):
    closed = driver.MyBackend(replace(qq_site, options={"queue": "closed"}))
    job = suite.TestMyDriver().job("true", secret_files={"key": b"s3cr3t"})
    with pytest.raises(SubmitError, match="queue closed takes no jobs"):
        closed.submit_many(job, 3)
    assert not list((tmp_path / "jobs").glob("secrets-*"))


class WithoutDryRun(driver.MyBackend):
    """A system that cannot be asked what it would say."""

    dry_run = QueueBackend.dry_run


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"options": {"queue": "void"}}, "would never start it: job .* no machine of its queue may run it"),
        ({"options": {"queue": "closed"}}, "queue closed takes no jobs"),
        ({"workers": Workers(memory=1 << 50)}, "no machine has so much memory"),
    ],
    ids=["right", "never starts", "refused", "too large"],
)
def test_a_system_that_cannot_be_asked_is_shown_such_jobs_for_a_moment(qq_site, changes, said):
    backend = WithoutDryRun(replace(qq_site, **changes))
    job = suite.TestMyDriver().job("true", memory_bytes=changes.get("workers", Workers()).memory)
    found = rehearse(backend, Planned("worker job", job, 2))
    assert found.ok == (not said)
    assert re.search(said, found.detail), found
    left = [line[1] for line in backend._lines("list")]
    suite.TestMyDriver().until(backend, left, lambda status: status.state.terminal, 30)


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
