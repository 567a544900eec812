"""The rules of the points contract, each as a story; every refusal by name."""

import re
from pathlib import Path

import pytest

from guildbook.chain.receipt import decode_receipt
from guildbook.testing import Actor, TestLedger, refused
from guildbook_apps.points import contract as rules
from guildbook_apps.points.contract import DAY_MS, Points
from guildbook_apps.points.workload import made_up_lei, terms

ACTORS = {
    "alliance/steward": ["points:operator"],
    "alliance/risk": ["points:approver"],
    "kettle/olga": ["points:issuer"],
    "kettle/piet": ["points:issuer", "points:approver"],
    "anchor/otto": ["points:issuer", "points:approver"],
    "lantern/till": ["points:merchant"],
    "moss/till-two": ["points:merchant"],
    "kettle/till-three": ["points:merchant"],
    "points-watch/inspector": ["points:supervisor"],
    "other-watch/visitor": ["points:supervisor"],
    "members/anna": [],
    "members/ben": [],
}


class Alliance:
    """A programme "crumbs" of the kettle, redeemed by the lantern, and the members a1, a2 (Anna) and b1 (Ben)."""

    def __init__(self, ledger: TestLedger) -> None:
        self.ledger = ledger
        self.steward, self.risk = ledger.actor("alliance/steward"), ledger.actor("alliance/risk")
        self.olga, self.piet, self.otto = (ledger.actor(one) for one in ("kettle/olga", "kettle/piet", "anchor/otto"))
        self.till, self.moss = ledger.actor("lantern/till"), ledger.actor("moss/till-two")
        self.inspector = ledger.actor("points-watch/inspector")
        self.anna, self.ben = ledger.actor("members/anna"), ledger.actor("members/ben")
        self.lines = 0

    def terms(self, **changes):
        return {**terms("knots", self.ledger.now, pending_days=0, validity_length=60, earn_per_minor=100), **changes}

    def programme(self, name="crumbs", issuer="kettle", quota=10_000, **changes):
        officer = self.olga if issuer == "kettle" else self.otto
        self.steward.points.register_programme(programme=name, issuer=issuer, supervisor="points-watch",
                                               unit=name.upper())
        officer.points.publish_profile(**self.terms(programme=name, **changes))
        officer.points.admit_merchant(programme=name, merchant="lantern", price_numerator=1, price_denominator=2)
        if quota:
            proposal = officer.points.propose_quota(programme=name, units=quota, reason="opening")
            self.risk.points.approve_quota(proposal=proposal, programme=name, units=quota)

    def line(self):
        self.lines += 1
        return self.lines.to_bytes(32, "big")

    def issue(self, member, units, programme="crumbs", evidence=None):
        officer = self.olga if programme == "crumbs" else self.otto
        return officer.points.issue(programme=programme, member=member, units=units,
                                    evidence=evidence or self.line())

    def redeem(self, wallet: Actor, member, units, merchant="lantern", programme="crumbs"):
        return wallet.points.redeem(programme=programme, member=member, units=units, merchant=merchant, reference="r-1")

    def hold(self, wallet: Actor, member, units, ttl_ms=3_600_000, merchant="lantern"):
        return wallet.points.hold(programme="crumbs", member=member, units=units, merchant=merchant, reference="r-1",
                                  ttl_ms=ttl_ms)

    def transfer(self, wallet: Actor, from_member, to_member, units):
        wallet.points.transfer(programme="crumbs", from_member=from_member, to_member=to_member, units=units)

    def balance(self, member, programme="crumbs"):
        names = ("spendable", "pending", "held", "over", "debt")
        return {name: units for name, units in zip(names, self.ledger.query("points.balance", member, programme),
                                                   strict=True) if units}

    def total(self, programme="crumbs"):
        return self.ledger.rows("points.totals", programme)[0]

    def lots(self, member=None):
        return [one for one in self.ledger.rows("points.lots") if member in (None, one.member)]

    def events(self):
        """(name, values) of the events in the last block."""
        receipts = [decode_receipt(one) for one in self.ledger.changes().receipts]
        return [(name, values) for receipt in receipts for _contract, name, values in receipt.events]


@pytest.fixture
def alliance():
    made = Alliance(TestLedger(Points, actors=ACTORS))
    made.programme()
    for member, controller in (("a1", "anna"), ("a2", "anna"), ("b1", "ben")):
        made.olga.points.enrol(member=member, controller=controller)
    return made


# Programmes and terms


def test_a_programme_issues_only_once_it_has_terms_and_a_quota(alliance):
    alliance.steward.points.register_programme(programme="knots", issuer="anchor", supervisor="points-watch",
                                               unit="KNOT")
    with refused("points.no_profile", programme="knots"):
        alliance.issue("a1", 5, programme="knots")
    alliance.otto.points.publish_profile(**alliance.terms(programme="knots"))
    with refused("points.quota_exceeded", wanted=5, left=0):
        alliance.issue("a1", 5, programme="knots")


def test_a_programme_and_a_member_are_registered_once(alliance):
    with refused("points.already_registered", id="crumbs"):
        alliance.steward.points.register_programme(programme="crumbs", issuer="anchor", supervisor="points-watch",
                                                   unit="CRUMB")
    with refused("points.already_registered", id="a1"):
        alliance.olga.points.enrol(member="a1", controller="ben")


def test_only_the_issuer_acts_for_its_programme(alliance):
    with refused("points.not_yours", owner="kettle"):
        alliance.otto.points.publish_profile(**alliance.terms(programme="crumbs"))
    with refused("points.not_yours", owner="kettle"):
        alliance.otto.points.issue(programme="crumbs", member="a1", units=1, evidence=alliance.line())
    with refused("call.not_permitted"):
        alliance.anna.points.issue(programme="crumbs", member="a1", units=1, evidence=alliance.line())


@pytest.mark.parametrize(("field", "change"), [
    ("issuer_lei", {"issuer_lei": made_up_lei("0000MADEUPCRUMBS00")[:-1] + "0"}),
    ("issuer_lei", {"issuer_lei": "TOO-SHORT"}),
    ("issuer_lei", {"issuer_lei": "0000madeupcrumbs0042"}),
    ("currency", {"currency": "gbp"}),
    ("currency", {"currency": "EUR"}),
    ("validity_length", {"validity_length": 0}),
    ("validity_length", {"validity": "fixed_date", "validity_length": 3, "period_ends": (1,)}),
    ("validity_length", {"validity_length": rules.VALIDITY_DAYS_MAX + 1}),
    ("pending_days", {"pending_days": rules.NOTICE_DAYS_MAX + 1}),
    ("notice_days", {"notice_days": rules.NOTICE_DAYS_MAX + 1}),
    ("period_ends", {"period_ends": (5, 5)}),
    ("period_ends", {"validity": "fixed_date", "validity_length": 0, "period_ends": ()}),
    ("period_ends", {"validity": "rolling_months", "validity_length": 3, "period_ends": (1, 2, 3)}),
    ("period_ends", {"period_ends": tuple(range(rules.PERIOD_ENDS_MAX + 1))}),
])
def test_terms_that_contradict_their_rule_are_refused(alliance, field, change):
    with refused("points.bad_profile", field=field):
        alliance.olga.points.publish_profile(**alliance.terms(programme="crumbs", **change))


def test_a_change_of_terms_gives_the_promised_notice_and_one_change_waits_at_a_time(alliance):
    publish, now = alliance.olga.points.publish_profile, alliance.ledger.now
    with refused("points.notice_too_short", earliest=now + 5 * DAY_MS):
        publish(**alliance.terms(programme="crumbs", effective_from=now + 5 * DAY_MS - 1))
    assert publish(**alliance.terms(programme="crumbs", effective_from=alliance.ledger.now + 6 * DAY_MS)) == 2
    with refused("points.profile_pending"):
        publish(**alliance.terms(programme="crumbs", effective_from=alliance.ledger.now + 60 * DAY_MS))


def test_a_change_of_terms_never_shortens_lots_that_exist(alliance):
    alliance.issue("a1", 10)
    before = alliance.lots("a1")[0]
    alliance.olga.points.publish_profile(**alliance.terms(
        programme="crumbs", validity_length=1, effective_from=alliance.ledger.now + 6 * DAY_MS))
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=7)
    alliance.issue("a1", 10)
    first, second, third = alliance.lots("a1")
    assert first == before
    assert second.expires_at - second.issued_at == 60 * DAY_MS  # the change waited
    assert third.expires_at - third.issued_at == DAY_MS
    assert [one.profile for one in (first, second, third)] == [1, 1, 2]


def test_a_fixed_date_is_the_same_for_every_lot_and_nothing_is_issued_after_it(alliance):
    end = alliance.ledger.now + 20 * DAY_MS
    alliance.programme("knots", "anchor", validity="fixed_date", validity_length=0, period_ends=(end,))
    alliance.issue("a1", 1, programme="knots")
    alliance.ledger.advance(days=19)
    alliance.issue("a1", 1, programme="knots")
    assert {one.expires_at for one in alliance.lots("a1")} == {end}
    alliance.ledger.advance(days=1)
    with refused("points.validity_over", programme="knots"):
        alliance.issue("a1", 1, programme="knots")


def test_rolling_months_end_with_a_listed_month_and_rolling_days_round_up_to_a_listed_end(alliance):
    now = alliance.ledger.now
    ends = tuple(now + days * DAY_MS for days in (-3, 28, 58, 89, 119))
    alliance.programme("knots", "anchor", validity="rolling_months", validity_length=2, period_ends=ends)
    alliance.issue("a1", 1, programme="knots")
    assert alliance.lots("a1")[0].expires_at == ends[3]
    alliance.olga.points.publish_profile(**alliance.terms(
        programme="crumbs", validity_length=30, period_ends=ends, effective_from=now + 6 * DAY_MS))
    alliance.ledger.advance(days=7)
    alliance.issue("b1", 1)
    assert alliance.lots("b1")[0].expires_at == ends[2]
    alliance.ledger.advance(days=60)
    with refused("points.validity_over", programme="knots"):
        alliance.issue("a1", 1, programme="knots")


# Quotas


def test_the_proposer_never_approves_even_with_both_roles(alliance):
    proposal = alliance.piet.points.propose_quota(programme="crumbs", units=5, reason="more")
    with refused("points.own_proposal", proposer="piet"):
        alliance.piet.points.approve_quota(proposal=proposal, programme="crumbs", units=5)
    alliance.risk.points.approve_quota(proposal=proposal, programme="crumbs", units=5)
    assert alliance.total().granted == 10_005
    with refused("points.unknown_number", number=proposal):
        alliance.risk.points.approve_quota(proposal=proposal, programme="crumbs", units=5)


def test_an_approval_is_bound_to_what_was_proposed_by_whom_and_when(alliance):
    proposal = alliance.olga.points.propose_quota(programme="crumbs", units=5, reason="more")
    approve = alliance.risk.points.approve_quota
    with refused("points.proposal_mismatch", programme="crumbs", units=5):
        approve(proposal=proposal, programme="crumbs", units=50)
    with refused("points.not_yours"):
        alliance.otto.points.approve_quota(proposal=proposal, programme="crumbs", units=5)
    other = alliance.olga.points.propose_quota(programme="crumbs", units=7, reason="and more")
    approve(proposal=other, programme="crumbs", units=7)
    with refused("points.stale_proposal", granted=10_007):
        approve(proposal=proposal, programme="crumbs", units=5)
    alliance.ledger.advance(days=7)
    with refused("points.proposal_expired"):
        approve(proposal=proposal, programme="crumbs", units=5)


def test_a_quota_bounds_what_is_issued_and_is_itself_bounded(alliance):
    alliance.issue("a1", 9_999)
    with refused("points.quota_exceeded", wanted=2, left=1):
        alliance.issue("a1", 2)
    with refused("points.quota_too_large", most=rules.UNITS_MAX - 10_000):
        alliance.olga.points.propose_quota(programme="crumbs", units=rules.UNITS_MAX - 9_999, reason="all")


# Earning


def test_one_purchase_line_earns_once(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    with refused("points.duplicate_evidence", evidence=line):
        alliance.issue("b1", 10, evidence=line)
    alliance.olga.points.revoke_issue(evidence=line, units=10)
    with refused("points.duplicate_evidence"):  # neither after a refund nor in another programme
        alliance.issue("a1", 10, evidence=line)
    alliance.programme("knots", "anchor")
    with refused("points.duplicate_evidence"):
        alliance.issue("a1", 10, programme="knots", evidence=line)


def test_of_two_issues_for_one_line_in_one_block_the_first_wins(alliance):
    line = alliance.line()
    with alliance.ledger.block() as receipts:
        alliance.issue("a1", 10, evidence=line)
        alliance.issue("b1", 10, evidence=line)
    assert [one.code for one in receipts] == ["", "points.duplicate_evidence"]
    assert alliance.balance("a1") == {"spendable": 10}
    assert alliance.balance("b1") == {}


def test_pending_units_wait_for_their_day_unless_the_issuer_waives_it(alliance):
    alliance.programme("knots", "anchor", pending_days=14)
    line = alliance.line()
    alliance.issue("a1", 10, programme="knots", evidence=line)
    alliance.issue("a1", 5, programme="knots")
    assert alliance.balance("a1", "knots") == {"pending": 15}
    with refused("points.insufficient_units", wanted=1, free=0):
        alliance.redeem(alliance.anna, "a1", 1, programme="knots")
    alliance.otto.points.activate(evidence=line)
    with refused("points.already_active"):
        alliance.otto.points.activate(evidence=line)
    assert alliance.balance("a1", "knots") == {"spendable": 10, "pending": 5}
    alliance.ledger.advance(days=14)  # and nobody has to do anything
    alliance.redeem(alliance.anna, "a1", 15, programme="knots")


def test_only_the_issuer_waives_and_only_for_a_line_that_earned(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    with refused("points.not_yours", owner="kettle"):
        alliance.otto.points.activate(evidence=line)
    with refused("points.unknown_evidence"):
        alliance.olga.points.activate(evidence=alliance.line())


# Spending


def test_lots_are_spent_earliest_expiry_first_then_by_issue_then_by_number(alliance):
    end = alliance.ledger.now + 50 * DAY_MS
    alliance.issue("a1", 10)  # expires in 60 days
    alliance.olga.points.publish_profile(**alliance.terms(
        programme="crumbs", validity="fixed_date", validity_length=0, period_ends=(end,),
        effective_from=alliance.ledger.now + 6 * DAY_MS))
    alliance.ledger.advance(days=7)
    with alliance.ledger.block():
        alliance.issue("a1", 20)
        alliance.issue("a1", 30)
    alliance.issue("a1", 40)
    alliance.redeem(alliance.anna, "a1", 95)
    taken = [(values[-2], values[-1]) for name, values in alliance.events() if name == "redeemed"]
    assert taken == [(2, 20), (3, 30), (4, 40), (1, 5)]
    assert alliance.ledger.query("points.expiry_calendar", "a1", "crumbs") == ((alliance.lots()[0].expires_at, 5),)


def test_a_member_cannot_spend_more_than_its_free_units(alliance):
    alliance.issue("a1", 10)
    alliance.hold(alliance.anna, "a1", 4)
    with refused("points.insufficient_units", wanted=7, free=6):
        alliance.redeem(alliance.anna, "a1", 7)
    with refused("points.insufficient_units", wanted=7, free=6):
        alliance.transfer(alliance.anna, "a1", "b1", 7)
    with refused("points.insufficient_units", wanted=7, free=6):
        alliance.hold(alliance.anna, "a1", 7)
    alliance.redeem(alliance.anna, "a1", 6)
    assert alliance.balance("a1") == {"held": 4}


def test_of_two_holds_on_the_same_units_in_one_block_the_second_finds_what_is_left(alliance):
    alliance.issue("a1", 10)
    with alliance.ledger.block() as receipts:
        alliance.hold(alliance.anna, "a1", 8)
        alliance.hold(alliance.anna, "a1", 8)
        alliance.transfer(alliance.anna, "a1", "b1", 2)
    assert [one.code for one in receipts] == ["", "points.insufficient_units", ""]
    assert receipts[1].fields == [["wanted", 8], ["free", 2]]


def test_only_the_controller_spends_and_may_hand_the_account_over(alliance):
    alliance.issue("a1", 10)
    for act in (lambda: alliance.redeem(alliance.ben, "a1", 1), lambda: alliance.hold(alliance.ben, "a1", 1),
                lambda: alliance.transfer(alliance.ben, "a1", "b1", 1),
                lambda: alliance.ben.points.set_controller(member="a1", controller="ben")):
        with refused("points.not_yours", owner="anna"):
            act()
    alliance.anna.points.set_controller(member="a1", controller="ben")
    alliance.redeem(alliance.ben, "a1", 1)
    with refused("points.not_yours", owner="ben"):
        alliance.redeem(alliance.anna, "a1", 1)


def test_a_merchant_redeems_only_what_it_was_admitted_to(alliance):
    alliance.issue("a1", 10)
    with refused("points.out_of_scope", programme="crumbs", merchant="moss"):
        alliance.redeem(alliance.anna, "a1", 1, merchant="moss")
    with refused("points.out_of_scope"):
        alliance.olga.points.withdraw_merchant(programme="crumbs", merchant="moss")
    hold = alliance.hold(alliance.anna, "a1", 4)
    alliance.olga.points.withdraw_merchant(programme="crumbs", merchant="lantern")
    with refused("points.out_of_scope", programme="crumbs", merchant="lantern"):
        alliance.redeem(alliance.anna, "a1", 1)
    alliance.till.points.capture(hold=hold, units=4)  # what was promised before stays good, at its price
    assert alliance.ledger.rows("points.redemptions", hold)[0].claim_minor == 2


def test_a_programme_of_issuer_scope_is_redeemed_with_the_issuer_alone(alliance):
    alliance.programme("knots", "anchor", scope="issuer")
    alliance.issue("a1", 10, programme="knots")
    with refused("points.out_of_scope"):
        alliance.redeem(alliance.anna, "a1", 1, programme="knots")
    number = alliance.redeem(alliance.anna, "a1", 1, programme="knots", merchant="anchor")
    assert alliance.ledger.rows("points.redemptions", number)[0].claim_minor == 0


@pytest.mark.parametrize(("units", "claim"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_the_claim_is_the_price_of_all_units_rounded_half_to_even(alliance, units, claim):
    alliance.issue("a1", 10)
    number = alliance.redeem(alliance.anna, "a1", units)
    row = alliance.ledger.rows("points.redemptions", number)[0]
    assert (row.claim_minor, row.currency, row.merchant) == (claim, "GBP", "lantern")


def test_prices_times_and_batches_have_named_limits(alliance):
    with refused("points.above_limit", argument="price_numerator", most=10**6):
        alliance.olga.points.admit_merchant(programme="crumbs", merchant="moss", price_numerator=10**6 + 1,
                                            price_denominator=1)
    with refused("points.above_limit", argument="ttl_ms", most=7 * DAY_MS):
        alliance.hold(alliance.anna, "a1", 1, ttl_ms=7 * DAY_MS + 1)
    with refused("points.above_limit", argument="lots_max", most=1_000):
        alliance.ben.points.expire_due(lots_max=1_001, after=0)


def test_one_call_touches_at_most_two_hundred_lots_and_says_what_they_cover(alliance):
    for _block in range(3):
        with alliance.ledger.block():
            for _line in range(70):
                alliance.issue("a1", 2)
    with refused("points.too_many_lots", lots_max=200, covered=400):
        alliance.redeem(alliance.anna, "a1", 401)
    alliance.redeem(alliance.anna, "a1", 400)
    assert alliance.balance("a1") == {"spendable": 20}


# Holds


def test_a_capture_in_part_releases_the_rest(alliance):
    alliance.issue("a1", 10)
    alliance.issue("a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 15)
    assert alliance.balance("a1") == {"spendable": 5, "held": 15}
    with refused("points.capture_exceeds_hold", wanted=16, held=15):
        alliance.till.points.capture(hold=hold, units=16)
    assert alliance.till.points.capture(hold=hold, units=12) == hold
    assert alliance.balance("a1") == {"spendable": 8}
    assert [(one.id, one.units) for one in alliance.lots("a1")] == [(2, 8)]  # the earliest lot was captured first
    for settle in (lambda: alliance.till.points.capture(hold=hold, units=1),
                   lambda: alliance.till.points.void(hold=hold)):
        with refused("points.unknown_number", number=hold):
            settle()
    assert alliance.total().redeemed == 12


def test_a_hold_belongs_to_the_merchant_it_names(alliance):
    alliance.issue("a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 5)
    with refused("points.not_yours", owner="lantern"):
        alliance.moss.points.capture(hold=hold, units=5)
    with refused("points.not_yours", owner="lantern"):
        alliance.moss.points.void(hold=hold)
    alliance.till.points.void(hold=hold)
    assert alliance.balance("a1") == {"spendable": 10}


def test_a_lapsed_hold_cannot_be_captured_and_gives_way_when_its_units_are_needed(alliance):
    alliance.issue("a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 8, ttl_ms=60_000)
    alliance.ledger.advance(seconds=60)
    with refused("points.hold_lapsed"):
        alliance.till.points.capture(hold=hold, units=8)
    alliance.redeem(alliance.anna, "a1", 2)  # needs nothing of it
    assert alliance.balance("a1") == {"held": 8}
    alliance.redeem(alliance.anna, "a1", 3)
    assert alliance.balance("a1") == {"spendable": 5}
    assert alliance.ledger.rows("points.holds") == []


def test_anybody_clears_lapsed_holds_and_only_those(alliance):
    alliance.issue("a1", 10)
    alliance.hold(alliance.anna, "a1", 3, ttl_ms=60_000)
    alliance.hold(alliance.anna, "a1", 3, ttl_ms=7_200_000)
    assert alliance.ben.points.void_due() == 0
    alliance.ledger.advance(hours=1)
    assert alliance.ben.points.void_due() == 1
    assert alliance.balance("a1") == {"spendable": 7, "held": 3}


def test_the_price_of_a_capture_is_the_one_agreed_at_the_hold(alliance):
    alliance.issue("a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 4)
    alliance.olga.points.admit_merchant(programme="crumbs", merchant="lantern", price_numerator=9, price_denominator=1)
    alliance.till.points.capture(hold=hold, units=4)
    assert alliance.ledger.rows("points.redemptions", hold)[0].claim_minor == 2


# Expiry


def test_units_cannot_be_spent_from_their_expiry_on_whether_or_not_anybody_swept(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.now_ns = (alliance.lots()[0].expires_at - 1_000) * 1_000_000
    with refused("points.insufficient_units", free=0):
        alliance.redeem(alliance.anna, "a1", 1)
    assert alliance.balance("a1") == {"over": 10}
    assert alliance.ben.points.expire_due(lots_max=10, after=0) == [1, 0]
    assert (alliance.balance("a1"), alliance.total().expired, alliance.lots()) == ({}, 10, [])


def test_a_unit_is_good_until_the_last_millisecond(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.now_ns = (alliance.lots()[0].expires_at - 1_001) * 1_000_000
    alliance.redeem(alliance.anna, "a1", 1)


def test_held_units_do_not_expire_until_the_hold_ends(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=59)
    kept = alliance.hold(alliance.anna, "a1", 4, ttl_ms=3 * DAY_MS)
    freed = alliance.hold(alliance.anna, "a1", 3, ttl_ms=3 * DAY_MS)
    alliance.ledger.advance(days=2)
    alliance.ben.points.expire_due(lots_max=10, after=0)
    assert (alliance.balance("a1"), alliance.total().expired) == ({"held": 7}, 3)
    alliance.till.points.void(hold=freed)  # they expire at that moment
    assert (alliance.balance("a1"), alliance.total().expired) == ({"held": 4}, 6)
    alliance.till.points.capture(hold=kept, units=4)
    assert (alliance.total().redeemed, alliance.lots()) == (4, [])


def test_expiry_runs_in_batches_behind_a_cursor_that_passes_held_lots(alliance):
    with alliance.ledger.block():
        for _line in range(12):
            alliance.issue("a1", 1)
    alliance.hold(alliance.anna, "a1", 5, ttl_ms=7 * DAY_MS)
    alliance.ledger.advance(days=58)
    alliance.hold(alliance.anna, "a1", 2, ttl_ms=7 * DAY_MS)
    alliance.ledger.advance(days=3)
    seen, cursor, calls = 4, 0, 0
    while seen == 4:
        seen, cursor = alliance.ben.points.expire_due(lots_max=4, after=cursor)
        calls += 1
    assert calls == 4
    assert alliance.total().expired == 5
    assert alliance.balance("a1") == {"held": 7}


# Transfer


def test_a_transfer_keeps_the_expiry_and_names_its_parent(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=10)
    alliance.transfer(alliance.anna, "a1", "b1", 4)
    source, received = alliance.lots()
    assert (source.units, received.units) == (6, 4)
    assert (received.expires_at, received.parent, received.evidence) == (source.expires_at, source.id, None)
    assert alliance.events() == [("transferred", ["crumbs", "a1", "b1", 1, 2, 4, source.expires_at])]


def test_received_units_of_one_expiry_share_a_lot_and_earned_lots_stay_apart(alliance):
    with alliance.ledger.block():  # one block: one expiry
        alliance.issue("a1", 10)
        alliance.issue("a2", 10)
        alliance.issue("b1", 10)
    alliance.transfer(alliance.anna, "a1", "b1", 4)
    alliance.transfer(alliance.anna, "a2", "b1", 4)
    alliance.transfer(alliance.anna, "a1", "b1", 6)
    assert [(one.id, one.units, one.parent) for one in alliance.lots("b1")] == [(3, 10, None), (4, 14, 1)]
    assert alliance.lots("a1") == []  # an exhausted lot leaves no row


def test_a_transfer_across_lots_takes_each_in_order_and_changes_no_total(alliance):
    alliance.issue("a1", 3)
    alliance.issue("a1", 3)
    before = alliance.total()
    alliance.transfer(alliance.anna, "a1", "a2", 5)
    assert [values[3:6] for _name, values in alliance.events()] == [[1, 3, 3], [2, 4, 2]]
    assert alliance.total() == before


def test_a_programme_may_forbid_transfers_and_nobody_sends_to_itself(alliance):
    alliance.issue("a1", 3)
    with refused("points.same_member", member="a1"):
        alliance.transfer(alliance.anna, "a1", "a1", 1)
    alliance.programme("knots", "anchor", transferable=False)
    alliance.issue("a1", 3, programme="knots")
    with refused("points.not_transferable", programme="knots"):
        alliance.anna.points.transfer(programme="knots", from_member="a1", to_member="b1", units=1)


# Claw-back


def test_a_refund_takes_back_what_is_there(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    assert alliance.olga.points.revoke_issue(evidence=line, units=4) == 0
    assert (alliance.balance("a1"), alliance.total().revoked) == ({"spendable": 6}, 4)
    with refused("points.return_exceeds_earning", wanted=7, left=6):
        alliance.olga.points.revoke_issue(evidence=line, units=7)
    alliance.olga.points.revoke_issue(evidence=line, units=6)
    assert (alliance.lots(), alliance.total().revoked) == ([], 10)


def test_a_refund_of_pending_units_takes_them_before_they_are_ever_spendable(alliance):
    alliance.programme("knots", "anchor", pending_days=14)
    line = alliance.line()
    alliance.issue("a1", 10, programme="knots", evidence=line)
    assert alliance.otto.points.revoke_issue(evidence=line, units=10) == 0
    assert alliance.balance("a1", "knots") == {}


def test_a_refund_after_the_points_were_spent_is_a_debt_that_later_earnings_pay(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    alliance.redeem(alliance.anna, "a1", 8)
    assert alliance.olga.points.revoke_issue(evidence=line, units=10) == 8
    assert (alliance.balance("a1"), alliance.total().revoked, alliance.total().debt) == ({"debt": 8}, 2, 8)
    assert alliance.issue("a1", 5) == 0  # all of it goes to the debt: no lot
    assert alliance.balance("a1") == {"debt": 3}
    assert alliance.issue("a1", 5) == 2
    assert (alliance.balance("a1"), alliance.total().debt, alliance.total().revoked) == ({"spendable": 2}, 0, 10)


def test_a_debt_belongs_to_one_programme(alliance):
    alliance.programme("knots", "anchor")
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    alliance.redeem(alliance.anna, "a1", 10)
    alliance.olga.points.revoke_issue(evidence=line, units=10)
    alliance.issue("a1", 10, programme="knots")
    assert alliance.balance("a1", "knots") == {"spendable": 10}
    assert alliance.balance("a1") == {"debt": 10}


def test_a_claw_back_takes_neither_held_units_nor_a_gift(alliance):
    line = alliance.line()
    with alliance.ledger.block():
        alliance.issue("a1", 10, evidence=line)
        alliance.issue("b1", 10)
    alliance.transfer(alliance.ben, "b1", "a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 6)  # out of the earned lot, the older of the two
    assert alliance.olga.points.revoke_issue(evidence=line, units=10) == 6
    assert alliance.balance("a1") == {"spendable": 10, "held": 6, "debt": 6}
    alliance.till.points.capture(hold=hold, units=6)


def test_a_claw_back_does_not_claim_what_expired_unused(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    alliance.redeem(alliance.anna, "a1", 3)
    alliance.ledger.advance(days=61)  # nobody has swept
    assert alliance.olga.points.revoke_issue(evidence=line, units=10) == 3
    names = [name for name, _values in alliance.events()]
    assert names == ["expired", "revoked"]
    assert alliance.events()[1][1][-3:] == [0, 3, 7]
    assert (alliance.balance("a1"), alliance.total().expired) == ({"debt": 3}, 7)


def test_a_claw_back_is_the_issuers_and_needs_an_earning(alliance):
    line = alliance.line()
    with refused("points.unknown_evidence", evidence=line):
        alliance.olga.points.revoke_issue(evidence=line, units=1)
    alliance.issue("a1", 10, evidence=line)
    with refused("points.not_yours", owner="kettle"):
        alliance.otto.points.revoke_issue(evidence=line, units=1)


# Reversal


def test_a_reversal_restores_the_original_lots_with_their_expiry_and_takes_back_the_claim(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=1)
    alliance.issue("a1", 10)
    before = alliance.lots("a1")
    number = alliance.redeem(alliance.anna, "a1", 15)
    alliance.till.points.reverse_redemption(redemption=number)
    assert alliance.lots("a1") == before
    assert (alliance.total().redeemed, alliance.total().restored) == (0, 15)
    assert ("claim_booked", [number, "crumbs", "kettle", "lantern", -15, -8, "GBP"]) in alliance.events()
    with refused("points.already_reversed"):
        alliance.till.points.reverse_redemption(redemption=number)


def test_restored_units_live_at_least_seven_more_days(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=50)
    number = alliance.redeem(alliance.anna, "a1", 10)
    alliance.ledger.advance(days=20)
    alliance.till.points.reverse_redemption(redemption=number)
    restored, = alliance.lots("a1")
    assert (restored.id, restored.expires_at) == (1, alliance.ledger.now_ns // 1_000_000 + 7 * DAY_MS)
    assert restored.evidence is not None


def test_where_the_rest_of_the_lot_expires_earlier_the_grace_makes_a_lot_beside_it(alliance):
    alliance.issue("a1", 10)
    alliance.ledger.advance(days=55)
    number = alliance.redeem(alliance.anna, "a1", 6)
    alliance.till.points.reverse_redemption(redemption=number)
    rest, beside = alliance.lots("a1")
    assert (rest.units, beside.units, beside.parent) == (4, 6, rest.id)
    assert beside.expires_at - rest.expires_at > DAY_MS


def test_a_reversal_has_its_time_and_its_merchant(alliance):
    alliance.issue("a1", 10)
    number = alliance.redeem(alliance.anna, "a1", 5)
    with refused("points.unknown_number", number=99):
        alliance.till.points.reverse_redemption(redemption=99)
    with refused("points.not_yours", owner="lantern"):
        alliance.moss.points.reverse_redemption(redemption=number)
    alliance.ledger.advance(days=30)
    with refused("points.reversal_too_late"):
        alliance.till.points.reverse_redemption(redemption=number)


def test_units_restored_after_their_refund_stay_and_the_debt_stays(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    number = alliance.redeem(alliance.anna, "a1", 10)
    alliance.olga.points.revoke_issue(evidence=line, units=6)
    alliance.till.points.reverse_redemption(redemption=number)
    assert alliance.balance("a1") == {"spendable": 10, "debt": 6}
    alliance.ledger.advance(days=61)
    alliance.ben.points.expire_due(lots_max=10, after=0)
    assert alliance.olga.points.revoke_issue(evidence=line, units=4) == 0  # those four expired unused


# Freezing and merging


def test_a_frozen_member_neither_earns_spends_sends_nor_receives_and_is_released_again(alliance):
    alliance.issue("a1", 10)
    hold = alliance.hold(alliance.anna, "a1", 2)
    freeze = alliance.inspector.points.set_member_status
    freeze(member="a1", status="frozen", reason="a report")
    for act in (lambda: alliance.issue("a1", 1), lambda: alliance.redeem(alliance.anna, "a1", 1),
                lambda: alliance.hold(alliance.anna, "a1", 1), lambda: alliance.transfer(alliance.anna, "a1", "b1", 1),
                lambda: alliance.transfer(alliance.anna, "a2", "a1", 1),
                lambda: alliance.anna.points.set_controller(member="a1", controller="ben"),
                lambda: alliance.anna.points.merge_members(member="a1", survivor="a2")):
        with refused("points.inactive_member", member="a1", status="frozen"):
            act()
    alliance.till.points.capture(hold=hold, units=2)
    with refused("points.no_change", status="frozen"):
        freeze(member="a1", status="frozen", reason="again")
    freeze(member="a1", status="active", reason="cleared")
    alliance.redeem(alliance.anna, "a1", 8)


def test_a_frozen_programme_settles_what_was_promised_and_promises_nothing_new(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    hold = alliance.hold(alliance.anna, "a1", 2)
    number = alliance.redeem(alliance.anna, "a1", 2)
    proposal = alliance.olga.points.propose_quota(programme="crumbs", units=5, reason="more")
    visitor = alliance.ledger.actor("other-watch/visitor")
    with refused("points.not_yours", owner="points-watch"):
        visitor.points.set_programme_status(programme="crumbs", status="frozen", reason="mine?")
    alliance.inspector.points.set_programme_status(programme="crumbs", status="frozen", reason="reserve missing")
    for act in (lambda: alliance.issue("a1", 1), lambda: alliance.redeem(alliance.anna, "a1", 1),
                lambda: alliance.hold(alliance.anna, "a1", 1), lambda: alliance.transfer(alliance.anna, "a1", "b1", 1),
                lambda: alliance.olga.points.propose_quota(programme="crumbs", units=1, reason="x"),
                lambda: alliance.risk.points.approve_quota(proposal=proposal, programme="crumbs", units=5)):
        with refused("points.frozen_programme", programme="crumbs"):
            act()
    alliance.till.points.capture(hold=hold, units=2)
    alliance.till.points.reverse_redemption(redemption=number)
    alliance.olga.points.revoke_issue(evidence=line, units=10)
    alliance.ledger.advance(days=61)
    alliance.ben.points.expire_due(lots_max=10, after=0)
    with refused("points.no_change"):
        alliance.inspector.points.set_programme_status(programme="crumbs", status="merged", reason="no such thing")


def test_a_merger_moves_lots_holds_and_debts_and_closes_the_account(alliance):
    line = alliance.line()
    alliance.issue("a1", 10, evidence=line)
    number = alliance.redeem(alliance.anna, "a1", 4)
    alliance.olga.points.revoke_issue(evidence=line, units=10)  # 6 taken, 4 owed
    alliance.issue("a1", 9)  # 5 left
    hold = alliance.hold(alliance.anna, "a1", 2)
    with refused("points.not_yours", owner="ben"):
        alliance.anna.points.merge_members(member="a1", survivor="b1")
    with refused("points.same_member"):
        alliance.anna.points.merge_members(member="a1", survivor="a1")
    assert alliance.anna.points.merge_members(member="a1", survivor="a2") == 2
    assert alliance.anna.points.merge_members(member="a1", survivor="a2") == 0
    assert (alliance.balance("a1"), alliance.balance("a2")) == ({}, {"spendable": 3, "held": 2})
    with refused("points.inactive_member", member="a1", status="merged"):
        alliance.issue("a1", 1)
    with refused("points.no_change", status="merged"):
        alliance.inspector.points.set_member_status(member="a1", status="active", reason="undo")
    alliance.till.points.capture(hold=hold, units=2)
    alliance.till.points.reverse_redemption(redemption=number)  # to the survivor
    assert alliance.balance("a2") == {"spendable": 7}


def test_a_debt_moves_with_its_member(alliance):
    lines = [alliance.line(), alliance.line()]
    for member, line in zip(("a1", "a2"), lines, strict=True):
        alliance.issue(member, 5, evidence=line)
        alliance.redeem(alliance.anna, member, 5)
        alliance.olga.points.revoke_issue(evidence=line, units=5)
    alliance.anna.points.merge_members(member="a1", survivor="a2")
    assert (alliance.balance("a1"), alliance.balance("a2")) == ({}, {"debt": 10})


def test_mergers_lie_at_most_thirty_two_deep(alliance):
    for number in range(rules.MERGERS_MAX + 2):
        alliance.olga.points.enrol(member=f"deep-{number}", controller="anna")
    for number in range(rules.MERGERS_MAX):
        alliance.anna.points.merge_members(member=f"deep-{number}", survivor=f"deep-{number + 1}")
    with refused("points.too_many_mergers", most=rules.MERGERS_MAX):
        alliance.anna.points.merge_members(member=f"deep-{rules.MERGERS_MAX}", survivor=f"deep-{rules.MERGERS_MAX + 1}")


# Names and order


@pytest.mark.parametrize(("code", "act"), [
    ("points.unknown_programme", lambda a: a.anna.points.transfer(
        programme="no", from_member="no", to_member="no", units=1)),
    ("points.unknown_member", lambda a: a.transfer(a.ben, "a1", "no", 1)),
    ("points.not_yours", lambda a: a.transfer(a.ben, "a1", "a1", 10**9)),
    ("points.same_member", lambda a: a.transfer(a.anna, "a1", "a1", 10**9)),
    ("points.above_limit", lambda a: a.anna.points.hold(
        programme="no", member="no", units=1, merchant="no", reference="x", ttl_ms=10**12)),
    ("points.out_of_scope", lambda a: a.redeem(a.anna, "a1", 10**9, merchant="nobody")),
])
def test_of_several_reasons_the_first_in_the_published_order_is_given(alliance, code, act):
    with refused(code):
        act(alliance)


def test_every_refusal_of_the_contract_is_tested_here():
    text = Path(__file__).read_text("utf-8")
    tested = set(re.findall(r"points\.[a-z_]+", text))
    missing = [one.code for one in Points.rejections if one.code not in tested]
    assert missing == []


def test_sums_stay_inside_64_bits_at_the_published_limits():
    assert rules.UNITS_MAX * rules.PRICE_MINOR_MAX < 2**63
