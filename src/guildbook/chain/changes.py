"""The change feed: what a block did, for readers that follow the ledger.

Each block's changes are kept beside it and streamed to followers. They can be recomputed from the blocks, so a
follower is disposable, and so is the feed. Format: docs/spec/changes.md.
"""

import msgspec

from guildbook.primitives.canonical import decode


class RowChange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A row that differs after the block: canonical row bytes before and after, None where absent.

    ``table`` is ``contract.table``; ``key`` the ordered primary key. At most one for each row and block, in the
    order of (table, key).
    """

    table: str
    key: bytes
    before: bytes | None
    after: bytes | None


class TransactionSummary(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Who sent a transaction and what it called; party and organisation are empty when the signer is unknown."""

    id: bytes
    party: str
    organisation: str
    calls: list[list[str]]


class BlockChanges(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All changes of one block; height 0 is genesis. ``receipts`` are canonical receipt bytes in block order."""

    height: int
    time_ms: int
    rows: list[RowChange]
    receipts: list[bytes]
    transactions: list[TransactionSummary]


def decode_changes(data: bytes) -> BlockChanges:
    """The changes in canonical ``data``; raises CanonicalError."""
    changes: BlockChanges = decode(data, BlockChanges)
    return changes
