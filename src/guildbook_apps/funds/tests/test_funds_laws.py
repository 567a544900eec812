"""Laws of supervised funds under random commands, watched by the auditor; and an auditor that finds faults."""

import random
import uuid
from fractions import Fraction

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildbook.contract import allocate
from guildbook_apps.funds.auditor import Auditor, Difference, Refused, Signer, divided
from guildbook_apps.funds.contract import DAY_MS, Funds, _uetr
from guildbook_apps.funds.workload import (
    BANK,
    FEED,
    HERON,
    Command,
    Workload,
    cast,
    digest,
    found,
    line,
    movement,
    play,
    run,
    signer_of,
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=st.randoms(use_true_random=False))
def test_ledger_and_auditor_agree_on_every_outcome_event_and_row(source):
    run(source, blocks=8, payees=4)


def test_a_season_of_seeded_commands_meets_most_refusals_and_events():
    _ledger, book = run(random.Random(20), blocks=110)
    own = [code for code in book.refusals if code.startswith("funds.")]
    assert len(own) >= 20, book.refusals
    assert len(book.seen_events) >= 18, book.seen_events
    assert sum(book.appropriated.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_years_of_seeded_commands_meet_every_refusal_and_event_and_lose_no_money():
    codes: set[str] = set()
    events: set[str] = set()
    for seed in range(12):
        _ledger, book = run(random.Random(1_000 + seed), blocks=250)
        codes |= set(book.refusals)
        events |= set(book.seen_events)
    assert {one.code for one in Funds.rejections} <= codes
    assert set(Funds.event_schemas) == events


@given(total=st.integers(0, 10**16), weights=st.lists(st.integers(0, 10**15), min_size=1, max_size=8).filter(any))
def test_shares_are_divided_alike_by_whole_numbers_and_by_fractions(total, weights):
    parts = divided(total, weights)
    assert tuple(parts) == allocate(total, tuple(weights))
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


@given(st.binary(min_size=32, max_size=32))
def test_a_uetr_is_a_uuid_of_version_four(value):
    made = uuid.UUID(_uetr(value))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert made == uuid.UUID(bytes=value[:16], version=4)


# An auditor that finds nothing proves nothing

SUBMISSION = {"reference": "r", "kind": "benefit", "payee": "p1", "about": "2026", "gross_minor": 300_000,
              "shares": [["roofs/heron", 2], ["roofs/heron/school", 1]], "evidence": digest("photo"), "invoice": None}


@pytest.fixture
def watched():
    """A ledger with one request, and the book that saw it submitted."""
    ledger, book = found(payees=4, check_invariants=False)
    assert play(ledger, book, [Command(f"{HERON}/clerk-heron", "funds.submit", SUBMISSION)]) == [""]
    return ledger, book


def observed(ledger, book, actor, name, arguments, change):
    """Run one command, and show the auditor its receipt as ``change`` altered it."""
    receipt = ledger.cut([ledger.sign(ledger.actor(actor), [(name, (), arguments)])])[0]
    book.observe(ledger.now_ns // 1_000_000, signer_of(actor, cast()), (name, arguments), change(receipt))


def altered(event, place, value):
    """A receipt whose event of this name says something else."""
    def change(receipt):
        events = [[contract, name, [*values[:place], value, *values[place + 1:]] if name == event else values]
                  for contract, name, values in receipt.events]
        assert events != receipt.events, "nothing was altered"
        return msgspec.structs.replace(receipt, events=events)
    return change


def approval(book):
    return {"request": 1, "stage": "review", "payload": book.payload(book.requests[1]), "acting_for": None}


@pytest.mark.parametrize("change", [
    altered("submitted", 0, 3),
    altered("submitted", 2, digest("another payload")),
    altered("submitted", 6, 299_999),
    lambda receipt: msgspec.structs.replace(receipt, results=[3]),
    lambda receipt: msgspec.structs.replace(receipt, events=receipt.events[:-1]),
    lambda receipt: msgspec.structs.replace(receipt, outcome=1, code="funds.line_lapsed", events=[]),
], ids=["another number", "another payload", "another amount", "another result", "no event", "refused"])
def test_the_auditor_sees_a_false_receipt(watched, change):
    ledger, book = watched
    with pytest.raises(Difference):
        observed(ledger, book, f"{HERON}/clerk-heron", "funds.submit", {**SUBMISSION, "reference": "s"}, change)


def test_the_auditor_sees_that_something_was_applied_which_must_be_refused(watched):
    ledger, book = watched
    observed(ledger, book, "juniper-province/reviewer-0", "funds.approve", approval(book), lambda receipt: receipt)
    wrong = {"request": 1, "confirmed_minor": 300_000, "complaint": None}
    applied = ledger.ledger.head.height
    with pytest.raises(Difference, match="wrong_stage"):
        observed(ledger, book, f"{HERON}/witness-heron", "funds.witness_receipt", wrong,
                 lambda receipt: msgspec.structs.replace(receipt, code="", outcome=0, results=[None]))
    assert ledger.ledger.head.height == applied + 1


@pytest.mark.parametrize(("table", "change"), [
    ("funds.requests", {"amount_minor": 300_001}), ("funds.requests", {"approved": True}),
    ("funds.requests", {"uetr": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}), ("funds.lines", {"overdue": 1}),
    ("funds.payees", {"changed_by": "somebody"}), ("funds.entitlements", {"taken_minor": 1}),
    ("funds.works", {"claimed_minor": 1}), ("money.accounts", {"credits_posted": 1})])
def test_the_auditor_sees_a_false_row(watched, table, change):
    ledger, book = watched

    def rows(name):
        found_rows = list(ledger.rows(name))
        if name != table:
            return found_rows
        place = next(place for place, one in enumerate(found_rows)
                     if table != "money.accounts" or one.id.startswith("funds/roofs/heron"))
        found_rows[place] = msgspec.structs.replace(found_rows[place], **change)
        return found_rows

    with pytest.raises(Difference, match=table.partition(".")[2]):
        book.compare(rows)


def test_the_auditor_sees_money_that_was_lost_in_its_own_book(watched):
    _ledger, book = watched
    book.lines["roofs/heron"].money["free"] -= 1
    with pytest.raises(Difference, match="299999999 on its lines; 300000000 was appropriated"):
        book.check_sums()


def test_a_workload_draws_the_same_commands_from_the_same_seed():
    drawn = []
    for _twice in range(2):
        ledger, book = found(payees=4, check_invariants=False)
        workload = Workload(random.Random(3), book)
        drawn.append([workload.command(ledger.now) for _command in range(50)])
    assert drawn[0] == drawn[1]


def test_who_may_sign_is_part_of_the_book():
    book = Auditor("test-net", {BANK: ["feed"]})
    book._signer = Signer("x", "y", frozenset())
    with pytest.raises(Refused, match="not_permitted"):
        book._act("funds.recall", {"request": 1, "reason": "CUST", "file": bytes(32)})
    book._signer = signer_of(FEED, cast())
    with pytest.raises(Refused, match="unknown_id"):
        book._act("funds.deliver", {"programme": "none", "schema": "camt.054.001.08", "message_id": "m",
                                    "digest": bytes(32), "entries": [], "part": 1})


def test_the_largest_file_and_the_largest_messages_keep_within_what_a_transaction_may_do():
    """200 emergencies, each with an invoice and borne by eight lines, released, booked and returned in one go each."""
    ledger, book = found(payees=4, check_invariants=False)
    names = ["roofs/heron", "roofs/heron/school", *[f"roofs/heron/x{number}" for number in range(6)]]
    for number, name in enumerate(names[2:], 5):
        play(ledger, book, [line(name, "roofs/heron", HERON, "project", "housing", ledger.now + 300 * DAY_MS)])
        assert {play(ledger, book, [one])[0] for one in movement(number, "roofs/heron", name, 3_000_000)} == {""}
    setting = [Command(f"{HERON}/registrar-heron", "funds.entitle", {
        "payee": "p2", "cycle": "2026", "purpose": "housing", "granted_minor": 10**12})]
    setting += [Command(f"{HERON}/clerk-heron", "funds.register_invoice", {
        "invoice": f"inv-{number}", "payee": "p2", "digest": digest(number), "face_minor": 80_000, "fingerprints": []})
        for number in range(200)]
    setting += [Command(f"{HERON}/officer-heron", "funds.pay_first", {
        **SUBMISSION, "reference": f"e{number}", "payee": "p2", "gross_minor": 80_000, "invoice": f"inv-{number}",
        "shares": [[name, 1] for name in names]}) for number in range(200)]
    assert set(play(ledger, book, setting)) == {""}

    def message(schema, kind, code):
        entries = [[kind, [["EndToEndId", f"F{one.number}"], ["UETR", one.uetr], ["AcctSvcrRef", f"e {one.number}"]],
                    80_000, "CNY", code, one.account if kind == "BOOK" else None, None]
                   for one in book.requests.values()]
        return Command(FEED, "funds.deliver", {"programme": "roofs", "schema": schema, "message_id": kind,
                                               "digest": digest(kind), "entries": entries, "part": 1})

    for step in (
            Command("juniper-province/releaser-0", "funds.release", {
                "batch": "B", "programme": "roofs", "requests": list(book.requests),
                "execution_day": ledger.now // DAY_MS + 1, "file": digest("file")}),
            message("camt.054.001.08", "BOOK", None), message("pacs.004.001.09", "RTRN", "AC04")):
        assert play(ledger, book, [step]) == [""], step.name
    assert {one.stage for one in book.requests.values()} == {"returned"}
