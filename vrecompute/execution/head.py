"""`Head`: what a run is and what each of its Runners said last, in one small object that is replaced.

runs/<run>/head.json

So a look at a run costs one request, however long its log is. It is a hint: one that is missing, damaged or of another
version is read around, and it never makes a run complete, which only `outcomes/complete.json` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from vrecompute.errors import StoreError
from vrecompute.records import ADDED, from_data, to_data
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_document, sealed

__all__ = ["Head", "read_head", "tell"]


class _Dataset(Protocol):
    @property
    def name(self) -> str: ...


class _Described(Protocol):
    """What a head tells of a Manifest."""

    @property
    def run(self) -> str: ...
    @property
    def created(self) -> str: ...
    @property
    def analysis(self) -> str: ...
    @property
    def dataset(self) -> _Dataset: ...
    @property
    def site(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Head:
    """`said` is the last event of each Runner by its writer, with a `status` once it has ended.

    `job` is the native id of the latest submission, `jobs` those of all that carry the run out together, `submitted`
    when, in seconds since 1970; the rest is as in the Manifest.
    """

    created: str
    analysis: str
    dataset: str
    site: str
    labels: Mapping[str, str] = field(default_factory=dict)
    job: str = ""
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: tuple[str, ...] = field(default=(), metadata=ADDED)
    parameters: Mapping[str, Any] = field(default_factory=dict, metadata=ADDED)
    submitted: float | None = field(default=None, metadata=ADDED)

    @property
    def latest(self) -> Mapping[str, Any] | None:
        """What the Runner that began last said last."""
        # a writer's name begins with its time in hexadecimal
        writer = max(self.said, key=lambda w: (int(w.partition("-")[0], 16), w), default="")
        return self.said.get(writer)


def read_head(store: Store, run: str) -> Head | None:
    """The head of a run, by one request; None where there is none that could be read."""

    def made(body: dict[str, Any]) -> Head:
        head = from_data(Head, body)
        said = {w: {**e, "time": float(e["time"]), "pid": int(e["pid"])} for w, e in head.said.items()}
        if odd := [w for w, e in said.items() if not (isinstance(e["event"], str) and isinstance(e["host"], str))]:
            raise ValueError(f"{odd} are no writers")
        _ = head.latest
        return replace(head, said=said)

    try:
        return read_document(store, _name(run), "head", made)
    except StoreError:
        return None


def tell(
    store: Store,
    manifest: _Described,
    *,
    jobs: Sequence[str] = (),
    writer: str = "",
    event: Mapping[str, Any] | None = None,
) -> None:
    """Put a submission, or what a writer said, into the head of a run, beside what is in it."""
    known = read_head(store, manifest.run) or Head(
        manifest.created,
        manifest.analysis,
        manifest.dataset.name,
        manifest.site,
        manifest.labels,
        parameters=dict(manifest.parameters),
    )
    if jobs:
        many = tuple(jobs) if len(jobs) > 1 else ()
        known = replace(known, job=jobs[0], jobs=many, submitted=time.time())
    head = replace(known, said=known.said if event is None else {**known.said, writer: event})
    store.replace(_name(manifest.run), sealed(_name(manifest.run), "head", to_data(head)))


def _name(run: str) -> str:
    return f"runs/{run}/head.json"
