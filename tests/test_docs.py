"""The documents name things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_architecture_names_every_folder_and_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text().split("## Where things are")[1].split("\n## ")[0]
    core = ROOT / "vrecompute"
    doors, table = text.split("| folder |")
    assert _names(doors) == _modules(core)
    rows = re.findall(r"^\| `(\w+)/` \| (.+?) \| ", table, re.MULTILINE)
    assert {folder for folder, _ in rows} == {p.parent.name for p in core.glob("*/__init__.py")}
    for folder, modules in rows:
        if folder not in {"reader", "kernels", "cli"}:  # their rows say what kinds of modules they hold
            assert _names(modules) == _modules(core / folder), folder


def _names(text):
    return set(re.findall(r"`([a-z_0-9]+)`", text))


def _modules(folder):
    return {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_paths_and_links_exist(document):
    text = document.read_text()
    for path in re.findall(r"`((?:tests|docs|vrecompute|analyses|backends|requirements|\.ci)/[\w./-]+)`", text):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"\bmake ([a-z]+(?:-[a-z0-9]+)?)\b", document.read_text()):
        if target not in {"and", "sure", "it"}:
            assert target in targets, target
