"""Entries of the receipt log: what a leaf commits to about one receipt, in 77 bytes.

The log's leaves are not the receipts themselves. A leaf has the transaction's id, the place and the outcome, and the
hash of the receipt: so whoever has the entries alone can show against the log's root which transactions a ledger has
seen, and a receipt can be kept elsewhere, or given up, without a gap in the log. Format: docs/spec/log.md.

    transaction id, 32 bytes || height, 8 bytes || index in the block, 4 bytes || outcome, 1 byte
        || SHA-256 of the receipt, 32 bytes

Integers are big-endian.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

ENTRY_SIZE_BYTES: Final = 77


class LogEntry(NamedTuple):
    """One entry: the id (32 bytes), block height, place in the block (from 0), outcome (0 applied, 1 rejected,
    2 invalid), and the SHA-256 (32 bytes) of the canonical receipt.
    """

    transaction: bytes
    height: int
    place: int
    outcome: int
    receipt_digest: bytes


def entry_of(receipt: bytes, transaction: bytes, height: int, index: int, outcome: int) -> bytes:
    """The entry (77 bytes) of the canonical ``receipt`` whose first four fields are the others.

    The id has 32 bytes, the integers fit in their places (8, 4 and 1 bytes): ValueError or OverflowError else.
    """
    if len(transaction) != 32:
        raise ValueError(f"an id of {len(transaction)} bytes")
    return b"%b%b%b%b%b" % (
        transaction,
        height.to_bytes(8, "big"),
        index.to_bytes(4, "big"),
        outcome.to_bytes(1, "big"),
        sha256(receipt).digest(),
    )


def read_entry(data: bytes) -> LogEntry:
    """The parts of an entry (77 bytes)."""
    assert len(data) == ENTRY_SIZE_BYTES, len(data)
    return LogEntry(
        data[:32],
        int.from_bytes(data[32:40], "big"),
        int.from_bytes(data[40:44], "big"),
        data[44],
        data[45:],
    )
