"""How often a batch system is asked: at most once per `limits.min_poll` of its site, for all runs of a client."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.backends.readme_driver import driver, suite
from tests.patience import comes_true
from vrecompute.batch.contract import State
from vrecompute.batch.outage import Outage
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute.sites.model import Limits

RUNS, FLOOR_S = 200, 60


class Queue(LocalAccess):
    """A QQ that says of each job that it runs, and counts its questions."""

    questions = 0

    def run(self, command, **options):
        """Answer the poll's command, and what makes the spool."""
        if "bash" in command:
            return Completed(0, b"/spool\n", b"")
        self.questions += 1
        ids = command[command.index("/spool") + 1].split(",")
        return Completed(0, "".join(f"{i}|RUN|0||9.0|5.0|\n" for i in ids).encode(), b"")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def backend(qq_site):
    queue = Queue()
    return driver.MyBackend(replace(qq_site, limits=Limits(min_poll=FLOOR_S)), queue)


def test_all_runs_of_a_client_that_poll_one_by_one_are_known_within_two_questions(backend, clock):
    """Each run follows its own job: whoever came first after the floor asked for itself alone."""
    ids = [str(n) for n in range(RUNS)]
    began = clock[0]
    while {backend.poll([i])[i].state for i in ids} != {State.RUNNING}:
        clock[0] += 5
        assert clock[0] - began <= 2 * FLOOR_S
    assert backend.access.questions == 2


def test_runs_that_will_be_looked_at_are_part_of_the_first_question(backend):
    ids = [str(n) for n in range(RUNS)]
    backend.ask_next(ids)
    assert {backend.poll([i])[i].state for i in ids} == {State.RUNNING}
    assert backend.access.questions == 1


def test_a_job_that_is_still_to_be_asked_about_says_so(backend, clock):
    backend.poll(["1"])
    clock[0] += 20
    said = backend.poll(["1", "2"])
    assert said["1"].state is State.RUNNING
    assert (said["2"].state, said["2"].reason) == (State.UNKNOWN, "QQ is asked about job 2 in 40 s (limits.min_poll)")


def test_ten_minutes_of_200_detached_runs_are_ten_questions(backend, clock):
    ids = [str(n) for n in range(RUNS)]
    for _ in range(0, 600, 5):
        for i in ids[:: RUNS // 20]:
            backend.poll([i])
        backend.poll(ids)
        clock[0] += 5
    assert backend.access.questions == 10


@pytest.fixture
def asked(qq_site, tmp_path):
    """`asked()`: how many questions the QQ had."""
    program, record = tmp_path / "bin" / "qq", tmp_path / "asked"
    text = program.read_text()
    program.write_text(text.replace("\n", f'\n[ "$1" != list ] || echo >> {record}\n', 1))
    return lambda: len(record.read_text().splitlines()) if record.exists() else 0


def answer_of(tmp_path):
    """The one answer in the spool."""
    (answer,) = (path for path in (tmp_path / "jobs").glob("polled-*") if not path.suffix)
    return answer


def test_twenty_clients_of_a_user_ask_once_in_the_time_that_one_may(qq_site, asked, tmp_path):
    site = replace(qq_site, options={"queue": "busy"}, limits=Limits(min_poll=600))
    ids = driver.MyBackend(site).submit_many(suite.TestMyDriver().job("true"), 3)
    for questions in (1, 2):
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda client: client.poll(ids), [driver.MyBackend(site) for _ in range(20)]))
        assert {status.state for statuses in seen for status in statuses.values()} == {State.QUEUED}
        assert asked() == questions
        at, _, rest = answer_of(tmp_path).read_text().partition(" ")
        answer_of(tmp_path).write_text(f"{int(at) - 601} {rest}")


def test_a_client_with_another_job_asks_at_once_and_for_all(qq_site, asked):
    site = replace(qq_site, options={"queue": "busy"}, limits=Limits(min_poll=600))
    one, other = (driver.MyBackend(site).submit(suite.TestMyDriver().job("true")) for _ in range(2))
    for ids in ([one], [other], [one], [one, other]):
        seen = driver.MyBackend(site).poll(ids)
        assert {status.state for status in seen.values()} == {State.QUEUED}
    assert asked() == 2


def test_an_outage_is_shared_too_and_a_damaged_answer_is_asked_for_anew(qq_site, asked, tmp_path):
    site = replace(qq_site, options={"queue": "busy"}, limits=Limits(min_poll=600))
    job = driver.MyBackend(site).submit(suite.TestMyDriver().job("true"))
    program = tmp_path / "bin" / "qq"
    works = program.read_text()
    program.write_text(works.replace("exec ", "echo 'qq: no answer' >&2; exit 1; exec "))
    for _ in range(3):
        assert driver.MyBackend(site).poll([job])[job].state is State.UNKNOWN
    assert asked() == 1
    program.write_text(works)
    for nonsense in ("nonsense", "a b\n1\n", "\n\n"):
        answer_of(tmp_path).write_text(nonsense)
        assert driver.MyBackend(site).poll([job])[job].state is State.QUEUED


def test_what_is_known_while_the_system_is_silent_says_of_when_it_is(backend, clock, monkeypatch):
    assert backend.poll(["1"])["1"].reason == ""

    def silent(*given, **options):
        raise Unavailable("no route to it")

    monkeypatch.setattr(backend.access, "run", silent)
    clock[0] += FLOOR_S
    status = backend.poll(["1"])["1"]
    assert status.state is State.RUNNING
    assert re.search(r"as of \d\d:\d\d; site .* does not answer \(no route to it\)", status.reason)
    clock[0] += FLOOR_S
    assert backend.poll(["2"])["2"].state is State.UNKNOWN, "of what was never told there is nothing to doubt"


def test_a_question_that_takes_long_is_named_once_while_it_is_waited_for(monkeypatch, caplog):
    monkeypatch.setattr("vrecompute.batch.outage._SLOW_S", 0.05)
    outage = Outage("site 'a': Q (here)")
    for _ in range(2):
        with outage.awaited("what it says of jobs", 90):
            assert comes_true(lambda: "is slow" in caplog.text, 20)
    assert caplog.text.count("site 'a': Q (here) is slow to answer: waiting for what it says of jobs") == 1
    monkeypatch.setattr("vrecompute.batch.outage._SLOW_S", 600)
    with outage.awaited("the end of jobs", 60):
        pass
    assert "the end of jobs" not in caplog.text
