"""What a bank says of orders: pain.002 (to its customer) and pacs.002 (to another bank).

A status can be given for the whole message, for one payment instruction, or for one transaction; the nearest one
counts. `PART` says that some were taken and some not: the transactions then say which. `codes` has the meaning of
each.
"""

from __future__ import annotations

from typing import Final

import msgspec

from guildbook.standards.iso20022.components import (
    AGENT,
    CODE4,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    PARTY,
    REASON,
    TEXT35,
    UETR,
    Agent,
    OriginalGroup,
    OriginalTransaction,
    Party,
    Reason,
)
from guildbook.standards.times import When
from guildbook.standards.xml import COUNT, DATE_TIME, DECIMAL, WHEN, Shape, group, many, old, one


class StatusCount(msgspec.Struct, frozen=True):
    """How many transactions have a status, and their sum as decimal text."""

    count: int
    status: str
    control_sum: str | None = None


class TransactionStatus(msgspec.Struct, frozen=True):
    """The status of one transaction; it is found by `original_end_to_end_id`, then by `original_uetr`."""

    status_id: str | None = None
    original_group: OriginalGroup | None = None
    original_instruction_id: str | None = None
    original_end_to_end_id: str | None = None
    original_transaction_id: str | None = None
    original_uetr: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    accepted: When | None = None
    settlement_date: When | None = None
    servicer_reference: str | None = None
    clearing_reference: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original: OriginalTransaction | None = None


class InstructionStatus(msgspec.Struct, frozen=True):
    """The status of one payment instruction (pain.002: OrgnlPmtInfAndSts), and of transactions in it."""

    original_id: str
    original_count: int | None = None
    original_control_sum: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    counts: tuple[StatusCount, ...] = ()
    transactions: tuple[TransactionStatus, ...] = ()


class GroupStatus(msgspec.Struct, frozen=True):
    """The status of a whole message, by its id."""

    original_message_id: str
    original_message_name: str
    original_created: When | None = None
    original_count: int | None = None
    original_control_sum: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    counts: tuple[StatusCount, ...] = ()


class StatusReport(msgspec.Struct, frozen=True):
    """A pain.002 or a pacs.002. In a pain.002 there is one group, and `transactions` is empty."""

    message_id: str
    created: When
    initiator: Party | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    forwarding_agent: Agent | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    groups: tuple[GroupStatus, ...] = ()
    instructions: tuple[InstructionStatus, ...] = ()
    transactions: tuple[TransactionStatus, ...] = ()


class ResolvedStatus(msgspec.Struct, frozen=True):
    """What a report says of one transaction, and from which level: `transaction`, `instruction` or `group`."""

    transaction: TransactionStatus
    instruction_id: str | None
    status: str | None
    reasons: tuple[Reason, ...]
    level: str


def statuses(report: StatusReport) -> tuple[ResolvedStatus, ...]:
    """Every transaction that the report names, each with the status nearest to it.

    A transaction without a status of its own has that of its instruction, else that of the message. What a report says
    only of a message or an instruction as a whole is not here: it names no transaction.
    """
    group = report.groups[0] if len(report.groups) == 1 else None
    found = []
    for instruction in report.instructions:
        found += [_resolved(one, instruction, group) for one in instruction.transactions]
    found += [_resolved(one, None, group) for one in report.transactions]
    return tuple(found)


def _resolved(
    transaction: TransactionStatus, instruction: InstructionStatus | None, whole: GroupStatus | None
) -> ResolvedStatus:
    instruction_id = instruction.original_id if instruction else None
    if transaction.status is not None:
        return ResolvedStatus(
            transaction, instruction_id, transaction.status, transaction.reasons, "transaction"
        )
    if instruction is not None and instruction.status is not None:
        reasons = transaction.reasons or instruction.reasons
        return ResolvedStatus(transaction, instruction_id, instruction.status, reasons, "instruction")
    status = whole.status if whole else None
    reasons = transaction.reasons or (whole.reasons if whole else ())
    return ResolvedStatus(transaction, instruction_id, status, reasons, "group")


_COUNT: Final = Shape(
    StatusCount,
    {
        "DtldNbOfTxs": one("count", COUNT),
        "DtldSts": one("status", CODE4),
        "DtldCtrlSum": one("control_sum", DECIMAL),
    },
)
TRANSACTION_STATUS: Final = Shape(
    TransactionStatus,
    {
        "StsId": one("status_id", TEXT35),
        "OrgnlGrpInf": one("original_group", ORIGINAL_GROUP),
        "OrgnlInstrId": one("original_instruction_id", TEXT35),
        "OrgnlEndToEndId": one("original_end_to_end_id", TEXT35),
        "OrgnlTxId": one("original_transaction_id", TEXT35),
        "OrgnlUETR": one("original_uetr", UETR),
        "TxSts": one("status", CODE4),
        "StsRsnInf": many("reasons", REASON),
        "AccptncDtTm": one("accepted", DATE_TIME),
        "FctvIntrBkSttlmDt": one("settlement_date", WHEN),
        "AcctSvcrRef": one("servicer_reference", TEXT35),
        "ClrSysRef": one("clearing_reference", TEXT35),
        "InstgAgt": one("instructing_agent", AGENT),
        "InstdAgt": one("instructed_agent", AGENT),
        "OrgnlTxRef": one("original", ORIGINAL_TRANSACTION),
    },
)
INSTRUCTION_STATUS: Final = Shape(
    InstructionStatus,
    {
        "OrgnlPmtInfId": one("original_id", TEXT35),
        "OrgnlNbOfTxs": one("original_count", COUNT),
        "OrgnlCtrlSum": one("original_control_sum", DECIMAL),
        "PmtInfSts": one("status", CODE4),
        "StsRsnInf": many("reasons", REASON),
        "NbOfTxsPerSts": many("counts", _COUNT),
        "TxInfAndSts": many("transactions", TRANSACTION_STATUS),
    },
)
GROUP_STATUS: Final = Shape(
    GroupStatus,
    {
        "OrgnlMsgId": one("original_message_id", TEXT35),
        "OrgnlMsgNmId": one("original_message_name", TEXT35),
        "OrgnlCreDtTm": one("original_created", DATE_TIME),
        "OrgnlNbOfTxs": one("original_count", COUNT),
        "OrgnlCtrlSum": one("original_control_sum", DECIMAL),
        "GrpSts": one("status", CODE4),
        "StsRsnInf": many("reasons", REASON),
        "NbOfTxsPerSts": many("counts", _COUNT),
    },
)
_HEADER: Final = group(
    {
        "MsgId": one("message_id", TEXT35),
        "CreDtTm": one("created", DATE_TIME),
        "InitgPty": one("initiator", PARTY),
        "InstgAgt": one("instructing_agent", AGENT),
        "InstdAgt": one("instructed_agent", AGENT),
        "FwdgAgt": one("forwarding_agent", AGENT),
        "DbtrAgt": one("debtor_agent", AGENT),
        "CdtrAgt": one("creditor_agent", AGENT),
    }
)
CUSTOMER_STATUS: Final = Shape(
    StatusReport,
    {
        "GrpHdr": _HEADER,
        "OrgnlGrpInfAndSts": many("groups", GROUP_STATUS),
        "OrgnlPmtInfAndSts": many("instructions", INSTRUCTION_STATUS),
        "TxInfAndSts": old(many("transactions", TRANSACTION_STATUS)),
    },
    needed=["groups"],
)
BANK_STATUS: Final = Shape(
    StatusReport,
    {
        "GrpHdr": _HEADER,
        "OrgnlGrpInfAndSts": many("groups", GROUP_STATUS),
        "TxInfAndSts": many("transactions", TRANSACTION_STATUS),
    },
)
