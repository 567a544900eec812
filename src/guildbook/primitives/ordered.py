"""Keys whose bytes sort as their values do.

A key-value store orders keys as unsigned bytes, and the state tree commits to that order. So each component
of a primary key or index is encoded such that three laws hold for values of one kind:

* order: `a < b` exactly if `encode(a) < encode(b)` as bytes;
* self-delimiting: decoding needs no length, so components are joined without separators;
* prefix-free: no encoding is a proper prefix of another, so keys of the same kinds sort component by
  component, and the keys that begin with given components are one unbroken range: `prefix` up to
  `prefix_end(prefix)`.

| kind   | encoding |
|--------|----------|
| int    | 8 bytes, big-endian, of value + 2^63; the range is [-2^63, 2^63 - 1] |
| bool   | 1 byte, 00 or 01 |
| text   | UTF-8, with each byte 00 written 00 FF, then 00 00; sorts by code point |
| bytes  | as text, without UTF-8 |
| digest | 32 bytes as they are |
| optional | 00 for nothing; 01 and the encoding of the value: nothing sorts first |

Each decoder takes the whole key and the offset of its component, and returns the value and the next offset.
Every refusal is a `GuildbookError` "canonical.malformed".
"""

from __future__ import annotations

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import DIGEST_SIZE_BYTES

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
INT_SIZE_BYTES = 8
_INT_OFFSET = 2**63
_END = b"\0\0"
_ESCAPED_ZERO = b"\0\xff"


def _malformed(what: str, key: bytes, offset: int) -> GuildbookError:
    return GuildbookError(
        "canonical.malformed", f"key {key.hex()} has no {what} at byte {offset}", key=key, offset=offset
    )


def encode_int(value: int) -> bytes:
    """8 bytes for an integer in [-2^63, 2^63 - 1]; raises "canonical.malformed" outside it."""
    if not INT_MIN <= value <= INT_MAX:
        raise GuildbookError(
            "canonical.malformed",
            f"the integer {value} does not fit a key: keys hold 64 bits signed",
            value=value,
        )
    return (value + _INT_OFFSET).to_bytes(INT_SIZE_BYTES, "big")


def decode_int(key: bytes, offset: int = 0) -> tuple[int, int]:
    """The integer at `offset`, and the offset after it; raises "canonical.malformed" if fewer than 8 bytes
    are left.
    """
    end = offset + INT_SIZE_BYTES
    if end > len(key):
        raise _malformed("integer", key, offset)
    return int.from_bytes(key[offset:end], "big") - _INT_OFFSET, end


def encode_bool(value: bool) -> bytes:
    """1 byte: 00 for False, 01 for True."""
    return b"\x01" if value else b"\x00"


def decode_bool(key: bytes, offset: int = 0) -> tuple[bool, int]:
    """The truth value at `offset`, and the offset after it; refuses bytes other than 00 and 01."""
    end = offset + 1
    byte = key[offset:end]
    if byte not in (b"\0", b"\x01"):
        raise _malformed("truth value", key, offset)
    return byte == b"\x01", end


def encode_bytes(value: bytes) -> bytes:
    """`value` with 00 written as 00 FF, then 00 00: between length + 2 and 2 * length + 2 bytes."""
    return value.replace(b"\0", _ESCAPED_ZERO) + _END


def decode_bytes(key: bytes, offset: int = 0) -> tuple[bytes, int]:
    """The bytes at `offset`, and the offset after their end; raises "canonical.malformed" if the end is
    missing or a zero is escaped in another way.
    """
    at = offset
    while True:
        at = key.find(b"\0", at)
        following = key[at + 1 : at + 2] if at >= 0 else b""
        if following == b"\0":
            return key[offset:at].replace(_ESCAPED_ZERO, b"\0"), at + 2
        if following != b"\xff":
            raise _malformed("ended text or bytes", key, offset)
        at += 2


def encode_text(value: str) -> bytes:
    """The UTF-8 of `value` as `encode_bytes` writes it; raises "canonical.malformed" for a lone surrogate."""
    try:
        return encode_bytes(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise GuildbookError(
            "canonical.malformed", f"the text {value!r} has no UTF-8: {error.reason}", value=value
        ) from error


def decode_text(key: bytes, offset: int = 0) -> tuple[str, int]:
    """The text at `offset`, and the offset after it; raises "canonical.malformed" if it is not ended or not
    UTF-8.
    """
    raw, end = decode_bytes(key, offset)
    try:
        return raw.decode("utf-8"), end
    except UnicodeDecodeError as error:
        raise _malformed("UTF-8 text", key, offset) from error


def encode_digest(value: bytes) -> bytes:
    """The 32 bytes themselves; raises "canonical.malformed" for another length."""
    if len(value) != DIGEST_SIZE_BYTES:
        raise GuildbookError(
            "canonical.malformed",
            f"a digest has {DIGEST_SIZE_BYTES} bytes, and this has {len(value)}",
            value=value,
        )
    return value


def decode_digest(key: bytes, offset: int = 0) -> tuple[bytes, int]:
    """The digest at `offset`, and the offset after it; raises "canonical.malformed" if fewer than 32 bytes
    are left.
    """
    end = offset + DIGEST_SIZE_BYTES
    if end > len(key):
        raise _malformed("digest", key, offset)
    return key[offset:end], end


def encode_optional(encoded: bytes | None) -> bytes:
    """00 for None; 01 and `encoded` (the encoding of the value that is present) otherwise."""
    return b"\x00" if encoded is None else b"\x01" + encoded


def decode_presence(key: bytes, offset: int = 0) -> tuple[bool, int]:
    """Whether an optional component is present, and the offset of its value (if absent: of the next
    component); raises "canonical.malformed" for any byte but 00 and 01.
    """
    return decode_bool(key, offset)


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key greater than every key that begins with `prefix`: with `prefix` itself, the ends of a
    range.

    None if there is none, which is so for the empty prefix and for one of FF alone: the range has no end.
    """
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return None
    return kept[:-1] + bytes((kept[-1] + 1,))
