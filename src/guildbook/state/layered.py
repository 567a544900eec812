"""A store on top of another one that it never writes to: for trying what a ledger would have been.

What is written lives in memory, above the reader beneath, and is gone with the object. Reads see both as one store.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import LatestReader, Pairs, Reader


class LayeredStore:
    """A KeyValueStore whose writes cover ``base``, a reader of one moment. For one thread."""

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._keys: list[bytes] = []
        self._written: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        return self._written[key] if key in self._written else self._base.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """See Reader."""
        return [self.get(key) for key in keys]

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Reader."""
        low = bisect_left(self._keys, start)
        high = len(self._keys) if end is None else bisect_left(self._keys, end)
        above = iter(self._keys[low:high][:: -1 if reverse else 1])
        below = self._base.scan(start, end, reverse=reverse)
        own, other = next(above, None), next(below, None)
        while own is not None or other is not None:
            if own is not None and (other is None or own == other[0] or (own < other[0]) != reverse):
                if other is not None and own == other[0]:
                    other = next(below, None)
                value = self._written[own]
                if value is not None:
                    yield own, value
                own = next(above, None)
            else:
                assert other is not None, "one of both is there"
                yield other
                other = next(below, None)

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        return list(islice(self.scan(start, end, reverse=reverse), pairs_max))

    def write(self, pairs: Pairs) -> None:
        """See KeyValueStore; survives nothing."""
        for key, value in pairs:
            if key not in self._written:
                insort(self._keys, key)
            self._written[key] = value

    def snapshot(self) -> Reader:
        """See KeyValueStore: the content as of now, covered by nothing."""
        copy = LayeredStore(self._base)
        copy.write(self._written.items())
        return copy

    def latest(self) -> LatestReader:
        """See KeyValueStore: the store itself, which is always as it is now."""
        return self

    def refresh(self) -> None:
        """See LatestReader."""

    def checkpoint(self, path: Path) -> None:
        """Refused: a layer has no copy on disk."""
        raise GuildbookError(
            "store.io", f"a layer in memory cannot be copied to {path}", hint="copy the store beneath"
        )

    def close(self) -> None:
        """Nothing to release; the reader beneath is its owner's."""
