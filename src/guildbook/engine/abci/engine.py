"""The network engine: this node's part in a ledger that several validators order together, through CometBFT.

Flow. What is submitted waits at the desk (``engine/desk.py``) -> the bundler cuts a bundle by time, count or size and
hands it to the CometBFT beside this node -> the validators agree on a block -> the application runs and stores it
(``application.py``) -> whoever waits for one of its transactions is answered, whichever member's bundle carried it.

A bundle can be lost on the way: the mempool was full, the engine restarted, a proposer left something out. What is not
in a block after a while is handed in again, until its last valid height is over. That costs nothing but bytes: a
transaction takes effect once, and everybody who waits for it gets its first receipt.

Engine and node may start, stop and crash in any order. While the engine is away the node answers questions, and takes
no transactions.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import msgspec

from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.transition import admit
from guildbook.engine.abci.application import CHECK_OK, Application, Run, Snapshots
from guildbook.engine.abci.keeper import BlockKeeper
from guildbook.engine.abci.proposal import CheckedTransactions
from guildbook.engine.abci.rpc import EngineRpc, RpcRefused, base64_text
from guildbook.engine.abci.server import AbciServer
from guildbook.engine.crash import CrashPoints
from guildbook.engine.desk import PENDING_TRANSACTIONS_MAX, Answer, Committed, Desk, EngineCondition, Pending
from guildbook.primitives.errors import ERRORS, GuildbookError
from guildbook.runtime.call import Refused

NANOSECONDS_PER_MILLISECOND = 1_000_000
NANOSECONDS_PER_SECOND = 1_000_000_000
IN_CACHE = "already exists in cache"
MEMPOOL_FULL = "mempool is full"
TOO_LARGE = "too large"
"""What the engine says of a bundle that it does not take."""
UNDER_WAY_MAX = 128
"""Bundles that this node has handed in and that are in no block yet."""
RETRY_MS = 250
CHECK_EVERY_S = 1.0

_log = logging.getLogger("guildbook.engine")


class NetworkSettings(msgspec.Struct, frozen=True):
    """How bundles are cut, and when the node says that something is wrong; nothing here decides about a transaction."""

    bundle_ms: int = 50
    bundle_transactions_max: int = 500
    bundle_size_bytes_max: int = 262_144
    resubmit_ms: int = 5_000
    stall_ms: int = 60_000
    stop_wait_ms: int = 5_000
    retain_blocks: int = 0
    signature_workers: int = 1
    pending_transactions_max: int = PENDING_TRANSACTIONS_MAX


class _Sent(NamedTuple):
    """A bundle under way: when it was handed in, at which height, and what is in it."""

    at_ns: int
    height: int
    transactions: list[Pending]


class NetworkEngine:
    """Runs one ledger as a node of a network of validators.

    ``socket`` is where this node listens for its CometBFT, ``rpc`` where that answers: the path of a socket, or
    ``host:port``. ``on_block`` is called after each durable block, ``on_halt`` when the engine stops by itself; both
    in threads of the engine.
    """

    def __init__(
        self,
        ledger: Ledger,
        socket: Path,
        rpc: str | Path,
        settings: NetworkSettings | None = None,
        *,
        snapshots: Snapshots | None = None,
        software: str = "",
        on_block: Callable[[Committed], None] | None = None,
        on_halt: Callable[[BaseException], None] | None = None,
        crash: CrashPoints | None = None,
    ) -> None:
        self.ledger = ledger
        self.settings = settings or NetworkSettings()
        self.connections = 0
        """Connections that the engine's process holds; it has four."""
        self._on_block = on_block
        self._on_halt = on_halt
        self._desk = Desk(
            ledger,
            signature_workers=self.settings.signature_workers,
            pending_transactions_max=self.settings.pending_transactions_max,
        )
        self._checked = CheckedTransactions()
        self._application = Application(
            ledger,
            signatures=self._desk.signatures,
            checked=self._checked,
            snapshots=snapshots,
            retain_blocks=self.settings.retain_blocks,
            software=software,
            on_commit=self._committed,
            on_info=self._engine_came,
            crash=crash or CrashPoints(),
        )
        self.times = self._application.times
        self._server = AbciServer(
            self._application, socket, on_halt=self._halt, on_connections=self._connections_changed
        )
        self.keeper = BlockKeeper(ledger, EngineRpc(rpc), on_halt=self._halt)
        self._rpc = EngineRpc(rpc)
        self._sent: deque[_Sent] = deque()
        self._send_again = False
        self._looked_height = -1
        self._looked_ns = 0
        self._stopped = False
        self._retry_at_ns = 0
        self._last_block_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._bundle, name="bundler", daemon=True)

    # what a node asks ------------------------------------------------------------------------------------------

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did."""
        return self._desk.failure

    @property
    def pending(self) -> int:
        """Transactions that wait for a block."""
        return self._desk.pending

    def start(self) -> None:
        """Listen for the engine, and begin to bundle and to keep blocks."""
        self._server.start()
        self._thread.start()
        self.keeper.start()

    def submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        """Hand in signed envelopes; the future gives one answer for each, in order, after their blocks are durable.

        Raises GuildbookError ``api.too_busy`` when too much waits, ``api.unavailable`` when the engine is not there.
        """
        if not self.connections and self._desk.failure is None:
            raise GuildbookError(
                "api.unavailable",
                "the consensus engine is not connected to this node",
                hint="see whether its process runs; send again, or to another member's node",
            )
        return self._desk.submit(envelopes)

    def not_ready(self) -> list[str]:
        """Why the engine cannot take transactions to a block now; [] when it can."""
        if self._desk.failure is not None:
            return ["the engine has halted"]
        if not self.connections:
            return ["the consensus engine is not connected"]
        reasons = []
        if self.keeper.catching_up:
            reasons.append(f"the consensus engine is catching up, at height {self.ledger.head.height}")
        waited_ms = (time.monotonic_ns() - self._last_block_ns) // NANOSECONDS_PER_MILLISECOND
        if self.pending and waited_ms > self.settings.stall_ms:
            reasons.append(
                f"transactions wait, and there was no block for {waited_ms // 1_000} seconds: more than a third of "
                "the voting power may be away"
            )
        return reasons

    def condition(self) -> EngineCondition:
        """How the engine is, for metrics."""
        keeper = self.keeper
        connected = self.connections > 0 and self._desk.failure is None
        return EngineCondition(connected, keeper.catching_up, keeper.kept_height, len(keeper.lost))

    def drain(self) -> None:
        """Take no more, and wait a little for what is under way. CometBFT is best stopped between this and ``stop``:
        it ends in order only while the node still answers it.
        """
        desk = self._desk
        deadline = time.monotonic_ns() + self.settings.stop_wait_ms * NANOSECONDS_PER_MILLISECOND
        with desk.wake:
            desk.stopping = True
            desk.wake.notify_all()
            while desk.pending and self.connections and desk.failure is None:
                rest_ns = deadline - time.monotonic_ns()
                if rest_ns <= 0:
                    break
                desk.wake.wait(rest_ns / NANOSECONDS_PER_SECOND)
            self._stopped = True
            desk.wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._rpc.close()
        self.keeper.stop()

    def stop(self) -> None:
        """Wait a little for what is under way, and stop. The ledger stays open."""
        self.drain()
        self._server.stop()
        self._desk.dismiss(
            GuildbookError(
                "api.unavailable",
                "the node stopped before the transaction was in a block; it may come into one yet",
                hint="ask for its receipt, or send the same bytes again: they take effect once",
            )
        )
        self._desk.close()

    # what the engine tells -------------------------------------------------------------------------------------

    def _connections_changed(self, count: int) -> None:
        self.connections = count
        self._wake()

    def _engine_came(self) -> None:
        """The engine asks where the ledger stands: it has started, and its mempool is empty."""
        self._send_again = True
        self.keeper.tell()
        self._wake()

    def _wake(self) -> None:
        with self._desk.wake:
            self._desk.wake.notify_all()

    def _committed(self, run: Run) -> None:
        """In the lane of blocks, after a durable block."""
        result = run.result
        self._last_block_ns = time.monotonic_ns()
        self._desk.note_block(result)
        if self._on_block is not None:
            self._on_block(Committed(result.height, result.time_ns, result.changes))
        self._desk.answer_block(result.receipts)
        self._desk.expire(result.height + 1)
        self._wake()
        self.keeper.tell()

    def _halt(self, error: BaseException) -> None:
        if self._desk.failure is None:
            self._desk.fail(error, self._on_halt)

    # bundling --------------------------------------------------------------------------------------------------

    def _bundle(self) -> None:
        try:
            while True:
                chosen = self._wait_for_work()
                if chosen is None:
                    return
                self._send(self._still_wanted(chosen))
        except BaseException as error:  # noqa: BLE001 - the thread's rim: whatever ends it must reach callers and the node
            self._halt(error)

    def _wait_for_work(self) -> list[Pending] | None:
        """The transactions of the next bundle; None to stop."""
        desk, settings = self._desk, self.settings
        bundle_ns = settings.bundle_ms * NANOSECONDS_PER_MILLISECOND
        with desk.wake:
            while not self._stopped and desk.failure is None:
                now_ns = time.monotonic_ns()
                self._take_back(now_ns)
                wait_s = min(CHECK_EVERY_S, settings.resubmit_ms / 4_000) if self._sent or desk.queue else None
                if desk.queue and self.connections and len(self._sent) < UNDER_WAY_MAX:
                    full = len(desk.queue) >= settings.bundle_transactions_max
                    due_ns = now_ns if full or desk.stopping else desk.first_queued_ns + bundle_ns
                    rest_ns = max(due_ns, self._retry_at_ns) - now_ns
                    if rest_ns <= 0:
                        return desk.take(settings.bundle_transactions_max, settings.bundle_size_bytes_max)
                    wait_s = rest_ns / NANOSECONDS_PER_SECOND
                desk.wake.wait(wait_s)
        return None

    def _take_back(self, now_ns: int) -> None:
        """Queue again what was handed in and is in no block after all this time. Called under the desk's lock.

        All that is under way is looked at only when there is a reason: a block, an engine that came, or some time.
        """
        resubmit_ns = self.settings.resubmit_ms * NANOSECONDS_PER_MILLISECOND
        height = self.ledger.head.height
        again, self._send_again = self._send_again, False
        if not again and height == self._looked_height and now_ns - self._looked_ns < resubmit_ns // 4:
            return
        self._looked_height, self._looked_ns = height, now_ns
        left: deque[_Sent] = deque()
        for one in self._sent:
            waiting = [pending for pending in one.transactions if self._desk.waits(pending)]
            if not waiting:
                continue
            if again or (now_ns - one.at_ns > resubmit_ns and height > one.height):
                self._desk.requeue(waiting)
            else:
                left.append(_Sent(one.at_ns, one.height, waiting))
        self._sent = left

    def _still_wanted(self, chosen: list[Pending]) -> list[Pending]:
        """Answer what the ledger has already and refuse what may be in no block any more; returns the others."""
        desk, view = self._desk, self.ledger.view()
        chosen = desk.answer_known(chosen)
        refused: list[tuple[bytes, Refused]] = []
        admitted: list[Pending] = []
        for one in chosen:
            why = admit(one.transaction, view.network, view.head.height + 1, desk.parameters)
            if why is None:
                admitted.append(one)
            else:
                refused.append((one.transaction.id, why))
        desk.refuse(refused)
        now = max(time.time_ns(), view.head.time_ns) // NANOSECONDS_PER_MILLISECOND
        return desk.refuse_strangers(admitted, now, view.reader)

    def _send(self, chosen: list[Pending]) -> None:
        """Hand a bundle to the engine; what it does not take is divided, queued again, or refused."""
        if not chosen:
            return
        self._checked.put((one.envelope, one.transaction) for one in chosen)
        bundle = encode_bundle([one.envelope for one in chosen])
        try:
            found = self._rpc.ask("broadcast_tx_sync", tx=base64_text(bundle))
        except GuildbookError as error:
            self._later(chosen, str(error))
            return
        except RpcRefused as refused:
            if IN_CACHE in str(refused):
                self._under_way(chosen)
            elif TOO_LARGE in str(refused) and MEMPOOL_FULL not in str(refused):
                self._divide(chosen, "transaction.too_large")
            else:
                self._later(chosen, str(refused))
            return
        if found.get("code") == CHECK_OK:
            self._under_way(chosen)
        else:
            self._divide(self._still_wanted(chosen), str(found.get("log", "")))

    def _under_way(self, chosen: list[Pending]) -> None:
        with self._desk.wake:
            self._sent.append(_Sent(time.monotonic_ns(), self.ledger.head.height, chosen))

    def _later(self, chosen: list[Pending], why: str) -> None:
        _log.debug("the engine takes no bundle now: %s", why)
        with self._desk.wake:
            self._desk.requeue(chosen)
            self._retry_at_ns = time.monotonic_ns() + RETRY_MS * NANOSECONDS_PER_MILLISECOND

    def _divide(self, chosen: list[Pending], code: str) -> None:
        """The engine refuses a bundle as it is: find out which transaction is meant, and refuse that alone."""
        if len(chosen) > 1:
            middle = len(chosen) // 2
            self._send(chosen[:middle])
            self._send(chosen[middle:])
        elif chosen:
            known = code if code in ERRORS else "api.unavailable"
            self._desk.refuse([(chosen[0].transaction.id, Refused(known, []))])
