"""The stored tables: how they are laid out, grown, appended to and merged, each in the caller's transaction.

Statements are made from declared names, which are lower-case identifiers and quoted besides; values are parameters.
"""
# ruff: noqa: S608

from collections.abc import Iterable, Iterator

import duckdb
import msgspec

from guildbook.views.feed import Batch
from guildbook.views.schema import (
    CHAIN_RELATIONS,
    EVENT_COLUMNS,
    HISTORY_COLUMNS,
    LEDGER,
    Field,
    Relation,
    TableView,
    ViewSchema,
    base_of,
    column_list,
    definitions,
    events_of,
    history_of,
    key_list,
    located,
    quoted,
    same_key,
)
from guildbook.views.scope import Scope

FORMAT = 1
"""The version of the layout; a file of another one is built again."""
TAIL_ROWS_MIN = 8_192
TAIL_ROWS_MAX = 65_536
"""A table's tail is merged into its base when it has an eighth of the base's rows, within these bounds."""

_STATE = (("format", "BIGINT"), ("network", "VARCHAR"), ("first_height", "BIGINT"), ("height", "BIGINT"),
          ("schema", "BLOB"))
_BASES = (("name", "VARCHAR"), ("height", "BIGINT"))


class Base(msgspec.Struct, frozen=True):
    """Where a table's base stands: after which block, with how many rows, and how many changes came since."""

    height: int
    base_rows: int
    tail_rows: int

    @property
    def overdue(self) -> int:
        """By how many changes the tail is longer than it should be."""
        return self.tail_rows - min(max(self.base_rows // 8, TAIL_ROWS_MIN), TAIL_ROWS_MAX)


class State(msgspec.Struct, frozen=True):
    """What a file says about itself."""

    format: int
    network: str
    first_height: int
    height: int
    schema: ViewSchema


def lay_out(cursor: duckdb.DuckDBPyConnection, network: str, first_height: int) -> None:
    """Make the tables that every ledger has, in an empty file."""
    for schema in ("_meta", "_base", "chain"):
        cursor.execute(f"CREATE SCHEMA {LEDGER}.{schema}")
    _create(cursor, f"{LEDGER}._meta.state", _STATE)
    _create(cursor, f"{LEDGER}._meta.bases", _BASES)
    for relation in CHAIN_RELATIONS:
        _create(cursor, located(relation.name), relation.columns)
    cursor.execute(f"INSERT INTO {LEDGER}._meta.state VALUES ($1, $2, $3, $4, $5)",
                   [FORMAT, network, first_height, first_height - 1, msgspec.msgpack.encode(ViewSchema())])
    _list_relations(cursor, ViewSchema())


def read_state(cursor: duckdb.DuckDBPyConnection) -> State | None:
    """What the file says about itself; None when it holds no views."""
    if not cursor.execute("SELECT 1 FROM duckdb_tables() WHERE database_name = $1 AND schema_name = '_meta' "
                          "AND table_name = 'state'", [LEDGER]).fetchall():
        return None
    rows = cursor.execute(f"SELECT format, network, first_height, height, schema FROM {LEDGER}._meta.state").fetchall()
    if len(rows) != 1:
        return None
    form, network, first_height, height, schema = rows[0]
    return State(form, network, first_height, height, msgspec.msgpack.decode(schema, type=ViewSchema))


def read_heights(cursor: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """The first and the last height that the transaction sees."""
    [(first, last)] = cursor.execute(f"SELECT first_height, height FROM {LEDGER}._meta.state").fetchall()
    return first, last


def is_empty(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether the file holds nothing at all."""
    return not cursor.execute("SELECT 1 FROM duckdb_schemas() WHERE database_name = $1 AND schema_name <> 'main' "
                              "UNION ALL SELECT 1 FROM duckdb_tables() WHERE database_name = $1", [LEDGER]).fetchall()


def read_bases(cursor: duckdb.DuckDBPyConnection) -> dict[str, Base]:
    """Where each table's base stands."""
    bases = {}
    for name, height in cursor.execute(f"SELECT name, height FROM {LEDGER}._meta.bases").fetchall():
        [(base_rows,)] = cursor.execute(f"SELECT count(*) FROM {base_of(name)}").fetchall()
        [(tail_rows,)] = cursor.execute(f"SELECT count(*) FROM {located(history_of(name))} WHERE _height > $1",
                                        [height]).fetchall()
        bases[name] = Base(height, base_rows, tail_rows)
    return bases


def grow(cursor: duckdb.DuckDBPyConnection, known: ViewSchema, wanted: ViewSchema) -> None:
    """Make what ``wanted`` has more than ``known``: relations, and columns of relations."""
    tables = {table.name: table.fields for table in known.tables}
    events = {event.name: event.fields for event in known.events}
    bases = read_bases(cursor)
    for contract in sorted({name.split(".", 1)[0] for name in wanted.relations()}):
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {LEDGER}.{quoted(contract)}")
    for table in wanted.tables:
        stored = (located(history_of(table.name)), base_of(table.name))
        if table.name in tables:
            _widen(cursor, stored, tables[table.name], table.fields)
        else:
            _create(cursor, stored[0], HISTORY_COLUMNS + table.columns)
            _create(cursor, stored[1], table.columns)
            bases[table.name] = Base(-1, 0, 0)
            cursor.execute(f"INSERT INTO {LEDGER}._meta.bases VALUES ($1, -1)", [table.name])
        _define(cursor, table, bases[table.name].height)
    for event in wanted.events:
        relation = located(events_of(event.name))
        if event.name in events:
            _widen(cursor, (relation,), events[event.name], event.fields)
        else:
            _create(cursor, relation, EVENT_COLUMNS + tuple(field.column for field in event.fields))
    cursor.execute(f"UPDATE {LEDGER}._meta.state SET schema = $1", [msgspec.msgpack.encode(wanted)])
    _list_relations(cursor, wanted)


def append(cursor: duckdb.DuckDBPyConnection, batch: Batch, bases: dict[str, Base]) -> dict[str, Base]:
    """Append a batch and move the height; returns where the bases stand then."""
    after = dict(bases)
    for name, rows in batch.appends():
        cursor.from_arrow(rows).insert_into(located(name))
    for name, count in batch.changes.items():
        base = bases[name]
        after[name] = Base(base.height, base.base_rows, base.tail_rows + count)
    cursor.execute(f"UPDATE {LEDGER}._meta.state SET height = $1", [batch.height])
    return after


def merge(cursor: duckdb.DuckDBPyConnection, table: TableView, base: Base, height: int) -> Base:
    """Move the base of ``table`` to ``height``, the last one; returns where it stands then."""
    columns, keys, history = column_list(table.columns), key_list(table), located(history_of(table.name))
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE _tail AS SELECT _op, {columns} FROM {history} AS b SEMI JOIN "
        f"(SELECT {keys}, max(_height) AS _last FROM {history} WHERE _height > {base.height} GROUP BY {keys}) AS v "
        f"ON b._height = v._last AND {same_key(table, 'b', 'v')} WHERE b._height > {base.height}")
    cursor.execute(f"DELETE FROM {base_of(table.name)} AS b USING _tail AS t WHERE {same_key(table, 'b', 't')}")
    cursor.execute(f"INSERT INTO {base_of(table.name)} SELECT {columns} FROM _tail WHERE _op <> 'delete'")
    cursor.execute("DROP TABLE _tail")
    [(count,)] = cursor.execute(f"SELECT count(*) FROM {base_of(table.name)}").fetchall()
    cursor.execute(f"UPDATE {LEDGER}._meta.bases SET height = $1 WHERE name = $2", [height, table.name])
    _define(cursor, table, height)
    return Base(height, count, 0)


def front(catalog: str, relation: Relation, at: int | None, scope: Scope | None) -> Iterator[str]:
    """Statements that define ``relation`` in the database ``catalog``, as of ``at`` and within ``scope``."""
    name = relation.name
    columns, condition = (column_list(relation.columns), "") if scope is None else scope.seen(relation)
    conditions = [f"({condition}\n)"] if condition else []
    if at is not None and relation.height_column:
        conditions.append(f"{quoted(relation.height_column)} <= {at}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    # OFFSET 0 keeps the reader's own conditions from being tried on rows that the scope hides.
    rest = f"{where} OFFSET 0" if condition else where
    past = f"{located(f'{name}_at')}"
    source = f"{past}({at})" if at is not None and relation.kind == "current" else located(name)
    yield f"CREATE SCHEMA IF NOT EXISTS {catalog}.{quoted(name.split('.', 1)[0])}"
    yield f"CREATE VIEW {located(name, catalog)} AS SELECT {columns} FROM {source}{rest}"
    if relation.kind == "current":
        yield (f"CREATE MACRO {located(f'{name}_at', catalog)}(_at) AS TABLE "
               f"SELECT {columns} FROM {past}(_at){rest}")


def _define(cursor: duckdb.DuckDBPyConnection, table: TableView, base_height: int) -> None:
    for statement in definitions(table, base_height):
        cursor.execute(statement)


def _list_relations(cursor: duckdb.DuckDBPyConnection, schema: ViewSchema) -> None:
    """Say in ``chain.tables`` and ``chain.columns`` what there is."""
    cursor.execute(f"DELETE FROM {LEDGER}.chain.tables")
    cursor.execute(f"DELETE FROM {LEDGER}.chain.columns")
    relations = [relation for _name, relation in sorted(schema.relations().items())]
    cursor.executemany(f"INSERT INTO {LEDGER}.chain.tables VALUES ($1, $2)",
                       [[relation.name, relation.kind] for relation in relations])
    cursor.executemany(f"INSERT INTO {LEDGER}.chain.columns VALUES ($1, $2, $3, $4)",
                       [[relation.name, place, name, kind] for relation in relations
                        for place, (name, kind) in enumerate(relation.columns, 1)])


def _create(cursor: duckdb.DuckDBPyConnection, relation: str, columns: tuple[tuple[str, str], ...]) -> None:
    cursor.execute(f"CREATE TABLE {relation} ({', '.join(f'{quoted(name)} {kind}' for name, kind in columns)})")


def _widen(cursor: duckdb.DuckDBPyConnection, relations: Iterable[str], known: tuple[Field, ...],
           wanted: tuple[Field, ...]) -> None:
    """Add the columns of the fields of ``wanted`` after the last of ``known``."""
    for field in wanted[len(known):]:
        name, kind = field.column
        for relation in relations:
            cursor.execute(f"ALTER TABLE {relation} ADD COLUMN {quoted(name)} {kind}")
