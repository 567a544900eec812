"""Approvals: what one person may not do alone, decided by several, bound to exactly what they saw.

Theory. A *policy* says who must agree: its *stages* in order, each with the permission that an approver needs, how
many approvals it takes, from whose organisations, and for which amounts. Policies have versions. A contract makes its
own; one of an organisation is drafted by one of its policymakers and confirmed by another.

A *proposal* is opened by a contract, in a transaction of the *proposer*. It is bound to the digest of its exact
payload and to the version of the state that it is about: whoever approves names both, and the contract names both
again when it takes the result. Anything else is refused as stale. A proposal keeps the version of the policy that it
was opened under.

    from    all stages approved,      taken by its   rejected by     withdrawn by   cancelled by    time
            or override confirmed     contract       an approver     the proposer   its contract    over
    open    ready                     -              rejected        withdrawn      cancelled       expired
    ready   -                         taken          -               withdrawn      cancelled       expired

All other states are final. A proposal is taken once and never again. What time alone decides is not stored: after its
``expires_at`` an open or ready proposal counts for nothing, whether or not anybody has called ``expire``.

**One person, one part.** The proposer, approvers and their delegates, who overrode, who recused themselves and who
was excluded each have one row in ``acts``, and a person who has one takes no other part. So nobody approves what they
proposed, and nobody approves in two stages. Who may carry the result out is the policy's ``executor``.

**Where an approver comes from** is the stage's ``seat``: any organisation, the proposer's own, any but the
proposer's, that of the policy's owner, or one that the contract named for the stage when it opened the proposal.
``distinct`` says whether approvals of one organisation count once in a stage, or once in the proposal.

**Delegation.** A person lets another of the same organisation use a permission for it, from a time until a time, for
one contract or all. A delegation counts only while the person itself holds the permission, so it is not handed on;
neither of the two may be the proposer; and both are taken to have acted.

**Override.** Where a policy names two senior permissions, two persons who have no part in the proposal, one with each
permission, make it ready without its stages. That is an alarm: a row stays open until a third person, with the
policy's ``reviewer`` permission, closes it with a finding. While one is overdue, its policy allows no other.

**Once.** A contract gives each proposal a reference. The same reference with the same content returns the first number
and changes nothing; with other content it is refused. An approval or rejection that is sent again does nothing more.

**Order of refusal**: as in ``Approvals.rejections``; each command checks in that order.
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
from guildbook.foundation.parties import Parties

DAY_MS = 24 * 3600 * 1000
LIFE_MS_MAX = 400 * DAY_MS
"""How long a proposal may live, and a delegation may last: 400 days."""
STAGES_MAX = 16
APPROVALS_PER_STAGE_MAX = 16
EXCLUDED_MAX = 32
"""Parties that one proposal may exclude."""
NAMED_MAX = 64
"""Organisations that one proposal may name for its stages."""
EXPIRED_PER_CALL_MAX = 100
"""Proposals that one call of ``expire_due`` ends."""
LISTED_MAX = 1_000
"""Numbers that one query lists."""
OVERRIDERS = 2
OVERRIDE_STAGE = "override"


class OwnerKind(enum.StrEnum):
    """What owns a policy."""

    CONTRACT = "contract"
    ORGANISATION = "organisation"


class PolicyState(enum.StrEnum):
    """Whether a version of a policy counts. The latest version in force is the policy."""

    DRAFT = "draft"
    IN_FORCE = "in_force"


class Seat(enum.StrEnum):
    """Which organisations the approvers of a stage belong to."""

    ANYWHERE = "anywhere"
    PROPOSERS = "proposers"
    OTHERS = "others"
    OWNERS = "owners"
    NAMED = "named"


class Distinct(enum.StrEnum):
    """What must differ between approvals: persons; organisations within the stage; or organisations within the
    proposal, the proposer's included.
    """

    PERSONS = "persons"
    IN_STAGE = "in_stage"
    IN_PROPOSAL = "in_proposal"


class Executor(enum.StrEnum):
    """In whose transaction a ready proposal may be taken. Excluded and recused persons never may."""

    ANYBODY = "anybody"
    NOT_PROPOSER = "not_proposer"
    NEW_PERSON = "new_person"


class ProposalState(enum.StrEnum):
    """The life of a proposal."""

    OPEN = "open"
    READY = "ready"
    TAKEN = "taken"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ActKind(enum.StrEnum):
    """The part that a person has in a proposal."""

    PROPOSAL = "proposal"
    APPROVAL = "approval"
    REJECTION = "rejection"
    DELEGATE = "delegate"
    RECUSAL = "recusal"
    EXCLUSION = "exclusion"
    OVERRIDE = "override"
    EXECUTION = "execution"


class OverrideState(enum.StrEnum):
    """The life of an override. One that was requested and never confirmed has had no effect."""

    REQUESTED = "requested"
    OPEN = "open"
    CLOSED = "closed"


class Stage(Record):
    """One stage of a policy, for amounts from ``from_minor`` to below ``below_minor`` (None: without an end)."""

    name: Code
    permission: Code
    approvals: Positive
    seat: Seat = Seat.ANYWHERE
    distinct: Distinct = Distinct.PERSONS
    from_minor: NonNegative = 0
    below_minor: Positive | None = None


class Named(Record):
    """An organisation whose persons may approve in a stage with the seat ``named``."""

    stage: Code
    organisation: Code


class Policy(Record):
    """A version of a policy; it never changes but for being confirmed."""

    owner_kind: OwnerKind = key()
    owner: Code = key()
    name: Code = key()
    version: Positive = key()
    state: PolicyState
    currency: Code | None
    """The currency of amounts; None where proposals have none."""
    stages: tuple[Stage, ...]
    life_ms: Positive
    direct: bool
    """Whether persons act on proposals in transactions of their own; otherwise only through the contract."""
    executor: Executor
    overriders: tuple[Code, ...]
    """The two permissions of an override, or none."""
    reviewer: Code | None
    review_ms: NonNegative
    published_by: Code
    published_at: Timestamp
    confirmed_by: Code | None


class Proposal(Record):
    """What somebody wants a contract to do, and how far it has come."""

    number: Positive = key()
    contract: Code
    reference: Code
    content: Digest
    """The digest of all that it was opened with, for which its reference stands."""
    owner_kind: OwnerKind
    owner: Code
    policy: Code
    policy_version: Positive
    action: Code
    subject: Code
    payload: Digest
    state_version: NonNegative
    amount_minor: NonNegative | None
    proposer: Code
    proposer_organisation: Code
    state: ProposalState
    place: NonNegative
    """The place of the current stage among the policy's; of the last one when there is none."""
    stage: Code | None
    waits_for: Code | None
    """The permission of the current stage; None when no approval is awaited."""
    approvals: NonNegative
    """Approvals in the current stage."""
    overridden: bool
    opened_at: Timestamp
    expires_at: Timestamp
    ended_at: Timestamp | None
    executor: Code | None
    reason: Code | None


class Act(Record):
    """The part of one person in a proposal. ``signer`` differs from ``party`` where a delegate signed for it."""

    proposal: Positive = key()
    party: Code = key()
    order: Positive
    kind: ActKind
    stage: Code | None
    organisation: Code
    signer: Code
    acted_at: Timestamp
    reason: Code | None


class Step(Record):
    """The time that a proposal spent in a stage."""

    proposal: Positive = key()
    place: NonNegative = key()
    stage: Code
    entered_at: Timestamp
    left_at: Timestamp | None


class StageSeat(Record):
    """An organisation that a proposal names for a stage."""

    proposal: Positive = key()
    stage: Code = key()
    organisation: Code = key()


class Delegation(Record):
    """That ``to`` may use ``permission`` for ``principal``; ``contract`` None means for proposals of all contracts."""

    number: Positive = key()
    principal: Code
    to: Code
    permission: Code
    contract: Code | None
    valid_from: Timestamp
    valid_until: Timestamp
    """The first moment at which it counts no longer; an end before its time moves it forward."""


class Override(Record):
    """A proposal made ready without its stages, and what came of the review."""

    proposal: Positive = key()
    owner_kind: OwnerKind
    owner: Code
    policy: Code
    state: OverrideState
    reason: Code
    statement: Text
    requested_by: Code
    requested_at: Timestamp
    confirmed_by: Code | None
    confirmed_at: Timestamp | None
    review_due_at: Timestamp | None
    closed_by: Code | None
    closed_at: Timestamp | None
    finding: Code | None
    closing_statement: Text | None


class PolicyPublished(Event):
    """A version of a policy was published; one of an organisation waits for its confirmation."""

    owner_kind: OwnerKind
    owner: Code
    policy: Code
    version: Positive
    state: PolicyState


class PolicyConfirmed(Event):
    """A second policymaker put a version of an organisation's policy in force."""

    owner: Code
    policy: Code
    version: Positive


class Opened(Event):
    """A proposal waits for approval in its first stage."""

    proposal: Positive
    contract: Code
    action: Code
    subject: Code
    payload: Digest
    state_version: NonNegative
    stage: Code
    expires_at: Timestamp


class Approved(Event):
    """A person approved, or ``signer`` did for it."""

    proposal: Positive
    stage: Code
    party: Code
    signer: Code


class StageCompleted(Event):
    """A stage has its approvals; ``following`` is the next stage, None when all are complete."""

    proposal: Positive
    stage: Code
    following: Code | None


class BecameReady(Event):
    """The contract may carry the proposal out."""

    proposal: Positive
    overridden: bool


class Ended(Event):
    """A proposal came to its end: taken, rejected, withdrawn, cancelled or expired."""

    proposal: Positive
    state: ProposalState
    party: Code
    reason: Code | None


class Recused(Event):
    """A person takes no part in a proposal."""

    proposal: Positive
    party: Code
    reason: Code


class Delegated(Event):
    """A person lets another use a permission for it."""

    delegation: Positive
    principal: Code
    to: Code
    permission: Code
    valid_from: Timestamp
    valid_until: Timestamp


class DelegationEnded(Event):
    """A delegation ended before its time."""

    delegation: Positive


class OverrideRequested(Event):
    """A senior person asks to pass the stages by; a second one has to confirm."""

    proposal: Positive
    party: Code
    reason: Code


class OverrideAlarm(Event):
    """Two senior persons passed the stages by; a third has to review it by ``review_due_at``."""

    proposal: Positive
    requested_by: Code
    confirmed_by: Code
    reason: Code
    review_due_at: Timestamp


class OverrideClosed(Event):
    """A third person reviewed an override."""

    proposal: Positive
    party: Code
    finding: Code


class OnlyByTransaction(Rejected):
    """This is done by a transaction itself, not through another contract."""

    caller: Code


class NotAPolicymaker(Rejected):
    """Only a contract, or a party with the permission approvals:policymaker, publishes a policy."""


class UnknownPolicy(Rejected):
    """No policy of this name is in force, or no version of this number exists."""

    owner: Code
    policy: Code


class NotADraft(Rejected):
    """The version is in force already, or a later one is."""

    version: Positive


class SamePerson(Rejected):
    """Who did the first half does not do the second."""

    party: Code


class StagesOutOfRange(Rejected):
    """A policy has at least one stage, and at most so many."""

    most: Positive


class StageNamedTwice(Rejected):
    """Each stage of a policy has its own name, and none is called override."""

    stage: Code


class NotAPermission(Rejected):
    """A permission is a contract's name, a colon and a role's name, as in points:issuer."""

    permission: Code


class TooManyApprovals(Rejected):
    """A stage takes at most so many approvals."""

    stage: Code
    most: Positive


class BandEmpty(Rejected):
    """A band begins below its end."""

    stage: Code


class BandWithoutCurrency(Rejected):
    """Bands of amounts need the policy's currency."""

    stage: Code


class AmountWithoutStage(Rejected):
    """Nobody would have to approve this amount."""

    amount_minor: NonNegative


class OverrideIncomplete(Rejected):
    """An override names two permissions, the reviewer's permission and the time for the review; or none of these."""


class TimeOutOfRange(Rejected):
    """The time has passed, or lies too far ahead."""

    earliest: Timestamp
    latest: Timestamp


class ReferenceUsed(Rejected):
    """The reference was used for something else; give each proposal its own."""

    reference: Code
    proposal: Positive


class AmountDiffers(Rejected):
    """The policy takes amounts in its own currency, or none where it has none."""

    currency: Code | None


class TooManyNamed(Rejected):
    """The proposal names or excludes more than it may."""

    most: Positive


class UnknownStage(Rejected):
    """The policy has no stage of this name with the seat ``named``."""

    stage: Code


class NobodyNamed(Rejected):
    """The stage takes approvals of named organisations, and none is named."""

    stage: Code


class UnknownProposal(Rejected):
    """No proposal has this number."""

    proposal: Positive


class NotYourProposal(Rejected):
    """The proposal belongs to another contract."""

    proposal: Positive


class NotTheProposer(Rejected):
    """Only the proposer takes a proposal back."""

    proposer: Code


class OnlyThroughContract(Rejected):
    """The policy lets persons act on its proposals only through this contract."""

    contract: Code


class WrongState(Rejected):
    """The proposal is not in a state in which this can be done."""

    state: ProposalState


class TimeOver(Rejected):
    """The proposal's time is over."""

    expires_at: Timestamp


class TimeNotOver(Rejected):
    """The proposal's time is not over yet."""

    expires_at: Timestamp


class PayloadDiffers(Rejected):
    """The proposal is about another payload than was named."""

    payload: Digest


class StateVersionDiffers(Rejected):
    """The state has moved on since the proposal was opened; open a new one."""

    state_version: NonNegative


class NotTheStage(Rejected):
    """The proposal is in another stage."""

    stage: Code


class NoOverride(Rejected):
    """The policy allows no override, or none was requested, or none is open."""


class OverrideExists(Rejected):
    """An override was requested already; a second person confirms it."""

    requested_by: Code


class OverrideOverdue(Rejected):
    """An earlier override under this policy is overdue for review; close it first."""

    proposal: Positive


class ProposerNeverApproves(Rejected):
    """The proposer neither approves nor lets others approve for it."""

    proposer: Code


class HasPart(Rejected):
    """The person has a part in the proposal already, and one person has one."""

    party: Code
    kind: ActKind


class NoDelegation(Rejected):
    """The person gave the signer no delegation for this that counts now."""

    principal: Code


class PermissionMissing(Rejected):
    """The person does not hold the permission that this needs."""

    party: Code
    permission: Code


class OrganisationNotSeated(Rejected):
    """Persons of this organisation do not approve in this stage."""

    organisation: Code
    seat: Seat


class OrganisationHasActed(Rejected):
    """The organisation has approved already, and counts once."""

    organisation: Code


class DelegateNotInOrganisation(Rejected):
    """A permission is delegated to another active person of the same organisation."""

    to: Code


class UnknownDelegation(Rejected):
    """No delegation has this number."""

    delegation: Positive


class NotYourDelegation(Rejected):
    """Only the two persons of a delegation end it."""

    delegation: Positive


class DelegationOver(Rejected):
    """The delegation has ended."""

    valid_until: Timestamp


def applies(stage: Stage, amount: int | None) -> bool:
    """Whether a stage belongs to a proposal of this amount; every stage does where there are no amounts."""
    if amount is None:
        return True
    return stage.from_minor <= amount and (stage.below_minor is None or amount < stage.below_minor)


def uncovered(stages: tuple[Stage, ...]) -> int | None:
    """The smallest amount to which no stage applies; None when there is none."""
    edges = [0]
    for stage in stages:
        edges.append(stage.from_minor)
        if stage.below_minor is not None:
            edges.append(stage.below_minor)
    for edge in sorted(edges):
        if not any(applies(stage, edge) for stage in stages):
            return edge
    return None


def is_permission(text: str) -> bool:
    """Whether ``text`` is two parts joined by one colon."""
    parts = text.split(":")
    return len(parts) == 2 and all(part != "" for part in parts)


class Approvals(Contract, name="approvals", version=1):
    """Policies, proposals, who acted on them, delegations and overrides."""

    parties = use(Parties)

    policies = Table(Policy)
    proposals = Table(
        Proposal,
        index=[
            ("waits_for", "number"),
            ("contract", "reference", "number"),
            ("contract", "subject", "number"),
            ("state", "expires_at", "number"),
        ],
    )
    acts = Table(Act)
    steps = Table(Step)
    seats = Table(StageSeat)
    delegations = Table(Delegation, index=[("to", "principal", "permission", "number"), ("principal", "number")])
    overrides = Table(Override, index=[("owner_kind", "owner", "policy", "state", "proposal"), ("state", "proposal")])
    events = (
        PolicyPublished,
        PolicyConfirmed,
        Opened,
        Approved,
        StageCompleted,
        BecameReady,
        Ended,
        Recused,
        Delegated,
        DelegationEnded,
        OverrideRequested,
        OverrideAlarm,
        OverrideClosed,
    )
    rejections = (
        OnlyByTransaction,
        NotAPolicymaker,
        ReferenceUsed,
        UnknownPolicy,
        NotADraft,
        SamePerson,
        StagesOutOfRange,
        StageNamedTwice,
        NotAPermission,
        TooManyApprovals,
        BandEmpty,
        BandWithoutCurrency,
        AmountWithoutStage,
        OverrideIncomplete,
        AmountDiffers,
        TimeOutOfRange,
        TooManyNamed,
        UnknownStage,
        NobodyNamed,
        UnknownProposal,
        NotYourProposal,
        OnlyThroughContract,
        NotTheProposer,
        NoOverride,
        WrongState,
        TimeOver,
        TimeNotOver,
        PayloadDiffers,
        StateVersionDiffers,
        NotTheStage,
        OverrideExists,
        OverrideOverdue,
        ProposerNeverApproves,
        HasPart,
        UnknownDelegation,
        NotYourDelegation,
        DelegationOver,
        NoDelegation,
        PermissionMissing,
        DelegateNotInOrganisation,
        OrganisationNotSeated,
        OrganisationHasActed,
    )

    # policies

    @command
    def publish_policy(
        self,
        policy: Code,
        stages: tuple[Stage, ...],
        life_ms: Positive,
        currency: Code | None = None,
        direct: bool = True,
        executor: Executor = Executor.NOT_PROPOSER,
        overriders: tuple[Code, ...] = (),
        reviewer: Code | None = None,
        review_ms: NonNegative = 0,
    ) -> int:
        """Publish the next version of a policy of the calling contract, or of the organisation of a signer with
        ``approvals:policymaker``; returns its number.

        A contract's own version is in force at once: who may cause it is the contract's rule. An organisation's waits
        until another policymaker confirms it. Proposals live at most ``life_ms`` milliseconds.
        """
        require(self.caller != "" or self.has_role("policymaker"), NotAPolicymaker)
        require(0 < len(stages) <= STAGES_MAX, StagesOutOfRange, most=STAGES_MAX)
        seniors = overriders if reviewer is None else (*overriders, reviewer)
        self._require_sound_stages(stages, currency, seniors)
        none = len(overriders) == 0 and reviewer is None and review_ms == 0
        whole = len(overriders) == OVERRIDERS and reviewer is not None and 0 < review_ms <= LIFE_MS_MAX
        require(none or whole, OverrideIncomplete)
        in_range = life_ms <= LIFE_MS_MAX
        require(in_range, TimeOutOfRange, earliest=self.now + 1, latest=self.now + LIFE_MS_MAX)

        kind = OwnerKind.CONTRACT if self.caller else OwnerKind.ORGANISATION
        owner = self.caller if self.caller else self.sender.organisation
        state = PolicyState.IN_FORCE if self.caller else PolicyState.DRAFT
        last = next(self.policies.find(kind, owner, policy, reverse=True), None)
        version = 1 if last is None else last.version + 1
        self.policies.insert(
            Policy(
                owner_kind=kind,
                owner=owner,
                name=policy,
                version=version,
                state=state,
                currency=currency,
                stages=stages,
                life_ms=life_ms,
                direct=direct,
                executor=executor,
                overriders=overriders,
                reviewer=reviewer,
                review_ms=review_ms,
                published_by=self.sender.party,
                published_at=self.now,
                confirmed_by=None,
            )
        )

        self.emit(PolicyPublished(owner_kind=kind, owner=owner, policy=policy, version=version, state=state))
        return version

    @command(role="policymaker")
    def confirm_policy(self, policy: Code, version: Positive) -> None:
        """Put a drafted version of a policy of the signer's organisation in force; by another policymaker than the one
        who published it. Drafts of earlier versions can be confirmed no longer.
        """
        self._require_direct()
        owner = self.sender.organisation
        row = self.policies.get(OwnerKind.ORGANISATION, owner, policy, version)
        if row is None:
            raise UnknownPolicy(owner=owner, policy=policy)
        current = self._in_force(OwnerKind.ORGANISATION, owner, policy)
        require(current is None or current.version < version, NotADraft, version=version)
        require(row.published_by != self.sender.party, SamePerson, party=self.sender.party)

        self.policies.update(row, state=PolicyState.IN_FORCE, confirmed_by=self.sender.party)

        self.emit(PolicyConfirmed(owner=owner, policy=policy, version=version))

    # what contracts call

    @command(callers_only=True)
    def open(
        self,
        reference: Code,
        policy: Code,
        action: Code,
        subject: Code,
        payload: Digest,
        state_version: NonNegative = 0,
        amount_minor: NonNegative | None = None,
        currency: Code | None = None,
        organisation: Code | None = None,
        named: tuple[Named, ...] = (),
        excluded: tuple[Code, ...] = (),
        expires_at: Timestamp | None = None,
    ) -> int:
        """Open a proposal; the signer is its proposer. Returns its number.

        ``policy`` is the calling contract's own, or that of ``organisation``. ``payload`` is the digest of exactly what
        will be done (``digest_of``), ``state_version`` the contract's version of what it is about. ``named`` are the
        organisations of stages with the seat ``named``, ``excluded`` parties that take no part. Without ``expires_at``
        the proposal lives as long as its policy lets it.
        """
        content = digest_of(
            "approvals.open",
            policy,
            action,
            subject,
            payload,
            state_version,
            amount_minor,
            currency,
            organisation,
            named,
            excluded,
            expires_at,
            self.sender.party,
        )
        earlier = next(
            self.proposals.find(self.caller, reference, index=("contract", "reference", "number"), limit=1), None
        )
        if earlier is not None:
            same = earlier.content == content
            require(same, ReferenceUsed, reference=reference, proposal=earlier.number)
            return earlier.number
        kind = OwnerKind.CONTRACT if organisation is None else OwnerKind.ORGANISATION
        owner = self.caller if organisation is None else organisation
        terms = self._in_force(kind, owner, policy)
        if terms is None:
            raise UnknownPolicy(owner=owner, policy=policy)
        fits = currency == terms.currency and (amount_minor is None) == (currency is None)
        require(fits, AmountDiffers, currency=terms.currency)
        latest = self.now + terms.life_ms
        end = latest if expires_at is None else expires_at
        require(self.now < end <= latest, TimeOutOfRange, earliest=self.now + 1, latest=latest)
        require(len(named) <= NAMED_MAX, TooManyNamed, most=NAMED_MAX)
        require(len(excluded) <= EXCLUDED_MAX, TooManyNamed, most=EXCLUDED_MAX)
        self._require_named(terms, amount_minor, named)

        first = self._following(terms, amount_minor, -1)
        assert first is not None, "a policy has a stage for every amount"
        stage = terms.stages[first]
        number = self.sequence("proposals")
        row = self.proposals.insert(
            Proposal(
                number=number,
                contract=self.caller,
                reference=reference,
                content=content,
                owner_kind=kind,
                owner=owner,
                policy=policy,
                policy_version=terms.version,
                action=action,
                subject=subject,
                payload=payload,
                state_version=state_version,
                amount_minor=amount_minor,
                proposer=self.sender.party,
                proposer_organisation=self.sender.organisation,
                state=ProposalState.OPEN,
                place=first,
                stage=stage.name,
                waits_for=stage.permission,
                approvals=0,
                overridden=False,
                opened_at=self.now,
                expires_at=end,
                ended_at=None,
                executor=None,
                reason=None,
            )
        )
        self._enter_act(row, self.sender.party, ActKind.PROPOSAL, None, None)
        for party in excluded:
            if not self.acts.exists(number, party):
                self._enter_act(row, party, ActKind.EXCLUSION, None, None)
        for one in named:
            if not self.seats.exists(number, one.stage, one.organisation):
                self.seats.insert(StageSeat(proposal=number, stage=one.stage, organisation=one.organisation))
        self.steps.insert(
            Step(proposal=number, place=first, stage=stage.name, entered_at=self.now, left_at=None)
        )

        self.emit(
            Opened(
                proposal=number,
                contract=self.caller,
                action=action,
                subject=subject,
                payload=payload,
                state_version=state_version,
                stage=stage.name,
                expires_at=end,
            )
        )
        return number

    @command(callers_only=True)
    def take(self, proposal: Positive, payload: Digest, state_version: NonNegative = 0) -> None:
        """Use a ready proposal up: by the contract that opened it, for exactly the payload and the version of the state
        that were approved, in a transaction of somebody whom the policy lets carry it out.

        A proposal is taken once. In the same call the contract does what was approved.
        """
        row = self._proposal(proposal)
        require(row.contract == self.caller, NotYourProposal, proposal=proposal)
        require(row.state is ProposalState.READY, WrongState, state=row.state)
        self._require_time(row)
        self._require_content(row, payload, state_version)
        self._require_executor(row)

        party = self.sender.party
        if not self.acts.exists(proposal, party):
            self._enter_act(row, party, ActKind.EXECUTION, None, None)
        self._end(row, ProposalState.TAKEN, None)

    @command(callers_only=True)
    def cancel(self, proposal: Positive, reason: Code) -> None:
        """End an open or ready proposal that its contract has no use for any more; by the contract that opened it."""
        row = self._proposal(proposal)
        require(row.contract == self.caller, NotYourProposal, proposal=proposal)
        self._require_alive(row)
        self._end(row, ProposalState.CANCELLED, reason)

    # what persons do, in a transaction of their own or through the contract that opened the proposal

    @command
    def approve(
        self,
        proposal: Positive,
        stage: Code,
        payload: Digest,
        state_version: NonNegative = 0,
        acting_for: Code | None = None,
    ) -> bool:
        """Approve a proposal in its current stage, for the payload and the version of the state that the signer saw;
        for ``acting_for`` where that person delegated it. Returns whether the proposal is ready.
        """
        row = self._proposal(proposal)
        terms = self._terms_for_person(row)
        party = self.sender.party if acting_for is None else acting_for
        if self._did(row, party, ActKind.APPROVAL, stage, None) and self._is_about(row, payload, state_version):
            return row.state is ProposalState.READY or row.state is ProposalState.TAKEN
        self._require_open(row)
        self._require_content(row, payload, state_version)
        self._require_approver(row, terms, stage, party)

        self._act_for(row, party, ActKind.APPROVAL, stage, None)
        count = row.approvals + 1
        row = self.proposals.update(row, approvals=count)
        self.emit(Approved(proposal=proposal, stage=stage, party=party, signer=self.sender.party))
        if count == terms.stages[row.place].approvals:
            row = self._complete_stage(row, terms)

        return row.state is ProposalState.READY

    @command
    def reject(
        self,
        proposal: Positive,
        stage: Code,
        payload: Digest,
        reason: Code,
        state_version: NonNegative = 0,
        acting_for: Code | None = None,
    ) -> None:
        """Reject a proposal for good, in its current stage and by somebody who could approve it there."""
        row = self._proposal(proposal)
        terms = self._terms_for_person(row)
        party = self.sender.party if acting_for is None else acting_for
        if self._did(row, party, ActKind.REJECTION, stage, reason) and self._is_about(row, payload, state_version):
            return
        self._require_open(row)
        self._require_content(row, payload, state_version)
        self._require_approver(row, terms, stage, party)

        self._act_for(row, party, ActKind.REJECTION, stage, reason)
        self._end(row, ProposalState.REJECTED, reason)

    @command
    def withdraw(self, proposal: Positive, reason: Code) -> None:
        """Take an open or ready proposal back; by its proposer."""
        row = self._proposal(proposal)
        self._terms_for_person(row)
        require(row.proposer == self.sender.party, NotTheProposer, proposer=row.proposer)
        self._require_alive(row)
        self._end(row, ProposalState.WITHDRAWN, reason)

    @command
    def recuse(self, proposal: Positive, reason: Code) -> None:
        """Take no part in an open proposal: the signer neither approves nor carries it out, and nobody approves for it.

        By anybody who has no part in it yet.
        """
        row = self._proposal(proposal)
        require(self.caller == "" or self.caller == row.contract, NotYourProposal, proposal=proposal)
        self._require_alive(row)
        self._require_no_part(row, self.sender.party)

        self._enter_act(row, self.sender.party, ActKind.RECUSAL, None, reason)

        self.emit(Recused(proposal=proposal, party=self.sender.party, reason=reason))

    @command
    def expire(self, proposal: Positive) -> None:
        """Mark an open or ready proposal whose time is over as expired; by anybody."""
        row = self._proposal(proposal)
        alive = row.state is ProposalState.OPEN or row.state is ProposalState.READY
        require(alive, WrongState, state=row.state)
        require(self.now >= row.expires_at, TimeNotOver, expires_at=row.expires_at)
        self._end(row, ProposalState.EXPIRED, None)

    @command
    def expire_due(self, limit: Positive = EXPIRED_PER_CALL_MAX) -> int:
        """Mark proposals whose time is over as expired, by time and number, at most ``limit`` and 100; by anybody.

        Returns how many; when fewer than the limit come back, none is left.
        """
        most = min(limit, EXPIRED_PER_CALL_MAX)
        due: list[Proposal] = []
        for state in (ProposalState.OPEN, ProposalState.READY):
            order = self.proposals.find(state, index=("state", "expires_at", "number"), limit=most - len(due))
            due.extend([row for row in order if row.expires_at <= self.now])
        for row in due:
            self._end(row, ProposalState.EXPIRED, None)
        return len(due)

    # delegations

    @command
    def delegate(
        self,
        to: Code,
        permission: Code,
        valid_from: Timestamp,
        valid_until: Timestamp,
        contract: Code | None = None,
    ) -> int:
        """Let another active person of the signer's organisation use one of the signer's permissions in approvals, from
        a time until a time at most 400 days ahead, for proposals of one contract or of all. Returns its number.
        """
        self._require_direct()
        latest = self.now + LIFE_MS_MAX
        inside = self.now < valid_until <= latest and valid_from < valid_until
        require(inside, TimeOutOfRange, earliest=self.now + 1, latest=latest)
        party = self.sender.party
        held = self.parties.has_permission(party, permission)
        require(held, PermissionMissing, party=party, permission=permission)
        near = self.parties.organisation_of(to) == self.sender.organisation and self.parties.is_active(to)
        require(near and to != party, DelegateNotInOrganisation, to=to)

        number = self.sequence("delegations")
        self.delegations.insert(
            Delegation(
                number=number,
                principal=party,
                to=to,
                permission=permission,
                contract=contract,
                valid_from=valid_from,
                valid_until=valid_until,
            )
        )

        self.emit(
            Delegated(
                delegation=number,
                principal=party,
                to=to,
                permission=permission,
                valid_from=valid_from,
                valid_until=valid_until,
            )
        )
        return number

    @command
    def end_delegation(self, delegation: Positive) -> None:
        """End a delegation before its time; by either of its persons. What was done under it stays done."""
        self._require_direct()
        row = self.delegations.get(delegation)
        if row is None:
            raise UnknownDelegation(delegation=delegation)
        own = row.principal == self.sender.party or row.to == self.sender.party
        require(own, NotYourDelegation, delegation=delegation)
        require(self.now < row.valid_until, DelegationOver, valid_until=row.valid_until)

        self.delegations.update(row, valid_until=self.now)

        self.emit(DelegationEnded(delegation=delegation))

    # overrides

    @command
    def request_override(
        self, proposal: Positive, payload: Digest, reason: Code, statement: Text, state_version: NonNegative = 0
    ) -> None:
        """Ask to make an open proposal ready without its stages; by a person with one of the policy's two senior
        permissions. It has no effect until a second person confirms it.
        """
        row = self._proposal(proposal)
        terms = self._terms_for_person(row)
        require(len(terms.overriders) == OVERRIDERS, NoOverride)
        self._require_open(row)
        self._require_content(row, payload, state_version)
        earlier = self.overrides.get(proposal)
        if earlier is not None:
            raise OverrideExists(requested_by=earlier.requested_by)
        self._require_reviewed(row)
        party = self.sender.party
        self._require_no_part(row, party)
        senior = any(self.parties.has_permission(party, one) for one in terms.overriders)
        require(senior, PermissionMissing, party=party, permission=terms.overriders[0])

        self._enter_act(row, party, ActKind.OVERRIDE, OVERRIDE_STAGE, reason)
        self.overrides.insert(
            Override(
                proposal=proposal,
                owner_kind=row.owner_kind,
                owner=row.owner,
                policy=row.policy,
                state=OverrideState.REQUESTED,
                reason=reason,
                statement=statement,
                requested_by=party,
                requested_at=self.now,
                confirmed_by=None,
                confirmed_at=None,
                review_due_at=None,
                closed_by=None,
                closed_at=None,
                finding=None,
                closing_statement=None,
            )
        )

        self.emit(OverrideRequested(proposal=proposal, party=party, reason=reason))

    @command
    def confirm_override(self, proposal: Positive, payload: Digest, state_version: NonNegative = 0) -> None:
        """Make an open proposal ready as another person requested; by a person with the policy's other senior
        permission. This raises an alarm, which a third person has to close.
        """
        row = self._proposal(proposal)
        terms = self._terms_for_person(row)
        override = self.overrides.get(proposal)
        if override is None:
            raise NoOverride
        self._require_open(row)
        self._require_content(row, payload, state_version)
        self._require_reviewed(row)
        party = self.sender.party
        self._require_no_part(row, party)
        missing = self._missing_of_pair(terms.overriders, override.requested_by, party)
        require(missing == "", PermissionMissing, party=party, permission=missing if missing else "none")

        due = self.now + terms.review_ms
        self._enter_act(row, party, ActKind.OVERRIDE, OVERRIDE_STAGE, override.reason)
        self.overrides.update(
            override, state=OverrideState.OPEN, confirmed_by=party, confirmed_at=self.now, review_due_at=due
        )
        self._leave_step(row)
        self.proposals.update(
            row, state=ProposalState.READY, stage=None, waits_for=None, approvals=0, overridden=True
        )

        self.emit(
            OverrideAlarm(
                proposal=proposal,
                requested_by=override.requested_by,
                confirmed_by=party,
                reason=override.reason,
                review_due_at=due,
            )
        )
        self.emit(BecameReady(proposal=proposal, overridden=True))

    @command
    def close_override(self, proposal: Positive, finding: Code, statement: Text) -> None:
        """Close the review of an override with a finding; by a person with the policy's ``reviewer`` permission who has
        no part in the proposal, and whether or not the proposal was taken meanwhile.
        """
        row = self._proposal(proposal)
        terms = self._terms_for_person(row)
        override = self.overrides.get(proposal)
        if override is None or override.state is not OverrideState.OPEN:
            raise NoOverride
        party = self.sender.party
        self._require_no_part(row, party)
        assert terms.reviewer is not None, "a policy with overriders names a reviewer"
        held = self.parties.has_permission(party, terms.reviewer)
        require(held, PermissionMissing, party=party, permission=terms.reviewer)

        self.overrides.update(
            override,
            state=OverrideState.CLOSED,
            closed_by=party,
            closed_at=self.now,
            finding=finding,
            closing_statement=statement,
        )

        self.emit(OverrideClosed(proposal=proposal, party=party, finding=finding))

    # reading

    @query
    def status(self, proposal: Positive) -> Code:
        """The state of a proposal now, with its time counted: open, ready, taken, rejected, withdrawn, cancelled or
        expired.
        """
        row = self._proposal(proposal)
        alive = row.state is ProposalState.OPEN or row.state is ProposalState.READY
        return ProposalState.EXPIRED if alive and self.now >= row.expires_at else row.state

    @query
    def is_ready(self, proposal: Positive, payload: Digest, state_version: NonNegative = 0) -> bool:
        """Whether a proposal is ready for this payload and version of the state, and its time is not over."""
        row = self._proposal(proposal)
        ready = row.state is ProposalState.READY and self.now < row.expires_at
        return ready and self._is_about(row, payload, state_version)

    @query
    def pending(self, permission: Code, after: NonNegative = 0, limit: Positive = LISTED_MAX) -> tuple[int, ...]:
        """The numbers above ``after`` of proposals that wait for an approval with ``permission``, at most ``limit`` and
        1000; what has run out of time is left out.
        """
        most = min(limit, LISTED_MAX)
        found: list[int] = []
        for row in self.proposals.find(permission, index=("waits_for", "number")):
            if row.number > after and self.now < row.expires_at:
                found.append(row.number)
            if len(found) == most:
                break
        return tuple(found)

    @query
    def part_of(self, proposal: Positive, party: Code) -> Code | None:
        """The part that a person has in a proposal, or None."""
        self._proposal(proposal)
        act = self.acts.get(proposal, party)
        return None if act is None else act.kind

    @query
    def history(self, proposal: Positive) -> tuple[tuple[str, str, str, str, int], ...]:
        """What persons did, in order: (part, party, signer, stage or an empty text, time) each."""
        self._proposal(proposal)
        acts = sorted(self.acts.find(proposal), key=lambda act: act.order)
        return tuple(
            [(act.kind, act.party, act.signer, "" if act.stage is None else act.stage, act.acted_at) for act in acts]
        )

    @query
    def stage_times(self, proposal: Positive) -> tuple[tuple[str, int], ...]:
        """(stage, milliseconds spent in it so far) in order of the stages that the proposal has reached."""
        row = self._proposal(proposal)
        times: list[tuple[str, int]] = []
        for step in self.steps.find(proposal):
            until = step.left_at if step.left_at is not None else min(self.now, row.expires_at)
            times.append((step.stage, until - step.entered_at))
        return tuple(times)

    @query
    def version_in_force(self, owner_kind: OwnerKind, owner: Code, policy: Code) -> int | None:
        """The version of a policy under which proposals are opened now, or None."""
        row = self._in_force(owner_kind, owner, policy)
        return None if row is None else row.version

    @query
    def overrides_to_review(self, limit: Positive = LISTED_MAX) -> tuple[tuple[int, int], ...]:
        """(proposal, time by which its override has to be reviewed), by number, at most ``limit`` and 1000."""
        rows = self.overrides.find(
            OverrideState.OPEN, index=("state", "proposal"), limit=min(limit, LISTED_MAX)
        )
        return tuple([(row.proposal, self.now if row.review_due_at is None else row.review_due_at) for row in rows])

    # guards

    def _require_direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _require_sound_stages(
        self, stages: tuple[Stage, ...], currency: str | None, seniors: tuple[str, ...]
    ) -> None:
        names = [stage.name for stage in stages]
        for stage in stages:
            once = names.count(stage.name) == 1 and stage.name != OVERRIDE_STAGE
            require(once, StageNamedTwice, stage=stage.name)
        for permission in (*[stage.permission for stage in stages], *seniors):
            require(is_permission(permission), NotAPermission, permission=permission)
        for stage in stages:
            few = stage.approvals <= APPROVALS_PER_STAGE_MAX
            require(few, TooManyApprovals, stage=stage.name, most=APPROVALS_PER_STAGE_MAX)
        for stage in stages:
            some = stage.below_minor is None or stage.from_minor < stage.below_minor
            require(some, BandEmpty, stage=stage.name)
        for stage in stages:
            counted = currency is not None or (stage.from_minor == 0 and stage.below_minor is None)
            require(counted, BandWithoutCurrency, stage=stage.name)
        gap = uncovered(stages)
        if gap is not None:
            raise AmountWithoutStage(amount_minor=gap)

    def _require_named(self, terms: Policy, amount: int | None, named: tuple[Named, ...]) -> None:
        seated = [stage.name for stage in terms.stages if stage.seat is Seat.NAMED]
        for one in named:
            require(one.stage in seated, UnknownStage, stage=one.stage)
        given = [one.stage for one in named]
        for stage in terms.stages:
            if stage.seat is Seat.NAMED and applies(stage, amount):
                require(stage.name in given, NobodyNamed, stage=stage.name)

    def _proposal(self, proposal: int) -> Proposal:
        row = self.proposals.get(proposal)
        if row is None:
            raise UnknownProposal(proposal=proposal)
        return row

    def _terms(self, row: Proposal) -> Policy:
        terms = self.policies.get(row.owner_kind, row.owner, row.policy, row.policy_version)
        assert terms is not None, "a proposal has the policy that it was opened under"
        return terms

    def _terms_for_person(self, row: Proposal) -> Policy:
        """The policy, for an act of the signer: by a transaction itself where the policy lets it, or through the
        contract that opened the proposal.
        """
        require(self.caller == "" or self.caller == row.contract, NotYourProposal, proposal=row.number)
        terms = self._terms(row)
        require(self.caller != "" or terms.direct, OnlyThroughContract, contract=row.contract)
        return terms

    def _require_time(self, row: Proposal) -> None:
        require(self.now < row.expires_at, TimeOver, expires_at=row.expires_at)

    def _require_open(self, row: Proposal) -> None:
        require(row.state is ProposalState.OPEN, WrongState, state=row.state)
        self._require_time(row)

    def _require_alive(self, row: Proposal) -> None:
        alive = row.state is ProposalState.OPEN or row.state is ProposalState.READY
        require(alive, WrongState, state=row.state)
        self._require_time(row)

    def _is_about(self, row: Proposal, payload: bytes, state_version: int) -> bool:
        return row.payload == payload and row.state_version == state_version

    def _require_content(self, row: Proposal, payload: bytes, state_version: int) -> None:
        require(row.payload == payload, PayloadDiffers, payload=row.payload)
        require(row.state_version == state_version, StateVersionDiffers, state_version=row.state_version)

    def _did(self, row: Proposal, party: str, kind: ActKind, stage: str, reason: str | None) -> bool:
        """Whether the signer did exactly this before, for itself or for ``party``."""
        act = self.acts.get(row.number, party)
        return (
            act is not None
            and act.kind == kind
            and act.stage == stage
            and act.signer == self.sender.party
            and act.reason == reason
        )

    def _require_no_part(self, row: Proposal, signer: str, principal: str | None = None) -> None:
        """Neither the signer nor the person that it acts for has a part in the proposal."""
        require(row.proposer != signer and row.proposer != principal, ProposerNeverApproves, proposer=row.proposer)
        for party in (signer, signer if principal is None else principal):
            act = self.acts.get(row.number, party)
            if act is not None:
                raise HasPart(party=party, kind=act.kind)

    def _require_approver(self, row: Proposal, terms: Policy, stage: str, party: str) -> None:
        """The stage is the current one, and ``party`` may decide in it, by the signer's hand."""
        require(row.stage == stage, NotTheStage, stage="none" if row.stage is None else row.stage)
        signer = self.sender.party
        self._require_no_part(row, signer, party)
        current = terms.stages[row.place]
        delegated = party == signer or self._has_delegation(row, current.permission, party)
        require(delegated, NoDelegation, principal=party)
        held = self.parties.has_permission(party, current.permission)
        require(held, PermissionMissing, party=party, permission=current.permission)
        organisation = self.sender.organisation
        seated = self._is_seated(row, current, organisation)
        require(seated, OrganisationNotSeated, organisation=organisation, seat=current.seat)
        new = self._is_new_organisation(row, current, organisation)
        require(new, OrganisationHasActed, organisation=organisation)

    def _has_delegation(self, row: Proposal, permission: str, principal: str) -> bool:
        """Whether ``principal``, of the signer's organisation still, lets the signer use the permission now."""
        near = self.parties.organisation_of(principal) == self.sender.organisation
        return near and any(
            one.valid_from <= self.now < one.valid_until and (one.contract is None or one.contract == row.contract)
            for one in self.delegations.find(self.sender.party, principal, permission)
        )

    def _is_seated(self, row: Proposal, stage: Stage, organisation: str) -> bool:
        if stage.seat is Seat.PROPOSERS:
            return organisation == row.proposer_organisation
        if stage.seat is Seat.OTHERS:
            return organisation != row.proposer_organisation
        if stage.seat is Seat.OWNERS:
            return row.owner_kind is OwnerKind.ORGANISATION and organisation == row.owner
        if stage.seat is Seat.NAMED:
            return self.seats.exists(row.number, stage.name, organisation)
        return True

    def _is_new_organisation(self, row: Proposal, stage: Stage, organisation: str) -> bool:
        if stage.distinct is Distinct.PERSONS:
            return True
        approved = [act for act in self.acts.find(row.number) if act.kind is ActKind.APPROVAL]
        if stage.distinct is Distinct.IN_STAGE:
            return all(act.organisation != organisation for act in approved if act.stage == stage.name)
        return organisation != row.proposer_organisation and all(act.organisation != organisation for act in approved)

    def _require_executor(self, row: Proposal) -> None:
        terms = self._terms(row)
        party = self.sender.party
        if terms.executor is not Executor.ANYBODY:
            require(party != row.proposer, ProposerNeverApproves, proposer=row.proposer)
        act = self.acts.get(row.number, party)
        if act is not None:
            barred = act.kind is ActKind.EXCLUSION or act.kind is ActKind.RECUSAL
            new_only = terms.executor is Executor.NEW_PERSON
            require(not (barred or new_only), HasPart, party=party, kind=act.kind)

    def _require_reviewed(self, row: Proposal) -> None:
        """No override under the same policy is overdue for review."""
        for one in self.overrides.find(row.owner_kind, row.owner, row.policy, OverrideState.OPEN):
            on_time = one.review_due_at is not None and self.now < one.review_due_at
            require(on_time, OverrideOverdue, proposal=one.proposal)

    def _missing_of_pair(self, pair: tuple[str, ...], first: str, second: str) -> str:
        """The permission that ``second`` lacks so that the two hold the pair between them; empty if they do."""
        one, other = pair
        straight = self.parties.has_permission(first, one) and self.parties.has_permission(second, other)
        crossed = self.parties.has_permission(first, other) and self.parties.has_permission(second, one)
        if straight or crossed:
            return ""
        return other if self.parties.has_permission(first, one) else one

    def _in_force(self, kind: OwnerKind, owner: str, policy: str) -> Policy | None:
        """The latest version in force."""
        for row in self.policies.find(kind, owner, policy, reverse=True):
            if row.state is PolicyState.IN_FORCE:
                return row
        return None

    # effects

    def _following(self, terms: Policy, amount: int | None, place: int) -> int | None:
        """The place of the next stage after ``place`` that applies to the amount."""
        for later, stage in enumerate(terms.stages):
            if later > place and applies(stage, amount):
                return later
        return None

    def _enter_act(
        self, row: Proposal, party: str, kind: ActKind, stage: str | None, reason: str | None
    ) -> None:
        organisation = self.parties.organisation_of(party)
        self.acts.insert(
            Act(
                proposal=row.number,
                party=party,
                order=len(list(self.acts.find(row.number))) + 1,
                kind=kind,
                stage=stage,
                organisation="none" if organisation is None else organisation,
                signer=self.sender.party,
                acted_at=self.now,
                reason=reason,
            )
        )

    def _act_for(self, row: Proposal, party: str, kind: ActKind, stage: str, reason: str | None) -> None:
        """Enter a decision of ``party``, and that the signer has a part where it signs for another."""
        self._enter_act(row, party, kind, stage, reason)
        if party != self.sender.party:
            self._enter_act(row, self.sender.party, ActKind.DELEGATE, stage, reason)

    def _complete_stage(self, row: Proposal, terms: Policy) -> Proposal:
        done = terms.stages[row.place]
        self._leave_step(row)
        following = self._following(terms, row.amount_minor, row.place)
        if following is None:
            row = self.proposals.update(row, state=ProposalState.READY, stage=None, waits_for=None, approvals=0)
            self.emit(StageCompleted(proposal=row.number, stage=done.name, following=None))
            self.emit(BecameReady(proposal=row.number, overridden=False))
            return row
        stage = terms.stages[following]
        self.steps.insert(
            Step(proposal=row.number, place=following, stage=stage.name, entered_at=self.now, left_at=None)
        )
        row = self.proposals.update(
            row, place=following, stage=stage.name, waits_for=stage.permission, approvals=0
        )
        self.emit(StageCompleted(proposal=row.number, stage=done.name, following=stage.name))
        return row

    def _leave_step(self, row: Proposal) -> None:
        step = self.steps.get(row.number, row.place)
        assert step is not None, "an open proposal is in a step"
        if step.left_at is None:
            self.steps.update(step, left_at=min(self.now, row.expires_at))

    def _end(self, row: Proposal, state: ProposalState, reason: str | None) -> None:
        if row.state is ProposalState.OPEN:
            self._leave_step(row)
        taken = state is ProposalState.TAKEN
        self.proposals.update(
            row,
            state=state,
            stage=None,
            waits_for=None,
            approvals=0,
            ended_at=self.now,
            executor=self.sender.party if taken else None,
            reason=reason,
        )
        self.emit(Ended(proposal=row.number, state=state, party=self.sender.party, reason=reason))

    # laws

    @invariant
    def what_is_ready_was_approved(self) -> None:
        """A ready or taken proposal has in each stage that applies exactly the approvals it takes, unless two persons
        overrode it; an open one has those of the stages before its current one.
        """
        for row in self.proposals.find(index=()):
            terms = self._terms(row)
            counts: dict[str, int] = {}
            for act in self.acts.find(row.number):
                if act.kind is ActKind.APPROVAL:
                    assert act.stage is not None, row.number
                    counts[act.stage] = counts.get(act.stage, 0) + 1
            passed = row.state is ProposalState.READY or row.state is ProposalState.TAKEN
            for place, stage in enumerate(terms.stages):
                count = counts.get(stage.name, 0)
                if not applies(stage, row.amount_minor):
                    assert count == 0, row.number
                elif place < row.place or (passed and not row.overridden):
                    assert count == stage.approvals, row.number
                elif row.state is ProposalState.OPEN and place == row.place:
                    assert count == row.approvals < stage.approvals, row.number
                elif place > row.place:
                    assert count == 0, row.number

    @invariant
    def the_proposer_has_no_other_part(self) -> None:
        """The proposer has its own part and never another, and no approval was signed by the proposer."""
        for act in self.acts.find():
            row = self._proposal(act.proposal)
            assert (act.kind is ActKind.PROPOSAL) == (act.party == row.proposer), act.proposal
            decision = act.kind is ActKind.APPROVAL or act.kind is ActKind.REJECTION or act.kind is ActKind.OVERRIDE
            assert not decision or act.signer != row.proposer, act.proposal

    @invariant
    def what_has_ended_waits_for_nobody(self) -> None:
        """A proposal waits for an approval while it is open and only then, and has an end when it has ended."""
        for row in self.proposals.find(index=()):
            is_open = row.state is ProposalState.OPEN
            assert (row.waits_for is not None) == is_open, row.number
            assert (row.stage is not None) == is_open, row.number
            assert (row.ended_at is None) == (is_open or row.state is ProposalState.READY), row.number
            assert (row.executor is not None) == (row.state is ProposalState.TAKEN), row.number

    @invariant
    def an_override_is_by_two_and_closed_by_a_third(self) -> None:
        """Whatever was overridden has a row that says by which two persons; who closed it is neither, nor the
        proposer.
        """
        for row in self.overrides.find(index=()):
            proposal = self._proposal(row.proposal)
            confirmed = row.state is not OverrideState.REQUESTED
            assert proposal.overridden == confirmed, row.proposal
            assert (row.confirmed_by is not None) == confirmed, row.proposal
            assert (row.closed_by is not None) == (row.state is OverrideState.CLOSED), row.proposal
            persons = [proposal.proposer, row.requested_by, row.confirmed_by, row.closed_by]
            known = [one for one in persons if one is not None]
            assert all(known.count(one) == 1 for one in known), row.proposal
        for row_ in self.proposals.find(index=()):
            assert not row_.overridden or self.overrides.exists(row_.number), row_.number
