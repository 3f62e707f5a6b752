"""`Applicant`: whether a queue starts jobs of ours, by its lists of whom it takes and whom not.

Systems take a job that no list lets start, and keep it. Lists of accounts hold for all accounts below those that they
name; of a user's groups one is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["AccessLists", "Applicant"]


@dataclass(frozen=True)
class AccessLists:
    """The fields of a queue that name whom it takes (`allow`) and does not take (`deny`), where the system has them.

    `key` of a site's file chooses what they are about; a field with one of the texts in `all_of` lists no names.
    """

    key: str
    allow: str = ""
    deny: str = ""
    all_of: frozenset[str] = frozenset({"ALL", "(null)", ""})

    def names(self, rule: Mapping[str, str], field: str) -> list[str]:
        """Whom a field of a queue lists by name; empty where that is everyone, or the field is not there.

        >>> AccessLists("options.account").names({"Allow": "a,b", "Deny": "(null)"}, "Allow")
        ['a', 'b']
        """
        text = rule.get(field, "")
        return [] if text in self.all_of else text.split(",")


@dataclass(frozen=True)
class Applicant:
    """The accounts that jobs are charged to, each with all above it; their QOS; the user's groups. Empty: not known.

    A driver says in a subclass which fields of a queue have the lists of each.
    """

    accounts: Mapping[str, Collection[str]]
    qos: Collection[str] = ()
    groups: Collection[str] = ()

    of_accounts: ClassVar[AccessLists]
    of_qos: ClassVar[AccessLists]
    of_groups: ClassVar[AccessLists]

    def allowed(self, rule: Mapping[str, str]) -> tuple[str, ...]:
        """The accounts that a queue takes jobs of, with those of ours below them; empty where it takes all."""
        named = self.of_accounts.names(rule, self.of_accounts.allow)
        below = (name for name, above in self.accounts.items() if {*named} & {*above})
        return tuple(dict.fromkeys([*named, *below]))

    def closed(self, rule: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Why a queue starts no job of ours, each with the key of a site's file that would."""
        accounts, qos, groups = self.of_accounts, self.of_qos, self.of_groups
        denied = {*accounts.names(rule, accounts.deny)}
        for name, above in self.accounts.items():
            if denied & {name, *above}:
                yield f"takes no jobs of the account {name} ({accounts.deny}={rule[accounts.deny]})", accounts.key
        for name in self.qos:
            allowed = qos.names(rule, qos.allow)
            if allowed and name not in allowed:
                yield f"takes no jobs of the QOS {name}, only of {', '.join(sorted({*allowed}))}", qos.key
            if name in qos.names(rule, qos.deny):
                yield f"takes no jobs of the QOS {name} ({qos.deny}={rule[qos.deny]})", qos.key
        members = {*groups.names(rule, groups.allow)}
        if members and self.groups and not members & {*self.groups}:
            theirs, mine = ", ".join(sorted(members)), ", ".join(self.groups)
            yield f"takes jobs of the groups {theirs} only, and yours are {mine}", groups.key
