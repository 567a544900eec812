"""Messages out: what is written, always the same bytes for the same record; and what makes complete ones.

Counts and control sums are computed, never given. `write` holds the standard's patterns and lengths and refuses
what it does not allow, so that the bytes are valid against the standard's schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from guildbook.standards.amounts import Amount, exponent_of
from guildbook.standards.iso20022.cancellation import (
    CancellationRequest,
    CancelledTransaction,
    Case,
    Underlying,
)
from guildbook.standards.iso20022.components import Party
from guildbook.standards.iso20022.payments import PaymentInitiation, PaymentInstruction
from guildbook.standards.iso20022.reading import KINDS, NAMESPACE, Body
from guildbook.standards.place import BAD_VALUE, BROKEN_RULE, UNKNOWN_MESSAGE, refuse
from guildbook.standards.times import When
from guildbook.standards.xml import Writing

PAIN_001: Final = "pain.001.001.09"
CAMT_056: Final = "camt.056.001.08"

WRITTEN: Final = (
    "camt.029.001.09",
    "camt.052.001.08",
    "camt.053.001.08",
    "camt.054.001.08",
    CAMT_056,
    "pacs.002.001.10",
    "pacs.004.001.10",
    "pacs.008.001.08",
    PAIN_001,
    "pain.002.001.10",
)
"""What `write` writes: the version of each family that banks exchange today."""

SCALE: Final = 5
"""Decimals in which a control sum is added: as many as an amount can have."""


def write(name: str, body: Body) -> bytes:
    """The message `name` (one of `WRITTEN`) of a record, in UTF-8: the same bytes for the same record.

    Raises GuildbookError `standards.unknown_message` for a name that is not written or does not fit the record, and
    `standards.bad_value` for a value that the standard does not allow.
    """
    kind = next((kind for kind in KINDS if name in WRITTEN and kind.family == name[:8]), None)
    if kind is None or not isinstance(body, kind.shape.record):
        raise refuse(
            UNKNOWN_MESSAGE, f"{name[:40]!r} is not written from {type(body).__name__}", path=name[:40]
        )
    writing = Writing()
    shape: Any = kind.shape
    try:
        writing.inside(
            "Document", f' xmlns="{NAMESPACE}{name}"', lambda: shape.write(kind.root, body, writing)
        )
    except ValueError as error:
        raise refuse(BAD_VALUE, str(error), path=f"/Document/{kind.root}") from None
    return writing.document()


def control_sum(amounts: Iterable[Amount]) -> str:
    """The sum of amounts regardless of currency, as a control sum is defined, with as many decimals as they need."""
    total, decimals = 0, 0
    for amount in amounts:
        exponent = exponent_of(amount.currency)
        total += amount.minor * 10 ** (SCALE - exponent)
        decimals = max(decimals, exponent)
    whole, rest = divmod(total, 10**SCALE)
    return f"{whole}.{rest:0{SCALE}d}"[: -(SCALE - decimals)] if decimals else str(whole)


def uetr_of(*names: bytes) -> str:
    """A UETR made from names that identify a payment: the same for the same names, in the form of a random UUID.

    A UETR must look like a UUID of version 4. Nodes that must agree cannot draw one by lot, so its 122 free bits are
    those of SHA-256 over the names, each after its length.
    """
    digest = hashlib.sha256(b"guildbook.uetr")
    for name in names:
        digest.update(len(name).to_bytes(8, "big") + name)
    raw = bytearray(digest.digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def payment_initiation(
    *, message_id: str, created: When, initiator: Party, instructions: Sequence[PaymentInstruction]
) -> PaymentInitiation:
    """A complete order to a bank: counts and control sums of the message and of each instruction are filled in.

    Raises GuildbookError `standards.broken_rule` for an order without payments, for an amount that is missing or zero,
    for an instruction id or an end-to-end id that occurs twice, and for a payment without creditor's account or name.
    """
    _unique("PmtInfId", [instruction.id for instruction in instructions])
    _unique(
        "EndToEndId",
        [transfer.end_to_end_id for instruction in instructions for transfer in instruction.transfers],
    )
    complete = []
    everything: list[Amount] = []
    for instruction in instructions:
        amounts = []
        for transfer in instruction.transfers:
            where = f"PmtInf[{instruction.id}]/CdtTrfTxInf[{transfer.end_to_end_id}]"
            amount = transfer.amount or transfer.equivalent
            if amount is None or amount.minor == 0:
                raise refuse(BROKEN_RULE, "a payment has an amount above zero", path=where)
            if transfer.creditor is None or not transfer.creditor.name:
                raise refuse(BROKEN_RULE, "a payment names its creditor", path=where)
            if instruction.method == "TRF" and (
                transfer.creditor_account is None or not transfer.creditor_account.number
            ):
                raise refuse(BROKEN_RULE, "a transfer names its creditor's account", path=where)
            amounts.append(amount)
        if not amounts:
            raise refuse(BROKEN_RULE, "an instruction has a payment", path=f"PmtInf[{instruction.id}]")
        complete.append(
            msgspec.structs.replace(instruction, count=len(amounts), control_sum=control_sum(amounts))
        )
        everything += amounts
    if not complete:
        raise refuse(BROKEN_RULE, "an order has an instruction", path="CstmrCdtTrfInitn")
    return PaymentInitiation(
        message_id=message_id,
        created=created,
        count=len(everything),
        control_sum=control_sum(everything),
        initiator=initiator,
        instructions=tuple(complete),
    )


def cancellation_request(
    *,
    id: str,  # noqa: A002 - the standard's word
    created: When,
    assigner: Party,
    assignee: Party,
    transactions: Sequence[CancelledTransaction],
    case: Case | None = None,
) -> CancellationRequest:
    """A complete recall of payments: the count and, where all amounts are known, the control sum are filled in.

    Raises GuildbookError `standards.broken_rule` for a recall of nothing, or of a payment that has no id by which the
    other bank can find it, or no reason.
    """
    if not transactions:
        raise refuse(BROKEN_RULE, "a recall names a payment", path="FIToFIPmtCxlReq")
    for position, transaction in enumerate(transactions, 1):
        where = f"Undrlyg/TxInf[{position}]"
        ids = (
            transaction.original_end_to_end_id,
            transaction.original_transaction_id,
            transaction.original_uetr,
            transaction.original_instruction_id,
        )
        if not any(ids):
            raise refuse(BROKEN_RULE, "a recalled payment has an id", path=where)
        if not transaction.reasons:
            raise refuse(BROKEN_RULE, "a recall has a reason", path=where)
    amounts = [transaction.original_amount for transaction in transactions if transaction.original_amount]
    return CancellationRequest(
        id=id,
        created=created,
        assigner=assigner,
        assignee=assignee,
        case=case,
        count=len(transactions),
        control_sum=control_sum(amounts) if len(amounts) == len(transactions) else None,
        underlying=(Underlying(transactions=tuple(transactions)),),
    )


def _unique(what: str, ids: Sequence[str]) -> None:
    seen = set()
    for one in ids:
        if one in seen:
            raise refuse(BROKEN_RULE, f"{what} {one[:40]!r} occurs twice", path=what)
        seen.add(one)
