"""The documents that a node answers with and a client reads: one declaration for both sides.

Hashes, keys and other bytes are lower-case hexadecimal text; times are milliseconds since 1970 (``time_ms``) beside
RFC 3339 text in fields of contracts; heights count from 1, and 0 is genesis.
"""

import dataclasses
import re
from typing import Any

import msgspec

from guildbook.primitives.errors import GuildbookError

_POSITION = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?\Z")


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Position:
    """The place of an event: block height, and number of the event among all of that block's events, from 0."""

    height: int
    index: int

    def __str__(self) -> str:
        return f"{self.height}.{self.index}"


def parse_position(text: str) -> Position:
    """The position in ``HEIGHT`` or ``HEIGHT.INDEX``; raises GuildbookError ``api.bad_request``."""
    match = _POSITION.match(text)
    if match is None:
        raise GuildbookError(
            "api.bad_request",
            f"{text[:40]!r} is not a position in the events",
            hint="write HEIGHT or HEIGHT.INDEX, as in 17.3",
            position=text[:40],
        )
    return Position(int(match[1]), int(match[2] or 0))


class EventDocument(msgspec.Struct, frozen=True):
    """One event: ``position`` is ``HEIGHT.INDEX``, ``transaction`` the id of its transaction."""

    position: str
    height: int
    index: int
    time_ms: int
    transaction: str
    contract: str
    event: str
    fields: dict[str, Any]


class EventInReceipt(msgspec.Struct, frozen=True):
    """One event as a receipt has it."""

    contract: str
    event: str
    fields: dict[str, Any]


class ReceiptDocument(msgspec.Struct, frozen=True):
    """What became of a transaction.

    ``outcome`` is ``applied``, ``rejected`` or ``invalid``. When it was refused, ``code`` and ``fields`` say why in
    the ledger's terms, ``message`` and ``next_step`` in words. ``receipt`` is the canonical receipt, the leaf of the
    log at ``log_index`` (None for an invalid transaction, whose id is not used up).
    """

    id: str
    height: int
    index: int
    log_index: int | None
    time_ms: int
    party: str
    organisation: str
    outcome: str
    code: str
    message: str
    next_step: str
    fields: dict[str, Any]
    results: list[Any]
    events: list[EventInReceipt]
    receipt: str

    @property
    def result(self) -> Any:
        """What the first call returned, in written form; None when the transaction was refused."""
        return self.results[0] if self.results else None


class TransactionLine(msgspec.Struct, frozen=True):
    """A transaction as a block's page lists it; ``calls`` are ``contract.command``."""

    id: str
    outcome: str
    code: str
    party: str
    organisation: str
    calls: list[str]


class BlockDocument(msgspec.Struct, frozen=True):
    """A block: what its header states, and its transactions (the first ones, where there are many).

    ``app_hash`` is the hash of state and log after the block before this one, as its header states it.
    """

    height: int
    hash: str
    time_ms: int
    proposer: str
    app_hash: str
    last_block_hash: str
    data_hash: str
    validators_hash: str
    size_bytes: int
    rows_changed: int
    transaction_count: int
    transactions: list[TransactionLine]


class ContractLine(msgspec.Struct, frozen=True):
    """A running contract by version and source hash."""

    name: str
    version: int
    source: str


class StatusDocument(msgspec.Struct, frozen=True):
    """Where a network stands. ``provable_height`` is the last height whose state a signed header states
    (None before the first block).
    """

    network: str
    genesis_hash: str
    height: int
    provable_height: int | None
    time_ms: int
    block_hash: str
    app_hash: str
    state_root: str
    log_root: str
    log_size: int
    validity_blocks_max: int
    software: str
    contracts: list[ContractLine]


class RowsDocument(msgspec.Struct, frozen=True):
    """Rows of a table in key order as of ``height``; ``next`` is the cursor of the next page, None at the end."""

    table: str
    height: int
    rows: list[dict[str, Any]]
    next: str | None


class RowDocument(msgspec.Struct, frozen=True):
    """One row as of ``height``; ``encoded`` is its canonical form, the leaf of the state tree under ``key``."""

    table: str
    height: int
    row: dict[str, Any]
    key: str
    encoded: str


class QueryAnswer(msgspec.Struct, frozen=True):
    """The result of a contract's query as of ``height``."""

    query: str
    height: int
    result: Any


class SqlAnswer(msgspec.Struct, frozen=True):
    """The rows of a SQL statement, as of ``height``; ``kinds`` are the SQL types of the columns."""

    height: int
    columns: list[str]
    kinds: list[str]
    rows: list[list[Any]]


class PreparedDocument(msgspec.Struct, frozen=True):
    """A transaction's body for a key that is held elsewhere.

    ``body`` is what an envelope carries, ``sign`` the bytes that the key signs, ``id`` the transaction's id.
    """

    id: str
    body: str
    sign: str
    valid_until: int
    nonce: str


class PendingDocument(msgspec.Struct, frozen=True):
    """A transaction that was handed in and is not in a block yet."""

    id: str
    state: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=False):
    """A problem (RFC 9457): ``code`` is a row of the error table, ``fields`` the values involved."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fields: dict[str, Any]
    next_step: str


class HealthDocument(msgspec.Struct, frozen=True):
    """Whether a node can serve; ``reasons`` say why not."""

    ready: bool
    reasons: list[str]


class ErrorRow(msgspec.Struct, frozen=True):
    """One row of the error table."""

    code: str
    http_status: int
    exit_status: int
    summary: str
    next_step: str
