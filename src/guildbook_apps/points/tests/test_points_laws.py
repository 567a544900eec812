"""Laws of the points contract under random commands, watched by the auditor; and an auditor that finds faults."""

import dataclasses
import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildbook.contract import is_lei
from guildbook.testing import TestLedger
from guildbook_apps.points import contract as rules
from guildbook_apps.points.auditor import Auditor, Difference, Signer, expiry
from guildbook_apps.points.contract import DAY_MS, Points
from guildbook_apps.points.workload import (
    Command,
    Workload,
    cast,
    crowd_cast,
    crowd_opening,
    crowd_transfers,
    found,
    made_up_lei,
    play,
    run,
    signer_of,
    terms,
)

CODE_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=st.randoms(use_true_random=False))
def test_ledger_and_auditor_agree_on_every_outcome_event_and_row(source):
    run(source, blocks=8, members=6)


def test_a_season_of_seeded_commands_meets_most_refusals_and_every_event():
    _ledger, book = run(random.Random(20), blocks=120)
    assert len(book.refusals) >= 20, book.refusals
    assert all(sums.expired and sums.redeemed and sums.revoked for sums in book.programmes.values())


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("seed", range(4))
def test_years_of_seeded_commands_lose_and_invent_no_unit(seed):
    _ledger, book = run(random.Random(1_000 + seed), blocks=1_200, commands_per_block=10, members=20)
    book.check_sums()
    assert len(book.refusals) >= 28, book.refusals


@given(numerator=st.integers(0, 10**18), denominator=st.integers(1, 10**6))
def test_claims_round_half_to_even(numerator, denominator):
    assert rules._half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.text(CODE_CHARACTERS, min_size=18, max_size=18))
def test_made_up_identifiers_have_right_check_digits(prefix):
    assert is_lei(made_up_lei(prefix))


@given(validity=st.sampled_from(list(rules.Validity)), length=st.integers(0, 40), issued_at=st.integers(0, 3_000),
       ends=st.lists(st.integers(1, 4_000), unique=True, max_size=60).map(sorted))
def test_expiry_is_the_same_by_search_and_by_count(validity, length, issued_at, ends):
    length = 0 if validity is rules.Validity.FIXED_DATE else max(1, length)
    ends = tuple(end * DAY_MS for end in ends)
    if not rules._are_period_ends(validity, length, ends):
        return
    given_terms = {**terms("knots", 0), "validity": validity, "validity_length": length, "period_ends": ends}
    profile = rules.Profile(version=1, **given_terms)
    expires_at = rules._expiry(profile, issued_at * DAY_MS)
    assert expires_at == expiry(given_terms, issued_at * DAY_MS)
    if expires_at and validity is rules.Validity.ROLLING_DAYS:
        assert expires_at >= (issued_at + length) * DAY_MS  # never shorter than promised


# An auditor that finds nothing proves nothing


@pytest.fixture
def watched():
    ledger, book = found(members=2)
    play(ledger, book, [Command("kettle-and-crumb/officer-kettle-and-crumb", "issue", {
        "programme": "crumbs", "member": "m0", "units": 40, "evidence": bytes([7]) * 32})])
    return ledger, book


def observed(ledger, book, name, arguments, change):
    """Run one command of m0's controller, and show the auditor its receipt as ``change`` altered it."""
    actor = "members/wallet-0"
    receipt = ledger.cut([ledger.sign(ledger.actor(actor), [(f"points.{name}", (), arguments)])])[0]
    book.observe(ledger.now_ns // 1_000_000, signer_of(actor, cast()), [(name, arguments)], change(receipt))


def altered(place, value):
    def change(receipt):
        contract, name, values = receipt.events[0]
        at = place % len(values)
        return msgspec.structs.replace(receipt, events=[
            [contract, name, [*values[:at], value, *values[at + 1:]]], *receipt.events[1:]])
    return change


REDEEM = {"programme": "crumbs", "member": "m0", "units": 10, "merchant": "paper-lantern", "reference": "t-1"}
TRANSFER = {"programme": "crumbs", "from_member": "m0", "to_member": "m1", "units": 10}


@pytest.mark.parametrize(("name", "arguments", "change"), [
    ("redeem", REDEEM, altered(-1, 41)),  # more than the lot has
    ("redeem", REDEEM, altered(-2, 2)),  # another lot
    ("redeem", REDEEM, altered(-1, 9)),  # a unit disappears: the claim no longer fits
    ("redeem", REDEEM, altered(0, 9)),  # a number that was not drawn
    ("transfer", TRANSFER, altered(-1, 1)),  # another expiry
    ("transfer", TRANSFER, altered(4, 1)),  # into the lot that it came from
    ("redeem", {**REDEEM, "units": 41}, lambda receipt: msgspec.structs.replace(receipt, code="points.no_profile")),
    ("redeem", REDEEM, lambda receipt: msgspec.structs.replace(receipt, outcome=1, code="points.out_of_scope")),
])
def test_the_auditor_sees_a_false_receipt(watched, name, arguments, change):
    ledger, book = watched
    with pytest.raises(Difference):
        observed(ledger, book, name, arguments, change)


def test_the_auditor_sees_an_event_that_was_left_out(watched):
    ledger, book = watched
    observed(ledger, book, "transfer", TRANSFER, lambda receipt: msgspec.structs.replace(receipt, events=[]))
    with pytest.raises(Difference, match="lots"):
        book.compare(ledger.rows)


@pytest.mark.parametrize(("table", "change"), [
    ("points.lots", {"units": 41}), ("points.lots", {"expires_at": 1}), ("points.totals", {"issued": 41}),
    ("points.members", {"controller": "somebody"}), ("points.earnings", {"returned": 1})])
def test_the_auditor_sees_a_false_row(watched, table, change):
    ledger, book = watched

    def rows(name):
        found_rows = ledger.rows(name)
        return [msgspec.structs.replace(found_rows[0], **change), *found_rows[1:]] if name == table else found_rows

    with pytest.raises(Difference, match=table.partition(".")[2]):
        book.compare(rows)


def test_the_auditor_sees_a_unit_that_was_lost_in_its_own_book(watched):
    _ledger, book = watched
    book.lots[1] = dataclasses.replace(book.lots[1], units=39)
    with pytest.raises(Difference, match="39 units in lots; the sums leave 40"):
        book.check_sums()


def test_a_workload_draws_the_same_commands_from_the_same_seed():
    drawn = []
    for _twice in range(2):
        ledger, book = found(members=4, check_invariants=False)
        workload = Workload(random.Random(3), book)
        drawn.append([workload.command(ledger.now) for _command in range(50)])
    assert drawn[0] == drawn[1]


def test_without_known_roles_the_auditor_leaves_permissions_to_the_platform():
    book = Auditor()
    arguments = {"programme": "p", "issuer": "i", "supervisor": "s", "unit": "u"}
    assert book.expected_code(0, Signer("x", "y"), "register_programme", arguments) == ""
    assert book.expected_code(0, Signer("x", "y", frozenset()), "register_programme", arguments) == "call.not_permitted"


def test_a_crowd_transfers_without_a_refusal_and_its_lots_stay_bounded():
    accounts, signers = 30, 5
    ledger, book = TestLedger(Points, actors=crowd_cast(signers)), Auditor()
    founding = list(crowd_opening(ledger.now, accounts, signers))
    for command in founding[:12]:
        play(ledger, book, [command], crowd_cast(signers))
    play(ledger, book, founding[12:], crowd_cast(signers))
    transfers = crowd_transfers(random.Random(4), accounts, signers)
    for _block in range(4):
        assert set(play(ledger, book, [next(transfers) for _transfer in range(100)], crowd_cast(signers))) == {""}
    assert len(book.lots) <= 2 * accounts
