"""From what a user names to a `Dataset`: files, patterns, folders, lists, dataset YAML; no source is opened here.

    "a.root"  "dir/*.root"  "dir/"  ["a.root", "b.root"]  "samples.yaml"  "samples.yaml::zmumu"  "name"
    {"a.root": "Events"}  {"dy": {"files": {"dy.root": "Events"}}}  "fileset.json"  "fileset.json::dy"

A text is a path if it contains `/`, a letter of a pattern or a known suffix; otherwise a name, looked for as
`NAME.yaml` in the folders of $VRECOMPUTE_DATASETS. What a folder and a pattern mean is in `find_files`; a folder that
holds a `dataset.yaml` is what that file says.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vrecompute.addresses import address_fault, link_of, path_of
from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.datasets.fileset import FilesetFile, FilesetSample, is_fileset_of_trees, parse_fileset, read_fileset
from vrecompute.datasets.find_files import Here, There, all_of, find_files, is_pattern, is_url
from vrecompute.errors import BadInput, DatasetError
from vrecompute.nearest import did_you_mean, nearest
from vrecompute.plugins import serves, serving
from vrecompute.secret_text import holds_secret
from vrecompute.sites.access import Access

if TYPE_CHECKING:
    from vrecompute.datasets.dataset_file import DatasetFile, SampleEntry

__all__ = ["DATASETS_PATH", "resolve"]

DATASETS_PATH = "VRECOMPUTE_DATASETS"
_DESCRIBED = (".yaml", ".yml")
_FILESET = ".json"
_SUFFIXES = (".root", _FILESET, *_DESCRIBED)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:(?!:)")
_UNITED = "events"


def resolve(
    given: Any, *, tree: str | None = None, allow_duplicates: bool = False, access: Access | None = None
) -> Dataset:
    """The Dataset that `given` names: a text, a path-like, a Dataset, a mapping (see `fileset`), or a list of these.

    Raises DatasetError where something names nothing, or where a source is listed twice and
    `allow_duplicates` is not set. Files that come without YAML make one sample, `events`. With an `access` the files
    are those of its machine, where relative paths begin in the home folder; YAML files are read here all the same.
    """
    if isinstance(given, Dataset):
        return _checked(given)
    if not isinstance(given, (str, os.PathLike, Iterable)):
        raise DatasetError(f"{given!r} is not a dataset; name a file, folder, pattern or YAML file, or a list of these")
    items: Sequence[Any] = [given] if isinstance(given, (str, os.PathLike, Mapping)) else list(given)
    if not items:
        raise DatasetError("the dataset is an empty list: name at least one file, directory or YAML file")
    samples: dict[str, Sample] = {}
    sources: list[Source] = []
    names: list[str] = []
    notes: list[str] = []
    calls = (partial(_one, _as_given(item), tree, access) for item in items)
    for found in all_of(calls):
        for sample in found.samples:
            if samples.setdefault(sample.name, sample) != sample:
                raise DatasetError(f"two different samples are called {sample.name!r}: rename one of them")
        sources += found.sources
        names.append(found.name)
        notes += found.notes
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Dataset(tuple(samples.values()), _numbered(sources, allow_duplicates), name, tuple(notes))


def _numbered(sources: Iterable[Source], allow_duplicates: bool) -> tuple[Source, ...]:
    """Sources with an ordinal for each repetition of an address; DatasetError where repetition is not allowed."""
    times: dict[tuple[str, str], int] = {}
    numbered = []
    for source in sources:
        key = (source.sample, source.path)
        ordinal = times.get(key, 0)
        times[key] = ordinal + 1
        if ordinal and not allow_duplicates:
            raise DatasetError(
                f"{source.path} is listed twice in sample {source.sample!r}: its events would count twice; list it "
                "once, or pass --allow-duplicates"
            )
        numbered.append(replace(source, ordinal=ordinal))
    return tuple(numbered)


def _as_given(item: Any) -> str | Dataset | Mapping[Any, Any]:
    return item if isinstance(item, Dataset | Mapping) else os.fspath(item)


def _one(text: str | Dataset | Mapping[Any, Any], tree: str | None, access: Access | None) -> Dataset:
    if isinstance(text, Dataset):
        return _checked(text)
    if isinstance(text, Mapping):
        if not is_fileset_of_trees(text):
            return _fileset(parse_fileset(text, "the fileset"), "fileset", "", tree, access, "")
        files = tuple(FilesetFile(os.fspath(path), own) for path, own in text.items())
        return _fileset((FilesetSample(_UNITED, files),), files[0].path, "", tree, access, "")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise DatasetError(f"{text!r}: a line break, a NUL or another control character; no path can be read like that")
    address, _, only = text.partition("::")
    if is_url(text) and not address.endswith(_DESCRIBED):
        address, only = text, ""  # [::1] is a host
    if _SCHEME.match(address) and not os.path.exists(address):
        _check_scheme(address)
    if not ("/" in address or is_pattern(address) or address.endswith(_SUFFIXES) or os.path.exists(address)):
        address = _named(address)
    if address.partition("?")[0].endswith(_DESCRIBED) and is_url(address):
        return _folder(address, only, tree, access)
    if address.endswith(_FILESET) and not is_url(address):
        folder = "" if access else os.path.dirname(address)
        return _fileset(read_fileset(Path(address)), address, only, tree, access, folder)
    if address.endswith(_DESCRIBED):
        from vrecompute.datasets.dataset_file import read_dataset

        folder = os.path.dirname(address)
        return _described(read_dataset(Path(address)), address, only, tree, access, "" if access else folder, folder)
    disk = Here() if access is None else There(access)
    [(paths, description)] = find_files(disk, [address])
    if description:
        return _folder(description, only, tree, access)
    if only:
        raise DatasetError(f"{text}: '::' picks a sample of a YAML file, and {address} is not one")
    how = "" if len(paths) == 1 and paths[0].endswith(address) else " (links followed, hidden names left out)"
    note = f"{address}: {_count(paths)}{how} as one sample, {_UNITED!r}, not declared as data or simulation"
    return Dataset((Sample(_UNITED, tree=tree),), _as_sources(paths, Source("", _UNITED, tree)), address, (note,))


def _fileset(
    given: Sequence[FilesetSample], name: str, only: str, tree: str | None, access: Access | None, folder: str
) -> Dataset:
    """The Dataset of a fileset, whose relative paths begin in `folder`."""
    names = [sample.name for sample in given]
    if only and only not in names:
        raise DatasetError(f"{name} has no sample {only!r}; {did_you_mean(only, names)}")
    chosen = [sample for sample in given if not only or sample.name == only]
    disk = Here() if access is None else There(access)
    listed = [(sample, file) for sample in chosen for file in sample.files]
    places = [_beside(folder, file.path) for _, file in listed]
    for place in filter(is_url, places):
        _check_scheme(place)
    sources: list[Source] = []
    for (sample, file), (paths, description) in zip(listed, find_files(disk, places), strict=True):
        if description:
            raise DatasetError(f"{name}: sample {sample.name!r}: {description} is a dataset file; list its data files")
        if file.entries is not None and len(paths) != 1:
            raise DatasetError(f"{name}: {file.path} names {len(paths)} files, and one number of events")
        sources += _as_sources(paths, Source("", sample.name, file.tree, file.entries))
    samples = tuple(Sample(s.name, tree=tree or s.tree, metadata=dict(s.metadata)) for s in chosen)
    note = f"{name}: {_count(sources)}, samples {', '.join(s.name for s in chosen)}, not declared as data or simulation"
    return Dataset(samples, tuple(sources), name, (note,))


def _folder(description: str, only: str, tree: str | None, access: Access | None) -> Dataset:
    """What the `dataset.yaml` of a folder says, whose files are beside it on its own machine."""
    from vrecompute.datasets.dataset_file import BOUNDS, parse_dataset, read_dataset

    folder = _beside(description, "")
    if is_url(description):
        parsed = parse_dataset(_content_afar(description, BOUNDS.max_bytes), description)
        return _described(_without_lists(parsed, description), description, only, tree, access, folder, folder)
    if access is None:
        return _described(read_dataset(Path(description)), description, only, tree, None, folder, folder)
    got = access.run(["head", "-c", str(BOUNDS.max_bytes + 1), "--", description])
    if got.code != 0:
        raise DatasetError(f"{access}: {description} cannot be read: {got.complaint or f'exit code {got.code}'}")
    parsed = _without_lists(parse_dataset(got.stdout, f"{access}: {description}"), f"{access}: {description}")
    return _described(parsed, description, only, tree, access, folder, folder)


def _without_lists(parsed: DatasetFile, where: str) -> DatasetFile:
    if lists := [sample.certified for sample in parsed.samples if sample.certified]:
        raise DatasetError(f"{where}: this machine has to read {lists[0]}; copy both files here and name the YAML")
    return parsed


def _content_afar(address: str, max_bytes: int) -> bytes:
    """What the source at an address holds, up to a byte more than `max_bytes`."""
    serve = serving(address.partition(":")[0])
    try:
        source = serve(address) if serve else None
        content = np.empty(0 if source is None else min(source.size, max_bytes + 1), dtype=np.uint8)
        if source is not None and len(content):
            source.read_ranges(np.array([[0, len(content)]]), content)
    except BadInput as error:
        raise DatasetError(str(error)) from error
    return content.tobytes()


def _as_sources(paths: Iterable[str], made: Source) -> tuple[Source, ...]:
    found = tuple(replace(made, path=path) for path in paths)
    for source in found:
        try:
            source.path.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(f"{os.fsencode(source.path)!r}: the name is not UTF-8; rename the file") from error
    return found


def _named(name: str) -> str:
    folders = [Path(f) for f in os.environ.get(DATASETS_PATH, "").split(os.pathsep) if f]
    known = {p.stem: p for folder in folders for p in sorted(folder.glob("*.y*ml"))}
    if name in known:
        return str(known[name])
    meant = nearest(name, known)
    hint = f"; did you mean {meant!r}?" if meant else ""
    where = f"${DATASETS_PATH}={os.environ.get(DATASETS_PATH, '')}"
    raise DatasetError(f"no file, directory or dataset is called {name!r} ({where}){hint}")


def _described(
    parsed: DatasetFile, file: str, only: str, tree: str | None, access: Access | None, folder: str, lists: str
) -> Dataset:
    """The Dataset of a file whose relative paths begin in `folder`, those of certified lists in `lists`."""
    names = [s.name for s in parsed.samples]
    if only and only not in names:
        raise DatasetError(f"{file} has no sample {only!r}; {did_you_mean(only, names)}")
    chosen = [s for s in parsed.samples if not only or s.name == only]
    disk = Here() if access is None else There(access)
    entries = [(sample, entry) for sample in chosen for entry in sample.files]
    places = [_beside(folder, entry.path) for _, entry in entries]
    replicas = [[_beside(folder, replica) for replica in entry.replicas] for _, entry in entries]
    for place in filter(is_url, places):
        _check_scheme(place)
    for replica in (replica for several in replicas for replica in several):
        _check_place(replica)
    others = iter(find_files(disk, [replica for several in replicas for replica in several]))
    sources: list[Source] = []
    for (sample, entry), (paths, description), several in zip(entries, find_files(disk, places), replicas, strict=True):
        if description:
            raise DatasetError(f"{file}: sample {sample.name!r}: {description} is a dataset file; list its data files")
        alone = "a checksum" if entry.checksum else "a size" if entry.size_bytes else "a replica" if several else ""
        if alone and len(paths) != 1:
            raise DatasetError(
                f"{file}: sample {sample.name!r}: {alone} is that of one file, and {entry.path} names {len(paths)}; "
                "list them one by one (`vrecompute dataset checksum` does)"
            )
        copies = [_one_file(file, sample.name, *next(others)) for _ in several]
        made = Source("", sample.name, entry.tree, entry.entries, checksum=entry.checksum, size=entry.size_bytes)
        sources += _as_sources(paths, replace(made, replicas=tuple(copies)))
    samples = tuple(_sample(s, parsed, lists, tree) for s in chosen)
    note = (
        f"{file}: {_count(sources)}, samples {', '.join(names)}" if not only else f"{file}: {_count(sources)} of {only}"
    )
    return Dataset(samples, tuple(sources), parsed.name or file, (note,))


def _one_file(file: str, sample: str, paths: Sequence[str], description: str) -> str:
    """The only path of a replica."""
    if len(paths) != 1:
        named = description or ", ".join(paths[:3])
        raise DatasetError(f"{file}: sample {sample!r}: a replica is one file, and it names {named}; name that file")
    return paths[0]


def _beside(folder: str, path: str) -> str:
    """What `path` names where relative ones begin in `folder`, or beside a file; a query stays at the end."""
    if is_url(path) or not is_url(folder):
        return path if is_url(path) else posixpath.join(folder if path else posixpath.dirname(folder), path)
    place, mark, query = folder.partition("?")
    link, start = link_of(place), path_of(place) or "/"
    start = start if start.endswith("/") else posixpath.dirname(start) + "/"
    return link + posixpath.join(start, path) + mark + query


def _checked(made: Dataset) -> Dataset:
    """One that a program made, of addresses that may be kept."""
    for address in (address for source in made.sources for address in source.addresses):
        _check_place(address)
    return made


def _check_place(address: str) -> None:
    """DatasetError for an address that carries a secret, which is not shown, or a host or port that there cannot be."""
    if is_url(address) and holds_secret(address):
        raise DatasetError(
            f"an address of the scheme {address.partition(':')[0]!r} carries a secret, which would be written into "
            "plans and reports; remove it: tokens and keys are found where they are (docs/datasets.md)"
        )
    if fault := address_fault(address):
        raise DatasetError(f"{address}: {fault}")


def _check_scheme(address: str) -> None:
    _check_place(address)
    scheme = address.partition(":")[0]
    if not (is_url(address) and serves(scheme)):
        raise DatasetError(
            f"{address}: sources of the scheme {scheme!r} cannot be read yet; give files of this machine"
        )


def _count(files: Sequence[object]) -> str:
    return f"{len(files)} file{'s' * (len(files) != 1)}"


def _sample(given: SampleEntry, parsed: DatasetFile, lists: str, tree: str | None) -> Sample:
    # what has a cross-section or generator weights was generated
    generated = given.cross_section_pb is not None or given.weight is not None or given.sum_of_weights is not None
    return Sample(
        name=given.name,
        is_data=False if given.is_data is None and generated else given.is_data,
        unit=given.unit,
        weight=given.weight,
        tree=tree or given.tree,
        certified=str(Path(lists, given.certified).absolute()) if given.certified else None,
        cross_section_pb=given.cross_section_pb,
        luminosity_ifb=given.luminosity_ifb or parsed.luminosity_ifb,
        sum_of_weights=given.sum_of_weights,
        metadata=dict(given.metadata),
    )
