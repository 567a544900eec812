"""The canonical encoding in plain Python: the auditor's reading of the rule, and the stand-alone verifier's.

It shares no code with `guildbook.primitives.canonical`, needs nothing but the language, and is tested to
accept the same bytes and to give the same values. The reader knows the shortest form of everything and
refuses any other, so what it reads has one spelling.

Source: docs/spec/encoding.md; MessagePack specification (2013).
"""

from __future__ import annotations

from typing import TypeAlias, Union

from guildbook.primitives.errors import GuildbookError

NESTING_DEPTH_MAX = 32

Value: TypeAlias = Union[bool, int, str, bytes, "list[Value]", None]
"""What the encoding can say; arrays are read as lists."""

# First byte: (bytes of the number behind it, the least number that no shorter form can say). The numbers
# behind a signed first byte are negative, and theirs is the greatest one.
_UNSIGNED = {0xCC: (1, 1 << 7), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)}
_SIGNED = {0xD0: (1, -33), 0xD1: (2, -(1 << 7) - 1), 0xD2: (4, -(1 << 15) - 1), 0xD3: (8, -(1 << 31) - 1)}
_TEXT = {0xD9: (1, 32), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)}
_BYTES = {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)}
_ARRAY = {0xDC: (2, 16), 0xDD: (4, 1 << 16)}


def _refused(message: str, offset: int) -> GuildbookError:
    return GuildbookError("canonical.malformed", f"{message} at byte {offset}", offset=offset)


def encode_value(value: Value | tuple[object, ...]) -> bytes:
    """The canonical bytes of `value`. Raises `GuildbookError` "canonical.malformed" for what has none."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _encode_integer(value)
    if isinstance(value, str):
        try:
            text = value.encode("utf-8")
        except UnicodeEncodeError:
            raise _refused("text that has no UTF-8 form", 0) from None
        return _head(len(text), 0xA0, 32, _TEXT) + text
    if isinstance(value, bytes):
        return _head(len(value), 0, 0, _BYTES) + value
    if isinstance(value, (list, tuple)):
        return _head(len(value), 0x90, 16, _ARRAY) + b"".join(map(encode_value, value))  # type: ignore[arg-type]
    raise _refused(f"a {type(value).__name__}, which has no canonical form,", 0)


def _encode_integer(value: int) -> bytes:
    if 0 <= value < 0x80:
        return bytes((value,))
    if -32 <= value < 0:
        return bytes((0x100 + value,))
    for first, (width, _) in (_UNSIGNED if value >= 0 else _SIGNED).items():
        if (value if value >= 0 else -value - 1) < 1 << (8 * width - (value < 0)):
            return bytes((first,)) + value.to_bytes(width, "big", signed=value < 0)
    raise _refused("an integer out of range", 0)


def _head(size: int, short: int, short_end: int, long: dict[int, tuple[int, int]]) -> bytes:
    """The bytes in front of text, bytes or an array of `size`: in one byte if `size` is below `short_end`."""
    if size < short_end:
        return bytes((short | size,))
    for first, (width, _) in long.items():
        if size < 1 << (8 * width):
            return bytes((first,)) + size.to_bytes(width, "big")
    raise _refused("more than the encoding can count", 0)


def decode_value(data: bytes) -> Value:
    """The one value whose canonical encoding is `data`.

    Raises `GuildbookError` "canonical.malformed" for anything else: other types, longer forms, text that is
    not UTF-8, more than `NESTING_DEPTH_MAX` arrays inside one another, or bytes after the value.
    """
    value, offset = _read(data, 0, 0)
    if offset != len(data):
        raise _refused("more bytes after the value", offset)
    return value


def _read(data: bytes, start: int, depth: int) -> tuple[Value, int]:
    """The value at `start`, inside `depth` arrays, and where the next one begins."""
    if start >= len(data):
        raise _refused("the end instead of a value", start)
    first = data[start]
    if first < 0x80:
        return first, start + 1
    if first >= 0xE0:
        return first - 0x100, start + 1
    if first in (0xC0, 0xC2, 0xC3):
        return (None if first == 0xC0 else first == 0xC3), start + 1
    if 0xA0 <= first < 0xC0:
        return _read_text(data, start + 1, first & 0x1F)
    if 0x90 <= first < 0xA0:
        return _read_array(data, start, start + 1, first & 0x0F, depth)
    if first in _UNSIGNED:
        return _read_number(data, start, *_UNSIGNED[first])
    if first in _SIGNED:
        return _read_signed(data, start, *_SIGNED[first])
    if first in _TEXT:
        size, offset = _read_number(data, start, *_TEXT[first])
        return _read_text(data, offset, size)
    if first in _BYTES:
        size, offset = _read_number(data, start, *_BYTES[first])
        if size > len(data) - offset:
            raise _refused("bytes that are cut off", start)
        return data[offset : offset + size], offset + size
    if first in _ARRAY:
        size, offset = _read_number(data, start, *_ARRAY[first])
        return _read_array(data, start, offset, size, depth)
    raise _refused(f"a byte {first:#04x}, which begins no value of the encoding,", start)


def _read_number(data: bytes, start: int, width: int, least: int) -> tuple[int, int]:
    """The unsigned number of `width` bytes behind the byte at `start`; refused if fewer bytes could say
    it.
    """
    offset = start + 1 + width
    if offset > len(data):
        raise _refused("a number that is cut off", start)
    number = int.from_bytes(data[start + 1 : offset], "big")
    if number < least:
        raise _refused("a longer form than needed", start)
    return number, offset


def _read_signed(data: bytes, start: int, width: int, greatest: int) -> tuple[int, int]:
    """The negative number of `width` bytes behind the byte at `start`; refused if fewer bytes could say
    it.
    """
    offset = start + 1 + width
    if offset > len(data):
        raise _refused("a number that is cut off", start)
    number = int.from_bytes(data[start + 1 : offset], "big", signed=True)
    if number > greatest:
        raise _refused("a longer form than needed", start)
    return number, offset


def _read_text(data: bytes, offset: int, size: int) -> tuple[str, int]:
    if size > len(data) - offset:
        raise _refused("text that is cut off", offset)
    try:
        return data[offset : offset + size].decode("utf-8"), offset + size
    except UnicodeDecodeError:
        raise _refused("text that is not UTF-8", offset) from None


def _read_array(data: bytes, start: int, offset: int, size: int, depth: int) -> tuple[list[Value], int]:
    if depth >= NESTING_DEPTH_MAX:
        raise _refused("too many arrays inside one another", start)
    if size > len(data) - offset:
        raise _refused("an array that is cut off", start)
    items = []
    for _ in range(size):
        item, offset = _read(data, offset, depth + 1)
        items.append(item)
    return items, offset
