"""`Manifest`: what a run is, written once before anything starts; all that another process needs to take it up.

runs/<run>/manifest.json             this
runs/<run>/plan.json                 what preflight made of it
runs/<run>/head.json                 what its Runners said last; see `head`
runs/<run>/events/<writer>/<n>.json  what each Runner did, one object an event
runs/<run>/results/<sha256>.zip      results, by content
runs/<run>/outcomes/complete.json    how the first Runner ended that ended complete
runs/<run>/outcomes/<writer>.json    how each other one ended
runs/<run>/products/<writer>/...     what `finish` made
runs/<run>/jobs/<n>.json             each submission of a detached run
runs/<run>/shares/...                what jobs left that computed a share of it; see `share`
runs/<run>/cancel                    a client asked for an end
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from vrecompute.analysis import Grid
from vrecompute.analysis.loading import Origin
from vrecompute.datasets.dataset import Dataset
from vrecompute.digest import canonical_json, sha256_of
from vrecompute.errors import DamagedObject, RunError, StoreError, UnknownRun, UsageError
from vrecompute.execution.chunk_bounds import DEFAULT_CHUNK_BYTES
from vrecompute.execution.head import tell
from vrecompute.records import ADDED, from_data, to_data
from vrecompute.stores.base import Store, is_name
from vrecompute.stores.objects import get_document, read_document, sealed
from vrecompute.stores.ownership import Owner
from vrecompute.units import bytes_option
from vrecompute.utf8text import is_utf8, utf8
from vrecompute.wording import shortened

__all__ = ["Manifest", "Settings", "StoredManifest", "find_manifest", "is_run_name", "new_run_id", "read_manifest"]


@dataclass(frozen=True)
class Settings:
    """How a run is carried out; no number depends on it but by `chunk_bytes`, which moves boundaries, and `limits`.

    `allow_duplicates` computes a source listed again once more instead of refusing it.
    `max_bad` is the quota of `on_bad="skip"`: the largest fraction of sources that may fail. `task_s` is the
    aimed-for length of a task in seconds; `task_chunks` fixes the number of chunks in a task instead.
    `max_events` and `max_files` take the first events and files of each sample alone: such a run is a `test`.
    """

    on_bad: Literal["fail", "skip"] = "fail"
    max_bad: float = 0.5
    reuse: bool = True
    allow_duplicates: bool = False
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    task_s: float = 15.0
    task_chunks: int | None = None
    max_events: int | None = field(default=None, metadata=ADDED)
    max_files: int | None = field(default=None, metadata=ADDED)

    @property
    def limits(self) -> dict[str, int]:
        """What makes a test of a run: the limits given, by name."""
        given = {"max_events": self.max_events, "max_files": self.max_files}
        return {name: most for name, most in given.items() if most is not None}

    @classmethod
    def of(cls, *given: Any) -> Settings:
        """Settings from values in the order of the fields; None, or nothing, is the default; a size may be text."""
        known: dict[str, Any] = dict(zip((f.name for f in dataclasses.fields(cls)), given, strict=False))
        known["chunk_bytes"] = bytes_option("chunk_bytes", known["chunk_bytes"])
        return cls(**{name: value for name, value in known.items() if value is not None})

    def __post_init__(self) -> None:
        if self.on_bad not in ("fail", "skip"):
            raise UsageError(f"on_bad={self.on_bad!r}: choose fail or skip")
        if not 0 <= self.max_bad <= 1:
            raise UsageError(f"max_bad={self.max_bad}: choose a fraction of the sources, from 0 to 1")
        for name in ("chunk_bytes", "task_s", "task_chunks", "max_events", "max_files"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value}: choose a number above 0")


@dataclass(frozen=True)
class Manifest:
    """One execution of an analysis on a dataset with parameters at a site.

    `resources` are store names of the analysis' resources by its names for them, `certified` those of the lists of
    certified luminosity by sample, and `source_files` those of the code by path (see `sources_of`). `grids` are what
    the analysis opened itself. `origin` is where the analysis' code comes from.
    `code` is the digest of what runs, `code_parts` that of each of its parts by name. Where `unnamed` says what
    could not be digested, `code` is this run's alone, and nothing of it is reused. `labels` are the user's own words
    for the run: part of no key. `arithmetic` is how the code calculates; see `vrecompute.analysis.arithmetic`.
    `shares` is into how many jobs a detached run is cut, each of which computes a range of its chunks; 0 where one job
    has all of them. `provenance` tells people who asked for it, how, and from which commit.
    `folder` is the working directory then, which relative paths in the code mean; empty where it is not known.
    """

    run: str
    created: str
    analysis: str
    analysis_version: str
    origin: Origin
    code: str
    parameters: Mapping[str, Any]
    dataset: Dataset
    resources: Mapping[str, str]
    numerics: Mapping[str, str]
    certified: Mapping[str, str] = field(default_factory=dict)
    source_files: Mapping[str, str] = field(default_factory=dict)
    site: str = "local"
    settings: Settings = field(default_factory=Settings)
    grids: tuple[Grid, ...] = ()
    code_parts: Mapping[str, str] = field(default_factory=dict)
    unnamed: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)
    arithmetic: Mapping[str, Any] = field(default_factory=dict, metadata=ADDED)
    shares: int = field(default=0, metadata=ADDED)
    provenance: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)
    folder: str = field(default="", metadata=ADDED)

    @property
    def prefix(self) -> str:
        """Where the run's own objects are."""
        return f"runs/{self.run}/"

    @property
    def object_name(self) -> str:
        """The name of the manifest itself."""
        return f"{self.prefix}manifest.json"

    @property
    def plan_name(self) -> str:
        """Where what preflight made of it is."""
        return f"{self.prefix}plan.json"

    def as_read(self) -> Manifest:
        """The manifest that others will read from a store; UsageError, naming the field, for what they could not read.

        What users give is typed by hand: chunk_bytes=1e6, unit="TeV", half of a surrogate pair.
        """
        data = to_data(self)
        try:
            return _manifest(json.loads(canonical_json(data)), self.run)
        except (ValueError, TypeError, RecursionError) as error:
            if not isinstance(error, RecursionError) and (odd := next(_not_utf8(data, ()), "")):
                raise UsageError(
                    f"{odd} is not UTF-8 text, as no store keeps it; write it in UTF-8, and rename files and folders "
                    "whose names are in another encoding"
                ) from error
            raise UsageError(f"the run cannot be kept in a store: {error}") from error

    def encoded(self) -> bytes:
        """The bytes that `write` makes durable."""
        return sealed(self.object_name, "manifest", to_data(self))

    def write(self, store: Store) -> None:
        """Make the manifest durable, then the run's head; RunError where another run of the name exists already."""
        data = self.encoded()
        # a name that is taken may be so since the answer to a first try was lost
        if not store.create(self.object_name, data) and store.get(self.object_name) != data:
            raise RunError(f"run {self.run!r} exists already in {store.url}; attach to it instead")
        with contextlib.suppress(StoreError):
            tell(store, self)


def is_run_name(run: str) -> bool:
    """Whether a store may have a run of this name."""
    return "/" not in run and is_name(run)


class StoredManifest(NamedTuple):
    """A manifest, the sha256 of the bytes that it was read from, and the owner of these, all of one look."""

    manifest: Manifest
    sha256: str
    owner: Owner


def read_manifest(store: Store, run: str) -> Manifest:
    """The manifest of a run.

    UnknownRun where there is none, or its manifest is lost; DamagedObject or OtherFormat where that cannot be read.
    """
    return find_manifest(store, run).manifest


def find_manifest(store: Store, run: str) -> StoredManifest:
    """As `read_manifest`, with what tells whether its code may be run: whose it is, and its sha256."""
    name = f"runs/{run}/manifest.json"
    known = "`vrecompute runs list` shows those that are"
    if not is_run_name(run):
        raise UnknownRun(f"{run!r} is not a name of a run; {known}")
    try:
        data, owner = get_document(store, name)
        return StoredManifest(
            read_document(store, name, "manifest", lambda raw: _manifest(raw, run), data), sha256_of(data), owner
        )
    except DamagedObject as error:
        raise DamagedObject(f"{error}; run the analysis again: what it had finished is reused") from error
    except StoreError as error:
        if store.exists(name):
            raise
        if next(iter(store.names(f"runs/{run}")), None) is not None:
            raise UnknownRun(
                f"the manifest of run {run!r} in {store.url} is lost, and with it what the run was: it can neither be "
                f"shown nor taken up. Run the analysis again: what it had finished is reused; `vrecompute runs delete "
                f"{run}` removes what is left of this run"
            ) from error
        raise UnknownRun(f"there is no run {run!r} in {store.url}; {known}") from error


def _manifest(raw: dict[str, Any], run: str) -> Manifest:
    made = from_data(Manifest, raw)
    if made.run != run:
        raise ValueError(f"it names run {made.run!r}")
    return made


# What users know the fields by that hold what they wrote.
_NOUNS = {
    "run": "the name of the run",
    "labels": "label",
    "parameters": "parameter",
    "analysis": "the name of the analysis",
    "analysis_version": "the version of the analysis",
    "site": "the name of the site",
    "code_parts": "a part of the code",
    "source_files": "source file",
    "origin": "where the analysis comes from",
}


def _not_utf8(data: Any, place: tuple[str, ...]) -> Iterator[str]:
    """Where there is text that is not UTF-8 in the data of a Manifest, and that text, spelled out."""
    if isinstance(data, str) and not is_utf8(data):
        noun, *rest = place or ("",)
        where = " ".join([_NOUNS.get(noun, noun.replace("_", " ")), *([".".join(map(utf8, rest))] if rest else [])])
        yield f"{where}: '{shortened(utf8(data))}'"
    elif isinstance(data, Mapping):
        for name, item in data.items():
            yield from _not_utf8(name, place)
            yield from _not_utf8(item, (*place, str(name)))
    elif isinstance(data, list | tuple):
        for number, item in enumerate(data):
            yield from _not_utf8(item, (*place, str(number + 1)))


def new_run_id(analysis: str) -> str:
    """A run id that sorts by time and never meets another: `20260102-030405-dilepton-1a2b3c4`."""
    stem = "".join(c if c.isalnum() else "-" for c in analysis.lower()).strip("-")[:24] or "run"
    now = datetime.now(UTC)
    # milliseconds, for runs of one second to sort too, then chance
    return f"{now:%Y%m%d-%H%M%S}-{stem}-{now.microsecond // 1000:03x}{secrets.token_hex(2)}"
