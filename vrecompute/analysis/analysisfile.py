"""`FILE.py` as a separate module, with the user's modules that it imports: those beside it, and others on the path.

A module beside the file is found without PYTHONPATH and never stands for an installed or a standard one. All of
them are loaded anew when the text of one of them has changed, or a file that one of them read when it was imported,
and from that text, not from what Python compiled before.
"""

from __future__ import annotations

import ast
import re
import sys
import threading
import tokenize
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.coderange import USER_MODULE, is_library_file, is_user, named_module
from vrecompute.analysis.importreads import files_read, stamp_of
from vrecompute.digest import sha256_json, sha256_of
from vrecompute.errors import StoreError, UsageError
from vrecompute.folders import make_folders
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_content
from vrecompute.wording import bytes_text

__all__ = ["load_file", "restore", "sources_of"]

# More is no text that a person wrote, and would take minutes, and gigabytes of memory, to be looked through.
_MOST_BYTES = 2 << 20
# The analysis file's name among those of modules, none of which can have it.
_FILE = "analysis-file.py"
_FUNCTION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*")
_SAFE = re.compile(r"([A-Za-z_]\w*/)*[A-Za-z_]\w*\.py")
_LOCK = threading.RLock()
# Modules by name that a file brought with it, by the file's own module.
_families: dict[str, dict[str, ModuleType]] = {}
# Other files that were read when it was imported, by the texts of a file and its modules.
_read: dict[str, dict[str, Any]] = {}


def load_file(path: Path) -> ModuleType:
    """The module of an analysis file as it is now; UsageError where it cannot be imported."""
    path = path.absolute()
    texts = {name: sha256_of(file.read_bytes()) for name, file in _family(path).items()}
    text = sha256_json([str(path), sha256_of(path.read_bytes()), texts])
    with _LOCK:
        if (name := _name(text, {file: stamp_of(file) for file in _read.get(text, ())})) not in _families:
            with files_read() as read:
                family = _load(name, path, {n.removesuffix(".py").partition("/")[0] for n in texts})
            _read[text] = read
            again = _name(text, read)  # what it is called while those files stay as they are
            sys.modules[again] = sys.modules[name]
            _families[name] = _families[again] = family
            name = again
        # Functions may import them when they are called.
        sys.modules.update({n: m for n, m in _families[name].items() if n not in sys.modules or _is_ours(n)})
        _finder.folder = path.parent
    return sys.modules[name]


def _name(text: str, read: Mapping[str, Any]) -> str:
    return f"{USER_MODULE}{sha256_json([text, dict(sorted(read.items()))])[:16]}"


def sources_of(path: Path) -> dict[str, Path]:
    """The files that another process needs to load an analysis file, by their paths in the folder of `restore`."""
    return {_FILE: path, **_family(path.absolute())}


def restore(store: Store, source_files: Mapping[str, str], folder: Path) -> Path | None:
    """The analysis file of a run, written into `folder` with what it imports; None where the run had none.

    `source_files` are store names by path in that folder. Each file is verified against its
    name. Raises StoreError for one that is damaged, or would lie elsewhere.
    """
    if _FILE not in source_files:
        return None
    for name, stored in source_files.items():
        if name != _FILE and not _SAFE.fullmatch(name):
            raise StoreError(f"{store.url}: {name!r} is no name of a source file; it is not written")
        target = folder / name
        make_folders(target.parent)
        target.write_bytes(read_content(store, stored))
    return folder / _FILE


def _load(name: str, path: Path, tops: set[str]) -> dict[str, ModuleType]:
    """Import the file, its modules afresh; those that the user had imported by these names stay the user's."""
    names = [n for n in sys.modules if n.partition(".")[0] in tops]
    users = {n: sys.modules[n] for n in names if not _is_ours(n)}
    for n in names:
        del sys.modules[n]
    spec = spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    _finder.folder = path.parent
    sys.meta_path.remove(_finder)
    sys.meta_path.insert(0, _finder)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"{path.name} cannot be imported: {_why(error, path)}") from error
    finally:
        sys.meta_path.remove(_finder)
        sys.meta_path.append(_finder)
        found = {n: m for n, m in list(sys.modules.items()) if n.partition(".")[0] in tops}
        sys.modules.update(users)
    return found


def _why(error: BaseException, path: Path) -> str:
    if not isinstance(error, SystemExit):
        return f"{type(error).__name__}: {error}"
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (
        f"it exits in line {own[-1]}, before its analysis can be used; "
        'what is for a script alone belongs under `if __name__ == "__main__":`'
    )


def _is_ours(name: str) -> bool:
    """Whether a module came with an analysis file, or is in a package that did; not one that the user imported."""
    top = sys.modules.get(name.partition(".")[0])
    known = any(top is module for family in _families.values() for module in family.values())
    return known or isinstance(getattr(getattr(top, "__spec__", None), "loader", None), _Loader)


class _Loader(SourceFileLoader):
    """Loads what the file says: what Python compiled before may be of a text of the same second and length."""

    text = ""

    def get_code(self, fullname: str) -> CodeType:
        data = self.get_data(self.path)
        code: CodeType = self.source_to_code(data, self.path)
        with tokenize.open(self.path) as file:
            self.text = file.read()
        sourcetext.keep(self.path, self.text)
        return code


class _Finder:
    """Finds modules beside the analysis file that was loaded last: before others only while it is being loaded."""

    folder: Path | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.folder is None:
            return None
        for base in [self.folder] if path is None else [Path(p) for p in path if Path(p).is_relative_to(self.folder)]:
            if (file := _file_in(base, name.rpartition(".")[2])) is None or (path is None and _is_library(name)):
                continue
            if file.suffix == ".py":
                return spec_from_file_location(name, file, loader=_Loader(name, str(file)))
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(file)]
            return spec
        return None


_finder = _Finder()
sys.meta_path.append(_finder)


def _file_in(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder, or the folder itself of a package without one."""
    for file in (folder / name / "__init__.py", folder / f"{name}.py"):
        if file.is_file():
            return file
    return folder / name if (folder / name).is_dir() and any((folder / name).glob("*.py")) else None


def _is_library(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top.startswith("vrecompute"):
        return True
    installed = [p for p in sys.path if is_library_file(f"{p}/x")]
    return PathFinder.find_spec(top, installed) is not None


def _family(path: Path) -> dict[str, Path]:
    """Files of the user's modules that a file imports, directly or not, by path in a folder of their own.

    Modules that are named in strings, as `finish` and `figures` are, count.
    """
    found: dict[str, Path] = {}
    waiting = [("", path)]
    seen = set()
    while waiting:
        name, file = waiting.pop()
        try:
            if (size := file.stat().st_size) > _MOST_BYTES:
                raise UsageError(
                    f"{file} has {bytes_text(size)}, and an analysis file, or a module beside it, has at most "
                    f"{bytes_text(_MOST_BYTES)}; put data into another file, and name that in `resources`"
                )
            with tokenize.open(file) as opened:
                tree = sourcetext.syntax_of(opened.read())
        except (SyntaxError, UnicodeDecodeError, RecursionError, MemoryError):  # the last two of what nests too deeply
            continue  # importing it says so
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
        for wanted in _named(tree, name, is_package=file.name == "__init__.py"):
            if wanted in seen:
                continue
            seen.add(wanted)
            if (place := _find(wanted, path.parent)) is not None and place.suffix == ".py":
                tail = "/__init__.py" if place.name == "__init__.py" else ".py"
                found[wanted.replace(".", "/") + tail] = place
                waiting.append((wanted, place))
    return dict(sorted(found.items()))


def _find(module: str, folder: Path) -> Path | None:
    """The file or folder of a user's module, beside the analysis file or on the path; nothing is imported."""
    top, *inner = module.split(".")
    if _is_library(top):
        return None
    place = _file_in(folder, top)
    if place is None:
        spec = PathFinder.find_spec(top)
        if spec is None or spec.origin is None or not is_user(top, spec.origin):
            return None
        place = Path(spec.origin)
    for name in inner:
        within = place.parent if place.name == "__init__.py" else place
        place = _file_in(within, name) if within.is_dir() else None
        if place is None:
            return None
    return place


def _named(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Absolute names of all modules that a text may import, with the packages they are in."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*filter(None, parts), *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            names = [named] if (named := named_module(node, package)) else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [match[1]] if (match := _FUNCTION.fullmatch(node.value)) else []
        for name in names:
            pieces = name.split(".")
            yield from (".".join(pieces[:n]) for n in range(1, len(pieces) + 1) if all(pieces[:n]))
