"""Preparing transactions for keys that are held elsewhere, and asking what became of those handed in.

The node never signs for anybody: ``prepare`` returns the bytes that a key is to sign, wherever it is kept. Submitting
the same bytes again is always safe and gives the first receipt, so a caller that heard nothing asks again.
"""

import secrets
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, PathParameter

from guildbook.api.problem import bad_request
from guildbook.api.services import Services
from guildbook.api.submit import Submissions
from guildbook.chain.transaction import SIGN_PREFIX, encode_body, transaction_id
from guildbook.client.base import VALIDITY_BLOCKS
from guildbook.client.catalogue import bind_named
from guildbook.client.documents import PendingDocument, PreparedDocument, ReceiptDocument
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import check_public_key, parse_key_text
from guildbook.runtime.arguments import from_json
from guildbook.runtime.parameters import parameters_in_force
from guildbook.state.overlay import Overlay
from guildbook.state.record import INT64_MAX

NONCE_SIZE_BYTES = 16
NONCE_PATTERN = r"^([0-9a-f]{2}){8,32}$"

_ID = PathParameter(description="The transaction's id: 64 hexadecimal digits.", pattern="^[0-9a-f]{64}$")


class PrepareRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments by name, the public key (key text) that will sign, and, where they are to be chosen, the last valid
    height and the nonce (hexadecimal, 8 to 32 bytes).
    """

    arguments: dict[str, Any]
    key: str
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] | None = None
    nonce: Annotated[str, msgspec.Meta(pattern=NONCE_PATTERN)] | None = None


@get("/transactions/{transaction:str}", sync_to_thread=True, media_type=MediaType.JSON)
def get_transaction(
    submissions: NamedDependency[Submissions],
    transaction: Annotated[str, _ID],
) -> Response[ReceiptDocument | PendingDocument]:
    """The receipt of a transaction; while it waits for a block, only its state."""
    key = bytes.fromhex(transaction)
    receipt = submissions.services.reader.receipt(key)
    if receipt is not None:
        return Response(receipt)
    refused = submissions.error(key)
    if refused is not None:
        raise refused
    if submissions.waiting(key):
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
    ahead = min(VALIDITY_BLOCKS, parameters_in_force(Overlay(view.reader)).validity_blocks_max)
    valid_until = view.head.height + ahead if data.valid_until is None else data.valid_until
    body = encode_body(view.network, key, valid_until, nonce, [(document.contract, document.name, arguments)])
    return PreparedDocument(
        transaction_id(body).hex(), body.hex(), (SIGN_PREFIX + body).hex(), valid_until, nonce.hex()
    )
