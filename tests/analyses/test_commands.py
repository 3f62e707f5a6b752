"""`generate` and `demo` from the command line."""

from __future__ import annotations

import json

import pytest

from vrecompute.cli import main
from vrecompute_analyses import commands
from vrecompute_analyses.dilepton import generate


def vrecompute(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_defaults_are_those_of_the_generator():
    expected = (generate.DEMO_EVENTS, generate.DEMO_FILES, generate.DEMO_SEED)
    assert expected == (commands.EVENTS, commands.FILES, commands.SEED)


def test_the_same_options_give_the_same_bytes(tmp_path, capsys):
    words = ("--events", 500, "--files", 2, "--seed", 3, "--json")
    assert vrecompute("generate", tmp_path / "a", *words) == 0
    truth = json.loads(capsys.readouterr().out)
    assert (truth["events"], truth["seed"]) == (500, 3)
    assert vrecompute("generate", tmp_path / "b", *words) == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_no_signal(tmp_path, capsys):
    assert vrecompute("generate", tmp_path, "--events", 100, "--files", 1, "--signal-mass-gev", 0, "--json") == 0
    assert json.loads(capsys.readouterr().out)["zprime"] is None


@pytest.mark.slow
def test_demo_finds_what_was_injected(tmp_path, capsys):
    out = tmp_path / "demo"
    assert vrecompute("demo", "--out", out, "--workers", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert {f["what"] for f in found["findings"]} >= {"Z in ee", "Z in mumu"}
    assert json.loads((out / "report.json").read_text())["status"] == "complete"
    assert (out / "figures" / "z_peak_mumu.png").is_file()


@pytest.mark.acceptance
def test_demo_says_so_where_it_finds_nothing(tmp_path, capsys):
    assert vrecompute("demo", "--out", tmp_path / "demo", "--events", 2000, "--workers", 1) == 4
    printed = capsys.readouterr()
    assert "MISSED" in printed.out
    assert "Traceback" not in printed.out + printed.err
