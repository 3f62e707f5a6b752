"""`Campaign`: what is wanted, as a campaign file says it; frozen, and checked whole before anything is done.

The dialect and its messages are those of site and dataset files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vrecompute.campaign.spelling import Address, ClockTime, Mail, Path, Place, PositiveNumber, Zone
from vrecompute.config.check import json_schema
from vrecompute.config.spelling import (
    Count,
    Duration,
    EnvName,
    Flag,
    Memory,
    Name,
    Spelling,
    Text,
    Url,
    VersionNumber,
    shown,
)

__all__ = [
    "STORE_LEDGER",
    "Analysis",
    "Budget",
    "Campaign",
    "Dataset",
    "Notify",
    "Quarantine",
    "Retention",
    "Retry",
    "Window",
    "campaign_schema",
]

#: The value of `ledger` for hosts without a durable disk.
STORE_LEDGER = "store"
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _says(sentence: str) -> dict[str, str]:
    return {"description": sentence}


def _read_scalar(value: object) -> str:
    """A parameter as the command line would give it: text; lists are joined by commas."""
    if isinstance(value, list):
        return ",".join(_read_scalar(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"expected text, a number, true, false or a list of these, found {shown(value)}")


_Scalar = Annotated[
    str,
    Spelling(
        "text, number, true or false, or a list of these",
        _read_scalar,
        {"type": ["string", "number", "boolean", "array"]},
    ),
]


class _Section:
    """Unknown keys are errors."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Dataset(_Section):
    """What may grow."""

    name: Name = field(metadata=_says("Its name: products and `why` have it."))
    files: tuple[Address, ...] = field(
        default=(),
        metadata=_says(
            "Files, folders, patterns, addresses, or one dataset YAML; relative paths begin beside this file. "
            "Looked for anew by each tick."
        ),
    )
    dids: tuple[Text, ...] = field(
        default=(), metadata=_says("Rucio DIDs. Not resolved by this version, and refused; list `files`.")
    )
    tree: Text | None = field(default=None, metadata=_says("Name of the tree in its files."))
    may_be_empty: Flag = field(
        default=False, metadata=_says("true where no file may be there yet; else that is an error of each tick.")
    )


@dataclass(frozen=True, kw_only=True)
class Analysis(_Section):
    """One analysis of the campaign's datasets: each with each dataset is a unit, which has one product."""

    name: Text = field(metadata=_says("An analysis (`vrecompute analyses`), or FILE.py beside this file."))
    key: Name | None = field(
        default=None, metadata=_says("Its name in the campaign, where one analysis comes twice; `name` by default.")
    )
    parameters: Mapping[str, _Scalar] = field(
        default_factory=dict, hash=False, metadata=_says("Parameters, as `vrecompute run -p` takes them.")
    )
    datasets: tuple[Name, ...] = field(default=(), metadata=_says("Names of its datasets; all by default."))
    priority: int = field(default=0, metadata=_says("Units of higher priority are submitted first."))


@dataclass(frozen=True, kw_only=True)
class Window(_Section):
    """When runs may be submitted. What has ended is collected and published at any time."""

    start: ClockTime = field(metadata=_says("Time of day from which on runs are submitted, such as '22:00'."))
    end: ClockTime = field(
        metadata=_says("Time of day from which on no run is submitted; before `start`, on the next day.")
    )
    timezone: Zone = field(metadata=_says("The zone of both times, such as Europe/Berlin; it knows summer time."))
    days: tuple[Day, ...] = field(
        default=(), metadata=_says("Days on which it opens (mon, tue, wed, thu, fri, sat, sun); all by default.")
    )


@dataclass(frozen=True, kw_only=True)
class Budget(_Section):
    """How much may be spent: what is submitted is charged as estimated, what has ended as measured."""

    core_hours_per_tick: PositiveNumber | None = field(
        default=None, metadata=_says("Core-hours that one tick submits at most.")
    )
    core_hours_per_month: PositiveNumber | None = field(
        default=None, metadata=_says("Core-hours of one calendar month.")
    )
    bytes_per_tick: Memory | None = field(
        default=None, metadata=_says("Bytes of new or changed files that one tick submits at most.")
    )
    bytes_per_month: Memory | None = field(
        default=None, metadata=_says("Bytes of new or changed files of one calendar month.")
    )
    timezone: Zone = field(default="UTC", metadata=_says("The zone in which a month begins."))


@dataclass(frozen=True, kw_only=True)
class Retry(_Section):
    """What is done about failures."""

    attempts: Count = field(
        default=3, metadata=_says("Failures in a row after which a file or a unit is in quarantine.")
    )
    wait: Duration = field(
        default=3600, metadata=_says("Pause before the second attempt; doubled before each further one.")
    )


@dataclass(frozen=True, kw_only=True)
class Quarantine(_Section):
    """What becomes of files and units that failed repeatedly: listed, left out, and tried again now and then."""

    retry_every: Duration = field(default=7 * 86400, metadata=_says("Pause between attempts in quarantine."))


@dataclass(frozen=True, kw_only=True)
class Retention(_Section):
    """What is kept."""

    versions: Count = field(default=2, metadata=_says("Versions of each product that stay, the current one included."))
    runs: Duration = field(
        default=90 * 86400,
        metadata=_says("Age at which runs are deleted from the store, but for those of kept versions; parts stay."),
    )


@dataclass(frozen=True, kw_only=True)
class Notify(_Section):
    """Who hears of a change of state, besides the exit code: of trouble that is new, other, or over."""

    mail: tuple[Mail, ...] = field(default=(), metadata=_says("Addresses, by `sendmail`."))
    sendmail: Path = field(default="/usr/sbin/sendmail", metadata=_says("The program that takes the mail."))
    webhook: Url | None = field(default=None, metadata=_says("Address that gets a POST of JSON; without a secret."))
    webhook_from: EnvName | None = field(
        default=None, metadata=_says("Variable that holds the address of the webhook, where it is a secret.")
    )


@dataclass(frozen=True, kw_only=True)
class Campaign(_Section):
    """What a campaign file says."""

    schema: Annotated[Literal[1], VersionNumber()] = field(metadata=_says("Version of this format, 1."))
    name: Name = field(metadata=_says("The campaign's name: names of runs begin with it."))
    ledger: Path = field(
        metadata=_says(
            "SQLite file on a disk of this machine; or `store`: snapshots in the store, under a lease there."
        )
    )
    products: Place = field(
        metadata=_says(
            "Folder of the products: PRODUCTS/ANALYSIS/DATASET/current; or s3://bucket/prefix, where it is an object, "
            "current.json."
        )
    )
    datasets: Annotated[tuple[Dataset, ...], Field(min_length=1)] = field(metadata=_says("The datasets."))
    analyses: Annotated[tuple[Analysis, ...], Field(min_length=1)] = field(metadata=_says("The analyses."))
    store: Text | None = field(
        default=None, metadata=_says("Where runs and parts are kept: a folder or s3://; the first site's by default.")
    )
    sites: Annotated[tuple[Text, ...], Field(min_length=1)] = field(
        default=("local",), metadata=_says("Sites in order of preference; a later one is for when one does not answer.")
    )
    window: Window | None = field(default=None, metadata=_says("When runs are submitted; at any time by default."))
    budget: Budget = field(default_factory=Budget, metadata=_says("How much may be spent."))
    retry: Retry = field(default_factory=Retry, metadata=_says("What is done about failures."))
    quarantine: Quarantine = field(default_factory=Quarantine, metadata=_says("What failed repeatedly."))
    retention: Retention = field(default_factory=Retention, metadata=_says("What is kept."))
    notify: Notify = field(default_factory=Notify, metadata=_says("Where changes of state are announced."))
    workers: Count | None = field(default=None, metadata=_says("Workers of each run; the site's by default."))
    walltime: Duration | None = field(default=None, metadata=_says("Walltime of each job; the site's by default."))
    shares: Count | None = field(default=None, metadata=_says("Jobs of each run; as the site has it by default."))
    page: Path | None = field(default=None, metadata=_says("HTML file that each tick writes: the state, for people."))
    metrics: Path | None = field(default=None, metadata=_says("Prometheus text file that each tick writes."))


def campaign_schema() -> dict[str, Any]:
    """The JSON schema of a campaign file, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | json_schema(Campaign) | {"title": "A campaign of vrecompute"}


if __name__ == "__main__":
    print(json.dumps(campaign_schema(), indent=2))
