"""The solo engine: one process decides the order, and signs each block as the only validator.

Flow. ``submit`` (any thread) -> form, network, time and id are checked against the last committed block ->
signatures are checked in worker processes -> queue -> the sequencer thread cuts a block by time, count or size,
runs it, stores block, state, receipts and roots in one durable write -> every waiting caller gets its answer.

Promises. An answer with a receipt is given only after the block is durable. The same transaction submitted twice,
at the same time or later, gets the first receipt. After a failed write nothing of the block is kept, every waiting
caller is told, and the engine takes no more. A broken law (``assert``) halts the engine with height and transaction.

When the state has changed and nothing more comes, one empty block is cut, whose header states the new state: then
everything that was acknowledged can be proven. The application hash does not move on an empty block, so an idle
ledger stays still.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from guildbook.chain.block import build_block, sign_commit
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Location, Outcome, decode_receipt
from guildbook.chain.transaction import Transaction, decode_transaction
from guildbook.chain.transition import BlockInput, admit
from guildbook.engine.crash import CrashPoints
from guildbook.engine.signatures import SignatureChecker
from guildbook.primitives.canonical import decode
from guildbook.primitives.cometbft import Commit, decode_commit, encode_commit
from guildbook.primitives.errors import GuildbookError, spec_for
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.call import Refused
from guildbook.runtime.identity import Identities, Refusal
from guildbook.runtime.parameters import Parameters, parameters_in_force
from guildbook.state import layout
from guildbook.state.overlay import Overlay

NANOSECONDS_PER_MILLISECOND = 1_000_000
GATHER_MS = 8
"""How long a block waits for company after its first transaction arrived."""
PROOF_DELAY_MS = 60
"""How long an idle engine waits before it cuts the empty block that makes the last state provable."""
PENDING_TRANSACTIONS_MAX = 100_000
"""Transactions that may wait for a block; more are told to come again."""
STOP_WAIT_S = 30


_log = logging.getLogger("guildbook.engine")


class SoloSettings(msgspec.Struct, frozen=True):
    """How the sequencer cuts blocks; none of it decides what a transaction does."""

    gather_ms: int = GATHER_MS
    proof_delay_ms: int = PROOF_DELAY_MS
    signature_workers: int = 1
    pending_transactions_max: int = PENDING_TRANSACTIONS_MAX


class _Outcome(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first fields of a receipt, read without the rest."""

    transaction: bytes
    height: int
    index: int
    outcome: int


_outcome = msgspec.msgpack.Decoder(_Outcome).decode


class Answer(NamedTuple):
    """What a submitter is told: the transaction's id, and its receipt or the error that kept it out of a block."""

    transaction: bytes
    receipt: bytes | None
    error: GuildbookError | None


class Committed(NamedTuple):
    """A committed block for those who follow: height, time, and the change feed's entry."""

    height: int
    time_ns: int
    changes: bytes


class StageTimes(msgspec.Struct):
    """Nanoseconds spent by the sequencer in each stage since start, and what passed through."""

    execute: int = 0
    build: int = 0
    write: int = 0
    answer: int = 0
    blocks: int = 0
    transactions: int = 0


class _Waiting:
    """A submission of one or more transactions, and the future of its answers."""

    __slots__ = ("answers", "future", "left")

    def __init__(self, count: int) -> None:
        self.future: Future[list[Answer]] = Future()
        self.answers: list[Answer | None] = [None] * count
        self.left = count

    def answer(self, place: int, answer: Answer) -> None:
        """Note one answer; the last one completes the future. Called under the engine's lock."""
        if self.answers[place] is None:
            self.answers[place] = answer
            self.left -= 1

    def finish(self) -> None:
        """Complete the future when every answer is there."""
        if not self.left and not self.future.done():
            with suppress(InvalidStateError):  # another thread gave the last answer too, and was first
                self.future.set_result([one for one in self.answers if one is not None])


class _Pending:
    """A transaction on its way into a block, and everyone who waits for it."""

    __slots__ = ("envelope", "transaction", "waiters")

    def __init__(self, transaction: Transaction, envelope: bytes, waiter: tuple[_Waiting, int]) -> None:
        self.transaction = transaction
        self.envelope = envelope
        self.waiters = [waiter]


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
        self.failure: BaseException | None = None
        self._key = signing_key
        self._clock = clock
        self._on_block = on_block
        self._on_halt = on_halt
        self._crash = crash or CrashPoints()
        self._validators = ledger.genesis.validator_set
        own = [one for one in self._validators.validators if one.public_key == signing_key.public_key]
        if len(self._validators.validators) != 1 or not own:
            raise GuildbookError(
                "genesis.mismatch",
                f"the ledger's only validator is not {key_text(signing_key.public_key)}",
                hint="start the node with the key that genesis names",
            )
        self._validator = own[0]
        self._last_commit = self._stored_commit()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: deque[_Pending] = deque()
        self._pending: dict[bytes, _Pending] = {}
        self._first_queued_ns = 0
        self._stopping = False
        self._parameters = self._read_parameters()
        self._signatures = SignatureChecker(self.settings.signature_workers)
        self._thread = threading.Thread(target=self._sequence, name="sequencer", daemon=True)

    def _stored_commit(self) -> Commit | None:
        data = self.ledger.store.get(layout.height_key(layout.COMMITS, self.ledger.head.height))
        return None if data is None else decode_commit(data)

    def _read_parameters(self) -> Parameters:
        return parameters_in_force(Overlay(self.ledger.store))

    # submitting --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sequencer."""
        self._thread.start()

    @property
    def pending(self) -> int:
        """Transactions that wait for a block."""
        return len(self._pending)

    def submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        """Hand in signed envelopes; the future gives one answer for each, in order, after their blocks are durable.

        Raises GuildbookError ``api.too_busy`` when too much waits, ``api.unavailable`` when the engine has stopped.
        """
        if self.failure is not None or self._stopping:
            raise GuildbookError(
                "api.unavailable",
                f"the engine takes no transactions: {self.failure or 'it is stopping'}",
                hint="see the node's log and its health page",
            )
        if len(self._pending) + len(envelopes) > self.settings.pending_transactions_max:
            raise GuildbookError(
                "api.too_busy",
                f"{len(self._pending)} transactions wait for a block",
                hint="send again after a second",
                pending=len(self._pending),
            )
        waiting = _Waiting(len(envelopes))
        fresh: list[tuple[int, Transaction, bytes]] = []
        early: list[tuple[int, Answer]] = []
        head = self.ledger.head
        for place, envelope in enumerate(envelopes):
            try:
                transaction = decode_transaction(envelope)
            except GuildbookError as error:
                early.append((place, Answer(b"", None, error)))
                continue
            refused = admit(transaction, self.ledger.genesis.network, head.height + 1, self._parameters)
            if refused is not None:
                early.append((place, self._answer_refused(transaction, refused)))
                continue
            fresh.append((place, transaction, envelope))
        with self._lock:
            for place, answer in early:
                waiting.answer(place, answer)
        if not fresh:
            waiting.finish()
            return waiting.future
        self._signatures.submit([transaction for _place, transaction, _envelope in fresh]).add_done_callback(
            lambda verdicts: self._signed(waiting, fresh, verdicts)
        )
        return waiting.future

    def _answer_refused(self, transaction: Transaction, refused: Refused) -> Answer:
        """The answer for what may not be in the next block: its first receipt where it was in an earlier one."""
        view = self.ledger.view()
        location = view.location(transaction.id)
        if location is not None:
            return Answer(transaction.id, view.receipt_bytes(location), None)
        return Answer(transaction.id, None, refusal_error(refused.code, refused.fields))

    def _signed(
        self, waiting: _Waiting, fresh: list[tuple[int, Transaction, bytes]], verdicts: "Future[bytes]"
    ) -> None:
        """Queue what is well signed; runs in whatever thread completes the check."""
        failed = verdicts.exception()
        good = verdicts.result() if failed is None else b""
        with self._wake:
            for number, (place, transaction, envelope) in enumerate(fresh):
                if failed is not None or self.failure is not None:
                    waiting.answer(
                        place,
                        Answer(
                            transaction.id,
                            None,
                            GuildbookError(
                                "api.unavailable",
                                "the signature could not be checked",
                                hint="send the transaction again",
                            ),
                        ),
                    )
                    continue
                if not good[number]:
                    waiting.answer(
                        place, Answer(transaction.id, None, refusal_error("transaction.bad_signature", []))
                    )
                    continue
                pending = self._pending.get(transaction.id)
                if pending is not None:
                    pending.waiters.append((waiting, place))
                    continue
                pending = _Pending(transaction, envelope, (waiting, place))
                self._pending[transaction.id] = pending
                if not self._queue:
                    self._first_queued_ns = time.monotonic_ns()
                self._queue.append(pending)
            self._wake.notify()
        waiting.finish()

    # sequencing --------------------------------------------------------------------------------------------

    def _sequence(self) -> None:
        try:
            while True:
                chosen = self._wait_for_work()
                if chosen is None:
                    return
                self._cut(chosen)
        except BaseException as error:  # noqa: BLE001 - the thread's rim: whatever ends it must reach callers and the node
            self._fail(error)

    def _wait_for_work(self) -> list[_Pending] | None:
        """The transactions of the next block, [] for a proof block, None to stop."""
        gather_ns = self.settings.gather_ms * NANOSECONDS_PER_MILLISECOND
        with self._wake:
            while True:
                if self._queue:
                    rest_ns = self._first_queued_ns + gather_ns - time.monotonic_ns()
                    if (
                        rest_ns <= 0
                        or len(self._queue) >= self._parameters.block_transactions_max
                        or self._stopping
                    ):
                        return self._take()
                    self._wake.wait(rest_ns / 1e9)
                elif self._stopping:
                    return None if not self.ledger.head.needs_proof_block else []
                elif self.ledger.head.needs_proof_block:
                    if not self._wake.wait(self.settings.proof_delay_ms / 1e3):
                        return []
                else:
                    self._wake.wait()

    def _take(self) -> list[_Pending]:
        chosen: list[_Pending] = []
        size = 0
        while self._queue and len(chosen) < self._parameters.block_transactions_max:
            size += self._queue[0].transaction.size_bytes + 8
            if chosen and size > self._parameters.block_size_bytes_max:
                break
            chosen.append(self._queue.popleft())
        if self._queue:
            self._first_queued_ns = 0
        return chosen

    def _cut(self, chosen: list[_Pending]) -> None:
        """Run, store and answer one block."""
        ledger, times = self.ledger, self.times
        head = ledger.head
        time_ns = max(self._clock(), head.time_ns + NANOSECONDS_PER_MILLISECOND)
        fresh = self._refuse_strangers(self._answer_known(chosen), time_ns // NANOSECONDS_PER_MILLISECOND)
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
        for fault in result.faults:
            where = f"{fault.contract}.{fault.command}"
            _log.error(
                "height %d: a fault in %s, which its author has to mend:\n%s",
                result.height,
                where,
                fault.text,
            )
        if any(one.schema.name == "governance.parameters" for one in result.differences):
            self._parameters = self._read_parameters()
        if self._on_block is not None:
            self._on_block(Committed(result.height, time_ns, result.changes))
        self._crash.passed("before_answer")
        self._answer(chosen, result.receipts)
        times.execute += executed - started
        times.build += built - executed
        times.write += written - built
        times.answer += time.perf_counter_ns() - written
        times.blocks += 1
        times.transactions += len(chosen)

    def _answer_known(self, chosen: list[_Pending]) -> list[_Pending]:
        """Give those that the ledger has already their first receipt; returns the others."""
        stored = self.ledger.store.get_many([layout.TRANSACTIONS + one.transaction.id for one in chosen])
        if all(location is None for location in stored):
            return chosen
        view = self.ledger.view()
        known: list[_Pending] = []
        receipts: list[bytes] = []
        for pending, data in zip(chosen, stored, strict=True):
            if data is not None:
                known.append(pending)
                receipts.append(view.receipt_bytes(decode(data, Location)))
        self._answer(known, receipts)
        return [one for one, location in zip(chosen, stored, strict=True) if location is None]

    def _refuse_strangers(self, chosen: list[_Pending], now: int) -> list[_Pending]:
        """Tell those whose signer may not act, so that no key that anybody made fills blocks; returns the others.

        A key counts from the block after the one that registers it.
        """
        identities = Identities(Overlay(self.ledger.state.reader, self.ledger.state.cache), now)
        allowed: list[_Pending] = []
        finished: list[_Waiting] = []
        for pending in chosen:
            sender = identities.sender(pending.transaction.body.key)
            if not isinstance(sender, Refusal):
                allowed.append(pending)
                continue
            told = Answer(pending.transaction.id, None, refusal_error(sender.code, [*sender.fields]))
            with self._lock:
                del self._pending[pending.transaction.id]
                for waiting, place in pending.waiters:
                    waiting.answer(place, told)
                    finished.append(waiting)
        for waiting in finished:
            waiting.finish()
        return allowed

    def _answer(self, chosen: list[_Pending], receipts: list[bytes]) -> None:
        finished: list[_Waiting] = []
        with self._lock:
            for pending, receipt in zip(chosen, receipts, strict=True):
                del self._pending[pending.transaction.id]
                answer = answer_of(pending.transaction.id, receipt)
                for waiting, place in pending.waiters:
                    waiting.answer(place, answer)
                    if not waiting.left:
                        finished.append(waiting)
        for waiting in finished:
            waiting.finish()

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        told = (
            error
            if isinstance(error, GuildbookError)
            else GuildbookError(
                "api.unavailable",
                "the node has halted on a broken law",
                hint="see the node's log; do not delete the store",
            )
        )
        with self._lock:
            waiters = [one for pending in self._pending.values() for one in pending.waiters]
            self._queue.clear()
            for pending in self._pending.values():
                for waiting, place in pending.waiters:
                    waiting.answer(place, Answer(pending.transaction.id, None, told))
            self._pending.clear()
        for waiting, _place in waiters:
            waiting.finish()
        if self._on_halt is not None:
            self._on_halt(error)

    def stop(self) -> None:
        """Finish what is queued, make it provable, and stop. The ledger stays open."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)
        self._signatures.close()


def answer_of(transaction: bytes, receipt: bytes) -> Answer:
    """The answer for a receipt: an invalid one is an error, since the transaction is not used up."""
    if _outcome(receipt).outcome == Outcome.INVALID:
        decoded = decode_receipt(receipt)
        return Answer(transaction, None, refusal_error(decoded.code, decoded.fields))
    return Answer(transaction, receipt, None)


def refusal_error(code: str, fields: list[list[Any]]) -> GuildbookError:
    """The error that tells a submitter why a transaction was kept out of the ledger."""
    spec = spec_for(code)
    values = ", ".join(f"{name} {value!r}" for name, value in fields)
    return GuildbookError(
        code,
        spec.summary + (f" ({values})" if values else ""),
        hint=spec.next_step,
        **{str(name): value for name, value in fields},
    )
