"""Text that is resolved on the site: a real shell expands its variables and nothing else."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrecompute.errors import SiteError
from vrecompute.sites.access import LocalAccess
from vrecompute.sites.onsite import path_on_site, resolve_here, shell_word

VARIABLES = {"HOME": "/home/me", "SCRATCH": "/scratch/with space", "A_1": "x*y"}


def expanded(text):
    """What /bin/sh makes of the word."""
    command = f"printf %s {shell_word(text)}"
    return subprocess.run(["/bin/sh", "-c", command], env=VARIABLES, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$SCRATCH/vrecompute", "/scratch/with space/vrecompute"),
        ("${A_1}/$A_1", "x*y/x*y"),
        ("~/venv", "/home/me/venv"),
        ("~", "/home/me"),
        ("a~/b", "a~/b"),
        ('quote" and \\ and ` and $(id) and $', 'quote" and \\ and ` and $(id) and $'),
        ("a; rm -rf * & 'b'", "a; rm -rf * & 'b'"),
        ("Jülich", "Jülich"),
    ],
)
def test_the_shell_and_python_agree(text, value):
    assert expanded(text) == value
    assert resolve_here(text, VARIABLES) == value


@settings(max_examples=25)
@given(st.text(st.sampled_from("ab/~\"'\\`$(){};&|*?! #HOME_1"), max_size=12))
def test_no_text_becomes_a_command(text):
    known = text
    try:
        value = resolve_here(known, VARIABLES)
    except SiteError:
        return  # a variable that is not set: the shell would make it empty
    assert expanded(text) == value


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(SiteError, match=r"'\$PROJECT/venv' needs the variable PROJECT, which is not set here"):
        resolve_here("$PROJECT/venv", VARIABLES)


def test_a_variable_that_is_not_set_on_the_site_is_named_and_what_is_left_is_no_path(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(SiteError, match=r"'\$NOWHERE/x' needs the variable NOWHERE, which is not set there; set it"):
        path_on_site(LocalAccess(), "$NOWHERE/x")
