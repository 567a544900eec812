"""Money: transfers, holds, reversals, mandates, freezes; who may move what; and every refusal by name."""

from pathlib import Path

import pytest

from agent_contract import Agent
from guildbook.foundation.currencies import amount_text, exponent_of, minor_units
from guildbook.foundation.money import (
    EXPONENTS,
    HOLD_MS_MAX,
    MANDATE_MS_MAX,
    TRANSFERS_PER_BATCH_MAX,
    WITHOUT_MINOR_UNIT,
    AmountNotPositive,
    Money,
    Transfer,
    UnknownCurrency,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.testing.ledger import TestLedger, refused

CREDIT_BALANCE = "debits_must_not_exceed_credits"
DEBIT_BALANCE = "credits_must_not_exceed_debits"
MAX = 2**63 - 1


@pytest.fixture
def ledger() -> TestLedger:
    """A bank that issues euros, two people with accounts, a company, and a contract with accounts of its own.

    The bank's ledger "bank-eur": issue (no guard), vault (debit balance), fees; anna 100.00, ben 50.00, mill 0; pot is
    the contract's. The contract's own ledger "agent-jpy": source (no guard), left, right.
    """
    ledger = TestLedger(
        Agent,
        actors={
            "council/registrar": ["money:registrar", "money:supervisor"],
            "bank/teller": ["money:issuer", "money:treasurer"],
            "bank/clerk": [],
            "town/anna": [],
            "town/ben": [],
            "mill/boss": ["money:treasurer"],
            "mill/hand": [],
        },
    )
    teller = ledger.actor("bank/teller")
    teller.money.open_ledger("bank-eur", "EUR")
    with ledger.block():
        for account, kind, owner, guard in (
            ("issue", "organisation", "bank", "none"),
            ("vault", "organisation", "bank", DEBIT_BALANCE),
            ("fees", "organisation", "bank", CREDIT_BALANCE),
            ("anna", "party", "anna", CREDIT_BALANCE),
            ("ben", "party", "ben", CREDIT_BALANCE),
            ("mill", "organisation", "mill", CREDIT_BALANCE),
            ("pot", "contract", "agent", CREDIT_BALANCE),
        ):
            teller.money.open_account(account, "bank-eur", kind, owner, guard)
        teller.money.transfer("cash-1", "issue", "anna", 10_000, "cash")
        teller.money.transfer("cash-2", "issue", "ben", 5_000, "cash")
        agent = ledger.actor("town/anna").agent
        agent.open_ledger("agent-jpy", "JPY")
        for account, guard in (("source", "none"), ("left", CREDIT_BALANCE), ("right", CREDIT_BALANCE)):
            agent.open_account(account, "agent-jpy", "contract", "agent", guard)
        agent.transfer("seed", "source", "left", 1_000)
    assert balances(ledger, "anna", "ben", "left") == [10_000, 5_000, 1_000]
    return ledger


def balances(ledger: TestLedger, *accounts: str) -> list[int]:
    return [ledger.query("money.balance", account) for account in accounts]


def available(ledger: TestLedger, *accounts: str) -> list[int]:
    return [ledger.query("money.available", account) for account in accounts]


def anna(ledger: TestLedger):
    return ledger.actor("town/anna").money


def ben(ledger: TestLedger):
    return ledger.actor("town/ben").money


def teller(ledger: TestLedger):
    return ledger.actor("bank/teller").money


def agent(ledger: TestLedger):
    return ledger.actor("town/ben").agent


def supervisor(ledger: TestLedger):
    return ledger.actor("council/registrar").money


def in_a_day(ledger: TestLedger) -> int:
    return ledger.now + 24 * 3600 * 1000


def hold(ledger: TestLedger, amount: int = 3_000, reference: str = "hold-1") -> int:
    """A hold by anna in favour of ben, for a day."""
    number: int = anna(ledger).hold(reference, "anna", "ben", amount, in_a_day(ledger), "goods")
    return number


# transfers


def test_a_transfer_moves_the_amount_and_enters_the_journal(ledger):
    number = anna(ledger).transfer("rent", "anna", "ben", 2_500, "rent", bytes(32))
    assert balances(ledger, "anna", "ben") == [7_500, 7_500]
    entry = ledger.rows("money.entries", number)[0]
    assert (entry.debit, entry.credit, entry.amount_minor, entry.currency) == ("anna", "ben", 2_500, "EUR")
    assert (entry.actor_kind, entry.actor, entry.reference, entry.purpose) == ("party", "anna", "rent", "rent")


def test_the_trial_balance_of_a_ledger_is_zero(ledger):
    hold(ledger)
    posted_debits, posted_credits, pending_debits, pending_credits = ledger.query("money.trial_balance", "bank-eur")
    assert posted_debits == posted_credits == 15_000
    assert pending_debits == pending_credits == 3_000
    with pytest.raises(Exception, match="unknown_ledger"):
        ledger.query("money.trial_balance", "nowhere")


def test_an_account_is_not_overdrawn(ledger):
    with refused("money.overdrawn", account="anna", wanted_minor=10_001, available_minor=10_000):
        anna(ledger).transfer("much", "anna", "ben", 10_001, "gift")
    anna(ledger).transfer("all", "anna", "ben", 10_000, "gift")


def test_a_debit_balance_is_not_overdrawn_by_credits(ledger):
    teller(ledger).transfer("in", "vault", "issue", 700, "coins")
    assert balances(ledger, "vault") == [700]
    with refused("money.overdrawn", account="vault", available_minor=700):
        teller(ledger).transfer("out", "issue", "vault", 701, "coins")
    teller(ledger).transfer("out", "issue", "vault", 700, "coins")


def test_an_account_without_a_guard_may_go_below_zero(ledger):
    assert balances(ledger, "issue") == [-15_000]


def test_a_batch_happens_whole_or_not_at_all(ledger):
    two = (
        Transfer(debit="anna", credit="ben", amount_minor=9_000, purpose="a"),
        Transfer(debit="anna", credit="ben", amount_minor=2_000, purpose="b"),
    )
    with refused("money.overdrawn", available_minor=1_000):
        anna(ledger).post("both", two)
    assert balances(ledger, "anna", "ben") == [10_000, 5_000]
    assert anna(ledger).post("both", two[:1]) == [4]


def test_a_batch_pays_in_two_currencies_or_in_none(ledger):
    two = (
        Transfer(debit="pot", credit="ben", amount_minor=100, purpose="eur"),
        Transfer(debit="left", credit="right", amount_minor=200, purpose="jpy"),
    )
    with refused("money.overdrawn", account="pot"):
        agent(ledger).post("swap", two)
    assert balances(ledger, "left", "right") == [1_000, 0]
    anna(ledger).give_mandate("anna", "agent", 100, in_a_day(ledger))
    agent(ledger).transfer("fill", "anna", "pot", 100)
    agent(ledger).post("swap", two)
    assert balances(ledger, "pot", "ben", "left", "right") == [0, 5_100, 800, 200]


def test_a_batch_has_between_one_and_a_hundred_transfers(ledger):
    one = Transfer(debit="anna", credit="ben", amount_minor=1, purpose="a")
    with refused("money.empty_batch"):
        anna(ledger).post("none", ())
    with refused("money.batch_too_large", most=TRANSFERS_PER_BATCH_MAX):
        anna(ledger).post("many", (one,) * (TRANSFERS_PER_BATCH_MAX + 1))
    assert len(anna(ledger).post("full", (one,) * TRANSFERS_PER_BATCH_MAX)) == TRANSFERS_PER_BATCH_MAX
    assert len(anna(ledger).post("full", (one,) * TRANSFERS_PER_BATCH_MAX)) == TRANSFERS_PER_BATCH_MAX
    assert balances(ledger, "anna") == [9_900]


def test_a_transfer_has_two_accounts_of_one_ledger(ledger):
    with refused("money.same_account", account="anna"):
        anna(ledger).transfer("self", "anna", "anna", 1, "x")
    with refused("money.unknown_account", account="nobody"):
        anna(ledger).transfer("nobody", "anna", "nobody", 1, "x")
    with refused("money.unknown_account", account="nobody"):
        anna(ledger).transfer("nobody", "nobody", "anna", 1, "x")
    with refused("money.ledgers_differ", debit="bank-eur", credit="agent-jpy"):
        anna(ledger).transfer("across", "anna", "left", 1, "x")


def test_money_guards_its_amounts_itself_too(ledger):
    execution = ledger.ledger.view().execution()
    execution.overlay.begin(1_000)
    with pytest.raises(AmountNotPositive) as caught:
        execution.contract("money").transfer("x", "anna", "ben", 0, "x")
    assert caught.value.code == "money.amount_not_positive"


@pytest.mark.parametrize("amount", [0, -1, -(2**63)])
def test_an_amount_is_positive_from_whoever_it_comes(ledger, amount):
    with refused("call.bad_arguments"):
        anna(ledger).transfer("x", "anna", "ben", amount, "x")
    with refused("call.bad_arguments", contract="money"):
        agent(ledger).transfer("x", "left", "right", amount)


def test_totals_stay_within_64_bits(ledger):
    agent(ledger).transfer("most", "source", "left", MAX - 1_000)
    assert balances(ledger, "left") == [MAX]
    with refused("money.total_too_large", account="source"):
        agent(ledger).transfer("one", "source", "right", 1)
    agent(ledger).transfer("back", "left", "source", 1)
    with refused("money.total_too_large", account="left"):
        agent(ledger).transfer("over", "right", "left", 1)


# once


def test_the_same_reference_with_the_same_content_is_the_same_entry(ledger):
    first = anna(ledger).transfer("rent", "anna", "ben", 2_500, "rent")
    before = ledger.rows("money.accounts")
    assert anna(ledger).transfer("rent", "anna", "ben", 2_500, "rent") == first
    assert ledger.rows("money.accounts") == before
    assert ledger.changes().rows == []


@pytest.mark.parametrize(
    "changes", [{"credit": "fees"}, {"amount_minor": 2_501}, {"purpose": "gift"}, {"document": bytes(32)}]
)
def test_the_same_reference_with_other_content_is_refused(ledger, changes):
    arguments = {"reference": "rent", "debit": "anna", "credit": "ben", "amount_minor": 2_500, "purpose": "rent"}
    first = anna(ledger).transfer(**arguments)
    with refused("money.reference_used", reference="rent", entry=first):
        anna(ledger).transfer(**{**arguments, **changes})


def test_a_reference_stands_for_one_kind_of_entry(ledger):
    anna(ledger).transfer("one", "anna", "ben", 100, "x")
    with refused("money.reference_used"):
        anna(ledger).hold("one", "anna", "ben", 100, in_a_day(ledger), "x")
    with refused("money.reference_used"):
        anna(ledger).post("one", (Transfer(debit="anna", credit="ben", amount_minor=100, purpose="x"),) * 2)


def test_references_of_different_actors_do_not_meet(ledger):
    anna(ledger).transfer("one", "anna", "ben", 100, "x")
    ben(ledger).transfer("one", "ben", "anna", 200, "x")
    agent(ledger).transfer("one", "left", "right", 300)
    assert balances(ledger, "anna", "ben", "right") == [10_100, 4_900, 300]


def test_a_party_named_like_a_contract_has_references_of_its_own(ledger):
    assert [(row.actor_kind, row.actor) for row in ledger.rows("money.entries")] == [
        ("party", "teller"),
        ("party", "teller"),
        ("contract", "agent"),
    ]


# who may move an account


def test_a_party_draws_on_its_own_account_only(ledger):
    with refused("money.not_your_account", account="anna"):
        ben(ledger).transfer("theft", "anna", "ben", 1, "x")
    with refused("money.not_your_account", account="mill"):
        ben(ledger).transfer("theft", "mill", "ben", 1, "x")
    with refused("money.not_your_account", account="issue"):
        ben(ledger).transfer("print", "issue", "ben", 1, "x")


def test_an_organisation_is_acted_for_by_its_treasurers(ledger):
    anna(ledger).transfer("bill", "anna", "mill", 500, "bill")
    with refused("money.not_your_account", account="mill"):
        ledger.actor("mill/hand").money.transfer("wage", "mill", "ben", 500, "wage")
    with refused("money.not_your_account", account="mill"):
        teller(ledger).transfer("wage", "mill", "ben", 500, "wage")
    ledger.actor("mill/boss").money.transfer("wage", "mill", "ben", 500, "wage")


def test_an_account_without_a_guard_is_moved_by_its_owner_in_both_directions(ledger):
    with refused("money.not_your_account", account="issue"):
        anna(ledger).transfer("back", "anna", "issue", 1, "x")


def test_an_account_of_a_contract_is_moved_by_that_contract_only_even_to_pay_in(ledger):
    with refused("money.not_your_account", account="pot"):
        anna(ledger).transfer("gift", "anna", "pot", 1, "x")
    with refused("money.not_your_account", account="left"):
        anna(ledger).transfer("theft", "left", "right", 1, "x")


def test_a_contract_does_not_draw_on_the_account_of_who_signed_without_a_mandate(ledger):
    with refused("money.no_mandate", account="anna", contract="agent"):
        ledger.actor("town/anna").agent.transfer("pay", "anna", "pot", 1)


def test_a_mandate_is_used_up(ledger):
    anna(ledger).give_mandate("anna", "agent", 300, in_a_day(ledger))
    agent(ledger).transfer("one", "anna", "pot", 200)
    with refused("money.mandate_exceeded", account="anna", wanted_minor=101, remaining_minor=100):
        agent(ledger).transfer("two", "anna", "pot", 101)
    agent(ledger).transfer("two", "anna", "ben", 100)
    with refused("money.mandate_exceeded", remaining_minor=0):
        agent(ledger).transfer("three", "anna", "pot", 1)
    anna(ledger).give_mandate("anna", "agent", 50, in_a_day(ledger))
    agent(ledger).transfer("three", "anna", "pot", 50)


def test_a_mandate_ends_at_its_time(ledger):
    until = in_a_day(ledger)
    anna(ledger).give_mandate("anna", "agent", 300, until)
    ledger.advance(days=1)
    with refused("money.no_mandate"):
        agent(ledger).transfer("late", "anna", "pot", 1)


def test_a_withdrawn_mandate_gives_nothing(ledger):
    anna(ledger).give_mandate("anna", "agent", 300, in_a_day(ledger))
    anna(ledger).withdraw_mandate("anna", "agent")
    with refused("money.no_mandate"):
        agent(ledger).transfer("late", "anna", "pot", 1)
    with refused("money.no_mandate"):
        anna(ledger).withdraw_mandate("anna", "agent")


def test_a_mandate_covers_holds_and_does_not_come_back(ledger):
    anna(ledger).give_mandate("anna", "agent", 300, in_a_day(ledger))
    number = agent(ledger).hold("hold", "anna", "pot", 300, in_a_day(ledger))
    agent(ledger).void_hold("void", number)
    with refused("money.mandate_exceeded", remaining_minor=0):
        agent(ledger).transfer("one", "anna", "pot", 1)


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ("ben", "not_your_account"),
        ("mill", "not_your_account"),
        ("pot", "mandate_for_contract"),
        ("nobody", "unknown_account"),
    ],
)
def test_a_mandate_is_given_by_the_owner_alone(ledger, account, code):
    with refused(f"money.{code}", account=account):
        anna(ledger).give_mandate(account, "agent", 300, in_a_day(ledger))


def test_a_mandate_is_withdrawn_by_the_owner_alone(ledger):
    anna(ledger).give_mandate("anna", "agent", 300, in_a_day(ledger))
    with refused("money.not_your_account", account="anna"):
        ben(ledger).withdraw_mandate("anna", "agent")


def test_a_contract_gives_itself_no_mandate(ledger):
    with refused("money.not_your_account", account="anna"):
        ledger.actor("town/anna").agent.give_mandate("anna", in_a_day(ledger))


@pytest.mark.parametrize("offset", [0, MANDATE_MS_MAX + 1])
def test_a_mandate_lasts_a_bounded_time(ledger, offset):
    with refused("money.time_out_of_range"):
        anna(ledger).give_mandate("anna", "agent", 1, ledger.now + offset)


def test_a_treasurer_gives_a_mandate_for_its_organisation(ledger):
    anna(ledger).transfer("bill", "anna", "mill", 500, "bill")
    ledger.actor("mill/boss").money.give_mandate("mill", "agent", 500, in_a_day(ledger))
    agent(ledger).transfer("pay", "mill", "pot", 500)


# holds


def test_a_hold_reserves_and_its_posting_pays(ledger):
    number = hold(ledger)
    assert balances(ledger, "anna", "ben") == [10_000, 5_000]
    assert available(ledger, "anna", "ben") == [7_000, 5_000]
    ben(ledger).post_hold("capture", number)
    assert balances(ledger, "anna", "ben") == available(ledger, "anna", "ben") == [7_000, 8_000]


def test_what_is_held_cannot_be_spent_and_what_is_promised_cannot_either(ledger):
    hold(ledger, 9_000)
    with refused("money.overdrawn", available_minor=1_000):
        anna(ledger).transfer("more", "anna", "ben", 1_001, "x")
    with refused("money.overdrawn", available_minor=5_000):
        ben(ledger).transfer("early", "ben", "anna", 5_001, "x")


def test_a_hold_posted_in_part_releases_the_rest(ledger):
    number = hold(ledger)
    ben(ledger).post_hold("capture", number, 1_000)
    assert balances(ledger, "anna", "ben") == available(ledger, "anna", "ben") == [9_000, 6_000]
    with refused("money.hold_not_pending", hold=number, state="posted"):
        ben(ledger).post_hold("more", number, 1)


def test_a_voided_hold_releases_all(ledger):
    number = hold(ledger)
    ben(ledger).void_hold("void", number)
    assert available(ledger, "anna", "ben") == [10_000, 5_000]
    for step in ("post_hold", "void_hold"):
        with refused("money.hold_not_pending", state="voided"):
            ben(ledger).__getattr__(step)("again", number)


def test_settling_again_under_the_same_reference_is_the_same_entry(ledger):
    number = hold(ledger)
    first = ben(ledger).post_hold("capture", number, 1_000)
    assert ben(ledger).post_hold("capture", number, 1_000) == first
    with refused("money.reference_used"):
        ben(ledger).post_hold("capture", number, 1_001)
    other = hold(ledger, 10, "hold-2")
    voided = ben(ledger).void_hold("void", other)
    assert ben(ledger).void_hold("void", other) == voided
    assert hold(ledger, 10, "hold-3") == anna(ledger).hold(
        "hold-3", "anna", "ben", 10, ledger.rows("money.holds")[-1].expires_at, "goods"
    )


def test_more_than_was_held_is_not_posted(ledger):
    number = hold(ledger)
    with refused("money.more_than_held", wanted_minor=3_001, held_minor=3_000):
        ben(ledger).post_hold("capture", number, 3_001)


def test_the_payer_may_pay_what_it_held_but_not_take_it_back(ledger):
    number = hold(ledger)
    with refused("money.not_your_hold", hold=number):
        anna(ledger).void_hold("void", number)
    with refused("money.not_your_hold", hold=number):
        teller(ledger).post_hold("capture", number)
    with refused("money.not_your_hold", hold=number):
        agent(ledger).post_hold("capture", number)
    anna(ledger).post_hold("pay", number)


def test_a_hold_of_a_contract_is_settled_by_that_contract_only(ledger):
    number = agent(ledger).hold("hold", "left", "right", 500, in_a_day(ledger))
    with refused("money.not_your_hold", hold=number):
        anna(ledger).post_hold("x", number)
    with refused("money.not_your_hold", hold=number):
        anna(ledger).void_hold("x", number)
    with refused("call.bad_arguments", contract="money"):
        agent(ledger).post_hold("x", number, 0)
    agent(ledger).post_hold("x", number, 200)
    assert balances(ledger, "left", "right") == [800, 200]


def test_a_hold_to_pay_an_organisation_is_settled_by_its_treasurer(ledger):
    number = anna(ledger).hold("deposit", "anna", "mill", 400, in_a_day(ledger), "deposit")
    with refused("money.not_your_hold"):
        ledger.actor("mill/hand").money.void_hold("void", number)
    ledger.actor("mill/boss").money.void_hold("void", number)


def test_a_hold_whose_time_is_over_can_only_be_released(ledger):
    number = hold(ledger)
    expires_at = ledger.rows("money.holds")[0].expires_at
    with refused("money.hold_not_due", expires_at=expires_at):
        ben(ledger).expire_hold(number)
    ledger.advance(days=1)
    with refused("money.hold_time_over", expires_at=expires_at):
        ben(ledger).post_hold("late", number)
    ledger.actor("bank/clerk").money.expire_hold(number)
    assert available(ledger, "anna") == [10_000]
    with refused("money.hold_not_pending", state="expired"):
        ben(ledger).expire_hold(number)


def test_a_hold_may_still_be_voided_when_its_time_is_over(ledger):
    number = hold(ledger)
    ledger.advance(days=2)
    ben(ledger).void_hold("void", number)


def test_a_hold_is_due_at_its_time_to_the_millisecond(ledger):
    number = anna(ledger).hold("h", "anna", "ben", 1, ledger.now + 2_000, "x")
    expires_at = ledger.rows("money.holds")[0].expires_at
    ledger.advance(milliseconds=expires_at - 1 - ledger.now)
    assert ledger.now == expires_at - 1
    with refused("money.hold_not_due"):
        ben(ledger).expire_hold(number)
    ledger.now_ns -= 999_000_000
    assert ledger.now == expires_at
    with refused("money.hold_time_over"):
        ben(ledger).post_hold("x", number)


def test_due_holds_are_released_in_order_of_time_a_batch_at_a_time(ledger):
    times = [5, 1, 9, 3, 7]
    with ledger.block():
        for days in times:
            anna(ledger).hold(f"h{days}", "anna", "ben", days, ledger.now + days * 86_400_000, "x")
    ledger.advance(days=8)
    clerk = ledger.actor("bank/clerk").money
    assert clerk.expire_holds(3) == 3
    assert clerk.expire_holds(3) == 1
    assert clerk.expire_holds() == 0
    expired = [row for row in ledger.rows("money.entries") if row.kind == "expiry"]
    assert [row.amount_minor for row in expired] == [1, 3, 5, 7]
    assert available(ledger, "anna") == [9_991]


@pytest.mark.parametrize(("early", "released"), [(1, 0), (0, 1)])
def test_due_holds_are_released_from_their_time_on_and_not_before(ledger, early, released):
    hold(ledger)
    expires_at = ledger.rows("money.holds")[0].expires_at
    ledger.advance(milliseconds=expires_at - early - ledger.now)
    assert ben(ledger).expire_holds() == released


@pytest.mark.parametrize("offset", [0, HOLD_MS_MAX + 1])
def test_a_hold_lasts_a_bounded_time(ledger, offset):
    with refused("money.time_out_of_range", latest=ledger.now + HOLD_MS_MAX):
        anna(ledger).hold("h", "anna", "ben", 1, ledger.now + offset, "x")


def test_an_unknown_hold_is_refused(ledger):
    for step in ("post_hold", "void_hold"):
        with refused("money.unknown_hold", hold=99):
            ben(ledger).__getattr__(step)("x", 99)
    with refused("money.unknown_hold", hold=99):
        ben(ledger).expire_hold(99)
    with refused("money.unknown_hold", hold=1):
        ben(ledger).post_hold("x", 1)


# reversals


def test_a_transfer_is_reversed_once_by_who_was_paid(ledger):
    number = anna(ledger).transfer("rent", "anna", "ben", 2_500, "rent")
    with refused("money.not_your_account", account="ben"):
        anna(ledger).reverse("undo", number, "mistake")
    reversal = ben(ledger).reverse("undo", number, "mistake")
    assert ben(ledger).reverse("undo", number, "mistake") == reversal
    assert balances(ledger, "anna", "ben") == [10_000, 5_000]
    entry = ledger.rows("money.entries", reversal)[0]
    assert (entry.kind, entry.about, entry.debit, entry.credit) == ("reversal", number, "ben", "anna")
    with refused("money.already_reversed", entry=number, reversed_by=reversal):
        ben(ledger).reverse("again", number, "mistake")


def test_the_posting_of_a_hold_can_be_reversed(ledger):
    posted = ben(ledger).post_hold("capture", hold(ledger), 1_000)
    ben(ledger).reverse("undo", posted, "return")
    assert balances(ledger, "anna", "ben") == [10_000, 5_000]


def test_only_what_moved_money_is_reversed(ledger):
    number = hold(ledger)
    with refused("money.not_reversible", entry=number, kind="hold"):
        ben(ledger).reverse("undo", number, "x")
    voided = ben(ledger).void_hold("void", number)
    with refused("money.not_reversible", kind="void"):
        ben(ledger).reverse("undo", voided, "x")
    reversal = ben(ledger).reverse("undo", anna(ledger).transfer("t", "anna", "ben", 1, "x"), "x")
    with refused("money.not_reversible", kind="reversal"):
        anna(ledger).reverse("redo", reversal, "x")
    with refused("money.unknown_entry", entry=99):
        ben(ledger).reverse("undo", 99, "x")


def test_a_reversal_is_not_paid_from_nothing(ledger):
    number = anna(ledger).transfer("rent", "anna", "ben", 2_500, "rent")
    ben(ledger).transfer("spent", "ben", "anna", 7_000, "x")
    with refused("money.overdrawn", account="ben", available_minor=500):
        ben(ledger).reverse("undo", number, "x")


# freezing and closing


@pytest.mark.parametrize(
    ("state", "comes_in", "goes_out"),
    [("frozen_in", False, True), ("frozen_out", True, False), ("frozen", False, False)],
)
def test_a_freeze_stops_the_direction_that_it_names(ledger, state, comes_in, goes_out):
    supervisor(ledger).freeze("ben", state, "order 7")
    for passes, pay in (
        (comes_in, lambda: anna(ledger).transfer("in", "anna", "ben", 1, "x")),
        (goes_out, lambda: ben(ledger).transfer("out", "ben", "anna", 1, "x")),
    ):
        if passes:
            pay()
        else:
            with refused("money.account_frozen", account="ben", state=state):
                pay()
    supervisor(ledger).unfreeze("ben")
    anna(ledger).transfer("in", "anna", "ben", 1, "x")


def test_a_freeze_knows_that_a_debit_balance_grows_by_debits(ledger):
    supervisor(ledger).freeze("vault", "frozen_in", "count")
    with refused("money.account_frozen", account="vault"):
        teller(ledger).transfer("in", "vault", "issue", 1, "x")
    supervisor(ledger).freeze("vault", "frozen_out", "count")
    teller(ledger).transfer("in", "vault", "issue", 1, "x")
    with refused("money.account_frozen", account="vault"):
        teller(ledger).transfer("out", "issue", "vault", 1, "x")


def test_a_freeze_stops_the_posting_of_a_hold_but_not_its_release(ledger):
    one, two = hold(ledger, 10), hold(ledger, 20, "hold-2")
    supervisor(ledger).freeze("anna", "frozen_out", "order 7")
    with refused("money.account_frozen", account="anna"):
        ben(ledger).post_hold("capture", one)
    ben(ledger).void_hold("void", one)
    ledger.advance(days=2)
    ben(ledger).expire_hold(two)


def test_only_a_supervisor_freezes_and_no_contract_for_it(ledger):
    for name in ("town/anna", "bank/teller"):
        with refused("call.not_permitted", permission="money:supervisor"):
            ledger.actor(name).money.freeze("ben", "frozen", "x")
        with refused("call.not_permitted", permission="money:supervisor"):
            ledger.actor(name).money.unfreeze("ben")
    through = ledger.actor("council/registrar").agent
    with refused("money.only_by_transaction", caller="agent"):
        through.freeze("ben", "frozen", "x")
    with refused("money.only_by_transaction", caller="agent"):
        through.unfreeze("ben")
    with refused("money.only_by_transaction", caller="agent"):
        through.add_currency("QQQ")


def test_freezes_are_refused_for(ledger):
    with refused("money.account_not_frozen", account="ben"):
        supervisor(ledger).unfreeze("ben")
    for state in ("open", "closed"):
        with refused("money.not_a_freeze", state=state):
            supervisor(ledger).freeze("ben", state, "x")
    with refused("money.unknown_account"):
        supervisor(ledger).freeze("nobody", "frozen", "x")
    teller(ledger).close_account("fees")
    with refused("money.account_closed", account="fees"):
        supervisor(ledger).freeze("fees", "frozen", "x")
    with refused("money.account_closed", account="fees"):
        supervisor(ledger).unfreeze("fees")


def test_an_account_is_closed_empty_and_for_good(ledger):
    number = hold(ledger, 10_000)
    with refused("money.account_not_empty", account="anna", balance_minor=10_000, pending_minor=10_000):
        anna(ledger).close_account("anna")
    with refused("money.account_not_empty", account="ben", pending_minor=10_000):
        ben(ledger).close_account("ben")
    ben(ledger).post_hold("capture", number)
    anna(ledger).close_account("anna")
    with refused("money.account_closed", account="anna"):
        ben(ledger).transfer("x", "ben", "anna", 1, "x")
    with refused("money.account_closed", account="anna"):
        ben(ledger).reverse("undo", ben(ledger).post_hold("capture", number), "x")
    with refused("money.account_closed", account="anna"):
        anna(ledger).close_account("anna")
    with refused("money.account_exists", account="anna"):
        teller(ledger).open_account("anna", "bank-eur", "party", "anna")


def test_an_account_is_closed_by_its_owner_or_the_keeper(ledger):
    with refused("money.not_your_account", account="mill"):
        ben(ledger).close_account("mill")
    with refused("money.not_your_account", account="mill"):
        agent(ledger).close_account("mill")
    teller(ledger).close_account("mill")
    agent(ledger).close_account("pot")
    agent(ledger).close_account("right")


def test_a_frozen_account_is_not_closed(ledger):
    supervisor(ledger).freeze("mill", "frozen", "x")
    with refused("money.account_frozen", account="mill"):
        teller(ledger).close_account("mill")


# ledgers and accounts


def test_a_ledger_is_opened_by_an_issuer_or_a_contract(ledger):
    with refused("money.not_an_issuer"):
        anna(ledger).open_ledger("annas", "EUR")
    with refused("money.ledger_exists", ledger="bank-eur"):
        teller(ledger).open_ledger("bank-eur", "EUR")
    with refused("money.unknown_currency", currency="QQQ"):
        teller(ledger).open_ledger("q", "QQQ")
    with refused("money.currency_without_minor_unit", currency="XAU"):
        teller(ledger).open_ledger("gold", "XAU")
    assert [(row.id, row.keeper_kind, row.keeper) for row in ledger.rows("money.ledgers")] == [
        ("agent-jpy", "contract", "agent"),
        ("bank-eur", "organisation", "bank"),
    ]


def test_accounts_are_opened_by_the_keeper_alone(ledger):
    for actor in ("town/anna", "bank/clerk", "mill/boss"):
        with refused("money.not_the_keeper", ledger="bank-eur"):
            ledger.actor(actor).money.open_account("new", "bank-eur", "party", "anna")
    with refused("money.not_the_keeper", ledger="agent-jpy"):
        teller(ledger).open_account("new", "agent-jpy", "party", "anna")
    with refused("money.not_the_keeper", ledger="bank-eur"):
        ledger.actor("bank/teller").agent.open_account("new", "bank-eur", "party", "anna", CREDIT_BALANCE)
    with refused("money.unknown_ledger", ledger="nowhere"):
        teller(ledger).open_account("new", "nowhere", "party", "anna")


@pytest.mark.parametrize("guard", ["none", DEBIT_BALANCE])
def test_money_comes_into_being_only_from_the_keepers_own_accounts(ledger, guard):
    for kind, owner in (("party", "teller"), ("organisation", "mill"), ("contract", "bank"), ("party", "bank")):
        with refused("money.guard_only_for_keeper", keeper="bank"):
            teller(ledger).open_account("new", "bank-eur", kind, owner, guard)
    with refused("money.guard_only_for_keeper", keeper="agent"):
        agent(ledger).open_account("new", "agent-jpy", "party", "ben", guard)


# currencies and rates


def test_a_currency_in_use_is_on_the_ledger_with_its_exponent(ledger):
    assert [(row.code, row.exponent) for row in ledger.rows("money.currencies")] == [("EUR", 2), ("JPY", 0)]


def test_a_currency_can_be_added_that_the_list_does_not_have(ledger):
    supervisor(ledger).add_currency("QQQ", 6)
    assert ledger.query("money.exponent", "QQQ") == 6
    teller(ledger).open_ledger("q", "QQQ")
    with refused("money.currency_exists", currency="QQQ", exponent=6):
        supervisor(ledger).add_currency("QQQ", 2)


@pytest.mark.parametrize(
    ("currency", "exponent", "code"),
    [
        ("EUR", 2, "currency_exists"),
        ("XAU", 2, "currency_without_minor_unit"),
        ("eur", 2, "not_a_currency_code"),
        ("EURO", 2, "not_a_currency_code"),
        ("QQ1", 2, "not_a_currency_code"),
        ("QQQ", 7, "exponent_too_large"),
    ],
)
def test_adding_a_currency_is_refused_for(ledger, currency, exponent, code):
    with refused(f"money.{code}"):
        supervisor(ledger).add_currency(currency, exponent)
    with refused("call.not_permitted"):
        teller(ledger).add_currency(currency, exponent)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((10_000, "EUR", "JPY", 16_385, 100, "half_even"), 16_385),
        ((1, "JPY", "EUR", 100, 16_385, "half_even"), 1),
        ((1, "JPY", "EUR", 100, 16_385, "floor"), 0),
        ((1, "JPY", "KWD", 1, 500, "half_even"), 2),
        ((5, "EUR", "JPY", 1, 1, "half_even"), 0),
        ((50, "EUR", "JPY", 1, 1, "half_even"), 0),
        ((150, "EUR", "JPY", 1, 1, "half_even"), 2),
        ((51, "EUR", "JPY", 1, 1, "ceiling"), 1),
    ],
)
def test_a_conversion_takes_exponents_into_account_and_rounds_once(ledger, arguments, expected):
    assert ledger.query("money.convert", *arguments) == expected


def test_a_conversion_is_refused_for(ledger):
    for arguments, code in (
        ((1, "EUR", "QQQ", 1, 1), "unknown_currency"),
        ((1, "XAU", "EUR", 1, 1), "currency_without_minor_unit"),
        ((MAX, "JPY", "EUR", 1, 1), "amount_out_of_range"),
    ):
        with pytest.raises(Exception, match=code):
            ledger.query("money.convert", *arguments)


def test_a_contract_gets_no_rate_that_is_not_positive(ledger):
    execution = ledger.ledger.view().execution()
    for numerator, denominator in ((0, 1), (1, 0), (-1, 1), (1, -1)):
        with pytest.raises(Exception, match="rate_not_positive"):
            execution.contract("money").convert(1, "EUR", "USD", numerator, denominator)


def test_the_list_of_currencies_is_the_standards():
    by_exponent = {exponent: [code for code, one in EXPONENTS.items() if one == exponent] for exponent in range(5)}
    assert [len(by_exponent[exponent]) for exponent in range(5)] == [17, 0, 139, 7, 2]
    assert by_exponent[3] == ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
    assert by_exponent[4] == ["CLF", "UYW"]
    assert set(by_exponent[0]) > {"JPY", "KRW", "CLP", "VND", "XOF", "XAF", "UGX", "ISK"}
    assert not set(EXPONENTS) & set(WITHOUT_MINOR_UNIT)
    assert list(EXPONENTS) == sorted(EXPONENTS)
    assert {"XAU", "XDR", "XXX", "XTS"} < set(WITHOUT_MINOR_UNIT)


# amounts as text


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("12.34", "EUR", 1_234),
        ("12", "EUR", 1_200),
        ("12.3", "EUR", 1_230),
        ("-0.01", "EUR", -1),
        ("0", "JPY", 0),
        ("1234", "JPY", 1_234),
        ("1.234", "KWD", 1_234),
        ("1.2345", "CLF", 12_345),
        ("007.50", "EUR", 750),
    ],
)
def test_an_amount_is_read_exactly(text, currency, amount):
    assert minor_units(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("1.234", "EUR"),
        ("1.5", "JPY"),
        ("1,234.00", "EUR"),
        ("", "EUR"),
        (".5", "EUR"),
        ("5.", "EUR"),
        ("1e3", "EUR"),
        ("+1", "EUR"),
        ("- 1", "EUR"),
        ("\u0661", "EUR"),
        ("9" * 20, "EUR"),
        ("1", "XAU"),
        ("1", "QQQ"),
        ("--1", "EUR"),
    ],
)
def test_an_amount_that_cannot_be_read_exactly_is_refused(text, currency):
    with pytest.raises(GuildbookError) as caught:
        minor_units(text, currency)
    assert caught.value.code == "call.bad_arguments"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1_234, "EUR", "12.34"),
        (-1, "EUR", "-0.01"),
        (0, "EUR", "0.00"),
        (1_234, "JPY", "1234"),
        (5, "KWD", "0.005"),
        (-(2**63), "EUR", "-92233720368547758.08"),
    ],
)
def test_an_amount_is_written_with_the_currencys_decimals(amount, currency, text):
    assert amount_text(amount, currency) == text
    assert minor_units(text, currency) == amount


def test_exponents_are_known_outside_the_ledger_too():
    assert exponent_of("EUR") == 2
    with pytest.raises(GuildbookError):
        exponent_of("XAU")


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text()
    for rejection in Money.rejections:
        assert rejection.code.partition(".")[2] in text, rejection.code
    assert UnknownCurrency in Money.rejections
