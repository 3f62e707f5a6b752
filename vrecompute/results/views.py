"""Results as objects of other libraries: `hist.Hist`, pandas tables, HTML. Nothing here runs on a worker."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import boost_histogram as bh

from vrecompute.errors import UsageError
from vrecompute.nearest import hint
from vrecompute.results.result import Result
from vrecompute.results.scaling import Scale
from vrecompute.results.svg import drawing_of, to_svg

__all__ = ["cutflow_table", "hist_of", "html_of", "named"]

_CATEGORIES = (bh.axis.StrCategory, bh.axis.IntCategory)
_NOMINAL = "nominal"
#: Behind the name of a channel: one of the same cuts, with sums of weights for numbers of events.
_WEIGHTED = "_weighted"
# A notebook shows so many histograms and says how many there are more.
_MOST_DRAWN = 12
_STYLE = (
    ".vrecompute-results{font:14px/1.5 system-ui,sans-serif;max-width:60em}"
    ".vrecompute-results figure{display:inline-block;width:380px;max-width:100%;margin:.4em .6em 0 0}"
    ".vrecompute-results figcaption{font-size:.85em;opacity:.7}"
    ".vrecompute-results svg{width:100%;height:auto}"
    ".vrecompute-results svg text{font:10px system-ui,sans-serif;fill:currentColor;opacity:.7}"
    ".vrecompute-results .axis{stroke:currentColor;opacity:.6;fill:none;stroke-width:.8}"
    ".vrecompute-results .bars{fill:#2457a62b}.vrecompute-results .line{fill:none;stroke:#4a86d8;stroke-width:1.3}"
    ".vrecompute-results .errors{fill:none;stroke:#4a86d8;stroke-width:.8;opacity:.75}"
)


def named(histogram: bh.Histogram[Any], name: str) -> bh.Histogram[Any]:
    """A copy whose axes have names and labels: the user's own where there are some, `metadata` text being a label.

    A category axis is called `variation` where one of its categories is `nominal`, and a sole numeric axis as the
    histogram.
    """
    made = histogram.copy()
    numeric = [i for i, axis in enumerate(made.axes) if not isinstance(axis, _CATEGORIES)]
    taken: set[str] = set()
    for number, axis in enumerate(made.axes):
        said = axis.__dict__
        if isinstance(axis, _CATEGORIES):
            default = "variation" if _NOMINAL in list[Any](axis) else f"category_{number}"
        else:
            default = name if len(numeric) == 1 else f"{name}_{numeric.index(number)}"
        own = str(said.get("name") or re.sub(r"\W", "_", default))
        while own in taken:
            own += "_"
        taken.add(own)
        text = said["metadata"] if isinstance(said.get("metadata"), str) else ""
        said.update(name=own, label=str(said.get("label") or text or said.get("name") or default))
    return made


def hist_of(samples: Mapping[str, Result], name: str, sample: str | None = None) -> Any:
    """A `hist.Hist` of the histogram of that name; see `Results.hist`."""
    try:
        import hist
    except ImportError as error:
        raise UsageError("hist is not installed: pip install 'vrecompute[plots]'") from error
    chosen = samples if sample is None else {sample: samples[sample]}
    parts = {key: named(r.histograms[name], name) for key, r in chosen.items() if name in r.histograms}
    if not parts:
        known = sorted({histogram for r in chosen.values() for histogram in r.histograms})
        there = f"there is no histogram {name!r} (there are: {', '.join(known) or 'none'}){hint(name, known)}"
        raise KeyError(there)
    parts = _same_categories(parts, name)
    joined = next(iter(parts.values())) if len(chosen) == 1 else _with_samples(parts)
    made: Any = hist.Hist(joined)
    made.name = name
    return made


def _same_categories(parts: Mapping[str, bh.Histogram[Any]], name: str) -> dict[str, bh.Histogram[Any]]:
    """All with the categories of any: what does not vary in a sample is nominal there, whatever varies in others."""
    first = next(iter(parts.values()))
    for key, part in parts.items():
        if [type(a) for a in part.axes] != [type(a) for a in first.axes] or part.storage_type is not first.storage_type:
            raise UsageError(f"histogram {name!r} of sample {key!r} has other axes or another storage than the first")
    for number, axis in enumerate(first.axes):
        if not isinstance(axis, bh.axis.StrCategory):
            if odd := [key for key, part in parts.items() if part.axes[number] != axis]:
                raise UsageError(
                    f"histogram {name!r} of sample {odd[0]!r} has other bins than that of the first sample"
                )
            continue
        every = list(dict.fromkeys(c for part in parts.values() for c in list[Any](part.axes[number])))
        parts = {key: _with_categories(part, number, every) for key, part in parts.items()}
    return dict(parts)


def _with_categories(part: bh.Histogram[Any], number: int, every: Sequence[str]) -> bh.Histogram[Any]:
    axis = part.axes[number]
    have = list[Any](axis)
    if have == list(every):
        return part
    wider = bh.axis.StrCategory(every, __dict__=copy.copy(axis.__dict__))
    made = bh.Histogram(*(wider if i == number else a for i, a in enumerate(part.axes)), storage=part.storage_type())
    old: Any = part.view(flow=True)
    new: Any = made.view(flow=True)
    for place, category in enumerate(every):
        other = _NOMINAL if category not in have else category
        if other in have:
            at = (slice(None),) * number
            new[(*at, place)] = old[(*at, have.index(other))]
    return made


def _with_samples(parts: Mapping[str, bh.Histogram[Any]]) -> bh.Histogram[Any]:
    first = next(iter(parts.values()))
    # hist keeps the word `sample` for itself
    axis = bh.axis.StrCategory(list(parts), __dict__={"name": "samples", "label": "sample"})
    made: bh.Histogram[Any] = bh.Histogram(axis, *first.axes, storage=first.storage_type())
    view: Any = made.view(flow=True)
    for place, part in enumerate(parts.values()):
        view[place] = part.view(flow=True)
    return made


def cutflow_table(samples: Mapping[str, Result], scales: Mapping[str, Scale]) -> Any:
    """A pandas DataFrame of all cutflows; see `Results.pandas`."""
    try:
        import pandas
    except ImportError as error:
        raise UsageError("pandas is not installed: pip install 'vrecompute[notebook]'") from error
    rows = []
    for sample, result in samples.items():
        scale = scales.get(sample, Scale(None))
        for channel, cuts in result.cutflow.items():
            if channel.endswith(_WEIGHTED) and channel.removesuffix(_WEIGHTED) in result.cutflow:
                continue
            weights = result.cutflow.get(channel + _WEIGHTED, {})
            for cut, events in cuts.items():
                weighted = weights.get(cut, events if scale.of_events else None)
                scaled = None if weighted is None or scale.factor is None else weighted * scale.factor
                rows.append((sample, channel, cut, events, weighted, scaled))
    columns = ["sample", "channel", "cut", "events", "weighted", "scaled"]
    table = pandas.DataFrame(rows, columns=columns)
    numbers = dict.fromkeys(columns[3:], "float64")
    return table.astype(numbers).set_index(columns[:3])


def html_of(samples: Mapping[str, Result], notice: str = "") -> str:
    """The samples and their histograms with one numeric axis, drawn without a plotting library."""
    told = [f'<div class="vrecompute-results"><style>{_STYLE}</style>']
    if notice:
        told.append(f"<p><strong>{escape(notice)}</strong></p>")
    drawn = left = 0
    for sample, result in samples.items():
        told.append(f"<p><strong>{escape(sample)}</strong>: {result.events:,} events</p>")
        for name, histogram in result.histograms.items():
            drawing = drawing_of(name, named(histogram, name)) if drawn < _MOST_DRAWN else None
            if drawing is None:
                left += 1
                continue
            drawn += 1
            total = f"{drawing.total:,.6g} in range"
            told.append(f"<figure>{to_svg(drawing)}<figcaption>{escape(drawing.title)}: {total}</figcaption></figure>")
    if left:
        told.append(f"<p>{left} more histograms: too many to draw, or not of one numeric axis</p>")
    return "".join([*told, "</div>"])
