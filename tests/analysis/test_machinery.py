"""Digests of our own reader and kernels: parsed once, kept, and never those of another source."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from vrecompute import sourcetext
from vrecompute.analysis import machinery as module
from vrecompute.kernels import cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A copy of the sources, and a folder of their digests."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    ours = Path(sys.modules["vrecompute"].__path__[0])
    for name in ("reader", "kernels", "analysis/machinery.py", "sourcetext.py", "digest.py"):
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ours / name).is_dir() else shutil.copy
        copy(ours / name, tmp_path / "home" / name)
    return tmp_path / "home"


def parses(monkeypatch) -> list[str]:
    """Texts that are parsed from now on."""
    parsed, syntax_of = [], sourcetext.syntax_of
    monkeypatch.setattr(sourcetext, "syntax_of", lambda text: parsed.append(text) or syntax_of(text))
    return parsed


def test_they_are_kept_for_other_processes_and_the_same_wherever_the_sources_lie(home, tmp_path, monkeypatch):
    parsed = parses(monkeypatch)
    first = module._digests(home)
    assert len(parsed) > 20
    parsed.clear()
    assert module._digests(home.rename(tmp_path / "elsewhere")) == first == module.machinery()
    assert parsed == []


def test_an_edit_gives_another_one_of_its_folder_only_and_a_comment_gives_none(home):
    first = module._digests(home)
    file = home / "reader" / "facts.py"
    text = file.read_text()
    file.write_text(f"{text}\n# a comment\n")
    assert module._digests(home) == first
    file.write_text(f"{text}\nADDED = 1\n")
    second = module._digests(home)
    assert second["vrecompute.kernels"] == first["vrecompute.kernels"]
    assert second["vrecompute.reader"] != first["vrecompute.reader"]
    file.write_text(text)
    assert module._digests(home) == first


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"digests": {}, "sha256": ""}', None, "another"])
def test_what_is_damaged_or_cannot_be_kept_is_made_again(home, tmp_path, damage):
    first = module._digests(home)
    (kept,) = (tmp_path / "kept").iterdir()
    if damage is None:
        shutil.rmtree(tmp_path / "kept")
    else:
        kept.write_bytes(kept.read_bytes().replace(b"a", b"b") if damage == "another" else damage)
    assert module._digests(home) == first
    if damage is not None:
        assert module._read(kept) == first
