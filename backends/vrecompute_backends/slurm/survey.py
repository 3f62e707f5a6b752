"""What Slurm says of its partitions and limits, for a first site file and for a probe: its commands' text.

sinfo(1) prints a line for each kind of node of a partition. Partitions have limits of their own and a QOS that holds
for their jobs; a user's association has limits and a default QOS, and all accounts above it share theirs among their
jobs (sacctmgr(1)); slurm.conf bounds arrays. What a QOS limits, an association limits no more (Slurm's "Resource
Limits").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vrecompute.batch.rows import rows
from vrecompute.batch.survey import Limit, Limited, Queue, Survey
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.units import from_slurm, from_slurm_time
from vrecompute_backends.slurm.admission import Applicant
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.record import parsed
from vrecompute_backends.slurm.submit import complaint, slurm

__all__ = ["Association", "parse_associations", "parse_partitions", "parse_qos", "survey"]

_SACCTMGR = ["sacctmgr", "--noheader", "--parsable2", "show"]
#: sacctmgr's fields of limits -> what their rule is called; those of associations and of QOS.
_OF_ACCOUNT = {
    name: name
    for name in (
        *("MaxJobs", "MaxSubmitJobs", "MaxWall", "MaxTRES", "MaxTRESPerNode", "MaxTRESMins"),
        *("GrpJobs", "GrpSubmitJobs", "GrpTRES", "GrpTRESMins", "GrpTRESRunMins"),
    )
}
_OF_QOS = {
    "MaxJobsPU": "MaxJobs",
    "MaxSubmitPU": "MaxSubmitJobs",
    "MaxWall": "MaxWall",
    "MaxTRES": "MaxTRES",
    **{name: name for name in ("MaxTRESPerNode", "MaxTRESMins")},
    "MaxTRESPU": "MaxTRESPerUser",
    "MaxTRESPA": "MaxTRESPerAccount",
    **{name: name for name in ("GrpJobs", "GrpSubmitJobs", "GrpTRES", "GrpTRESMins", "GrpTRESRunMins")},
}
_MINE = ("Account", *_OF_ACCOUNT, "QOS", "DefaultQOS", "ParentName")
_QOS = ("Name", *_OF_QOS)
#: What rules count that are numbers; what the others limit, by Slurm's name for it.
_NUMBERS: Mapping[str, Limited] = {
    "MaxJobs": "running jobs", "GrpJobs": "running jobs", "MaxSubmitJobs": "jobs", "GrpSubmitJobs": "jobs",
}  # fmt: skip
_TRES: Mapping[str, Limited] = {"cpu": "cores", "node": "nodes", "mem": "memory", "gres/gpu": "gpus"}
_PER_NODE: Mapping[str, Limited] = {"cpu": "cores of a node", "mem": "memory of a node", "gres/gpu": "gpus of a node"}
_MINUTES: Mapping[str, Limited] = {"cpu": "core minutes"}
#: More accounts than any lies below.
_DEEPEST = 12
#: What a partition's own rules limit, with the unit of their numbers.
_RULES: Mapping[str, tuple[Limited, int]] = {
    "MaxNodes": ("nodes", 1),
    "MaxCPUsPerNode": ("cores of a node", 1),
    "MaxMemPerNode": ("memory of a node", 1 << 20),
}


def survey(access: Access, system: str, options: SlurmOptions) -> Survey:
    """Everything that can be asked without a job; Unavailable where sinfo does not answer.

    Limits are those of the account and the QOS that the options name, else of the user's default ones.
    """
    done = slurm(access, ["sinfo", "--all", "--noheader", "--format=%P|%a|%l|%D|%c|%m"])
    if done.code != 0:
        raise Unavailable(f"{access}: sinfo: {complaint(done)}")
    unknown: list[str] = []

    def asked(command: list[str], what: str) -> str:
        try:
            answer = slurm(access, command)
        except Unavailable as error:
            unknown.append(f"{what}: {error}")
            return ""
        if answer.code != 0:
            unknown.append(f"{what}: {complaint(answer)}")
        return answer.text if answer.code == 0 else ""

    me = access.run(["id", "-un"]).text.strip()
    config = asked(["scontrol", "show", "config"], "the longest array")
    cluster = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    where = [f"cluster={name}"] if (name := options.cluster or (cluster and cluster[1])) else []

    def associations(*whose: str, of: str = "accounts and limits of jobs") -> dict[str, Association]:
        return parse_associations(asked([*_SACCTMGR, "associations", *whose, *where, _format(_MINE)], of))

    mine = associations(f"user={me}")
    account = options.account
    if account is None and len(mine) > 1:
        account = asked([*_SACCTMGR, "user", me, "format=DefaultAccount"], "the default account").strip()
    chosen = {name: limits for name, limits in mine.items() if account in {None, name}}
    own = {options.qos} if options.qos else {one.qos for one in chosen.values() if one.qos}
    rules = _rules(asked(["scontrol", "--all", "--oneliner", "show", "partition"], "limits of partitions"))
    of_partitions = {rule["QoS"] for rule in rules.values() if rule.get("QoS", "N/A") != "N/A"}
    known = {}
    if names := sorted(own | of_partitions):
        where_named = ["qos", "where", f"name={','.join(names)}"]
        known = parse_qos(asked([*_SACCTMGR, *where_named, _format(_QOS)], "limits of QOS"))
    longest = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    above: dict[str, Association] = {}
    for name in chosen or ([account] if account else []):
        while name and name not in above and len(above) < _DEEPEST:
            above |= (found := associations(f"account={name}", "user=", of="limits of accounts"))
            name = found[name].parent if name in found else ""
    groups = access.run(["id", "-Gn"]).text.split()
    us = Applicant({name: _line(name, above) for name in chosen or ([account] if account else [])}, own, groups)
    of_qos = [limit for name in sorted(own) for limit in known.get(name, ())]
    limits = _in_force(config, chosen, above, of_qos)
    limits += [Limit("array", int(longest[1]), "MaxArraySize")] if longest else []
    return Survey(
        system,
        tuple(_ruled(queue, rules.get(queue.name, {}), known, us) for queue in parse_partitions(done.text)),
        queue_option="partition",
        accounts=tuple(mine),
        limits=tuple(limits),
        interfaces=tuple(access.interfaces()),
        # an array of one job is none
        options={"array": False} if longest and int(longest[1]) < 2 else {},
        unknown=tuple(unknown),
    )


def parse_partitions(text: str) -> tuple[Queue, ...]:
    """Partitions from sinfo's lines `NAME*|up|1-00:00:00|NODES|CORES+|MiB+`.

    >>> text = "a*|up|30:00|2|8+|1000\\na*|up|30:00|1|4|9"
    >>> [(q.name, q.is_default, q.walltime_s, q.cores, q.largest_cores) for q in parse_partitions(text)]
    [('a', True, 1800, 4, 8)]
    """
    found: dict[str, Queue] = {}
    for name, state, limit, nodes, cores, mib in rows(text.splitlines(), 6):
        n_cores, memory = _whole(cores), _whole(mib)
        memory = memory << 20 if memory and memory > 1 else None  # 1 is Slurm's word for "not configured"
        queue = Queue(
            name.rstrip("*"),
            is_default=name.endswith("*"),
            is_up=state == "up",
            walltime_s=parsed(from_slurm_time, limit),
            nodes=_whole(nodes) or 0,
            cores=n_cores,
            memory_bytes=memory,
            # a `+` is a line for several kinds of nodes, of which the least is told
            largest_cores=None if cores.endswith("+") else n_cores,
            largest_memory_bytes=None if mib.endswith("+") else memory,
        )
        found[queue.name] = found[queue.name].beside(queue) if queue.name in found else queue
    return tuple(found.values())


@dataclass(frozen=True)
class Association:
    """What a user is allowed in an account, or an account itself: limits, the default QOS, the account above."""

    account: str
    limits: tuple[Limit, ...] = ()
    qos: str = ""
    parent: str = ""


def parse_associations(text: str) -> dict[str, Association]:
    """Associations by account, from sacctmgr's lines with the fields of `_MINE`."""
    found: dict[str, Association] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        account = fields[0]
        if not account or len(fields) < 3:
            continue
        said = dict(zip(_MINE, fields, strict=False))
        known = found.get(account, Association(account))
        limits = (*known.limits, *_limits(said, _OF_ACCOUNT, f"of the account {account}", "options.account"))
        qos = said.get("QOS", "")
        default = said.get("DefaultQOS") or (qos if "," not in qos else "")
        found[account] = Association(account, tuple(dict.fromkeys(limits)), default, said.get("ParentName", ""))
    return found


def parse_qos(text: str) -> dict[str, tuple[Limit, ...]]:
    """QOS -> its limits, from sacctmgr's lines with the fields of `_QOS`."""
    found = (dict(zip(_QOS, fields, strict=True)) for fields in rows(text.splitlines(), len(_QOS)))
    return {said["Name"]: tuple(_limits(said, _OF_QOS, f"of the QOS {said['Name']}", "options.qos")) for said in found}


def _in_force(
    config: str, chosen: Mapping[str, Association], above: Mapping[str, Association], of_qos: Sequence[Limit]
) -> list[Limit]:
    """The limits that Slurm heeds: of the QOS, and of associations what no QOS limits; none where it heeds none."""
    enforced = re.search(r"^AccountingStorageEnforce\s*=\s*(\S+)", config, re.MULTILINE)
    if enforced and not {"limits", "safe", "all"} & set(enforced[1].lower().split(",")):
        return []
    own = [limit for one in chosen.values() for limit in one.limits]
    own += [limit for one in above.values() for limit in one.limits if limit.shared]
    first = {(_kind(limit), limit.of) for limit in of_qos}
    return [*(limit for limit in own if (_kind(limit), limit.of) not in first), *of_qos]


def _format(fields: Sequence[str]) -> str:
    return f"format={','.join(fields)}"


def _kind(limit: Limit) -> str:
    """What its rule is called, in an account as in a QOS."""
    return limit.rule.partition(" ")[0]


def _limits(said: Mapping[str, str], rules: Mapping[str, str], whose: str, key: str) -> Iterator[Limit]:
    for field, rule in rules.items():
        text, shared = said.get(field, ""), rule.startswith("Grp") or rule in {"MaxTRESPerUser", "MaxTRESPerAccount"}
        made = partial(Limit, rule=f"{rule} {whose}", shared=shared, chosen_by=key)
        if rule in _NUMBERS:
            if (most := _whole(text)) is not None:
                yield made(_NUMBERS[rule], most)
        elif rule == "MaxWall":
            if (seconds := parsed(from_slurm_time, text)) is not None:
                yield made("walltime", seconds)
        else:
            names = _MINUTES if rule.endswith("Mins") else _PER_NODE if rule.endswith("PerNode") else _TRES
            for name, _, amount in (each.partition("=") for each in text.split(",")):
                if (counted := names.get(name)) is None or not amount:
                    continue
                most = from_slurm(amount) if counted.startswith("memory") else _whole(amount)
                if most is not None:
                    yield made(counted, most)


def _rules(text: str) -> dict[str, dict[str, str]]:
    """Partition -> what `scontrol --oneliner show partition` says of it, word by word."""
    lines = (dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in text.splitlines())
    return {line["PartitionName"]: line for line in lines if "PartitionName" in line}


def _line(name: str, above: Mapping[str, Association]) -> list[str]:
    """An account and all above it."""
    line: list[str] = []
    while name and name not in line:
        line.append(name)
        name = above[name].parent if name in above else ""
    return line


def _ruled(queue: Queue, rule: dict[str, str], known: dict[str, tuple[Limit, ...]], us: Applicant) -> Queue:
    """The partition with its own rules and those of its QOS."""
    limits = [replace(limit, chosen_by="options.partition") for limit in known.get(rule.get("QoS", ""), ())]
    for name, (counted, unit) in _RULES.items():
        if most := _whole(rule.get(name, "")):
            limits.append(Limit(counted, most * unit, f"{name} of the partition {queue.name}"))
    return replace(queue, limits=tuple(limits), accounts=us.allowed(rule), closed=tuple(us.closed(rule)))


def _whole(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None
