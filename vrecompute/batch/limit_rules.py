"""`LimitRule`: what a field of a batch system's answer limits. `Owner`: whose limits they are, and whose part it is.

A system names its limits by fields: of a queue, of an account or group, of a quality of service, of itself. Accounts
and groups lie in a tree: jobs of one share the limits of all that are above it. Where several limit the same, jobs are
compared with each, as any of them may keep a job waiting, unless the system says that one holds in place of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from vrecompute.batch.rows import pairs, parsed, whole
from vrecompute.batch.survey import Limit, Limited

__all__ = ["LimitRule", "Owner", "all_above", "in_force", "line_of", "read_limits"]

#: More owners than any tree has above one another.
_DEEPEST = 12


@dataclass(frozen=True)
class LimitRule:
    """What a field limits; of a list such as `cpu=64,mem=200G`, a rule for each name in it.

    `read` gives the number in a text, None or ValueError where there is none. `name` is what users call it, the field's
    own name where it is empty; `shared` as of a `Limit`.
    """

    of: Limited | Mapping[str, LimitRule]
    read: Callable[[str], int | None] = whole
    name: str = ""
    shared: bool = False

    def limits(self, text: str) -> Iterator[tuple[Limited, int]]:
        """What the text of the field limits, and the numbers.

        >>> cores = LimitRule({"cpu": LimitRule("cores")})
        >>> list(cores.limits("billing=9,cpu=64")), list(LimitRule("jobs").limits("UNLIMITED"))
        ([('cores', 64)], [])
        """
        if not isinstance(self.of, str):
            for name, amount in pairs(text, ",").items():
                yield from self.of[name].limits(amount) if name in self.of else ()
        elif (most := parsed(self.read, text)) is not None:
            yield self.of, most


def read_limits(
    said: Mapping[str, str], rules: Mapping[str, LimitRule], whose: str = "", chosen_by: str = ""
) -> tuple[Limit, ...]:
    """The limits in an answer's fields, by a system's rules for them.

    `whose` is what users add to a rule's name, as "of the account x"; `chosen_by` the key of a site's file that chose
    it.
    """
    return tuple(
        Limit(of, most, f"{rule.name or field} {whose}".strip(), rule.shared, chosen_by)
        for field, rule in rules.items()
        for of, most in rule.limits(said.get(field, ""))
    )


@dataclass(frozen=True)
class Owner:
    """One whose jobs have limits, as an account or a group. `above`: the one that it is a part of, empty of a root."""

    name: str
    limits: tuple[Limit, ...] = ()
    above: str = ""


def all_above(names: Iterable[str], ask: Callable[[str], Mapping[str, Owner]]) -> list[Owner]:
    """These owners and all above them up to their roots, each asked for once; those that are not known end a branch."""
    found: dict[str, Owner] = {}
    for name in names:
        while name and name not in found and len(found) < _DEEPEST:
            found |= (told := ask(name))
            name = told[name].above if name in told else ""
    return list(found.values())


def line_of(name: str, above: Mapping[str, str]) -> list[str]:
    """An owner and all above it, nearest first; `above` gives the one that each is a part of.

    >>> line_of("ours", {"ours": "science", "science": "root", "root": ""})
    ['ours', 'science', 'root']
    """
    line: list[str] = []
    while name and name not in line:
        line.append(name)
        name = above.get(name, "")
    return line


def in_force(own: Iterable[Limit], above: Iterable[Owner], first: Iterable[Limit] = ()) -> list[Limit]:
    """All limits that hold for jobs: `own` ones, what owners above have all their jobs share, and those of `first`.

    What a rule of `first` limits, the rule of that name limits no more elsewhere.
    """
    shared = (limit for owner in above for limit in owner.limits if limit.shared)
    first = list(first)
    taken = {(_rule(limit), limit.of) for limit in first}
    return [*(limit for limit in (*own, *shared) if (_rule(limit), limit.of) not in taken), *first]


def _rule(limit: Limit) -> str:
    """The name of a rule without whose it is."""
    return limit.rule.partition(" ")[0]
