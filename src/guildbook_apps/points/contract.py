"""A points alliance: programmes under a published profile, quotas, members, lots, holds, redemptions,
claw-backs.

Theory. A *programme* is one unit of one issuer. What a member holds is a number of *lots*: units granted at
once and expiring together. A unit is in exactly one of these states:

    pending ----> active ----> held ----> redeemed ----> (reversal) ----> active, in its original lot
       |            | |         |
       |            | |         +-------> active again (void, lapse), or expired if its lot's time is over
       +-> revoked <+ +-> transferred (to a lot of another member, with the same expiry) | expired

What time alone decides is not stored: a lot is pending before ``active_from``, and spendable from then until
``expires_at``, whether or not anybody has called anything. A lot's row counts its free and its held units;
the terminal states are totals and events.

**The law of totals.** For each programme, units in lots (free and held, pending or not) are exactly ``issued
- redeemed - expired - revoked``. *issued* counts every unit that an earning granted, *redeemed* is net of
reversals, *expired* counts units that ran out of time, *revoked* counts units taken back from lots or
withheld from a new earning against a debt. A transfer and a merger of members move no total. A debt is no
unit: it is what a claw-back could not find (``debts``), and becomes *revoked* when a later earning pays it.

**Rows that remain.** An exhausted lot is deleted: its history is in the events, its issue in ``earnings``
(one row for each purchase line, kept for ever, because it is what refuses the second issue), and a hold or
redemption carries what is needed to rebuild each lot that it took from (``Part``). So state grows with
purchases and redemptions, and not with transfers. A lot that arrived by transfer (``evidence`` is None) takes
further units of the same programme, profile version and expiry; an earned lot never does, or a claw-back
could take a gift. Every event names both lots, so the genealogy stays exact.

**Order of spending**: (expires_at, issued_at, id), over free units only. A hold moves units inside the lot's
own row, so it cannot go stale: of two holds on the same units the second in block order finds fewer free
units.

**Order of refusal**: as in ``Points.rejections``; each command checks in that order.

Expiry is an instant. Zones and calendars stay outside: a profile lists the ends of its periods (days, months)
as UTC instants, computed by its issuer for the zone that it names, and the rule counts in that list.
"""

import enum

from guildbook.contract import (
    Amount,
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
    invariant,
    is_lei,
    key,
    query,
    require,
)

DAY_MS = 86_400_000
# Lots that one call may take units from: it bounds the events of a call and the parts of a hold.
LOTS_PER_CALL_MAX = 200
# Lots of the receiver, newest first, among which a transfer looks for one to add to.
MERGE_SEARCH_LOTS = 8
EXPIRY_BATCH_LOTS_MAX = 1_000
PERIOD_ENDS_MAX = 240
VALIDITY_DAYS_MAX = 36_525
NOTICE_DAYS_MAX = 3_653
# Units that a programme may be granted in all, and minor units that one may be redeemed for: so no sum of units,
# and no claim, leaves 64 bits.
UNITS_MAX = 10**12
PRICE_MINOR_MAX = 10**6
PROPOSAL_LIFE_MS = 7 * DAY_MS
HOLD_MS_MAX = 7 * DAY_MS
REVERSAL_MS = 30 * DAY_MS
# A restored lot lives at least this long, whatever its original expiry.
RESTORED_GRACE_MS = 7 * DAY_MS
# Mergers that may lie behind one another.
MERGERS_MAX = 32
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Status(enum.StrEnum):
    """Whether a programme or a member may act."""

    ACTIVE = "active"
    FROZEN = "frozen"
    MERGED = "merged"


class Validity(enum.StrEnum):
    """How the expiry of a lot follows from its issue; the instants are the profile's ``period_ends``."""

    FIXED_DATE = "fixed_date"
    ROLLING_DAYS = "rolling_days"
    ROLLING_MONTHS = "rolling_months"


class Scope(enum.StrEnum):
    """Where units may be redeemed: with the issuer alone, or with every merchant that it admitted."""

    ISSUER = "issuer"
    PARTNERS = "partners"


# What is kept -----------------------------------------------------------------------------------------------


class Programme(Record):
    """One unit of one issuer, admitted to the alliance by an operator."""

    id: Code = key()
    issuer: Code
    operator: Code
    supervisor: Code
    """The organisation that may freeze it; named by the operator, so that no issuer chooses its own."""
    unit: Code
    status: Status
    profiles: NonNegative
    """The number of the latest published profile; 0 before the first."""


class Profile(Record):
    """The published terms of a programme; a version never changes, and a lot keeps the one it was issued under."""

    programme: Code = key()
    version: Positive = key()
    effective_from: Timestamp
    issuer_lei: Code
    currency: Code
    nominal_numerator: Positive
    nominal_denominator: Positive
    """One unit is worth numerator / denominator minor units of ``currency`` (ISO 4217)."""
    earn_rule: Code
    earn_rule_version: Positive
    earn_units: Positive
    earn_per_minor: Positive
    """A purchase line of m minor units earns floor(m * earn_units / earn_per_minor); lines are never added up
    first.
    """
    pending_days: NonNegative
    validity: Validity
    validity_length: NonNegative
    """Days or months of a rolling rule; 0 for a fixed date."""
    zone: Code
    period_ends: tuple[Timestamp, ...]
    transferable: bool
    exchangeable: bool
    scope: Scope
    reserve_numerator: NonNegative
    reserve_denominator: Positive
    terms: Digest
    notice_days: NonNegative


class Total(Record):
    """The running sums of a programme, in units; see the law of totals in the module heading."""

    programme: Code = key()
    granted: NonNegative
    issued: NonNegative
    redeemed: NonNegative
    restored: NonNegative
    """Units that reversals gave back; *redeemed* is already without them."""
    expired: NonNegative
    revoked: NonNegative
    debt: NonNegative


class Proposal(Record):
    """A quota that one officer asked for and another person has not yet approved."""

    id: Positive = key()
    programme: Code
    units: Positive
    reason: Text
    proposer: Code
    granted_before: NonNegative
    expires_at: Timestamp


class Partner(Record):
    """A merchant that redeems a programme's units, and what the issuer owes it for each, in minor units."""

    programme: Code = key()
    merchant: Code = key()
    price_numerator: NonNegative
    price_denominator: Positive


class Member(Record):
    """A pseudonymous account; the party ``controller`` signs for it."""

    id: Code = key()
    controller: Code
    status: Status
    merged_into: Code | None
    mergers: NonNegative
    """How many mergers lie behind one another in what this member took in; at most MERGERS_MAX."""


class Lot(Record):
    """Units granted at once, and expiring together."""

    id: Positive = key()
    programme: Code
    member: Code
    units: NonNegative
    """Free units: pending before ``active_from``, spendable after."""
    held: NonNegative
    issued_at: Timestamp
    active_from: Timestamp
    expires_at: Timestamp
    """The first moment at which free units can no longer be spent."""
    profile: Positive
    evidence: Digest | None
    """The purchase line that earned it; None when the units came from another lot, ``parent``."""
    parent: Positive | None


class Part(Record):
    """Units taken out of one lot, with what is needed to rebuild it."""

    lot: Positive
    units: Positive
    issued_at: Timestamp
    active_from: Timestamp
    expires_at: Timestamp
    profile: Positive
    evidence: Digest | None
    parent: Positive | None


class Earning(Record):
    """What one purchase line earned; the row refuses a second issue for the same evidence."""

    evidence: Digest = key()
    programme: Code
    member: Code
    lot: Positive | None
    """None when a debt took the whole earning."""
    units: Positive
    returned: NonNegative
    """Units whose purchase was refunded."""
    expired: NonNegative
    """Units that expired in the earned lot and that no refund has been set against yet."""


class Debt(Record):
    """Units that a claw-back did not find; later earnings of the member in the programme pay them."""

    member: Code = key()
    programme: Code = key()
    units: Positive


class Hold(Record):
    """Units set aside for a merchant until ``lapses_at``, at the price agreed then."""

    id: Positive = key()
    programme: Code
    member: Code
    merchant: Code
    units: Positive
    parts: tuple[Part, ...]
    price_numerator: NonNegative
    price_denominator: Positive
    reference: Code
    lapses_at: Timestamp


class Redemption(Record):
    """Units spent with a merchant, and the claim on the issuer that follows."""

    id: Positive = key()
    programme: Code
    member: Code
    merchant: Code
    units: Positive
    parts: tuple[Part, ...]
    """Where the units came from; empty once the redemption is reversed."""
    claim_minor: NonNegative
    currency: Code
    reference: Code
    redeemed_at: Timestamp
    reversed_at: Timestamp | None


# What is said in receipts -----------------------------------------------------------------------------------


class ProgrammeRegistered(Event):
    """An operator admitted a programme."""

    programme: Code
    issuer: Code
    supervisor: Code
    unit: Code


class ProfilePublished(Event):
    """A version of a programme's terms was published; its row holds them in full."""

    programme: Code
    version: Positive
    effective_from: Timestamp
    terms: Digest


class ProgrammeStatusChanged(Event):
    """A supervisor froze or released a programme."""

    programme: Code
    status: Status
    reason: Text


class MerchantAdmitted(Event):
    """A merchant redeems a programme's units at a price in minor units for each."""

    programme: Code
    merchant: Code
    price_numerator: NonNegative
    price_denominator: Positive


class MerchantWithdrawn(Event):
    """A merchant no longer redeems a programme's units; its live holds stay good."""

    programme: Code
    merchant: Code


class QuotaGranted(Event):
    """A second person approved a quota."""

    proposal: Positive
    programme: Code
    units: Positive


class MemberEnrolled(Event):
    """A member's account was opened."""

    member: Code
    controller: Code


class ControllerChanged(Event):
    """Another party signs for a member."""

    member: Code
    controller: Code


class MemberStatusChanged(Event):
    """A supervisor froze or released a member."""

    member: Code
    status: Status
    reason: Text


class MembersMerged(Event):
    """``member`` was closed into ``survivor``."""

    member: Code
    survivor: Code


class LotMoved(Event):
    """A lot, unchanged, went to the survivor of a merger."""

    lot: Positive
    member: Code
    survivor: Code


class DebtMoved(Event):
    """A debt went to the survivor of a merger."""

    programme: Code
    member: Code
    survivor: Code
    units: Positive


class Issued(Event):
    """A purchase line earned units; ``debt_paid`` of them paid a debt, the rest is the lot."""

    evidence: Digest
    programme: Code
    member: Code
    units: Positive
    debt_paid: NonNegative
    lot: Positive | None
    active_from: Timestamp
    expires_at: Timestamp


class Activated(Event):
    """The issuer ended the pending time of a lot."""

    lot: Positive


class Transferred(Event):
    """Units went from a member's lot to a lot of another member, which expires at the same moment."""

    programme: Code
    from_member: Code
    to_member: Code
    from_lot: Positive
    to_lot: Positive
    units: Positive
    expires_at: Timestamp


class Held(Event):
    """Units of a lot were set aside for a merchant."""

    hold: Positive
    programme: Code
    member: Code
    merchant: Code
    lot: Positive
    units: Positive
    lapses_at: Timestamp


class Released(Event):
    """Held units of a lot are free again."""

    hold: Positive
    lot: Positive
    units: Positive


class Redeemed(Event):
    """Units of a lot were spent with a merchant; ``hold`` is None when they were not held before."""

    redemption: Positive
    hold: Positive | None
    programme: Code
    member: Code
    merchant: Code
    lot: Positive
    units: Positive


class ClaimBooked(Event):
    """The issuer (debtor) owes the merchant (creditor) for redeemed units; negative when a redemption is reversed."""

    redemption: Positive
    programme: Code
    debtor: Code
    creditor: Code
    units: Int
    amount_minor: Amount
    currency: Code


class Restored(Event):
    """A reversal gave units back; ``lot`` is the original one, or a new one where the rest of it expires earlier."""

    redemption: Positive
    programme: Code
    member: Code
    original: Positive
    lot: Positive
    units: Positive
    expires_at: Timestamp


class Expired(Event):
    """Free units of a lot ran out of time."""

    programme: Code
    member: Code
    lot: Positive
    units: Positive


class Revoked(Event):
    """A refund took back what a purchase line had earned: ``taken`` from its lot, ``debt`` still owed,
    ``lapsed`` expired unused and therefore not claimed.
    """

    evidence: Digest
    programme: Code
    member: Code
    lot: Positive | None
    taken: NonNegative
    debt: NonNegative
    lapsed: NonNegative


# Why a command is refused, in order of precedence -----------------------------------------------------------


class AboveLimit(Rejected):
    """An argument is greater than it may be."""

    argument: Code
    most: Positive


class UnknownProgramme(Rejected):
    """There is no such programme."""

    programme: Code


class UnknownMember(Rejected):
    """There is no such member."""

    member: Code


class UnknownNumber(Rejected):
    """There is no such proposal, hold or redemption, or it is settled already."""

    number: Int


class UnknownEvidence(Rejected):
    """No earning was issued for this evidence."""

    evidence: Digest


class AlreadyRegistered(Rejected):
    """A programme or member of this id is registered already."""

    id: Code


class NotYours(Rejected):
    """The signer does not act for the one who may do this: ``owner``, an organisation or a party."""

    owner: Code


class OwnProposal(Rejected):
    """The proposer of a quota does not approve it."""

    proposer: Code


class SameMember(Rejected):
    """Both members are the same."""

    member: Code


class NoChange(Rejected):
    """The status asked for is the one it has, or the member is closed."""

    status: Status


class FrozenProgramme(Rejected):
    """A supervisor has frozen the programme."""

    programme: Code


class InactiveMember(Rejected):
    """The member is frozen or merged."""

    member: Code
    status: Status


class TooManyMergers(Rejected):
    """So many mergers may not lie behind one another."""

    most: Positive


class NoProfile(Rejected):
    """No profile of the programme is in force."""

    programme: Code


class BadProfile(Rejected):
    """A field of the profile contradicts its rule."""

    field: Code


class ProfilePending(Rejected):
    """A published profile waits to take effect; there is one change at a time."""

    effective_from: Timestamp


class NoticeTooShort(Rejected):
    """Members have not the promised notice before the change."""

    earliest: Timestamp


class QuotaTooLarge(Rejected):
    """A programme is never granted so many units in all."""

    most: NonNegative


class ProposalExpired(Rejected):
    """The proposal was not approved in time."""

    expired_at: Timestamp


class ProposalMismatch(Rejected):
    """What was approved is not what was proposed."""

    programme: Code
    units: Positive


class StaleProposal(Rejected):
    """Another quota was granted since the proposal was made."""

    granted: NonNegative


class QuotaExceeded(Rejected):
    """The issue does not fit into what is left of the quota."""

    wanted: Positive
    left: NonNegative


class DuplicateEvidence(Rejected):
    """This purchase line has earned already."""

    evidence: Digest


class ValidityOver(Rejected):
    """The profile's dates end before the validity of a new lot; publish a profile with later ones."""

    programme: Code


class AlreadyActive(Rejected):
    """The lot is active, or nothing of it is left."""

    active_from: Timestamp


class NotTransferable(Rejected):
    """The programme's units do not pass between members."""

    programme: Code


class OutOfScope(Rejected):
    """The merchant does not redeem this programme's units."""

    programme: Code
    merchant: Code


class TooManyLots(Rejected):
    """The units lie in more lots than one call may touch; ask for at most ``covered``."""

    lots_max: Positive
    covered: NonNegative


class InsufficientUnits(Rejected):
    """The member's free units do not cover the request."""

    wanted: Positive
    free: NonNegative


class HoldLapsed(Rejected):
    """The hold's time is over."""

    lapsed_at: Timestamp


class CaptureExceedsHold(Rejected):
    """More would be captured than is held."""

    wanted: Positive
    held: Positive


class AlreadyReversed(Rejected):
    """The redemption has been reversed."""

    reversed_at: Timestamp


class ReversalTooLate(Rejected):
    """The time for a reversal is over."""

    until: Timestamp


class ReturnExceedsEarning(Rejected):
    """More would be taken back than the purchase line earned and has not yet returned."""

    wanted: Positive
    left: NonNegative


# The rules --------------------------------------------------------------------------------------------------


class Points(Contract, name="points", version=1):
    """Programmes, quotas, members, lots, holds, redemptions and claw-backs of a points alliance."""

    programmes = Table(Programme)
    profiles = Table(Profile)
    totals = Table(Total)
    proposals = Table(Proposal)
    partners = Table(Partner)
    members = Table(Member)
    lots = Table(Lot, index=[("member", "programme", "expires_at", "issued_at"), ("expires_at",)])
    earnings = Table(Earning)
    debts = Table(Debt)
    holds = Table(Hold, index=[("member", "programme", "lapses_at"), ("lapses_at",)])
    redemptions = Table(Redemption)

    events = (ProgrammeRegistered, ProfilePublished, ProgrammeStatusChanged, MerchantAdmitted,
              MerchantWithdrawn, QuotaGranted, MemberEnrolled, ControllerChanged, MemberStatusChanged,
              MembersMerged, LotMoved, DebtMoved, Issued, Activated, Transferred, Held, Released, Redeemed,
              ClaimBooked, Restored, Expired, Revoked)
    rejections = (AboveLimit, UnknownProgramme, UnknownMember, UnknownNumber, UnknownEvidence, AlreadyRegistered,
                  NotYours, OwnProposal, SameMember, NoChange, FrozenProgramme, InactiveMember, TooManyMergers,
                  NoProfile, BadProfile, ProfilePending, NoticeTooShort, QuotaTooLarge, ProposalExpired,
                  ProposalMismatch, StaleProposal, QuotaExceeded, DuplicateEvidence, ValidityOver, AlreadyActive,
                  NotTransferable, OutOfScope, TooManyLots, InsufficientUnits, HoldLapsed, CaptureExceedsHold,
                  AlreadyReversed, ReversalTooLate, ReturnExceedsEarning)

    # Programmes and their terms

    @command(role="operator")
    def register_programme(self, programme: Code, issuer: Code, supervisor: Code, unit: Code) -> None:
        """Admit a programme of the organisation ``issuer``; it issues once it has a profile and a quota.

        The organisation ``supervisor`` may freeze it; ``unit`` is the code of its unit.
        """
        require(not self.programmes.exists(programme), AlreadyRegistered, id=programme)
        self.programmes.insert(Programme(id=programme, issuer=issuer, operator=self.sender.organisation,
                                         supervisor=supervisor, unit=unit, status=Status.ACTIVE, profiles=0))
        self.totals.insert(Total(programme=programme, granted=0, issued=0, redeemed=0, restored=0, expired=0,
                                 revoked=0, debt=0))
        self.emit(ProgrammeRegistered(programme=programme, issuer=issuer, supervisor=supervisor, unit=unit))

    @command(role="issuer")
    def publish_profile(self, programme: Code, effective_from: Timestamp, issuer_lei: Code, currency: Code,
                        nominal_numerator: Positive, nominal_denominator: Positive, earn_rule: Code,
                        earn_rule_version: Positive, earn_units: Positive, earn_per_minor: Positive,
                        pending_days: NonNegative, validity: Validity, validity_length: NonNegative, zone: Code,
                        period_ends: tuple[Timestamp, ...], transferable: bool, exchangeable: bool, scope: Scope,
                        reserve_numerator: NonNegative, reserve_denominator: Positive, terms: Digest,
                        notice_days: NonNegative) -> int:
        """Publish the next version of a programme's terms and return its number. The currency never changes.

        The first takes effect at once. A later one takes effect at ``effective_from``, which must leave
        members the notice that the version in force promises. Lots that exist keep the terms they were issued
        under.
        """
        row = self._issued_by_sender(programme)
        require(is_lei(issuer_lei), BadProfile, field="issuer_lei")
        require(len(currency) == 3 and all(letter in CAPITALS for letter in currency), BadProfile,
                field="currency")
        fixed = validity is Validity.FIXED_DATE
        require((validity_length == 0) == fixed and validity_length <= VALIDITY_DAYS_MAX, BadProfile,
                field="validity_length")
        require(pending_days <= NOTICE_DAYS_MAX, BadProfile, field="pending_days")
        require(notice_days <= NOTICE_DAYS_MAX, BadProfile, field="notice_days")
        require(_are_period_ends(validity, validity_length, period_ends), BadProfile, field="period_ends")
        latest = self.profiles.get(programme, row.profiles)
        if latest is None:
            effective_from = self.now
        else:
            require(currency == latest.currency, BadProfile, field="currency")
            require(latest.effective_from <= self.now, ProfilePending, effective_from=latest.effective_from)
            earliest = self.now + latest.notice_days * DAY_MS
            require(effective_from >= earliest, NoticeTooShort, earliest=earliest)

        version = row.profiles + 1
        self.programmes.update(row, profiles=version)
        self.profiles.insert(Profile(programme=programme, version=version, effective_from=effective_from,
                                     issuer_lei=issuer_lei, currency=currency, nominal_numerator=nominal_numerator,
                                     nominal_denominator=nominal_denominator, earn_rule=earn_rule,
                                     earn_rule_version=earn_rule_version, earn_units=earn_units,
                                     earn_per_minor=earn_per_minor, pending_days=pending_days, validity=validity,
                                     validity_length=validity_length, zone=zone, period_ends=period_ends,
                                     transferable=transferable, exchangeable=exchangeable, scope=scope,
                                     reserve_numerator=reserve_numerator, reserve_denominator=reserve_denominator,
                                     terms=terms, notice_days=notice_days))
        self.emit(ProfilePublished(programme=programme, version=version, effective_from=effective_from, terms=terms))
        return version

    @command(role="issuer")
    def admit_merchant(self, programme: Code, merchant: Code, price_numerator: NonNegative,
                       price_denominator: Positive) -> None:
        """Let the organisation ``merchant`` redeem units, or change its price: minor units owed for each unit."""
        require(price_numerator <= PRICE_MINOR_MAX, AboveLimit, argument="price_numerator", most=PRICE_MINOR_MAX)
        self._issued_by_sender(programme)
        known = self.partners.get(programme, merchant)
        if known is not None:
            self.partners.update(known, price_numerator=price_numerator, price_denominator=price_denominator)
        else:
            self.partners.insert(Partner(programme=programme, merchant=merchant, price_numerator=price_numerator,
                                         price_denominator=price_denominator))
        self.emit(MerchantAdmitted(programme=programme, merchant=merchant, price_numerator=price_numerator,
                                   price_denominator=price_denominator))

    @command(role="issuer")
    def withdraw_merchant(self, programme: Code, merchant: Code) -> None:
        """End a merchant's admission; its live holds can still be captured."""
        self._issued_by_sender(programme)
        known = self.partners.get(programme, merchant)
        if known is None:
            raise OutOfScope(programme=programme, merchant=merchant)
        self.partners.delete(known)
        self.emit(MerchantWithdrawn(programme=programme, merchant=merchant))

    @command(role="supervisor")
    def set_programme_status(self, programme: Code, status: Status, reason: Text) -> None:
        """Freeze a programme, or release it. Frozen: no quota, issue, hold, redemption or transfer; captures,
        voids, reversals, claw-backs and expiry go on, since they settle what was promised before.
        """
        row = self._programme(programme)
        require(self.sender.organisation == row.supervisor, NotYours, owner=row.supervisor)
        require(status != row.status and status is not Status.MERGED, NoChange, status=row.status)
        self.programmes.update(row, status=status)
        self.emit(ProgrammeStatusChanged(programme=programme, status=status, reason=reason))

    # Quotas, under dual control

    @command(role="issuer")
    def propose_quota(self, programme: Code, units: Positive, reason: Text) -> int:
        """Ask for leave to issue ``units`` more; returns the proposal's number. It waits PROPOSAL_LIFE_MS."""
        row = self._issued_by_sender(programme)
        require(row.status is Status.ACTIVE, FrozenProgramme, programme=programme)
        granted = self._total(programme).granted
        require(granted + units <= UNITS_MAX, QuotaTooLarge, most=UNITS_MAX - granted)

        number = self.sequence("proposal")
        self.proposals.insert(Proposal(
            id=number, programme=programme, units=units, reason=reason, proposer=self.sender.party,
            granted_before=granted, expires_at=self.now + PROPOSAL_LIFE_MS))
        return number

    @command(role="approver")
    def approve_quota(self, proposal: Positive, programme: Code, units: Positive) -> None:
        """Grant a proposed quota; programme and units repeat the proposal, so that nobody approves unseen.

        The approver is another person than the proposer, of the issuer or of the operator.
        """
        asked = self.proposals.get(proposal)
        if asked is None:
            raise UnknownNumber(number=proposal)
        row = self._programme(asked.programme)
        require(self.sender.organisation in (row.issuer, row.operator), NotYours, owner=row.issuer)
        require(self.sender.party != asked.proposer, OwnProposal, proposer=asked.proposer)
        require(row.status is Status.ACTIVE, FrozenProgramme, programme=row.id)
        require(self.now < asked.expires_at, ProposalExpired, expired_at=asked.expires_at)
        require(programme == asked.programme and units == asked.units, ProposalMismatch,
                programme=asked.programme, units=asked.units)
        total = self._total(row.id)
        require(total.granted == asked.granted_before, StaleProposal, granted=total.granted)

        self.proposals.delete(asked)
        self.totals.update(total, granted=total.granted + units)
        self.emit(QuotaGranted(proposal=proposal, programme=programme, units=units))

    # Members

    @command(role="issuer")
    def enrol(self, member: Code, controller: Code) -> None:
        """Open an account under a pseudonym; the party ``controller`` signs for it."""
        require(not self.members.exists(member), AlreadyRegistered, id=member)
        self.members.insert(Member(id=member, controller=controller, status=Status.ACTIVE, merged_into=None,
                                   mergers=0))
        self.emit(MemberEnrolled(member=member, controller=controller))

    @command
    def set_controller(self, member: Code, controller: Code) -> None:
        """Hand an account over to another party; the present controller signs."""
        row = self._controlled(member)
        self._require_active(row)
        self.members.update(row, controller=controller)
        self.emit(ControllerChanged(member=member, controller=controller))

    @command(role="supervisor")
    def set_member_status(self, member: Code, status: Status, reason: Text) -> None:
        """Freeze a member, or release it. Frozen: neither earns, spends, sends nor receives; what was held
        before can be captured, and expiry goes on.
        """
        row = self._member(member)
        require(status != row.status and row.status is not Status.MERGED and status is not Status.MERGED,
                NoChange, status=row.status)
        self.members.update(row, status=status)
        self.emit(MemberStatusChanged(member=member, status=status, reason=reason))

    @command
    def merge_members(self, member: Code, survivor: Code) -> int:
        """Close ``member`` into ``survivor``: both have the signer as controller. Lots move unchanged.

        Returns how many rows moved, at most LOTS_PER_CALL_MAX of each kind; call again until it is 0.
        """
        row, other = self._member(member), self._member(survivor)
        for one in (row, other):
            require(one.controller == self.sender.party, NotYours, owner=one.controller)
        require(member != survivor, SameMember, member=member)
        require(row.status is Status.ACTIVE or self._survivor(member) == survivor, InactiveMember,
                member=member, status=row.status)
        self._require_active(other)
        mergers = max(row.mergers + 1, other.mergers)
        require(mergers <= MERGERS_MAX, TooManyMergers, most=MERGERS_MAX)

        if row.status is Status.ACTIVE:
            self.members.update(row, status=Status.MERGED, merged_into=survivor)
            self.members.update(other, mergers=mergers)
            self.emit(MembersMerged(member=member, survivor=survivor))
        moved = 0
        for lot in self.lots.find(member, limit=LOTS_PER_CALL_MAX):
            self.lots.update(lot, member=survivor)
            self.emit(LotMoved(lot=lot.id, member=member, survivor=survivor))
            moved += 1
        for hold in self.holds.find(member, limit=LOTS_PER_CALL_MAX):
            self.holds.update(hold, member=survivor)
            moved += 1
        for debt in self.debts.find(member, limit=LOTS_PER_CALL_MAX):
            self.debts.delete(debt)
            self._add_debt(survivor, debt.programme, debt.units)
            self.emit(DebtMoved(programme=debt.programme, member=member, survivor=survivor, units=debt.units))
            moved += 1
        return moved

    # Earning

    @command(role="issuer")
    def issue(self, programme: Code, member: Code, units: Positive, evidence: Digest) -> int:
        """Grant what one purchase line earned; ``evidence`` is the hash of the line and is good once.

        A debt of the member is paid first. Returns the lot's number, 0 when the debt took all.
        """
        row = self._programme(programme)
        account = self._member(member)
        require(row.issuer == self.sender.organisation, NotYours, owner=row.issuer)
        require(row.status is Status.ACTIVE, FrozenProgramme, programme=programme)
        self._require_active(account)
        profile = self._profile(row)
        total = self._total(programme)
        left = total.granted - total.issued
        require(units <= left, QuotaExceeded, wanted=units, left=left)
        require(not self.earnings.exists(evidence), DuplicateEvidence, evidence=evidence)
        active_from = self.now + profile.pending_days * DAY_MS
        expires_at = _expiry(profile, self.now)
        require(expires_at > active_from, ValidityOver, programme=programme)

        debt = self.debts.get(member, programme)
        offset = 0 if debt is None else min(units, debt.units)
        if debt is not None:
            self._reduce_debt(debt, offset)
        lot = None
        if units > offset:
            lot = self.sequence("lot")
            self.lots.insert(Lot(id=lot, programme=programme, member=member, units=units - offset, held=0,
                                 issued_at=self.now, active_from=active_from, expires_at=expires_at,
                                 profile=profile.version, evidence=evidence, parent=None))
        self.earnings.insert(Earning(evidence=evidence, programme=programme, member=member, lot=lot,
                                     units=units, returned=0, expired=0))
        self.totals.update(total, issued=total.issued + units, revoked=total.revoked + offset,
                           debt=total.debt - offset)
        self.emit(Issued(evidence=evidence, programme=programme, member=member, units=units, debt_paid=offset,
                         lot=lot, active_from=active_from, expires_at=expires_at))
        return 0 if lot is None else lot

    @command(role="issuer")
    def activate(self, evidence: Digest) -> None:
        """End the pending time of an earned lot now; without this it ends by itself at ``active_from``."""
        earning = self._earning(evidence)
        row = self._programme(earning.programme)
        require(row.issuer == self.sender.organisation, NotYours, owner=row.issuer)
        lot = None if earning.lot is None else self.lots.get(earning.lot)
        if lot is None or lot.active_from <= self.now:
            raise AlreadyActive(active_from=self.now if lot is None else lot.active_from)
        self.lots.update(lot, active_from=self.now)
        self.emit(Activated(lot=lot.id))

    @command(role="issuer")
    def revoke_issue(self, evidence: Digest, units: Positive) -> int:
        """Take back what a refunded purchase line earned; returns the units that became a debt.

        Free units of the earned lot are taken; units that expired in it are not claimed; the shortfall
        (spent, held, transferred) is the member's debt in the programme.
        """
        earning = self._earning(evidence)
        row = self._programme(earning.programme)
        require(row.issuer == self.sender.organisation, NotYours, owner=row.issuer)
        left = earning.units - earning.returned
        require(units <= left, ReturnExceedsEarning, wanted=units, left=left)

        lot = self._unexpired(earning.lot)
        earning = self._earning(evidence)
        claim = max(0, min(units, left - earning.expired))
        taken = 0 if lot is None else min(claim, lot.units)
        shortfall = claim - taken
        if lot is not None and taken > 0:
            self._take(lot, taken, 0)
        holder = self._survivor(earning.member)
        if shortfall > 0:
            self._add_debt(holder, earning.programme, shortfall)
        self.earnings.update(earning, returned=earning.returned + units, expired=earning.expired - (units - claim))
        total = self._total(earning.programme)
        self.totals.update(total, revoked=total.revoked + taken, debt=total.debt + shortfall)
        self.emit(Revoked(evidence=evidence, programme=earning.programme, member=holder, lot=earning.lot,
                          taken=taken, debt=shortfall, lapsed=units - claim))
        return shortfall

    # Spending

    @command
    def transfer(self, programme: Code, from_member: Code, to_member: Code, units: Positive) -> None:
        """Give free units to another member, earliest expiry first; they keep their expiry."""
        row = self._programme(programme)
        source, target = self._member(from_member), self._member(to_member)
        require(source.controller == self.sender.party, NotYours, owner=source.controller)
        require(from_member != to_member, SameMember, member=from_member)
        require(row.status is Status.ACTIVE, FrozenProgramme, programme=programme)
        self._require_active(source)
        self._require_active(target)
        require(self._profile(row).transferable, NotTransferable, programme=programme)

        for lot, part in self._spendable(from_member, programme, units):
            self._take(lot, part, 0)
            self.emit(Transferred(programme=programme, from_member=from_member, to_member=to_member, from_lot=lot.id,
                                  to_lot=self._receive(to_member, lot, part), units=part, expires_at=lot.expires_at))

    @command
    def hold(self, programme: Code, member: Code, units: Positive, merchant: Code, reference: Code,
             ttl_ms: Positive) -> int:
        """Set free units aside for a merchant for ``ttl_ms`` (at most HOLD_MS_MAX); the member's controller
        signs.

        ``reference`` is the merchant's own number for the purchase. Returns the hold's number.
        """
        require(ttl_ms <= HOLD_MS_MAX, AboveLimit, argument="ttl_ms", most=HOLD_MS_MAX)
        _row, _profile, price = self._payable(programme, member, merchant)
        chosen = self._spendable(member, programme, units)

        number = self.sequence("redemption")
        lapses_at = self.now + ttl_ms
        for lot, part in chosen:
            self._take(lot, part, part)
            self.emit(Held(hold=number, programme=programme, member=member, merchant=merchant, lot=lot.id,
                           units=part, lapses_at=lapses_at))
        self.holds.insert(Hold(
            id=number, programme=programme, member=member, merchant=merchant, units=units,
            parts=tuple([_part(lot, part) for lot, part in chosen]), price_numerator=price.price_numerator,
            price_denominator=price.price_denominator, reference=reference, lapses_at=lapses_at))
        return number

    @command
    def redeem(self, programme: Code, member: Code, units: Positive, merchant: Code, reference: Code) -> int:
        """Spend free units with a merchant at once; the member's controller signs. Returns the redemption's
        number.
        """
        row, profile, price = self._payable(programme, member, merchant)
        chosen = self._spendable(member, programme, units)

        number = self.sequence("redemption")
        for lot, part in chosen:
            self._take(lot, part, 0)
        self._redeem(row, profile, number, None, member, price, reference,
                     tuple([_part(lot, part) for lot, part in chosen]))
        return number

    @command(role="merchant")
    def capture(self, hold: Positive, units: Positive) -> int:
        """Take held units in payment, in part or whole, earliest expiry first; the rest is released.

        Returns the redemption's number, which is the hold's.
        """
        kept = self._hold(hold)
        require(kept.merchant == self.sender.organisation, NotYours, owner=kept.merchant)
        require(self.now < kept.lapses_at, HoldLapsed, lapsed_at=kept.lapses_at)
        require(units <= kept.units, CaptureExceedsHold, wanted=units, held=kept.units)

        missing = units
        captured: list[Part] = []
        for part in kept.parts:
            used = min(part.units, missing)
            missing -= used
            if used > 0:
                lot = self._lot(part.lot)
                self._take(lot, 0, -used)
                captured.append(_changed(part, used, part.expires_at))
            if used < part.units:
                self._release(hold, part.lot, part.units - used)
        self.holds.delete(kept)
        row = self._programme(kept.programme)
        price = Partner(programme=kept.programme, merchant=kept.merchant,
                        price_numerator=kept.price_numerator, price_denominator=kept.price_denominator)
        self._redeem(row, self._profile(row), hold, hold, kept.member, price, kept.reference, tuple(captured))
        return hold

    @command(role="merchant")
    def void(self, hold: Positive) -> None:
        """Release a hold; units whose lot is over expire at that moment."""
        kept = self._hold(hold)
        require(kept.merchant == self.sender.organisation, NotYours, owner=kept.merchant)
        self._void(kept)

    @command
    def void_due(self) -> int:
        """Release holds whose time is over; anybody may call. Returns how many; call again until it is 0.

        Nobody waits for it: a lapsed hold cannot be captured, and its units are released when the member
        needs them.
        """
        return self._void_lapsed(list(self.holds.find(index=("lapses_at",), limit=LOTS_PER_CALL_MAX)))

    @command(role="merchant")
    def reverse_redemption(self, redemption: Positive) -> None:
        """Give a redemption back within REVERSAL_MS: the original lots with their expiry, and
        RESTORED_GRACE_MS at least.
        """
        row = self.redemptions.get(redemption)
        if row is None:
            raise UnknownNumber(number=redemption)
        require(row.merchant == self.sender.organisation, NotYours, owner=row.merchant)
        if row.reversed_at is not None:
            raise AlreadyReversed(reversed_at=row.reversed_at)
        until = row.redeemed_at + REVERSAL_MS
        require(self.now < until, ReversalTooLate, until=until)

        holder = self._survivor(row.member)
        for part in row.parts:
            lot = self._restore(holder, row.programme, part)
            self.emit(Restored(redemption=redemption, programme=row.programme, member=lot.member,
                               original=part.lot, lot=lot.id, units=part.units, expires_at=lot.expires_at))
        self.redemptions.update(row, reversed_at=self.now, parts=())
        total = self._total(row.programme)
        self.totals.update(total, redeemed=total.redeemed - row.units, restored=total.restored + row.units)
        self.emit(ClaimBooked(redemption=redemption, programme=row.programme,
                              debtor=self._programme(row.programme).issuer, creditor=row.merchant,
                              units=-row.units, amount_minor=-row.claim_minor, currency=row.currency))

    # Expiry

    @command
    def expire_due(self, lots_max: Positive, after: NonNegative) -> tuple[int, ...]:
        """Expire free units whose time is over, earliest first; anybody may call.

        Looks at up to ``lots_max`` lots (at most EXPIRY_BATCH_LOTS_MAX) behind the lot ``after`` (0: from the
        start). Returns (lots looked at, cursor): while the first is ``lots_max``, call again with the cursor.
        Held units stay.
        """
        require(lots_max <= EXPIRY_BATCH_LOTS_MAX, AboveLimit, argument="lots_max", most=EXPIRY_BATCH_LOTS_MAX)
        seen, cursor = 0, after
        for lot in self.lots.find(index=("expires_at",), after=self.lots.get(after), limit=lots_max):
            if lot.expires_at > self.now:
                break
            seen += 1
            if lot.held > 0:
                cursor = lot.id
            if lot.units > 0:
                self._expire(lot, lot.units)
        return (seen, cursor)

    # Reading

    @query
    def balance(self, member: Code, programme: Code) -> tuple[int, ...]:
        """(spendable, pending, held, over, debt) units of a member in a programme now; *over* awaits
        ``expire_due``.
        """
        spendable = pending = held = over = 0
        for lot in self.lots.find(member, programme):
            held += lot.held
            if lot.expires_at <= self.now:
                over += lot.units
            elif lot.active_from > self.now:
                pending += lot.units
            else:
                spendable += lot.units
        debt = self.debts.get(member, programme)
        return (spendable, pending, held, over, 0 if debt is None else debt.units)

    @query
    def expiry_calendar(self, member: Code, programme: Code) -> tuple[tuple[int, int], ...]:
        """(instant, units) of a member's free and held units in order of expiry."""
        calendar: list[tuple[int, int]] = []
        for lot in self.lots.find(member, programme):
            units = lot.units + lot.held
            if calendar and calendar[-1][0] == lot.expires_at:
                calendar[-1] = (lot.expires_at, calendar[-1][1] + units)
            else:
                calendar.append((lot.expires_at, units))
        return tuple(calendar)

    # Laws

    @invariant
    def totals_match_the_lots(self) -> None:
        """Units in lots are exactly issued - redeemed - expired - revoked, and no more was issued than granted."""
        in_lots: dict[str, int] = {}
        for lot in self.lots.find(index=()):
            assert lot.units + lot.held > 0, f"lot {lot.id} is empty"
            assert lot.active_from < lot.expires_at, f"lot {lot.id} expires before it is active"
            in_lots[lot.programme] = in_lots.get(lot.programme, 0) + lot.units + lot.held
        for total in self.totals.find():
            counted = in_lots.get(total.programme, 0)
            outstanding = total.issued - total.redeemed - total.expired - total.revoked
            assert counted == outstanding, f"{total.programme}: {counted} units in lots, not {outstanding}"
            assert total.issued <= total.granted, f"{total.programme}: issued beyond the quota"

    @invariant
    def holds_match_the_lots(self) -> None:
        """What lots count as held is exactly what the holds list, and a hold's parts add up."""
        listed: dict[int, int] = {}
        for hold in self.holds.find(index=()):
            assert hold.units == sum([part.units for part in hold.parts]), "the parts of a hold do not add up"
            for part in hold.parts:
                listed[part.lot] = listed.get(part.lot, 0) + part.units
        for lot in self.lots.find(index=()):
            assert lot.held == listed.pop(lot.id, 0), f"lot {lot.id} and the holds disagree"
        assert len(listed) == 0, "holds on lots that are not there"

    @invariant
    def debts_and_earnings_match_the_totals(self) -> None:
        """Debts add up to each programme's debt, and earnings to what it issued."""
        owed: dict[str, int] = {}
        earned: dict[str, int] = {}
        for debt in self.debts.find():
            owed[debt.programme] = owed.get(debt.programme, 0) + debt.units
        for earning in self.earnings.find():
            assert earning.returned <= earning.units, "an earning returned more than it earned"
            earned[earning.programme] = earned.get(earning.programme, 0) + earning.units
        for total in self.totals.find():
            assert total.debt == owed.get(total.programme, 0), f"{total.programme}: debts do not add up"
            counted = earned.get(total.programme, 0)
            assert total.issued == counted, f"{total.programme}: earnings add up to {counted}"

    # Parts of the rules

    def _programme(self, programme: str) -> Programme:
        row = self.programmes.get(programme)
        if row is None:
            raise UnknownProgramme(programme=programme)
        return row

    def _issued_by_sender(self, programme: str) -> Programme:
        row = self._programme(programme)
        require(row.issuer == self.sender.organisation, NotYours, owner=row.issuer)
        return row

    def _profile(self, row: Programme) -> Profile:
        """The profile in force: the latest one, or the one before while the latest waits."""
        profile = self.profiles.get(row.id, row.profiles)
        if profile is not None and profile.effective_from > self.now:
            profile = self.profiles.get(row.id, row.profiles - 1)
        if profile is None:
            raise NoProfile(programme=row.id)
        return profile

    def _total(self, programme: str) -> Total:
        total = self.totals.get(programme)
        assert total is not None, f"programme {programme} without totals"
        return total

    def _member(self, member: str) -> Member:
        row = self.members.get(member)
        if row is None:
            raise UnknownMember(member=member)
        return row

    def _controlled(self, member: str) -> Member:
        row = self._member(member)
        require(row.controller == self.sender.party, NotYours, owner=row.controller)
        return row

    def _require_active(self, row: Member) -> None:
        require(row.status is Status.ACTIVE, InactiveMember, member=row.id, status=row.status)

    def _survivor(self, member: str) -> str:
        """The member that ``member`` was merged into, however often; itself when it was not."""
        row = self._member(member)
        for _ in range(MERGERS_MAX):
            if row.merged_into is None:
                break
            row = self._member(row.merged_into)
        return row.id

    def _earning(self, evidence: bytes) -> Earning:
        earning = self.earnings.get(evidence)
        if earning is None:
            raise UnknownEvidence(evidence=evidence)
        return earning

    def _hold(self, hold: int) -> Hold:
        kept = self.holds.get(hold)
        if kept is None:
            raise UnknownNumber(number=hold)
        return kept

    def _lot(self, lot: int) -> Lot:
        row = self.lots.get(lot)
        assert row is not None, f"lot {lot} has held units and is gone"
        return row

    def _payable(self, programme: str, member: str, merchant: str) -> tuple[Programme, Profile, Partner]:
        """The guards that hold and redeem share; and the merchant's price. An issuer owes itself nothing."""
        row = self._programme(programme)
        account = self._controlled(member)
        require(row.status is Status.ACTIVE, FrozenProgramme, programme=programme)
        self._require_active(account)
        profile = self._profile(row)
        if merchant == row.issuer:
            return row, profile, Partner(programme=programme, merchant=merchant, price_numerator=0,
                                         price_denominator=1)
        price = self.partners.get(programme, merchant)
        if price is None or profile.scope is not Scope.PARTNERS:
            raise OutOfScope(programme=programme, merchant=merchant)
        return row, profile, price

    def _spendable(self, member: str, programme: str, units: int) -> list[tuple[Lot, int]]:
        """Lots and the units to take from each, earliest expiry first; lapsed holds are released when they
        are needed.
        """
        chosen, missing = self._choose(member, programme, units)
        if missing > 0 and self._void_lapsed(list(self.holds.find(member, programme, limit=LOTS_PER_CALL_MAX))) > 0:
            chosen, missing = self._choose(member, programme, units)
        require(missing == 0, InsufficientUnits, wanted=units, free=units - missing)
        return chosen

    def _choose(self, member: str, programme: str, units: int) -> tuple[list[tuple[Lot, int]], int]:
        now = self.now
        chosen: list[tuple[Lot, int]] = []
        missing = units
        for lot in self.lots.find(member, programme):
            if lot.units == 0 or lot.active_from > now or lot.expires_at <= now:
                continue
            require(len(chosen) < LOTS_PER_CALL_MAX, TooManyLots, lots_max=LOTS_PER_CALL_MAX, covered=units - missing)
            part = min(lot.units, missing)
            chosen.append((lot, part))
            missing -= part
            if missing == 0:
                break
        return chosen, missing

    def _take(self, lot: Lot, units: int, held: int) -> None:
        """Take free units out of a lot and add ``held`` to its held ones; an empty lot is deleted."""
        if lot.units == units and lot.held + held == 0:
            self.lots.delete(lot)
        else:
            self.lots.update(lot, units=lot.units - units, held=lot.held + held)

    def _receive(self, member: str, source: Lot, units: int) -> int:
        """Credit transferred units to a lot of ``member`` with the same expiry; returns the lot's number."""
        for lot in self.lots.find(member, source.programme, source.expires_at, limit=MERGE_SEARCH_LOTS, reverse=True):
            if lot.evidence is None and lot.profile == source.profile:
                return self.lots.update(lot, units=lot.units + units).id
        part = Part(lot=source.id, units=units, issued_at=self.now, active_from=self.now,
                    expires_at=source.expires_at, profile=source.profile, evidence=None, parent=source.id)
        return self._insert(self.sequence("lot"), member, source.programme, part).id

    def _insert(self, number: int, member: str, programme: str, part: Part) -> Lot:
        """A lot made of ``part``: under the number of the lot that it came from it is that lot again, else a
        child of it.
        """
        again = number == part.lot
        return self.lots.insert(Lot(
            id=number, programme=programme, member=member, units=part.units, held=0, issued_at=part.issued_at,
            active_from=part.active_from, expires_at=part.expires_at, profile=part.profile,
            evidence=part.evidence if again else None, parent=part.parent if again else part.lot))

    def _redeem(self, row: Programme, profile: Profile, number: int, hold: int | None, member: str,
                price: Partner, reference: str, parts: tuple[Part, ...]) -> None:
        """Book units that have left their lots: the redemption, the totals, and the merchant's claim."""
        units = sum([part.units for part in parts])
        for part in parts:
            self.emit(Redeemed(redemption=number, hold=hold, programme=row.id, member=member,
                               merchant=price.merchant, lot=part.lot, units=part.units))
        claim = _half_even(units * price.price_numerator, price.price_denominator)
        self.redemptions.insert(Redemption(id=number, programme=row.id, member=member, merchant=price.merchant,
                                           units=units, parts=parts, claim_minor=claim, currency=profile.currency,
                                           reference=reference, redeemed_at=self.now, reversed_at=None))
        total = self._total(row.id)
        self.totals.update(total, redeemed=total.redeemed + units)
        self.emit(ClaimBooked(redemption=number, programme=row.id, debtor=row.issuer, creditor=price.merchant,
                              units=units, amount_minor=claim, currency=profile.currency))

    def _release(self, hold: int, lot: int, units: int) -> None:
        """Free held units of a lot; when its time is over they expire."""
        freed = self._lot(lot)
        freed = self.lots.update(freed, units=freed.units + units, held=freed.held - units)
        self.emit(Released(hold=hold, lot=lot, units=units))
        if freed.expires_at <= self.now:
            self._expire(freed, freed.units)

    def _void(self, kept: Hold) -> None:
        for part in kept.parts:
            self._release(kept.id, part.lot, part.units)
        self.holds.delete(kept)

    def _void_lapsed(self, due: list[Hold]) -> int:
        """Void holds, given in order of lapse, whose time is over, up to LOTS_PER_CALL_MAX parts; returns how
        many.
        """
        voided = parts = 0
        for kept in due:
            parts += len(kept.parts)
            if kept.lapses_at > self.now or parts > LOTS_PER_CALL_MAX:
                break
            self._void(kept)
            voided += 1
        return voided

    def _expire(self, lot: Lot, units: int) -> None:
        """End free units whose time is over."""
        self._take(lot, units, 0)
        if lot.evidence is not None:
            earning = self._earning(lot.evidence)
            self.earnings.update(earning, expired=earning.expired + units)
        total = self._total(lot.programme)
        self.totals.update(total, expired=total.expired + units)
        self.emit(Expired(programme=lot.programme, member=lot.member, lot=lot.id, units=units))

    def _unexpired(self, number: int | None) -> Lot | None:
        """The lot ``number`` if its free units can still be spent; what is over expires first."""
        lot = None if number is None else self.lots.get(number)
        if lot is None or lot.expires_at > self.now:
            return lot
        if lot.units > 0:
            self._expire(lot, lot.units)
        return None

    def _restore(self, member: str, programme: str, part: Part) -> Lot:
        """Give ``part`` back and return its lot: the lot it came from, or, where the rest of that lot expires
        earlier than the grace allows, a new one beside it.
        """
        part = _changed(part, part.units, max(part.expires_at, self.now + RESTORED_GRACE_MS))
        lot = self.lots.get(part.lot)
        if lot is None:
            return self._insert(part.lot, member, programme, part)
        if lot.expires_at == part.expires_at:
            return self.lots.update(lot, units=lot.units + part.units)
        return self._insert(self.sequence("lot"), member, programme, part)

    def _add_debt(self, member: str, programme: str, units: int) -> None:
        debt = self.debts.get(member, programme)
        if debt is None:
            self.debts.insert(Debt(member=member, programme=programme, units=units))
        else:
            self.debts.update(debt, units=debt.units + units)

    def _reduce_debt(self, debt: Debt, units: int) -> None:
        if debt.units == units:
            self.debts.delete(debt)
        else:
            self.debts.update(debt, units=debt.units - units)


def _part(lot: Lot, units: int) -> Part:
    return Part(lot=lot.id, units=units, issued_at=lot.issued_at, active_from=lot.active_from,
                expires_at=lot.expires_at, profile=lot.profile, evidence=lot.evidence, parent=lot.parent)


def _changed(part: Part, units: int, expires_at: int) -> Part:
    return Part(lot=part.lot, units=units, issued_at=part.issued_at, active_from=part.active_from,
                expires_at=expires_at, profile=part.profile, evidence=part.evidence, parent=part.parent)


def _are_period_ends(validity: Validity, length: int, ends: tuple[int, ...]) -> bool:
    """Whether the instants rise, and suit the rule: one date, any number of days' ends, enough months."""
    rising = all(ends[place] < ends[place + 1] for place in range(len(ends) - 1))
    fitting = len(ends) > length if validity is Validity.ROLLING_MONTHS else (
        len(ends) == 1 or validity is Validity.ROLLING_DAYS)
    return rising and fitting and len(ends) <= PERIOD_ENDS_MAX


def _half_even(numerator: int, denominator: int) -> int:
    """The quotient to the nearest integer, a half to the even one."""
    whole, rest = divmod(numerator, denominator)
    return whole + (1 if 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1) else 0)


def _expiry(profile: Profile, issued_at: int) -> int:
    """When a lot issued at ``issued_at`` expires; 0 when the profile's dates do not reach that far.

    Fixed date: the one instant. Rolling days: after that many times 24 hours, at the next period end if any
    are listed. Rolling months: at the end of the month that lies that many months after the month of issue.
    """
    ends = profile.period_ends
    if profile.validity is Validity.FIXED_DATE:
        return ends[0]
    if profile.validity is Validity.ROLLING_DAYS:
        due = issued_at + profile.validity_length * DAY_MS
        if len(ends) == 0:
            return due
        return min([end for end in ends if end >= due], default=0)
    later = [end for end in ends if end > issued_at]
    reaches = ends[0] <= issued_at and len(later) > profile.validity_length
    return later[profile.validity_length] if reaches else 0
