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
            "5:30: options.directives.add[0]",
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


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ("directives: {add: [--mem=64M]}", "workers.memory"),
        ("directives: {add: ['--mem 64M'], drop: [--mem]}", "workers.memory"),
        ("directives: {add: [--mem-per-cpu=64M]}", "workers.memory"),
        ("directives: {add: [--time=1]}", "workers.walltime"),
        ("directives: {add: [-t1]}", "workers.walltime"),
        ("directives: {add: [-c 1]}", "workers.threads"),
        ("directives: {add: [--ntasks=2]}", "workers.processes"),
        ("directives: {add: [-N2]}", "workers.nodes"),
        ("directives: {add: [-G 1]}", "workers.gpus"),
        ("partition: a, directives: {add: [-p b]}", "options.partition"),
        ("gres: 'gpu:1', directives: {add: ['--gres=gpu:2']}", "options.gres"),
    ],
)
def test_a_directive_that_contradicts_what_jobs_ask_for_is_refused_by_name(options, key):
    [problem], _ = check(f"workers: {{memory: 2GiB, gpus: 1}}\noptions: {{{options}}}\n")
    assert ": options.directives.add: -" in problem
    assert f"contradicts {key}, which jobs ask for too; remove it, and set {key}" in problem.replace(" | ", "; ")


def test_a_directive_that_holds_every_job_is_refused_and_one_that_delays_them_is_told():
    [problem], _ = check("options: {directives: {add: [--hold]}}\n")
    assert "with --hold no job starts until it is released" in problem
    problems, [advice] = check("options: {directives: {add: [--begin=now+1hour]}}\n")
    assert problems == []
    assert "with --begin=now+1hour every job waits until then" in advice


def test_a_directive_in_the_place_of_a_dropped_one_or_of_no_key_is_the_administrators():
    memory = "workers: {memory: 2GiB}\noptions: {directives: {drop: [--mem], add: [--mem-per-cpu=2G]}}\n"
    assert check(memory) == ([], [])
    problems, [advice] = check("options: {directives: {add: [--qos=long]}}\n")
    assert problems == []
    assert "write options.qos" in advice
    assert check("options: {directives: {add: [--nodelist=c1, --hint=nomultithread]}}\n") == ([], [])


def test_all_directives_that_cannot_be_are_told_at_once():
    add = "[--mem=1G, -p short, --open-mode=truncate, -N 2, --array=1-3]"
    problems, _ = check(f"workers: {{memory: 2GiB}}\noptions: {{partition: a, directives: {{add: {add}}}}}\n")
    told = "\n".join(problems)
    assert len(problems) == 5, told
    for words in (
        "contradicts workers.memory",
        "contradicts options.partition",
        "'--open-mode=truncate' cannot be added",
        "contradicts workers.nodes",
        "'--array=1-3' cannot be added",
    ):
        assert words in told


def test_a_most_memory_below_the_memory_of_jobs_is_told():
    [problem], _ = check("workers: {memory: 2GiB, max_memory: 1GiB}\n")
    assert "workers.max_memory: below memory" in problem
