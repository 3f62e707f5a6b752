"""What `--out DIR` holds: report.json, report.html, result/, products/ and figures/ of a run that has ended.

All of it is of one run: it is written in a folder beside, and moved to its place when it is whole. A marker file says
that the folder is ours; one that holds anything else is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import reprlib
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vrecompute.analysis import Analysis, load_function
from vrecompute.errors import DamagedObject, ResultKept, StoreError, StoreFull, UsageError
from vrecompute.execution.finish import FinishContext
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome, inside
from vrecompute.execution.skim import read_piece, table_pieces
from vrecompute.folders import make_folders
from vrecompute.regular_file import files_below, read_regular
from vrecompute.reports import html, report
from vrecompute.reports.report import RunSummary
from vrecompute.reports.scale_factors import scales_of
from vrecompute.results.result import Result
from vrecompute.results.results import Results
from vrecompute.runplots import Figures
from vrecompute.stores.apart import check_apart, folder_of_store, within
from vrecompute.stores.base import NO_SPACE, Store
from vrecompute.stores.objects import read_content

__all__ = ["MARKER", "check_directory", "claim_directory", "publish"]

#: Marks a folder that `publish` wrote, and may write again.
MARKER = ".vrecompute-output"
# No report of ours is larger.
_MOST_BYTES = 256 << 20
# Outputs are written in minutes.
_SWEEP_S = 86_400.0
# How many figures a warning names.
_NAMED = 3
_OURS = ("report.json", "report.html", "result", "products", "figures")


def check_directory(directory: Path, store: Store | None = None) -> None:
    """Raise UsageError unless outputs may go into `directory`, and can: it is absent, empty, or has those of a run.

    It is not in the `store` that the run is in, nor in another. That store may be in it only where it is ours already,
    and beside what is replaced. Whether it can be written is tried, and leaves nothing behind.
    """
    above = (directory, *directory.parents)
    if link := next((p for p in above if os.path.islink(p) and not os.path.exists(p)), None):
        raise UsageError(
            f"{directory}: the outputs cannot be written there: {link} is a link to {os.readlink(link)}, where nothing "
            "is; make that folder, remove the link, or name another folder"
        )
    try:
        check_apart(directory, store)
        _check_holds(directory, store)
        others = [] if not directory.exists() else sorted(p.name for p in directory.iterdir())
        ours = _is_marked(directory)
        if not others or ours:
            _try_to_write(directory)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{directory}: the outputs cannot be written there: {getattr(error, 'strerror', None) or error}"
        ) from error
    if others and not ours:
        raise UsageError(
            f"{directory} holds files that vrecompute did not write ({', '.join(others[:3])}); "
            "choose an empty folder, or a new one"
        )


def _check_holds(directory: Path, store: Store | None) -> None:
    root = folder_of_store(store)
    way = None if root is None else within(root, directory)
    if way is None:
        return
    first = way.parts[0]
    if first in _OURS or first.startswith(MARKER) or not _is_marked(directory):
        raise UsageError(
            f"the store {root} lies inside {directory}, where outputs replace what is there; name a folder elsewhere"
        )


def _try_to_write(directory: Path) -> None:
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        make_folders(directory)
        with tempfile.TemporaryDirectory(prefix=f"{MARKER}-", dir=directory):
            pass
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not made, or another process writes there by now
                folder.rmdir()


def claim_directory(directory: Path, store: Store | None = None) -> None:
    """Make `directory` one that outputs may go into, whatever else comes into it; UsageError as `check_directory`."""
    check_directory(directory, store)
    make_folders(directory)
    if not _is_marked(directory):
        with (
            contextlib.suppress(FileExistsError),  # another process claims it
            (directory / MARKER).open("x", encoding="utf-8") as marker,
        ):
            marker.write("outputs of vrecompute; report.json names the run\n")
    for left in directory.glob(f"{MARKER}-*"):  # of processes that were killed while they wrote
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > _SWEEP_S:
                shutil.rmtree(left)


def _is_marked(directory: Path) -> bool:
    """Whether it has our marker: a file, since what is written to a link goes elsewhere."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG((directory / MARKER).lstat().st_mode)
    return False


def publish(
    store: Store, manifest: Manifest, analysis: Callable[[], Analysis], outcome: Outcome, directory: Path
) -> RunSummary:
    """Make `directory` hold everything about an ended run, and nothing of another; gives the report that it holds.

    `analysis` is only asked to draw figures, after `finish`; where it raises UsageError there are none, and a warning.

    Raises UsageError where there are files of others in it, or it is in the store, ResultKept where there is a complete
    result and this run was cancelled, was a test or has failed, StoreError where it cannot be written, DamagedObject
    where something to be written is not what the run ended with; then the directory is as it was.
    """
    directory = directory.absolute()  # figures may go to another folder
    beside = directory / f"{MARKER}-{secrets.token_hex(4)}"
    status = outcome.summary.status
    if status in {"failed", "cancelled", "test"} and (complete := _complete_run_in(directory)) is not None:
        raise ResultKept(
            f"{directory} keeps the complete result of run {complete}; this run ended {status}: "
            f"`vrecompute runs result {manifest.run} --out DIR` writes what it has to another folder"
        )
    try:
        claim_directory(directory, store)
        beside.mkdir()
        summary = _write(store, manifest, analysis, outcome, beside)
        _move(beside, directory)
    except OSError as error:
        kind = StoreFull if error.errno in NO_SPACE else StoreError
        raise kind(f"{directory}: cannot write the outputs of run {manifest.run}: {error.strerror or error}; "
                   f"`vrecompute runs result {manifest.run} --out DIR` writes them elsewhere") from error  # fmt: skip
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return summary


def _complete_run_in(directory: Path) -> str | None:
    """The run whose complete result is there, if one is."""
    try:
        summary = report.loads(read_regular(directory / "report.json", _MOST_BYTES).decode())
    except (OSError, ValueError):
        return None
    return summary.run if summary.status == "complete" else None


def _move(beside: Path, directory: Path) -> None:
    """All that was there of ours goes before anything new comes: at no moment do two runs lie side by side."""
    old = beside / MARKER
    old.mkdir()
    for name in _OURS:
        if (directory / name).exists():
            (directory / name).rename(old / name)
    for name in reversed(_OURS):
        if (beside / name).exists():
            (beside / name).rename(directory / name)


def _write(
    store: Store, manifest: Manifest, analysis: Callable[[], Analysis], outcome: Outcome, folder: Path
) -> RunSummary:
    results = _results(store, manifest, outcome, folder)
    for table, pieces in table_pieces(store, manifest, results, outcome.chunks, outcome.origins).items():
        for number, piece in enumerate(pieces):
            target = _inside(folder / "result" / "tables" / table, f"{piece.sample}-{number:06}.parquet")
            target.write_bytes(read_piece(store, piece))
    _products(store, outcome, folder)
    summary, figures = _figures(manifest, analysis, outcome, results, folder)
    drawn = Figures.of(manifest, summary, analysis)
    summary, stacks = _stacks(drawn, results, folder)
    figures += [html.read_figure(p) for p in stacks if p.suffix.lower() in html.MEDIA_TYPES]
    (folder / "report.json").write_text(report.dumps(summary), encoding="utf-8")
    shown, blinded = drawn.shown(results)
    page = html.page(summary, shown, figures, outcome.products, blinded)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return summary


def _stacks(drawn: Figures, results: Mapping[str, Result], folder: Path) -> tuple[RunSummary, list[Path]]:
    """The files of data/MC stacks, as PNG and PDF, and the summary, with a warning where they could not be drawn."""
    written: list[Path] = []
    try:
        for number, (name, plot) in enumerate(drawn.of_page(results).items()):
            target = folder / "figures" / "stacks" / re.sub(r"[^\w.-]+", "_", f"{number:02}-{name}")[:100]
            make_folders(target.parent)
            written += [plot.save(target.with_name(target.name + suffix)) for suffix in (".png", ".pdf")]
    except OSError:
        raise  # the folder cannot be written, as the caller says
    except Exception as error:
        warning = f"no stacks of samples: drawing them raised {type(error).__name__}: {error}"
        return replace(drawn.summary, warnings=(*drawn.summary.warnings, warning)), written
    return drawn.summary, written


def _results(store: Store, manifest: Manifest, outcome: Outcome, directory: Path) -> Mapping[str, Result]:
    if outcome.result is None:
        return {}
    data = read_content(store, outcome.result)
    folder = directory / "result"
    folder.mkdir()
    (folder / "result.zip").write_bytes(data)
    read = Results.from_bytes(data)
    results = Results(read, read.incomplete, scales_of(outcome.summary, manifest.dataset.samples))
    if any(result.histograms for result in results.values()):
        results.to_root(folder / "histograms.root")
    return results


def _products(store: Store, outcome: Outcome, directory: Path) -> None:
    if not outcome.products and not outcome.product_files:
        return
    folder = directory / "products"
    folder.mkdir()
    (folder / "products.json").write_text(json.dumps(outcome.products, indent=2) + "\n", encoding="utf-8")
    for name, stored in outcome.product_files.items():
        _inside(folder, name).write_bytes(read_content(store, stored))


def _inside(folder: Path, name: str) -> Path:
    """The path of a file below `folder`, whose own folder is made; DamagedObject for a name that leaves it."""
    try:
        path = inside(folder, name)
    except ValueError as error:
        raise DamagedObject(f"{error}; nothing was written there") from error
    make_folders(path.parent)
    return path


def _figures(
    manifest: Manifest,
    analysis: Callable[[], Analysis],
    outcome: Outcome,
    results: Mapping[str, Result],
    directory: Path,
) -> tuple[RunSummary, list[html.Figure]]:
    """The figures, and the summary, with a warning where they could not be drawn: no number depends on them."""
    summary = outcome.summary
    if not results or summary.status in {"failed", "cancelled"}:
        return summary, []
    try:
        said = analysis()
    except StoreError as error:  # its code is damaged or gone, which costs no number
        return _without_figures(summary, str(error)), []
    except UsageError as error:
        # of an analysis that may have none, it would be a warning about nothing
        return (_without_figures(summary, str(error)) if outcome.products else summary), []
    function = said.figures_function
    if function is None:
        return summary, []
    folder = directory / "figures"
    folder.mkdir()
    context, whose = FinishContext.of(folder, manifest, summary), f"figures of {said.name!r}"
    try:
        wanted = _wanted(load_function(function, said)(outcome.products, results, context), folder)
    except ImportError as error:
        return _without_figures(summary, f"{error.name} is missing (pip install 'vrecompute[plots]')"), []
    except (Exception, SystemExit) as error:
        return _without_figures(summary, f"{whose} raised {type(error).__name__}: {error}"), []
    pictures, faults = _pictures(wanted, folder)
    if not faults:
        return summary, pictures
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    why = f"{whose}: {'; '.join(faults[:_NAMED])}{more}"
    return _without_figures(summary, why, "not all figures" if pictures else "no figures"), pictures


def _without_figures(summary: RunSummary, why: str, what: str = "no figures") -> RunSummary:
    return replace(summary, warnings=(*summary.warnings, f"{what}: {why}"))


def _wanted(drawn: object, folder: Path) -> list[Path] | None:
    """The paths that `figures` returned, below its folder where they are relative; None where it returned nothing.

    TypeError where it returned anything else.
    """
    what_to_do = "return a list of the paths that it wrote into context.directory"
    if drawn is None:
        return None
    if isinstance(drawn, (Mapping, str, bytes, os.PathLike)) or not isinstance(drawn, Iterable):
        kind = f"a {type(drawn).__name__}" if isinstance(drawn, Mapping) else reprlib.repr(drawn)
        raise TypeError(f"it returned {kind}; {what_to_do}")
    paths = []
    for item in drawn:
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(f"it returned a {type(drawn).__name__} with {reprlib.repr(item)}; {what_to_do}")
        path = Path(os.path.abspath(folder / item))
        with contextlib.suppress(OSError):
            path.lstat()  # ValueError for what is no path
        if not path.is_relative_to(folder):  # by another name of the folder, where a link leads to it
            real, way = Path(os.path.realpath(folder)), Path(os.path.realpath(path.parent), path.name)
            path = folder / way.relative_to(real) if way.is_relative_to(real) else path
        paths.append(path)
    return paths


def _pictures(wanted: Sequence[Path] | None, folder: Path) -> tuple[list[html.Figure], list[str]]:
    """The pictures among the files that were wanted, or that there are; and why others are none, by name.

    What is neither file nor folder is removed: it would be of no use to who looks at the outputs, or keep them waiting.
    """
    files, others = files_below(folder)
    faults = {path: f"{path.relative_to(folder)} is not a regular file, and is left out" for path in others}
    for path in others:
        path.unlink()
    if wanted is None and not files and not faults:
        return [], ["it wrote none into context.directory, and returned None"]
    pictures = []
    for path in files if wanted is None else wanted:
        if path in faults:
            continue
        if not path.is_relative_to(folder):
            faults[path] = f"{path} is not in context.directory, and is left out; write figures there"
        elif not os.path.isfile(path):
            name = path.relative_to(folder)
            faults[path] = f"{name} is a folder; return the files in it" if path.is_dir() else f"{name} is not there"
        elif path.suffix.lower() in html.MEDIA_TYPES:
            try:
                pictures.append(html.read_figure(path))
            except (OSError, ValueError) as error:
                faults[path] = f"{path.relative_to(folder)} cannot be shown on the page: {error}"
    return pictures, list(faults.values())
