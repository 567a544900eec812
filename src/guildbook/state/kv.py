"""The ordered key-value interface under everything, and its in-memory form.

Law. ``write`` applies all of its pairs or none, and when it returns they survive a crash (the memory form
survives nothing, and says so). A reader sees one moment: a snapshot does not change under later writes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from guildbook.primitives.errors import GuildbookError

Pairs = Iterable[tuple[bytes, bytes | None]]


class Reader(Protocol):
    """Read access to one moment of a store."""

    def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The value under each of ``keys``, in their order; quicker than one by one."""

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end (None: to the last key) in key order, or in reverse key order."""

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """The first ``pairs_max`` pairs of ``scan``."""


class LatestReader(Reader, Protocol):
    """Read access for one thread which keeps a place in the store between reads, and so is quick at small ones."""

    def refresh(self) -> None:
        """See the store as it is now. To be called after each write."""


class KeyValueStore(Reader, Protocol):
    """An ordered map of bytes to bytes with atomic durable batches."""

    def write(self, pairs: Pairs) -> None:
        """Apply all pairs (None deletes) as one atomic, durable batch.

        Raises GuildbookError ``store.full`` or ``store.io``; then nothing was applied.
        """

    def snapshot(self) -> Reader:
        """A reader of this moment, unaffected by later writes."""

    def latest(self) -> "LatestReader":
        """A reader for one thread that sees the last moment at which it was refreshed, or a later one."""

    def checkpoint(self, path: Path) -> None:
        """Write a consistent copy of this moment to the new folder ``path`` while the store stays in use."""

    def close(self) -> None:
        """Release the store. Closing twice is allowed."""


class _MemorySnapshot:
    """The content of a memory store at one moment."""

    def __init__(self, keys: list[bytes], values: dict[bytes, bytes]) -> None:
        self._keys = keys
        self._values = values

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        return self._values.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """See Reader."""
        return [self._values.get(key) for key in keys]

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Reader."""
        low = bisect_left(self._keys, start)
        high = len(self._keys) if end is None else bisect_left(self._keys, end)
        chosen = self._keys[low:high]
        for key in reversed(chosen) if reverse else chosen:
            value = self._values.get(key)
            if value is not None:
                yield key, value

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        return list(islice(self.scan(start, end, reverse=reverse), pairs_max))


class MemoryStore(_MemorySnapshot):
    """A KeyValueStore in memory, for tests and authors' ledgers. Nothing outlives the process."""

    def __init__(self) -> None:
        super().__init__([], {})

    def write(self, pairs: Pairs) -> None:
        """See KeyValueStore."""
        for key, value in list(pairs):
            if value is None:
                if self._values.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value

    def snapshot(self) -> Reader:
        """See KeyValueStore; copies the content."""
        return _MemorySnapshot(list(self._keys), dict(self._values))

    def latest(self) -> LatestReader:
        """See KeyValueStore: the store itself, which is always as it is now."""
        return self

    def refresh(self) -> None:
        """See LatestReader."""

    def checkpoint(self, path: Path) -> None:
        """Refused: a memory store has no copy on disk."""
        raise GuildbookError(
            "store.io", f"a memory store cannot be copied to {path}", hint="use a ledger with a store folder"
        )

    def close(self) -> None:
        """Nothing to release."""
