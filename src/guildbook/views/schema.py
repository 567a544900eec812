"""What the views hold: relations and columns, derived from the catalogue of contracts.

Theory. A contract's table gives three readings, an event one:

    points.lots              the rows after the last block
    points.lots_history      every change ever made, one row for each, never altered
    points.lots_at(height)   the rows as they were after that block
    points.transferred_events

Only two things are stored: the history, which is appended to, and a *base*, the rows after some earlier block. The
current rows are the base without what the history's tail (the changes after the base) touched, and the last version
of each row in that tail. So feeding costs one append, whatever the size of the table; now and then the tail is merged
into the base. The rows at a height before the base come from the history alone. One text says all of it, because a
table is read the same way now and in the past: ``reading``.

Histories and bases are in two databases. Appending is cheap and must go on; merging rewrites tables all over, and the
database that it works in lets nobody else write meanwhile. A reader looks at the bases first and at the histories
second: so the histories that it sees are never behind the bases.

A later version of a contract may add tables, events, and fields after the last field. Rows of before have NULL
there. Anything else would make old bytes mean something new, and is refused.
"""
# ruff: noqa: S608 - statements are made from declared names, quoted

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from guildbook.primitives.errors import GuildbookError

LEDGER = "_ledger"
"""The database of histories, events and the chain; no contract name starts with an underscore."""
CURRENT = "_current"
"""The database of bases, in which every relation also stands under the name that readers use."""
CHAIN = "chain"
"""The schema of blocks and transactions."""
RESERVED_CONTRACT_NAMES = frozenset(
    {CHAIN, "information_schema", "main", "memory", "pg_catalog", "system", "temp"})
"""Schemas and databases that DuckDB or the views bring themselves."""
RESERVED_FIELD_PREFIX = "_"
"""Columns of the views' own start with it."""

SQL_TYPES = {"int": "BIGINT", "timestamp": "TIMESTAMP", "bool": "BOOLEAN", "text": "VARCHAR", "bytes": "BLOB",
             "digest": "BLOB", "json": "VARCHAR"}
"""The column type of each kind of field. Contract integers are signed 64-bit, so BIGINT holds all of them."""

HISTORY_COLUMNS = (("_height", "BIGINT"), ("_time", "TIMESTAMP"), ("_op", "VARCHAR"))
EVENT_COLUMNS = (("_height", "BIGINT"), ("_index", "BIGINT"), ("_event", "BIGINT"), ("_time", "TIMESTAMP"),
                 ("_transaction", "BLOB"))
BLOCK_COLUMNS = (("height", "BIGINT"), ("time", "TIMESTAMP"), ("transactions", "BIGINT"), ("row_changes", "BIGINT"))
TRANSACTION_COLUMNS = (("id", "BLOB"), ("height", "BIGINT"), ("index", "BIGINT"), ("time", "TIMESTAMP"),
                       ("party", "VARCHAR"), ("organisation", "VARCHAR"), ("outcome", "VARCHAR"),
                       ("code", "VARCHAR"), ("fields", "VARCHAR"), ("calls", "VARCHAR"), ("results", "VARCHAR"))
TABLES_COLUMNS = (("name", "VARCHAR"), ("kind", "VARCHAR"))
COLUMNS_COLUMNS = (("table_name", "VARCHAR"), ("position", "BIGINT"), ("name", "VARCHAR"), ("type", "VARCHAR"))

HEIGHT_MAX = 2**63 - 1


class FieldLike(Protocol):
    """What the views need of a declared field."""

    @property
    def name(self) -> str:
        """The field's name."""

    @property
    def kind(self) -> str:
        """One of ``int timestamp bool text bytes digest json``."""

    @property
    def optional(self) -> bool:
        """Whether the value may be None."""

    @property
    def is_key(self) -> bool:
        """Whether the field is part of the primary key."""


class TableLike(Protocol):
    """What the views need of a declared table."""

    @property
    def fields(self) -> tuple[FieldLike, ...]:
        """The fields in encoding order."""


class EventLike(Protocol):
    """What the views need of a declared event."""

    @property
    def fields(self) -> tuple[FieldLike, ...]:
        """The fields in encoding order."""


class CatalogueLike(Protocol):
    """What the views need of ``runtime.catalogue.Catalogue``: names are ``contract.table`` and ``contract.event``."""

    @property
    def tables(self) -> Mapping[str, Any]:
        """Tables by full name; each a ``TableLike``."""

    @property
    def events(self) -> Mapping[str, Any]:
        """Events by full name; each an ``EventLike``."""


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """How the array of a structured value reads as JSON.

    With ``names`` it is an object, one name for each item; without, an array whose items all have the one shape in
    ``parts``. A part is None where the item is a plain value.
    """

    names: tuple[str, ...]
    parts: tuple["Shape | None", ...]


class Field(msgspec.Struct, frozen=True, array_like=True):
    """One field of a table or event; ``shape`` is for kind ``json``."""

    name: str
    kind: str
    optional: bool
    is_key: bool
    shape: Shape | None = None

    @property
    def column(self) -> tuple[str, str]:
        """The column's name and SQL type."""
        return self.name, SQL_TYPES[self.kind]


class TableView(msgspec.Struct, frozen=True, array_like=True):
    """A contract's table, by full name ``contract.table``."""

    name: str
    fields: tuple[Field, ...]

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and SQL type of each column of the current rows."""
        return tuple(field.column for field in self.fields)


class EventView(msgspec.Struct, frozen=True, array_like=True):
    """A contract's event, by full name ``contract.event`` (snake case)."""

    name: str
    fields: tuple[Field, ...]


class Relation(msgspec.Struct, frozen=True):
    """Something that can stand in a FROM clause: its full name, kind and columns.

    ``kind`` is ``current``, ``history``, ``events`` or ``chain``; ``height_column`` is empty where rows have none;
    ``order`` names the columns that put rows in order where the order of appending is not one.
    """

    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]
    height_column: str = ""
    order: tuple[str, ...] = ()


CHAIN_RELATIONS = (
    Relation("chain.blocks", "chain", BLOCK_COLUMNS, "height"),
    Relation("chain.transactions", "chain", TRANSACTION_COLUMNS, "height"),
    Relation("chain.tables", "chain", TABLES_COLUMNS, order=("name",)),
    Relation("chain.columns", "chain", COLUMNS_COLUMNS, order=("table_name", "position")),
)


class ViewSchema(msgspec.Struct, frozen=True, array_like=True):
    """All tables and events, ordered by name. It is kept in the database, and travels to the views' process."""

    tables: tuple[TableView, ...] = ()
    events: tuple[EventView, ...] = ()

    @classmethod
    def of(cls, catalogue: CatalogueLike) -> "ViewSchema":
        """The schema of the contracts in ``catalogue``.

        Raises GuildbookError ``contract.bad_declaration`` when two relations would have one name.
        """
        made = cls(tuple(TableView(name, _fields(name, catalogue.tables[name].fields))
                         for name in sorted(catalogue.tables)),
                   tuple(EventView(name, _fields(name, catalogue.events[name].fields))
                         for name in sorted(catalogue.events)))
        made.relations()
        return made

    def relations(self) -> dict[str, Relation]:
        """Every relation by full name. Raises GuildbookError ``contract.bad_declaration`` for a name used twice."""
        found: dict[str, Relation] = {relation.name: relation for relation in CHAIN_RELATIONS}
        for table in self.tables:
            _add(found, Relation(table.name, "current", table.columns,
                                 order=tuple(field.name for field in table.fields if field.is_key)))
            _add(found, Relation(history_of(table.name), "history", HISTORY_COLUMNS + table.columns, "_height"))
        for event in self.events:
            _add(found, Relation(events_of(event.name), "events",
                                 EVENT_COLUMNS + tuple(field.column for field in event.fields), "_height"))
        return found

    def extended_by(self, newer: "ViewSchema") -> "ViewSchema":
        """This schema with what ``newer`` adds: tables, events, and fields after the last. Nothing is taken away.

        Raises GuildbookError ``contract.bad_declaration`` when ``newer`` changes a field that this schema has.
        """
        tables = {table.name: table for table in self.tables}
        events = {event.name: event for event in self.events}
        for table in newer.tables:
            tables[table.name] = TableView(table.name, _grown(tables.get(table.name), table))
        for event in newer.events:
            events[event.name] = EventView(event.name, _grown(events.get(event.name), event))
        made = ViewSchema(tuple(tables[name] for name in sorted(tables)),
                          tuple(events[name] for name in sorted(events)))
        made.relations()
        return made


def history_of(table: str) -> str:
    """The history's full name for a table's full name."""
    return f"{table}_history"


def events_of(event: str) -> str:
    """The relation's full name for an event's full name."""
    return f"{event}_events"


def quoted(name: str) -> str:
    """One SQL identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def located(name: str, catalog: str = LEDGER) -> str:
    """A relation's full name ``contract.relation`` as SQL, with the database that holds it."""
    contract, relation = name.split(".", 1)
    return f"{quoted(catalog)}.{quoted(contract)}.{quoted(relation)}"


def base_of(table: str) -> str:
    """The base of a table, as SQL."""
    return f"{quoted(CURRENT)}._base.{quoted(table)}"


def column_list(columns: tuple[tuple[str, str], ...], prefix: str = "") -> str:
    """Column names as SQL, each with ``prefix``."""
    return ", ".join(prefix + quoted(name) for name, _type in columns)


def key_list(table: TableView) -> str:
    """The names of the primary key's columns as SQL."""
    return ", ".join(quoted(field.name) for field in table.fields if field.is_key)


def _fields(owner: str, declared: tuple[FieldLike, ...]) -> tuple[Field, ...]:
    fields = []
    for field in declared:
        if field.name.startswith(RESERVED_FIELD_PREFIX):
            raise GuildbookError("contract.bad_declaration", f"{owner}.{field.name} starts with an underscore",
                                 hint="the SQL views use such names for their own columns; rename the field")
        annotation = getattr(field, "annotation", None)
        shape = _shape(msgspec.inspect.type_info(annotation)) if field.kind == "json" and annotation else None
        fields.append(Field(field.name, field.kind, field.optional, field.is_key, shape))
    return tuple(fields)


def _shape(info: msgspec.inspect.Type) -> Shape | None:
    """The shape of values of a type; None for plain values."""
    match info:
        case msgspec.inspect.Metadata(type=inner):
            return _shape(inner)
        case msgspec.inspect.UnionType(types=types):
            return next((shape for shape in map(_shape, types) if shape is not None), None)
        case msgspec.inspect.VarTupleType(item_type=item):
            return Shape((), (_shape(item),))
        case msgspec.inspect.StructType(fields=fields):
            return Shape(tuple(field.name for field in fields), tuple(_shape(field.type) for field in fields))
        case _:
            return None


def _add(found: dict[str, Relation], relation: Relation) -> None:
    contract = relation.name.split(".", 1)[0]
    if contract in RESERVED_CONTRACT_NAMES:
        raise GuildbookError("contract.bad_declaration", f"the SQL views cannot have a schema named {contract!r}",
                             hint=f"rename the contract; reserved are {', '.join(sorted(RESERVED_CONTRACT_NAMES))}")
    if relation.name in found:
        raise GuildbookError("contract.bad_declaration", f"two SQL relations would be named {relation.name}",
                             hint="rename the table or event: _history and _events are added to their names")
    found[relation.name] = relation


def _grown(known: TableView | EventView | None, newer: TableView | EventView) -> tuple[Field, ...]:
    """The fields of a later version, if it only adds at the end; of two that agree, the longer."""
    if known is None:
        return newer.fields
    for old, new in zip(known.fields, newer.fields, strict=False):
        if (old.name, old.kind, old.is_key) != (new.name, new.kind, new.is_key):
            raise GuildbookError(
                "contract.bad_declaration", f"{newer.name}: the field {old.name} of kind {old.kind} became {new.name} "
                f"of kind {new.kind}", hint="a later version may only add fields after the last; make a new table")
    if any(field.is_key for field in newer.fields[len(known.fields):]):
        raise GuildbookError("contract.bad_declaration", f"{newer.name}: a later version adds a field to the key",
                             hint="make a new table")
    return newer.fields + known.fields[len(newer.fields):]


def reading(table: TableView, base_height: int, height: str | None) -> str:
    """The SELECT that gives the rows of ``table``.

    ``base_height`` is the block after which the base was taken (-1: the base is empty). ``height`` is an SQL
    expression, for the rows after that block, or None for the rows after the last one.
    """
    history = located(history_of(table.name))
    columns = column_list(table.columns, "b.")
    keys = key_list(table)
    from_base = "" if height is None else f"{height} >= {base_height} AND "
    return (
        f"SELECT {columns} FROM {base_of(table.name)} AS b WHERE {from_base}NOT EXISTS "
        f"(SELECT 1 FROM {history} AS t WHERE {_in_tail('t', base_height, height)} AND {same_key(table, 'b', 't')}) "
        f"UNION ALL SELECT {columns} FROM {history} AS b SEMI JOIN (SELECT {keys}, max(_height) AS _last "
        f"FROM {history} AS t WHERE {_to_read('t', base_height, height)} GROUP BY {keys}) AS v "
        f"ON b._height = v._last AND {same_key(table, 'b', 'v')} "
        f"WHERE b._op <> 'delete' AND {_to_read('b', base_height, height)}")


def same_key(table: TableView, left: str, right: str) -> str:
    """The condition that rows ``left`` and ``right`` have the same primary key."""
    return " AND ".join(
        f"{left}.{quoted(field.name)} {'IS NOT DISTINCT FROM' if field.optional else '='} {right}.{quoted(field.name)}"
        for field in table.fields if field.is_key)


def _in_tail(row: str, base_height: int, height: str | None) -> str:
    """The condition that a change came after the base, and not after ``height``."""
    return f"{row}._height > {base_height}" + ("" if height is None else f" AND {row}._height <= {height}")


def _to_read(row: str, base_height: int, height: str | None) -> str:
    """The condition that a change counts beside the base: all of them where ``height`` is before the base."""
    if height is None:
        return f"{row}._height > {base_height}"
    return f"({height} < {base_height} OR {row}._height > {base_height}) AND {row}._height <= {height}"


def definitions(table: TableView, base_height: int) -> tuple[str, ...]:
    """Statements that define how ``table`` is read, now and at a height, with its base at ``base_height``."""
    past = located(f"{table.name}_at", CURRENT)
    return (
        f"CREATE OR REPLACE VIEW {located(table.name, CURRENT)} AS {reading(table, base_height, None)}",
        f"CREATE OR REPLACE MACRO {past}(_at) AS TABLE {reading(table, base_height, '_at')}",
    )
