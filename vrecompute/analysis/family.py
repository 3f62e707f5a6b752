"""The modules that one FILE.py brings with it, also those that its functions import when they are called.

Code of a family finds the others of it by name, whatever the session has imported by these names, and the session
keeps its own. What a function imports is loaded when it is first called or digested, and belongs to the family then.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import sys
import threading
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from threading import get_ident
from types import CodeType, FunctionType, ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.asking import is_a, module_of
from vrecompute.analysis.coderange import absolute, is_library_file, is_user, package_of
from vrecompute.analysis.compilercache import compile_anew
from vrecompute.analysis.importreads import files_read, stamp_of
from vrecompute.digest import sha256_of

__all__ = [
    "Family",
    "all_imported",
    "belongs",
    "file_name",
    "find",
    "imported",
    "is_of_family",
    "loaded",
    "prefer",
    "scope_of",
    "spec_of",
    "submodule",
]

_LOCK = threading.RLock()


class Family:
    """`modules` by name of those in `folder` and others of the user's whose first names are `tops`.

    `texts` are the sha256 of files that are known to belong to it; `is_edited` says that one of them was another when
    it was imported. `read` are files that were read when a module was imported, and those of modules that no text
    names, with their stamps. `changed` is called when these have become more.
    """

    def __init__(self, folder: Path, tops: set[str], texts: Mapping[str, str]) -> None:
        self.folder, self.tops, self.texts = folder, tops, texts
        self.changed: Callable[[], None] = lambda: None
        self.is_edited = False
        self.modules: dict[str, ModuleType] = {}
        self.read: dict[str, Any] = {}
        self.builtins = {**vars(builtins), "__import__": self._import}
        self.sources: dict[str, tuple[str, Any]] = {}  # what was loaded: the sha256 and the stamp of a file
        self._thread: int | None = None  # in which it is being loaded

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Imports meanwhile are of this family; what others have by its names stays theirs."""
        with _LOCK:
            outer, thread = (_finder.family, _finder.is_first), self._thread
            others = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in self.tops}
            for name in others:
                del sys.modules[name]
            sys.modules.update(self.modules)
            _finder.put(self, is_first=True)
            self._thread = get_ident()
            try:
                with files_read() as read:
                    yield
            finally:
                self._thread = thread
                _finder.put(*outer)
                found = {n: m for n, m in list(sys.modules.items()) if n.partition(".")[0] in self.tops}
                self.modules.update(found)
                for name in found:
                    del sys.modules[name]
                sys.modules.update(others)
                self.show()
                if _finder.family is not None:
                    _finder.family.show()
                self._tell(read)

    def show(self) -> None:
        """Let the session find them by name, but for those that the user has imported by that name."""
        users = {n.partition(".")[0] for n in self.modules if n in sys.modules and not is_of_family(sys.modules[n])}
        sys.modules.update({n: m for n, m in self.modules.items() if n.partition(".")[0] not in users})

    def files(self) -> dict[str, Path]:
        """The files of what was loaded, by path in a folder of their own."""
        found = {}
        for name, module in self.modules.items():
            if (file := Path(str(getattr(module, "__file__", None) or ""))).suffix == ".py":
                found[file_name(name, file)] = file
        return found

    def has(self, name: str) -> bool:
        """Whether a module of this absolute name is of the family, be it loaded or not."""
        top = name.partition(".")[0]
        return top in self.tops or (top != "__main__" and find(top, self.folder) is not None)

    def module(self, name: str) -> ModuleType:
        """The module of that name, imported if it was not; raises what importing it does."""
        if name not in self.modules:
            self.tops.add(name.partition(".")[0])
            if self._thread == get_ident():
                return importlib.import_module(name)
            with self.loading():
                importlib.import_module(name)
        return self.modules[name]

    def _tell(self, read: Mapping[str, Any]) -> None:
        sources, self.sources = self.sources, {}
        unknown = {file: stamp for file, (_, stamp) in sources.items() if file not in self.texts}
        self.is_edited |= any(self.texts.get(file, sha256) != sha256 for file, (sha256, _) in sources.items())
        self.read.update({**read, **unknown})
        self.changed()

    def _import(
        self,
        name: str,
        members: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """`builtins.__import__` of the family's code."""
        full = absolute("." * level + name, package_of(members or {})) if level else name
        if self._thread == get_ident() or not self.has(full):
            return builtins.__import__(name, members, variables, names, level)
        module = self.module(full)
        for inner in names or ():
            if inner == "*" or hasattr(module, inner) or not hasattr(module, "__path__"):
                continue
            if find(f"{full}.{inner}", self.folder) is not None:
                self.module(f"{full}.{inner}")
        return module if names or level else self.modules[full.partition(".")[0]]


def imported(name: str, members: Mapping[str, Any]) -> ModuleType:
    """What code whose globals are `members` imports by an absolute name; raises what importing it does."""
    family = _family_of(members)
    return importlib.import_module(name) if family is None or not family.has(name) else family.module(name)


def all_imported(
    names: Iterable[str], members: Mapping[str, Any], counts: Callable[[str], bool]
) -> dict[str, ModuleType | None]:
    """By name the modules that such code imports; None for a library, or what cannot be imported.

    All of them are imported before any is looked at: a package has the names of those of its modules that are.
    """
    found: dict[str, ModuleType | None] = {}
    for name in sorted(names):
        try:
            found[name] = imported(name, members) if belongs(name, members) or counts(name) else None
        except ImportError:
            found[name] = None
    return found


def belongs(name: str, members: Mapping[str, Any]) -> bool:
    """Whether such code has that module from its own family."""
    family = _family_of(members)
    return family is not None and family.has(name)


def submodule(module: ModuleType, name: str) -> ModuleType | None:
    """A module of a package, as `from package import name` would find it."""
    members = vars(module)
    try:
        return imported(f"{module.__name__}.{name}", members) if "__path__" in members else None
    except ImportError:
        return None


def loaded(name: str, members: Mapping[str, Any]) -> Any:
    """The same where it was imported before; None where it was not."""
    family = _family_of(members)
    return sys.modules.get(name) if family is None else family.modules.get(name, sys.modules.get(name))


def scope_of(thing: Any) -> Mapping[str, Any]:
    """The globals of the module that a function, or an object's class, is of."""
    if is_a(thing, FunctionType):
        members: Mapping[str, Any] = thing.__globals__
        return members
    cls = thing if is_a(thing, type) else type(thing)
    return getattr(sys.modules.get(module_of(cls)), "__dict__", {})


def is_of_family(module: Any) -> bool:
    """Whether a module came with an analysis file; not one that the user imported."""
    return _family_of(getattr(module, "__dict__", {})) is not None


def prefer(family: Family) -> None:
    """Modules that are found nowhere else are those beside this family's file, from now on.

    What a function of an earlier one imported is imported anew, also where a text that is made then names it.
    """
    with _LOCK:
        for name, module in list(sys.modules.items()):
            top = name.partition(".")[0]
            if top in family.tops and name not in family.modules and is_of_family(module):
                with contextlib.suppress(Exception):  # who imports it gets the error
                    family.module(name)
        family.show()
        _finder.put(family, is_first=_finder.is_first)


def _family_of(members: Mapping[str, Any]) -> Family | None:
    family = getattr(members.get("__spec__"), "loader_state", None)
    return family if isinstance(family, Family) else None


class _Loader(SourceFileLoader):
    """Loads what the file says: what Python compiled before may be of a text of the same second and length."""

    text = ""

    def __init__(self, name: str, path: str, family: Family) -> None:
        super().__init__(name, path)
        self.family = family

    def get_code(self, fullname: str) -> CodeType:
        stamp = stamp_of(self.path)
        data = self.get_data(self.path)
        code: CodeType = self.source_to_code(data, self.path)
        with tokenize.open(self.path) as file:
            self.text = file.read()
        sourcetext.keep(self.path, self.text)
        self.family.sources[self.path] = sha256_of(data), stamp
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.family.builtins
        super().exec_module(module)


class _Finder:
    """Finds modules beside the analysis file that was loaded last: before others only while it is being loaded."""

    family: Family | None = None
    is_first = False

    def put(self, family: Family | None, is_first: bool) -> None:
        self.family, self.is_first = family, is_first
        sys.meta_path.remove(self)
        sys.meta_path.insert(0 if is_first else len(sys.meta_path), self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        family = self.family
        if family is None:
            return None
        folder = family.folder
        for base in [folder] if path is None else [Path(p) for p in path if Path(p).is_relative_to(folder)]:
            if (file := _file_in(base, name.rpartition(".")[2])) is None or (path is None and _is_library(name)):
                continue
            if file.suffix == ".py":
                return spec_of(name, str(file), family)
            spec = ModuleSpec(name, None, is_package=True, loader_state=family)
            spec.submodule_search_locations = [str(file)]
            return spec
        if not self.is_first or name.partition(".")[0] not in family.tops:
            return None
        elsewhere = PathFinder.find_spec(name, path)
        if (
            elsewhere is None
            or type(elsewhere.loader) is not SourceFileLoader
            or is_library_file(elsewhere.origin or "")
        ):
            return elsewhere
        return spec_of(name, str(elsewhere.origin), family)


def spec_of(name: str, file: str, family: Family) -> ModuleSpec:
    """By what a module of a family is made."""
    spec = spec_from_file_location(name, file, loader=_Loader(name, file, family))
    assert spec is not None
    spec.loader_state = family
    return spec


_finder = _Finder()
sys.meta_path.append(_finder)
compile_anew(lambda members: _family_of(members) is not None)


def file_name(module: str, file: Path) -> str:
    """The path of a module's file in a folder where it is found by its name."""
    return module.replace(".", "/") + ("/__init__.py" if file.name == "__init__.py" else ".py")


def find(module: str, folder: Path) -> Path | None:
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


def _is_library(name: str) -> bool:
    """Whether a module is a standard or an installed one, or of vrecompute."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top.startswith("vrecompute"):
        return True
    installed = [p for p in sys.path if is_library_file(f"{p}/x")]
    return PathFinder.find_spec(top, installed) is not None


def _file_in(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder, or the folder itself of a package without one."""
    for file in (folder / name / "__init__.py", folder / f"{name}.py"):
        if file.is_file():
            return file
    return folder / name if (folder / name).is_dir() and any((folder / name).glob("*.py")) else None
