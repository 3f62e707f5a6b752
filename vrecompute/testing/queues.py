"""`QueueContract`: what a driver of a queue is asked beyond jobs: environment, silence, holds, lost answers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vrecompute.batch.contract import Backend, Job, State, SubmitError
from vrecompute.batch.queue_backend import LostAnswer, QueueBackend
from vrecompute.errors import OverBudget, Unavailable, UsageError
from vrecompute.sites.access import Completed
from vrecompute.sites.model import Environment, Limits
from vrecompute.testing.suite import Suite

__all__ = ["QueueContract"]

# More than clocks of a site may be apart.
_OLDER_S = 6.0
#: A virtual environment on the very node that the job runs on, as far as a shell can tell.
_MAKE_VENV = (
    'CONTRACT_VENV=$(mktemp -d "${TMPDIR:-/tmp}/a venv XXXXXX") && mkdir "$CONTRACT_VENV/bin" && '
    'ln -s "$(command -v env)" "$CONTRACT_VENV/bin/python"'
)


#: For how long an answer is shared: longer than a test of it takes.
_SHARED_S = 600


class QueueContract(Suite):
    """Skipped for a driver that is no `QueueBackend`."""

    def test_nothing_of_the_submitter_s_environment_is_in_the_job(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may hold secrets, and would make a job depend on the terminal that it came from."""
        self.queue(backend)
        monkeypatch.setenv("VRECOMPUTE_CANARY", "canary-0815")
        job_id, status = self.end(backend, self.python("import os; print(dict(os.environ))"))
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "VRECOMPUTE_JOB" in backend.logs(job_id)
        assert "canary-0815" not in backend.logs(job_id)

    def test_the_site_s_venv_is_active_and_what_is_missing_ends_the_job(
        self, make_backend: Callable[..., Backend]
    ) -> None:
        """A command that started in another environment would fail later, or compute other numbers."""
        tell = self.job("sh", "-c", 'echo "command-ran $VIRTUAL_ENV path $PATH"; rm -r -- "$VIRTUAL_ENV"')
        backend = self.queue(make_backend(environment=Environment(setup=(_MAKE_VENV,), venv="$CONTRACT_VENV")))
        job_id, _ = self.end(backend, tell)
        assert re.search(r"command-ran (/.*/a venv \w+) path \1/bin:", said := backend.logs(job_id)), said
        for environment, reason in (
            (Environment(modules=("no-such-module-0815",)), ""),
            (Environment(venv="/no such/venv"), "environment.venv: /no such/venv/bin/python is no program"),
        ):
            other = make_backend(environment=environment)
            job_id, status = self.end(other, tell)
            said = other.logs(job_id)
            assert status.state is State.FAILED, said
            assert "command-ran" not in said, "the command was started all the same"
            assert reason in said

    def test_a_setup_that_goes_elsewhere_moves_no_job(self, make_backend: Callable[..., Backend]) -> None:
        """A job works where it began: its secrets, its keys and the mark of its end are there."""
        backend = self.queue(make_backend(environment=Environment(setup=("cd /",))))
        job_id, status = self.end(backend, self.job("sh", "-c", 'echo "works in $PWD;"; exit 3'))
        said = backend.logs(job_id)
        assert (status.state, status.exit_code) == (State.FAILED, 3), (status, said)
        assert re.search("works in /[^;]", said), said

    def test_a_held_job_is_held_with_its_reason_and_can_be_cancelled(self, backend: Backend) -> None:
        """It starts only when a person acts, so waiting for it must say so."""
        job_id = backend.submit(self.job("sleep", "300", requeue=True))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
        self.hold(backend, job_id)
        status = self.until(backend, [job_id], lambda s: s.state is State.HELD)[job_id]
        assert (bool(status.reason), bool(status.reason_code), status.blame) == (True, True, "none"), status
        assert not status.never, "it may be let go"
        backend.cancel([job_id])
        self.until(backend, [job_id], lambda s: s.state is State.CANCELLED)

    def test_a_job_that_can_never_start_says_so(self, make_backend: Callable[..., Backend]) -> None:
        """A run that waits for it is ended, with the reason, instead of waiting for good."""
        self.queue(make_backend())
        backend = make_backend(**self.never_starts())
        job_id = backend.submit(self.job("true"))
        status = self.until(backend, [job_id], lambda s: s.never)[job_id]
        assert status.state in {State.QUEUED, State.HELD}
        assert job_id in status.reason
        assert status.reason_code
        backend.cancel([job_id])

    def test_a_refusal_of_too_many_jobs_says_that_fewer_may_be_taken(self, backend: Backend) -> None:
        """A run then goes on with as many as there may be; of what was refused, nothing stays."""
        queue, job = self.queue(backend), self.job("sleep", "300", name=f"many-{time.time_ns():x}")
        with self.limited(backend, 2), pytest.raises(SubmitError) as refused:
            backend.submit_many(job, 3)
        assert refused.value.too_many
        names = [job.name, *(f"{job.name}-{index}" for index in range(3))]
        deadline = time.monotonic() + self.patience_s
        while left := [job_id for name in names for job_id in queue.named(name)]:
            assert time.monotonic() < deadline, f"one of three was refused, and {left} are still there"
            time.sleep(0.5)

    def test_what_would_be_said_to_a_submission_is_said_without_one(self, backend: Backend) -> None:
        """The probe asks so about jobs as large as those of a run: they would wait, and be charged for."""
        queue, job = self.queue(backend), self.job("true", name=f"asked-{time.time_ns():x}")
        if queue.dry_run(job, queue.script(job), 1) is None:
            pytest.skip(f"{type(backend).__name__}.dry_run gives None: the probe submits such jobs for a moment")
        assert not queue.ages(job.name), "a dry run is in the queue"

    def test_what_is_handed_in_holds_no_secret(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither the command nor the script: every user of the system may read them."""
        queue, handing, given = self.queue(backend), list[bool](), list[Any]()
        hand_in, run, put = queue.hand_in, queue.access.run, queue.access.put

        def handed_in(*words: Any) -> str:
            handing.append(True)
            try:
                return hand_in(*words)
            finally:
                handing.clear()

        def seen(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*words: Any, **options: Any) -> Any:
                given.extend([words, options] * len(handing))
                return call(*words, **options)

            return called

        monkeypatch.setattr(queue, "hand_in", handed_in)
        monkeypatch.setattr(queue.access, "run", seen(run))
        monkeypatch.setattr(queue.access, "put", seen(put))
        backend.cancel([backend.submit(self.job("true", secret_files={"key": b"canary-0815"}))])
        assert "canary-0815" not in repr(given)

    @pytest.mark.parametrize("lost", [LostAnswer("no answer"), Unavailable("the connection broke")])
    def test_a_submission_whose_answer_is_lost_is_one_job(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch, lost: Exception
    ) -> None:
        """The job that was taken is found by its name, and is the one whose id the caller has."""
        taken = self._lose(backend, monkeypatch, lost)
        job = self.python("print('ran')", name=f"lost-{time.time_ns():x}")
        job_id, status = self.end(backend, job)
        assert ([job_id], status.state) == (taken, State.COMPLETED)
        assert "ran" in backend.logs(job_id)
        deadline = time.monotonic() + self.patience_s
        while (found := list(self.queue(backend).ages(job.name))) != [job_id]:  # a record may lag
            assert time.monotonic() < deadline, (
                f"`ages({job.name!r})` gives {found}, and not {job_id!r}, which has ended: a job whose answer was lost "
                "may be over when it is looked for, so `ages` asks the record of ended jobs too"
            )
            time.sleep(0.5)
        assert not self.queue(backend).ages(f"{job.name}-other"), "jobs of another name"

    def test_a_job_is_kept_off_the_nodes_that_it_excludes(self, backend: Backend) -> None:
        """A node that breaks jobs is always free, and takes the next one too. Where no other is left, none runs."""
        queue = self.queue(backend)
        if not queue.exclude(("node",)):
            pytest.skip(f"{type(backend).__name__} gives no directive that keeps a job off a node")
        _, first = self.end(backend, self.job("true"))
        assert first.node, "a status says on which node its job ran"
        try:
            job_id = backend.submit(self.job("true", name="elsewhere", exclude=(first.node,)))
        except SubmitError:
            return
        status = self.until(backend, [job_id], lambda s: s.state.terminal or s.never)[job_id]
        backend.cancel([job_id])
        assert status.never or status.node not in {"", first.node}, status

    def test_a_submission_that_nobody_took_is_no_job(
        self, make_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An older job of the name, as of another process, is not taken for it."""
        backend = self.queue(make_backend())
        self.end(make_backend(), self.job("true", name="lost-older"))
        time.sleep(_OLDER_S)

        def fail(*given: Any) -> str:
            raise LostAnswer("no answer")

        monkeypatch.setattr(backend, "hand_in", fail)
        with pytest.raises(LostAnswer, match="no answer"):
            backend.submit(self.job("true", name="lost-older"))

    def test_a_poll_of_many_jobs_is_one_command_and_not_more_often_than_the_site_allows(
        self, make_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Batch systems are shared: a site counts the questions of each user."""
        backend = self.queue(make_backend(limits=Limits(min_poll=0)))
        ids = backend.submit_many(self.job("sleep", "300"), 3)
        calls = self._count(backend, monkeypatch)
        backend.poll(ids)
        assert len(calls) == 1, calls
        slow = self.queue(make_backend(limits=Limits(min_poll=3600)))
        slow.poll(ids)
        calls = self._count(slow, monkeypatch)
        slow.poll(ids)
        assert not calls
        backend.cancel(ids)

    def test_clients_of_a_user_share_one_answer(self, backend: Backend, make_backend: Callable[..., Backend]) -> None:
        """Each asks about the jobs of all, in one question: from `$2`, which has the ids of others too."""
        queue = self.queue(backend)
        ids = backend.submit_many(self.job("sleep", "300"), 2)
        self.until(backend, ids, lambda s: s.state is State.RUNNING)
        clients = [self.queue(make_backend(limits=Limits(min_poll=_SHARED_S))) for _ in range(3)]
        seen = dict(clients[0].poll(ids[:1]))
        before = _questions(queue)
        seen |= clients[1].poll(ids[1:])
        more = _questions(queue) - before
        assert not more, (
            "what is asked differs from one client to another, so that each asks for itself: `ask_site` was given ids, "
            f"as arguments or in the script; the script finds them in $2, with those of other clients ({sorted(more)})"
        )
        last = clients[2].poll(ids)
        states = [statuses[i].state for statuses in (seen, last) for i in ids]
        assert set(states) == {State.RUNNING}, (
            f"of jobs that run, clients which share an answer hear {states}: it has to tell of all ids in $2"
        )
        backend.cancel(ids)
        for client in clients:
            client.close()

    def test_files_that_jobs_carry_are_with_each_copy_and_what_it_adds_comes_back(self, backend: Backend) -> None:
        """For jobs that reach no store: what goes with them is there, in folders too, and what they made is here."""
        queue = self.queue(backend)
        work = "import os; os.chdir(os.environ['VRECOMPUTE_CARRIED']); os.makedirs('made/by', exist_ok=True); "
        work += "made = open('made/by/job' + os.environ['VRECOMPUTE_INDEX'], 'wb'); "
        work += "made.write(open('given/to it', 'rb').read()[::-1])"
        job = self.python(work, name=f"carries-{time.time_ns()}", carried={"given/to it": bytes(range(256))})
        ids = backend.submit_many(job, 2)
        ended = self.until(backend, ids, lambda status: status.state.terminal)
        assert {status.state for status in ended.values()} == {State.COMPLETED}, backend.logs(ids[0])
        back = bytes(range(256))[::-1]
        assert queue.brought_back(job.name) == {"made/by/job0": back, "made/by/job1": back}
        queue.forget_carried(job.name)
        assert queue.brought_back(job.name) == {}

    def test_silence_changes_nothing_and_raises_nothing(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An outage is neither an end nor an error of the run."""
        queue = self.queue(backend)
        job_id = backend.submit(self.job("sleep", "300"))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)

        def fail(*given: Any, **options: Any) -> Any:
            raise Unavailable("no connection")

        with monkeypatch.context() as patch:
            patch.setattr(queue.access, "run", fail)
            assert backend.poll([job_id])[job_id].state is State.RUNNING
            with pytest.raises(Unavailable):
                backend.cancel([job_id])
        refusal = Completed(1, b"", b"the system does not answer")
        with monkeypatch.context() as patch, contextlib.suppress(Unavailable):
            patch.setattr(queue.access, "run", lambda *given, **options: refusal)
            answer = queue.ask_about([job_id])
            assert not answer.gone, "the question failed, and the job is called gone"
            assert answer.instead or answer.silent or answer.records, "a query that failed is an answer"
        backend.cancel([job_id])

    def test_what_explain_prints_is_what_would_run(self, backend: Backend) -> None:
        """The scripts of a live cluster's jobs, rendered by the one renderer."""
        told = self.queue(backend).describe(2)
        assert "vrecompute.workers.daskworker" in told
        assert told == backend.describe(2)

    def test_the_core_hours_of_the_site_bound_a_cluster(self, make_backend: Callable[..., Backend]) -> None:
        """It is said before anything is submitted."""
        with pytest.raises(OverBudget):
            self.queue(make_backend(limits=Limits(core_hours=0.0001))).check_cluster(1)

    def test_a_command_of_a_job_with_an_image_runs_in_it(self, make_backend: Callable[..., Backend]) -> None:
        """The words of the site start it there, or the system does."""
        backend = self.queue(make_backend())
        self.needs(backend, "images")
        environment, variable = self.imaged(backend.site.environment)
        backend = self.queue(make_backend(environment=environment))
        tell = self.python(f"import os; print('in', os.environ[{variable!r}])", image=environment.image)
        job_id, status = self.end(backend, tell)
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert f"in {environment.image}" in backend.logs(job_id)

    def test_what_the_driver_cannot_give_is_refused(self, backend: Backend) -> None:
        """A container image, GPUs: a job without them would not be the one that was asked for."""
        queue = self.queue(backend)
        for name, job in {"images": self.job("true", image="a.sif"), "gpus": self.job("true", gpus=1)}.items():
            self._renders(queue, job, may=getattr(queue.capabilities, name))

    def _renders(self, backend: QueueBackend, job: Job, *, may: bool) -> None:
        if may:
            plain = backend.script(replace(job, image=None, gpus=0))
            assert backend.script(job) != plain
            return
        with pytest.raises(UsageError):
            backend.script(job)

    def _lose(self, backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
        """Have the answer to every submission lost; gives the ids of what was taken."""
        queue, taken = self.queue(backend), list[str]()
        hand_in = queue.hand_in

        def lose(*given: Any) -> str:
            taken.append(hand_in(*given))
            raise error

        monkeypatch.setattr(queue, "hand_in", lose)
        return taken

    def _count(self, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The commands that the Backend has run from now on."""
        run, calls = backend.access.run, list[Any]()

        def count(command: Any, **options: Any) -> Any:
            calls.append(command)
            return run(command, **options)

        monkeypatch.setattr(backend.access, "run", count)
        return calls


def _questions(queue: QueueBackend) -> set[str]:
    """The names under which answers lie in the spool, each of another question; none where flock is absent."""
    found = (re.fullmatch(r"polled-[0-9a-f]+", name) for name in queue.access.names(queue.spool))
    return {name[0] for name in found if name}
