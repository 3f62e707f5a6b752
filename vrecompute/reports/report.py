"""`RunSummary`: what a run did, and what is missing; as `report.json`, as text.

Everything here is a pure function of values. The JSON document is a contract with other programs
(`report.schema.json`, version `SCHEMA`); the page made of it is in `html`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from typing import Any, Literal

from vrecompute.errors import EXIT_CODES
from vrecompute.records import ADDED, from_data
from vrecompute.utf8text import utf8, utf8_data
from vrecompute.wording import bytes_text, count_text, grouped, percent_text, printable

__all__ = [
    "SCHEMA",
    "AnalysisIdentity",
    "Chunks",
    "Events",
    "FileSummary",
    "LinkTraffic",
    "ReportedFailure",
    "RunSummary",
    "SampleSummary",
    "Status",
    "dumps",
    "loads",
    "schema",
    "summary_text",
]

SCHEMA = 1
Status = Literal["complete", "partial", "failed", "cancelled", "test"]
IN_TASKS = "task-"
_EXIT_CODES = {meaning: code for code, meaning in EXIT_CODES.items()} | {"test": 0}


@dataclass(frozen=True)
class AnalysisIdentity:
    """Which code ran: name, declared version, and digest of the source it was computed from."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True)
class Events:
    """Events seen in the merged result, and events the sources hold; a source of unknown size counts 0."""

    seen: int
    expected: int


@dataclass(frozen=True)
class Chunks:
    """Chunks of the plan: computed by this run, reused from durable parts, failed; the rest was not reached."""

    total: int
    computed: int
    reused: int
    failed: int


@dataclass(frozen=True)
class ReportedFailure:
    """One file, or one chunk [start, stop) of it, that is not in the result; `kind` is the class of failure.

    `traceback` is that of an error in the analysis' code, from its own first line on.
    """

    file: str
    chunk: tuple[int, int] | None
    kind: str
    reason: str
    traceback: str = field(default="", metadata=ADDED)

    @property
    def where(self) -> str:
        """The file, and the range of events where it is not the whole of it."""
        return self.file + (f" [{self.chunk[0]}, {self.chunk[1]})" if self.chunk else "")


@dataclass(frozen=True)
class FileSummary:
    """One source: events in the result and events it holds (None where it could not be opened)."""

    file: str
    sample: str
    seen: int
    expected: int | None


@dataclass(frozen=True)
class SampleSummary:
    """One sample. `scale` multiplies its histograms to the luminosity; None with `unscaled_because` saying why.

    `is_data` is None where no one declared whether it is data or simulation.
    """

    name: str
    is_data: bool | None
    files: int
    events: Events
    sum_of_weights: float
    cross_section_pb: float | None = None
    luminosity_ifb: float | None = None
    scale: float | None = None
    unscaled_because: str = ""

    @property
    def normalised(self) -> bool:
        """Whether the dataset asks for it: it is simulation, or a cross-section or luminosity is given."""
        return self.is_data is False or self.cross_section_pb is not None or self.luminosity_ifb is not None

    @property
    def kind(self) -> str:
        """What its events are, as a word."""
        return "undeclared" if self.is_data is None else "data" if self.is_data else "simulation"


@dataclass(frozen=True)
class LinkTraffic:
    """What was read over one link, `scheme://host`, `file://` for file systems: bytes, and requests for them."""

    link: str
    read_bytes: int
    requests: int

    def __str__(self) -> str:
        where = "file systems" if self.link == "file://" else self.link
        return f"{bytes_text(self.read_bytes)} in {count_text(self.requests)} requests from {where}"


@dataclass(frozen=True)
class RunSummary:
    """The facts of one run, complete or not.

    `time_s` is wall time by stage; names that begin with `task-` are times inside tasks, summed over all workers.
    `bytes` are those of the declared columns on disk, in the chunks that were computed. `recomputed` says what made
    chunks be computed again that an earlier run had. `read_retries` counts requests that failed in passing and were
    made again, reads of files and what a store is asked; `retried` names some, with the reason. `links` are what was
    read of sources over each link, from preflight on, with what is read besides the columns: heads of files, gaps
    between baskets, checksums. `labels` are the user's own words for the run. `trees` are sentences about those that
    were read of files with several.
    `limits_given` are what made a `test` of a run (`max_events`, `max_files`, of each sample): its numbers are of
    no use but to see that the analysis works. `provenance`: `date`, `user`, `command`, and `commit` of the analysis.
    """

    run: str
    status: Status
    analysis: AnalysisIdentity
    site: str
    parameters: Mapping[str, Any]
    events: Events
    chunks: Chunks
    result_sha256: str | None
    cutflow: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failures: tuple[ReportedFailure, ...] = ()
    bytes: int = 0
    time_s: Mapping[str, float] = field(default_factory=dict)
    events_per_s_per_core: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    samples: tuple[SampleSummary, ...] = ()
    files: tuple[FileSummary, ...] = ()
    warnings: tuple[str, ...] = ()
    recomputed: str = field(default="", metadata=ADDED)
    read_retries: int = field(default=0, metadata=ADDED)
    retried: str = field(default="", metadata=ADDED)
    labels: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)
    links: tuple[LinkTraffic, ...] = field(default=(), metadata=ADDED)
    trees: tuple[str, ...] = field(default=(), metadata=ADDED)
    limits_given: Mapping[str, int] = field(default_factory=dict, metadata=ADDED)
    provenance: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", tuple(map(utf8, self.warnings)))  # some quote what code of users raised

    @property
    def exit_code(self) -> int:
        """What the command line exits with."""
        return _EXIT_CODES[self.status]

    @property
    def stages(self) -> dict[str, float]:
        """Wall seconds by stage, one after the other."""
        return {name: seconds for name, seconds in self.time_s.items() if not name.startswith(IN_TASKS)}

    @property
    def in_tasks(self) -> dict[str, float]:
        """Seconds inside tasks by what they did, summed over all workers."""
        return {n.removeprefix(IN_TASKS): seconds for n, seconds in self.time_s.items() if n.startswith(IN_TASKS)}

    @property
    def files_of_unknown_size(self) -> int:
        """Sources that could not be opened and whose entries no catalogue names."""
        return sum(f.expected is None for f in self.files)

    @property
    def completeness(self) -> float | None:
        """Events seen over events expected; None where the entries of a source are unknown, or nothing is expected."""
        if self.files_of_unknown_size or not self.events.expected:
            return None
        return self.events.seen / self.events.expected

    @property
    def limits_text(self) -> str:
        """What a test was limited to, in words; empty of any other run."""
        words = {"max_events": "events", "max_files": "files"}
        limits = [f"{count_text(most)} {words[name]}" for name, most in self.limits_given.items() if name in words]
        return f"at most {' and '.join(limits)} of each sample" if limits else ""

    @property
    def completeness_text(self) -> str:
        """The sentence that stands on every plot and at the top of every report.

        >>> RunSummary("r", "complete", AnalysisIdentity("a", "1", ""), "local", {}, Events(9, 9), Chunks(1, 1, 0, 0),
        ...            None).completeness_text
        '9 of 9 events (100 %)'
        """
        seen, expected = self.events.seen, self.events.expected
        text = f"{count_text(seen)} of {count_text(expected)} events"
        fraction = self.completeness
        if fraction is not None:
            text += f" ({percent_text(fraction)})"
        if self.limits_given:
            text += f" of a test of {self.limits_text}"
        if unknown := self.files_of_unknown_size:
            text += f", and {unknown} {'file' if unknown == 1 else 'files'} of unknown size not read"
        return text


def dumps(summary: RunSummary) -> str:
    """`report.json` of a summary; valid against `schema()`, strict JSON without NaN."""
    document = asdict(replace(summary, parameters={}))
    document["parameters"] = _plain(summary.parameters)
    document["failures"] = [
        {
            "file": f.file,
            "chunk": list(f.chunk) if f.chunk else None,
            "class": f.kind,
            "reason": f.reason,
            "traceback": f.traceback,
        }
        for f in summary.failures
    ]
    ordered = {"schema": SCHEMA, "run": summary.run, "status": summary.status, "exit_code": summary.exit_code}
    ordered |= {"completeness": summary.completeness}
    return json.dumps(utf8_data(_plain(ordered | document)), indent=2, allow_nan=False) + "\n"


def loads(text: str) -> RunSummary:
    """The summary in a `report.json`; ValueError where the document is of another schema version or no report."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"report schema {document['schema']}; this vrecompute reads {SCHEMA}")
        told = {name: value for name, value in document.items() if name not in ("schema", "exit_code", "completeness")}
        told["failures"] = [{("kind" if k == "class" else k): v for k, v in f.items()} for f in document["failures"]]
        told["cutflow"] = {c: {cut: _number(n) for cut, n in cuts.items()} for c, cuts in document["cutflow"].items()}
        told["samples"] = [{**s, "sum_of_weights": _number(s["sum_of_weights"])} for s in document["samples"]]
        return from_data(RunSummary, told, finite=False)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a report: {error!r}") from error


def _number(value: Any) -> Any:
    """Infinities and NaN of their text, as `_plain` writes them."""
    return float(value) if value in ("inf", "-inf", "nan") else value


def schema() -> dict[str, Any]:
    """The JSON schema of `report.json`."""
    document: dict[str, Any] = json.loads(files("vrecompute.reports").joinpath("report.schema.json").read_text())
    return document


def _plain(value: Any) -> Any:
    """`value` in JSON's types: numbers that JSON lacks become text, other objects their text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    return str(value)


def summary_text(summary: RunSummary, *, most: int = 12) -> str:
    """The summary for a terminal; lists longer than `most` say how many more there are."""
    s = summary
    lines = [f"{s.status.upper()}  {s.analysis.name} {s.analysis.version} on {s.site}, run {s.run}"]
    lines.append(f"  events    {s.completeness_text}")
    if s.limits_given:
        lines.append(f"  test      {s.limits_text}: these are not the numbers of the whole dataset")
    if s.samples:
        more = f", and {len(s.samples) - most} more in report.json" if len(s.samples) > most else ""
        lines.append(f"  samples   {', '.join(f'{x.name} ({x.kind})' for x in s.samples[:most])}{more}")
    lines += [f"  tree      {line}" for line in s.trees]
    left = s.chunks.total - s.chunks.computed - s.chunks.reused - s.chunks.failed
    not_reached = f", {count_text(left)} not reached" if left > 0 else ""
    lines.append(
        f"  chunks    {count_text(s.chunks.total)}: {count_text(s.chunks.computed)} computed, "
        f"{count_text(s.chunks.reused)} reused, {count_text(s.chunks.failed)} failed{not_reached}"
    )
    if s.labels:
        lines.append(f"  labels    {', '.join(f'{key}={value}' for key, value in s.labels.items())}")
    if s.recomputed:
        lines.append(f"  anew      {s.recomputed}")
    if s.read_retries:
        requests = "request" if s.read_retries == 1 else "requests"
        lines.append(f"  retried   {count_text(s.read_retries)} {requests}: {printable(s.retried)}")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in s.stages.items() if seconds >= 0.05)
    rate = f"; {count_text(round(s.events_per_s_per_core))} events/s per core" if s.events_per_s_per_core else ""
    lines.append(f"  columns   {bytes_text(s.bytes)} on disk{rate}")
    lines += [f"  read      {link}" for link in s.links[:most]]
    if len(s.links) > most:
        lines.append(f"  read      ... and from {len(s.links) - most} more in report.json")
    if stages:
        lines.append(f"  time      {stages}")
    for channel, cuts in s.cutflow.items():
        flow = " > ".join(f"{name} {count_text(count)}" for name, count in cuts.items())
        lines.append(f"  cutflow   {channel}: {flow}")
    unscaled = grouped(("sample", x.name, x.unscaled_because) for x in s.samples if x.unscaled_because and x.normalised)
    lines += [f"  unscaled  {line}" for line in unscaled[:most]]
    if s.result_sha256:
        lines.append(f"  result    sha256 {s.result_sha256}")
    lines += [f"  warning   {text}" for text in s.warnings[:most]]
    if len(s.warnings) > most:
        lines.append(f"  warning   ... and {len(s.warnings) - most} more in report.json")
    missing = grouped(
        ("" if f.chunk else "file", f.where, why) for f in s.failures for why in (f"{f.kind}: {f.reason}",)
    )
    lines += [f"  missing   {line}" for line in missing[:most]]
    if len(missing) > most:
        lines.append(f"  missing   ... and {len(missing) - most} more in report.json")
    told = [f.traceback for f in s.failures if f.traceback]
    # without the words that Python begins with: the frames speak for themselves
    shown = [line for line in "".join(told[:1]).rstrip().splitlines() if not line.startswith("Traceback (")]
    lines += [f"    {line}" for line in shown]
    return "\n".join(printable(line) for line in lines)
