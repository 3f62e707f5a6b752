"""What a session changes of its process is so on workers, warm or fresh, and counts; or the run is refused."""

from __future__ import annotations

import json
import locale
import subprocess
import sys

import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis import processstate
from vrecompute.analysis.arithmetic import arithmetic
from vrecompute.errors import AnalysisError

SCRIPT = """
import datetime
import json
import os
import sys
import time

from vrecompute import Client
from vrecompute.errors import Incomplete


def hours(events):
    return {"local": time.localtime(0).tm_hour, "stamp": datetime.datetime.fromtimestamp(0).hour, "zone": time.timezone}


def digits(events):
    return {"digits": sys.get_int_max_str_digits()}


def told(function):
    run = client.map(function, sys.argv[2], columns=["run"])
    try:
        there = run.result(timeout_s=100).total.counters
    except Incomplete as error:
        print(json.dumps([str(error).partition(": code: ")[2]]))
    else:
        print(json.dumps([there == function(None), there, run.report().chunks.reused]))


def go(zone):
    if zone is None:
        vars(os)["environ"].pop("TZ", None)
    else:
        vars(os)["environ"].update(TZ=zone)


client = Client(workers=1, threads=1, store=sys.argv[1])
told(hours)
go("Asia/Tokyo")
time.tzset()
told(hours)
told(hours)
go("America/New_York")
told(hours)
time.tzset()
told(hours)
vars(sys)["set_int_max_str_digits"](9999)
told(digits)
vars(sys)["set_int_max_str_digits"](4300)
go(None)
time.tzset()
told(hours)
told(digits)
client.close()
"""


def test_zone_and_digits_of_the_session_hold_on_workers_that_are_there(tmp_path, monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "script.py").write_text(SCRIPT)
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    first, tokyo, again, unread, york, digits, back, fewer = map(json.loads, done.stdout.splitlines())
    assert first[0] is tokyo[0] is again[0] is york[0] is digits[0] is back[0] is fewer[0] is True
    assert (tokyo[1]["local"], york[1]["local"], digits[1]["digits"], fewer[1]["digits"]) == (9, 19, 9999, 4300)
    assert back[1] == first[1]
    assert "the time zone of this session is JST/JST, and workers find EST/EDT" in unread[0]
    assert "call `time.tzset()`" in unread[0]


@pytest.fixture
def as_begun(monkeypatch):
    monkeypatch.setattr(processstate, "_held", None)
    before = locale.setlocale(locale.LC_NUMERIC)
    yield
    locale.setlocale(locale.LC_NUMERIC, before)


def test_a_locale_is_told_and_one_that_is_not_there_is_refused(as_begun, monkeypatch):
    monkeypatch.setitem(processstate._BEGAN, "locales", {**processstate._BEGAN["locales"], "LC_NUMERIC": "xx_XX"})
    told = processstate.process_state()
    assert told["locales"]["LC_NUMERIC"] == locale.setlocale(locale.LC_NUMERIC)
    assert arithmetic()["locales"] == told["locales"]
    with pytest.raises(AnalysisError, match=r"LC_NUMERIC is xx_XX in this session, and workers have no such locale"):
        processstate.hold_process({"locales": {"LC_NUMERIC": "xx_XX"}})
    processstate.hold_process({"locales": {"LC_NUMERIC": "C.UTF-8"}})
    assert locale.setlocale(locale.LC_NUMERIC) == "C.UTF-8"
    assert processstate.process_state() == {"locales": {"LC_NUMERIC": "C.UTF-8"}}  # what it was given, on a worker


def names_of(events):
    return {"hash": hash("text"), "order": np.array([int(name[1:]) for name in {f"n{k}" for k in range(20)}])}


def test_all_workers_go_through_a_set_of_names_in_one_order(tmp_path):
    file = str(write_events(tmp_path / "e.root", 60, clusters=6))
    found = []
    for workers in (1, 2):
        with Client(workers=workers, threads=1, store=tmp_path / f"store{workers}") as client:
            run = client.map(names_of, file, columns=["run"], combine="sum", chunk_bytes=60, task_chunks=1)
            found.append(run.result(timeout_s=100).to_bytes())
    assert found[0] == found[1]
