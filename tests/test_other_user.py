"""Another user of this machine reads nothing of a run and writes nothing that it would load, while it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true

OTHER = 65534
# Names that run as the other user: what of these trees it can read, or write in.
LOOK = """
import os, sys
os.setgroups([]); os.setgid({other}); os.setuid({other})
for root in sys.argv[1:]:
    for folder, folders, files in os.walk(root):
        if os.access(folder, os.W_OK) and not os.stat(folder).st_mode & 0o1000:
            print("writes in", folder)
        for name in files:
            path = os.path.join(folder, name)
            try:
                open(path, "rb").close()
            except OSError:
                continue
            print("reads", path)
"""
PROGRAM = """
import sys
from vrecompute import Client
with Client(workers=1) as client:
    live = client.run("loop.py", "e.root", chunk_bytes=1200, sleep_s=0.5)
    detached = client.submit("loop.py", "e.root", chunk_bytes=1200, sleep_s=0.5)
    print("there", flush=True)
    sys.stdin.readline()
    detached.cancel()
    live.cancel()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home and a temporary folder that every user can enter, as many systems have them."""
    with tempfile.TemporaryDirectory(prefix="vrecompute-other-") as name:
        place = Path(name)
        for folder in (place, place / "tmp"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        (place / "tmp").chmod(0o1777)
        yield place


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can be another user")
def test_another_user_reads_and_writes_nothing_of_a_run(home):
    (home / "loop.py").write_text(SUM_ANALYSIS)
    write_events(home / "e.root", 400, clusters=20)
    mine = {path.name for path in home.iterdir()}
    gone = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "VRECOMPUTE_CACHE", "VRECOMPUTE_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    environment |= {"HOME": str(home), "TMPDIR": str(home / "tmp")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "umask": 0}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=home, env=environment, **pipes) as client:
        try:
            assert client.stdout.readline() == "there\n"
            wanted = ("**/store/work/*/parts/*", "**/compiled-*/*.nbi", "tmp/*/dask/*", "**/output")
            assert comes_true(lambda: all(any(home.glob(pattern)) for pattern in wanted), patience_s=120), [
                pattern for pattern in wanted if not any(home.glob(pattern))
            ]
            trees = [str(path) for path in home.iterdir() if path.name not in mine or path.name == "tmp"]
            look = [sys.executable, "-c", LOOK.format(other=OTHER), *trees]
            seen = subprocess.run(look, capture_output=True, text=True, check=True).stdout
        finally:
            client.communicate("\n", timeout=120)
    assert seen == ""
