"""Texts of functions, parsed by any number of threads."""

from __future__ import annotations

import ast
import threading

import pytest

from vrecompute import sourcetext


@pytest.mark.parametrize("failing", [1, 4])
def test_parsing_is_tried_again_where_another_thread_disturbed_python(failing, monkeypatch):
    left, parse = [None] * failing, ast.parse

    def disturbed(text):
        if left:
            left.pop()
            raise SystemError("AST constructor recursion depth mismatch (before=78, after=71)")
        return parse(text)

    monkeypatch.setattr(ast, "parse", disturbed)
    assert ast.unparse(sourcetext.syntax_of("x = 1")) == "x = 1"


def test_parsing_that_python_cannot_do_is_not_tried_for_ever(monkeypatch):
    def broken(text):
        raise SystemError("broken")

    monkeypatch.setattr(ast, "parse", broken)
    with pytest.raises(SystemError, match="broken"):
        sourcetext.syntax_of("x = 1")
    assert not sourcetext._parsing.locked()


def test_one_thread_parses_at_a_time(monkeypatch):
    inside, most, parse = [0], [0], ast.parse

    def counted(text):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1
        return parse(text)

    monkeypatch.setattr(ast, "parse", counted)
    threads = [threading.Thread(target=sourcetext.syntax_of, args=("x = 1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
