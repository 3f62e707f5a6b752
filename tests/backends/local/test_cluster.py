"""Workers of this machine: for those who have their keys alone, as their cluster wants them, and there or named."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.errors import Unavailable
from vrecompute.sites.model import local_site
from vrecompute_backends.local import LocalBackend


@pytest.fixture
def sums(tmp_path) -> list[str]:
    """A command that runs a small analysis here."""
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 100, clusters=4)
    run = ["run", str(tmp_path / "sums.py"), str(tmp_path / "e.root"), "--store", str(tmp_path / "store")]
    return [sys.executable, "-m", "vrecompute", *run, "--workers", "1"]


def called(command, tmp_path, **changes):
    environment = {**os.environ, "HOME": str(tmp_path), **changes}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


ATTACK = """
import sys
from distributed import Client
from distributed.security import Security
place = sys.argv[1].partition("://")[2]
made = Security.temporary()
for scheme, security in [("tcp", None), ("tls", Security(require_encryption=True)), ("tls", made)]:
    try:
        Client(f"{scheme}://{place}", security=security, timeout=3, set_as_default=False).run(print, "in")
    except Exception as error:
        print("refused", type(error).__name__)
    else:
        print("in")
"""


def listening(process: psutil.Process) -> list[int]:
    return [c.laddr.port for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]


def test_nobody_else_runs_code_in_workers_or_scheduler_or_reads_of_them(tmp_path):
    """Whoever has no key of the cluster: as another user where this one is root, who may be anybody."""
    other = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    with LocalBackend(local_site()).open_cluster(1) as cluster:
        addresses = [cluster.client.scheduler.address, *cluster.client.nthreads()]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        for address in addresses:
            command = [sys.executable, "-c", ATTACK, address]
            quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(command, cwd="/", text=True, **quiet, **({} if _is_hidden() else other)) as attack:
                said = attack.communicate(timeout=120)[0].split("\n")[:-1]
            assert [line.split()[0] for line in said] == ["refused"] * 3, said
        # other tests may have left children that have ended and were not waited for
        alive = [c for c in psutil.Process(os.getpid()).children() if c.status() != psutil.STATUS_ZOMBIE]
        family = [process for child in alive for process in (child, *child.children())]
        assert len(family) >= 2
        for process in family:
            told = " ".join(process.cmdline()) + repr(process.environ())
            assert "BEGIN" not in told
            assert not set(cluster.keys.splitlines()[1:3]) & set(told.split())
            for port in listening(process):
                for page in ("status", "info/main/workers.html", "json/counts.json", "metrics", "health", "sysmon"):
                    with pytest.raises((urllib.error.URLError, OSError)):
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)
        kept = cluster.client.run(lambda dask_worker: dask_worker.local_directory)
        for folder in kept.values():
            assert any(p.stat().st_mode & 0o077 == 0 for p in [Path(folder), *Path(folder).parents])


def _is_hidden() -> bool:
    """Whether another user could not so much as start this Python."""
    return any(not p.stat().st_mode & 0o001 for p in Path(sys.executable).resolve().parents)


def test_a_dashboard_is_there_for_who_asks_and_said_to_be_public(caplog):
    with caplog.at_level(logging.WARNING), Client(workers=1, dashboard=True) as client:
        link = client.dask.dashboard_link
        assert "://127.0.0.1:" in link
        with contextlib.suppress(urllib.error.HTTPError):  # without bokeh it says what to install
            urllib.request.urlopen(link, timeout=10).read()
    assert f"every user of this machine can read the Dask dashboard at {link}" in caplog.text


USERS_DASK = """
temporary-directory: /no/such/folder
scheduler-address: tcp://10.255.255.1:8786
distributed:
  version: 2
  comm:
    require-encryption: true
    default-scheme: tls
    tls: {ca-file: /no/such.pem, client: {cert: /no/such.pem}}
    timeouts: {connect: 1ms}
  scheduler: {preload: [no_such_module], allowed-failures: 0, work-stealing: nonsense}
  nanny: {preload: [no_such_module]}
  client: {preload: [no_such_module]}
  worker:
    preload: [no_such_module]
    multiprocessing-method: fork
    memory: {terminate: 0.0001, pause: 0.0001}
    resources: {GPU: 1}
    lifetime: {duration: 1s}
"""


@pytest.mark.parametrize("where", [pytest.param("file", marks=pytest.mark.acceptance), "variables"])
def test_the_users_dask_settings_are_not_those_of_our_workers(sums, tmp_path, where):
    changes = {}
    if where == "file":
        (tmp_path / ".config" / "dask").mkdir(parents=True)
        (tmp_path / ".config" / "dask" / "mine.yaml").write_text(USERS_DASK)
    else:
        names = {
            "SCHEDULER_ADDRESS": "tcp://10.255.255.1:8786", "TEMPORARY_DIRECTORY": "/no/such/folder",
            "DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True", "DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls",
            "DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1ms", "DISTRIBUTED__WORKER__PRELOAD": "no_such_module",
            "DISTRIBUTED__NANNY__PRELOAD": "no_such_module", "DISTRIBUTED__CLIENT__PRELOAD": "no_such_module",
            "DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "fork", "DISTRIBUTED__SCHEDULER__PRELOAD": "no_such_module",
        }  # fmt: skip
        changes = {f"DASK_{name}": value for name, value in names.items()}
    ran = called(sums, tmp_path, **changes)
    assert (ran.returncode, "COMPLETE" in ran.stdout, "Traceback" in ran.stderr) == (0, True, False), ran.stderr
    assert "/no/such/folder is not a folder" in ran.stderr


DYING = """
import os, sys
from pathlib import Path
if "spawn_main" in " ".join(sys.orig_argv):
    here = Path(os.environ["DEATHS"])
    deaths = len(list(here.iterdir()))
    if deaths < int(os.environ["HOW_MANY"]):
        (here / str(deaths)).touch()
        os._exit(3)
"""


@pytest.mark.parametrize(("deaths", "code"), [(2, 0), (1000, 5)])
def test_a_worker_that_dies_before_it_is_known_is_started_again_and_named_in_the_end(sums, tmp_path, deaths, code):
    (tmp_path / "sitecustomize.py").write_text(DYING)
    (tmp_path / "deaths").mkdir()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = called(sums, tmp_path, PYTHONPATH=path, DEATHS=str(tmp_path / "deaths"), HOW_MANY=str(deaths))
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
    if code:
        assert "no Dask worker starts on this machine: worker 0 did not start: " in ran.stderr


def test_workers_that_cannot_be_started_at_all_are_named(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(Unavailable, match="the process of the Dask scheduler could not be started: No such file"):
        LocalBackend(local_site()).open_cluster(1)


@pytest.mark.parametrize("way", ["a signal that it cannot catch", "its end without close"])
def test_workers_end_with_their_client(tmp_path, way):
    program = (
        "from vrecompute import Client; import os, sys; client = Client(workers=1); client.dask; "
        "print('there', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout.readline() == "there\n"
        workers = psutil.Process(client.pid).children(recursive=True)
        assert len(workers) >= 2
        if way.startswith("its"):
            client.stdin.write("\n")
            client.stdin.flush()
        else:
            client.kill()
        said = client.communicate(timeout=60)
        assert said == ("", "")
    assert comes_true(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers))


def _semaphores(process: psutil.Process) -> set[Path]:
    """Those that a process has open and that have a name still."""
    maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    return {
        path for line in maps if (path := Path(line.split(maxsplit=5)[-1])).name.startswith(f"sem.vre-{os.getuid()}-")
    }


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are seen as files on Linux only")
def test_no_semaphore_outlives_a_kill_of_the_cluster_process_and_its_workers():
    program = "from vrecompute import Client; it = Client(workers=1); it.dask; print('there', flush=True); input()"
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, start_new_session=True, **quiet) as client:
        assert client.stdout.readline() == "there\n"
        family = psutil.Process(client.pid).children(recursive=True)
        kept = [path for process in family for path in _semaphores(process) if path.exists()]
        assert kept
        groups = {
            os.getpgid(process.pid) for process in family if "resource_tracker" not in " ".join(process.cmdline())
        }
        for group in (client.pid, *groups):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
    assert comes_true(lambda: not any(path.exists() for path in kept))
    assert comes_true(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are seen as files on Linux only")
def test_semaphores_of_a_cluster_that_was_killed_with_all_that_watches_it_go_with_the_next(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = "from vrecompute import Client; it = Client(workers=1); it.dask; print('there', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], text=True, start_new_session=True, stdout=subprocess.PIPE,
                          stdin=subprocess.PIPE) as client:  # fmt: skip
        assert client.stdout.readline() == "there\n"
        family = [*psutil.Process(client.pid).children(recursive=True), psutil.Process(client.pid)]
        kept = [path for process in family for path in _semaphores(process) if path.exists()]
        for process in family:
            process.suspend()  # none sees the end of another
        for process in family:
            process.kill()
    assert kept
    assert all(path.exists() for path in kept)
    subprocess.run([sys.executable, "-c", program.replace("input()", "it.close()")], check=True)
    assert not any(path.exists() for path in kept)


def test_more_workers_than_memory_holds_are_refused_at_once(sums, tmp_path):
    for command in ("run", "explain"):
        called_for = [*sums[:3], command, *sums[4:-1], "100000000"]
        ran = called(called_for, tmp_path)
        assert ran.returncode == 2, ran.stderr
        assert "100000000 workers were asked for, and this machine's " in ran.stderr


def test_keys_that_cannot_be_made_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(Unavailable, match="pip install cryptography"):
        LocalBackend(local_site()).open_cluster(1)
