"""Merging: bases are moved forward beside the feed.

Theory. When the tail of a table has grown long, a thread merges it into the base and ends when there is nothing more to
do. It works in the database of bases alone, so the feed does not wait for it; and a reader sees either the old base
with the longer tail or the new one with the shorter, which say the same. A merge that is broken off is as if it had not
begun.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import duckdb

from guildbook.primitives.errors import GuildbookError
from guildbook.views import tables
from guildbook.views.instance import Instance, feeding, transaction
from guildbook.views.schema import TableView, ViewSchema


class Merging:
    """Keeps the tails of one instance short. Safe in any thread."""

    def __init__(self, instance: Instance, path: Path) -> None:
        self._instance = instance
        self._path = path
        self._changing = threading.Condition()
        self._tables: dict[str, TableView] = {}
        self._bases: dict[str, tables.Base] = {}
        self._postponed: dict[str, int] = {}
        """How long a tail must be before it is tried again, after it did not fit into memory."""
        self._running: threading.Thread | None = None
        self._paused = False
        self._failure: GuildbookError | None = None

    def start(self, schema: ViewSchema, bases: Mapping[str, tables.Base]) -> None:
        """Go on from where the bases stand, after they were read from the database."""
        with self._changing:
            self._tables = {table.name: table for table in schema.tables}
            self._bases = dict(bases)
            self._paused = False
            self._begin()

    def grew(self, changes: Mapping[str, int]) -> None:
        """Note how many changes of each table were appended. Raises what a merge met since the last call."""
        with self._changing:
            for name, count in changes.items():
                base = self._bases[name]
                self._bases[name] = tables.Base(base.height, base.base_rows, base.tail_rows + count)
            self._begin()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def pause(self) -> None:
        """Break off, and wait until no merge is running; ``start`` goes on."""
        with self._changing:
            self._paused = True
            running = self._running
        while running is not None and running.is_alive():
            self._instance.interrupt_merger()
            running.join(0.05)

    def _begin(self) -> None:
        """Have a thread run if there is something to do. The caller holds the lock."""
        if self._running is None and self._due() is not None and not self._paused:
            self._running = threading.Thread(target=self._run, name="views-merging", daemon=True)
            self._running.start()

    def _due(self) -> str | None:
        """The table whose tail is longest over its bound, or None."""
        overdue = {name: base.overdue for name, base in self._bases.items()
                   if base.overdue > 0 and base.tail_rows >= self._postponed.get(name, 0)}
        return max(overdue, key=overdue.__getitem__, default=None)

    def _run(self) -> None:
        while True:
            with self._changing:
                name = None if self._paused else self._due()
                if name is None:
                    self._running = None
                    return
                table, base = self._tables[name], self._bases[name]
            try:
                with feeding(self._path), self._instance.merger() as cursor, transaction(cursor):
                    merged, changes = tables.merge(cursor, table, base.height)
            except duckdb.OutOfMemoryException:
                with self._changing:
                    self._postponed[name] = 2 * base.tail_rows
            except GuildbookError as error:
                with self._changing:
                    self._running = None
                    if error.code != "views.unavailable":
                        self._failure = error
                    return
            else:
                with self._changing:
                    tail = max(self._bases[name].tail_rows - changes, 0)
                    self._bases[name] = tables.Base(merged.height, merged.base_rows, tail)
