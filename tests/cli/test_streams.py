"""Standard output or error that is full or closed: an error with its exit code, of every command, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from vrecompute.cli import cli

# Every command with the first two; what prints most with the others, since each costs a process.
STREAMS = ["full output", "closed both", "full error", "closed output", "closed error"]
# One process, which forks for each command: none of them starts anything with these arguments.
EACH = """
import json, os, sys
import vrecompute.client
from vrecompute.cli import cli, main

for name in cli.list_commands(None):
    cli.get_command(None, name)
for number, (stream, arguments) in enumerate(json.loads(sys.argv[1])):
    if (child := os.fork()) == 0:
        for descriptor, name in ((1, "output"), (2, "error")):
            os.dup2(os.open(f"{sys.argv[2]}/{number}-{name}", os.O_CREAT | os.O_WRONLY), descriptor)
            if stream == f"full {name}":
                os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
            elif stream in (f"closed {name}", "closed both"):
                os.close(descriptor)
        main(arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def leaves(command: click.Command, *words: str) -> list[list[str]]:
    if not isinstance(command, click.Group):
        return [list(words)]
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, inner in found if inner is not None for leaf in leaves(inner, *words, name)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.acceptance)])
def test_a_stream_that_takes_nothing_is_told_by_every_command(tmp_path, every):
    """Every fifth command has its help printed; all of them have in the acceptance."""
    store = str(tmp_path / "store")
    commands = leaves(cli)
    assert ["runs", "list"] in commands
    listings = [["runs", "list", "--store", store], ["analyses"], ["site", "list"], ["store", "gc", "--store", store]]
    mistakes = [["run", "--no-such-option"], ["runs", "show", "absent", "--store", store], ["absent"]]
    printing = [*listings, *([*words, "--help"] for words in commands[::every])]
    cases = [(stream, words) for stream in STREAMS[:2] for words in [*printing, *mistakes]]
    cases += [(stream, words) for stream in STREAMS[2:] for words in [*listings[:1], *mistakes[:2]]]
    given = [sys.executable, "-c", EACH, json.dumps(cases), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(given, capture_output=True, text=True, timeout=240, env=environment, check=True)
    for number, ((stream, words), code) in enumerate(zip(cases, map(int, done.stdout.split()), strict=True)):
        full = stream == "full output" and words not in mistakes
        assert code == (2 if words in mistakes else 4 if full else 0), (stream, words)
        said = (tmp_path / f"{number}-error").read_text()
        assert "Traceback" not in said, (stream, words)
        assert ("standard output cannot be written" in said) == full, (stream, words)
