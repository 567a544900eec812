"""Consents: who lets whom use what, for which purpose, how often and until when; and what was read.

Theory. A *collection* is a body of data outside the ledger, with a *keeper* that serves it, a contract or organisation.
The *subject* is whom the data is about, a party or an organisation. A *consent* lets one *recipient*, an organisation,
use some types of the subject's data in one collection, for one purpose, in one mode, so many times in all or in each
period, until a time. What the recipient may keep, and for how long, is part of it.

    from      narrow   revoke    time over
    active    active   revoked   expired
    others    -        -         -

A consent is only ever narrowed, and ends at the place in the ledger where it is revoked: what was read before stands,
what comes after is refused, also within one block. Whether its time is over is decided by block time alone.

**Reads.** The keeper records each read before it hands anything out: who read, under which consent, for which purpose,
how many records, and the digest of the request. The recipient confirms it, so that both halves can be compared. A read
that no consent covers is refused here, which is where frequency is enforced.

**Who may give.** The subject itself: the party, or a party of the organisation with ``consents:giver``; and whom it
made its delegate, for one collection or all, until a time that no consent of the delegate outlives. Delegates do not
make delegates. Consents are given and taken back by a transaction itself, never through a contract.

**Emergency.** A party with ``consents:emergency`` opens access without a consent, for a day, with its reason. That is
an alarm: an event of its own, which stays open until the subject, or a party with ``consents:reviewer`` of another
organisation, has reviewed it. Reads under it are recorded like all others.
"""

import enum

from guildbook.contract import (
    INT64_MAX,
    Code,
    Contract,
    Digest,
    Event,
    Height,
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
from guildbook.foundation.parties import Parties

DATA_TYPES_MAX = 64
"""Data types of one collection."""
CONSENTS_MAX = 32
"""Consents of one subject for one recipient, collection and purpose that are active at a time."""
CONSENT_MS_MAX = 10 * 366 * 24 * 3600 * 1000
"""How long a consent or a delegation may last: ten years."""
EMERGENCY_MS = 24 * 3600 * 1000
"""How long emergency access lasts: a day."""
REVIEW_MS = 7 * 24 * 3600 * 1000
"""Within which time emergency access is to be reviewed: a week."""
LISTED_MAX = 200
"""Rows that one query lists."""
ALL = "@all"
"""Stands for all collections in a delegation."""


class Kind(enum.StrEnum):
    """What a subject or a keeper is."""

    PARTY = "party"
    ORGANISATION = "organisation"
    CONTRACT = "contract"


class Mode(enum.StrEnum):
    """How data is used: looked at, kept, asked about without being seen, or sent on whenever it changes."""

    VIEW = "view"
    STORE = "store"
    QUERY = "query"
    STREAM = "stream"


class Status(enum.StrEnum):
    """The life of a consent."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Collection(Record):
    """A body of data and who serves it."""

    id: Code = key()
    keeper_kind: Kind
    keeper: Code
    data_types: tuple[Code, ...]


class Consent(Record):
    """A consent: ``reads_max`` reads in each ``period_ms`` from its beginning, or in all where that is None.

    ``data_from`` and ``data_until`` say which time the data may be about, ``restriction`` what else restricts it, for
    the keeper to apply. ``data_life_ms`` is how long the recipient may keep what it read.
    """

    number: Positive = key()
    subject_kind: Kind
    subject: Code
    given_by: Code
    recipient: Code
    collection: Code
    data_types: tuple[Code, ...]
    purpose: Code
    mode: Mode
    reads_max: Positive
    period_ms: Positive | None
    data_life_ms: NonNegative | None
    data_from: Timestamp | None
    data_until: Timestamp | None
    restriction: Text
    valid_from: Timestamp
    valid_until: Timestamp
    status: Status
    given_at: Height
    ended_at: Height | None
    reads: NonNegative
    period: NonNegative
    """The period of the last read, counted from 0."""
    period_reads: NonNegative


class Given(Record):
    """The consent that a giver gave under a reference, and the digest of its content."""

    giver: Code = key()
    reference: Code = key()
    content: Digest
    consent: Positive


class Delegation(Record):
    """That a party may give consents for a subject, for a collection or for all (``@all``), until a time."""

    subject_kind: Kind = key()
    subject: Code = key()
    delegate: Code = key()
    collection: Code = key()
    valid_until: Timestamp


class Emergency(Record):
    """Access without a consent: by whom, why, until when; and what a reviewer found."""

    number: Positive = key()
    subject_kind: Kind
    subject: Code
    collection: Code
    purpose: Code
    reason: Text
    opened_by: Code
    organisation: Code
    opened_at: Timestamp
    valid_until: Timestamp
    review_by: Timestamp
    reviewed_by: Code | None
    justified: bool | None
    note: Text


class Receipt(Record):
    """A read: who read what, under a consent or emergency access; ``request`` is the digest of what was asked."""

    number: Positive = key()
    consent: Positive | None
    emergency: Positive | None
    collection: Code
    subject_kind: Kind
    subject: Code
    recipient: Code
    reader: Code
    purpose: Code
    mode: Mode
    data_types: tuple[Code, ...]
    records: NonNegative
    request: Digest
    read_at: Timestamp
    height: Height
    keep_until: Timestamp | None
    confirmed_by: Code | None


class Recorded(Record):
    """The receipt of a read that a keeper recorded under a reference, and the digest of its content."""

    keeper_kind: Kind = key()
    keeper: Code = key()
    reference: Code = key()
    content: Digest
    receipt: Positive


class CollectionOpened(Event):
    """A collection is served under consents."""

    collection: Code
    keeper: Code


class ConsentGiven(Event):
    """A consent was given."""

    consent: Positive
    subject: Code
    recipient: Code
    collection: Code
    purpose: Code


class ConsentNarrowed(Event):
    """A consent covers less, or ends earlier."""

    consent: Positive
    valid_until: Timestamp


class ConsentRevoked(Event):
    """A consent covers nothing from here on."""

    consent: Positive


class Delegated(Event):
    """A subject made a delegate."""

    subject: Code
    delegate: Code
    collection: Code
    valid_until: Timestamp


class DelegationWithdrawn(Event):
    """A subject has a delegate no longer."""

    subject: Code
    delegate: Code
    collection: Code


class ReadRecorded(Event):
    """Somebody read data under a consent."""

    receipt: Positive
    consent: Positive
    records: NonNegative


class EmergencyOpened(Event):
    """Alarm: somebody has access without a consent."""

    emergency: Positive
    subject: Code
    collection: Code
    opened_by: Code
    reason: Text


class EmergencyRead(Event):
    """Alarm: somebody read data without a consent."""

    receipt: Positive
    emergency: Positive
    records: NonNegative


class EmergencyReviewed(Event):
    """Emergency access was reviewed."""

    emergency: Positive
    justified: bool


class ReadConfirmed(Event):
    """A recipient confirmed a read."""

    receipt: Positive


class OnlyByTransaction(Rejected):
    """Consents and emergencies are decided by a transaction itself, not through another contract."""

    caller: Code


class UnknownCollection(Rejected):
    """No collection has this id."""

    collection: Code


class UnknownConsent(Rejected):
    """No consent has this number."""

    consent: Positive


class UnknownEmergency(Rejected):
    """No emergency access has this number."""

    emergency: Positive


class UnknownReceipt(Rejected):
    """No read has this number."""

    receipt: Positive


class NotACustodian(Rejected):
    """Only a contract, or a party with the permission consents:custodian, opens a collection."""


class CollectionExists(Rejected):
    """A collection with this id exists; ids are never used again."""

    collection: Code


class NoDataTypes(Rejected):
    """At least one data type is named, and not too many."""

    most: Positive


class NotASubject(Rejected):
    """A subject is a party or an organisation."""


class NotTheSubject(Rejected):
    """Only the subject or its delegate may do this; for an organisation, a party of it with consents:giver."""

    subject: Code


class NotTheKeeper(Rejected):
    """Only the keeper of the collection records reads: its contract, or a party of it with consents:server."""

    collection: Code


class NotTheRecipient(Rejected):
    """Only the recipient confirms a read."""

    receipt: Positive


class NotYourEmergency(Rejected):
    """Emergency access is for the party alone that opened it."""

    emergency: Positive


class NotAReviewer(Rejected):
    """Emergency access is reviewed by the subject, or by a party with consents:reviewer of another organisation."""

    emergency: Positive


class ReferenceUsed(Rejected):
    """The reference was used for something else; give each act its own."""

    reference: Code


class UnknownDataType(Rejected):
    """The collection has no such type of data."""

    data_type: Code


class TimeOutOfRange(Rejected):
    """The time has passed, or lies too far ahead."""

    earliest: Timestamp
    latest: Timestamp


class TooManyConsents(Rejected):
    """The subject has too many active consents for this recipient, collection and purpose; revoke some."""

    most: Positive


class ConsentEnded(Rejected):
    """The consent was revoked or has expired."""

    consent: Positive
    status: Status


class ConsentWiderThanBefore(Rejected):
    """A consent is only narrowed; give a new one."""

    consent: Positive


class NoDelegation(Rejected):
    """The subject has no such delegate."""

    delegate: Code


class ReaderOfAnother(Rejected):
    """The reader does not belong to the recipient."""

    reader: Code


class ConsentOver(Rejected):
    """The consent is not valid at this time."""

    consent: Positive
    valid_from: Timestamp
    valid_until: Timestamp


class PurposeNotCovered(Rejected):
    """The consent is for another purpose."""

    purpose: Code


class ModeNotCovered(Rejected):
    """The consent is for another way of using the data."""

    mode: Mode


class DataTypeNotCovered(Rejected):
    """The consent does not cover this type of data."""

    data_type: Code


class ReadTooOften(Rejected):
    """The consent covers no further read before ``again_at``; None: no further read at all."""

    consent: Positive
    again_at: Timestamp | None


class EmergencyOver(Rejected):
    """The emergency access is over; open another."""

    emergency: Positive
    valid_until: Timestamp


class AlreadyReviewed(Rejected):
    """The emergency access was reviewed."""

    emergency: Positive


class AlreadyConfirmed(Rejected):
    """The read was confirmed."""

    receipt: Positive


class RequestDiffers(Rejected):
    """The keeper recorded another request; the two halves of the read do not match."""

    receipt: Positive


def is_within(few: tuple[str, ...], many: tuple[str, ...]) -> bool:
    """Whether each of ``few`` is among ``many``."""
    return all(one in many for one in few)


class Consents(Contract, name="consents", version=1):
    """Collections, consents, delegations, emergency access, and receipts of reads."""

    parties = use(Parties)

    collections = Table(Collection)
    consents = Table(
        Consent,
        index=[
            ("subject_kind", "subject", "recipient", "collection", "purpose", "status", "number"),
            ("recipient", "status", "number"),
        ],
    )
    given = Table(Given)
    delegations = Table(Delegation)
    emergencies = Table(Emergency, index=[("reviewed_by", "number")])
    receipts = Table(
        Receipt,
        index=[("subject_kind", "subject", "number"), ("consent", "number"), ("recipient", "confirmed_by", "number")],
    )
    recorded = Table(Recorded)
    events = (
        CollectionOpened,
        ConsentGiven,
        ConsentNarrowed,
        ConsentRevoked,
        Delegated,
        DelegationWithdrawn,
        ReadRecorded,
        EmergencyOpened,
        EmergencyRead,
        EmergencyReviewed,
        ReadConfirmed,
    )
    rejections = (
        OnlyByTransaction,
        UnknownConsent,
        UnknownEmergency,
        UnknownReceipt,
        UnknownCollection,
        NotACustodian,
        CollectionExists,
        NotASubject,
        NotTheSubject,
        NotTheKeeper,
        NotTheRecipient,
        NotAReviewer,
        ReferenceUsed,
        NoDataTypes,
        UnknownDataType,
        TimeOutOfRange,
        NoDelegation,
        TooManyConsents,
        ConsentEnded,
        ConsentWiderThanBefore,
        NotYourEmergency,
        ReaderOfAnother,
        ConsentOver,
        EmergencyOver,
        PurposeNotCovered,
        ModeNotCovered,
        DataTypeNotCovered,
        ReadTooOften,
        AlreadyReviewed,
        AlreadyConfirmed,
        RequestDiffers,
    )

    # collections

    @command
    def open_collection(self, collection: Code, data_types: tuple[Code, ...]) -> None:
        """Open a collection, kept by the calling contract, or else by the signer's organisation."""
        require(self.caller != "" or self.has_role("custodian"), NotACustodian)
        require(not self.collections.exists(collection), CollectionExists, collection=collection)
        require(0 < len(data_types) <= DATA_TYPES_MAX, NoDataTypes, most=DATA_TYPES_MAX)
        keeper = self.caller if self.caller else self.sender.organisation

        self.collections.insert(
            Collection(
                id=collection,
                keeper_kind=Kind.CONTRACT if self.caller else Kind.ORGANISATION,
                keeper=keeper,
                data_types=data_types,
            )
        )

        self.emit(CollectionOpened(collection=collection, keeper=keeper))

    # the subject and its delegates

    @command
    def give(
        self,
        reference: Code,
        subject_kind: Kind,
        subject: Code,
        recipient: Code,
        collection: Code,
        data_types: tuple[Code, ...],
        purpose: Code,
        mode: Mode,
        valid_until: Timestamp,
        reads_max: Positive = 1,
        period_ms: Positive | None = None,
        data_life_ms: NonNegative | None = None,
        data_from: Timestamp | None = None,
        data_until: Timestamp | None = None,
        restriction: Text = "",
    ) -> int:
        """Let ``recipient`` read, from now until ``valid_until``; returns the consent's number.

        ``reads_max`` reads in each period of ``period_ms``, or in all: by default one. The same under the same
        reference of the same giver returns the first number.
        """
        self._require_direct()
        kept = self._collection(collection)
        latest = self._latest_of_giver(subject_kind, subject, collection)
        whom = (subject_kind, subject, recipient, collection, data_types, purpose, mode)
        often = (valid_until, reads_max, period_ms, data_life_ms, data_from, data_until, restriction)
        content = digest_of("consent", whom, often)
        known = self.given.get(self.sender.party, reference)
        if known is not None:
            require(known.content == content, ReferenceUsed, reference=reference)
            return known.consent
        self._require_data_types(kept, data_types)
        self._require_between(valid_until, latest)
        self._expire_over(subject_kind, subject, recipient, collection, purpose)
        order = (subject_kind, subject, recipient, collection, purpose, Status.ACTIVE)
        active = len(list(self.consents.find(*order, limit=CONSENTS_MAX)))
        require(active < CONSENTS_MAX, TooManyConsents, most=CONSENTS_MAX)

        number = self.sequence("consents")
        self.consents.insert(
            Consent(
                number=number,
                subject_kind=subject_kind,
                subject=subject,
                given_by=self.sender.party,
                recipient=recipient,
                collection=collection,
                data_types=data_types,
                purpose=purpose,
                mode=mode,
                reads_max=reads_max,
                period_ms=period_ms,
                data_life_ms=data_life_ms,
                data_from=data_from,
                data_until=data_until,
                restriction=restriction,
                valid_from=self.now,
                valid_until=valid_until,
                status=Status.ACTIVE,
                given_at=self.height,
                ended_at=None,
                reads=0,
                period=0,
                period_reads=0,
            )
        )
        self.given.insert(Given(giver=self.sender.party, reference=reference, content=content, consent=number))

        self.emit(
            ConsentGiven(
                consent=number, subject=subject, recipient=recipient, collection=collection, purpose=purpose
            )
        )
        return number

    @command
    def narrow(self, consent: Positive, data_types: tuple[Code, ...], valid_until: Timestamp) -> None:
        """Let a consent cover fewer types of data, or end earlier; never more than before."""
        self._require_direct()
        row = self._consent(consent)
        self._latest_of_giver(row.subject_kind, row.subject, row.collection)
        require(len(data_types) > 0, NoDataTypes, most=DATA_TYPES_MAX)
        self._require_between(valid_until, row.valid_until)
        self._require_active(row)
        require(is_within(data_types, row.data_types), ConsentWiderThanBefore, consent=consent)

        self.consents.update(row, data_types=data_types, valid_until=valid_until)

        self.emit(ConsentNarrowed(consent=consent, valid_until=valid_until))

    @command
    def revoke(self, consent: Positive) -> None:
        """Let a consent cover nothing from here on."""
        self._require_direct()
        row = self._consent(consent)
        self._latest_of_giver(row.subject_kind, row.subject, row.collection)
        self._require_active(row)

        self.consents.update(row, status=Status.REVOKED, ended_at=self.height)

        self.emit(ConsentRevoked(consent=consent))

    @command
    def delegate(
        self, subject_kind: Kind, subject: Code, delegate: Code, collection: Code, valid_until: Timestamp
    ) -> None:
        """Let a party give and take back consents for a subject, for one collection or ``@all``; by the subject.

        A new delegation replaces the old. No consent of the delegate outlives it.
        """
        self._require_direct()
        require(collection == ALL or self.collections.exists(collection), UnknownCollection, collection=collection)
        self._require_subject(subject_kind, subject)
        self._require_between(valid_until, self.now + CONSENT_MS_MAX)

        known = self.delegations.get(subject_kind, subject, delegate, collection)
        if known is None:
            self.delegations.insert(
                Delegation(
                    subject_kind=subject_kind,
                    subject=subject,
                    delegate=delegate,
                    collection=collection,
                    valid_until=valid_until,
                )
            )
        else:
            self.delegations.update(known, valid_until=valid_until)

        self.emit(Delegated(subject=subject, delegate=delegate, collection=collection, valid_until=valid_until))

    @command
    def withdraw_delegation(self, subject_kind: Kind, subject: Code, delegate: Code, collection: Code) -> None:
        """Have a delegate no longer; its consents stand until they are revoked or over."""
        self._require_direct()
        self._require_subject(subject_kind, subject)
        known = self.delegations.get(subject_kind, subject, delegate, collection)
        if known is None:
            raise NoDelegation(delegate=delegate)

        self.delegations.delete(known)

        self.emit(DelegationWithdrawn(subject=subject, delegate=delegate, collection=collection))

    # reading data

    @command
    def record_read(
        self,
        reference: Code,
        consent: Positive,
        reader: Code,
        purpose: Code,
        mode: Mode,
        data_types: tuple[Code, ...],
        records: NonNegative,
        request: Digest,
    ) -> int:
        """Record that ``reader`` reads ``records`` records under a consent; returns the number of the receipt.

        By the keeper of the collection, before it hands anything out. Refused unless the consent covers it, which
        includes how often. The same under the same reference of the same keeper returns the first receipt.
        """
        row = self._consent(consent)
        kept = self._served(row.collection)
        content = digest_of("read", consent, reader, purpose, mode, data_types, records, request)
        earlier = self._earlier(kept, reference, content)
        if earlier is not None:
            return earlier
        require(len(data_types) > 0, NoDataTypes, most=DATA_TYPES_MAX)
        self._require_active(row)
        require(self.parties.organisation_of(reader) == row.recipient, ReaderOfAnother, reader=reader)
        in_time = row.valid_from <= self.now < row.valid_until
        bounds = (row.valid_from, row.valid_until)
        require(in_time, ConsentOver, consent=consent, valid_from=bounds[0], valid_until=bounds[1])
        require(purpose == row.purpose, PurposeNotCovered, purpose=purpose)
        require(mode == row.mode, ModeNotCovered, mode=mode)
        for one in data_types:
            require(one in row.data_types, DataTypeNotCovered, data_type=one)
        require(self._reads_left(row) > 0, ReadTooOften, consent=consent, again_at=self._again_at(row))

        period = self._period(row)
        before = row.period_reads if period == row.period else 0
        self.consents.update(row, reads=row.reads + 1, period=period, period_reads=before + 1)
        number = self._record(
            kept,
            reference,
            content,
            Receipt(
                number=self.sequence("receipts"),
                consent=consent,
                emergency=None,
                collection=row.collection,
                subject_kind=row.subject_kind,
                subject=row.subject,
                recipient=row.recipient,
                reader=reader,
                purpose=purpose,
                mode=mode,
                data_types=data_types,
                records=records,
                request=request,
                read_at=self.now,
                height=self.height,
                keep_until=self._keep_until(row),
                confirmed_by=None,
            ),
        )

        self.emit(ReadRecorded(receipt=number, consent=consent, records=records))
        return number

    @command
    def confirm_read(self, receipt: Positive, request: Digest) -> None:
        """Confirm a read, with the digest of what was asked; by the recipient, a party with ``consents:reader``."""
        row = self._receipt(receipt)
        own = not self.caller and self.sender.organisation == row.recipient and self.has_role("reader")
        require(own, NotTheRecipient, receipt=receipt)
        require(row.confirmed_by is None, AlreadyConfirmed, receipt=receipt)
        require(row.request == request, RequestDiffers, receipt=receipt)

        self.receipts.update(row, confirmed_by=self.sender.party)

        self.emit(ReadConfirmed(receipt=receipt))

    # emergencies

    @command(role="emergency")
    def open_emergency(
        self, subject_kind: Kind, subject: Code, collection: Code, purpose: Code, reason: Text
    ) -> int:
        """Open access to a subject's data without a consent, for the signer and for a day; returns its number."""
        self._require_direct()
        self._collection(collection)
        require(subject_kind is not Kind.CONTRACT, NotASubject)

        number = self.sequence("emergencies")
        self.emergencies.insert(
            Emergency(
                number=number,
                subject_kind=subject_kind,
                subject=subject,
                collection=collection,
                purpose=purpose,
                reason=reason,
                opened_by=self.sender.party,
                organisation=self.sender.organisation,
                opened_at=self.now,
                valid_until=self.now + EMERGENCY_MS,
                review_by=self.now + REVIEW_MS,
                reviewed_by=None,
                justified=None,
                note="",
            )
        )

        self.emit(
            EmergencyOpened(
                emergency=number,
                subject=subject,
                collection=collection,
                opened_by=self.sender.party,
                reason=reason,
            )
        )
        return number

    @command
    def record_emergency_read(
        self,
        reference: Code,
        emergency: Positive,
        reader: Code,
        data_types: tuple[Code, ...],
        records: NonNegative,
        request: Digest,
    ) -> int:
        """Record that ``reader`` reads under emergency access; returns the number of the receipt. By the keeper."""
        row = self._emergency(emergency)
        kept = self._served(row.collection)
        content = digest_of("emergency", emergency, reader, data_types, records, request)
        earlier = self._earlier(kept, reference, content)
        if earlier is not None:
            return earlier
        self._require_data_types(kept, data_types)
        require(reader == row.opened_by, NotYourEmergency, emergency=emergency)
        require(self.now < row.valid_until, EmergencyOver, emergency=emergency, valid_until=row.valid_until)

        number = self._record(
            kept,
            reference,
            content,
            Receipt(
                number=self.sequence("receipts"),
                consent=None,
                emergency=emergency,
                collection=row.collection,
                subject_kind=row.subject_kind,
                subject=row.subject,
                recipient=row.organisation,
                reader=reader,
                purpose=row.purpose,
                mode=Mode.VIEW,
                data_types=data_types,
                records=records,
                request=request,
                read_at=self.now,
                height=self.height,
                keep_until=None,
                confirmed_by=None,
            ),
        )

        self.emit(EmergencyRead(receipt=number, emergency=emergency, records=records))
        return number

    @command
    def review_emergency(self, emergency: Positive, justified: bool, note: Text) -> None:
        """Say whether emergency access was justified; by the subject or a reviewer of another organisation."""
        self._require_direct()
        row = self._emergency(emergency)
        other = self.sender.organisation != row.organisation and self.has_role("reviewer")
        concerned = self._is_subject(row.subject_kind, row.subject) and self.sender.party != row.opened_by
        require(other or concerned, NotAReviewer, emergency=emergency)
        require(row.reviewed_by is None, AlreadyReviewed, emergency=emergency)

        self.emergencies.update(row, reviewed_by=self.sender.party, justified=justified, note=note)

        self.emit(EmergencyReviewed(emergency=emergency, justified=justified))

    # reading the register

    @query
    def may(
        self,
        reader: Code,
        subject_kind: Kind,
        subject: Code,
        collection: Code,
        purpose: Code,
        data_types: tuple[Code, ...] = (),
        mode: Mode = Mode.VIEW,
    ) -> int:
        """The number of the first consent by which ``reader`` may read now, 0 where there is none.

        It covers all of ``data_types``, and is neither revoked, over, nor used up for now.
        """
        recipient = self.parties.organisation_of(reader)
        if recipient is None:
            return 0
        order = (subject_kind, subject, recipient, collection, purpose, Status.ACTIVE)
        for row in self.consents.find(*order, limit=CONSENTS_MAX):
            covers = row.mode == mode and is_within(data_types, row.data_types)
            if covers and row.valid_from <= self.now < row.valid_until and self._reads_left(row) > 0:
                return row.number
        return 0

    @query
    def consent(self, number: Positive) -> Consent | None:
        """A consent, or None."""
        return self.consents.get(number)

    @query
    def reads_left(self, consent: Positive) -> int:
        """How many reads a consent covers now; 0 where it is revoked or over."""
        row = self._consent(consent)
        live = row.status is Status.ACTIVE and row.valid_from <= self.now < row.valid_until
        return self._reads_left(row) if live else 0

    @query
    def reads_of(
        self, subject_kind: Kind, subject: Code, after: NonNegative = 0, limit: Positive = LISTED_MAX
    ) -> tuple[Receipt, ...]:
        """What was read about a subject, in order, behind receipt ``after``; at most 200: who saw my data."""
        behind = self.receipts.get(after) if after > 0 else None
        return tuple(self.receipts.find(subject_kind, subject, after=behind, limit=min(limit, LISTED_MAX)))

    @query
    def unreviewed(self, limit: Positive = LISTED_MAX) -> tuple[Emergency, ...]:
        """Emergency accesses that nobody has reviewed, the oldest first; at most 200."""
        return tuple(self.emergencies.find(None, limit=min(limit, LISTED_MAX)))

    @query
    def unconfirmed(self, recipient: Code, limit: Positive = LISTED_MAX) -> tuple[Receipt, ...]:
        """Reads that a recipient has not confirmed, the oldest first; at most 200."""
        order = ("recipient", "confirmed_by", "number")
        return tuple(self.receipts.find(recipient, None, index=order, limit=min(limit, LISTED_MAX)))

    # who acts

    def _is_subject(self, kind: Kind, subject: str) -> bool:
        if kind is Kind.PARTY:
            return self.sender.party == subject
        return kind is Kind.ORGANISATION and self.sender.organisation == subject and self.has_role("giver")

    def _latest_of_giver(self, kind: Kind, subject: str, collection: str) -> int:
        """Until when the signer may let a consent for this subject last; refused where it may give none."""
        require(kind is not Kind.CONTRACT, NotASubject)
        if self._is_subject(kind, subject):
            return self.now + CONSENT_MS_MAX
        latest = 0
        for one in (collection, ALL):
            known = self.delegations.get(kind, subject, self.sender.party, one)
            if known is not None:
                latest = max(latest, known.valid_until)
        require(latest > self.now, NotTheSubject, subject=subject)
        return latest

    # guards

    def _require_direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _require_subject(self, kind: Kind, subject: str) -> None:
        require(kind is not Kind.CONTRACT, NotASubject)
        require(self._is_subject(kind, subject), NotTheSubject, subject=subject)

    def _collection(self, collection: str) -> Collection:
        row = self.collections.get(collection)
        if row is None:
            raise UnknownCollection(collection=collection)
        return row

    def _consent(self, consent: int) -> Consent:
        row = self.consents.get(consent)
        if row is None:
            raise UnknownConsent(consent=consent)
        return row

    def _emergency(self, emergency: int) -> Emergency:
        row = self.emergencies.get(emergency)
        if row is None:
            raise UnknownEmergency(emergency=emergency)
        return row

    def _receipt(self, receipt: int) -> Receipt:
        row = self.receipts.get(receipt)
        if row is None:
            raise UnknownReceipt(receipt=receipt)
        return row

    def _served(self, collection: str) -> Collection:
        """A collection that this call's maker keeps."""
        row = self._collection(collection)
        by_contract = row.keeper_kind is Kind.CONTRACT and self.caller == row.keeper
        direct = row.keeper_kind is Kind.ORGANISATION and not self.caller
        by_party = direct and self.sender.organisation == row.keeper and self.has_role("server")
        require(by_contract or by_party, NotTheKeeper, collection=collection)
        return row

    def _require_data_types(self, kept: Collection, data_types: tuple[str, ...]) -> None:
        require(0 < len(data_types) <= DATA_TYPES_MAX, NoDataTypes, most=DATA_TYPES_MAX)
        for one in data_types:
            require(one in kept.data_types, UnknownDataType, data_type=one)

    def _require_between(self, time: int, latest: int) -> None:
        require(self.now < time <= latest, TimeOutOfRange, earliest=self.now + 1, latest=latest)

    def _require_active(self, row: Consent) -> None:
        require(row.status is Status.ACTIVE, ConsentEnded, consent=row.number, status=row.status)

    def _earlier(self, kept: Collection, reference: str, content: bytes) -> int | None:
        """The receipt that this keeper recorded under ``reference`` with the same content."""
        known = self.recorded.get(kept.keeper_kind, kept.keeper, reference)
        if known is None:
            return None
        require(known.content == content, ReferenceUsed, reference=reference)
        return known.receipt

    # how often

    def _period(self, row: Consent) -> int:
        """The period that is running, counted from 0 at the beginning of the consent."""
        return 0 if row.period_ms is None else max(0, self.now - row.valid_from) // row.period_ms

    def _reads_left(self, row: Consent) -> int:
        used = row.period_reads if self._period(row) == row.period else 0
        return row.reads_max - used

    def _again_at(self, row: Consent) -> int | None:
        """When the next period begins, where there is one before the consent is over."""
        if row.period_ms is None:
            return None
        begins = row.valid_from + (self._period(row) + 1) * row.period_ms
        return begins if begins < row.valid_until else None

    def _keep_until(self, row: Consent) -> int | None:
        return None if row.data_life_ms is None else min(self.now + row.data_life_ms, INT64_MAX)

    # effects

    def _record(self, kept: Collection, reference: str, content: bytes, receipt: Receipt) -> int:
        """Insert a receipt, and under which reference its keeper recorded it; returns its number."""
        self.receipts.insert(receipt)
        self.recorded.insert(
            Recorded(
                keeper_kind=kept.keeper_kind,
                keeper=kept.keeper,
                reference=reference,
                content=content,
                receipt=receipt.number,
            )
        )
        return receipt.number

    def _expire_over(self, kind: Kind, subject: str, recipient: str, collection: str, purpose: str) -> None:
        """Mark the consents of one subject, recipient, collection and purpose whose time is over."""
        order = (kind, subject, recipient, collection, purpose, Status.ACTIVE)
        for row in list(self.consents.find(*order, limit=CONSENTS_MAX)):
            if row.valid_until <= self.now:
                self.consents.update(row, status=Status.EXPIRED, ended_at=self.height)

    # laws

    @invariant
    def every_read_of_a_consent_has_its_receipt(self) -> None:
        """A consent counts its receipts, was not read after its end, and never more often than it allows."""
        counts: dict[int, int] = {}
        for one in self.receipts.find(index=()):
            assert (one.consent is None) != (one.emergency is None), one.number
            if one.consent is not None:
                counts[one.consent] = counts.get(one.consent, 0) + 1
                row = self.consents.get(one.consent)
                assert row is not None, one.number
                assert row.valid_from <= one.read_at < row.valid_until, one.number
                assert row.ended_at is None or one.height <= row.ended_at, one.number
                same = (row.recipient, row.collection, row.purpose, row.mode)
                assert same == (one.recipient, one.collection, one.purpose, one.mode), one.number
        for consent in self.consents.find(index=()):
            assert consent.reads == counts.get(consent.number, 0), consent.number
            assert consent.period_reads <= consent.reads_max, consent.number
            assert consent.period_ms is not None or consent.reads == consent.period_reads, consent.number
            assert (consent.ended_at is None) == (consent.status is Status.ACTIVE), consent.number

    @invariant
    def nobody_reviews_its_own_emergency(self) -> None:
        """Emergency access is reviewed with a finding or not at all, and never by who opened it."""
        for row in self.emergencies.find(index=()):
            assert (row.reviewed_by is None) == (row.justified is None), row.number
            assert row.reviewed_by != row.opened_by, row.number
