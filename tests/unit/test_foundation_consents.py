"""Consents: giving, narrowing, revoking, delegating; reads and their receipts; emergencies; every refusal by name."""

from pathlib import Path
from typing import Any

import pytest

from clerk_contract import Clerk
from guildbook.foundation.consents import (
    CONSENT_MS_MAX,
    CONSENTS_MAX,
    DATA_TYPES_MAX,
    EMERGENCY_MS,
    Consents,
)
from guildbook.testing.ledger import TestLedger, refused

DAY = 24 * 3600 * 1000
TYPES = ("turnover", "headcount", "address")


@pytest.fixture
def ledger() -> TestLedger:
    """A bureau keeps ``credit`` about firms and people; a bank reads; the mill and anna are subjects."""
    ledger = TestLedger(
        Clerk,
        actors={
            "bureau/server": ["consents:custodian", "consents:server"],
            "bureau/hand": [],
            "reed-bank/analyst": ["consents:reader"],
            "reed-bank/doctor": ["consents:emergency", "consents:reviewer"],
            "hill-bank/analyst-2": ["consents:reader"],
            "mill/boss": ["consents:giver"],
            "mill/hand-2": [],
            "town/anna": [],
            "town/ben": [],
            "watch/inspector": ["consents:reviewer"],
        },
    )
    bureau(ledger).open_collection("credit", TYPES)
    return ledger


def bureau(ledger: TestLedger):
    return ledger.actor("bureau/server").consents


def boss(ledger: TestLedger):
    return ledger.actor("mill/boss").consents


def anna(ledger: TestLedger):
    return ledger.actor("town/anna").consents


def analyst(ledger: TestLedger):
    return ledger.actor("reed-bank/analyst").consents


def doctor(ledger: TestLedger):
    return ledger.actor("reed-bank/doctor").consents


def give(ledger: TestLedger, reference: str = "c-1", by: str = "mill/boss", **more: Any) -> int:
    arguments: dict[str, Any] = {
        "subject_kind": "organisation", "subject": "mill", "recipient": "reed-bank", "collection": "credit",
        "data_types": TYPES[:2], "purpose": "loan", "mode": "view", "valid_until": 1_800_000_000_000, **more,
    }  # fmt: skip
    number: int = ledger.actor(by).consents.give(reference, **arguments)
    return number


def read(ledger: TestLedger, consent: int, reference: str = "read-1", by: str = "bureau/server", **more: Any) -> int:
    arguments: dict[str, Any] = {
        "reader": "analyst", "purpose": "loan", "mode": "view", "data_types": TYPES[:1], "records": 3,
        "request": bytes(32), **more,
    }  # fmt: skip
    number: int = ledger.actor(by).consents.record_read(reference, consent, **arguments)
    return number


def emergency_read(ledger: TestLedger, number: int, reference: str = "e-1", **more: Any) -> int:
    arguments = {"reader": "doctor", "data_types": TYPES[:1], "records": 1, "request": bytes(32), **more}
    receipt: int = bureau(ledger).record_emergency_read(reference, number, **arguments)
    return receipt


def may(ledger: TestLedger, reader: str = "analyst", purpose: str = "loan", **more: Any) -> int:
    number: int = ledger.query("consents.may", reader, "organisation", "mill", "credit", purpose, **more)
    return number


# collections


def test_a_collection_is_opened_by_a_custodian_or_a_contract(ledger):
    with refused("consents.not_a_custodian"):
        ledger.actor("bureau/hand").consents.open_collection("other", TYPES)
    with refused("consents.collection_exists", collection="credit"):
        bureau(ledger).open_collection("credit", TYPES)
    for types in ((), tuple(f"t{n}" for n in range(DATA_TYPES_MAX + 1))):
        with refused("consents.no_data_types", most=DATA_TYPES_MAX):
            bureau(ledger).open_collection("other", types)
    ledger.actor("town/anna").clerk.open_collection("contracts-own", ("score",))
    assert [row.keeper for row in ledger.rows("consents.collections")] == ["clerk", "bureau"]


# giving


def test_a_consent_lets_its_recipient_read_for_its_purpose(ledger):
    number = give(ledger)
    assert may(ledger) == number
    assert may(ledger, data_types=TYPES[:2]) == number
    assert may(ledger, data_types=TYPES) == 0
    assert may(ledger, "analyst-2") == 0
    assert may(ledger, "nobody") == 0
    assert may(ledger, purpose="advertising") == 0
    assert may(ledger, mode="store") == 0
    row = ledger.query("consents.consent", number)
    assert (row.given_by, row.reads_max, row.period_ms, row.status) == ("boss", 1, None, "active")


def test_only_the_subject_or_its_delegate_gives(ledger):
    for by in ("mill/hand-2", "town/anna", "reed-bank/analyst"):
        with refused("consents.not_the_subject", subject="mill"):
            give(ledger, by=by)
    with refused("consents.not_the_subject", subject="anna"):
        give(ledger, by="town/ben", subject_kind="party", subject="anna")
    give(ledger, by="town/anna", subject_kind="party", subject="anna")
    with refused("consents.not_a_subject"):
        give(ledger, subject_kind="contract", subject="clerk")


def test_a_contract_gives_nothing_for_its_signer(ledger):
    with refused("consents.only_by_transaction", caller="clerk"):
        ledger.actor("town/anna").clerk.give_consent("anna", "reed-bank", "credit")


def test_the_same_consent_twice_is_one(ledger):
    assert give(ledger) == give(ledger)
    with refused("consents.reference_used", reference="c-1"):
        give(ledger, purpose="other")
    assert give(ledger, "c-2") == 2


def test_a_consent_is_within_its_bounds(ledger):
    with refused("consents.unknown_data_type", data_type="blood"):
        give(ledger, data_types=("turnover", "blood"))
    with refused("consents.no_data_types"):
        give(ledger, data_types=())
    for until in (ledger.now, ledger.now + CONSENT_MS_MAX + 10_000):
        with refused("consents.time_out_of_range"):
            give(ledger, valid_until=until)
    for number in range(CONSENTS_MAX):
        give(ledger, f"n-{number}", valid_until=ledger.now + DAY)
    with refused("consents.too_many_consents", most=CONSENTS_MAX):
        give(ledger, "one-more")
    give(ledger, "other-purpose", purpose="insurance")
    ledger.advance(days=1)
    number = give(ledger, "one-more")
    assert may(ledger) == number
    assert ledger.query("consents.consent", 1).status == "expired"


def test_a_delegate_gives_within_its_delegation(ledger):
    until = ledger.now + 10 * DAY
    boss(ledger).delegate("organisation", "mill", "anna", "credit", until)
    with refused("consents.time_out_of_range", latest=until):
        give(ledger, by="town/anna", valid_until=until + 1)
    number = give(ledger, by="town/anna", valid_until=until)
    assert ledger.query("consents.consent", number).given_by == "anna"
    with refused("consents.not_the_subject"):
        anna(ledger).delegate("organisation", "mill", "ben", "credit", until)
    boss(ledger).withdraw_delegation("organisation", "mill", "anna", "credit")
    with refused("consents.not_the_subject"):
        give(ledger, "late", by="town/anna", valid_until=until)
    with refused("consents.no_delegation", delegate="anna"):
        boss(ledger).withdraw_delegation("organisation", "mill", "anna", "credit")
    assert may(ledger) == number, "what the delegate gave stands"


def test_a_delegation_is_for_one_collection_or_all_and_ends(ledger):
    bureau(ledger).open_collection("customs", ("grade",))
    with refused("consents.unknown_collection"):
        boss(ledger).delegate("organisation", "mill", "anna", "no", ledger.now + DAY)
    with refused("consents.not_a_subject"):
        boss(ledger).delegate("contract", "clerk", "anna", "@all", ledger.now + DAY)
    with refused("consents.time_out_of_range"):
        boss(ledger).delegate("organisation", "mill", "anna", "@all", ledger.now)
    boss(ledger).delegate("organisation", "mill", "anna", "customs", ledger.now + DAY)
    soon = {"by": "town/anna", "valid_until": ledger.now + DAY // 2}
    with refused("consents.not_the_subject"):
        give(ledger, **soon)
    boss(ledger).delegate("organisation", "mill", "anna", "@all", ledger.now + DAY)
    give(ledger, **soon)
    boss(ledger).delegate("organisation", "mill", "anna", "@all", ledger.now + DAY // 4)
    with refused("consents.time_out_of_range"):
        give(ledger, "c-2", **{**soon, "valid_until": ledger.now + 2 * DAY})
    ledger.advance(days=1)
    with refused("consents.not_the_subject"):
        give(ledger, "c-3", **{**soon, "valid_until": ledger.now + 1})


# narrowing and revoking


def test_a_consent_is_only_narrowed(ledger):
    number = give(ledger, reads_max=9)
    until = ledger.query("consents.consent", number).valid_until
    with refused("consents.consent_wider_than_before", consent=number):
        boss(ledger).narrow(number, TYPES, until)
    with refused("consents.time_out_of_range", latest=until):
        boss(ledger).narrow(number, TYPES[:1], until + 1)
    with refused("consents.no_data_types"):
        boss(ledger).narrow(number, (), until)
    with refused("consents.not_the_subject"):
        anna(ledger).narrow(number, TYPES[:1], until)
    boss(ledger).narrow(number, TYPES[1:2], ledger.now + DAY)
    with refused("consents.data_type_not_covered", data_type="turnover"):
        read(ledger, number)
    ledger.advance(days=1)
    ledger.cut([])
    assert (may(ledger), ledger.query("consents.reads_left", number)) == (0, 0)


def test_revoking_takes_effect_at_its_place_in_the_ledger(ledger):
    number = give(ledger, reads_max=9)
    with ledger.block() as receipts:
        read(ledger, number)
        boss(ledger).revoke(number)
        read(ledger, number, "read-2")
    assert [one.code for one in receipts] == ["", "", "consents.consent_ended"]
    assert ledger.query("consents.consent", number).ended_at == receipts[0].height
    assert (may(ledger), ledger.query("consents.reads_left", number)) == (0, 0)
    for act in (
        lambda: boss(ledger).revoke(number),
        lambda: boss(ledger).narrow(number, TYPES[:1], ledger.now + DAY),
        lambda: read(ledger, number, "read-2"),
    ):
        with refused("consents.consent_ended", status="revoked"):
            act()
    with refused("consents.not_the_subject"):
        anna(ledger).revoke(number)
    assert read(ledger, number) == 1, "what was recorded before stands"


# reads


def test_a_read_leaves_a_receipt(ledger):
    number = give(ledger, data_life_ms=5 * DAY)
    receipt = read(ledger, number)
    (row,) = ledger.query("consents.reads_of", "organisation", "mill")
    assert (row.number, row.consent, row.records) == (receipt, number, 3)
    assert (row.reader, row.recipient) == ("analyst", "reed-bank")
    assert row.keep_until == row.read_at + 5 * DAY
    assert read(ledger, number) == receipt
    with refused("consents.reference_used", reference="read-1"):
        read(ledger, number, records=4)
    assert ledger.query("consents.consent", number).reads == 1


def test_a_consent_covers_one_read_unless_it_says_more(ledger):
    number = give(ledger)
    read(ledger, number)
    assert (may(ledger), ledger.query("consents.reads_left", number)) == (0, 0)
    with refused("consents.read_too_often", consent=number, again_at=None):
        read(ledger, number, "read-2")


def test_a_periodic_consent_covers_so_many_reads_in_each_period(ledger):
    number = give(ledger, reads_max=2, period_ms=DAY, valid_until=ledger.now + 2 * DAY + DAY // 2)
    begins = ledger.query("consents.consent", number).valid_from
    for day, again_at in enumerate((begins + DAY, begins + 2 * DAY, None)):
        for name in ("a", "b"):
            read(ledger, number, f"{day}{name}")
        with refused("consents.read_too_often", again_at=again_at):
            read(ledger, number, f"{day}c")
        ledger.advance(days=1)
    assert ledger.query("consents.consent", number).reads == 6


def test_a_period_begins_with_its_first_millisecond(ledger):
    number = give(ledger, period_ms=DAY)
    begins = ledger.query("consents.consent", number).valid_from
    read(ledger, number, "a")
    ledger.advance(milliseconds=begins + DAY - 1 - ledger.now)
    with refused("consents.read_too_often", again_at=begins + DAY):
        read(ledger, number, "b")
    ledger.advance(milliseconds=begins + DAY - ledger.now)
    read(ledger, number, "b")


def test_what_a_consent_does_not_cover_is_refused(ledger):
    number = give(ledger, reads_max=9, valid_until=ledger.now + DAY)
    for code, more in (
        ("no_data_types", {"data_types": ()}),
        ("reader_of_another", {"reader": "analyst-2"}),
        ("reader_of_another", {"reader": "nobody"}),
        ("purpose_not_covered", {"purpose": "advertising"}),
        ("mode_not_covered", {"mode": "store"}),
        ("data_type_not_covered", {"data_types": TYPES}),
    ):
        with refused(f"consents.{code}"):
            read(ledger, number, **more)
    with refused("consents.reader_of_another", reader="analyst-2"):
        read(ledger, number, reader="analyst-2")
    with refused("consents.purpose_not_covered", purpose="advertising"):
        read(ledger, number, purpose="advertising")
    with refused("consents.mode_not_covered", mode="store"):
        read(ledger, number, mode="store")
    ledger.advance(days=1)
    with refused("consents.consent_over", consent=number):
        read(ledger, number)


def test_only_the_keeper_records_reads(ledger):
    number = give(ledger)
    for by in ("bureau/hand", "reed-bank/analyst", "mill/boss"):
        with refused("consents.not_the_keeper", collection="credit"):
            read(ledger, number, by=by)
    with refused("consents.not_the_keeper"):
        ledger.actor("bureau/server").clerk.record_read("r", number, "analyst", "turnover")


def test_a_contract_serves_its_own_collection(ledger):
    clerk = ledger.actor("reed-bank/analyst").clerk
    clerk.open_collection("own", ("score",))
    number = give(ledger, collection="own", data_types=("score",))
    assert clerk.ask("mill", "own") == number
    assert clerk.record_read("r", number, "analyst", "score") == 1
    assert clerk.ask("mill", "own") == 0
    with refused("consents.not_the_keeper"):
        read(ledger, number, "r-2", data_types=("score",))


def test_the_recipient_confirms_the_same_request(ledger):
    receipt = read(ledger, give(ledger))
    assert len(ledger.query("consents.unconfirmed", "reed-bank")) == 1
    for actor in ("hill-bank/analyst-2", "reed-bank/doctor", "bureau/server"):
        with refused("consents.not_the_recipient", receipt=receipt):
            ledger.actor(actor).consents.confirm_read(receipt, bytes(32))
    with refused("consents.request_differs", receipt=receipt):
        analyst(ledger).confirm_read(receipt, b"x" * 32)
    analyst(ledger).confirm_read(receipt, bytes(32))
    assert ledger.query("consents.unconfirmed", "reed-bank") == ()
    with refused("consents.already_confirmed", receipt=receipt):
        analyst(ledger).confirm_read(receipt, bytes(32))


def test_a_subject_reads_who_read_page_by_page(ledger):
    number = give(ledger, reads_max=5)
    for name in ("a", "b", "c"):
        read(ledger, number, name)
    listed = ledger.query("consents.reads_of", "organisation", "mill", limit=2)
    assert [one.number for one in listed] == [1, 2]
    listed = ledger.query("consents.reads_of", "organisation", "mill", after=2)
    assert [one.number for one in listed] == [3]
    assert ledger.query("consents.reads_of", "party", "mill") == ()


# emergencies


def test_an_emergency_is_an_alarm_until_it_is_reviewed(ledger):
    number = doctor(ledger).open_emergency("organisation", "mill", "credit", "rescue", "fire")
    assert emergency_read(ledger, number) == 1
    assert emergency_read(ledger, number) == 1
    (row,) = ledger.query("consents.unreviewed")
    assert (row.number, row.opened_by, row.reason) == (number, "doctor", "fire")
    (seen,) = ledger.query("consents.reads_of", "organisation", "mill")
    assert (seen.emergency, seen.consent, seen.reader) == (number, None, "doctor")
    with refused("consents.not_a_reviewer", emergency=number):
        doctor(ledger).review_emergency(number, True, "I say so")
    with refused("consents.not_a_reviewer"):
        anna(ledger).review_emergency(number, True, "nosy")
    ledger.actor("watch/inspector").consents.review_emergency(number, True, "there was a fire")
    assert ledger.query("consents.unreviewed") == ()
    with refused("consents.already_reviewed", emergency=number):
        boss(ledger).review_emergency(number, False, "no")


def test_the_subject_reviews_and_nobody_reviews_itself(ledger):
    number = doctor(ledger).open_emergency("party", "anna", "credit", "rescue", "fire")
    own = doctor(ledger).open_emergency("party", "doctor", "credit", "rescue", "curious")
    anna(ledger).review_emergency(number, False, "there was no fire")
    with refused("consents.not_a_reviewer"):
        doctor(ledger).review_emergency(own, True, "about myself")


def test_emergency_access_is_for_its_party_and_for_a_day(ledger):
    number = doctor(ledger).open_emergency("organisation", "mill", "credit", "rescue", "fire")
    with refused("consents.not_your_emergency", emergency=number):
        emergency_read(ledger, number, reader="analyst")
    with refused("consents.unknown_data_type"):
        emergency_read(ledger, number, data_types=("blood",))
    emergency_read(ledger, number)
    with refused("consents.reference_used"):
        emergency_read(ledger, number, records=2)
    ledger.advance(milliseconds=EMERGENCY_MS)
    with refused("consents.emergency_over", emergency=number):
        emergency_read(ledger, number, "e-2")


def test_emergencies_are_opened_by_those_who_may(ledger):
    with refused("call.not_permitted"):
        analyst(ledger).open_emergency("organisation", "mill", "credit", "rescue", "fire")
    with refused("consents.unknown_collection"):
        doctor(ledger).open_emergency("organisation", "mill", "no", "rescue", "fire")
    with refused("consents.not_a_subject"):
        doctor(ledger).open_emergency("contract", "clerk", "credit", "rescue", "fire")


def test_what_is_not_there_is_unknown(ledger):
    with refused("consents.unknown_collection", collection="no"):
        give(ledger, collection="no")
    for act in (
        lambda: boss(ledger).revoke(9),
        lambda: boss(ledger).narrow(9, TYPES, ledger.now + DAY),
        lambda: read(ledger, 9),
    ):
        with refused("consents.unknown_consent", consent=9):
            act()
    with refused("consents.unknown_emergency", emergency=9):
        emergency_read(ledger, 9)
    with refused("consents.unknown_receipt", receipt=9):
        analyst(ledger).confirm_read(9, bytes(32))
    assert ledger.query("consents.consent", 9) is None


def test_the_first_refusal_in_order_is_given(ledger):
    """Each line mends what the line before was refused for."""
    number = give(ledger, reads_max=2, valid_until=ledger.now + DAY)
    read(ledger, number, "used")
    wrong: dict[str, Any] = {"reader": "nobody", "purpose": "other", "mode": "store", "data_types": ("blood",)}
    for code, act in (
        ("unknown_consent", lambda: read(ledger, 9, "used", by="town/anna", **wrong)),
        ("not_the_keeper", lambda: read(ledger, number, "used", by="town/anna", **wrong)),
        ("reference_used", lambda: read(ledger, number, "used", **wrong)),
        ("reader_of_another", lambda: read(ledger, number, "new", **wrong)),
        ("purpose_not_covered", lambda: read(ledger, number, "new", **{**wrong, "reader": "analyst"})),
        ("mode_not_covered", lambda: read(ledger, number, "new", mode="store", data_types=("blood",))),
        ("data_type_not_covered", lambda: read(ledger, number, "new", data_types=("blood",))),
    ):
        with refused(f"consents.{code}"):
            act()


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text()
    for rejection in Consents.rejections:
        assert f'refused("{rejection.code}"' in text, rejection.code
