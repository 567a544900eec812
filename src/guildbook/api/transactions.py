"""Handing in transactions, and asking what became of them.

The node never signs for anybody: ``prepare`` returns the bytes that a key is to sign, wherever it is kept. Submitting
the same bytes again is always safe and gives the first receipt, so a caller that heard nothing asks again.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter

from guildbook.api.problem import MediaTypeNotRead, bad_request
from guildbook.api.services import Services
from guildbook.chain.transaction import SIGN_PREFIX, encode_body, transaction_id
from guildbook.client.base import VALIDITY_BLOCKS
from guildbook.client.catalogue import bind_named
from guildbook.client.documents import PendingDocument, PreparedDocument, ReceiptDocument
from guildbook.engine.solo import Answer
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import check_public_key, parse_key_text
from guildbook.runtime.arguments import from_json
from guildbook.state.record import INT64_MAX

MSGPACK = "application/msgpack"
JSON = "application/json"
NONCE_SIZE_BYTES = 16
NONCE_PATTERN = r"^([0-9a-f]{2}){8,32}$"
ON_THE_LOOP_MAX = 8
"""Envelopes that are examined at once in the event loop; more are examined in a thread."""
REFUSALS_KEPT_MAX = 10_000
"""Refusals of transactions that nobody waited for, kept for the caller that asks later."""
_decode_envelopes = msgspec.msgpack.Decoder(list[bytes]).decode
_encode = msgspec.msgpack.Encoder().encode
_admission = ThreadPoolExecutor(1, "admission")

Bytes = Response[bytes]
_ID = PathParameter(description="The transaction's id: 64 hexadecimal digits.", pattern="^[0-9a-f]{64}$")


class EnvelopeInJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed envelope in hexadecimal."""

    envelope: str


class PrepareRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments by name, the public key (key text) that will sign, and, where they are to be chosen, the last valid
    height and the nonce (hexadecimal, 8 to 32 bytes).
    """

    arguments: dict[str, Any]
    key: str
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] | None = None
    nonce: Annotated[str, msgspec.Meta(pattern=NONCE_PATTERN)] | None = None


class Refusals:
    """Why transactions that nobody waited for were kept out of the ledger; the oldest are forgotten."""

    def __init__(self) -> None:
        self._errors: OrderedDict[bytes, GuildbookError] = OrderedDict()
        self._waiting: set[bytes] = set()

    def watch(self, transaction: bytes, future: "Future[list[Answer]]") -> None:
        """Note what becomes of ``transaction``."""
        self._waiting.add(transaction)
        future.add_done_callback(lambda done: self._done(transaction, done))

    def _done(self, transaction: bytes, future: "Future[list[Answer]]") -> None:
        self._waiting.discard(transaction)
        error = future.result()[0].error
        if error is not None:
            self._errors[transaction] = error
            while len(self._errors) > REFUSALS_KEPT_MAX:
                self._errors.popitem(last=False)

    def waiting(self, transaction: bytes) -> bool:
        """Whether ``transaction`` was handed in here and has no answer yet."""
        return transaction in self._waiting

    def error(self, transaction: bytes) -> GuildbookError | None:
        """Why ``transaction`` was kept out, if that is known."""
        return self._errors.get(transaction)


async def answers_of(services: Services, envelopes: Sequence[bytes]) -> list[Answer]:
    """Hand in envelopes and wait for their blocks; raises GuildbookError ``client.timeout`` after the answer time.

    The engine's future is never cancelled: what was handed in takes its course, whoever has gone away.
    """
    loop = asyncio.get_running_loop()
    if len(envelopes) <= ON_THE_LOOP_MAX:
        future = services.submit(envelopes)
    else:
        future = await loop.run_in_executor(_admission, services.submit, envelopes)
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


def media_type(request: Request[Any, Any, Any]) -> str:
    """The request's media type without parameters."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def _envelope(request: Request[Any, Any, Any]) -> bytes:
    body = await request.body()
    kind = media_type(request)
    if kind == MSGPACK:
        return body
    if kind != JSON:
        raise MediaTypeNotRead(kind, f"{MSGPACK} or {JSON}")
    try:
        return bytes.fromhex(msgspec.json.decode(body, type=EnvelopeInJson).envelope)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise bad_request(
            f"the body is not an envelope: {error}"[:300], 'send {"envelope": "<hexadecimal>"}'
        ) from None


@post("/transactions", status_code=200, media_type=MediaType.JSON)
async def submit_transaction(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    refusals: NamedDependency[Refusals],
    wait: Annotated[
        int, QueryParameter(ge=0, le=1, description="1: wait for the receipt; 0: answer at once.")
    ] = 1,
) -> Response[ReceiptDocument | PendingDocument]:
    """Submit one signed transaction.

    The answer is its receipt, also when the contract refused (``outcome`` says so); a transaction that may not be in
    a block is a problem. The same bytes again give the same receipt.
    """
    envelope = await _envelope(request)
    if not wait:
        future = services.submit([envelope])
        early = future.result()[0] if future.done() else None
        if early is not None and early.error is not None:
            raise early.error
        transaction = early.transaction if early is not None else _id_in(envelope)
        if early is None:
            refusals.watch(transaction, future)
        return Response(PendingDocument(transaction.hex(), "pending"), status_code=202)
    answer = (await answers_of(services, [envelope]))[0]
    if answer.error is not None:
        raise answer.error
    receipt = services.reader.receipt(answer.transaction)
    assert receipt is not None, answer.transaction.hex()
    return Response(receipt)


def _id_in(envelope: bytes) -> bytes:
    """The id of an envelope that the engine has read already."""
    body: bytes = msgspec.msgpack.decode(envelope, type=tuple[bytes, bytes])[0]
    return transaction_id(body)


@post("/transactions/batch", status_code=200)
async def submit_batch(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Bytes:
    """Submit many signed transactions.

    The body is the canonical MessagePack array of envelopes; the answer the array of ``[id, receipt, code]`` in the
    same order, with the canonical receipt or the code of the error that kept the transaction out of the ledger.
    """
    if media_type(request) != MSGPACK:
        raise MediaTypeNotRead(media_type(request), MSGPACK)
    body = await request.body()
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
    if len(envelopes) > services.limits.batch_transactions_max:
        raise GuildbookError(
            "api.payload_too_large",
            f"the batch has {len(envelopes)} transactions",
            hint=f"send at most {services.limits.batch_transactions_max} at once",
            transactions=len(envelopes),
        )
    answers = await answers_of(services, envelopes) if envelopes else []
    content = _encode(
        [(one.transaction, one.receipt, None if one.error is None else one.error.code) for one in answers]
    )
    return Response(content, media_type=MSGPACK)


@get("/transactions/{transaction:str}", sync_to_thread=True, media_type=MediaType.JSON)
def get_transaction(
    services: NamedDependency[Services],
    refusals: NamedDependency[Refusals],
    transaction: Annotated[str, _ID],
) -> Response[ReceiptDocument | PendingDocument]:
    """The receipt of a transaction; while it waits for a block, only its state."""
    key = bytes.fromhex(transaction)
    receipt = services.reader.receipt(key)
    if receipt is not None:
        return Response(receipt)
    refused = refusals.error(key)
    if refused is not None:
        raise refused
    if refusals.waiting(key):
        return Response(PendingDocument(transaction, "pending"), status_code=202)
    raise GuildbookError(
        "api.not_found",
        f"no block has transaction {transaction}",
        hint="submit it, or submit the same bytes again",
        id=transaction,
        absent=True,
    )


@post(
    "/contracts/{contract:str}/{command:str}", status_code=200, sync_to_thread=True, media_type=MediaType.JSON
)
def prepare_call(
    services: NamedDependency[Services],
    contract: FromPath[str],
    command: FromPath[str],
    data: JSONBody[PrepareRequest],
) -> PreparedDocument:
    """Prepare a transaction with one call: the bytes that the named key is to sign. Nothing is kept.

    Arguments are checked against the command's declaration. Submit the signed envelope with ``POST /v1/transactions``.
    """
    view = services.reader.view()
    declarations = services.reader.declarations(view)
    full_name = f"{contract}.{command}"
    document = declarations.document.command(full_name)
    if document.callers_only:
        raise GuildbookError(
            "call.not_permitted",
            f"{full_name} can be called by contracts only",
            hint="call the contract that uses it",
            contract=contract,
            command=command,
        )
    bound = bind_named(document.arguments, (), data.arguments, full_name)
    arguments = from_json(
        declarations.catalogue.commands[full_name],
        {field.name: value for field, value in zip(document.arguments, bound, strict=True)},
    )
    key = parse_key_text(data.key)
    check_public_key(key)
    try:
        nonce = secrets.token_bytes(NONCE_SIZE_BYTES) if data.nonce is None else bytes.fromhex(data.nonce)
    except ValueError:
        raise bad_request("the nonce is not hexadecimal", "write 8 to 32 bytes as hexadecimal text") from None
    valid_until = view.head.height + VALIDITY_BLOCKS if data.valid_until is None else data.valid_until
    body = encode_body(view.network, key, valid_until, nonce, [(document.contract, document.name, arguments)])
    return PreparedDocument(
        transaction_id(body).hex(), body.hex(), (SIGN_PREFIX + body).hex(), valid_until, nonce.hex()
    )
