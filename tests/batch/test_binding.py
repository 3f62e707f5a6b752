"""A library of a system's own: what it prints is a poll's parts, and one of another release is not asked."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from vrecompute.batch.binding import UNUSABLE, Binding, tell_parts, tell_unusable
from vrecompute.batch.parts import read_parts

NUMPY = Binding("numpy", "QQ", "qq --version")
HERE = re.match(r"[0-9]+\.[0-9]+", metadata.version("numpy"))[0]


def test_a_library_fits_the_release_that_it_is_made_for():
    assert NUMPY.mismatch(f"qq {HERE}.77") == ""


@pytest.mark.parametrize(
    ("binding", "said", "why"),
    [
        (NUMPY, "qq 999.1.2\n", r"numpy \S+ does not match qq 999.1.2; install numpy 999.1 \(it is built with .* QQ\)"),
        (NUMPY, "", r"numpy \S+ does not match what `qq --version` says: nothing; mend qq"),
        (Binding("no-such-library", "QQ", "qq -v"), "", "no-such-library is not installed here; mend qq"),
    ],
)
def test_of_another_one_it_is_said_why_and_what_to_do(binding, said, why):
    assert re.fullmatch(why, binding.mismatch(said))


def test_each_question_is_a_part_and_a_refusal_hides_no_answer_of_the_others(capsys):
    def refused():
        raise OSError("no connection")

    def other_release():
        raise AttributeError("no jobs()")

    tell_parts({"queue": lambda: [{"id": 7}], "history": refused, "other": other_release}, OSError)
    tell_unusable("gone", ImportError("libqq.so"))
    parts = read_parts(capsys.readouterr().out.splitlines())
    assert {name: (part.code, part.text) for name, part in parts.items()} == {
        "queue": (0, '[{"id": 7}]'),
        "history": (1, "no connection"),
        "other": (2, f"{UNUSABLE}AttributeError: no jobs()"),
        "gone": (2, f"{UNUSABLE}ImportError: libqq.so"),
    }
