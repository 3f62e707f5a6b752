"""What Slurm says of its partitions and limits, for a first site file: sinfo, scontrol and sacctmgr as text.

sinfo(1) prints a line for each kind of node of a partition; a partition's jobs must fit the smallest of them.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vrecompute.batch.survey import Queue, Survey
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.units import from_slurm_time
from vrecompute_backends.slurm.shell import complaint, slurm

__all__ = ["parse_associations", "parse_partitions", "survey"]

_PARTITIONS = ["sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m"]
_CONFIG = ["scontrol", "show", "config"]
_MINE = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=Account,MaxJobs,MaxSubmitJobs"]


def survey(access: Access, system: str) -> Survey:
    """Everything that can be asked without a job; Unavailable where sinfo does not answer."""
    done = slurm(access, _PARTITIONS)
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
    accounts, most_jobs = parse_associations(asked([*_MINE, f"user={me}"], "accounts and limits of jobs"))
    config = asked(_CONFIG, "the longest array")
    longest = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    # an array of one job is none
    options = {"array": False} if longest and int(longest[1]) < 2 else {}
    interfaces = access.run(["ls", "/sys/class/net"]).text.split()
    return Survey(
        system,
        parse_partitions(done.text),
        queue_option="partition",
        accounts=accounts,
        most_jobs=most_jobs,
        interfaces=tuple(sorted(set(interfaces) - {"lo"})),
        options=options,
        unknown=tuple(unknown),
    )


def parse_partitions(text: str) -> tuple[Queue, ...]:
    """Partitions from sinfo's lines `NAME*|up|1-00:00:00|NODES|CORES+|MiB+`; lines of another shape are skipped.

    >>> text = "a*|up|30:00|2|8+|1000\\na*|up|30:00|1|4|9"
    >>> [(q.name, q.is_default, q.walltime_s, q.cores) for q in parse_partitions(text)]
    [('a', True, 1800, 4)]
    """
    found: dict[str, Queue] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 6 or not fields[0]:
            continue
        try:
            limit = from_slurm_time(fields[2])
        except ValueError:
            limit = None
        cores, mib = (_whole(field) for field in fields[4:])
        queue = Queue(
            fields[0].rstrip("*"),
            is_default=fields[0].endswith("*"),
            is_up=fields[1] == "up",
            walltime_s=limit,
            nodes=_whole(fields[3]) or 0,
            cores=cores,
            memory_bytes=mib << 20 if mib and mib > 1 else None,  # 1 is Slurm's word for "not configured"
        )
        known = found.get(queue.name)
        found[queue.name] = queue if known is None else _both(known, queue)
    return tuple(found.values())


def parse_associations(text: str) -> tuple[tuple[str, ...], int | None]:
    """(accounts, most jobs in the queue) from sacctmgr's lines `ACCOUNT|MaxJobs|MaxSubmit`; the smallest limit."""
    accounts: list[str] = []
    limits: list[int] = []
    for line in text.splitlines():
        account, *numbers = [field.strip() for field in line.split("|")]
        if len(numbers) != 2 or not account:
            continue
        accounts.append(account)
        limits += [limit for number in numbers if (limit := _whole(number))]
    return tuple(dict.fromkeys(accounts)), min(limits, default=None)


def _both(one: Queue, other: Queue) -> Queue:
    def least(a: int | None, b: int | None) -> int | None:
        return min((n for n in (a, b) if n is not None), default=None)

    return replace(
        one,
        nodes=(one.nodes or 0) + (other.nodes or 0),
        cores=least(one.cores, other.cores),
        memory_bytes=least(one.memory_bytes, other.memory_bytes),
    )


def _whole(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None
