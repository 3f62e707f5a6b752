"""Which analysis is meant: an installed one by name, one in a source file, a class or an instance."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from vrecompute.analysis import Analysis
from vrecompute.analysis.analysisfile import load_file
from vrecompute.digest import file_sha256
from vrecompute.errors import UsageError
from vrecompute.nearest import hint
from vrecompute.plugins import ANALYSES, installed

__all__ = ["Origin", "check_needs", "load_analysis", "reload_analysis"]


@dataclass(frozen=True)
class Origin:
    """Where the code of an analysis comes from: installed under `name`, class `name` of a file, or this process alone.

    `sha256` is that of the file.
    """

    kind: Literal["installed", "file", "live"]
    name: str
    sha256: str = ""


def load_analysis(given: str | type[Analysis] | Analysis, parameters: Mapping[str, Any]) -> tuple[Analysis, Origin]:
    """An analysis with parameters, and where its code comes from.

    `given` is an installed name, a path `file.py` or `file.py:Class`, a class, or an instance (which brings
    its own parameters). Raises UsageError where it names nothing, ParameterError for a wrong parameter.
    """
    if isinstance(given, Analysis):
        return given, _origin_of(_with_functions(type(given)))
    if isinstance(given, type):
        return given(**parameters), _origin_of(_with_functions(given))
    known = installed(ANALYSES)
    if given in known:
        return _loaded(known[given])(**parameters), Origin("installed", given)
    if given.partition(":")[0].endswith(".py"):
        path, _, wanted = given.partition(":")
        found = _class_in_file(Path(path), wanted)
        return found(**parameters), Origin("file", found.__name__, file_sha256(Path(path)))
    names = ", ".join(known) or "none"
    raise UsageError(f"there is no analysis {given!r} (installed: {names}){hint(given, known)}")


def check_needs(analysis: Analysis) -> None:
    """UsageError where a module is not installed here that the analysis `needs`."""
    for module, package in analysis.needs().items():
        if find_spec(module) is None:
            raise UsageError(
                f"analysis {analysis.name!r} with these parameters needs {module}: pip install '{package}'"
            )


def reload_analysis(origin: Origin, parameters: Mapping[str, Any], source: Path | None = None) -> Analysis:
    """The analysis of an `origin` in another process; UsageError where only its first process had the code.

    `source` is the verified source file of an analysis that comes from one.
    """
    if origin.kind == "installed":
        return load_analysis(origin.name, parameters)[0]
    if origin.kind == "file" and source is not None:
        if file_sha256(source) != origin.sha256:
            raise UsageError(f"{source} differs from the source of this run (sha256 {origin.sha256}); it was not run")
        return _class_in_file(source, origin.name)(**parameters)
    raise UsageError(
        "the analysis of this run was defined in a notebook or script that has ended; run it again there: "
        "finished chunks are reused"
    )


def _loaded(point: EntryPoint) -> type[Analysis]:
    try:
        found: type[Analysis] = point.load()
    except ImportError as error:
        raise UsageError(f"analysis {point.name!r} cannot be loaded: {error}; install its extra") from error
    except SystemExit as error:
        raise UsageError(f"analysis {point.name!r} cannot be loaded: its module {point.module} exits") from error
    return found


def _origin_of(cls: type[Analysis]) -> Origin:
    for name, point in installed(ANALYSES).items():
        if point.value == f"{cls.__module__}:{cls.__qualname__}":
            return Origin("installed", name)
    return Origin("live", f"{cls.__module__}:{cls.__qualname__}")


def _class_in_file(path: Path, wanted: str) -> type[Analysis]:
    if not os.path.isfile(path):  # where Path.is_file() raises OSError: a name may be too long
        raise UsageError(f"{path}: there is no such analysis file")
    module = load_file(path)
    own: dict[str, type[Analysis]] = {
        name: value
        for name, value in vars(module).items()
        if issubclass(type(value), type) and issubclass(value, Analysis) and value.__module__ == module.__name__
    }
    if wanted in own:
        return _with_functions(own[wanted], path)
    if not wanted and len(own) == 1:
        return _with_functions(next(iter(own.values())), path)
    raise UsageError(
        f"{path} defines {', '.join(own) or 'no class derived from vrecompute.Analysis'}"
        + (f", not {wanted!r}" if wanted else "; name one as FILE.py:CLASS" if own else "")
    )


#: Functions beside the class that are its own, where it names none, and what they are called with.
_BESIDE = {"finish": "(results, analysis, context)", "figures": "(products, results, context)"}


def _with_functions(cls: type[Analysis], path: Path | None = None) -> type[Analysis]:
    """The class with `finish` and `figures` of the module that it is in, where it names no other; they stay outside its
    code.

    UsageError where one in the analysis file `path` cannot be called as it would be.
    """
    module = sys.modules.get(cls.__module__)
    for name, arguments in _BESIDE.items():
        function = vars(module).get(name) if module is not None else None
        if getattr(cls, f"{name}_function") is not None or not inspect.isfunction(function):
            continue
        try:
            inspect.signature(function).bind(None, None, None)
        except TypeError as error:
            if path is None:  # of a module or a notebook, where such a name may mean anything
                continue
            raise UsageError(
                f"{path}:{function.__code__.co_firstlineno}: {name} beside the analysis is called as "
                f"{name}{arguments}, and takes {inspect.signature(function)}; rename it if it is another function"
            ) from error
        setattr(cls, f"{name}_function", f"{cls.__module__}:{name}")
    return cls
