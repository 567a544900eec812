"""What is kept because it will be asked for again: a bounded cache whose oldest entries leave first."""

import threading
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """At most ``most`` values by key. Safe in any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[Key, Value] = {}
        self._changing = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value under ``key``, or None."""
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keep ``value`` under ``key``; the oldest one goes when there is no room."""
        with self._changing:
            self._values[key] = value
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]
