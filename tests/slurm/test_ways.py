"""The ways to ask the real Slurm say the same, and one that does not exist there is told and gone around."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from vrecompute.batch.contract import Job, State
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

until = BackendContract().until
PLUGINS = "/usr/lib/x86_64-linux-gnu/slurm-wlm"


def ended(lab):
    """{id: status} of jobs that ended in several ways, as their submitter knows them; what they left is removed."""
    text = lab.backend()
    ids = [text.submit(Job("a", ("sh", "-c", f"exit {code}"))) for code in (0, 3, 140)]
    ids += text.submit_many(Job("b", ("true",)), 2)
    ids.append(text.submit(Job("c", ("sleep", "60"))))
    until(text, ids[-1:], lambda s: s.state is State.RUNNING, 240)
    text.cancel(ids[-1:])
    seen = until(text, ids, lambda s: s.state.terminal, 240)
    assert [s.state for s in seen.values()] == [
        State.COMPLETED, State.FAILED, State.FAILED, State.COMPLETED, State.COMPLETED, State.CANCELLED,
    ]  # fmt: skip
    lab.on("login", "sh", "-c", 'rm -f -- "$1"/*.end', "sh", text.spool)
    return seen


def facts(seen):
    return {i: (s.state, s.exit_code, s.signal, s.node, s.attempt) for i, s in seen.items()}


def test_text_json_and_slurmrestd_say_the_same_of_jobs_that_left_no_marker(lab, rest):
    seen = ended(lab)
    by_text = until(lab.backend(), list(seen), lambda s: s.state.terminal, 240)
    assert {i: s.state for i, s in by_text.items()} == {i: s.state for i, s in seen.items()}
    for options in ({"prefer": "json"}, rest):
        backend = lab.backend(**options)
        found = until(backend, list(seen), lambda s: s.state.terminal, 240)
        assert facts(found) == facts(by_text), options
        assert backend.query.way == options["prefer"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rest_url": "http://head:6821"}, "slurmrestd at http://head:6821 does not answer"),
        ({"rest_url": "http://nobody:6820"}, "slurmrestd at http://nobody:6820 does not answer"),
    ],
)
def test_a_wrong_address_of_slurmrestd_is_told_once(lab, rest, caplog, change, words):
    backend = lab.backend(**rest | change)
    job = backend.submit(Job("a", ("true",)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not backend.poll([job])[job].state.terminal
    (said,) = [record.getMessage() for record in caplog.records]
    assert words in said
    assert "curl: (" in said


def test_a_wrong_token_is_told_and_no_answer_and_a_marker_is_one_all_the_same(lab, rest, caplog):
    text = lab.backend()
    ids = [text.submit(Job("a", ("sh", "-c", f"exit {code}"))) for code in (3, 140)]
    until(text, ids, lambda s: s.state.terminal, 240)
    Path(rest["rest_token_file"]).write_text("not.a.token")
    with caplog.at_level(logging.WARNING):
        seen = lab.backend(**rest).poll(ids)
    assert [s.state for s in seen.values()] == [State.FAILED, State.UNKNOWN]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "does not answer (problem: " in said
    assert "its token is not accepted: `scontrol token` gives a new one" in said


@pytest.mark.parametrize(
    ("plugins", "words"),
    [("serializer_json.so", "unable to find plugin: serializer/json"), ("data_parser_*.so", "data_parser/v0.0.")],
)
def test_where_the_plugins_for_json_are_absent_text_is_read_after_one_warning(lab, caplog, plugins, words):
    backend = lab.backend(prefer="json")
    hide = 'mkdir "$0/away" && mv "$0"/$1 "$0/away/"'
    lab.on("root@login", "sh", "-c", hide, PLUGINS, plugins)
    try:
        with caplog.at_level(logging.WARNING):
            ids = [backend.submit(Job("a", ("sh", "-c", f"exit {code}"))) for code in (0, 3)]
            seen = until(backend, ids, lambda s: s.state.terminal, 240)
            backend.poll([*ids, "1"])
    finally:
        lab.on("root@login", "sh", "-c", 'mv "$0"/away/* "$0/" && rmdir "$0/away"', PLUGINS)
    assert [s.state for s in seen.values()] == [State.COMPLETED, State.FAILED]
    (said,) = [record.getMessage() for record in caplog.records]
    assert words in said
    assert "site 'lab-slurm'" in said
    assert "options: {prefer: commands}" in said
    assert lab.backend(prefer="json").poll(ids)[ids[1]].state is State.FAILED, "JSON is back"


PROGRAM = """
import dataclasses, json, logging, sys, time
from vrecompute.batch.contract import Job
from vrecompute.sites.load import load_site
from vrecompute_backends.slurm import SlurmBackend

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
site = load_site("lab-slurm")
backend = SlurmBackend(dataclasses.replace(site, options={**site.options, "prefer": "pyslurm"}))
job = backend.submit(Job("a", ("sh", "-c", "exit 140")))
deadline = time.monotonic() + 60
while not backend.poll([job])[job].state.terminal and time.monotonic() < deadline:
    time.sleep(0.5)
status = backend.poll([job])[job]
print(json.dumps({"state": status.state, "code": status.exit_code, "way": backend.query.way}))
"""


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("", "pyslurm is not installed here; install pyslurm 24.11"),
        ("25.11.2", "pyslurm 25.11.2 does not match slurm-wlm 24.11"),
    ],
)
def test_pyslurm_that_is_absent_or_of_another_slurm_is_told_and_the_commands_are_used(lab, version, words):
    place = "/home/alice/pyslurm-installed"
    lab.on("login", "rm", "-rf", place)
    if version:  # what pip writes beside it is all that is looked at: its libraries would not load
        info = f"{place}/pyslurm-{version}.dist-info"
        write = 'mkdir -p "$1" && printf "Name: pyslurm\\nVersion: %s\\n" "$2" > "$1/METADATA"'
        lab.on("login", "sh", "-c", write, "sh", info, version)
    run = 'PYTHONPATH="$1:$PYTHONPATH" exec python -'
    *said, found = lab.on("login", "sh", "-c", run, "sh", place, stdin=PROGRAM).splitlines()
    lab.on("login", "rm", "-rf", place)
    assert json.loads(found) == {"state": "failed", "code": 140, "way": "commands"}
    (warning,) = [line for line in said if line.startswith("WARNING")]
    assert words in warning
    assert "site 'lab-slurm'" in warning
    assert "options: {prefer: commands}" in warning
