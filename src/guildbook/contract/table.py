"""Tables as a contract meets them: typed rows, read by key, found by declared order."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from guildbook.state.overlay import Overlay
from guildbook.state.record import Record
from guildbook.state.schema import IndexSchema, TableSchema

Row = TypeVar("Row", bound=Record)

replace = msgspec.structs.replace


class Table(Generic[Row]):
    """A declared table of a contract.

    ``record`` is the row type; ``index`` lists further orders, each a tuple of field names. Reading and writing
    work inside a running command only.
    """

    def __init__(
        self, record: type[Row], index: list[tuple[str, ...]] | tuple[tuple[str, ...], ...] = ()
    ) -> None:
        self.record = record
        self.index = tuple(index)
        self.schema: TableSchema
        self._scan: Callable[..., Iterator[Row]]
        self._read: Callable[[bytes], Any]
        self._write: Callable[[bytes, Any, Any, Sequence[IndexSchema]], None]

    def named(self, full_name: str) -> None:
        """Derive the schema under ``contract.table``; called once when the contract class is made."""
        self.schema = TableSchema(full_name, self.record, self.index)

    def bound(self, overlay: Overlay) -> "Table[Row]":
        """The same table working on ``overlay``."""
        table: Table[Row] = Table.__new__(Table)
        table.record, table.index, table.schema = self.record, self.index, self.schema
        table._scan = overlay.scan
        table._read, table._write = overlay.reader_of(self.schema), overlay.writer_of(self.schema)
        return table

    def get(self, *key: Any) -> Row | None:
        """The row with this primary key, or None."""
        row: Row | None = self._read(self.schema.key(*key))
        return row

    def exists(self, *key: Any) -> bool:
        """Whether a row with this primary key is there."""
        return self._read(self.schema.key(*key)) is not None

    def insert(self, row: Row) -> Row:
        """Add a row; a row with the same primary key must not exist (assertion: check with ``exists`` first)."""
        schema = self.schema
        broken = schema.broken_field(row)
        if broken is not None:
            raise ValueError(f"{schema.name}.{broken} is out of its declared bounds")
        key = schema.key_of(row)
        if self._read(key) is not None:
            raise ValueError(f"{schema.name}: the key exists already")
        self._write(key, None, row, schema.indexes)
        return row

    def update(self, row: Row, **changes: Any) -> Row:
        """Set the named fields of the stored row that has the primary key of ``row``; returns the new row.

        All other fields keep what is stored, also where ``row`` is an older reading. Key fields cannot change.
        """
        schema = self.schema
        if not schema.key_names.isdisjoint(changes):
            raise ValueError(f"{schema.name}: a key field cannot change")
        key = schema.key_of(row)
        stored = self._read(key)
        if stored is None:
            raise ValueError(f"{schema.name}: there is no such row")
        changed: Row = replace(stored, **changes)
        change = schema.change_of(tuple(changes))
        broken = change.broken_field(changed)
        if broken is not None:
            raise ValueError(f"{schema.name}.{broken} is out of its declared bounds")
        self._write(key, stored, changed, change.indexes)
        return changed

    def delete(self, row: Row) -> None:
        """Remove the stored row with the primary key of ``row``; it must exist."""
        schema = self.schema
        broken = schema.broken_field(row)
        if broken is not None:
            raise ValueError(f"{schema.name}.{broken} is out of its declared bounds")
        key = schema.key_of(row)
        stored = self._read(key)
        if stored is None:
            raise ValueError(f"{schema.name}: there is no such row")
        self._write(key, stored, None, schema.indexes)

    def find(
        self,
        *prefix: Any,
        index: tuple[str, ...] | None = None,
        after: Row | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Row]:
        """Rows whose leading index fields equal ``prefix``, in index order.

        ``index`` names a declared order; None means the first declared index, or the primary key of a table
        without one; ``()`` always means the primary key. ``after`` continues behind a row met earlier, ``limit``
        bounds the number of rows, ``reverse`` turns the order.
        Rows which this transaction changed are seen changed.
        """
        schema = self.schema
        chosen = None
        if index is None:
            chosen = schema.indexes[0] if schema.indexes else None
        elif index:
            chosen = schema.index_by_fields[tuple(index)]
        start = (schema.key_prefixes if chosen is None else chosen.prefixes)[len(prefix)](*prefix)
        behind = None
        if after is not None:
            behind = schema.key_of(after) if chosen is None else chosen.key_of(after)
        found = self._scan(schema, chosen, start, values=prefix, after=behind, reverse=reverse)
        return found if limit is None else islice(found, limit)
