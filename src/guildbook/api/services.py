"""What the HTTP interface stands on: given to it by the node, or by a test.

The interface holds no state of its own but subscribers and counters. It never holds a key that signs transactions.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from guildbook.api.metrics import Metrics
from guildbook.client.local import SqlSource
from guildbook.client.prover import Prover
from guildbook.client.reader import LedgerReader
from guildbook.engine.desk import Answer


class ApiLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the interface accepts, and how long it waits."""

    body_size_bytes_max: int = 8_388_608
    """Size of one request's body, bytes."""
    batch_transactions_max: int = 4_096
    """Transactions in one batch."""
    requests_running_max: int = 1_024
    """Requests that run at the same time; event streams are not counted."""
    subscribers_max: int = 256
    """Event streams that are open at the same time."""
    body_timeout_s: int = 30
    """Seconds in which a request's body must have arrived."""
    answer_timeout_s: int = 30
    """Seconds that a submission waits for its block."""
    stream_stall_s: int = 60
    """Seconds after which an event stream whose reader takes nothing is closed."""


class HeightSignal:
    """The last committed height, for tasks that wait for the next one.

    ``publish`` never blocks and is called by the sequencer. Waiting tasks belong to the loop given to ``bind``.
    """

    def __init__(self, height: int) -> None:
        self.height = height
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moved = asyncio.Event()
        self._told = False
        self.stopping = False

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Wake tasks of ``loop`` from now on; None: of no loop."""
        with self._lock:
            self._loop = loop

    def publish(self, height: int) -> None:
        """The block of ``height`` is durable. Called in any thread."""
        self.height = height
        self._tell()

    def stop(self) -> None:
        """Let every waiting task go: nothing more will come."""
        self.stopping = True
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            if self._loop is not None and not self._told:
                self._told = True
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._told = False
        self._moved.set()
        self._moved = asyncio.Event()

    async def beyond(self, height: int, timeout_s: float) -> bool:
        """Wait until the last height is above ``height``, at most ``timeout_s`` seconds; False when time is up."""
        moved = self._moved
        if self.height > height or self.stopping:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await moved.wait()
        except TimeoutError:
            return False
        return True


class Services(NamedTuple):
    """Everything that the interface uses.

    ``submit`` hands envelopes to the engine and raises GuildbookError when it takes none; ``not_ready`` gives the
    reasons for which this node should get no requests; ``genesis`` is the founding document; ``checkpoint`` the log's
    signed note (C2SP), as of now.
    """

    reader: LedgerReader
    submit: Callable[[Sequence[bytes]], Future[list[Answer]]]
    signal: HeightSignal
    metrics: Metrics
    not_ready: Callable[[], list[str]]
    genesis: bytes
    prover: Prover
    checkpoint: Callable[[], bytes]
    sql: SqlSource | None = None
    limits: ApiLimits = ApiLimits()
