"""The digest of what will run (law 3): taken from the loaded objects and all they reach, by their source.

A function counts with its syntax, defaults, closure and globals, a class with its members, annotations and bases, any
other object with what it is made of. Formatting and what is not reached do not count, nor comments and docstrings
unless code that is reached reads such, nor what belongs to installed libraries: their versions are numerics. What has
no source and no content makes a run unique.
"""

from __future__ import annotations

import abc
import copyreg
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Literal

import numpy as np

from vrecompute import sourcetext
from vrecompute.analysis.arithmetic import arithmetic
from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.classmembers import is_counted, members_counted
from vrecompute.analysis.classpatches import classes_of, functions_in, patches_of
from vrecompute.analysis.code import Code
from vrecompute.analysis.coderange import (
    MADE_BY_PYTHON,
    Uses,
    annotations_of,
    content_of,
    counts,
    distribution_of,
    is_analysis,
    is_dispatcher,
    is_user,
    label_of,
    leads_to,
    registered_with,
    why_unknown,
    without_bound,
    written,
)
from vrecompute.analysis.family import all_imported, belongs, imported, loaded, scope_of, submodule
from vrecompute.analysis.filereads import Reads
from vrecompute.analysis.importeffects import Effects, effects_of
from vrecompute.analysis.librarymembers import members_of
from vrecompute.analysis.machinery import machinery
from vrecompute.analysis.namedimports import with_named
from vrecompute.analysis.remembered import memories
from vrecompute.analysis.roundtrip import lost_by
from vrecompute.analysis.wrappers import inside_of, library_of
from vrecompute.digest import sha256_json, sha256_of

__all__ = ["code_of"]
_LONG = 200


def code_of(
    thing: Any,
    own: str | None = None,
    *,
    declared: bool = False,
    effects: tuple[FunctionType, ...] | None = None,
    looks: bool = True,
) -> Code:
    """The code of a function, a class or an object; `own` is a package that counts also where it is installed.

    `declared`: the files that it reads are in the key by other means; `looks`: whether it tells of them.
    `effects` came with it from another process.
    """
    own = own or str(attribute_of(thing, "__module__", "")).partition(".")[0]
    description = _Description(own, Reads(own, declared, looks), scope_of(thing))
    description.lost = [] if looks else None
    description.root(thing)
    seeds = frozenset(description.reads.seeds)  # not those of an import: they are for the first draws only
    found = effects_of(description.modules, description.scope) if effects is None else Effects(effects)
    description.effects |= set(map(id, found.functions))
    for effect in found.functions:
        description.of(effect)
        told = description.reads.all(id(effect))
        description.unnamed += [each.replace(", inside process", ", when its module is imported") for each in told]
    description.patched()
    settings = {f"arithmetic of {name}": sha256_json(state) for name, state in arithmetic().items()}
    return Code(
        dict(sorted({**description.parts, **settings, **machinery()}.items())),
        tuple(dict.fromkeys([*description.unnamed, *found.unnamed])),
        tuple(sorted(description.distributions)),
        {name: None if None in u else frozenset(map(str, u)) for name, u in sorted(description.modules.items())},
        dict(sorted(description.imported.items())),
        found.functions,
        tuple(dict.fromkeys(description.lost or ())),
        seeds,
        frozenset(description.reads.variables),
        memories(description.kept),
    )


class _Description:
    """Digests by name of what is reached, in an order that depends on nothing but what is there."""

    def __init__(self, own: str, reads: Reads, scope: Mapping[str, Any]) -> None:
        self.own, self.reads, self.scope = own, reads, scope
        self.parts: dict[str, str] = {}
        self.unnamed: list[str] = []
        self.lost: list[str] | None = None  # what objects do not keep when they are sent; None: not looked for
        self.distributions: set[str] = set()
        self.modules: dict[str, set[str | None]] = {}
        self.imported: dict[str, ModuleType] = {}
        self._names: list[str] = []
        self._done: dict[int, Any] = {}
        self._within: list[int] = []
        self.kept: list[Any] = []  # so that no id is given to another object meanwhile
        self.effects: set[int] = set()  # which change libraries, and then find them changed
        self._where = ""
        self._texts: dict[str, Any] = {}  # docstrings, and of functions the text they are in
        self._reads_texts = False
        self._titles: dict[str, Any] = {}  # of analyses, which count where code that is reached reads such
        self._attributes: set[str] = set()
        self._libraries: dict[str, None] = {}
        self._classes: dict[type, None] = {}
        self._owners: list[type] = []
        self._is_noted = False  # whether an annotation is described, which opens nothing

    def root(self, thing: Any) -> None:
        """Describe a function, a class, or an object whose class and state count."""
        self.parts["state"] = sha256_json(self.of(thing))
        self.unnamed += self.reads.all(id(thing))
        if self._reads_texts:
            self.parts["docstrings and comments"] = sha256_json(self._texts)
        if "title" in self._attributes:
            self.parts["title"] = sha256_json(self._titles)

    def patched(self) -> None:
        """Describe what the user put into classes of the libraries that are reached."""
        for name, value in patches_of(self._classes, self._libraries, self._attributes):
            self._where, self._texts[name] = name, []
            said = [self._put(each) for each in functions_in(value)]
            self.parts[name] = sha256_json([type(value).__name__, said])
            del self._texts[name]
            self._where = ""

    def _put(self, value: Any) -> Any:
        """What was put into a library, not by its name: a worker that did the same made it in another function."""
        if not is_a(value, FunctionType) or is_dispatcher(value):
            return self._alone(value)
        self._within.append(id(value))
        try:
            return self._function(value)
        finally:
            self.unnamed += self.reads.all(self._within.pop())

    def _alone(self, value: Any) -> dict[str, str] | None:
        """A value by all that it reaches; None where it has no content that could be compared."""
        alone = _Description(self.own, Reads(self.own, declared=False, looks=False), self.scope)
        alone.root(value)
        return None if alone.unnamed else alone.parts

    def of(self, value: Any, how: str = "") -> Any:
        """A value as data, short; what has a name is described under it. `how` it is reached: see `Reads.edge`."""
        if type(value) in (bool, int, float, complex, type(None), type(...)):
            return [type(value).__name__, repr(value)]
        if type(value) in (str, bytes):
            data = value.encode("utf-8", "surrogatepass") if type(value) is str else value
            return [type(value).__name__, repr(value) if len(data) < _LONG else sha256_of(data)]
        if self._within:
            self.reads.edge(self._within[-1], id(value), how)
            if not self._is_noted:
                self.reads.kept(value, self._within[-1])
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._within:
            return ["within", len(self._within) - self._within.index(id(value))]
        self.kept.append(value)
        self._within.append(id(value))
        try:
            self._done[id(value)] = self._compound(value)
        except (RecursionError, ReferenceError) as error:
            why = "is nested too deeply" if isinstance(error, RecursionError) else "refers weakly to what is gone"
            self._done[id(value)] = self._without_name(value, why)
        finally:
            self._within.pop()
        return self._done[id(value)]

    def _compound(self, value: Any) -> Any:
        if is_a(value, ModuleType):
            return self._module(value, {()})
        if is_a(value, FunctionType) and not is_dispatcher(value):
            module = str(value.__globals__.get("__name__", "?"))
            return self._named(value, module, f"{value.__code__.co_qualname}()", self._function)
        if is_a(value, type):
            return self._named(value, module_of(value), f"class {value.__qualname__}", self._class)
        data = self._contents(value)
        return data if len(repr(data)) < _LONG else ["sha256", sha256_json(data)]  # short, however often it is named

    def _contents(self, value: Any) -> Any:
        if type(value) is memoryview:  # which is sent as bytes
            return self.of(value.tobytes())
        if type(value) in (list, tuple):
            return [type(value).__name__, [self.of(item) for item in value]]
        if type(value) in (set, frozenset):
            return ["set", sorted((self.of(item) for item in value), key=repr)]
        if value is sys.modules:
            return self._library("sys", "modules")
        if type(value) in (dict, MappingProxyType):
            return ["dict", [[self.of(k), self.of(v)] for k, v in value.items()]]
        if type(value) is np.ndarray and not value.dtype.hasobject:
            order: Literal["C", "F"] = "F" if value.flags.fnc else "C"  # which `ravel(order="K")` shows
            return ["array", str(value.dtype.descr), list(value.shape), order, sha256_of(value.tobytes(order))]
        if (inside := inside_of(value)) is not None:
            return [inside[0], *map(self.of, inside[1])]
        return self._object(value)

    def _named(self, value: Any, module: str, name: str, describe: Callable[[Any], Any]) -> Any:
        """Described once, under the name of its module and its own; elsewhere by a reference."""
        if not self._counts(value, module):
            library = self._library(module, value.__qualname__)
            cells = (value.__closure__ if is_a(value, FunctionType) else None) or ()
            if cells and not leads_to(value, module, value.__code__.co_qualname):
                # A library's wrapper around what it was given, as `contextlib.contextmanager` makes one.
                self._done[id(value)] = library
                return ["wrapper", library, [self.of(c) for c in map(content_of, cells)]]
            return library
        if is_a(value, FunctionType) and (found := sourcetext.find_of(value)) is not None:
            name = f"{found.qualname}()"  # as a worker names it, which compiles that text
        unique = f"{label_of(module)}: {name}"
        taken = sum(n == unique or n.startswith(unique + " #") for n in self._names)
        unique = f"{unique} #{taken + 1}" if taken else unique
        self._names.append(unique)
        self._done[id(value)] = ["ref", unique]
        self._travels(module)
        outer, self._where = self._where, unique
        self._texts[unique] = [inspect.cleandoc(str(value.__doc__ or ""))]
        noted, self._is_noted = self._is_noted, False
        self.parts[unique], self._where, self._is_noted = sha256_json(describe(value)), outer, noted
        return ["ref", unique]

    def _counts(self, value: Any, module: str) -> bool:
        if is_a(value, FunctionType):
            # Not by its module's name: what `exec` made says that it belongs to builtins.
            file = value.__code__.co_filename
            return counts(module, self.own, None if file.startswith("<") else file, dynamic=module not in sys.modules)
        return counts(module, self.own, dynamic=not leads_to(value, module, value.__qualname__))

    def _travels(self, module: str, attribute: str | None = "") -> None:
        """A module of the user's is reached: one attribute of it, or all (None), or something that came from it."""
        there = loaded(module, self.scope)
        if there is not None and is_user(module, getattr(there, "__file__", None)):
            self.modules.setdefault(module, set()).update({attribute} - {""})

    def _library(self, module: str, name: str) -> Any:
        self._libraries[module.partition(".")[0]] = None
        if found := distribution_of(module):
            self.distributions.add(found)
        return ["library", module, name]

    def _function(self, function: FunctionType) -> Any:
        found = sourcetext.find_of(function)
        if found is None:
            return self._without_name(function, why_unknown(function.__code__))
        closure = dict(zip(function.__code__.co_freevars, map(content_of, function.__closure__ or ()), strict=True))
        text, uses = written(function, found)
        self.reads.function(function, found, closure)
        self._reads_texts |= uses.text
        self._attributes |= uses.names
        self._texts[self._where].append(sha256_of(found.text.encode()))
        outside = {name: function.__globals__.get(name) for name in uses.globals} | closure
        uses = with_named(uses, function, found.node, outside, self._owners[-1] if self._owners else None)
        read = without_bound(found.node, uses) if id(function) in self.effects else uses
        self.parts |= {name: sha256_json(member) for name, member in members_of(outside, read)}
        self._classes |= dict.fromkeys(classes_of(outside, read))
        return [
            "function",
            text,
            self.of([function.__defaults__, function.__kwdefaults__]),
            {name: self.of(value) for name, value in annotations_of(function).items()},
            {name: self._reached(name, value, uses) for name, value in closure.items()},
            {
                name: self._reached(name, function.__globals__[name], uses, function.__globals__)
                for name in sorted(uses.globals)
                if name in function.__globals__
            },
            self._imports(uses, function.__globals__),
            self.of(dict(sorted(vars(function).items()))),
        ]

    def _reached(self, name: str, value: Any, uses: Uses, module: Mapping[str, Any] | None = None) -> Any:
        if is_a(value, ModuleType):
            return self._module(value, uses.attributes.get(name, {()}))
        return self.of(value) if module is None else self._global(name, value, module)

    def _global(self, name: str, value: Any, module: Mapping[str, Any]) -> Any:
        """A global that is data is a part by its own name."""
        described = self.of(value)
        if described[0] in ("ref", "library"):
            return described
        digest = sha256_json(described)
        first = f"{label_of(str(module.get('__name__', '?')))}: {name}"
        names = (first if n == 1 else f"{first} #{n}" for n in itertools.count(1))  # each file that was `%run` has one
        return ["ref", next(name for name in names if self.parts.setdefault(name, digest) == digest)]

    def _imports(self, uses: Uses, by: Mapping[str, Any]) -> Any:
        """What a function imports when it is called."""
        reached = []
        found = all_imported(uses.imports, by, lambda name: counts(name, self.own))
        for name, module in found.items():
            chains = uses.imports[name]
            if module is None:
                reached.append(self._library(name, ""))
                continue
            if belongs(name, by) or is_user(name):
                self.imported[name] = module
                self._travels(name)
                while "." in name:
                    name, _, inner = name.rpartition(".")
                    self.imported[name] = imported(name, by)
                    self._travels(name, inner)
            reached.append(self._module(module, chains))
        return reached

    def _module(self, module: ModuleType, chains: set[tuple[str, ...]]) -> Any:
        """Of a module what is used of it; all of it where it is used as a whole."""
        name = module.__name__
        dynamic = sys.modules.get(name) is not module
        if not counts(name, self.own, getattr(module, "__file__", None), dynamic=dynamic):
            return self._library(name, "")
        members = vars(module)
        if () in chains or ("__dict__",) in {chain[:1] for chain in chains}:
            chains = {(n,) for n in members.keys() - MADE_BY_PYTHON if n != "__doc__"}
            self._travels(name, None)
        described = {}
        for first, *rest in sorted(chains):
            self._travels(name, first)
            value = members[first] if first in members else submodule(module, first)
            if is_a(value, ModuleType):
                described[".".join([first, *rest])] = self._module(value, {tuple(rest)})
            elif first in members:
                described[first] = self._global(first, value, members)
            elif "__getattr__" in members:  # a function of the module gives it
                self._travels(name, "__getattr__")
                described[first] = self._global("__getattr__", members["__getattr__"], members)
        return ["module", label_of(name), described]

    def _class(self, cls: type) -> Any:
        if is_analysis(cls):
            self.reads.analyses.add(id(cls))
            self._titles[self._where] = self.of(vars(cls).get("title"))
        self._owners.append(cls)
        members = {name: self.of(value, name) for name, value in members_counted(cls)}
        self._owners.pop()
        self._is_noted = True
        noted = {n: self.of(a) for n, a in annotations_of(cls).items() if is_counted(n, cls)}
        self._is_noted = False
        others = sorted((self.of(c) for c in registered_with(cls)), key=repr) if type(cls) is abc.ABCMeta else []
        return ["class", [self.of(base, "base") for base in cls.__bases__], self.of(type(cls)), members, noted, others]

    def _object(self, value: Any) -> Any:
        if is_a(value, np.ufunc):
            known = library_of(value)
            return self._library(known, value.__name__) if known else self._without_name(value, "is compiled")
        if is_a(value, functools.partial):
            self.reads.partial(value)
        if is_analysis(type(value)):
            # What was given for parameters is in the key already, and that for `finish` should not be.
            state = {k: v for k, v in sorted(vars(value).items()) if k not in ("values", "effects")}
            return ["analysis", self.of(type(value), "instance"), self.of(state)]
        if type(value).__module__ == "builtins" and (name := getattr(value, "__qualname__", None)):
            module, holder = str(getattr(value, "__module__", None) or "builtins"), getattr(value, "__self__", None)
            if isinstance(holder, (ModuleType, type, type(None))) and not counts(module, self.own):
                return self._library(module, name)
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            made = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        except Exception:
            return self._without_name(value, "has no content that could be compared")
        if isinstance(made, str):
            module = str(attribute_of(value, "__module__") or module_of(type(value)))
            return self._without_name(value, "is compiled") if counts(module, self.own) else self._library(module, made)
        if self.lost is not None:
            self.lost += lost_by(value, made, self._alone)
        function, arguments, *rest = made
        if rest[:1] and type(rest[0]) is tuple and len(rest[0]) == 2 and isinstance(rest[0][1], dict):
            rest[0] = {**(rest[0][0] or {}), **rest[0][1]}  # of __slots__, which a class that was sent has not
        items = [[self.of(item) for item in given or ()] for given in rest[1:3]]
        how = "instance" if function.__module__ == "copyreg" else ""
        described = [self.of(function, "instance"), [self.of(a, how) for a in arguments]]
        return ["object", *described, [self.of(s) for s in rest[:1]], items]

    def _without_name(self, value: Any, why: str) -> Any:
        name = str(attribute_of(value, "__qualname__") or "") or f"an object of type {type(value).__name__}"
        if self._where.partition(": ")[2].removesuffix("()") == name:
            name = self._where
        elif self._where:
            name = f"{name} in {self._where}"
        self.unnamed.append(f"{name} {why}")
        return ["unnamed", type(value).__name__]
