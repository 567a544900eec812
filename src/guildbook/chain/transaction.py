"""Transactions: what a key signs, and how its bytes are read.

An envelope is ``[body, signature]``. The body is opaque: what was received is what is hashed and verified, never a
re-encoding of it. The body is ``[version, network, key, valid_until, nonce, calls]``, each call
``[contract, command, arguments]``. The transaction's id is a tagged hash of the body, so the same body under
another signature is the same transaction. Format and vectors: docs/spec/transaction.md.
"""

from typing import Any

import msgspec

from guildbook.primitives.canonical import encode, first_fault
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.keys import SigningKey, verify

TRANSACTION_VERSION = 1
SIGN_PREFIX = b"guildbook/sign/v1\0"
NONCE_SIZE_BYTES_MIN = 8
NONCE_SIZE_BYTES_MAX = 32
NAME_SIZE_CHARS_MAX = 64
CALLS_MAX = 1024


class Call(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One command to run: ``arguments`` is the canonical array of all its arguments in order, as received."""

    contract: str
    command: str
    arguments: msgspec.Raw


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is signed. ``valid_until`` is the last height at which the transaction may be in a block."""

    version: int
    network: str
    key: bytes
    valid_until: int
    nonce: bytes
    calls: list[Call]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A body and the signature over it."""

    body: bytes
    signature: bytes


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction as read: the decoded body beside the bytes that were signed."""

    id: bytes
    body: Body
    body_bytes: bytes
    signature: bytes
    size_bytes: int


_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_body = msgspec.msgpack.Decoder(Body).decode
_encode = msgspec.msgpack.Encoder().encode
_READ_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def transaction_id(body: bytes) -> bytes:
    """The id (32 bytes) of the transaction with these body bytes."""
    return tagged("transaction", body)


def _malformed(what: str, data: bytes, reason: str) -> GuildbookError:
    fault = first_fault(data)
    code = (
        "transaction.not_canonical"
        if fault is not None and fault.code == "canonical.not_canonical"
        else "transaction.malformed"
    )
    return GuildbookError(
        code,
        f"the {what} cannot be read: {fault.message if fault is not None else reason}",
        hint="build transactions with a Guildbook client, or follow docs/spec/transaction.md",
        size_bytes=len(data),
    )


def decode_transaction(data: bytes) -> Transaction:
    """Read an envelope. Checks form alone: neither signature, network nor time.

    Raises GuildbookError ``transaction.malformed``, ``transaction.not_canonical`` or ``transaction.wrong_version``.
    The bytes of each call's arguments are examined when the call is made, against the command's types.
    """
    try:
        envelope = _decode_envelope(data)
    except _READ_ERRORS as error:
        raise _malformed("envelope", data, str(error)) from None
    if _encode(envelope) != data:
        raise _malformed("envelope", data, "it is not in canonical form")
    try:
        body = _decode_body(envelope.body)
    except _READ_ERRORS as error:
        raise _malformed("body", envelope.body, str(error)) from None
    if _encode(body) != envelope.body:
        raise _malformed("body", envelope.body, "it is not in canonical form")
    if body.version != TRANSACTION_VERSION:
        raise GuildbookError(
            "transaction.wrong_version",
            f"the transaction has version {body.version}",
            hint=f"this network reads version {TRANSACTION_VERSION}",
            version=body.version,
        )
    if (
        not (NONCE_SIZE_BYTES_MIN <= len(body.nonce) <= NONCE_SIZE_BYTES_MAX)
        or not body.calls
        or not 0 <= body.valid_until < 2**63
        or len(body.calls) > CALLS_MAX
    ):
        raise GuildbookError(
            "transaction.malformed",
            "the body has a field outside its bounds",
            hint=f"a nonce has {NONCE_SIZE_BYTES_MIN} to {NONCE_SIZE_BYTES_MAX} bytes, and there is at "
            f"least one call",
            nonce_size_bytes=len(body.nonce),
            calls=len(body.calls),
        )
    return Transaction(transaction_id(envelope.body), body, envelope.body, envelope.signature, len(data))


def signature_holds(transaction: Transaction) -> bool:
    """Whether the signature is the key's over this body (for Ed25519 by the ZIP-215 rules)."""
    return verify(transaction.body.key, SIGN_PREFIX + transaction.body_bytes, transaction.signature)


def build_transaction(
    network: str,
    signing_key: SigningKey,
    valid_until: int,
    nonce: bytes,
    calls: list[tuple[str, str, list[Any]]],
) -> bytes:
    """A signed envelope. ``calls`` are (contract, command, all arguments in order); ``nonce`` 8 to 32 bytes.

    Raises CanonicalError for an argument that has no canonical encoding.
    """
    return sign_body(encode_body(network, signing_key.public_key, valid_until, nonce, calls), signing_key)


def encode_body(
    network: str, public_key: bytes, valid_until: int, nonce: bytes, calls: list[tuple[str, str, list[Any]]]
) -> bytes:
    """The body bytes that ``public_key`` is to sign."""
    return encode(
        [
            TRANSACTION_VERSION,
            network,
            public_key,
            valid_until,
            nonce,
            [[contract, command, list(arguments)] for contract, command, arguments in calls],
        ]
    )


def sign_body(body: bytes, signing_key: SigningKey) -> bytes:
    """The envelope of ``body`` signed with ``signing_key``."""
    return _encode(Envelope(body, signing_key.sign(SIGN_PREFIX + body)))


__all__ = [
    "Body",
    "Call",
    "Envelope",
    "Transaction",
    "build_transaction",
    "decode_transaction",
    "encode_body",
    "sign_body",
    "signature_holds",
    "transaction_id",
]
