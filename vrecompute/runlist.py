"""The runs of a store as a list; each site is asked once about those that have not ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.batch.together import together
from vrecompute.completeruns import complete_runs, keep_complete_runs, stamp
from vrecompute.detach import submissions
from vrecompute.errors import DamagedObject, OtherFormat, RunError, StoreError
from vrecompute.execution.head import read_head
from vrecompute.execution.manifest import Manifest, read_manifest
from vrecompute.execution.runlog import (
    REFUSALS,
    Over,
    Seen,
    began,
    cancel_requested,
    complete_since,
    head_state,
    latest_event,
    never_over,
    outcomes,
    run_state,
)
from vrecompute.stores.base import Store
from vrecompute.whereabouts import CANCELLED, GONE, how_it_ended, how_its_job_is, state_by_job

__all__ = ["RunFacts", "list_runs"]

Poll = Callable[[Sequence[JobId]], Mapping[JobId, JobStatus]]


class RunFacts(NamedTuple):
    """One line of `client.runs()`. `since` is in seconds since 1970, None where that is not known."""

    run: str
    state: str
    created: str
    analysis: str
    dataset: str
    trouble: str = ""  # what of the run is damaged, or of another version
    labels: Mapping[str, str] = {}
    job: str = ""
    reason: str = ""  # why its job waits, or why the run did not complete
    parameters: Mapping[str, Any] = {}
    site: str = ""
    since: float | None = None


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

    Costs one listing, two requests a run, and none for one that this machine has seen to be complete, but a look at
    its files where the store is a folder here. A run whose head
    is missing, damaged or older costs a look at all that it has.
    """
    names = store.children("runs")
    kept = complete_runs(store)
    known = {run: facts for run in names if (facts := _known(run, kept.get(run), stamp(store, run))) is not None}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        unknown = [run for run in names if run not in known]
        looked = dict(zip(unknown, pool.map(lambda run: _look(store, run), unknown), strict=True))
    ended = {run: look.facts for run, look in looked.items() if look.facts is not None and look.is_complete}
    if ended or len(known) < len(kept):
        keep_complete_runs(
            store,
            {
                run: (*facts[2:5], facts.labels, facts.parameters, facts.site, facts.since, stamp(store, run))
                for run, facts in {**known, **ended}.items()
            },
        )
    found: list[RunFacts] = []
    jobs: dict[str, dict[str, Sequence[JobId]]] = {}
    for run in names:
        facts, its_jobs, *_ = looked.get(run) or _Look(known.get(run))
        if facts is None or not labels.items() <= facts.labels.items():
            continue
        found.append(facts._replace(job=next(iter(its_jobs), "")))
        if its_jobs and facts.state in _ASKED:
            jobs.setdefault(facts.site, {})[run] = its_jobs
    told: dict[str, RunFacts] = {run.run: run for run in found}
    for its_site, ids in jobs.items():
        poll = polls(its_site)
        said = {} if poll is None else poll([job for each in ids.values() for job in each])
        for run, each in ids.items():
            status = together([said.get(job, JobStatus(State.UNKNOWN)) for job in each])
            if told[run].state == "running" and (at_work := _at_work(store, told[run], each, status)) is not None:
                told[run] = at_work
            elif poll is None:
                told[run] = told[run] if looked[run].refused else _not_asked(store, told[run])
            else:
                told[run] = _by_job(store, told[run], looked[run], status)
    return list(told.values())


def _not_asked(store: Store, run: RunFacts) -> RunFacts:
    """A run of which only its site could say more."""
    if cancel_requested(store, run.run):
        return run._replace(state="cancelled", reason=CANCELLED)
    return run._replace(state="submitted", reason=f"site {run.site!r} was not asked")


def _by_job(store: Store, run: RunFacts, look: _Look, status: JobStatus) -> RunFacts:
    """A run for which its job alone speaks."""
    state, since = state_by_job(store, run.run, run.job, status), look.latest
    if state == "running" and status.elapsed_s is not None:
        since = time.time() - status.elapsed_s
    reason = how_its_job_is(run.run, run.job, status, state)
    if look.refused and state == run.state:  # its Runner has said more than the exit code that its job has of it
        reason = run.reason
    if not reason and state != "running":
        reason = f"site {run.site!r} does not say what became of its job" if state == "unknown" else GONE
    return run._replace(state=state, reason=reason, since=since)


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
    """What was seen of a run: its line, unless there is none, its latest jobs, whether it stays so.

    And when it was last submitted, or its Runner last spoke; and whether that was that it got no workers.
    """

    facts: RunFacts | None
    jobs: Sequence[JobId] = ()
    is_complete: bool = False
    latest: float | None = None
    refused: bool = False


def _known(run: str, kept: object, now: str) -> RunFacts | None:
    """What was kept of a run, unless its files have changed since."""
    match kept:
        case [str(created), str(analysis), str(dataset), dict(labels), dict(parameters), str(site), float(since), then]:
            if then != now:
                return None
            made = RunFacts(run, "complete", created, analysis, dataset, labels=labels, parameters=parameters)
            return made._replace(site=site, since=since)
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
        since = complete_since(store, run)
    except DamagedObject:
        return None
    if since is not None:
        facts = _facts(read_manifest(store, run))
        return _Look(facts._replace(state="complete", since=since), is_complete=True)
    head = read_head(store, run)
    if head is None or (state := head_state(head, over)) == "complete":
        return None
    last = head.latest or {}
    told = next((event for event in reversed(list(head.said.values())) if event.get("status") == state), None)
    if told is not None and "why" not in told:  # of an older version
        return None
    latest = max((t for t in (last.get("time"), head.submitted) if t is not None), default=None)
    facts = RunFacts(run, state, head.created, head.analysis, head.dataset, labels=head.labels, site=head.site)
    facts = facts._replace(parameters=head.parameters, since=latest)
    refused = REFUSALS.get(last.get("event", "")) == state
    if told is not None:
        facts = facts._replace(reason=how_it_ended(run, state, str(told["why"])), since=told["time"])
    elif refused:
        facts = facts._replace(reason=str(last.get("reason", "")), since=last["time"])
    elif state == "running":
        facts = facts._replace(reason=str(last.get("waiting", "")), since=began(last))
    else:
        facts = facts._replace(reason=GONE)
    jobs = [JobId(job) for job in head.jobs or ([head.job] if head.job else [])]
    return _Look(facts, jobs, latest=latest, refused=refused and last.get("time") == latest)


def _full_look(store: Store, run: str, over: Over) -> _Look:
    names = list(store.names(f"runs/{run}"))
    if not names:
        return _Look(None)
    facts = _facts(read_manifest(store, run))
    seen = Seen(names, *outcomes(store, run, names))
    state = run_state(store, run, over, seen)
    facts = facts._replace(state=state, trouble="; ".join(map(str, seen.damaged.values())))
    submitted = [n for n in names if n.startswith(f"runs/{run}/jobs/")]
    ids = submissions(store, run, submitted[-1:]) if state in _ASKED else []
    last = latest_event(store, run) or {}
    if seen.ended and seen.ended[0].outcome.summary.status == state:
        why = "" if state == "complete" else how_it_ended(run, state, seen.ended[0].outcome.why)
        facts = facts._replace(since=seen.ended[0].ended, reason=why)
    elif state in {*REFUSALS.values(), "interrupted"}:
        facts = facts._replace(since=last.get("time"), reason=str(last.get("reason", "")) or GONE)
    elif state == "running":
        facts = facts._replace(since=began(last), reason=str(last.get("waiting", "")))
    refused = REFUSALS.get(last.get("event", "")) == state
    return _Look(facts, ids, state == "complete" and not facts.trouble, last.get("time"), refused)


def _facts(manifest: Manifest) -> RunFacts:
    made = RunFacts(manifest.run, "", manifest.created, manifest.analysis, manifest.dataset.name)
    return made._replace(labels=manifest.labels, parameters=manifest.parameters, site=manifest.site)
