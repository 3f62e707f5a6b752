"""`vrecompute site`: what it prints, and what it exits with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vrecompute.cli.site import site as command
from vrecompute.sites import report
from vrecompute.sites.load import read_site

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "site_configs").glob("*.yaml"))
GOOD = "schema: 1\nname: good\nbackend: local\ndescription: a good one\nworkers: {memory: 4096MiB, threads: 2}\n"
BAD = "schema: 1\nname: bad\nbackend: local\nworkers: {thread: 2}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A search path of two folders: the second has one more site, and one that the first hides."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "good.yaml").write_text(GOOD)
    (one / "_part.yaml").write_text("workers: {}\n")
    (two / "good.yaml").write_text(GOOD)
    (two / "bad.yaml").write_text(BAD)
    monkeypatch.setenv("VRECOMPUTE_SITES", f"{one}:{two}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(command, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_list_shows_every_file_the_wrong_and_the_hidden_too(folder):
    code, output = run("list")
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [
        ["good", "local", "ok", "one/good.yaml", "a", "good", "one"],
        ["bad", "-", "1", "wrong", "two/bad.yaml"],
        ["(hidden)", "local", "ok", "two/good.yaml", "a", "good", "one"],
        ["local", "local", "ok", "built", "in", "this", "machine"],
    ]
    assert json.loads(run("list", "--json")[1])[1] == {
        "name": "bad",
        "file": "two/bad.yaml",
        "backend": "",
        "description": "",
        "n_problems": 1,
    }


def test_show_tells_every_value_and_its_origin(folder):
    code, output = run("show", "good")
    lines = [line.split() for line in output.splitlines()]
    assert code == 0
    assert ["workers.memory", "4GiB", "one/good.yaml:5"] in lines
    assert ["workers.walltime", "-", "default"] in lines
    assert ["limits.min_poll", "30s", "default"] in lines
    facts = {row["key"]: row for row in json.loads(run("show", "good", "--json")[1])}
    assert facts["workers.threads"] == {"key": "workers.threads", "value": 2, "origin": "one/good.yaml:5"}
    assert facts["network.tls"] == {"key": "network.tls", "value": True, "origin": "default"}


def test_show_of_what_is_built_in_has_no_file(folder):
    code, output = run("show", "local")
    assert code == 0
    assert output.startswith("local: built in\n")
    assert {row.origin for row in report.show(read_site("local"))} == {"default"}


def test_show_says_that_options_were_not_checked(folder):
    (folder / "far.yaml").write_text("schema: 1\nname: far\nbackend: gridengine\noptions: {queue: long}\n")
    _, output = run("show", "far.yaml")
    assert "options.queue" in output
    assert "options were not checked: no driver 'gridengine' is installed here" in output


def test_check_names_a_driver_that_is_not_here_without_options_too(folder):
    (folder / "far.yaml").write_text("schema: 1\nname: far\nbackend: gridengine\n")
    said = "no driver 'gridengine' is installed here"
    assert run("check", "far.yaml") == (0, f"far.yaml: ok\n  no run of this site starts here: {said}\n")
    [checkup] = json.loads(run("check", "far.yaml", "--json")[1])
    assert checkup["options_unchecked"] == said
    assert f"no run of this site starts here: {said}" in run("show", "far.yaml")[1]


def test_check_exits_with_what_it_found(folder):
    assert run("check", "good") == (0, "one/good.yaml: ok\n")
    code, output = run("check")
    assert code == 2
    assert (
        "two/bad.yaml: 1 problem\n  two/bad.yaml:4:11: workers: unknown key 'thread'; did you mean 'threads'?" in output
    )
    code, output = run("check", "good", "bad", "--json")
    good, bad = json.loads(output)
    assert code == 2
    assert good == {"file": "one/good.yaml", "problems": [], "advice": [], "options_unchecked": "", "ok": True}
    assert (bad["ok"], len(bad["problems"])) == (False, 1)


def test_what_cannot_be_found_or_opened_exits_with_2(folder):
    for arguments in (["check", "goood"], ["show", "goood"]):
        code, output = run(*arguments)
        assert code == 2
        assert "did you mean 'good'?" in output
    code, output = run("check", "absent.yaml")
    assert code == 2
    assert "cannot be read: No such file or directory; check the path" in output
    code, output = run("show", "bad")
    assert code == 2
    assert "unknown key 'thread'" in output


def test_a_name_unlike_its_file_and_tls_switched_off_get_advice(folder):
    (folder / "other.yaml").write_text(GOOD + "network: {tls: false}\n")
    code, output = run("check", "other.yaml")
    assert code == 0
    assert "advice: other.yaml:2:7: name: Client() and --site find this file as 'other'" in output
    assert "advice: other.yaml:6:16: network.tls: without TLS, any user who reaches a port can run code" in output


def test_check_of_the_examples_is_right(monkeypatch):
    monkeypatch.chdir(ROOT)
    for checkup in report.check_files(EXAMPLES):
        assert checkup.ok, checkup.as_text()
        assert not checkup.advice, checkup.as_text()
