"""Environment variables that a session sets, by whatever means, are those that workers read; to set one is no read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.events import write_events
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.filereads import ENVIRONMENT_READ

FUNCTION = """
import os
from os import environ

NAME = "QC"


def function(events):
    BODY
    return 1.0
"""
READS = {
    "os.environ['QC']": {"QC"},
    "os.environ.get('QC', '1')": {"QC"},
    "os.getenv('QC')": {"QC"},
    "environ[NAME]": {"QC"},
    "x = 'QC' in os.environ": {"QC"},
    "x = os.environ.setdefault('QC', '1')": {"QC"},
    "x = os.environ.pop('QC')": {"QC"},
    "os.path.expandvars('$QC/${MORE}')": {"QC", "MORE"},
    "dict(os.environ)": {"*"},
    "os.environ[events.name]": {"*"},
    "o = os; x = o.environ['QC']": {"QC"},
    "x = getattr(os, 'getenv')('QC')": {"QC"},
    "x = vars(os)['environ']['QC']": {"QC"},
    "x = os.__dict__['environ']['QC']": {"QC"},
    "os.environ.update(PATH=os.environ['QC'])": {"QC"},
}
SETS = [
    "os.environ['QC'] = '1'",
    "os.environ.setdefault('QC', '1')",
    "os.environ.pop('QC', None)",
    "os.environ.update(QC='1')",
    "os.environ |= {'QC': '1'}",
    "del os.environ['QC']",
    "os.putenv('QC', '1')",
]
BOTH = {
    "if 'QC' not in os.environ: os.environ['QC'] = '1'": "cut = os.environ['QC']",
    "cut = os.environ.get('QC', '1')": "os.environ['QC'] = str(cut)",
    "cut = os.environ.get('QC', '2')": "if not events: os.environ['QC'] = '1'",
    "os.environ['OTHER'] = '1'": "cut = os.getenv('QC')",
    "cut = int(environ.get('QC', 3))": "environ['QC'] = str(cut)",
    "cut = os.environ['QC']": "del os.environ['QC']",
    "cut = 'QC' in os.environ": "os.environ |= {'QC': '1'}",
    "os.environ['OTHER'], cut = '1', os.environ['QC']": "",
    "for os.environ['OTHER'] in 'ab': cut = os.environ['QC']": "",
    "with events as os.environ['OTHER']: cut = os.environ['QC']": "",
    "os.environ['OTHER']: str = os.environ['QC']": "",
    "os.mine = os.environ.get('QC')": "",
    "counts[os.environ['QC']] = 1": "",
    "counts = {}": "counts[os.environ['QC']] = 1",
}


def code(tmp_path, body):
    file = tmp_path / "reading.py"
    file.write_text(FUNCTION.replace("BODY", body))
    names: dict = {"__name__": "reading", "__file__": str(file)}
    exec(compile(file.read_text(), str(file), "exec"), names)
    return code_of(names["function"])


@pytest.mark.parametrize("body", READS)
def test_which_variable_is_read_is_found_in_the_text(tmp_path, body):
    found = code(tmp_path, body)
    assert any(told.startswith(ENVIRONMENT_READ) for told in found.unnamed)
    assert found.variables == READS[body]


@pytest.mark.parametrize("first", BOTH)
def test_what_is_set_in_the_same_function_is_read_all_the_same(tmp_path, first):
    found = code(tmp_path, f"{first}\n    {BOTH[first]}")
    assert any(told.startswith(ENVIRONMENT_READ) for told in found.unnamed)
    assert found.variables == {"QC"}


@pytest.mark.parametrize("body", SETS)
def test_to_set_a_variable_is_no_read(tmp_path, body):
    found = code(tmp_path, body)
    assert found.unnamed == ()
    assert found.variables == frozenset()


SCRIPT = """
import json
import os
import sys
from unittest import mock

from vrecompute import Client

os.environ.setdefault("MINE", "1")


def cut(events):
    return {"cut": int(os.environ.get("QC", "30"))}


def other(events):
    return {"cut": 1}


def told(function=cut):
    run = client.map(function, sys.argv[2], columns=["run"])
    value = run.result(timeout_s=100).total.counters["cut"]
    print(json.dumps([value, function(None)["cut"]]))


if __name__ == "__main__":
    client = Client(workers=1, threads=1, store=sys.argv[1])
    told(other)
    told()
    patch = mock.patch.dict(os.environ, QC="40")
    patch.start()
    told()
    alias = vars(os)["environ"]
    alias["QC"] = "50"
    told()
    exec("os.environ['QC'] = '60'")
    told()
    patch.stop()
    told()
    told(other)
    client.close()
"""


def test_workers_read_what_the_session_has_set_by_whatever_means(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    values = [json.loads(line) for line in done.stdout.splitlines()]
    assert values == [[value, value] for value in (1, 30, 40, 50, 60, 30, 1)]


TOP = """
import json
import os
import sys

from vrecompute import Client

os.environ.setdefault("MINE", "1")
os.environ.pop("OTHER", None)
os.environ.update(MORE="2")


def other(events):
    return {"cut": 1}


def told():
    run = client.map(other, sys.argv[2], columns=["run"])
    run.result(timeout_s=100)
    print(run.report().chunks.reused, [w for w in run.report().warnings if "environment" in w])


client = Client(workers=1, threads=1, store=sys.argv[1])
told()
told()
client.close()
"""


def test_a_script_that_sets_variables_is_reused(tmp_path):
    (tmp_path / "script.py").write_text(TOP)
    file = write_events(tmp_path / "e.root", 50, clusters=1)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == ["0 []", "1 []"]
