"""What Slurm says of its partitions and limits, for a first site file and for a probe: its commands' text.

sinfo(1) prints a line for each kind of node of a partition. Partitions have limits of their own and a QOS that holds
for their jobs; a user's association has limits and a default QOS, and all accounts above it share theirs among their
jobs (sacctmgr(1)); slurm.conf bounds arrays. What a QOS limits, an association limits no more (Slurm's "Resource
Limits").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vrecompute.batch.admission import AccessLists, Applicant
from vrecompute.batch.limit_rules import LimitRule, Owner, all_above, in_force, line_of, read_limits
from vrecompute.batch.questions import Questions
from vrecompute.batch.rows import pairs, parsed, rows, whole
from vrecompute.batch.survey import Limit, Queue, Survey, gathered
from vrecompute.sites.access import Access
from vrecompute.units import from_slurm, from_slurm_time
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.submit import complaint, slurm

__all__ = ["Association", "SlurmApplicant", "parse_associations", "parse_partitions", "parse_qos", "survey"]

_SACCTMGR = ["sacctmgr", "--noheader", "--parsable2", "show"]
_TRES = {
    "cpu": LimitRule("cores"), "node": LimitRule("nodes"), "mem": LimitRule("memory", from_slurm),
    "gres/gpu": LimitRule("gpus"),
}  # fmt: skip
_TRES_OF_NODE = {
    "cpu": LimitRule("cores of a node"), "mem": LimitRule("memory of a node", from_slurm),
    "gres/gpu": LimitRule("gpus of a node"),
}  # fmt: skip
_MINUTES = {"cpu": LimitRule("core minutes")}
#: sacctmgr's fields of limits, of associations as of QOS: of one job, and of all that run at once.
_OF_JOB = {
    "MaxWall": LimitRule("walltime", from_slurm_time),
    "MaxTRES": LimitRule(_TRES),
    "MaxTRESPerNode": LimitRule(_TRES_OF_NODE),
    "MaxTRESMins": LimitRule(_MINUTES),
}
_OF_GROUP = {
    "GrpJobs": LimitRule("running jobs", shared=True),
    "GrpSubmitJobs": LimitRule("jobs", shared=True),
    "GrpTRES": LimitRule(_TRES, shared=True),
    "GrpTRESMins": LimitRule(_MINUTES, shared=True),
    "GrpTRESRunMins": LimitRule(_MINUTES, shared=True),
}
_OF_ACCOUNT = {"MaxJobs": LimitRule("running jobs"), "MaxSubmitJobs": LimitRule("jobs"), **_OF_JOB, **_OF_GROUP}
_OF_QOS = {
    "MaxJobsPU": LimitRule("running jobs", name="MaxJobs"),
    "MaxSubmitPU": LimitRule("jobs", name="MaxSubmitJobs"),
    **_OF_JOB,
    "MaxTRESPU": LimitRule(_TRES, name="MaxTRESPerUser", shared=True),
    "MaxTRESPA": LimitRule(_TRES, name="MaxTRESPerAccount", shared=True),
    **_OF_GROUP,
}
_MINE = ("Account", *_OF_ACCOUNT, "QOS", "DefaultQOS", "ParentName")
_QOS = ("Name", *_OF_QOS)
#: scontrol's fields of limits of a partition, where 0 is none.
_OF_PARTITION = {
    "MaxNodes": LimitRule("nodes", lambda text: whole(text) or None),
    "MaxCPUsPerNode": LimitRule("cores of a node", lambda text: whole(text) or None),
    "MaxMemPerNode": LimitRule("memory of a node", lambda text: from_slurm(text) or None),
}


class SlurmApplicant(Applicant):
    """By the lists in `scontrol show partition`. Accounts lie in a tree (slurm.conf(5), AllowAccounts)."""

    of_accounts = AccessLists("options.account", allow="AllowAccounts", deny="DenyAccounts")
    of_qos = AccessLists("options.qos", allow="AllowQos", deny="DenyQos")
    of_groups = AccessLists("options.partition", allow="AllowGroups")


def survey(access: Access, system: str, options: SlurmOptions) -> Survey:
    """Everything that can be asked without a job; Unavailable where sinfo does not answer.

    Limits are those of the account and the QOS that the options name, else of the user's default ones.
    """
    asked = Questions(access, partial(slurm, access), complaint)
    partitions = asked.needed(["sinfo", "--all", "--noheader", "--format=%P|%a|%l|%D|%c|%m"])
    me = access.run(["id", "-un"]).text.strip()
    config = pairs(asked.wanted(["scontrol", "show", "config"], "the longest array"), "\n")
    cluster = options.cluster or config.get("ClusterName")
    where = [f"cluster={cluster}"] if cluster else []

    def associations(*whose: str, of: str = "accounts and limits of jobs") -> dict[str, Association]:
        return parse_associations(asked.wanted([*_SACCTMGR, "associations", *whose, *where, _format(_MINE)], of))

    mine = associations(f"user={me}")
    account = options.account
    if account is None and len(mine) > 1:
        account = asked.wanted([*_SACCTMGR, "user", me, "format=DefaultAccount"], "the default account").strip()
    chosen = {name: limits for name, limits in mine.items() if account in {None, name}}
    own = {options.qos} if options.qos else {one.qos for one in chosen.values() if one.qos}
    said = asked.wanted(["scontrol", "--all", "--oneliner", "show", "partition"], "limits of partitions")
    rules = {rule["PartitionName"]: rule for rule in map(pairs, said.splitlines()) if "PartitionName" in rule}
    of_partitions = {rule["QoS"] for rule in rules.values() if rule.get("QoS", "N/A") != "N/A"}
    known = {}
    if names := sorted(own | of_partitions):
        where_named = ["qos", "where", f"name={','.join(names)}"]
        known = parse_qos(asked.wanted([*_SACCTMGR, *where_named, _format(_QOS)], "limits of QOS"))
    above = all_above(chosen, lambda name: associations(f"account={name}", "user=", of="limits of accounts"))
    parents = {owner.name: owner.above for owner in above}
    groups = access.run(["id", "-Gn"]).text.split()
    us = SlurmApplicant(
        {name: line_of(name, parents) for name in chosen or ([account] if account else [])}, own, groups
    )
    limits: list[Limit] = []
    enforced = config.get("AccountingStorageEnforce", "limits").lower()
    if {"limits", "safe", "all"} & set(enforced.split(",")):
        of_qos = [limit for name in sorted(own) for limit in known.get(name, ())]
        limits = in_force((limit for one in chosen.values() for limit in one.limits), above, of_qos)
    longest = read_limits(config, {"MaxArraySize": LimitRule("array")})
    return Survey(
        system,
        tuple(_ruled(queue, rules.get(queue.name, {}), known, us) for queue in parse_partitions(partitions)),
        queue_option="partition",
        accounts=tuple(mine),
        limits=(*limits, *longest),
        interfaces=tuple(access.interfaces()),
        # an array of one job is none
        options={"array": False} if any(limit.most < 2 for limit in longest) else {},
        unknown=tuple(asked.unknown),
    )


def parse_partitions(text: str) -> tuple[Queue, ...]:
    """Partitions from sinfo's lines `NAME*|up|1-00:00:00|NODES|CORES+|MiB+`.

    >>> text = "a*|up|30:00|2|8+|1000\\na*|up|30:00|1|4|9"
    >>> [(q.name, q.is_default, q.walltime_s, q.cores, q.largest_cores) for q in parse_partitions(text)]
    [('a', True, 1800, 4, 8)]
    """
    found = []
    for name, state, limit, nodes, cores, mib in rows(text.splitlines(), 6):
        # a `+` is a line for several kinds of nodes, of which the least is told
        n_cores, memory = whole(cores.rstrip("+")), whole(mib.rstrip("+"))
        memory = memory << 20 if memory and memory > 1 else None  # 1 is Slurm's word for "not configured"
        queue = Queue(
            name.rstrip("*"),
            is_default=name.endswith("*"),
            is_up=state == "up",
            walltime_s=parsed(from_slurm_time, limit),
            nodes=whole(nodes) or 0,
            cores=n_cores,
            memory_bytes=memory,
            largest_cores=None if cores.endswith("+") else n_cores,
            largest_memory_bytes=None if mib.endswith("+") else memory,
        )
        found.append(queue)
    return gathered(found)


@dataclass(frozen=True)
class Association(Owner):
    """What a user is allowed in an account, or an account itself, and the default QOS there."""

    qos: str = ""


def parse_associations(text: str) -> dict[str, Association]:
    """Associations by account, from sacctmgr's lines with the fields of `_MINE`."""
    found: dict[str, Association] = {}
    for line in text.splitlines():
        said = dict(zip(_MINE, map(str.strip, line.split("|")), strict=False))
        if not (account := said["Account"]) or len(said) < 3:
            continue
        known = found.get(account, Association(account))
        limits = (*known.limits, *read_limits(said, _OF_ACCOUNT, f"of the account {account}", "options.account"))
        qos = said.get("QOS", "")
        default = said.get("DefaultQOS") or (qos if "," not in qos else "")
        found[account] = Association(account, tuple(dict.fromkeys(limits)), said.get("ParentName", ""), default)
    return found


def parse_qos(text: str) -> dict[str, tuple[Limit, ...]]:
    """QOS -> its limits, from sacctmgr's lines with the fields of `_QOS`."""
    found = (dict(zip(_QOS, fields, strict=True)) for fields in rows(text.splitlines(), len(_QOS)))
    return {said["Name"]: read_limits(said, _OF_QOS, f"of the QOS {said['Name']}", "options.qos") for said in found}


def _format(fields: Sequence[str]) -> str:
    return f"format={','.join(fields)}"


def _ruled(queue: Queue, rule: Mapping[str, str], known: Mapping[str, tuple[Limit, ...]], us: Applicant) -> Queue:
    """The partition with its own rules and those of its QOS."""
    of_qos = (replace(limit, chosen_by="options.partition") for limit in known.get(rule.get("QoS", ""), ()))
    limits = (*of_qos, *read_limits(rule, _OF_PARTITION, f"of the partition {queue.name}"))
    return replace(queue, limits=limits, accounts=us.allowed(rule), closed=tuple(us.closed(rule)))
