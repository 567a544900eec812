"""The network's parameters: limits that every member must apply alike, so they live on the ledger.

The rows are written by the foundation contract ``governance`` and read here when a block begins. A parameter
without a row has its default. Nothing that decides whether a transaction is valid is read from a node's own
configuration.
"""

import msgspec

from guildbook.state.overlay import Overlay
from guildbook.state.record import Code, Int, Record, key
from guildbook.state.schema import TableSchema


class Parameter(Record):
    """One parameter and its value."""

    name: Code = key()
    value: Int


PARAMETERS = TableSchema("governance.parameters", Parameter)


class Parameters(msgspec.Struct, frozen=True):
    """The values in force for one block."""

    transaction_size_bytes_max: int = 262_144
    """Size of one transaction's envelope, bytes."""
    calls_per_transaction_max: int = 32
    """Calls in one transaction."""
    rows_touched_max: int = 20_000
    """Rows that one transaction may read or write, counted each time."""
    events_max: int = 1_024
    """Events that one transaction may emit."""
    validity_blocks_max: int = 1_000_000
    """How far ahead of the running block a transaction's last valid height may lie, blocks."""
    block_transactions_max: int = 4_000
    """Transactions in one block."""
    block_size_bytes_max: int = 4_194_304
    """Size of a block's transactions, bytes."""
    misbehaviour_removes: int = 1
    """1: a validator that the engine reports is removed; 0: its report is recorded alone."""


BOUNDS: dict[str, tuple[int, int]] = {
    "transaction_size_bytes_max": (4_096, 1_048_576),
    "calls_per_transaction_max": (1, 1_024),
    "rows_touched_max": (100, 10_000_000),
    "events_max": (16, 1_000_000),
    "validity_blocks_max": (100, 100_000_000),
    "block_transactions_max": (1, 100_000),
    "block_size_bytes_max": (65_536, 67_108_864),
    "misbehaviour_removes": (0, 1),
}
"""The lowest and highest value that each parameter may be given."""


def parameters_in_force(overlay: Overlay) -> Parameters:
    """The parameters as the ledger has them."""
    stored = {row.name: row.value for row in overlay.scan(PARAMETERS, None, PARAMETERS.row_prefix)}
    return Parameters(**{name: stored[name] for name in Parameters.__struct_fields__ if name in stored})
