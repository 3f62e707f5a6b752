"""Compile everything that a worker runs before it is needed: for images and nodes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.analysis.loading import load_analysis
from vrecompute.analysis.machinery import machinery
from vrecompute.errors import UsageError, VrecomputeError
from vrecompute.kernels import CACHE_VARIABLE
from vrecompute.kernels.cache import cache_folder
from vrecompute.plugins import ANALYSES, installed

__all__ = ["Warmed", "warm"]


class Warmed(tuple[str, float, str]):
    """(what, CPU seconds, why not): one thing that was compiled, or could not be."""

    __slots__ = ()

    what = property(lambda self: self[0])
    cpu_s = property(lambda self: self[1])
    trouble = property(lambda self: self[2])


def warm(directory: Path | None = None, analyses: Iterable[str] | None = None) -> Iterator[Warmed]:
    """Compile the reader and `analyses` (all that are installed) into `directory`, one thing after the other.

    `directory` is what workers will have in `$VRECOMPUTE_CACHE`; None is what this process has. What this
    process has compiled before is not compiled again, so warm a folder from a fresh process. An analysis
    that cannot be rehearsed is named and left out. Raises UsageError where the folder cannot be written, and before
    anything is compiled where an analysis that was named cannot be loaded.
    """
    if directory is not None:
        os.environ[CACHE_VARIABLE] = str(directory.absolute())
    given = os.environ.get(CACHE_VARIABLE)
    if given and cache_folder().parent != Path(given).expanduser():
        raise UsageError(f"{given} cannot be written; name another folder")
    named = None if analyses is None else list(analyses)
    for name in named or ():
        load_analysis(name, {})
    yield _timed("reader", _read_everything)
    for name in installed(ANALYSES) if named is None else named:
        yield _timed(name, partial(_rehearse, name))


def _rehearse(analysis: str) -> None:
    load_analysis(analysis, {})[0].rehearse()


def _timed(what: str, work: Callable[[], Any]) -> Warmed:
    began, trouble = time.process_time(), ""
    try:
        work()
    except VrecomputeError as error:
        trouble = str(error)
    return Warmed((what, time.process_time() - began, trouble))


def _read_everything() -> None:
    """Read a few events of every codec and layout, and merge and keep what a task would."""
    import awkward as ak
    import uproot

    from vrecompute import reader
    from vrecompute.scratch import scratch

    # Two lists per event in two clusters: baskets, pages, counts, offsets and fixed-size arrays are all met.
    lists = ak.values_astype(ak.Array([[1.0, 2.0], [], [3.0]] * 40), np.float32)
    block = {"x": np.arange(120.0), "n": np.arange(120, dtype=np.int32), "flag": np.arange(120) % 2 == 0}
    codecs = (None, uproot.ZLIB(1), uproot.LZ4(1), uproot.ZSTD(1), uproot.LZMA(1))
    with scratch("warm") as folder:
        for number, codec in enumerate(codecs):
            tree, ntuple = f"{folder}/{number}.root", f"{folder}/{number}-rntuple.root"
            with uproot.recreate(tree, compression=codec) as file:
                content = {
                    **block,
                    "pair": np.zeros((120, 2), dtype=np.int16),
                    "L": ak.zip({"pt": lists, "eta": lists}),
                }
                file.mktree("Events", {name: _type(values) for name, values in content.items()})
                for _ in range(2):
                    file["Events"].extend(content)
            with uproot.recreate(ntuple, compression=codec) as file:
                content = {**block, "pt": lists}
                pages = file.mkrntuple("Events", content)
                pages.extend(content)
            for path in (tree, ntuple):
                facts = reader.inspect(path)
                columns = list(facts.available)
                table = reader.table_from_bytes(reader.table_to_bytes(reader.tabulate(path, None, columns)))
                reader.read(path, None, columns, 3, facts.entries - 3, table=table)
    _compile_what_no_file_here_has()
    machinery()  # each worker compares it with the Runner's


def _type(values: Any) -> Any:
    import awkward as ak

    return (values.dtype, values.shape[1:]) if isinstance(values, np.ndarray) else ak.type(values).content


def _compile_what_no_file_here_has() -> None:
    """What ROOT writes and uproot does not: vectors in baskets, and other types of counts and ends of lists."""
    from vrecompute.reader import codecs, kernels, lists

    empty, offsets = np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    kernels.decode_vectors(codecs.addresses(), empty, np.zeros((0, 5), dtype=np.int64), empty, 4, empty, offsets)
    for kind in ("i4", "u4", "u1"):
        lists.accumulate(np.zeros(0, dtype=kind), offsets)
    nothing = np.zeros(1, dtype=np.int64)
    for kind in ("u4", "u8"):
        lists.link(np.zeros(0, dtype=kind), 0, 0, nothing, nothing, offsets)
