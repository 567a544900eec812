"""A block's changes over the last committed state, with undo for a refused transaction.

Theory. While a block runs, all changes live here and nowhere else. Rows are kept decoded; they are encoded once,
when the block is finished. A transaction writes straight into the overlay and notes in a journal what it
overwrote; a refused transaction is undone from the journal, so the common case pays nothing for the rare one.

Invariants. (1) For each changed row ``base`` holds the committed row. (2) Every index delta is exactly the
difference that the changed rows make to that index. (3) ``rollback(mark)`` restores the content at ``mark``.
Iteration is by key or index order, whatever was written in this block.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from guildbook.primitives.ordered import prefix_end
from guildbook.state.kv import Reader
from guildbook.state.record import KEY_SIZE_BYTES_MAX
from guildbook.state.schema import IndexSchema, TableSchema

SCAN_PAGE_ROWS = 64
CACHED_ROWS_MAX = 240_000
CACHED_GROUPS_MAX = 100_000
DECODED_ROWS_MAX = 8_000
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
        self.rows_max = rows_max
        self.decoded_max = decoded_max

    def put(self, key: bytes, data: bytes | None) -> None:
        """The row under ``key`` has become ``data``; None: it is gone."""
        self.rows.pop(key, None)
        if data is None:
            self.encoded.pop(key, None)
        else:
            self.encoded[key] = data
            if len(self.encoded) > self.rows_max:
                _leave(self.encoded, self.rows_max)

    def forget_decoded(self) -> None:
        """Forget what bytes were decoded to."""
        self.rows.clear()


class GroupCache:
    """Which committed rows belong to a group of an index, bounded; the oldest entries leave first.

    A group is what agrees in the leading identifiers of an index (``IndexSchema.group``), such as the lots of one
    member in one programme. Asking the store for a short range costs more than all else in a typical command.
    """

    def __init__(self, groups_max: int = CACHED_GROUPS_MAX) -> None:
        self.rows: dict[bytes, tuple[bytes, ...] | None] = {}
        """The keys of the rows in the order of the index; None where they are more than are kept."""
        self._groups_max = groups_max

    def put(self, group: bytes, keys: tuple[bytes, ...] | None) -> None:
        """The committed rows of ``group`` have these keys."""
        self.rows[group] = keys
        if len(self.rows) > self._groups_max:
            _leave(self.rows, self._groups_max)

    def forget(self, groups: Iterable[bytes]) -> None:
        """Rows have come to these groups or left them."""
        for group in groups:
            self.rows.pop(group, None)


def _leave(entries: dict[bytes, Any], most: int) -> None:
    """Let the oldest eighth of ``most`` entries go."""
    for old in list(islice(entries, most // 8 + 1)):
        del entries[old]


class OrderDelta:
    """What this block adds to and removes from one order (an index, or a table's primary key)."""

    __slots__ = ("added", "groups", "removed", "target")

    def __init__(self) -> None:
        self.groups: set[bytes] = set()
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

    def add_all(self, pairs: dict[bytes, bytes]) -> None:
        """As ``add`` for many keys, none of which leads anywhere yet."""
        self.removed.difference_update(pairs)
        self.target.update(pairs)
        self.added = sorted(self.target)

    def remove(self, key: bytes) -> None:
        """``key`` no longer leads anywhere."""
        if self.target.pop(key, None) is not None:
            del self.added[bisect_left(self.added, key)]
        else:
            self.removed.add(key)


    def added_within(self, start: bytes, end: bytes | None, reverse: bool) -> list[tuple[bytes, bytes]]:
        """What was added with start <= key < end, the nearest SCAN_PAGE_ROWS: key and key of the row."""
        added = self.added
        if reverse:
            high = len(added) if end is None else bisect_left(added, end)
            if not high or added[high - 1] < start:
                return []
            low = max(bisect_left(added, start, 0, high), high - SCAN_PAGE_ROWS)
        else:
            low = bisect_left(added, start)
            if low == len(added) or (end is not None and added[low] >= end):
                return []
            high = len(added) if end is None else bisect_left(added, end, low)
            high = min(high, low + SCAN_PAGE_ROWS)
        return [(key, self.target[key]) for key in added[low:high]]


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

    def __init__(
        self, reader: Reader, cache: RowCache | None = None, groups: GroupCache | None = None
    ) -> None:
        self._reader = reader
        self._cache = cache if cache is not None else RowCache()
        self._groups = groups
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

    def reader_of(self, schema: TableSchema) -> Callable[[bytes], Any]:
        """``read`` for one table, as a function that has at hand what it needs: a transaction reads many times."""
        own, cached, committed = self._rows.get, self._cached.get, self._committed

        def read(key: bytes) -> Any:
            self.touched = touched = self.touched + 1
            if touched > self.touched_max:
                raise TouchLimit
            row = own(key, _MISSING)
            return row if row is not _MISSING else cached(key) or committed(schema, key)

        return read

    def _committed(self, schema: TableSchema, key: bytes) -> Any:
        row = self._cached.get(key)
        if row is None:
            cache = self._cache
            data = cache.encoded.get(key)
            if data is None:
                data = self._reader.get(key)
                if data is None:
                    return None
                cache.encoded[key] = data
                if len(cache.encoded) > cache.rows_max:
                    _leave(cache.encoded, cache.rows_max)
            row = self._cached[key] = schema.decode(data)
            if len(self._cached) > cache.decoded_max:
                _leave(self._cached, cache.decoded_max)
        return row

    def scan(
        self,
        schema: TableSchema,
        index: IndexSchema | None,
        prefix: bytes,
        *,
        values: tuple[Any, ...] = (),
        after: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Any]:
        """Rows whose order key starts with ``prefix``, in order; ``after`` is an order key to start behind.

        ``values`` are the components that ``prefix`` is made of, where the caller has them. Rows changed meanwhile are
        seen as they are when their page of SCAN_PAGE_ROWS is read.
        """
        last = prefix[-1]
        start, end = prefix, prefix[:-1] + bytes((last + 1,)) if last < 255 else prefix_end(prefix)
        if after is not None:
            if reverse:
                end = after
            else:
                start = after + b"\0"
        read = self.reader_of(schema)
        if self._groups is not None and index is not None and 0 < index.group_size <= len(values):
            group = prefix
            if len(values) > index.group_size:
                group = index.prefixes[index.group_size](*values[: index.group_size])
            keys = self._group(schema, index, group)
            if keys is not None:
                if after is not None:
                    places = [index.key_of(self.peek(schema, key)) for key in keys]
                    keys = [
                        key
                        for key, place in zip(keys, places, strict=True)
                        if start <= place and (end is None or place < end)
                    ]
                elif group is not prefix:
                    rest, wanted = index.rests[len(values)], values[index.group_size :]
                    keys = [key for key in keys if rest(self.peek(schema, key)) == wanted]
                for key in reversed(keys) if reverse else keys:
                    row = read(key)
                    if row is not None:
                        yield row
                return
        while True:
            page = self._page(schema, index, start, end, reverse)
            for _key, row_key in page:
                row = read(row_key)
                if row is not None:
                    yield row
            if len(page) < SCAN_PAGE_ROWS:
                return
            if reverse:
                end = page[-1][0]
            else:
                start = page[-1][0] + b"\0"

    def _group(self, schema: TableSchema, index: IndexSchema, group: bytes) -> Sequence[bytes] | None:
        """The keys of the rows of a group that this block has not changed; None where it has, and for a long group."""
        delta = self._orders.get(index.prefix)
        groups = self._groups
        if groups is None or (delta is not None and group in delta.groups):
            return None
        keys = groups.rows.get(group, _MISSING)
        if keys is _MISSING:
            pairs = self._reader.page(group, prefix_end(group), SCAN_PAGE_ROWS)
            short = len(pairs) < SCAN_PAGE_ROWS
            keys = tuple([schema.row_prefix + value for _key, value in pairs]) if short else None
            groups.put(group, keys)
        found: Sequence[bytes] | None = keys
        return found

    def _page(
        self, schema: TableSchema, index: IndexSchema | None, start: bytes, end: bytes | None, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        """The next entries of an order, at most SCAN_PAGE_ROWS: order key and store key of the row."""
        row_prefix = schema.row_prefix
        delta = self._orders.get(row_prefix if index is None else index.prefix)
        removed = delta.removed if delta is not None else ()
        page: list[tuple[bytes, bytes]] = []
        low_key, high_key = start, end
        while True:
            pairs = self._reader.page(low_key, high_key, SCAN_PAGE_ROWS, reverse=reverse)
            for key, value in pairs:
                if key not in removed:
                    page.append((key, key if index is None else row_prefix + value))
            if len(pairs) < SCAN_PAGE_ROWS or len(page) >= SCAN_PAGE_ROWS:
                break
            if reverse:
                high_key = pairs[-1][0]
            else:
                low_key = pairs[-1][0] + b"\0"
        del page[SCAN_PAGE_ROWS:]
        if delta is not None and delta.added:
            added = delta.added_within(start, end, reverse)
            if added:
                page.extend(added)
                page.sort(reverse=reverse)
                del page[SCAN_PAGE_ROWS:]
        return page

    # writing ---------------------------------------------------------------------------------------------

    def write(self, schema: TableSchema, key: bytes, row: Any) -> None:
        """Put ``row`` under ``key``; None deletes. The journal remembers what was there."""
        self.writer_of(schema)(key, self.peek(schema, key), row, schema.indexes)

    def writer_of(
        self, schema: TableSchema
    ) -> Callable[[bytes, Any, Any, Sequence[IndexSchema]], None]:
        """For one table, the function that puts a row under ``key`` in place of the one that is there now.

        It takes the key, the row that is there and the new one, each None where absent, and the indexes of the table
        whose keys may differ between the two. The journal remembers what was there.
        """
        rows, base, journal = self._rows, self._base, self._journal
        watched, row_prefix = schema.watched, schema.row_prefix

        def write(key: bytes, current: Any, row: Any, indexes: Sequence[IndexSchema]) -> None:
            previous = rows.get(key, _MISSING)
            if previous is _MISSING and key not in base:
                base[key] = (schema, current)
            journal.append((schema, key, previous))
            rows[key] = row
            if watched:
                self.watched_writes += 1
            if current is None or row is None:
                if current is None and row is not None:
                    assert len(key) <= KEY_SIZE_BYTES_MAX, f"{schema.name}: a key of {len(key)} bytes"
                    self._delta(row_prefix).add(key, key)
                elif row is None and current is not None:
                    self._delta(row_prefix).remove(key)
            for index in indexes:
                self._reorder(schema, index, key, current, row)

        return write

    def _reorder(self, schema: TableSchema, index: IndexSchema, key: bytes, old: Any, new: Any) -> None:
        """Note what the change of the row under ``key`` from ``old`` to ``new`` means for an index."""
        old_key = index.key_of(old) if old is not None else None
        new_key = index.key_of(new) if new is not None else None
        if old_key != new_key:
            delta = self._delta(index.prefix)
            if old_key is not None:
                delta.remove(old_key)
                delta.groups.add(index.group_of(old))
            if new_key is not None:
                delta.groups.add(index.group_of(new))
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
            if current is None and restored is not None:
                self._delta(schema.row_prefix).add(key, key)
            elif restored is None and current is not None:
                self._delta(schema.row_prefix).remove(key)
            for index in schema.indexes:
                self._reorder(schema, index, key, current, restored)

    # releases ------------------------------------------------------------------------------------------------

    def drop_index(self, index: IndexSchema) -> None:
        """Remove all entries of an order that is no longer declared."""
        delta = self._delta(index.prefix)
        delta.added, delta.target = [], {}
        end = prefix_end(index.prefix)
        start = index.prefix
        while pairs := self._reader.page(start, end, SCAN_PAGE_ROWS):
            delta.removed.update(key for key, _value in pairs)
            start = pairs[-1][0] + b"\0"

    def build_index(self, schema: TableSchema, index: IndexSchema) -> None:
        """Make the entries of all rows in an order that was not declared before."""
        delta = self._delta(index.prefix)
        entries = {index.key_of(row): schema.key_of(row) for row in self.scan(schema, None, schema.row_prefix)}
        delta.add_all({key: row_key for key, row_key in entries.items() if key not in delta.target})

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

    def changed_groups(self) -> set[bytes]:
        """The groups of indexes that rows come to or leave."""
        return set().union(*(delta.groups for delta in self._orders.values()))

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
