"""Directives that a site's file changes, of a batch system that takes them as options of `qq submit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from vrecompute.batch.directives import DIRECTIVE, DirectiveChanges, DirectiveWords, is_directive
from vrecompute.sites.model import Site, Workers

WORDS = DirectiveWords(
    keys={("-t", "--time"): "workers.walltime", ("-m", "--mem"): "workers.memory", ("-q",): "options.queue"},
    about={"time|Deadline": ("-t", "--time", "--until"), "queue": ("-q",)},
    holds=frozenset({"--hold"}),
    delays=frozenset({"--after"}),
)
SITE = Site(name="there", backend="qq", workers=Workers(memory=1 << 30))


class Changes(DirectiveChanges):
    own = {"-o.*": "what jobs write is read"}  # noqa: RUF012 -- a Mapping in DirectiveChanges
    add: tuple[Annotated[str, is_directive("qq submit", "--mem=4G"), Field(pattern=DIRECTIVE)], ...] = ()


def site(*add, drop=(), **options):
    return replace(SITE, options={"directives": {"add": list(add), "drop": list(drop)}, **options})


def told(where):
    return [(diagnostic.message, diagnostic.advice) for diagnostic in WORDS.rules(where)]


def test_directives_are_dropped_by_their_names_and_then_others_are_added():
    changes = Changes(add=("--nice", "-x c1", "-xc2", "--avoid=c3", "--avoid"), drop=("--mem",))
    assert changes.applied(["--mem=4G", "--mem-per-core=1G", "--time=3"]) == [
        "--mem-per-core=1G", "--time=3", "--nice", "-x c1", "-xc2", "--avoid=c3", "--avoid",
    ]  # fmt: skip
    assert changes.added("-x", "--avoid") == ["c1", "c2", "c3"]
    assert changes.added("--mem") == []
    assert changes.one_list(("--avoid", "-x"), ["n7"]) == "c1,c2,c3,n7", "the system heeds the last of two"
    assert changes.one_list(("--mem", "-m"), ["4G"]) is None, "the site drops it"


@pytest.mark.parametrize("text", ["mem", "--mem=$(id)", "--mem=1\n--hold", "--mem='1'", "-m `id`", ""])
def test_what_is_no_whole_directive_is_refused_with_how_one_is_written(text):
    with pytest.raises(ValidationError, match="is no directive; write one option as qq submit takes it, such as --mem"):
        Changes(add=(text,))


def test_a_directive_of_the_driver_itself_cannot_be_added():
    with pytest.raises(ValidationError, match="'-oout' cannot be added: what jobs write is read"):
        Changes(add=("--nice", "-oout"))


@pytest.mark.parametrize("directive", ["--time=1", "-t 1", "-t1"])
def test_a_directive_contradicts_a_key_that_has_a_value(directive):
    said = f"{directive} contradicts workers.walltime, which jobs ask for too; remove it, and set workers.walltime"
    assert told(site(directive)) == [(said, False)]


def test_of_a_key_without_a_value_a_directive_is_only_told():
    said = "-qlong goes over options.queue, by which limits are checked and runs are planned; write options.queue"
    assert told(site("-qlong")) == [(said, True)]
    [(message, advice)] = told(site("-qlong", queue="short"))
    assert message.startswith("-qlong contradicts options.queue")
    assert not advice


def test_one_in_the_place_of_another_that_is_dropped_is_the_administrators_own_but_not_of_itself():
    assert told(site("-m 4", drop=["--mem"])) == []
    [(message, advice)] = told(site("--mem=4", drop=["--mem"]))
    assert message.startswith("--mem=4 contradicts workers.memory")
    assert not advice


def test_what_holds_every_job_is_refused_and_what_delays_them_is_told():
    assert told(site("--hold", "--after=noon", "--nice")) == [
        ("with --hold no job starts until it is released; remove it", False),
        ("with --after=noon every job waits until then, that of a probe too", True),
    ]


@pytest.mark.parametrize(
    ("add", "said", "asked"),
    [
        (["--until=1"], "DEADLINE is over", True),
        (["--until=1"], "no such queue", False),
        (["--nice", "-qlong"], "no such queue", True),
        (["--nice"], "no such queue", False),
        ([], "no such queue", False),
    ],
)
def test_a_directive_has_asked_for_what_the_system_complains_of(add, said, asked):
    assert WORDS.asked_for(site(*add), said) == asked
