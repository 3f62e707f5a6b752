"""Sites of Slurm that cannot work are found by their check, not by a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrecompute.sites.load import examine_site

HEAD = "schema: 1\nname: there\nbackend: slurm\nstore: {url: /runs}\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def check(text):
    Path("there.yaml").write_text(HEAD + text)
    found = examine_site(Path("there.yaml"))
    advice = [] if found.read is None else found.read.advice
    return [str(p) for p in found.problems], [str(a) for a in advice]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("options: {prefer: rest}", "5:19: options.prefer", "add `rest_url: http://...`"),
        (
            "options: {directives: {add: [--clusters=beta]}}",
            "5:24: options.directives.add",
            "write options.cluster",
        ),
        (
            "environment: {image: /a.sif, image_command: [/sw/apptainer, exec, -C]}",
            "5:30: environment.image_command",
            "with -C the variables of a job",
        ),
        ("options: {cluster: all}", "5:20: options.cluster", "write the name of a cluster"),
        ("options: {cluster: beta, prefer: pyslurm}", "5:34: options.prefer", "write prefer: commands"),
        ("scheduler_runs: gateway", "5:17: scheduler_runs", "did you mean 'allocation'?"),
        (
            "access: {unicore: {url: https://u.example.org/rest/core, credentials: {env: UNICORE_TOKEN}}}",
            "5:10: access.unicore",
            "write access: {ssh: {host: ...}}",
        ),
    ],
)
def test_what_cannot_work_is_an_error_with_its_place(text, place, words):
    [problem], _ = check(text + "\n")
    assert problem.startswith(f"there.yaml:{place}: ")
    assert words in problem


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("scheduler_runs: none", "5:17: scheduler_runs", "only detached runs work"),
        ("scheduler_runs: allocation\nlimits: {max_jobs: 1}", "6:20: limits.max_jobs", "live runs are refused"),
        ("options: {rest_url: 'http://head:6820'}", "5:21: options.rest_url", "write prefer: rest"),
        ("options: {rest_token_file: ~/token}", "5:28: options.rest_token_file", "write prefer: rest"),
        ("options: {controller_partition: long}", "5:33: options.controller_partition", "with scheduler_runs: client"),
        (
            "access: {ssh: {host: login}}\nscheduler_runs: login\noptions: {prefer: pyslurm}",
            "7:19: options.prefer",
            "commands are used",
        ),
        (
            "environment: {image: /a.sif, variables: {PATH: '/a:$PATH'}}",
            "5:48: environment.variables.PATH",
            "write APPTAINERENV_PREPEND_PATH",
        ),
        ("access: {ssh: {host: login}}\nscheduler_runs: client", "6:17: scheduler_runs", "runs on the login node"),
    ],
)
def test_what_is_given_and_not_used_is_advice_with_its_place(text, place, words):
    problems, [advice] = check(text + "\n")
    assert problems == []
    assert advice.startswith(f"there.yaml:{place}: ")
    assert words in advice


def test_what_is_right_needs_no_advice():
    for text in (
        "options: {prefer: rest, rest_url: 'http://head:6820'}\n",
        "scheduler_runs: allocation\nlimits: {max_jobs: 1}\noptions: {whole_node: true}\n",
        "options: {prefer: pyslurm}\n",
    ):
        assert check(text) == ([], [])
