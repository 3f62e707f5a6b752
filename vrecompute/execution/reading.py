"""`Reading`: which columns of a source are read for a run, and what is done to them before `process` gets them.

What depends on which files have a column is decided for a whole sample, after all its files were opened: one
sample has one selection, whichever of its files an event lies in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vrecompute.analysis import Analysis, SourceView
from vrecompute.datasets.columns import as_columns, number_of
from vrecompute.errors import AnalysisError, MissingColumn

__all__ = ["Reading", "first_of", "reading_of"]


@dataclass(frozen=True)
class Reading:
    """What is read of one source. `given` are the columns that `process` gets, in the order of their declaration.

    `absent` holds, for optional columns among them, the value of events in files without the column; one that JSON
    has not, as NaN, is a text. `momenta`
    are those stored in MeV and given in GeV. `weight` and `sections` (run, luminosity section) are read for the
    framework, whether or not the analysis declares them. `optional` are the optional columns as declared, by
    their names, and `found` those names that this file has.
    """

    given: tuple[str, ...] = ()
    absent: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    momenta: tuple[str, ...] = ()
    weight: str | None = None
    sections: tuple[str, ...] = ()
    optional: tuple[tuple[str, ...], ...] = ()
    found: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read from the file."""
        given = [name for name in self.given if name not in self.absent or name in self.found]
        return tuple(dict.fromkeys([*given, *([self.weight] if self.weight else []), *self.sections]))

    @property
    def key(self) -> list[Any]:
        """What of it may change a number, besides the columns that are read."""
        return [self.given, dict(self.absent), self.momenta, self.sections]


def first_of(names: Iterable[str], present: Iterable[str]) -> str | None:
    """The first of `names` that is among `present`."""
    there = set(present)
    return next((name for name in names if name in there), None)


def reading_of(analysis: Analysis, view: SourceView, of_sample: Mapping[str, str] | None = None) -> Reading:
    """What an analysis and the framework read of a source.

    `of_sample` maps each optional column that files of the sample have to the path of one of them; None where
    this file alone decides. Raises MissingColumn where the file lacks what others of its sample have, or run and
    luminosity-section columns for a certified list, AnalysisError where the declarations do not fit each other.
    """
    sample = view.sample
    given: list[str] = []
    absent: dict[str, bool | int | float | str] = {}
    optional: list[tuple[str, ...]] = []
    for wanted in as_columns(f"columns of analysis {analysis.name!r}", analysis.columns(view)):
        if isinstance(wanted, str):
            given.append(wanted)
            continue
        optional.append(wanted.names)
        name = first_of(wanted.names, view.available if of_sample is None else of_sample)
        if name is None:
            continue
        if (number := number_of(wanted)) is not None:
            absent[name] = number
        elif name not in view.available:
            there = (of_sample or {})[name]
            raise MissingColumn(
                view.path,
                f"it lacks {name!r}, which other files of sample {sample.name!r} have ({there}): their events would be "
                "selected differently; leave the files without it out, or put them into another sample",
            )
        given.append(name)
    declared = {*given, *(name for names in optional for name in names)}
    if unknown := sorted(set(analysis.momenta) - declared):
        raise AnalysisError(f"analysis {analysis.name!r} lists {', '.join(unknown)} in `momenta`, but not in `columns`")
    in_mev = sample.unit == "MeV" and not analysis.reads_unit
    return Reading(
        given=tuple(dict.fromkeys(given)),
        absent=absent,
        momenta=tuple(name for name in analysis.momenta if in_mev and name in given),
        weight=sample.weight,
        sections=() if sample.certified is None else _sections(analysis.sections, view),
        optional=tuple(optional),
        found=tuple(dict.fromkeys(n for names in optional for n in names if n in view.available)),
    )


def _sections(pairs: Sequence[tuple[str, str]], view: SourceView) -> tuple[str, str]:
    """The columns of run and luminosity section, the first pair that is there."""
    for run, section in pairs:
        if run in view.available and section in view.available:
            return run, section
    known = "; ".join(f"{run}, {section}" for run, section in pairs)
    raise MissingColumn(
        view.path,
        f"sample {view.sample.name!r} has a list of certified luminosity sections, and the tree has no columns of run "
        f"and luminosity section ({known}); name them in `sections` of the analysis",
    )
