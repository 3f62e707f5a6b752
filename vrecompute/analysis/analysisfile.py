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
from collections.abc import Iterator, Mapping
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.coderange import USER_MODULE, named_module
from vrecompute.analysis.family import Family, file_name, find, prefer, spec_of
from vrecompute.analysis.importreads import stamp_of
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
# The modules of files with what they brought, by the name of their texts and of the files that they read.
_known: dict[str, tuple[ModuleType, Family]] = {}
# Other files that were read when it was imported, by the texts of a file and its modules.
_read: dict[str, dict[str, Any]] = {}
_latest: dict[Path, Family] = {}


def load_file(path: Path) -> ModuleType:
    """The module of an analysis file as it is now; UsageError where it cannot be imported."""
    path = path.absolute()
    files = _files_of(path)
    texts = {name: sha256_of(file.read_bytes()) for name, file in files.items()}
    own = sha256_of(path.read_bytes())
    text = sha256_json([str(path), own, texts])
    with _LOCK:
        name = _name(text, {file: stamp_of(file) for file in _read.get(text, ())})
        if name not in _known:
            tops = {each.removesuffix(".py").partition("/")[0] for each in texts}
            family = Family(path.parent, tops, {str(path): own, **{str(files[n]): texts[n] for n in files}})
            module = _load(name, path, family)
            _know(name, text, module, family)
            # what it is called while the files that were read by now stay as they are
            family.changed = lambda: _know(_name(text, family.read), text, module, family)
            family.changed()
        else:
            module, family = _known[name]
        _latest[path] = family
        # Functions may import them when they are called, by a name that is made then.
        prefer(family)
    return module


def _name(text: str, read: Mapping[str, Any]) -> str:
    return f"{USER_MODULE}{sha256_json([text, dict(sorted(read.items()))])[:16]}"


def _know(name: str, text: str, module: ModuleType, family: Family) -> None:
    """Take a module for that of a name from now on, unless a text was edited while it was being imported."""
    _read[text] = family.read
    sys.modules[name] = module
    _known[name] = module, family
    if family.is_edited:
        for each in [each for each, (known, _) in _known.items() if known is module]:
            del _known[each]


def sources_of(path: Path) -> dict[str, Path]:
    """The files that another process needs to load an analysis file, by their paths in the folder of `restore`.

    Those of modules that no text names are among them once the code of the loaded analysis was asked for.
    """
    path = path.absolute()
    late = _latest[path].files() if path in _latest else {}
    return {_FILE: path, **late, **_files_of(path)}


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


def _load(name: str, path: Path, family: Family) -> ModuleType:
    """Import the file, its modules afresh; those that the user had imported by these names stay the user's."""
    spec = spec_of(name, str(path), family)
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with family.loading():
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"{path.name} cannot be imported: {_why(error, path)}") from error
    return module


def _why(error: BaseException, path: Path) -> str:
    if not isinstance(error, SystemExit):
        return f"{type(error).__name__}: {error}"
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (
        f"it exits in line {own[-1]}, before its analysis can be used; "
        'what is for a script alone belongs under `if __name__ == "__main__":`'
    )


def _files_of(path: Path) -> dict[str, Path]:
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
            if (archive := next((folder for folder in file.parents if folder.is_file()), None)) is not None:
                raise UsageError(
                    f"{path.name} imports {name}, which lies in the archive {archive}; workers get the files of "
                    "modules, and this is none: unpack it, and put that folder on the path, or install what is in it"
                ) from error
            raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
        for wanted in _named(tree, name, is_package=file.name == "__init__.py"):
            if wanted in seen:
                continue
            seen.add(wanted)
            if (place := find(wanted, path.parent)) is not None and place.suffix == ".py":
                found[file_name(wanted, place)] = place
                waiting.append((wanted, place))
    return dict(sorted(found.items()))


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
