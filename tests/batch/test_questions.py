"""A batch system is asked one thing after another; what it does not say is remembered, or ends it by name."""

from __future__ import annotations

import pytest

from vrecompute.batch.questions import Questions
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed


def answers(*told):
    """Questions to a system that says these, in turn: a text, or with a code why there is none, or nothing at all."""
    said = iter(told)

    def run(command):
        match next(said):
            case Exception() as error:
                raise error
            case (code, complaint):
                return Completed(code, b"half of it", complaint.encode())
            case text:
                return Completed(0, text.encode(), b"")

    return Questions("here", run, lambda done: done.complaint)


def test_what_a_system_does_not_say_is_remembered_and_the_rest_is_asked_all_the_same():
    asked = answers((1, "no such field"), "a=1", Unavailable("here: gone"))
    assert [asked.wanted(["show", what], what) for what in ("sizes", "names", "groups")] == ["", "a=1", ""]
    assert asked.unknown == ["sizes: no such field", "groups: here: gone"]


def test_what_is_needed_and_not_said_ends_it_with_who_was_asked_and_what_it_said():
    asked = answers("yes", (2, "no"), (2, "no"))
    assert asked.needed(["show", "all"]) == "yes"
    with pytest.raises(Unavailable, match=r"^here: show: no$"):
        asked.needed(["show", "all"])
    with pytest.raises(Unavailable, match=r"^here: list: no$"):
        asked.needed(["sh", "-c", "list | sort"], by="list")
    assert asked.unknown == []
