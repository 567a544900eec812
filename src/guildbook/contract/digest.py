"""What a decision is bound to: one digest of typed values, the same for a contract and for whoever signs.

An approval, a consent or a case says yes to something exact. That something is the canonical encoding of values
(docs/spec/encoding.md) under a name that keeps kinds of content apart, so that what was approved as one thing never
passes for another.
"""

from typing import Any

from guildbook.primitives.canonical import encode
from guildbook.primitives.hashing import sha256

CONTENT_PREFIX = b"guildbook/content/v1\0"


def digest_of(kind: str, *values: Any) -> bytes:
    """The digest (32 bytes) of ``values`` as content of ``kind``: SHA-256 of a prefix and of the canonical encoding
    of [kind, values...].

    Values are None, booleans, integers of 64 bits, text, bytes, enumerations, records, and tuples of these. Whoever
    approves computes it over the same values outside the ledger.
    """
    return sha256(CONTENT_PREFIX + encode([kind, *values]))
