"""Nodes that eat jobs: who is blamed, for how long, and that the jobs of all clients of a user are kept off them."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace

import pytest

from tests.backends.noded_driver import Noded, set_nodes
from tests.backends.readme_driver import suite
from tests.patience import comes_true
from vrecompute.batch import cluster
from vrecompute.batch.contract import Job, JobStatus, State, SubmitError
from vrecompute.batch.node_strikes import NodeStrikes
from vrecompute.sites.model import Limits, Site
from vrecompute_backends.slurm import SlurmBackend

RUNS = JobStatus(State.RUNNING, node="good")
EATEN = JobStatus(State.FAILED, node="bad", reason="exit code 127 on bad", elapsed_s=1)


def look(strikes, **observed):
    """What is bad after a look; jobs whose names begin with `w` have brought a worker, those with `x` have not."""
    return strikes.look(observed, {n for n in observed if n[0] == "x"}, {n for n in observed if n[0] == "w"})


def test_a_node_is_blamed_once_for_three_jobs_while_another_node_does_well():
    strikes = NodeStrikes()
    assert look(strikes, w=RUNS, x1=EATEN) == look(strikes, w=RUNS, x2=EATEN) == {}
    assert look(strikes, w=RUNS, x3=EATEN) == {"bad": "exit code 127 on bad"}
    assert look(strikes, w=RUNS) == {}


def test_no_node_is_blamed_for_what_is_wrong_everywhere():
    strikes = NodeStrikes()
    for node in ("one", "two", "three") * 4:
        assert look(strikes, x=replace(EATEN, node=node)) == {}
    unnamed = NodeStrikes()
    for _ in range(4):
        assert look(unnamed, x=replace(EATEN, node=""), w=replace(RUNS, node="")) == {}, "a system that names none"
    assert not unnamed.suspect


def test_a_worker_from_a_node_clears_it():
    strikes = NodeStrikes()
    for _ in range(5):
        assert look(strikes, w=RUNS, x1=EATEN, x2=EATEN) == {}
        look(strikes, w=RUNS, w2=replace(RUNS, node="bad"))


@pytest.mark.parametrize(
    ("status", "blamed"),
    [
        (JobStatus(State.NODE_FAIL, node="bad", elapsed_s=20), True),
        (JobStatus(State.NODE_FAIL, node="bad", elapsed_s=2000), False),
        (JobStatus(State.NODE_FAIL, node="bad"), False),
        (JobStatus(State.PREEMPTED, node="bad", elapsed_s=1), False),
        (JobStatus(State.CANCELLED, node="bad", elapsed_s=1), False),
        (JobStatus(State.RUNNING, node="bad", elapsed_s=1), False),
    ],
)
def test_a_node_is_blamed_for_being_lost_at_once_and_for_nothing_that_others_do(status, blamed):
    strikes = NodeStrikes()
    bad = [look(strikes, w=RUNS, job=status) for _ in range(3)]
    assert bool(bad[2]) is blamed


def test_there_is_hope_while_a_job_runs_where_none_was_eaten():
    strikes = NodeStrikes()
    look(strikes, x=EATEN)
    assert not strikes.hope({})
    assert strikes.hope({"a": RUNS})
    assert not strikes.hope({"a": replace(RUNS, node="bad"), "b": replace(RUNS, node="")})
    assert not strikes.hope({"a": replace(RUNS, state=State.QUEUED)})


def test_where_one_node_ate_all_jobs_another_is_tried_before_a_run_is_given_up():
    strikes = NodeStrikes()
    for _ in range(3):
        assert strikes.suspect == ""
        assert look(strikes, x=EATEN) == {}
    assert (strikes.suspect, strikes.hope({})) == ("bad", True)
    eaten_again = NodeStrikes(dict(strikes.strikes))
    look(eaten_again, x=EATEN)
    assert (eaten_again.suspect, eaten_again.hope({})) == ("bad", False)
    wrong_everywhere = NodeStrikes(dict(strikes.strikes))
    look(wrong_everywhere, x=replace(EATEN, node="other"))
    assert (wrong_everywhere.suspect, wrong_everywhere.hope({})) == ("", False)
    assert look(strikes, w=RUNS) == {"bad": "exit code 127 on bad"}
    assert strikes.suspect == ""


def test_slurm_s_word_for_it_keeps_what_the_site_excludes_itself():
    def directives(job, **options):
        text = SlurmBackend(Site(name="s", backend="slurm", options=options)).script(job)
        return [line for line in text.splitlines() if "-x" in line.split("=")[0] or "exclude" in line]

    plain, off = Job("a", ("true",)), Job("a", ("true",), exclude=("n1", "n2"))
    assert directives(plain) == []
    assert directives(off) == ["#SBATCH --exclude=n1,n2"]
    for own in ("--exclude=m[1-3]", "--exclude m[1-3]", "-x m[1-3]"):
        assert directives(off, directives={"add": [own]}) == [f"#SBATCH {own}", "#SBATCH --exclude=m[1-3],n1,n2"]
    assert directives(off, directives={"drop": ["--exclude"]}) == []


def excluded(job_id):
    """What the script of a job says of it."""
    done = subprocess.run(["sh", "-c", f'cat "$QQ_HOME/{job_id}/script"'], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "exclude" in line]


@pytest.fixture
def site(qq_site, tmp_path, monkeypatch):
    monkeypatch.setenv("QQ_HOME", str(tmp_path / "qq"))
    return replace(qq_site, workers=replace(qq_site.workers, processes=1, memory=512 << 20), limits=Limits(min_poll=0))


def test_all_clients_of_a_user_keep_off_until_the_time_is_over(site, tmp_path, monkeypatch, caplog):
    set_nodes("n1", "n2")
    job = suite.TestMyDriver().job("true")
    one, two = Noded(site), Noded(site)
    one.left_out.add({"n1": "its disk is full", "n9; rm -rf /": "no name"})
    assert "jobs are kept off node n1 until" in caplog.text
    assert "its disk is full" in caplog.text
    assert excluded(two.submit(job)) == ["#QQ exclude=n1"]
    assert two.left_out.told() == one.left_out.told() != []
    [file] = (tmp_path / "jobs").glob("node-*")
    assert (file.name, file.stat().st_mode & 0o777) == ("node-n1.bad", 0o600)
    for name, text in {
        "x": "no json", "y": "[]", "z": json.dumps({"node": "n2\n#QQ queue=void", "until": time.time() + 9, "why": ""}),
        "far": json.dumps({"node": "n2", "until": 9e99, "why": ""}), "deep": "[" * 100_000,
    }.items():  # fmt: skip
        (tmp_path / "jobs" / f"node-{name}.bad").write_text(text + "\n")
    assert Noded(site).left_out.nodes() == ("n1",)
    now = time.time()
    monkeypatch.setattr("vrecompute.batch.left_out.time.time", lambda: now + 3 * 3600)
    assert excluded(two.submit(job)) == []
    assert not file.exists()


def test_jobs_that_are_submitted_one_after_another_cost_one_look(site, monkeypatch):
    set_nodes("n1", "n2")
    backend, looks = Noded(site), []
    run = backend.access.run
    monkeypatch.setattr(
        backend.access,
        "run",
        lambda command, **how: looks.append("cat -- node-" in str(command)) or run(command, **how),
    )
    for _ in range(3):
        backend.submit(suite.TestMyDriver().job("true"))
    assert sum(looks) == 1
    now = time.time()
    monkeypatch.setattr("vrecompute.batch.left_out.time.time", lambda: now + 31)
    backend.submit(suite.TestMyDriver().job("true"))
    assert sum(looks) == 2


def test_a_job_that_the_system_takes_nowhere_else_goes_there_all_the_same(site, caplog):
    set_nodes("n1")
    backend = Noded(site)
    backend.left_out.add({"n1": "why not"})
    job_id = backend.submit(suite.TestMyDriver().job("true", secret_files={"key": b"s"}))
    assert excluded(job_id) == []
    assert "no node is left for it" in caplog.text
    closed = Noded(replace(site, options={"queue": "closed"}))
    with pytest.raises(SubmitError, match="closed takes no jobs"):
        closed.submit(suite.TestMyDriver().job("true"))


def test_a_driver_without_the_word_says_that_it_cannot(qq_site, caplog):
    backend = suite.MyBackend(qq_site)
    backend.left_out.add({"n1": "why"})
    assert backend.left_out.nodes() == ()
    assert "jobs come to nothing on node n1, which they cannot be kept off: why" in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_suite_s_clause_of_it(site):
    set_nodes("n1", "n2")
    suite.TestMyDriver().test_a_job_is_kept_off_the_nodes_that_it_excludes(Noded(site))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cluster_gets_its_workers_past_a_node_that_eats_jobs(site, monkeypatch, caplog):
    """The broken node is free at once after each, so that without this it would get the next one for ever."""
    monkeypatch.setattr(cluster, "_LEAST_POLL_S", 0.3)
    set_nodes("n1!", "n2")
    backend = Noded(site)
    with backend.open_cluster(1) as workers:
        workers.client.wait_for_workers(1, timeout=90)
        assert comes_true(lambda: len(workers.left_out()) == 1)
        assert "node n1" in workers.left_out()[0]
    assert caplog.text.count("jobs are kept off node n1") == 1
