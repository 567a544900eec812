"""Approvals: policies, stages, delegation, recusal, overrides; what is stale is refused; every refusal by name."""

import pytest

from desk_contract import Desk
from guildbook.contract import digest_of, sha256
from guildbook.foundation.approvals import (
    APPROVALS_PER_STAGE_MAX,
    EXCLUDED_MAX,
    LIFE_MS_MAX,
    NAMED_MAX,
    STAGES_MAX,
    Distinct,
    Executor,
    Named,
    Seat,
    Stage,
)
from guildbook.testing.ledger import TestLedger, refused
from other_desk_contract import OtherDesk

DAY_MS = 24 * 3600 * 1000
PAYLOAD, OTHER = digest_of("desk.pay", "line-1", 7_000), digest_of("desk.pay", "line-1", 7_001)
REVIEW = Stage(name="review", permission="desk:reviewer", approvals=1)
APPROVE = Stage(name="approve", permission="desk:approver", approvals=2)
BANDED = (
    Stage(name="approve", permission="desk:approver", approvals=1, below_minor=10_000),
    Stage(name="decide", permission="desk:director", approvals=2, from_minor=10_000),
)


@pytest.fixture
def ledger() -> TestLedger:
    """A town with clerks, reviewers, approvers and directors; a county with approvers of its own.

    The contract's policy "payment" takes one review and two approvals.
    """
    ledger = TestLedger(
        Desk,
        OtherDesk,
        actors={
            "town/clerk": ["desk:clerk", "approvals:policymaker"],
            "town/clerk2": ["desk:clerk", "approvals:policymaker"],
            "town/rita": ["desk:reviewer"],
            "town/rolf": ["desk:reviewer", "desk:approver"],
            "town/adam": ["desk:approver"],
            "town/agnes": ["desk:approver"],
            "town/dora": ["desk:director", "desk:senior"],
            "town/dirk": ["desk:director", "desk:second"],
            "town/teller": ["desk:teller"],
            "town/guest": [],
            "county/arno": ["desk:approver"],
            "county/alma": ["desk:approver"],
            "county/audit": ["desk:auditor"],
        },
    )
    ledger.actor("town/clerk").desk.publish("payment", (REVIEW, APPROVE))
    return ledger


def ask(ledger, reference="r-1", by="town/clerk", **more) -> int:
    number: int = ledger.actor(by).desk.ask(reference, PAYLOAD, **more)
    return number


def approve(ledger, by, proposal=1, stage="approve", **more):
    return ledger.actor(by).approvals.approve(proposal, stage, PAYLOAD, **more)


def ready(ledger, **more) -> int:
    """A proposal with all its approvals."""
    number = ask(ledger, **more)
    approve(ledger, "town/rita", number, "review")
    approve(ledger, "town/adam", number)
    assert approve(ledger, "county/arno", number) is True
    return number


def status(ledger, proposal=1):
    return ledger.query("approvals.status", proposal)


def publish(ledger, *stages, **more):
    return ledger.actor("town/clerk").desk.publish("payment", stages, **more)


# the way of a proposal


def test_stages_are_approved_in_their_order_and_the_contract_takes_it_once(ledger):
    assert ask(ledger) == 1
    assert ledger.query("approvals.pending", "desk:reviewer") == (1,)
    assert approve(ledger, "town/rita", stage="review") is False
    assert ledger.query("approvals.pending", "desk:reviewer") == ()
    assert ledger.query("approvals.pending", "desk:approver") == (1,)
    assert approve(ledger, "town/adam") is False
    assert approve(ledger, "county/arno") is True
    assert ledger.query("approvals.is_ready", 1, PAYLOAD)
    assert not ledger.query("approvals.is_ready", 1, OTHER)
    ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)
    assert status(ledger) == "taken"
    with refused("approvals.wrong_state", state="taken"):
        ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)
    assert [line[:4] for line in ledger.query("approvals.history", 1)] == [
        ("proposal", "clerk", "clerk", ""),
        ("approval", "rita", "rita", "review"),
        ("approval", "adam", "adam", "approve"),
        ("approval", "arno", "arno", "approve"),
        ("execution", "teller", "teller", ""),
    ]


def test_the_time_in_each_stage_is_kept(ledger):
    ask(ledger)
    ledger.advance(days=2)
    approve(ledger, "town/rita", stage="review")
    ledger.advance(days=1)
    spent = dict(ledger.query("approvals.stage_times", 1))
    assert spent["review"] // DAY_MS == 2
    ledger.advance(days=90)
    ledger.actor("town/guest").approvals.expire_due()
    assert dict(ledger.query("approvals.stage_times", 1))["approve"] // DAY_MS == 7


def test_what_is_not_ready_is_not_taken(ledger):
    ask(ledger)
    with refused("approvals.wrong_state", state="open"):
        ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)
    with refused("approvals.unknown_proposal", proposal=9):
        ledger.actor("town/teller").desk.carry_out(9, PAYLOAD)


def test_a_proposal_is_about_one_payload_and_one_version_of_the_state(ledger):
    number = ask(ledger, state_version=4)
    with refused("approvals.payload_differs", payload=PAYLOAD):
        ledger.actor("town/rita").approvals.approve(number, "review", OTHER, 4)
    with refused("approvals.state_version_differs", state_version=4):
        approve(ledger, "town/rita", number, "review", state_version=5)
    for person, stage in (("rita", "review"), ("adam", "approve"), ("agnes", "approve")):
        approve(ledger, f"town/{person}", number, stage, state_version=4)
    with refused("approvals.payload_differs"):
        ledger.actor("town/teller").desk.carry_out(number, OTHER, 4)
    with refused("approvals.state_version_differs"):
        ledger.actor("town/teller").desk.carry_out(number, PAYLOAD, 5)
    ledger.actor("town/teller").desk.carry_out(number, PAYLOAD, 4)


def test_only_the_contract_that_opened_a_proposal_uses_it(ledger):
    ready(ledger)
    stranger = ledger.actor("town/agnes").other_desk
    for attempt in (
        lambda: stranger.carry_out(1, PAYLOAD),
        lambda: stranger.cancel(1, "mine"),
        lambda: stranger.approve(1, "approve", PAYLOAD),
        lambda: stranger.recuse(1),
    ):
        with refused("approvals.not_your_proposal", proposal=1):
            attempt()
    for command, arguments in (
        ("open", ("r-2", "payment", "pay", "line-1", PAYLOAD)), ("take", (1, PAYLOAD)), ("cancel", (1, "mine")),
    ):  # fmt: skip
        with refused("call.not_permitted", contract="approvals", command=command):
            ledger.actor("town/clerk").call(f"approvals.{command}", *arguments)


def test_the_same_reference_opens_once(ledger):
    assert ask(ledger) == ask(ledger) == 1
    with refused("approvals.reference_used", reference="r-1", proposal=1):
        ask(ledger, state_version=2)
    with refused("approvals.reference_used"):
        ask(ledger, by="town/clerk2")
    assert ask(ledger, "r-2") == 2
    publish(ledger, REVIEW)
    assert ask(ledger) == 1


def test_an_approval_that_is_sent_again_counts_once(ledger):
    ask(ledger)
    assert approve(ledger, "town/rita", stage="review") is False
    assert approve(ledger, "town/rita", stage="review") is False
    approve(ledger, "town/adam")
    assert approve(ledger, "town/adam") is False
    with refused("approvals.has_part"):
        ledger.actor("town/adam").approvals.approve(1, "approve", PAYLOAD, 0, "agnes")
    assert approve(ledger, "town/agnes") is True
    assert approve(ledger, "town/agnes") is True
    ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)
    assert approve(ledger, "town/agnes") is True
    with refused("approvals.wrong_state", state="taken"):
        ledger.actor("town/agnes").approvals.approve(1, "approve", OTHER)


def test_a_rejection_is_final(ledger):
    ask(ledger)
    ledger.actor("town/rita").approvals.reject(1, "review", PAYLOAD, "no_receipt")
    ledger.actor("town/rita").approvals.reject(1, "review", PAYLOAD, "no_receipt")
    assert status(ledger) == "rejected"
    assert ledger.rows("approvals.proposals", 1)[0].reason == "no_receipt"
    with refused("approvals.wrong_state", state="rejected"):
        approve(ledger, "town/rolf", stage="review")
    with refused("approvals.wrong_state", state="rejected"):
        ledger.actor("town/rita").approvals.reject(1, "review", PAYLOAD, "other")


def test_the_proposer_withdraws_and_nobody_else(ledger):
    ask(ledger)
    with refused("approvals.not_the_proposer", proposer="clerk"):
        ledger.actor("town/clerk2").approvals.withdraw(1, "error")
    ledger.actor("town/clerk").approvals.withdraw(1, "error")
    assert status(ledger) == "withdrawn"
    with refused("approvals.wrong_state", state="withdrawn"):
        ledger.actor("town/clerk").approvals.withdraw(1, "error")
    assert ready(ledger, reference="r-2") == 2
    ledger.actor("town/clerk").approvals.withdraw(2, "error")
    with refused("approvals.wrong_state", state="withdrawn"):
        ledger.actor("town/teller").desk.carry_out(2, PAYLOAD)


def test_the_contract_cancels_what_it_has_no_use_for(ledger):
    ready(ledger)
    ledger.actor("town/guest").desk.cancel(1, "line_closed")
    assert status(ledger) == "cancelled"
    with refused("approvals.wrong_state", state="cancelled"):
        ledger.actor("town/guest").desk.cancel(1, "line_closed")


def test_time_ends_a_proposal_without_anybody(ledger):
    number = ask(ledger, expires_at=ledger.now + DAY_MS)
    ready(ledger, reference="r-2")
    with refused("approvals.time_not_over"):
        ledger.actor("town/guest").approvals.expire(number)
    ledger.advance(days=1)
    ledger.cut([])
    assert status(ledger, number) == "expired"
    assert ledger.query("approvals.pending", "desk:reviewer") == ()
    with refused("approvals.time_over"):
        approve(ledger, "town/rita", number, "review")
    ledger.advance(days=20)
    with refused("approvals.time_over"):
        ledger.actor("town/teller").desk.carry_out(2, PAYLOAD)
    ledger.cut([])
    assert not ledger.query("approvals.is_ready", 2, PAYLOAD)
    assert ledger.actor("town/guest").approvals.expire_due(1) == 1
    assert ledger.actor("town/guest").approvals.expire_due() == 1
    assert ledger.actor("town/guest").approvals.expire_due() == 0
    with refused("approvals.wrong_state", state="expired"):
        ledger.actor("town/guest").approvals.expire(number)


def test_a_proposal_expires_one_at_a_time_too(ledger):
    ask(ledger)
    ledger.advance(days=11)
    ledger.actor("town/guest").approvals.expire(1)
    assert status(ledger) == "expired"


@pytest.mark.parametrize("ahead", [0, 11 * DAY_MS])
def test_a_proposal_ends_within_the_life_that_its_policy_gives(ledger, ahead):
    with refused("approvals.time_out_of_range"):
        ask(ledger, expires_at=ledger.now + ahead)


# one person, one part


def test_the_proposer_never_approves(ledger):
    ask(ledger, by="town/rolf")
    with refused("approvals.proposer_never_approves", proposer="rolf"):
        approve(ledger, "town/rolf", stage="review")


def test_nobody_approves_in_two_stages(ledger):
    ask(ledger)
    approve(ledger, "town/rolf", stage="review")
    with refused("approvals.has_part", party="rolf", kind="approval"):
        approve(ledger, "town/rolf")
    assert ledger.query("approvals.part_of", 1, "rolf") == "approval"
    assert ledger.query("approvals.part_of", 1, "rita") is None


def test_an_approval_is_for_the_current_stage(ledger):
    ask(ledger)
    with refused("approvals.not_the_stage", stage="review"):
        approve(ledger, "town/adam")


def test_an_approver_needs_the_permission_of_the_stage(ledger):
    ask(ledger)
    with refused("approvals.permission_missing", party="adam", permission="desk:reviewer"):
        approve(ledger, "town/adam", stage="review")


def test_who_recused_themselves_takes_no_part(ledger):
    ask(ledger)
    ledger.actor("town/rita").approvals.recuse(1, "cousin_of_payee")
    with refused("approvals.has_part", party="rita", kind="recusal"):
        approve(ledger, "town/rita", stage="review")
    with refused("approvals.has_part", kind="recusal"):
        ledger.actor("town/rita").approvals.recuse(1, "again")
    with refused("approvals.proposer_never_approves"):
        ledger.actor("town/clerk").approvals.recuse(1, "mine")
    with refused("approvals.unknown_proposal"):
        ledger.actor("town/rita").approvals.recuse(2, "none")
    ledger.actor("town/teller").approvals.recuse(1, "friend")
    for person, stage in (("rolf", "review"), ("adam", "approve"), ("agnes", "approve")):
        approve(ledger, f"town/{person}", 1, stage)
    with refused("approvals.has_part", party="teller", kind="recusal"):
        ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)


def test_who_is_excluded_takes_no_part(ledger):
    ask(ledger, excluded=("rita", "rita", "clerk"))
    with refused("approvals.has_part", party="rita", kind="exclusion"):
        approve(ledger, "town/rita", stage="review")
    assert ledger.query("approvals.part_of", 1, "clerk") == "proposal"


def test_a_proposal_excludes_and_names_so_many(ledger):
    with refused("approvals.too_many_named", most=EXCLUDED_MAX):
        ask(ledger, excluded=tuple(f"p-{n}" for n in range(EXCLUDED_MAX + 1)))
    named = tuple(Named(stage="review", organisation=f"o-{n}") for n in range(NAMED_MAX + 1))
    with refused("approvals.too_many_named", most=NAMED_MAX):
        ask(ledger, named=named)


@pytest.mark.parametrize(
    ("executor", "clerk", "approver"),
    [("anybody", True, True), ("not_proposer", False, True), ("new_person", False, False)],
)
def test_who_carries_it_out_is_the_policys_rule(executor, clerk, approver):
    ledger = TestLedger(
        Desk,
        actors={"town/clerk": ["desk:clerk", "desk:teller"], "town/rita": ["desk:reviewer", "desk:teller"],
                "town/teller": ["desk:teller"]},
    )  # fmt: skip
    publish(ledger, REVIEW, executor=Executor(executor))
    for person, may, code in (
        ("clerk", clerk, "approvals.proposer_never_approves"), ("rita", approver, "approvals.has_part"),
        ("teller", True, ""),
    ):  # fmt: skip
        number = ask(ledger, f"r-{person}")
        approve(ledger, "town/rita", number, "review")
        if may:
            ledger.actor(f"town/{person}").desk.carry_out(number, PAYLOAD)
        else:
            with refused(code):
                ledger.actor(f"town/{person}").desk.carry_out(number, PAYLOAD)


# organisations


@pytest.mark.parametrize(
    ("seat", "near", "far"), [("anywhere", True, True), ("proposers", True, False), ("others", False, True),
                              ("named", False, True)]
)  # fmt: skip
def test_a_stage_seats_organisations(ledger, seat, near, far):
    publish(ledger, Stage(name="approve", permission="desk:approver", approvals=2, seat=Seat(seat)))
    named = (Named(stage="approve", organisation="county"),) * 2 if seat == "named" else ()
    ask(ledger, named=named)
    for person, may in (("town/adam", near), ("county/arno", far)):
        if may:
            approve(ledger, person)
        else:
            with refused("approvals.organisation_not_seated", seat=seat):
                approve(ledger, person)


def test_named_stages_are_named_and_no_others(ledger):
    publish(ledger, Stage(name="approve", permission="desk:approver", approvals=1, seat=Seat.NAMED), REVIEW)
    with refused("approvals.nobody_named", stage="approve"):
        ask(ledger)
    with refused("approvals.unknown_stage", stage="review"):
        ask(ledger, named=(Named(stage="review", organisation="town"),))
    with refused("approvals.unknown_stage", stage="away"):
        ask(ledger, named=(Named(stage="away", organisation="town"),))


def test_organisations_count_once_in_a_stage(ledger):
    publish(ledger, Stage(name="approve", permission="desk:approver", approvals=2, distinct=Distinct.IN_STAGE))
    ask(ledger)
    approve(ledger, "town/adam")
    with refused("approvals.organisation_has_acted", organisation="town"):
        approve(ledger, "town/agnes")
    assert approve(ledger, "county/arno") is True


def test_organisations_count_once_in_a_proposal(ledger):
    publish(
        ledger,
        Stage(name="first", permission="desk:approver", approvals=1),
        Stage(name="approve", permission="desk:approver", approvals=1, distinct=Distinct.IN_PROPOSAL),
    )
    ask(ledger)
    approve(ledger, "county/alma", stage="first")
    with refused("approvals.organisation_has_acted", organisation="county"):
        approve(ledger, "county/arno")
    with refused("approvals.organisation_has_acted", organisation="town"):
        approve(ledger, "town/adam")


# amounts


@pytest.mark.parametrize(
    ("amount", "stage"), [(0, "approve"), (9_999, "approve"), (10_000, "decide"), (2**63 - 1, "decide")]
)
def test_the_amount_decides_on_the_stages(ledger, amount, stage):
    publish(ledger, *BANDED, currency="EUR")
    ask(ledger, amount_minor=amount, currency="EUR")
    assert ledger.rows("approvals.proposals", 1)[0].stage == stage


def test_amounts_are_in_the_policys_currency(ledger):
    with refused("approvals.amount_differs", currency=None):
        ask(ledger, amount_minor=5, currency="EUR")
    publish(ledger, *BANDED, currency="EUR")
    for more in ({}, {"currency": "EUR"}, {"amount_minor": 5}, {"amount_minor": 5, "currency": "JPY"}):
        with refused("approvals.amount_differs", currency="EUR"):
            ask(ledger, **more)


# policies


def test_a_proposal_keeps_the_policy_that_it_was_opened_under(ledger):
    ask(ledger)
    assert publish(ledger, REVIEW) == 2
    assert ledger.query("approvals.version_in_force", "contract", "desk", "payment") == 2
    approve(ledger, "town/rita", 1, "review")
    assert status(ledger, 1) == "open"
    ask(ledger, "r-2")
    assert approve(ledger, "town/rita", 2, "review") is True


def test_a_policy_of_an_organisation_is_made_by_two(ledger):
    clerk, second = ledger.actor("town/clerk").approvals, ledger.actor("town/clerk2").approvals
    stage = Stage(name="approve", permission="desk:approver", approvals=1, seat=Seat.OWNERS)
    assert clerk.publish_policy("own", (stage,), DAY_MS) == 1
    with refused("approvals.unknown_policy", owner="town", policy="own"):
        ask(ledger, policy="own", organisation="town")
    with refused("approvals.same_person", party="clerk"):
        clerk.confirm_policy("own", 1)
    with refused("approvals.unknown_policy"):
        second.confirm_policy("own", 2)
    second.confirm_policy("own", 1)
    with refused("approvals.not_a_draft", version=1):
        second.confirm_policy("own", 1)
    assert ask(ledger, policy="own", organisation="town", by="county/alma") == 1
    with refused("approvals.organisation_not_seated", organisation="county", seat="owners"):
        approve(ledger, "county/arno")
    assert approve(ledger, "town/adam") is True
    clerk.publish_policy("own", (REVIEW,), DAY_MS)
    clerk.publish_policy("own", (REVIEW,), DAY_MS)
    second.confirm_policy("own", 3)
    with refused("approvals.not_a_draft", version=2):
        second.confirm_policy("own", 2)


def test_a_policy_is_not_confirmed_through_a_contract_or_without_the_permission(ledger):
    ledger.actor("town/clerk").approvals.publish_policy("own", (REVIEW,), DAY_MS)
    with refused("call.not_permitted"):
        ledger.actor("town/rita").approvals.confirm_policy("own", 1)
    with refused("approvals.not_a_policymaker"):
        ledger.actor("town/rita").approvals.publish_policy("own", (REVIEW,), DAY_MS)
    both = TestLedger(Desk, actors={"town/both": ["desk:approver", "approvals:policymaker"]})
    with refused("approvals.only_by_transaction", caller="desk"):
        both.actor("town/both").desk.confirm("own", 1)


def test_a_policy_is_sound(ledger):
    one = Stage(name="one", permission="desk:approver", approvals=1)
    many = tuple(Stage(name=f"s-{n}", permission="a:b", approvals=1) for n in range(STAGES_MAX + 1))
    for stages, code in (
        ((), "stages_out_of_range"),
        (many, "stages_out_of_range"),
        ((one, one), "stage_named_twice"),
        ((Stage(name="override", permission="a:b", approvals=1),), "stage_named_twice"),
        ((Stage(name="one", permission="desk", approvals=1),), "not_a_permission"),
        ((Stage(name="one", permission="a:b:c", approvals=1),), "not_a_permission"),
        ((Stage(name="one", permission=":b", approvals=1),), "not_a_permission"),
        ((Stage(name="one", permission="a:b", approvals=APPROVALS_PER_STAGE_MAX + 1),), "too_many_approvals"),
        ((Stage(name="one", permission="a:b", approvals=1, from_minor=5, below_minor=5),), "band_empty"),
        ((one, Stage(name="two", permission="a:b", approvals=1, from_minor=5)), "band_without_currency"),
    ):  # fmt: skip
        with refused(f"approvals.{code}"):
            publish(ledger, *stages)
    low = Stage(name="low", permission="a:b", approvals=1, below_minor=5)
    high = Stage(name="high", permission="a:b", approvals=1, from_minor=6)
    for stages, gap in (((high,), 0), ((low,), 5), ((low, high), 5)):
        with refused("approvals.amount_without_stage", amount_minor=gap):
            publish(ledger, *stages, currency="EUR")
    for more in (
        {"overriders": ("a:b",)}, {"overriders": ("a:b", "a:c")}, {"reviewer": "a:b"}, {"review_ms": 5},
        {"overriders": ("a:b", "a:c", "a:d"), "reviewer": "a:e", "review_ms": 5},
    ):  # fmt: skip
        with refused("approvals.override_incomplete"):
            publish(ledger, one, **more)
    with refused("approvals.not_a_permission", permission="b"):
        publish(ledger, one, overriders=("a:b", "b"), reviewer="a:c", review_ms=5)
    with refused("approvals.not_a_permission", permission="c"):
        publish(ledger, one, overriders=("a:b", "a:d"), reviewer="c", review_ms=5)
    with refused("approvals.time_out_of_range"):
        publish(ledger, one, life_ms=LIFE_MS_MAX + 1)


def test_a_policy_may_let_persons_act_through_the_contract_only(ledger):
    publish(ledger, REVIEW, direct=False)
    ask(ledger)
    with refused("approvals.only_through_contract", contract="desk"):
        approve(ledger, "town/rita", stage="review")
    with refused("approvals.only_through_contract"):
        ledger.actor("town/clerk").approvals.withdraw(1, "error")
    assert ledger.actor("town/rita").desk.approve(1, "review", PAYLOAD) is True


# delegation


def delegate(ledger, principal="town/adam", to="guest", permission="desk:approver", days=5, **more):
    return ledger.actor(principal).approvals.delegate(
        to, permission, ledger.now - DAY_MS, ledger.now + days * DAY_MS, **more
    )


def test_a_delegate_approves_for_a_person_and_both_have_acted(ledger):
    delegate(ledger)
    ask(ledger)
    approve(ledger, "town/rita", stage="review")
    approve(ledger, "town/guest", acting_for="adam")
    approve(ledger, "town/guest", acting_for="adam")
    assert ledger.query("approvals.part_of", 1, "adam") == "approval"
    assert ledger.query("approvals.part_of", 1, "guest") == "delegate"
    with refused("approvals.has_part", party="adam", kind="approval"):
        approve(ledger, "town/adam", acting_for=None)
    assert approve(ledger, "town/agnes") is True


def test_a_delegation_has_a_time_a_contract_and_an_end(ledger):
    delegate(ledger, contract="other_desk")
    ask(ledger)
    approve(ledger, "town/rita", stage="review")
    with refused("approvals.no_delegation", principal="adam"):
        approve(ledger, "town/guest", acting_for="adam")
    number = delegate(ledger, contract="desk", days=2)
    ledger.advance(days=3)
    with refused("approvals.no_delegation"):
        approve(ledger, "town/guest", acting_for="adam")
    with refused("approvals.delegation_over"):
        ledger.actor("town/adam").approvals.end_delegation(number)
    number = delegate(ledger)
    with refused("approvals.not_your_delegation"):
        ledger.actor("town/agnes").approvals.end_delegation(number)
    with refused("approvals.unknown_delegation", delegation=99):
        ledger.actor("town/adam").approvals.end_delegation(99)
    ledger.actor("town/guest").approvals.end_delegation(number)
    with refused("approvals.no_delegation"):
        approve(ledger, "town/guest", acting_for="adam")
    later = ledger.actor("town/adam").approvals.delegate(
        "guest", "desk:approver", ledger.now + DAY_MS, ledger.now + 2 * DAY_MS
    )
    assert later == 4
    with refused("approvals.no_delegation"):
        approve(ledger, "town/guest", acting_for="adam")


def test_a_delegation_is_not_handed_on(ledger):
    delegate(ledger)
    with refused("approvals.permission_missing", party="guest"):
        delegate(ledger, "town/guest", "dora")
    ask(ledger)
    approve(ledger, "town/rita", stage="review")
    with refused("approvals.no_delegation", principal="guest"):
        approve(ledger, "town/dora", acting_for="guest")


def test_a_delegation_counts_while_the_person_holds_the_permission(ledger):
    held = TestLedger(
        Desk, actors={"town/clerk": ["desk:clerk", "parties:admin"], "town/adam": ["desk:reviewer"], "town/guest": []}
    )
    publish(held, REVIEW)
    ask(held)
    held.actor("town/adam").approvals.delegate("guest", "desk:reviewer", 0, held.now + DAY_MS)
    held.actor("town/clerk").parties.withdraw_role("adam", "desk:reviewer")
    with refused("approvals.permission_missing", party="adam"):
        approve(held, "town/guest", stage="review", acting_for="adam")


def test_neither_person_of_a_delegation_may_be_the_proposer(ledger):
    delegate(ledger, "town/rolf", "clerk", "desk:reviewer")
    delegate(ledger, "town/rita", "rolf", "desk:reviewer")
    delegate(ledger, "town/rolf", "guest", "desk:reviewer")
    ask(ledger)
    with refused("approvals.proposer_never_approves"):
        approve(ledger, "town/clerk", stage="review", acting_for="rolf")
    number = ask(ledger, "r-2", by="town/rolf")
    with refused("approvals.proposer_never_approves"):
        approve(ledger, "town/guest", number, "review", acting_for="rolf")
    with refused("approvals.proposer_never_approves"):
        approve(ledger, "town/rolf", number, "review", acting_for="rita")


@pytest.mark.parametrize("to", ["arno", "adam", "nobody"])
def test_a_permission_is_delegated_within_the_organisation(ledger, to):
    with refused("approvals.delegate_not_in_organisation", to=to):
        delegate(ledger, to=to)


def test_a_delegation_has_a_time_that_makes_sense(ledger):
    adam = ledger.actor("town/adam").approvals
    with refused("approvals.time_out_of_range"):
        adam.delegate("guest", "desk:approver", 0, ledger.now)
    with refused("approvals.time_out_of_range"):
        adam.delegate("guest", "desk:approver", ledger.now + 9, ledger.now + 9)
    with refused("approvals.time_out_of_range"):
        adam.delegate("guest", "desk:approver", 0, ledger.now + LIFE_MS_MAX + 1)


def test_no_contract_delegates_for_its_signer(ledger):
    number = delegate(ledger)
    with refused("approvals.only_by_transaction", caller="desk"):
        ledger.actor("town/dora").desk.delegate("guest", "desk:director", 0, ledger.now + DAY_MS)
    with refused("approvals.only_by_transaction", caller="desk"):
        ledger.actor("county/audit").desk.end_delegation(number)


# overrides


def override_policy(ledger):
    publish(
        ledger, REVIEW, overriders=("desk:senior", "desk:second"), reviewer="desk:auditor", review_ms=3 * DAY_MS
    )


def request(ledger, by="town/dora", proposal=1, payload=PAYLOAD):
    ledger.actor(by).approvals.request_override(proposal, payload, "flood", "The office is under water.")


def confirm(ledger, by="town/dirk", proposal=1, payload=PAYLOAD):
    ledger.actor(by).approvals.confirm_override(proposal, payload)


def test_two_senior_persons_override_and_a_third_reviews(ledger):
    override_policy(ledger)
    ask(ledger)
    request(ledger)
    assert status(ledger) == "open"
    confirm(ledger)
    assert status(ledger) == "ready"
    row = ledger.rows("approvals.overrides", 1)[0]
    assert (row.state, row.requested_by, row.confirmed_by, row.reason) == ("open", "dora", "dirk", "flood")
    assert ledger.query("approvals.overrides_to_review") == ((1, row.confirmed_at + 3 * DAY_MS),)
    ledger.actor("town/teller").desk.carry_out(1, PAYLOAD)
    with refused("approvals.has_part", party="dirk", kind="override"):
        ledger.actor("town/dirk").approvals.close_override(1, "justified", "")
    with refused("approvals.has_part", party="teller", kind="execution"):
        ledger.actor("town/teller").approvals.close_override(1, "justified", "")
    with refused("approvals.proposer_never_approves"):
        ledger.actor("town/clerk").approvals.close_override(1, "justified", "")
    with refused("approvals.permission_missing", permission="desk:auditor"):
        ledger.actor("town/guest").approvals.close_override(1, "justified", "")
    ledger.actor("county/audit").approvals.close_override(1, "justified", "The flood was real.")
    assert ledger.query("approvals.overrides_to_review") == ()
    with refused("approvals.no_override"):
        ledger.actor("county/audit").approvals.close_override(1, "justified", "")


def test_the_alarm_is_an_event(ledger):
    override_policy(ledger)
    ask(ledger)
    request(ledger)
    receipt = ledger.actor("town/dirk").calls(("approvals.confirm_override", {"proposal": 1, "payload": PAYLOAD}))
    assert [one[:2] for one in receipt.events] == [["approvals", "override_alarm"], ["approvals", "became_ready"]]


def test_an_override_needs_both_permissions_by_two_persons(ledger):
    override_policy(ledger)
    ask(ledger)
    with refused("approvals.permission_missing", party="adam"):
        request(ledger, "town/adam")
    with refused("approvals.no_override"):
        confirm(ledger)
    request(ledger, "town/dirk")
    with refused("approvals.override_exists", requested_by="dirk"):
        request(ledger)
    with refused("approvals.has_part", party="dirk"):
        confirm(ledger, "town/dirk")
    with refused("approvals.permission_missing", party="adam", permission="desk:senior"):
        confirm(ledger, "town/adam")
    with refused("approvals.payload_differs"):
        confirm(ledger, "town/dora", payload=OTHER)
    confirm(ledger, "town/dora")
    with refused("approvals.wrong_state", state="ready"):
        confirm(ledger, "town/dora")


def test_an_override_is_not_by_who_has_a_part(ledger):
    override_policy(ledger)
    ask(ledger, by="town/dora")
    with refused("approvals.proposer_never_approves"):
        request(ledger)
    ask(ledger, "r-2", excluded=("dora",))
    with refused("approvals.has_part", kind="exclusion"):
        request(ledger, proposal=2)


def test_there_is_no_override_where_the_policy_has_none(ledger):
    ask(ledger)
    with refused("approvals.no_override"):
        request(ledger)
    with refused("approvals.no_override"):
        ledger.actor("county/audit").approvals.close_override(1, "justified", "")


def test_an_overdue_review_stops_the_next_override(ledger):
    override_policy(ledger)
    for number in (1, 2, 3):
        ask(ledger, f"r-{number}")
    request(ledger)
    request(ledger, proposal=2)
    confirm(ledger)
    ledger.advance(days=3)
    with refused("approvals.override_overdue", proposal=1):
        request(ledger, proposal=3)
    with refused("approvals.override_overdue", proposal=1):
        confirm(ledger, proposal=2)
    ledger.actor("county/audit").approvals.close_override(1, "unjustified", "")
    confirm(ledger, proposal=2)


def test_a_digest_keeps_kinds_and_values_apart():
    assert digest_of("a", 1, "b") != digest_of("a", 1, "c") != digest_of("b", 1, "c")
    assert digest_of("a", (1, 2)) != digest_of("a", 1, 2)
    assert digest_of("a", REVIEW) != digest_of("a", APPROVE)
    written_by_hand = bytes.fromhex("94 a3706179 a66c696e652d31 07 c0")
    assert digest_of("pay", "line-1", 7, None) == sha256(b"guildbook/content/v1\0" + written_by_hand)
