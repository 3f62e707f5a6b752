"""What interrupts, kills, forks and notebooks do to a run: nothing that lasts, and nothing that nobody hears of."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.kernel import Kernel
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.errors import ClusterLost, UsageError

CHUNKS = 40


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with an analysis, a file of 40 clusters, and a module of a user beside them."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    write_events(folder / "e.root", CHUNKS, clusters=CHUNKS)
    return folder


@pytest.fixture(scope="module")
def right(work) -> str:
    """The sha256 of the result of the file, undisturbed."""
    with Client(workers=1, store=work / "undisturbed") as client:
        given = {"chunk_bytes": 1, "task_chunks": 1}
        return client.run(str(work / "sums.py"), str(work / "e.root"), **given).report(timeout_s=300).result_sha256


def below(pid: int) -> list[psutil.Process]:
    """Processes that a process started, and those that they did; the scheduler's first, and none of Python's own."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())  # of a zombie it is empty
                if command and "resource_tracker" not in command:
                    found.append(process)
    return found


def workers_below(pid: int) -> list[psutil.Process]:
    found = []
    for process in below(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


# A script as README shows it: no `if __name__ == "__main__"`, and things of its own that workers need.
SCRIPT = """
import sys
from vrecompute import Client, Result

print("begun", flush=True)
CUT = 10.0

class Counter:
    def above(self, events):
        return float((events.flat("Muon_pt") > CUT).sum())

def count(events):
    return Result(counters={"above": Counter().above(events)})

client = Client(workers=1, store="script-store")
print("above", client.map(count, "e.root", columns=["Muon_pt"], takes="columns").result()["events"].counters["above"])
run = client.run("sums.py", "e.root", sleep_s=0.4, chunk_bytes=1, task_chunks=1)
while run.progress().chunks_done < 2:
    pass
try:
    print("ready", flush=True)
    run.result(timeout_s=120)
except KeyboardInterrupt:
    print("interrupted", run.status, flush=True)
print(run.report(timeout_s=120).result_sha256)
client.close()
"""


def test_a_script_needs_no_main_guard_and_an_interrupt_of_its_group_costs_nothing(work, right):
    """As Ctrl-C and Jupyter's stop button send it: to every process of the group."""
    (work / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    with subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as script:
        lines = [script.stdout.readline().split() for _ in range(3)]
        assert lines == [["begun"], ["above", lines[1][1]], ["ready"]], script.stderr.read()
        assert float(lines[1][1]) > 0
        workers = workers_below(script.pid)
        assert len(workers) == 1
        os.killpg(script.pid, signal.SIGINT)
        workers[0].send_signal(signal.SIGINT)  # to the worker itself, as a batch system may
        out, err = script.communicate(timeout=200)
    assert out.split() == ["interrupted", "running", right], err
    assert err == ""
    assert comes_true(lambda: not workers[0].is_running())


def test_a_stop_of_a_notebook_costs_nothing_and_a_cell_that_makes_a_client_may_be_run_again(work, right):
    with Kernel(work) as kernel:
        assert kernel.run("from vrecompute import Client\nclient = Client(workers=1, store='notebook')") == ""
        cell = "run = client.run('sums.py', 'e.root', sleep_s=0.1, chunk_bytes=1, task_chunks=1)\n"
        watched = kernel.start(cell + "while run.progress().chunks_done < 2: pass\nprint('on')\nrun.result()")
        assert comes_true(lambda: workers_below(kernel.pid))
        first = workers_below(kernel.pid)
        time.sleep(1)
        kernel.stop()
        assert kernel.end(watched, 30).endswith("KeyboardInterrupt: ")
        assert kernel.run("print(run.report(timeout_s=100).result_sha256)").split() == [right]
        # the next run has the same workers
        again = "client.run('sums.py', 'e.root', reuse=False, chunk_bytes=1).report(timeout_s=100).result_sha256"
        assert kernel.run(f"print({again})").split() == [right]
        assert workers_below(kernel.pid) == first

        # a Client that is replaced while its run goes on keeps its workers until that has ended
        slow = "run = client.run('sums.py', 'e.root', sleep_s=0.5, chunk_bytes=1, task_chunks=1)\n"
        replace = "client = Client(workers=1, store='notebook'); print(len(client.dask.nthreads()))"
        assert kernel.run(slow + replace).split() == ["1"]
        assert len(workers_below(kernel.pid)) == 2
        assert kernel.run("print(run.report(timeout_s=100).result_sha256)").split() == [right]
        assert kernel.run(f"for _ in range(2):\n    {replace}").split() == ["1", "1"]
        assert comes_true(lambda: len(workers_below(kernel.pid)) == 1)
        assert first[0] not in workers_below(kernel.pid)


def test_a_client_of_a_forked_process_is_its_own(work):
    """Connections are threads of the process that made them: a fork has none of them, and waited for ever."""
    client = Client(workers=1, store=work / "forked")
    run = client.run(str(work / "sums.py"), str(work / "e.root"))
    assert run.report(timeout_s=120).status == "complete"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for use in (lambda: client.run(str(work / "sums.py"), str(work / "e.root")), lambda: client.dask):
            try:
                use()
            except UsageError as error:
                said.append(str(error))
        client.close()  # leaves the parent's alone
        said += [run.status, str(run.wait(timeout_s=5).exit_code)]
        with os.fdopen(writing, "w") as answer:
            answer.write("\n".join(said))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read().splitlines()
    os.waitpid(child, 0)
    assert [said[0], said[2:]] == [said[1], ["complete", "0"]]
    assert "fork" in said[0]
    assert "make a Client() here" in said[0]
    assert client.run(str(work / "sums.py"), str(work / "e.root"), reuse=False).report(timeout_s=120).exit_code == 0
    client.close()


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": -1}, {"threads": 0}, {"memory_bytes": 0}])
def test_a_client_without_anything_to_work_with_is_refused(given):
    with pytest.raises(UsageError, match=f"{next(iter(given))}=.*at least one"):
        Client(**given)


def test_a_run_without_workers_says_so_and_ends_in_time(work, monkeypatch):
    """Its workers are stopped, none comes: the run names that, in its progress and at the end."""
    monkeypatch.setattr("vrecompute_backends.local.driver.LocalDask.patience_s", 4.0)
    with Client(workers=1, store=work / "without") as client:
        client.dask.wait_for_workers(1, timeout=60)
        client._site_workers._cluster.scale(0)
        assert comes_true(lambda: not client.dask.nthreads())
        run = client.run(str(work / "sums.py"), str(work / "e.root"))
        assert comes_true(lambda: "no worker is connected" in str(run.progress()), pause_s=0.05)
        began = time.monotonic()
        with pytest.raises(ClusterLost, match="no worker is connected; none connected for"):
            run.wait(timeout_s=60)
        assert time.monotonic() - began < 8, "it waited again"
        assert run.status == "interrupted"


def test_a_run_whose_scheduler_is_killed_goes_on_with_another(work, right):
    with Client(workers=1, store=work / "killed") as client:
        given = {"sleep_s": 0.05, "chunk_bytes": 1, "task_chunks": 1}
        run = client.run(str(work / "sums.py"), str(work / "e.root"), **given)
        for _ in range(2):  # the second of them before anything was done perhaps
            assert comes_true(lambda: run.progress().stage == "work" or run.status != "running", pause_s=0.01)
            assert comes_true(lambda: below(os.getpid()), pause_s=0.01)
            below(os.getpid())[0].kill()
            time.sleep(0.5)
        assert run.report(timeout_s=200).result_sha256 == right


def disturb(kernel: Kernel, how: str) -> None:
    """One of the things that happen to a notebook."""
    victims = workers_below(kernel.pid) if how == "worker" else below(kernel.pid)[:1]
    if how == "stop":
        kernel.stop()
    elif how == "client":
        os.kill(kernel.pid, signal.SIGKILL)
    else:
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_whatever_happens_to_a_notebook_its_runs_end_and_their_bytes_are_the_same(work, right, examples):
    """Kills of workers, of the scheduler and of the client, and stops, each at a random moment; no cell takes long."""
    dice = random.Random(11)
    begin = "from vrecompute import Client\nclient = Client(workers=2, store='random')\n"
    kernel = Kernel(work)
    try:
        kernel.run(begin)
        for number in range(examples(60)):
            how = ["stop", "worker", "scheduler", "client"][number % 4]
            given = f"sleep_s={0.03 + number * 1e-6}, chunk_bytes=1, task_chunks=1"
            sent = kernel.start(f"run = client.run('sums.py', 'e.root', {given})\nrun.result()\nprint('done')")
            time.sleep(dice.uniform(0.0, 6.0))
            left = below(kernel.pid)
            disturb(kernel, how)
            if how == "client":
                kernel.__exit__()
                assert comes_true(lambda left=left: not any(p.is_running() for p in left)), "workers outlive a client"
                kernel = Kernel(work)
                said = kernel.run(begin + "runs = client.runs()\nprint(len(runs))")
                last = "client.attach(client.runs()[-1].run).resume()" if said.strip() != "0" else "None"
                again = f"run = {last} or client.run('sums.py', 'e.root', {given})\n"
            else:
                said = kernel.end(sent, 200)
                assert said.strip().endswith(("done", "KeyboardInterrupt:")), (number, how, said)
                assert how == "stop" or "Traceback" not in said, (number, how, said)
                # stopped before it was made: another
                again = f"run = run if 'run' in dir() else client.run('sums.py', 'e.root', {given})\n"
            said = kernel.run(again + "print(run.report(timeout_s=180).result_sha256)", 200)
            assert said.split()[-1:] == [right], (number, how, said)
    finally:
        kernel.__exit__()
