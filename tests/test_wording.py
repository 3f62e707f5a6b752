"""Numbers as people read them, and the words of messages."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute import wording


def test_examples_of_the_docstrings():
    assert doctest.testmod(wording).failed == 0


@given(st.floats(0, 1))
def test_percentages_tell_incomplete_from_complete(fraction):
    text = wording.percent_text(fraction)
    assert (text == "100 %") == (fraction == 1.0)
    assert (text == "0 %") == (fraction == 0.0)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (10**12, "1.0 TB"), (10**19, "10000.0 PB")]
)
def test_bytes(count, text):
    assert wording.bytes_text(count) == text


@given(st.text())
def test_printable_is_printable(text):
    assert wording.printable(text).isprintable()


#: Words that make a message a riddle: name the actor instead ("the scheduler", "another user", "the batch system").
_RIDDLES = re.compile(
    r"\b(?:who(?:m|so)?ever|nobody|somebody|anybody|(?:is|are|was|were) told|of its own)\b", re.IGNORECASE
)


@pytest.mark.checkout
@pytest.mark.parametrize("package", ["vrecompute", "backends", "analyses"])
def test_no_message_is_a_riddle(package):
    """Every string of the sources, docstrings too: those of commands are their help."""
    root = Path(__file__).parents[1]
    files = list((root / package).rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(root)}:{node.lineno}: {word[0]}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in _RIDDLES.finditer(" ".join(node.value.split()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.checkout
def test_no_key_of_a_file_is_explained_by_a_riddle():
    root = Path(__file__).parents[1]
    schemas = [*root.glob("*/*.schema.json"), *root.glob("vrecompute/*/*.schema.json")]
    assert len(schemas) >= 3
    assert not [f"{s.name}: {word[0]}" for s in schemas for word in _RIDDLES.finditer(s.read_text())]
