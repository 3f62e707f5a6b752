"""The runs of a store as a list; the site is asked once about those that have not ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.detach import submissions
from vrecompute.errors import OtherFormat, RunError, StoreError
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.runlog import Seen, outcomes, run_state
from vrecompute.stores.base import Store

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


# What this process has read, by store and the documents that tell it: facts of manifests, with the site as their
# state, and of runs that are complete.
_begun: dict[tuple[str, ...], RunFacts] = {}
_complete: dict[tuple[str, ...], RunFacts] = {}


def list_runs(store: Store, site: str, poll: Poll | None, labels: Mapping[str, str] = {}) -> list[RunFacts]:
    """The runs of a store that have all `labels`, oldest first; one that is damaged has none.

    A detached run of `site` for which no Runner speaks is what `poll`, asked once for all, says of its job: `queued`,
    `running`, `unknown`, `cancelled` or `interrupted`. Without `poll` it is `submitted`.
    """
    found: list[RunFacts] = []
    jobs: dict[str, JobId] = {}
    for name, names in _listed(store).items():
        facts, job = _look(store, name, names, site)
        if facts is None or not labels.items() <= facts.labels.items():
            continue
        found.append(facts)
        if job is not None:
            jobs[name] = job
    said = poll(list(jobs.values())) if poll is not None and jobs else {}
    states = {name: _word(said.get(job)) if poll is not None else "submitted" for name, job in jobs.items()}
    return [facts._replace(state=states.get(facts.run, facts.state)) for facts in found]


def _listed(store: Store) -> dict[str, list[str] | None]:
    """The names of all objects of each run, by one listing; None for each where some cannot be listed."""
    try:
        names = store.names("runs")
        return {run: list(those) for run, those in groupby(names, key=lambda name: name.split("/")[1])}
    except StoreError:
        return dict.fromkeys(store.children("runs"))


def _look(store: Store, name: str, listed: list[str] | None, site: str) -> tuple[RunFacts | None, JobId | None]:
    """One line, whatever is wrong with the run, and the job to ask about; nothing for an empty folder.

    A run that is deleted leaves one. A run that this process has seen to be complete is not read again.
    """
    try:
        names = list(store.names(f"runs/{name}")) if listed is None else listed
        if not names:
            return None, None
        made = f"runs/{name}/manifest.json"
        key = (store.url, *(n for n in names if n == made or n.startswith(f"runs/{name}/outcomes/")))
        if (known := _complete.get(key)) is not None:
            return known, None
        if (facts := _begun.get((store.url, made)) if made in names else None) is None:
            manifest = read_manifest(store, name)
            facts = RunFacts(name, manifest.site, manifest.created, manifest.analysis, manifest.dataset.name)
            facts = _begun[store.url, made] = facts._replace(labels=manifest.labels)
        seen = Seen(names, *outcomes(store, name, names))
        state, its_site = run_state(store, name, seen=seen), facts.state
        facts = facts._replace(state=state, trouble="; ".join(map(str, seen.damaged.values())))
        if state == "complete" and not facts.trouble:
            _complete[key] = facts
        jobs = [n for n in names if n.startswith(f"runs/{name}/jobs/")]
        ids = submissions(store, name, jobs[-1:]) if state == "interrupted" and its_site == site else []
        return facts, ids[-1] if ids else None
    except OtherFormat as error:
        return RunFacts(name, "other-format", "", "", "", str(error)), None
    except (StoreError, RunError) as error:
        return RunFacts(name, "damaged", "", "", "", str(error)), None


def _word(job: JobStatus | None) -> str:
    """The state of a run for which its job alone speaks."""
    if job is None or job.state is State.UNKNOWN:
        return "unknown"
    if job.state in {State.QUEUED, State.HELD}:
        return "queued"
    if job.state is State.CANCELLED:
        return "cancelled"
    return "interrupted" if job.state.terminal else "running"
