"""Documents: a register of what can be financed, claimed or used once, and of who has taken how much of it.

Theory. A *document* (an invoice, a customs declaration, a policy, a tax filing, a bill of lading, a budget line) is
kept outside the ledger, encrypted. Here is what must be the same for everybody: the digest of its salted canonical
form, what it is worth at most (its *capacity*, whole minor units of one currency), and what of that is taken. An
*encumbrance* takes an amount of the capacity for a holder and a purpose, until it is released, settled or over:

    free = capacity - encumbered - settled                    never below zero

    from      release in part   release the rest   settle in part   settle the rest   time over
    live      live              released           live             settled           expired
    others    -                 -                  -                -                 -

What is released or expired is free again. What is settled is used up. Ledger order decides a race for the same
capacity, and the loser learns what remains, nothing else. A time that is over is over by block time alone: what has
expired counts as free in the next encumbrance, whether or not anybody has called anything.

Life of a document:

    from        suspend     resume   close    cancel
    live        suspended   -        closed   cancelled
    suspended   -           live     closed   cancelled
    others      -           -        -        -

Only a live document is encumbered. One that is suspended keeps what it has. It is closed when nothing of it is
encumbered, and cancelled when nothing is encumbered or settled.

**Fingerprints.** Equal documents look different: a number is written otherwise, an amount nudged. So a document has
*fingerprints*: keyed digests of combinations of its fields (number and seller, seller and amount and date, ...). Within
a scope, a fingerprint belongs to one document of a kind. It stays with it through amendments and after its end, so that
nothing is financed a second time under a new id; only cancelling a document sets its fingerprints free. A refusal tells
which combination met, never which document.

**Who may do what.** The *keeper* of a document is the contract that registered it, or else the issuing organisation,
through a party with ``documents:issuer``. The keeper amends, credits, suspends, closes and cancels it, settles what is
free, encumbers it for anybody, and permits other contracts and organisations to encumber it for themselves: up to an
amount, until a time. An encumbrance that a contract made is that contract's to release, settle, hand on and prolong;
the holder it names is the contract's affair, and may be a pseudonym. One that an organisation made is the holding
organisation's, through a party with ``documents:holder``; only the document's keeper prolongs it.

**What others see.** No event, refusal or query of this contract names a holder, or whom a keeper permitted. These
names are in the rows of ``encumbrances`` and ``permits`` alone, and a reader's scope leaves those out.

**Once.** Each act that takes or frees an amount has the reference that its actor (the calling contract, or else the
signing party) gave it. The same reference with the same content returns the first result and changes nothing; with
other content it is refused.
"""

import enum

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Event,
    Int,
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
)

FINGERPRINTS_MAX = 64
"""Fingerprints of one document, over all its versions."""
PARTIES_MAX = 32
"""Parties that a document names."""
EXPIRED_PER_CALL_MAX = 100
"""Encumbrances that one call of ``expire_encumbrances`` ends, and that one encumbrance of a document sweeps before."""
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CURRENCY_CODE_CHARS = 3


class Actor(enum.StrEnum):
    """What keeps a document, makes an encumbrance, or may encumber."""

    PARTY = "party"
    ORGANISATION = "organisation"
    CONTRACT = "contract"


class Status(enum.StrEnum):
    """The life of a document."""

    LIVE = "live"
    SUSPENDED = "suspended"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class EncumbranceState(enum.StrEnum):
    """The life of an encumbrance."""

    LIVE = "live"
    RELEASED = "released"
    SETTLED = "settled"
    EXPIRED = "expired"


class Named(Record):
    """A party that a document names: its role there (``seller``), and its id (an organisation, ``lei:...``)."""

    role: Code
    party: Code


class Fingerprint(Record):
    """A keyed digest of some fields of a document; ``combination`` names the fields (``number.seller``)."""

    combination: Code
    value: Digest


class Document(Record):
    """A document as it stands. Amounts are minor units; of the currency ``XXX``, pieces."""

    id: Code = key()
    kind: Code
    scope: Code
    issuer: Code
    keeper_kind: Actor
    keeper: Code
    status: Status
    version: Positive
    digest: Digest
    currency: Code
    face_minor: NonNegative
    capacity_minor: NonNegative
    encumbered_minor: NonNegative
    settled_minor: NonNegative
    issued_at: Timestamp | None
    due_at: Timestamp | None
    valid_until: Timestamp | None
    """From this time on it is not encumbered."""
    parties: tuple[Named, ...]
    registered_at: Timestamp


class Version(Record):
    """What a version of a document said, and why it replaced the one before."""

    document: Code = key()
    version: Positive = key()
    digest: Digest
    face_minor: NonNegative
    capacity_minor: NonNegative
    issued_at: Timestamp | None
    due_at: Timestamp | None
    valid_until: Timestamp | None
    parties: tuple[Named, ...]
    fingerprints: tuple[Fingerprint, ...]
    """Those that came with this version."""
    reason: Text
    since: Timestamp


class FingerprintOwner(Record):
    """Which document a fingerprint belongs to."""

    scope: Code = key()
    kind: Code = key()
    combination: Code = key()
    value: Digest = key()
    document: Code


class Credit(Record):
    """A credit note: by how much it reduced the capacity of a document."""

    document: Code = key()
    note: Digest = key()
    amount_minor: Positive
    credited_at: Timestamp


class Permit(Record):
    """How much of a document's capacity a contract or organisation may still encumber for itself, until when."""

    document: Code = key()
    grantee_kind: Actor = key()
    grantee: Code = key()
    remaining_minor: NonNegative
    valid_until: Timestamp


class Encumbrance(Record):
    """An amount of a document's capacity taken for a holder: what is left of it, released, settled and expired."""

    number: Positive = key()
    document: Code
    state: EncumbranceState
    holder: Code
    purpose: Code
    amount_minor: Positive
    remaining_minor: NonNegative
    released_minor: NonNegative
    settled_minor: NonNegative
    maker_kind: Actor
    maker: Code
    expires_at: Timestamp | None
    made_at: Timestamp


class Deadline(Record):
    """When a live encumbrance is over."""

    document: Code = key()
    expires_at: Timestamp = key()
    encumbrance: Positive = key()


class Done(Record):
    """What an actor did under a reference: the digest of its content, and the result."""

    actor_kind: Actor = key()
    actor: Code = key()
    reference: Code = key()
    content: Digest
    result: Int


class Standing(Record):
    """What a document is good for now; ``status`` is None where there is no such document."""

    document: Code
    status: Status | None
    version: NonNegative
    remaining_minor: NonNegative


class Registered(Event):
    """A document was registered."""

    document: Code
    kind: Code
    scope: Code
    issuer: Code
    digest: Digest
    currency: Code
    capacity_minor: NonNegative


class Amended(Event):
    """A document has a new version."""

    document: Code
    version: Positive
    digest: Digest
    capacity_minor: NonNegative
    reason: Text


class Credited(Event):
    """A credit note reduced the capacity of a document."""

    document: Code
    note: Digest
    amount_minor: Positive
    capacity_minor: NonNegative


class StatusChanged(Event):
    """A document was suspended, resumed, closed or cancelled."""

    document: Code
    status: Status
    reason: Text


class Permitted(Event):
    """A keeper permitted somebody to encumber a document."""

    document: Code


class PermitWithdrawn(Event):
    """A keeper withdrew a permit."""

    document: Code


class Encumbered(Event):
    """An amount of a document was taken."""

    encumbrance: Positive
    document: Code
    amount_minor: Positive
    expires_at: Timestamp | None


class Released(Event):
    """An amount of an encumbrance is free again."""

    encumbrance: Positive
    document: Code
    amount_minor: Positive
    remaining_minor: NonNegative


class Settled(Event):
    """An amount of an encumbrance is used up."""

    encumbrance: Positive
    document: Code
    amount_minor: Positive
    remaining_minor: NonNegative


class SettledFree(Event):
    """An amount of a document that nobody had taken is used up."""

    document: Code
    amount_minor: Positive


class Expired(Event):
    """An encumbrance's time was over; what remained of it is free again."""

    encumbrance: Positive
    document: Code
    amount_minor: Positive


class HandedOn(Event):
    """An encumbrance has another holder."""

    encumbrance: Positive


class Prolonged(Event):
    """An encumbrance ends at another time, or only by an act."""

    encumbrance: Positive
    expires_at: Timestamp | None


class UnknownDocument(Rejected):
    """No document has this id."""

    document: Code


class UnknownEncumbrance(Rejected):
    """No encumbrance has this number."""

    encumbrance: Positive


class ReferenceUsed(Rejected):
    """The reference was used for something else; give each act its own."""

    reference: Code


class NotACurrencyCode(Rejected):
    """A currency code is three capital letters; XXX counts pieces."""

    currency: Code


class TooManyParties(Rejected):
    """The document names more parties than a document may."""

    most: Positive


class NotAnIssuer(Rejected):
    """Only a contract, or a party with the permission documents:issuer of the issuing organisation, registers it."""

    issuer: Code


class NotTheKeeper(Rejected):
    """Only the keeper of the document may do this: its contract, or its issuer by a party with documents:issuer."""

    document: Code


class DocumentExists(Rejected):
    """A document with this id exists and is not the same; ids are never used again."""

    document: Code


class StaleVersion(Rejected):
    """The document was amended since; look at its version and decide again."""

    document: Code
    version: Positive


class DocumentEnded(Rejected):
    """The document is closed or cancelled."""

    document: Code
    status: Status


class DocumentNotLive(Rejected):
    """The document is not in a status in which this can be done."""

    document: Code
    status: Status


class TooManyFingerprints(Rejected):
    """The document would have more fingerprints than a document may, over all its versions."""

    most: Positive


class FingerprintTaken(Rejected):
    """Another document of this kind and scope has the same values in this combination of fields."""

    combination: Code


class CapacityInUse(Rejected):
    """The capacity cannot fall below what is encumbered and settled."""

    document: Code
    least_minor: NonNegative


class NoteUsed(Rejected):
    """The credit note was entered with another amount."""

    document: Code
    amount_minor: Positive


class MoreThanFree(Rejected):
    """Less of the document is free; release or settle encumbrances first, or take what is free."""

    document: Code
    wanted_minor: Positive
    free_minor: NonNegative


class PermitForKeeper(Rejected):
    """The keeper of a document needs no permit and takes none."""

    document: Code


class NoPermit(Rejected):
    """The keeper of the document gave the calling contract, or the signer's organisation, no permit that is valid."""

    document: Code


class HolderNotYou(Rejected):
    """By a permit, an organisation encumbers a document for itself only."""

    document: Code


class TimeOutOfRange(Rejected):
    """The time has passed."""

    earliest: Timestamp


class DocumentOver(Rejected):
    """The document can no longer be encumbered."""

    document: Code
    valid_until: Timestamp


class OverCapacity(Rejected):
    """Less of the document's capacity remains than is wanted."""

    document: Code
    wanted_minor: Positive
    remaining_minor: NonNegative


class PermitExceeded(Rejected):
    """The permit does not cover the amount."""

    document: Code
    wanted_minor: Positive
    remaining_minor: NonNegative


class NotYourEncumbrance(Rejected):
    """The encumbrance is in the hands of the contract that made it, or of the organisation that holds it."""

    encumbrance: Positive


class EncumbranceEnded(Rejected):
    """The encumbrance has ended already."""

    encumbrance: Positive
    state: EncumbranceState


class EncumbranceOver(Rejected):
    """The encumbrance's time is over; it can only be released."""

    encumbrance: Positive
    expires_at: Timestamp


class EncumbranceNotDue(Rejected):
    """The encumbrance's time is not over."""

    encumbrance: Positive
    expires_at: Timestamp | None


class MoreThanEncumbered(Rejected):
    """Less remains of the encumbrance."""

    encumbrance: Positive
    wanted_minor: Positive
    remaining_minor: NonNegative


class StillEncumbered(Rejected):
    """Something of the document is encumbered; release or settle it first."""

    document: Code
    encumbered_minor: Positive


class AlreadySettled(Rejected):
    """Something of the document is used up, so it cannot be cancelled; close it."""

    document: Code
    settled_minor: Positive


def free_of(document: Document) -> int:
    """What of the capacity is neither encumbered nor settled, minor units."""
    return document.capacity_minor - document.encumbered_minor - document.settled_minor


class Documents(Contract, name="documents", version=1):
    """Documents with a capacity, fingerprints, encumbrances and permits."""

    documents = Table(Document, index=[("issuer", "id"), ("scope", "kind", "id")])
    versions = Table(Version)
    fingerprints = Table(FingerprintOwner, index=[("document", "combination", "value")])
    credits = Table(Credit)
    permits = Table(Permit)
    encumbrances = Table(Encumbrance, index=[("document", "state", "number"), ("holder", "state", "number")])
    deadlines = Table(Deadline, index=[("expires_at", "encumbrance")])
    done = Table(Done)
    events = (
        Registered,
        Amended,
        Credited,
        StatusChanged,
        Permitted,
        PermitWithdrawn,
        Encumbered,
        Released,
        Settled,
        SettledFree,
        Expired,
        HandedOn,
        Prolonged,
    )
    rejections = (
        UnknownEncumbrance,
        UnknownDocument,
        ReferenceUsed,
        NotACurrencyCode,
        NotAnIssuer,
        NotTheKeeper,
        TooManyParties,
        DocumentExists,
        NotYourEncumbrance,
        TimeOutOfRange,
        PermitForKeeper,
        NoPermit,
        HolderNotYou,
        StaleVersion,
        NoteUsed,
        DocumentEnded,
        DocumentNotLive,
        DocumentOver,
        EncumbranceEnded,
        EncumbranceOver,
        EncumbranceNotDue,
        TooManyFingerprints,
        FingerprintTaken,
        CapacityInUse,
        MoreThanFree,
        OverCapacity,
        PermitExceeded,
        MoreThanEncumbered,
        StillEncumbered,
        AlreadySettled,
    )

    # the keeper, about a document

    @command
    def register(
        self,
        document: Code,
        kind: Code,
        scope: Code,
        issuer: Code,
        digest: Digest,
        currency: Code,
        face_minor: NonNegative,
        capacity_minor: NonNegative,
        fingerprints: tuple[Fingerprint, ...] = (),
        parties: tuple[Named, ...] = (),
        issued_at: Timestamp | None = None,
        due_at: Timestamp | None = None,
        valid_until: Timestamp | None = None,
    ) -> int:
        """Register a document of ``issuer``, kept by the calling contract, or else by the issuer itself; returns its
        version.

        A contract answers for the issuer it names. To register the same once more changes nothing, and returns the
        version that the document has by now.
        """
        well_formed = len(currency) == CURRENCY_CODE_CHARS and all(one in CAPITALS for one in currency)
        require(well_formed, NotACurrencyCode, currency=currency)
        own = issuer == self.sender.organisation and self.has_role("issuer")
        require(self.caller != "" or own, NotAnIssuer, issuer=issuer)
        require(len(parties) <= PARTIES_MAX, TooManyParties, most=PARTIES_MAX)
        made = Document(
            id=document,
            kind=kind,
            scope=scope,
            issuer=issuer,
            keeper_kind=Actor.CONTRACT if self.caller else Actor.ORGANISATION,
            keeper=self.caller if self.caller else issuer,
            status=Status.LIVE,
            version=1,
            digest=digest,
            currency=currency,
            face_minor=face_minor,
            capacity_minor=capacity_minor,
            encumbered_minor=0,
            settled_minor=0,
            issued_at=issued_at,
            due_at=due_at,
            valid_until=valid_until,
            parties=parties,
            registered_at=self.now,
        )
        known = self.documents.get(document)
        if known is not None:
            require(self._is_the_same(known, made, fingerprints), DocumentExists, document=document)
            return known.version
        require(len(fingerprints) <= FINGERPRINTS_MAX, TooManyFingerprints, most=FINGERPRINTS_MAX)
        self._require_free_fingerprints(made, fingerprints)

        self.documents.insert(made)
        self._keep_version(made, fingerprints, "")
        self._take_fingerprints(made, fingerprints)

        self.emit(
            Registered(
                document=document,
                kind=kind,
                scope=scope,
                issuer=issuer,
                digest=digest,
                currency=currency,
                capacity_minor=capacity_minor,
            )
        )
        return made.version

    @command
    def amend(
        self,
        document: Code,
        version: Positive,
        digest: Digest,
        face_minor: NonNegative,
        capacity_minor: NonNegative,
        reason: Text,
        fingerprints: tuple[Fingerprint, ...] = (),
        parties: tuple[Named, ...] = (),
        issued_at: Timestamp | None = None,
        due_at: Timestamp | None = None,
        valid_until: Timestamp | None = None,
    ) -> int:
        """Replace version ``version`` of a document by the next, whole; returns the new version.

        Fingerprints are added to those it has. The capacity does not fall below what is encumbered and settled.
        """
        row = self._kept(document)
        require(len(parties) <= PARTIES_MAX, TooManyParties, most=PARTIES_MAX)
        require(version == row.version, StaleVersion, document=document, version=row.version)
        self._require_not_ended(row)
        had = {(one.combination, one.value): True for one in self.fingerprints.find(document)}
        new = tuple([one for one in fingerprints if (one.combination, one.value) not in had])
        require(len(had) + len(new) <= FINGERPRINTS_MAX, TooManyFingerprints, most=FINGERPRINTS_MAX)
        self._require_free_fingerprints(row, new)
        row = self._swept(row)
        used = row.encumbered_minor + row.settled_minor
        require(capacity_minor >= used, CapacityInUse, document=document, least_minor=used)

        row = self.documents.update(
            row,
            version=version + 1,
            digest=digest,
            face_minor=face_minor,
            capacity_minor=capacity_minor,
            issued_at=issued_at,
            due_at=due_at,
            valid_until=valid_until,
            parties=parties,
        )
        self._keep_version(row, new, reason)
        self._take_fingerprints(row, new)

        self.emit(
            Amended(
                document=document, version=row.version, digest=digest, capacity_minor=capacity_minor, reason=reason
            )
        )
        return row.version

    @command
    def credit(self, document: Code, note: Digest, amount_minor: Positive) -> int:
        """Reduce the capacity of a document by a credit note, of which ``note`` is the digest; returns what is free.

        A note takes what is free only. Where more is credited than is free, credit what is free, and settle the rest
        with the holders. The same note with the same amount is entered once.
        """
        row = self._kept(document)
        known = self.credits.get(document, note)
        if known is not None:
            require(known.amount_minor == amount_minor, NoteUsed, document=document, amount_minor=known.amount_minor)
            return free_of(row)
        self._require_not_ended(row)
        row = self._swept(row)
        self._require_free(row, amount_minor)

        row = self.documents.update(row, capacity_minor=row.capacity_minor - amount_minor)
        self.credits.insert(Credit(document=document, note=note, amount_minor=amount_minor, credited_at=self.now))

        self.emit(
            Credited(document=document, note=note, amount_minor=amount_minor, capacity_minor=row.capacity_minor)
        )
        return free_of(row)

    @command
    def settle_free(self, reference: Code, document: Code, amount_minor: Positive) -> int:
        """Use up an amount of a document that nobody has taken; returns what is free after it."""
        row = self._document(document)
        content = digest_of("settle_free", document, amount_minor)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier.result
        self._require_keeper(row)
        self._require_not_ended(row)
        row = self._swept(row)
        self._require_free(row, amount_minor)

        row = self.documents.update(row, settled_minor=row.settled_minor + amount_minor)

        self.emit(SettledFree(document=document, amount_minor=amount_minor))
        return self._did(reference, content, free_of(row))

    @command
    def suspend(self, document: Code, reason: Text) -> None:
        """Let nobody encumber a live document further; what is encumbered stands."""
        row = self._kept(document)
        require(row.status is Status.LIVE, DocumentNotLive, document=document, status=row.status)
        self._set_status(row, Status.SUSPENDED, reason)

    @command
    def resume(self, document: Code, reason: Text) -> None:
        """Let a suspended document be encumbered again."""
        row = self._kept(document)
        require(row.status is Status.SUSPENDED, DocumentNotLive, document=document, status=row.status)
        self._set_status(row, Status.LIVE, reason)

    @command
    def close(self, document: Code, reason: Text) -> None:
        """End a document of which nothing is encumbered, for good. Its fingerprints stay taken."""
        row = self._kept(document)
        self._require_not_ended(row)
        self._set_status(self._unencumbered(row), Status.CLOSED, reason)

    @command
    def cancel(self, document: Code, reason: Text) -> None:
        """Withdraw a document of which nothing is encumbered or settled, and set its fingerprints free."""
        row = self._kept(document)
        self._require_not_ended(row)
        row = self._unencumbered(row)
        settled = row.settled_minor
        if settled > 0:
            raise AlreadySettled(document=document, settled_minor=settled)

        for one in list(self.fingerprints.find(document, limit=FINGERPRINTS_MAX)):
            self.fingerprints.delete(one)
        self._set_status(row, Status.CANCELLED, reason)

    @command
    def permit(
        self, document: Code, grantee_kind: Actor, grantee: Code, limit_minor: Positive, valid_until: Timestamp
    ) -> None:
        """Let a contract or organisation encumber a document for itself, ``limit_minor`` in all, until ``valid_until``.

        A new permit for the same grantee replaces the old. What was encumbered and then released does not come back
        into the permit. A permit is no promise: whoever comes first takes what is free.
        """
        row = self._kept(document)
        require(valid_until > self.now, TimeOutOfRange, earliest=self.now + 1)
        own = grantee_kind == row.keeper_kind and grantee == row.keeper
        require(not own, PermitForKeeper, document=document)
        self._require_not_ended(row)

        known = self.permits.get(document, grantee_kind, grantee)
        if known is None:
            self.permits.insert(
                Permit(
                    document=document,
                    grantee_kind=grantee_kind,
                    grantee=grantee,
                    remaining_minor=limit_minor,
                    valid_until=valid_until,
                )
            )
        else:
            self.permits.update(known, remaining_minor=limit_minor, valid_until=valid_until)

        self.emit(Permitted(document=document))

    @command
    def withdraw_permit(self, document: Code, grantee_kind: Actor, grantee: Code) -> None:
        """Let a contract or organisation encumber a document no longer; what it took stands."""
        self._kept(document)
        known = self.permits.get(document, grantee_kind, grantee)
        if known is None:
            raise NoPermit(document=document)

        self.permits.delete(known)

        self.emit(PermitWithdrawn(document=document))

    # encumbrances

    @command
    def encumber(
        self,
        reference: Code,
        document: Code,
        amount_minor: Positive,
        holder: Code,
        purpose: Code,
        expires_at: Timestamp | None = None,
    ) -> int:
        """Take an amount of a live document for ``holder``, until ``expires_at`` if that is given; returns the
        encumbrance's number.

        By the document's keeper, or by whom it permitted. The amount must be free: what others have taken is not, and
        the refusal says no more than what remains.
        """
        row = self._document(document)
        content = digest_of("encumber", document, amount_minor, holder, purpose, expires_at)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier.result
        require(expires_at is None or expires_at > self.now, TimeOutOfRange, earliest=self.now + 1)
        permit = None if self._keeps(row) else self._permit(row, holder)
        require(row.status is Status.LIVE, DocumentNotLive, document=document, status=row.status)
        if row.valid_until is not None:
            require(self.now < row.valid_until, DocumentOver, document=document, valid_until=row.valid_until)
        row = self._swept(row)
        free = free_of(row)
        covered = amount_minor <= free
        require(covered, OverCapacity, document=document, wanted_minor=amount_minor, remaining_minor=free)
        if permit is not None:
            left = permit.remaining_minor
            within = amount_minor <= left
            require(within, PermitExceeded, document=document, wanted_minor=amount_minor, remaining_minor=left)

        if permit is not None:
            self.permits.update(permit, remaining_minor=permit.remaining_minor - amount_minor)
        self.documents.update(row, encumbered_minor=row.encumbered_minor + amount_minor)
        number = self.sequence("encumbrances")
        self.encumbrances.insert(
            Encumbrance(
                number=number,
                document=document,
                state=EncumbranceState.LIVE,
                holder=holder,
                purpose=purpose,
                amount_minor=amount_minor,
                remaining_minor=amount_minor,
                released_minor=0,
                settled_minor=0,
                maker_kind=Actor.CONTRACT if self.caller else Actor.ORGANISATION,
                maker=self.caller if self.caller else self.sender.organisation,
                expires_at=expires_at,
                made_at=self.now,
            )
        )
        if expires_at is not None:
            self.deadlines.insert(Deadline(document=document, expires_at=expires_at, encumbrance=number))

        self.emit(
            Encumbered(encumbrance=number, document=document, amount_minor=amount_minor, expires_at=expires_at)
        )
        return self._did(reference, content, number)

    @command
    def release(self, reference: Code, encumbrance: Positive, amount_minor: Positive | None = None) -> int:
        """Set an amount of an encumbrance free again, all that remains of it by default; returns what remains."""
        row = self._encumbrance(encumbrance)
        content = digest_of("release", encumbrance, amount_minor)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier.result
        self._require_hands(row)
        self._require_live(row)
        amount = row.remaining_minor if amount_minor is None else amount_minor
        self._require_remaining(row, amount)

        row = self._reduce(row, amount, EncumbranceState.RELEASED)

        self.emit(
            Released(
                encumbrance=encumbrance,
                document=row.document,
                amount_minor=amount,
                remaining_minor=row.remaining_minor,
            )
        )
        return self._did(reference, content, row.remaining_minor)

    @command
    def settle(self, reference: Code, encumbrance: Positive, amount_minor: Positive | None = None) -> int:
        """Use up an amount of an encumbrance, all that remains of it by default; returns what remains."""
        row = self._encumbrance(encumbrance)
        content = digest_of("settle", encumbrance, amount_minor)
        earlier = self._earlier(reference, content)
        if earlier is not None:
            return earlier.result
        self._require_hands(row)
        self._require_live(row)
        self._require_time(row)
        amount = row.remaining_minor if amount_minor is None else amount_minor
        self._require_remaining(row, amount)

        row = self._reduce(row, amount, EncumbranceState.SETTLED)

        self.emit(
            Settled(
                encumbrance=encumbrance,
                document=row.document,
                amount_minor=amount,
                remaining_minor=row.remaining_minor,
            )
        )
        return self._did(reference, content, row.remaining_minor)

    @command
    def hand_on(self, encumbrance: Positive, holder: Code, purpose: Code) -> None:
        """Give an encumbrance, whole, to another holder, for a purpose."""
        row = self._encumbrance(encumbrance)
        self._require_hands(row)
        self._require_live(row)
        self._require_time(row)

        self.encumbrances.update(row, holder=holder, purpose=purpose)

        self.emit(HandedOn(encumbrance=encumbrance))

    @command
    def prolong(self, encumbrance: Positive, expires_at: Timestamp | None, purpose: Code) -> None:
        """Let an encumbrance end at another time, or only by an act (None): a reservation becomes a loan.

        By the contract that made it; of one that an organisation made, by the document's keeper.
        """
        row = self._encumbrance(encumbrance)
        if row.maker_kind is Actor.CONTRACT:
            self._require_hands(row)
        else:
            self._require_keeper(self._document(row.document))
        require(expires_at is None or expires_at > self.now, TimeOutOfRange, earliest=self.now + 1)
        self._require_live(row)
        self._require_time(row)

        self._drop_deadline(row)
        if expires_at is not None:
            self.deadlines.insert(Deadline(document=row.document, expires_at=expires_at, encumbrance=encumbrance))
        self.encumbrances.update(row, expires_at=expires_at, purpose=purpose)

        self.emit(Prolonged(encumbrance=encumbrance, expires_at=expires_at))

    @command
    def expire_encumbrance(self, encumbrance: Positive) -> None:
        """Set free what remains of an encumbrance whose time is over; by anybody."""
        row = self._encumbrance(encumbrance)
        self._require_live(row)
        due = row.expires_at is not None and row.expires_at <= self.now
        require(due, EncumbranceNotDue, encumbrance=encumbrance, expires_at=row.expires_at)

        self._expire(row)

    @command
    def expire_encumbrances(self, limit: Positive = EXPIRED_PER_CALL_MAX) -> int:
        """Set free what remains of encumbrances whose time is over, in order of time and number, at most ``limit``
        and at most 100; returns how many. By anybody.
        """
        due = [
            one
            for one in self.deadlines.find(index=("expires_at", "encumbrance"), limit=min(limit, EXPIRED_PER_CALL_MAX))
            if one.expires_at <= self.now
        ]

        for one in due:
            self._expire(self._encumbrance(one.encumbrance))
        return len(due)

    # reading

    @query
    def record(self, document: Code) -> Document | None:
        """The document as it stands, or None where there is none."""
        return self.documents.get(document)

    @query
    def remaining(self, document: Code) -> int:
        """What of a document's capacity is free, minor units; what has expired by now is."""
        row = self._document(document)
        return free_of(row) + self._over(row)

    @query
    def standing(self, documents: tuple[Code, ...]) -> tuple[Standing, ...]:
        """For each document: its status, version and what remains; nothing about who took the rest."""
        answers = []
        for document in documents:
            row = self.documents.get(document)
            answers.append(
                Standing(
                    document=document,
                    status=None if row is None else row.status,
                    version=0 if row is None else row.version,
                    remaining_minor=0 if row is None else free_of(row) + self._over(row),
                )
            )
        return tuple(answers)

    @query
    def outstanding(self, encumbrance: Positive) -> int:
        """What remains of an encumbrance, minor units; 0 when it has ended or its time is over."""
        row = self._encumbrance(encumbrance)
        over = row.expires_at is not None and row.expires_at <= self.now
        return 0 if over else row.remaining_minor

    @query
    def taken(self, scope: Code, kind: Code, fingerprints: tuple[Fingerprint, ...]) -> tuple[Code, ...]:
        """The combinations among ``fingerprints`` that a document of this kind and scope has already."""
        return tuple(
            [
                one.combination
                for one in fingerprints
                if self.fingerprints.exists(scope, kind, one.combination, one.value)
            ]
        )

    # who acts

    def _keeps(self, row: Document) -> bool:
        if row.keeper_kind is Actor.CONTRACT:
            return self.caller == row.keeper
        return not self.caller and self.sender.organisation == row.keeper and self.has_role("issuer")

    def _has(self, row: Encumbrance) -> bool:
        """Whether the encumbrance is in the hands of who makes this call."""
        if row.maker_kind is Actor.CONTRACT:
            return self.caller == row.maker
        return not self.caller and self.sender.organisation == row.holder and self.has_role("holder")

    # guards

    def _document(self, document: str) -> Document:
        row = self.documents.get(document)
        if row is None:
            raise UnknownDocument(document=document)
        return row

    def _encumbrance(self, encumbrance: int) -> Encumbrance:
        row = self.encumbrances.get(encumbrance)
        if row is None:
            raise UnknownEncumbrance(encumbrance=encumbrance)
        return row

    def _require_keeper(self, row: Document) -> None:
        require(self._keeps(row), NotTheKeeper, document=row.id)

    def _kept(self, document: str) -> Document:
        """A document that this call's maker keeps."""
        row = self._document(document)
        self._require_keeper(row)
        return row

    def _require_not_ended(self, row: Document) -> None:
        ended = row.status is Status.CLOSED or row.status is Status.CANCELLED
        require(not ended, DocumentEnded, document=row.id, status=row.status)

    def _require_hands(self, row: Encumbrance) -> None:
        require(self._has(row), NotYourEncumbrance, encumbrance=row.number)

    def _require_live(self, row: Encumbrance) -> None:
        live = row.state is EncumbranceState.LIVE
        require(live, EncumbranceEnded, encumbrance=row.number, state=row.state)

    def _require_time(self, row: Encumbrance) -> None:
        if row.expires_at is not None:
            require(self.now < row.expires_at, EncumbranceOver, encumbrance=row.number, expires_at=row.expires_at)

    def _require_remaining(self, row: Encumbrance, amount: int) -> None:
        left = row.remaining_minor
        enough = amount <= left
        require(enough, MoreThanEncumbered, encumbrance=row.number, wanted_minor=amount, remaining_minor=left)

    def _require_free(self, row: Document, amount: int) -> None:
        free = free_of(row)
        require(amount <= free, MoreThanFree, document=row.id, wanted_minor=amount, free_minor=free)

    def _unencumbered(self, row: Document) -> Document:
        swept = self._swept(row)
        encumbered = swept.encumbered_minor
        if encumbered > 0:
            raise StillEncumbered(document=row.id, encumbered_minor=encumbered)
        return swept

    def _permit(self, row: Document, holder: str) -> Permit:
        """The permit by which this call's maker encumbers a document that it does not keep."""
        kind = Actor.CONTRACT if self.caller else Actor.ORGANISATION
        grantee = self.caller if self.caller else self.sender.organisation
        known = self.permits.get(row.id, kind, grantee)
        allowed = self.caller != "" or self.has_role("holder")
        if known is None or known.valid_until <= self.now or not allowed:
            raise NoPermit(document=row.id)
        require(self.caller != "" or holder == grantee, HolderNotYou, document=row.id)
        return known

    def _require_free_fingerprints(self, row: Document, fingerprints: tuple[Fingerprint, ...]) -> None:
        for one in fingerprints:
            known = self.fingerprints.exists(row.scope, row.kind, one.combination, one.value)
            require(not known, FingerprintTaken, combination=one.combination)

    def _is_the_same(self, known: Document, made: Document, fingerprints: tuple[Fingerprint, ...]) -> bool:
        """Whether a document was first registered with the content of ``made``."""
        first = self.versions.get(known.id, 1)
        assert first is not None, "a document has its first version"
        lasting = (known.kind, known.scope, known.issuer, known.keeper_kind, known.keeper, known.currency)
        then = (first.digest, first.face_minor, first.capacity_minor, first.parties, first.fingerprints)
        times = (first.issued_at, first.due_at, first.valid_until)
        return (
            lasting == (made.kind, made.scope, made.issuer, made.keeper_kind, made.keeper, made.currency)
            and then == (made.digest, made.face_minor, made.capacity_minor, made.parties, fingerprints)
            and times == (made.issued_at, made.due_at, made.valid_until)
        )

    # once

    def _actor_kind(self) -> Actor:
        return Actor.CONTRACT if self.caller else Actor.PARTY

    def _actor(self) -> str:
        return self.caller if self.caller else self.sender.party

    def _earlier(self, reference: str, content: bytes) -> Done | None:
        """What this actor did under ``reference`` with the same content; refused if it stands for something else."""
        known = self.done.get(self._actor_kind(), self._actor(), reference)
        require(known is None or known.content == content, ReferenceUsed, reference=reference)
        return known

    def _did(self, reference: str, content: bytes, result: int) -> int:
        self.done.insert(
            Done(
                actor_kind=self._actor_kind(),
                actor=self._actor(),
                reference=reference,
                content=content,
                result=result,
            )
        )
        return result

    # effects

    def _keep_version(self, row: Document, fingerprints: tuple[Fingerprint, ...], reason: str) -> None:
        self.versions.insert(
            Version(
                document=row.id,
                version=row.version,
                digest=row.digest,
                face_minor=row.face_minor,
                capacity_minor=row.capacity_minor,
                issued_at=row.issued_at,
                due_at=row.due_at,
                valid_until=row.valid_until,
                parties=row.parties,
                fingerprints=fingerprints,
                reason=reason,
                since=self.now,
            )
        )

    def _take_fingerprints(self, row: Document, fingerprints: tuple[Fingerprint, ...]) -> None:
        for one in fingerprints:
            if not self.fingerprints.exists(row.scope, row.kind, one.combination, one.value):
                self.fingerprints.insert(
                    FingerprintOwner(
                        scope=row.scope,
                        kind=row.kind,
                        combination=one.combination,
                        value=one.value,
                        document=row.id,
                    )
                )

    def _set_status(self, row: Document, status: Status, reason: str) -> None:
        self.documents.update(row, status=status)
        self.emit(StatusChanged(document=row.id, status=status, reason=reason))

    def _due(self, row: Document) -> list[Deadline]:
        """The first deadlines of a document that have passed."""
        first = list(self.deadlines.find(row.id, index=(), limit=EXPIRED_PER_CALL_MAX))
        return [one for one in first if one.expires_at <= self.now]

    def _over(self, row: Document) -> int:
        """What remains of the encumbrances of a document whose time is over."""
        return sum([self._encumbrance(one.encumbrance).remaining_minor for one in self._due(row)])

    def _swept(self, row: Document) -> Document:
        """The document after the encumbrances whose time is over have expired."""
        for one in self._due(row):
            self._expire(self._encumbrance(one.encumbrance))
        return self._document(row.id)

    def _drop_deadline(self, row: Encumbrance) -> None:
        if row.expires_at is not None:
            self.deadlines.delete(
                Deadline(document=row.document, expires_at=row.expires_at, encumbrance=row.number)
            )

    def _reduce(self, row: Encumbrance, amount: int, how: EncumbranceState) -> Encumbrance:
        """Take ``amount`` off what remains of an encumbrance, into what ``how`` says."""
        document = self._document(row.document)
        used = amount if how is EncumbranceState.SETTLED else 0
        self.documents.update(
            document,
            encumbered_minor=document.encumbered_minor - amount,
            settled_minor=document.settled_minor + used,
        )
        rest = row.remaining_minor - amount
        if rest == 0:
            self._drop_deadline(row)
        return self.encumbrances.update(
            row,
            remaining_minor=rest,
            released_minor=row.released_minor + (amount if how is EncumbranceState.RELEASED else 0),
            settled_minor=row.settled_minor + used,
            state=how if rest == 0 else EncumbranceState.LIVE,
        )

    def _expire(self, row: Encumbrance) -> None:
        self._reduce(row, row.remaining_minor, EncumbranceState.EXPIRED)
        self.emit(Expired(encumbrance=row.number, document=row.document, amount_minor=row.remaining_minor))

    # laws

    @invariant
    def what_is_encumbered_is_what_remains_of_live_encumbrances(self) -> None:
        """A document's encumbered amount is the sum of its live encumbrances, and nothing exceeds its capacity."""
        sums: dict[str, int] = {}
        for one in self.encumbrances.find(index=()):
            sums[one.document] = sums.get(one.document, 0) + one.remaining_minor
        for row in self.documents.find(index=()):
            assert row.encumbered_minor == sums.get(row.id, 0), row.id
            assert free_of(row) >= 0, row.id

    @invariant
    def an_encumbrance_is_the_sum_of_its_parts(self) -> None:
        """What was taken remains, was released or was settled; the rest expired. Only a live one has a rest."""
        for row in self.encumbrances.find(index=()):
            parts = row.remaining_minor + row.released_minor + row.settled_minor
            expired = row.state is EncumbranceState.EXPIRED
            assert parts == row.amount_minor or (expired and parts < row.amount_minor), row.number
            assert (row.remaining_minor > 0) == (row.state is EncumbranceState.LIVE), row.number
            live_until = row.expires_at if row.state is EncumbranceState.LIVE else None
            if row.expires_at is not None:
                listed = self.deadlines.exists(row.document, row.expires_at, row.number)
                assert listed == (live_until is not None), row.number
        for deadline in self.deadlines.find(index=()):
            found = self.encumbrances.get(deadline.encumbrance)
            assert found is not None, deadline.encumbrance
            assert found.expires_at == deadline.expires_at, deadline.encumbrance

    @invariant
    def a_fingerprint_belongs_to_a_document_that_was_not_cancelled(self) -> None:
        """Each fingerprint belongs to a document of its scope and kind, and a cancelled document has none."""
        for one in self.fingerprints.find(index=()):
            row = self.documents.get(one.document)
            assert row is not None, one.document
            assert (row.scope, row.kind) == (one.scope, one.kind), one.document
            assert row.status is not Status.CANCELLED, one.document

    @invariant
    def an_ended_document_has_no_encumbrance(self) -> None:
        """Nothing of a closed or cancelled document is encumbered, and nothing of a cancelled one is settled."""
        for row in self.documents.find(index=()):
            if row.status is Status.CLOSED or row.status is Status.CANCELLED:
                assert row.encumbered_minor == 0, row.id
            assert row.status is not Status.CANCELLED or row.settled_minor == 0, row.id

    @invariant
    def a_document_says_what_its_last_version_says(self) -> None:
        """A document has each of its versions, and the last differs in capacity by what was credited since."""
        credited: dict[str, int] = {}
        for one in self.credits.find(index=()):
            credited[one.document] = credited.get(one.document, 0) + one.amount_minor
        for row in self.documents.find(index=()):
            versions = list(self.versions.find(row.id))
            assert len(versions) == row.version, row.id
            for number, version in enumerate(versions, 1):
                assert version.version == number, row.id
            last = self.versions.get(row.id, row.version)
            assert last is not None, row.id
            assert last.digest == row.digest, row.id
            off = last.capacity_minor - row.capacity_minor
            assert 0 <= off <= credited.get(row.id, 0), row.id
