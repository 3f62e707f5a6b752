"""The runs of a store as a list; the site is asked once about those that have not ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.detach import submissions
from vrecompute.errors import OtherFormat, RunError, StoreError
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.runlog import outcomes, run_state
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


def list_runs(store: Store, site: str, poll: Poll | None, labels: Mapping[str, str] = {}) -> list[RunFacts]:
    """The runs of a store that have all `labels`, oldest first; one that is damaged has none.

    A detached run of `site` for which no Runner speaks is what `poll`, asked once for all, says of its job: `queued`,
    `running`, `unknown`, `cancelled` or `interrupted`. Without `poll` it is `submitted`.
    """
    found: list[RunFacts] = []
    jobs: dict[str, JobId] = {}
    for name in store.children("runs"):
        facts, job = _look(store, name, site)
        if facts is None or not labels.items() <= facts.labels.items():
            continue
        found.append(facts)
        if job is not None:
            jobs[name] = job
    said = poll(list(jobs.values())) if poll is not None and jobs else {}
    states = {name: _word(said.get(job)) if poll is not None else "submitted" for name, job in jobs.items()}
    return [facts._replace(state=states.get(facts.run, facts.state)) for facts in found]


def _look(store: Store, name: str, site: str) -> tuple[RunFacts | None, JobId | None]:
    """One line, whatever is wrong with the run, and the job to ask about; nothing for an empty folder.

    A run that is deleted leaves one.
    """
    try:
        if not store.exists(f"runs/{name}/manifest.json") and not any(True for _ in store.names(f"runs/{name}")):
            return None, None
        manifest = read_manifest(store, name)
        facts = RunFacts(name, run_state(store, name), manifest.created, manifest.analysis, manifest.dataset.name)
        facts = facts._replace(labels=manifest.labels)
        _, damaged = outcomes(store, name)
        facts = facts._replace(trouble="; ".join(map(str, damaged.values())))
        silent = facts.state == "interrupted" and manifest.site == site
        ids = submissions(store, name) if silent else []
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
