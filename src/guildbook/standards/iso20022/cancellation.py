"""Calling payments back: camt.056 (the request of one bank to another) and camt.029 (the answer).

A recall is a question: the money is back when a pacs.004 or a credit entry says so, not when an answer says CNCL.
"""

from __future__ import annotations

from typing import Final

import msgspec

from guildbook.standards.amounts import Amount
from guildbook.standards.iso20022.components import (
    CODE4,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    PARTY_OR_AGENT,
    REASON,
    TEXT35,
    UETR,
    OriginalGroup,
    OriginalTransaction,
    Party,
    Reason,
)
from guildbook.standards.times import When
from guildbook.standards.xml import (
    BOOLEAN,
    CODE,
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MONEY,
    WHEN,
    Shape,
    group,
    many,
    one,
)


class Case(msgspec.Struct, frozen=True):
    """A case of investigation: its id, and who opened it."""

    id: str
    creator: Party | None = None
    reopened: bool | None = None


class CancelledGroup(msgspec.Struct, frozen=True):
    """The message that is to be cancelled, in whole (`whole`) or in the transactions named beside it."""

    original_message_id: str
    original_message_name: str
    cancellation_id: str | None = None
    case: Case | None = None
    original_created: When | None = None
    count: int | None = None
    control_sum: str | None = None
    whole: bool | None = None
    reasons: tuple[Reason, ...] = ()


class CancelledTransaction(msgspec.Struct, frozen=True):
    """One transaction that is to be cancelled."""

    cancellation_id: str | None = None
    case: Case | None = None
    original_group: OriginalGroup | None = None
    original_instruction_id: str | None = None
    original_end_to_end_id: str | None = None
    original_transaction_id: str | None = None
    original_uetr: str | None = None
    original_clearing_reference: str | None = None
    original_amount: Amount | None = None
    original_date: When | None = None
    reasons: tuple[Reason, ...] = ()
    original: OriginalTransaction | None = None


class Underlying(msgspec.Struct, frozen=True):
    """What is to be cancelled: a message, transactions, or both."""

    group: CancelledGroup | None = None
    transactions: tuple[CancelledTransaction, ...] = ()


class CancellationRequest(msgspec.Struct, frozen=True):
    """A camt.056. `assigner` asks, `assignee` is asked."""

    id: str
    created: When
    underlying: tuple[Underlying, ...]
    assigner: Party | None = None
    assignee: Party | None = None
    case: Case | None = None
    count: int | None = None
    control_sum: str | None = None


class CancellationStatus(msgspec.Struct, frozen=True):
    """The answer about one transaction; `status` is CNCR (cancelled), RJCR (refused) or PDCR (not yet)."""

    status_id: str | None = None
    case: Case | None = None
    original_group: OriginalGroup | None = None
    original_instruction_id: str | None = None
    original_end_to_end_id: str | None = None
    original_transaction_id: str | None = None
    original_clearing_reference: str | None = None
    original_uetr: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    resolved_amount: Amount | None = None
    resolved_date: When | None = None
    original_amount: Amount | None = None
    original_date: When | None = None
    original: OriginalTransaction | None = None


class CancellationOfGroup(msgspec.Struct, frozen=True):
    """The answer about a whole message."""

    original_message_id: str
    original_message_name: str
    cancellation_id: str | None = None
    case: Case | None = None
    original_created: When | None = None
    original_count: int | None = None
    original_control_sum: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()


class CancellationOfInstruction(msgspec.Struct, frozen=True):
    """The answer about one payment instruction of a customer."""

    original_id: str
    cancellation_id: str | None = None
    case: Case | None = None
    original_group: OriginalGroup | None = None
    original_count: int | None = None
    original_control_sum: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    transactions: tuple[InstructedCancellation, ...] = ()


class InstructedCancellation(msgspec.Struct, frozen=True):
    """The answer about one transaction of a payment instruction."""

    status_id: str | None = None
    case: Case | None = None
    original_instruction_id: str | None = None
    original_end_to_end_id: str | None = None
    uetr: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    original_amount: Amount | None = None
    original_date: When | None = None
    original: OriginalTransaction | None = None


class CancellationDetails(msgspec.Struct, frozen=True):
    """Answers about a message, instructions and transactions."""

    group: CancellationOfGroup | None = None
    instructions: tuple[CancellationOfInstruction, ...] = ()
    transactions: tuple[CancellationStatus, ...] = ()


class Resolution(msgspec.Struct, frozen=True):
    """A camt.029. `confirmation` is the answer as a whole: CNCL done, RJCR refused, PDCR pending, IPAY paid, ..."""

    id: str
    created: When
    assigner: Party | None = None
    assignee: Party | None = None
    case: Case | None = None
    confirmation: str | None = None
    modification_refused: tuple[str, ...] = ()
    duplicate_of: Case | None = None
    assignment_cancelled: bool | None = None
    details: tuple[CancellationDetails, ...] = ()


_CASE: Final = Shape(
    Case,
    {
        "Id": one("id", TEXT35),
        "Cretr": one("creator", PARTY_OR_AGENT, must=True),
        "ReopCaseIndctn": one("reopened", BOOLEAN),
    },
)
_ASSIGNMENT: Final = group(
    {
        "Id": one("id", TEXT35),
        "Assgnr": one("assigner", PARTY_OR_AGENT, must=True),
        "Assgne": one("assignee", PARTY_OR_AGENT, must=True),
        "CreDtTm": one("created", DATE_TIME),
    }
)
_CANCELLED_GROUP: Final = Shape(
    CancelledGroup,
    {
        "GrpCxlId": one("cancellation_id", TEXT35),
        "Case": one("case", _CASE),
        "OrgnlMsgId": one("original_message_id", TEXT35),
        "OrgnlMsgNmId": one("original_message_name", TEXT35),
        "OrgnlCreDtTm": one("original_created", DATE_TIME),
        "NbOfTxs": one("count", COUNT),
        "CtrlSum": one("control_sum", DECIMAL),
        "GrpCxl": one("whole", BOOLEAN),
        "CxlRsnInf": many("reasons", REASON),
    },
)
_CANCELLED: Final = Shape(
    CancelledTransaction,
    {
        "CxlId": one("cancellation_id", TEXT35),
        "Case": one("case", _CASE),
        "OrgnlGrpInf": one("original_group", ORIGINAL_GROUP),
        "OrgnlInstrId": one("original_instruction_id", TEXT35),
        "OrgnlEndToEndId": one("original_end_to_end_id", TEXT35),
        "OrgnlTxId": one("original_transaction_id", TEXT35),
        "OrgnlUETR": one("original_uetr", UETR),
        "OrgnlClrSysRef": one("original_clearing_reference", TEXT35),
        "OrgnlIntrBkSttlmAmt": one("original_amount", MONEY),
        "OrgnlIntrBkSttlmDt": one("original_date", DATE),
        "CxlRsnInf": many("reasons", REASON),
        "OrgnlTxRef": one("original", ORIGINAL_TRANSACTION),
    },
)
CANCELLATION_REQUEST: Final = Shape(
    CancellationRequest,
    {
        "Assgnmt": _ASSIGNMENT,
        "Case": one("case", _CASE),
        "CtrlData": group({"NbOfTxs": one("count", COUNT), "CtrlSum": one("control_sum", DECIMAL)}),
        "Undrlyg": many(
            "underlying",
            Shape(
                Underlying,
                {
                    "OrgnlGrpInfAndCxl": one("group", _CANCELLED_GROUP),
                    "TxInf": many("transactions", _CANCELLED),
                },
            ),
        ),
    },
)
_CANCELLATION_STATUS: Final = Shape(
    CancellationStatus,
    {
        "CxlStsId": one("status_id", TEXT35),
        "RslvdCase": one("case", _CASE),
        "OrgnlGrpInf": one("original_group", ORIGINAL_GROUP),
        "OrgnlInstrId": one("original_instruction_id", TEXT35),
        "OrgnlEndToEndId": one("original_end_to_end_id", TEXT35),
        "OrgnlTxId": one("original_transaction_id", TEXT35),
        "OrgnlClrSysRef": one("original_clearing_reference", TEXT35),
        "OrgnlUETR": one("original_uetr", UETR),
        "TxCxlSts": one("status", CODE4),
        "CxlStsRsnInf": many("reasons", REASON),
        "RsltnRltdInf": group(
            {"IntrBkSttlmAmt": one("resolved_amount", MONEY), "IntrBkSttlmDt": one("resolved_date", DATE)}
        ),
        "OrgnlIntrBkSttlmAmt": one("original_amount", MONEY),
        "OrgnlIntrBkSttlmDt": one("original_date", DATE),
        "OrgnlTxRef": one("original", ORIGINAL_TRANSACTION),
    },
)
_OF_GROUP: Final = Shape(
    CancellationOfGroup,
    {
        "OrgnlGrpCxlId": one("cancellation_id", TEXT35),
        "RslvdCase": one("case", _CASE),
        "OrgnlMsgId": one("original_message_id", TEXT35),
        "OrgnlMsgNmId": one("original_message_name", TEXT35),
        "OrgnlCreDtTm": one("original_created", DATE_TIME),
        "OrgnlNbOfTxs": one("original_count", COUNT),
        "OrgnlCtrlSum": one("original_control_sum", DECIMAL),
        "GrpCxlSts": one("status", CODE4),
        "CxlStsRsnInf": many("reasons", REASON),
    },
)
_INSTRUCTED: Final = Shape(
    InstructedCancellation,
    {
        "CxlStsId": one("status_id", TEXT35),
        "RslvdCase": one("case", _CASE),
        "OrgnlInstrId": one("original_instruction_id", TEXT35),
        "OrgnlEndToEndId": one("original_end_to_end_id", TEXT35),
        "UETR": one("uetr", UETR),
        "TxCxlSts": one("status", CODE4),
        "CxlStsRsnInf": many("reasons", REASON),
        "OrgnlInstdAmt": one("original_amount", MONEY),
        "OrgnlReqdExctnDt": one("original_date", WHEN),
        "OrgnlTxRef": one("original", ORIGINAL_TRANSACTION),
    },
)
_OF_INSTRUCTION: Final = Shape(
    CancellationOfInstruction,
    {
        "OrgnlPmtInfCxlId": one("cancellation_id", TEXT35),
        "RslvdCase": one("case", _CASE),
        "OrgnlPmtInfId": one("original_id", TEXT35),
        "OrgnlGrpInf": one("original_group", ORIGINAL_GROUP),
        "OrgnlNbOfTxs": one("original_count", COUNT),
        "OrgnlCtrlSum": one("original_control_sum", DECIMAL),
        "PmtInfCxlSts": one("status", CODE4),
        "CxlStsRsnInf": many("reasons", REASON),
        "TxInfAndSts": many("transactions", _INSTRUCTED),
    },
)
RESOLUTION: Final = Shape(
    Resolution,
    {
        "Assgnmt": _ASSIGNMENT,
        "RslvdCase": one("case", _CASE),
        "Sts": group(
            {
                "Conf": one("confirmation", CODE4),
                "RjctdMod": many("modification_refused", CODE),
                "DplctOf": one("duplicate_of", _CASE),
                "AssgnmtCxlConf": one("assignment_cancelled", BOOLEAN),
            }
        ),
        "CxlDtls": many(
            "details",
            Shape(
                CancellationDetails,
                {
                    "OrgnlGrpInfAndSts": one("group", _OF_GROUP),
                    "OrgnlPmtInfAndSts": many("instructions", _OF_INSTRUCTION),
                    "TxInfAndSts": many("transactions", _CANCELLATION_STATUS),
                },
            ),
        ),
    },
)
