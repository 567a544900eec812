"""The bank of the demonstration: it reads payment files and recalls, and answers in ISO 20022 like a bank.

It knows nothing of the ledger. In go the bytes of a pain.001 or a camt.056; out come those of pain.002, camt.054,
camt.053, pacs.004 and camt.029. The same order in gives the same bytes out: it has no clock and no chance of its own.
It holds one account, that of the programme, and is no measure of what a real bank checks.
"""

import dataclasses

from guildbook.standards.iso20022 import (
    Account,
    AccountReport,
    Agent,
    Amount,
    Balance,
    CancellationRequest,
    CreditTransfer,
    Entry,
    OtherId,
    Party,
    PaymentInitiation,
    PaymentReturn,
    Reason,
    Resolution,
    ReturnedTransfer,
    Statement,
    StatusReport,
    TransactionDetail,
    TransactionStatus,
    amount,
    date_at,
    date_time_at,
    read,
    write,
)
from guildbook.standards.iso20022.cancellation import CancellationDetails, CancellationStatus
from guildbook.standards.iso20022.components import OriginalGroup, Settlement
from guildbook.standards.iso20022.statements import (
    BankTransactionCode,
    EntryDetails,
    References,
    ReportHeader,
    ReturnInformation,
)
from guildbook.standards.iso20022.status import GroupStatus, InstructionStatus

PAIN_002, CAMT_029, CAMT_053 = "pain.002.001.10", "camt.029.001.09", "camt.053.001.08"
CAMT_054, PACS_004 = "camt.054.001.08", "pacs.004.001.10"
CLOSED_ACCOUNT = "AC04"
ISSUED = BankTransactionCode(domain="PMNT", family="ICDT", sub_family="ESCT")
RETURNED = BankTransactionCode(domain="PMNT", family="ICDT", sub_family="RRTN")
CHARGED = BankTransactionCode(domain="ACMT", family="MDOP", sub_family="FEES")


@dataclasses.dataclass
class Payment:
    """A payment that the bank took."""

    order: PaymentInitiation
    transfer: CreditTransfer
    booked: bool = False


class Bank:
    """One account, what is to be paid from it, and what was booked since the last statement."""

    def __init__(self, name: str, bic: str, account: Account, currency: str, opening_minor: int) -> None:
        self._agent = Agent(bic=bic, name=name)
        self._account = account
        self._currency = currency
        self._balance_minor = opening_minor
        self._said = 0
        self._entries: list[Entry] = []
        self.payments: dict[str, Payment] = {}
        self.closed: set[str] = set()
        """Numbers of accounts that it knows to be closed."""

    def _number(self) -> str:
        self._said += 1
        return f"L{self._said:05d}"

    def _amount(self, minor: int) -> Amount:
        return amount(minor, self._currency)

    def take(self, file: bytes, now_ms: int) -> bytes:
        """The pain.002 that answers a payment file: each payment accepted, or rejected for its closed account."""
        order = read(file).body
        assert isinstance(order, PaymentInitiation), "the programme sends payment files"
        told = []
        for instruction in order.instructions:
            answers = []
            for transfer in instruction.transfers:
                number = transfer.creditor_account.number if transfer.creditor_account is not None else ""
                closed = number in self.closed
                if not closed:
                    self.payments[transfer.end_to_end_id] = Payment(order, transfer)
                answers.append(TransactionStatus(
                    original_instruction_id=transfer.instruction_id, original_end_to_end_id=transfer.end_to_end_id,
                    original_uetr=transfer.uetr, status="RJCT" if closed else "ACSP",
                    reasons=(Reason(code=CLOSED_ACCOUNT),) if closed else ()))
            told.append(InstructionStatus(instruction.id, transactions=tuple(answers)))
        kinds = {one.status for instruction in told for one in instruction.transactions}
        whole = "PART" if len(kinds) > 1 else kinds.pop()
        return write(PAIN_002, StatusReport(
            self._number(), date_time_at(now_ms), debtor_agent=self._agent, instructions=tuple(told),
            groups=(GroupStatus(order.message_id, "pain.001.001.09", order.created, order.count, status=whole),)))

    def book(self, now_ms: int) -> bytes | None:
        """Pay what was accepted; the camt.054 with an entry for each payment, if there is one."""
        entries = []
        for name, payment in self.payments.items():
            transfer = payment.transfer
            if payment.booked or transfer.amount is None:
                continue
            payment.booked = True
            detail = TransactionDetail(
                references=References(message_id=payment.order.message_id, instruction_id=transfer.instruction_id,
                                      end_to_end_id=name, uetr=transfer.uetr),
                amount=transfer.amount, indicator="DBIT", creditor=transfer.creditor,
                creditor_account=transfer.creditor_account)
            entries.append(self._enter(now_ms, transfer.amount, "DBIT", ISSUED, detail))
        return self._notice(entries, now_ms) if entries else None

    def give_back(self, end_to_end: str, reason: str, now_ms: int) -> list[bytes]:
        """The pacs.004 and the camt.054 by which a payment that was booked comes back."""
        payment = self.payments[end_to_end]
        transfer = payment.transfer
        assert payment.booked, "what comes back was paid"
        assert transfer.amount is not None, "the demonstration pays in the account's currency"
        number = self._number()
        returned = ReturnedTransfer(
            transfer.amount, return_id=number,
            original_group=OriginalGroup(payment.order.message_id, "pain.001.001.09", payment.order.created),
            original_instruction_id=transfer.instruction_id, original_end_to_end_id=end_to_end,
            original_uetr=transfer.uetr, original_amount=transfer.amount, settlement_date=date_at(now_ms),
            reasons=(Reason(code=reason),))
        message = PaymentReturn(number, date_time_at(now_ms), 1, Settlement("CLRG"), transfers=(returned,),
                                instructing_agent=self._agent)
        detail = TransactionDetail(
            references=References(end_to_end_id=end_to_end, uetr=transfer.uetr), amount=transfer.amount,
            indicator="CRDT", return_information=ReturnInformation(code=reason))
        entry = self._enter(now_ms, transfer.amount, "CRDT", RETURNED, detail)
        return [write(PACS_004, message), self._notice([entry], now_ms)]

    def recalled(self, file: bytes, now_ms: int) -> list[bytes]:
        """The answers to a recall: a camt.029 that says yes, and the money back."""
        asked = read(file).body
        assert isinstance(asked, CancellationRequest), "the programme asks back by camt.056"
        names = [one for details in asked.underlying for one in details.transactions]
        told = CancellationDetails(transactions=tuple(
            CancellationStatus(original_end_to_end_id=one.original_end_to_end_id, original_uetr=one.original_uetr,
                               status="ACCR") for one in names))
        answer = write(CAMT_029, Resolution(
            self._number(), date_time_at(now_ms), assigner=Party(agent=self._agent), assignee=asked.assigner,
            confirmation="CNCL", details=(told,)))
        back = [message for one in names
                for message in self.give_back(one.original_end_to_end_id or "", "FOCR", now_ms)]
        return [answer, *back]

    def charge(self, minor: int, now_ms: int) -> None:
        """Book a fee, of which the statement tells and which is about no payment."""
        self._enter(now_ms, self._amount(minor), "DBIT", CHARGED, None)

    def statement(self, now_ms: int) -> bytes:
        """The camt.053 of all that was booked since the last one."""
        moved = sum(one.signed_minor for one in self._entries)
        opening = self._balance_minor - moved
        day = date_at(now_ms)
        balances = (Balance(self._amount(opening), "CRDT", day, type="OPBD"),
                    Balance(self._amount(self._balance_minor), "CRDT", day, type="CLBD"))
        number = self._number()
        report = AccountReport(
            ReportHeader(number, date_time_at(now_ms)),
            (Statement(number, self._account, created=date_time_at(now_ms), balances=balances,
                       entries=tuple(self._entries)),))
        self._entries = []
        return write(CAMT_053, report)

    def _enter(self, now_ms: int, paid: Amount, indicator: str, code: BankTransactionCode,
               detail: TransactionDetail | None) -> Entry:
        number = self._number()
        entry = Entry(paid, indicator, "BOOK", code=code, reference=number, booked=date_at(now_ms),
                      value=date_at(now_ms), servicer_reference=number,
                      details=() if detail is None else (EntryDetails(transactions=(detail,)),))
        self._balance_minor += entry.signed_minor
        self._entries.append(entry)
        return entry

    def _notice(self, entries: list[Entry], now_ms: int) -> bytes:
        number = self._number()
        return write(CAMT_054, AccountReport(
            ReportHeader(number, date_time_at(now_ms)),
            (Statement(number, self._account, created=date_time_at(now_ms), entries=tuple(entries)),)))


def account_of(iban: str, other: str) -> Account:
    """The account with an IBAN, or else with another number."""
    return Account(iban=iban) if iban else Account(other=OtherId(other))
