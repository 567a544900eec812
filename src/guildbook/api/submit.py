"""Taking in transactions: the way that every write goes, kept short.

These two routes are served before the framework, which takes longer for a request than everything else that happens to
one transaction. What they take and give is in the description like that of any route.

A batch is examined in a thread of its own, so that other requests are answered meanwhile; a few envelopes are examined
on the spot.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from guildbook.api.problem import MediaTypeNotRead, bad_request
from guildbook.api.services import Services
from guildbook.chain.transaction import transaction_id
from guildbook.client.documents import PendingDocument
from guildbook.engine.desk import Answer
from guildbook.primitives.errors import GuildbookError

MSGPACK = "application/msgpack"
JSON = "application/json"
ON_THE_LOOP_MAX = 8
"""Envelopes that are examined at once in the event loop; more are examined in a thread."""
REFUSALS_KEPT_MAX = 10_000
"""Refusals of transactions that nobody waited for, kept for the caller that asks later."""
WAIT = {b"": True, b"wait=1": True, b"wait=0": False}
"""The queries that the route of one transaction has."""

_decode_envelopes = msgspec.msgpack.Decoder(list[bytes]).decode
_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


class EnvelopeInJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed envelope in hexadecimal."""

    envelope: str


_decode_in_json = msgspec.json.Decoder(EnvelopeInJson).decode


class Content(NamedTuple):
    """What is answered: status, media type and body."""

    status: int
    media_type: str
    body: bytes


class Submissions:
    """Takes transactions in, and remembers for a while why those were refused that nobody waited for."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._admission = ThreadPoolExecutor(1, "admission")
        self._errors: OrderedDict[bytes, GuildbookError] = OrderedDict()
        self._waiting: set[bytes] = set()

    async def one(self, media_type: str, query: bytes, body: bytes) -> Content:
        """Take one transaction: an envelope in MessagePack, or JSON that has it in hexadecimal.

        With ``wait=0`` the answer is its id at once; else it is the receipt, also when the contract refused. Raises
        GuildbookError for a transaction that may not be in a block, and for a request that cannot be read.
        """
        envelope = _envelope(media_type, body)
        wait = WAIT.get(query)
        if wait is None:
            raise bad_request(
                "the query is neither wait=0 nor wait=1", "leave it out to wait for the receipt"
            )
        if not wait:
            pending = PendingDocument(self._hand_in(envelope).hex(), "pending")
            return Content(202, JSON, _encode_json(pending))
        answer = (await self._answers([envelope]))[0]
        if answer.error is not None:
            raise answer.error
        receipt = self.services.reader.receipt(answer.transaction)
        assert receipt is not None, answer.transaction.hex()
        return Content(200, JSON, _encode_json(receipt))

    async def batch(self, media_type: str, _query: bytes, body: bytes) -> Content:
        """Take many transactions: the canonical array of envelopes.

        The answer is the array of [id, receipt or nil, error code or nil] in the same order. Raises GuildbookError for
        a request that cannot be read, or has too many.
        """
        if media_type != MSGPACK:
            raise MediaTypeNotRead(media_type, MSGPACK)
        try:
            envelopes = _decode_envelopes(body)
        except (msgspec.DecodeError, RecursionError):
            envelopes = None
        if envelopes is None or _encode(envelopes) != body:
            raise bad_request(
                "the body is not a canonical array of envelopes",
                "encode a list of byte strings",
                size_bytes=len(body),
            )
        most = self.services.limits.batch_transactions_max
        if len(envelopes) > most:
            raise GuildbookError(
                "api.payload_too_large",
                f"the batch has {len(envelopes)} transactions",
                hint=f"send at most {most} at once",
                transactions=len(envelopes),
            )
        answers = await self._answers(envelopes) if envelopes else []
        told = [
            (one.transaction, one.receipt, None if one.error is None else one.error.code) for one in answers
        ]
        return Content(200, MSGPACK, _encode(told))

    async def _answers(self, envelopes: Sequence[bytes]) -> list[Answer]:
        """Hand in envelopes and wait for their blocks; raises GuildbookError ``client.timeout`` after the answer time.

        The engine's future is never cancelled: what was handed in takes its course, whoever has gone away.
        """
        services = self.services
        loop = asyncio.get_running_loop()
        if len(envelopes) <= ON_THE_LOOP_MAX:
            future = services.submit(envelopes)
        else:
            future = await loop.run_in_executor(self._admission, services.submit, envelopes)
        answered: asyncio.Future[list[Answer]] = loop.create_future()

        def tell(done: "Future[list[Answer]]") -> None:
            if not answered.done():
                answered.set_result(done.result())

        future.add_done_callback(lambda done: loop.call_soon_threadsafe(tell, done))
        try:
            async with asyncio.timeout(services.limits.answer_timeout_s):
                answers = await answered
        except TimeoutError:
            raise GuildbookError(
                "client.timeout",
                f"no block took it within {services.limits.answer_timeout_s} s",
                hint="send the same bytes again until there is a receipt or they are no longer valid",
            ) from None
        for answer in answers:
            if answer.error is not None:
                services.metrics.refused.labels(answer.error.code).inc()
        return answers

    # those that nobody waits for -----------------------------------------------------------------------------------

    def _hand_in(self, envelope: bytes) -> bytes:
        """Hand in an envelope and return its id; what becomes of it is noted."""
        future = self.services.submit([envelope])
        if future.done():
            early = future.result()[0]
            if early.error is not None:
                raise early.error
            return early.transaction
        body: bytes = msgspec.msgpack.decode(envelope, type=tuple[bytes, bytes])[0]
        transaction = transaction_id(body)
        self._waiting.add(transaction)
        future.add_done_callback(lambda done: self._done(transaction, done.result()[0]))
        return transaction

    def _done(self, transaction: bytes, answer: Answer) -> None:
        self._waiting.discard(transaction)
        if answer.error is not None:
            self._errors[transaction] = answer.error
            while len(self._errors) > REFUSALS_KEPT_MAX:
                self._errors.popitem(last=False)

    def waiting(self, transaction: bytes) -> bool:
        """Whether ``transaction`` was handed in here and has no answer yet."""
        return transaction in self._waiting

    def error(self, transaction: bytes) -> GuildbookError | None:
        """Why ``transaction`` was kept out, if that is known."""
        return self._errors.get(transaction)


def _envelope(media_type: str, body: bytes) -> bytes:
    if media_type == MSGPACK:
        return body
    if media_type != JSON:
        raise MediaTypeNotRead(media_type, f"{MSGPACK} or {JSON}")
    try:
        return bytes.fromhex(_decode_in_json(body).envelope)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise bad_request(
            f"the body is not an envelope: {error}"[:300], 'send {"envelope": "<hexadecimal>"}'
        ) from None
