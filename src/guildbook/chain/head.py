"""The head: what a ledger knows about its last committed block, in one small record."""

import msgspec

from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.cometbft import NO_BLOCK, BlockID, PartSetHeader
from guildbook.primitives.hashing import tagged

HEAD_KEY = b"Mhead"
GENESIS_KEY = b"Mgenesis"
FORMAT_KEY = b"Mformat"
KEPT_KEY = b"Mkept"
"""The first height whose block and changes are kept; absent where all are."""
RESTORE_KEY = b"Mrestore"
"""While a snapshot is being restored: its metadata; what was done so far stands behind it."""
STORE_FORMAT = 1


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last committed block and the roots after it.

    Roots and hashes are 32 bytes. ``time_ns`` is the block's time in nanoseconds since 1970, ``log_size`` the number
    of receipts since genesis. ``block_hash`` is empty at height 0. ``header_app_hash`` is the application hash that
    the block's own header states, that is the one after the block before.
    """

    height: int
    time_ns: int
    state_root: bytes
    log_root: bytes
    log_size: int
    app_hash: bytes
    results_hash: bytes
    block_hash: bytes
    parts_total: int
    parts_hash: bytes
    header_app_hash: bytes

    @property
    def block_id(self) -> BlockID:
        """The id of the last block; NO_BLOCK at height 0."""
        return (
            BlockID(self.block_hash, PartSetHeader(self.parts_total, self.parts_hash))
            if self.height
            else NO_BLOCK
        )

    @property
    def needs_proof_block(self) -> bool:
        """Whether the state after the last block is not yet stated by any header."""
        return self.app_hash != self.header_app_hash

    def encode(self) -> bytes:
        """The canonical bytes."""
        return encode(self)


class Roots(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the application hash after a block is made of: roots of 32 bytes, and the number of receipts."""

    state_root: bytes
    log_root: bytes
    log_size: int


def decode_head(data: bytes) -> Head:
    """The head in canonical ``data``; raises CanonicalError."""
    head: Head = decode(data, Head)
    return head


def application_hash(state_root: bytes, log_root: bytes, log_size: int) -> bytes:
    """The hash (32 bytes) that a header states over state and log: it moves only when one of them does."""
    return tagged("app", state_root, log_root, log_size.to_bytes(8, "big"))
