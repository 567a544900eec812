"""The views' database: fed block by block, read in SQL.

Theory. One object owns the files. The feed is one writer; each database transaction appends the changes of some whole
blocks, and the height is written in the same transaction. So after any crash the views are the state after some
block, and the feed goes on from there. A file that DuckDB finds damaged is not repaired: the views are thrown away and
built again from the change feed, with an equal result.

A reader runs in a read-only transaction of its own connection, so that it sees one height however long it takes, and
the writer does not wait for it. A question about the past gets a small database of views in front of the ledger's,
which has every relation under its usual name, as of that height; the statement's text stays as it is. A question
within a scope gets the same, with the rows and columns that the scope shows.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from guildbook.chain.changes import BlockChanges
from guildbook.primitives.errors import GuildbookError
from guildbook.views import tables
from guildbook.views.answer import (
    DEFAULT_LIMITS,
    Column,
    Limits,
    Parameters,
    Result,
    plain_rows,
    rows_size_bytes,
)
from guildbook.views.feed import Batch, as_block
from guildbook.views.files import discard, discard_bases, log_path, size_bytes
from guildbook.views.instance import Instance, feeding, opening, transaction
from guildbook.views.merging import Merging
from guildbook.views.schema import CURRENT, LEDGER, CatalogueLike, Relation, ViewSchema
from guildbook.views.scope import Scope
from guildbook.views.settings import DEFAULT_SETTINGS, ViewsSettings
from guildbook.views.sql import Statement, StatementChecker, not_allowed

APPEND_TRIES = 5
"""How often a batch is appended before want of memory counts as a setting that is too low."""
BATCH_ROWS_MAX = 10_000
"""So many rows are appended in one transaction before the next begins, at the end of a block."""
FETCH_ROWS = 1_000
"""Rows taken from the database at a time."""
IDENTITY_SIZE_BYTES = 16


class Reading:
    """A statement that is running: its columns, the height that it reflects, and its rows as they come."""

    def __init__(self, columns: tuple[Column, ...], height: int, batches: Iterator[list[tuple[Any, ...]]]) -> None:
        self.columns = columns
        self.height = height
        self.batches = batches


class Views:
    """The SQL read side of one ledger. Feed it from one thread; ask it from any."""

    def __init__(self, path: Path | str, network: str, catalogue: CatalogueLike | ViewSchema | None = None, *,
                 settings: ViewsSettings = DEFAULT_SETTINGS) -> None:
        """Open the views at ``path`` (a file that is made if absent) of the network with id ``network``.

        Raises GuildbookError ``views.corrupt`` for a damaged file, ``views.mismatch`` for one that belongs to another
        network or program, ``store.locked`` when another process has it, ``store.full`` and ``store.io``.
        """
        self.path = Path(path)
        self.network = network
        self._feeding = threading.Lock()
        self._advanced = threading.Condition()
        self._closed = False
        self._generation = -1
        self._schema = ViewSchema()
        self._relations: dict[str, Relation] = {}
        self.first_height = settings.first_height
        """The first height that the views hold."""
        self.height = settings.first_height - 1
        """The last height that the views hold; one before the first: none yet."""
        self._settings = settings
        try:
            self._open()
        except GuildbookError as error:
            if error.code != "views.corrupt":
                raise
            # The bases follow from the histories: if they are what is damaged, new ones are made.
            discard_bases(self.path)
            self._open()
        if catalogue is not None:
            self.ensure_schema(catalogue)

    @property
    def schema(self) -> ViewSchema:
        """The tables and events that the views know."""
        return self._schema

    def relations(self) -> dict[str, Relation]:
        """Everything that can stand in a FROM clause, by full name."""
        return dict(self._relations)

    def ensure_schema(self, catalogue: CatalogueLike | ViewSchema) -> None:
        """Make room for the tables, events and fields of ``catalogue`` that the views do not have yet.

        Rows of before have NULL in new columns. Call it before the first block that uses them.
        Raises GuildbookError ``contract.bad_declaration`` when a known field changed.
        """
        wanted = catalogue if isinstance(catalogue, ViewSchema) else ViewSchema.of(catalogue)
        with self._feeding:
            self._merging.pause()
            with feeding(self.path), self._instance.writer() as cursor:
                try:
                    self._read(cursor)
                    schema = self._schema.extended_by(wanted)
                    if schema != self._schema:
                        with transaction(cursor):
                            tables.grow(cursor, self._schema, schema)
                finally:
                    self._load(cursor)

    def apply(self, blocks: Iterable[BlockChanges | bytes]) -> int:
        """Take the changes of ``blocks`` (objects or canonical bytes) and return the height then reached.

        Blocks that the views have are passed over. Several blocks may share a database transaction, and each
        transaction holds whole blocks. Raises GuildbookError ``block.wrong_height`` for a gap, ``views.unknown_table``
        for a table, event or field that ``ensure_schema`` was not told of, ``views.corrupt``, ``views.unavailable``,
        ``store.full``; then the views hold some of the blocks before the refused one, and can be fed from there.
        """
        with self._feeding:
            with feeding(self.path), self._instance.writer() as cursor:
                self._refresh(cursor)
            batch = Batch(self._schema)
            for changes in blocks:
                block = as_block(changes)
                expected = max(batch.height, self.height) + 1
                if block.height < expected:
                    continue
                if block.height > expected:
                    raise GuildbookError(
                        "block.wrong_height", f"block {block.height} does not follow block {expected - 1} in the views",
                        hint=f"feed the changes from height {expected}", expected=expected, got=block.height)
                batch.add(block)
                if batch.row_count >= BATCH_ROWS_MAX:
                    self._append(batch)
                    batch = Batch(self._schema)
            if batch.row_count:
                self._append(batch)
            return self.height

    def wait_for(self, height: int, timeout_ms: int = 10_000) -> int:
        """Wait until the views hold ``height``, and return the height that they then hold.

        Raises GuildbookError ``views.behind`` when ``timeout_ms`` milliseconds pass first.
        """
        with self._advanced:
            self._advanced.wait_for(lambda: self.height >= height or self._closed, timeout_ms / 1000)
            if self.height < height:
                raise behind(height, self.height, timeout_ms)
            return self.height

    def close(self) -> None:
        """Let running statements end in an error, and release the file. A second call does nothing."""
        with self._feeding:
            if self._closed:
                return
            with self._advanced:
                self._closed = True
                self._advanced.notify_all()
            self._instance.interrupt("views.unavailable")
            self._merging.pause()
            self._instance.close()

    def __enter__(self) -> "Views":
        """The object itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def query(self, sql: str, parameters: Parameters = None, *, at: int | None = None, scope: Scope | None = None,
              limits: Limits = DEFAULT_LIMITS) -> Result:
        """Run one reading statement and return its whole answer.

        ``at`` asks as of the state after that block, else after the last one. ``scope`` limits what can be seen.
        Raises GuildbookError ``sql.syntax``, ``sql.not_allowed``, ``sql.failed`` (the statement met a value that it
        cannot compute with), ``sql.timeout``, ``sql.too_many_rows``, ``sql.too_large``, ``sql.unknown_height``,
        ``views.corrupt``, ``views.unavailable``.
        """
        started = time.perf_counter()
        with self.reading(sql, parameters, at=at, scope=scope, limits=limits) as reading:
            rows = [row for batch in reading.batches for row in batch]
            return Result(reading.columns, rows, reading.height, (time.perf_counter() - started) * 1000)

    @contextlib.contextmanager
    def reading(self, sql: str, parameters: Parameters = None, *, at: int | None = None, scope: Scope | None = None,
                limits: Limits = DEFAULT_LIMITS) -> Iterator[Reading]:
        """Run one reading statement, and give its rows in batches while the block lasts. Raises as ``query``."""
        with self.prepared(sql, parameters, at=at, scope=scope, limits=limits) as (cursor, statement, height):
            cursor.execute(statement.text, parameters)
            columns = tuple(Column(name, str(kind)) for name, kind, *_rest in cursor.description or ())
            for column in columns:
                if column.has_time_zone:
                    raise not_allowed(f"the column {column.name} has a time zone",
                                      "every time on the ledger is UTC: cast the value to TIMESTAMP")
            yield Reading(columns, height, _batches(cursor, columns, limits))

    @contextlib.contextmanager
    def prepared(self, sql: str, parameters: Parameters, *, at: int | None, scope: Scope | None,
                 limits: Limits) -> Iterator[tuple[duckdb.DuckDBPyConnection, Statement, int]]:
        """A connection on which the statement can run, in a read-only transaction, with its time limit running.

        Gives the connection, the checked statement, and the height that it will read. Raises as ``query``.
        """
        visible = self._relations if scope is None else scope.relations(self._relations)
        statement = self._checker.check(sql, parameters, visible)
        if scope is not None:
            scope.check(self._checker)

        def front(catalog: str) -> Iterator[str]:
            for name in sorted(statement.relations):
                yield from tables.front(catalog, visible[name], at, scope)

        fronted = at is not None or scope is not None
        with self._instance.reader(limits.time_ms_max, front if fronted else None) as cursor:
            tables.look_at_bases(cursor)
            first, last = tables.read_heights(cursor)
            _check_heights(at, statement.heights, first, last)
            yield cursor, statement, last if at is None else at

    def _open(self) -> None:
        if not self.path.exists():
            discard(self.path)
        self._instance = Instance(self.path, self._settings)
        self._checker = StatementChecker(self._instance.parser)
        self._merging = Merging(self._instance, self.path)
        try:
            with opening(self.path), self._instance.writer() as cursor:
                if tables.is_empty(cursor, LEDGER):
                    with transaction(cursor):
                        tables.lay_out(cursor, self.network, self._settings.first_height,
                                       os.urandom(IDENTITY_SIZE_BYTES))
                self._load(cursor)
        except BaseException:
            self._instance.close()
            raise

    def _load(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Take over what the files hold, and let merging go on. Raises as ``_read``."""
        self._read(cursor)
        self._merging.start(self._schema, tables.read_bases(cursor))

    def _read(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Take over what the files hold: height and schema. Raises ``views.mismatch`` or ``views.corrupt``."""
        state = tables.read_state(cursor)
        if state is None:
            raise GuildbookError("views.mismatch", f"{self.path} is a database, but holds no views",
                                 hint="name another file", path=str(self.path))
        if state.format != tables.FORMAT:
            raise GuildbookError("views.corrupt", f"the views at {self.path} have format {state.format}, this program "
                                 f"reads format {tables.FORMAT}", hint="delete them and let the node build them again")
        if state.network != self.network:
            raise GuildbookError("views.mismatch", f"the views are of network {state.network!r}, not {self.network!r}",
                                 hint="name another file, or another network", path=str(self.path))
        self._load_bases(cursor, state)
        self._schema = state.schema
        self._relations = state.schema.relations()
        self._generation = self._instance.generation
        self._reach(state.first_height, state.height)

    def _load_bases(self, cursor: duckdb.DuckDBPyConnection, state: tables.State) -> None:
        """Make the bases if there are none, let them follow the schema, and check that they belong to the histories."""
        if tables.is_empty(cursor, CURRENT):
            with transaction(cursor):
                tables.lay_out_bases(cursor, state.identity)
        found = tables.read_bases_of(cursor)
        if found is None or found[0] != state.identity or state.schema.extended_by(found[1]) != state.schema:
            raise _foreign_bases(self.path, "belong to other views")
        if found[1] != state.schema:
            with transaction(cursor):
                tables.grow_bases(cursor, found[1], state.schema)
        if any(base.height > state.height for base in tables.read_bases(cursor).values()):
            raise _foreign_bases(self.path, f"are ahead of height {state.height}")

    def _refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Read again what the file holds, if the database object was replaced."""
        if self._generation != self._instance.generation:
            self._load(cursor)

    def _reach(self, first_height: int, height: int) -> None:
        with self._advanced:
            self.first_height, self.height = first_height, height
            self._advanced.notify_all()

    def _append(self, batch: Batch) -> None:
        """Append a batch; again, if readers' statements took the memory or one ended the database object."""
        for _ in range(APPEND_TRIES - 1):
            try:
                self._write(batch)
            except duckdb.OutOfMemoryException:
                self._instance.interrupt("sql.too_large")
            except GuildbookError as error:
                if error.code != "views.unavailable":
                    raise
            else:
                return
        try:
            self._write(batch)
        except duckdb.OutOfMemoryException as error:
            raise GuildbookError(
                "views.unavailable", f"the views have too little memory for {batch.row_count} rows up to block "
                f"{batch.height}", hint="give the views more memory in the node's configuration") from error

    def _write(self, batch: Batch) -> None:
        with feeding(self.path), self._instance.writer() as cursor:
            self._refresh(cursor)
            if batch.height <= self.height:
                return
            with transaction(cursor):
                tables.append(cursor, batch)
            self._reach(self.first_height, batch.height)
            if size_bytes(log_path(self.path)) >= self._settings.log_bytes_max:
                tables.write_log_into_file(cursor)
        self._merging.grew(batch.changes)


def _foreign_bases(path: Path, why: str) -> GuildbookError:
    return GuildbookError("views.corrupt", f"the bases beside the views at {path} {why}",
                          hint="delete the views and let the node build them again from the blocks", path=str(path))


def behind(wanted: int, held: int, timeout_ms: int) -> GuildbookError:
    """The error for a height that did not come in time."""
    return GuildbookError("views.behind", f"the views hold height {held}; {wanted} did not come within {timeout_ms} ms",
                          hint="try again shortly, or accept an earlier height", wanted=wanted, held=held)


def _check_heights(at: int | None, named: tuple[int, ...], first: int, last: int) -> None:
    """Raise ``sql.unknown_height`` unless the views hold every height that was asked for, up to ``at``."""
    latest = last if at is None else at
    for height in named if at is None else (at, *named):
        if not first <= height <= last:
            raise GuildbookError("sql.unknown_height", f"the views hold heights {first} to {last}, not {height}",
                                 hint="ask for one of these, or wait for it", height=height, first=first, last=last)
        if height > latest:
            raise GuildbookError("sql.unknown_height", f"height {height} is after height {latest}, as of which the "
                                 "statement is asked", hint="ask as of a later height", height=height, at=latest)


def _batches(cursor: duckdb.DuckDBPyConnection, columns: tuple[Column, ...],
             limits: Limits) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of the running statement, at most ``FETCH_ROWS`` at a time; raises when there are too many."""
    made_plain = plain_rows(columns)
    count = size_bytes = 0
    while rows := cursor.fetchmany(FETCH_ROWS):
        count += len(rows)
        if count > limits.rows_max:
            raise GuildbookError("sql.too_many_rows", f"the answer has more than {limits.rows_max} rows",
                                 hint="add a LIMIT or a condition, or export the table", rows_max=limits.rows_max)
        size_bytes += rows_size_bytes(columns, rows)
        if size_bytes > limits.size_bytes_max:
            raise GuildbookError("sql.too_large", f"the answer has more than {limits.size_bytes_max} bytes",
                                 hint="ask for fewer columns or rows, or export the table",
                                 size_bytes_max=limits.size_bytes_max)
        yield made_plain(rows)
