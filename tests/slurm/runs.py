"""Runs on a machine of the lab, by program.py: started, watched, and what they told."""

from __future__ import annotations

import json

PROGRAM = "/home/alice/lab/program.py"
ANALYSIS = "/home/alice/lab/slow.py:Slow"
FILES = 24


def said(output: str) -> dict:
    """The facts a program told."""
    facts: dict = {}
    for line in output.splitlines():
        if line.startswith("{"):
            facts |= json.loads(line)
    return facts


def run(lab, machine, how, site, what, store, **settings):
    arguments = [how, site, what, f"store={store}", *(f"{k}={v}" for k, v in settings.items())]
    output = lab.on(
        machine, "sh", "-c", 'exec python "$@" 2>&1', "sh", PROGRAM, *arguments, timeout_s=1000, check=False
    )
    facts = said(output)
    assert "status" in facts, output[-3000:]
    return facts


def started(lab, machine, how, site, what, store, **settings):
    """A program that goes on, and what it said first."""
    arguments = [how, site, what, f"store={store}", *(f"{k}={v}" for k, v in settings.items())]
    process = lab.start(machine, "python", PROGRAM, *arguments)
    first = process.stdout.readline()
    while first and not first.startswith("{"):
        first = process.stdout.readline()
    return process, said(first)


def parts(lab, store) -> int:
    listed = lab.on("login", "sh", "-c", f"find /home/alice/{store} -path '*parts*' -type f ! -name '.*' | wc -l")
    return int(listed)


#: Wait, there, until a store has so many parts: a question from here costs more than the find.
_PARTS = """
for look in $(seq 1000); do
  found=$(find "$0" -path '*parts*' -type f ! -name '.*' 2> /dev/null | wc -l)
  [ "$found" -ge "$1" ] && exit
  sleep 0.3
done
echo "$found parts"; exit 1
"""


def wait_for_parts(lab, store, least: int) -> None:
    lab.on("login", "sh", "-c", _PARTS, f"/home/alice/{store}", str(least), timeout_s=900)


def finish(process) -> dict:
    output, _ = process.communicate(timeout=1000)
    facts = said(output)
    assert "status" in facts, output[-3000:]
    return facts
