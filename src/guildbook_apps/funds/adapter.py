"""Between a programme and its bank: payment files out of ledger rows, and calls out of the bank's messages.

Personal data is not on the ledger. The *payee book* is a JSON file that the authority and its bank share: for each
payee the name, the account and the salts under which identity and account stand on the ledger as digests. With the
book, a batch's rows give the payment file, byte for byte the same wherever it is made; without it, the digest of the
file that stands on the ledger says nothing about anybody.

What comes in is read by ``guildbook.standards.iso20022``, and becomes the entries of ``Funds.deliver``: nothing is
looked up in the ledger to read them but the requests of a batch, where the bank rejects a whole file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256, tagged
from guildbook.standards.iso20022 import (
    CAMT_056,
    PAIN_001,
    Account,
    AccountReport,
    Agent,
    Amount,
    CancelledTransaction,
    CreditTransfer,
    Entry,
    OriginalGroup,
    OtherId,
    Party,
    PaymentInstruction,
    PaymentReturn,
    Reason,
    Resolution,
    StatusReport,
    TransactionDetail,
    When,
    amount,
    cancellation_request,
    date_at,
    date_time_at,
    payment_initiation,
    read,
    statuses,
    write,
)
from guildbook_apps.funds.contract import DAY_MS, Batch, Request

ENTRIES_PER_PART_MAX = 200
"""Entries that one call of ``deliver`` takes."""
BOOK_SIZE_BYTES_MAX = 64 << 20


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has an account: its name, IBAN (or another number), bank, and the salt (hexadecimal) of its digest."""

    name: str
    salt: str
    iban: str = ""
    other: str = ""
    bic: str = ""
    identity: str = ""
    """The number by which the state knows a payee; empty for a debtor."""

    @property
    def number(self) -> str:
        """The account's number."""
        return self.iban or self.other

    @property
    def account_digest(self) -> bytes:
        """How the account stands on the ledger, 32 bytes."""
        return tagged("funds-account", bytes.fromhex(self.salt) + self.number.encode())


class PayeeBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The debtor and the payees of a programme, in clear."""

    programme: str
    currency: str
    identity_salt: str
    debtor: Holder
    payees: dict[str, Holder]

    def identity_of(self, holder: Holder) -> bytes:
        """How a payee's identity stands on the ledger, 32 bytes: salted by programme, so that it is enrolled once."""
        return tagged("funds-identity", bytes.fromhex(self.identity_salt) + holder.identity.encode())

    def digest_of_number(self, payee: str, number: str) -> bytes:
        """The digest that the account ``number`` would have as that of ``payee``."""
        return tagged("funds-account", bytes.fromhex(self.payees[payee].salt) + number.encode())


def read_book(data: bytes) -> PayeeBook:
    """The payee book in JSON ``data``; raises GuildbookError ``input.malformed``."""
    try:
        if len(data) > BOOK_SIZE_BYTES_MAX:
            raise ValueError(f"it has more than {BOOK_SIZE_BYTES_MAX} bytes")
        book = msgspec.json.decode(data, type=PayeeBook)
        for holder in (book.debtor, *book.payees.values()):
            bytes.fromhex(holder.salt)
        bytes.fromhex(book.identity_salt)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise GuildbookError("standards.malformed", f"the payee book cannot be read: {error}",
                             hint="see the sample of the application funds") from None
    return book


# Out ----------------------------------------------------------------------------------------------------------


def _account(holder: Holder) -> Account:
    return Account(iban=holder.iban) if holder.iban else Account(other=OtherId(holder.other))


def _agent(holder: Holder) -> Agent:
    return Agent(bic=holder.bic) if holder.bic else Agent(other=OtherId("NOTPROVIDED"))


def payment_file(batch: str, execution_day: int, requests: Sequence[Request], book: PayeeBook) -> bytes:
    """The pain.001.001.09 of a batch: the same bytes for the same rows and the same book.

    It is made before the batch is released, since its digest is part of the release; so it is dated at the midnight
    (UTC) of its execution. Raises GuildbookError ``standards.*``, and ``call.bad_arguments`` for a payee whose account
    is not the one in the book.
    """
    transfers = []
    for row in requests:
        holder = book.payees.get(row.payee)
        if holder is None or holder.account_digest != row.account:
            raise GuildbookError(
                "call.bad_arguments", f"the account of {row.payee} in request {row.number} is not the payee book's",
                hint="bring the book up to date, or submit the request again", request=row.number, payee=row.payee)
        transfers.append(CreditTransfer(
            end_to_end_id=row.end_to_end, instruction_id=row.end_to_end, uetr=row.uetr,
            amount=amount(row.amount_minor, book.currency), creditor_agent=_agent(holder),
            creditor=Party(name=holder.name), creditor_account=_account(holder)))
    debtor = Party(name=book.debtor.name)
    instruction = PaymentInstruction(
        id=batch, method="TRF", execution_date=date_at(execution_day * DAY_MS), debtor=debtor,
        debtor_account=_account(book.debtor), debtor_agent=_agent(book.debtor), transfers=tuple(transfers),
        batch_booking=False, charge_bearer="SLEV")
    return write(PAIN_001, payment_initiation(message_id=batch, created=date_time_at(execution_day * DAY_MS),
                                              initiator=debtor, instructions=[instruction]))


def recall_file(request: Request, batch: Batch, reason: str, book: PayeeBook) -> bytes:
    """The camt.056.001.08 that asks for the payment of ``request`` back; the same bytes for the same rows."""
    released = date_time_at(batch.execution_day * DAY_MS)
    transaction = CancelledTransaction(
        cancellation_id=f"C{request.number}", original_group=OriginalGroup(batch.id, PAIN_001, released),
        original_end_to_end_id=request.end_to_end, original_instruction_id=request.end_to_end,
        original_uetr=request.uetr, original_amount=amount(request.amount_minor, book.currency),
        original_date=date_at(batch.execution_day * DAY_MS), reasons=(Reason(code=reason),))
    return write(CAMT_056, cancellation_request(
        id=f"C{request.number}", created=released, assigner=Party(name=book.debtor.name),
        assignee=Party(agent=_agent(book.debtor)), transactions=[transaction]))


# In -----------------------------------------------------------------------------------------------------------


class Delivery(NamedTuple):
    """One call of ``Funds.deliver``: its arguments by name, without the programme."""

    schema: str
    message_id: str
    digest: bytes
    part: int
    entries: tuple[list[Any], ...]

    def arguments(self, programme: str) -> dict[str, Any]:
        """The arguments of the call."""
        return {"programme": programme, **self._asdict(), "entries": list(self.entries)}


Names = Callable[[str], Sequence[tuple[str, str]]]
"""The (EndToEndId, UETR) of each request of a batch, by the batch's id."""


def no_batch(_batch: str) -> Sequence[tuple[str, str]]:
    """No batch is known: what the bank says of a whole file stays without a match."""
    return ()


def deliveries(data: bytes, book: PayeeBook, holders: Mapping[str, str], batch: Names = no_batch, *,
               file: str = "") -> list[Delivery]:
    """The calls that deliver a bank's message, at most 200 entries each.

    ``holders`` gives the payee of an EndToEndId, for the salt of its account's digest. ``batch`` names the requests of
    a file, for what the bank says of the file as a whole. Raises GuildbookError ``standards.*`` with the place.
    """
    message = read(data, file=file)
    body, kind = message.body, message.name
    if isinstance(body, StatusReport):
        message_id, entries = body.message_id, [*_of_report(body, batch)]
    elif isinstance(body, AccountReport):
        message_id, entries = body.header.message_id, [*_of_account(body, book, holders)]
    elif isinstance(body, PaymentReturn):
        message_id, entries = body.message_id, [*_of_return(body, batch)]
    elif isinstance(body, Resolution):
        message_id, entries = body.id, [*_of_resolution(body)]
    else:
        raise GuildbookError("standards.unknown_message", f"a programme takes no {kind}",
                             hint="deliver pain.002, camt.052, camt.053, camt.054, camt.029 or pacs.004", file=file)
    digest = sha256(data)
    parts = [entries[start:start + ENTRIES_PER_PART_MAX] for start in range(0, len(entries), ENTRIES_PER_PART_MAX)]
    return [Delivery(kind, message_id, digest, number, tuple(part)) for number, part in enumerate(parts or [[]], 1)]


def _entry(status: str, end_to_end: str | None, uetr: str | None, *, own: str | None = None,
           paid: Amount | None = None, reason: str | None = None, account: bytes | None = None,
           valued: When | None = None) -> list[Any]:
    names = {"EndToEndId": end_to_end, "UETR": uetr, "AcctSvcrRef": own}
    identifiers = [[name, value] for name, value in names.items() if value]
    return [status, identifiers, None if paid is None else paid.minor, None if paid is None else paid.currency, reason,
            account, None if valued is None or valued.utc_ms < 0 else valued.utc_ms]


def _reason(reasons: Sequence[Reason]) -> str | None:
    return next((one.code for one in reasons if one.code), None)


def _of_report(report: StatusReport, batch: Names) -> Iterator[list[Any]]:
    """What a status report says of each transaction; of a file that it names alone, of each request in it."""
    told = [one for one in statuses(report) if one.status is not None]
    for one in told:
        yield _entry(str(one.status), one.transaction.original_end_to_end_id, one.transaction.original_uetr,
                     own=one.transaction.servicer_reference, reason=_reason(one.reasons))
    for group in report.groups:
        if not told and group.status in ("RJCT", "ACCP", "ACSP", "ACTC", "ACWC"):
            for end_to_end, uetr in batch(group.original_message_id):
                yield _entry(group.status, end_to_end, uetr, reason=_reason(group.reasons))


def _of_account(report: AccountReport, book: PayeeBook, holders: Mapping[str, str]) -> Iterator[list[Any]]:
    """Booked debits as payments, and booked credits that say they return one; whatever else is booked is not ours."""
    for entry in report.entries:
        if entry.status != "BOOK":
            continue
        details: tuple[TransactionDetail | None, ...] = entry.transactions or (None,)
        for detail in details:
            yield _of_detail(entry, detail, book, holders, alone=len(details) == 1)


def _of_detail(entry: Entry, detail: TransactionDetail | None, book: PayeeBook, holders: Mapping[str, str], *,
               alone: bool) -> list[Any]:
    names = None if detail is None else detail.references
    end_to_end = None if names is None else names.end_to_end_id
    returned = entry.reversal or (detail is not None and detail.return_information is not None)
    credit = ((detail.indicator if detail is not None else None) or entry.indicator) == "CRDT"
    paid = detail.amount if detail is not None and detail.amount is not None else entry.amount if alone else None
    status = "RTRN" if returned and credit else "BOOK" if not credit else "CRDT"
    account = None
    payee = holders.get(end_to_end or "")
    if detail is not None and payee is not None and detail.creditor_account is not None and status == "BOOK":
        account = book.digest_of_number(payee, detail.creditor_account.number)
    reason = None
    if detail is not None and detail.return_information is not None:
        reason = detail.return_information.code
    own = (names.servicer_reference if names is not None else None) or entry.servicer_reference or entry.reference
    return _entry(status, end_to_end, None if names is None else names.uetr, own=own, paid=paid, reason=reason,
                  account=account, valued=entry.value or entry.booked)


def _of_return(message: PaymentReturn, batch: Names) -> Iterator[list[Any]]:
    for one in message.transfers:
        yield _entry("RTRN", one.original_end_to_end_id, one.original_uetr, own=one.return_id, paid=one.returned,
                     reason=_reason(one.reasons) or _reason(message.group_reasons),
                     valued=one.settlement_date or message.settlement_date)
    if not message.transfers and message.group_return and message.original_message_id:
        for end_to_end, uetr in batch(message.original_message_id):
            yield _entry("RTRN", end_to_end, uetr, own=message.message_id, reason=_reason(message.group_reasons))


def _of_resolution(message: Resolution) -> Iterator[list[Any]]:
    for details in message.details:
        for one in details.transactions:
            yield _entry(one.status or message.confirmation or "PDCR", one.original_end_to_end_id, one.original_uetr,
                         reason=_reason(one.reasons))
        for instruction in details.instructions:
            for inner in instruction.transactions:
                yield _entry(inner.status or instruction.status or message.confirmation or "PDCR",
                             inner.original_end_to_end_id, inner.uetr, reason=_reason(inner.reasons))
