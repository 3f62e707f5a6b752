"""From what a user asks for to an analysis and a Manifest; no source is opened and nothing is started.

analysis (name, FILE.py, class) ---> Analysis with its parameters
dataset (paths, YAML)           ---> Dataset                          ---> Manifest
resources, certified lists, code ---> content in the store
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from vrecompute.analysis import Analysis, Grid
from vrecompute.analysis.analysisfile import sources_of
from vrecompute.analysis.arithmetic import arithmetic
from vrecompute.analysis.loading import Origin, load_analysis
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import Dataset, Sample
from vrecompute.digest import file_sha256, numerics
from vrecompute.errors import DatasetError, ParameterError, UsageError
from vrecompute.execution.manifest import Manifest, Settings, new_run_id
from vrecompute.execution.provenance import provenance
from vrecompute.kernels.certified import read_golden
from vrecompute.nearest import nearest
from vrecompute.secret_text import holds_secret
from vrecompute.sites.access import Access
from vrecompute.stores.base import Store
from vrecompute.stores.objects import write_content
from vrecompute.utf8text import is_utf8, utf8
from vrecompute.wording import shortened

__all__ = ["Request", "prepare"]

_LOG = logging.getLogger(__name__)
# Stores that this process has warned of.
_EXPOSED: set[str] = set()
# So long a label may be.
_MOST_LETTERS = 1000
_OPTIONS = (*Settings.__dataclass_fields__, "tree", "params", "labels")


@dataclass(frozen=True)
class Request:
    """What `Client.run`, `submit` and `explain` were asked for. `parameters` are the analysis' own.

    `run` is the name of the run where its caller chooses it; else it is a new one.
    """

    analysis: str | type[Analysis] | Analysis
    dataset: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tree: str | None = None
    settings: Settings = field(default_factory=Settings)
    labels: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None


def prepare(
    request: Request, store: Store, site: str, access: Access | None, *, keep: bool = True
) -> tuple[Analysis, Manifest]:
    """The analysis of a request and the Manifest of its run; resources are put into the store, unless not to `keep`.

    `access` leads to the machine whose files the dataset names; None is this one. Raises UsageError, ParameterError
    or DatasetError.
    """
    import numba  # a client that only looks at runs needs no compiler

    if numba.config.DISABLE_JIT:
        raise UsageError(
            "numba's compiler is switched off by NUMBA_DISABLE_JIT, and columns are read by what it compiles; unset "
            "that variable"
        )
    if keep:
        _warn_of_exposed(store)
    labels = _checked(request.labels)
    folder = _working_directory()
    if isinstance(request.analysis, str) and request.analysis.partition(":")[0].endswith(".py"):
        request = replace(request, analysis=os.path.join(folder, request.analysis))
    analysis, origin = _analysis_of(request)
    _check_unsecret("parameter", analysis.values)
    # Its import may have gone to another folder, and what was named before begins where it was named.
    with contextlib.chdir(folder) if folder and folder != _working_directory() else contextlib.nullcontext():
        dataset, grids, opened = _dataset_of(request, analysis, access)
    if grids and request.settings.max_files is not None:
        raise UsageError(f"max_files: analysis {analysis.name!r} opens a directory, which has no files to leave out")
    dataset = _first_files(dataset, request.settings.max_files)
    file = _file_of(request, analysis)
    resources = {name: _beside(file, Path(path)) for name, path in analysis.resources().items()} | opened
    lists = {sample.name: Path(sample.certified) for sample in dataset.samples if sample.certified is not None}
    code = analysis.code()
    sources = {}
    if origin.kind == "file" and isinstance(request.analysis, str):
        sources = sources_of(Path(request.analysis.partition(":")[0]))
    stored = partial(_stored, store, keep=keep)
    name = _said(analysis, "name", "zmumu") or type(analysis).__name__
    manifest = Manifest(
        run=request.run or new_run_id(name),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        analysis=name,
        analysis_version=_said(analysis, "version", "1"),
        origin=origin,
        code=code.digest,
        parameters=dict(analysis.values),
        dataset=dataset,
        resources={name: stored(f"resource {name!r}", path) for name, path in resources.items()},
        certified={name: stored(f"certified list of sample {name!r}", path) for name, path in lists.items()},
        source_files={name: stored("source file", path) for name, path in sources.items()},
        numerics=numerics({*analysis.dependencies, *code.distributions}),
        site=site,
        settings=request.settings,
        grids=grids,
        code_parts=dict(code.parts),
        unnamed=tuple(map(utf8, code.unnamed)),  # it may name files
        labels=labels,
        arithmetic=arithmetic(),
        provenance=provenance(file) if keep else {},
        folder=utf8(_working_directory()),
    )
    return analysis, manifest.as_read()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _said(analysis: Analysis, attribute: str, example: str) -> str:
    """What a class says of itself in words; UsageError, naming the attribute, for what is no text."""
    said: object = getattr(analysis, attribute)
    wrong = f"{shortened(repr(said))}, and has to be text"
    if isinstance(said, str):
        if is_utf8(said):
            return said
        wrong = f"'{shortened(utf8(said))}', which is not UTF-8 text"
    raise UsageError(
        f'{type(analysis).__qualname__}.{attribute} is {wrong}; write {attribute} = "{example}" in the class'
    )


def _file_of(request: Request, analysis: Analysis) -> Path | None:
    """The file that the analysis is in; None of one in a notebook."""
    if isinstance(request.analysis, str) and request.analysis.partition(":")[0].endswith(".py"):
        return Path(request.analysis.partition(":")[0]).absolute()
    file = getattr(sys.modules.get(type(analysis).__module__), "__file__", None)
    return Path(file).absolute() if file else None


def _beside(file: Path | None, path: Path) -> Path:
    """Where a resource is: beside the analysis' file, or else in the working directory."""
    return file.parent / path if file is not None and (file.parent / path).exists() else path


def _warn_of_exposed(store: Store) -> None:
    """Say once that others can write in the store: a sha256 finds damage there, and no forgery."""
    said = getattr(store, "exposed", str)()
    if said and store.url not in _EXPOSED:
        _EXPOSED.add(store.url)
        _LOG.warning("%s", said)


def _checked(labels: Mapping[Any, Any]) -> dict[str, str]:
    """The labels of a run; UsageError for what `runs list --label KEY=VALUE` could not find again."""
    for key, value in labels.items():
        if not (isinstance(key, str) and isinstance(value, str) and key.strip() == key != "" and "=" not in key):
            raise UsageError(
                f"label {key!r}: {value!r}: labels map text to text, and a key has no '=' and no space at its ends; "
                "write labels={'campaign': '2026a'}"
            )
        for what, text in ((f"label '{shortened(utf8(key))}'", key), (f"the value of label {key!r}", value)):
            if len(text) > _MOST_LETTERS:
                raise UsageError(f"{what} has {len(text)} letters; write at most {_MOST_LETTERS}")
            if not is_utf8(text):
                raise UsageError(f"{what} is not UTF-8 text: '{utf8(text)}'; write it in UTF-8")
            if not text.isprintable():
                raise UsageError(f"{what} holds a line break or another control character; write it on one line")
    _check_unsecret("label", labels)
    return dict(labels)


def _check_unsecret(noun: str, named: Mapping[str, Any]) -> None:
    """UsageError, which does not show it, for a secret that would be in the manifest and in reports."""
    for name, value in named.items():
        if holds_secret(str(value)):
            raise UsageError(
                f"{noun} {name!r} carries a secret, which would be written into the store and into reports; leave it "
                "out, and have the analysis find it where it runs: by a file or a variable"
            )


def _analysis_of(request: Request) -> tuple[Analysis, Origin]:
    try:
        if isinstance(request.analysis, Analysis) and request.parameters:
            names = ", ".join(request.parameters)
            raise ParameterError(f"an Analysis instance brings its own parameters; {names} came beside it")
        return load_analysis(request.analysis, request.parameters)
    except ParameterError as error:
        meant = next((option for name in request.parameters if (option := nearest(name, _OPTIONS))), None)
        if meant is None or meant in request.parameters:
            raise
        raise ParameterError(f"{error}; did you mean the option {meant!r}, which every run has?") from error


def _dataset_of(
    request: Request, analysis: Analysis, access: Access | None
) -> tuple[Dataset, tuple[Grid, ...], dict[str, Path]]:
    """The dataset, the grids that an analysis makes of a directory it opens itself, and the resources of that."""
    if analysis.opens_directory:
        return _open_directory(analysis, request.dataset)
    allow = request.settings.allow_duplicates
    dataset = resolve(request.dataset, tree=request.tree, allow_duplicates=allow, access=access)
    for sample in dataset.samples:
        if sample.certified is not None:
            read_golden(Path(sample.certified))  # a broken list is an error before anything starts
    return dataset, (), {}


def _first_files(dataset: Dataset, most: int | None) -> Dataset:
    """The same with the first `most` sources of each sample; all where it is None."""
    if most is None:
        return dataset
    kept = {s.name: [x for x in dataset.sources if x.sample == s.name][:most] for s in dataset.samples}
    return replace(dataset, sources=tuple(source for sources in kept.values() for source in sources))


def _open_directory(analysis: Analysis, dataset: Any) -> tuple[Dataset, tuple[Grid, ...], dict[str, Path]]:
    # The command line gives a list of what it was given.
    only = dataset[0] if isinstance(dataset, (list, tuple)) and len(dataset) == 1 else dataset
    path = Path(only) if isinstance(only, (str, os.PathLike)) else None
    if path is None or not os.path.isdir(path):
        raise DatasetError(f"analysis {analysis.name!r} takes one directory as its dataset, not {dataset!r}")
    opening = analysis.open_directory(path)
    resources = {name: Path(p) for name, p in opening.resources.items()}
    return Dataset((Sample(analysis.name),), (), str(path)), tuple(opening.grids), resources


def _stored(store: Store, what: str, path: Path, *, keep: bool) -> str:
    """Put a file into the store under its content, and give its name there."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"{what}: {path} is not a regular file")
    try:
        # With its suffixes: many libraries tell formats by them (.json.gz).
        stored = f"blobs/{file_sha256(path)}{''.join(path.suffixes[-2:])}"
        if keep:
            write_content(store, stored, path.read_bytes(), loud=True)
    except OSError as error:
        raise UsageError(f"{what}: {path} cannot be read: {error.strerror or error}") from error
    return stored
