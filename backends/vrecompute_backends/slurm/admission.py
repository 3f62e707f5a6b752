"""Whose jobs a partition takes, by its rules in `scontrol show partition`: those of accounts, QOS and groups.

Slurm takes a job that no rule lets start, and keeps it. Rules of accounts hold for all accounts below those that they
name (slurm.conf(5), AllowAccounts).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Applicant"]


@dataclass(frozen=True)
class Applicant:
    """The accounts that jobs are charged to, each with all above it; their QOS; the user's groups. Empty: not known."""

    accounts: Mapping[str, Collection[str]]
    qos: Collection[str] = ()
    groups: Collection[str] = ()

    def allowed(self, rule: Mapping[str, str]) -> tuple[str, ...]:
        """The accounts that a partition takes jobs of, with those of ours below them; empty where it takes all."""
        named = _names(rule, "AllowAccounts")
        below = (name for name, above in self.accounts.items() if named & {*above})
        return tuple(dict.fromkeys([*_listed(rule, "AllowAccounts"), *below]))

    def closed(self, rule: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Why a partition starts no job of ours, each with the key of a site's file that would."""
        denied = _names(rule, "DenyAccounts")
        for name, above in self.accounts.items():
            if denied & {name, *above}:
                yield f"takes no jobs of the account {name} (DenyAccounts={rule['DenyAccounts']})", "options.account"
        for name in self.qos:
            allowed = _names(rule, "AllowQos")
            if allowed and name not in allowed:
                yield f"takes no jobs of the QOS {name}, only of {', '.join(sorted(allowed))}", "options.qos"
            if name in _names(rule, "DenyQos"):
                yield f"takes no jobs of the QOS {name} (DenyQos={rule['DenyQos']})", "options.qos"
        groups = _names(rule, "AllowGroups")
        if groups and self.groups and not groups & {*self.groups}:
            theirs, mine = ", ".join(sorted(groups)), ", ".join(self.groups)
            yield f"takes jobs of the groups {theirs} only, and yours are {mine}", "options.partition"


def _listed(rule: Mapping[str, str], name: str) -> list[str]:
    text = rule.get(name, "ALL")
    return [] if text in {"ALL", "(null)", ""} else text.split(",")


def _names(rule: Mapping[str, str], name: str) -> set[str]:
    return set(_listed(rule, name))
