"""`Plan`: a compact table of chunks, a pure function of the sources' metadata and `chunk_bytes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.dataset import Sample
from vrecompute.digest import sha256_json
from vrecompute.execution.chunk_bounds import DEFAULT_CHUNK_BYTES
from vrecompute.execution.reading import Reading
from vrecompute.records import ADDED, from_data
from vrecompute.stores.base import Store
from vrecompute.stores.objects import FORMAT, read_document

__all__ = ["Chunk", "Plan", "PlannedSource", "read_plan"]


@dataclass(frozen=True)
class Chunk:
    """Entries [start, stop) of one source: the unit that is computed, named in reports, and never cut differently."""

    source: str
    start: int
    stop: int


@dataclass(frozen=True)
class PlannedSource:
    """A source that preflight has opened (or a grid): what it is, what is read of it, and where it is cut.

    `bounds` are the chunk boundaries 0 .. entries, or fewer in a test; `view` is the part of its sample that `process`
    may depend on, with files replaced by their sha256. `reading` says which of the columns `process` gets, and how.
    """

    path: str
    sample: str
    kind: Literal["ttree", "rntuple", "grid"]
    tree: str
    uuid: str
    size: int
    entries: int
    columns: tuple[str, ...]
    bounds: tuple[int, ...]
    view: Mapping[str, Any]
    data_bytes: int = 0  # uncompressed bytes of the declared columns
    disk_bytes: int = 0  # their bytes in the file
    ordinal: int = 0
    description: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    content: str = ""  # of the file, sampled
    table: str = ""  # sha256 of the sidecar: where every basket or page of the declared columns lies
    data: str = ""  # of files that are else alike: what tells them apart
    origin: str = ""  # address and stamp: the file as it was when it was opened; of no key
    repeated: tuple[str, ...] = ()  # declared columns whose name several branches have
    addresses: tuple[str, ...] = field(default=(), metadata=ADDED)  # where it has replicas: all, in the order of trying
    others: str = field(default="", metadata=ADDED)  # other trees of the file, where none was named; of no key

    @property
    def places(self) -> tuple[str, ...]:
        """Its addresses, in the order of trying: `origin` is of the first, where preflight found it."""
        return self.addresses or (self.path,)

    @property
    def rank(self) -> str:
        """Where it stands among the sources of its sample; sums depend on this order, so no more is put into it."""
        return sha256_json([self.kind, self.tree, self.uuid, self.size, self.entries, self.ordinal, self.description])

    @cached_property
    def identity(self) -> str:
        """What this source is, wherever it lies: UUID, size, tree, entries, sampled content, all its baskets or pages.

        A grid: its description.
        """
        return sha256_json([self.rank, self.content, self.table, self.data])

    @cached_property
    def key(self) -> str:
        """Identity, columns, cut and sample view: what parts of this source are filed under."""
        return sha256_json([self.identity, self.columns, self.bounds, self.view, self.reading.key])[:40]

    @property
    def sidecar(self) -> str:
        """Store name of the table that says where the declared columns lie in the file."""
        return f"sources/{self.table}.table"

    @property
    def proof(self) -> str:
        """Store name of the digests of the data of all its chunks, as they are in this very file."""
        return f"sources/{sha256_json([FORMAT, self.origin, self.table, self.columns, self.bounds])}.data"

    @property
    def end(self) -> int:
        """Up to which entry it is read: `entries`, but where a test is limited to fewer."""
        return self.bounds[-1] if self.bounds else self.entries

    @property
    def chunks(self) -> int:
        """How many chunks it is cut into."""
        return len(self.bounds) - 1


@dataclass(frozen=True)
class Plan:
    """Everything that is to be computed: `work` names code and parameters, `sources` what it is computed from.

    Sources are in (sample, rank, identity) order. Chunks are numbered through all of them; a task is a range of these.
    """

    work: str
    samples: tuple[Sample, ...]
    sources: tuple[PlannedSource, ...]
    chunk_bytes: int = DEFAULT_CHUNK_BYTES

    @classmethod
    def of(cls, work: str, samples: Sequence[Sample], sources: Sequence[PlannedSource], chunk_bytes: int) -> Plan:
        """The plan over `sources`, put into their fixed order."""
        ordered = sorted(sources, key=lambda s: (s.sample, s.rank, s.identity))
        return cls(work, tuple(samples), tuple(ordered), chunk_bytes)

    def are_now(self, origins: Mapping[tuple[str, str], str]) -> Plan:
        """The plan of files that have other origins, by sample and path."""
        sources = (replace(s, origin=origins.get((s.sample, s.path), s.origin)) for s in self.sources)
        return replace(self, sources=tuple(sources))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Number of the first chunk of each source, and the total: shape (sources + 1,)."""
        counts = [0, *(s.chunks for s in self.sources)]
        return np.cumsum(np.array(counts, dtype=np.int64))

    @property
    def origins(self) -> dict[tuple[str, str], str]:
        """What each file was when it was opened, by sample and path."""
        return {(s.sample, s.path): s.origin for s in self.sources}

    @property
    def chunks(self) -> int:
        """How many chunks there are in all."""
        return int(self.offsets[-1])

    @property
    def events(self) -> int:
        """How many entries of all sources are to be seen: all, but where a test is limited to fewer."""
        return sum(s.end for s in self.sources)

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """One row a chunk: (source number, start, stop), shape (chunks, 3)."""
        table = np.empty((self.chunks, 3), dtype=np.int64)
        for number, source in enumerate(self.sources):
            rows = slice(self.offsets[number], self.offsets[number + 1])
            table[rows, 0] = number
            table[rows, 1] = source.bounds[:-1]
            table[rows, 2] = source.bounds[1:]
        return table

    def chunk(self, number: int) -> Chunk:
        """The chunk of a number."""
        source, start, stop = self.table[number]
        return Chunk(self.sources[source].path, int(start), int(stop))

    def slices(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """(source number, first, last chunk within it) for every source that chunks [first, last) touch."""
        number = int(np.searchsorted(self.offsets, first, side="right")) - 1
        while first < last:
            base, end = int(self.offsets[number]), int(self.offsets[number + 1])
            if end > first:
                yield number, first - base, min(last, end) - base
                first = min(last, end)
            number += 1

    def sample(self, name: str) -> Sample:
        """The sample of a name."""
        return next(s for s in self.samples if s.name == name)


def read_plan(store: Store, name: str) -> Plan:
    """The plan of a run; DamagedObject where it is not what was written, StoreError where there is none yet."""
    return read_document(store, name, "plan", lambda raw: from_data(Plan, raw))
