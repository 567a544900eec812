"""Answers: what a query gives back, and how much of it.

Theory. An answer names the height that it reflects, since a ledger goes on. Its values are plain: whatever way the
statement was run, in this process or in the views' own, the same Python values come out.

    BOOLEAN  bool             integers of any size  int          DECIMAL  Decimal        DOUBLE, FLOAT  float
    VARCHAR  str              BLOB  bytes           TIMESTAMP  datetime in UTC (see views.feed for years after 9999)
    DATE, TIME, INTERVAL, UUID, BIT, ENUM  str      LIST, ARRAY  list of these          STRUCT, MAP  dict of these

Inside lists and dicts, decimals and integers of more than 64 bits are text.
"""

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

Parameters = Sequence[Any] | Mapping[str, Any] | None
"""Values for ``?`` or ``$1`` in order, or for ``$name`` by name."""

ROWS_MAX = 100_000
SIZE_BYTES_MAX = 32 * 1024 * 1024
TIME_MS_MAX = 10_000
EXPORT_TIME_MS_MAX = 600_000
NO_LIMIT = 2**62
"""So many rows or bytes that no answer has more."""

_PLAIN_TYPES = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER",
                          "UBIGINT", "FLOAT", "DOUBLE", "VARCHAR", "JSON", "BLOB", '"NULL"', "NULL"})
_WIDE_TYPES = frozenset({"HUGEINT", "UHUGEINT", "BIGNUM"})
_TIMESTAMPS = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
_ZONED = re.compile(r"WITH TIME ZONE")
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """How much a query may give back and use: rows, bytes of the answer, and milliseconds from its start."""

    rows_max: int = ROWS_MAX
    size_bytes_max: int = SIZE_BYTES_MAX
    time_ms_max: int = TIME_MS_MAX


DEFAULT_LIMITS = Limits()
EXPORT_LIMITS = Limits(rows_max=NO_LIMIT, size_bytes_max=NO_LIMIT, time_ms_max=EXPORT_TIME_MS_MAX)
"""What an export may give back and use."""


class Column(msgspec.Struct, frozen=True, array_like=True):
    """One column of an answer: its name as asked for, and its SQL type."""

    name: str
    type: str

    @property
    def is_plain(self) -> bool:
        """Whether values of the type come out of the database as they are given back."""
        return self.type in _PLAIN_TYPES

    @property
    def is_wide(self) -> bool:
        """Whether values are integers that may have more than 64 bits."""
        return self.type in _WIDE_TYPES

    @property
    def is_decimal(self) -> bool:
        """Whether values are decimal numbers."""
        return self.type.startswith("DECIMAL(") and self.type.endswith(")")

    @property
    def has_time_zone(self) -> bool:
        """Whether values have a time zone, which nothing on the ledger has."""
        return _ZONED.search(self.type) is not None


class Exported(msgspec.Struct, frozen=True, array_like=True):
    """What an export wrote: the file, its rows, its size, and the height that it reflects."""

    path: str
    rows: int
    size_bytes: int
    height: int


class Result:
    """The answer to one statement.

    ``rows`` are tuples of plain values in the order of ``columns``; ``height`` the last block that the answer
    reflects; ``elapsed_ms`` the time that it took.
    """

    __slots__ = ("columns", "elapsed_ms", "height", "rows")

    def __init__(self, columns: tuple[Column, ...], rows: list[tuple[Any, ...]], height: int,
                 elapsed_ms: float) -> None:
        self.columns = columns
        self.rows = rows
        self.height = height
        self.elapsed_ms = elapsed_ms

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows."""
        return iter(self.rows)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries by column name; of columns with one name the last one stays."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def arrow(self) -> "pa.Table":
        """The answer as an Arrow table, with the height in its metadata under ``guildbook.height``."""
        import pyarrow as pa

        columns = list(zip(*self.rows, strict=True)) if self.rows else [()] * len(self.columns)
        arrays = [pa.array(values, _arrow_type(column)) for column, values in zip(self.columns, columns, strict=True)]
        table = pa.Table.from_arrays(arrays, names=list(self.names))
        return table.replace_schema_metadata({"guildbook.height": str(self.height)})


def _arrow_type(column: Column) -> Any:
    """The Arrow type of a column, or None where it is told from the values."""
    import pyarrow as pa

    known = {"BOOLEAN": pa.bool_(), "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(),
             "BIGINT": pa.int64(), "UTINYINT": pa.uint8(), "USMALLINT": pa.uint16(), "UINTEGER": pa.uint32(),
             "UBIGINT": pa.uint64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "VARCHAR": pa.string(),
             "JSON": pa.string(), "BLOB": pa.binary(), "HUGEINT": pa.decimal128(38, 0), "DATE": pa.string()}
    if column.type in _TIMESTAMPS:
        return pa.timestamp("us", tz="UTC")
    if column.is_decimal:
        precision, scale = column.type[len("DECIMAL("):-1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return known.get(column.type)


def plain_value(value: Any) -> Any:
    """A value of the database that is no number of its own column, as a plain value."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=datetime.UTC)
    if value is None or isinstance(value, (bool, float, str, bytes)):
        return value
    if isinstance(value, int):
        return value if _INT_MIN <= value <= _INT_MAX else str(value)
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    return str(value)


def plain_rows(columns: tuple[Column, ...]) -> Callable[[list[tuple[Any, ...]]], list[tuple[Any, ...]]]:
    """What turns rows of the database into rows of plain values."""
    if all(column.is_plain or column.is_wide or column.is_decimal for column in columns):
        return lambda rows: rows
    kept = [column.is_plain or column.is_wide or column.is_decimal for column in columns]
    return lambda rows: [tuple(value if keep else plain_value(value) for keep, value in zip(kept, row, strict=True))
                         for row in rows]


def rows_size_bytes(columns: tuple[Column, ...], rows: list[tuple[Any, ...]]) -> int:
    """About how large ``rows`` are when sent: eight bytes a value, and the length of texts and bytes."""
    size = 8 * len(columns) * len(rows)
    for place, column in enumerate(columns):
        if column.type in ("VARCHAR", "BLOB", "JSON"):
            size += sum(len(row[place]) for row in rows if row[place] is not None)
        elif not column.is_plain:
            size += sum(len(str(row[place])) for row in rows)
    return size
