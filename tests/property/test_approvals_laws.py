"""The laws of approvals, against a model that keeps a list of what happened and knows no states or counts.

For each proposal the model has what it was opened with and a list of acts. Whether it is open, in which stage it is,
who may act and what the result is, all follows from the list each time anew. From that alone it says of every call
whether it must succeed, and with which refusal, in the documented order, it must not.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guildbook.contract import Rejected, digest_of
from guildbook.contract.contract import Context, Sender
from guildbook.foundation.approvals import Approvals, Distinct, Executor, Named, ProposalState, Seat, Stage
from guildbook.foundation.parties import Parties
from guildbook.runtime.identity import PartyKind
from guildbook.state.kv import MemoryStore
from guildbook.state.overlay import Overlay

START_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
PERMISSIONS = {
    "town/ann": ("d:a", "d:b"), "town/bea": ("d:a",), "town/cas": ("d:b", "d:s"), "town/dan": ("d:s", "d:t"),
    "county/eva": ("d:a", "d:b", "d:t"), "county/fay": ("d:b", "d:r"), "county/gus": (), "town/hal": ("d:r",),
}  # fmt: skip
HOME = {name.partition("/")[2]: name.partition("/")[0] for name in PERMISSIONS}
HELD = {name.partition("/")[2]: held for name, held in PERMISSIONS.items()}
PEOPLE = sorted(HOME)
PAYLOADS = (digest_of("d", 1), digest_of("d", 2))
POLICIES: dict[str, dict] = {
    "plain": {
        "stages": [
            ("one", "d:a", 1, "anywhere", "persons", 0, None),
            ("two", "d:b", 2, "anywhere", "persons", 0, None),
        ],
        "executor": "not_proposer",
    },
    "apart": {
        "stages": [
            ("one", "d:a", 1, "others", "persons", 0, None),
            ("two", "d:b", 2, "anywhere", "in_stage", 0, None),
        ],
        "executor": "new_person",
        "override": True,
    },
    "banded": {
        "stages": [
            ("low", "d:a", 1, "anywhere", "persons", 0, 100),
            ("mid", "d:b", 1, "named", "persons", 50, None),
            ("high", "d:s", 1, "anywhere", "in_proposal", 100, None),
        ],
        "executor": "anybody",
        "currency": "EUR",
        "override": True,
    },
}
REVIEW_MS = 20 * HOUR_MS


@dataclass
class Story:
    """One proposal: what it was opened with, and all that happened: (what, person, hand, stage)."""

    policy: str
    payload: bytes
    version: int
    amount: int | None
    proposer: str
    ends: int
    named: tuple[str, ...]
    barred: tuple[str, ...]
    acts: list[tuple[str, str, str, str]] = field(default_factory=list)
    end: str = ""
    review_due: int = 0
    reviewed: bool = False

    @property
    def stages(self):
        """The stages that apply."""
        return [
            one
            for one in POLICIES[self.policy]["stages"]
            if self.amount is None or (one[5] <= self.amount and (one[6] is None or self.amount < one[6]))
        ]

    def approvals(self, stage: str) -> list[str]:
        return [person for what, person, _hand, where in self.acts if what == "approval" and where == stage]

    def stage(self):
        """The stage it waits in, None when it waits in none."""
        if self.end or self.overridden:
            return None
        return next((one for one in self.stages if len(self.approvals(one[0])) < one[2]), None)

    @property
    def overridden(self) -> bool:
        return len(self.did("override")) == 2

    def did(self, what: str) -> list[str]:
        return [person for kind, person, _hand, _stage in self.acts if kind == what]

    @property
    def state(self) -> str:
        return self.end or ("ready" if self.stage() is None else "open")

    def part(self, person: str) -> str:
        """Why the person may take no part, or an empty text."""
        if person == self.proposer:
            return "proposer_never_approves"
        taken = person in self.barred or any(person in (one, hand) for _what, one, hand, _stage in self.acts)
        return "has_part" if taken else ""


def stage_of(name, permission, approvals, seat, distinct, low, high) -> Stage:
    return Stage(
        name=name,
        permission=permission,
        approvals=approvals,
        seat=Seat(seat),
        distinct=Distinct(distinct),
        from_minor=low,
        below_minor=high,
    )


def first(*checks: tuple[bool, str]) -> str:
    """The first refusal whose condition holds."""
    return next((code for holds, code in checks if holds), "")


people = st.sampled_from(PEOPLE)
stage_names = st.sampled_from(("one", "two", "low", "mid", "high"))
payloads = st.sampled_from((0, 0, 0, 0, 0, 0, 1))
versions = st.sampled_from((3, 3, 3, 3, 3, 3, 4))


class ApprovalsMachine(RuleBasedStateMachine):
    """The contract beside the model."""

    @initialize()
    def found(self) -> None:
        self.overlay = Overlay(MemoryStore())
        self.context = Context("test-net", 1, START_MS)
        self.context.events_max = 1 << 30
        self.context.permissions = lambda _permission: True
        parties = Parties(self.overlay, self.context)
        self.approvals = Approvals(self.overlay, self.context)
        self.approvals.bind_use("parties", parties)
        self.stories: dict[int, Story] = {}
        self.references: dict[str, tuple] = {}
        self.delegations: dict[int, tuple] = {}
        self.overlay.begin(1 << 62)
        for organisation in ("town", "county"):
            parties._insert_organisation(organisation, organisation, "XX", ("d:a", "d:b", "d:s", "d:t", "d:r"))
        for name, held in PERMISSIONS.items():
            organisation, _slash, person = name.partition("/")
            parties._insert_party(person, organisation, PartyKind.PERSON, person, held)
        self.context.caller, self.context.sender = "desk", Sender("gus", "county", b"")
        for name, terms in POLICIES.items():
            self.approvals.publish_policy(
                name,
                tuple(stage_of(*one) for one in terms["stages"]),
                100 * HOUR_MS,
                terms.get("currency"),
                True,
                Executor(terms["executor"]),
                ("d:s", "d:t") if terms.get("override") else (),
                "d:r" if terms.get("override") else None,
                REVIEW_MS if terms.get("override") else 0,
            )  # fmt: skip
        self.events: list = []
        self.context.now += 1
        opening = (("plain", None), ("apart", None), ("banded", 60), ("banded", 500))
        for number, (policy, amount) in enumerate(opening, 20):
            self.open_one(number, policy, "gus" if number % 2 else "hal", 0, amount, None, ("county",), [])

    def attempt(self, person, operation, caller=""):
        """(code of the refusal or an empty text, result) of a call that ``person`` signs."""
        self.context.sender = Sender(person, HOME[person], b"")
        self.context.caller = caller
        self.context.events = []
        mark = self.overlay.begin(1 << 62)
        try:
            result = operation()
        except Rejected as rejection:
            self.overlay.rollback(mark)
            return rejection.code.removeprefix("approvals."), rejection
        self.events.extend(self.context.events)
        return "", result

    @property
    def now(self) -> int:
        return self.context.now

    # what the model says

    def not_about(self, story, payload, version):
        return (
            (story.payload != PAYLOADS[payload], "payload_differs"),
            (story.version != version, "state_version_differs"),
        )

    def refusal_of_decision(self, story, person, stage, payload, version, principal):
        current = story.stage()
        early = first(
            (story.state != "open", "wrong_state"),
            (self.now >= story.ends, "time_over"),
            *self.not_about(story, payload, version),
            (current is None or current[0] != stage, "not_the_stage"),
        )
        if early:
            return early
        name, permission, _count, seat, distinct, _low, _high = current
        home = HOME[person]
        lent = principal == person or any(
            (p, t, m) == (principal, person, permission) and start <= self.now < end and contract in (None, "desk")
            for p, t, m, start, end, contract in self.delegations.values()
        )
        approvers = [(HOME[one], where) for what, one, _hand, where in story.acts if what == "approval"]
        return first(
            (story.proposer in (person, principal), "proposer_never_approves"),
            (bool(story.part(person) or story.part(principal)), "has_part"),
            (not lent or HOME[principal] != home, "no_delegation"),
            (permission not in HELD[principal], "permission_missing"),
            (seat == "others" and home == HOME[story.proposer], "organisation_not_seated"),
            (seat == "named" and home not in story.named, "organisation_not_seated"),
            (distinct == "in_stage" and (home, name) in approvers, "organisation_has_acted"),
            (distinct == "in_proposal" and home in [HOME[story.proposer], *[one for one, _ in approvers]],
             "organisation_has_acted"),
        )  # fmt: skip

    def overdue(self, policy: str) -> bool:
        return any(
            one.policy == policy and one.overridden and not one.reviewed and self.now >= one.review_due
            for one in self.stories.values()
        )

    def a_story(self, data) -> tuple[int, Story]:
        number = data.draw(st.sampled_from(sorted(self.stories)))
        return number, self.stories[number]

    def fitting(self, data, story: Story) -> tuple[str, str, int, int, str]:
        """A person, stage, payload, version and principal that often fit."""
        current = story.stage()
        able = [one for one in PEOPLE if current and current[1] in HELD[one]] or PEOPLE
        person = data.draw(st.one_of(st.sampled_from(able), people))
        now = current[0] if current else "one"
        stage = data.draw(st.one_of(st.just(now), st.just(now), stage_names))
        lent = [p for p, t, *_rest in self.delegations.values() if t == person]
        principal = data.draw(st.sampled_from([person, person, person, *lent, *lent, data.draw(people)]))
        return person, stage, data.draw(payloads), data.draw(versions), principal

    # calls

    @rule(
        reference=st.integers(0, 12), policy=st.sampled_from(sorted(POLICIES)), person=people, payload=payloads,
        amount=st.sampled_from((None, 0, 60, 99, 100, 500)), hours=st.sampled_from((None, 5, 100, 101)),
        named=st.sampled_from(((), ("town",), ("county",), ("county", "town"))), barred=st.lists(people, max_size=2),
    )  # fmt: skip
    def open(self, reference, policy, person, payload, amount, hours, named, barred):
        self.open_one(reference, policy, person, payload, amount, hours, named, barred)

    def open_one(self, reference, policy, person, payload, amount, hours, named, barred):
        banded = policy == "banded"
        amount = amount if banded else None
        ends = self.now + (100 if hours is None else hours) * HOUR_MS
        story = Story(policy, PAYLOADS[payload], 3, amount, person, ends, named if banded else (), tuple(barred))
        known = self.references.get(f"r-{reference}")
        given = (policy, payload, amount, hours and ends, story.named, tuple(barred), person)
        seats = [one for one in story.stages if one[3] == "named"]
        expected = first(
            (banded and amount is None, "amount_differs"),
            (ends > self.now + 100 * HOUR_MS, "time_out_of_range"),
            (bool(seats) and not story.named, "nobody_named"),
        )
        if known is not None:
            expected = "" if known[0] == given else "reference_used"
        code, number = self.attempt(
            person,
            lambda: self.approvals.open(
                f"r-{reference}", policy, "pay", "x", PAYLOADS[payload], 3, amount,
                "EUR" if banded and amount is not None else None, None,
                tuple(Named(stage="mid", organisation=one) for one in story.named), tuple(barred),
                None if hours is None else ends,
            ),
            "desk",
        )  # fmt: skip
        assert code == expected
        if known is not None:
            assert code or number == known[1]
        elif not code:
            self.references[f"r-{reference}"] = (given, number)
            self.stories[number] = story

    @precondition(lambda self: self.stories)
    @rule(data=st.data(), kind=st.sampled_from(("approval", "approval", "approval", "approval", "rejection")))
    def decide(self, data, kind):
        number, story = self.a_story(data)
        person, stage, payload, version, principal = self.fitting(data, story)
        again = (kind, principal, person, stage) in story.acts and not any(
            holds for holds, _code in self.not_about(story, payload, version)
        )
        expected = "" if again else self.refusal_of_decision(story, person, stage, payload, version, principal)
        lent = None if principal == person else principal
        if kind == "approval":
            code, result = self.attempt(
                person, lambda: self.approvals.approve(number, stage, PAYLOADS[payload], version, lent)
            )
        else:
            code, result = self.attempt(
                person, lambda: self.approvals.reject(number, stage, PAYLOADS[payload], "no", version, lent)
            )
        assert code == expected, (story, person, stage, principal)
        if not code and not again:
            story.acts.append((kind, principal, person, stage))
            if kind == "rejection":
                story.end = "rejected"
        if not code and kind == "approval":
            assert result == (story.state in ("ready", "taken"))

    def can_move_on(self) -> bool:
        return any(one.stage() is not None and self.now < one.ends for one in self.stories.values())

    @precondition(can_move_on)
    @rule(data=st.data(), often=st.integers(1, 3))
    def move_on(self, data, often):
        """Approve as somebody who may: what random choice alone reaches too seldom."""
        waiting = [n for n, one in self.stories.items() if one.stage() is not None and self.now < one.ends]
        number = data.draw(st.sampled_from(waiting))
        for _ in range(often):
            able = self.able(self.stories[number])
            if not able:
                return
            self.approve_as(number, *data.draw(st.sampled_from(able)))

    def able(self, story):
        """(who may sign, for whom) in the current stage."""
        current, payload = story.stage(), PAYLOADS.index(story.payload)
        pairs = [(person, person) for person in PEOPLE]
        pairs += [(to, principal) for principal, to, *_rest in self.delegations.values()] * 3
        return [
            (person, principal)
            for person, principal in pairs
            if current and not self.refusal_of_decision(story, person, current[0], payload, 3, principal)
        ]

    def approve_as(self, number, person, principal):
        story = self.stories[number]
        stage = story.stage()[0]
        lent = None if principal == person else principal
        code, result = self.attempt(person, lambda: self.approvals.approve(number, stage, story.payload, 3, lent))
        assert code == ""
        story.acts.append(("approval", principal, person, stage))
        assert result == (story.state == "ready")

    @precondition(lambda self: any(one.state == "ready" for one in self.stories.values()))
    @rule(data=st.data(), person=people)
    def use_up(self, data, person):
        """Take a ready proposal with its own payload, by anybody."""
        number = data.draw(st.sampled_from([n for n, one in self.stories.items() if one.state == "ready"]))
        self.try_to_take(number, person, PAYLOADS.index(self.stories[number].payload), 3, "desk")

    @precondition(lambda self: self.stories)
    @rule(data=st.data(), person=people, payload=payloads, version=versions, caller=st.sampled_from(("desk", "other")))
    def take(self, data, person, payload, version, caller):
        ready = [number for number, one in self.stories.items() if one.state == "ready"]
        number = data.draw(st.sampled_from(ready or sorted(self.stories)))
        self.try_to_take(number, person, payload, version, caller)

    def try_to_take(self, number, person, payload, version, caller):
        story = self.stories[number]
        executor = POLICIES[story.policy]["executor"]
        kept_out = person in story.barred or person in story.did("recusal")
        old_hand = executor == "new_person" and story.part(person) != ""
        expected = first(
            (caller != "desk", "not_your_proposal"),
            (story.state != "ready", "wrong_state"),
            (self.now >= story.ends, "time_over"),
            *self.not_about(story, payload, version),
            (executor != "anybody" and person == story.proposer, "proposer_never_approves"),
            (person != story.proposer and (kept_out or old_hand), "has_part"),
        )  # fmt: skip
        code, _result = self.attempt(
            person, lambda: self.approvals.take(number, PAYLOADS[payload], version), caller
        )
        assert code == expected
        if not code:
            story.end = "taken"
            if not story.part(person):
                story.acts.append(("execution", person, person, ""))

    @precondition(lambda self: self.stories)
    @rule(data=st.data(), person=people, how=st.sampled_from(("withdraw", "cancel", "expire", "recuse")))
    def leave(self, data, person, how):
        number, story = self.a_story(data)
        dead, over = story.state not in ("open", "ready"), self.now >= story.ends
        if how == "withdraw":
            person = data.draw(st.sampled_from((person, story.proposer)))
            expected = first(
                (person != story.proposer, "not_the_proposer"), (dead, "wrong_state"), (over, "time_over")
            )
            code, _ = self.attempt(person, lambda: self.approvals.withdraw(number, "error"))
        elif how == "cancel":
            expected = first((dead, "wrong_state"), (over, "time_over"))
            code, _ = self.attempt(person, lambda: self.approvals.cancel(number, "error"), "desk")
        elif how == "expire":
            expected = first((dead, "wrong_state"), (not over, "time_not_over"))
            code, _ = self.attempt(person, lambda: self.approvals.expire(number))
        else:
            expected = first((dead, "wrong_state"), (over, "time_over"), (True, story.part(person)))
            code, _ = self.attempt(person, lambda: self.approvals.recuse(number, "friend"))
        assert code == expected
        if not code:
            if how == "recuse":
                story.acts.append(("recusal", person, person, ""))
            else:
                story.end = {"withdraw": "withdrawn", "cancel": "cancelled", "expire": "expired"}[how]

    @rule(limit=st.integers(1, 3))
    def expire_due(self, limit):
        due = sorted(
            (one.state != "open", one.ends, number)
            for number, one in self.stories.items()
            if one.state in ("open", "ready") and one.ends <= self.now
        )
        code, count = self.attempt("gus", lambda: self.approvals.expire_due(limit))
        assert (code, count) == ("", min(limit, len(due)))
        for _ready, _ends, number in due[:limit]:
            self.stories[number].end = "expired"

    @precondition(lambda self: any(POLICIES[one.policy].get("override") for one in self.stories.values()))
    @rule(data=st.data(), person=people, payload=payloads)
    def override(self, data, person, payload):
        """Ask for an override, or confirm the one that was asked for."""
        number = data.draw(
            st.sampled_from([one for one, story in self.stories.items() if POLICIES[story.policy].get("override")])
        )
        story = self.stories[number]
        person = data.draw(st.sampled_from((person, "cas", "dan", "eva")))
        asked = story.did("override")
        seniors = [one for one in ("d:s", "d:t") if one in HELD[person]]
        early = (
            (story.state != "open", "wrong_state"),
            (self.now >= story.ends, "time_over"),
            *self.not_about(story, payload, 3),
        )
        if data.draw(st.booleans()):
            expected = first(
                *early, (bool(asked), "override_exists"), (self.overdue(story.policy), "override_overdue"),
                (bool(story.part(person)), story.part(person)), (not seniors, "permission_missing"),
            )  # fmt: skip
            code, _ = self.attempt(
                person, lambda: self.approvals.request_override(number, PAYLOADS[payload], "flood", "", 3)
            )
        else:
            earlier = HELD[asked[0]] if asked else ()
            pair = ("d:s" in earlier and "d:t" in seniors) or ("d:t" in earlier and "d:s" in seniors)
            expected = first(
                (not asked, "no_override"), *early, (self.overdue(story.policy), "override_overdue"),
                (bool(story.part(person)), story.part(person)), (not pair, "permission_missing"),
            )  # fmt: skip
            code, _ = self.attempt(
                person, lambda: self.approvals.confirm_override(number, PAYLOADS[payload], 3)
            )
        assert code == expected
        if not code:
            story.acts.append(("override", person, person, "override"))
            story.review_due = self.now + REVIEW_MS

    @precondition(lambda self: any(one.overridden for one in self.stories.values()))
    @rule(data=st.data(), person=st.one_of(st.sampled_from(("fay", "hal")), people))
    def close_override(self, data, person):
        number = data.draw(st.sampled_from([one for one, story in self.stories.items() if story.overridden]))
        story = self.stories[number]
        expected = first(
            (story.reviewed, "no_override"),
            (bool(story.part(person)), story.part(person)),
            ("d:r" not in HELD[person], "permission_missing"),
        )
        code, _ = self.attempt(person, lambda: self.approvals.close_override(number, "fine", ""))
        assert code == expected
        story.reviewed = story.reviewed or not code

    @rule(
        person=people, to=people, permission=st.sampled_from(("d:a", "d:b", "d:s")), start=st.integers(-5, 5),
        hours=st.integers(-1, 30), contract=st.sampled_from((None, "desk", "other")),
    )  # fmt: skip
    def delegate(self, person, to, permission, start, hours, contract):
        begins, ends = self.now + start * HOUR_MS, self.now + hours * HOUR_MS
        expected = first(
            (ends <= self.now or begins >= ends, "time_out_of_range"),
            (permission not in HELD[person], "permission_missing"),
            (HOME[to] != HOME[person] or to == person, "delegate_not_in_organisation"),
        )
        code, number = self.attempt(
            person, lambda: self.approvals.delegate(to, permission, begins, ends, contract)
        )
        assert code == expected
        if not code:
            self.delegations[number] = (person, to, permission, begins, ends, contract)

    @precondition(lambda self: self.delegations)
    @rule(data=st.data(), person=people)
    def end_delegation(self, data, person):
        number = data.draw(st.sampled_from(sorted(self.delegations)))
        principal, to, permission, begins, ends, contract = self.delegations[number]
        expected = first(
            (person not in (principal, to), "not_your_delegation"), (self.now >= ends, "delegation_over")
        )
        code, _ = self.attempt(person, lambda: self.approvals.end_delegation(number))
        assert code == expected
        if not code:
            self.delegations[number] = (principal, to, permission, begins, self.now, contract)

    @rule(hours=st.integers(1, 6))
    def time_passes(self, hours):
        self.context.now += hours * HOUR_MS
        self.context.height += 1

    # laws

    @invariant()
    def the_contract_agrees(self):
        for number, story in self.stories.items():
            row = self.approvals.proposals.get(number)
            current = story.stage()
            assert row is not None
            assert row.state == story.state
            assert row.stage == (current[0] if current else None)
            assert row.approvals == (len(story.approvals(current[0])) if current else 0)
            alive = story.state in ("open", "ready") and self.now >= story.ends
            assert self.approvals.status(number) == ("expired" if alive else story.state)
        for permission in ("d:a", "d:b", "d:s"):
            waiting = [
                number
                for number, story in self.stories.items()
                if (current := story.stage()) and current[1] == permission and self.now < story.ends
            ]
            assert self.approvals.pending(permission) == tuple(waiting)

    @invariant()
    def the_contracts_own_laws_hold(self):
        for law in Approvals.invariants:
            getattr(self.approvals, law)()

    def teardown(self):
        """An auditor who has the events alone finds the same: who decided, how it ended, and that it was approved."""
        if not hasattr(self, "stories"):
            return
        told: dict[int, list] = {number: [] for number in self.stories}
        for _contract, name, event in self.events:
            if name in ("approved", "ended", "became_ready", "override_alarm"):
                told[event.proposal].append((name, event))
        for number, story in self.stories.items():
            approved = [(e.stage, e.party, e.signer) for name, e in told[number] if name == "approved"]
            assert approved == [(s, p, h) for what, p, h, s in story.acts if what == "approval"]
            hands = [hand for _stage, _party, hand in approved]
            persons = {*hands, *[party for _stage, party, _hand in approved]}
            assert story.proposer not in persons
            assert len(hands) == len(set(hands))
            ends = [e.state for name, e in told[number] if name == "ended"]
            assert ends == ([story.end] if story.end else [])
            if story.end == "taken":
                ready = [e.overridden for name, e in told[number] if name == "became_ready"]
                assert len(ready) == 1
                assert ready[0] == any(name == "override_alarm" for name, _e in told[number])
                for name, _permission, count, *_rest in [] if ready[0] else story.stages:
                    assert len([one for one in approved if one[0] == name]) == count


TestApprovals = ApprovalsMachine.TestCase
TestApprovals.settings = settings(settings(), stateful_step_count=40)


def test_the_machine_can_see_a_broken_law():
    """The laws above are not blind: a proposal made ready beside its approvals is found."""
    machine = ApprovalsMachine()
    machine.found()
    row = machine.approvals.proposals.get(1)
    assert row is not None
    machine.approvals.proposals.update(row, state=ProposalState.READY, stage=None, waits_for=None)
    with pytest.raises(AssertionError):
        machine.the_contracts_own_laws_hold()
