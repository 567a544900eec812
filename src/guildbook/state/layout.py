"""The store's key spaces: the first byte of every key.

One ordered keyspace holds everything a block changes, so that one write batch is one block
(docs/spec/store.md). Within a space the rest of the key orders its content.
"""

ROWS = b"R"
"""table name, 00, ordered primary key -> canonical row."""
INDEXES = b"I"
"""table name, 00, field names joined by ',', 00, ordered fields, rest of the primary key -> ordered primary key."""
TREE = b"T"
"""path of a branch of the state tree -> branch."""
LOG = b"L"
"""tile of the receipt log -> hashes."""
ENTRIES = b"E"
"""place in the log of the first receipt of a block, 8 bytes big endian -> entries of that block's receipts, joined."""
BLOCKS = b"B"
"""height, 8 bytes big endian -> protobuf block."""
COMMITS = b"K"
"""height -> the commit that decided the block of that height (protobuf)."""
CHANGES = b"X"
"""height -> canonical BlockChanges: the block's receipts and changed rows."""
TRANSACTIONS = b"D"
"""transaction id, 32 bytes -> canonical [height, index, log index]."""
VALIDATORS = b"V"
"""height from which a validator set holds -> protobuf validator set."""
ROOTS = b"A"
"""height -> canonical [state root, log root, log size] after that block."""
DECIDED = b"J"
"""height -> canonical Decided: a block that was run, and whose full form with its commit is still to be fetched."""
META = b"M"
"""names of single values: format, network, genesis, head."""

ROWS_END = b"S"
"""Behind the last key of the rows."""

SPACES = (
    ROOTS,
    BLOCKS,
    TRANSACTIONS,
    ENTRIES,
    INDEXES,
    DECIDED,
    COMMITS,
    LOG,
    META,
    ROWS,
    TREE,
    VALIDATORS,
    CHANGES,
)


def height_key(space: bytes, height: int) -> bytes:
    """The key of ``height`` (0 to 2**63 - 1) in ``space``."""
    return space + height.to_bytes(8, "big")
