"""A live run whose workers cannot start, or not as many as it wants: it ends and says why, or goes on with fewer."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import replace

import pytest

from tests.backends.readme_driver import driver
from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.batch import cluster, scheduler_job, standstill
from vrecompute.batch.contract import SubmitError
from vrecompute.errors import Unavailable
from vrecompute.sites.model import Environment, Limits, Network, Nodes, PortRange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def client(qq_site, tmp_path, monkeypatch):
    """`client(asked, **changes)`: one of a QQ whose site is changed so."""
    monkeypatch.setattr("vrecompute.workforce.load_backend", driver.MyBackend)
    monkeypatch.setattr(cluster, "_LEAST_POLL_S", 0.3)
    monkeypatch.setattr(standstill, "NEVER_S", 1.0)
    monkeypatch.setattr(scheduler_job, "NEVER_S", 1.0)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 100, clusters=4)
    one = replace(qq_site, workers=replace(qq_site.workers, processes=1, memory=512 << 20), limits=Limits(min_poll=0))

    def made(asked=None, **changes):
        return Client(replace(one, **changes), workers=asked)

    return made


def run_of(client, tmp_path):
    return client.run(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))


def alive() -> list[str]:
    """States of jobs that have not ended."""
    listed = subprocess.run(["qq", "list"], capture_output=True, text=True, check=True).stdout
    return [word for line in listed.splitlines() if (word := line.split("|")[1]) in {"WAIT", "RUN"}]


def qq(*words: str) -> None:
    subprocess.run(["qq", *words], check=True)


def nodes(site, **limits) -> dict:
    return {"workers": replace(site.workers, processes=1, memory=512 << 20, nodes=Nodes(**limits))}


@pytest.mark.parametrize("scheduler_runs", ["client", "allocation"])
def test_three_jobs_that_bring_no_worker_end_the_run_with_the_end_of_their_log(client, tmp_path, scheduler_runs):
    began = time.monotonic()
    with client(scheduler_runs="client", environment=Environment(venv="/no/such/venv")) as wrong:
        if scheduler_runs == "allocation":  # the scheduler starts, its workers do not
            submit = wrong.backend.submit_many
            wrong.backend.submit_many = lambda job, n: submit(replace(job, command=("python", "-c", "")), n)
        run, waits = run_of(wrong, tmp_path), set()
        assert comes_true(lambda: waits.add(run.progress().waiting) or run.status != "running", 120, 0.1)
        assert scheduler_runs == "allocation" or any(
            "ended with exit code 1" in why and "Its log ends: environment.venv: /no/such/venv" in why for why in waits
        ), waits
        with pytest.raises(Unavailable, match="3 worker jobs in a row ended without one") as ended:
            run.wait(120)
        assert ended.value.exit_code == 5
        assert Client(store=wrong.store).attach(run.id).where()[:4:3] == ("interrupted", str(ended.value))
        assert time.monotonic() - began < 60
        assert "environment.venv: /no/such/venv/bin/python is no program" in str(ended.value)
    assert comes_true(lambda: alive() == [], 20)


@pytest.mark.parametrize("scheduler_runs", ["client", "allocation"])
def test_jobs_that_can_never_start_end_the_run_as_a_refusal_does(client, tmp_path, scheduler_runs):
    with client(options={"queue": "void"}, scheduler_runs=scheduler_runs) as void:
        run = run_of(void, tmp_path)
        with pytest.raises(SubmitError, match=r"can ever start.*options\.queue") as ended:
            run.wait(60)
        assert (ended.value.exit_code, run.status) == (2, "refused")
    assert comes_true(lambda: alive() == [], 20)


def test_as_many_jobs_as_the_system_takes_do_the_work_of_more(client, qq_site, tmp_path, caplog):
    qq("limit", "2", "100")
    with client(**nodes(qq_site, min=1, max=5), asked=5) as few:
        few.dask.wait_for_workers(2, timeout=60)
        assert run_of(few, tmp_path).report(timeout_s=120).status == "complete"
        assert len(alive()) == 2
        qq("limit", "100", "100")
        few.dask.wait_for_workers(5, timeout=60)
    assert "too many jobs: 2 of a user" in caplog.text
    assert "goes on with 2 jobs" in caplog.text


def test_more_copies_than_one_submission_may_have_are_several(client, qq_site):
    qq("limit", "100", "2")
    with client(**nodes(qq_site, min=5)) as parts:
        parts.dask.wait_for_workers(5, timeout=60)


def test_fewer_jobs_than_a_run_starts_with_are_refused_with_the_number(client, qq_site, tmp_path):
    qq("limit", "2", "100")
    with (
        client(**nodes(qq_site, min=3)) as few,
        pytest.raises(SubmitError, match=r"takes 2 of the 3 jobs .*nodes\.min.*2 of a user"),
    ):
        run_of(few, tmp_path).wait(60)
    assert comes_true(lambda: alive() == [], 20)


@pytest.mark.parametrize("scheduler_runs", ["client", "allocation"])
def test_a_scheduler_without_a_free_port_or_its_interface_says_so(client, scheduler_runs):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        network = Network(scheduler_ports=PortRange(port, port))
        with (
            client(network=network, scheduler_runs=scheduler_runs) as full,
            pytest.raises(Unavailable, match=rf"could not open a port in {port}-{port} on .*network\.scheduler_ports"),
        ):
            _ = full.dask
    with (
        client(network=Network(interface="no0"), scheduler_runs=scheduler_runs) as wrong,
        pytest.raises(Unavailable, match="'no0' is not a valid network interface"),
    ):
        _ = wrong.dask


@pytest.mark.parametrize("opens_again", [True, False])
def test_jobs_that_are_refused_once_others_are_gone_are_asked_for_again_and_then_end_the_run(
    client, tmp_path, monkeypatch, opens_again
):
    monkeypatch.setattr(standstill, "_REFUSED_S", 300.0 if opens_again else 3.0)
    with client(asked=1) as shut:
        shut.dask.wait_for_workers(1, timeout=60)
        options = shut.backend.options
        shut.backend.options = options.model_copy(update={"queue": "closed"})
        ids = subprocess.run(["qq", "list"], capture_output=True, text=True, check=True).stdout.split("|")[0]
        qq("cancel", ids)
        run, said = run_of(shut, tmp_path), "queue closed takes no jobs"
        assert comes_true(lambda: said in run.progress().waiting, 60, 0.1), run.progress()
        assert "tried again" in run.progress().waiting
        if opens_again:
            shut.backend.options = options
            assert run.report(timeout_s=120).status == "complete"
            return
        with pytest.raises(SubmitError, match=f"{said}.*asked again for") as ended:
            run.wait(60)
        assert (ended.value.exit_code, run.status) == (2, "refused")
    assert comes_true(lambda: alive() == [], 20)
