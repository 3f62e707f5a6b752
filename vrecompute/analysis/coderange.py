"""Which code counts as the user's, which is a library's, and which names of others a function uses."""

from __future__ import annotations

import abc
import ast
import dis
import functools
import importlib.util
import inspect
import sys
import sysconfig
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.asking import attribute_of, is_a, module_of

__all__ = [
    "GENERATED",
    "GENERATORS",
    "MADE_BY_PYTHON",
    "USER_MODULE",
    "Uses",
    "absolute",
    "annotations_of",
    "content_of",
    "counts",
    "distribution_of",
    "file_of",
    "is_analysis",
    "is_dispatcher",
    "is_generated",
    "is_library_file",
    "is_user",
    "label_of",
    "leads_to",
    "named_module",
    "origin_of",
    "package_of",
    "python_of",
    "registered_with",
    "why_unknown",
    "without_bound",
    "written",
]

# Prefix of the modules that users' analysis files become.
USER_MODULE = "vrecompute_user_"
_OURS = frozenset({"vrecompute", "vrecompute_backends", "vrecompute_analyses"})
_STANDARD = tuple({f"{Path(sysconfig.get_path(name))}/" for name in ("stdlib", "platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MAIN = frozenset({"__main__", "__mp_main__"})
_DISPATCHER = functools.singledispatch(lambda x: None).__code__  # type: ignore[attr-defined]  # it is a function
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
# Members from which functions of a class were generated.
GENERATORS = ("__dataclass_fields__", "__attrs_attrs__", "_fields")
GENERATED = frozenset(
    {"__delattr__", "__eq__", "__ge__", "__getnewargs__", "__getstate__", "__gt__", "__hash__", "__init__", "__le__"}
    | {"__lt__", "__ne__", "__new__", "__replace__", "__repr__", "__setattr__", "__setstate__", "_asdict", "_make"}
    | {"_replace"}
)
# What every module has, of itself.
MADE_BY_PYTHON = frozenset(
    {"__annotations__", "__builtins__", "__cached__", "__file__", "__loader__", "__name__", "__package__", "__path__"}
    | {"__spec__", "__warningregistry__"}
)
# Names by which code reads what is written of other code.
_OF_TEXT = frozenset({"__doc__", "getcomments", "getdoc", "getsource", "getsourcelines"})


def is_library_file(file: str) -> bool:
    """Whether a file belongs to the standard library or to an installed package (an editable one is the user's)."""
    return file.startswith(("<frozen", *_STANDARD)) or not _INSTALLED.isdisjoint(Path(file).parts)


def is_generated(file: str) -> bool:
    """Whether a function's file says that no text of the user's made it."""
    return (file.startswith("<") and not file.startswith("<ipython-input")) or is_library_file(file)


def counts(module: object, own: str, file: str | None = None, *, dynamic: bool = False) -> bool:
    """Whether code of a module is identified by its content: the user's, and that of `own`, the analysis' package.

    `file` is where the code is from, if not where the module is. `dynamic`: the module's name does not lead to it.
    """
    top = str(module).partition(".")[0]
    if top in _OURS:
        return top == own != "vrecompute"
    return (top == own and top not in sys.stdlib_module_names) or is_user(str(module), file, dynamic=dynamic)


def is_user(module: str, file: str | None = None, *, dynamic: bool = False) -> bool:
    """Whether code is the user's, so that it has to travel to workers."""
    top = module.partition(".")[0]
    if module in _MAIN or module.startswith(USER_MODULE):
        return True
    if top in _OURS:
        return False
    if file is None and not dynamic:
        file = file_of(module)
    if file is None:
        return dynamic and top not in sys.stdlib_module_names
    return not is_library_file(file)


def is_analysis(cls: type) -> bool:
    """Whether a class is an `Analysis`."""
    return any(b.__name__ == "Analysis" and module_of(b).startswith("vrecompute.") for b in inspect.getmro(cls))


def is_dispatcher(value: Any) -> bool:
    """Whether functools.singledispatch made it: a function of the library around those that are registered."""
    return type(value) is FunctionType and value.__code__ is _DISPATCHER


def file_of(module: str) -> str | None:
    """The file of a module; of a package without one, where it would be."""
    if (loaded := sys.modules.get(module)) is not None:
        file: str | None = getattr(loaded, "__file__", None)
        return file or _in_folder(getattr(loaded, "__path__", None))
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin or _in_folder(spec.submodule_search_locations)


def _in_folder(folders: Any) -> str | None:
    try:
        return next((f"{each}/__init__.py" for each in folders or ()), None)
    except TypeError:  # a library has given it something else
        return None


def python_of(value: Any) -> FunctionType | None:
    """The function that numba compiled to a value; any other object that has one may be more than that."""
    if not any(module_of(cls).startswith("numba") for cls in inspect.getmro(type(value))):
        return None
    for holder in (value, attribute_of(value, "_dispatcher")):
        if is_a(function := attribute_of(holder, "py_func"), FunctionType):
            return function
    return None


def leads_to(value: Any, module: str, qualname: str) -> bool:
    """Whether a function or class is what its name in its module says."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = attribute_of(found, name)
    return found is value


def label_of(module: str) -> str:
    """What a module is called in names of parts: the analysis file or notebook `main`, whatever it is called.

    IPython takes its name from what `%run` has carried out, which is `?` then.
    """
    return "main" if module in _MAIN or module == "?" or module.startswith(USER_MODULE) else module


@lru_cache(maxsize=512)
def distribution_of(module: str) -> str | None:
    """The installed distribution that a module belongs to; None for the standard library."""
    top = module.partition(".")[0]
    if top in _OURS:
        return "vrecompute"
    if top in sys.stdlib_module_names or module in _MAIN:
        return None
    try:
        version(top)
        return top.replace("_", "-").lower()
    except PackageNotFoundError:
        return next(iter(sorted(_distributions().get(top, []))), None)


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@dataclass(frozen=True)
class Uses:
    """Names that a function takes from outside. A chain of attributes, `("cuts", "select")`, is used of a name;
    an empty one says that what it names is used as a whole. `imports` are by absolute module name. `text` says
    whether docstrings and comments are read. `names` are all that occur, also as texts. `named` are imports by a chain
    of names that holds the name of a module.
    """

    globals: set[str] = field(default_factory=set)
    attributes: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    imports: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    text: bool = False
    names: set[str] = field(default_factory=set)
    named: dict[tuple[str, ...], set[tuple[str, ...]]] = field(default_factory=dict)


# What is found in the text of a function, which stays as it is: each run of a worker asks for the same ones.
_texts: dict[tuple[int, str], tuple[sourcetext.Found, Any, Uses]] = {}
_MOST_TEXTS = 4096


def written(function: FunctionType, found: sourcetext.Found) -> tuple[Any, Uses]:
    """The syntax of a function as data, and what it uses."""
    key = id(found.node), str(function.__globals__.get("__package__") or function.__globals__.get("__name__"))
    if key not in _texts:
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        uses = _uses_of(function.__code__, found.node, function.__globals__)
        _texts[key] = found, sourcetext.canonical(found.node), uses
    return _texts[key][1:]


def without_bound(node: ast.AST, uses: Uses) -> Uses:
    """The same without names that are only bound anew: `math.pi = 3` does not read `math.pi`, nor does `setattr`."""
    parents = {id(child): parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
    read: dict[str, set[tuple[str, ...]]] = {}
    for name in ast.walk(node):
        if not isinstance(name, ast.Name):
            continue
        last: ast.AST = name
        while isinstance(parent := parents.get(id(last)), ast.Attribute):
            last = parent
        sets = isinstance(parent, ast.Call) and getattr(parent.func, "id", "") in ("setattr", "delattr")
        is_first = isinstance(parent, ast.Call) and parent.args[:1] == [last]
        is_bound = isinstance(last, ast.Attribute) and not isinstance(last.ctx, ast.Load)
        if not is_bound and not (sets and is_first):
            read.setdefault(name.id, set()).add(_chain(name, parents))
    return replace(uses, attributes={name: read.get(name, set()) for name in uses.attributes})


def _uses_of(code: CodeType, node: ast.AST, module: Mapping[str, Any]) -> Uses:
    """What a function uses, as its code and its syntax say; `module` are its globals."""
    names_in_text = {name for n in ast.walk(node) for name in _names(n)}
    uses = Uses(text=not _OF_TEXT.isdisjoint(names_in_text), names=names_in_text)
    for each in _codes(code):
        names_here = {i.argval for i in dis.get_instructions(each) if i.opname in _GLOBAL}
        uses.globals.update(names_here - MADE_BY_PYTHON)
    parents = {id(child): parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
    elsewhere = {n for each in ast.walk(node) if isinstance(each, ast.Global | ast.Nonlocal) for n in each.names}
    package = package_of(module)
    names: set[tuple[str, str]] = set()
    for each_node in ast.walk(node):
        if isinstance(each_node, ast.Name):
            uses.attributes.setdefault(each_node.id, set()).add(_chain(each_node, parents))
        elif isinstance(each_node, ast.Import):
            for alias in each_node.names:
                top = alias.name.partition(".")[0]  # which `import a.b` binds, with all that it has
                bound, name = (alias.asname, alias.name) if alias.asname else (top, top)
                names.add((bound, name))
                uses.imports.setdefault(alias.name, set())
                if bound in elsewhere or isinstance(parents.get(id(each_node)), ast.ClassDef):
                    uses.imports.setdefault(name, set()).add(())  # others may use anything of it
        elif isinstance(each_node, ast.ImportFrom):
            base = absolute("." * each_node.level + (each_node.module or ""), package)
            uses.imports.setdefault(base, set()).update((alias.name,) for alias in each_node.names)
        elif isinstance(each_node, ast.Call):
            if named := named_module(each_node, package):
                uses.imports.setdefault(named, set()).add(_chain(each_node, parents))
            elif _imports_by_call(each_node) and (held := _chain_to(each_node.args[0])):
                uses.named.setdefault(held, set()).add(_chain(each_node, parents))
    for name, imported in names:
        uses.imports.setdefault(imported, set()).update(uses.attributes.get(name, set()))
    return uses


def _names(node: ast.AST) -> Iterator[str]:
    """What a node names: a name, an attribute, or a text that may be the name of one."""
    yield from (n for n in (getattr(node, f, None) for f in ("id", "attr", "value", "name")) if isinstance(n, str))


def origin_of(value: Any) -> Any:
    """What a type with arguments is made of, whatever Python's own name for it: of `int | None` a Union."""
    is_alias = is_a(value, (types.GenericAlias, types.UnionType)) or module_of(type(value)).startswith("typing")
    origin = typing.get_origin(value) if is_alias else None
    return "Union" if origin in (typing.Union, types.UnionType) else origin


def registered_with(cls: abc.ABCMeta) -> list[type]:
    """The classes that were given to `cls.register`; no public function has them."""
    return [there for each in abc._get_dump(cls)[0] if (there := each()) is not None]  # type: ignore[attr-defined]


def annotations_of(thing: type | FunctionType) -> Mapping[str, Any]:
    """The annotations of a class or function, by name."""
    try:
        return dict(sorted(inspect.get_annotations(thing).items()))
    except Exception:  # of a later Python, which makes them when they are asked for
        return {}


def content_of(cell: CellType) -> Any:
    """What is in a cell of a closure by now."""
    try:
        return cell.cell_contents
    except ValueError:  # assigned later than defined
        return None


def why_unknown(code: CodeType) -> str:
    """Why a function has no source."""
    if not code.co_filename.startswith("<") and not is_library_file(code.co_filename):
        return f"differs from {code.co_filename}, which was edited since: reload its module or restart Python"
    return "has no source: define it in a file or a notebook cell"


def named_module(call: ast.Call, package: str) -> str | None:
    """The module that `import_module("x.y")` or `__import__("x")` in a module of `package` names by a text."""
    name = call.args[0] if _imports_by_call(call) else None
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return absolute(name.value, package)
    return None


def _imports_by_call(call: ast.Call) -> bool:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    return function in ("import_module", "__import__") and bool(call.args)


def package_of(module: Mapping[str, Any]) -> str:
    """The package in which a function of a module imports, by its globals."""
    return str(module.get("__package__") or str(module.get("__name__", "")).rpartition(".")[0])


def absolute(name: str, package: str) -> str:
    """The full name of a module; the name itself where that leads to none."""
    try:
        return importlib.util.resolve_name(name, package or None)
    except (ImportError, ValueError):
        return name


def _chain_to(value: ast.expr) -> tuple[str, ...]:
    """Names of a chain such as `self.module`; none of any other expression."""
    names: list[str] = []
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return (value.id, *reversed(names)) if isinstance(value, ast.Name) else ()


def _chain(name: ast.expr, parents: Mapping[int, ast.AST]) -> tuple[str, ...]:
    chain: list[str] = []
    node: ast.AST = name
    while isinstance(parent := parents.get(id(node)), ast.Attribute):
        chain.append(parent.attr)
        node = parent
    return tuple(chain)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of all functions, classes and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
