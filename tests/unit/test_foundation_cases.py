"""Cases: who may open, speak, freeze and decide; that exactly what was frozen is released; every refusal by name."""

import pytest

from docket_contract import Docket
from guildbook.contract import day_number
from guildbook.foundation.calendars import Offset, Period
from guildbook.foundation.cases import (
    APPEAL_DAYS_MAX,
    FREEZE_MS_MAX,
    FREEZES_MAX,
    READERS_MAX,
    STATEMENTS_MAX,
    Wanted,
)
from guildbook.testing.ledger import TestLedger, refused
from other_docket_contract import OtherDocket

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def ledger() -> TestLedger:
    """A mill disputes invoices of a shop before a court; a watch investigates; a bank keeps anna's 100.00."""
    ledger = TestLedger(
        Docket,
        OtherDocket,
        actors={
            "mill/mia": ["docket:judge"],
            "mill/mo": [],
            "shop/sam": ["docket:judge", "docket:appeal"],
            "court/dan": ["docket:judge", "docket:appeal"],
            "court/dee": ["docket:judge"],
            "high/hal": ["docket:appeal"],
            "town/anna": ["money:treasurer"],
            "watch/ivy": ["cases:investigator", "cases:decider"],
            "watch/ian": ["cases:investigator", "cases:decider", "cases:appeal_decider"],
            "watch/cid": ["cases:decider"],
            "bench/ada": ["cases:appeal_decider"],
            "bank/teller": ["money:issuer", "money:treasurer"],
            "office/kim": ["calendars:keeper"],
            "office/lee": ["calendars:keeper"],
        },
    )
    teller, kim = ledger.actor("bank/teller").money, ledger.actor("office/kim").calendars
    with ledger.block() as receipts:
        teller.open_ledger("bank-eur", "EUR")
        teller.open_account("issue", "bank-eur", "organisation", "bank", "none")
        for account, kind, owner in (("anna", "party", "anna"), ("mill", "organisation", "mill")):
            teller.open_account(account, "bank-eur", kind, owner)
        teller.transfer("cash", "issue", "anna", 10_000, "cash")
        ledger.actor("town/anna").money.give_mandate("anna", "cases", 8_000, ledger.now + 300 * DAY_MS)
        hours = (Period(from_minute=540, to_minute=1020),)
        kim.draft_version("office", "Etc/UTC", (5, 6), hours, 1440, (Offset(from_at=0, minutes=0),), "made by hand")
        kim.add_year("office", 1, 2026, ())
        ledger.actor("office/lee").calendars.publish_version("office", 1)
        ledger.actor("shop/sam").docket.enter("i-1", "mill", 1_000)
    assert [one.code for one in receipts] == [""] * len(receipts)
    return ledger


def dispute(ledger, reference="r-1", by="mill/mia", **more) -> int:
    number: int = ledger.actor(by).docket.dispute(reference, "i-1", **more)
    return number


def decide(ledger, by="court/dan", case=1, outcome="upheld", award=0):
    ledger.actor(by).cases.decide(case, outcome, "goods_missing", "The goods never came.", None, award)


def investigate(ledger, reference="q-1", by="watch/ivy", **more) -> int:
    number: int = ledger.actor(by).cases.investigate(reference, "docket", "invoices", "i-1", "suspicion", **more)
    return number


def ask(ledger, name, *arguments):
    return ledger.query(f"cases.{name}", *arguments)


def pass_days(ledger, days):
    ledger.advance(days=days)
    ledger.cut([])


# the way of a case


def test_a_dispute_is_heard_decided_and_closed(ledger):
    assert dispute(ledger) == 1
    assert ask(ledger, "running_cases", "docket", "invoices", "i-1") == (1,)
    assert ask(ledger, "waiting", "docket:judge") == (1,)
    ledger.actor("shop/sam").cases.speak(1, "We sent them.", bytes(32))
    ledger.actor("mill/mo").cases.speak(1, "They never came.")
    decide(ledger)
    assert (ask(ledger, "status", 1), ask(ledger, "outcome", 1), ask(ledger, "is_final", 1)) == (
        "decided", "upheld", False,
    )  # fmt: skip
    with refused("cases.appeal_time_not_over"):
        ledger.actor("mill/mia").docket.close(1)
    pass_days(ledger, 10)
    assert ask(ledger, "is_final", 1)
    assert ledger.actor("mill/mia").docket.close(1) == 0
    assert ask(ledger, "status", 1) == "closed"
    assert ask(ledger, "running_cases", "docket", "invoices", "i-1") == ()
    with refused("cases.wrong_state", state="closed"):
        ledger.actor("mill/mia").docket.close(1)


def test_an_appeal_comes_once_in_time_and_before_another(ledger):
    dispute(ledger)
    with refused("cases.wrong_state", state="open"):
        ledger.actor("shop/sam").cases.appeal(1, "wrong_facts", "")
    decide(ledger)
    with refused("cases.not_a_party", organisation="court"):
        ledger.actor("court/dee").cases.appeal(1, "wrong_facts", "")
    ledger.actor("shop/sam").cases.appeal(1, "wrong_facts", "We have the receipt.", bytes(32))
    assert ask(ledger, "status", 1) == "appealed"
    with refused("cases.has_part", party="dan", kind="decision"):
        decide(ledger)
    with refused("cases.permission_missing", permission="docket:appeal"):
        decide(ledger, "court/dee")
    decide(ledger, "high/hal", outcome="rejected")
    with refused("cases.no_appeal"):
        ledger.actor("mill/mo").cases.appeal(1, "again", "")
    assert ask(ledger, "outcome", 1) == "rejected"
    ledger.actor("mill/mia").docket.close(1)


def test_an_appeal_has_its_time(ledger):
    dispute(ledger)
    decide(ledger)
    pass_days(ledger, 10)
    with refused("cases.appeal_time_over"):
        ledger.actor("shop/sam").cases.appeal(1, "late", "")


def test_a_case_may_be_without_an_appeal(ledger):
    dispute(ledger, appeal_decider=None, appeal_days=0)
    decide(ledger)
    with refused("cases.no_appeal"):
        ledger.actor("shop/sam").cases.appeal(1, "none", "")
    ledger.actor("mill/mo").docket.close(1)


@pytest.mark.parametrize(
    "given",
    [{"appeal_decider": None}, {"appeal_days": 0}, {"appeal_days": APPEAL_DAYS_MAX + 1}],
)
def test_an_appeal_is_described_whole(ledger, given):
    with refused("cases.appeal_malformed", most=APPEAL_DAYS_MAX):
        dispute(ledger, **given)
    with refused("cases.appeal_malformed"):
        investigate(ledger, appeal_days=APPEAL_DAYS_MAX + 1)


def test_a_case_is_described_whole(ledger):
    for given in ({"amount_minor": 5}, {"currency": "EUR"}):
        with refused("cases.amount_without_currency"):
            dispute(ledger, **given)
    with refused("cases.clock_malformed"):
        dispute(ledger, minutes=5)
    with refused("cases.clock_malformed"):
        investigate(ledger, minutes=5)
    many = tuple(f"o-{n}" for n in range(READERS_MAX + 1))
    with refused("cases.too_many", most=READERS_MAX):
        dispute(ledger, readers=many)
    with refused("cases.too_many", most=READERS_MAX):
        investigate(ledger, readers=many)
    assert dispute(ledger, amount_minor=5, currency="EUR", readers=("court",), visibility="restricted") == 1
    assert ask(ledger, "claimed", 1) == 5
    row = ledger.rows("cases.cases", 1)[0]
    assert (row.visibility, row.readers) == ("restricted", ("court",))


def test_the_same_reference_opens_once(ledger):
    assert dispute(ledger) == dispute(ledger) == 1
    with refused("cases.reference_used", reference="r-1", case=1):
        dispute(ledger, respondent=None)
    with refused("cases.reference_used"):
        dispute(ledger, by="mill/mo")
    assert investigate(ledger) == investigate(ledger) == 2
    with refused("cases.reference_used", case=2):
        investigate(ledger, respondent="shop")
    assert investigate(ledger, by="watch/ian") == 3


def test_who_opened_a_case_withdraws_it(ledger):
    dispute(ledger, until=ledger.now + DAY_MS)
    with refused("cases.not_the_opener", opener="mia"):
        ledger.actor("mill/mo").docket.withdraw(1)
    with refused("cases.not_your_case"):
        ledger.actor("mill/mia").cases.withdraw(1)
    ledger.actor("mill/mia").docket.withdraw(1)
    assert ask(ledger, "status", 1) == "withdrawn"
    assert not ask(ledger, "frozen", "docket", "invoices", "i-1")
    with refused("cases.wrong_state", state="withdrawn"):
        ledger.actor("mill/mia").docket.withdraw(1)
    number = investigate(ledger)
    ledger.actor("watch/ivy").cases.withdraw(number)


def test_a_case_is_acted_on_by_its_own_contract(ledger):
    dispute(ledger)
    other = ledger.actor("court/dan").other_docket
    with refused("cases.not_your_case"):
        other.decide(1)
    with refused("cases.not_your_case"):
        other.freeze(1, ledger.now + DAY_MS)
    with refused("cases.not_a_party"):
        other.speak(1)
    ledger.actor("court/dan").docket.decide(1)
    for attempt in (lambda: other.close(1), lambda: ledger.actor("court/dan").cases.close(1)):
        with refused("cases.not_your_case"):
            attempt()
    with refused("cases.unknown_case", case=9):
        other.close(9)
    for name in ("open", "freeze"):
        assert name in {one for one, spec in Docket.uses["cases"].commands.items() if spec.callers_only}


# nobody decides their own case


@pytest.mark.parametrize(
    ("by", "code"),
    [("mill/mia", "has_part"), ("shop/sam", "own_organisation"), ("high/hal", "permission_missing")],
)
def test_nobody_decides_their_own_case(ledger, by, code):
    dispute(ledger)
    with refused(f"cases.{code}"):
        decide(ledger, by)


def test_in_a_dispute_the_openers_organisation_does_not_decide(ledger):
    dispute(ledger, by="mill/mo")
    with refused("cases.own_organisation", organisation="mill"):
        decide(ledger, "mill/mia")


def test_who_spoke_does_not_decide(ledger):
    dispute(ledger)
    ledger.actor("court/dan").docket.speak(1)
    with refused("cases.has_part", party="dan", kind="statement"):
        decide(ledger)
    decide(ledger, "court/dee")


def test_an_investigation_is_decided_by_a_colleague_and_appealed_before_another(ledger):
    investigate(ledger, respondent="shop")
    with refused("cases.has_part", party="ivy", kind="opener"):
        decide(ledger, "watch/ivy")
    ledger.actor("watch/ian").cases.order_freeze(1, "docket", "invoices", "i-1", None, ledger.now + DAY_MS)
    with refused("cases.has_part", party="ian", kind="freeze"):
        decide(ledger, "watch/ian")
    decide(ledger, "watch/cid")
    ledger.actor("shop/sam").cases.appeal(1, "wrong", "")
    decide(ledger, "bench/ada", outcome="rejected")
    ledger.actor("town/anna").cases.close(1)
    assert not ask(ledger, "frozen", "docket", "invoices", "i-1")


def test_who_decided_orders_no_freeze(ledger):
    investigate(ledger, respondent="shop")
    decide(ledger, "watch/ian")
    ledger.actor("shop/sam").cases.appeal(1, "wrong", "")
    until = ledger.now + DAY_MS
    with refused("cases.has_part", party="ian", kind="decision"):
        ledger.actor("watch/ian").cases.order_freeze(1, "docket", "invoices", "i-1", 5, until)
    with refused("cases.has_part", party="ian", kind="decision"):
        ledger.actor("watch/ian").cases.freeze_money(1, "anna", "mill", 5, until)


def test_an_investigation_is_opened_by_an_investigator_and_not_through_a_contract(ledger):
    with refused("call.not_permitted"):
        investigate(ledger, by="watch/cid")
    with refused("cases.only_by_transaction", caller="docket"):
        ledger.actor("watch/ivy").docket.investigate(bytes(32))


def test_only_parties_speak_and_only_while_it_runs(ledger):
    dispute(ledger)
    with refused("cases.not_a_party", organisation="town"):
        ledger.actor("town/anna").cases.speak(1, "I saw it.")
    decide(ledger)
    with refused("cases.wrong_state", state="decided"):
        ledger.actor("shop/sam").cases.speak(1, "But.")
    with refused("cases.wrong_state", state="decided"):
        decide(ledger, "court/dee")


def test_a_case_has_so_many_statements(ledger):
    dispute(ledger)
    with ledger.block() as receipts:
        for _ in range(STATEMENTS_MAX):
            ledger.actor("shop/sam").cases.speak(1, "And then.")
    assert {one.code for one in receipts} == {""}
    with refused("cases.too_many", most=STATEMENTS_MAX):
        ledger.actor("mill/mo").cases.speak(1, "Enough.")
    decide(ledger)
    with refused("cases.too_many", most=STATEMENTS_MAX):
        ledger.actor("mill/mo").cases.appeal(1, "more", "")


# freezing


def test_exactly_the_amount_is_frozen_and_released(ledger):
    dispute(ledger, frozen_minor=300, until=ledger.now + 100 * DAY_MS)
    assert ask(ledger, "frozen_minor", "docket", "invoices", "i-1") == 300
    assert not ask(ledger, "frozen", "docket", "invoices", "i-1")
    with refused("docket.invoice_frozen", free_minor=700):
        ledger.actor("mill/mia").docket.pay("i-1", 701)
    ledger.actor("mill/mia").docket.pay("i-1", 600)
    number = ledger.actor("mill/mia").docket.freeze(1, "i-1", 50, ledger.now + DAY_MS)
    assert ask(ledger, "frozen_minor", "docket", "invoices", "i-1") == 350
    ledger.actor("mill/mia").docket.release(number)
    with refused("cases.already_released", freeze=number):
        ledger.actor("mill/mia").docket.release(number)
    with refused("cases.unknown_freeze", freeze=9):
        ledger.actor("mill/mia").docket.release(9)
    with refused("cases.not_your_case"):
        ledger.actor("watch/ivy").cases.release(1)
    decide(ledger)
    pass_days(ledger, 10)
    ledger.actor("mill/mia").docket.close(1)
    assert ask(ledger, "frozen_minor", "docket", "invoices", "i-1") == 0
    ledger.actor("mill/mia").docket.pay("i-1", 400)


def test_a_whole_subject_is_frozen_until_a_time(ledger):
    dispute(ledger, until=ledger.now + DAY_MS)
    with refused("docket.invoice_frozen", free_minor=0):
        ledger.actor("mill/mia").docket.pay("i-1", 1)
    pass_days(ledger, 1)
    assert not ask(ledger, "frozen", "docket", "invoices", "i-1")
    ledger.actor("mill/mia").docket.pay("i-1", 1)


def test_a_freeze_has_an_end(ledger):
    for until in (5, ledger.now + 2 * FREEZE_MS_MAX):
        with refused("cases.time_out_of_range"):
            dispute(ledger, until=until)
    investigate(ledger)
    with refused("cases.time_out_of_range"):
        ledger.actor("watch/ivy").cases.order_freeze(1, "docket", "invoices", "i-1", 5, ledger.now)


def test_a_case_has_so_many_freezes(ledger):
    one = Wanted(table="invoices", subject="i-1", amount_minor=1, until=ledger.now + DAY_MS)
    with refused("cases.too_many", most=FREEZES_MAX):
        dispute(ledger, freezes=(one,) * (FREEZES_MAX + 1))
    dispute(ledger, freezes=(one,) * FREEZES_MAX)
    with refused("cases.too_many"):
        ledger.actor("mill/mia").docket.freeze(1, "i-1", 1, ledger.now + DAY_MS)


def test_an_investigator_freezes_for_investigations_only(ledger):
    dispute(ledger)
    with refused("cases.not_your_case"):
        ledger.actor("watch/ivy").cases.order_freeze(1, "docket", "invoices", "i-1", 5, ledger.now + DAY_MS)
    with refused("cases.not_your_case"):
        ledger.actor("watch/ivy").cases.freeze_money(1, "anna", "mill", 5, ledger.now + DAY_MS)
    investigate(ledger)
    with refused("cases.not_your_case"):
        ledger.actor("watch/cid").cases.freeze_money(2, "anna", "mill", 5, ledger.now + DAY_MS)
    number = ledger.actor("watch/ivy").cases.order_freeze(2, "docket", "invoices", "i-1", 5, ledger.now + DAY_MS)
    ledger.actor("watch/ian").cases.release(number)


def money(ledger, *accounts):
    return [(ledger.query("money.balance", one), ledger.query("money.available", one)) for one in accounts]


def test_frozen_money_is_held_and_goes_where_the_decision_says(ledger):
    dispute(ledger)
    docket = ledger.actor("mill/mia").docket
    docket.freeze_money(1, "anna", "mill", 3_000, ledger.now + 100 * DAY_MS)
    docket.freeze_money(1, "anna", "mill", 1_000, ledger.now + 100 * DAY_MS)
    assert money(ledger, "anna") == [(10_000, 6_000)]
    assert ask(ledger, "frozen_minor", "money", "accounts", "anna") == 4_000
    with refused("money.overdrawn"):
        ledger.actor("town/anna").money.transfer("t", "anna", "mill", 6_001, "out")
    with refused("cases.award_too_large", wanted_minor=4_001, frozen_minor=4_000):
        decide(ledger, award=4_001)
    with refused("cases.award_too_large"):
        decide(ledger, outcome="rejected", award=1)
    decide(ledger, outcome="partly_upheld", award=3_200)
    assert ask(ledger, "award", 1) == 3_200
    pass_days(ledger, 10)
    assert docket.close(1) == 3_200
    assert money(ledger, "anna", "mill") == [(6_800, 6_800), (3_200, 3_200)]
    assert [row.paid_minor for row in ledger.rows("cases.freezes")] == [3_000, 200]


def test_a_rejected_claim_gives_all_the_money_back(ledger):
    dispute(ledger)
    ledger.actor("mill/mia").docket.freeze_money(1, "anna", "mill", 3_000, ledger.now + 100 * DAY_MS)
    decide(ledger, outcome="rejected")
    pass_days(ledger, 10)
    assert ledger.actor("mill/mia").docket.close(1) == 0
    assert money(ledger, "anna", "mill") == [(10_000, 10_000), (0, 0)]


def test_money_whose_time_is_over_is_not_awarded(ledger):
    dispute(ledger)
    ledger.actor("mill/mia").docket.freeze_money(1, "anna", "mill", 3_000, ledger.now + 5 * DAY_MS)
    decide(ledger, award=3_000)
    pass_days(ledger, 10)
    ledger.actor("town/anna").money.expire_holds()
    assert ledger.actor("mill/mia").docket.close(1) == 0
    assert money(ledger, "anna") == [(10_000, 10_000)]


def test_money_is_frozen_within_a_mandate(ledger):
    investigate(ledger)
    with refused("money.mandate_exceeded", remaining_minor=8_000):
        ledger.actor("watch/ivy").cases.freeze_money(1, "anna", "mill", 8_001, ledger.now + DAY_MS)
    ledger.actor("town/anna").money.transfer("t", "anna", "mill", 1, "gift")
    with refused("money.no_mandate", contract="cases"):
        ledger.actor("watch/ivy").cases.freeze_money(1, "mill", "anna", 1, ledger.now + DAY_MS)


# time


def test_a_case_counts_working_time(ledger):
    ledger.advance(milliseconds=day_number(2026, 3, 6) * DAY_MS + 16 * 3_600_000 - ledger.now)
    dispute(ledger, calendar="office", minutes=120)
    monday = day_number(2026, 3, 9) * DAY_MS
    assert abs(ask(ledger, "due_at", 1) - (monday + 10 * 3_600_000)) < 60_000
    with refused("cases.has_part"):
        ledger.actor("mill/mia").cases.stop_clock(1, "papers")
    stop = ledger.actor("court/dan").cases.stop_clock(1, "papers")
    assert ask(ledger, "due_at", 1) is None
    ledger.advance(days=3)
    ledger.actor("court/dee").cases.resume_clock(1, stop)
    assert ask(ledger, "due_at", 1) > monday + 17 * 3_600_000
    ledger.advance(days=2)
    decide(ledger)
    event = ledger.rows("cases.cases", 1)[0]
    wednesday = event.appeal_until // DAY_MS
    assert wednesday == day_number(2026, 3, 11) + 15
    ledger.actor("shop/sam").cases.appeal(1, "wrong", "")
    assert ask(ledger, "due_at", 1) > ledger.now


def test_a_calendar_alone_counts_the_days_of_an_appeal(ledger):
    dispute(ledger, calendar="office")
    assert ask(ledger, "due_at", 1) is None
    with refused("cases.no_clock"):
        ledger.actor("court/dan").cases.stop_clock(1, "papers")
    with refused("cases.no_clock"):
        ledger.actor("court/dan").cases.renew_calendar(1)
    decide(ledger)
    assert ledger.rows("cases.cases", 1)[0].appeal_until == (day_number(2026, 1, 15) + 1) * DAY_MS


def test_a_clock_goes_on_by_a_new_version_of_its_calendar(ledger):
    dispute(ledger, calendar="office", minutes=480)
    before = ask(ledger, "due_at", 1)
    kim = ledger.actor("office/kim").calendars
    hours = (Period(from_minute=540, to_minute=1020),)
    kim.draft_version("office", "Etc/UTC", (5, 6), hours, 1440, (Offset(from_at=0, minutes=0),), "a new holiday")
    kim.add_year("office", 2, 2026, (day_number(2026, 1, 1),))
    ledger.actor("office/lee").calendars.publish_version("office", 2)
    assert ask(ledger, "due_at", 1) == before
    ledger.actor("court/dan").cases.renew_calendar(1)
    assert ask(ledger, "due_at", 1) == before + DAY_MS


def test_a_late_decision_says_so(ledger):
    dispute(ledger, calendar="office", minutes=10)
    ledger.advance(days=3)
    receipt = ledger.actor("court/dan").calls(
        ("cases.decide", {"case": 1, "outcome": "upheld", "finding": "x", "statement": ""})
    )
    decided = next(values for contract, name, values in receipt.events if (contract, name) == ("cases", "decided"))
    assert decided[4] is True
