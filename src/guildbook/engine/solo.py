"""The solo engine: one process decides the order, and signs each block as the only validator.

Flow. What was submitted and waits (``engine/desk.py``) -> the sequencer thread cuts a block by time, count or size,
runs it, stores block, state, receipts and roots in one durable write -> every waiting caller gets its answer.

Promises. Those of the desk. After a failed write nothing of the block is kept, every waiting caller is told, and the
engine takes no more. A broken law (``assert``) halts the engine with height and transaction.

When the state has changed and nothing more comes, one empty block is cut, whose header states the new state: then
everything that was acknowledged can be proven. The application hash does not move on an empty block, so an idle
ledger stays still.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from guildbook.chain.block import build_block, sign_commit
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.transition import BlockInput
from guildbook.engine.crash import CrashPoints
from guildbook.engine.desk import (
    PENDING_TRANSACTIONS_MAX,
    Answer,
    Committed,
    Desk,
    EngineCondition,
    Pending,
    StageTimes,
)
from guildbook.primitives.cometbft import Commit, decode_commit, encode_commit
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.state import layout

NANOSECONDS_PER_MILLISECOND = 1_000_000
GATHER_MS = 8
"""How long a block waits for company after its first transaction arrived."""
PROOF_DELAY_MS = 60
"""How long an idle engine waits before it cuts the empty block that makes the last state provable."""
BLOCK_TRANSACTIONS_MAX = 2_000
"""Transactions that the sequencer puts into one block, where the network's parameter allows as many. A larger block is
hardly quicker for each, and holds more memory and everybody's answer for longer."""
STOP_WAIT_S = 30


class SoloSettings(msgspec.Struct, frozen=True):
    """How the sequencer cuts blocks; none of it decides what a transaction does."""

    gather_ms: int = GATHER_MS
    proof_delay_ms: int = PROOF_DELAY_MS
    signature_workers: int = 1
    pending_transactions_max: int = PENDING_TRANSACTIONS_MAX
    block_transactions_max: int = BLOCK_TRANSACTIONS_MAX


class SoloEngine:
    """Runs one ledger as its only validator.

    ``signing_key`` must be the genesis validator's. ``clock`` gives nanoseconds since 1970; block times follow it and
    always increase. ``on_block`` is called in the sequencer's thread after each durable block; ``on_halt`` when the
    engine stops by itself.
    """

    def __init__(
        self,
        ledger: Ledger,
        signing_key: SigningKey,
        settings: SoloSettings | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        on_block: Callable[[Committed], None] | None = None,
        on_halt: Callable[[BaseException], None] | None = None,
        crash: CrashPoints | None = None,
    ) -> None:
        self.ledger = ledger
        self.settings = settings or SoloSettings()
        self.times = StageTimes()
        self._key = signing_key
        self._clock = clock
        self._on_block = on_block
        self._on_halt = on_halt
        self._crash = crash or CrashPoints()
        self._validators = ledger.genesis.validator_set
        if ledger.genesis.engine != "solo":
            raise GuildbookError(
                "genesis.mismatch",
                f"the network's blocks are decided by {ledger.genesis.engine}",
                hint="start the node with the engine that genesis names",
            )
        own = [one for one in self._validators.validators if one.public_key == signing_key.public_key]
        if len(self._validators.validators) != 1 or not own:
            raise GuildbookError(
                "genesis.mismatch",
                f"the ledger's only validator is not {key_text(signing_key.public_key)}",
                hint="start the node with the key that genesis names",
            )
        self._validator = own[0]
        self._last_commit = self._stored_commit()
        self._desk = Desk(
            ledger,
            signature_workers=self.settings.signature_workers,
            pending_transactions_max=self.settings.pending_transactions_max,
        )
        self._thread = threading.Thread(target=self._sequence, name="sequencer", daemon=True)

    def _stored_commit(self) -> Commit | None:
        height = self.ledger.head.height
        data = self.ledger.store.get(layout.height_key(layout.COMMITS, height))
        if data is None and height:
            raise GuildbookError(
                "store.pruned",
                f"the store does not have the commit of its last block {height}, and the next block has to state it",
                hint="restore a backup, or a snapshot together with its last block",
                height=height,
            )
        return None if data is None else decode_commit(data)

    # submitting --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sequencer."""
        self._thread.start()

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did."""
        return self._desk.failure

    @property
    def pending(self) -> int:
        """Transactions that wait for a block."""
        return self._desk.pending

    def not_ready(self) -> list[str]:
        """Why the engine cannot take transactions to a block now; [] when it can."""
        return ["the engine has halted"] if self._desk.failure is not None else []

    def condition(self) -> EngineCondition:
        """How the engine is, for metrics."""
        return EngineCondition(self._desk.failure is None, False, self.ledger.head.height, 0)

    def submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        """Hand in signed envelopes; the future gives one answer for each, in order, after their blocks are durable.

        Raises GuildbookError ``api.too_busy`` when too much waits, ``api.unavailable`` when the engine has stopped.
        """
        return self._desk.submit(envelopes)

    # sequencing --------------------------------------------------------------------------------------------

    def _sequence(self) -> None:
        try:
            while True:
                chosen = self._wait_for_work()
                if chosen is None:
                    return
                self._cut(chosen)
        except BaseException as error:  # noqa: BLE001 - the thread's rim: whatever ends it must reach callers and the node
            self._desk.fail(error, self._on_halt)

    def _wait_for_work(self) -> list[Pending] | None:
        """The transactions of the next block, [] for a proof block, None to stop."""
        gather_ns = self.settings.gather_ms * NANOSECONDS_PER_MILLISECOND
        desk = self._desk
        with desk.wake:
            while True:
                if desk.queue:
                    rest_ns = desk.first_queued_ns + gather_ns - time.monotonic_ns()
                    most = min(desk.parameters.block_transactions_max, self.settings.block_transactions_max)
                    if rest_ns <= 0 or len(desk.queue) >= most or desk.stopping:
                        return desk.take(most, desk.parameters.block_size_bytes_max)
                    desk.wake.wait(rest_ns / 1e9)
                elif desk.stopping:
                    return None if not self.ledger.head.needs_proof_block else []
                elif self.ledger.head.needs_proof_block:
                    if not desk.wake.wait(self.settings.proof_delay_ms / 1e3):
                        return []
                else:
                    desk.wake.wait()

    def _cut(self, chosen: list[Pending]) -> None:
        """Run, store and answer one block."""
        ledger, times = self.ledger, self.times
        head = ledger.head
        time_ns = max(self._clock(), head.time_ns + NANOSECONDS_PER_MILLISECOND)
        fresh = self._desk.refuse_strangers(
            self._desk.answer_known(chosen),
            time_ns // NANOSECONDS_PER_MILLISECOND,
            ledger.state.reader,
            ledger.state.cache,
        )
        if chosen and not fresh:
            return
        chosen = fresh
        self._crash.passed("before_execute")
        started = time.perf_counter_ns()
        bundles = (encode_bundle([one.envelope for one in chosen]),) if chosen else ()
        checked = {one.envelope: one.transaction for one in chosen}
        result = ledger.apply(BlockInput(head.height + 1, time_ns, bundles), checked)
        executed = time.perf_counter_ns()
        block = build_block(
            ledger.genesis.network,
            head,
            self._last_commit,
            self._validators,
            self._validator,
            time_ns,
            bundles,
        )
        commit = sign_commit(
            ledger.genesis.network, result.height, block.id, time_ns, self._key, self._validator
        )
        built = time.perf_counter_ns()
        self._crash.passed("before_write")
        ledger.commit(
            result,
            block.id,
            block.header.app_hash,
            [
                (layout.height_key(layout.BLOCKS, result.height), block.data),
                (layout.height_key(layout.COMMITS, result.height), encode_commit(commit)),
            ],
        )
        self._crash.passed("after_write")
        written = time.perf_counter_ns()
        self._last_commit = commit
        self._desk.note_block(result)
        if self._on_block is not None:
            self._on_block(Committed(result.height, time_ns, result.changes))
        self._crash.passed("before_answer")
        self._desk.answer(
            (one.transaction.id, receipt) for one, receipt in zip(chosen, result.receipts, strict=True)
        )
        times.execute += executed - started
        times.build += built - executed
        times.write += written - built
        times.answer += time.perf_counter_ns() - written
        times.blocks += 1
        times.transactions += len(chosen)

    def drain(self) -> None:
        """Nothing: what is queued is finished by ``stop``."""

    def stop(self) -> None:
        """Finish what is queued, make it provable, and stop. The ledger stays open."""
        with self._desk.wake:
            self._desk.stopping = True
            self._desk.wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)
        self._desk.close()
