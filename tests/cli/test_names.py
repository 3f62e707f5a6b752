"""Names that no file can have, in every place of the command line that takes one: a usage error, never a bug."""

from __future__ import annotations

import pytest

from tests.events import write_events
from tests.fuzz.commandline import command

LONG, SLASHED, SPLIT, SMILE = "a" * 5000, "x/../" * 60 + "y", "one;two\nthree", "\N{GRINNING FACE}" * 90
OF_RUNS = ("show", "attach", "cancel", "report", "result", "delete")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(SLASHED, id="slashed"),
        pytest.param(LONG, id="long", marks=pytest.mark.acceptance),
        pytest.param(SPLIT, id="split", marks=pytest.mark.acceptance),
        pytest.param(SMILE, id="smile", marks=pytest.mark.acceptance),
    ],
)
def test_a_name_that_cannot_be_is_a_usage_error(name, tmp_path, monkeypatch):
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)  # what takes a relative path may make it
    events, store = str(write_events(tmp_path / "e.root", 20)), str(tmp_path / "store")
    run = ["run", "dilepton", events, "--store", store]
    tried = [
        ["analyses", f"{name}.py"],
        ["run", f"{name}.py", events, "--store", store],
        ["run", name, events, "--store", store],
        ["run", "dilepton", name, "--store", store],
        ["run", "dilepton", f"{name}.yaml", "--store", store],
        ["run", "dwarfs", name, "--store", store],
        ["explain", "dilepton", name, "--store", store],
        ["run", "dilepton", events, "--store", f"{tmp_path}/{name}" if name is LONG else name],
        [*run, "--site", name],
        [*run, "--out", f"{tmp_path}/{name}" if name is LONG else name],
        [*run, "--label", name],
        [*run, "-p", f"{name}=1"],
        [*run, "--tree", name],
        *(["runs", word, name, "--store", store] for word in OF_RUNS),
        ["runs", "list", "--store", store, "--label", name],
        ["store", "gc", "--store", store, "--keep", name],
        ["site", "check", name],
        ["site", "show", name],
        ["dataset", "checksum", name],
    ]
    for words in tried:
        code, _, said = command(words)
        assert code != 0 or words[-2] in ("--store", "--label", "--out"), (words[:-1], said)
    assert {path.name for path in tmp_path.iterdir()} <= {"deep", "e.root", "store"}
