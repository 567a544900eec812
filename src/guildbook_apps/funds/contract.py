"""Supervised public funds: money from an appropriation to a beneficiary, and no payment without a bank message.

Theory. A *programme* is the money of one authority for one end, in one currency. Its *lines* are a tree (province,
city, county, project): money comes into the root by an appropriation, and moves down, back up, or across to another
purpose, only as approved. Each line has two accounts in ``money``: what it has and has not spent (``funds/<line>``),
and what it has paid (``funds/<line>/paid``). The first cannot be overdrawn, so at every line children, commitments and
payments together never exceed what was allocated to it, by construction.

A *request* asks to pay one payee. It takes room of the payee's *entitlement* (a benefit in a cycle) or *works* (a
contract with a contractor) when it is submitted, and money of its lines when it is approved:

    from         approve, last    release     bank accepts  bank books        bank rejects    bank returns
    submitted    approved         -           -             -                 -               -
    approved     -                instructed  -             -                 -               -
    instructed   -                -           accepted      settled           failed          -
    accepted     -                -           -             settled           failed          -
    settled      -                -           -             -                 -               returned, if all came back
    confirmed    -                -           -             -                 -               returned, if all came back

    rejected by an approver: submitted -> rejected          cancelled by its unit: submitted, approved -> cancelled
    confirmed by the payee:  settled -> confirmed

*rejected*, *cancelled*, *failed* and *returned* are final: they give back what the request took, and its unit submits
a new one. A request that was settled is paid, whatever else is said of it, until the bank says that money came back.

**Three persons.** Who submitted a request does not approve it, and who releases it had no other part in it
(``approvals`` keeps the parts). A payee is verified by another person than the one who enrolled it, and a change of its
account has to be verified again.

**The bank's word.** What the programme's bank delivers is taken once, and matched in ``messages`` by EndToEndId and
UETR. It must agree in amount, currency and account; whatever does not waits there for a person to resolve, and nothing
is guessed. An item that says again what is known changes nothing.

**Works.** An advance is recovered from later claims in proportion to the contract's value; of each claim a share is
retained until its release. gross = paid + recovered + retained. What was recovered of an advance that came back after
all is the contractor's, and is released like what was retained. A claim counts for nothing once all of it came back.

**Pay first.** In an emergency an officer commits a request before it is approved, up to the programme's limit; unless
it is approved in time, its line is suspended, and stays so until it is, or until the payment ended or came back.

Personal data stays outside: identities and accounts are salted digests. Their clear text is in the payee book, which
the authority and its bank share, and from which the payment file is made (``adapter.py``), the same bytes everywhere.

**Order of refusal**: as in ``Funds.rejections``; each command checks in that order.
"""

import enum

from guildbook.contract import (
    Amount,
    Code,
    Contract,
    Digest,
    Event,
    Name,
    NonNegative,
    Positive,
    PublicKeyBytes,
    Record,
    Rejected,
    Rounding,
    Table,
    Text,
    Timestamp,
    allocate,
    command,
    digest_of,
    invariant,
    key,
    mul_div,
    query,
    require,
    use,
)
from guildbook.foundation.approvals import Approvals
from guildbook.foundation.calendars import Calendars
from guildbook.foundation.documents import Documents, Fingerprint
from guildbook.foundation.messages import Entry, Item, ItemState, Messages, SourceField
from guildbook.foundation.money import Guard, Money, OwnerKind, Transfer
from guildbook.foundation.parties import Parties

DAY_MS = 86_400_000
ID_CHARS_MAX = 48
"""A programme's or line's id, so that the names of its accounts fit."""
LINES_DEEP_MAX = 16
BATCH_REQUESTS_MAX = 200
EXECUTION_DAYS_MAX = 366
"""How far ahead a file may be executed."""
SHARES_MAX = 8
MONEY_MINOR_MAX = 10**15
KIND_CHARS = 8
"""Of ``camt.054.001.08``, what says which kind of message it is."""
PAYMENT_SCHEMA = "pain.001.001.09"
RECALL_SCHEMA = "camt.056.001.08"
RESOLUTION_KIND = "camt.029"
NO_ENTRY = "none"
"""Stands for the bank's reference of an entry that has none."""
PER_MILLE = 1_000
SOURCE = "source"
WITNESS = "funds:witness"
FREE = ""
COMMITTED = "/committed"
PAID = "/paid"
HEXADECIMAL = "0123456789abcdef"


class LineStatus(enum.StrEnum):
    """Whether a line takes new commitments."""

    OPEN = "open"
    SUSPENDED = "suspended"


class PayeeStatus(enum.StrEnum):
    """Whether a payee may be paid: only when verified."""

    ENROLLED = "enrolled"
    VERIFIED = "verified"
    BLOCKED = "blocked"


class Movement(enum.StrEnum):
    """How money moves without being paid: into the root, to a child, back to the parent, or across."""

    APPROPRIATE = "appropriate"
    ALLOCATE = "allocate"
    WITHDRAW = "withdraw"
    REAPPROPRIATE = "reappropriate"


class Kind(enum.StrEnum):
    """What a request pays: a benefit, or of works an advance, a claim, or what was retained."""

    BENEFIT = "benefit"
    ADVANCE = "advance"
    CLAIM = "claim"
    RETENTION = "retention"


class Stage(enum.StrEnum):
    """The life of a request."""

    SUBMITTED = "submitted"
    APPROVED = "approved"
    INSTRUCTED = "instructed"
    ACCEPTED = "accepted"
    SETTLED = "settled"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RETURNED = "returned"


class Mismatch(enum.StrEnum):
    """Why an item of the bank that is about a request was not applied; it waits in quarantine."""

    AMOUNT = "amount"
    CURRENCY = "currency"
    ACCOUNT = "account"
    DUPLICATE = "duplicate"
    """The bank rejected it as a duplicate: it may have been paid already."""
    STAGE = "stage"
    REPEATED = "repeated"
    """A return without a reference of its own, after another: it may be the same, or a second one."""


DOUBTFUL = ("AM05", "DUPL")
"""Reasons of a rejection after which a person has to look before the money is free again."""
CANCELLED = "CNCL"
"""Of camt.029: the bank did as it was asked. Whether it had paid by then is for a person to find out."""
WRONG_ACCOUNT = ("AC01", "AC02", "AC03", "AC04", "AC05", "AC06", "AC07", "AC13", "AC14")
"""Reasons that speak against the payee's account: it has to be verified again."""
OPEN_STAGES = (Stage.SUBMITTED, Stage.APPROVED, Stage.INSTRUCTED, Stage.ACCEPTED)
COMMITTED_STAGES = (Stage.APPROVED, Stage.INSTRUCTED, Stage.ACCEPTED)
PAID_STAGES = (Stage.SETTLED, Stage.CONFIRMED)
ACCEPTING = ("ACCP", "ACSP", "ACTC", "ACWC", "ACSC", "ACCC", "ACFC", "PATC")
"""Statuses of pain.002 that let a payment go on; ``RJCT`` ends it, and any other (``PDNG``, ``RCVD``) only tells."""


# What is kept -----------------------------------------------------------------------------------------------


class Programme(Record):
    """The money of one authority for one end, and who watches over it."""

    id: Code = key()
    authority: Code
    supervisor: Code
    bank: Code
    currency: Code
    debtor: Digest
    """Digest of the authority's account at the bank."""
    budget_policy: Code
    request_policy: Code
    """Policies of the authority in ``approvals``: for movements, and for requests by amount band."""
    pay_first_minor: NonNegative
    """How much one request may be that is paid first and approved later."""
    regularise_ms: Positive
    calendar: Code | None
    """The calendar of the bank's business days, by which files are executed; None: any day."""
    root: Code


class Line(Record):
    """A node of the budget tree. What is free, committed and paid on it are balances in ``money``."""

    id: Code = key()
    programme: Code
    parent: Code | None
    organisation: Code
    """The unit that spends it."""
    level: Code
    purpose: Code
    depth: NonNegative
    lapses_at: Timestamp
    status: LineStatus
    overdue: NonNegative
    """Requests that were paid first and not approved in time; the line is suspended as long as there is one."""


class Payee(Record):
    """Somebody who may be paid, under a pseudonym."""

    id: Code = key()
    programme: Code
    identity: Digest
    account: Digest
    controller: Code | None
    """The party that confirms receipt; None where a witness does."""
    status: PayeeStatus
    changed_by: Code
    unblocked_by: Code | None
    """Who enrolled it or last changed its account, and who last unblocked it: neither verifies it."""
    credential: Digest | None


class Identity(Record):
    """Whose payee an identity is: one for each programme."""

    programme: Code = key()
    identity: Digest = key()
    payee: Code


class Entitlement(Record):
    """What a payee may get in a cycle, and what live and paid requests take of it."""

    payee: Code = key()
    cycle: Code = key()
    purpose: Code
    granted_minor: Positive
    taken_minor: NonNegative
    paid_minor: NonNegative


class Works(Record):
    """A contract with a contractor on a line. What is recovered counts when it is claimed."""

    id: Code = key()
    line: Code
    payee: Code
    document: Digest
    """Digest of the signed contract."""
    value_minor: Positive
    advance_minor: NonNegative
    """How much may be paid in advance."""
    retention_per_mille: NonNegative
    advancing_minor: NonNegative
    advanced_minor: NonNegative
    """Advances on their way, and advances paid."""
    claimed_minor: NonNegative
    recovered_minor: NonNegative
    retained_minor: NonNegative
    released_minor: NonNegative


class Share(Record):
    """A line that bears a part of a payment, by weight."""

    line: Code
    weight: Positive


class Part(Record):
    """What a line bears of a request, and what of that came back after it was paid."""

    line: Code
    amount_minor: NonNegative
    returned_minor: NonNegative


class Request(Record):
    """A payment from its submission to its end."""

    number: Positive = key()
    programme: Code
    kind: Kind
    payee: Code
    account: Digest
    """The payee's account when it was submitted."""
    about: Code
    """The cycle of a benefit, or the id of the works."""
    gross_minor: Positive
    recovered_minor: NonNegative
    retained_minor: NonNegative
    amount_minor: Positive
    line: Code
    """The first of its lines, whose unit asks."""
    parts: tuple[Part, ...]
    invoice: Code | None
    encumbrance: Positive | None
    evidence: Digest
    end_to_end: Code
    uetr: Code
    stage: Stage
    requester: Code
    proposal: Positive
    approved: bool
    regularise_by: Timestamp | None
    """When a request that was paid first must be approved; None otherwise."""
    overdue: bool
    batch: Code | None
    reason: Code | None
    entry: Code | None
    entry_kind: Code | None
    """The bank's reference of the entry that settled it, and the kind of message that told it."""
    returned_minor: NonNegative
    confirmed_minor: NonNegative
    complaint: Code | None
    submitted_at: Timestamp
    stage_at: Timestamp


class Reference(Record):
    """What a person submitted under a reference of its own: the same again gives the same request."""

    party: Code = key()
    reference: Code = key()
    content: Digest
    request: Positive


class Batch(Record):
    """A payment file: the requests in it, and the digest of its bytes."""

    id: Code = key()
    programme: Code
    execution_day: NonNegative
    """Days since 1970-01-01 of the requested execution."""
    requests: tuple[Positive, ...]
    sum_minor: Positive
    file: Digest
    released_by: Code
    released_at: Timestamp


class TakenMessage(Record):
    """A message of the bank, by its number in ``messages``, of which every item was looked at."""

    message: Positive = key()
    programme: Code


class Booking(Record):
    """An entry that says a request was paid, in one kind of message; another one in the same kind contradicts it."""

    request: Positive = key()
    kind: Code = key()
    entry: Code = key()


class Return(Record):
    """What one kind of message said came back; several kinds tell the same return."""

    request: Positive = key()
    kind: Code = key()
    entry: Code = key()
    amount_minor: Positive


class Recall(Record):
    """A payment that the authority asked back; what comes of it is a return, or the bank's refusal."""

    request: Positive = key()
    reason: Code
    recalled_by: Code
    recalled_at: Timestamp
    outcome: Code | None


class Usage(Record):
    """What shows how money was used: a photo, a delivery note; its bytes are kept elsewhere."""

    request: Positive = key()
    evidence: Digest = key()
    kind: Code
    attached_by: Code
    attached_at: Timestamp


class Finding(Record):
    """What an auditor found about a request."""

    number: Positive = key()
    request: Positive
    severity: Code
    statement: Digest
    raised_by: Code
    raised_at: Timestamp
    answer: Digest | None
    closed_by: Code | None


# What is said -----------------------------------------------------------------------------------------------


class ProgrammeRegistered(Event):
    """A programme exists."""

    programme: Code
    authority: Code
    bank: Code
    currency: Code


class LineOpened(Event):
    """A line exists, and has nothing yet."""

    line: Code
    programme: Code
    parent: Code | None
    organisation: Code
    purpose: Code


class LineChanged(Event):
    """A line is suspended, or open again."""

    line: Code
    status: LineStatus
    reason: Text


class Moved(Event):
    """Money moved without being paid."""

    kind: Movement
    source: Code | None
    target: Code
    amount_minor: Positive
    basis: Digest


class Lapsed(Event):
    """What a line had left at its end went back to its parent."""

    line: Code
    parent: Code
    amount_minor: Positive


class PayeeChanged(Event):
    """A payee was enrolled, verified, blocked, or has another account."""

    payee: Code
    programme: Code
    status: PayeeStatus
    account: Digest


class AccountShared(Event):
    """Another payee of the programme has the same account: a signal, no verdict."""

    payee: Code
    other: Code


class Entitled(Event):
    """A payee may get this much in a cycle."""

    payee: Code
    cycle: Code
    granted_minor: Positive


class WorksRegistered(Event):
    """A contract with a contractor."""

    works: Code
    line: Code
    payee: Code
    value_minor: Positive


class Submitted(Event):
    """A request waits for approval."""

    request: Positive
    proposal: Positive
    payload: Digest
    payee: Code
    kind: Kind
    gross_minor: Positive
    amount_minor: Positive


class StageChanged(Event):
    """A request moved on; ``reason`` is a code of ISO 20022 or of whoever decided."""

    request: Positive
    stage: Stage
    reason: Code | None


class PaidFirst(Event):
    """An alarm: a request was committed before its approval, which must follow in time."""

    request: Positive
    officer: Code
    regularise_by: Timestamp


class Overdue(Event):
    """An alarm: a request that was paid first was not approved, and its lines are suspended."""

    request: Positive


class Regularised(Event):
    """A request that was paid first is approved."""

    request: Positive


class Released(Event):
    """A payment file went to the bank."""

    batch: Code
    programme: Code
    count: Positive
    sum_minor: Positive
    execution_day: NonNegative
    file: Digest


class MoneyReturned(Event):
    """The bank says that money of a request came back; it is on the same lines again."""

    request: Positive
    amount_minor: Positive
    reason: Code | None


class RecallAsked(Event):
    """The authority asks a payment back (camt.056)."""

    request: Positive
    reason: Code


class ReceiptConfirmed(Event):
    """The payee, or a witness, says what arrived."""

    request: Positive
    confirmed_minor: NonNegative
    complaint: Code | None


class UsageAttached(Event):
    """Evidence of how money was used."""

    request: Positive
    kind: Code
    evidence: Digest


class FindingRaised(Event):
    """An auditor found something."""

    finding: Positive
    request: Positive
    severity: Code


class FindingClosed(Event):
    """A finding was answered and closed."""

    finding: Positive


# What is refused --------------------------------------------------------------------------------------------


class TooLong(Rejected):
    """An id or a list has more characters or items than it may."""

    argument: Code
    most: Positive


class NotInRange(Rejected):
    """An argument is outside of what it may be."""

    argument: Code
    least: Amount
    most: Amount


class ReferenceUsed(Rejected):
    """The signer used this reference for something else."""

    reference: Code
    request: Positive


class UnknownId(Rejected):
    """Nothing has this id."""

    kind: Code
    id: Code


class UnknownNumber(Rejected):
    """Nothing has this number."""

    kind: Code
    number: Positive


class IdTaken(Rejected):
    """This id has been given already."""

    id: Code


class NotYours(Rejected):
    """The signer does not act for the organisation or party that does this."""

    owner: Code


class SamePerson(Rejected):
    """Another person must do this than the one who did the step before."""

    party: Code


class OtherProgramme(Rejected):
    """The things named belong to different programmes."""

    programme: Code


class WrongDirection(Rejected):
    """Money does not move this way between these lines."""

    kind: Movement


class LineSuspended(Rejected):
    """The line takes no new commitments and no money."""

    line: Code


class LineLapsed(Rejected):
    """The line's time is over."""

    line: Code
    lapsed_at: Timestamp


class NotLapsed(Rejected):
    """The line's time is not over, or nothing is left on it."""

    line: Code
    lapses_at: Timestamp


class IdentityEnrolled(Rejected):
    """This identity is enrolled in the programme already."""

    payee: Code


class PayeeNotVerified(Rejected):
    """The payee is not verified, or is blocked."""

    payee: Code
    status: PayeeStatus


class AccountChanged(Rejected):
    """The payee has another account than when the request was submitted; submit it again."""

    request: Positive


class NoChange(Rejected):
    """It is so already."""


class PurposeDiffers(Rejected):
    """The entitlement is for another purpose than the line, and a purpose changes by a movement alone."""

    purpose: Code


class OverEntitlement(Rejected):
    """More is asked for than the payee may still get."""

    wanted_minor: Positive
    left_minor: NonNegative


class NothingToPay(Rejected):
    """After recovery and retention nothing is left of the claim."""

    recovered_minor: NonNegative
    retained_minor: NonNegative


class CurrencyDiffers(Rejected):
    """The invoice is of another currency than the programme."""

    currency: Code


class OverAllocation(Rejected):
    """The line has not so much left."""

    line: Code
    wanted_minor: Positive
    free_minor: NonNegative


class OverPayFirst(Rejected):
    """So much may not be paid before it is approved."""

    most_minor: NonNegative


class WrongStage(Rejected):
    """The request is at another stage."""

    request: Positive
    stage: Stage


class NotOverdue(Rejected):
    """The request needs no approval any more, has time left, or is marked already."""

    request: Positive


class NotExecuted(Rejected):
    """The bank does not execute on this day: it is closed, or it is past its cut-off, or so far ahead."""

    earliest: NonNegative
    latest: NonNegative


class HadPart(Rejected):
    """Who had a part in a request neither releases it nor witnesses its receipt."""

    request: Positive


class AlreadyResolved(Rejected):
    """The item, finding or recall has been dealt with."""

    number: Positive


class StillMismatched(Rejected):
    """The item cannot be applied to this request."""

    why: Mismatch


class MoreThanPaid(Rejected):
    """More is confirmed than was paid."""

    most_minor: NonNegative


# The rules --------------------------------------------------------------------------------------------------


def account_of(line: str, where: str = FREE) -> str:
    """The account in ``money`` of what is free on a line, committed (approved, and not booked by the bank), or paid."""
    return f"funds/{line}{where}"


def is_live(row: Request) -> bool:
    """Whether a request takes room of its entitlement or works."""
    return row.stage in OPEN_STAGES or row.stage in PAID_STAGES


def is_unapproved(row: Request) -> bool:
    """Whether a request was committed or paid first, and still needs its approval."""
    return row.regularise_by is not None and not row.approved and is_live(row)


class Funds(Contract, name="funds", version=1):
    """Programmes, budget lines, payees, requests, the bank's messages, and what came of the money."""

    parties = use(Parties)
    calendars = use(Calendars)
    money = use(Money)
    approvals = use(Approvals)
    documents = use(Documents)
    messages = use(Messages)

    programmes = Table(Programme)
    lines = Table(Line, index=[("programme", "parent", "id")])
    payees = Table(Payee, index=[("programme", "account", "id")])
    identities = Table(Identity)
    entitlements = Table(Entitlement)
    works = Table(Works)
    requests = Table(Request)
    references = Table(Reference)
    batches = Table(Batch)
    taken = Table(TakenMessage)
    bookings = Table(Booking)
    returns = Table(Return)
    recalls = Table(Recall)
    usages = Table(Usage)
    findings = Table(Finding)

    events = (ProgrammeRegistered, LineOpened, LineChanged, Moved, Lapsed, PayeeChanged, AccountShared, Entitled,
              WorksRegistered, Submitted, StageChanged, PaidFirst, Overdue, Regularised, Released, MoneyReturned,
              RecallAsked, ReceiptConfirmed, UsageAttached, FindingRaised, FindingClosed)
    rejections = (ReferenceUsed, TooLong, NotInRange, UnknownId, UnknownNumber, IdTaken, NotYours, SamePerson,
                  OtherProgramme, WrongDirection, LineSuspended, LineLapsed, NotLapsed, IdentityEnrolled,
                  PayeeNotVerified, AccountChanged, NoChange, PurposeDiffers, OverEntitlement, NothingToPay,
                  CurrencyDiffers, OverAllocation, OverPayFirst, WrongStage, NotOverdue, NotExecuted, HadPart,
                  AlreadyResolved, StillMismatched, MoreThanPaid)

    # The budget

    @command(role="administrator")
    def register_programme(self, programme: Code, supervisor: Code, bank: Code, currency: Code, debtor: Digest,
                           budget_policy: Code, request_policy: Code, pay_first_minor: NonNegative,
                           regularise_ms: Positive, root: Code, purpose: Code, level: Code, lapses_at: Timestamp,
                           calendar: Code | None = None) -> None:
        """Open a programme of the signer's organisation, with its root line.

        ``bank`` delivers its bank messages, ``supervisor`` watches it; the policies are the organisation's own.
        """
        require(len(programme) <= ID_CHARS_MAX, TooLong, argument="programme", most=ID_CHARS_MAX)
        require(not self.programmes.exists(programme), IdTaken, id=programme)
        authority = self.sender.organisation
        row = Programme(id=programme, authority=authority, supervisor=supervisor, bank=bank, currency=currency,
                        debtor=debtor, budget_policy=budget_policy, request_policy=request_policy,
                        pay_first_minor=pay_first_minor, regularise_ms=regularise_ms, calendar=calendar, root=root)
        self.money.open_ledger(f"funds/{programme}", currency)
        self.money.open_account(f"funds/{programme}/{SOURCE}", f"funds/{programme}", OwnerKind.CONTRACT, "funds",
                                Guard.NONE)
        self.messages.open_channel(_channel(programme), bank)
        self.programmes.insert(row)
        self.emit(ProgrammeRegistered(programme=programme, authority=authority, bank=bank, currency=currency))
        self._open_line(row, root, None, authority, level, purpose, lapses_at, 0)

    @command(role="administrator")
    def admit_deliverer(self, programme: Code, party: Code, public_key: PublicKeyBytes | None = None) -> None:
        """Let a party of the programme's bank deliver its messages, with ``public_key`` by that key only."""
        row = self._programme(programme)
        self._require_organisation(row.authority)
        require(self.parties.organisation_of(party) == row.bank, NotYours, owner=row.bank)
        self.messages.admit(_channel(programme), party, public_key)

    @command(role="administrator")
    def dismiss_deliverer(self, programme: Code, party: Code) -> None:
        """Let a party deliver no longer."""
        self._require_organisation(self._programme(programme).authority)
        self.messages.dismiss(_channel(programme), party)

    @command(role="treasurer")
    def open_line(self, line: Code, parent: Code, organisation: Code, level: Code, purpose: Code,
                  lapses_at: Timestamp) -> None:
        """Open a line under one of the signer's organisation; ``organisation`` spends it."""
        above = self._line(parent)
        require(above.depth + 1 < LINES_DEEP_MAX, NotInRange, argument="depth", least=0, most=LINES_DEEP_MAX - 1)
        self._require_organisation(above.organisation)
        require(self.now < lapses_at <= above.lapses_at, NotInRange, argument="lapses_at", least=self.now + 1,
                most=above.lapses_at)
        self._open_line(self._programme(above.programme), line, parent, organisation, level, purpose, lapses_at,
                        above.depth + 1)

    @command(role="treasurer")
    def propose_movement(self, reference: Code, kind: Movement, source: Code | None, target: Code,
                         amount_minor: Positive, basis: Digest) -> int:
        """Ask for money to move; ``basis`` is the digest of the act that orders it. Returns the proposal's number.

        It is approved in ``approvals``, by the programme's budget policy, and then made with ``move``.
        """
        programme = self._movable(kind, source, target, amount_minor)
        own = digest_of("funds.reference", self.sender.party, reference).hex()[:32]
        return self.approvals.open(f"movement/{own}", programme.budget_policy, kind.value, target,
                                   digest_of("funds.movement", kind, source, target, amount_minor, basis), 0,
                                   amount_minor, programme.currency, programme.authority)

    @command(role="treasurer")
    def move(self, proposal: Positive, kind: Movement, source: Code | None, target: Code, amount_minor: Positive,
             basis: Digest) -> None:
        """Make a movement that was approved, exactly as it was."""
        programme = self._movable(kind, source, target, amount_minor)
        if source is not None:
            self._require_free(source, amount_minor)
        self.approvals.take(proposal, digest_of("funds.movement", kind, source, target, amount_minor, basis), 0)
        origin = f"funds/{programme.id}/{SOURCE}" if source is None else account_of(source)
        self.money.transfer(f"move/{proposal}", origin, account_of(target), amount_minor, kind.value, basis)
        self.emit(Moved(kind=kind, source=source, target=target, amount_minor=amount_minor, basis=basis))

    @command
    def lapse(self, line: Code) -> int:
        """Give what a line has left to its parent, when its time is over; returns how much. By anybody.

        What is committed stays, and lapses when the commitment ends without payment.
        """
        row = self._line(line)
        free = self.money.available(account_of(line))
        if row.parent is None or self.now < row.lapses_at or free <= 0:
            raise NotLapsed(line=line, lapses_at=row.lapses_at)
        number = self.sequence("lapse")
        self.money.transfer(f"lapse/{number}", account_of(line), account_of(row.parent), free, "lapse")
        self.emit(Lapsed(line=line, parent=row.parent, amount_minor=free))
        return free

    @command(role="supervisor")
    def set_line_status(self, line: Code, status: LineStatus, reason: Text) -> None:
        """Suspend a line, or open it again. Suspended: no movement, submission, commitment or release."""
        row = self._line(line)
        self._require_organisation(self._programme(row.programme).supervisor)
        require(status != row.status, NoChange)
        self.lines.update(row, status=status)
        self.emit(LineChanged(line=line, status=status, reason=reason))

    # Payees

    @command(role="registrar")
    def enrol(self, payee: Code, programme: Code, identity: Digest, account: Digest, controller: Code | None) -> None:
        """Enrol a payee of a programme, once for each identity; another registrar verifies it."""
        self._programme(programme)
        require(not self.payees.exists(payee), IdTaken, id=payee)
        known = self.identities.get(programme, identity)
        if known is not None:
            raise IdentityEnrolled(payee=known.payee)
        self.payees.insert(Payee(id=payee, programme=programme, identity=identity, account=account,
                                 controller=controller, status=PayeeStatus.ENROLLED, changed_by=self.sender.party,
                                 unblocked_by=None, credential=None))
        self.identities.insert(Identity(programme=programme, identity=identity, payee=payee))
        self.emit(PayeeChanged(payee=payee, programme=programme, status=PayeeStatus.ENROLLED, account=account))
        self._tell_shared(programme, payee, account)

    @command(role="registrar")
    def change_account(self, payee: Code, account: Digest) -> None:
        """Give a payee another account; it has to be verified again, and open requests submitted again."""
        row = self._payee(payee)
        require(account != row.account, NoChange)
        self.payees.update(row, account=account, status=PayeeStatus.ENROLLED, changed_by=self.sender.party)
        self.emit(PayeeChanged(payee=payee, programme=row.programme, status=PayeeStatus.ENROLLED, account=account))
        self._tell_shared(row.programme, payee, account)

    @command(role="registrar")
    def verify(self, payee: Code, account: Digest, credential: Digest) -> None:
        """Say that a payee is who it claims and has this account; ``credential`` is the digest of what shows it."""
        row = self._payee(payee)
        for party in (row.changed_by, row.unblocked_by):
            require(party != self.sender.party, SamePerson, party=self.sender.party)
        require(row.status is PayeeStatus.ENROLLED and row.account == account, NoChange)
        self.payees.update(row, status=PayeeStatus.VERIFIED, credential=credential)
        self.emit(PayeeChanged(payee=payee, programme=row.programme, status=PayeeStatus.VERIFIED, account=account))

    @command(role="registrar")
    def block(self, payee: Code) -> None:
        """Stop payments to a payee (deceased, not eligible); it has to be verified again."""
        row = self._payee(payee)
        require(row.status is not PayeeStatus.BLOCKED, NoChange)
        self.payees.update(row, status=PayeeStatus.BLOCKED)
        self.emit(PayeeChanged(payee=payee, programme=row.programme, status=PayeeStatus.BLOCKED, account=row.account))

    @command(role="registrar")
    def unblock(self, payee: Code) -> None:
        """Let a blocked payee be verified again, by another registrar."""
        row = self._payee(payee)
        require(row.status is PayeeStatus.BLOCKED, NoChange)
        self.payees.update(row, status=PayeeStatus.ENROLLED, unblocked_by=self.sender.party)
        self.emit(PayeeChanged(payee=payee, programme=row.programme, status=PayeeStatus.ENROLLED, account=row.account))

    @command(role="registrar")
    def entitle(self, payee: Code, cycle: Code, purpose: Code, granted_minor: Positive) -> None:
        """Say what a payee may get in a cycle, or change it; never below what is taken."""
        self._payee(payee)
        require(granted_minor <= MONEY_MINOR_MAX, NotInRange, argument="granted_minor", least=1, most=MONEY_MINOR_MAX)
        row = self.entitlements.get(payee, cycle)
        if row is None:
            self.entitlements.insert(Entitlement(payee=payee, cycle=cycle, purpose=purpose,
                                                 granted_minor=granted_minor, taken_minor=0, paid_minor=0))
        else:
            require(purpose == row.purpose, PurposeDiffers, purpose=row.purpose)
            require(granted_minor >= row.taken_minor, NotInRange, argument="granted_minor", least=row.taken_minor,
                    most=MONEY_MINOR_MAX)
            self.entitlements.update(row, granted_minor=granted_minor)
        self.emit(Entitled(payee=payee, cycle=cycle, granted_minor=granted_minor))

    @command(role="treasurer")
    def register_works(self, works: Code, line: Code, payee: Code, document: Digest, value_minor: Positive,
                       advance_minor: NonNegative, retention_per_mille: NonNegative) -> None:
        """Register a contract with a contractor on a line of the signer's organisation."""
        require(value_minor <= MONEY_MINOR_MAX, NotInRange, argument="value_minor", least=1, most=MONEY_MINOR_MAX)
        require(advance_minor <= value_minor, NotInRange, argument="advance_minor", least=0, most=value_minor)
        require(retention_per_mille < PER_MILLE, NotInRange, argument="retention_per_mille", least=0,
                most=PER_MILLE - 1)
        row, who = self._line(line), self._payee(payee)
        require(not self.works.exists(works), IdTaken, id=works)
        self._require_organisation(row.organisation)
        require(who.programme == row.programme, OtherProgramme, programme=who.programme)
        self.works.insert(Works(id=works, line=line, payee=payee, document=document, value_minor=value_minor,
                                advance_minor=advance_minor, retention_per_mille=retention_per_mille,
                                advancing_minor=0, advanced_minor=0, claimed_minor=0, recovered_minor=0,
                                retained_minor=0, released_minor=0))
        self.emit(WorksRegistered(works=works, line=line, payee=payee, value_minor=value_minor))

    # Requests

    @command(role="clerk")
    def register_invoice(self, invoice: Code, payee: Code, digest: Digest, face_minor: Positive,
                         fingerprints: tuple[Fingerprint, ...]) -> None:
        """Register an invoice of a payee with what it is worth; the same one is registered once on the whole network.

        ``fingerprints`` are keyed digests of combinations of its fields; ``documents`` refuses one that is taken.
        """
        row = self._payee(payee)
        require(face_minor <= MONEY_MINOR_MAX, NotInRange, argument="face_minor", least=1, most=MONEY_MINOR_MAX)
        self.documents.register(invoice, "invoice", "invoices", payee, digest,
                                self._programme(row.programme).currency, face_minor, face_minor, fingerprints)

    @command(role="clerk")
    def submit(self, reference: Code, kind: Kind, payee: Code, about: Code, gross_minor: Positive,
               shares: tuple[Share, ...], evidence: Digest, invoice: Code | None = None) -> int:
        """Ask to pay a payee from one line, or from several by weight; returns the request's number.

        ``about`` is the cycle of a benefit or the id of works. ``invoice`` is a document that was registered here, or
        of which this contract may take: it is never paid beyond what it is worth.
        """
        content = digest_of("funds.submit", kind, payee, about, gross_minor, shares, evidence, invoice)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier
        programme, row = self._prepare(kind, payee, about, gross_minor, shares, evidence, invoice)
        return self._refer(reference, content, self._enter(row, programme).number)

    @command(role="clerk")
    def propose_again(self, request: Positive) -> int:
        """Ask again for the approval of a request that was paid first; returns the new proposal's number."""
        row = self._request(request)
        late = is_unapproved(row)
        waits = late and self.approvals.status(row.proposal) in ("open", "ready")
        require(late and not waits, WrongStage, request=request, stage=row.stage)
        self._require_unit(row)
        require(self._releaser(row) != self.sender.party, HadPart, request=request)
        proposal = self._open_proposal(f"request/{request}/{row.proposal}", self._programme(row.programme), row)
        self.requests.update(row, proposal=proposal)
        return proposal

    @command
    def approve(self, request: Positive, stage: Code, payload: Digest, acting_for: Code | None = None) -> bool:
        """Approve a request in the current stage of its proposal; the last approval commits the money.

        ``payload`` is what the signer saw (``payload_of``). Returns whether the request is now approved.
        """
        row = self._request(request)
        if self.approvals.approve(row.proposal, stage, payload, 0, acting_for) and not row.approved:
            self._approved(row)
            return True
        return row.approved

    @command
    def commit(self, request: Positive) -> None:
        """Commit the money of a request whose proposal is ready, where its approvals were not given through here."""
        row = self._request(request)
        require(not row.approved, WrongStage, request=request, stage=row.stage)
        self._approved(row)

    @command
    def reject(self, request: Positive, stage: Code, payload: Digest, reason: Code,
               acting_for: Code | None = None) -> None:
        """Reject a request; one that was paid first suspends its lines at once."""
        row = self._request(request)
        self.approvals.reject(row.proposal, stage, payload, reason, 0, acting_for)
        if row.stage is Stage.SUBMITTED:
            self._end(row, Stage.REJECTED, reason)
        elif is_unapproved(row) and not row.overdue:
            self._suspend(row)

    @command
    def cancel(self, request: Positive, reason: Code) -> None:
        """Take back a request that was not released; by a clerk of its first line's unit, or by anybody when its
        proposal ended without approval.
        """
        row = self._request(request)
        standing = self.approvals.status(row.proposal)
        alive = standing in ("open", "ready")
        if alive or row.stage is not Stage.SUBMITTED:
            self._require_unit(row)
        require(row.stage is Stage.SUBMITTED or row.stage is Stage.APPROVED, WrongStage, request=request,
                stage=row.stage)
        if alive:
            self.approvals.cancel(row.proposal, reason)
        self._end(row, Stage.CANCELLED, reason)

    @command(role="officer")
    def pay_first(self, reference: Code, kind: Kind, payee: Code, about: Code, gross_minor: Positive,
                  shares: tuple[Share, ...], evidence: Digest, invoice: Code | None = None) -> int:
        """In an emergency: submit a request and commit its money at once; its approval must follow in time."""
        content = digest_of("funds.pay_first", kind, payee, about, gross_minor, shares, evidence, invoice)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier
        programme, row = self._prepare(kind, payee, about, gross_minor, shares, evidence, invoice)
        require(row.amount_minor <= programme.pay_first_minor, OverPayFirst, most_minor=programme.pay_first_minor)
        until = self.now + programme.regularise_ms
        row = self.requests.update(self._enter(row, programme), regularise_by=until)
        self._commit(row, approved=False)
        self.emit(PaidFirst(request=row.number, officer=self.sender.party, regularise_by=until))
        return self._refer(reference, content, row.number)

    @command
    def mark_overdue(self, request: Positive) -> None:
        """Suspend the lines of a request that was paid first and not approved in time; by anybody."""
        row = self._request(request)
        late = row.regularise_by is not None and self.now >= row.regularise_by
        require(late and is_unapproved(row) and not row.overdue, NotOverdue, request=request)
        self._suspend(row)

    # Paying

    @command(role="releaser")
    def release(self, batch: Code, programme: Code, requests: tuple[Positive, ...], execution_day: NonNegative,
                file: Digest) -> int:
        """Send approved requests to the bank in one payment file; returns the sum.

        ``batch`` is the message id of the file, ``file`` the digest of its bytes, which follow from the requests and
        the payee book. The signer had no other part in any of them.
        """
        require(0 < len(requests) <= BATCH_REQUESTS_MAX, TooLong, argument="requests", most=BATCH_REQUESTS_MAX)
        owner = self._programme(programme)
        require(not self.batches.exists(batch), IdTaken, id=batch)
        self._require_organisation(owner.authority)
        earliest = self.now // DAY_MS
        if owner.calendar is not None:
            earliest = self.calendars.business_date(owner.calendar, self.now)
        worked = owner.calendar is None or self.calendars.is_business_day(owner.calendar, execution_day)
        require(worked and earliest <= execution_day <= earliest + EXECUTION_DAYS_MAX, NotExecuted, earliest=earliest,
                latest=earliest + EXECUTION_DAYS_MAX)
        total = 0
        for number in requests:
            row = self._request(number)
            require(row.programme == programme, OtherProgramme, programme=row.programme)
            for part in row.parts:
                self._require_open(self._line(part.line))
            payee = self._verified(row.payee)
            require(payee.account == row.account, AccountChanged, request=number)
            require(row.stage is Stage.APPROVED, WrongStage, request=number, stage=row.stage)
            part_taken = self.approvals.part_of(row.proposal, self.sender.party)
            require(part_taken is None and row.requester != self.sender.party, HadPart, request=number)
            if not row.approved and self.approvals.status(row.proposal) in ("open", "ready"):
                self.approvals.recuse(row.proposal, "released")
            total += row.amount_minor
            self._expect(owner, "EndToEndId", row.end_to_end, number)
            self._expect(owner, "UETR", row.uetr, number)
            self.emit(StageChanged(request=number, stage=Stage.INSTRUCTED, reason=None))
            self.requests.update(row, stage=Stage.INSTRUCTED, reason=None, stage_at=self.now, batch=batch)
        self.batches.insert(Batch(id=batch, programme=programme, execution_day=execution_day, requests=requests,
                                  sum_minor=total, file=file, released_by=self.sender.party, released_at=self.now))
        self._send(programme, PAYMENT_SCHEMA, batch, file)
        self.emit(Released(batch=batch, programme=programme, count=len(requests), sum_minor=total,
                           execution_day=execution_day, file=file))
        return total

    @command
    def deliver(self, programme: Code, schema: Code, message_id: Name, digest: Digest, entries: tuple[Entry, ...],
                part: Positive = 1) -> int:
        """Take (a part of) a message of the programme's bank; returns how many items wait for a person.

        By a party that was admitted to deliver. ``schema`` is the message's name (``camt.054.001.08``), ``digest`` that
        of its bytes. An entry's kind is its status: that of pain.002 or camt.029, ``BOOK`` or ``RTRN``; its code is the
        reason; its identifiers are EndToEndId, UETR, and the bank's own reference as AcctSvcrRef. The same again
        changes nothing.
        """
        owner = self._programme(programme)
        message = self.messages.take(_channel(programme), schema, owner.bank, message_id, digest, entries, part)
        if self.taken.exists(message):
            return 0
        self.taken.insert(TakenMessage(message=message, programme=programme))
        waiting = 0
        for item in self.messages.items_of(message):
            if item.state is ItemState.MATCHED and item.reference is not None:
                row = self._request(_number(item.reference))
                why = self._mismatch(owner, row, item)
                if why is None:
                    why = self._apply(row, schema[:KIND_CHARS], item, by_person=False)
                if why is None:
                    continue
                self.messages.quarantine(message, item.position, why.value)
            waiting += 1
        return waiting

    @command(role="resolver")
    def resolve(self, message: Positive, position: Positive, resolution: Code, note: Text,
                request: Positive | None = None) -> None:
        """Deal with an item that waits: apply it to ``request``, whatever account it names, or set it aside."""
        taken, source = self.taken.get(message), self.messages.message(message)
        if taken is None or source is None:
            raise UnknownNumber(kind="message", number=message)
        owner = self._programme(taken.programme)
        self._require_organisation(owner.authority)
        reference = None
        if request is not None:
            items = self.messages.items_of(message)
            if position > len(items):
                raise UnknownNumber(kind="item", number=position)
            row = self._request(request)
            require(row.programme == owner.id, OtherProgramme, programme=row.programme)
            require(row.requester != self.sender.party, SamePerson, party=row.requester)
            why = self._mismatch(owner, row, items[position - 1])
            if why is None or why is Mismatch.ACCOUNT:
                why = self._apply(row, source.schema[:KIND_CHARS], items[position - 1], by_person=True)
            if why is not None:
                raise StillMismatched(why=why)
            reference = _reference(request)
        self.messages.resolve(message, position, resolution, note, reference)

    @command(role="releaser")
    def recall(self, request: Positive, reason: Code, file: Digest) -> None:
        """Ask the bank for a payment back (camt.056, of which ``file`` is the digest); the money counts as paid until
        the bank says that it returned.
        """
        row = self._request(request)
        self._require_organisation(self._programme(row.programme).authority)
        gone = row.stage is Stage.INSTRUCTED or row.stage is Stage.ACCEPTED or row.stage in PAID_STAGES
        require(gone, WrongStage, request=request, stage=row.stage)
        require(not self.recalls.exists(request), AlreadyResolved, number=request)
        self.recalls.insert(Recall(request=request, reason=reason, recalled_by=self.sender.party,
                                   recalled_at=self.now, outcome=None))
        self._send(row.programme, RECALL_SCHEMA, f"recall/{request}", file)
        self.emit(RecallAsked(request=request, reason=reason))

    # What came of it

    @command
    def confirm_receipt(self, request: Positive, confirmed_minor: NonNegative, complaint: Code | None = None) -> None:
        """Say what arrived, once; by the payee's controller."""
        row = self._request(request)
        controller = self._payee(row.payee).controller
        require(controller == self.sender.party, NotYours, owner=controller or WITNESS)
        self._confirm(row, confirmed_minor, complaint)

    @command(role="witness")
    def witness_receipt(self, request: Positive, confirmed_minor: NonNegative, complaint: Code | None = None) -> None:
        """Say what arrived, once, for a payee that has no controller; the witness had no part in the request."""
        row = self._request(request)
        controller = self._payee(row.payee).controller
        require(controller is None, NotYours, owner=controller or WITNESS)
        part_taken = self.approvals.part_of(row.proposal, self.sender.party)
        require(part_taken is None and self._releaser(row) != self.sender.party, HadPart, request=request)
        self._confirm(row, confirmed_minor, complaint)

    @command(role="clerk")
    def attach_usage(self, request: Positive, kind: Code, evidence: Digest) -> None:
        """Attach evidence of how the money of a paid request was used."""
        row = self._request(request)
        self._require_unit(row)
        require(row.stage in PAID_STAGES, WrongStage, request=request, stage=row.stage)
        require(not self.usages.exists(request, evidence), NoChange)
        self.usages.insert(Usage(request=request, evidence=evidence, kind=kind, attached_by=self.sender.party,
                                 attached_at=self.now))
        self.emit(UsageAttached(request=request, kind=kind, evidence=evidence))

    @command(role="auditor")
    def raise_finding(self, request: Positive, severity: Code, statement: Digest) -> int:
        """Record what an auditor found about a request; returns the finding's number."""
        row = self._request(request)
        require(row.requester != self.sender.party, SamePerson, party=row.requester)
        number = self.sequence("finding")
        self.findings.insert(Finding(number=number, request=request, severity=severity, statement=statement,
                                     raised_by=self.sender.party, raised_at=self.now, answer=None, closed_by=None))
        self.emit(FindingRaised(finding=number, request=request, severity=severity))
        return number

    @command(role="auditor")
    def close_finding(self, finding: Positive, answer: Digest) -> None:
        """Close a finding with the digest of its answer; by another auditor than the one who raised it."""
        row = self.findings.get(finding)
        if row is None:
            raise UnknownNumber(kind="finding", number=finding)
        require(row.raised_by != self.sender.party, SamePerson, party=row.raised_by)
        require(row.closed_by is None, AlreadyResolved, number=finding)
        self.findings.update(row, answer=answer, closed_by=self.sender.party)
        self.emit(FindingClosed(finding=finding))

    # Reading

    @query
    def payload_of(self, request: Positive) -> bytes:
        """What approvers of a request approve: the digest (32 bytes) of all that it will do."""
        return self._payload(self._request(request))

    @query
    def standing_of(self, line: Code) -> tuple[int, ...]:
        """Of a line, in minor units: free, committed, paid."""
        self._line(line)
        accounts = (account_of(line), account_of(line, COMMITTED), account_of(line, PAID))
        return tuple([self.money.balance(account) for account in accounts])

    # Guards

    def _programme(self, programme: str) -> Programme:
        row = self.programmes.get(programme)
        if row is None:
            raise UnknownId(kind="programme", id=programme)
        return row

    def _line(self, line: str) -> Line:
        row = self.lines.get(line)
        if row is None:
            raise UnknownId(kind="line", id=line)
        return row

    def _payee(self, payee: str) -> Payee:
        row = self.payees.get(payee)
        if row is None:
            raise UnknownId(kind="payee", id=payee)
        return row

    def _request(self, request: int) -> Request:
        row = self.requests.get(request)
        if row is None:
            raise UnknownNumber(kind="request", number=request)
        return row

    def _verified(self, payee: str) -> Payee:
        row = self._payee(payee)
        require(row.status is PayeeStatus.VERIFIED, PayeeNotVerified, payee=payee, status=row.status)
        return row

    def _releaser(self, row: Request) -> str | None:
        batch = None if row.batch is None else self.batches.get(row.batch)
        return None if batch is None else batch.released_by

    def _require_organisation(self, organisation: str) -> None:
        require(self.sender.organisation == organisation, NotYours, owner=organisation)

    def _require_unit(self, row: Request) -> None:
        unit = self._line(row.line).organisation
        require(self.sender.organisation == unit and self.has_role("clerk"), NotYours, owner=unit)

    def _require_open(self, line: Line) -> None:
        require(line.status is LineStatus.OPEN and line.overdue == 0, LineSuspended, line=line.id)

    def _require_in_time(self, line: Line) -> None:
        require(self.now < line.lapses_at, LineLapsed, line=line.id, lapsed_at=line.lapses_at)

    def _require_free(self, line: str, amount: int) -> None:
        free = self.money.available(account_of(line))
        require(amount <= free, OverAllocation, line=line, wanted_minor=amount, free_minor=free)

    def _earlier(self, reference: str, content: bytes) -> int | None:
        """The request that the signer submitted under ``reference``, with the same content."""
        known = self.references.get(self.sender.party, reference)
        if known is None:
            return None
        require(known.content == content, ReferenceUsed, reference=reference, request=known.request)
        return known.request

    def _refer(self, reference: str, content: bytes, request: int) -> int:
        self.references.insert(Reference(party=self.sender.party, reference=reference, content=content,
                                         request=request))
        return request

    def _movable(self, kind: Movement, source: str | None, target: str, amount: int) -> Programme:
        """The programme of a movement that goes in a direction that its kind allows, by whom it concerns."""
        require(amount <= MONEY_MINOR_MAX, NotInRange, argument="amount_minor", least=1, most=MONEY_MINOR_MAX)
        into = self._line(target)
        out = None if source is None else self._line(source)
        programme = self._programme(into.programme)
        if out is None:
            owner, fits = programme.authority, kind is Movement.APPROPRIATE and into.parent is None
        else:
            require(out.programme == into.programme, OtherProgramme, programme=out.programme)
            if kind is Movement.ALLOCATE:
                owner, fits = out.organisation, into.parent == source
            elif kind is Movement.WITHDRAW:
                owner, fits = into.organisation, out.parent == target
            else:
                apart = source != target and into.parent != source and out.parent != target
                owner, fits = programme.authority, kind is Movement.REAPPROPRIATE and apart
        self._require_organisation(owner)
        require(fits, WrongDirection, kind=kind)
        if out is not None and kind is not Movement.WITHDRAW:
            self._require_open(out)
        self._require_open(into)
        self._require_in_time(into)
        return programme

    def _prepare(self, kind: Kind, payee: str, about: str, gross: int, shares: tuple[Share, ...], evidence: bytes,
                 invoice: str | None) -> tuple[Programme, Request]:
        """The request that a submission would make, after all guards but those of the foundation contracts."""
        require(0 < len(shares) <= SHARES_MAX, TooLong, argument="shares", most=SHARES_MAX)
        require(gross <= MONEY_MINOR_MAX, NotInRange, argument="gross_minor", least=1, most=MONEY_MINOR_MAX)
        require(all(share.weight <= MONEY_MINOR_MAX for share in shares), NotInRange, argument="weight", least=1,
                most=MONEY_MINOR_MAX)
        lines = [self._line(share.line) for share in shares]
        names = [line.id for line in lines]
        require(all(names.count(name) == 1 for name in names), IdTaken, id=names[-1])
        who = self._payee(payee)
        terms = self._entitlement(who, about) if kind is Kind.BENEFIT else self._terms(payee, about, lines[0])
        self._require_organisation(lines[0].organisation)
        for line in lines:
            require(line.programme == who.programme, OtherProgramme, programme=line.programme)
            self._require_open(line)
            self._require_in_time(line)
        self._verified(payee)
        recovered = retained = 0
        if isinstance(terms, Entitlement):
            require(terms.purpose == lines[0].purpose, PurposeDiffers, purpose=terms.purpose)
            left = terms.granted_minor - terms.taken_minor
        elif kind is Kind.ADVANCE:
            left = terms.advance_minor - terms.advanced_minor - terms.advancing_minor
        elif kind is Kind.RETENTION:
            left = terms.retained_minor - terms.released_minor
            left += max(0, terms.recovered_minor - terms.advanced_minor)
        else:
            left = terms.value_minor - terms.claimed_minor
            claimed = terms.claimed_minor + gross
            due = mul_div(claimed, terms.advanced_minor, terms.value_minor, Rounding.FLOOR) - terms.recovered_minor
            recovered = max(0, min(gross, due))
            due = mul_div(claimed, terms.retention_per_mille, PER_MILLE, Rounding.FLOOR) - terms.retained_minor
            retained = max(0, min(gross - recovered, due))
        require(gross <= left, OverEntitlement, wanted_minor=gross, left_minor=max(0, left))
        amount = gross - recovered - retained
        require(amount > 0, NothingToPay, recovered_minor=recovered, retained_minor=retained)
        programme = self._programme(who.programme)
        document = None if invoice is None else self.documents.record(invoice)
        if document is not None:
            require(document.currency == programme.currency, CurrencyDiffers, currency=document.currency)
        borne = allocate(amount, tuple([share.weight for share in shares]))
        parts = [Part(line=line.id, amount_minor=part, returned_minor=0)
                 for line, part in zip(lines, borne, strict=True)]
        number = self.sequence("request")
        row = Request(number=number, programme=who.programme, kind=kind, payee=payee, account=who.account, about=about,
                      gross_minor=gross, recovered_minor=recovered, retained_minor=retained, amount_minor=amount,
                      line=lines[0].id, parts=tuple(parts), invoice=invoice, encumbrance=None, evidence=evidence,
                      end_to_end=f"F{number}", uetr=_uetr(digest_of("funds.uetr", self.network, number)),
                      stage=Stage.SUBMITTED, requester=self.sender.party, proposal=1, approved=False,
                      regularise_by=None, overdue=False, batch=None, reason=None, entry=None, entry_kind=None,
                      returned_minor=0, confirmed_minor=0, complaint=None, submitted_at=self.now, stage_at=self.now)
        return programme, row

    def _entitlement(self, payee: Payee, cycle: str) -> Entitlement:
        row = self.entitlements.get(payee.id, cycle)
        if row is None:
            raise UnknownId(kind="entitlement", id=cycle)
        return row

    def _terms(self, payee: str, works: str, line: Line) -> Works:
        row = self.works.get(works)
        if row is None or row.payee != payee or row.line != line.id:
            raise UnknownId(kind="works", id=works)
        return row

    def _mismatch(self, owner: Programme, row: Request, item: Item) -> Mismatch | None:
        if item.currency is not None and item.currency != owner.currency:
            return Mismatch.CURRENCY
        if item.account is not None and item.account != row.account:
            return Mismatch.ACCOUNT
        if item.kind == "BOOK" and item.amount_minor != row.amount_minor:
            return Mismatch.AMOUNT
        if item.kind == "RTRN" and (item.amount_minor is None or not 0 < item.amount_minor <= row.amount_minor):
            return Mismatch.AMOUNT
        return None

    # Effects

    def _open_line(self, programme: Programme, line: str, parent: str | None, organisation: str, level: str,
                   purpose: str, lapses_at: int, depth: int) -> None:
        require(len(line) <= ID_CHARS_MAX, TooLong, argument="line", most=ID_CHARS_MAX)
        require(not self.lines.exists(line), IdTaken, id=line)
        for account in (account_of(line), account_of(line, COMMITTED), account_of(line, PAID)):
            self.money.open_account(account, f"funds/{programme.id}", OwnerKind.CONTRACT, "funds")
        self.lines.insert(Line(id=line, programme=programme.id, parent=parent, organisation=organisation, level=level,
                               purpose=purpose, depth=depth, lapses_at=lapses_at, status=LineStatus.OPEN, overdue=0))
        self.emit(LineOpened(line=line, programme=programme.id, parent=parent, organisation=organisation,
                             purpose=purpose))

    def _tell_shared(self, programme: str, payee: str, account: bytes) -> None:
        for other in self.payees.find(programme, account, limit=2):
            if other.id != payee:
                self.emit(AccountShared(payee=payee, other=other.id))
                return

    def _enter(self, row: Request, programme: Programme) -> Request:
        """Keep a new request, with its proposal, and let it take what it asks for."""
        encumbrance = None
        if row.invoice is not None:
            encumbrance = self.documents.encumber(f"request/{row.number}", row.invoice, row.gross_minor, programme.id,
                                                  "funds")
        self.requests.insert(row)
        proposal = self._open_proposal(f"request/{row.number}", programme, row)
        self._count(row, row.amount_minor, taken=True, was_paid=False)
        return self.requests.update(row, proposal=proposal, encumbrance=encumbrance)

    def _open_proposal(self, reference: str, programme: Programme, row: Request) -> int:
        payload = self._payload(row)
        others = (self._payee(row.payee).controller, row.requester, self._releaser(row))
        excluded = tuple([party for party in others if party is not None and party != self.sender.party])
        proposal = self.approvals.open(reference, programme.request_policy, row.kind.value, f"request/{row.number}",
                                       payload, 0, row.amount_minor, programme.currency, programme.authority, (),
                                       excluded)
        self.emit(Submitted(request=row.number, proposal=proposal, payload=payload, payee=row.payee, kind=row.kind,
                            gross_minor=row.gross_minor, amount_minor=row.amount_minor))
        return proposal

    def _payload(self, row: Request) -> bytes:
        parts = tuple([(part.line, part.amount_minor) for part in row.parts])
        return digest_of("funds.request", self.network, row.number, row.kind, row.payee, row.account, row.about,
                         row.gross_minor, row.recovered_minor, row.retained_minor, row.amount_minor, parts,
                         row.invoice, row.evidence)

    def _move_to(self, row: Request, stage: Stage, reason: str | None) -> None:
        self.emit(StageChanged(request=row.number, stage=stage, reason=reason))
        self.requests.update(row, stage=stage, reason=reason, stage_at=self.now)

    def _post(self, row: Request, step: str, source: str, target: str) -> None:
        """Move each part of a request between two accounts of its line."""
        moves = [Transfer(debit=account_of(part.line, source), credit=account_of(part.line, target),
                          amount_minor=part.amount_minor, purpose=step, document=None)
                 for part in row.parts if part.amount_minor > 0]
        self.money.post(f"request/{row.number}/{step}", tuple(moves))

    def _approved(self, row: Request) -> None:
        self.approvals.take(row.proposal, self._payload(row), 0)
        if row.stage is Stage.SUBMITTED:
            self._commit(row, approved=True)
            return
        if row.overdue:
            self._mark_lines(row, -1)
        self.requests.update(row, approved=True, overdue=False)
        self.emit(Regularised(request=row.number))

    def _commit(self, row: Request, *, approved: bool) -> None:
        for part in row.parts:
            line = self._line(part.line)
            self._require_open(line)
            self._require_in_time(line)
            if part.amount_minor > 0:
                self._require_free(part.line, part.amount_minor)
        self._post(row, "commit", FREE, COMMITTED)
        self.emit(StageChanged(request=row.number, stage=Stage.APPROVED, reason=None))
        self.requests.update(row, stage=Stage.APPROVED, reason=None, stage_at=self.now, approved=approved)

    def _suspend(self, row: Request) -> None:
        self._mark_lines(row, 1)
        self.requests.update(row, overdue=True)
        self.emit(Overdue(request=row.number))

    def _mark_lines(self, row: Request, change: int) -> None:
        for part in row.parts:
            line = self._line(part.line)
            self.lines.update(line, overdue=line.overdue + change)

    def _end(self, row: Request, stage: Stage, reason: str) -> None:
        """End a request that was not paid: what it took is free again."""
        if row.stage in COMMITTED_STAGES:
            self._post(row, "release", COMMITTED, FREE)
        if is_unapproved(row) and self.approvals.status(row.proposal) in ("open", "ready"):
            self.approvals.cancel(row.proposal, stage.value)
        self._count(row, row.amount_minor, taken=False, was_paid=False)
        self._free_invoice(row, row.gross_minor)
        self._move_to(self._cleared(row), stage, reason)

    def _cleared(self, row: Request) -> Request:
        """A request that needs no approval any more suspends its lines no longer."""
        if not row.overdue:
            return row
        self._mark_lines(row, -1)
        return self.requests.update(row, overdue=False)

    def _apply(self, row: Request, kind: str, item: Item, *, by_person: bool) -> Mismatch | None:
        """Do what an item of the bank says, if it is new; returns why it contradicts what is known."""
        on_its_way = row.stage is Stage.INSTRUCTED or row.stage is Stage.ACCEPTED
        if item.kind == "BOOK":
            return self._book(row, kind, _entry(item, by_person=by_person), on_its_way)
        if item.kind == "RTRN":
            return self._take_back(row, kind, item, _entry(item, by_person=by_person))
        if item.kind == "RJCT":
            if on_its_way and item.code in DOUBTFUL and not by_person:
                return Mismatch.DUPLICATE
            if on_its_way:
                self._end(row, Stage.FAILED, item.code or "RJCT")
                self._doubt(row, item.code)
                return None
            return None if row.stage is Stage.FAILED else Mismatch.STAGE
        if kind == RESOLUTION_KIND:
            return self._note_recall(row, item, on_its_way=on_its_way, by_person=by_person)
        if item.kind in ACCEPTING and row.stage is Stage.INSTRUCTED:
            self._move_to(row, Stage.ACCEPTED, item.code)
            return None
        return Mismatch.STAGE if row.stage is Stage.FAILED and item.kind in ACCEPTING else None

    def _note_recall(self, row: Request, item: Item, *, on_its_way: bool, by_person: bool) -> Mismatch | None:
        """What became of a recall. A payment that was cancelled on its way ends when a person says so."""
        recall = self.recalls.get(row.number)
        if recall is None:
            return Mismatch.STAGE
        self.recalls.update(recall, outcome=item.kind)
        if on_its_way and item.kind == CANCELLED:
            if not by_person:
                return Mismatch.STAGE
            self._end(row, Stage.FAILED, CANCELLED)
        return None

    def _book(self, row: Request, kind: str, entry: str, on_its_way: bool) -> Mismatch | None:
        """Note that a request was paid; each kind of message says it once."""
        if not on_its_way:
            if self.bookings.exists(row.number, kind, entry):
                return None
            twice = len(list(self.bookings.find(row.number, kind, limit=1))) > 0
            if twice or row.entry_kind is None:
                return Mismatch.STAGE
        self.bookings.insert(Booking(request=row.number, kind=kind, entry=entry))
        if on_its_way:
            self._settle(row, kind, entry)
        return None

    def _settle(self, row: Request, kind: str, entry: str) -> None:
        self._post(row, "settle", COMMITTED, PAID)
        self._count_paid(row)
        self.emit(StageChanged(request=row.number, stage=Stage.SETTLED, reason=None))
        self.requests.update(row, stage=Stage.SETTLED, reason=None, stage_at=self.now, entry=entry, entry_kind=kind)

    def _expect(self, owner: Programme, kind: str, value: str, request: int) -> None:
        """Match what the bank says under an identifier; what it said before the release is for a person to look at."""
        reference = _reference(request)
        for message in self.messages.expect(_channel(owner.id), kind, value, reference):
            for item in self.messages.items_of(message):
                if item.reference == reference and item.state is ItemState.MATCHED:
                    self.messages.quarantine(message, item.position, Mismatch.STAGE.value)

    def _send(self, programme: str, schema: str, reference: str, file: bytes) -> None:
        """Queue a message to the bank that follows from ``reference``, and state the digest of its bytes."""
        source = (SourceField(name="reference", value=reference),)
        number = self.messages.queue(_channel(programme), schema[:KIND_CHARS], schema, reference, source)
        self.messages.produce(_channel(programme), number, file)

    def _take_back(self, row: Request, kind: str, item: Item, entry: str) -> Mismatch | None:
        """Note that money came back, as often as one kind of message says it: the most that any kind told counts."""
        paid = row.stage in PAID_STAGES or row.stage is Stage.RETURNED
        amount = item.amount_minor
        if not paid or amount is None:
            return Mismatch.STAGE
        known = self.returns.get(row.number, kind, entry)
        if known is not None:
            again = None if known.amount_minor == amount else Mismatch.AMOUNT
            return Mismatch.REPEATED if entry == NO_ENTRY else again
        told = sum([one.amount_minor for one in self.returns.find(row.number, kind)]) + amount
        if told > row.amount_minor:
            return Mismatch.AMOUNT
        self.returns.insert(Return(request=row.number, kind=kind, entry=entry, amount_minor=amount))
        more = told - row.returned_minor
        if more <= 0:
            return None
        back = allocate(more, tuple([part.amount_minor - part.returned_minor for part in row.parts]))
        moves, parts = [], []
        for part, minor in zip(row.parts, back, strict=True):
            parts.append(Part(line=part.line, amount_minor=part.amount_minor,
                              returned_minor=part.returned_minor + minor))
            if minor > 0:
                moves.append(Transfer(debit=account_of(part.line, PAID), credit=account_of(part.line),
                                      amount_minor=minor, purpose="return", document=None))
        self.money.post(f"request/{row.number}/return/{told}", tuple(moves))
        self._count(row, more, taken=False, was_paid=True)
        self._free_invoice(row, row.gross_minor if told == row.amount_minor else more)
        self._doubt(row, item.code)
        self.emit(MoneyReturned(request=row.number, amount_minor=more, reason=item.code))
        row = self.requests.update(row, returned_minor=told, parts=tuple(parts))
        if told == row.amount_minor:
            self._move_to(self._cleared(row), Stage.RETURNED, item.code)
        return None

    def _confirm(self, row: Request, confirmed: int, complaint: str | None) -> None:
        require(row.requester != self.sender.party, SamePerson, party=row.requester)
        require(row.stage is Stage.SETTLED, WrongStage, request=row.number, stage=row.stage)
        require(confirmed <= row.amount_minor, MoreThanPaid, most_minor=row.amount_minor)
        self.emit(StageChanged(request=row.number, stage=Stage.CONFIRMED, reason=None))
        self.requests.update(row, stage=Stage.CONFIRMED, reason=None, stage_at=self.now, confirmed_minor=confirmed,
                             complaint=complaint)
        self.emit(ReceiptConfirmed(request=row.number, confirmed_minor=confirmed, complaint=complaint))

    def _count(self, row: Request, amount: int, *, taken: bool, was_paid: bool) -> None:
        """Let a request take, or give back, ``amount`` of what its entitlement or works allow.

        A claim that gives back the last of what it paid also gives back what was recovered and retained of it.
        """
        change = amount if taken else -amount
        if row.kind is Kind.BENEFIT:
            entitlement = self._entitlement(self._payee(row.payee), row.about)
            self.entitlements.update(entitlement, taken_minor=entitlement.taken_minor + change,
                                     paid_minor=entitlement.paid_minor + (change if was_paid else 0))
            return
        works = self.works.get(row.about)
        assert works is not None, "works are never deleted"
        if row.kind is Kind.RETENTION:
            self.works.update(works, released_minor=works.released_minor + change)
        elif row.kind is Kind.ADVANCE and was_paid:
            self.works.update(works, advanced_minor=works.advanced_minor + change)
        elif row.kind is Kind.ADVANCE:
            self.works.update(works, advancing_minor=works.advancing_minor + change)
        elif amount == row.amount_minor - row.returned_minor:
            sign = 1 if taken else -1
            self.works.update(works, claimed_minor=works.claimed_minor + sign * (row.gross_minor - row.returned_minor),
                              recovered_minor=works.recovered_minor + sign * row.recovered_minor,
                              retained_minor=works.retained_minor + sign * row.retained_minor)
        else:
            self.works.update(works, claimed_minor=works.claimed_minor + change)

    def _count_paid(self, row: Request) -> None:
        if row.kind is Kind.BENEFIT:
            entitlement = self._entitlement(self._payee(row.payee), row.about)
            self.entitlements.update(entitlement, paid_minor=entitlement.paid_minor + row.amount_minor)
        elif row.kind is Kind.ADVANCE:
            works = self.works.get(row.about)
            assert works is not None, "works are never deleted"
            self.works.update(works, advancing_minor=works.advancing_minor - row.amount_minor,
                              advanced_minor=works.advanced_minor + row.amount_minor)

    def _free_invoice(self, row: Request, amount: int) -> None:
        """Let the invoice of a request that was not paid, or came back, be paid by another."""
        if row.encumbrance is not None:
            held = min(amount, self.documents.outstanding(row.encumbrance))
            if held > 0:
                self.documents.release(f"request/{row.number}/{row.returned_minor}", row.encumbrance, held)

    def _doubt(self, row: Request, reason: str | None) -> None:
        """Let a payee be verified again whose account the bank did not find."""
        payee = self._payee(row.payee)
        if reason in WRONG_ACCOUNT and payee.account == row.account and payee.status is PayeeStatus.VERIFIED:
            self.payees.update(payee, status=PayeeStatus.ENROLLED)
            self.emit(PayeeChanged(payee=payee.id, programme=payee.programme, status=PayeeStatus.ENROLLED,
                                   account=payee.account))

    # Laws

    @invariant
    def money_is_where_requests_say(self) -> None:
        """On each line, what is committed and paid are the parts of its requests, and nothing is lost on the way."""
        committed: dict[str, int] = {}
        paid: dict[str, int] = {}
        for row in self.requests.find(index=()):
            for part in row.parts:
                assert 0 <= part.returned_minor <= part.amount_minor, row.number
                if row.stage in COMMITTED_STAGES:
                    committed[part.line] = committed.get(part.line, 0) + part.amount_minor
                elif row.stage in PAID_STAGES:
                    paid[part.line] = paid.get(part.line, 0) + part.amount_minor - part.returned_minor
        for line in self.lines.find(index=()):
            assert self.money.balance(account_of(line.id, COMMITTED)) == committed.get(line.id, 0), line.id
            assert self.money.balance(account_of(line.id, PAID)) == paid.get(line.id, 0), line.id
            assert self.money.balance(account_of(line.id)) >= 0, line.id

    @invariant
    def lines_hold_all_that_was_appropriated(self) -> None:
        """What is free, committed and paid on a programme's lines is what came into it, to the last unit."""
        held: dict[str, int] = {}
        for line in self.lines.find(index=()):
            for where in (FREE, COMMITTED, PAID):
                held[line.programme] = held.get(line.programme, 0) + self.money.balance(account_of(line.id, where))
        for programme in self.programmes.find():
            appropriated = -self.money.balance(f"funds/{programme.id}/{SOURCE}")
            assert held[programme.id] == appropriated, programme.id

    @invariant
    def works_count_their_requests(self) -> None:
        """What works count is what their live requests say, and no more is claimed than they are worth."""
        counts: dict[str, list[int]] = {}
        for row in self.requests.find(index=()):
            if row.kind is Kind.BENEFIT or not is_live(row):
                continue
            count = counts.setdefault(row.about, [0, 0, 0, 0, 0, 0])
            left = row.amount_minor - row.returned_minor
            if row.kind is Kind.ADVANCE:
                count[1 if row.stage in PAID_STAGES else 0] += left
            elif row.kind is Kind.RETENTION:
                count[5] += left
            else:
                count[2] += row.gross_minor - row.returned_minor
                count[3] += row.recovered_minor
                count[4] += row.retained_minor
        for works in self.works.find():
            count = counts.get(works.id, [0, 0, 0, 0, 0, 0])
            assert [works.advancing_minor, works.advanced_minor, works.claimed_minor, works.recovered_minor,
                    works.retained_minor, works.released_minor] == count, works.id
            assert works.claimed_minor <= works.value_minor, works.id
            assert works.advancing_minor + works.advanced_minor <= works.advance_minor, works.id

    @invariant
    def nobody_gets_more_than_granted(self) -> None:
        """What an entitlement counts is what its live requests take, within what is granted."""
        taken: dict[tuple[str, str], int] = {}
        paid: dict[tuple[str, str], int] = {}
        for row in self.requests.find(index=()):
            if row.kind is Kind.BENEFIT and is_live(row):
                place = (row.payee, row.about)
                taken[place] = taken.get(place, 0) + row.amount_minor - row.returned_minor
                if row.stage in PAID_STAGES:
                    paid[place] = paid.get(place, 0) + row.amount_minor - row.returned_minor
        for entitlement in self.entitlements.find():
            place = (entitlement.payee, entitlement.cycle)
            assert entitlement.taken_minor == taken.get(place, 0) <= entitlement.granted_minor, place
            assert entitlement.paid_minor == paid.get(place, 0), place

    @invariant
    def nothing_is_paid_without_the_bank(self) -> None:
        """A payment was released in one file, by somebody who had no part in it, and is paid when an entry says so."""
        batches = {batch.id: batch for batch in self.batches.find()}
        for row in self.requests.find(index=()):
            sent = row.batch is not None
            if row.stage is Stage.SUBMITTED or row.stage is Stage.APPROVED or row.stage is Stage.REJECTED:
                assert not sent, row.number
            if row.stage in PAID_STAGES or row.stage is Stage.RETURNED:
                assert row.entry_kind is not None, row.number
            if row.batch is not None:
                batch = batches[row.batch]
                assert row.number in batch.requests, row.number
                assert batch.released_by != row.requester, row.number
                part = self.approvals.part_of(row.proposal, batch.released_by)
                assert part is None or part in ("recusal", "exclusion"), row.number
                assert row.approved or row.regularise_by is not None, row.number
        for batch in batches.values():
            rows = [self._request(number) for number in batch.requests]
            assert sum([row.amount_minor for row in rows]) == batch.sum_minor, batch.id
            assert all(row.batch == batch.id for row in rows), batch.id

    @invariant
    def overdue_requests_suspend_their_lines(self) -> None:
        """A line counts the requests on it that were paid first and not approved in time."""
        overdue: dict[str, int] = {}
        for row in self.requests.find(index=()):
            if row.overdue:
                assert is_unapproved(row), row.number
                for part in row.parts:
                    overdue[part.line] = overdue.get(part.line, 0) + 1
        for line in self.lines.find(index=()):
            assert line.overdue == overdue.get(line.id, 0), line.id


def _channel(programme: str) -> str:
    """The channel in ``messages`` between a programme and its bank."""
    return f"funds/{programme}"


def _reference(request: int) -> str:
    """What the identifiers of a request stand for in ``messages``."""
    return f"request/{request}"


def _number(reference: str) -> int:
    """The request that a reference names."""
    number = 0
    for digit in reference[len("request/"):]:
        number = number * 10 + HEXADECIMAL.index(digit)
    return number


def _entry(item: Item, *, by_person: bool) -> str:
    """The bank's own reference of an entry, as a digest, since it may be any text; without one, a person's word makes
    the item an entry of its own.
    """
    for one in item.identifiers:
        if one.kind == "AcctSvcrRef":
            return digest_of("funds.entry", one.value).hex()[:32]
    return f"item/{item.message}/{item.position}" if by_person else NO_ENTRY


def _uetr(digest: bytes) -> str:
    """A UETR (a version 4 UUID in form, RFC 9562) made of a digest, so that every node makes the same."""
    text = digest.hex()
    variant = "89ab"[HEXADECIMAL.index(text[16]) % 4]
    parts = (text[0:8], text[8:12], "4" + text[13:16], variant + text[17:20], text[20:32])
    return "-".join(parts)
