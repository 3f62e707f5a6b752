"""The texts that a module was made of, with how far each came, and the modules that a text imports."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import struct
import sys
import tokenize
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.asking import attribute_of, is_a
from vrecompute.analysis.cells import cells_of, is_notebook
from vrecompute.analysis.coderange import is_user
from vrecompute.analysis.librarychanges import Text, chain, text_of
from vrecompute.analysis.underway import ENDED, Course, script_course

__all__ = ["absent_text", "imported_by", "reloaded_by", "texts_of"]

# Of each module the spec that it was loaded by, its text then, and whether that was edited.
_read: weakref.WeakKeyDictionary[ModuleType, tuple[Any, str, bool]] = weakref.WeakKeyDictionary()


def texts_of(module: ModuleType, running: Course) -> list[tuple[Text, Course]]:
    """The texts of a module, with how far each came; `running` says it of the last, if that has not ended."""
    is_main = module.__name__ == "__main__"
    if is_main and is_notebook(vars(module)):
        return [(text_of("the notebook", cell), course) for cell, course in cells_of(vars(module), running)]
    # Python takes a script's `__file__` away before it opens a prompt.
    file = getattr(module, "__file__", None) or getattr(getattr(module, "__loader__", None), "path", None)
    if file is None:
        return []
    # A file's own module stays as it was loaded, whatever others were loaded from that file since.
    text = getattr(getattr(module.__spec__, "loader", None), "text", None)
    if text is None:
        text = sourcetext.kept(file) if is_main else None  # a script may be edited while it runs
    edited = False
    if text is None:
        text, edited = _as_loaded(module, file)
    if edited:
        running = Course.unknown("a module", "whose file was edited after it was imported")
    course = script_course(vars(module)) if is_main and running is ENDED else running
    return [(text_of(Path(file).name, text), course)]


def _as_loaded(module: ModuleType, file: str) -> tuple[str, bool]:
    """What a module's file said when it was imported, and whether it was edited before the first look at it.

    A module that is loaded anew gets another spec. Python keeps the time and the size of what it compiled.
    """
    known = _read.get(module)
    if known is None or known[0] is not module.__spec__:
        try:
            with tokenize.open(file) as opened:
                text = opened.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            text = sourcetext.kept(file) or ""
        known = _read[module] = module.__spec__, text, _was_edited(module, file)
    return known[1:]


def _was_edited(module: ModuleType, file: str) -> bool:
    compiled = getattr(module.__spec__, "cached", None)
    try:
        stat, header = os.stat(file), Path(compiled or "").read_bytes()[:16]
    except OSError:  # there is none, or it cannot be read
        return False
    if sys.dont_write_bytecode or not os.access(Path(compiled or "").parent, os.W_OK):
        return False  # it may be of an older text than was imported
    flags, time, size = struct.unpack("<4xIII", header) if len(header) == 16 else (1, 0, 0)
    return flags == 0 and (time, size) != (int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF)


def absent_text(name: str) -> Text | None:
    """The text of a user's module that is not imported, though the package is that it is in."""
    package = name.rpartition(".")[0]
    if (package and package not in sys.modules) or not is_user(name):
        return None
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not spec.has_location:
            return None
        with tokenize.open(spec.origin) as opened:
            return text_of(Path(spec.origin).name, opened.read())
    except (OSError, SyntaxError, UnicodeDecodeError, ImportError, ValueError):
        return None


def reloaded_by(nodes: Iterable[ast.AST], module: ModuleType) -> set[str]:
    """The user's modules that calls of `reload` in these load anew."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Call) and chain(node.func)[-1] == "reload" and len(node.args) == 1:
            with contextlib.suppress(ValueError, AttributeError):
                first, *rest = chain(node.args[0])
                held = vars(module).get(first)
                for name in rest:
                    held = attribute_of(held, name)
                if is_a(held, ModuleType) and is_user(held.__name__):
                    names.add(held.__name__)
    return names


def imported_by(nodes: Iterable[ast.AST], module: ModuleType) -> set[str]:
    """Modules that these import, with the packages they are in."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                with contextlib.suppress(ImportError):
                    base = importlib.util.resolve_name("." * node.level + base, module.__package__ or module.__name__)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[: n + 1]) for name in names for n in range(name.count(".") + 1)}
