"""What compiled readers of JSON and texts do with memory, 32 bytes at a time: LLVM makes the machine's vector instructions of it.

Addresses are int64, and whoever passes one sees to it that the bytes are there. A mask has a bit for each byte.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic
"""Its declaration would have the types of the generator, not those of what it generates."""

STEP = 32
"""Bytes that are looked at together."""

_OF_BYTES = ir.VectorType(ir.IntType(8), STEP)
_QUOTE, _BACKSLASH, _BLANK, _ZERO = (ord(each) for each in '"\\ 0')


def compiled(function: Any) -> Any:
    return njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")(function)


def inlined(function: Any) -> Any:
    return njit(nogil=True, cache=True, boundscheck=False, error_model="numpy", forceinline=True)(function)


def _vector(builder: Any, address: Any) -> Any:
    """32 bytes from an address on."""
    return builder.inttoptr(address, _OF_BYTES.as_pointer())


def _mask(builder: Any, bits: Any) -> Any:
    return builder.zext(builder.bitcast(bits, ir.IntType(STEP)), ir.IntType(64))


@intrinsic
def byte(_: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(place), ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def eight(_: Any, at: Any) -> Any:
    """Eight bytes, of which the first is the lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), align=1)

    return types.int64(types.int64), generate


@intrinsic
def no_digits(_: Any, at: Any) -> Any:
    """A bit for each of 32 bytes that is no digit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(_vector(builder, args[0]), align=1)
        digits = builder.sub(loaded, ir.Constant(_OF_BYTES, [_ZERO] * STEP))
        return _mask(builder, builder.icmp_unsigned(">", digits, ir.Constant(_OF_BYTES, [9] * STEP)))

    return types.int64(types.int64), generate


@intrinsic
def special(_: Any, at: Any) -> Any:
    """A bit for each of 32 bytes that ends a string, or makes it more than its bytes, or is not ASCII: quote, backslash,
    control character, or one from 128 on, which is negative."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(_vector(builder, args[0]), align=1)
        quote, backslash, blank = (ir.Constant(_OF_BYTES, [each] * STEP) for each in (_QUOTE, _BACKSLASH, _BLANK))
        alike = builder.or_(builder.icmp_unsigned("==", loaded, quote), builder.icmp_unsigned("==", loaded, backslash))
        return _mask(builder, builder.or_(alike, builder.icmp_signed("<", loaded, blank)))

    return types.int64(types.int64), generate


@intrinsic
def alike(_: Any, at: Any, char: Any) -> Any:
    """A bit for each of 32 bytes that is the one given."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(_vector(builder, args[0]), align=1)
        one = builder.trunc(args[1], ir.IntType(8))
        every = ir.Constant(_OF_BYTES, ir.Undefined)
        for place in range(STEP):
            every = builder.insert_element(every, one, ir.Constant(ir.IntType(32), place))
        return _mask(builder, builder.icmp_unsigned("==", loaded, every))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def unlike(_: Any, at: Any, other: Any) -> Any:
    """A bit for each of 32 bytes that differs."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = (builder.load(_vector(builder, each), align=1) for each in args)
        return _mask(builder, builder.icmp_unsigned("!=", left, right))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def move(_: Any, target: Any, at: Any) -> Any:
    """Copies 32 bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.load(_vector(builder, args[1]), align=1), _vector(builder, args[0]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def lowest(_: Any, mask: Any) -> Any:
    """The number of the lowest bit of a mask that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def put(_: Any, target: Any, value: Any) -> Any:
    """Writes a byte."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        builder.store(builder.trunc(args[1], ir.IntType(8)), to)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def bits(_: Any, real: Any) -> Any:
    """The bits of a double."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@inlined
def copy_bytes(at: int, size: int, stop: int, to: int) -> None:
    """`size` bytes from `at`, behind whose `stop` nothing may be read; up to 31 behind the target are written too."""
    if at + size + STEP <= stop:
        for step in range(0, size, STEP):
            move(to + step, at + step)
    else:
        for number in range(size):
            put(to + number, byte(at + number))
