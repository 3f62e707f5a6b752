"""What a reader must know of how a run reads its samples, though nothing is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vrecompute.analysis import Analysis
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.reading import first_of
from vrecompute.wording import count_text

__all__ = ["chosen_trees", "plan_warnings", "rewritten_warnings"]

_MOST = 5


def plan_warnings(plan: Plan, analysis: Analysis) -> list[str]:
    """Sentences about files without events, columns that only some files have, and momenta in an unknown unit."""
    warnings = [f"{s.path} holds no events" for s in plan.sources if s.entries == 0]
    warnings += [
        f"{s.path}: tree {s.tree!r} has several branches named {', '.join(map(repr, s.repeated))}; "
        "the first of each was read, as ROOT does"
        for s in plan.sources
        if s.repeated
    ]
    files: dict[str, list[PlannedSource]] = {}
    for source in plan.sources:
        if source.kind != "grid":
            files.setdefault(source.sample, []).append(source)
    for name, sources in files.items():
        sample = plan.sample(name)
        warnings += _filled(sample.name, sources)
        warnings += _nowhere(sample.name, sources)
        warnings += _uneven(sample.name, sources)
        warnings += _trees(sample.name, sources)
        if sample.unit == "MeV" and not analysis.reads_unit and not any(s.reading.momenta for s in sources):
            warnings.append(
                f"sample {sample.name!r}: momenta are in MeV, and analysis {analysis.name!r} reads them unconverted; "
                "list their columns in `momenta` to have them in GeV, or set `reads_unit`"
            )
    return warnings + list(_unitless(files, plan, analysis))


def _unitless(files: Mapping[str, Sequence[PlannedSource]], plan: Plan, analysis: Analysis) -> Iterator[str]:
    """Momenta in samples without a unit: what is in MeV would pass for a thousand times as much."""
    samples = [name for name in files if plan.sample(name).unit is None]
    given = {column for name in samples for source in files[name] for column in source.reading.given}
    if columns := [] if analysis.reads_unit else [name for name in analysis.momenta if name in given]:
        yield (
            f"the dataset gives no unit of momenta for {_some(list(map(repr, samples)))}, and {_some(columns)} "
            f"{'is' if len(columns) == 1 else 'are'} taken to be in GeV; write `unit: GeV` or `unit: MeV` in its YAML"
        )


def chosen_trees(plan: Plan) -> tuple[str, ...]:
    """Sentences about the trees that are read of files which hold others, where none was named."""
    files = Counter((s.tree, s.others) for s in plan.sources if s.others)
    said = [
        f"{tree!r}, since none was named; {count_text(n)} {'file holds' if n == 1 else 'files hold'} {others} too"
        for (tree, others), n in files.most_common()
    ]
    return tuple(said[:_MOST]) + ((f"and {len(said) - _MOST} other choices",) if len(said) > _MOST else ())


def rewritten_warnings(plan: Plan, origins: Collection[str], lost: NDArray[np.bool_] | None = None) -> list[str]:
    """Sentences about files of these origins, which changed while they were read, once what was read was compared.

    `lost` are chunks that were of another version; None where nothing was compared.
    """
    told: dict[str, None] = {}
    for number, source in enumerate(plan.sources):
        if source.origin in origins:
            if lost is None:
                how = "run again"
            elif anew := int(lost[plan.offsets[number] : plan.offsets[number + 1]].sum()):
                how = f"{anew} of its {source.chunks} chunks were of another version than it holds, and computed again"
            else:
                how = "it holds what was read"
            was = "was rewritten or touched while the run read it (its size, inode or times changed)"
            told[f"{source.path} {was}: {how}"] = None
    return list(told)


def _filled(sample: str, sources: Sequence[PlannedSource]) -> Iterator[str]:
    """Columns that some files lack, and the value that stands for them."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        for name, value in source.reading.absent.items():
            if name not in source.columns:
                lacking.setdefault((name, str(value)), []).append(source.path)
    for (name, counts_as), paths in lacking.items():
        yield (
            f"sample {sample!r}: {len(paths)} of {len(sources)} files lack {name}; it counts as {counts_as} for all "
            f"their events: {_some(paths)}"
        )


def _nowhere(sample: str, sources: Sequence[PlannedSource]) -> Iterator[str]:
    """Optional columns that no file has."""
    for names in dict.fromkeys(names for s in sources for names in s.reading.optional):
        if not any(first_of(names, s.reading.given) for s in sources):
            yield f"sample {sample!r}: no file has {' or '.join(names)}, so the analysis runs without it"


def _uneven(sample: str, sources: Sequence[PlannedSource]) -> Iterator[str]:
    """Files in which the analysis declared other columns than in the first: it may select their events differently."""
    first = sources[0]
    other = [s for s in sources if set(s.reading.given) != set(first.reading.given)]
    if other:
        columns = sorted(set().union(*(set(s.reading.given) ^ set(first.reading.given) for s in other)))
        yield (
            f"sample {sample!r}: the analysis reads different columns in some files than in {first.path} "
            f"({_some(columns)}), and may select their events differently: {_some([s.path for s in other])}"
        )


def _trees(sample: str, sources: Sequence[PlannedSource]) -> Iterator[str]:
    """Trees of different names: where none is named, each file's own first usual one is read."""
    first = {s.tree: s.path for s in reversed(sources)}
    if len(first) > 1:
        trees = [f"{tree} in {path}" for tree, path in first.items()]
        yield f"sample {sample!r}: its files have trees of different names ({_some(trees)})"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
