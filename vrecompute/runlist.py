"""The runs of a store as a list; each site is asked once about those that have not ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.batch.together import together
from vrecompute.completeruns import complete_runs, keep_complete_runs
from vrecompute.detach import submissions
from vrecompute.errors import DamagedObject, OtherFormat, RunError, StoreError
from vrecompute.execution.head import read_head
from vrecompute.execution.manifest import Manifest, read_manifest
from vrecompute.execution.runlog import (
    REFUSALS,
    Over,
    Seen,
    cancel_requested,
    ended_complete,
    head_state,
    never_over,
    outcomes,
    run_state,
)
from vrecompute.stores.base import Store
from vrecompute.whereabouts import CANCELLED, how_its_job_is, state_by_job

__all__ = ["RunFacts", "list_runs"]

Poll = Callable[[Sequence[JobId]], Mapping[JobId, JobStatus]]


class RunFacts(NamedTuple):
    """One line of `client.runs()`."""

    run: str
    state: str
    created: str
    analysis: str
    dataset: str
    trouble: str = ""  # what of the run is damaged, or of another version
    labels: Mapping[str, str] = {}
    job: str = ""
    reason: str = ""  # why its job waits, or how it ended
    parameters: Mapping[str, Any] = {}


#: Of these a site is asked: a Runner that spoke a moment ago may have died with its job since.
_ASKED = frozenset({"interrupted", "running"})
# Requests to the store that are under way at once.
_AT_ONCE = 8


def list_runs(store: Store, polls: Callable[[str], Poll | None], labels: Mapping[str, str] = {}) -> list[RunFacts]:
    """The runs of a store that have all `labels`, oldest first; one that is damaged has none.

    A detached run for which no Runner speaks is what the poll of its site, by name, asked once for all of that site,
    says of its job: `queued`, `running`, `unknown`, `cancelled` or `interrupted`. Without a poll it is `submitted`, or
    `cancelled` where a client asked for that. One whose Runner spoke a moment ago is `running`, unless its job has
    been ended.

    Costs one listing, two requests a run, and none for one that this machine has seen to be complete. A run whose head
    is missing, damaged or older costs a look at all that it has.
    """
    names = store.children("runs")
    kept = complete_runs(store)
    known = {run: facts for run in names if (facts := _known(run, kept.get(run))) is not None}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        unknown = [run for run in names if run not in known]
        looked = dict(zip(unknown, pool.map(lambda run: _look(store, run), unknown), strict=True))
    ended = {run: look.facts for run, look in looked.items() if look.facts is not None and look.is_complete}
    if ended or len(known) < len(kept):
        keep_complete_runs(
            store, {run: (*facts[2:5], facts.labels, facts.parameters) for run, facts in {**known, **ended}.items()}
        )
    found: list[RunFacts] = []
    jobs: dict[str, dict[str, Sequence[JobId]]] = {}
    for run in names:
        facts, its_jobs, its_site, _ = looked.get(run) or _Look(known.get(run))
        if facts is None or not labels.items() <= facts.labels.items():
            continue
        found.append(facts._replace(job=next(iter(its_jobs), "")))
        if its_jobs and facts.state in _ASKED:
            jobs.setdefault(its_site, {})[run] = its_jobs
    told: dict[str, RunFacts] = {run.run: run for run in found}
    for its_site, ids in jobs.items():
        poll = polls(its_site)
        said = {} if poll is None else poll([job for each in ids.values() for job in each])
        for run, each in ids.items():
            status = together([said.get(job, JobStatus(State.UNKNOWN)) for job in each])
            if told[run].state == "running" and (at_work := _at_work(store, told[run], each, status)) is not None:
                told[run] = at_work
                continue
            if poll is None:
                is_cancelled = cancel_requested(store, run)
                told[run] = told[run]._replace(
                    state="cancelled" if is_cancelled else "submitted", reason=CANCELLED if is_cancelled else ""
                )
                continue
            state = state_by_job(store, run, each[0], status)
            told[run] = told[run]._replace(state=state, reason=how_its_job_is(run, each[0], status, state))
    return list(told.values())


def _at_work(store: Store, run: RunFacts, jobs: Sequence[JobId], status: JobStatus) -> RunFacts | None:
    """A run whose Runner spoke a moment ago; None where its job has ended with it, or waits in the queue again."""
    if stopped := status.stopped:
        return run._replace(reason=stopped)
    if not status.over(0):
        return run

    def over(job: str, attempt: int) -> bool:
        return job in jobs and status.over(attempt)

    now = _look(store, run.run, over).facts  # it may have said how it ended while its site was asked
    return None if now is None or now.state == "interrupted" else now._replace(job=run.job)


class _Look(NamedTuple):
    """What was seen of a run: its line, unless there is none, its latest jobs, its site, and whether it stays so."""

    facts: RunFacts | None
    jobs: Sequence[JobId] = ()
    site: str = ""
    is_complete: bool = False


def _known(run: str, kept: object) -> RunFacts | None:
    match kept:
        case [str(created), str(analysis), str(dataset), dict(labels), dict(parameters)]:
            return RunFacts(run, "complete", created, analysis, dataset, labels=labels, parameters=parameters)
    return None


def _look(store: Store, run: str, over: Over = never_over) -> _Look:
    """One line, whatever is wrong with the run; nothing for an empty folder, which a deleted run leaves."""
    try:
        return _quick_look(store, run, over) or _full_look(store, run, over)
    except OtherFormat as error:
        return _Look(RunFacts(run, "other-format", "", "", "", str(error)))
    except (StoreError, RunError) as error:
        return _Look(RunFacts(run, "damaged", "", "", "", str(error)))


def _quick_look(store: Store, run: str, over: Over) -> _Look | None:
    """By two requests; None where they do not tell."""
    try:
        is_complete = ended_complete(store, run)
    except DamagedObject:
        return None
    if is_complete:
        facts, site = _facts(read_manifest(store, run))
        return _Look(facts._replace(state="complete"), site=site, is_complete=True)
    head = read_head(store, run)
    if head is None or (state := head_state(head, over)) == "complete":
        return None
    facts = RunFacts(run, state, head.created, head.analysis, head.dataset, labels=head.labels)._replace(
        parameters=head.parameters
    )
    last = head.latest or {}
    if REFUSALS.get(last.get("event", "")) == state:
        facts = facts._replace(reason=str(last.get("reason", "")))
    if state == "running":
        facts = facts._replace(reason=str(last.get("waiting", "")))
    return _Look(facts, [JobId(job) for job in head.jobs or ([head.job] if head.job else [])], head.site)


def _full_look(store: Store, run: str, over: Over) -> _Look:
    names = list(store.names(f"runs/{run}"))
    if not names:
        return _Look(None)
    facts, site = _facts(read_manifest(store, run))
    seen = Seen(names, *outcomes(store, run, names))
    state = run_state(store, run, over, seen)
    facts = facts._replace(state=state, trouble="; ".join(map(str, seen.damaged.values())))
    submitted = [n for n in names if n.startswith(f"runs/{run}/jobs/")]
    ids = submissions(store, run, submitted[-1:]) if state in _ASKED else []
    return _Look(facts, ids, site, state == "complete" and not facts.trouble)


def _facts(manifest: Manifest) -> tuple[RunFacts, str]:
    made = (manifest.created, manifest.analysis, manifest.dataset.name)
    return RunFacts(manifest.run, "", *made, labels=manifest.labels, parameters=manifest.parameters), manifest.site
