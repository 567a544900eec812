"""Bundles: what the engine orders. A bundle is the canonical array of the envelopes that it carries.

The engine sees one opaque item; each transaction in it is signed, refused or applied, and proven on its own.
"""

from collections.abc import Sequence

import msgspec

from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError

_decode = msgspec.msgpack.Decoder(list[bytes]).decode
_encode = msgspec.msgpack.Encoder().encode


def encode_bundle(envelopes: Sequence[bytes]) -> bytes:
    """The bundle that carries ``envelopes`` in this order."""
    return encode(list(envelopes))


def decode_bundle(data: bytes) -> list[bytes]:
    """The envelopes in a bundle; raises GuildbookError ``block.malformed``."""
    try:
        envelopes = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        envelopes = None
    if envelopes is None or _encode(envelopes) != data:
        raise GuildbookError(
            "block.malformed",
            "a bundle is not a canonical array of envelopes",
            hint="the member that proposed the block runs faulty software",
            size_bytes=len(data),
        )
    return envelopes
