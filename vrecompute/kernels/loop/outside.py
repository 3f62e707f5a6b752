"""What a physicist's function names outside itself: numbers are copied into the loop, libraries imported by it.

Machine code of a loop is kept by the text of the loop alone. So nothing may be imported that the user could edit.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["function_of", "import_line", "is_ours", "literal", "value_of"]

_COMPILED = frozenset({"numpy", "numba", "builtins"}) | sys.stdlib_module_names


def value_of(node: ast.AST, outside: Mapping[str, Any]) -> Any:
    """The value of `name` or `module.name` with `outside` as the names; None where it has none there."""
    if isinstance(node, ast.Attribute):
        return getattr(value_of(node.value, outside), node.attr, None)
    return outside.get(node.id) if isinstance(node, ast.Name) else None


def literal(value: Any) -> str | None:
    """The text of a number, or of a tuple of numbers; None for what is neither."""
    if isinstance(value, bool | np.bool_):
        return repr(bool(value))
    if isinstance(value, int | np.integer):
        return repr(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value)).replace("inf", "_np.inf").replace("nan", "_np.nan")
    texts = [literal(v) for v in value] if isinstance(value, tuple) else [None]
    return None if None in texts else f"({''.join(f'{text}, ' for text in texts)})"


def function_of(value: Any) -> FunctionType | None:
    """The plain Python function whose text is copied where it is called; None where numba has its own."""
    inner = getattr(value, "py_func", value)
    if not isinstance(inner, FunctionType) or is_ours(value) or _is_compiled(inner):
        return None
    return inner


def import_line(value: Any, name: str) -> str | None:
    """How the loop gets a module or a function of a library under `name`; None for what it cannot hold."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    module = str(getattr(value, "__module__", None) or "numpy")  # a ufunc has none
    known = is_ours(value) or isinstance(value, BuiltinFunctionType | np.ufunc) or _is_compiled(value)
    original = getattr(value, "__name__", "")
    if known and getattr(sys.modules.get(module), original, None) is value:
        return f"from {module} import {original} as {name}"
    return None


def is_ours(value: Any) -> bool:
    """Compiled functions that ship with vrecompute are imported, not copied; their source is in the key anyway."""
    return hasattr(value, "py_func") and str(getattr(value, "__module__", "")).startswith("vrecompute.kernels")


def _is_compiled(value: Any) -> bool:
    """Whether a library's name means something that numba brings along."""
    return str(getattr(value, "__module__", "")).partition(".")[0] in _COMPILED
