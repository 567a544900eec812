"""How members decide: proposals with actions, votes, execution after a delay, and freezes in an emergency.

Theory. A network of several members has no administrator. What changes it is a *proposal*: a list of actions, all or
nothing, that the contract itself carries out once enough members have said yes. What is decided depends on the rule of
its kind (``governance.Rule``), taken down with the electorate when voting opens, so that nobody changes either while a
vote runs. The electorate are *groups*: affiliated members have one vote together.

Life of a proposal:

    from      withdraw    close                                  execute
    open      withdrawn   passed, rejected, lapsed, or open(*)   -
    passed    -           lapsed (over time)                     executed
    others    -           -                                      -

    (*) an expedited proposal that did not pass becomes a normal one, and the votes stay.

How votes are counted, at ``close``, in whole numbers:

1. Each elector has the vote that it cast last. One that cast none has that of the member it delegated to, where that
   member cast one itself, and only in operational and membership decisions.
2. A member that is suspended at the close cannot help a proposal: its yes and its abstention count as silence, its no
   stays.
3. A group whose members agree (those that are not silent) has that vote; one whose members differ is *divided*: it has
   voted, but neither way.
4. Quorum: groups that are not silent, of all groups.
5. Threshold: yes, of all groups but those that abstained; silence and division count against, and a tie refuses,
   because more than half is always needed.
6. Where the rule says so, more groups of no class may be against than for. Each organisation that the proposal names
   as required, because the contract writes its data, must itself have said yes.

A new version of a contract is approved only by members that have run it: a yes to a proposal that schedules a release
needs the member's rehearsal, the roots that it got when it ran the same blocks under the new code
(``guildbook.chain.rehearsal``). Rehearsals that differ block the execution, whatever the votes.

An emergency freeze needs no vote: two members of different classes and groups, or one of the class ``regulator``,
freeze one contract, command, organisation or party for 72 hours of block time. Then it ends by itself, unless the
members ratify it; the same subject can be frozen again so only a week after. Each leaves an order, and those who gave
it a report. Governance is never frozen, so that whoever is frozen can vote on it.

Anybody may close and execute: the conditions are on the ledger, and who sends the transaction does not matter.
"""

import enum

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Event,
    Height,
    Name,
    NonNegative,
    Positive,
    Record,
    Rejected,
    SourceText,
    Table,
    Text,
    Timestamp,
    command,
    invariant,
    key,
    query,
    require,
    use,
)
from guildbook.foundation.governance import Governance, Member
from guildbook.foundation.parties import Parties
from guildbook.runtime.decisions import Action, ActionKind, Decision, Rule
from guildbook.runtime.freezes import FreezeScope
from guildbook.runtime.identity import Status

ACTIONS_MAX = 32
OPEN_PROPOSALS_MAX = 200
OPEN_OF_ONE_MEMBER_MAX = 20
DELEGATIONS_MAX = 2
"""Votes that one member may cast for others: a delegate is no sponsor."""
HOUR_MS = 3600 * 1000
FREEZE_MS = 72 * HOUR_MS
FREEZE_AGAIN_MS = 7 * 24 * HOUR_MS
FREEZE_REQUEST_MS = 24 * HOUR_MS
REGULATOR = "regulator"
VOTER = "council:voter"


class ProposalStatus(enum.StrEnum):
    """Where a proposal is in its life."""

    OPEN = "open"
    PASSED = "passed"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    EXECUTED = "executed"


class Choice(enum.StrEnum):
    """What a member votes."""

    YES = "yes"
    NO = "no"
    ABSTAIN = "abstain"


STEPS = {
    ProposalStatus.OPEN: (
        ProposalStatus.PASSED,
        ProposalStatus.REJECTED,
        ProposalStatus.LAPSED,
        ProposalStatus.WITHDRAWN,
    ),
    ProposalStatus.PASSED: (ProposalStatus.EXECUTED, ProposalStatus.LAPSED),
    ProposalStatus.REJECTED: (),
    ProposalStatus.LAPSED: (),
    ProposalStatus.WITHDRAWN: (),
    ProposalStatus.EXECUTED: (),
}
"""Which status follows which; the table at the head of this module."""


class Proposal(Record):
    """What a member proposes, with the rule and the size of the electorate as they were when voting opened.

    ``actions`` are carried out in order. ``required`` are the members whose own yes it needs besides. ``rule`` holds
    one rule. The blocks after ``rehearsal_from`` up to ``rehearsal_to`` are those that members run under a new code;
    both 0 where no release is scheduled. ``executable_from`` and ``lapses_at`` bound the execution of what passed.
    """

    id: Positive = key()
    decision: Decision
    organisation: Code
    party: Code
    title: Name
    reason: Text
    impact: Digest | None
    actions: tuple[Action, ...]
    required: tuple[Code, ...]
    rehearsal_from: Height
    rehearsal_to: Height
    rule: tuple[Rule, ...]
    electorate: Positive
    expedited: bool
    opened_at: Timestamp
    closes_at: Timestamp
    status: ProposalStatus
    executable_from: Timestamp | None
    lapses_at: Timestamp | None


class Elector(Record):
    """A member that may vote on a proposal, with its group and class as they were when voting opened."""

    proposal: Positive = key()
    organisation: Code = key()
    affiliation: Code
    member_class: Code


class Vote(Record):
    """The vote that a member cast last on a proposal."""

    proposal: Positive = key()
    organisation: Code = key()
    party: Code
    choice: Choice
    reason: Text
    cast_at: Timestamp


class Delegation(Record):
    """A member whose vote another casts where it casts none itself."""

    organisation: Code = key()
    to: Code


class Rehearsal(Record):
    """What a member got when it ran the proposal's blocks under the new code."""

    proposal: Positive = key()
    organisation: Code = key()
    party: Code
    state_root: Digest
    outcome: Digest


class FreezeOrder(Record):
    """A freeze that was ordered: what, why, by whom, from when, and until when it holds (None: until lifted).

    ``proposal`` is the vote that ordered or ratified it, 0 for none; ``report`` what was found out afterwards.
    """

    id: Positive = key()
    scope: FreezeScope
    subject: Code
    reason: Text
    ordered_by: tuple[Code, ...]
    began_at: Timestamp
    until: Timestamp | None
    proposal: NonNegative
    lifted_at: Timestamp | None
    report: Digest | None


class FreezeRequest(Record):
    """A freeze that one member asks for, and a second one may bring about."""

    scope: FreezeScope = key()
    subject: Code = key()
    organisation: Code
    reason: Text
    requested_at: Timestamp


class Tally(Record):
    """How a proposal stands now. Counts are of groups; ``consenting``: all required members said yes."""

    electorate: Positive
    yes: NonNegative
    no: NonNegative
    abstained: NonNegative
    divided: NonNegative
    silent: NonNegative
    classes_against: tuple[Code, ...]
    consenting: bool
    quorum: bool
    passes: bool


class ProposalOpened(Event):
    """Members may vote on a proposal."""

    proposal: Positive
    decision: Decision
    organisation: Code
    electorate: Positive
    closes_at: Timestamp


class ProposalWithdrawn(Event):
    """Who made a proposal took it back."""

    proposal: Positive


class VoteCast(Event):
    """A member voted, or voted anew."""

    proposal: Positive
    organisation: Code
    choice: Choice


class VoteDelegated(Event):
    """A member lets another vote where it does not itself; None: it no longer does."""

    organisation: Code
    to: Code | None


class RehearsalApproved(Event):
    """A member ran the blocks under the new code and stated its roots."""

    proposal: Positive
    organisation: Code
    state_root: Digest
    outcome: Digest


class ProposalExtended(Event):
    """An expedited proposal did not pass, and is voted on as any other."""

    proposal: Positive
    closes_at: Timestamp


class ProposalDecided(Event):
    """Voting is over."""

    proposal: Positive
    status: ProposalStatus
    electorate: Positive
    yes: NonNegative
    no: NonNegative
    abstained: NonNegative


class ProposalExecuted(Event):
    """All actions of a proposal are done."""

    proposal: Positive


class FreezeRequested(Event):
    """One member asks for a freeze."""

    scope: FreezeScope
    subject: Code
    organisation: Code


class FreezeOrdered(Event):
    """A freeze was ordered, ratified, or given another end."""

    order: Positive
    scope: FreezeScope
    subject: Code
    until: Timestamp | None


class FreezeReported(Event):
    """Those who ordered a freeze say what it was about."""

    order: Positive
    report: Digest


class OnlyByTransaction(Rejected):
    """Members decide by transactions of their own, not through another contract."""

    caller: Code


class NotAMember(Rejected):
    """The signer's organisation is no member of the network."""

    organisation: Code


class SeveralMembers(Rejected):
    """The network has several members: propose what you want done."""

    members: Positive


class WrongNumberOfActions(Rejected):
    """A proposal has at least one action and at most so many."""

    most: Positive


class OneReleaseAtATime(Rejected):
    """A proposal schedules one release at most, since it is rehearsed alone."""


class TooManyProposals(Rejected):
    """As many proposals are open as may be, of one member or of all."""

    most: Positive


class NobodyVotes(Rejected):
    """No active member is of a class that votes on this."""

    decision: Decision


class NotExpedited(Rejected):
    """Decisions of this kind are not expedited."""

    decision: Decision


class RehearsalRange(Rejected):
    """A release is rehearsed over blocks that are there, and nothing else is rehearsed."""

    latest: Height


class UnknownProposal(Rejected):
    """There is no such proposal."""

    proposal: Positive


class NotTheProposer(Rejected):
    """Another member made the proposal."""

    organisation: Code


class NotAnElector(Rejected):
    """The organisation was not one that votes on the proposal when voting opened."""

    organisation: Code


class AlreadyDecided(Rejected):
    """The proposal is no longer open."""

    status: ProposalStatus


class VotingOver(Rejected):
    """Voting has ended; close the proposal."""

    closes_at: Timestamp


class VotingOpen(Rejected):
    """Members still vote."""

    closes_at: Timestamp


class RehearsalMissing(Rejected):
    """Run the proposal's blocks under the new code first, and state the roots."""

    rehearsal_from: Height
    rehearsal_to: Height


class NothingToRehearse(Rejected):
    """The proposal schedules no release."""

    proposal: Positive


class OtherBlocks(Rejected):
    """The rehearsal is of other blocks than the proposal names."""

    rehearsal_from: Height
    rehearsal_to: Height


class NotPassed(Rejected):
    """The proposal has not passed, or is done."""

    status: ProposalStatus


class TooEarly(Rejected):
    """The delay after the vote is not over."""

    executable_from: Timestamp


class TooLate(Rejected):
    """What passed was not executed in time; propose it anew."""

    lapses_at: Timestamp


class RehearsalsDiffer(Rejected):
    """Two members got different roots from the same blocks and the same code: find out why first."""

    organisation: Code
    other: Code


class DelegationRefused(Rejected):
    """A vote is delegated to another member, which has not delegated its own and holds not too many."""

    to: Code
    most: Positive


class LastActiveMember(Rejected):
    """No other member would be able to act."""

    organisation: Code


class OrganisationNotActive(Rejected):
    """No active organisation has this id; have a registrar admit it first."""

    organisation: Code


class NothingToFreeze(Rejected):
    """No organisation or party has this id."""

    subject: Code


class FrozenAlready(Rejected):
    """The subject is frozen."""

    until: Timestamp | None


class FrozenRecently(Rejected):
    """An emergency is no emergency for ever: until then, only a vote freezes this again."""

    again_from: Timestamp


class RequestedAlready(Rejected):
    """Your organisation has asked for this freeze; another one has to agree."""

    requested_at: Timestamp


class AnotherClassNeeded(Rejected):
    """The two members who freeze are of different classes, and not affiliated."""

    organisation: Code


class UnknownFreezeOrder(Rejected):
    """No such freeze was ordered."""

    order: NonNegative


class FreezeOver(Rejected):
    """The freeze of this order no longer holds."""

    order: Positive


class NotTheOrderer(Rejected):
    """Other members ordered the freeze, or a vote did."""

    order: Positive


class Council(Contract, name="council", version=1):
    """Proposals, votes, and freezes."""

    governance = use(Governance)
    parties = use(Parties)

    proposals = Table(Proposal, index=[("status", "id"), ("organisation", "status", "id")])
    electors = Table(Elector)
    votes = Table(Vote)
    delegations = Table(Delegation, index=[("to", "organisation")])
    rehearsals = Table(Rehearsal)
    freeze_orders = Table(FreezeOrder, index=[("scope", "subject", "id")])
    freeze_requests = Table(FreezeRequest)
    events = (
        ProposalOpened,
        ProposalWithdrawn,
        VoteCast,
        VoteDelegated,
        RehearsalApproved,
        ProposalExtended,
        ProposalDecided,
        ProposalExecuted,
        FreezeRequested,
        FreezeOrdered,
        FreezeReported,
    )
    rejections = (
        OnlyByTransaction,
        NotAMember,
        UnknownProposal,
        UnknownFreezeOrder,
        SeveralMembers,
        WrongNumberOfActions,
        OneReleaseAtATime,
        TooManyProposals,
        NotExpedited,
        RehearsalRange,
        NobodyVotes,
        AlreadyDecided,
        NotTheProposer,
        NotAnElector,
        VotingOver,
        VotingOpen,
        NothingToRehearse,
        OtherBlocks,
        RehearsalMissing,
        NotPassed,
        TooEarly,
        TooLate,
        RehearsalsDiffer,
        DelegationRefused,
        OrganisationNotActive,
        LastActiveMember,
        NothingToFreeze,
        FrozenAlready,
        FrozenRecently,
        RequestedAlready,
        AnotherClassNeeded,
        FreezeOver,
        NotTheOrderer,
    )

    # proposals

    @command(role="voter")
    def propose(
        self,
        title: Name,
        reason: Text,
        actions: tuple[Action, ...],
        required: tuple[Code, ...] = (),
        impact: Digest | None = None,
        expedited: bool = False,
        rehearsal_from: Height = 0,
        rehearsal_to: Height = 0,
    ) -> int:
        """Open a vote on ``actions``; returns the proposal's number.

        ``required`` are members whose own yes it needs besides; ``impact`` is the SHA-256 of a note on what it means
        for members. A release is rehearsed over the blocks after ``rehearsal_from`` up to ``rehearsal_to``, which are
        there already.
        """
        seat = self._seat()
        releases = self._require_actions(actions)
        decision = self.governance.weigh(actions)
        rule = self.governance.rule(decision)
        mine = self.proposals.find(
            seat.organisation, ProposalStatus.OPEN, index=("organisation", "status", "id")
        )
        own = len(list(mine))
        require(own < OPEN_OF_ONE_MEMBER_MAX, TooManyProposals, most=OPEN_OF_ONE_MEMBER_MAX)
        count = len(list(self.proposals.find(ProposalStatus.OPEN)))
        require(count < OPEN_PROPOSALS_MAX, TooManyProposals, most=OPEN_PROPOSALS_MAX)
        require(not expedited or rule.expedited_ms > 0, NotExpedited, decision=decision)
        there = rehearsal_from < rehearsal_to < self.height
        fits = there if releases else rehearsal_from == 0 and rehearsal_to == 0
        require(fits, RehearsalRange, latest=self.height - 1)
        electors = self._electorate(rule)
        require(len(electors) > 0, NobodyVotes, decision=decision)
        voting = [one.organisation for one in electors]
        for organisation in required:
            require(organisation in voting, NotAnElector, organisation=organisation)

        number = self.sequence("proposals")
        electorate = len(in_order([one.affiliation for one in electors]))
        closes_at = self.now + (rule.expedited_ms if expedited else rule.voting_ms)
        self.proposals.insert(
            Proposal(
                id=number,
                decision=decision,
                organisation=seat.organisation,
                party=self.sender.party,
                title=title,
                reason=reason,
                impact=impact,
                actions=actions,
                required=required,
                rehearsal_from=rehearsal_from,
                rehearsal_to=rehearsal_to,
                rule=(rule,),
                electorate=electorate,
                expedited=expedited,
                opened_at=self.now,
                closes_at=closes_at,
                status=ProposalStatus.OPEN,
                executable_from=None,
                lapses_at=None,
            )
        )
        for one in electors:
            self.electors.insert(
                Elector(
                    proposal=number,
                    organisation=one.organisation,
                    affiliation=one.affiliation,
                    member_class=one.member_class,
                )
            )

        self.emit(
            ProposalOpened(
                proposal=number,
                decision=decision,
                organisation=seat.organisation,
                electorate=electorate,
                closes_at=closes_at,
            )
        )
        return number

    @command(role="voter")
    def withdraw(self, proposal: Positive) -> None:
        """Take back an open proposal of the signer's organisation."""
        seat = self._seat()
        row = self._open(proposal)
        require(row.organisation == seat.organisation, NotTheProposer, organisation=row.organisation)

        self._set_status(row, ProposalStatus.WITHDRAWN)

        self.emit(ProposalWithdrawn(proposal=proposal))

    @command(role="voter")
    def approve_rehearsal(
        self,
        proposal: Positive,
        rehearsal_from: Height,
        rehearsal_to: Height,
        state_root: Digest,
        outcome: Digest,
    ) -> None:
        """State what the signer's organisation got when it ran the proposal's blocks under the new code.

        ``state_root`` is the one before the first of them, ``outcome`` the digest over all results, both as
        ``guildbook governance rehearse`` prints them. Until the execution a member may state it anew.
        """
        self._direct()
        row = self._proposal(proposal)
        undecided = row.status is ProposalStatus.OPEN or row.status is ProposalStatus.PASSED
        require(undecided, AlreadyDecided, status=row.status)
        elector = self._elector(row)
        require(row.rehearsal_to > 0, NothingToRehearse, proposal=proposal)
        same = (rehearsal_from, rehearsal_to) == (row.rehearsal_from, row.rehearsal_to)
        require(
            same, OtherBlocks, rehearsal_from=row.rehearsal_from, rehearsal_to=row.rehearsal_to
        )

        stated = Rehearsal(
            proposal=proposal,
            organisation=elector.organisation,
            party=self.sender.party,
            state_root=state_root,
            outcome=outcome,
        )
        before = self.rehearsals.get(proposal, elector.organisation)
        if before is not None:
            self.rehearsals.delete(before)
        self.rehearsals.insert(stated)

        self.emit(
            RehearsalApproved(
                proposal=proposal,
                organisation=elector.organisation,
                state_root=state_root,
                outcome=outcome,
            )
        )

    @command(role="voter")
    def vote(self, proposal: Positive, choice: Choice, reason: Text) -> None:
        """Cast the vote of the signer's organisation, or another one than before, while voting lasts."""
        self._direct()
        row = self._open(proposal)
        elector = self._elector(row)
        require(self.now < row.closes_at, VotingOver, closes_at=row.closes_at)
        if choice is Choice.YES and row.rehearsal_to > 0:
            require(
                self.rehearsals.exists(proposal, elector.organisation),
                RehearsalMissing,
                rehearsal_from=row.rehearsal_from,
                rehearsal_to=row.rehearsal_to,
            )

        before = self.votes.get(proposal, elector.organisation)
        if before is not None:
            self.votes.delete(before)
        self.votes.insert(
            Vote(
                proposal=proposal,
                organisation=elector.organisation,
                party=self.sender.party,
                choice=choice,
                reason=reason,
                cast_at=self.now,
            )
        )

        self.emit(VoteCast(proposal=proposal, organisation=elector.organisation, choice=choice))

    @command(role="voter")
    def delegate(self, to: Code | None) -> None:
        """Let another member vote where the signer's organisation casts no vote itself; None: let nobody.

        It holds in operational and membership decisions, and is not passed on.
        """
        seat = self._seat()
        if to is not None:
            held = [one for one in self.delegations.find(to) if one.organisation != seat.organisation]
            fits = (
                to != seat.organisation
                and self.governance.member(to) is not None
                and not self.delegations.exists(to)
                and next(self.delegations.find(seat.organisation), None) is None
                and len(held) < DELEGATIONS_MAX
            )
            require(fits, DelegationRefused, to=to, most=DELEGATIONS_MAX)

        before = self.delegations.get(seat.organisation)
        if before is not None:
            self.delegations.delete(before)
        if to is not None:
            self.delegations.insert(Delegation(organisation=seat.organisation, to=to))

        self.emit(VoteDelegated(organisation=seat.organisation, to=to))

    @command
    def close(self, proposal: Positive) -> ProposalStatus:
        """Count the votes once voting has ended, or let what passed lapse once its time is over; by anybody."""
        self._direct()
        row = self._proposal(proposal)
        if row.status is ProposalStatus.PASSED and row.lapses_at is not None:
            require(self.now >= row.lapses_at, AlreadyDecided, status=row.status)
            return self._set_status(row, ProposalStatus.LAPSED).status
        return self._close(self._open(proposal)).status

    @command
    def execute(self, proposal: Positive) -> None:
        """Carry out all actions of a proposal that passed, after its delay and within its time; by anybody.

        The same guards hold as on any other day: what can no longer be done refuses the whole execution, which may be
        tried again until the proposal lapses.
        """
        self._direct()
        row = self._proposal(proposal)
        if row.status is ProposalStatus.OPEN and self.now >= row.closes_at:
            row = self._close(row)
        require(row.status is ProposalStatus.PASSED, NotPassed, status=row.status)
        earliest, latest = row.executable_from or 0, row.lapses_at or 0
        require(self.now >= earliest, TooEarly, executable_from=earliest)
        require(self.now < latest, TooLate, lapses_at=latest)
        self._require_same_rehearsals(proposal)

        self._set_status(row, ProposalStatus.EXECUTED)
        for action in row.actions:
            self._perform(action, proposal)

        self.emit(ProposalExecuted(proposal=proposal))

    @command(role="voter")
    def act(self, title: Name, reason: Text, actions: tuple[Action, ...]) -> int:
        """Do at once what the only member of a network decides; returns the number under which it is recorded."""
        seat = self._seat()
        members = self.governance.member_count()
        require(members == 1, SeveralMembers, members=members)
        self._require_actions(actions)
        decision = self.governance.weigh(actions)

        number = self.sequence("proposals")
        self.proposals.insert(
            Proposal(
                id=number,
                decision=decision,
                organisation=seat.organisation,
                party=self.sender.party,
                title=title,
                reason=reason,
                impact=None,
                actions=actions,
                required=(),
                rehearsal_from=0,
                rehearsal_to=0,
                rule=(self.governance.rule(decision),),
                electorate=1,
                expedited=False,
                opened_at=self.now,
                closes_at=self.now,
                status=ProposalStatus.EXECUTED,
                executable_from=self.now,
                lapses_at=self.now,
            )
        )
        for action in actions:
            self._perform(action, number)

        self.emit(ProposalExecuted(proposal=number))
        return number

    @command(role="voter")
    def publish_source(self, contract: Code, text: SourceText) -> bytes:
        """Put the text of a contract file on the ledger, so that a release of it can be proposed; returns its SHA-256.

        Publishing runs nothing.
        """
        self._seat()
        return self.governance.publish_source(contract, text)

    # freezes

    @command(role="voter")
    def freeze(self, scope: FreezeScope, subject: Code, reason: Text) -> int:
        """Freeze a subject for 72 hours, or ask for it; returns the order's number, 0 while another member is needed.

        The second member, of another class and another group, brings about what the first one asked for within a day.
        A ``regulator``, and the only member of a network, need nobody else.
        """
        seat = self._seat()
        self._require_subject(scope, subject)
        held = self.governance.freeze_of(scope, subject)
        if held is not None:
            raise FrozenAlready(until=held.until)
        last = next(self.freeze_orders.find(scope, subject, reverse=True), None)
        if last is not None and last.proposal == 0:
            again_from = last.began_at + FREEZE_AGAIN_MS
            require(self.now >= again_from, FrozenRecently, again_from=again_from)
        asked = self.freeze_requests.get(scope, subject)
        alone = seat.member_class == REGULATOR or self.governance.member_count() == 1
        first = None
        if asked is not None and self.now < asked.requested_at + FREEZE_REQUEST_MS:
            first = self.governance.member(asked.organisation)
        if not alone and asked is not None and first is not None:
            own = first.organisation == seat.organisation
            require(not own, RequestedAlready, requested_at=asked.requested_at)
            differ = first.member_class != seat.member_class and first.affiliation != seat.affiliation
            require(differ, AnotherClassNeeded, organisation=first.organisation)

        if asked is not None:
            self.freeze_requests.delete(asked)
        if not alone and first is None:
            self.freeze_requests.insert(
                FreezeRequest(
                    scope=scope,
                    subject=subject,
                    organisation=seat.organisation,
                    reason=reason,
                    requested_at=self.now,
                )
            )
            self.emit(FreezeRequested(scope=scope, subject=subject, organisation=seat.organisation))
            return 0
        by = (seat.organisation,) if first is None else (first.organisation, seat.organisation)
        return self._order(scope, subject, reason, by, self.now + FREEZE_MS, 0)

    @command(role="voter")
    def end_freeze(self, order: Positive) -> None:
        """Lift a freeze that the signer's organisation ordered, before its time."""
        seat = self._seat()
        row = self._holding(order)
        own = row.proposal == 0 and seat.organisation in row.ordered_by
        require(own, NotTheOrderer, order=order)
        self._lift(row)

    @command(role="voter")
    def report_freeze(self, order: Positive, report: Digest) -> None:
        """State the SHA-256 of what those who ordered a freeze found out, for the other members to read."""
        seat = self._seat()
        row = self._order_of(order)
        require(seat.organisation in row.ordered_by, NotTheOrderer, order=order)

        self.freeze_orders.update(row, report=report)

        self.emit(FreezeReported(order=order, report=report))

    # reading

    @query
    def tally(self, proposal: Positive) -> Tally:
        """How a proposal stands, counted by its rule and as of now."""
        return self._tally(self._proposal(proposal))

    @query
    def pending(self, organisation: Code) -> tuple[Positive, ...]:
        """The open proposals that an organisation may vote on and has not."""
        return tuple(
            row.id
            for row in self.proposals.find(ProposalStatus.OPEN)
            if self.electors.exists(row.id, organisation)
            and not self.votes.exists(row.id, organisation)
            and self.now < row.closes_at
        )

    # guards

    def _direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _seat(self) -> Member:
        self._direct()
        seat = self.governance.member(self.sender.organisation)
        if seat is None:
            raise NotAMember(organisation=self.sender.organisation)
        return seat

    def _proposal(self, proposal: int) -> Proposal:
        row = self.proposals.get(proposal)
        if row is None:
            raise UnknownProposal(proposal=proposal)
        return row

    def _open(self, proposal: int) -> Proposal:
        row = self._proposal(proposal)
        require(row.status is ProposalStatus.OPEN, AlreadyDecided, status=row.status)
        return row

    def _elector(self, row: Proposal) -> Elector:
        organisation = self.sender.organisation
        elector = self.electors.get(row.id, organisation)
        if elector is None or self.governance.member(organisation) is None:
            raise NotAnElector(organisation=organisation)
        return elector

    def _require_actions(self, actions: tuple[Action, ...]) -> bool:
        """Whether the actions, as many as there may be, schedule a release."""
        require(1 <= len(actions) <= ACTIONS_MAX, WrongNumberOfActions, most=ACTIONS_MAX)
        releases = len([one for one in actions if one.kind is ActionKind.SCHEDULE_RELEASE])
        require(releases <= 1, OneReleaseAtATime)
        return releases == 1

    def _require_same_rehearsals(self, proposal: int) -> None:
        first: Rehearsal | None = None
        for one in self.rehearsals.find(proposal):
            if first is None:
                first = one
            same = (one.state_root, one.outcome) == (first.state_root, first.outcome)
            require(same, RehearsalsDiffer, organisation=first.organisation, other=one.organisation)

    def _require_subject(self, scope: FreezeScope, subject: str) -> None:
        there = True
        if scope is FreezeScope.MEMBER:
            there = self.parties.status_of(subject) is not None
        if scope is FreezeScope.PARTY:
            there = self.parties.organisation_of(subject) is not None
        require(there, NothingToFreeze, subject=subject)

    def _require_others(self, organisation: str) -> None:
        """Some other member can act."""
        others = any(
            self._is_active(one.organisation)
            for one in self._members()
            if one.organisation != organisation
        )
        require(others, LastActiveMember, organisation=organisation)

    def _is_active(self, organisation: str) -> bool:
        return self.parties.status_of(organisation) is Status.ACTIVE

    def _members(self) -> tuple[Member, ...]:
        return self.governance.every_member()

    def _electorate(self, rule: Rule) -> list[Member]:
        return [
            one
            for one in self._members()
            if (len(rule.classes) == 0 or one.member_class in rule.classes)
            and self._is_active(one.organisation)
        ]

    def _order_of(self, order: int) -> FreezeOrder:
        row = self.freeze_orders.get(order)
        if row is None:
            raise UnknownFreezeOrder(order=max(0, order))
        return row

    def _holding(self, order: int) -> FreezeOrder:
        row = self._order_of(order)
        held = self.governance.freeze_of(row.scope, row.subject)
        require(held is not None and held.order == row.id, FreezeOver, order=row.id)
        return row

    # counting

    def _tally(self, row: Proposal) -> Tally:
        rule = row.rule[0]
        electors = list(self.electors.find(row.id))
        choices = self._choices(row, electors)
        groups: dict[str, list[Choice]] = {}
        for one in electors:
            choice = choices.get(one.organisation)
            group = groups.setdefault(one.affiliation, [])
            if choice is not None and choice not in group:
                group.append(choice)
        agreed = {name: group[0] for name, group in groups.items() if len(group) == 1}
        yes = len([one for one in agreed.values() if one is Choice.YES])
        no = len([one for one in agreed.values() if one is Choice.NO])
        abstained = len(agreed) - yes - no
        silent = len([one for one in groups.values() if len(one) == 0])
        electorate = len(groups)
        against = []
        for member_class in in_order([one.member_class for one in electors]):
            inside = in_order([one.affiliation for one in electors if one.member_class == member_class])
            said = [agreed.get(one) for one in inside]
            for_it = len([one for one in said if one is Choice.YES])
            if len([one for one in said if one is Choice.NO]) > for_it:
                against.append(member_class)
        consenting = all(choices.get(one) is Choice.YES for one in row.required)
        quorum = (electorate - silent) * rule.quorum_denominator >= rule.quorum_numerator * electorate
        numerator, denominator = rule.threshold_numerator, rule.threshold_denominator
        if row.expedited:
            numerator, denominator = rule.expedited_numerator, rule.expedited_denominator
        rest = electorate - abstained
        enough = yes * denominator >= numerator * rest and 2 * yes > rest
        welcome = len(against) == 0 or not rule.no_class_against
        return Tally(
            electorate=electorate,
            yes=yes,
            no=no,
            abstained=abstained,
            divided=electorate - yes - no - abstained - silent,
            silent=silent,
            classes_against=tuple(against),
            consenting=consenting,
            quorum=quorum,
            passes=quorum and enough and welcome and consenting,
        )

    def _choices(self, row: Proposal, electors: list[Elector]) -> dict[str, Choice]:
        """What each elector that is not silent has voted, itself or through the member that it delegated to."""
        cast = {one.organisation: one.choice for one in self.votes.find(row.id)}
        delegable = row.decision is Decision.OPERATIONAL or row.decision is Decision.MEMBERSHIP
        choices: dict[str, Choice] = {}
        for one in electors:
            choice = cast.get(one.organisation)
            delegation = self.delegations.get(one.organisation) if choice is None and delegable else None
            if delegation is not None and self._is_active(delegation.to):
                choice = cast.get(delegation.to)
            if choice is not None and (choice is Choice.NO or self._is_active(one.organisation)):
                choices[one.organisation] = choice
        return choices

    def _close(self, row: Proposal) -> Proposal:
        """Decide an open proposal whose time is over, or make an expedited one a normal one."""
        require(self.now >= row.closes_at, VotingOpen, closes_at=row.closes_at)
        rule, tally = row.rule[0], self._tally(row)
        if row.expedited and not tally.passes:
            closes_at = row.opened_at + max(rule.voting_ms, rule.expedited_ms)
            row = self.proposals.update(row, expedited=False, closes_at=closes_at)
            self.emit(ProposalExtended(proposal=row.id, closes_at=closes_at))
            if self.now < closes_at:
                return row
            tally = self._tally(row)
        status = ProposalStatus.REJECTED if tally.quorum else ProposalStatus.LAPSED
        if tally.passes:
            executable_from = row.closes_at + (0 if row.expedited else rule.delay_ms)
            lapses_at = executable_from + rule.window_ms
            row = self.proposals.update(row, executable_from=executable_from, lapses_at=lapses_at)
            status = ProposalStatus.PASSED if self.now < lapses_at else ProposalStatus.LAPSED
        row = self._set_status(row, status)
        self.emit(
            ProposalDecided(
                proposal=row.id,
                status=status,
                electorate=tally.electorate,
                yes=tally.yes,
                no=tally.no,
                abstained=tally.abstained,
            )
        )
        return row

    # effects

    def _set_status(self, row: Proposal, status: ProposalStatus) -> Proposal:
        assert status in STEPS[row.status], (row.status.value, status.value)
        return self.proposals.update(row, status=status)

    def _perform(self, action: Action, proposal: int) -> None:
        kind, organisation, name = action.kind, action.organisation or "", action.name or ""
        if kind is ActionKind.ADMIT_MEMBER:
            require(self._is_active(organisation), OrganisationNotActive, organisation=organisation)
            self.governance.enact((action,))
            self.parties.decide_role(organisation, VOTER, True)
        elif kind is ActionKind.SUSPEND_MEMBER:
            self._require_member(organisation)
            self._require_others(organisation)
            self.parties.decide_status(organisation, Status.SUSPENDED)
        elif kind is ActionKind.REINSTATE_MEMBER:
            self._require_member(organisation)
            self.parties.decide_status(organisation, Status.ACTIVE)
        elif kind is ActionKind.REMOVE_MEMBER:
            self._require_others(organisation)
            self.governance.enact((action,))
            self.parties.decide_status(organisation, Status.CLOSED)
            for one in [*self.delegations.find(organisation)]:
                self.delegations.delete(one)
            own = self.delegations.get(organisation)
            if own is not None:
                self.delegations.delete(own)
        elif kind is ActionKind.GRANT_ROLE or kind is ActionKind.WITHDRAW_ROLE:
            self.parties.decide_role(organisation, name, kind is ActionKind.GRANT_ROLE)
        elif kind is ActionKind.FREEZE:
            scope = action.scope or FreezeScope.CONTRACT
            self._require_subject(scope, name)
            self._order(scope, name, "", (), None, proposal)
        elif kind is ActionKind.RATIFY_FREEZE:
            row = self._holding(action.value or 0)
            row = self.freeze_orders.update(row, until=None, proposal=proposal)
            self.governance.impose_freeze(row.scope, row.subject, row.id, None)
            self.emit(FreezeOrdered(order=row.id, scope=row.scope, subject=row.subject, until=None))
        elif kind is ActionKind.LIFT_FREEZE:
            self._lift(self._holding(action.value or 0))
        else:
            self.governance.enact((action,))

    def _require_member(self, organisation: str) -> None:
        if self.governance.member(organisation) is None:
            raise NotAMember(organisation=organisation)

    def _order(
        self,
        scope: FreezeScope,
        subject: str,
        reason: str,
        ordered_by: tuple[str, ...],
        until: int | None,
        proposal: int,
    ) -> int:
        number = self.sequence("freeze_orders")
        self.freeze_orders.insert(
            FreezeOrder(
                id=number,
                scope=scope,
                subject=subject,
                reason=reason,
                ordered_by=ordered_by,
                began_at=self.now,
                until=until,
                proposal=proposal,
                lifted_at=None,
                report=None,
            )
        )
        self.governance.impose_freeze(scope, subject, number, until)
        self.emit(FreezeOrdered(order=number, scope=scope, subject=subject, until=until))
        return number

    def _lift(self, row: FreezeOrder) -> None:
        self.freeze_orders.update(row, lifted_at=self.now)
        self.governance.lift_freeze(row.scope, row.subject)

    # laws

    @invariant
    def proposals_have_their_electorate(self) -> None:
        """Each proposal has the rule of its decision and, unless one member acted alone, as many groups of electors
        as it says; every vote and rehearsal is an elector's.
        """
        for row in self.proposals.find(index=()):
            assert len(row.rule) == 1, row.id
            assert row.rule[0].decision == row.decision, row.id
            groups = in_order([one.affiliation for one in self.electors.find(row.id)])
            assert len(groups) == row.electorate or len(groups) == 0, row.id
        for vote in self.votes.find():
            assert self.electors.exists(vote.proposal, vote.organisation), vote.proposal
        for one in self.rehearsals.find():
            assert self.electors.exists(one.proposal, one.organisation), one.proposal


def in_order(names: list[str]) -> list[str]:
    """The names, each once, in the order in which they come first."""
    return list(dict.fromkeys(names))
