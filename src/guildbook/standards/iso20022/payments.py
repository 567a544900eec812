"""Payments and what becomes of them between banks: pain.001, pacs.008, pacs.009 and pacs.004."""

from __future__ import annotations

from typing import Final

import msgspec

from guildbook.standards.amounts import Amount
from guildbook.standards.iso20022.components import (
    ACCOUNT,
    AGENT,
    AGENT_AS_PARTY,
    CHARGE,
    CODE4,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    PARTY,
    PAYMENT_TYPE,
    REASON,
    REMITTANCE,
    SETTLEMENT,
    TEXT35,
    TEXT140,
    UETR,
    Account,
    Agent,
    Charge,
    OriginalGroup,
    OriginalTransaction,
    Party,
    PaymentType,
    Reason,
    Remittance,
    Settlement,
)
from guildbook.standards.times import When
from guildbook.standards.xml import (
    BOOLEAN,
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MONEY,
    WHEN,
    Codec,
    Shape,
    group,
    many,
    one,
)


class InstructionForAgent(msgspec.Struct, frozen=True):
    """What an agent is asked to do beside paying."""

    code: str | None = None
    text: str | None = None


class CreditTransfer(msgspec.Struct, frozen=True):
    """One payment that a customer instructs (pain.001: CdtTrfTxInf).

    `amount` is what is paid, in its currency; `equivalent` is given instead where the payer fixes the sum in another
    currency, and `transfer_currency` then says in which to pay.
    """

    end_to_end_id: str
    instruction_id: str | None = None
    uetr: str | None = None
    payment_type: PaymentType | None = None
    amount: Amount | None = None
    equivalent: Amount | None = None
    transfer_currency: str | None = None
    charge_bearer: str | None = None
    ultimate_debtor: Party | None = None
    intermediary: Agent | None = None
    creditor_agent: Agent | None = None
    creditor: Party | None = None
    creditor_account: Account | None = None
    ultimate_creditor: Party | None = None
    instructions: tuple[InstructionForAgent, ...] = ()
    purpose: str | None = None
    purpose_proprietary: str | None = None
    remittance: Remittance | None = None


class PaymentInstruction(msgspec.Struct, frozen=True):
    """Payments from one account on one day (pain.001: PmtInf). `method` is TRF, CHK or TRA."""

    id: str
    method: str
    execution_date: When
    debtor: Party
    debtor_account: Account
    debtor_agent: Agent
    transfers: tuple[CreditTransfer, ...]
    batch_booking: bool | None = None
    count: int | None = None
    control_sum: str | None = None
    payment_type: PaymentType | None = None
    ultimate_debtor: Party | None = None
    charge_bearer: str | None = None
    charges_account: Account | None = None


class PaymentInitiation(msgspec.Struct, frozen=True):
    """A pain.001: a customer's orders to a bank."""

    message_id: str
    created: When
    count: int
    initiator: Party
    instructions: tuple[PaymentInstruction, ...]
    control_sum: str | None = None
    forwarding_agent: Agent | None = None


class InterbankTransfer(msgspec.Struct, frozen=True):
    """One payment between banks (pacs.008, pacs.009: CdtTrfTxInf). In a pacs.009 debtor and creditor are agents."""

    end_to_end_id: str
    settled: Amount
    instruction_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    clearing_reference: str | None = None
    payment_type: PaymentType | None = None
    settlement_date: When | None = None
    accepted: When | None = None
    instructed: Amount | None = None
    exchange_rate: str | None = None
    charge_bearer: str | None = None
    charges: tuple[Charge, ...] = ()
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    intermediary: Agent | None = None
    ultimate_debtor: Party | None = None
    initiator: Party | None = None
    debtor: Party | None = None
    debtor_account: Account | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    creditor: Party | None = None
    creditor_account: Account | None = None
    ultimate_creditor: Party | None = None
    purpose: str | None = None
    purpose_proprietary: str | None = None
    remittance_id: str | None = None
    remittance: Remittance | None = None


class InterbankPayments(msgspec.Struct, frozen=True):
    """A pacs.008 or pacs.009."""

    message_id: str
    created: When
    count: int
    settlement: Settlement
    transfers: tuple[InterbankTransfer, ...]
    batch_booking: bool | None = None
    control_sum: str | None = None
    total: Amount | None = None
    settlement_date: When | None = None
    payment_type: PaymentType | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


class ReturnedTransfer(msgspec.Struct, frozen=True):
    """One payment that comes back (pacs.004: TxInf). `returned` can be less than `original_amount`: charges."""

    returned: Amount
    return_id: str | None = None
    original_group: OriginalGroup | None = None
    original_instruction_id: str | None = None
    original_end_to_end_id: str | None = None
    original_transaction_id: str | None = None
    original_uetr: str | None = None
    original_clearing_reference: str | None = None
    original_amount: Amount | None = None
    original_date: When | None = None
    settlement_date: When | None = None
    returned_instructed: Amount | None = None
    exchange_rate: str | None = None
    compensation: Amount | None = None
    charge_bearer: str | None = None
    charges: tuple[Charge, ...] = ()
    clearing_reference: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    reasons: tuple[Reason, ...] = ()
    original: OriginalTransaction | None = None


class PaymentReturn(msgspec.Struct, frozen=True):
    """A pacs.004. With `group_return` the whole original message comes back, and `transfers` may be empty."""

    message_id: str
    created: When
    count: int
    settlement: Settlement
    control_sum: str | None = None
    group_return: bool | None = None
    total: Amount | None = None
    settlement_date: When | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original_message_id: str | None = None
    original_message_name: str | None = None
    original_created: When | None = None
    group_reasons: tuple[Reason, ...] = ()
    transfers: tuple[ReturnedTransfer, ...] = ()


_PURPOSE: Final = group({"Cd": one("purpose", CODE4), "Prtry": one("purpose_proprietary", TEXT35)})
CREDIT_TRANSFER: Final = Shape(
    CreditTransfer,
    {
        "PmtId": group(
            {
                "InstrId": one("instruction_id", TEXT35),
                "EndToEndId": one("end_to_end_id", TEXT35),
                "UETR": one("uetr", UETR),
            }
        ),
        "PmtTpInf": one("payment_type", PAYMENT_TYPE),
        "Amt": group(
            {
                "InstdAmt": one("amount", MONEY),
                "EqvtAmt": group(
                    {"Amt": one("equivalent", MONEY), "CcyOfTrf": one("transfer_currency", CODE4)}
                ),
            }
        ),
        "ChrgBr": one("charge_bearer", CODE4),
        "UltmtDbtr": one("ultimate_debtor", PARTY),
        "IntrmyAgt1": one("intermediary", AGENT),
        "CdtrAgt": one("creditor_agent", AGENT),
        "Cdtr": one("creditor", PARTY),
        "CdtrAcct": one("creditor_account", ACCOUNT),
        "UltmtCdtr": one("ultimate_creditor", PARTY),
        "InstrForCdtrAgt": many(
            "instructions",
            Shape(InstructionForAgent, {"Cd": one("code", CODE4), "InstrInf": one("text", TEXT140)}),
        ),
        "Purp": _PURPOSE,
        "RmtInf": one("remittance", REMITTANCE),
    },
)
PAYMENT_INSTRUCTION: Final = Shape(
    PaymentInstruction,
    {
        "PmtInfId": one("id", TEXT35),
        "PmtMtd": one("method", CODE4),
        "BtchBookg": one("batch_booking", BOOLEAN),
        "NbOfTxs": one("count", COUNT),
        "CtrlSum": one("control_sum", DECIMAL),
        "PmtTpInf": one("payment_type", PAYMENT_TYPE),
        "ReqdExctnDt": one("execution_date", WHEN),
        "Dbtr": one("debtor", PARTY),
        "DbtrAcct": one("debtor_account", ACCOUNT),
        "DbtrAgt": one("debtor_agent", AGENT),
        "UltmtDbtr": one("ultimate_debtor", PARTY),
        "ChrgBr": one("charge_bearer", CODE4),
        "ChrgsAcct": one("charges_account", ACCOUNT),
        "CdtTrfTxInf": many("transfers", CREDIT_TRANSFER),
    },
)
PAYMENT_INITIATION: Final = Shape(
    PaymentInitiation,
    {
        "GrpHdr": group(
            {
                "MsgId": one("message_id", TEXT35),
                "CreDtTm": one("created", DATE_TIME),
                "NbOfTxs": one("count", COUNT),
                "CtrlSum": one("control_sum", DECIMAL),
                "InitgPty": one("initiator", PARTY),
                "FwdgAgt": one("forwarding_agent", AGENT),
            }
        ),
        "PmtInf": many("instructions", PAYMENT_INSTRUCTION),
    },
)


def _interbank(party: Codec[Party], *, customers: bool) -> Shape[InterbankTransfer]:
    return Shape(
        InterbankTransfer,
        {
            "PmtId": group(
                {
                    "InstrId": one("instruction_id", TEXT35),
                    "EndToEndId": one("end_to_end_id", TEXT35),
                    "TxId": one("transaction_id", TEXT35),
                    "UETR": one("uetr", UETR),
                    "ClrSysRef": one("clearing_reference", TEXT35),
                }
            ),
            "PmtTpInf": one("payment_type", PAYMENT_TYPE),
            "IntrBkSttlmAmt": one("settled", MONEY),
            "IntrBkSttlmDt": one("settlement_date", DATE),
            "AccptncDtTm": one("accepted", DATE_TIME),
            "InstdAmt": one("instructed", MONEY),
            "XchgRate": one("exchange_rate", DECIMAL),
            "ChrgBr": one("charge_bearer", CODE4, must=customers),
            "ChrgsInf": many("charges", CHARGE),
            "InstgAgt": one("instructing_agent", AGENT),
            "InstdAgt": one("instructed_agent", AGENT),
            "IntrmyAgt1": one("intermediary", AGENT),
            "UltmtDbtr": one("ultimate_debtor", party),
            "InitgPty": one("initiator", PARTY),
            "Dbtr": one("debtor", party, must=True),
            "DbtrAcct": one("debtor_account", ACCOUNT),
            "DbtrAgt": one("debtor_agent", AGENT, must=customers),
            "CdtrAgt": one("creditor_agent", AGENT, must=customers),
            "Cdtr": one("creditor", party, must=True),
            "CdtrAcct": one("creditor_account", ACCOUNT),
            "UltmtCdtr": one("ultimate_creditor", party),
            "Purp": _PURPOSE,
            "RltdRmtInf": group({"RmtId": one("remittance_id", TEXT35)}),
            "RmtInf": one("remittance", REMITTANCE),
        },
    )


def _interbank_payments(party: Codec[Party], *, customers: bool) -> Shape[InterbankPayments]:
    return Shape(
        InterbankPayments,
        {
            "GrpHdr": group(
                {
                    "MsgId": one("message_id", TEXT35),
                    "CreDtTm": one("created", DATE_TIME),
                    "BtchBookg": one("batch_booking", BOOLEAN),
                    "NbOfTxs": one("count", COUNT),
                    "CtrlSum": one("control_sum", DECIMAL),
                    "TtlIntrBkSttlmAmt": one("total", MONEY),
                    "IntrBkSttlmDt": one("settlement_date", DATE),
                    "SttlmInf": one("settlement", SETTLEMENT),
                    "PmtTpInf": one("payment_type", PAYMENT_TYPE),
                    "InstgAgt": one("instructing_agent", AGENT),
                    "InstdAgt": one("instructed_agent", AGENT),
                }
            ),
            "CdtTrfTxInf": many("transfers", _interbank(party, customers=customers)),
        },
    )


CUSTOMER_TRANSFERS: Final = _interbank_payments(PARTY, customers=True)
BANK_TRANSFERS: Final = _interbank_payments(AGENT_AS_PARTY, customers=False)
RETURNED_TRANSFER: Final = Shape(
    ReturnedTransfer,
    {
        "RtrId": one("return_id", TEXT35),
        "OrgnlGrpInf": one("original_group", ORIGINAL_GROUP),
        "OrgnlInstrId": one("original_instruction_id", TEXT35),
        "OrgnlEndToEndId": one("original_end_to_end_id", TEXT35),
        "OrgnlTxId": one("original_transaction_id", TEXT35),
        "OrgnlUETR": one("original_uetr", UETR),
        "OrgnlClrSysRef": one("original_clearing_reference", TEXT35),
        "OrgnlIntrBkSttlmAmt": one("original_amount", MONEY),
        "OrgnlIntrBkSttlmDt": one("original_date", DATE),
        "RtrdIntrBkSttlmAmt": one("returned", MONEY),
        "IntrBkSttlmDt": one("settlement_date", DATE),
        "RtrdInstdAmt": one("returned_instructed", MONEY),
        "XchgRate": one("exchange_rate", DECIMAL),
        "CompstnAmt": one("compensation", MONEY),
        "ChrgBr": one("charge_bearer", CODE4),
        "ChrgsInf": many("charges", CHARGE),
        "ClrSysRef": one("clearing_reference", TEXT35),
        "InstgAgt": one("instructing_agent", AGENT),
        "InstdAgt": one("instructed_agent", AGENT),
        "RtrRsnInf": many("reasons", REASON),
        "OrgnlTxRef": one("original", ORIGINAL_TRANSACTION),
    },
)
PAYMENT_RETURN: Final = Shape(
    PaymentReturn,
    {
        "GrpHdr": group(
            {
                "MsgId": one("message_id", TEXT35),
                "CreDtTm": one("created", DATE_TIME),
                "NbOfTxs": one("count", COUNT),
                "CtrlSum": one("control_sum", DECIMAL),
                "GrpRtr": one("group_return", BOOLEAN),
                "TtlRtrdIntrBkSttlmAmt": one("total", MONEY),
                "IntrBkSttlmDt": one("settlement_date", DATE),
                "SttlmInf": one("settlement", SETTLEMENT),
                "InstgAgt": one("instructing_agent", AGENT),
                "InstdAgt": one("instructed_agent", AGENT),
            }
        ),
        "OrgnlGrpInf": group(
            {
                "OrgnlMsgId": one("original_message_id", TEXT35),
                "OrgnlMsgNmId": one("original_message_name", TEXT35),
                "OrgnlCreDtTm": one("original_created", DATE_TIME),
                "RtrRsnInf": many("group_reasons", REASON),
            }
        ),
        "TxInf": many("transfers", RETURNED_TRANSFER),
    },
)
