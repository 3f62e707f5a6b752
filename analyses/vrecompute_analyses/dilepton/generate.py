"""`generate`: a dilepton sample whose truth is known, as ROOT files that are the same bytes for the same seed."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import uproot
import yaml

from vrecompute.digest import file_sha256
from vrecompute.errors import UnreadableFile, UsageError
from vrecompute.folders import make_folders
from vrecompute.wording import bytes_text
from vrecompute_analyses.dilepton.generator import physics
from vrecompute_analyses.dilepton.generator.events import EventBatch
from vrecompute_analyses.dilepton.generator.layout import LAYOUTS, Layout, LayoutName
from vrecompute_analyses.dilepton.generator.mixture import MIXTURES, PROCESSES, EventSource
from vrecompute_analyses.dilepton.generator.physics import SignalSpec
from vrecompute_analyses.dilepton.generator.rootfile import COMPRESSIONS, CompressionName, FormatName, write_root

__all__ = ["DEMO_EVENTS", "DEMO_FILES", "DEMO_SEED", "GeneratedSample", "SignalSpec", "generate"]

# A change of the generator that changes the events of a seed raises this.
GENERATOR_VERSION = 1
DEMO_EVENTS, DEMO_FILES, DEMO_SEED = 400_000, 8, 1
DEFAULT_SIGNAL = SignalSpec()
# Of any layout, format and compression less than there are: what is refused does not fit.
_LEAST_BYTES_OF_AN_EVENT, _LEAST_BYTES_OF_A_FILE = 50, 10_000
TRUTH, DATASET = "truth.json", "dataset.yaml"
_MARKER = ".vrecompute-sample"


@dataclass(frozen=True)
class GeneratedSample:
    """What `generate` wrote; `files` in the order of their events, `truth` as in truth.json."""

    directory: Path
    files: tuple[Path, ...]
    dataset: Path
    truth_file: Path
    truth: dict[str, Any]
    events: int


def generate(
    directory: Path,
    events: int = DEMO_EVENTS,
    files: int = DEMO_FILES,
    seed: int = DEMO_SEED,
    *,
    layout: LayoutName = "nanoaod",
    format: FormatName = "ttree",
    compression: CompressionName = "zstd",
    cluster_bytes: int = 30_000_000,
    signal: SignalSpec | None = DEFAULT_SIGNAL,
    progress: Callable[[int, int], None] | None = None,
) -> GeneratedSample:
    """Write `events` events into `files` ROOT files, `truth.json` and `dataset.yaml` under `directory`.

    The same arguments give the same bytes (for equal versions of numpy and uproot and equal CPU math level).
    Event number i depends on the seed, layout and signal alone: another number of events or files cuts the
    same stream differently. `cluster_bytes` is the compressed size aimed at for a cluster. `signal` None injects
    no Z'. `progress` is called with (events written, events) after each cluster.

    Raises UsageError for arguments out of range, or where `directory` holds a description or ROOT files that are not
    of such a sample, or that a glob over it would take for part of this one; UnreadableFile where it cannot be written.
    """
    _check(events, files, seed, cluster_bytes)
    chosen = _known(layout, LAYOUTS, "layout")
    _known(compression, COMPRESSIONS, "compression")
    _known(format, {"ttree": 0, "rntuple": 0}, "format")
    directory = Path(directory)
    _check_room(directory, events, files)
    paths = tuple(directory / f"events_{i:04d}.root" for i in range(files))
    _prepare(directory, paths)

    recipe = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "events": events,
        "files": files,
        "layout": layout,
        "format": format,
        "compression": compression,
        "cluster_bytes": cluster_bytes,
        "signal": asdict(signal) if signal else None,
    }
    source = EventSource(seed, MIXTURES[chosen.mixture], signal)
    cluster_events = max(1, cluster_bytes // chosen.bytes_per_event)
    tally = _Tally(events, progress)
    bounds = [events * i // files for i in range(files + 1)]
    truth_file, dataset = directory / TRUTH, directory / DATASET
    try:
        for i, path in enumerate(paths):
            clusters = _clusters(source, chosen, bounds[i], bounds[i + 1], cluster_events, tally)
            write_root(path, chosen.tree, clusters, _identity(recipe, i), format=format, compression=compression)
        truth = _truth(recipe, tally, chosen, signal)
        truth_file.write_text(json.dumps(truth, indent=2) + "\n")
        dataset.write_text(_dataset_yaml(chosen, layout, paths, bounds))
        (directory / _MARKER).unlink(missing_ok=True)  # truth.json says it from now on
    except OSError as error:
        raise UnreadableFile(str(directory), f"cannot write a sample here: {error.strerror or error}") from error
    return GeneratedSample(directory, paths, dataset, truth_file, truth, events)


class _Tally:
    """Counts what was written, per process and channel, and tells the caller."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.total = total
        self.written = 0
        self.counts = np.zeros((len(PROCESSES), 2), dtype=np.int64)
        self._progress = progress

    def add(self, batch: EventBatch) -> None:
        process, flavour = batch.scalars["genProcess"], batch.scalars["genDileptonPdgId"]
        self.counts += np.bincount(2 * process + (flavour == 13), minlength=2 * len(PROCESSES)).reshape(-1, 2)
        self.written += len(batch)
        if self._progress is not None:
            self._progress(self.written, self.total)


def _clusters(
    source: EventSource, layout: Layout, start: int, stop: int, cluster_events: int, tally: _Tally
) -> Iterator[EventBatch]:
    for first in range(start, stop, cluster_events):
        batch = source.events(first, min(first + cluster_events, stop))
        tally.add(batch)
        yield layout.arranged(batch)


def _check(events: int, files: int, seed: int, cluster_bytes: int) -> None:
    if events < 1:
        raise UsageError(f"events={events}: a sample needs at least one event")
    if not 1 <= files <= events:
        raise UsageError(f"files={files}: choose from 1 to the number of events ({events}), so that no file is empty")
    if seed < 0:
        raise UsageError(f"seed={seed}: choose a number from 0")
    if cluster_bytes < 1:
        raise UsageError(f"cluster_bytes={cluster_bytes}: choose a number of bytes above 0")


def _check_room(directory: Path, events: int, files: int) -> None:
    """UsageError where the disk has no room for the least that so many events and files may take."""
    there = next((place for place in (directory, *directory.absolute().parents) if os.path.isdir(place)), Path("/"))
    free, least = shutil.disk_usage(there).free, events * _LEAST_BYTES_OF_AN_EVENT + files * _LEAST_BYTES_OF_A_FILE
    if least > free:
        raise UsageError(
            f"{events} events in {files} files take at least {bytes_text(least)}, and {there} has {bytes_text(free)} "
            "free; ask for fewer, or name a folder on another disk"
        )


def _known(name: str, choices: Any, what: str) -> Any:
    try:
        return choices[name]
    except KeyError:
        raise UsageError(f"unknown {what} {name!r}: choose one of {', '.join(choices)}") from None


def _prepare(directory: Path, paths: tuple[Path, ...]) -> None:
    if "::" in str(directory):  # uproot and fsspec read two addresses there
        raise UsageError(f"{directory}: tools that read ROOT files take '::' for an end; choose a folder without it")
    try:
        make_folders(directory)
        there = sorted(p.name for p in directory.iterdir() if p.suffix == ".root" or p.name in (TRUTH, DATASET))
        foreign = (
            there if not _is_ours(directory) else sorted({n for n in there if n.endswith(".root")} - _names(paths))
        )
        if not foreign:
            (directory / _MARKER).touch()  # what is written may be written again after an interruption
            # Written last: a sample that was interrupted has no description of an older one beside it.
            for name in (TRUTH, DATASET):
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise UnreadableFile(str(directory), f"cannot write a sample here: {error.strerror}") from error
    if foreign:
        names = ", ".join(foreign[:3]) + (", ..." if foreign[3:] else "")
        raise UsageError(
            f"{directory} holds files of another sample ({names}): choose an empty directory, or remove them"
        )


def _names(paths: tuple[Path, ...]) -> set[str]:
    return {path.name for path in paths}


def _is_ours(directory: Path) -> bool:
    """Whether `generate` wrote what is there, also where it did not come to its end."""
    if (directory / _MARKER).exists():
        return True
    try:
        return "generator_version" in json.loads((directory / TRUTH).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _identity(recipe: dict[str, Any], index: int) -> uuid.UUID:
    """The UUID of a file: a digest of everything its content depends on, so equal bytes have equal identities."""
    versions = {"numpy": np.__version__, "uproot": uproot.__version__}
    text = json.dumps({**recipe, **versions, "file": index}, sort_keys=True)
    return uuid.UUID(bytes=sha256(text.encode()).digest()[:16], version=4)


def _truth(recipe: dict[str, Any], tally: _Tally, layout: Layout, signal: SignalSpec | None) -> dict[str, Any]:
    processes = {
        name: {"events": int(row.sum()), "ee": int(row[0]), "mumu": int(row[1])}
        for name, row in zip(PROCESSES, tally.counts, strict=True)
    }
    processes["multijet"] = {"events": processes["multijet"]["events"]}
    return {
        "schema": 1,
        **recipe,
        "tree": layout.tree,
        "unit": layout.unit,
        "weight": layout.weight,
        "processes": processes,
        "z": {"mass_gev": physics.Z_MASS_GEV, "width_gev": physics.Z_WIDTH_GEV},
        "zprime": None
        if signal is None
        else {
            "mass_gev": signal.mass_gev,
            "width_gev": signal.width_gev,
            "relative_width": signal.relative_width,
            "events": processes["zprime"]["events"],
        },
        "notes": (
            "Every event has weight 1 unless the layout is 'benchmark'. drell_yan is the whole spectrum from 40 GeV; "
            "drell_yan_high_mass adds dileptons above 200 GeV with the shape of the published background function "
            "(arXiv:1903.06248), many more than nature would, so that a small sample can fit a background. "
            "Event counts are before reconstruction and selection."
        ),
    }


def _dataset_yaml(layout: Layout, name: str, paths: tuple[Path, ...], bounds: list[int]) -> str:
    description = {
        "schema": 1,
        "name": f"generated-{name}",
        "samples": [
            {
                "name": "generated",
                "is_data": False,
                "unit": layout.unit,
                "weight": layout.weight,
                "tree": layout.tree,
                "files": [
                    {"path": path.name, "entries": bounds[i + 1] - bounds[i], "sha256": file_sha256(path)}
                    for i, path in enumerate(paths)
                ],
            }
        ],
    }
    return yaml.safe_dump(description, sort_keys=False)
