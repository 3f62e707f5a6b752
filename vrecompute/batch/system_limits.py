"""What runs of a site ask for beside what the batch system says that it gives: pure functions of a `Survey`.

A system may take a job that is above a limit, and never start it. So limits are compared one by one, and a
finding names each that is exceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vrecompute.batch.contract import Job
from vrecompute.batch.finding import Finding, yaml_line
from vrecompute.batch.planned import Planned
from vrecompute.batch.shape import shape_of
from vrecompute.batch.survey import Limit, Limited, Queue, Survey
from vrecompute.sites.model import Site
from vrecompute.units import format_duration, format_memory

__all__ = ["judge_limits"]

#: The names of the queues that a job may go to, one of them; none for the system's default.
QueuesOf = Callable[[Job], Sequence[str]]
#: What numbers of each kind count, and where.
_COUNTED = {
    "jobs": ("job", " in the queue"),
    "running jobs": ("job", " at once"),
    "gpus": ("GPU", ""),
    "gpus of a node": ("GPU", " on a node"),
    "core minutes": ("core minute", ""),
    "array": ("job", " in an array"),
    "nodes": ("node", ""),
    "cores": ("core", ""),
    "cores of a node": ("core", " on a node"),
}


@dataclass(frozen=True)
class _Fault:
    """What the batch system does not give, and the YAML line that heeds it."""

    says: str
    advice: str


def judge_limits(site: Site, survey: Survey, planned: Iterable[Planned], queues_of: QueuesOf) -> list[Finding]:
    """A finding for each limit that is exceeded, with the jobs that exceed it; one of what was not read."""
    planned = list(planned)
    found: dict[_Fault, list[str]] = {}
    for each in planned:
        for fault, asked in _faults(site, survey, each, queues_of):
            found.setdefault(fault, []).append(f"the {each.what}{asked}")
    counts: dict[str, int] = {}  # one worker job is one of the array of them
    for each in planned:
        counts[each.job.name] = max(counts.get(each.job.name, 0), each.count if each.live else 0)
    live = sum(counts.values())
    detached = max((each.count for each in planned if not each.live), default=0)
    of_queues = [limit for each in planned for queue in survey.named(queues_of(each.job)) for limit in queue.limits]
    for limit in dict.fromkeys(limit for limit in (*survey.limits, *of_queues) if limit.of == "jobs"):
        for number, whose in ((live, "a live run"), (detached, "a detached run")):
            if number > limit.most:
                found.setdefault(_exceeded(site, limit, {}), []).append(f"{whose} asks for {number}")
    for fault, case in _beside(site, survey.limits, planned):
        found.setdefault(fault, [case])
    findings = [Finding("limits", False, f"{f.says}: {', '.join(cases)}", f.advice) for f, cases in found.items()]
    if not findings:
        findings = [Finding("limits", True, f"no job is above what {survey.system} gives")]
    return [*findings, *(Finding("limits", True, f"not known: {each}") for each in survey.unknown)]


def _faults(site: Site, survey: Survey, each: Planned, queues_of: QueuesOf) -> Iterator[tuple[_Fault, str]]:
    yield from _above(site, survey.limits, each)
    found = [list(_of_queue(site, survey, queue, each)) for queue in survey.named(queues_of(each.job))]
    # a job for several queues starts in any that gives what it asks for
    yield from min(found, key=len, default=[])


def _of_queue(site: Site, survey: Survey, queue: Queue, each: Planned) -> Iterator[tuple[_Fault, str]]:
    of_controllers = f"controller_{survey.queue_option}"
    key = of_controllers if each.job.controller and site.options.get(of_controllers) else survey.queue_option
    option = f"options.{key}"
    name = f"{survey.queue_option} {queue.name}" if survey.queue_option else queue.name
    if not queue.is_up:
        yield _Fault(f"{name} is down and starts no job", yaml_line(option)), ""
    account = site.options.get("account")
    if queue.accounts and account and account not in queue.accounts:
        takes = ", ".join(queue.accounts)
        yield (
            _Fault(f"{name} takes no jobs of the account {account}, only of {takes}", yaml_line("options.account")),
            "",
        )
    for why, chosen_by in queue.closed:
        yield _Fault(f"{name} {why}", yaml_line(option if chosen_by.endswith(survey.queue_option) else chosen_by)), ""
    given: list[tuple[Limited, int | None, str]] = [
        ("walltime", queue.walltime_s, name),
        ("nodes", queue.nodes, name),
        ("cores of a node", queue.largest_cores, f"the largest node of {name}"),
        ("memory of a node", queue.largest_memory_bytes, f"the largest node of {name}"),
    ]
    limits = [Limit(of, most, rule) for of, most, rule in given if most is not None]
    yield from _above(site, [*limits, *queue.limits], each)
    most, largest = site.workers.max_memory, queue.largest_memory_bytes
    if most is not None and largest is not None and most > largest and each.job.memory_bytes is not None:
        advice = yaml_line("workers.max_memory", format_memory(largest))
        yield (
            _Fault(f"the largest node of {name} gives at most {format_memory(largest)}", advice),
            f" would ask for up to {format_memory(most)} after one was ended for its memory",
        )


def _asked(site: Site, each: Planned) -> dict[str, int]:
    """What one of the jobs asks for, by what limits are of."""
    shape = shape_of(each.job, site)
    memory = shape.memory_bytes or 0
    return {
        "walltime": each.job.walltime_s,
        "nodes": shape.nodes,
        "cores": shape.cores * shape.nodes,
        "memory": memory * shape.nodes,
        "gpus": shape.gpus * shape.nodes,
        "core minutes": shape.cores * shape.nodes * each.job.walltime_s // 60,
        "cores of a node": shape.cores,
        "memory of a node": memory,
        "gpus of a node": shape.gpus,
        "array": each.count if each.count > 1 else 0,
        "running jobs": 1,
    }


def _above(site: Site, limits: Iterable[Limit], each: Planned) -> Iterator[tuple[_Fault, str]]:
    asked = _asked(site, each)
    for limit in limits:
        if (number := asked.get(limit.of, 0)) > limit.most:
            yield _exceeded(site, limit, asked), f" asks for {_text(limit.of, number)}"


def _beside(site: Site, limits: Iterable[Limit], planned: Sequence[Planned]) -> Iterator[tuple[_Fault, str]]:
    """Of a live run that has no worker until two of its jobs run at once, what these ask for together."""
    pair = [_asked(site, each) for each in planned if each.live and each.count == 1]
    if len(pair) < 2:
        return
    for limit in limits:
        if not limit.shared and limit.of != "running jobs":
            continue
        number, alone = sum(one.get(limit.of, 0) for one in pair), max(one.get(limit.of, 0) for one in pair)
        if alone <= limit.most < number:
            fault = _Fault(_says(limit), "scheduler_runs: login   # or submit detached")
            yield fault, f"the scheduler job and one worker job ask for {_text(limit.of, number)} at once"


def _says(limit: Limit) -> str:
    noun, where = _COUNTED.get(limit.of, ("", ""))
    says = f"{limit.rule} gives at most {_text(limit.of, limit.most)}"
    says += f" {noun}{'s' * (limit.most != 1)}{where}" if noun else ""
    return says + " to all jobs that run at once" * limit.shared * (limit.of not in {"jobs", "running jobs"})


def _exceeded(site: Site, limit: Limit, asked: Mapping[str, int]) -> _Fault:
    """The fault of a job that asks for so much, and what mends it: less on a node, or fewer nodes where that does."""
    workers, most = site.workers, limit.most
    on_node = asked.get(f"{limit.of} of a node", asked.get(limit.of, 0))
    key, value = "workers.nodes.min", "..."
    if most == 0 or limit.of == "running jobs":
        key, value = limit.chosen_by or "options", "..."
    elif limit.of == "walltime":
        key, value = "workers.walltime", format_duration(most)
    elif limit.of == "core minutes":
        key, value = "workers.walltime", format_duration(60 * max(1, most // max(1, asked["cores"])))
    elif limit.of.startswith("cores") and on_node > most:
        key, value = "workers.processes", str(max(1, most // workers.threads))
    elif limit.of.startswith("memory") and on_node > most:
        key = "workers.memory"
    elif limit.of.startswith("gpus") and on_node > most:
        key, value = "workers.gpus", str(most)
    elif limit.of in {"array", "nodes"}:
        value = str(most)
    elif on_node:
        value = str(most // on_node)
    return _Fault(_says(limit), yaml_line(key, value))


def _text(of: str, number: int) -> str:
    if of == "walltime":
        return format_duration(number)
    return format_memory(number) if of.startswith("memory") else f"{number}"
