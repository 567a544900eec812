"""The feed: blocks of changes become columns to append.

Theory. DuckDB takes rows well by the thousand and badly by one, so the changes of one block or of several are
collected per relation and handed over as Arrow columns. Nothing here decides anything: a row's bytes are read as the
array that they are, in the order of the declared fields.

Two values have no exact place in SQL. A timestamp after the year 9999 is stored as ``TIMESTAMP_LATEST_US``, which no
millisecond value equals. An array reads as JSON text: records as objects, bytes as lower-case hexadecimal digits,
timestamps as milliseconds.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from guildbook.chain.changes import BlockChanges
from guildbook.chain.receipt import Outcome, Receipt
from guildbook.primitives.errors import GuildbookError
from guildbook.views.schema import (
    BLOCK_COLUMNS,
    EVENT_COLUMNS,
    HISTORY_COLUMNS,
    TRANSACTION_COLUMNS,
    EventView,
    Field,
    Shape,
    TableView,
    ViewSchema,
    events_of,
    history_of,
)

TIMESTAMP_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999."""
TIMESTAMP_LATEST_US = 253_402_300_799_999_999
"""How a later timestamp is stored: 9999-12-31T23:59:59.999999Z."""

_ARROW_TYPES = {"BIGINT": pa.int64(), "TIMESTAMP": pa.timestamp("us"), "BOOLEAN": pa.bool_(), "VARCHAR": pa.string(),
                "BLOB": pa.binary()}
_OUTCOMES = {outcome.value: outcome.name.lower() for outcome in Outcome}

_decode_block = msgspec.msgpack.Decoder(BlockChanges).decode
_decode_row = msgspec.msgpack.Decoder(list).decode
_decode_receipt = msgspec.msgpack.Decoder(Receipt).decode
_encode_json = msgspec.json.Encoder().encode


def as_block(changes: BlockChanges | bytes) -> BlockChanges:
    """The block of changes itself, decoded if it comes as canonical bytes.

    Raises GuildbookError ``views.corrupt`` for bytes that are no block of changes.
    """
    if isinstance(changes, BlockChanges):
        return changes
    try:
        return _decode_block(changes)
    except msgspec.MsgspecError as error:
        raise GuildbookError("views.corrupt", f"the change feed holds {len(changes)} bytes that are no block: {error}",
                             hint="check the node's store, then let the views be built again") from error


def json_text(value: Any, shape: Shape | None) -> str:
    """A structured value as compact JSON text."""
    return _encode_json(_plain(value, shape)).decode()


def _plain(value: Any, shape: Shape | None) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if not isinstance(value, list):
        return value
    if shape is None:
        return [_plain(item, None) for item in value]
    if not shape.names:
        return [_plain(item, shape.parts[0]) for item in value]
    return {name: _plain(item, part) for name, item, part in zip(shape.names, value, shape.parts, strict=False)}


def _microseconds(milliseconds: int | None) -> int | None:
    """A timestamp as it is stored."""
    if milliseconds is None:
        return None
    return milliseconds * 1000 if milliseconds <= TIMESTAMP_MS_MAX else TIMESTAMP_LATEST_US


def _column(kind: str, shape: Shape | None, values: tuple[Any, ...]) -> pa.Array:
    match kind:
        case "TIMESTAMP":
            return pa.array(map(_microseconds, values), _ARROW_TYPES[kind])
        case "JSON":
            return pa.array([None if value is None else json_text(value, shape) for value in values], pa.string())
        case _:
            return pa.array(values, _ARROW_TYPES[kind])


class _Rows:
    """The rows collected for one relation, each a list in the order of the columns."""

    def __init__(self, own: tuple[tuple[str, str], ...], fields: tuple[Field, ...]) -> None:
        self.own_count = len(own)
        self.fields = fields
        self.names = tuple(name for name, _type in own) + tuple(field.name for field in fields)
        self._kinds: list[tuple[str, Shape | None]] = [(kind, None) for _name, kind in own] + [
            ("JSON", field.shape) if field.kind == "json" else (field.column[1], None) for field in fields]
        self.rows: list[list[Any]] = []

    def padded(self, values: list[Any]) -> list[Any]:
        """Field values, with NULL for the fields that an older version did not have."""
        return values + [None] * (len(self.fields) - len(values))

    def arrow(self) -> pa.Table:
        """The rows as one Arrow table."""
        columns = zip(*self.rows, strict=True)
        return pa.table({name: _column(kind, shape, values) for name, (kind, shape), values
                         in zip(self.names, self._kinds, columns, strict=True)})


class Batch:
    """The changes of consecutive blocks, ready to be appended in one database transaction."""

    def __init__(self, schema: ViewSchema) -> None:
        self._tables: dict[str, TableView] = {table.name: table for table in schema.tables}
        self._events: dict[str, EventView] = {event.name: event for event in schema.events}
        self._changes: dict[str, _Rows] = {}
        self._stated: dict[str, _Rows] = {}
        self._blocks = _Rows(BLOCK_COLUMNS, ())
        self._transactions = _Rows(TRANSACTION_COLUMNS, ())
        self.row_count = 0
        """Rows to append, in all relations."""
        self.height = -1
        self.time_ms = 0

    def add(self, block: BlockChanges) -> None:
        """Take the changes of the next block.

        Raises GuildbookError ``views.unknown_table`` for a table, event or field that the schema lacks, and
        ``views.corrupt`` for bytes that do not fit their declaration. Then the batch must be thrown away.
        """
        time_ms = block.time_ms
        try:
            self._add_rows(block)
            self._add_receipts(block)
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            raise GuildbookError(
                "views.corrupt", f"the changes of block {block.height} do not fit their declaration: {error}",
                hint="check the node's store, then let the views be built again", height=block.height) from error
        self._blocks.rows.append([block.height, time_ms, len(block.receipts), len(block.rows)])
        self.row_count += 1
        self.height, self.time_ms = block.height, time_ms

    def _add_rows(self, block: BlockChanges) -> None:
        height, time_ms = block.height, block.time_ms
        seen: set[tuple[str, bytes]] = set()
        for change in block.rows:
            image = change.after if change.after is not None else change.before
            if image is None or (change.table, change.key) in seen:
                raise ValueError(f"row {change.key.hex()} of {change.table} has no image, or two changes")
            seen.add((change.table, change.key))
            rows = self._changes.get(change.table) or self._table(change.table)
            operation = "insert" if change.before is None else "delete" if change.after is None else "update"
            values = _decode_row(image)
            if len(values) != len(rows.fields):
                self._check_length(change.table, len(values), len(rows.fields))
                values = rows.padded(values)
            rows.rows.append([height, time_ms, operation, *values])
        self.row_count += len(block.rows)

    def _add_receipts(self, block: BlockChanges) -> None:
        for data, summary in zip(block.receipts, block.transactions, strict=True):
            receipt = _decode_receipt(data)
            self._transactions.rows.append([
                receipt.transaction, receipt.height, receipt.index, block.time_ms, summary.party, summary.organisation,
                _OUTCOMES[receipt.outcome], receipt.code,
                _encode_json({name: _plain(value, None) for name, value in receipt.fields}).decode(),
                _encode_json([f"{contract}.{command}" for contract, command in summary.calls]).decode(),
                json_text(receipt.results, None)])
            for place, (contract, event, values) in enumerate(receipt.events):
                name = f"{contract}.{event}"
                rows = self._stated.get(name) or self._event(name)
                if len(values) != len(rows.fields):
                    self._check_length(name, len(values), len(rows.fields))
                    values = rows.padded(values)
                rows.rows.append([receipt.height, receipt.index, place, block.time_ms, receipt.transaction, *values])
            self.row_count += 1 + len(receipt.events)

    def _table(self, name: str) -> _Rows:
        table = self._tables.get(name)
        if table is None:
            raise _unknown(f"table {name}")
        rows = self._changes[name] = _Rows(HISTORY_COLUMNS, table.fields)
        return rows

    def _event(self, name: str) -> _Rows:
        event = self._events.get(name)
        if event is None:
            raise _unknown(f"event {name}")
        rows = self._stated[name] = _Rows(EVENT_COLUMNS, event.fields)
        return rows

    @staticmethod
    def _check_length(owner: str, values: int, fields: int) -> None:
        if values > fields:
            raise _unknown(f"field {fields + 1} of {owner}")

    @property
    def changes(self) -> dict[str, int]:
        """How many changes of each contract table there are."""
        return {name: len(rows.rows) for name, rows in self._changes.items()}

    def appends(self) -> Iterator[tuple[str, pa.Table]]:
        """Each relation to append to: its full name, and the rows with all columns in the relation's order.

        Raises GuildbookError ``views.corrupt`` for a value that does not fit its column.
        """
        named = [("chain.blocks", self._blocks), ("chain.transactions", self._transactions),
                 *((history_of(name), rows) for name, rows in self._changes.items()),
                 *((events_of(name), rows) for name, rows in self._stated.items())]
        for name, rows in named:
            if not rows.rows:
                continue
            try:
                table = rows.arrow()
            except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                raise GuildbookError(
                    "views.corrupt", f"a value of {name} up to block {self.height} does not fit its column: {error}",
                    hint="check the node's store, then let the views be built again") from error
            yield name, table


def _unknown(what: str) -> GuildbookError:
    return GuildbookError("views.unknown_table", f"the views were not told of {what}",
                          hint="give the views the catalogue of the contracts before the first block that uses it")
