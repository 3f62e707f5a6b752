"""Calls of C functions by address from kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["int32_of_6", "int32_of_lz4", "int64_of_1", "int64_of_2", "int64_of_3", "int64_of_5"]


def _c_function(result: Any, *arguments: Any) -> Any:
    """An intrinsic `call(address, (arguments...))` of the C function at an address; pointers are int64.

    An address given at run time, other than a symbol, can be tested for 0, and numba caches the kernel.
    """

    @intrinsic
    def call(_context: Any, _address: Any, _values: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            kinds = [context.get_value_type(a) for a in arguments]
            pointer = builder.inttoptr(args[0], ir.FunctionType(context.get_value_type(result), kinds).as_pointer())
            return builder.call(pointer, [builder.extract_value(args[1], i) for i in range(len(arguments))])

        packed: Any = types.BaseTuple
        return result(types.int64, packed.from_types(arguments)), generate

    return call


int64_of_1 = _c_function(types.int64, types.int64)
int64_of_2 = _c_function(types.int64, types.int64, types.int64)
int64_of_3 = _c_function(types.int64, types.int64, types.int64, types.int64)
int64_of_5 = _c_function(types.int64, *[types.int64] * 5)
int32_of_6 = _c_function(types.int32, *[types.int64] * 6)
int32_of_lz4 = _c_function(types.int32, types.int64, types.int64, types.int32, types.int32)
