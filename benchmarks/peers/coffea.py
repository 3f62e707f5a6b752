"""coffea NanoEvents: virtual columns of the NanoAOD schema, awkward array operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import coffea
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from benchmarks import task
from benchmarks.peers.columnar import select
from benchmarks.task import Outcome


def version() -> str:
    """Of what is measured."""
    return f"coffea {coffea.__version__}"


def run(files: Sequence[str], chunk_events: int, threads: int = 1, style: str = "usual") -> Outcome:
    """The task over all events of `files`; the form is built once per file, as coffea's executors do."""
    outcome = Outcome.empty()
    for path in files:
        with uproot.open(path) as file:
            entries = file[task.TREE].num_entries
        for start in range(0, entries, chunk_events):
            events = NanoEventsFactory.from_root(
                {path: task.TREE},
                mode="virtual",
                schemaclass=NanoAODSchema,
                entry_start=start,
                entry_stop=min(start + chunk_events, entries),
                preload=list(task.COLUMNS),
            ).events()
            outcome += select(lambda name, events=events: _column(events, name), style)
    return outcome


def _column(events: Any, name: str) -> Any:
    """`Electron_pt` is `events.Electron.pt`, `HLT_X` is `events.HLT.X`; what has no collection stays as it is."""
    collection, _, member = name.partition("_")
    return events[collection, member] if member else events[collection]
