"""What every engine does for those who submit: it checks what they hand in, lets them wait, and answers.

Flow. ``submit`` (any thread) -> form, network, time and id are checked against the last committed block ->
signatures are checked in worker processes -> the transaction waits for a block. An engine takes what waits, has it
ordered its own way, and hands each committed block's receipts back; whoever waited for one of them gets its answer.

Promises. An answer with a receipt is given only after its block is durable. The same transaction submitted twice, at
the same time or later, gets the first receipt. When the engine fails, every waiting caller is told.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import msgspec

from guildbook.chain.ledger import Ledger, View
from guildbook.chain.receipt import Location, Outcome, decode_receipt
from guildbook.chain.transaction import Transaction, decode_transaction
from guildbook.chain.transition import BlockResult, admit
from guildbook.engine.signatures import SignatureChecker
from guildbook.primitives.canonical import decode
from guildbook.primitives.errors import GuildbookError, spec_for
from guildbook.runtime.call import Refused
from guildbook.runtime.identity import Identities, Refusal
from guildbook.runtime.parameters import parameters_in_force
from guildbook.state import layout
from guildbook.state.kv import Reader
from guildbook.state.overlay import Overlay, RowCache

PENDING_TRANSACTIONS_MAX = 100_000
"""Transactions that may wait for a block; more are told to come again."""
NEVER = (1 << 63) - 1

_log = logging.getLogger("guildbook.engine")


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
    """Nanoseconds that an engine spent in each stage since start, and what passed through."""

    execute: int = 0
    build: int = 0
    write: int = 0
    answer: int = 0
    blocks: int = 0
    transactions: int = 0


class EngineCondition(NamedTuple):
    """How an engine is: whether it takes part, whether it still fetches old blocks, the last height whose block is
    stored with the signatures under it, and how many blocks could not be.
    """

    connected: bool
    catching_up: bool
    kept_height: int
    blocks_lost: int


class Engine(Protocol):
    """What a node needs of an engine, whichever decides the order."""

    ledger: Ledger
    times: StageTimes

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did."""

    @property
    def pending(self) -> int:
        """Transactions that wait for a block."""

    def start(self) -> None:
        """Begin to take and order transactions."""

    def submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        """Hand in signed envelopes; the future gives one answer for each, in order, after their blocks are durable."""

    def not_ready(self) -> list[str]:
        """Why the engine cannot take transactions to a block now; [] when it can."""

    def condition(self) -> "EngineCondition":
        """How the engine is, for metrics."""

    def drain(self) -> None:
        """Take no more, and finish what is under way with whoever else orders it; before ``stop``."""

    def stop(self) -> None:
        """Finish and stop. The ledger stays open."""


class Waiting:
    """A submission of one or more transactions, and the future of its answers."""

    __slots__ = ("answers", "future", "left")

    def __init__(self, count: int) -> None:
        self.future: Future[list[Answer]] = Future()
        self.answers: list[Answer | None] = [None] * count
        self.left = count

    def answer(self, place: int, answer: Answer) -> None:
        """Note one answer; the last one completes the future. Called under the desk's lock."""
        if self.answers[place] is None:
            self.answers[place] = answer
            self.left -= 1

    def finish(self) -> None:
        """Complete the future when every answer is there."""
        if not self.left and not self.future.done():
            with suppress(InvalidStateError):  # another thread gave the last answer too, and was first
                self.future.set_result([one for one in self.answers if one is not None])


class Pending:
    """A transaction on its way into a block, and everyone who waits for it."""

    __slots__ = ("envelope", "transaction", "waiters")

    def __init__(self, transaction: Transaction, envelope: bytes, waiter: tuple[Waiting, int]) -> None:
        self.transaction = transaction
        self.envelope = envelope
        self.waiters = [waiter]


class Desk:
    """The waiting transactions of one ledger. Its engine's thread takes from ``queue`` under ``wake``."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        signature_workers: int = 1,
        pending_transactions_max: int = PENDING_TRANSACTIONS_MAX,
    ) -> None:
        self.failure: BaseException | None = None
        self.stopping = False
        self.wake = threading.Condition(threading.Lock())
        self.queue: deque[Pending] = deque()
        self.first_queued_ns = 0
        """When the oldest transaction of the queue arrived, by the monotonic clock."""
        self.parameters = parameters_in_force(Overlay(ledger.store))
        self.signatures = SignatureChecker(signature_workers)
        self._ledger = ledger
        self._pending: dict[bytes, Pending] = {}
        self._pending_max = pending_transactions_max
        self._first_expiry = NEVER

    @property
    def pending(self) -> int:
        """Transactions that wait for an answer."""
        return len(self._pending)

    # taking in -------------------------------------------------------------------------------------------------

    def submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        """Take in signed envelopes; the future gives one answer for each, in order.

        Raises GuildbookError ``api.too_busy`` when too much waits, ``api.unavailable`` when the engine has stopped.
        """
        if self.failure is not None or self.stopping:
            raise GuildbookError(
                "api.unavailable",
                f"the engine takes no transactions: {self.failure or 'it is stopping'}",
                hint="see the node's log and its health page",
            )
        if len(self._pending) + len(envelopes) > self._pending_max:
            raise GuildbookError(
                "api.too_busy",
                f"{len(self._pending)} transactions wait for a block",
                hint="send again after a second",
                pending=len(self._pending),
            )
        waiting = Waiting(len(envelopes))
        fresh: list[tuple[int, Transaction, bytes]] = []
        early: list[tuple[int, Answer]] = []
        head = self._ledger.head
        for place, envelope in enumerate(envelopes):
            try:
                transaction = decode_transaction(envelope)
            except GuildbookError as error:
                early.append((place, Answer(b"", None, error)))
                continue
            refused = admit(transaction, self._ledger.genesis.network, head.height + 1, self.parameters)
            if refused is not None:
                early.append((place, self._answer_refused(transaction, refused)))
                continue
            fresh.append((place, transaction, envelope))
        with self.wake:
            for place, answer in early:
                waiting.answer(place, answer)
        if not fresh:
            waiting.finish()
            return waiting.future
        self.signatures.submit([transaction for _place, transaction, _envelope in fresh]).add_done_callback(
            lambda verdicts: self._signed(waiting, fresh, verdicts)
        )
        return waiting.future

    def _answer_refused(self, transaction: Transaction, refused: Refused) -> Answer:
        """The answer for what may not be in the next block: its first receipt where it was in an earlier one."""
        view = self._ledger.view()
        location = view.location(transaction.id)
        if location is not None:
            return _first_answer(view, transaction.id, location)
        return Answer(transaction.id, None, refusal_error(refused.code, refused.fields))

    def _signed(
        self, waiting: Waiting, fresh: list[tuple[int, Transaction, bytes]], verdicts: "Future[bytes]"
    ) -> None:
        """Queue what is well signed; runs in whatever thread completes the check."""
        failed = verdicts.exception()
        good = verdicts.result() if failed is None else b""
        with self.wake:
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
                pending = Pending(transaction, envelope, (waiting, place))
                self._pending[transaction.id] = pending
                self._first_expiry = min(self._first_expiry, transaction.body.valid_until)
                if not self.queue:
                    self.first_queued_ns = time.monotonic_ns()
                self.queue.append(pending)
            self.wake.notify_all()
        waiting.finish()

    # handing out -----------------------------------------------------------------------------------------------

    def waits(self, pending: Pending) -> bool:
        """Whether somebody still waits for this transaction."""
        return pending.transaction.id in self._pending

    def requeue(self, chosen: Sequence[Pending]) -> None:
        """Put what was taken back to the front of the queue, as far as somebody waits for it. Called under ``wake``."""
        self.queue.extendleft(one for one in reversed(chosen) if self.waits(one))
        self.first_queued_ns = 0

    def take(self, transactions_max: int, size_bytes_max: int) -> list[Pending]:
        """The oldest of the queue, as many as both bounds allow and at least one. Called under ``wake``."""
        chosen: list[Pending] = []
        size = 0
        while self.queue and len(chosen) < transactions_max:
            size += self.queue[0].transaction.size_bytes + 8
            if chosen and size > size_bytes_max:
                break
            chosen.append(self.queue.popleft())
        if self.queue:
            self.first_queued_ns = 0
        return chosen

    def answer_known(self, chosen: list[Pending]) -> list[Pending]:
        """Give those that the ledger has already their first receipt; returns the others."""
        stored = self._ledger.store.get_many([layout.TRANSACTIONS + one.transaction.id for one in chosen])
        if all(location is None for location in stored):
            return chosen
        view = self._ledger.view()
        self._tell(
            (pending.transaction.id, _first_answer(view, pending.transaction.id, decode(data, Location)))
            for pending, data in zip(chosen, stored, strict=True)
            if data is not None
        )
        return [one for one, location in zip(chosen, stored, strict=True) if location is None]

    def refuse_strangers(
        self, chosen: list[Pending], now: int, reader: Reader, cache: RowCache | None = None
    ) -> list[Pending]:
        """Tell those whose signer may not act at ``now`` (milliseconds), so that no key that anybody made fills
        blocks; returns the others.

        A key counts from the block after the one that registers it.
        """
        identities = Identities(Overlay(reader, cache), now)
        allowed: list[Pending] = []
        refused: list[tuple[bytes, Refused]] = []
        for pending in chosen:
            sender = identities.sender(pending.transaction.body.key)
            if isinstance(sender, Refusal):
                refused.append((pending.transaction.id, Refused(sender.code, [*sender.fields])))
            else:
                allowed.append(pending)
        self.refuse(refused)
        return allowed

    def refuse(self, refused: Iterable[tuple[bytes, Refused]]) -> None:
        """Tell those who wait for these transactions (by id) why they are kept out of the ledger."""
        self._tell((one, Answer(one, None, refusal_error(why.code, why.fields))) for one, why in refused)

    def answer(self, receipts: Iterable[tuple[bytes, bytes]]) -> None:
        """Give the receipts of committed transactions, by id, to those who wait for them."""
        self._tell((one, answer_of(one, receipt)) for one, receipt in receipts if one in self._pending)

    def answer_block(self, receipts: Sequence[bytes]) -> None:
        """Give the receipts of a block to those who wait for its transactions, whoever handed them in.

        A transaction that was in a block before has its receipt there; the one that says so is not its answer.
        """
        if not self._pending:
            return
        found = [(_outcome(receipt).transaction, receipt) for receipt in receipts]
        self.answer(
            (one, receipt)
            for one, receipt in found
            if one in self._pending
            and not (
                _outcome(receipt).outcome == Outcome.INVALID
                and decode_receipt(receipt).code == "transaction.duplicate"
            )
        )

    def expire(self, height: int) -> None:
        """Refuse what may not be in a block of ``height`` or later."""
        if height <= self._first_expiry:
            return
        with self.wake:
            over = [one for one in self._pending.values() if one.transaction.body.valid_until < height]
            self._first_expiry = min(
                (
                    one.transaction.body.valid_until
                    for one in self._pending.values()
                    if one.transaction.body.valid_until >= height
                ),
                default=NEVER,
            )
        self.refuse(
            (
                one.transaction.id,
                Refused(
                    "transaction.expired",
                    [["valid_until", one.transaction.body.valid_until], ["height", height]],
                ),
            )
            for one in over
        )

    def _tell(self, answers: Iterable[tuple[bytes, Answer]]) -> None:
        finished: list[Waiting] = []
        with self.wake:
            for transaction, answer in answers:
                pending = self._pending.pop(transaction, None)
                if pending is None:
                    continue
                for waiting, place in pending.waiters:
                    waiting.answer(place, answer)
                    if not waiting.left:
                        finished.append(waiting)
            if self.stopping and not self._pending:
                self.wake.notify_all()
        for waiting in finished:
            waiting.finish()

    def note_block(self, result: BlockResult) -> None:
        """A block is committed: tell its faults, and read the parameters again where it changed them."""
        for fault in result.faults:
            _log.error(
                "height %d: a fault in %s.%s, which its author has to mend:\n%s",
                result.height,
                fault.contract,
                fault.command,
                fault.text,
            )
        if any(one.schema.name == "governance.parameters" for one in result.differences):
            self.parameters = parameters_in_force(Overlay(self._ledger.store))

    # the end ---------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException, on_halt: Callable[[BaseException], None] | None) -> None:
        """The engine ended by ``error``: everyone who waits is told, and nothing more is taken."""
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
        self.dismiss(told)
        if on_halt is not None:
            on_halt(error)

    def dismiss(self, told: GuildbookError) -> None:
        """Tell everyone who waits that there will be no answer."""
        with self.wake:
            self.queue.clear()
            waiting = list(self._pending)
            self.wake.notify_all()
        self._tell((one, Answer(one, None, told)) for one in waiting)

    def close(self) -> None:
        """Stop the workers that check signatures."""
        self.signatures.close()


def _first_answer(view: View, transaction: bytes, location: Location) -> Answer:
    """The answer for a transaction that the ledger has: its first receipt, or where that is to be had."""
    try:
        return Answer(transaction, view.receipt_bytes(location), None)
    except GuildbookError as error:
        if error.code != "evidence.not_available":
            raise
        return Answer(transaction, None, error)


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
