"""uproot reads the needed branches chunk by chunk, awkward array operations do the rest."""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak
import uproot

from benchmarks import task
from benchmarks.peers.columnar import select
from benchmarks.task import Outcome


def version() -> str:
    """Of what is measured."""
    return f"uproot {uproot.__version__}, awkward {ak.__version__}"


def run(files: Sequence[str], chunk_events: int, threads: int = 1, style: str = "usual") -> Outcome:
    """The task over all events of `files`."""
    outcome = Outcome.empty()
    for path in files:
        with uproot.open(path) as file:
            tree = file[task.TREE]
            for start in range(0, tree.num_entries, chunk_events):
                arrays = tree.arrays(list(task.COLUMNS), entry_start=start, entry_stop=start + chunk_events, how=dict)
                outcome += select(arrays.__getitem__, style)
    return outcome
