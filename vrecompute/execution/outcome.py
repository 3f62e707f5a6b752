"""`Outcome`: how a run ended, as the store keeps it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrecompute.execution.failure import Failure
from vrecompute.records import from_data, to_data
from vrecompute.reports import report
from vrecompute.reports.report import RunSummary
from vrecompute.stores.base import Store
from vrecompute.stores.objects import intact

__all__ = ["Outcome", "inside", "lost"]


@dataclass(frozen=True)
class Outcome:
    """How one Runner ended: the summary, the store names of result and products, and what failed in full.

    `products` is what `finish` made, as data; `product_files` are store names by file name. `chunks` are the ranges of
    numbers of the chunks that the result is made of. `origins` are those of files that changed after the run was
    planned: what each was, and what it was that the result is made of.
    """

    summary: RunSummary
    result: str | None
    failures: tuple[Failure, ...] = ()
    products: Mapping[str, Any] = field(default_factory=dict)
    product_files: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[tuple[int, int], ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """The first of what it has to say about what is missing; empty where it has nothing to say."""
        return next((str(failure) for failure in self.failures), "") or next(iter(self.summary.warnings), "")

    def to_data(self, writer: str) -> dict[str, Any]:
        """The Outcome as data, to be kept in the store."""
        return {
            "writer": writer,
            "ended": time.time(),
            "status": self.summary.status,
            "summary": json.loads(report.dumps(self.summary)),
            "result": self.result,
            "failures": to_data(self.failures),
            "products": dict(self.products),
            "product_files": dict(self.product_files),
            "chunks": self.chunks,
            "origins": dict(self.origins),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any], run: str) -> Outcome:
        """The Outcome of `to_data` of that run; ValueError where it names what is not the run's, or no such file."""
        made = cls(
            summary=report.loads(json.dumps(data["summary"])),
            result=data["result"],
            failures=from_data(tuple[Failure, ...], data["failures"]),
            products=dict(data["products"]),
            product_files=from_data(dict[str, str], data["product_files"]),
            chunks=from_data(tuple[tuple[int, int], ...], data["chunks"]),
            origins=from_data(dict[str, str], data.get("origins", {})),  # which it once had not
        )
        for name, kept in made.product_files.items():
            if not kept.startswith(f"runs/{run}/products/"):
                raise ValueError(f"product {name!r} is {kept!r}, which is not an object of this run")
            inside(Path(), name)
        own = None if made.result is None else f"runs/{run}/results/{made.summary.result_sha256}.zip"
        if made.summary.run != run or made.result != own:
            raise ValueError(f"it is of run {made.summary.run!r} and result {made.summary.result_sha256}")
        return made


def lost(store: Store, outcome: Outcome) -> list[str]:
    """Names of what a Runner ended with, its result and files of `finish`, that the store has no more, or damaged."""
    kept = [outcome.result, *outcome.product_files.values()]
    return [name for name in kept if name is not None and not intact(store, name)]


def inside(folder: Path, name: str) -> Path:
    """The path of a file below `folder`; ValueError for a name that leaves it."""
    if not name or "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(f"{name!r} is not a plain file name")
    return folder / name
