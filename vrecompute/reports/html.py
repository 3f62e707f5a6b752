"""`report.html`: one self-contained page of a run, readable without a network, a script or a plotting library.

Every text on it is escaped by the template: names of files, parameters and failures are whatever
the user's disk holds. The page forbids itself to load or run anything (Content-Security-Policy).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vrecompute.regular_file import read_regular
from vrecompute.reports.report import RunSummary
from vrecompute.results.result import Result
from vrecompute.results.svg import Drawing, drawing_of, to_svg
from vrecompute.results.views import named
from vrecompute.wording import bytes_text, count_text, duration_text, percent_text, printable

__all__ = ["Figure", "card", "page", "read_figure"]

# A page lists at most this many of a kind and says how many more there are; report.json lists all.
MOST_FILES, MOST_FAILURES, MOST_HISTOGRAMS = 200, 500, 24
MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


# No browser opens a page with larger ones.
_MOST_OF_A_FIGURE = 64 << 20


@dataclass(frozen=True)
class Figure:
    """A picture of `figures`, to be embedded."""

    name: str
    media_type: str
    content: bytes

    @property
    def data_uri(self) -> str:
        """The picture inside its own address; an SVG in an <img> runs no script."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def read_figure(path: Path) -> Figure:
    """The picture in a PNG, JPEG or SVG file; ValueError for any other suffix, or a larger one.

    OSError for what is no regular file, without waiting.
    """
    try:
        kind = MEDIA_TYPES[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"{path}: a report embeds {', '.join(sorted(MEDIA_TYPES))}, not {path.suffix!r}") from None
    content = read_regular(path, _MOST_OF_A_FIGURE)
    if len(content) > _MOST_OF_A_FIGURE:
        raise ValueError(f"{path}: a report embeds pictures of at most {_MOST_OF_A_FIGURE >> 20} MiB")
    return Figure(path.stem, kind, content)


def page(
    summary: RunSummary,
    results: Mapping[str, Result] | None = None,
    figures: Sequence[Figure] = (),
    products: Mapping[str, Any] | None = None,
    blinded: Sequence[str] = (),
) -> str:
    """The whole page: `results` by sample give the small histograms, `figures` the large pictures.

    `products` are the numbers of `finish`: single numbers are shown, lists stay in its files. `blinded` names the
    histograms whose data are not among `results`.
    """
    drawings, undrawn = _drawings(results or {})
    return str(
        _environment()
        .get_template("report.html")
        .render(
            s=summary,
            figures=figures,
            drawings=[(d, Markup(to_svg(d))) for d in drawings],  # to_svg escapes what it is given
            undrawn=undrawn,
            blinded=blinded,
            products=list(_scalars(products or {})),
            cutflows=[(channel, _steps(cuts)) for channel, cuts in summary.cutflow.items()],
            stages=_shares(summary.stages),
            in_tasks=_shares(summary.in_tasks),
            not_reached=summary.chunks.total - summary.chunks.computed - summary.chunks.reused - summary.chunks.failed,
            files=sorted(summary.files, key=lambda f: (f.seen == f.expected, f.sample, f.file))[:MOST_FILES],
            files_left=max(len(summary.files) - MOST_FILES, 0),
            failures=summary.failures[:MOST_FAILURES],
            failures_left=max(len(summary.failures) - MOST_FAILURES, 0),
        )
    )


def card(summary: RunSummary) -> str:
    """The head of the page alone, for a notebook cell."""
    return str(_environment().get_template("card.html").render(s=summary))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vrecompute.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count_text,
        "percent": percent_text,
        "bytes": bytes_text,
        "duration": duration_text,
        "printable": lambda value: printable(str(value)),
        "lines": lambda value: "\n".join(map(printable, value.rstrip().splitlines())),
        "number": lambda value: f"{value:.6g}" if isinstance(value, float) else value,
    }
    return environment


def _drawings(results: Mapping[str, Result]) -> tuple[list[Drawing], int]:
    """What can be drawn, at most MOST_HISTOGRAMS, and how many histograms are left out."""
    drawings: list[Drawing] = []
    histograms = 0
    for sample, result in results.items():
        for name, histogram in result.histograms.items():
            histograms += 1
            title = name if len(results) == 1 else f"{name}, {sample}"
            if len(drawings) < MOST_HISTOGRAMS and (drawing := drawing_of(title, named(histogram, name))) is not None:
                drawings.append(drawing)
    return drawings, histograms - len(drawings)


@dataclass(frozen=True)
class _Step:
    """One row of a cutflow: its count, and that over the first and over the previous one."""

    name: str
    count: float
    of_all: float | None
    of_previous: float | None


def _steps(cuts: Mapping[str, float]) -> list[_Step]:
    steps: list[_Step] = []
    for name, count in cuts.items():
        first = steps[0].count if steps else count
        previous = steps[-1].count if steps else count
        steps.append(_Step(name, count, count / first if first else None, count / previous if previous else None))
    return steps


def _shares(time_s: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(name, seconds, share of the whole in percent) of each."""
    whole = sum(time_s.values()) or 1.0
    return [(name, seconds, 100 * seconds / whole) for name, seconds in time_s.items()]


def _scalars(products: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every number within `products`, and of the reasons why something was skipped."""
    for key, value in products.items():
        name = (*path, str(key))
        if isinstance(value, Mapping):
            yield from _scalars(value, name)
        elif name not in {("schema",), ("completeness",)} and (
            key == "skipped" or (isinstance(value, int | float) and not isinstance(value, bool))
        ):
            yield ".".join(name), value
