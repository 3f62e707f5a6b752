"""What a site's file changes in the directives of jobs, and which key has asked for what a batch system complains of.

For systems whose directives are options of the command that submits, as `-l walltime=10:00` or `--mem=4G`. A driver's
options hold a `DirectiveChanges`, and a `DirectiveWords` says what the system's directives are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from vrecompute.batch.options import Strict
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["DIRECTIVE", "DirectiveChanges", "DirectiveName", "DirectiveWords", "directive_name", "is_directive"]

#: A whole directive, such as `--hint=nomultithread`; no line break, no quotes, no substitution.
DIRECTIVE = r"^-{1,2}[A-Za-z][A-Za-z0-9-]*([ =][A-Za-z0-9_.,:@/+*&|()\[\]%=-]+)?$"
#: The name of a directive: `--mem` drops `--mem=4G`, and not `--mem-per-cpu`.
DirectiveName = Annotated[str, Field(pattern=r"^-{1,2}[A-Za-z][A-Za-z0-9-]*$")]


def is_directive(command: str, example: str, own: Mapping[str, str] = {}) -> BeforeValidator:
    """What refuses a text that is no directive, with how `command` takes one; and one of the driver's `own` patterns.

    Of several that cannot be added, each is refused at its place.
    """

    def checked(value: object) -> object:
        if isinstance(value, str) and not re.match(DIRECTIVE, value):
            raise ValueError(
                f"{value!r} is no directive; write one option as {command} takes it, such as {example}, in letters, "
                "digits and punctuation that a shell leaves alone"
            )
        for pattern, why in own.items():
            if isinstance(value, str) and re.fullmatch(pattern, value):
                raise ValueError(f"{value!r} cannot be added: {why}")
        return value

    return BeforeValidator(checked)


class DirectiveChanges(Strict):
    """What to change in the directives that a driver writes; `drop` first, then `add`."""

    #: Directives that cannot be added, by pattern, and why.
    own: ClassVar[Mapping[str, str]] = {}
    add: tuple[str, ...] = ()
    drop: tuple[DirectiveName, ...] = ()

    @field_validator("add")
    @classmethod
    def _none_of_the_drivers_own(cls, add: tuple[str, ...]) -> tuple[str, ...]:
        for directive in add:
            for pattern, why in cls.own.items():
                if re.fullmatch(pattern, directive):
                    raise ValueError(f"{directive!r} cannot be added: {why}")
        return add

    def applied(self, directives: Iterable[str]) -> list[str]:
        """The directives of a job, changed so."""
        return [*(each for each in directives if directive_name(each) not in self.drop), *self.add]

    def added(self, *names: str) -> list[str]:
        """The values of those that are added by these names."""
        found = (each.removeprefix(directive_name(each)) for each in self.add if directive_name(each) in names)
        return [value.lstrip(" =") for value in found if value]

    def one_list(self, names: Sequence[str], values: Sequence[str]) -> str | None:
        """The value of the directive of these names, with what is added by them: of two, systems heed the last.

        None where the first name is dropped.
        """
        return None if names[0] in self.drop else ",".join([*self.added(*names), *values])


@dataclass(frozen=True)
class DirectiveWords:
    """What a system's directives are about.

    `keys`: names of a directive -> the key of a site's file that asks for the same, which limits, probes and plans of
    runs go by. `about`: words of complaints, and of reasons to wait -> the directives that ask for what they are about.
    With those of `holds` no job starts by itself, with those of `delays` none before a time.
    """

    keys: Mapping[tuple[str, ...], str]
    about: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds: frozenset[str] = frozenset()
    delays: frozenset[str] = frozenset()

    def rules(self, site: Site) -> Iterator[Diagnostic]:
        """Directives that say again what a key says: the system heeds the last, and everything else the key. Pure.

        Where the key has a value, one of the two is not true: jobs would have less than what runs are planned with. One
        in place of another that is dropped, as where a site refuses that, is the administrator's own.
        """
        about, changes = at("options.directives.add"), _changes(site)
        dropped = set(changes.get("drop", ()))
        for directive in changes.get("add", ()):
            name = directive_name(directive)
            key = next((key for names, key in self.keys.items() if name in names), "")
            written = {each for names, of in self.keys.items() if of == key for each in names}  # or may be
            if key and _given(site, key) and (name in dropped or not dropped & written):
                said = f"{directive} contradicts {key}, which jobs ask for too; remove it, and set {key}"
                yield Diagnostic(about, said)
            elif key and not dropped & written:
                said = f"{directive} goes over {key}, by which limits are checked and runs are planned; write {key}"
                yield Diagnostic(about, said, advice=True)
            elif name in self.holds:
                yield Diagnostic(about, f"with {directive} no job starts until it is released; remove it")
            elif name in self.delays:
                yield Diagnostic(
                    about, f"with {directive} every job waits until then, that of a probe too", advice=True
                )

    def asked_for(self, site: Site, said: str) -> bool:
        """Whether a directive that the site's file adds has asked for what the system complains of. Pure."""
        added = {directive_name(directive) for directive in _changes(site).get("add", ())}
        return any(added & set(names) and re.search(words, said, re.IGNORECASE) for words, names in self.about.items())


def directive_name(directive: str) -> str:
    """The option in it.

    >>> directive_name("--mem=4G"), directive_name("-t 10"), directive_name("-t10")
    ('--mem', '-t', '-t')
    """
    name = re.split("[ =]", directive, maxsplit=1)[0]
    return name if name.startswith("--") else name[:2]


def _changes(site: Site) -> Mapping[str, Any]:
    return site.options.get("directives") or {}


def _given(site: Site, key: str) -> bool:
    """Whether the site says how much; of some there is always a number, and every job has a walltime."""
    section, _, name = key.partition(".")
    return name == "walltime" or bool(site.options.get(name) if section == "options" else getattr(site.workers, name))
