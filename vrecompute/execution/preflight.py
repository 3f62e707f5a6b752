"""Preflight: every source is opened once, on workers, before anything is computed; known ones are not opened again.

sources/<sha256 of address, stamp, work and chunk_bytes>.json      a PlannedSource, as data
sources/<sha256 of the table>.table                                where its columns lie in the file
sources/<sha256 of address, stamp and cut>.data                    digests of its columns; see `stock`

A file costs the reads of its header, its list of keys and its tree's metadata, and those of `sampled_content`: one of
at most 256 KiB, or eight of 32 KiB.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vrecompute import reader
from vrecompute.analysis import Analysis, Grid, SourceView
from vrecompute.analysis.codedigest import difference
from vrecompute.datasets.dataset import Sample, Source
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import (
    AnalysisError,
    BadInput,
    DamagedObject,
    MiscountedSource,
    RunError,
    UnreadableFile,
)
from vrecompute.execution.chunk_bounds import split
from vrecompute.execution.failure import Failure, failure_of
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.pool import Finished
from vrecompute.execution.reading import Reading, first_of, reading_of
from vrecompute.execution.wholefile import check_checksum, known_digest
from vrecompute.records import from_data, to_data
from vrecompute.stores.base import Store
from vrecompute.stores.directory import open_store
from vrecompute.stores.objects import FORMAT, read_document, write_content, write_document

__all__ = [
    "PreflightContext",
    "cached_source",
    "lookalikes",
    "plan_grid",
    "preflight",
    "preflight_failure",
    "settled",
    "told_apart",
    "without_twins",
]

# What a dataset says of a source, and preflight does not find.
_FROM_DATASET = ("path", "sample", "ordinal")


@dataclass(frozen=True)
class PreflightContext:
    """What preflight needs to know of the run.

    `views` are the samples' process views by sample name, `code` digests of all that the analysis reaches, by name.

    `optional` holds, by sample, the optional columns that its files have, each with the path of one of these files;
    a sample that is not in it was not looked through yet.
    """

    analysis: Analysis
    samples: Mapping[str, Sample]
    views: Mapping[str, Mapping[str, Any]]
    work: str
    chunk_bytes: int
    store_url: str
    optional: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)


def preflight(context: PreflightContext, sources: Sequence[Source]) -> list[PlannedSource | Failure]:
    """For each source, what was found, or why it cannot be used; in the order of `sources`.

    Raises AnalysisError where the code here is not the Runner's: what it finds would be kept under the other's name.
    """
    if context.code and (differing := difference(context.code, context.analysis.code().parts)):
        raise AnalysisError(
            f"a worker on {socket.gethostname()} has different code of {', '.join(differing[:3])}; "
            "give client and workers the same environment"
        )
    store = open_store(context.store_url)
    found: list[PlannedSource | Failure] = []
    for source in sources:
        known = cached_source(context, store, source)
        if known is None:
            try:
                name = _cache_name(context, source)
                check_checksum(store, source)
                known = _open(context, source)
                table = reader.table_to_bytes(reader.tabulate(known.path, known.tree, known.columns))
                known = replace(known, table=sha256_of(table))
                write_content(store, known.sidecar, table)
                seen = {key: value for key, value in to_data(known).items() if key not in _FROM_DATASET}
                write_document(store, name, "source", seen)
            # An analysis that calls sys.exit would end this thread, and its task would never be heard of again.
            except (Exception, SystemExit) as error:
                found.append(failure_of(error, source.path, source.sample, entries=source.entries))
                continue
        found.append(known)
    return found


def settled(
    context: PreflightContext,
    sources: Sequence[Source],
    find: Callable[[PreflightContext, Sequence[Source]], list[Any]],
) -> list[Any]:
    """What `find` finds of `sources`, with the same optional columns in all files of a sample.

    Files whose own choice differs from that of their sample are found once more, in another context.
    """
    found = find(context, sources)
    optional: dict[str, dict[str, str]] = {}
    planned = [item for item in found if isinstance(item, PlannedSource)]
    for item in planned:
        for name in item.reading.found:
            optional.setdefault(item.sample, {}).setdefault(name, item.path)

    def differs(item: PlannedSource) -> bool:
        names = optional.get(item.sample, {})
        return any(first_of(n, names) != first_of(n, item.reading.found) for n in item.reading.optional)

    again = {(item.sample, item.path, item.ordinal) for item in planned if differs(item)}
    if not again:
        return found
    kept = [i for i in found if not (isinstance(i, PlannedSource) and (i.sample, i.path, i.ordinal) in again)]
    wanted = [s for s in sources if (s.sample, s.path, s.ordinal) in again]
    return kept + find(replace(context, optional=optional), wanted)


def cached_source(context: PreflightContext, store: Store, source: Source) -> PlannedSource | None:
    """What an earlier preflight found of this very file, if it is unchanged since; opens nothing."""
    try:
        name = _cache_name(context, source)
    except UnreadableFile:
        return None
    if not store.exists(name) or not _is_checked(store, source):
        return None
    here = {key: getattr(source, key) for key in _FROM_DATASET}
    try:
        known = read_document(store, name, "source", lambda raw: from_data(PlannedSource, raw | here))
        return known if store.exists(known.sidecar) else None
    except DamagedObject:
        return None  # it is only a memory of what the file says: the file is asked again


def lookalikes(planned: Sequence[PlannedSource]) -> list[str]:
    """Paths of files with the identity of a file at another path: only their whole content can tell them apart."""
    paths: dict[str, set[str]] = {}
    for source in planned:
        paths.setdefault(replace(source, ordinal=0).identity, set()).add(source.path)
    return sorted({path for alike in paths.values() if len(alike) > 1 for path in alike})


def told_apart(planned: Sequence[PlannedSource], sha256: Mapping[str, str]) -> list[PlannedSource]:
    """The same sources, where lookalikes of different content, given by path, are sources of their own."""
    contents: dict[str, set[str]] = {}
    for source in planned:
        if source.path in sha256:
            contents.setdefault(replace(source, ordinal=0).identity, set()).add(sha256[source.path])
    differ = {identity for identity, found in contents.items() if len(found) > 1}
    return [
        replace(s, data=sha256[s.path]) if replace(s, ordinal=0).identity in differ and s.path in sha256 else s
        for s in planned
    ]


def without_twins(planned: Sequence[PlannedSource], *, allow: bool) -> tuple[list[PlannedSource], list[Failure]]:
    """Each source once, and what is wrong with the others unless they are allowed.

    The same file under two addresses would be counted twice, and no user would have asked for it.
    """
    seen: dict[tuple[str, str], list[PlannedSource]] = {}
    kept, failures = [], []
    for given in planned:
        source = replace(given, ordinal=0)
        twins = seen.setdefault((source.sample, source.identity), [])
        twins.append(source)
        if len(twins) == 1 or allow:
            kept.append(replace(source, ordinal=len(twins) - 1))
            continue
        reason = (
            f"is the same file as {twins[0].path} (UUID {source.uuid}): its events would count twice; "
            "list it once, or pass --allow-duplicates"
        )
        failures.append(Failure(source.path, source.sample, "duplicate", reason, entries=source.entries))
    return kept, failures


def plan_grid(grid: Grid, sample: Sample, view: Mapping[str, Any]) -> PlannedSource:
    """A grid as a planned source: no file, cut into runs of `chunk_items`."""
    bounds = (*range(0, grid.size, grid.chunk_items), grid.size)
    return PlannedSource(
        path=f"grid:{grid.name}",
        sample=sample.name,
        kind="grid",
        tree="",
        uuid="",
        size=grid.size,
        entries=grid.size,
        columns=("index",),
        reading=Reading(given=("index",)),
        bounds=bounds,
        view=view,
        description={"name": grid.name, **grid.description},
    )


def _open(context: PreflightContext, source: Source) -> PlannedSource:
    sample = context.samples[source.sample]
    origin = reader.origin_of(source.path)  # before it is opened: a file that changes meanwhile is not what this names
    facts = reader.inspect(source.path, source.tree or sample.tree)
    if source.entries is not None and facts.entries != source.entries:
        more = "fewer" if facts.entries < source.entries else "more"
        raise MiscountedSource(
            source.path, f"it holds {facts.entries} events, {more} than the {source.entries} that the dataset says"
        )
    view = SourceView(sample, facts.available, facts.tree, source.path)
    reading = reading_of(context.analysis, view, context.optional.get(sample.name))
    columns = reading.columns
    if not columns:
        raise BadInput(source.path, f"analysis {context.analysis.name!r} declares no columns for it")
    facts.require(columns)
    clusters = [int(c) for c in facts.cluster_starts(columns)]
    data_bytes = facts.bytes_of(columns)
    return PlannedSource(
        path=source.path,
        sample=source.sample,
        kind=facts.kind,
        tree=facts.tree,
        uuid=facts.uuid,
        size=facts.size,
        entries=facts.entries,
        columns=columns,
        bounds=split(facts.entries, clusters, data_bytes, context.chunk_bytes),
        view=context.views[source.sample],
        data_bytes=data_bytes,
        disk_bytes=facts.compressed_bytes_of(columns),
        reading=reading,
        ordinal=source.ordinal,
        content=facts.content,
        origin=origin,
        repeated=tuple(facts.repeated_among(columns)),
    )


def _cache_name(context: PreflightContext, source: Source) -> str:
    sample = context.samples[source.sample]
    key = [
        FORMAT,
        reader.origin_of(source.path),
        source.tree or sample.tree,
        source.entries,
        context.work,
        context.chunk_bytes,
        context.views[source.sample],
        sorted(context.optional.get(source.sample, {})),
    ]
    return f"sources/{sha256_json(key)}.json"


def _is_checked(store: Store, source: Source) -> bool:
    """Whether the checksum that the dataset gives is known to be that of this file as it is."""
    algorithm, _, wanted = (source.checksum or "").partition(":")
    return not wanted or known_digest(store, source.path, algorithm) == wanted


def preflight_failure(ended: Finished, source: Source) -> Failure:
    """Why a source is not among those that were opened, where its task gave nothing."""
    if ended.how == "killed":
        error: Exception = RunError(f"workers died while opening it: {ended.value}")
        return replace(failure_of(error, source.path, source.sample, entries=source.entries), kind="lost")
    return failure_of(ended.value, source.path, source.sample, entries=source.entries)
