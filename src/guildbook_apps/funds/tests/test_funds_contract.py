"""The rules of supervised public funds: stories, edge cases and refusals, each by name."""

import pytest

from guildbook.testing import refused
from guildbook_apps.funds.contract import BATCH_REQUESTS_MAX, DAY_MS
from guildbook_apps.funds.tests.stage import (
    AUTHORITY,
    BANK,
    COUNTY,
    WATCH,
    YEAR_MS,
    act,
    approved,
    delivered,
    digest,
    endowed,
    founded,
    instructed,
    item,
    moved,
    paid,
    stage_of,
    standing,
    submitted,
)


@pytest.fixture
def stage():
    """A county with 500,000.00 and two households."""
    return endowed(founded())


def unmatched(stage):
    """Why each open item of the bank waits."""
    return [str(one.reason or one.state) for one in stage.rows("messages.items")
            if one.state in ("unmatched", "quarantined")]


# Stories


def test_money_goes_from_an_appropriation_to_a_receipt(stage):
    assert standing(stage, "roofs/province") == (50_000_000, 0, 0)
    request = submitted(stage)
    assert standing(stage) == (50_000_000, 0, 0)
    approved(stage, request)
    assert stage_of(stage, request) == "approved"
    assert standing(stage) == (49_700_000, 300_000, 0)
    instructed(stage, request)
    assert delivered(stage, "pain.002", item(stage, request, "ACSP")) == 0
    assert stage_of(stage, request) == "accepted"
    assert delivered(stage, "camt.054", item(stage, request, "BOOK")) == 0
    assert standing(stage) == (49_700_000, 0, 300_000)
    assert delivered(stage, "camt.053", item(stage, request, "BOOK", entry="other")) == 0
    act(stage, "ida").funds.confirm_receipt(request=request, confirmed_minor=300_000)
    assert stage_of(stage, request) == "confirmed"
    act(stage, "clerk").funds.attach_usage(request=request, kind="photo", evidence=bytes(32))


def test_a_large_request_needs_the_second_stage(stage):
    act(stage, "registrar-one").funds.entitle(payee="p-ida", cycle="2026", purpose="housing", granted_minor=20_000_000)
    request = submitted(stage, 10_000_000)
    payload = stage.query("funds.payload_of", request)
    assert not act(stage, "reviewer").funds.approve(request=request, stage="review", payload=payload)
    assert stage_of(stage, request) == "submitted"
    assert act(stage, "approver").funds.approve(request=request, stage="approve", payload=payload)
    assert stage_of(stage, request) == "approved"


def test_a_return_reopens_the_same_line_and_entitlement(stage):
    request = paid(stage)
    assert delivered(stage, "pacs.004", item(stage, request, "RTRN", reason="MS03", entry="R1")) == 0
    assert stage_of(stage, request) == "returned"
    assert standing(stage) == (50_000_000, 0, 0)
    assert delivered(stage, "camt.054", item(stage, request, "RTRN", entry="R1-credit")) == 0
    assert standing(stage) == (50_000_000, 0, 0)
    paid(stage, 2_000_000)


def test_a_return_in_parts_counts_each_part_once(stage):
    request = paid(stage)
    for kind in ("pacs.004", "camt.054", "camt.053"):
        assert delivered(stage, kind, item(stage, request, "RTRN", amount_minor=100_000, entry=f"{kind}-1")) == 0
    assert (standing(stage), stage_of(stage, request)) == ((49_800_000, 0, 200_000), "settled")
    assert delivered(stage, "pacs.004", item(stage, request, "RTRN", amount_minor=200_000, entry="second")) == 0
    assert (standing(stage), stage_of(stage, request)) == ((50_000_000, 0, 0), "returned")
    assert delivered(stage, "pacs.004", item(stage, request, "RTRN", amount_minor=1, entry="third")) == 1
    assert unmatched(stage) == ["amount"]


def test_a_rejected_request_gives_back_what_it_took(stage):
    request = submitted(stage)
    act(stage, "reviewer").funds.reject(request=request, stage="review", reason="not-needed",
                                        payload=stage.query("funds.payload_of", request))
    assert stage_of(stage, request) == "rejected"
    submitted(stage, 2_000_000)


def test_a_unit_cancels_an_approved_request_and_the_money_is_free(stage):
    request = approved(stage, submitted(stage))
    act(stage, "clerk").funds.cancel(request=request, reason="withdrawn")
    assert (stage_of(stage, request), standing(stage)) == ("cancelled", (50_000_000, 0, 0))


def test_anybody_ends_a_request_whose_proposal_ran_out_of_time(stage):
    request = submitted(stage)
    with refused("funds.not_yours", owner=COUNTY):
        act(stage, "omar").funds.cancel(request=request, reason="old")
    stage.advance(days=31)
    act(stage, "omar").funds.cancel(request=request, reason="old")
    assert stage_of(stage, request) == "cancelled"


def test_the_same_submission_again_is_the_same_request(stage):
    first = submitted(stage, reference="house-7")
    assert submitted(stage, reference="house-7") == first
    assert len(stage.rows("funds.requests")) == 1
    with refused("funds.reference_used", reference="house-7", request=first):
        submitted(stage, 300_001, reference="house-7")


def test_money_moves_back_to_the_parent_and_across_to_another_purpose(stage):
    moved(stage, "withdraw", "roofs/heron", "roofs/province", 10_000_000)
    assert standing(stage) == (40_000_000, 0, 0)
    for name, organisation in (("roofs/heron/wells", COUNTY), ("roofs/heron/doors", COUNTY)):
        act(stage, "clerk").funds.open_line(line=name, parent="roofs/heron", organisation=organisation, level="project",
                                            purpose=name[-5:], lapses_at=stage.now + 90 * DAY_MS)
    moved(stage, "reappropriate", "roofs/province", "roofs/heron/wells", 5_000_000)
    moved(stage, "reappropriate", "roofs/heron/wells", "roofs/heron/doors", 1_000_000)
    assert standing(stage, "roofs/heron/wells") == (4_000_000, 0, 0)
    assert standing(stage, "roofs/heron/doors") == (1_000_000, 0, 0)


def test_what_is_left_lapses_to_the_parent_and_what_is_committed_stays(stage):
    request = approved(stage, submitted(stage))
    with refused("funds.not_lapsed", line="roofs/heron"):
        act(stage, "omar").funds.lapse(line="roofs/heron")
    stage.advance(days=364)
    assert act(stage, "omar").funds.lapse(line="roofs/heron") == 49_700_000
    assert standing(stage) == (0, 300_000, 0)
    instructed(stage, request)
    delivered(stage, "pain.002", item(stage, request, "RJCT", reason="MS03"))
    assert act(stage, "omar").funds.lapse(line="roofs/heron") == 300_000
    with refused("funds.not_lapsed"):
        act(stage, "omar").funds.lapse(line="roofs/heron")


def test_findings_are_closed_by_another_auditor(stage):
    request = paid(stage)
    finding = act(stage, "auditor-one").funds.raise_finding(request=request, severity="high", statement=digest("s"))
    with refused("funds.same_person", party="auditor-one"):
        act(stage, "auditor-one").funds.close_finding(finding=finding, answer=digest("a"))
    act(stage, "auditor-two").funds.close_finding(finding=finding, answer=digest("a"))
    with refused("funds.already_resolved", number=finding):
        act(stage, "auditor-two").funds.close_finding(finding=finding, answer=digest("a"))
    with refused("funds.unknown_number", kind="finding"):
        act(stage, "auditor-two").funds.close_finding(finding=99, answer=digest("a"))


def test_a_shared_account_is_told_and_not_refused(stage):
    act(stage, "registrar-one").funds.enrol(payee="p-eve", programme="roofs", identity=digest("eve"),
                                            account=digest("account ida"), controller=None)
    assert any(b"account_shared" in receipt for receipt in stage.last_block.receipts)
    assert stage.rows("funds.payees", "p-eve")[0].status == "enrolled"


# Edge cases


def test_a_half_accepted_batch_settles_what_was_accepted(stage):
    good, bad = approved(stage, submitted(stage)), approved(stage, submitted(stage, payee="p-omar"))
    instructed(stage, good, bad)
    assert delivered(stage, "pain.002", item(stage, good, "ACSP"), item(stage, bad, "RJCT", reason="MS03")) == 0
    assert (stage_of(stage, good), stage_of(stage, bad)) == ("accepted", "failed")
    assert standing(stage) == (49_700_000, 300_000, 0)
    assert delivered(stage, "camt.054", item(stage, good, "BOOK")) == 0
    assert standing(stage) == (49_700_000, 0, 300_000)


@pytest.mark.parametrize("reason", ["AC01", "AC04"])
def test_a_wrong_or_closed_account_fails_the_request_and_is_verified_again(stage, reason):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    delivered(stage, "pain.002", item(stage, request, "RJCT", reason=reason))
    assert stage_of(stage, request) == "failed"
    with refused("funds.payee_not_verified", payee="p-ida", status="enrolled"):
        submitted(stage)
    act(stage, "registrar-one").funds.change_account(payee="p-ida", account=digest("new account"))
    act(stage, "registrar-two").funds.verify(payee="p-ida", account=digest("new account"), credential=digest("c"))
    submitted(stage)


def test_a_rejection_as_duplicate_waits_for_a_person(stage):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    assert delivered(stage, "pain.002", item(stage, request, "RJCT", reason="AM05")) == 1
    assert (stage_of(stage, request), unmatched(stage)) == ("instructed", ["duplicate"])
    act(stage, "releaser").funds.resolve(message=1, position=1, resolution="failed", request=request,
                                         note="the bank found no earlier payment")
    assert stage_of(stage, request) == "failed"


def test_an_advance_is_recovered_in_proportion_and_a_share_retained_until_its_release(stage):
    act(stage, "registrar-one").funds.enrol(payee="p-mason", programme="roofs", identity=digest("mason"),
                                            account=digest("account mason"), controller="omar")
    act(stage, "registrar-two").funds.verify(payee="p-mason", account=digest("account mason"), credential=digest("c"))
    act(stage, "clerk").funds.register_works(works="school", line="roofs/heron", payee="p-mason", document=digest("d"),
                                             value_minor=9_000_001, advance_minor=1_800_000, retention_per_mille=50)
    terms = {"payee": "p-mason", "about": "school"}
    with refused("funds.over_entitlement", left_minor=1_800_000):
        submitted(stage, 1_800_001, kind="advance", **terms)
    paid(stage, 1_800_000, kind="advance", **terms)
    for gross in (3_000_000, 3_000_000, 3_000_001):
        paid(stage, gross, kind="claim", **terms)
    works = stage.rows("funds.works")[0]
    assert (works.claimed_minor, works.recovered_minor, works.retained_minor) == (9_000_001, 1_800_000, 450_000)
    assert standing(stage)[2] == 9_000_001 - 450_000
    with refused("funds.over_entitlement", left_minor=450_000):
        submitted(stage, 450_001, kind="retention", **terms)
    paid(stage, 450_000, kind="retention", **terms)
    assert standing(stage)[2] == 9_000_001
    with refused("funds.over_entitlement", left_minor=0):
        submitted(stage, 1, kind="claim", **terms)


def works_of_omar(stage, value, advance, per_mille=0):
    act(stage, "clerk").funds.register_works(works="well", line="roofs/heron", payee="p-omar", document=digest("d"),
                                             value_minor=value, advance_minor=advance, retention_per_mille=per_mille)
    return {"payee": "p-omar", "about": "well"}


def works_row(stage):
    row = stage.rows("funds.works")[0]
    return (row.advanced_minor, row.claimed_minor, row.recovered_minor, row.retained_minor, row.released_minor)


def test_a_claim_that_came_back_in_parts_counts_for_nothing_like_one_that_came_back_at_once(stage):
    act(stage, "clerk").funds.register_invoice(invoice="inv", payee="p-omar", digest=digest("i"), face_minor=400_000,
                                               fingerprints=[])
    terms = works_of_omar(stage, 1_000_000, 500_000, 100)
    paid(stage, 500_000, kind="advance", **terms)
    claim = paid(stage, 400_000, kind="claim", invoice="inv", **terms)
    assert works_row(stage) == (500_000, 400_000, 200_000, 40_000, 0)
    delivered(stage, "pacs.004", item(stage, claim, "RTRN", amount_minor=60_000, entry="R1"))
    assert works_row(stage) == (500_000, 340_000, 200_000, 40_000, 0)
    delivered(stage, "pacs.004", item(stage, claim, "RTRN", amount_minor=100_000, entry="R2"))
    assert works_row(stage) == (500_000, 0, 0, 0, 0)
    paid(stage, 400_000, kind="claim", invoice="inv", **terms)


def test_what_was_recovered_of_an_advance_that_came_back_is_released(stage):
    terms = works_of_omar(stage, 1_000_000, 500_000)
    advance = paid(stage, 500_000, kind="advance", **terms)
    paid(stage, 400_000, kind="claim", **terms)
    with refused("funds.over_entitlement", left_minor=0):
        submitted(stage, 1, kind="retention", **terms)
    delivered(stage, "pacs.004", item(stage, advance, "RTRN", entry="R1"))
    with refused("funds.over_entitlement", left_minor=200_000):
        submitted(stage, 200_001, kind="retention", **terms)
    paid(stage, 200_000, kind="retention", **terms)
    paid(stage, 600_000, kind="claim", **terms)
    assert standing(stage)[2] == 1_000_000


def test_an_invoice_of_another_currency_pays_nothing(stage):
    act(stage, "administrator").funds.register_programme(
        programme="wells", supervisor=WATCH, bank=BANK, currency="EUR", debtor=digest("debtor"), budget_policy="budget",
        request_policy="request", pay_first_minor=0, regularise_ms=1, root="wells/province", purpose="water",
        level="province", lapses_at=stage.now + YEAR_MS)
    act(stage, "registrar-one").funds.enrol(payee="p-far", programme="wells", identity=digest("far"),
                                            account=digest("account far"), controller=None)
    act(stage, "clerk").funds.register_invoice(invoice="inv-far", payee="p-far", digest=digest("i"), face_minor=500_000,
                                               fingerprints=[])
    with refused("funds.currency_differs", currency="EUR"):
        submitted(stage, invoice="inv-far")
    with refused("documents.unknown_document"):
        submitted(stage, invoice="nowhere")


def test_a_claim_that_recovery_eats_up_is_refused(stage):
    act(stage, "clerk").funds.register_works(works="well", line="roofs/heron", payee="p-omar", document=digest("d"),
                                             value_minor=1_000_000, advance_minor=1_000_000, retention_per_mille=0)
    paid(stage, 1_000_000, kind="advance", payee="p-omar", about="well")
    with refused("funds.nothing_to_pay", recovered_minor=500, retained_minor=0):
        submitted(stage, 500, kind="claim", payee="p-omar", about="well")


def test_cofinanced_payments_are_divided_by_the_largest_remainder_and_returned_in_proportion(stage):
    for name in ("a", "b"):
        act(stage, "clerk").funds.open_line(line=f"roofs/heron/{name}", parent="roofs/heron", organisation=COUNTY,
                                            level="project", purpose="housing", lapses_at=stage.now + 90 * DAY_MS)
        moved(stage, "reappropriate", "roofs/province", f"roofs/heron/{name}", 1_000_000)
    shares = [["roofs/heron", 1], ["roofs/heron/a", 1], ["roofs/heron/b", 1]]
    request = paid(stage, 100_001, shares=shares)
    lines = ("roofs/heron", "roofs/heron/a", "roofs/heron/b")
    assert [standing(stage, line)[2] for line in lines] == [33_334, 33_334, 33_333]
    delivered(stage, "pacs.004", item(stage, request, "RTRN", amount_minor=50_000, entry="R"))
    assert sum(standing(stage, line)[2] for line in lines) == 50_001
    assert [standing(stage, line)[2] for line in lines] == [16_667, 16_667, 16_667]


def pay_first(stage, amount=400_000, **changes):
    terms = {"reference": f"e/{stage.ledger.head.height}", "kind": "benefit", "payee": "p-ida", "about": "2026",
             "gross_minor": amount, "shares": [["roofs/heron", 1]], "evidence": digest("flood"), **changes}
    return act(stage, "officer-county").funds.pay_first(**terms)


def test_an_emergency_is_paid_first_and_approved_in_time(stage):
    with refused("funds.over_pay_first", most_minor=500_000):
        pay_first(stage, 500_001)
    request = pay_first(stage)
    assert (stage_of(stage, request), standing(stage)) == ("approved", (49_600_000, 400_000, 0))
    instructed(stage, request)
    delivered(stage, "camt.054", item(stage, request, "BOOK"))
    approved(stage, request)
    stage.advance(days=4)
    with refused("funds.not_overdue"):
        act(stage, "omar").funds.mark_overdue(request=request)


def test_an_emergency_that_is_not_approved_in_72_hours_freezes_its_line_until_it_is(stage):
    request = pay_first(stage)
    with refused("funds.not_overdue", request=request):
        act(stage, "omar").funds.mark_overdue(request=request)
    stage.advance(days=3)
    act(stage, "omar").funds.mark_overdue(request=request)
    with refused("funds.line_suspended", line="roofs/heron"):
        submitted(stage)
    approved(stage, request)
    submitted(stage)


def test_an_emergency_that_is_rejected_freezes_its_line_and_can_be_asked_for_again(stage):
    request = pay_first(stage)
    act(stage, "reviewer").funds.reject(request=request, stage="review", reason="no-emergency",
                                        payload=stage.query("funds.payload_of", request))
    assert stage_of(stage, request) == "approved"
    with refused("funds.line_suspended"):
        submitted(stage)
    act(stage, "clerk").funds.propose_again(request=request)
    approved(stage, request)
    submitted(stage)


def rejected_twice(stage, request):
    for _again in range(2):
        act(stage, "reviewer").funds.reject(request=request, stage="review", reason="no-need",
                                            payload=stage.query("funds.payload_of", request))


def test_a_rejection_that_is_sent_again_suspends_nothing(stage):
    rejected_twice(stage, submitted(stage))
    submitted(stage)


def test_an_emergency_that_ended_before_it_was_paid_needs_no_approval(stage):
    cancelled, failed, suspending = pay_first(stage), pay_first(stage), pay_first(stage)
    act(stage, "clerk").funds.cancel(request=cancelled, reason="error")
    instructed(stage, failed)
    delivered(stage, "pain.002", item(stage, failed, "RJCT", reason="MS03"))
    rejected_twice(stage, suspending)
    with refused("funds.line_suspended"):
        submitted(stage)
    act(stage, "clerk").funds.cancel(request=suspending, reason="error")
    stage.advance(days=4)
    for request in (cancelled, failed, suspending):
        with refused("funds.not_overdue", request=request):
            act(stage, "omar").funds.mark_overdue(request=request)
        with refused("funds.wrong_stage"):
            act(stage, "clerk").funds.propose_again(request=request)
        with refused("approvals.wrong_state"):
            approved(stage, request)
    submitted(stage)


def test_an_emergency_that_came_back_suspends_its_line_no_longer(stage):
    request = pay_first(stage)
    instructed(stage, request)
    delivered(stage, "camt.054", item(stage, request, "BOOK"))
    stage.advance(days=3)
    act(stage, "omar").funds.mark_overdue(request=request)
    delivered(stage, "pacs.004", item(stage, request, "RTRN", amount_minor=100_000, entry="R1"))
    with refused("funds.line_suspended"):
        submitted(stage)
    delivered(stage, "pacs.004", item(stage, request, "RTRN", amount_minor=300_000, entry="R2"))
    submitted(stage)


def test_who_paid_first_or_released_does_not_approve_later():
    everything = ["funds:officer", "funds:clerk", "funds:reviewer", "funds:releaser"]
    stage = endowed(founded(grants={f"{AUTHORITY}/releaser": everything, f"{COUNTY}/officer-county": everything}))
    request = pay_first(stage)
    instructed(stage, request)
    payload = stage.query("funds.payload_of", request)
    with refused("approvals.has_part", party="releaser"):
        act(stage, "releaser").funds.approve(request=request, stage="review", payload=payload)
    act(stage, "reviewer").funds.reject(request=request, stage="review", payload=payload, reason="why")
    act(stage, "clerk").funds.propose_again(request=request)
    for name in ("officer-county", "releaser"):
        with refused("approvals.has_part", party=name):
            act(stage, name).funds.approve(request=request, stage="review", payload=payload)
    approved(stage, request)


def test_a_reference_of_a_movement_stands_in_the_way_of_no_request(stage):
    terms = {"kind": "appropriate", "source": None, "target": "roofs/province", "amount_minor": 5, "basis": digest("b")}
    first = act(stage, "treasurer").funds.propose_movement(reference="request/1", **terms)
    assert act(stage, "treasurer").funds.propose_movement(reference="request/1", **terms) == first
    assert act(stage, "second").funds.propose_movement(reference="request/1", **terms) == first + 1
    assert submitted(stage) == 1


def test_files_are_executed_on_business_days_and_before_the_cut_off():
    """2026-01-01 is a Thursday: the holiday, Friday, a weekend."""
    stage = founded(calendar="lantern-days")
    keeper = act(stage, "budget-one").calendars
    keeper.draft_version(calendar="lantern-days", zone="Etc/UTC", weekend=[5, 6], hours=[[480, 960]],
                         cut_off_minute=900, offsets=[[0, 0]], source="made up")
    today = stage.now // DAY_MS
    keeper.add_year(calendar="lantern-days", version=1, year=2026, closed=[today])
    act(stage, "budget-two").calendars.publish_version(calendar="lantern-days", version=1)
    request = approved(endowed(stage), submitted(stage))
    release = {"programme": "roofs", "requests": [request], "file": digest("f")}
    for closed in (today, today + 2, today + 3):
        with refused("funds.not_executed", earliest=today + 1):
            act(stage, "releaser").funds.release(batch="B", execution_day=closed, **release)
    stage.advance(days=1, hours=15)
    with refused("funds.not_executed", earliest=today + 4):
        act(stage, "releaser").funds.release(batch="B", execution_day=today + 1, **release)
    act(stage, "releaser").funds.release(batch="B", execution_day=today + 4, **release)


def test_lost_bank_messages_are_made_up_for_by_the_statement(stage):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    assert delivered(stage, "camt.053", item(stage, request, "BOOK", end_to_end=None)) == 0
    assert stage_of(stage, request) == "settled"


def test_late_doubled_and_disordered_bank_messages_change_nothing_more(stage):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    booked = item(stage, request, "BOOK")
    assert delivered(stage, "camt.054", booked, message="M1") == 0
    assert delivered(stage, "camt.054", booked, message="M1") == 0
    assert delivered(stage, "camt.054", booked, message="M2") == 0
    assert delivered(stage, "pain.002", item(stage, request, "ACSP")) == 0
    assert delivered(stage, "pain.002", item(stage, request, "PDNG")) == 0
    assert (stage_of(stage, request), standing(stage)) == ("settled", (49_700_000, 0, 300_000))
    with refused("messages.message_conflict"):
        delivered(stage, "camt.054", item(stage, request, "BOOK", entry="else"), message="M1")


@pytest.mark.parametrize("kind", ["camt.054", "camt.053"])
def test_a_second_booking_of_one_payment_is_set_aside(stage, kind):
    request = paid(stage)
    assert delivered(stage, "camt.053", item(stage, request, "BOOK")) == 0
    assert delivered(stage, kind, item(stage, request, "BOOK", entry="again")) == 1
    assert (unmatched(stage), standing(stage)) == (["stage"], (49_700_000, 0, 300_000))


def test_returns_without_a_reference_are_not_guessed_to_be_one_or_two(stage):
    request = paid(stage)
    back = item(stage, request, "RTRN", amount_minor=100_000)
    assert delivered(stage, "pacs.004", back, back, message="R") == 1
    assert (unmatched(stage), standing(stage)) == (["repeated"], (49_800_000, 0, 200_000))
    assert delivered(stage, "camt.054", item(stage, request, "RTRN", amount_minor=100_000, entry="C")) == 0
    act(stage, "releaser").funds.resolve(message=3, position=2, resolution="second", note="two", request=request)
    assert standing(stage) == (49_900_000, 0, 100_000)
    assert delivered(stage, "camt.054", item(stage, request, "RTRN", amount_minor=50_000, entry="C")) == 1
    assert unmatched(stage) == ["amount"]


def test_a_payment_cancelled_on_its_way_ends_when_a_person_has_looked(stage):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    assert delivered(stage, "camt.029", item(stage, request, "CNCL")) == 1
    act(stage, "releaser").funds.recall(request=request, reason="CUST", file=digest("camt.056"))
    assert delivered(stage, "camt.029", item(stage, request, "PDCR")) == 0
    assert delivered(stage, "camt.029", item(stage, request, "CNCL")) == 1
    assert (stage_of(stage, request), unmatched(stage)) == ("instructed", ["stage", "stage"])
    act(stage, "releaser").funds.resolve(message=3, position=1, resolution="cancelled", note="", request=request)
    assert (stage_of(stage, request), standing(stage)) == ("failed", (50_000_000, 0, 0))


def test_a_right_amount_to_a_wrong_account_is_set_aside_recalled_and_resolved(stage):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    assert delivered(stage, "camt.054", item(stage, request, "BOOK", account=digest("stranger"))) == 1
    assert (stage_of(stage, request), unmatched(stage)) == ("instructed", ["account"])
    act(stage, "releaser").funds.recall(request=request, reason="CUST", file=digest("camt.056"))
    with refused("funds.already_resolved"):
        act(stage, "releaser").funds.recall(request=request, reason="CUST", file=digest("camt.056"))
    act(stage, "releaser").funds.resolve(message=1, position=1, resolution="paid", note="it left; it is recalled",
                                         request=request)
    assert stage_of(stage, request) == "settled"
    assert delivered(stage, "camt.029", item(stage, request, "CNCL")) == 0
    assert stage.rows("funds.recalls")[0].outcome == "CNCL"
    assert delivered(stage, "pacs.004", item(stage, request, "RTRN", entry="R", reason="FOCR")) == 0
    assert standing(stage) == (50_000_000, 0, 0)


@pytest.mark.parametrize(("changes", "why"), [
    ({"end_to_end": "F99", "uetr": None}, "unmatched"),
    ({"end_to_end": "NOTPROVIDED", "uetr": None}, "unmatched"),
    ({"end_to_end": None, "uetr": None}, "unmatched"),
    ({"amount_minor": 299_999}, "amount"),
    ({"amount_minor": None}, "amount"),
    ({"currency": "USD"}, "currency"),
], ids=["a number nobody drew", "no reference", "nothing to match by", "another amount", "no amount",
        "another currency"])
def test_what_does_not_match_is_never_guessed(stage, changes, why):
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    assert delivered(stage, "camt.054", item(stage, request, "BOOK", **changes)) == 1
    assert (unmatched(stage), stage_of(stage, request)) == ([why], "instructed")


def test_two_references_that_disagree_are_set_aside(stage):
    one, two = approved(stage, submitted(stage)), approved(stage, submitted(stage))
    instructed(stage, one, two)
    uetr = stage.rows("funds.requests", two)[0].uetr
    assert delivered(stage, "camt.054", item(stage, one, "BOOK", uetr=uetr)) == 1
    assert unmatched(stage) == ["identifiers disagree"]


def test_bank_words_that_contradict_what_is_known_are_set_aside(stage):
    settled, submitted_only = paid(stage), submitted(stage)
    assert delivered(stage, "pain.002", item(stage, settled, "RJCT", reason="MS03")) == 1
    assert delivered(stage, "camt.054", item(stage, submitted_only, "BOOK")) == 1
    assert delivered(stage, "pain.002", item(stage, submitted_only, "ACSP")) == 1
    assert delivered(stage, "pacs.004", item(stage, submitted_only, "RTRN")) == 1
    assert unmatched(stage) == ["stage", "unmatched", "unmatched", "unmatched"]
    resolve = act(stage, "releaser").funds.resolve
    with refused("funds.still_mismatched", why="stage"):
        resolve(message=4, position=1, resolution="paid", note="", request=submitted_only)
    resolve(message=4, position=1, resolution="foreign", note="of another customer")
    with refused("messages.item_settled"):
        resolve(message=4, position=1, resolution="foreign", note="again")
    with refused("funds.unknown_number", kind="message"):
        resolve(message=99, position=1, resolution="foreign", note="")
    with refused("funds.unknown_number", kind="item"):
        resolve(message=4, position=2, resolution="paid", note="", request=settled)


def test_what_the_bank_says_before_the_release_is_for_a_person_to_look_at(stage):
    request = approved(stage, submitted(stage))
    assert delivered(stage, "camt.054", item(stage, request, "BOOK")) == 1
    instructed(stage, request)
    assert (stage_of(stage, request), unmatched(stage)) == ("instructed", ["stage"])


@pytest.mark.parametrize("currency", ["JPY", "BHD"])
def test_currencies_without_and_with_three_decimals(currency):
    stage = endowed(founded(currency))
    paid(stage, 1)
    assert standing(stage) == (49_999_999, 0, 1)


def test_an_invoice_is_never_paid_beyond_what_it_is_worth(stage):
    terms = {"invoice": "inv-1", "payee": "p-ida", "digest": digest("inv"), "face_minor": 500_000,
             "fingerprints": [["number.payee", digest("4711 ida")]]}
    act(stage, "clerk").funds.register_invoice(**terms)
    with refused("documents.fingerprint_taken", combination="number.payee"):
        act(stage, "clerk").funds.register_invoice(**{**terms, "invoice": "inv-2", "face_minor": 499_999})
    first = submitted(stage, 300_000, invoice="inv-1")
    with refused("documents.over_capacity", remaining_minor=200_000):
        submitted(stage, 300_000, payee="p-omar", invoice="inv-1")
    act(stage, "clerk").funds.cancel(request=first, reason="error")
    submitted(stage, 500_000, payee="p-omar", invoice="inv-1")


# Refusals


def test_ids_are_short_and_given_once(stage):
    line = {"parent": "roofs/province", "organisation": COUNTY, "level": "county", "purpose": "housing",
            "lapses_at": stage.now + DAY_MS}
    with refused("funds.id_taken", id="roofs/heron"):
        act(stage, "treasurer").funds.open_line(line="roofs/heron", **line)
    with refused("funds.too_long", argument="line"):
        act(stage, "treasurer").funds.open_line(line="x" * 49, **line)
    with refused("funds.not_in_range", argument="lapses_at"):
        act(stage, "treasurer").funds.open_line(line="later", **{**line, "lapses_at": stage.now + 2 * YEAR_MS})
    with refused("funds.unknown_id", kind="line"):
        act(stage, "treasurer").funds.open_line(line="orphan", **{**line, "parent": "nowhere"})
    with refused("funds.not_yours", owner=AUTHORITY):
        act(stage, "clerk").funds.open_line(line="ours", **line)


@pytest.mark.parametrize(("kind", "source", "target", "by"), [
    ("appropriate", None, "roofs/heron", "treasurer"),
    ("allocate", "roofs/heron", "roofs/province", "clerk"),
    ("withdraw", "roofs/province", "roofs/heron", "clerk"),
    ("reappropriate", "roofs/province", "roofs/heron", "treasurer"),
    ("appropriate", "roofs/province", "roofs/heron", "treasurer"),
])
def test_money_does_not_move_the_wrong_way(stage, kind, source, target, by):
    with refused("funds.wrong_direction", kind=kind):
        act(stage, by).funds.propose_movement(reference="w", kind=kind, source=source, target=target, amount_minor=1,
                                              basis=digest("w"))


def test_a_movement_beyond_what_is_free_is_refused_with_what_is_free(stage):
    with refused("funds.over_allocation", line="roofs/province", free_minor=50_000_000):
        moved(stage, "allocate", "roofs/province", "roofs/heron", 50_000_001)


def test_a_movement_other_than_the_approved_one_is_refused(stage):
    terms = {"kind": "appropriate", "source": None, "target": "roofs/province", "basis": digest("b")}
    number = act(stage, "treasurer").funds.propose_movement(reference="x", amount_minor=5, **terms)
    payload = stage.rows("approvals.proposals", number)[0].payload
    for name in ("budget-one", "budget-two"):
        act(stage, name).approvals.approve(proposal=number, stage="council", payload=payload)
    with refused("approvals.payload_differs"):
        act(stage, "second").funds.move(proposal=number, amount_minor=6, **terms)
    act(stage, "second").funds.move(proposal=number, amount_minor=5, **terms)


def test_a_commitment_beyond_the_line_is_refused_at_the_last_approval():
    stage = endowed(founded(), amount=400_000)
    first, second = submitted(stage, 200_000), submitted(stage, 1, payee="p-omar")
    approved(stage, first)
    with refused("funds.over_allocation", line="roofs/heron", free_minor=0):
        approved(stage, second)
    assert stage_of(stage, second) == "submitted"


def test_payees_are_enrolled_once_and_verified_by_another(stage):
    registrar = act(stage, "registrar-one").funds
    with refused("funds.id_taken", id="p-ida"):
        registrar.enrol(payee="p-ida", programme="roofs", identity=digest("x"), account=digest("y"), controller=None)
    with refused("funds.identity_enrolled", payee="p-ida"):
        registrar.enrol(payee="p-two", programme="roofs", identity=digest("ida"), account=digest("y"), controller=None)
    with refused("funds.unknown_id", kind="programme"):
        registrar.enrol(payee="p-two", programme="none", identity=digest("z"), account=digest("y"), controller=None)
    registrar.enrol(payee="p-two", programme="roofs", identity=digest("two"), account=digest("y"), controller=None)
    with refused("funds.same_person", party="registrar-one"):
        registrar.verify(payee="p-two", account=digest("y"), credential=digest("c"))
    with refused("funds.no_change"):
        act(stage, "registrar-two").funds.verify(payee="p-two", account=digest("other"), credential=digest("c"))
    with refused("funds.unknown_id", kind="payee"):
        registrar.block(payee="p-nobody")


def test_who_enrolled_or_unblocked_a_payee_never_verifies_it(stage):
    terms = {"payee": "p-ida", "account": digest("account ida"), "credential": digest("c")}
    request = approved(stage, submitted(stage))
    instructed(stage, request)
    delivered(stage, "pain.002", item(stage, request, "RJCT", reason="AC01"))
    with refused("funds.same_person", party="registrar-one"):
        act(stage, "registrar-one").funds.verify(**terms)
    act(stage, "registrar-two").funds.block(payee="p-ida")
    with refused("funds.no_change"):
        act(stage, "registrar-two").funds.verify(**{**terms, "payee": "p-omar", "account": digest("account omar")})
    act(stage, "registrar-two").funds.unblock(payee="p-ida")
    for name in ("registrar-one", "registrar-two"):
        with refused("funds.same_person", party=name):
            act(stage, name).funds.verify(**terms)


def test_a_blocked_payee_is_not_paid_until_verified_again(stage):
    request = approved(stage, submitted(stage))
    act(stage, "registrar-one").funds.block(payee="p-ida")
    with refused("funds.payee_not_verified", status="blocked"):
        instructed(stage, request)
    act(stage, "registrar-one").funds.unblock(payee="p-ida")
    act(stage, "registrar-two").funds.verify(payee="p-ida", account=digest("account ida"), credential=digest("c"))
    instructed(stage, request)


def test_a_request_is_not_released_to_another_account_than_was_approved(stage):
    request = approved(stage, submitted(stage))
    act(stage, "registrar-one").funds.change_account(payee="p-ida", account=digest("new"))
    act(stage, "registrar-two").funds.verify(payee="p-ida", account=digest("new"), credential=digest("c"))
    with refused("funds.account_changed", request=request):
        instructed(stage, request)


def test_entitlements_keep_their_purpose_and_what_is_taken(stage):
    submitted(stage, 1_500_000)
    with refused("funds.over_entitlement", wanted_minor=500_001, left_minor=500_000):
        submitted(stage, 500_001)
    entitle = act(stage, "registrar-one").funds.entitle
    with refused("funds.not_in_range", argument="granted_minor", least=1_500_000):
        entitle(payee="p-ida", cycle="2026", purpose="housing", granted_minor=1_499_999)
    with refused("funds.purpose_differs", purpose="housing"):
        entitle(payee="p-ida", cycle="2026", purpose="food", granted_minor=3_000_000)
    entitle(payee="p-ida", cycle="food", purpose="food", granted_minor=1_000)
    with refused("funds.purpose_differs", purpose="food"):
        submitted(stage, 1_000, about="food")
    with refused("funds.unknown_id", kind="entitlement"):
        submitted(stage, about="2031")
    with refused("funds.unknown_id", kind="works"):
        submitted(stage, kind="claim", about="no-works")


def test_shares_are_distinct_lines_of_one_programme(stage):
    with refused("funds.too_long", argument="shares"):
        submitted(stage, shares=[])
    with refused("funds.id_taken", id="roofs/heron"):
        submitted(stage, shares=[["roofs/heron", 1], ["roofs/heron", 2]])
    act(stage, "administrator").funds.register_programme(
        programme="wells", supervisor=WATCH, bank=BANK, currency="CNY", debtor=digest("debtor"), budget_policy="budget",
        request_policy="request", pay_first_minor=0, regularise_ms=1, root="wells/province", purpose="water",
        level="province", lapses_at=stage.now + YEAR_MS)
    with refused("funds.other_programme", programme="wells"):
        submitted(stage, shares=[["roofs/heron", 1], ["wells/province", 1]])
    with refused("funds.other_programme"):
        act(stage, "treasurer").funds.propose_movement(reference="z", kind="reappropriate", source="wells/province",
                                                       target="roofs/heron", amount_minor=1, basis=digest("z"))
    with refused("funds.id_taken", id="wells"):
        act(stage, "administrator").funds.register_programme(
            programme="wells", supervisor=WATCH, bank=BANK, currency="CNY", debtor=digest("d"), budget_policy="budget",
            request_policy="request", pay_first_minor=0, regularise_ms=1, root="w", purpose="water", level="province",
            lapses_at=stage.now + YEAR_MS)


def test_works_are_sound(stage):
    terms = {"works": "w", "line": "roofs/heron", "payee": "p-ida", "document": digest("d"), "value_minor": 10,
             "advance_minor": 0, "retention_per_mille": 0}
    register = act(stage, "clerk").funds.register_works
    with refused("funds.not_in_range", argument="advance_minor"):
        register(**{**terms, "advance_minor": 11})
    with refused("funds.not_in_range", argument="retention_per_mille"):
        register(**{**terms, "retention_per_mille": 1_000})
    register(**terms)
    with refused("funds.id_taken", id="w"):
        register(**terms)


def test_a_suspended_line_takes_nothing_and_a_lapsed_one_neither(stage):
    request = approved(stage, submitted(stage))
    act(stage, "supervisor").funds.set_line_status(line="roofs/heron", status="suspended", reason="inquiry")
    with refused("funds.no_change"):
        act(stage, "supervisor").funds.set_line_status(line="roofs/heron", status="suspended", reason="inquiry")
    with refused("funds.line_suspended", line="roofs/heron"):
        submitted(stage)
    with refused("funds.line_suspended"):
        instructed(stage, request)
    with refused("funds.line_suspended"):
        moved(stage, "allocate", "roofs/province", "roofs/heron", 1)
    moved(stage, "withdraw", "roofs/heron", "roofs/province", 1)
    act(stage, "supervisor").funds.set_line_status(line="roofs/heron", status="open", reason="done")
    stage.advance(days=364)
    with refused("funds.line_lapsed", line="roofs/heron"):
        submitted(stage)


def test_only_approved_requests_are_released_once(stage):
    request = approved(stage, submitted(stage))
    with refused("funds.too_long", argument="requests"):
        instructed(stage)
    with refused("funds.not_executed"):
        act(stage, "releaser").funds.release(batch="B", programme="roofs", requests=[request], execution_day=1,
                                             file=digest("f"))
    instructed(stage, request)
    with refused("funds.id_taken", id="B1"):
        instructed(stage, request)
    with refused("funds.wrong_stage", stage="instructed"):
        instructed(stage, request, batch="B2")
    with refused("funds.wrong_stage"):
        act(stage, "clerk").funds.cancel(request=request, reason="late")
    with refused("funds.unknown_number", kind="request", number=77):
        instructed(stage, 77, batch="B3")
    assert BATCH_REQUESTS_MAX >= 100


def test_the_releaser_had_no_other_part(stage):
    request = submitted(stage)
    payload = stage.query("funds.payload_of", request)
    everything = stage.actor(f"{AUTHORITY}/releaser")
    with refused("approvals.permission_missing"):
        everything.funds.approve(request=request, stage="review", payload=payload)
    everything.approvals.recuse(proposal=stage.rows("funds.requests", request)[0].proposal, reason="cousin")
    approved(stage, request)
    with refused("funds.had_part", request=request):
        instructed(stage, request)


def test_only_who_was_admitted_delivers(stage):
    with refused("messages.not_a_deliverer"):
        act(stage, "clerk").funds.deliver(programme="roofs", schema="camt.054.001.08", message_id="m",
                                          digest=digest("m"), entries=[])
    with refused("funds.not_yours", owner=AUTHORITY):
        stage.actor(f"{COUNTY}/clerk").calls(("funds.open_line", {"line": "x", "parent": "roofs/province",
                                                                  "organisation": COUNTY, "level": "l", "purpose": "p",
                                                                  "lapses_at": stage.now + DAY_MS}))
    with refused("funds.not_yours", owner=BANK):
        act(stage, "administrator").funds.admit_deliverer(programme="roofs", party="treasurer")
    act(stage, "administrator").funds.dismiss_deliverer(programme="roofs", party="feed")
    with refused("messages.not_a_deliverer"):
        delivered(stage, "camt.054")


def test_receipts_are_confirmed_once_by_whoever_got_the_money(stage):
    request = paid(stage)
    with refused("funds.not_yours", owner="ida"):
        act(stage, "omar").funds.confirm_receipt(request=request, confirmed_minor=300_000)
    with refused("funds.more_than_paid", most_minor=300_000):
        act(stage, "ida").funds.confirm_receipt(request=request, confirmed_minor=300_001)
    act(stage, "ida").funds.confirm_receipt(request=request, confirmed_minor=200_000, complaint="short")
    with refused("funds.wrong_stage", stage="confirmed"):
        act(stage, "ida").funds.confirm_receipt(request=request, confirmed_minor=300_000)
    assert stage.rows("funds.requests", request)[0].complaint == "short"


def test_a_witness_confirms_for_a_payee_without_a_key():
    stage = endowed(founded(grants={f"{AUTHORITY}/releaser": ["funds:releaser", "funds:witness"]}))
    act(stage, "registrar-one").funds.enrol(payee="p-old", programme="roofs", identity=digest("old"),
                                            account=digest("account old"), controller=None)
    act(stage, "registrar-two").funds.verify(payee="p-old", account=digest("account old"), credential=digest("c"))
    act(stage, "registrar-one").funds.entitle(payee="p-old", cycle="2026", purpose="housing", granted_minor=5)
    request = paid(stage, 5, payee="p-old")
    with refused("funds.not_yours", owner="funds:witness"):
        act(stage, "omar").funds.confirm_receipt(request=request, confirmed_minor=5)
    with refused("funds.had_part", request=request):
        act(stage, "releaser").funds.witness_receipt(request=request, confirmed_minor=5)
    act(stage, "witness").funds.witness_receipt(request=request, confirmed_minor=5)
    with refused("funds.not_yours", owner="ida"):
        act(stage, "witness").funds.witness_receipt(request=paid(stage), confirmed_minor=5)


def test_usage_is_attached_to_paid_requests_once(stage):
    request = submitted(stage)
    with refused("funds.wrong_stage", stage="submitted"):
        act(stage, "clerk").funds.attach_usage(request=request, kind="photo", evidence=digest("p"))
    request = paid(stage)
    act(stage, "clerk").funds.attach_usage(request=request, kind="photo", evidence=digest("p"))
    with refused("funds.no_change"):
        act(stage, "clerk").funds.attach_usage(request=request, kind="photo", evidence=digest("p"))


def test_an_approval_of_something_else_is_refused(stage):
    request = submitted(stage)
    with refused("approvals.payload_differs"):
        act(stage, "reviewer").funds.approve(request=request, stage="review", payload=digest("another request"))
    with refused("approvals.wrong_state"):
        act(stage, "omar").funds.commit(request=request)
    with refused("funds.wrong_stage"):
        act(stage, "clerk").funds.propose_again(request=request)
