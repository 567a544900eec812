"""What banks report about accounts: camt.052 (report), camt.053 (statement), camt.054 (notification), versions 1 to
13.

Signs: an amount has none; `indicator` says CRDT or DBIT, of the entry, of the balance, or of one transaction in a
batch. A reversal (`reversal`) is itself booked with the indicator of its own movement: a credit that reverses a
debit says CRDT.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from lxml import etree

from guildbook.standards.amounts import Amount
from guildbook.standards.iso20022.components import (
    ACCOUNT,
    AGENT,
    CODE4,
    PARTY,
    PARTY_OR_AGENT,
    REMITTANCE,
    TEXT35,
    TEXT140,
    TEXT500,
    UETR,
    Account,
    Agent,
    Party,
    Remittance,
)
from guildbook.standards.place import BAD_VALUE
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
    Codec,
    Group,
    Part,
    Reading,
    Shape,
    Writing,
    group,
    many,
    old,
    one,
    patterned,
)

INDICATOR: Final = patterned("CRDT|DBIT", "CRDT or DBIT")


class ReportHeader(msgspec.Struct, frozen=True):
    """The group header of a report: its id, when it was made, for whom, which page, and the query it answers."""

    message_id: str
    created: When
    recipient: Party | None = None
    page: str | None = None
    last_page: bool | None = None
    query_id: str | None = None
    query_name: str | None = None
    query_created: When | None = None
    additional: str | None = None


class BankTransactionCode(msgspec.Struct, frozen=True):
    """What kind of movement it was: domain, family and sub-family of ISO 20022, or the bank's own code."""

    domain: str | None = None
    family: str | None = None
    sub_family: str | None = None
    proprietary: str | None = None
    proprietary_issuer: str | None = None


class Balance(msgspec.Struct, frozen=True):
    """A balance: `type` OPBD opening booked, CLBD closing booked, OPAV, CLAV, ITBD, ... or `proprietary`."""

    amount: Amount
    indicator: str
    date: When
    type: str | None = None
    proprietary: str | None = None
    sub_type: str | None = None


class EntrySum(msgspec.Struct, frozen=True):
    """How many entries a statement counts, and their sum as decimal text."""

    count: int | None = None
    sum: str | None = None
    net: str | None = None
    indicator: str | None = None


class ProprietaryReference(msgspec.Struct, frozen=True):
    """A reference of the bank's own kind."""

    type: str | None = None
    reference: str | None = None


class References(msgspec.Struct, frozen=True):
    """By which names the parties know a transaction; a payment is found by `end_to_end_id`, then by `uetr`."""

    message_id: str | None = None
    servicer_reference: str | None = None
    payment_information_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    uetr: str | None = None
    transaction_id: str | None = None
    mandate_id: str | None = None
    cheque_number: str | None = None
    clearing_reference: str | None = None
    owner_transaction_id: str | None = None
    servicer_transaction_id: str | None = None
    market_transaction_id: str | None = None
    processing_id: str | None = None
    proprietaries: tuple[ProprietaryReference, ...] = ()


class Exchange(msgspec.Struct, frozen=True):
    """An amount in another currency, with the rate as decimal text."""

    amount: Amount
    source_currency: str | None = None
    target_currency: str | None = None
    unit_currency: str | None = None
    rate: str | None = None
    contract: str | None = None


class ChargeRecord(msgspec.Struct, frozen=True):
    """One charge: `included` says whether the entry's amount contains it."""

    amount: Amount
    indicator: str | None = None
    included: bool | None = None
    type: str | None = None
    type_proprietary: str | None = None
    bearer: str | None = None
    agent: Agent | None = None


class Charges(msgspec.Struct, frozen=True):
    """Charges on an entry or a transaction; of versions 1 to 3 each charge is one of these, without records."""

    total: Amount | None = None
    records: tuple[ChargeRecord, ...] = ()
    amount: Amount | None = None
    indicator: str | None = None
    type: str | None = None
    bearer: str | None = None


class ReturnInformation(msgspec.Struct, frozen=True):
    """Why a payment came back: the code is one of the table of return reasons."""

    original_code: BankTransactionCode | None = None
    originator: Party | None = None
    code: str | None = None
    proprietary: str | None = None
    additional: tuple[str, ...] = ()


class RelatedDates(msgspec.Struct, frozen=True):
    """Dates of a transaction beside booking and value."""

    accepted: When | None = None
    contractual_settlement: When | None = None
    traded: When | None = None
    interbank_settlement: When | None = None
    start: When | None = None
    end: When | None = None
    transacted: When | None = None


class Batch(msgspec.Struct, frozen=True):
    """The batch that an entry books as one sum."""

    message_id: str | None = None
    payment_information_id: str | None = None
    count: int | None = None
    total: Amount | None = None
    indicator: str | None = None


class TransactionDetail(msgspec.Struct, frozen=True):
    """One transaction of an entry. Its `amount` may stand in another currency than the entry's."""

    references: References | None = None
    amount: Amount | None = None
    indicator: str | None = None
    instructed: Exchange | None = None
    transaction: Exchange | None = None
    counter_value: Exchange | None = None
    announced: Exchange | None = None
    code: BankTransactionCode | None = None
    charges: tuple[Charges, ...] = ()
    initiator: Party | None = None
    debtor: Party | None = None
    debtor_account: Account | None = None
    ultimate_debtor: Party | None = None
    creditor: Party | None = None
    creditor_account: Account | None = None
    ultimate_creditor: Party | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    purpose: str | None = None
    purpose_proprietary: str | None = None
    remittance: Remittance | None = None
    dates: RelatedDates | None = None
    return_information: ReturnInformation | None = None
    additional: str | None = None


class EntryDetails(msgspec.Struct, frozen=True):
    """What an entry is made of: a batch, its transactions, or both."""

    batch: Batch | None = None
    transactions: tuple[TransactionDetail, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One movement. `status` is BOOK (booked), PDNG (expected) or INFO (told, not booked), or a later code."""

    amount: Amount
    indicator: str
    status: str
    code: BankTransactionCode | None = None
    reference: str | None = None
    reversal: bool | None = None
    booked: When | None = None
    value: When | None = None
    servicer_reference: str | None = None
    charges: tuple[Charges, ...] = ()
    details: tuple[EntryDetails, ...] = ()
    additional: str | None = None

    @property
    def transactions(self) -> tuple[TransactionDetail, ...]:
        """All transactions of the entry, in their order."""
        if len(self.details) == 1:
            return self.details[0].transactions
        return tuple(detail for details in self.details for detail in details.transactions)

    @property
    def signed_minor(self) -> int:
        """The amount in minor units, below zero for a debit."""
        return -self.amount.minor if self.indicator == "DBIT" else self.amount.minor


class Statement(msgspec.Struct, frozen=True):
    """A report, a statement or a notification about one account."""

    id: str
    account: Account
    created: When | None = None
    page: str | None = None
    last_page: bool | None = None
    electronic_sequence: str | None = None
    legal_sequence: str | None = None
    from_: When | None = None
    to: When | None = None
    copy_duplicate: str | None = None
    related_account: Account | None = None
    balances: tuple[Balance, ...] = ()
    entries_sum: EntrySum | None = None
    credits_sum: EntrySum | None = None
    debits_sum: EntrySum | None = None
    entries: tuple[Entry, ...] = ()
    additional: str | None = None

    def balance(self, type: str) -> Balance | None:  # noqa: A002 - the standard's word
        """The first balance of a type (OPBD, CLBD, ...), if there is one."""
        return next((balance for balance in self.balances if balance.type == type), None)


class AccountReport(msgspec.Struct, frozen=True):
    """A camt.052, camt.053 or camt.054: its header and one statement for each account."""

    header: ReportHeader
    statements: tuple[Statement, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of all statements, in their order."""
        return tuple(entry for statement in self.statements for entry in statement.entries)


class _V1Part(Codec[EntryDetails]):
    """Version 1 has batch and transactions right in the entry: each becomes details of its own."""

    def __init__(self, field: str, shape: Shape[Any]) -> None:
        self._field, self.shape = field, shape

    def read(self, element: etree._Element, reading: Reading) -> EntryDetails | None:
        """Details with the one part."""
        part = self.shape.read(element, reading)
        if part is None:
            return None
        return EntryDetails(batch=part) if self._field == "batch" else EntryDetails(transactions=(part,))

    def write(self, name: str, value: EntryDetails, writing: Writing) -> None:
        """Never: version 1 is only read."""
        raise NotImplementedError


class _Streamed(Codec[Any]):
    """An element that was read when it ended, and now gives its place in the order."""

    def __init__(self, shape: Shape[Any]) -> None:
        self.shape = shape

    def read(self, element: etree._Element, reading: Reading) -> Any:
        """The record that was made of the element."""
        assert isinstance(reading, ReportReading)
        return reading.taken(element)

    def write(self, name: str, value: Any, writing: Writing) -> None:
        """The record by its shape."""
        self.shape.write(name, value, writing)


class ReportReading(Reading):
    """A reading that takes entries as they end, so that a long statement never stands in memory as a tree."""

    def __init__(self, file: str, uri: str, version: int) -> None:
        super().__init__(file, uri, version)
        self._entries: list[Entry] = []
        self._statements: list[Statement] = []
        self._next = 0

    def take(self, element: etree._Element) -> None:
        """An entry or a statement that has just ended: make its record, and let its children go."""
        parent = element.getparent()
        if self.name(element) == "Ntry":
            if parent is None or self.name(parent) not in STATEMENT_NAMES:
                return
            entry = ENTRY.read(element, self)
            assert entry is not None
            self._entries.append(entry)
            before = element.getprevious()
            element.clear()
            if before is not None and before.tag == element.tag:
                parent.remove(before)
        elif (
            self.name(element) in STATEMENT_NAMES and parent is not None and self.name(parent) in REPORT_NAMES
        ):
            found = STATEMENT.collect(element, self)
            found["entries"] = self._entries
            self._entries = []
            statement = STATEMENT.finish(element, found, self)
            assert statement is not None, "a statement has required fields"
            self._statements.append(statement)
            element.clear()

    def taken(self, element: etree._Element) -> Statement:
        """The next statement in the order of the document."""
        if self._next >= len(self._statements):
            raise self.refuse(element, BAD_VALUE, "does not belong here")
        self._next += 1
        return self._statements[self._next - 1]


class _Passed(Codec[Any]):
    """Entries within a statement: taken already."""

    @property
    def shape(self) -> Shape[Entry]:
        """The shape of an entry."""
        return ENTRY

    def read(self, element: etree._Element, reading: Reading) -> None:
        """Nothing: `ReportReading.take` has it."""

    def write(self, name: str, value: Entry, writing: Writing) -> None:
        """The entry by its shape."""
        ENTRY.write(name, value, writing)


STATEMENT_NAMES: Final = ("Stmt", "Rpt", "Ntfctn")
REPORT_NAMES: Final = (
    "BkToCstmrStmt",
    "BkToCstmrAcctRpt",
    "BkToCstmrDbtCdtNtfctn",
    "BkToCstmrStmtV01",
    "BkToCstmrAcctRptV01",
    "BkToCstmrDbtCdtNtfctnV01",
)
_PAGE: Final = group({"PgNb": one("page", TEXT35), "LastPgInd": one("last_page", BOOLEAN)})
HEADER: Final = Shape(
    ReportHeader,
    {
        "MsgId": one("message_id", TEXT35),
        "CreDtTm": one("created", DATE_TIME),
        "MsgRcpt": one("recipient", PARTY),
        "MsgPgntn": _PAGE,
        "OrgnlBizQry": group(
            {
                "MsgId": one("query_id", TEXT35),
                "MsgNmId": one("query_name", TEXT35),
                "CreDtTm": one("query_created", DATE_TIME),
            }
        ),
        "AddtlInf": one("additional", TEXT500),
    },
)
TRANSACTION_CODE: Final = Shape(
    BankTransactionCode,
    {
        "Domn": group(
            {
                "Cd": one("domain", CODE4),
                "Fmly": group({"Cd": one("family", CODE4), "SubFmlyCd": one("sub_family", CODE4)}),
            }
        ),
        "Prtry": group({"Cd": one("proprietary", TEXT35), "Issr": one("proprietary_issuer", TEXT35)}),
    },
)
BALANCE: Final = Shape(
    Balance,
    {
        "Tp": group(
            {
                "CdOrPrtry": group({"Cd": one("type", CODE4), "Prtry": one("proprietary", TEXT35)}),
                "Cd": old(one("type", CODE4)),
                "Prtry": old(one("proprietary", TEXT35)),
                "SubTp": one("sub_type", CODE),
            }
        ),
        "Amt": one("amount", MONEY),
        "CdtDbtInd": one("indicator", INDICATOR),
        "Dt": one("date", WHEN),
    },
)
_SUM: Final = Shape(
    EntrySum,
    {
        "NbOfNtries": one("count", COUNT),
        "Sum": one("sum", DECIMAL),
        "TtlNetNtry": group({"Amt": one("net", DECIMAL), "CdtDbtInd": one("indicator", INDICATOR)}),
        "TtlNetNtryAmt": old(one("net", DECIMAL)),
        "CdtDbtInd": old(one("indicator", INDICATOR)),
    },
)
REFERENCES: Final = Shape(
    References,
    {
        "MsgId": one("message_id", TEXT35),
        "AcctSvcrRef": one("servicer_reference", TEXT35),
        "PmtInfId": one("payment_information_id", TEXT35),
        "InstrId": one("instruction_id", TEXT35),
        "EndToEndId": one("end_to_end_id", TEXT35),
        "UETR": one("uetr", UETR),
        "TxId": one("transaction_id", TEXT35),
        "MndtId": one("mandate_id", TEXT35),
        "ChqNb": one("cheque_number", TEXT35),
        "ClrSysRef": one("clearing_reference", TEXT35),
        "AcctOwnrTxId": one("owner_transaction_id", TEXT35),
        "AcctSvcrTxId": one("servicer_transaction_id", TEXT35),
        "MktInfrstrctrTxId": one("market_transaction_id", TEXT35),
        "PrcgId": one("processing_id", TEXT35),
        "Prtry": many(
            "proprietaries",
            Shape(ProprietaryReference, {"Tp": one("type", TEXT35), "Ref": one("reference", TEXT35)}),
        ),
    },
)
EXCHANGE: Final = Shape(
    Exchange,
    {
        "Amt": one("amount", MONEY),
        "CcyXchg": group(
            {
                "SrcCcy": one("source_currency", CODE4),
                "TrgtCcy": one("target_currency", CODE4),
                "UnitCcy": one("unit_currency", CODE4),
                "XchgRate": one("rate", DECIMAL),
                "CtrctId": one("contract", TEXT35),
            }
        ),
    },
)
_CHARGE: Final = Shape(
    ChargeRecord,
    {
        "Amt": one("amount", MONEY),
        "CdtDbtInd": one("indicator", INDICATOR),
        "ChrgInclInd": one("included", BOOLEAN),
        "Tp": group({"Cd": one("type", CODE4), "Prtry": group({"Id": one("type_proprietary", TEXT35)})}),
        "Br": one("bearer", CODE4),
        "Agt": one("agent", AGENT),
    },
)
CHARGES: Final = Shape(
    Charges,
    {
        "TtlChrgsAndTaxAmt": one("total", MONEY),
        "Rcrd": many("records", _CHARGE),
        "Amt": old(one("amount", MONEY)),
        "CdtDbtInd": old(one("indicator", INDICATOR)),
        "Tp": old(group({"Cd": one("type", CODE4), "Prtry": group({"Id": one("type", TEXT35)})})),
        "Br": old(one("bearer", CODE4)),
    },
)
RETURN_INFORMATION: Final = Shape(
    ReturnInformation,
    {
        "OrgnlBkTxCd": one("original_code", TRANSACTION_CODE),
        "Orgtr": one("originator", PARTY),
        "RtrOrgtr": old(one("originator", PARTY)),
        "Rsn": group({"Cd": one("code", CODE4), "Prtry": one("proprietary", TEXT35)}),
        "RtrRsn": old(group({"Cd": one("code", CODE4), "Prtry": one("proprietary", TEXT35)})),
        "AddtlInf": many("additional", TEXT140),
        "AddtlRtrRsnInf": old(many("additional", TEXT140)),
    },
)
BATCH: Final = Shape(
    Batch,
    {
        "MsgId": one("message_id", TEXT35),
        "PmtInfId": one("payment_information_id", TEXT35),
        "NbOfTxs": one("count", COUNT),
        "TtlAmt": one("total", MONEY),
        "CdtDbtInd": one("indicator", INDICATOR),
    },
)
TRANSACTION: Final = Shape(
    TransactionDetail,
    {
        "Refs": one("references", REFERENCES),
        "Amt": one("amount", MONEY),
        "CdtDbtInd": one("indicator", INDICATOR),
        "AmtDtls": group(
            {
                "InstdAmt": one("instructed", EXCHANGE),
                "TxAmt": one("transaction", EXCHANGE),
                "CntrValAmt": one("counter_value", EXCHANGE),
                "AnncdPstngAmt": one("announced", EXCHANGE),
            }
        ),
        "BkTxCd": one("code", TRANSACTION_CODE),
        "Chrgs": many("charges", CHARGES),
        "RltdPties": group(
            {
                "InitgPty": one("initiator", PARTY_OR_AGENT),
                "Dbtr": one("debtor", PARTY_OR_AGENT),
                "DbtrAcct": one("debtor_account", ACCOUNT),
                "UltmtDbtr": one("ultimate_debtor", PARTY_OR_AGENT),
                "Cdtr": one("creditor", PARTY_OR_AGENT),
                "CdtrAcct": one("creditor_account", ACCOUNT),
                "UltmtCdtr": one("ultimate_creditor", PARTY_OR_AGENT),
            }
        ),
        "RltdAgts": group({"DbtrAgt": one("debtor_agent", AGENT), "CdtrAgt": one("creditor_agent", AGENT)}),
        "Purp": group({"Cd": one("purpose", CODE4), "Prtry": one("purpose_proprietary", TEXT35)}),
        "RmtInf": one("remittance", REMITTANCE),
        "RltdDts": one(
            "dates",
            Shape(
                RelatedDates,
                {
                    "AccptncDtTm": one("accepted", DATE_TIME),
                    "TradActvtyCtrctlSttlmDt": one("contractual_settlement", DATE),
                    "TradDt": one("traded", DATE),
                    "IntrBkSttlmDt": one("interbank_settlement", DATE),
                    "StartDt": one("start", DATE),
                    "EndDt": one("end", DATE),
                    "TxDtTm": one("transacted", DATE_TIME),
                },
            ),
        ),
        "RtrInf": one("return_information", RETURN_INFORMATION),
        "AddtlTxInf": one("additional", TEXT500),
    },
)
_DETAILS: Final = Shape(
    EntryDetails, {"Btch": one("batch", BATCH), "TxDtls": many("transactions", TRANSACTION)}
)
ENTRY: Final = Shape(
    Entry,
    {
        "NtryRef": one("reference", TEXT35),
        "Amt": one("amount", MONEY),
        "CdtDbtInd": one("indicator", INDICATOR),
        "RvslInd": one("reversal", BOOLEAN),
        "Sts": one("status", CODE),
        "BookgDt": one("booked", WHEN),
        "ValDt": one("value", WHEN),
        "AcctSvcrRef": one("servicer_reference", TEXT35),
        "BkTxCd": one("code", TRANSACTION_CODE, must=True),
        "Chrgs": many("charges", CHARGES),
        "NtryDtls": many("details", _DETAILS),
        "Btch": old(many("details", _V1Part("batch", BATCH))),
        "TxDtls": old(many("details", _V1Part("transactions", TRANSACTION))),
        "AddtlNtryInf": one("additional", TEXT500),
    },
)


def _statement(kind: str) -> Shape[Statement]:
    """The shape of a statement, read with the names of all three kinds and written with those of `kind`."""

    def of(wanted: str, part: Part | Group) -> Part | Group:
        return part if wanted == kind else old(part)

    balances = many("balances", BALANCE, must=kind == "Stmt")
    return Shape(
        Statement,
        {
            "Id": one("id", TEXT35),
            "StmtPgntn": of("Stmt", _PAGE),
            "RptPgntn": of("Rpt", _PAGE),
            "NtfctnPgntn": of("Ntfctn", _PAGE),
            "ElctrncSeqNb": one("electronic_sequence", TEXT35),
            "LglSeqNb": one("legal_sequence", TEXT35),
            "CreDtTm": one("created", DATE_TIME),
            "FrToDt": group({"FrDtTm": one("from_", DATE_TIME), "ToDtTm": one("to", DATE_TIME)}),
            "CpyDplctInd": one("copy_duplicate", CODE4),
            "Acct": one("account", ACCOUNT),
            "RltdAcct": one("related_account", ACCOUNT),
            "Bal": old(balances) if kind == "Ntfctn" else balances,
            "TxsSummry": group(
                {
                    "TtlNtries": one("entries_sum", _SUM),
                    "TtlCdtNtries": one("credits_sum", _SUM),
                    "TtlDbtNtries": one("debits_sum", _SUM),
                }
            ),
            "Ntry": many("entries", _Passed()),
            "AddtlStmtInf": of("Stmt", one("additional", TEXT500)),
            "AddtlRptInf": of("Rpt", one("additional", TEXT500)),
            "AddtlNtfctnInf": of("Ntfctn", one("additional", TEXT500)),
        },
    )


STATEMENT: Final = _statement("Stmt")


def _report(statement: str) -> Shape[AccountReport]:
    return Shape(
        AccountReport,
        {"GrpHdr": one("header", HEADER), statement: many("statements", _Streamed(_statement(statement)))},
        needed=["statements"],
    )


STATEMENTS: Final = _report("Stmt")
REPORTS: Final = _report("Rpt")
NOTIFICATIONS: Final = _report("Ntfctn")
