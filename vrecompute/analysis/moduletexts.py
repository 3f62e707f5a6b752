"""The texts that a module was made of, with how far each came, and the modules that a text imports."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from vrecompute import sourcetext
from vrecompute.analysis.cells import cells_of, is_notebook
from vrecompute.analysis.coderange import is_user
from vrecompute.analysis.librarychanges import Text, text_of
from vrecompute.analysis.underway import ENDED, Course, script_course

__all__ = ["absent_text", "imported_by", "texts_of"]


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
    if text is None and is_main:  # a script may be edited while it runs
        text = sourcetext.kept(file)
    if text is None:
        try:
            with tokenize.open(file) as opened:
                text = opened.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            text = sourcetext.kept(file) or ""
    course = script_course(vars(module)) if is_main and running is ENDED else running
    return [(text_of(Path(file).name, text), course)]


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
