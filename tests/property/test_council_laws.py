"""The laws of deciding under random proposals, votes, delegations and times, with an auditor that counts by itself.

The auditor keeps a book of who may vote, who voted what and when, and counts in fractions; the contract counts in
whole numbers. Besides, whatever was decided, the network keeps validators that can sign, and what one block changes
never lets a light client lose its way.
"""

from fractions import Fraction
from itertools import combinations
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governed import action, proven
from guildbook.contract import Rejected
from guildbook.contract.contract import Context, InnerCallRefused, Sender
from guildbook.foundation.council import Choice, Council
from guildbook.foundation.governance import Governance
from guildbook.foundation.parties import Parties
from guildbook.runtime.identity import PartyKind, Status
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay
from guildbook.testing.ledger import test_key as key_of

HOUR = 3_600_000
MEMBERS = {"mill": "maker", "farm": "maker", "shop": "seller", "port": "carrier", "bank": "seller"}
NAMES = tuple(MEMBERS)
WEIGHTS = {"operational": (Fraction(1, 2), Fraction(2, 3)), "membership": (Fraction(2, 3), Fraction(3, 4)),
           "charter": (Fraction(3, 4), Fraction(3, 4))}  # fmt: skip
DAYS = {"operational": (7, 1), "membership": (14, 3), "charter": (14, 3)}

who = st.sampled_from(NAMES)
ballots = st.lists(st.sampled_from(("yes", "yes", "no", "abstain", "")), min_size=5, max_size=5)
numbers = st.integers(0, 30)


class Ballot:
    """What the auditor knows of one proposal."""

    def __init__(self, decision: str, electors: dict[str, tuple[str, str]], now: int, expedited: bool) -> None:
        self.decision, self.electors, self.opened, self.expedited = decision, electors, now, expedited
        self.votes: dict[str, str] = {}
        self.status = "open"
        self.closes = now + (24 * HOUR if expedited else DAYS[decision][0] * 24 * HOUR)
        self.executable: Any = None
        self.value = 0


class CouncilMachine(RuleBasedStateMachine):
    """Five members, two of which may become affiliated; each runs a validator."""

    @initialize()
    def found(self) -> None:
        self.overlay = Overlay(MemoryStore())
        self.context = Context("test-net", 1, 1_000 * HOUR)
        self.context.permissions = lambda _permission: True
        self.governance = Governance(self.overlay, self.context)
        self.parties = Parties(self.overlay, self.context)
        self.council = Council(self.overlay, self.context)
        self.parties.bind_use("governance", self.governance)
        self.council.bind_use("governance", self.governance)
        self.council.bind_use("parties", self.parties)
        admin = ("parties:admin",)
        self.parties.found([
            (one, one, "XX", admin, ((f"{one}-1", PartyKind.PERSON, one, admin, key_of(one).public_key),))
            for one in NAMES
        ])  # fmt: skip
        validators = [(key_of(f"validator {one}").public_key, 10, one) for one in NAMES]
        seats = [(one, MEMBERS[one], one) for one in NAMES]
        self.governance.found(seats, [], [], validators, "cometbft")
        self.groups = {one: one for one in NAMES}
        self.suspended: set[str] = set()
        self.delegates: dict[str, str] = {}
        self.ballots: dict[int, Ballot] = {}
        self.actions: dict[int, Any] = {}
        self.parameter = 1024
        self.before_block = self.powers()

    # acting

    def call(self, organisation: str, name: str, *arguments: Any, **named: Any) -> tuple[str, Any]:
        """One transaction; its code ("" when it was applied) and its result."""
        self.context.sender = Sender(f"{organisation}-1", organisation, b"")
        self.context.events, self.context.events_max = [], 1_000
        mark = self.overlay.begin(1 << 62)
        try:
            return "", getattr(self.council, name)(*arguments, **named)
        except Rejected as refused:
            self.overlay.rollback(mark)
            return refused.code, None
        except InnerCallRefused as refused:
            self.overlay.rollback(mark)
            return refused.code, None

    def powers(self) -> dict[bytes, int]:
        return {row.public_key: row.power for row in self.governance.validators.find(index=())}

    def propose(self, by: str, decision: str, expedited: bool, what: Any) -> None:
        if by in self.suspended:
            return
        code, number = self.call(by, "propose", "t", "r", (what,), expedited=expedited)
        if decision == "charter" and expedited:
            assert code == "council.not_expedited"
            return
        if code == "council.too_many_proposals":
            return
        assert code == "", code
        electors = {one: (self.groups[one], MEMBERS[one]) for one in NAMES if one not in self.suspended}
        self.ballots[number] = Ballot(decision, electors, self.context.now, expedited)
        self.actions[number] = what

    def chosen(self, number: int) -> int | None:
        return sorted(self.ballots)[number % len(self.ballots)] if self.ballots else None

    # rules

    @rule(by=who, expedited=st.booleans(), value=st.integers(16, 999))
    def propose_parameter(self, by, expedited, value):
        self.propose(by, "operational", expedited, action("set_parameter", name="events_max", value=value))

    @rule(by=who, expedited=st.booleans(), subject=who, kind=st.sampled_from(("suspend", "reinstate")))
    def propose_status(self, by, expedited, subject, kind):
        self.propose(by, "membership", expedited, action(f"{kind}_member", organisation=subject))

    @rule(by=who, subject=who, group=who)
    def propose_affiliation(self, by, subject, group):
        what = action("change_member", organisation=subject, member_class=MEMBERS[subject], affiliation=group)
        self.propose(by, "membership", False, what)

    @rule(by=who, digest=st.integers(0, 3), expedited=st.booleans())
    def propose_charter(self, by, digest, expedited):
        self.propose(by, "charter", expedited, action("set_charter", digest=bytes((digest,)) * 32))

    @rule(by=who, subject=who, power=st.integers(1, 40), kind=st.integers(0, 3), fresh=st.integers(0, 3))
    def propose_validator(self, by, subject, power, kind, fresh):
        keys = sorted(self.powers())
        old, new = keys[power % len(keys)], proven(subject, f"fresh {subject} {fresh}")
        what = (
            action("add_validator", organisation=subject, value=power, **new),
            action("set_power", public_key=old, value=power),
            action("remove_validator", public_key=old),
            action("replace_validator", public_key=old, new_key=new["public_key"], proof=new["proof"]),
        )[kind]
        self.propose(by, "membership", True, what)

    @rule(by=who, number=numbers, choice=st.sampled_from(("yes", "yes", "yes", "no", "abstain")))
    def vote(self, by, number, choice):
        number = self.chosen(number)
        if number is None or by in self.suspended:
            return
        ballot = self.ballots[number]
        code, _result = self.call(by, "vote", number, Choice(choice), "r")
        expected = (
            "council.already_decided" if ballot.status != "open"
            else "council.not_an_elector" if by not in ballot.electors
            else "council.voting_over" if self.context.now >= ballot.closes
            else ""
        )  # fmt: skip
        assert code == expected
        if not code:
            ballot.votes[by] = choice

    @rule(number=numbers, choices=ballots)
    def everybody_votes(self, number, choices):
        for by, choice in zip(NAMES, choices, strict=True):
            if choice:
                self.vote(by, number, choice)

    @rule(by=who, to=st.none() | who)
    def delegate(self, by, to):
        if by in self.suspended:
            return
        code, _result = self.call(by, "delegate", to)
        held = [one for one, other in self.delegates.items() if other == to and one != by]
        fits = to is None or (
            to != by and to not in self.delegates and by not in self.delegates.values() and len(held) < 2
        )
        assert code == ("" if fits else "council.delegation_refused")
        if fits:
            self.delegates.pop(by, None)
            if to is not None:
                self.delegates[by] = to

    @rule(hours=st.sampled_from((1, 23, 24, 72, 168, 336, 800)))
    def time_passes(self, hours):
        self.context.now += hours * HOUR

    @rule()
    def a_block_ends(self):
        self.context.height += 1
        self.before_block = self.powers()

    @rule(number=numbers)
    def close(self, number):
        number = self.chosen(number)
        if number is None:
            return
        ballot = self.ballots[number]
        code, status = self.call("mill", "close", number)
        if ballot.status == "passed" and self.context.now >= ballot.executable[1]:
            ballot.status = "lapsed"
            assert (code, status) == ("", "lapsed")
        elif ballot.status != "open":
            assert code == "council.already_decided"
        elif self.context.now < ballot.closes:
            assert code == "council.voting_open"
        else:
            self.count(ballot)
            assert (code, status) == ("", ballot.status)

    @rule(number=numbers)
    def execute(self, number):
        number = self.chosen(number)
        if number is None:
            return
        ballot = self.ballots[number]
        code, _result = self.call("farm", "execute", number)
        copy = Ballot(ballot.decision, ballot.electors, ballot.opened, ballot.expedited)
        copy.__dict__.update(ballot.__dict__)
        if copy.status == "open" and self.context.now >= copy.closes:
            self.count(copy)
        if copy.status != "passed":
            assert code == "council.not_passed"
        elif self.context.now < copy.executable[0]:
            assert code == "council.too_early"
        elif self.context.now >= copy.executable[1]:
            assert code == "council.too_late"
        elif not code:
            ballot.__dict__.update(copy.__dict__)
            ballot.status = "executed"
            self.note(self.actions[number])
        else:
            assert code.partition(".")[0] in ("governance", "parties") or code == "council.last_active_member", code

    def run_through(self, choices: list[str]) -> None:
        """Vote on the newest proposal, close it, and try to execute it, so that decisions are not rare."""
        newest = max(self.ballots)
        place = sorted(self.ballots).index(newest)
        ballot = self.ballots[newest]
        if self.context.now < ballot.closes:
            for by, choice in zip(NAMES, choices, strict=True):
                if choice:
                    self.vote(by, place, choice)
            self.context.now = ballot.closes
        self.close(place)
        if ballot.executable is not None:
            self.context.now = max(self.context.now, ballot.executable[0])
        self.execute(place)

    @precondition(lambda self: self.ballots)
    @rule(choices=ballots)
    def a_decision_falls(self, choices):
        self.run_through(choices)

    @rule(by=who, steps=st.lists(st.tuples(who, st.integers(1, 40), st.integers(0, 3), st.integers(0, 3)), max_size=4))
    def validators_change_in_one_block(self, by, steps):
        for subject, power, kind, fresh in steps:
            if by not in self.suspended:
                self.propose_validator(by, subject, power, kind, fresh)
                self.run_through(["yes"] * 5)

    def note(self, done: Any) -> None:
        kind = done.kind.value
        if kind == "set_parameter":
            self.parameter = done.value
        elif kind == "suspend_member":
            self.suspended.add(done.organisation)
        elif kind == "reinstate_member":
            self.suspended.discard(done.organisation)
        elif kind == "change_member":
            self.groups[done.organisation] = done.affiliation

    # the auditor

    def count(self, ballot: Ballot) -> None:
        """Decide a ballot whose time is over, in fractions."""
        passes, quorum = self.outcome(ballot)
        if ballot.expedited and not passes:
            ballot.expedited = False
            ballot.closes = ballot.opened + DAYS[ballot.decision][0] * 24 * HOUR
            if self.context.now < ballot.closes:
                return
            passes, quorum = self.outcome(ballot)
        ballot.status = "rejected" if quorum else "lapsed"
        if passes:
            start = ballot.closes + (0 if ballot.expedited else DAYS[ballot.decision][1] * 24 * HOUR)
            ballot.executable = (start, start + 30 * 24 * HOUR)
            ballot.status = "passed" if self.context.now < ballot.executable[1] else "lapsed"

    def outcome(self, ballot: Ballot) -> tuple[bool, bool]:
        normal, fast = WEIGHTS[ballot.decision]
        heard: dict[str, set[str]] = {group: set() for group, _class in ballot.electors.values()}
        for one, (group, _class) in ballot.electors.items():
            said = ballot.votes.get(one)
            delegate = self.delegates.get(one)
            if said is None and ballot.decision != "charter" and delegate not in self.suspended:
                said = ballot.votes.get(delegate or "")
            if said is not None and (said == "no" or one not in self.suspended):
                heard[group].add(said)
        total = len(heard)
        yes, abstained = (sum(said == {what} for said in heard.values()) for what in ("yes", "abstain"))
        quorum = Fraction(sum(bool(said) for said in heard.values()), total) >= normal
        rest = total - abstained
        share = Fraction(yes, rest) if rest else Fraction(0)
        enough = share > Fraction(1, 2) and share >= (fast if ballot.expedited else normal)
        against = False
        for member_class in set(MEMBERS.values()):
            inside = {group for group, own in ballot.electors.values() if own == member_class}
            against |= sum(heard[one] == {"no"} for one in inside) > sum(heard[one] == {"yes"} for one in inside)
        return quorum and enough and not (against and ballot.decision == "charter"), quorum

    # laws

    @invariant()
    def statuses_are_the_auditors(self):
        for number, ballot in self.ballots.items():
            row = self.council.proposals.get(number)
            assert row is not None
            assert (row.status.value, row.expedited, row.closes_at) == (ballot.status, ballot.expedited, ballot.closes)

    @invariant()
    def what_was_executed_and_nothing_else_is_in_force(self):
        assert self.governance.parameter("events_max") == self.parameter
        for one in NAMES:
            suspended = self.parties.status_of(one) is Status.SUSPENDED
            assert suspended == (one in self.suspended)
        assert len(self.suspended) < len(NAMES)

    @invariant()
    def somebody_signs_and_light_clients_follow(self):
        """Whoever has more than two thirds of the power after a block had more than a third of the power before."""
        now, before = self.powers(), self.before_block
        assert sum(now.values()) > 0
        if now == before or len(now) > 8:
            return
        for count in range(1, len(now) + 1):
            for signers in combinations(now, count):
                if 3 * sum(now[one] for one in signers) > 2 * sum(now.values()):
                    assert 3 * sum(before.get(one, 0) for one in signers) > sum(before.values())

    @invariant()
    def the_contracts_own_laws_hold(self):
        for contract in (self.governance, self.parties, self.council):
            for law in type(contract).invariants:
                getattr(contract, law)()


TestCouncil = CouncilMachine.TestCase
TestCouncil.settings = settings(settings(), stateful_step_count=40)
