"""Preflight: every source is opened once, on workers, before anything is computed; known ones are not opened again.

What is found of a file is kept in the store, as `fileknowledge` says. Besides:

sources/<sha256 of address, stamp and cut>.data                    digests of its columns; see `stock`

A file costs the reads of its header, its list of keys and its tree's metadata, and those of `sampled_content`: one of
at most 256 KiB, or eight of 32 KiB. One whose checksum the dataset gives is read whole, once.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vrecompute import reader
from vrecompute.analysis import Analysis, Grid, SourceView
from vrecompute.analysis.code import difference, remedy
from vrecompute.datasets.dataset import Sample, Source
from vrecompute.datasets.facts import facts_read
from vrecompute.errors import (
    AnalysisError,
    BadInput,
    CorruptFile,
    MiscountedSource,
    RunError,
    StoreError,
    UnreadableFile,
)
from vrecompute.execution.chunk_bounds import split
from vrecompute.execution.failure import Failure, failure_of
from vrecompute.execution.fileknowledge import FileKnowledge
from vrecompute.execution.keptfacts import differ
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.pool import Finished
from vrecompute.execution.reading import Reading, first_of, reading_of
from vrecompute.execution.replicas import first_that_gives, note_elsewhere
from vrecompute.execution.wholefile import check_checksum
from vrecompute.reader.bytesource import scheme_of
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store

__all__ = [
    "PreflightContext",
    "known_sources",
    "lookalikes",
    "plan_grid",
    "preflight",
    "preflight_failure",
    "settled",
    "told_apart",
    "told_here",
    "without_twins",
]

#: So ends what is said of a file that is not there, or may not be read.
_LACKING = tuple(f"cannot be opened: {os.strerror(code)}" for code in (errno.ENOENT, errno.EACCES))


@dataclass(frozen=True)
class PreflightContext:
    """What preflight needs to know of the run.

    `views` are the samples' process views by sample name, `code` digests of all that the analysis reaches, by name,
    and `unnamed` what no key holds.

    `optional` holds, by sample, the optional columns that its files have, each with the path of one of these files;
    a sample that is not in it was not looked through yet. `origin_of` names a source at its address as it is now; it
    raises UnreadableFile.
    """

    analysis: Analysis
    samples: Mapping[str, Sample]
    views: Mapping[str, Mapping[str, Any]]
    work: str
    chunk_bytes: int
    store_url: str
    optional: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    origin_of: Callable[[str], str] = reader.origin_of
    unnamed: tuple[str, ...] = ()

    def view(self, sample: Sample, address: str) -> dict[str, Any]:
        """What the analysis sees of a source besides its events: what its parts are filed under."""
        return {**self.views[sample.name], **facts_read(sample, address, self.analysis.reads_facts)}


def preflight(context: PreflightContext, sources: Sequence[Source]) -> list[PlannedSource | Failure]:
    """For each source, what was found, or why it cannot be used; in the order of `sources`.

    Raises AnalysisError where the code here is not the Runner's: what it finds would be kept under the other's name.
    """
    if context.code and (differing := difference(context.code, context.analysis.code(looks=False).parts)):
        raise AnalysisError(
            f"a worker on {socket.gethostname()} has different code of {', '.join(differing[:3])}; "
            + remedy(differing, context.unnamed)
        )
    store = open_store(context.store_url)
    return [found for s in sources if (found := _look(context, store, s, opens=True)) is not None]


def known_sources(
    context: PreflightContext, store: Store, sources: Sequence[Source]
) -> list[PlannedSource | Failure | None]:
    """What preflight would find of each source, from what the store knows of its file; None where that is not enough.

    Opens nothing.
    """
    return [_look(context, store, source, opens=False) for source in sources]


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


def _look(context: PreflightContext, store: Store, source: Source, *, opens: bool) -> PlannedSource | Failure | None:
    def planned(address: str) -> PlannedSource | None:
        return _planned(context, store, source, address, opens=opens)

    try:
        found, number, why = first_that_gives(source.addresses, planned)
        if found is None or not source.replicas:
            return found
        note_elsewhere(source.addresses, number, why)
        return replace(found, addresses=source.addresses[number:] + source.addresses[:number])
    # An analysis that calls sys.exit would end this thread, and its task would never be heard of again.
    except (Exception, SystemExit) as error:
        if not opens and isinstance(error, UnreadableFile):
            return None  # a worker may see what this machine does not
        if isinstance(error, StoreError):  # which is of no file
            return failure_of(error, context.store_url, "")
        return failure_of(error, source.path, source.sample, entries=source.entries)


def _planned(
    context: PreflightContext, store: Store, source: Source, address: str, *, opens: bool, again: bool = False
) -> PlannedSource | None:
    sample = context.samples[source.sample]
    origin = context.origin_of(address)  # before it is opened: a file that changes meanwhile is not what this names
    named = source.tree or sample.tree
    file = FileKnowledge(store, address, named, origin, opens=opens, size=_size_now(context, address))
    if not check_checksum(store, address, origin, source.checksum, opens=opens) or (facts := file.facts()) is None:
        return None
    if source.size is not None and facts.size != source.size:
        raise CorruptFile(
            address,
            f"it has {facts.size} bytes, and the dataset says {source.size}: it was cut, or is another file; "
            "copy it again, or mend the dataset",
        )
    if source.entries is not None and facts.entries != source.entries:
        more = "fewer" if facts.entries < source.entries else "more"
        raise MiscountedSource(
            address, f"it holds {facts.entries} events, {more} than the {source.entries} that the dataset says"
        )
    view = SourceView(sample, facts.available, facts.tree, source.path)
    reading = reading_of(context.analysis, view, context.optional.get(sample.name))
    columns = reading.columns
    if not columns:
        raise BadInput(source.path, f"analysis {context.analysis.name!r} declares no columns for it")
    reader.require_columns(source.path, facts.tree, facts.available, columns)
    found = file.layout(columns)
    if found is None:
        return None
    lies, table = found
    if said := differ(facts, lies):
        if not opens or again:
            return None
        file.forget(columns, f"what is known of {address} disagrees in {said}")
        return _planned(context, store, source, address, opens=opens, again=True)
    clusters = [int(c) for c in lies.cluster_starts(columns)]
    data_bytes = lies.bytes_of(columns)
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
        view=context.view(sample, source.path),
        data_bytes=data_bytes,
        disk_bytes=lies.compressed_bytes_of(columns),
        reading=reading,
        ordinal=source.ordinal,
        content=facts.content,
        table=table,
        origin=file.origin,
        repeated=tuple(sorted(lies.repeated)),
        others="" if named else facts.others,
    )


def _size_now(context: PreflightContext, address: str) -> int | None:
    """Bytes of a file of this machine; None of any other, for which a server would have to be asked."""
    if scheme_of(address) or context.origin_of is not reader.origin_of:
        return None
    try:
        return os.stat(address).st_size
    except OSError:
        return None


def preflight_failure(ended: Finished, source: Source, store: str) -> Failure:
    """Why a source is not among those that were opened, where its task gave nothing; `store` is the run's, by url."""
    if ended.how == "killed":
        error: Exception = RunError(f"workers died while opening it: {ended.value}")
        return replace(failure_of(error, source.path, source.sample, entries=source.entries), kind="lost")
    if isinstance(ended.value, StoreError):
        return failure_of(ended.value, store, "")
    return failure_of(ended.value, source.path, source.sample, entries=source.entries)


def told_here(found: PlannedSource | Failure) -> PlannedSource | Failure:
    """The same, but that a file which a worker lacks and this machine has is said to be of this machine."""
    if not isinstance(found, Failure) or found.kind != "unreadable" or scheme_of(found.file):
        return found
    if not found.reason.endswith(_LACKING) or not os.access(found.file, os.R_OK):
        return found
    said = (
        f"{found.reason} where the workers are, though this machine ({socket.gethostname()}) can read it; give paths "
        "that workers see too, or workers that see these"
    )
    return replace(found, reason=said)
