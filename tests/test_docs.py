"""The documents name things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_modules_of_the_architecture_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("## Where things are")[1].split("\n## ")[0]
    for row in re.findall(r"^\| .+? \| (.+?) \|", table, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)/?`", row):
            place = ROOT / "vrecompute" / name
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"architecture.md names {name}"


def test_every_module_is_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+)/?`", text))
    small = {"errors", "units", "wording", "progress", "normalise", "finishing", "skim"}
    modules = {p.stem for p in (ROOT / "vrecompute").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    modules -= {"__init__", "__main__"}
    missing = sorted(modules - named - small)
    assert not missing, f"{missing}: add them to the table of docs/architecture.md, or to the small ones here"


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
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)?)\b", document.read_text()):
        if target not in {"and", "sure", "it"}:
            assert target in targets, target
