"""`vrecompute new`: what it writes runs and passes its own test, and overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vrecompute.cli import main
from vrecompute.cli.new import _class_name


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_test() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_z_to_mumu.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_test_of_a_new_analysis_passes(folder, capsys):
    assert command("new", "z_to_mumu") == 0
    assert "wrote z_to_mumu.py and test_z_to_mumu.py" in capsys.readouterr().out
    passed = own_test()
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "1 passed" in passed.stdout


@pytest.mark.acceptance
def test_the_test_of_a_new_analysis_notices_a_mistake(folder):
    assert command("new", "z_to_mumu") == 0
    analysis = folder / "z_to_mumu.py"
    analysis.write_text(analysis.read_text().replace("axis=1) == 0", "axis=1) == 2"))
    failed = own_test()
    assert failed.returncode == 1
    assert "1 failed" in failed.stdout


def test_what_is_written_is_formatted_and_without_a_fault(folder):
    assert command("new", "zmumu.py", "--in", "mine/here") == 0
    assert sorted(os.listdir("mine/here")) == ["test_zmumu.py", "zmumu.py"]
    for check in (["format", "--check", "--line-length", "120"], ["check", "--line-length", "120"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--isolated", "mine"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not {"@NAME@", "@CLASS@"} & {w for p in (folder / "mine" / "here").iterdir() for w in p.read_text().split()}


def test_nothing_is_overwritten_and_bad_names_are_refused(folder, capsys):
    (folder / "test_mine.py").write_text("mine")
    assert command("new", "mine") == 2
    assert "test_mine.py is there already" in capsys.readouterr().err
    assert os.listdir(folder) == ["test_mine.py"]
    for name in ("2mu", "a-b", "class", "über", "a/b", ""):
        assert command("new", name) == 2
        assert "cannot be the name of an analysis" in capsys.readouterr().err
    assert command("new", "zmumu", "--in", "/dev/null/x") != 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "made"), [("z_to_mumu", "ZToMumu"), ("_2mu", "Analysis2mu"), ("zMuMu", "ZMuMu")])
def test_classes_are_called_as_python_calls_them(name, made):
    assert _class_name(name) == made
