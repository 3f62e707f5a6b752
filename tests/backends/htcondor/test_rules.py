"""Sites of HTCondor that cannot work are found by their check; the examples of pools say what their jobs ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrecompute.sites.load import examine_site, load_site
from vrecompute_backends.htcondor import HTCondorBackend

HEAD = "schema: 1\nname: there\nbackend: htcondor\n"
AFAR = "store: {workers_reach: false}\noptions: {schedd: ap.pool}\n"
EXAMPLES = Path(__file__).parents[3] / "site_configs"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems(text):
    Path("there.yaml").write_text(HEAD + text)
    return [str(problem) for problem in examine_site(Path("there.yaml")).problems]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "store.workers_reach", "add `workers_reach: false` to store"),
        ("store: {url: /runs}\n", "store.workers_reach", "`file_transfer: false` to options"),
        ("options: {file_transfer: false, commands: {log: x}}\n", "options.commands", "is written by the driver"),
        ("options: {file_transfer: false, requirments: a}\n", "options", "did you mean 'requirements'?"),
        ("options: {file_transfer: false, disk: 20}\n", "options.disk", "20 has no unit"),
        ("options: {file_transfer: false, pool: cm}\n", "options.pool", "add `schedd: NAME`"),
        ("options: {file_transfer: false, schedd: ap}\n", "options.schedd", "leave out `file_transfer: false`"),
        (f"{AFAR}scheduler_runs: allocation\n", "scheduler_runs", "write `client` or `login`"),
        (f"{AFAR[:-2]}, final_node: true}}\n", "options.final_node", "leave one out"),
    ],
)
def test_what_cannot_work_is_found_with_what_to_do(text, place, words):
    (problem,) = problems(text)
    assert place in problem
    assert words in problem


@pytest.mark.parametrize(
    "text",
    [
        "store: {workers_reach: false}\nenvironment: {image: /images/worker.sif}\n",
        "options: {file_transfer: false}\nstore: {url: /runs}\n",
        "store: {workers_reach: false}\nscheduler_runs: none\n",
        f"{AFAR}scheduler_runs: client\n",
    ],
)
def test_what_works_is_right(text):
    assert problems(text) == []


@pytest.mark.checkout
def test_the_examples_ask_for_their_class_of_run_time_and_their_memory():
    shared_nothing = HTCondorBackend(load_site(str(EXAMPLES / "cern-lxbatch.yaml"))).describe(1)
    for line in (
        '+JobFlavour = "longlunch"',
        "request_memory = 4000",
        "request_disk = 19531250",
        "+SingularityImage =",
    ):
        assert f"#HTCONDOR {line}" in shared_nothing
    shared = HTCondorBackend(load_site(str(EXAMPLES / "desy-naf.yaml"))).describe(1)
    for line in ("+RequestRuntime = 10800", "request_memory = 1536", "should_transfer_files = NO"):
        assert f"#HTCONDOR {line}" in shared


def test_words_that_start_an_image_are_not_used_by_a_pool_that_does_it_itself():
    environment = "environment: {image: /a, image_command: [apptainer, exec], variables: {PATH: /b}}\n"
    Path("there.yaml").write_text(f"{HEAD}store: {{workers_reach: false}}\n{environment}")
    (advice,) = examine_site(Path("there.yaml")).read.advice
    assert "environment.image_command: not used" in str(advice)
