"""What Slurm says of its partitions and limits, for a first site file and for a probe: its commands' text.

sinfo(1) prints a line for each kind of node of a partition. Partitions have limits of their own and a QOS that holds
for their jobs; a user's association has limits and a default QOS (sacctmgr(1)); slurm.conf bounds arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vrecompute.batch.rows import rows
from vrecompute.batch.survey import Limit, Limited, Queue, Survey
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.units import from_slurm, from_slurm_time
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.record import parsed
from vrecompute_backends.slurm.submit import complaint, slurm

__all__ = ["parse_associations", "parse_partitions", "parse_qos", "survey"]

_SACCTMGR = ["sacctmgr", "--noheader", "--parsable2", "show"]
_MINE = "format=Account,MaxJobs,MaxSubmitJobs,MaxWall,MaxTRES,QOS,DefaultQOS"
_QOS = "format=Name,MaxJobsPU,MaxSubmitPU,MaxWall,MaxTRES"
#: What MaxTRES limits, by its name for it; and what a partition's own rules limit, with the unit of their numbers.
_TRES: Mapping[str, Limited] = {"cpu": "cores", "node": "nodes", "mem": "memory"}
_RULES: Mapping[str, tuple[Limited, int]] = {
    "MaxNodes": ("nodes", 1),
    "MaxCPUsPerNode": ("cores of a node", 1),
    "MaxMemPerNode": ("memory of a node", 1 << 20),
}


def survey(access: Access, system: str, options: SlurmOptions) -> Survey:
    """Everything that can be asked without a job; Unavailable where sinfo does not answer.

    Limits are those of the account and the QOS that the options name, else of the user's default ones.
    """
    done = slurm(access, ["sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m"])
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
    mine = parse_associations(asked([*_SACCTMGR, "associations", f"user={me}", _MINE], "accounts and limits of jobs"))
    account = options.account
    if account is None and len(mine) > 1:
        account = asked([*_SACCTMGR, "user", me, "format=DefaultAccount"], "the default account").strip()
    chosen = {name: limits for name, limits in mine.items() if account in {None, name}}
    own = {options.qos} if options.qos else {qos for _, qos in chosen.values() if qos}
    rules = _rules(asked(["scontrol", "--oneliner", "show", "partition"], "limits of partitions"))
    of_partitions = {rule["QoS"] for rule in rules.values() if rule.get("QoS", "N/A") != "N/A"}
    known = {}
    if names := sorted(own | of_partitions):
        known = parse_qos(asked([*_SACCTMGR, "qos", "where", f"name={','.join(names)}", _QOS], "limits of QOS"))
    config = asked(["scontrol", "show", "config"], "the longest array")
    longest = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    limits = [limit for each, _ in chosen.values() for limit in each]
    limits += [limit for name in sorted(own) for limit in known.get(name, ())]
    limits += [Limit("array", int(longest[1]), "MaxArraySize")] if longest else []
    return Survey(
        system,
        tuple(_ruled(queue, rules.get(queue.name, {}), known) for queue in parse_partitions(done.text)),
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


def parse_associations(text: str) -> dict[str, tuple[tuple[Limit, ...], str]]:
    """Account -> (its limits for the user, its default QOS), from sacctmgr's lines with the fields of `_MINE`."""
    found: dict[str, tuple[tuple[Limit, ...], str]] = {}
    for line in text.splitlines():
        account, *fields = [field.strip() for field in line.split("|")]
        if not account or len(fields) < 2:
            continue
        fields += [""] * (6 - len(fields))
        limits = (*found.get(account, ((), ""))[0], *_limits(fields[:4], f"of the account {account}"))
        only = fields[4] if "," not in fields[4] else ""
        found[account] = tuple(dict.fromkeys(limits)), fields[5] or only
    return found


def parse_qos(text: str) -> dict[str, tuple[Limit, ...]]:
    """QOS -> its limits, from sacctmgr's lines with the fields of `_QOS`."""
    return {name: tuple(_limits(fields, f"of the QOS {name}")) for name, *fields in rows(text.splitlines(), 5)}


def _limits(fields: Sequence[str], whose: str) -> Iterator[Limit]:
    """From MaxJobs, MaxSubmitJobs, MaxWall and MaxTRES."""
    jobs, submitted, wall, tres = fields
    if (most := _whole(jobs)) is not None:
        yield Limit("running jobs", most, f"MaxJobs {whose}")
    if (most := _whole(submitted)) is not None:
        yield Limit("jobs", most, f"MaxSubmitJobs {whose}")
    if (seconds := parsed(from_slurm_time, wall)) is not None:
        yield Limit("walltime", seconds, f"MaxWall {whose}")
    for name, _, amount in (each.partition("=") for each in tres.split(",")):
        if (counted := _TRES.get(name)) is not None and amount:
            most = from_slurm(amount) if counted == "memory" else _whole(amount)
            if most is not None:
                yield Limit(counted, most, f"MaxTRES {whose}")


def _rules(text: str) -> dict[str, dict[str, str]]:
    """Partition -> what `scontrol --oneliner show partition` says of it, word by word."""
    lines = (dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in text.splitlines())
    return {line["PartitionName"]: line for line in lines if "PartitionName" in line}


def _ruled(queue: Queue, rule: dict[str, str], known: dict[str, tuple[Limit, ...]]) -> Queue:
    """The partition with its own rules and those of its QOS."""
    limits = list(known.get(rule.get("QoS", ""), ()))
    for name, (counted, unit) in _RULES.items():
        if most := _whole(rule.get(name, "")):
            limits.append(Limit(counted, most * unit, f"{name} of the partition {queue.name}"))
    accounts = rule.get("AllowAccounts", "ALL")
    return replace(queue, limits=tuple(limits), accounts=() if accounts == "ALL" else tuple(accounts.split(",")))


def _whole(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None
