"""Documents: registration, fingerprints, encumbrances, permits, amendments; who may do what; every refusal by name."""

from pathlib import Path
from typing import Any

import pytest

from clerk_contract import Clerk
from guildbook.chain.receipt import Outcome
from guildbook.foundation.documents import (
    EXPIRED_PER_CALL_MAX,
    FINGERPRINTS_MAX,
    PARTIES_MAX,
    Documents,
    Fingerprint,
    Named,
)
from guildbook.testing.ledger import TestLedger, refused

OPEN_TABLES = ("documents", "versions", "fingerprints", "credits", "deadlines")
"""The tables that name no holder."""
DAY = 24 * 3600 * 1000
MAX = 2**63 - 1


def digest(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def prints(*names: str) -> tuple[Fingerprint, ...]:
    return tuple(Fingerprint(combination=one.partition("=")[0], value=digest(one)) for one in names)


@pytest.fixture
def ledger() -> TestLedger:
    """A mill that issues invoices, two banks that finance them, and a contract.

    The mill's invoice ``inv-1`` has a capacity of 100.00 euros; both banks have a permit for 80.00 of it.
    """
    ledger = TestLedger(
        Clerk,
        actors={
            "mill/boss": ["documents:issuer"],
            "mill/hand": [],
            "reed-bank/lender": ["documents:holder"],
            "reed-bank/guest": [],
            "hill-bank/lender-2": ["documents:holder"],
            "town/anna": [],
        },
    )
    register(ledger)
    for bank in ("reed-bank", "hill-bank"):
        boss(ledger).permit("inv-1", "organisation", bank, 8_000, ledger.now + 30 * DAY)
    return ledger


def register(ledger: TestLedger, document: str = "inv-1", capacity: int = 10_000, **more: Any) -> int:
    arguments: dict[str, Any] = {
        "kind": "invoice", "scope": "trade", "issuer": "mill", "digest": digest(document), "currency": "EUR",
        "face_minor": capacity, "capacity_minor": capacity, "fingerprints": prints(f"number.seller={document}"),
        "parties": (Named(role="buyer", party="town"),), **more,
    }  # fmt: skip
    version: int = boss(ledger).register(document, **arguments)
    return version


def boss(ledger: TestLedger):
    return ledger.actor("mill/boss").documents


def reed(ledger: TestLedger):
    return ledger.actor("reed-bank/lender").documents


def hill(ledger: TestLedger):
    return ledger.actor("hill-bank/lender-2").documents


def clerk(ledger: TestLedger):
    return ledger.actor("town/anna").clerk


def row(ledger: TestLedger, document: str = "inv-1"):
    return ledger.rows("documents.documents", document)[0]


def remaining(ledger: TestLedger, document: str = "inv-1") -> int:
    left: int = ledger.query("documents.remaining", document)
    return left


def take(ledger: TestLedger, amount: int = 6_000, reference: str = "loan-1", **more: Any) -> int:
    number: int = reed(ledger).encumber(reference, "inv-1", amount, "reed-bank", "loan", **more)
    return number


# registering


def test_a_document_is_registered_by_its_issuer(ledger):
    one = row(ledger)
    assert (one.issuer, one.keeper_kind, one.keeper) == ("mill", "organisation", "mill")
    assert (one.status, one.version) == ("live", 1)
    assert (one.capacity_minor, one.encumbered_minor, one.settled_minor) == (10_000, 0, 0)
    assert remaining(ledger) == 10_000
    assert ledger.query("documents.record", "inv-1").digest == digest("inv-1")
    assert ledger.query("documents.record", "inv-2") is None


def test_the_same_registration_twice_is_one(ledger):
    assert register(ledger) == 1
    boss(ledger).amend("inv-1", 1, digest("new"), 9_000, 9_000, "price")
    assert register(ledger) == 2
    assert row(ledger).digest == digest("new")


@pytest.mark.parametrize(
    "other",
    [{"digest": bytes(32)}, {"capacity": 9_999}, {"currency": "USD"}, {"scope": "other"}, {"kind": "order"},
     {"parties": ()}, {"fingerprints": ()}, {"due_at": 5}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_another_registration_under_the_same_id_is_refused(ledger, other):
    with refused("documents.document_exists", document="inv-1"):
        register(ledger, **other)


def test_only_the_issuer_or_a_contract_registers(ledger):
    for actor in ("mill/hand", "reed-bank/lender"):
        with refused("documents.not_an_issuer", issuer="mill"):
            ledger.actor(actor).documents.register("inv-2", "invoice", "trade", "mill", bytes(32), "EUR", 1, 1)
    clerk(ledger).register("inv-2", "mill", bytes(32), 500)
    assert (row(ledger, "inv-2").keeper_kind, row(ledger, "inv-2").keeper) == ("contract", "clerk")


def test_a_currency_is_three_capitals(ledger):
    for currency in ("eur", "EU", "EURO", "E1R"):
        with refused("documents.not_a_currency_code", currency=currency):
            register(ledger, "inv-2", currency=currency)
    register(ledger, "inv-2", currency="XXX")


def test_a_document_names_a_bounded_number_of_parties(ledger):
    many = tuple(Named(role=f"r{n}", party="town") for n in range(PARTIES_MAX + 1))
    with refused("documents.too_many_parties", most=PARTIES_MAX):
        register(ledger, "inv-2", parties=many)
    register(ledger, "inv-2", parties=many[1:])
    with refused("documents.too_many_parties"):
        boss(ledger).amend("inv-2", 1, digest("b"), 1, 1, "more", parties=many)


# fingerprints


def test_a_fingerprint_belongs_to_one_document_of_a_kind_within_a_scope(ledger):
    same = prints("amount.date=7", "number.seller=inv-1")
    with refused("documents.fingerprint_taken", combination="number.seller"):
        register(ledger, "inv-2", fingerprints=same)
    register(ledger, "inv-2", fingerprints=same, scope="abroad")
    register(ledger, "inv-3", fingerprints=same, kind="order")
    assert ledger.query("documents.taken", "trade", "invoice", same) == ("number.seller",)


def test_the_refusal_names_no_document(ledger):
    with ledger.block() as receipts:
        register(ledger, "inv-2", fingerprints=prints("number.seller=inv-1"))
    assert receipts[0].fields == [["combination", "number.seller"]]


def test_a_fingerprint_stays_when_its_document_is_amended_or_closed(ledger):
    boss(ledger).amend("inv-1", 1, digest("v2"), 10_000, 10_000, "typo", prints("number.seller=inv-1b"))
    with refused("documents.fingerprint_taken"):
        register(ledger, "inv-2", fingerprints=prints("number.seller=inv-1"))
    boss(ledger).close("inv-1", "paid")
    for fingerprint in ("number.seller=inv-1", "number.seller=inv-1b"):
        with refused("documents.fingerprint_taken"):
            register(ledger, "inv-2", fingerprints=prints(fingerprint))


def test_cancelling_sets_fingerprints_free(ledger):
    boss(ledger).cancel("inv-1", "wrong buyer")
    assert register(ledger, "inv-2", fingerprints=prints("number.seller=inv-1")) == 1
    assert register(ledger) == 1, "the same registration again is the first"
    assert row(ledger).status == "cancelled"


def test_a_document_has_a_bounded_number_of_fingerprints(ledger):
    many = prints(*(f"c{n}=x" for n in range(FINGERPRINTS_MAX + 1)))
    with refused("documents.too_many_fingerprints", most=FINGERPRINTS_MAX):
        register(ledger, "inv-2", fingerprints=many)
    register(ledger, "inv-2", fingerprints=many[1:])
    boss(ledger).amend("inv-2", 1, digest("b"), 1, 1, "same", many[1:])
    with refused("documents.too_many_fingerprints"):
        boss(ledger).amend("inv-2", 2, digest("c"), 1, 1, "more", many[:1])


def test_a_fingerprint_given_twice_in_one_registration_is_one(ledger):
    register(ledger, "inv-2", fingerprints=prints("a=1", "a=1"))
    assert len(ledger.rows("documents.fingerprints", "trade", "invoice", "a")) == 1


# encumbering


def test_an_encumbrance_takes_from_what_is_free(ledger):
    number = take(ledger)
    assert remaining(ledger) == 4_000
    assert ledger.query("documents.outstanding", number) == 6_000
    one = ledger.rows("documents.encumbrances", number)[0]
    assert (one.holder, one.purpose, one.state) == ("reed-bank", "loan", "live")
    assert (one.maker_kind, one.maker) == ("organisation", "reed-bank")


def test_of_two_in_one_block_the_first_wins_and_the_second_learns_what_remains(ledger):
    with ledger.block() as receipts:
        take(ledger)
        hill(ledger).encumber("mine", "inv-1", 6_000, "hill-bank", "loan")
    assert [one.outcome for one in receipts] == [Outcome.APPLIED, Outcome.REJECTED]
    assert receipts[1].code == "documents.over_capacity"
    assert dict(receipts[1].fields) == {"document": "inv-1", "wanted_minor": 6_000, "remaining_minor": 4_000}
    hill(ledger).encumber("mine", "inv-1", 4_000, "hill-bank", "loan")
    assert remaining(ledger) == 0


def test_nobody_is_named_in_events_refusals_or_queries(ledger):
    receipts = []
    for act in (
        lambda: take(ledger, expires_at=ledger.now + DAY),
        lambda: boss(ledger).prolong(1, None, "loan"),
        lambda: hill(ledger).encumber("x", "inv-1", 6_000, "hill-bank", "loan"),
        lambda: hill(ledger).release("y", 1),
        lambda: boss(ledger).cancel("inv-1", "no"),
        lambda: reed(ledger).hand_on(1, "third-bank", "loan"),
        lambda: boss(ledger).permit("inv-1", "organisation", "reed-bank", 1, ledger.now + DAY),
        lambda: boss(ledger).withdraw_permit("inv-1", "organisation", "reed-bank"),
        lambda: ledger.actor("reed-bank/lender").documents.settle("z", 1),
    ):
        with ledger.block() as block:
            act()
        receipts += block
    assert {one.outcome for one in receipts} == {Outcome.APPLIED, Outcome.REJECTED}
    told = [str((one.code, one.fields, one.results, one.events)) for one in receipts]
    told += [
        str(ledger.query("documents.record", "inv-1")),
        str(ledger.query("documents.standing", ("inv-1", "inv-9"))),
        str(ledger.query("documents.outstanding", 1)),
        *(str(ledger.rows(f"documents.{one}")) for one in OPEN_TABLES),
    ]
    for text in told:
        assert "bank" not in text, text


def test_who_has_no_permit_takes_nothing_and_learns_nothing(ledger):
    take(ledger)
    for actor in ("mill/hand", "reed-bank/guest", "town/anna"):
        with ledger.block() as receipts:
            ledger.actor(actor).documents.encumber("x", "inv-1", 9_000, "town", "loan")
        assert receipts[0].code == "documents.no_permit"
        assert receipts[0].fields == [["document", "inv-1"]]


def test_a_permit_ends_and_is_withdrawn(ledger):
    boss(ledger).withdraw_permit("inv-1", "organisation", "hill-bank")
    with refused("documents.no_permit"):
        hill(ledger).encumber("x", "inv-1", 1, "hill-bank", "loan")
    with refused("documents.no_permit"):
        boss(ledger).withdraw_permit("inv-1", "organisation", "hill-bank")
    ledger.advance(days=30)
    with refused("documents.no_permit"):
        take(ledger, 1)


def test_a_permit_covers_an_amount_in_all(ledger):
    number = take(ledger, 5_000)
    reed(ledger).release("back", number)
    with refused("documents.permit_exceeded", wanted_minor=3_001, remaining_minor=3_000):
        take(ledger, 3_001, "loan-2")
    take(ledger, 3_000, "loan-2")


def test_by_a_permit_an_organisation_encumbers_for_itself(ledger):
    with refused("documents.holder_not_you", document="inv-1"):
        reed(ledger).encumber("x", "inv-1", 1, "hill-bank", "loan")


def test_a_permit_for_a_contract_binds_that_contract(ledger):
    with refused("documents.no_permit"):
        clerk(ledger).encumber("x", "inv-1", 1_000, "pseudonym-7", "loan")
    boss(ledger).permit("inv-1", "contract", "clerk", 1_000, ledger.now + DAY)
    number = clerk(ledger).encumber("x", "inv-1", 1_000, "pseudonym-7", "loan")
    assert ledger.rows("documents.encumbrances", number)[0].maker == "clerk"
    with refused("documents.permit_exceeded"):
        clerk(ledger).encumber("y", "inv-1", 1, "pseudonym-7", "loan")


def test_a_keeper_needs_no_permit_and_takes_none(ledger):
    with refused("documents.permit_for_keeper"):
        boss(ledger).permit("inv-1", "organisation", "mill", 1, ledger.now + DAY)
    number = boss(ledger).encumber("pledge", "inv-1", 10_000, "hill-bank", "pledge")
    with refused("documents.not_your_encumbrance", encumbrance=number):
        boss(ledger).release("back", number)
    hill(ledger).release("back", number)


def test_times_lie_ahead(ledger):
    now = ledger.now
    with refused("documents.time_out_of_range", earliest=now + 1):
        take(ledger, expires_at=now)
    now = ledger.now
    with refused("documents.time_out_of_range", earliest=now + 1):
        boss(ledger).permit("inv-1", "organisation", "reed-bank", 1, now)
    number = take(ledger)
    with refused("documents.time_out_of_range"):
        boss(ledger).prolong(number, ledger.now, "loan")


def test_a_document_is_encumbered_until_it_is_over(ledger):
    register(ledger, "inv-2", valid_until=ledger.now + DAY)
    boss(ledger).encumber("a", "inv-2", 1, "hill-bank", "loan")
    ledger.advance(days=1)
    with refused("documents.document_over", document="inv-2"):
        boss(ledger).encumber("b", "inv-2", 1, "hill-bank", "loan")


# the same reference


def test_the_same_act_under_the_same_reference_is_done_once(ledger):
    number = take(ledger)
    assert take(ledger) == number
    assert reed(ledger).release("r", number, 1_000) == 5_000
    assert reed(ledger).release("r", number, 1_000) == 5_000
    assert reed(ledger).settle("s", number, 2_000) == 3_000
    assert reed(ledger).settle("s", number, 2_000) == 3_000
    assert boss(ledger).settle_free("f", "inv-1", 500) == 4_500
    assert boss(ledger).settle_free("f", "inv-1", 500) == 4_500
    one = row(ledger)
    assert (one.encumbered_minor, one.settled_minor) == (3_000, 2_500)


def test_another_act_under_the_same_reference_is_refused(ledger):
    number = take(ledger)
    for act in (
        lambda: take(ledger, 1),
        lambda: reed(ledger).release("loan-1", number),
        lambda: reed(ledger).settle("loan-1", number),
        lambda: reed(ledger).settle_free("loan-1", "inv-1", 1),
    ):
        with refused("documents.reference_used", reference="loan-1"):
            act()
    hill(ledger).encumber("loan-1", "inv-1", 1, "hill-bank", "loan")


# releasing, settling, handing on


def test_what_is_released_is_free_and_what_is_settled_is_used_up(ledger):
    number = take(ledger)
    reed(ledger).settle("s", number, 2_500)
    reed(ledger).release("r", number, 500)
    assert (remaining(ledger), row(ledger).settled_minor) == (4_500, 2_500)
    assert reed(ledger).settle("rest", number) == 0
    one = ledger.rows("documents.encumbrances", number)[0]
    assert (one.state, one.settled_minor, one.released_minor) == ("settled", 5_500, 500)
    assert remaining(ledger) == 4_500


def test_no_more_is_released_or_settled_than_remains(ledger):
    number = take(ledger)
    for act in (reed(ledger).release, reed(ledger).settle):
        with refused("documents.more_than_encumbered", wanted_minor=6_001, remaining_minor=6_000):
            act("x", number, 6_001)


def test_an_encumbrance_that_ended_stays_ended(ledger):
    number = take(ledger)
    reed(ledger).release("all", number)
    for act in (
        lambda: reed(ledger).release("x", number),
        lambda: reed(ledger).settle("x", number),
        lambda: reed(ledger).hand_on(number, "hill-bank", "loan"),
        lambda: boss(ledger).prolong(number, None, "loan"),
        lambda: boss(ledger).expire_encumbrance(number),
    ):
        with refused("documents.encumbrance_ended", encumbrance=number, state="released"):
            act()


def test_an_encumbrance_is_in_the_hands_of_its_holder(ledger):
    number = take(ledger)
    for actor in ("hill-bank/lender-2", "reed-bank/guest", "mill/boss"):
        for act in ("release", "settle"):
            with refused("documents.not_your_encumbrance", encumbrance=number):
                getattr(ledger.actor(actor).documents, act)("x", number)
    with refused("documents.not_your_encumbrance"):
        clerk(ledger).release("x", number)
    reed(ledger).hand_on(number, "hill-bank", "loan")
    with refused("documents.not_your_encumbrance"):
        reed(ledger).release("x", number)
    assert hill(ledger).release("x", number) == 0


def test_an_encumbrance_of_a_contract_is_in_its_hands_alone(ledger):
    clerk(ledger).register("inv-2", "mill", bytes(32), 500)
    number = clerk(ledger).encumber("a", "inv-2", 500, "reed-bank", "loan", ledger.now + DAY)
    with refused("documents.not_your_encumbrance"):
        reed(ledger).release("x", number)
    with refused("documents.not_your_encumbrance"):
        boss(ledger).prolong(number, None, "loan")
    clerk(ledger).hand_on(number, "hill-bank", "loan")
    clerk(ledger).prolong(number, None, "loan")
    assert clerk(ledger).settle("b", number, 200) == 300
    assert clerk(ledger).release("c", number) == 0


def test_only_the_keeper_prolongs_what_an_organisation_made(ledger):
    number = take(ledger, expires_at=ledger.now + DAY)
    with refused("documents.not_the_keeper"):
        reed(ledger).prolong(number, None, "loan")
    boss(ledger).prolong(number, None, "long-loan")
    ledger.advance(days=2)
    assert ledger.query("documents.outstanding", number) == 6_000
    assert ledger.rows("documents.encumbrances", number)[0].purpose == "long-loan"


# time


def test_what_has_expired_is_free_in_the_next_encumbrance(ledger):
    number = take(ledger, 8_000, expires_at=ledger.now + DAY)
    ledger.advance(days=1)
    ledger.cut([])
    assert (remaining(ledger), ledger.query("documents.outstanding", number)) == (10_000, 0)
    assert ledger.query("documents.standing", ("inv-1",))[0].remaining_minor == 10_000
    hill(ledger).encumber("x", "inv-1", 8_000, "hill-bank", "loan")
    assert ledger.rows("documents.encumbrances", number)[0].state == "expired"
    assert row(ledger).encumbered_minor == 8_000


def test_what_is_over_can_be_released_and_nothing_else(ledger):
    number = take(ledger, expires_at=ledger.now + DAY)
    ledger.advance(days=1)
    for act in (
        lambda: reed(ledger).settle("x", number),
        lambda: reed(ledger).hand_on(number, "hill-bank", "loan"),
        lambda: boss(ledger).prolong(number, None, "loan"),
    ):
        with refused("documents.encumbrance_over", encumbrance=number):
            act()
    reed(ledger).release("x", number)


def test_anybody_ends_what_is_over(ledger):
    first = take(ledger, 1_000, expires_at=ledger.now + DAY)
    second = take(ledger, 1_000, "loan-2", expires_at=ledger.now + 2 * DAY)
    last = take(ledger, 1_000, "loan-3")
    anna = ledger.actor("town/anna").documents
    for number in (first, last):
        with refused("documents.encumbrance_not_due", encumbrance=number):
            anna.expire_encumbrance(number)
    ledger.advance(days=1)
    anna.expire_encumbrance(first)
    ledger.advance(days=1)
    assert anna.expire_encumbrances() == 1
    assert anna.expire_encumbrances(limit=MAX) == 0
    assert ledger.query("documents.outstanding", second) == 0
    assert row(ledger).encumbered_minor == 1_000


def test_more_that_is_over_than_one_call_ends_is_ended_in_parts(ledger):
    register(ledger, "many", 1_000)
    with ledger.block():
        for number in range(EXPIRED_PER_CALL_MAX + 20):
            boss(ledger).encumber(f"m-{number}", "many", 8, "hill-bank", "loan", ledger.now + DAY)
    ledger.advance(days=1)
    assert remaining(ledger, "many") == 40
    ledger.cut([])
    assert remaining(ledger, "many") == 40 + 8 * EXPIRED_PER_CALL_MAX
    with refused("documents.over_capacity", remaining_minor=40 + 8 * EXPIRED_PER_CALL_MAX):
        boss(ledger).encumber("all", "many", 1_000, "hill-bank", "loan")
    assert ledger.actor("town/anna").documents.expire_encumbrances() == EXPIRED_PER_CALL_MAX
    boss(ledger).encumber("all", "many", 1_000, "hill-bank", "loan")


# amendments, credit notes, status


def test_an_amendment_is_a_new_version(ledger):
    assert boss(ledger).amend("inv-1", 1, digest("v2"), 12_000, 11_000, "freight") == 2
    assert [one.reason for one in ledger.rows("documents.versions", "inv-1")] == ["", "freight"]
    assert remaining(ledger) == 11_000


def test_an_amendment_says_which_version_it_replaces(ledger):
    boss(ledger).amend("inv-1", 1, digest("v2"), 1, 1, "a")
    with refused("documents.stale_version", version=2):
        boss(ledger).amend("inv-1", 1, digest("v3"), 1, 1, "b")


def test_the_capacity_does_not_fall_below_what_is_in_use(ledger):
    number = take(ledger)
    reed(ledger).settle("s", number, 1_000)
    with refused("documents.capacity_in_use", least_minor=6_000):
        boss(ledger).amend("inv-1", 1, digest("v2"), 1, 5_999, "less")
    boss(ledger).amend("inv-1", 1, digest("v2"), 1, 6_000, "less")
    assert remaining(ledger) == 0


def test_a_credit_note_takes_what_is_free(ledger):
    take(ledger)
    with refused("documents.more_than_free", wanted_minor=4_001, free_minor=4_000):
        boss(ledger).credit("inv-1", digest("cn-1"), 4_001)
    assert boss(ledger).credit("inv-1", digest("cn-1"), 1_500) == 2_500
    assert boss(ledger).credit("inv-1", digest("cn-1"), 1_500) == 2_500
    with refused("documents.note_used", amount_minor=1_500):
        boss(ledger).credit("inv-1", digest("cn-1"), 1_000)
    assert (row(ledger).capacity_minor, row(ledger).version) == (8_500, 1)
    with refused("documents.more_than_free", free_minor=2_500):
        boss(ledger).settle_free("f", "inv-1", 2_501)


def test_a_suspended_document_keeps_what_it_has_and_takes_no_more(ledger):
    number = take(ledger)
    boss(ledger).suspend("inv-1", "disputed")
    with refused("documents.document_not_live", status="suspended"):
        hill(ledger).encumber("x", "inv-1", 1, "hill-bank", "loan")
    with refused("documents.document_not_live", status="suspended"):
        boss(ledger).suspend("inv-1", "again")
    reed(ledger).settle("s", number, 100)
    boss(ledger).resume("inv-1", "settled")
    with refused("documents.document_not_live", status="live"):
        boss(ledger).resume("inv-1", "again")
    hill(ledger).encumber("x", "inv-1", 1, "hill-bank", "loan")


def test_a_document_ends_when_nothing_of_it_is_encumbered(ledger):
    number = take(ledger, expires_at=ledger.now + DAY)
    for act in (boss(ledger).close, boss(ledger).cancel):
        with refused("documents.still_encumbered", encumbered_minor=6_000):
            act("inv-1", "end")
    reed(ledger).settle("s", number, 1_000)
    ledger.advance(days=1)
    with refused("documents.already_settled", settled_minor=1_000):
        boss(ledger).cancel("inv-1", "end")
    boss(ledger).close("inv-1", "end")
    for act in (
        lambda: boss(ledger).close("inv-1", "again"),
        lambda: boss(ledger).cancel("inv-1", "again"),
        lambda: boss(ledger).amend("inv-1", 1, digest("v2"), 1, 1, "late"),
        lambda: boss(ledger).credit("inv-1", digest("cn"), 1),
        lambda: boss(ledger).settle_free("f", "inv-1", 1),
        lambda: boss(ledger).permit("inv-1", "organisation", "reed-bank", 1, ledger.now + DAY),
    ):
        with refused("documents.document_ended", status="closed"):
            act()
    with refused("documents.document_not_live", status="closed"):
        hill(ledger).encumber("x", "inv-1", 1, "hill-bank", "loan")


def test_only_the_keeper_acts_on_a_document(ledger):
    clerk(ledger).register("inv-2", "mill", bytes(32), 500)
    for actor, document in (("mill/hand", "inv-1"), ("reed-bank/lender", "inv-1"), ("mill/boss", "inv-2")):
        other = ledger.actor(actor).documents
        for act in (
            lambda: other.amend(document, 1, digest("v2"), 1, 1, "x"),  # noqa: B023
            lambda: other.credit(document, digest("cn"), 1),  # noqa: B023
            lambda: other.settle_free("x", document, 1),  # noqa: B023
            lambda: other.suspend(document, "x"),  # noqa: B023
            lambda: other.resume(document, "x"),  # noqa: B023
            lambda: other.close(document, "x"),  # noqa: B023
            lambda: other.cancel(document, "x"),  # noqa: B023
            lambda: other.permit(document, "organisation", "reed-bank", 1, MAX),  # noqa: B023
            lambda: other.withdraw_permit(document, "organisation", "reed-bank"),  # noqa: B023
        ):
            with refused("documents.not_the_keeper", document=document):
                act()
    with refused("documents.not_the_keeper"):
        clerk(ledger).suspend("inv-1", "x")
    with refused("documents.not_the_keeper"):
        clerk(ledger).permit("inv-1", "contract", "clerk", 1, MAX)
    clerk(ledger).suspend("inv-2", "x")


def test_what_is_not_there_is_unknown(ledger):
    for act in (
        lambda: boss(ledger).amend("no", 1, digest("x"), 1, 1, "x"),
        lambda: boss(ledger).credit("no", digest("x"), 1),
        lambda: boss(ledger).settle_free("x", "no", 1),
        lambda: boss(ledger).suspend("no", "x"),
        lambda: boss(ledger).permit("no", "contract", "clerk", 1, MAX),
        lambda: boss(ledger).encumber("x", "no", 1, "hill-bank", "loan"),
    ):
        with refused("documents.unknown_document", document="no"):
            act()
    for act in (
        lambda: boss(ledger).release("x", 9),
        lambda: boss(ledger).settle("x", 9),
        lambda: boss(ledger).hand_on(9, "a", "b"),
        lambda: boss(ledger).prolong(9, None, "b"),
        lambda: boss(ledger).expire_encumbrance(9),
    ):
        with refused("documents.unknown_encumbrance", encumbrance=9):
            act()
    with pytest.raises(Exception, match="unknown_document"):
        ledger.query("documents.remaining", "no")
    assert ledger.query("documents.standing", ("no",))[0].status is None


def test_the_first_refusal_in_order_is_given(ledger):
    """Each line mends what the line before was refused for."""
    take(ledger, 6_000, "used")
    boss(ledger).suspend("inv-1", "x")
    past = ledger.now - 1
    other, held = ledger.actor("town/anna").documents, hill(ledger)
    for code, act in (
        ("unknown_document", lambda: reed(ledger).encumber("used", "no", 9_000, "x", "loan", past)),
        ("reference_used", lambda: reed(ledger).encumber("used", "inv-1", 9_000, "x", "loan", past)),
        ("time_out_of_range", lambda: other.encumber("new", "inv-1", 9_000, "x", "loan", past)),
        ("no_permit", lambda: other.encumber("new", "inv-1", 9_000, "x", "loan")),
        ("holder_not_you", lambda: held.encumber("new", "inv-1", 9_000, "x", "loan")),
        ("document_not_live", lambda: held.encumber("new", "inv-1", 9_000, "hill-bank", "loan")),
    ):
        with refused(f"documents.{code}"):
            act()
    boss(ledger).resume("inv-1", "x")
    with refused("documents.over_capacity"):
        held.encumber("new", "inv-1", 9_000, "hill-bank", "loan")
    boss(ledger).amend("inv-1", 1, digest("v"), 20_000, 20_000, "x")
    with refused("documents.permit_exceeded"):
        held.encumber("new", "inv-1", 9_000, "hill-bank", "loan")


def test_amounts_reach_to_the_end_of_sixty_four_bits(ledger):
    register(ledger, "big", MAX)
    number = boss(ledger).encumber("a", "big", MAX, "hill-bank", "loan")
    with refused("documents.over_capacity", remaining_minor=0):
        boss(ledger).encumber("b", "big", MAX, "hill-bank", "loan")
    assert hill(ledger).settle("c", number) == 0
    assert remaining(ledger, "big") == 0


def test_every_refusal_has_a_case_here():
    text = Path(__file__).read_text()
    for rejection in Documents.rejections:
        assert f'refused("{rejection.code}"' in text, rejection.code
