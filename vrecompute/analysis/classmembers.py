"""What counts of a class: its members but for what every class has, and what numba, dataclasses and others generate."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
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
    """The members of a class that count, by name, in the order of these."""
    generated = any(name in vars(cls) for name in GENERATORS)
    for name, value in sorted(vars(cls).items()):
        inner = value.__func__ if is_a(value, (staticmethod, classmethod)) else value
        code = inner.__code__ if is_a(inner, FunctionType) else None
        made = generated and name in GENERATED and code is not None and is_generated(code.co_filename)
        slot = is_a(value, (GetSetDescriptorType, MemberDescriptorType))
        if is_counted(name, cls) and not made and not slot:
            yield name, value


def is_counted(name: str, cls: type) -> bool:
    """Whether a member of this name counts."""
    return name not in _NOT_COUNTED | _NOTED_BY_PYDANTIC and not (name in _NOT_OF_PROCESS and is_analysis(cls))
