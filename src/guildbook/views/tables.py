"""The stored tables: how they are laid out, grown, appended to and merged, each in the caller's transaction.

The two databases are written in transactions of their own, since one transaction writes one database. Bases follow the
histories: they know which histories they belong to, and are never ahead of them.

Statements are made from declared names, which are lower-case identifiers and quoted besides; values are parameters.
"""
# ruff: noqa: S608

import contextlib
from collections.abc import Iterator

import duckdb
import msgspec

from guildbook.views.feed import Batch
from guildbook.views.schema import (
    CHAIN_RELATIONS,
    CURRENT,
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

_STATE = (("format", "BIGINT"), ("identity", "BLOB"), ("network", "VARCHAR"), ("first_height", "BIGINT"),
          ("height", "BIGINT"), ("schema", "BLOB"))
_BASES_OF = (("identity", "BLOB"), ("schema", "BLOB"))
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
    """What the database of histories says about itself."""

    format: int
    identity: bytes
    network: str
    first_height: int
    height: int
    schema: ViewSchema


def lay_out(cursor: duckdb.DuckDBPyConnection, network: str, first_height: int, identity: bytes) -> None:
    """Make the tables that every ledger has, in an empty database of histories; ``identity`` is like no other's."""
    for schema in ("_meta", "chain"):
        cursor.execute(f"CREATE SCHEMA {LEDGER}.{schema}")
    _create(cursor, f"{LEDGER}._meta.state", _STATE)
    for relation in CHAIN_RELATIONS:
        _create(cursor, located(relation.name), relation.columns)
    cursor.execute(f"INSERT INTO {LEDGER}._meta.state VALUES ($1, $2, $3, $4, $5, $6)",
                   [FORMAT, identity, network, first_height, first_height - 1, _packed(ViewSchema())])
    _list_relations(cursor, ViewSchema())


def lay_out_bases(cursor: duckdb.DuckDBPyConnection, identity: bytes) -> None:
    """Make an empty database of bases, for the histories with ``identity``."""
    for schema in ("_meta", "_base"):
        cursor.execute(f"CREATE SCHEMA {CURRENT}.{schema}")
    _create(cursor, f"{CURRENT}._meta.state", _BASES_OF)
    _create(cursor, f"{CURRENT}._meta.bases", _BASES)
    cursor.execute(f"INSERT INTO {CURRENT}._meta.state VALUES ($1, $2)", [identity, _packed(ViewSchema())])
    _define_fixed(cursor, ViewSchema())


def read_state(cursor: duckdb.DuckDBPyConnection) -> State | None:
    """What the database of histories says about itself; None when it is no such database."""
    if not _has(cursor, LEDGER, "state"):
        return None
    rows = cursor.execute("SELECT format, identity, network, first_height, height, schema "
                          f"FROM {LEDGER}._meta.state").fetchall()
    if len(rows) != 1:
        return None
    form, identity, network, first_height, height, schema = rows[0]
    return State(form, identity, network, first_height, height, msgspec.msgpack.decode(schema, type=ViewSchema))


def read_bases_of(cursor: duckdb.DuckDBPyConnection) -> tuple[bytes, ViewSchema] | None:
    """Which histories the bases belong to, and which schema they have; None when the database is not of bases."""
    if not _has(cursor, CURRENT, "bases"):
        return None
    rows = cursor.execute(f"SELECT identity, schema FROM {CURRENT}._meta.state").fetchall()
    return (rows[0][0], msgspec.msgpack.decode(rows[0][1], type=ViewSchema)) if len(rows) == 1 else None


def read_heights(cursor: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """The first and the last height that the transaction sees."""
    [(first, last)] = cursor.execute(f"SELECT first_height, height FROM {LEDGER}._meta.state").fetchall()
    return first, last


def look_at_bases(cursor: duckdb.DuckDBPyConnection) -> None:
    """Have the transaction see the bases as they are at this moment; see ``schema`` for why they come first."""
    cursor.execute(f"SELECT count(*) FROM {CURRENT}._meta.bases").fetchall()


def is_empty(cursor: duckdb.DuckDBPyConnection, catalog: str) -> bool:
    """Whether a database holds nothing at all."""
    return not cursor.execute("SELECT 1 FROM duckdb_schemas() WHERE database_name = $1 AND schema_name <> 'main' "
                              "UNION ALL SELECT 1 FROM duckdb_tables() WHERE database_name = $1", [catalog]).fetchall()


def read_bases(cursor: duckdb.DuckDBPyConnection) -> dict[str, Base]:
    """Where each table's base stands."""
    bases = {}
    for name, height in cursor.execute(f"SELECT name, height FROM {CURRENT}._meta.bases").fetchall():
        [(base_rows,)] = cursor.execute(f"SELECT count(*) FROM {base_of(name)}").fetchall()
        bases[name] = Base(height, base_rows, _tail_rows(cursor, name, height))
    return bases


def grow(cursor: duckdb.DuckDBPyConnection, known: ViewSchema, wanted: ViewSchema) -> None:
    """Make the histories and events that ``wanted`` has more than ``known``, and their columns."""
    tables = {table.name: table.fields for table in known.tables}
    events = {event.name: event.fields for event in known.events}
    _make_schemas(cursor, LEDGER, wanted)
    for table in wanted.tables:
        relation = located(history_of(table.name))
        if table.name in tables:
            _widen(cursor, relation, tables[table.name], table.fields)
        else:
            _create(cursor, relation, HISTORY_COLUMNS + table.columns)
    for event in wanted.events:
        relation = located(events_of(event.name))
        if event.name in events:
            _widen(cursor, relation, events[event.name], event.fields)
        else:
            _create(cursor, relation, EVENT_COLUMNS + tuple(field.column for field in event.fields))
    cursor.execute(f"UPDATE {LEDGER}._meta.state SET schema = $1", [_packed(wanted)])
    _list_relations(cursor, wanted)


def grow_bases(cursor: duckdb.DuckDBPyConnection, known: ViewSchema, wanted: ViewSchema) -> None:
    """Make the bases that ``wanted`` has more than ``known``, and define every reading."""
    tables = {table.name: table.fields for table in known.tables}
    heights = dict(cursor.execute(f"SELECT name, height FROM {CURRENT}._meta.bases").fetchall())
    _make_schemas(cursor, CURRENT, wanted)
    for table in wanted.tables:
        if table.name in tables:
            _widen(cursor, base_of(table.name), tables[table.name], table.fields)
        else:
            _create(cursor, base_of(table.name), table.columns)
            cursor.execute(f"INSERT INTO {CURRENT}._meta.bases VALUES ($1, -1)", [table.name])
        for statement in definitions(table, heights.get(table.name, -1)):
            cursor.execute(statement)
    _define_fixed(cursor, wanted)
    cursor.execute(f"UPDATE {CURRENT}._meta.state SET schema = $1", [_packed(wanted)])


def append(cursor: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Append a batch to histories, events and chain, and move the height."""
    for name, rows in batch.appends():
        cursor.from_arrow(rows).insert_into(located(name))
    cursor.execute(f"UPDATE {LEDGER}._meta.state SET height = $1", [batch.height])


def write_log_into_file(cursor: duckdb.DuckDBPyConnection) -> None:
    """Empty the write-ahead log of the histories. When a reader is in the way, nothing happens until the next time."""
    with contextlib.suppress(duckdb.TransactionException):
        cursor.execute(f"CHECKPOINT {LEDGER}")


def merge(cursor: duckdb.DuckDBPyConnection, table: TableView, base_height: int) -> tuple[Base, int]:
    """Move the base of ``table`` to the last height that the transaction sees.

    Returns where it stands then, with no tail, and how many changes were merged.
    """
    columns, keys, history = column_list(table.columns), key_list(table), located(history_of(table.name))
    look_at_bases(cursor)
    _first, height = read_heights(cursor)
    merged = _tail_rows(cursor, table.name, base_height)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE _tail AS SELECT _op, {columns} FROM {history} AS b SEMI JOIN "
        f"(SELECT {keys}, max(_height) AS _last FROM {history} WHERE _height > {base_height} GROUP BY {keys}) AS v "
        f"ON b._height = v._last AND {same_key(table, 'b', 'v')} WHERE b._height > {base_height}")
    cursor.execute(f"DELETE FROM {base_of(table.name)} AS b USING _tail AS t WHERE {same_key(table, 'b', 't')}")
    cursor.execute(f"INSERT INTO {base_of(table.name)} SELECT {columns} FROM _tail WHERE _op <> 'delete'")
    cursor.execute("DROP TABLE _tail")
    [(count,)] = cursor.execute(f"SELECT count(*) FROM {base_of(table.name)}").fetchall()
    cursor.execute(f"UPDATE {CURRENT}._meta.bases SET height = $1 WHERE name = $2", [height, table.name])
    for statement in definitions(table, height):
        cursor.execute(statement)
    return Base(height, count, 0), merged


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
    past = located(f"{name}_at", CURRENT)
    source = f"{past}({at})" if at is not None and relation.kind == "current" else located(name, CURRENT)
    yield f"CREATE SCHEMA IF NOT EXISTS {catalog}.{quoted(name.split('.', 1)[0])}"
    yield f"CREATE VIEW {located(name, catalog)} AS SELECT {columns} FROM {source}{rest}"
    if relation.kind == "current":
        yield (f"CREATE MACRO {located(f'{name}_at', catalog)}(_at) AS TABLE "
               f"SELECT {columns} FROM {past}(_at){rest}")


def _packed(schema: ViewSchema) -> bytes:
    return msgspec.msgpack.encode(schema)


def _has(cursor: duckdb.DuckDBPyConnection, catalog: str, table: str) -> bool:
    return bool(cursor.execute("SELECT 1 FROM duckdb_tables() WHERE database_name = $1 AND schema_name = '_meta' "
                               "AND table_name = $2", [catalog, table]).fetchall())


def _tail_rows(cursor: duckdb.DuckDBPyConnection, table: str, base_height: int) -> int:
    [(count,)] = cursor.execute(f"SELECT count(*) FROM {located(history_of(table))} WHERE _height > {base_height}"
                                ).fetchall()
    return int(count)


def _make_schemas(cursor: duckdb.DuckDBPyConnection, catalog: str, wanted: ViewSchema) -> None:
    for contract in sorted({name.split(".", 1)[0] for name in wanted.relations()}):
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {catalog}.{quoted(contract)}")


def _define_fixed(cursor: duckdb.DuckDBPyConnection, schema: ViewSchema) -> None:
    """Let histories, events and chain be read beside the current rows."""
    _make_schemas(cursor, CURRENT, schema)
    for relation in schema.relations().values():
        if relation.kind != "current":
            cursor.execute(f"CREATE OR REPLACE VIEW {located(relation.name, CURRENT)} AS "
                           f"SELECT {column_list(relation.columns)} FROM {located(relation.name)}")


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


def _widen(cursor: duckdb.DuckDBPyConnection, relation: str, known: tuple[Field, ...],
           wanted: tuple[Field, ...]) -> None:
    """Add the columns of the fields of ``wanted`` after the last of ``known``."""
    for field in wanted[len(known):]:
        name, kind = field.column
        cursor.execute(f"ALTER TABLE {relation} ADD COLUMN {quoted(name)} {kind}")
