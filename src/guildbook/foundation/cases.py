"""Cases: disputes and investigations, what they freeze, who decides them, and that they end.

Theory. A *case* is about one *subject*, a row that some contract keeps (contract, table, key), and perhaps an amount.
It is opened through the contract that keeps the subject, whose rules say who may dispute what; or by an *investigator*
(``cases:investigator``) about a subject of any contract.

    from       decide             appeal     close     withdraw
    open       decided            -          -         withdrawn
    decided    -                  appealed   closed    -
    appealed   decided, finally   -          -         -

A decision can be appealed once, until its time, and is closed afterwards. Closed and withdrawn are final.

**A freeze** covers exactly one subject: an amount of it, or the whole. It has an end, at most 400 days ahead, and
counts until then or until it is released, by block time alone. Whoever keeps the subject asks ``frozen`` and
``frozen_minor`` before it lets anything go; a freeze of money is a hold in ``money``, which nobody can draw on, made
within a mandate that the owner of the account gave to ``cases``. When a case ends, all that it froze is released, and
nothing else: of money, what the decision awards goes to the account that the freeze named, the rest back to where it
was.

**Nobody decides their own case.** The case names the permission of its deciders, and another one for an appeal. Who
opened the case, spoke in it, ordered a freeze, appealed or decided has a part in it, and decides nothing in it any
more. No person of the respondent's organisation decides, and in a dispute none of the opener's.

**Time.** A case may count working minutes by a calendar: a clock of ``calendars`` runs from the opening, or from the
appeal, to the decision, and can be stopped with a reason. The time for an appeal is counted in business days of the
same calendar, or in days of 24 hours where there is none.

**Visibility** says who reads a case besides its deciders: everybody, its parties, or only the ``readers`` that it
names, so that an investigation does not warn whom it is about. It is a rule for the readings; a ledger hides nothing
from whoever runs a node, so what is secret is kept outside and only its digest here.

**Order of refusal**: as in ``Cases.rejections``; each command checks in that order.
"""

import enum

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Event,
    NonNegative,
    Positive,
    Record,
    Rejected,
    Table,
    Text,
    Timestamp,
    command,
    digest_of,
    invariant,
    key,
    query,
    require,
    use,
)
from guildbook.foundation.calendars import Calendars
from guildbook.foundation.money import Money
from guildbook.foundation.parties import Parties

DAY_MS = 24 * 3600 * 1000
FREEZE_MS_MAX = 400 * DAY_MS
"""How long a freeze may last: 400 days."""
FREEZES_MAX = 16
"""Freezes of one case."""
STATEMENTS_MAX = 200
"""Statements in one case."""
READERS_MAX = 32
APPEAL_DAYS_MAX = 366
LISTED_MAX = 1_000
ROUNDS_MAX = 2
DECIDER = "cases:decider"
APPEAL_DECIDER = "cases:appeal_decider"
MONEY = "money"
ACCOUNTS = "accounts"


class CaseKind(enum.StrEnum):
    """Whether two parties disagree, or an authority looks into something."""

    DISPUTE = "dispute"
    INVESTIGATION = "investigation"


class CaseState(enum.StrEnum):
    """The life of a case."""

    OPEN = "open"
    DECIDED = "decided"
    APPEALED = "appealed"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Outcome(enum.StrEnum):
    """What a decision says to what was asked."""

    UPHELD = "upheld"
    PARTLY_UPHELD = "partly_upheld"
    REJECTED = "rejected"
    SETTLED = "settled"


class Visibility(enum.StrEnum):
    """Who reads a case besides its deciders; ``parties`` are the organisations of opener and respondent."""

    PUBLIC = "public"
    PARTIES = "parties"
    RESTRICTED = "restricted"


class PartKind(enum.StrEnum):
    """The part that a person has in a case."""

    OPENER = "opener"
    STATEMENT = "statement"
    FREEZE = "freeze"
    DECISION = "decision"
    APPEAL = "appeal"


class Wanted(Record):
    """A freeze to be made with the opening: of a row of the subject's contract, an amount or (None) the whole."""

    table: Code
    subject: Code
    amount_minor: Positive | None
    until: Timestamp


class Case(Record):
    """A dispute or investigation, and how far it has come."""

    number: Positive = key()
    kind: CaseKind
    through: Code | None
    """The contract that opened it, and which closes it; None where an investigator opened it."""
    actor: Code
    """Who gave the reference: the contract, or the investigator."""
    reference: Code
    content: Digest
    subject_contract: Code
    subject_table: Code
    subject: Code
    amount_minor: NonNegative | None
    currency: Code | None
    reason: Code
    opener: Code
    opener_organisation: Code
    respondent: Code | None
    visibility: Visibility
    readers: tuple[Code, ...]
    state: CaseState
    decider: Code
    """The permission of its deciders."""
    appeal_decider: Code | None
    """That of an appeal's; None where there is no appeal."""
    appeal_days: NonNegative
    calendar: Code | None
    minutes: Positive | None
    clock: Positive | None
    """The clock of ``calendars`` that runs, or ran last."""
    statements: NonNegative
    rounds: NonNegative
    """Decisions so far."""
    opened_at: Timestamp
    appeal_until: Timestamp | None
    ended_at: Timestamp | None


class Part(Record):
    """That a person has a part in a case, and which it was first."""

    case: Positive = key()
    party: Code = key()
    kind: PartKind
    since: Timestamp


class Statement(Record):
    """What somebody said in a case; the evidence itself is outside, under its digest."""

    case: Positive = key()
    number: Positive = key()
    party: Code
    organisation: Code
    text: Text
    evidence: Digest | None
    stated_at: Timestamp


class Decision(Record):
    """What was decided in a round: 1 first, 2 on appeal."""

    case: Positive = key()
    round: Positive = key()
    decider: Code
    organisation: Code
    outcome: Outcome
    finding: Code
    statement: Text
    document: Digest | None
    award_minor: NonNegative
    """What goes, of the money that is frozen, to the accounts that the freezes name."""
    decided_at: Timestamp


class Freeze(Record):
    """A subject, or an amount of it, that must not move. ``hold`` is the hold in money, where it is money."""

    number: Positive = key()
    case: Positive
    contract: Code
    table: Code
    subject: Code
    amount_minor: Positive | None
    hold: Positive | None
    into: Code | None
    until: Timestamp
    ordered_by: Code
    ordered_at: Timestamp
    released_at: Timestamp | None
    paid_minor: NonNegative


class CaseOpened(Event):
    """A case was opened."""

    case: Positive
    kind: CaseKind
    subject_contract: Code
    subject_table: Code
    subject: Code
    respondent: Code | None


class FreezeOrdered(Event):
    """Something must not move until a time."""

    freeze: Positive
    case: Positive
    contract: Code
    table: Code
    subject: Code
    amount_minor: Positive | None
    until: Timestamp


class FreezeReleased(Event):
    """What was frozen may move again; ``paid_minor`` of it went where the decision awarded it."""

    freeze: Positive
    case: Positive
    paid_minor: NonNegative


class Stated(Event):
    """Somebody spoke in a case."""

    case: Positive
    statement: Positive


class Decided(Event):
    """A case was decided; it can be appealed until ``appeal_until``, where that is given."""

    case: Positive
    round: Positive
    outcome: Outcome
    finding: Code
    late: bool
    appeal_until: Timestamp | None


class Appealed(Event):
    """A party appealed a decision."""

    case: Positive
    party: Code
    reason: Code


class Ended(Event):
    """A case is over, and nothing is frozen by it any more."""

    case: Positive
    state: CaseState


class OnlyByTransaction(Rejected):
    """An investigation is opened by a transaction itself, not through another contract."""

    caller: Code


class ReferenceUsed(Rejected):
    """The reference was used for something else; give each case its own."""

    reference: Code
    case: Positive


class AmountWithoutCurrency(Rejected):
    """An amount is of a currency, and a currency of an amount."""


class TooMany(Rejected):
    """The case would have more freezes, statements or readers than a case may."""

    most: Positive


class AppealMalformed(Rejected):
    """An appeal has a permission of its deciders and a time of 1 to 366 days; or there is none."""

    most: Positive


class ClockMalformed(Rejected):
    """Minutes are counted by a calendar; a calendar alone counts the days of an appeal."""


class UnknownCase(Rejected):
    """No case has this number."""

    case: Positive


class UnknownFreeze(Rejected):
    """No freeze has this number."""

    freeze: Positive


class NotYourCase(Rejected):
    """This is done through the contract that opened the case, or by an investigator where none did."""

    case: Positive


class WrongState(Rejected):
    """The case is not in a state in which this can be done."""

    state: CaseState


class NotTheOpener(Rejected):
    """Only who opened the case withdraws it."""

    opener: Code


class NotAParty(Rejected):
    """Only persons of the opener's and respondent's organisations, and deciders, do this."""

    organisation: Code


class HasPart(Rejected):
    """The person has a part in the case, and does not decide it."""

    party: Code
    kind: PartKind


class OwnOrganisation(Rejected):
    """A person of this organisation does not decide the case."""

    organisation: Code


class PermissionMissing(Rejected):
    """The person does not hold the permission that this needs."""

    permission: Code


class AwardTooLarge(Rejected):
    """The case has frozen less money than is awarded; and a claim that is rejected awards nothing."""

    wanted_minor: NonNegative
    frozen_minor: NonNegative


class NoAppeal(Rejected):
    """The decision cannot be appealed: the case has no appeal, or had it."""


class AppealTimeOver(Rejected):
    """The time for an appeal is over."""

    appeal_until: Timestamp


class AppealTimeNotOver(Rejected):
    """The decision can be appealed still."""

    appeal_until: Timestamp


class TimeOutOfRange(Rejected):
    """The time has passed, or lies too far ahead."""

    earliest: Timestamp
    latest: Timestamp


class AlreadyReleased(Rejected):
    """The freeze is released."""

    freeze: Positive


class NoClock(Rejected):
    """The case counts no time."""


class Cases(Contract, name="cases", version=1):
    """Cases, who has a part in them, what was said and decided, and what is frozen."""

    parties = use(Parties)
    money = use(Money)
    calendars = use(Calendars)

    cases = Table(
        Case,
        index=[
            ("actor", "reference", "number"),
            ("subject_contract", "subject_table", "subject", "number"),
            ("decider", "state", "number"),
        ],
    )
    parts = Table(Part)
    statements = Table(Statement)
    decisions = Table(Decision)
    freezes = Table(Freeze, index=[("case", "number"), ("contract", "table", "subject", "number")])
    events = (CaseOpened, FreezeOrdered, FreezeReleased, Stated, Decided, Appealed, Ended)
    rejections = (
        OnlyByTransaction,
        ReferenceUsed,
        AmountWithoutCurrency,
        AppealMalformed,
        ClockMalformed,
        UnknownFreeze,
        UnknownCase,
        NotYourCase,
        NotTheOpener,
        WrongState,
        NoAppeal,
        AppealTimeOver,
        AppealTimeNotOver,
        NoClock,
        NotAParty,
        HasPart,
        OwnOrganisation,
        PermissionMissing,
        AlreadyReleased,
        AwardTooLarge,
        TooMany,
        TimeOutOfRange,
    )

    # opening

    @command(callers_only=True)
    def open(
        self,
        reference: Code,
        table: Code,
        subject: Code,
        reason: Code,
        decider: Code,
        kind: CaseKind = CaseKind.DISPUTE,
        respondent: Code | None = None,
        amount_minor: NonNegative | None = None,
        currency: Code | None = None,
        freezes: tuple[Wanted, ...] = (),
        appeal_decider: Code | None = None,
        appeal_days: NonNegative = 0,
        calendar: Code | None = None,
        minutes: Positive | None = None,
        visibility: Visibility = Visibility.PARTIES,
        readers: tuple[Code, ...] = (),
    ) -> int:
        """Open a case about a row of the calling contract; the signer is its opener. Returns its number.

        ``decider`` and ``appeal_decider`` are the permissions of those who decide. ``minutes`` of working time by
        ``calendar`` run until the decision. The freezes are of rows of the calling contract.
        """
        content = digest_of(
            "cases.open",
            table,
            subject,
            reason,
            decider,
            kind,
            respondent,
            amount_minor,
            currency,
            freezes,
            appeal_decider,
            appeal_days,
            calendar,
            minutes,
            visibility,
            readers,
            self.sender.party,
        )
        earlier = self._earlier(self.caller, reference, content)
        if earlier is not None:
            return earlier
        require((amount_minor is None) == (currency is None), AmountWithoutCurrency)
        whole = appeal_decider is not None and 0 < appeal_days <= APPEAL_DAYS_MAX
        require(whole or (appeal_decider is None and appeal_days == 0), AppealMalformed, most=APPEAL_DAYS_MAX)
        require(minutes is None or calendar is not None, ClockMalformed)
        require(len(readers) <= READERS_MAX, TooMany, most=READERS_MAX)
        row = self._insert(
            Case(
                number=self.sequence("cases"),
                kind=kind,
                through=self.caller,
                actor=self.caller,
                reference=reference,
                content=content,
                subject_contract=self.caller,
                subject_table=table,
                subject=subject,
                amount_minor=amount_minor,
                currency=currency,
                reason=reason,
                opener=self.sender.party,
                opener_organisation=self.sender.organisation,
                respondent=respondent,
                visibility=visibility,
                readers=readers,
                state=CaseState.OPEN,
                decider=decider,
                appeal_decider=appeal_decider,
                appeal_days=appeal_days,
                calendar=calendar,
                minutes=minutes,
                clock=None,
                statements=0,
                rounds=0,
                opened_at=self.now,
                appeal_until=None,
                ended_at=None,
            )
        )
        for one in freezes:
            self._freeze(row, self.caller, one.table, one.subject, one.amount_minor, one.until, None, None)
        return row.number

    @command(role="investigator")
    def investigate(
        self,
        reference: Code,
        contract: Code,
        table: Code,
        subject: Code,
        reason: Code,
        respondent: Code | None = None,
        calendar: Code | None = None,
        minutes: Positive | None = None,
        appeal_days: Positive = 14,
        visibility: Visibility = Visibility.RESTRICTED,
        readers: tuple[Code, ...] = (),
    ) -> int:
        """Open an investigation about a row of any contract. Returns its number.

        It is decided with ``cases:decider`` and on appeal with ``cases:appeal_decider``.
        """
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)
        content = digest_of(
            "cases.investigate",
            contract,
            table,
            subject,
            reason,
            respondent,
            calendar,
            minutes,
            appeal_days,
            visibility,
            readers,
        )
        earlier = self._earlier(self.sender.party, reference, content)
        if earlier is not None:
            return earlier
        require(appeal_days <= APPEAL_DAYS_MAX, AppealMalformed, most=APPEAL_DAYS_MAX)
        require(minutes is None or calendar is not None, ClockMalformed)
        require(len(readers) <= READERS_MAX, TooMany, most=READERS_MAX)
        row = self._insert(
            Case(
                number=self.sequence("cases"),
                kind=CaseKind.INVESTIGATION,
                through=None,
                actor=self.sender.party,
                reference=reference,
                content=content,
                subject_contract=contract,
                subject_table=table,
                subject=subject,
                amount_minor=None,
                currency=None,
                reason=reason,
                opener=self.sender.party,
                opener_organisation=self.sender.organisation,
                respondent=respondent,
                visibility=visibility,
                readers=readers,
                state=CaseState.OPEN,
                decider=DECIDER,
                appeal_decider=APPEAL_DECIDER,
                appeal_days=appeal_days,
                calendar=calendar,
                minutes=minutes,
                clock=None,
                statements=0,
                rounds=0,
                opened_at=self.now,
                appeal_until=None,
                ended_at=None,
            )
        )
        return row.number

    # what must not move

    @command(callers_only=True)
    def freeze(
        self, case: Positive, table: Code, subject: Code, amount_minor: Positive | None, until: Timestamp
    ) -> int:
        """Freeze an amount of a row of the calling contract, or (None) the whole, for a case that it opened; returns
        the freeze's number.
        """
        row = self._case(case)
        require(row.through == self.caller, NotYourCase, case=case)
        self._require_running(row)
        return self._freeze(row, self.caller, table, subject, amount_minor, until, None, None)

    @command(role="investigator")
    def order_freeze(
        self,
        case: Positive,
        contract: Code,
        table: Code,
        subject: Code,
        amount_minor: Positive | None,
        until: Timestamp,
    ) -> int:
        """Freeze an amount of a row of any contract, or (None) the whole, for an investigation; returns the freeze's
        number. By an investigator who neither decides the case nor has decided in it.
        """
        row = self._investigation(case)
        self._require_running(row)
        self._require_not_decided(row)
        return self._freeze(row, contract, table, subject, amount_minor, until, None, None)

    @command
    def freeze_money(
        self, case: Positive, account: Code, into: Code, amount_minor: Positive, until: Timestamp
    ) -> int:
        """Hold an amount of an account in ``money`` until a time: in favour of the account ``into``, to which goes what
        the decision awards. Through the contract that opened the case, or by an investigator. Returns the freeze's
        number.

        The owner of the account has given ``cases`` a mandate, as the terms of a network or of a scheme ask for; money
        refuses what the mandate does not cover.
        """
        row = self._case(case)
        self._require_owner(row)
        self._require_running(row)
        self._require_not_decided(row)
        return self._freeze(row, MONEY, ACCOUNTS, account, amount_minor, until, account, into)

    @command
    def release(self, freeze: Positive) -> None:
        """Release a freeze before its case ends; through the contract that opened the case, or by an investigator."""
        found = self.freezes.get(freeze)
        if found is None:
            raise UnknownFreeze(freeze=freeze)
        row = self._case(found.case)
        self._require_owner(row)
        require(found.released_at is None, AlreadyReleased, freeze=freeze)
        self._release(found, 0)

    # speaking and deciding

    @command
    def speak(self, case: Positive, text: Text, evidence: Digest | None = None) -> int:
        """Say something in a running case, with the digest of evidence that is kept outside; returns its number.

        By persons of the opener's or respondent's organisation; of an investigation also by investigators; and by
        anybody through the contract that opened the case, whose rules then say who.
        """
        row = self._case(case)
        self._require_running(row)
        self._require_party(row)
        require(row.statements < STATEMENTS_MAX, TooMany, most=STATEMENTS_MAX)

        self._take_part(row, PartKind.STATEMENT)
        number = row.statements + 1
        self.cases.update(row, statements=number)
        self.statements.insert(
            Statement(
                case=case,
                number=number,
                party=self.sender.party,
                organisation=self.sender.organisation,
                text=text,
                evidence=evidence,
                stated_at=self.now,
            )
        )

        self.emit(Stated(case=case, statement=number))
        return number

    @command
    def decide(
        self,
        case: Positive,
        outcome: Outcome,
        finding: Code,
        statement: Text,
        document: Digest | None = None,
        award_minor: NonNegative = 0,
    ) -> None:
        """Decide an open or appealed case; by a person with the permission that the case names and no part in it.

        ``award_minor`` of the money that the case has frozen goes to the accounts named with the freezes, when the case
        is closed.
        """
        row = self._case(case)
        require(self.caller == "" or self.caller == row.through, NotYourCase, case=case)
        self._require_running(row)
        self._require_decider(row)
        frozen = sum(
            [one.amount_minor for one in self._live_money(case) if one.amount_minor is not None]
        )
        possible = award_minor <= frozen and (award_minor == 0 or outcome is not Outcome.REJECTED)
        require(possible, AwardTooLarge, wanted_minor=award_minor, frozen_minor=frozen)

        late = row.clock is not None and row.minutes is not None and self.calendars.end_clock(row.clock)
        number = row.rounds + 1
        until = self._appeal_until(row) if number < ROUNDS_MAX and row.appeal_decider is not None else None
        self._take_part(row, PartKind.DECISION)
        self.decisions.insert(
            Decision(
                case=case,
                round=number,
                decider=self.sender.party,
                organisation=self.sender.organisation,
                outcome=outcome,
                finding=finding,
                statement=statement,
                document=document,
                award_minor=award_minor,
                decided_at=self.now,
            )
        )
        self.cases.update(row, state=CaseState.DECIDED, rounds=number, appeal_until=until)

        self.emit(
            Decided(case=case, round=number, outcome=outcome, finding=finding, late=late, appeal_until=until)
        )

    @command
    def appeal(self, case: Positive, reason: Code, statement: Text, evidence: Digest | None = None) -> None:
        """Appeal a decision, once and before its time is over; by persons of the opener's or respondent's organisation,
        or through the contract that opened the case.
        """
        row = self._case(case)
        require(row.state is CaseState.DECIDED, WrongState, state=row.state)
        if row.appeal_until is None:
            raise NoAppeal
        require(self.now < row.appeal_until, AppealTimeOver, appeal_until=row.appeal_until)
        self._require_party(row)
        require(row.statements < STATEMENTS_MAX, TooMany, most=STATEMENTS_MAX)

        self._take_part(row, PartKind.APPEAL)
        number = row.statements + 1
        self.statements.insert(
            Statement(
                case=case,
                number=number,
                party=self.sender.party,
                organisation=self.sender.organisation,
                text=statement,
                evidence=evidence,
                stated_at=self.now,
            )
        )
        clock = self._start_clock(row, "appeal")
        self.cases.update(row, state=CaseState.APPEALED, appeal_until=None, statements=number, clock=clock)

        self.emit(Appealed(case=case, party=self.sender.party, reason=reason))

    @command
    def withdraw(self, case: Positive) -> None:
        """Withdraw an open case, and release all that it froze; by who opened it, through the contract where it was
        opened through one.
        """
        row = self._case(case)
        require(self.caller == ("" if row.through is None else row.through), NotYourCase, case=case)
        require(row.opener == self.sender.party, NotTheOpener, opener=row.opener)
        require(row.state is CaseState.OPEN, WrongState, state=row.state)

        if row.clock is not None:
            self.calendars.end_clock(row.clock)
        self._end(row, CaseState.WITHDRAWN, 0)

    @command
    def close(self, case: Positive) -> int:
        """Close a decided case once it cannot be appealed any more: release all that it froze, and pay what was
        awarded.

        Through the contract that opened it, which acts on the outcome in the same call; of an investigation, by
        anybody. Returns the amount that was paid, which is less than the award where a freeze has run out.
        """
        row = self._case(case)
        require(self.caller == ("" if row.through is None else row.through), NotYourCase, case=case)
        require(row.state is CaseState.DECIDED, WrongState, state=row.state)
        if row.appeal_until is not None:
            require(self.now >= row.appeal_until, AppealTimeNotOver, appeal_until=row.appeal_until)
        last = self.decisions.get(case, row.rounds)
        assert last is not None, "a decided case has its decisions"
        return self._end(row, CaseState.CLOSED, last.award_minor)

    # the clock

    @command
    def stop_clock(self, case: Positive, reason: Code) -> int:
        """Stop the clock of a running case, with a reason; by a person who could decide it, or through the contract
        that opened it. Returns the stop's number.
        """
        return self.calendars.stop_clock(self._running_clock(case), reason)

    @command
    def resume_clock(self, case: Positive, stop: Positive) -> None:
        """Let the clock of a running case run again; by whoever may stop it."""
        self.calendars.resume_clock(self._running_clock(case), stop)

    @command
    def renew_calendar(self, case: Positive) -> None:
        """Let the clock of a running case go on by the current version of its calendar, as when a holiday was declared
        later or the years of the earlier version run out; by whoever may stop it.
        """
        self.calendars.move_clock(self._running_clock(case))

    # reading

    @query
    def frozen(self, contract: Code, table: Code, subject: Code) -> bool:
        """Whether a subject is frozen as a whole now."""
        return any(row.amount_minor is None for row in self._live(contract, table, subject))

    @query
    def frozen_minor(self, contract: Code, table: Code, subject: Code) -> int:
        """How much of a subject is frozen now, minor units, over all cases; a freeze of the whole is not counted."""
        amounts = [row.amount_minor for row in self._live(contract, table, subject)]
        return sum([amount for amount in amounts if amount is not None])

    @query
    def running_cases(self, contract: Code, table: Code, subject: Code) -> tuple[int, ...]:
        """The numbers of the cases about a subject that have not ended: it is disputed, or looked into."""
        order = ("subject_contract", "subject_table", "subject", "number")
        rows = self.cases.find(contract, table, subject, index=order)
        return tuple([row.number for row in rows if row.ended_at is None])

    @query
    def status(self, case: Positive) -> Code:
        """The state of a case."""
        return self._case(case).state

    @query
    def outcome(self, case: Positive) -> Code | None:
        """The outcome of the last decision, which may still be appealed; None before the first."""
        row = self._case(case)
        last = None if row.rounds == 0 else self.decisions.get(case, row.rounds)
        return None if last is None else last.outcome

    @query
    def claimed(self, case: Positive) -> int:
        """The amount that a case is about, minor units; 0 where it is about none."""
        row = self._case(case)
        return 0 if row.amount_minor is None else row.amount_minor

    @query
    def award(self, case: Positive) -> int:
        """What the last decision awards, minor units; 0 before the first."""
        row = self._case(case)
        last = None if row.rounds == 0 else self.decisions.get(case, row.rounds)
        return 0 if last is None else last.award_minor

    @query
    def is_final(self, case: Positive) -> bool:
        """Whether a case is decided and cannot be appealed any more, or has ended."""
        row = self._case(case)
        over = row.appeal_until is None or self.now >= row.appeal_until
        return row.ended_at is not None or (row.state is CaseState.DECIDED and over)

    @query
    def due_at(self, case: Positive) -> int | None:
        """When a case has to be decided; None where it counts no time, or its clock is stopped."""
        row = self._case(case)
        return None if row.clock is None else self.calendars.due_at(row.clock)

    @query
    def waiting(self, permission: Code, limit: Positive = LISTED_MAX) -> tuple[int, ...]:
        """The numbers of open cases that persons with a permission decide, at most ``limit`` and 1000."""
        rows = self.cases.find(
            permission, CaseState.OPEN, index=("decider", "state", "number"), limit=min(limit, LISTED_MAX)
        )
        return tuple([row.number for row in rows])

    # guards

    def _earlier(self, actor: str, reference: str, content: bytes) -> int | None:
        """The case that the actor opened under the reference with the same content."""
        row = next(self.cases.find(actor, reference, limit=1), None)
        if row is None:
            return None
        require(row.content == content, ReferenceUsed, reference=reference, case=row.number)
        return row.number

    def _case(self, case: int) -> Case:
        row = self.cases.get(case)
        if row is None:
            raise UnknownCase(case=case)
        return row

    def _investigation(self, case: int) -> Case:
        row = self._case(case)
        require(row.through is None and self.caller == "", NotYourCase, case=case)
        return row

    def _require_owner(self, row: Case) -> None:
        """The contract that opened the case, or an investigator where none did."""
        own = self.caller == "" and self.has_role("investigator") if row.through is None else self.caller == row.through
        require(own, NotYourCase, case=row.number)

    def _require_running(self, row: Case) -> None:
        running = row.state is CaseState.OPEN or row.state is CaseState.APPEALED
        require(running, WrongState, state=row.state)

    def _require_party(self, row: Case) -> None:
        organisation = self.sender.organisation
        through = self.caller != "" and self.caller == row.through
        side = organisation == row.opener_organisation or organisation == row.respondent
        investigator = row.through is None and self.has_role("investigator")
        direct = self.caller == "" and (side or investigator)
        require(through or direct, NotAParty, organisation=organisation)

    def _require_not_decided(self, row: Case) -> None:
        part = self.parts.get(row.number, self.sender.party)
        decided = part is not None and part.kind is PartKind.DECISION
        require(not decided, HasPart, party=self.sender.party, kind=PartKind.DECISION)

    def _require_decider(self, row: Case) -> None:
        party, organisation = self.sender.party, self.sender.organisation
        part = self.parts.get(row.number, party)
        if part is not None:
            raise HasPart(party=party, kind=part.kind)
        own = organisation == row.respondent or (
            row.kind is CaseKind.DISPUTE and organisation == row.opener_organisation
        )
        require(not own, OwnOrganisation, organisation=organisation)
        permission = self._permission(row)
        require(self.parties.has_permission(party, permission), PermissionMissing, permission=permission)

    def _permission(self, row: Case) -> str:
        """The permission of those who decide the case now."""
        if row.state is not CaseState.APPEALED:
            return row.decider
        assert row.appeal_decider is not None, "a case without an appeal is not appealed"
        return row.appeal_decider

    def _running_clock(self, case: int) -> int:
        row = self._case(case)
        require(self.caller == "" or self.caller == row.through, NotYourCase, case=case)
        self._require_running(row)
        if row.clock is None:
            raise NoClock
        if self.caller == "":
            self._require_decider(row)
        return row.clock

    def _live(self, contract: str, table: str, subject: str) -> list[Freeze]:
        rows = self.freezes.find(contract, table, subject, index=("contract", "table", "subject", "number"))
        return [row for row in rows if row.released_at is None and self.now < row.until]

    def _live_money(self, case: int) -> list[Freeze]:
        rows = self.freezes.find(case, index=("case", "number"))
        return [row for row in rows if row.hold is not None and row.released_at is None and self.now < row.until]

    # freezing

    def _freeze(
        self,
        row: Case,
        contract: str,
        table: str,
        subject: str,
        amount: int | None,
        until: int,
        account: str | None,
        into: str | None,
    ) -> int:
        """Freeze something; where ``account`` is given, as a hold in money in favour of ``into``."""
        count = len(list(self.freezes.find(row.number, index=("case", "number"))))
        require(count < FREEZES_MAX, TooMany, most=FREEZES_MAX)
        latest = self.now + FREEZE_MS_MAX
        require(self.now < until <= latest, TimeOutOfRange, earliest=self.now + 1, latest=latest)

        number = self.sequence("freezes")
        hold = None
        if account is not None and into is not None and amount is not None:
            hold = self.money.hold("freeze/" + str(number), account, into, amount, until, row.reason)
        self._take_part(row, PartKind.FREEZE)
        self.freezes.insert(
            Freeze(
                number=number,
                case=row.number,
                contract=contract,
                table=table,
                subject=subject,
                amount_minor=amount,
                hold=hold,
                into=into,
                until=until,
                ordered_by=self.sender.party,
                ordered_at=self.now,
                released_at=None,
                paid_minor=0,
            )
        )

        self.emit(
            FreezeOrdered(
                freeze=number,
                case=row.number,
                contract=contract,
                table=table,
                subject=subject,
                amount_minor=amount,
                until=until,
            )
        )
        return number

    # effects

    def _insert(self, case: Case) -> Case:
        clock = self._start_clock(case, "first")
        row = self.cases.insert(case)
        row = self.cases.update(row, clock=clock)
        self._take_part(row, PartKind.OPENER)
        self.emit(
            CaseOpened(
                case=row.number,
                kind=row.kind,
                subject_contract=row.subject_contract,
                subject_table=row.subject_table,
                subject=row.subject,
                respondent=row.respondent,
            )
        )
        return row

    def _start_clock(self, row: Case, what: str) -> int | None:
        if row.calendar is None or row.minutes is None:
            return None
        number = str(row.number)
        return self.calendars.start_clock(f"{number}/{what}", f"case/{number}", row.calendar, row.minutes)

    def _take_part(self, row: Case, kind: PartKind) -> None:
        if not self.parts.exists(row.number, self.sender.party):
            self.parts.insert(Part(case=row.number, party=self.sender.party, kind=kind, since=self.now))

    def _release(self, freeze: Freeze, award: int) -> int:
        """Release a freeze and pay up to ``award`` of it; returns what was paid. A hold whose time is over is left to
        money, which releases it.
        """
        paid = 0
        if freeze.hold is not None and freeze.amount_minor is not None and self.now < freeze.until:
            paid = min(award, freeze.amount_minor)
            reference = "release/" + str(freeze.number)
            if paid > 0:
                self.money.post_hold(reference, freeze.hold, paid)
            else:
                self.money.void_hold(reference, freeze.hold)
        self.freezes.update(freeze, released_at=self.now, paid_minor=paid)
        self.emit(FreezeReleased(freeze=freeze.number, case=freeze.case, paid_minor=paid))
        return paid

    def _appeal_until(self, row: Case) -> int:
        if row.calendar is None:
            return self.now + row.appeal_days * DAY_MS
        today = self.calendars.local_date(row.calendar, self.now)
        last = self.calendars.add_business_days(row.calendar, today, row.appeal_days)
        return self.calendars.start_of_day(row.calendar, last + 1)

    def _end(self, row: Case, state: CaseState, award: int) -> int:
        paid = 0
        for freeze in list(self.freezes.find(row.number, index=("case", "number"))):
            if freeze.released_at is None:
                paid += self._release(freeze, award - paid)
        self.cases.update(row, state=state, ended_at=self.now)
        self.emit(Ended(case=row.number, state=state))
        return paid

    # laws

    @invariant
    def what_has_ended_freezes_nothing(self) -> None:
        """A case that has ended has released all that it froze; of a freeze no more was paid than it held."""
        for freeze in self.freezes.find(index=()):
            row = self._case(freeze.case)
            assert row.ended_at is None or freeze.released_at is not None, freeze.number
            assert freeze.paid_minor == 0 or freeze.hold is not None, freeze.number
            assert freeze.paid_minor <= (0 if freeze.amount_minor is None else freeze.amount_minor), freeze.number

    @invariant
    def nobody_decides_their_own_case(self) -> None:
        """No decider opened or spoke in the case, belongs to the respondent, or decided an earlier round."""
        for row in self.cases.find(index=()):
            deciders = list(self.decisions.find(row.number))
            assert len(deciders) == row.rounds <= ROUNDS_MAX, row.number
            names = [one.decider for one in deciders]
            assert all(names.count(name) == 1 for name in names), row.number
            spoke = [one.party for one in self.statements.find(row.number)]
            assert len(spoke) == row.statements, row.number
            for one in deciders:
                assert one.decider != row.opener, row.number
                assert one.organisation != row.respondent, row.number
                part = self.parts.get(row.number, one.decider)
                assert part is not None, row.number
                assert part.kind is PartKind.DECISION, row.number

    @invariant
    def states_and_times_agree(self) -> None:
        """A case has an end when it has ended, and decisions when it is decided, appealed or closed."""
        for row in self.cases.find(index=()):
            ended = row.state is CaseState.CLOSED or row.state is CaseState.WITHDRAWN
            assert (row.ended_at is not None) == ended, row.number
            undecided = row.state is CaseState.OPEN or row.state is CaseState.WITHDRAWN
            assert (row.rounds == 0) == undecided, row.number
            assert row.state is not CaseState.APPEALED or row.rounds == 1, row.number
