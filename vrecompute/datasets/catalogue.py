"""From what a user names to a `Dataset`: files, globs, directories, lists, dataset YAML; nothing is opened here.

    "a.root"  "dir/*.root"  "dir/"  ["a.root", "b.root"]  "samples.yaml"  "samples.yaml::zmumu"  "name"

A text is a path if it contains `/`, a glob or a known suffix; otherwise a name, looked for as `NAME.yaml`
in the folders of $VRECOMPUTE_DATASETS.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import DatasetError
from vrecompute.sites.access import Access

__all__ = ["DATASETS_PATH", "resolve"]

DATASETS_PATH = "VRECOMPUTE_DATASETS"
_SUFFIXES = (".root", ".yaml", ".yml")
_GLOB = frozenset("*?[")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:(?!:)")
_UNITED = "events"
# $1 is a path, glob or folder; an empty IFS keeps spaces in it together while its pattern is expanded.
_FIND = r"""
if [ -d "$1" ]; then
  cd -- "$1" && find "$PWD" -name '*.root' -type f | LC_ALL=C sort
else
  IFS=
  for path in $1; do
    case "$path" in /*) ;; *) path=$PWD/$path ;; esac
    case "$path" in *[*?[]*) [ -e "$path" ] || continue ;; esac
    printf '%s\n' "$path"
  done
fi
"""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    path: str
    entries: Annotated[int, Field(ge=0)] | None = None
    tree: str | None = None


class _Sample(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(min_length=1)]
    files: Annotated[list[str | _File], Field(min_length=1)]
    is_data: bool = False
    unit: Literal["GeV", "MeV"] | None = None
    weight: str | None = None
    tree: str | None = None
    certified: str | None = None
    cross_section_pb: Annotated[float, Field(gt=0)] | None = None
    luminosity_ifb: Annotated[float, Field(gt=0)] | None = None
    sum_of_weights: float | None = None
    metadata: dict[str, str | int | float | bool] = {}


class _File_(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: str | None = None
    luminosity_ifb: Annotated[float, Field(gt=0)] | None = None
    samples: Annotated[list[_Sample], Field(min_length=1)]


def resolve(
    given: Any, *, tree: str | None = None, allow_duplicates: bool = False, access: Access | None = None
) -> Dataset:
    """The Dataset that `given` names: a text, a path-like, a Dataset, or a list of these.

    Raises DatasetError where something names nothing, or where a source is listed twice and
    `allow_duplicates` is not set. Files that come without YAML make one sample, `events`. With an `access` the files
    are those of its machine, where relative paths begin in the home folder; YAML files are read here all the same.
    """
    if isinstance(given, Dataset):
        return given
    items: Sequence[Any] = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    if not items:
        raise DatasetError("the dataset is an empty list: name at least one file, directory or YAML file")
    samples: dict[str, Sample] = {}
    sources: list[Source] = []
    names: list[str] = []
    for item in items:
        found = item if isinstance(item, Dataset) else _one(os.fspath(item), tree, access)
        for sample in found.samples:
            if samples.setdefault(sample.name, sample) != sample:
                raise DatasetError(f"two different samples are called {sample.name!r}: rename one of them")
        sources += found.sources
        names.append(found.name)
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Dataset(tuple(samples.values()), _numbered(sources, allow_duplicates), name)


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
        numbered.append(Source(source.path, source.sample, source.tree, source.entries, ordinal))
    return tuple(numbered)


def _one(text: str, tree: str | None, access: Access | None) -> Dataset:
    address, _, only = text.partition("::")
    if _SCHEME.match(address) and not Path(address).exists():
        scheme = address.partition(":")[0]
        raise DatasetError(
            f"{address}: sources of the scheme {scheme!r} cannot be read yet; give files of this machine"
        )
    if not (set(address) & {"/", *_GLOB} or address.endswith(_SUFFIXES) or Path(address).exists()):
        address = _named(address)
    if address.endswith((".yaml", ".yml")):
        return _from_yaml(Path(address), only, tree, access)
    if only:
        raise DatasetError(f"{text}: '::' picks a sample of a YAML file, and {address} is none")
    paths = _paths(address) if access is None else _paths_there(access, address)
    return Dataset((Sample(_UNITED, tree=tree),), tuple(Source(p, _UNITED, tree) for p in paths), address)


def _named(name: str) -> str:
    folders = [Path(f) for f in os.environ.get(DATASETS_PATH, "").split(os.pathsep) if f]
    known = {p.stem: p for folder in folders for p in sorted(folder.glob("*.y*ml"))}
    if name in known:
        return str(known[name])
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    where = f"${DATASETS_PATH}={os.environ.get(DATASETS_PATH, '')}"
    raise DatasetError(f"there is no file, directory or dataset called {name!r} ({where}){hint}")


def _paths(address: str) -> list[str]:
    """The files of a path, glob or directory, absolute and sorted."""
    if Path(address).is_dir():
        found = sorted(str(p) for p in Path(address).rglob("*.root"))
        if not found:
            raise DatasetError(f"directory {address} holds no .root file")
    elif set(address) & _GLOB and not Path(address).exists():
        found = sorted(glob.glob(address, recursive=True))
        if not found:
            raise DatasetError(f"no file matches {address!r}")
    else:
        # A file that is not there is for preflight to report, beside all others that are bad.
        found = [address]
    return [str(Path(p).absolute()) for p in found]


def _paths_there(access: Access, address: str) -> list[str]:
    """As `_paths`, on the machine behind `access`."""
    done = access.run(["sh", "-c", _FIND, "sh", address])
    found = done.text.splitlines()
    if done.code != 0 or not found:
        raise DatasetError(f"{access}: no file matches {address!r}{': ' + done.complaint if done.complaint else ''}")
    return found


def _from_yaml(path: Path, only: str, tree: str | None, access: Access | None) -> Dataset:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not YAML: {error}") from error
    try:
        parsed = _File_.model_validate(raw)
    except pydantic.ValidationError as error:
        raise DatasetError(f"{path}:\n" + "\n".join(_problem(e) for e in error.errors())) from error
    names = [s.name for s in parsed.samples]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise DatasetError(f"{path}: two samples are called {repeated[0]!r}")
    if only and only not in names:
        near = get_close_matches(only, names, n=1)
        raise DatasetError(
            f"{path} has no sample {only!r}"
            + (f"; did you mean {near[0]!r}?" if near else f" (it has {', '.join(names)})")
        )
    chosen = [s for s in parsed.samples if not only or s.name == only]
    samples = tuple(_sample(s, parsed, path, tree) for s in chosen)
    sources = tuple(source for s in chosen for source in _sources(s, path, access))
    return Dataset(samples, sources, parsed.name or str(path))


def _sample(given: _Sample, parsed: _File_, path: Path, tree: str | None) -> Sample:
    certified = str((path.parent / given.certified).absolute()) if given.certified else None
    values = given.model_dump(exclude={"files", "certified", "tree", "luminosity_ifb"})
    return Sample(
        **values,
        certified=certified,
        tree=tree or given.tree,
        luminosity_ifb=given.luminosity_ifb or parsed.luminosity_ifb,
    )


def _sources(sample: _Sample, path: Path, access: Access | None) -> Iterable[Source]:
    for entry in sample.files:
        file = _File(path=entry) if isinstance(entry, str) else entry
        found_here = _paths(str(path.parent / file.path)) if access is None else _paths_there(access, file.path)
        for found in found_here:
            yield Source(found, sample.name, file.tree, file.entries)


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith(("function", "_")))
    hint = ""
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), [*_Sample.model_fields, "schema", "samples"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"  {where}: {error['msg']}{hint}"
