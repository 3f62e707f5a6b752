"""Results as data-only files: a ZIP of JSON and .npy members, specified in docs/result-format.md.

Histograms are written in the UHI serialization (schema 1), so `uhi.io.zip.read` and through it `hist`
and boost-histogram read them without vrecompute. Equal results give equal bytes: members are sorted and
stored with a fixed date, and no time, host or version is written.
"""

from __future__ import annotations

import io
import json
import math
import operator
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from vrecompute.digest import canonical_json
from vrecompute.errors import AnalysisError, DamagedObject, StoreError
from vrecompute.results.check import check_result
from vrecompute.results.result import Array, Result, TableSummary

__all__ = [
    "Completeness",
    "pack",
    "read_completeness",
    "read_results",
    "result_from_members",
    "result_members",
    "unpack",
    "write_results",
]

# Of results of all events, and of those of a run that says in them what it is.
_COMPLETE, _INCOMPLETE = 1, 2
_FORMAT = "vrecompute-results"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a ZIP can hold
# Keys of a UHI histogram that hold arrays, in storages and in axes.
_ARRAY_KEYS = ("counts", "edges", "indices", "sum_of_weights", "sum_of_weights_squared", "values", "variances")

# The sums that a mean is added up by, by the kind of its storage. UHI has variances instead, which a bin of one entry
# does not have, and of which sums are rounded.
_SUMS = {"mean": "_sum_of_deltas_squared", "weighted_mean": "_sum_of_weighted_deltas_squared"}

# What reading data of another shape than was written raises.
_GARBLED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
# Where the header of an .npy file of version 1.0 begins: after magic, version and its length.
_HEADER_AT = 10


@dataclass(frozen=True)
class Completeness:
    """How much of what a run was to see is in its results. `text` says it in words, with what is of unknown size."""

    status: str
    events_seen: int
    events_expected: int
    text: str


def write_results(results: Mapping[str, Result], completeness: Completeness | None = None) -> bytes:
    """The bytes of a results file: one directory per sample. Results that are not complete say so."""
    members: dict[str, bytes] = {}
    index = {}
    for number, sample in enumerate(sorted(results)):
        prefix = f"s{number}/"
        index[sample] = prefix
        members |= result_members(results[sample], prefix)
    head = {"format": _FORMAT, "version": _COMPLETE, "samples": index}
    if completeness is not None and completeness.status != "complete":
        head |= {"version": _INCOMPLETE, "completeness": asdict(completeness)}
    return pack({"results.json": canonical_json(head), **members})


def read_results(data: bytes) -> dict[str, Result]:
    """The results of a file's bytes, by sample; DamagedObject where they are damaged or of another format."""
    members = unpack(data)
    try:
        samples = dict(_head(members)["samples"].items())
    except _GARBLED as error:
        raise DamagedObject(f"a result file does not name its samples: {error}") from error
    return {sample: result_from_members(members, prefix) for sample, prefix in samples.items()}


def read_completeness(data: bytes) -> Completeness | None:
    """What a file's results say of how much they hold; None where they hold everything. DamagedObject as above."""
    head = _head(unpack(data))
    if head["version"] == _COMPLETE:
        return None
    try:
        said = head["completeness"]
        seen, expected = operator.index(said["events_seen"]), operator.index(said["events_expected"])
        return Completeness(str(said["status"]), seen, expected, str(said["text"]))
    except _GARBLED as error:
        raise DamagedObject(f"a result file does not say how complete it is: {error}") from error


def pack(members: Mapping[str, bytes]) -> bytes:
    """A ZIP of `members`, equal for equal members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name])
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a ZIP that `pack` wrote, each verified by its checksum; DamagedObject for any other.

    Members are stored as they are, each once, so that they take no more memory than `data`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
                raise ValueError("a member of the file is compressed, and vrecompute compresses none")
            if sum(m.file_size for m in members) > len(data) or len({m.filename for m in members}) != len(members):
                raise ValueError("its members are larger than the file")
            return {m.filename: archive.read(m) for m in members}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DamagedObject(f"not a readable result file: {error}") from error


def _head(members: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(members["results.json"])
        found = head.get("format"), head.get("version")
    except _GARBLED as error:
        raise DamagedObject(f"not a {_FORMAT} file: it has no readable results.json") from error
    if found not in {(_FORMAT, _COMPLETE), (_FORMAT, _INCOMPLETE)}:
        raise DamagedObject(
            f"a {_FORMAT} file of version {_COMPLETE} or {_INCOMPLETE} was expected, "
            f"and this is {found[0]!r} version {found[1]!r}"
        )
    return head


def result_members(result: Result, prefix: str = "") -> dict[str, bytes]:
    """The members that hold one Result below `prefix`."""
    if result.tables:
        raise StoreError("a result file cannot hold the rows of a skim table; they are kept in Parquet files")
    members: dict[str, bytes] = {}
    histograms = {}
    for number, name in enumerate(sorted(result.histograms)):
        path = f"{prefix}h{number}"
        histograms[name] = path
        members |= _histogram_members(result.histograms[name], path)
    arrays = {}
    for number, name in enumerate(sorted(result.arrays)):
        array = result.arrays[name]
        path = f"{prefix}a{number}.npy"
        arrays[name] = {"path": path, "merge": array.merge}
        members[path] = _npy(array.values)
    members[f"{prefix}result.json"] = canonical_json(
        {
            "histograms": histograms,
            "arrays": arrays,
            # Order of cuts and channels is part of a cutflow, and JSON objects sort: so pairs.
            "cutflow": [[channel, list(cuts.items())] for channel, cuts in result.cutflow.items()],
            "counters": result.counters,
            "tables": {name: table.to_data() for name, table in result.summaries.items()},
            "events": result.events,
            "sum_of_weights": result.sum_of_weights,
        }
    )
    return members


def result_from_members(members: Mapping[str, bytes], prefix: str = "") -> Result:
    """The Result that `result_members` wrote below `prefix`."""
    try:
        data = json.loads(members[f"{prefix}result.json"])
        result = Result(
            histograms={name: _histogram(members, path) for name, path in data["histograms"].items()},
            cutflow={channel: dict(cuts) for channel, cuts in data["cutflow"]},
            counters=data["counters"],
            arrays={n: Array(_array(members[a["path"]]), a["merge"]) for n, a in data["arrays"].items()},
            summaries={n: TableSummary.from_data(table) for n, table in data["tables"].items()},
            events=operator.index(data["events"]),
            sum_of_weights=data["sum_of_weights"],
        )
        if not math.isfinite(result.sum_of_weights):
            raise ValueError("the sum of weights is not finite")
        return check_result(result)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        AnalysisError,
    ) as error:
        raise DamagedObject(f"a result file has no readable {prefix or 'its root'}: {error}") from error


def _histogram_members(histogram: bh.Histogram[Any], path: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}

    def detach(block: Mapping[str, Any], stem: str) -> dict[str, Any]:
        plain = dict(block)
        for key in _ARRAY_KEYS:
            if isinstance(plain.get(key), np.ndarray):
                member = f"{stem}_{key}.npy"
                members[member] = _npy(plain[key])
                plain[key] = member
        return plain

    uhi = dict(histogram._to_uhi_())
    # Names the writing library's version, which a result must not depend on.
    uhi.pop("writer_info", None)
    if (sums := _SUMS.get(uhi["storage"]["type"])) is not None:
        view: Any = histogram.view(flow=True)
        members[_sums_member(path)] = _npy(np.asarray(view[sums]))
    uhi["storage"] = detach(uhi["storage"], f"{path}_storage")
    uhi["axes"] = [detach(axis, f"{path}_axis_{i}") for i, axis in enumerate(uhi["axes"])]
    for axis in uhi["axes"]:
        axis.pop("writer_info", None)
    members[f"{path}.json"] = canonical_json(uhi)
    return members


def _histogram(members: Mapping[str, bytes], path: str) -> bh.Histogram[Any]:
    uhi = json.loads(members[f"{path}.json"])
    for axis in uhi["axes"]:
        axis.pop("writer_info", None)
    for block in (uhi["storage"], *uhi["axes"]):
        for key in _ARRAY_KEYS:
            if isinstance(block.get(key), str):
                block[key] = _array(members[block[key]])
    # What an axis says of itself must not decide how much memory is taken.
    cells = math.prod(_bins(axis) for axis in uhi["axes"])
    if cells > max(np.size(uhi["storage"][key]) for key in _ARRAY_KEYS if key in uhi["storage"]):
        raise ValueError(f"histogram {path} has axes of {cells} bins, but another number of values")
    histogram: bh.Histogram[Any] = bh.Histogram._from_uhi_(uhi)
    if (sums := _SUMS.get(uhi["storage"]["type"])) is not None:
        view: Any = histogram.view(flow=True)
        written = members.get(_sums_member(path))
        view[sums] = _sums_of_variances(view, sums) if written is None else _array(written).reshape(view.shape)
    return histogram


def _sums_member(path: str) -> str:
    return f"{path}_sums_of_squares.npy"


def _sums_of_variances(view: Any, sums: str) -> NDArray[Any]:
    """The sums in a file that was written without: those of its variances, and 0 in bins with too few entries for one.

    Where such bins had been added up before, the file does not say what the sum was: that stays NaN.
    """
    few = view["count"] <= 1 if "count" in view.dtype.names else _is_one_weight(view)
    return np.where(few, 0.0, np.asarray(view[sums]))


def _is_one_weight(view: Any) -> NDArray[Any]:
    total, squared = np.asarray(view["sum_of_weights"]), np.asarray(view["sum_of_weights_squared"])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((total == 0) | (total == squared / total))


def _bins(axis: Mapping[str, Any]) -> int:
    for key, fewer in (("edges", 1), ("categories", 0)):
        if key in axis:
            return len(axis[key]) - fewer
    return 2 if axis["type"] == "boolean" else operator.index(axis["bins"])


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def _array(data: bytes) -> NDArray[Any]:
    """As `np.load`, which parses the header as Python anew for each of very many small arrays."""
    start = _HEADER_AT + int.from_bytes(data[_HEADER_AT - 2 : _HEADER_AT], "little")
    shape, dtype = _npy_header(data[:start])
    array: NDArray[Any] = np.frombuffer(data, dtype, offset=start).reshape(shape).copy()
    return array


@lru_cache(maxsize=1024)
def _npy_header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(head)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is in a version of the .npy format other than 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran or dtype.hasobject:
        raise ValueError(f"an array of {dtype} that vrecompute does not write")
    return shape, dtype
