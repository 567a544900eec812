"""Money: double entry in whole minor units, holds, reversals, and accounts that cannot be overdrawn.

Theory. Money exists in *ledgers*. A ledger has one currency and one *keeper*, a contract or an organisation, whose
money it is: amounts move between accounts of one ledger only, so the money of one keeper never passes for another's. An
*account* counts what was ever debited and credited, posted and pending; a balance is a difference of these totals. A
*transfer* debits one account and credits another with the same amount, so each ledger balances by construction. The
journal's *entries* are never changed; a mistake is corrected by a further entry.

    normal balance   guard                            balance                    drawn on by
    credit           debits_must_not_exceed_credits   credits - debits           a debit
    debit            credits_must_not_exceed_debits   debits - credits           a credit
    either           none                             credits - debits           both

A guard counts pending amounts against the account and never for it: what is held cannot be spent twice, and what is
only promised cannot be spent at all.

A hold reserves an amount on both accounts until it is posted (in full or in part, the rest is released), voided, or
its time is over. Its life is decided by block time alone:

    from       post        void       time over
    pending    posted      voided     expired

**Who may move an account.**

* An account of a *contract* moves, in either direction, only in calls by that contract. So its books can say what the
  account holds.
* An account of a *party* or an *organisation* is drawn on by its owner in a transaction that calls this contract
  directly: the party itself, or a party of the organisation with the permission ``money:treasurer``. A contract draws
  on it only within a *mandate* that the owner gave it: up to an amount, until a time. That a party signed the
  transaction in which a contract runs is no mandate.
* Whoever may draw on the one account may pay into another's. Nobody else's consent is needed, except a contract's.

Only a keeper opens accounts on its ledger, and only its own may be without the guard of a credit balance: these are the
accounts from which money comes into being.

**Once.** Each entry has the reference that its actor (the calling contract, or else the signing party) gave it. The
same reference with the same content returns the first result and changes nothing; with other content it is refused.

**Rounding.** Amounts are integers. A share or a rate is computed with ``mul_div`` or ``allocate``, which name their
rounding, and what remains is a transfer to an account of its own, so that sums stay exact.

Sources: ISO 4217:2015 and its list one of 2026-01-01 (codes and exponents); the account rules published by TigerBeetle
(two-phase transfers, guards, immutable transfers), restated here.
"""

import enum

from guildbook.contract import (
    INT64_MAX,
    Amount,
    Code,
    Contract,
    Digest,
    Event,
    Height,
    NonNegative,
    Positive,
    Record,
    Rejected,
    Rounding,
    Table,
    Text,
    Timestamp,
    command,
    fits_int64,
    invariant,
    key,
    mul_div,
    query,
    require,
)

TRANSFERS_PER_BATCH_MAX = 100
"""Transfers in one batch."""
HOLDS_EXPIRED_PER_CALL_MAX = 100
"""Holds that one call of ``expire_holds`` releases."""
HOLD_MS_MAX = 400 * 24 * 3600 * 1000
"""How long a hold may last: 400 days."""
MANDATE_MS_MAX = 400 * 24 * 3600 * 1000
"""How long a mandate may last: 400 days."""
POWERS_OF_TEN = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
EXPONENT_MAX = 6
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CURRENCY_CODE_CHARS = 3

WITHOUT_MINOR_UNIT = ("XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX")
"""Codes of ISO 4217 without a minor unit: metals, units of account, test and no currency. They count no money here."""

# fmt: off
EXPONENTS = {
    "AED": 2, "AFN": 2, "ALL": 2, "AMD": 2, "AOA": 2, "ARS": 2, "AUD": 2, "AWG": 2, "AZN": 2, "BAM": 2, "BBD": 2,
    "BDT": 2, "BHD": 3, "BIF": 0, "BMD": 2, "BND": 2, "BOB": 2, "BOV": 2, "BRL": 2, "BSD": 2, "BTN": 2, "BWP": 2,
    "BYN": 2, "BZD": 2, "CAD": 2, "CDF": 2, "CHE": 2, "CHF": 2, "CHW": 2, "CLF": 4, "CLP": 0, "CNY": 2, "COP": 2,
    "COU": 2, "CRC": 2, "CUP": 2, "CVE": 2, "CZK": 2, "DJF": 0, "DKK": 2, "DOP": 2, "DZD": 2, "EGP": 2, "ERN": 2,
    "ETB": 2, "EUR": 2, "FJD": 2, "FKP": 2, "GBP": 2, "GEL": 2, "GHS": 2, "GIP": 2, "GMD": 2, "GNF": 0, "GTQ": 2,
    "GYD": 2, "HKD": 2, "HNL": 2, "HTG": 2, "HUF": 2, "IDR": 2, "ILS": 2, "INR": 2, "IQD": 3, "IRR": 2, "ISK": 0,
    "JMD": 2, "JOD": 3, "JPY": 0, "KES": 2, "KGS": 2, "KHR": 2, "KMF": 0, "KPW": 2, "KRW": 0, "KWD": 3, "KYD": 2,
    "KZT": 2, "LAK": 2, "LBP": 2, "LKR": 2, "LRD": 2, "LSL": 2, "LYD": 3, "MAD": 2, "MDL": 2, "MGA": 2, "MKD": 2,
    "MMK": 2, "MNT": 2, "MOP": 2, "MRU": 2, "MUR": 2, "MVR": 2, "MWK": 2, "MXN": 2, "MXV": 2, "MYR": 2, "MZN": 2,
    "NAD": 2, "NGN": 2, "NIO": 2, "NOK": 2, "NPR": 2, "NZD": 2, "OMR": 3, "PAB": 2, "PEN": 2, "PGK": 2, "PHP": 2,
    "PKR": 2, "PLN": 2, "PYG": 0, "QAR": 2, "RON": 2, "RSD": 2, "RUB": 2, "RWF": 0, "SAR": 2, "SBD": 2, "SCR": 2,
    "SDG": 2, "SEK": 2, "SGD": 2, "SHP": 2, "SLE": 2, "SOS": 2, "SRD": 2, "SSP": 2, "STN": 2, "SVC": 2, "SYP": 2,
    "SZL": 2, "THB": 2, "TJS": 2, "TMT": 2, "TND": 3, "TOP": 2, "TRY": 2, "TTD": 2, "TWD": 2, "TZS": 2, "UAH": 2,
    "UGX": 0, "USD": 2, "USN": 2, "UYI": 0, "UYU": 2, "UYW": 4, "UZS": 2, "VED": 2, "VES": 2, "VND": 0, "VUV": 0,
    "WST": 2, "XAD": 2, "XAF": 0, "XCD": 2, "XCG": 2, "XOF": 0, "XPF": 0, "YER": 2, "ZAR": 2, "ZMW": 2, "ZWG": 2,
}
"""The exponent of each currency: how many decimal places its minor unit has. Part of this source, so that all members
agree on it by its hash; ``add_currency`` adds what the standard adds later."""
# fmt: on


class OwnerKind(enum.StrEnum):
    """What owns an account, keeps a ledger, or made an entry."""

    PARTY = "party"
    ORGANISATION = "organisation"
    CONTRACT = "contract"


class Guard(enum.StrEnum):
    """What an account's totals must keep to."""

    DEBITS_MUST_NOT_EXCEED_CREDITS = "debits_must_not_exceed_credits"
    CREDITS_MUST_NOT_EXCEED_DEBITS = "credits_must_not_exceed_debits"
    NONE = "none"


class AccountState(enum.StrEnum):
    """Whether money may come into and go out of an account."""

    OPEN = "open"
    FROZEN_IN = "frozen_in"
    FROZEN_OUT = "frozen_out"
    FROZEN = "frozen"
    CLOSED = "closed"


class EntryKind(enum.StrEnum):
    """What an entry does."""

    TRANSFER = "transfer"
    HOLD = "hold"
    POST = "post"
    VOID = "void"
    EXPIRY = "expiry"
    REVERSAL = "reversal"


class HoldState(enum.StrEnum):
    """The life of a hold."""

    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


class Currency(Record):
    """A currency in use, with the exponent that all amounts of it were written with."""

    code: Code = key()
    exponent: NonNegative


class Ledger(Record):
    """The money of one keeper in one currency."""

    id: Code = key()
    currency: Code
    keeper_kind: OwnerKind
    keeper: Code


class Account(Record):
    """Totals of all that was debited and credited, in minor units; ``opened_at`` is a height."""

    id: Code = key()
    ledger: Code
    currency: Code
    owner_kind: OwnerKind
    owner: Code
    guard: Guard
    state: AccountState
    debits_posted: NonNegative
    credits_posted: NonNegative
    debits_pending: NonNegative
    credits_pending: NonNegative
    opened_at: Height


class Entry(Record):
    """A line of the journal. ``about`` is the hold or entry that it settles or reverses. Only an expiry has no
    reference.
    """

    number: Positive = key()
    kind: EntryKind
    ledger: Code
    currency: Code
    debit: Code
    credit: Code
    amount_minor: Positive
    about: Positive | None
    actor_kind: OwnerKind
    actor: Code
    reference: Code | None
    purpose: Code
    document: Digest | None
    expires_at: Timestamp | None
    entered_at: Timestamp


class Hold(Record):
    """A reserved amount, under the number of its entry; ``settled_by`` is the entry that ended it."""

    number: Positive = key()
    debit: Code
    credit: Code
    amount_minor: Positive
    state: HoldState
    expires_at: Timestamp
    posted_minor: NonNegative
    settled_by: Positive | None
    actor_kind: OwnerKind
    actor: Code


class Reversal(Record):
    """That an entry was reversed, and by which."""

    entry: Positive = key()
    reversed_by: Positive


class Mandate(Record):
    """How much of an account a contract may still draw on, and until when."""

    account: Code = key()
    contract: Code = key()
    remaining_minor: NonNegative
    valid_until: Timestamp


class Transfer(Record):
    """One transfer of a batch: from which account to which, how much, what for, and the digest of its document."""

    debit: Code
    credit: Code
    amount_minor: Positive
    purpose: Code
    document: Digest | None = None


class Content(Record):
    """What an entry says, apart from who says it and when: the content that a reference stands for."""

    kind: EntryKind
    debit: Code
    credit: Code
    amount_minor: Positive
    about: Positive | None
    purpose: Code
    document: Digest | None
    expires_at: Timestamp | None


class CurrencyAdded(Event):
    """A currency that the built-in list does not have can be used."""

    currency: Code
    exponent: NonNegative


class LedgerOpened(Event):
    """A keeper opened a ledger."""

    ledger: Code
    currency: Code
    keeper_kind: OwnerKind
    keeper: Code


class AccountOpened(Event):
    """A keeper opened an account."""

    account: Code
    ledger: Code
    owner_kind: OwnerKind
    owner: Code


class Posted(Event):
    """A batch of transfers took effect: entries ``first`` to ``last``."""

    reference: Code
    first: Positive
    last: Positive


class Held(Event):
    """An amount is reserved until a time."""

    hold: Positive
    expires_at: Timestamp


class HoldPosted(Event):
    """A hold was posted, and what was held beyond the amount released."""

    hold: Positive
    entry: Positive
    amount_minor: Positive


class HoldVoided(Event):
    """A hold was given up before its time."""

    hold: Positive
    entry: Positive


class HoldExpired(Event):
    """A hold's time was over."""

    hold: Positive
    entry: Positive


class Reversed(Event):
    """An entry was reversed by another."""

    entry: Positive
    reversed_by: Positive


class MandateGiven(Event):
    """An owner lets a contract draw on an account."""

    account: Code
    contract: Code
    limit_minor: Positive
    valid_until: Timestamp


class MandateWithdrawn(Event):
    """A contract may no longer draw on an account."""

    account: Code
    contract: Code


class Frozen(Event):
    """Money may not come into, or go out of, an account."""

    account: Code
    state: AccountState
    reason: Text


class Unfrozen(Event):
    """An account is open again."""

    account: Code


class Closed(Event):
    """An account is closed for good."""

    account: Code


class OnlyByTransaction(Rejected):
    """Currencies and freezes are decided by a transaction itself, not through another contract."""

    caller: Code


class EmptyBatch(Rejected):
    """A batch has at least one transfer."""


class BatchTooLarge(Rejected):
    """The batch has more transfers than a batch may have."""

    most: Positive


class ReferenceUsed(Rejected):
    """The reference was used for something else; give each entry its own."""

    reference: Code
    entry: Positive


class NotACurrencyCode(Rejected):
    """A currency code is three capital letters."""

    currency: Code


class CurrencyWithoutMinorUnit(Rejected):
    """The code has no minor unit, so whole numbers cannot count it."""

    currency: Code


class UnknownCurrency(Rejected):
    """Neither ISO 4217 nor this network has the currency."""

    currency: Code


class CurrencyExists(Rejected):
    """The currency is known, and its exponent never changes."""

    currency: Code
    exponent: NonNegative


class ExponentTooLarge(Rejected):
    """A minor unit has at most six decimal places."""

    most: Positive


class UnknownLedger(Rejected):
    """No ledger has this id."""

    ledger: Code


class LedgerExists(Rejected):
    """A ledger with this id exists."""

    ledger: Code


class NotAnIssuer(Rejected):
    """Only a contract, or a party with the permission money:issuer, opens a ledger."""


class NotTheKeeper(Rejected):
    """Only the keeper of the ledger may do this."""

    ledger: Code


class AccountExists(Rejected):
    """An account with this id exists; ids are never used again."""

    account: Code


class GuardOnlyForKeeper(Rejected):
    """Only the keeper's own accounts may be without the guard of a credit balance."""

    keeper: Code


class AmountNotPositive(Rejected):
    """An amount is at least one minor unit."""


class SameAccount(Rejected):
    """A transfer has two accounts."""

    account: Code


class UnknownAccount(Rejected):
    """No account has this id."""

    account: Code


class LedgersDiffer(Rejected):
    """Money moves between accounts of one ledger."""

    debit: Code
    credit: Code


class UnknownHold(Rejected):
    """No hold has this number."""

    hold: Positive


class UnknownEntry(Rejected):
    """No entry has this number."""

    entry: Positive


class NotYourAccount(Rejected):
    """Only the account's owner may move it this way."""

    account: Code


class NotYourHold(Rejected):
    """The hold is settled by who made it, or by who is to be paid; only the latter may void it."""

    hold: Positive


class NoMandate(Rejected):
    """The owner of the account gave the calling contract no mandate that is still valid."""

    account: Code
    contract: Code


class MandateExceeded(Rejected):
    """The mandate does not cover the amount."""

    account: Code
    wanted_minor: Positive
    remaining_minor: NonNegative


class MandateForContract(Rejected):
    """An account of a contract needs no mandate and takes none."""

    account: Code


class TimeOutOfRange(Rejected):
    """The time has passed, or lies too far ahead."""

    earliest: Timestamp
    latest: Timestamp


class HoldNotPending(Rejected):
    """The hold has ended already."""

    hold: Positive
    state: HoldState


class HoldTimeOver(Rejected):
    """The hold's time is over; it can only be released."""

    hold: Positive
    expires_at: Timestamp


class HoldNotDue(Rejected):
    """The hold's time is not over yet."""

    hold: Positive
    expires_at: Timestamp


class MoreThanHeld(Rejected):
    """More is to be posted than was held."""

    wanted_minor: Positive
    held_minor: Positive


class NotReversible(Rejected):
    """Only an entry that moved money and is no reversal itself can be reversed."""

    entry: Positive
    kind: EntryKind


class AlreadyReversed(Rejected):
    """The entry was reversed already; an entry is reversed once."""

    entry: Positive
    reversed_by: Positive


class AccountClosed(Rejected):
    """The account is closed."""

    account: Code


class AccountFrozen(Rejected):
    """The account is frozen in the direction of this movement."""

    account: Code
    state: AccountState


class AccountNotFrozen(Rejected):
    """The account is open."""

    account: Code


class NotAFreeze(Rejected):
    """An account is frozen as frozen_in, frozen_out or frozen."""

    state: AccountState


class AccountNotEmpty(Rejected):
    """An account is closed with a balance of zero and nothing pending."""

    account: Code
    balance_minor: Amount
    pending_minor: NonNegative


class TotalTooLarge(Rejected):
    """The account's totals would not fit 64 bits."""

    account: Code


class Overdrawn(Rejected):
    """The account does not cover the amount."""

    account: Code
    wanted_minor: Positive
    available_minor: NonNegative


class RateNotPositive(Rejected):
    """A rate has a positive numerator and denominator."""


class AmountOutOfRange(Rejected):
    """The amount does not fit 64 bits."""


def balance_of(account: Account) -> int:
    """What the account holds by its guard: posted credits less debits, or the reverse for a debit balance."""
    if account.guard is Guard.CREDITS_MUST_NOT_EXCEED_DEBITS:
        return account.debits_posted - account.credits_posted
    return account.credits_posted - account.debits_posted


def available_of(account: Account) -> int:
    """What can be drawn on: the balance less what is pending against it."""
    if account.guard is Guard.CREDITS_MUST_NOT_EXCEED_DEBITS:
        return balance_of(account) - account.credits_pending
    return balance_of(account) - account.debits_pending


def is_drawn_by_debit(guard: Guard) -> bool:
    """Whether a debit draws on an account with this guard."""
    return guard is not Guard.CREDITS_MUST_NOT_EXCEED_DEBITS


def is_drawn_by_credit(guard: Guard) -> bool:
    """Whether a credit draws on an account with this guard."""
    return guard is not Guard.DEBITS_MUST_NOT_EXCEED_CREDITS


def content_of(entry: Entry) -> Content:
    """What the entry says."""
    return Content(
        kind=entry.kind,
        debit=entry.debit,
        credit=entry.credit,
        amount_minor=entry.amount_minor,
        about=entry.about,
        purpose=entry.purpose,
        document=entry.document,
        expires_at=entry.expires_at,
    )


class Money(Contract, name="money", version=1):
    """Ledgers, accounts, the journal, holds, reversals and mandates."""

    currencies = Table(Currency)
    ledgers = Table(Ledger)
    accounts = Table(Account, index=[("ledger", "id"), ("owner_kind", "owner", "id")])
    entries = Table(Entry, index=[("actor_kind", "actor", "reference", "number")])
    holds = Table(Hold, index=[("state", "expires_at", "number")])
    reversals = Table(Reversal)
    mandates = Table(Mandate)
    events = (
        CurrencyAdded,
        LedgerOpened,
        AccountOpened,
        Posted,
        Held,
        HoldPosted,
        HoldVoided,
        HoldExpired,
        Reversed,
        MandateGiven,
        MandateWithdrawn,
        Frozen,
        Unfrozen,
        Closed,
    )
    rejections = (
        OnlyByTransaction,
        EmptyBatch,
        BatchTooLarge,
        UnknownHold,
        UnknownEntry,
        ReferenceUsed,
        NotACurrencyCode,
        CurrencyWithoutMinorUnit,
        UnknownCurrency,
        CurrencyExists,
        ExponentTooLarge,
        UnknownLedger,
        LedgerExists,
        NotAnIssuer,
        NotTheKeeper,
        AccountExists,
        GuardOnlyForKeeper,
        TimeOutOfRange,
        AmountNotPositive,
        SameAccount,
        UnknownAccount,
        LedgersDiffer,
        NotReversible,
        AlreadyReversed,
        MandateForContract,
        NotYourAccount,
        NotYourHold,
        NotAFreeze,
        HoldNotPending,
        HoldTimeOver,
        HoldNotDue,
        MoreThanHeld,
        AccountClosed,
        AccountFrozen,
        AccountNotFrozen,
        AccountNotEmpty,
        TotalTooLarge,
        Overdrawn,
        NoMandate,
        MandateExceeded,
        RateNotPositive,
        AmountOutOfRange,
    )

    # ledgers and accounts

    @command(role="registrar")
    def add_currency(self, currency: Code, exponent: NonNegative) -> None:
        """Let a currency be used that the built-in list does not have, with an exponent of 0 to 6."""
        self._require_direct()
        well_formed = len(currency) == CURRENCY_CODE_CHARS and all(one in CAPITALS for one in currency)
        require(well_formed, NotACurrencyCode, currency=currency)
        require(currency not in WITHOUT_MINOR_UNIT, CurrencyWithoutMinorUnit, currency=currency)
        known = self._exponent(currency)
        if known is not None:
            raise CurrencyExists(currency=currency, exponent=known)
        require(exponent <= EXPONENT_MAX, ExponentTooLarge, most=EXPONENT_MAX)

        self.currencies.insert(Currency(code=currency, exponent=exponent))

        self.emit(CurrencyAdded(currency=currency, exponent=exponent))

    @command
    def open_ledger(self, ledger: Code, currency: Code) -> None:
        """Open a ledger, kept by the calling contract, or by the organisation of a signer with ``money:issuer``."""
        exponent = self.exponent(currency)
        require(not self.ledgers.exists(ledger), LedgerExists, ledger=ledger)
        require(self.caller != "" or self.has_role("issuer"), NotAnIssuer)

        if not self.currencies.exists(currency):
            self.currencies.insert(Currency(code=currency, exponent=exponent))
        kind = OwnerKind.CONTRACT if self.caller else OwnerKind.ORGANISATION
        keeper = self.caller if self.caller else self.sender.organisation
        self.ledgers.insert(Ledger(id=ledger, currency=currency, keeper_kind=kind, keeper=keeper))

        self.emit(LedgerOpened(ledger=ledger, currency=currency, keeper_kind=kind, keeper=keeper))

    @command
    def open_account(
        self,
        account: Code,
        ledger: Code,
        owner_kind: OwnerKind,
        owner: Code,
        guard: Guard = Guard.DEBITS_MUST_NOT_EXCEED_CREDITS,
    ) -> None:
        """Open an account for ``owner`` on a ledger; by the ledger's keeper.

        Whether the owner exists is for the keeper to know: an account of a party that nobody registered cannot be
        drawn on until somebody does.
        """
        kept = self._ledger(ledger)
        self._require_keeper(kept)
        require(not self.accounts.exists(account), AccountExists, account=account)
        own = owner_kind == kept.keeper_kind and owner == kept.keeper
        require(own or guard is Guard.DEBITS_MUST_NOT_EXCEED_CREDITS, GuardOnlyForKeeper, keeper=kept.keeper)

        self.accounts.insert(
            Account(
                id=account,
                ledger=ledger,
                currency=kept.currency,
                owner_kind=owner_kind,
                owner=owner,
                guard=guard,
                state=AccountState.OPEN,
                debits_posted=0,
                credits_posted=0,
                debits_pending=0,
                credits_pending=0,
                opened_at=self.height,
            )
        )

        self.emit(AccountOpened(account=account, ledger=ledger, owner_kind=owner_kind, owner=owner))

    @command
    def close_account(self, account: Code) -> None:
        """Close an open account for good; by its owner or the ledger's keeper, with a balance of zero and nothing
        pending.
        """
        row = self._account(account)
        if not self._keeps(self._ledger(row.ledger)):
            require(self._owns(row), NotYourAccount, account=account)
        require(row.state is not AccountState.CLOSED, AccountClosed, account=account)
        require(row.state is AccountState.OPEN, AccountFrozen, account=account, state=row.state)
        balance, pending = balance_of(row), max(row.debits_pending, row.credits_pending)
        empty = balance == 0 and pending == 0
        require(empty, AccountNotEmpty, account=account, balance_minor=balance, pending_minor=pending)

        self.accounts.update(row, state=AccountState.CLOSED)

        self.emit(Closed(account=account))

    @command(role="supervisor")
    def freeze(self, account: Code, state: AccountState, reason: Text) -> None:
        """Stop money from coming in (``frozen_in``), going out (``frozen_out``) or both (``frozen``).

        A freeze also stops the posting of earlier holds; voiding and expiry go on. A freeze replaces an earlier one.
        """
        self._require_direct()
        row = self._account(account)
        require(state is not AccountState.OPEN and state is not AccountState.CLOSED, NotAFreeze, state=state)
        require(row.state is not AccountState.CLOSED, AccountClosed, account=account)

        self.accounts.update(row, state=state)

        self.emit(Frozen(account=account, state=state, reason=reason))

    @command(role="supervisor")
    def unfreeze(self, account: Code) -> None:
        """Open a frozen account again."""
        self._require_direct()
        row = self._account(account)
        require(row.state is not AccountState.CLOSED, AccountClosed, account=account)
        require(row.state is not AccountState.OPEN, AccountNotFrozen, account=account)

        self.accounts.update(row, state=AccountState.OPEN)

        self.emit(Unfrozen(account=account))

    @command
    def give_mandate(self, account: Code, contract: Code, limit_minor: Positive, valid_until: Timestamp) -> None:
        """Let a contract draw on an account of a party or organisation, ``limit_minor`` in all, until ``valid_until``.

        By the account's owner, in a transaction of its own. A new mandate for the same contract replaces the old. What
        a contract held and then released does not come back into the mandate.
        """
        self._require_between(valid_until, self.now + 1, self.now + MANDATE_MS_MAX)
        row = self._account(account)
        require(row.owner_kind is not OwnerKind.CONTRACT, MandateForContract, account=account)
        require(self._owns(row), NotYourAccount, account=account)

        mandate = self.mandates.get(account, contract)
        if mandate is None:
            self.mandates.insert(
                Mandate(account=account, contract=contract, remaining_minor=limit_minor, valid_until=valid_until)
            )
        else:
            self.mandates.update(mandate, remaining_minor=limit_minor, valid_until=valid_until)

        self.emit(MandateGiven(account=account, contract=contract, limit_minor=limit_minor, valid_until=valid_until))

    @command
    def withdraw_mandate(self, account: Code, contract: Code) -> None:
        """Let a contract draw on an account no longer; by the account's owner."""
        row = self._account(account)
        require(self._owns(row), NotYourAccount, account=account)
        mandate = self.mandates.get(account, contract)
        if mandate is None:
            raise NoMandate(account=account, contract=contract)

        self.mandates.delete(mandate)

        self.emit(MandateWithdrawn(account=account, contract=contract))

    # the journal

    @command
    def transfer(
        self,
        reference: Code,
        debit: Code,
        credit: Code,
        amount_minor: Positive,
        purpose: Code,
        document: Digest | None = None,
    ) -> int:
        """Debit one account and credit another; returns the entry's number."""
        only = Transfer(debit=debit, credit=credit, amount_minor=amount_minor, purpose=purpose, document=document)
        return self.post(reference, (only,))[0]

    @command
    def post(self, reference: Code, transfers: tuple[Transfer, ...]) -> tuple[int, ...]:
        """Make all transfers of a batch or none, in their order; returns their entries' numbers.

        Each transfer must be covered when its turn comes. The transfers may be on several ledgers, so that two
        payments in two currencies happen together or not at all.
        """
        require(len(transfers) > 0, EmptyBatch)
        require(len(transfers) <= TRANSFERS_PER_BATCH_MAX, BatchTooLarge, most=TRANSFERS_PER_BATCH_MAX)
        wanted = [
            Content(
                kind=EntryKind.TRANSFER,
                debit=one.debit,
                credit=one.credit,
                amount_minor=one.amount_minor,
                about=None,
                purpose=one.purpose,
                document=one.document,
                expires_at=None,
            )
            for one in transfers
        ]
        earlier = self._earlier(reference, wanted)
        if earlier:
            return earlier

        numbers = tuple([self._enter_movement(reference, content) for content in wanted])

        self.emit(Posted(reference=reference, first=numbers[0], last=numbers[-1]))
        return numbers

    @command
    def hold(
        self,
        reference: Code,
        debit: Code,
        credit: Code,
        amount_minor: Positive,
        expires_at: Timestamp,
        purpose: Code,
        document: Digest | None = None,
    ) -> int:
        """Reserve an amount for a transfer until ``expires_at``, at most 400 days ahead; returns the hold's number."""
        content = Content(
            kind=EntryKind.HOLD,
            debit=debit,
            credit=credit,
            amount_minor=amount_minor,
            about=None,
            purpose=purpose,
            document=document,
            expires_at=expires_at,
        )
        earlier = self._earlier(reference, [content])
        if earlier:
            return earlier[0]
        self._require_between(expires_at, self.now + 1, self.now + HOLD_MS_MAX)

        number = self._enter_movement(reference, content)
        self.holds.insert(
            Hold(
                number=number,
                debit=debit,
                credit=credit,
                amount_minor=amount_minor,
                state=HoldState.PENDING,
                expires_at=expires_at,
                posted_minor=0,
                settled_by=None,
                actor_kind=self._actor_kind(),
                actor=self._actor(),
            )
        )

        self.emit(Held(hold=number, expires_at=expires_at))
        return number

    @command
    def post_hold(self, reference: Code, hold: Positive, amount_minor: Positive | None = None) -> int:
        """Make the transfer that a hold reserved, with all of it or ``amount_minor``; the rest is released.

        By the contract that made the hold; by the party that made it, or the owner of the account that is paid.
        Returns the entry's number.
        """
        row = self._hold(hold)
        amount = row.amount_minor if amount_minor is None else amount_minor
        content = self._settlement(EntryKind.POST, row, amount)
        earlier = self._earlier(reference, [content])
        if earlier:
            return earlier[0]
        require(amount > 0, AmountNotPositive)
        debit, credit = self._account(row.debit), self._account(row.credit)
        maker = self._made(row)
        require(maker or self._is_paid(row, debit, credit), NotYourHold, hold=hold)
        self._require_pending(row)
        require(self.now < row.expires_at, HoldTimeOver, hold=hold, expires_at=row.expires_at)
        require(amount <= row.amount_minor, MoreThanHeld, wanted_minor=amount, held_minor=row.amount_minor)
        self._require_open(debit, is_drawn_by_debit(debit.guard))
        self._require_open(credit, credit.guard is Guard.CREDITS_MUST_NOT_EXCEED_DEBITS)

        self._release(row)
        debit, credit = self._account(row.debit), self._account(row.credit)
        self.accounts.update(debit, debits_posted=debit.debits_posted + amount)
        self.accounts.update(credit, credits_posted=credit.credits_posted + amount)
        number = self._enter(reference, content)
        self.holds.update(row, state=HoldState.POSTED, posted_minor=amount, settled_by=number)

        self.emit(HoldPosted(hold=hold, entry=number, amount_minor=amount))
        return number

    @command
    def void_hold(self, reference: Code, hold: Positive) -> int:
        """Give up a hold before its time; by the contract that made it, or by the owner of the account that was to be
        paid. Returns the entry's number.
        """
        row = self._hold(hold)
        content = self._settlement(EntryKind.VOID, row, row.amount_minor)
        earlier = self._earlier(reference, [content])
        if earlier:
            return earlier[0]
        paid = self._is_paid(row, self._account(row.debit), self._account(row.credit))
        require(paid or (row.actor_kind is OwnerKind.CONTRACT and self._made(row)), NotYourHold, hold=hold)
        self._require_pending(row)

        self._release(row)
        number = self._enter(reference, content)
        self.holds.update(row, state=HoldState.VOIDED, settled_by=number)

        self.emit(HoldVoided(hold=hold, entry=number))
        return number

    @command
    def expire_hold(self, hold: Positive) -> int:
        """Release a hold whose time is over; by anybody. Returns the entry's number."""
        row = self._hold(hold)
        self._require_pending(row)
        require(self.now >= row.expires_at, HoldNotDue, hold=hold, expires_at=row.expires_at)
        return self._expire(row)

    @command
    def expire_holds(self, limit: Positive = HOLDS_EXPIRED_PER_CALL_MAX) -> int:
        """Release holds whose time is over, by expiry and number, at most ``limit`` and 100; by anybody.

        Returns how many. Released holds leave the order, so the next call goes on where this one ended; when fewer
        than the limit come back, none is left.
        """
        most = min(limit, HOLDS_EXPIRED_PER_CALL_MAX)
        due = [row for row in self.holds.find(HoldState.PENDING, limit=most) if row.expires_at <= self.now]
        for row in due:
            self._expire(row)
        return len(due)

    @command
    def reverse(self, reference: Code, entry: Positive, purpose: Code, document: Digest | None = None) -> int:
        """Take a transfer, or the posting of a hold, back by a further entry in the other direction, once.

        Whoever may draw on the account that was paid may do it; guards and freezes apply as to any transfer. Returns
        the reversal's number.
        """
        row = self.entries.get(entry)
        if row is None:
            raise UnknownEntry(entry=entry)
        content = Content(
            kind=EntryKind.REVERSAL,
            debit=row.credit,
            credit=row.debit,
            amount_minor=row.amount_minor,
            about=entry,
            purpose=purpose,
            document=document,
            expires_at=None,
        )
        earlier = self._earlier(reference, [content])
        if earlier:
            return earlier[0]
        reversible = row.kind is EntryKind.TRANSFER or row.kind is EntryKind.POST
        require(reversible, NotReversible, entry=entry, kind=row.kind)
        reversal = self.reversals.get(entry)
        if reversal is not None:
            raise AlreadyReversed(entry=entry, reversed_by=reversal.reversed_by)

        number = self._enter_movement(reference, content)
        self.reversals.insert(Reversal(entry=entry, reversed_by=number))

        self.emit(Reversed(entry=entry, reversed_by=number))
        return number

    # reading

    @query
    def exponent(self, currency: Code) -> int:
        """How many decimal places the minor unit of a currency has, 0 to 6."""
        require(currency not in WITHOUT_MINOR_UNIT, CurrencyWithoutMinorUnit, currency=currency)
        known = self._exponent(currency)
        if known is None:
            raise UnknownCurrency(currency=currency)
        return known

    @query
    def balance(self, account: Code) -> int:
        """The account's balance in minor units; negative only where it has no guard."""
        return balance_of(self._account(account))

    @query
    def available(self, account: Code) -> int:
        """What can be drawn on, in minor units: the balance less what is held."""
        return available_of(self._account(account))

    @query
    def trial_balance(self, ledger: Code) -> tuple[int, ...]:
        """The sums over a ledger's accounts: debits posted, credits posted, debits pending, credits pending.

        The first equals the second and the third the fourth, at every height.
        """
        self._ledger(ledger)
        rows = list(self.accounts.find(ledger))
        return (
            sum(row.debits_posted for row in rows),
            sum(row.credits_posted for row in rows),
            sum(row.debits_pending for row in rows),
            sum(row.credits_pending for row in rows),
        )

    @query
    def convert(
        self,
        amount_minor: NonNegative,
        from_currency: Code,
        to_currency: Code,
        numerator: Positive,
        denominator: Positive,
        rounding: Rounding = Rounding.HALF_EVEN,
    ) -> int:
        """``amount_minor`` of one currency in minor units of another, rounded once.

        The rate is for major units: ``numerator / denominator`` units of the second for one of the first. Exponents
        are taken into account.
        """
        before, after = self.exponent(from_currency), self.exponent(to_currency)
        require(numerator > 0 and denominator > 0, RateNotPositive)
        converted = mul_div(
            amount_minor, numerator * POWERS_OF_TEN[after], denominator * POWERS_OF_TEN[before], rounding
        )
        require(fits_int64(converted), AmountOutOfRange)
        return converted

    # who acts

    def _actor_kind(self) -> OwnerKind:
        return OwnerKind.CONTRACT if self.caller else OwnerKind.PARTY

    def _actor(self) -> str:
        return self.caller if self.caller else self.sender.party

    def _keeps(self, ledger: Ledger) -> bool:
        if ledger.keeper_kind is OwnerKind.CONTRACT:
            return self.caller == ledger.keeper
        return not self.caller and self.sender.organisation == ledger.keeper and self.has_role("issuer")

    def _owns(self, account: Account) -> bool:
        """Whether this call is made by the account's owner."""
        if account.owner_kind is OwnerKind.CONTRACT:
            return self.caller == account.owner
        if self.caller:
            return False
        if account.owner_kind is OwnerKind.PARTY:
            return self.sender.party == account.owner
        return self.sender.organisation == account.owner and self.has_role("treasurer")

    def _made(self, hold: Hold) -> bool:
        return hold.actor_kind == self._actor_kind() and hold.actor == self._actor()

    def _is_paid(self, hold: Hold, debit: Account, credit: Account) -> bool:
        """Whether the call is by the owner of the account that a party's hold is to pay."""
        return hold.actor_kind is OwnerKind.PARTY and self._owns(credit if is_drawn_by_debit(debit.guard) else debit)

    # guards

    def _require_direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _exponent(self, currency: str) -> int | None:
        row = self.currencies.get(currency)
        return EXPONENTS.get(currency) if row is None else row.exponent

    def _ledger(self, ledger: str) -> Ledger:
        row = self.ledgers.get(ledger)
        if row is None:
            raise UnknownLedger(ledger=ledger)
        return row

    def _require_keeper(self, ledger: Ledger) -> None:
        require(self._keeps(ledger), NotTheKeeper, ledger=ledger.id)

    def _account(self, account: str) -> Account:
        row = self.accounts.get(account)
        if row is None:
            raise UnknownAccount(account=account)
        return row

    def _hold(self, hold: int) -> Hold:
        row = self.holds.get(hold)
        if row is None:
            raise UnknownHold(hold=hold)
        return row

    def _require_pending(self, hold: Hold) -> None:
        require(hold.state is HoldState.PENDING, HoldNotPending, hold=hold.number, state=hold.state)

    def _require_between(self, time: int, earliest: int, latest: int) -> None:
        require(earliest <= time <= latest, TimeOutOfRange, earliest=earliest, latest=latest)

    def _require_open(self, account: Account, outgoing: bool) -> None:
        require(account.state is not AccountState.CLOSED, AccountClosed, account=account.id)
        stopped = AccountState.FROZEN_OUT if outgoing else AccountState.FROZEN_IN
        free = account.state is not AccountState.FROZEN and account.state != stopped
        require(free, AccountFrozen, account=account.id, state=account.state)

    def _require_owner_or_mandate(self, account: Account) -> None:
        """Who may draw on an account at all; how much a mandate covers is judged when it is used."""
        by_mandate = self.caller != "" and account.owner_kind is not OwnerKind.CONTRACT
        require(by_mandate or self._owns(account), NotYourAccount, account=account.id)

    def _use_mandate(self, account: Account, amount: int) -> None:
        """Draw on the mandate of the calling contract, where the account is not its own."""
        if self._owns(account):
            return
        mandate = self.mandates.get(account.id, self.caller)
        if mandate is None or mandate.valid_until <= self.now:
            raise NoMandate(account=account.id, contract=self.caller)
        remaining = mandate.remaining_minor
        covered = amount <= remaining
        require(covered, MandateExceeded, account=account.id, wanted_minor=amount, remaining_minor=remaining)
        self.mandates.update(mandate, remaining_minor=remaining - amount)

    def _earlier(self, reference: str, wanted: list[Content]) -> tuple[int, ...]:
        """The numbers of the entries that this actor made under ``reference`` with the same content; empty if the
        reference is new, refused if it stands for something else.
        """
        entries = list(
            self.entries.find(self._actor_kind(), self._actor(), reference, limit=TRANSFERS_PER_BATCH_MAX + 1)
        )
        if not entries:
            return ()
        same = [content_of(entry) for entry in entries] == wanted
        require(same, ReferenceUsed, reference=reference, entry=entries[0].number)
        return tuple([entry.number for entry in entries])

    # effects

    def _enter_movement(self, reference: str, content: Content) -> int:
        """Move or reserve an amount between two accounts, and enter it into the journal."""
        amount, held = content.amount_minor, content.kind is EntryKind.HOLD
        require(amount > 0, AmountNotPositive)
        require(content.debit != content.credit, SameAccount, account=content.debit)
        debit, credit = self._account(content.debit), self._account(content.credit)
        require(debit.ledger == credit.ledger, LedgersDiffer, debit=debit.ledger, credit=credit.ledger)
        debit_draws, credit_draws = is_drawn_by_debit(debit.guard), is_drawn_by_credit(credit.guard)
        if debit_draws or debit.owner_kind is OwnerKind.CONTRACT:
            self._require_owner_or_mandate(debit)
        if credit_draws or credit.owner_kind is OwnerKind.CONTRACT:
            self._require_owner_or_mandate(credit)
        self._require_open(debit, debit_draws)
        self._require_open(credit, credit.guard is Guard.CREDITS_MUST_NOT_EXCEED_DEBITS)
        debited = debit.debits_posted + debit.debits_pending + amount
        credited = credit.credits_posted + credit.credits_pending + amount
        require(debited <= INT64_MAX, TotalTooLarge, account=debit.id)
        require(credited <= INT64_MAX, TotalTooLarge, account=credit.id)
        if debit.guard is Guard.DEBITS_MUST_NOT_EXCEED_CREDITS:
            self._require_covered(debit, amount)
        if credit.guard is Guard.CREDITS_MUST_NOT_EXCEED_DEBITS:
            self._require_covered(credit, amount)

        if debit_draws:
            self._use_mandate(debit, amount)
        if credit_draws:
            self._use_mandate(credit, amount)
        if held:
            self.accounts.update(debit, debits_pending=debit.debits_pending + amount)
            self.accounts.update(credit, credits_pending=credit.credits_pending + amount)
        else:
            self.accounts.update(debit, debits_posted=debit.debits_posted + amount)
            self.accounts.update(credit, credits_posted=credit.credits_posted + amount)
        return self._enter(reference, content)

    def _require_covered(self, account: Account, amount: int) -> None:
        available = available_of(account)
        covered = amount <= available
        require(covered, Overdrawn, account=account.id, wanted_minor=amount, available_minor=available)

    def _enter(self, reference: str | None, content: Content) -> int:
        account = self._account(content.debit)
        number = self.sequence("entries")
        self.entries.insert(
            Entry(
                number=number,
                kind=content.kind,
                ledger=account.ledger,
                currency=account.currency,
                debit=content.debit,
                credit=content.credit,
                amount_minor=content.amount_minor,
                about=content.about,
                actor_kind=self._actor_kind(),
                actor=self._actor(),
                reference=reference,
                purpose=content.purpose,
                document=content.document,
                expires_at=content.expires_at,
                entered_at=self.now,
            )
        )
        return number

    def _settlement(self, kind: EntryKind, hold: Hold, amount: int) -> Content:
        """The content of an entry that ends a hold, with the purpose and document of the hold itself."""
        held = self.entries.get(hold.number)
        assert held is not None, "a hold has the number of its entry"
        return Content(
            kind=kind,
            debit=hold.debit,
            credit=hold.credit,
            amount_minor=amount,
            about=hold.number,
            purpose=held.purpose,
            document=held.document,
            expires_at=None,
        )

    def _release(self, hold: Hold) -> None:
        debit, credit = self._account(hold.debit), self._account(hold.credit)
        self.accounts.update(debit, debits_pending=debit.debits_pending - hold.amount_minor)
        self.accounts.update(credit, credits_pending=credit.credits_pending - hold.amount_minor)

    def _expire(self, hold: Hold) -> int:
        self._release(hold)
        number = self._enter(None, self._settlement(EntryKind.EXPIRY, hold, hold.amount_minor))
        self.holds.update(hold, state=HoldState.EXPIRED, settled_by=number)
        self.emit(HoldExpired(hold=hold.number, entry=number))
        return number

    # laws

    @invariant
    def every_currency_balances(self) -> None:
        """The trial balance of each currency and of each ledger is zero, posted and pending."""
        totals: dict[str, int] = {}
        for row in self.accounts.find(index=()):
            ledger = self.ledgers.get(row.ledger)
            assert ledger is not None, row.id
            assert ledger.currency == row.currency, row.id
            posted, pending = row.debits_posted - row.credits_posted, row.debits_pending - row.credits_pending
            for name, amount in (
                (row.currency + " posted", posted),
                (row.currency + " pending", pending),
                (row.ledger + " in ledger, posted", posted),
                (row.ledger + " in ledger, pending", pending),
            ):
                totals[name] = totals.get(name, 0) + amount
        for name, total in totals.items():
            assert total == 0, name

    @invariant
    def no_guard_is_broken(self) -> None:
        """No account with a guard is overdrawn, and no closed account holds anything."""
        for row in self.accounts.find(index=()):
            assert row.guard is Guard.NONE or available_of(row) >= 0, row.id
            if row.state is AccountState.CLOSED:
                assert balance_of(row) == 0, row.id
                assert row.debits_pending == row.credits_pending == 0, row.id

    @invariant
    def pending_amounts_are_the_pending_holds(self) -> None:
        """What is pending on an account is the sum of the pending holds on it."""
        to_debit: dict[str, int] = {}
        to_credit: dict[str, int] = {}
        for hold in self.holds.find(HoldState.PENDING):
            to_debit[hold.debit] = to_debit.get(hold.debit, 0) + hold.amount_minor
            to_credit[hold.credit] = to_credit.get(hold.credit, 0) + hold.amount_minor
        for row in self.accounts.find(index=()):
            assert row.debits_pending == to_debit.get(row.id, 0), row.id
            assert row.credits_pending == to_credit.get(row.id, 0), row.id

    @invariant
    def ended_holds_say_how(self) -> None:
        """A hold that ended names the entry that ended it; what was posted of it is no more than was held."""
        for hold in self.holds.find(index=()):
            assert (hold.settled_by is None) == (hold.state is HoldState.PENDING), hold.number
            assert hold.posted_minor <= hold.amount_minor, hold.number
            assert (hold.posted_minor > 0) == (hold.state is HoldState.POSTED), hold.number
