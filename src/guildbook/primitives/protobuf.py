"""The protobuf wire format, as far as CometBFT's structures need it.

A message is a run of fields. A field is a varint key `(number << 3) | wire type` and a value: a varint (wire
type 0), eight little-endian bytes (1), or a varint length with that many bytes (2), which may themselves be a
message. Integers are 64-bit two's complement inside a varint, so every negative one takes ten bytes.

Protobuf allows many byte strings for one message. Hashes and signatures need exactly one, so the writers here
keep CometBFT's choice: fields in ascending order, minimal varints, zero scalars and empty byte strings left
out, embedded messages written even when empty wherever the Go structure holds them by value. The reader is
generous about order only because its callers encode what they have read again and compare.

Source: the protobuf encoding guide (proto3), and the Go structures of CometBFT v0.38 and v0.39.
"""

from __future__ import annotations

from collections.abc import Iterator

from guildbook.primitives.errors import GuildbookError

VARINT = 0
FIXED64 = 1
BYTES = 2

VARINT_SIZE_BYTES_MAX = 10
"""A 64-bit number takes at most ten groups of seven bits."""
FIELD_NUMBER_MAX = (1 << 29) - 1
INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
_UINT64_MASK = (1 << 64) - 1


class ProtobufError(GuildbookError):
    """The bytes are not a protobuf message of the expected shape; code `protobuf.malformed`."""

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(
            "protobuf.malformed",
            message,
            hint="The bytes were damaged on the way, or are another kind of message; fetch them again.",
            **fields,
        )


def varint(value: int) -> bytes:
    """The unsigned LEB128 form of `value`, 0 <= value < 2^64, in as few bytes as possible."""
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append((value & 0x7F) | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def integer(number: int, value: int) -> bytes:
    """An int32, int64, uint64, bool or enum field; nothing when `value` is 0. Range: [-2^63, 2^64 - 1]."""
    if value == 0:
        return b""
    return varint(number << 3 | VARINT) + varint(value & _UINT64_MASK)


def sfixed64(number: int, value: int) -> bytes:
    """An sfixed64 field: eight little-endian bytes; nothing when `value` is 0. Range: [-2^63, 2^63 - 1]."""
    if value == 0:
        return b""
    return varint(number << 3 | FIXED64) + value.to_bytes(8, "little", signed=True)


def octets(number: int, value: bytes) -> bytes:
    """A bytes or string field; nothing when `value` is empty."""
    if not value:
        return b""
    return message(number, value)


def message(number: int, value: bytes) -> bytes:
    """An embedded message, or an element of a repeated bytes field: written even when `value` is empty."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def delimited(value: bytes) -> bytes:
    """`value` behind its length as a varint: the form in which CometBFT signs votes."""
    return varint(len(value)) + value


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The unsigned number at `offset` and the offset behind it; `ProtobufError` when it is cut short or wider
    than 64 bits.
    """
    value = 0
    for position in range(VARINT_SIZE_BYTES_MAX):
        if offset + position >= len(data):
            raise ProtobufError("a varint is cut short", offset=offset)
        octet = data[offset + position]
        value |= (octet & 0x7F) << (7 * position)
        if octet < 0x80:
            if value > _UINT64_MASK:
                break
            return value, offset + position + 1
    raise ProtobufError("a varint is wider than 64 bits", offset=offset)


def fields(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The fields of a message in the order of its bytes: (number, wire type, integer, octets).

    `integer` holds varints (unsigned) and fixed64 (signed), `octets` holds length-delimited values; the other
    is 0 or empty. Raises `ProtobufError` for a cut or unknown field, so for anything but a well-formed
    message.
    """
    offset = 0
    while offset < len(data):
        key, offset = read_varint(data, offset)
        number, wire = key >> 3, key & 7
        if not 1 <= number <= FIELD_NUMBER_MAX:
            raise ProtobufError("a field number is out of range", number=number)
        if wire == VARINT:
            value, offset = read_varint(data, offset)
            yield number, wire, value, b""
        elif wire == BYTES:
            size, offset = read_varint(data, offset)
            if size > len(data) - offset:
                raise ProtobufError("a field is cut short", number=number, size_bytes=size)
            yield number, wire, 0, data[offset : offset + size]
            offset += size
        elif wire == FIXED64:
            if len(data) - offset < 8:
                raise ProtobufError("a field is cut short", number=number, size_bytes=8)
            yield number, wire, int.from_bytes(data[offset : offset + 8], "little", signed=True), b""
            offset += 8
        else:
            raise ProtobufError("a field has an unknown wire type", number=number, wire=wire)


class Message:
    """The fields of one message by number, for a decoder that knows which it expects.

    Each getter takes its field away; `close` refuses what is left, so an unknown or doubled field cannot slip
    through.
    """

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._fields: dict[int, list[tuple[int, int, bytes]]] = {}
        for number, wire, value, payload in fields(data):
            self._fields.setdefault(number, []).append((wire, value, payload))

    def _one(self, number: int, wire: int) -> tuple[int, bytes] | None:
        found = self._fields.pop(number, None)
        if found is None:
            return None
        if len(found) != 1 or found[0][0] != wire:
            raise ProtobufError(f"{self._name}: field {number} is doubled or of another type", number=number)
        return found[0][1], found[0][2]

    def unsigned(self, number: int) -> int:
        """A uint64 field, 0 when absent."""
        found = self._one(number, VARINT)
        return 0 if found is None else found[0]

    def signed(self, number: int) -> int:
        """An int64 field (two's complement), 0 when absent."""
        value = self.unsigned(number)
        return value - (1 << 64) if value > INT64_MAX else value

    def octets(self, number: int) -> bytes:
        """A bytes field, empty when absent."""
        found = self._one(number, BYTES)
        return b"" if found is None else found[1]

    def text(self, number: int) -> str:
        """A string field, empty when absent; refused unless it is UTF-8."""
        try:
            return self.octets(number).decode("utf-8")
        except UnicodeDecodeError:
            raise ProtobufError(f"{self._name}: field {number} is not UTF-8", number=number) from None

    def message(self, number: int) -> bytes:
        """An embedded message which must be there, even if empty."""
        found = self._one(number, BYTES)
        if found is None:
            raise ProtobufError(f"{self._name}: field {number} is missing", number=number)
        return found[1]

    def repeated(self, number: int) -> tuple[bytes, ...]:
        """All elements of a repeated bytes or message field, in order."""
        found = self._fields.pop(number, [])
        if any(wire != BYTES for wire, _, _ in found):
            raise ProtobufError(f"{self._name}: field {number} is of another type", number=number)
        return tuple(payload for _, _, payload in found)

    def close(self) -> None:
        """Refuses any field no getter has asked for."""
        if self._fields:
            number = min(self._fields)
            raise ProtobufError(f"{self._name}: field {number} is unknown", number=number)
