"""`finish` where the Runner is: fits, limits and tables from a Result, kept in the store as products."""

from __future__ import annotations

import json
import math
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vrecompute.analysis import Analysis, load_function
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import AnalysisError
from vrecompute.execution.failure import Failure, place_of, traceback_of
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.regular_file import files_below
from vrecompute.reports.report import ReportedFailure, RunSummary
from vrecompute.reports.scale_factors import scales_of
from vrecompute.results.results import Results
from vrecompute.scratch import scratch
from vrecompute.stores.base import Store
from vrecompute.stores.objects import content_name, read_content, write_content
from vrecompute.utf8text import is_utf8, utf8
from vrecompute.wording import shortened

__all__ = ["FinishContext", "failed_outcome", "finish"]

# How many values a warning names.
_NAMED = 3
# As many as Python reads of a whole number.
_MOST_DIGITS = sys.int_info.default_max_str_digits
_TOO_LARGE = 10**_MOST_DIGITS


@dataclass(frozen=True)
class FinishContext:
    """What `finish` and `figures` may know besides the results.

    Files they write into `directory` are kept as products or figures. `scales` normalises each sample to its
    luminosity, None where that is refused. `completeness_text` belongs on every plot.
    """

    directory: Path
    samples: Mapping[str, Sample]
    scales: Mapping[str, float | None]
    complete: bool
    completeness: float | None
    completeness_text: str

    @classmethod
    def of(cls, directory: Path, manifest: Manifest, summary: RunSummary) -> FinishContext:
        """The context of a run that ended as `summary` says."""
        return cls(
            directory=directory,
            samples={s.name: s for s in manifest.dataset.samples},
            scales={s.name: s.scale for s in summary.samples},
            complete=summary.status == "complete",
            completeness=summary.completeness,
            completeness_text=summary.completeness_text,
        )


def finish(store: Store, manifest: Manifest, analysis: Analysis, outcome: Outcome, writer: str) -> Outcome:
    """The outcome with products, or failed where `finish` raised; the result itself is safe either way."""
    if analysis.finish_function is None or outcome.result is None:
        return outcome
    if outcome.summary.status in {"failed", "cancelled"}:
        return outcome
    read = Results.from_bytes(read_content(store, outcome.result))
    results = Results(read, read.incomplete, scales_of(outcome.summary, manifest.dataset.samples))
    with scratch("finish") as folder:
        context = FinishContext.of(folder, manifest, outcome.summary)
        try:
            products = load_function(analysis.finish_function, analysis)(results, analysis, context)
            absent: list[str] = []
            plain = _plain(products, absent)
            written, others = _written(context.directory)
        except (Exception, SystemExit) as error:
            return failed_outcome(outcome, _raised(analysis, error))
        files = {}
        for shown, path in written.items():
            data = path.read_bytes()
            name = content_name(f"{manifest.prefix}products/{writer}", data, path.suffix)
            write_content(store, name, data)
            files[shown] = name
    odd = [f"finish left {utf8(name)}, which is not a regular file: it is not kept" for name in others]
    summary = replace(outcome.summary, warnings=(*outcome.summary.warnings, *_told(absent), *odd))
    return replace(outcome, summary=summary, products=plain, product_files=files)


def failed_outcome(outcome: Outcome, failure: Failure) -> Outcome:
    """The outcome of a run that has its result and whose `finish` failed."""
    reported = ReportedFailure(failure.file, None, failure.kind, failure.reason, failure.detail)
    summary = replace(outcome.summary, status="failed", failures=(*outcome.summary.failures, reported))
    return replace(outcome, summary=summary, failures=(*outcome.failures, failure))


def _raised(analysis: Analysis, error: BaseException) -> Failure:
    if isinstance(error, AnalysisError):
        said = f"what finish of {analysis.name!r} gave cannot be kept: {error}; the result is complete and kept"
        return Failure(str(analysis.finish_function), "", "finish", said)
    place = f" ({at.removesuffix(': ')})" if (at := place_of(error)) else ""
    reason = (
        f"finish of {analysis.name!r} raised {type(error).__name__}: {error}{place}; the result is complete and kept"
    )
    detail = traceback_of(error)
    return Failure(str(analysis.finish_function), "", "finish", reason, detail=detail)


def _written(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files that `finish` wrote by the names of products, and names of what is no regular file.

    AnalysisError for a name that no document could hold.
    """
    paths, others = files_below(folder)
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    if odd := next((name for name in named if not is_utf8(name)), ""):
        raise AnalysisError(f"the name of the file '{utf8(odd)}', which it wrote, is not UTF-8; write it in UTF-8")
    return named, [path.relative_to(folder).as_posix() for path in others]


def _plain(products: object, absent: list[str]) -> Any:
    if products is None:
        return {}
    if not isinstance(products, Mapping):
        raise TypeError(f"it returned {reprlib.repr(products)}; return a mapping of names to values, or nothing")
    try:
        return json.loads(json.dumps(_finite(products, "", absent), allow_nan=False))
    except RecursionError:
        raise ValueError("what it returned is nested too deeply, or holds itself") from None


def _finite(value: object, name: str, absent: list[str]) -> object:
    """JSON has no NaN or infinity: None says that there is no such number, and `absent` gets what was there."""
    if isinstance(value, Mapping):
        plain = {}
        for key, item in value.items():
            said = str(_held(key, f"a name in {name or 'what it returned'}"))
            plain[said] = _finite(item, f"{name}.{said}" if name else said, absent)
        return plain
    if isinstance(value, (list, tuple)):
        return [_finite(v, f"{name}[{k}]", absent) for k, v in enumerate(value)]
    if hasattr(value, "tolist"):
        return _finite(value.tolist(), name, absent)
    if isinstance(value, float) and not math.isfinite(value):
        absent.append(f"{value} as {name or 'a whole'}")
        return None
    return _held(value, name or "what it returned")


def _held(value: object, what: str) -> object:
    """The same; AnalysisError for a text or a number that a document cannot hold."""
    if isinstance(value, str) and not is_utf8(value):
        raise AnalysisError(f"{what} is text that is not UTF-8, '{shortened(utf8(value))}'; write it in UTF-8")
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise AnalysisError(
            f"{what} is a whole number of more than {_MOST_DIGITS} digits, which readers of JSON refuse; return a "
            "float, or its logarithm"
        )
    return value


def _told(absent: list[str]) -> tuple[str, ...]:
    """One warning for all numbers that are none."""
    if not absent:
        return ()
    more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    return (
        f"finish returned {', '.join(absent[:_NAMED])}{more}: products hold null there, as JSON has no such number",
    )
