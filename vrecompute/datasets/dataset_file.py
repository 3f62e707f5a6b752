"""A dataset file: samples and their files as YAML says them, checked whole before any file is looked for.

The dialect and its messages are those of site files. A file may have 32 MiB, a million values and 32 levels.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from vrecompute.config import marked_yaml
from vrecompute.config.check import as_problem, check, json_schema, mark_of, without_null
from vrecompute.config.marked_yaml import Bounds, Node, Problem, ScalarNode, decoded, parse_yaml, plain
from vrecompute.config.spelling import Flag, Spelling, VersionNumber, read_text, shown
from vrecompute.datasets.checksum import ALGORITHMS, checksum_of
from vrecompute.datasets.dataset import SAMPLE_NAME, Unit, check_sample_name
from vrecompute.errors import DatasetError
from vrecompute.regular_file import read_regular

if TYPE_CHECKING:
    from pydantic_core.core_schema import CoreSchema

__all__ = ["BOUNDS", "DatasetFile", "FileEntry", "SampleEntry", "dataset_schema", "parse_dataset", "read_dataset"]

BOUNDS = Bounds(32 * 2**20, 1_000_000, "dataset")
#: More than these help no one who mends a file.
MAX_PROBLEMS = 20
#: No file system takes a longer path, no file has more events.
_MAX_PATH_BYTES, _MAX_ENTRIES = 4096, 10**15
_MAX_TEXT = 1000


def _read_line(value: object) -> str:
    text = read_text(value)
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{len(text)} letters; write at most {_MAX_TEXT}")
    return text


def _read_sample_name(value: object) -> str:
    text = read_text(value)
    check_sample_name(text)
    return text


def _read_path(value: object) -> str:
    if not isinstance(value, str):
        return read_text(value)
    if not value.strip():
        raise ValueError("empty; write the path of a file, a folder or a pattern")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("holds a line break, a NUL or another control character; no path can be read like that")
    if len(value.encode()) > _MAX_PATH_BYTES:
        raise ValueError(f"longer than the {_MAX_PATH_BYTES} bytes that a path may have; write a shorter one")
    return value


def _read_number(value: object) -> float:
    """A finite number; YAML gives no other."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    digits = value.replace("_", "").replace(",", ".") if isinstance(value, str) else ""
    hint = f"did you mean {digits}?" if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", digits) else "write digits"
    raise ValueError(f"expected a number, such as 1.9e3, found {shown(value)}; {hint}")


def _read_positive(value: object) -> float:
    number = _read_number(value)
    if number <= 0:
        raise ValueError(f"expected a number greater than 0, found {shown(value)}")
    return number


def _read_nonzero(value: object) -> float:
    number = _read_number(value)
    if number == 0:
        raise ValueError("a sum of weights of 0 normalises nothing; leave it out to have it summed from the files")
    return number


def _read_entries(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ENTRIES:
        return value
    digits = re.sub(r"[_, ]", "", value) if isinstance(value, str) else ""
    hint = f"; did you mean {int(digits)}?" if re.fullmatch(r"[0-9]{1,15}", digits) else ""
    raise ValueError(f"expected a whole number from 0 up, found {shown(value)}{hint}")


def _read_checksum(algorithm: str) -> Callable[[object], str]:
    return lambda value: checksum_of(algorithm, value)


def _hexadecimal(algorithm: str) -> dict[str, str]:
    return {"type": "string", "pattern": f"^[0-9A-Fa-f]{{{ALGORITHMS[algorithm]}}}$"}


def _read_scalar(value: object) -> object:
    if isinstance(value, (dict, list)) or value is None:
        raise ValueError(f"expected text, a number, true or false, found {shown(value)}")
    return value


class _PathOrMapping:
    """A file as its path alone, or as a mapping."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._as_mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(schema)]}

    @staticmethod
    def _as_mapping(value: object) -> object:
        if not isinstance(value, (str, dict)):
            raise ValueError(f"expected a path or {{path: ..., entries: ...}}, found {shown(value)}")
        if isinstance(value, str):
            return {"path": value}
        # what went through here is no JSON any more, in which lists become tuples
        return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}


_TEXT = {"type": "string", "minLength": 1}
_Line = Annotated[str, Spelling("text", _read_line, _TEXT | {"maxLength": _MAX_TEXT})]
_Path = Annotated[str, Spelling("path", _read_path, _TEXT)]
_Name = Annotated[str, Spelling("name", _read_sample_name, {"type": "string", "pattern": f"^{SAMPLE_NAME}$"})]
_Positive = Annotated[float, Spelling("number", _read_positive, {"type": "number", "exclusiveMinimum": 0})]
_NonZero = Annotated[float, Spelling("number", _read_nonzero, {"type": "number", "not": {"const": 0}})]
_Entries = Annotated[
    int, Spelling("whole number", _read_entries, {"type": "integer", "minimum": 0, "maximum": _MAX_ENTRIES})
]
_Sha256 = Annotated[str, Spelling("64 hexadecimal digits", _read_checksum("sha256"), _hexadecimal("sha256"))]
_Adler32 = Annotated[str, Spelling("8 hexadecimal digits", _read_checksum("adler32"), _hexadecimal("adler32"))]
_Scalar = Annotated[
    Any, Spelling("text, number, true or false", _read_scalar, {"type": ["string", "number", "boolean"]})
]


def _says(sentence: str) -> dict[str, str]:
    return {"description": sentence}


class _Section:
    """Unknown keys are errors."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class FileEntry(_Section):
    """What a file, a folder or a pattern of files is said to hold."""

    path: _Path = field(metadata=_says("A file, a folder or a pattern, relative to this file."))
    entries: _Entries | None = field(default=None, metadata=_says("Events of each file; any other number is an error."))
    tree: _Line | None = field(default=None, metadata=_says("Name of the tree; the default is the sample's."))
    sha256: _Sha256 | None = field(default=None, metadata=_says("sha256 of the whole file, read once to compare."))
    adler32: _Adler32 | None = field(
        default=None, metadata=_says("adler32 of the whole file, where no sha256 is given.")
    )

    size_bytes: _Entries | None = field(default=None, metadata=_says("Size of the file; any other is an error."))
    replicas: tuple[_Path, ...] = field(
        default=(), metadata=_says("Other addresses of the same file, each read where the ones before fail.")
    )

    @property
    def checksum(self) -> str | None:
        """The stronger of the checksums that are given, as `algorithm:digits`."""
        return self.sha256 or self.adler32


@dataclass(frozen=True, kw_only=True)
class SampleEntry(_Section):
    """One physics sample; see `vrecompute.datasets.dataset.Sample`."""

    name: _Name = field(metadata=_says("Letters, digits, '_', '.', '-', '+' and ':'; results are filed under it."))
    files: Annotated[tuple[Annotated[FileEntry, _PathOrMapping()], ...], Field(min_length=1)] = field(
        metadata=_says("Its files, folders and patterns of files.")
    )
    is_data: Flag | None = field(
        default=None,
        metadata=_says("true for data, false for simulation; a sample with cross_section_pb or weight is simulation."),
    )
    unit: Unit | None = field(default=None, metadata=_says("Unit of momenta where the analysis cannot know it."))
    weight: _Line | None = field(default=None, metadata=_says("Column of generator weights."))
    tree: _Line | None = field(default=None, metadata=_says("Name of the tree in its files."))
    certified: _Path | None = field(
        default=None, metadata=_says("Golden JSON of certified luminosity sections, relative to this file.")
    )
    cross_section_pb: _Positive | None = field(default=None, metadata=_says("Cross-section in pb."))
    luminosity_ifb: _Positive | None = field(default=None, metadata=_says("Integrated luminosity in 1/fb."))
    sum_of_weights: _NonZero | None = field(
        default=None, metadata=_says("Sum of generator weights before any selection; summed from the files by default.")
    )
    metadata: Mapping[str, _Scalar] = field(default_factory=dict, metadata=_says("More that the analysis may use."))


@dataclass(frozen=True, kw_only=True)
class DatasetFile(_Section):
    """What a dataset file says."""

    schema: Annotated[Literal[1], VersionNumber()] = field(metadata=_says("Version of this format, 1."))
    name: _Line | None = field(default=None, metadata=_says("Name of the dataset; the default is the file's path."))
    luminosity_ifb: _Positive | None = field(
        default=None, metadata=_says("Integrated luminosity in 1/fb of samples that give none.")
    )
    samples: Annotated[tuple[SampleEntry, ...], Field(min_length=1)] = field(metadata=_says("The samples."))


def read_dataset(path: Path) -> DatasetFile:
    """What the file says; raises one DatasetError with every problem, each at its line and column."""
    try:
        raw = read_regular(path, BOUNDS.max_bytes)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_dataset(raw, str(path), path.parent)


def parse_dataset(raw: bytes, file: str, folder: Path | None = None) -> DatasetFile:
    """The same from the bytes of `file`; `folder` is where it lies on this machine, None where on another."""
    text, problems = decoded(raw, file, BOUNDS)
    tree = None
    if not problems:
        tree, problems = parse_yaml(text, file, BOUNDS)
    found: DatasetFile | None = None
    if tree is not None:
        checked = check(DatasetFile, without_null(plain(tree)))
        found = checked.value
        # what is wrong in form already needs no second message about its value
        said = {problem.mark for problem in problems}
        more = [*(as_problem(tree, fault) for fault in checked.faults), *_repeated_names(tree)]
        if folder is not None and found is not None:
            more += _unreadable_lists(tree, found, folder)
        problems += (problem for problem in more if problem.mark not in said)
    if problems or found is None:
        unique = sorted(set(problems))
        lines = [f"  {problem}" for problem in unique[:MAX_PROBLEMS]]
        count = f"{len(unique)} problem{'s' * (len(unique) > 1)}"
        if len(unique) > MAX_PROBLEMS:
            count = f"more than {MAX_PROBLEMS} problems; the first"
        raise DatasetError(f"dataset file {file} has {count}:\n" + "\n".join(lines))
    return found


def _repeated_names(tree: Node) -> list[Problem]:
    first: dict[object, ScalarNode] = {}
    problems = []
    samples = tree.entries.get("samples") if isinstance(tree, marked_yaml.MappingNode) else None
    for sample in samples.node.items if samples and isinstance(samples.node, marked_yaml.SequenceNode) else ():
        entry = sample.entries.get("name") if isinstance(sample, marked_yaml.MappingNode) else None
        if entry is None or not isinstance(name := entry.node, ScalarNode) or name.value is None:
            continue
        if first.setdefault(name.value, name) is not name:
            line = first[name.value].mark.line
            problems.append(Problem(name.mark, f"two samples are called {shown(name.value)}, the other on line {line}"))
    return problems


def _unreadable_lists(tree: Node, found: DatasetFile, folder: Path) -> list[Problem]:
    """Golden JSONs that reading would wait for, or never end with; one that is absent says so when it is needed."""
    problems = []
    for number, sample in enumerate(found.samples):
        path = folder / (sample.certified or "")
        # os.path, since a name that is too long is not there either
        if sample.certified and os.path.exists(path) and not os.path.isfile(path):
            mark = mark_of(tree, ("samples", number, "certified"))
            problems.append(
                Problem(mark, f"samples[{number}].certified: {path} is not a regular file; name a golden JSON")
            )
    return problems


def dataset_schema() -> dict[str, Any]:
    """The JSON schema of a dataset file, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | json_schema(DatasetFile) | {"title": "A dataset of vrecompute"}


if __name__ == "__main__":
    print(json.dumps(dataset_schema(), indent=2))
