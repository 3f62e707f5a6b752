"""A run in a real notebook kernel: what is shown changes while it is under way; a cancelled run is no red failure."""

from __future__ import annotations

import queue
import time

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.kernel import Kernel
from vrecompute.execution.progress import Progress
from vrecompute.rundisplay import html_of_run

START = """
from vrecompute import Client
client = Client(workers=1, threads=1, store='store')
run = client.run('sums.py', 'e.root', sleep_s={sleep}, chunk_bytes=4000, task_chunks=2)
"""
NO_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"


@pytest.fixture
def kernel(tmp_path):
    write_events(tmp_path / "e.root", 1000)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    with Kernel(tmp_path) as kernel:
        yield kernel


def seen(kernel, code, enough, limit_s=120.0):
    """HTML that was displayed, first and replaced, by widget or by display, from this cell on, until it is enough."""
    kernel.start(code)
    shown, deadline = [], time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            message = kernel.client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        content, kind = message["content"], message["msg_type"]
        assert kind != "error", content
        if kind in {"display_data", "update_display_data"} and "text/html" in content["data"]:
            shown.append(content["data"]["text/html"])
        elif kind in {"comm_open", "comm_msg"} and "value" in content["data"].get("state", {}):
            shown.append(content["data"]["state"]["value"])
        if enough(shown):
            return shown
    raise AssertionError(f"after {limit_s} s there was {shown}")


@pytest.mark.parametrize("prepare", ["", NO_WIDGETS], ids=["widget", "html"])
def test_a_run_as_the_last_line_of_a_cell_changes_to_its_end(kernel, prepare):
    kernel.run(prepare)
    kernel.run(START.format(sleep=0.4))
    shown = seen(kernel, "run", lambda shown: shown and "<strong>complete</strong>" in shown[-1])
    assert len(set(shown)) >= 5
    under_way = [html for html in shown if "of 10 chunks" in html]
    assert under_way
    assert any("events/s" in html and "left" in html for html in under_way)
    assert any("worker threads" in html for html in under_way)
    assert "sums.py" not in kernel.run("print(run.status)")


def test_result_shows_progress_while_it_waits_and_not_where_it_is_told_not_to(kernel):
    kernel.run(START.format(sleep=0.4))
    shown = seen(kernel, "results = run.result()", lambda shown: shown and "complete" in shown[-1])
    assert len(set(shown)) >= 3
    kernel.run(START.format(sleep=0.1))
    kernel.start("results = run.result(show_progress=False)\nprint('over')")
    while (message := kernel.client.get_iopub_msg(timeout=120))["msg_type"] != "stream":
        assert message["msg_type"] not in {"display_data", "comm_open"}


def test_a_cancelled_run_is_one_line_and_no_traceback(kernel):
    kernel.run(START.format(sleep=1.0))
    kernel.run("import time\nwhile run.progress().stage != 'work': time.sleep(0.1)\nrun.cancel()\nrun.wait(60)")
    kernel.start("run.result()")
    while (message := kernel.client.get_iopub_msg(timeout=60))["msg_type"] != "error":
        pass
    assert message["content"]["ename"] == "Cancelled"
    (line,) = message["content"]["traceback"]
    assert "was cancelled" in line
    assert "Traceback" not in line
    while message["content"].get("execution_state") != "idle":  # until then the kernel throws cells away
        message = kernel.client.get_iopub_msg(timeout=60)
    card = kernel.run("print(run._repr_html_())")
    assert "<strong>cancelled</strong>" in card
    assert "#c0392b" not in card  # which is what failed


def test_what_is_waited_for_is_said_and_nothing_of_a_name_is_html():
    class Waiting:
        id = "<run>"

        class manifest:
            analysis = "<i>"

            class dataset:
                name = "<b>"

        def progress(self):
            return Progress("work", 3, 9, waiting="no worker is <connected>", waiting_s=65.0, retries=2, failures=1)

    page = html_of_run(Waiting(), None)
    assert "no worker is &lt;connected&gt;" in page
    assert "2 reads tried again, 1 failures" in page
    assert "<i>" not in page
    assert "<run>" not in page
