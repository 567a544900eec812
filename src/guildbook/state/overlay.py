"""A block's changes over the last committed state, with undo for a refused transaction.

Theory. While a block runs, all changes live here and nowhere else. Rows are kept decoded; they are encoded once,
when the block is finished. A transaction writes straight into the overlay and notes in a journal what it
overwrote; a refused transaction is undone from the journal, so the common case pays nothing for the rare one.

Invariants. (1) For each changed row ``base`` holds the committed row. (2) Every index delta is exactly the
difference that the changed rows make to that index. (3) ``rollback(mark)`` restores the content at ``mark``.
Iteration is by key or index order, whatever was written in this block.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from guildbook.primitives.ordered import prefix_end
from guildbook.state.kv import Reader
from guildbook.state.record import KEY_SIZE_BYTES_MAX
from guildbook.state.schema import IndexSchema, TableSchema

SCAN_PAGE_ROWS = 64
CACHED_ROWS_MAX = 320_000
DECODED_ROWS_MAX = 30_000
_MISSING: Any = object()


class TouchLimit(Exception):
    """A transaction touched more rows than it may."""


class RowCache:
    """Committed rows, bounded; the oldest entries leave first.

    Most are kept as their bytes, which take a quarter of the memory of a decoded row and are decoded in less than a
    tenth of the time of a read from the store. The rows read last are kept decoded too.
    """

    def __init__(self, rows_max: int = CACHED_ROWS_MAX, decoded_max: int = DECODED_ROWS_MAX) -> None:
        self.rows: dict[bytes, Any] = {}
        self.encoded: dict[bytes, bytes] = {}
        self._rows_max = rows_max
        self._decoded_max = decoded_max

    def read(self, key: bytes, row: Any, data: bytes) -> None:
        """Remember the committed ``row`` that was decoded from ``data``."""
        self.rows[key] = row
        _leave(self.rows, self._decoded_max)
        if key not in self.encoded:
            self.encoded[key] = data
            _leave(self.encoded, self._rows_max)

    def put(self, key: bytes, data: bytes | None) -> None:
        """The row under ``key`` has become ``data``; None: it is gone."""
        self.rows.pop(key, None)
        if data is None:
            self.encoded.pop(key, None)
        else:
            self.encoded[key] = data
            _leave(self.encoded, self._rows_max)

    def forget_decoded(self) -> None:
        """Forget what bytes were decoded to."""
        self.rows.clear()


def _leave(entries: dict[bytes, Any], most: int) -> None:
    """Let the oldest eighth of ``entries`` go when there are more than ``most``."""
    if len(entries) > most:
        for old in list(islice(entries, most // 8 + 1)):
            del entries[old]


class OrderDelta:
    """What this block adds to and removes from one order (an index, or a table's primary key)."""

    __slots__ = ("added", "removed", "target")

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self.target: dict[bytes, bytes] = {}
        self.removed: set[bytes] = set()

    def add(self, key: bytes, row_key: bytes) -> None:
        """``key`` now leads to ``row_key``."""
        if key in self.removed:
            self.removed.discard(key)
        else:
            insort(self.added, key)
            self.target[key] = row_key

    def remove(self, key: bytes) -> None:
        """``key`` no longer leads anywhere."""
        if self.target.pop(key, None) is not None:
            del self.added[bisect_left(self.added, key)]
        else:
            self.removed.add(key)


class RowDifference:
    """One row that differs after a block: ``before`` and ``after`` are rows, None where absent; ``data`` is the
    canonical form of ``after``.
    """

    __slots__ = ("after", "before", "data", "key", "schema")

    def __init__(self, schema: TableSchema, key: bytes, before: Any, after: Any) -> None:
        self.schema = schema
        self.key = key
        self.before = before
        self.after = after
        self.data: bytes | None = schema.encode(after) if after is not None else None


class Overlay:
    """Typed reads and writes of one block on top of a reader of the committed state."""

    def __init__(self, reader: Reader, cache: RowCache | None = None) -> None:
        self._reader = reader
        self._cache = cache if cache is not None else RowCache()
        self._cached = self._cache.rows
        self._rows: dict[bytes, Any] = {}
        self._base: dict[bytes, tuple[TableSchema, Any]] = {}
        self._orders: dict[bytes, OrderDelta] = {}
        self._journal: list[tuple[TableSchema, bytes, Any]] = []
        self.touched = 0
        self.touched_max = 1 << 62
        self.watched_writes = 0

    def forget(self) -> None:
        """Forget decoded committed rows: a release may change what the bytes of a row are decoded to."""
        self._cache.forget_decoded()

    # reading ---------------------------------------------------------------------------------------------

    def peek(self, schema: TableSchema, key: bytes) -> Any:
        """As ``read``, for the runtime's own reads: they do not count as touched."""
        row = self._rows.get(key, _MISSING)
        return row if row is not _MISSING else self._committed(schema, key)

    def read(self, schema: TableSchema, key: bytes) -> Any:
        """The row under the full store key ``key``, or None."""
        self.touched += 1
        if self.touched > self.touched_max:
            raise TouchLimit
        row = self._rows.get(key, _MISSING)
        if row is not _MISSING:
            return row
        return self._cached.get(key) or self._committed(schema, key)

    def _committed(self, schema: TableSchema, key: bytes) -> Any:
        row = self._cached.get(key)
        if row is None:
            data = self._cache.encoded.get(key) or self._reader.get(key)
            if data is None:
                return None
            row = schema.decode(data)
            self._cache.read(key, row, data)
        return row

    def scan(
        self,
        schema: TableSchema,
        index: IndexSchema | None,
        prefix: bytes,
        *,
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Any]:
        """Rows whose order key starts with ``prefix``, in order; ``after`` is an order key to start behind.

        Rows changed meanwhile are seen as they are when their page of SCAN_PAGE_ROWS is read.
        """
        last = prefix[-1]
        start, end = prefix, prefix[:-1] + bytes((last + 1,)) if last < 255 else prefix_end(prefix)
        if after is not None:
            if reverse:
                end = after
            else:
                start = after + b"\0"
        order = index.prefix if index is not None else schema.row_prefix
        while True:
            page = self._page(order, index is not None, schema, start, end, reverse)
            for _key, row_key in page:
                row = self.read(schema, row_key)
                if row is not None:
                    yield row
            if len(page) < SCAN_PAGE_ROWS:
                return
            if reverse:
                end = page[-1][0]
            else:
                start = page[-1][0] + b"\0"

    def _page(
        self, order: bytes, indexed: bool, schema: TableSchema, start: bytes, end: bytes | None, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        delta = self._orders.get(order)
        removed = delta.removed if delta is not None else ()
        page: list[tuple[bytes, bytes]] = []
        low_key, high_key = start, end
        while True:
            pairs = self._reader.page(low_key, high_key, SCAN_PAGE_ROWS, reverse=reverse)
            for key, value in pairs:
                if key not in removed:
                    page.append((key, schema.row_prefix + value if indexed else key))
            if len(pairs) < SCAN_PAGE_ROWS or len(page) >= SCAN_PAGE_ROWS:
                break
            if reverse:
                high_key = pairs[-1][0]
            else:
                low_key = pairs[-1][0] + b"\0"
        del page[SCAN_PAGE_ROWS:]
        if delta is not None and delta.added:
            low = bisect_left(delta.added, start)
            high = len(delta.added) if end is None else bisect_left(delta.added, end)
            added = (
                delta.added[max(low, high - SCAN_PAGE_ROWS) : high]
                if reverse
                else delta.added[low : min(high, low + SCAN_PAGE_ROWS)]
            )
            if added:
                page.extend((key, delta.target[key]) for key in added)
                page.sort(reverse=reverse)
                del page[SCAN_PAGE_ROWS:]
        return page

    # writing ---------------------------------------------------------------------------------------------

    def write(
        self, schema: TableSchema, key: bytes, row: Any, changed: Collection[str] | None = None
    ) -> None:
        """Put ``row`` under ``key``; None deletes. The journal remembers what was there.

        ``changed`` names the fields that differ from the row there, where the caller knows them.
        """
        assert len(key) <= KEY_SIZE_BYTES_MAX, f"{schema.name}: a key of {len(key)} bytes"
        previous = self._rows.get(key, _MISSING)
        current = previous
        if previous is _MISSING:
            current = self._committed(schema, key)
            if key not in self._base:
                self._base[key] = (schema, current)
        self._journal.append((schema, key, previous))
        self._rows[key] = row
        if schema.watched:
            self.watched_writes += 1
        self._reorder(schema, key, current, row, changed)

    def _reorder(
        self, schema: TableSchema, key: bytes, old: Any, new: Any, changed: Collection[str] | None = None
    ) -> None:
        if old is None and new is not None:
            self._delta(schema.row_prefix).add(key, key)
        elif new is None and old is not None:
            self._delta(schema.row_prefix).remove(key)
        for index in schema.indexes:
            if changed is not None and index.names.isdisjoint(changed):
                continue
            old_key = index.key_of(old) if old is not None else None
            new_key = index.key_of(new) if new is not None else None
            if old_key != new_key:
                delta = self._delta(index.prefix)
                if old_key is not None:
                    delta.remove(old_key)
                if new_key is not None:
                    assert len(new_key) <= KEY_SIZE_BYTES_MAX * 2, (
                        f"{schema.name}: an index key of {len(new_key)} bytes"
                    )
                    delta.add(new_key, key)

    def _delta(self, order: bytes) -> OrderDelta:
        delta = self._orders.get(order)
        if delta is None:
            delta = self._orders[order] = OrderDelta()
        return delta

    # transactions ----------------------------------------------------------------------------------------

    def begin(self, touched_max: int) -> int:
        """Start a transaction that may touch ``touched_max`` rows; returns the mark to roll back to."""
        self.touched = 0
        self.touched_max = touched_max
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since ``mark``."""
        while len(self._journal) > mark:
            schema, key, previous = self._journal.pop()
            current = self._rows[key]
            if schema.watched:
                self.watched_writes += 1
            if previous is _MISSING:
                del self._rows[key]
                restored = self._base[key][1]
            else:
                self._rows[key] = restored = previous
            self._reorder(schema, key, current, restored)

    # finishing -------------------------------------------------------------------------------------------

    def differences(self) -> list[RowDifference]:
        """The rows that differ from the committed state, in key order."""
        found = []
        for key in sorted(self._rows):
            schema, before = self._base[key]
            after = self._rows[key]
            if before != after:
                found.append(RowDifference(schema, key, before, after))
        return found

    def index_writes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The index entries to put and to delete, grouped by order."""
        for order, delta in sorted(self._orders.items()):
            if order[:1] == b"R":
                continue
            for key in sorted(delta.removed):
                yield key, None
            for key in delta.added:
                row_key = delta.target[key]
                yield key, row_key[row_key.index(b"\0") + 1 :]
