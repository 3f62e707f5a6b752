"""Why chunks are computed again: what changed since the latest run of the same analysis over the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vrecompute.analysis import Analysis
from vrecompute.analysis.code import difference
from vrecompute.errors import RunError, StoreError
from vrecompute.execution.manifest import Manifest, read_manifest
from vrecompute.execution.parts import stored_reads
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_document

__all__ = ["why_anew"]

# How many earlier runs are looked at, the latest first: each is an object to read.
_LOOKED_AT = 20
_NAMED = 4


def why_anew(
    store: Store,
    manifest: Manifest,
    analysis: Analysis,
    plan: Plan,
    missing: int,
    unknown: int = 0,
) -> str:
    """In a sentence, what made `missing` chunks of the plan new; empty where no earlier run tells, or nothing changed.

    Of `unknown` files that are not in the plan nothing is said: their chunks may be stored by what they hold. A file
    that was another one for the earlier run is named, and what it read that no key holds.

    "cuts changed (LIMIT_GEV), pt_min_gev 20 -> 30 since run ...: 8 of 8 chunks are computed anew"
    "cuts.ini is read at cuts.py:12, inside process: 8 of 8 chunks are computed anew"
    """
    previous = _previous(store, manifest) if missing else None
    if previous is None:
        return ""
    replaced = _replaced(store, previous, plan.sources)
    changes = [*_code(previous, manifest), *_values(previous, manifest, analysis), *replaced]
    reads = [told.partition(";")[0] for told in (*manifest.unnamed, *stored_reads(store, plan.work, previous.run))]
    reasons = [f"{', '.join(changes)} since run {previous.run}"] if changes else []
    reasons += [_some(reads)] if reads else []
    those = "chunks of files that are known are" if unknown else "chunks are"
    number = f"{missing} of {plan.chunks} {those}"
    return f"{'; '.join(reasons)}: {number} computed anew" if reasons else ""


def _previous(store: Store, manifest: Manifest) -> Manifest | None:
    paths = {source.path for source in manifest.dataset.sources}
    # Names of runs begin with the time.
    for run in sorted((r for r in store.children("runs") if r < manifest.run), reverse=True)[:_LOOKED_AT]:
        try:
            known = read_manifest(store, run)
        except (StoreError, RunError):  # damaged, of another version, or deleted: it only tells less
            continue
        same = known.dataset.name == manifest.dataset.name or any(s.path in paths for s in known.dataset.sources)
        if known.analysis == manifest.analysis and same:
            return known
    return None


def _code(old: Manifest, new: Manifest) -> list[str]:
    if old.analysis_version != new.analysis_version:
        return [f"version {old.analysis_version} -> {new.analysis_version}"]
    by_module: dict[str, list[str]] = {}
    for part in difference(old.code_parts, new.code_parts):
        module, _, name = part.partition(": ")
        by_module.setdefault("the analysis" if module == "main" else module, []).append(name)
    return [
        f"{module} changed" + (f" ({_some(list(filter(None, names)))})" if any(names) else "")
        for module, names in by_module.items()
        if module != "state" or len(by_module) == 1
    ]


def _values(old: Manifest, new: Manifest, analysis: Analysis) -> list[str]:
    names = analysis.process_parameters()
    changes = _changed({n: old.parameters.get(n) for n in names if n in new.parameters}, new.parameters)
    changes += _changed(old.numerics, new.numerics)
    if old.settings.chunk_bytes != new.settings.chunk_bytes:
        changes.append(f"chunk_bytes {old.settings.chunk_bytes} -> {new.settings.chunk_bytes}")
    changes += [f"resource {n} changed" for n, r in new.resources.items() if old.resources.get(n, r) != r]
    return changes + [
        f"certified sections of {sample} changed"
        for sample, kept in new.certified.items()
        if old.certified.get(sample, kept) != kept
    ]


def _replaced(store: Store, old: Manifest, sources: Sequence[PlannedSource]) -> list[str]:
    """Files that hold something else than when the earlier run opened them."""
    try:
        known = read_document(store, old.plan_name, "plan", _contents) if sources else {}
    except StoreError:  # it ended before it had a plan, or that is damaged
        return []
    paths = [s.path for s in sources if s.path in known and known[s.path] != _content(s)]
    return [f"{_some(paths)} {'was' if len(paths) == 1 else 'were'} replaced"] if paths else []


def _contents(plan: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Of each path of a stored plan, which is never made whole: of thousands of files it is large."""
    return {s["path"]: (s["uuid"], s["size"], s["entries"], s["content"]) for s in plan["sources"]}


def _content(source: PlannedSource) -> tuple[str, int, int, str]:
    return source.uuid, source.size, source.entries, source.content


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    as_data = {n: (list(v) if isinstance(v, tuple) else v) for n, v in new.items()}
    return [f"{n} {old[n]} -> {as_data[n]}" for n in old if n in new and old[n] != as_data[n]]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
