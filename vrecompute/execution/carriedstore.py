"""The part of a store that goes with the job of a run and comes back: for jobs that reach no store.

What goes is what the run names, and parts of the same work, so that nothing is computed twice. What comes back is what
Runners and tasks write. Objects are immutable and prove themselves when they are read, so taking them back twice, or
from two jobs, is taking them back once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from vrecompute.analysis import Analysis
from vrecompute.errors import StoreError
from vrecompute.execution.head import read_head, tell
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.share import shared_plan_name
from vrecompute.execution.workkey import work_key
from vrecompute.scratch import scratch
from vrecompute.stores.base import Store, object_path
from vrecompute.stores.directory import DirStore

__all__ = ["carried_objects", "take_back_objects"]

#: Parts are kilobytes; beyond this they are computed again rather than carried.
_MOST_BYTES = 256 << 20


def carried_objects(store: Store, manifest: Manifest, analysis: Analysis | None) -> dict[str, bytes]:
    """What the run needs of the store, by name, with parts that the analysis made as far as they fit."""
    needed = {*manifest.source_files.values(), *manifest.resources.values(), *manifest.certified.values()}
    if manifest.shares and store.exists(shared_plan_name(manifest)):
        needed.add(shared_plan_name(manifest))  # which all shares cut, whatever a machine sees of the files
    found = {name: store.get(name) for name in sorted({manifest.object_name, *needed})}
    left = _MOST_BYTES
    if analysis is not None and manifest.settings.reuse:
        for entry in store.entries(f"work/{work_key(manifest, analysis)}/parts"):
            left -= entry.size
            if left < 0:
                break
            with contextlib.suppress(StoreError):  # one that is damaged is computed again
                found[entry.name] = store.get(entry.name)
    return found


def take_back_objects(store: Store, manifest: Manifest, brought: Mapping[str, bytes]) -> None:
    """Make what a job brought back durable: first what is made of the data, last how the run ended.

    Only what belongs to this run, to works and to sources is taken.
    """
    outcomes, head = f"{manifest.prefix}outcomes/", f"{manifest.prefix}head.json"
    taken = [name for name in sorted(brought) if name.startswith((manifest.prefix, "work/", "sources/"))]
    for name in sorted(taken, key=lambda name: name.startswith(outcomes)):
        if name != head and not any(part.startswith(".") for part in name.split("/")):
            object_path("", name)
            store.create(name, brought[name])
    if head in brought:
        with scratch("head") as folder:
            there = DirStore(folder)
            there.replace(head, brought[head])
            said = found.said if (found := read_head(there, manifest.run)) is not None else {}
        for writer, event in said.items():
            tell(store, manifest, writer=writer, event=event)
