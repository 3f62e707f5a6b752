"""What counts of a class: its members but for what every class has, and what numba, dataclasses and others generate."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from vrecompute.analysis.asking import is_a
from vrecompute.analysis.coderange import GENERATED, GENERATORS, is_analysis, is_generated

__all__ = ["is_counted", "members_counted"]

# What every class has, made of its text, and what the core reads of an analysis and `process` does not.
_NOT_COUNTED = frozenset(
    {"__abstractmethods__", "__annotations__", "__annotate_func__", "__dict__", "__doc__", "__firstlineno__"}
    | {"__module__", "__qualname__", "__slotnames__", "__static_attributes__", "__weakref__", "_abc_impl"}
)
# What pydantic notes in a model of where it was made and how it was used; its fields and validators count.
_NOTED_BY_PYDANTIC = frozenset({"__pydantic_parent_namespace__", "__pydantic_setattr_handlers__"})
_NOT_OF_PROCESS = frozenset(
    {"name", "version", "title", "parameters", "dependencies", "opens_directory", "rehearse"}
    | {"finish_function", "figures_function", "plot_options"}
)


def members_counted(cls: type) -> Iterator[tuple[str, Any]]:
    """The members of a class that count, by name, in the order of these; of what was generated, what can be set."""
    generated = any(name in vars(cls) for name in GENERATORS)
    for name, value in sorted(vars(cls).items()):
        inner = value.__func__ if is_a(value, (staticmethod, classmethod)) else value
        slot = is_a(value, (GetSetDescriptorType, MemberDescriptorType))
        if not is_counted(name, cls) or slot:
            continue
        if generated and name in GENERATED and is_a(inner, FunctionType) and _is_as_made(name, inner.__code__):
            yield name, _settable(inner)
        else:
            yield name, value


def _is_as_made(name: str, code: CodeType) -> bool:
    """Whether a function still has the code that was generated for this name, or a library's own."""
    is_its_own = code.co_name == name or code.co_names == ("_tuple_new",)  # a named tuple's, which is a lambda
    return is_generated(code.co_filename) and (is_its_own or not code.co_filename.startswith("<"))


def _settable(function: FunctionType) -> list[Any]:
    """What of a generated function may be set: `Cuts.__new__.__defaults__ = (0, 30)` is how some give defaults.

    Its instructions are another Python's in other words; those of a function with other arguments are not its own.
    """
    code = function.__code__
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    held = {name: value for name, value in sorted(vars(function).items()) if name != "__wrapped__"}
    return ["generated", list(arguments), function.__defaults__, function.__kwdefaults__, held]


def is_counted(name: str, cls: type) -> bool:
    """Whether a member of this name counts."""
    return name not in _NOT_COUNTED | _NOTED_BY_PYDANTIC and not (name in _NOT_OF_PROCESS and is_analysis(cls))
