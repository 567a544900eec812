"""The canonical encoding: one value, one sequence of bytes.

What is hashed or signed must have exactly one form, or two honest programs compute two hashes of the same
thing. The encoding is MessagePack cut down to the part for which that is easy to say:

* nil, booleans, integers in [-2^63, 2^64 - 1], UTF-8 text, bytes, and arrays of these; no floats, maps or
  extensions;
* every integer and every length in the shortest form that holds it, non-negative integers in the unsigned
  forms;
* at most `NESTING_DEPTH_MAX` arrays inside one another; nothing after the value.

A record is the array of its fields in the order of declaration, without names: the type, which both sides
know, says what each position means. An enumeration is its value.

`decode` reads by a type (a msgspec struct with `array_like=True`, or a union, tuple or list of allowed types)
and then writes the value again: bytes that do not come back the same are refused. That one comparison refuses
every long form, surplus field and lenient conversion, those that a later msgspec may invent included. Which
of the two codes a refusal has is decided by `first_fault`, a reader of the profile in plain Python, so the
code depends on the bytes and the type alone, and the message says at which byte the trouble lies.

Source: MessagePack specification (2013, "bin" and "str" families).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import msgspec
from msgspec import inspect

from guildbook.primitives.errors import GuildbookError

NESTING_DEPTH_MAX = 32
INT_MIN = -(2**63)
INT_MAX = 2**64 - 1

T = TypeVar("T")

if TYPE_CHECKING:
    Value: TypeAlias = bool | int | str | bytes | list["Value"] | tuple["Value", ...] | None
else:
    # msgspec can name neither a recursive union nor one of text and bytes: to it a value is anything, and
    # `decode` examines what came.
    Value = Any


class CanonicalError(GuildbookError):
    """Bytes that are not the canonical encoding, or a value that has none.

    Code "canonical.not_canonical": an integer or a length has a longer form than it needs. Code
    "canonical.malformed": anything else, a value of another type than the expected one included.
    """


_ENCODER = msgspec.msgpack.Encoder()
_SCALARS = frozenset((type(None), bool, int, str, bytes))
_are_scalars = _SCALARS.issuperset

_records: set[type] = set()
"""The struct types met so far that are declared array_like, so that each is examined once."""


def _check(value: Any, depth: int) -> None:
    """Raise `CanonicalError` unless `value`, which is no scalar and has `depth` arrays around it, has a
    canonical encoding.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        items = value
    elif kind in _records or _is_record(kind):
        items = msgspec.structs.astuple(value)
    elif issubclass(kind, (enum.StrEnum, enum.IntEnum)):
        return
    else:
        raise CanonicalError(
            "canonical.malformed",
            f"a value of type {kind.__name__} has no canonical encoding",
            hint="use None, bool, int, str, bytes, StrEnum, IntEnum, list, tuple or an array_like struct",
            type=kind.__name__,
        )
    if depth >= NESTING_DEPTH_MAX:
        raise CanonicalError(
            "canonical.malformed",
            f"more than {NESTING_DEPTH_MAX} arrays inside one another",
            depth_max=NESTING_DEPTH_MAX,
        )
    if not _are_scalars(map(type, items)):
        for item in items:
            if type(item) not in _SCALARS:
                _check(item, depth + 1)


def _is_record(kind: type) -> bool:
    """Whether a type is a struct that is encoded as the array of its fields; remembers that it is."""
    if not issubclass(kind, msgspec.Struct) or not kind.__struct_config__.array_like:
        return False
    _records.add(kind)
    return True


def encode(value: Any) -> bytes:
    """The canonical encoding of None, bool, int, str, bytes, StrEnum, IntEnum, and lists, tuples and
    array_like structs of them.

    Raises `CanonicalError` "canonical.malformed" for any other type (floats, dicts, sets, times and decimals
    too), an integer outside [-2^63, 2^64 - 1], text with a lone surrogate, and nesting deeper than
    `NESTING_DEPTH_MAX`. (`Any`: what is allowed is a recursive choice that includes every array_like struct,
    and is checked here.)
    """
    if type(value) not in _SCALARS:
        _check(value, 0)
    try:
        return _ENCODER.encode(value)
    except (OverflowError, UnicodeEncodeError) as error:
        raise CanonicalError("canonical.malformed", f"a value has no canonical encoding: {error}") from error


class _Reader:
    """How one type is decoded: msgspec's decoder for it, and whether the value is examined afterwards."""

    __slots__ = ("decode", "examine")

    def __init__(self, of: Any) -> None:
        self.examine = _depth(inspect.type_info(of), ()) > NESTING_DEPTH_MAX
        self.decode = msgspec.msgpack.Decoder(of).decode


_UNBOUNDED = NESTING_DEPTH_MAX + 1
_FLAT = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.StrType,
    inspect.BytesType,
    inspect.LiteralType,
)


def _depth(info: inspect.Type, inside: tuple[type, ...]) -> int:
    """The greatest number of arrays inside one another that the type described by `info` allows, `_UNBOUNDED`
    if the type does not bound it. `inside` are the structs around it. Asserts that the type is one of the
    profile.
    """
    if isinstance(info, _FLAT):
        return 0
    if isinstance(info, inspect.EnumType):
        assert issubclass(info.cls, (enum.StrEnum, enum.IntEnum)), (
            f"{info.cls.__name__} is no StrEnum or IntEnum"
        )
        return 0
    if isinstance(info, inspect.Metadata):
        return _depth(info.type, inside)
    if isinstance(info, inspect.AnyType):
        return _UNBOUNDED
    if isinstance(info, inspect.UnionType):
        return max(_depth(choice, inside) for choice in info.types)
    if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        return 1 + _depth(info.item_type, inside)
    if isinstance(info, inspect.TupleType):
        return 1 + max((_depth(item, inside) for item in info.item_types), default=0)
    assert isinstance(info, inspect.StructType), f"{info} is not a type of the canonical encoding"
    assert info.array_like, f"{info.cls.__name__} is not declared array_like"
    if info.cls in inside:
        return _UNBOUNDED
    return 1 + max((_depth(field.type, (*inside, info.cls)) for field in info.fields), default=0)


_readers: dict[Any, _Reader] = {}


@overload
def decode(data: bytes, of: type[T], /) -> T: ...
@overload
def decode(data: bytes, of: Any, /) -> Any: ...
def decode(data: bytes, of: Any, /) -> Any:
    """The value of the type `of` whose canonical encoding is `data`.

    `of` is an array_like struct, a scalar of the profile, or a list, tuple or union of such; constraints
    declared with `msgspec.Meta` are checked. Raises `CanonicalError` "canonical.not_canonical" if `data` has
    an integer or a length in a longer form than it needs, and "canonical.malformed" if it is outside the
    profile otherwise or not of the type. Asserts that the type has no part that the profile excludes.
    """
    reader = _readers.get(of)
    if reader is None:
        reader = _readers[of] = _Reader(of)
    try:
        value = reader.decode(data)
        if reader.examine and type(value) not in _SCALARS:
            _check(value, 0)
        if _ENCODER.encode(value) == data:
            return value
    except (msgspec.DecodeError, UnicodeDecodeError, CanonicalError) as error:
        raise (first_fault(data) or CanonicalError("canonical.malformed", str(error))) from error
    except RecursionError as error:
        fault = first_fault(data)
        if fault is None:
            raise  # The data is not deep: it is our own stack that is nearly used up.
        raise fault from error
    raise first_fault(data) or CanonicalError(
        "canonical.malformed", "a record has another number of fields than its type"
    )


def decode_value(data: bytes) -> Value:
    """The untyped value whose canonical encoding is `data`: arrays come as lists. Raises as `decode` does."""
    value: Value = decode(data, Value)
    return value


# The forms of the profile beyond one byte: first byte -> (bytes of the integer or length that follows,
# smallest number that needs this form). Signed forms hold negative integers only, and name the greatest one.
_UNSIGNED = {0xCC: (1, 1 << 7), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)}
_SIGNED = {0xD0: (1, -33), 0xD1: (2, -(1 << 7) - 1), 0xD2: (4, -(1 << 15) - 1), 0xD3: (8, -(1 << 31) - 1)}
_TEXTS = {0xD9: (1, 32), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)}
_BYTES = {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)}
_ARRAYS = {0xDC: (2, 16), 0xDD: (4, 1 << 16)}
_FORMS = {**_UNSIGNED, **_SIGNED, **_TEXTS, **_BYTES, **_ARRAYS}
_EXCLUDED = {
    0xC1: "a byte that MessagePack does not use",
    **dict.fromkeys((0xCA, 0xCB), "a float"),
    **dict.fromkeys((*range(0x80, 0x90), 0xDE, 0xDF), "a map"),
    **dict.fromkeys((*range(0xC7, 0xCA), *range(0xD4, 0xD9)), "an extension"),
}


def first_fault(data: bytes) -> CanonicalError | None:
    """Why `data` is not the canonical encoding of any value, or None if it is one.

    A fault of form ("canonical.malformed") anywhere goes before a long form ("canonical.not_canonical").
    Reads in one pass without recursion, in time proportional to `data`.
    """
    offset, size = 0, len(data)
    open_arrays: list[int] = []  # items still to come in each array around this place
    long_form: CanonicalError | None = None

    def malformed(what: str) -> CanonicalError:
        return CanonicalError("canonical.malformed", f"{what} at byte {start}", offset=start, size_bytes=size)

    while True:
        start = offset
        if start >= size:
            return malformed("the bytes end before the value")
        first = data[start]
        offset += 1
        if first in _EXCLUDED:
            return malformed(f"{_EXCLUDED[first]}, which the encoding excludes,")
        form = _FORMS.get(first)
        number = first & (0x1F if 0xA0 <= first < 0xC0 else 0x0F)  # the length in a one-byte form
        if form is not None:
            width, bound = form
            if offset + width > size:
                return malformed("a number that is cut off")
            number = int.from_bytes(data[offset : offset + width], "big", signed=first in _SIGNED)
            offset += width
            if (number > bound) if first in _SIGNED else (number < bound):
                long_form = long_form or CanonicalError(
                    "canonical.not_canonical",
                    f"a longer form than {number} needs at byte {start}",
                    offset=start,
                )
        is_text = 0xA0 <= first < 0xC0 or first in _TEXTS
        if is_text or first in _BYTES:
            if offset + number > size:
                return malformed("text or bytes that are cut off")
            if is_text:
                try:
                    data[offset : offset + number].decode("utf-8")
                except UnicodeDecodeError:
                    return malformed("text that is not UTF-8")
            offset += number
        elif 0x90 <= first < 0xA0 or first in _ARRAYS:
            if len(open_arrays) >= NESTING_DEPTH_MAX:
                return malformed(f"more than {NESTING_DEPTH_MAX} arrays inside one another")
            open_arrays.append(number + 1)
        # This value is complete, or is an array whose items (counted one too many) now begin.
        while open_arrays:
            open_arrays[-1] -= 1
            if open_arrays[-1]:
                break
            open_arrays.pop()
        if not open_arrays:
            if offset < size:
                start = offset
                return malformed("more bytes after the value")
            return long_form
