"""`Run.debug`: a failed chunk once more in this process, with the debugger in the user's own frame."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.events import write_events
from tests.kernel import Kernel
from vrecompute import Client
from vrecompute.errors import UsageError

FAILS = """
import json

from vrecompute import Analysis, Result


def chosen(pt):
    limit = 12345
    return pt[len(pt) + json.loads("0")] + limit


class Fails(Analysis):
    name = "fails"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        pt = events.flat("Muon_pt")
        if len(events) {when}:
            chosen(pt)
        return Result(counters={{"muons": len(pt)}})
"""
SCRIPT = """
import sys
from vrecompute import Client

with Client(workers=1, store="store") as client:
    run = client.run("fails.py", "e.root").wait(60)
    run.debug()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "e.root")
    (tmp_path / "fails.py").write_text(FAILS.format(when="> 0"))
    return tmp_path


def test_the_debugger_starts_at_the_user_s_last_own_line_with_its_variables(folder):
    (folder / "script.py").write_text(SCRIPT)
    words = "p 'limit', limit\nup\np 'events', len(events)\nq\n"
    done = subprocess.run([sys.executable, "script.py"], input=words, capture_output=True, text=True, timeout=300)
    first = done.stdout.splitlines()[0]
    assert "e.root (events 0-" in first
    assert "fails.py:9 in chosen: IndexError" in first
    assert "('limit', 12345)" in done.stdout
    assert "('events', 1000)" in done.stdout
    assert "IndexError" in done.stderr  # and it is raised afterwards


def test_in_a_notebook_it_is_ipython_s_and_an_error_names_the_cell(folder):
    source = FAILS.format(when="> 0")
    with Kernel(folder) as kernel:
        kernel.run(source)
        kernel.run("from vrecompute import Client\nclient = Client(workers=1, store='store')")
        said = kernel.run("run = client.run(Fails, 'e.root')\nrun.result()")
        assert "code: notebook cell:8 in chosen: IndexError" in said
        assert "run.debug()" in said
        sent = kernel.client.execute("run.debug()", allow_stdin=True)
        prompts = []
        for answer in ("limit", "q"):
            message = kernel.client.get_stdin_msg(timeout=60)
            prompts.append(message["content"]["prompt"])
            kernel.client.input(answer)
        said = kernel.end(sent, 60)
    assert all("ipdb>" in prompt for prompt in prompts)
    assert "12345" in said
    assert "IndexError" in said


def test_a_chunk_that_does_not_fail_here_gives_its_result_and_one_that_did_not_fail_is_refused(folder):
    with Client(workers=1, store="store") as client:
        (folder / "fails.py").write_text(FAILS.format(when="> 0 and __import__('os').getpid() != " + str(os.getpid())))
        run = client.run("fails.py", "e.root").wait(60)
        assert run.report().failures[0].traceback.count('fails.py", line') == 2
        assert run.debug().counters["muons"] > 0
        with pytest.raises(UsageError, match="has no failed chunk 1: numbers of failed chunks are 0 to 0"):
            run.debug(1)
        (folder / "fails.py").write_text(FAILS.format(when="< 0"))
        with pytest.raises(UsageError, match="no chunk of it failed"):
            client.run("fails.py", "e.root").debug()
