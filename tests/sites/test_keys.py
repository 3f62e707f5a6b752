"""No key of a site is only described: code outside the description reads it, or `site check` says that none does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vrecompute
import vrecompute_backends
from vrecompute.sites.load import examine_site
from vrecompute.sites.reference import reference_table

_CODE = [Path(vrecompute.__file__).parent, Path(vrecompute_backends.__file__).parent]
#: Modules that know every key without doing what it says.
_DESCRIBE = {"model", "rules", "leaves", "reference", "report", "schema", "load", "layers", "secrets"}
#: Read by another name: as a kind of credentials, or by `site list` and by rules that other keys depend on.
_OTHERWISE = {
    "schema": "the version of the format",
    "description": "site list",
    "network.compute_outbound": "decides in sites.rules where a scheduler may run, and whether a proxy is one",
    "store.credentials.profile": "stores.address, by kind",
    "store.credentials.file": "stores.address, by kind",
    "store.credentials.env": "stores.address, by kind",
}
_UNICORE = "access: {{unicore: {{url: 'https://u.example.org', credentials: {{{}}}}}}}"
#: A file for a queue in which the key is given, where nothing reads it.
_UNREAD = {
    "access.unicore.url": _UNICORE.format("env: TOKEN"),
    "access.unicore.credentials.profile": _UNICORE.format("profile: p"),
    "access.unicore.credentials.file": _UNICORE.format("file: /t"),
    "access.unicore.credentials.env": _UNICORE.format("env: TOKEN"),
    "stage.mover": "stage: {scratch: /s, mover: login}",
    "stage.quota": "stage: {scratch: /s, quota: 1TiB}",
    "stage.shared": "stage: {shared: [/p]}",
    "accounting.unit": "accounting: {unit: node-hour}",
    "accounting.watts_per_core": "accounting: {watts_per_core: 6}",
    "accounting.pue": "accounting: {pue: 1.1}",
    "accounting.gco2_per_kwh": "accounting: {gco2_per_kwh: 380}",
}
KEYS = [line.split("`")[1] for line in reference_table().splitlines()[2:]]


def _word(node: ast.expr) -> str:
    """The last name of an expression: `site.network` and `network` are both network."""
    if isinstance(node, ast.Call):
        return _word(node.func)
    return (getattr(node, "attr", "") or getattr(node, "id", "")).lstrip("_")


def _read() -> set[tuple[str, str]]:
    """(section, key) of each attribute that code reads, through names that sections have been given."""
    found = set()
    for file in (file for folder in _CODE for file in folder.rglob("*.py")):
        if (file.parent.name == "sites" and file.stem in _DESCRIBE) or file.parent.name == "newsite":
            continue
        tree = ast.parse(file.read_text())
        called: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    pairs = [(target, node.value)]
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        pairs = list(zip(target.elts, node.value.elts, strict=False))
                    for name, value in pairs:
                        if isinstance(name, ast.Name) and isinstance(value, ast.Attribute):
                            called.setdefault(name.id, set()).add(value.attr)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                section = _word(node.value)
                found |= {(name, node.attr) for name in (section, *called.get(section, ()))}
    return found


READ = _read()


def is_read(key):
    *section, name = key.split(".")
    return ((section or ["site"])[-1], name) in READ


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_read_or_said_to_be_unread(key, tmp_path):
    if key in _OTHERWISE:
        assert not is_read(key), "take it from _OTHERWISE"
    elif key in _UNREAD:
        assert not is_read(key), "it is read now: take it from _UNREAD, and its advice from the rules"
        path = tmp_path / "mine.yaml"
        path.write_text(f"schema: 1\nname: mine\nbackend: slurm\n{_UNREAD[key]}\n")
        found = examine_site(path)
        said = [str(each) for each in (*found.problems, *(found.read.advice if found.read else ()))]
        # what is said may be about the whole section
        assert any(f": {part}:" in each for each in said for part in (key, key.partition(".")[0], "access.unicore"))
    else:
        assert is_read(key), f"nothing reads {key}: implement it, or let a rule say that it is not used"


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        (
            "backend: local\noptions: {queue: x}\nlimits: {max_jobs: 2, min_poll: 1s}\nstage: {scratch: /s}",
            ["limits.max_jobs", "limits.min_poll", "options", "stage.scratch"],
        ),
        ("backend: slurm\nscheduler_runs: none\nlimits: {max_jobs: 2}", ["limits.max_jobs", "scheduler_runs"]),
    ],
)
def test_a_key_that_this_driver_does_not_read_is_never_just_ok(written, keys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"schema: 1\nname: mine\n{written}\nstore: {{url: /runs}}\n")
    found = examine_site(path)
    assert found.problems == ()
    assert sorted(str(each).split(": ")[1] for each in found.read.advice) == keys
