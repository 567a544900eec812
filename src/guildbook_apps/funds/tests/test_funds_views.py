"""The SQL readings of the application say what the auditor counts and what the rows say, after a season."""

import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from guildbook.views.database import Views
from guildbook_apps.funds import contract
from guildbook_apps.funds.auditor import GIVEN, OPEN
from guildbook_apps.funds.contract import DAY_MS
from guildbook_apps.funds.workload import (
    AUTHORITY,
    HERON,
    LARGE_MINOR,
    Command,
    Workload,
    digest,
    found,
    play,
)

READINGS = dict(re.findall(r"^-- name: (\w+)\n(?:--[^\n]*\n)*(.*?);$",
                           (Path(contract.__file__).parent / "views.sql").read_text("utf-8"), re.M | re.S))
CLERK = f"{HERON}/clerk-heron"


def submission(number, payee, gross, invoice=None):
    return Command(CLERK, "funds.submit", {
        "reference": f"extra-{number}", "kind": "benefit", "payee": payee, "about": "2026", "gross_minor": gross,
        "shares": [["roofs/heron", 1]], "evidence": digest("extra"), "invoice": invoice})


def extras(ledger, book):
    """What a season seldom has: split requests, a clerk who asks for itself, a quick approval, an old payment."""
    verified = [Command(f"{HERON}/registrar-heron", "funds.enrol", {
        "payee": "p-clerk", "programme": "roofs", "identity": digest("the clerk"), "account": digest("the clerk's"),
        "controller": "clerk-heron"}),
        Command(f"{HERON}/witness-heron", "funds.verify", {"payee": "p-clerk", "account": digest("the clerk's"),
                                                           "credential": digest("seen")}),
        Command(f"{HERON}/registrar-heron", "funds.enrol", {
            "payee": "p-twin", "programme": "roofs", "identity": digest("the twin"), "account": digest("the clerk's"),
            "controller": None}),
        Command(CLERK, "funds.register_invoice", {"invoice": "inv-twice", "payee": "p-clerk", "digest": digest("inv"),
                                                  "face_minor": 30_000_000, "fingerprints": []}),
        Command(f"{HERON}/registrar-heron", "funds.entitle", {"payee": "p-clerk", "cycle": "2026", "purpose": "housing",
                                                              "granted_minor": 90_000_000})]
    assert set(play(ledger, book, verified)) == {""}
    split = [submission(number, "p-clerk", 8_500_000, "inv-twice") for number in range(3)]
    assert set(play(ledger, book, split)) == {""}
    ledger.advance(days=8)
    assert play(ledger, book, [submission(9, "p-clerk", 8_500_000)]) == [""]
    row = book.requests[max(book.requests)]
    terms = {"request": row.number, "stage": "review", "payload": book.payload(row), "acting_for": None}
    assert play(ledger, book, [Command(f"{AUTHORITY}/reviewer-0", "funds.approve", terms)]) == [""]
    assert play(ledger, book, [Command(f"{AUTHORITY}/steward", "funds.register_programme", {
        "programme": "soon", "supervisor": "court-of-accounts", "bank": "lantern-bank", "currency": "CNY",
        "debtor": digest("d"), "budget_policy": "budget", "request_policy": "request", "pay_first_minor": 0,
        "regularise_ms": 1, "root": "soon/root", "purpose": "housing", "level": "province",
        "lapses_at": ledger.now + DAY_MS, "calendar": None})]) == [""]


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    ledger, book = found(check_invariants=False)
    workload = Workload(random.Random(78), book)
    extras(ledger, book)
    for _block in range(90):
        ledger.advance(milliseconds=workload.pause_ms())
        play(ledger, book, [workload.command(ledger.now) for _command in range(8)])
    view = ledger.ledger.view()
    with Views(tmp_path_factory.mktemp("views") / "views.duckdb", "test-net", view.catalogue()) as views:
        heights = range(views.first_height, view.head.height + 1)
        views.apply([changes for changes in map(view.changes, heights) if changes is not None])
        yield ledger, book, views


def answer(season, name):
    """The rows of a reading, each by column."""
    found_rows = season[2].query(READINGS[name])
    return [dict(zip([one.name for one in found_rows.columns], row, strict=True)) for row in found_rows.rows]


def now_of(season):
    return season[0].now_ns // 1_000_000


def ms(value):
    """A time of a reading as milliseconds."""
    return value if isinstance(value, int) else round(value.timestamp() * 1000)


def test_every_reading_is_one_select_that_runs_and_nearly_every_one_has_something_to_say(season):
    assert len(READINGS) == 18
    silent = {name for name in READINGS if not answer(season, name)}
    assert silent <= {"receipts_missing", "unspent_before_lapse", "emergencies"}, silent


def test_the_tree_adds_up_to_what_was_appropriated(season):
    book = season[1]
    rows = {row["line"]: row for row in answer(season, "tree")}
    assert rows.keys() == book.lines.keys()
    for name, line in book.lines.items():
        below = [one for other, one in book.lines.items() if name in path(book, other)]
        row = rows[name]
        assert [row["free_minor"], row["committed_minor"], row["paid_minor"]] == list(line.money.values())
        assert [row["free_below_minor"], row["committed_below_minor"], row["paid_below_minor"]] == [
            sum(one.money[where] for one in below) for where in ("free", "committed", "paid")]
    for name, amount in book.appropriated.items():
        assert rows[book.programmes[name]["root"]]["allocated_minor"] == amount


def path(book, line):
    """A line and all above it."""
    names = [line]
    while (above := book.lines[names[-1]].parent) is not None:
        names.append(above)
    return names


def test_demand_by_level_is_what_the_requests_say(season):
    book = season[1]
    sums: dict[tuple[str, int, str], Counter[str]] = defaultdict(Counter)
    for one in book.requests.values():
        used = any(request == one.number for request, _evidence in book.usages)
        for name, part, back in zip(one.lines, one.parts, one.back, strict=True):
            line = book.lines[name]
            level = sums[line.programme, line.depth, line.level]
            level["demand_minor"] += part
            level["waiting_minor"] += part * (one.stage == "submitted")
            level["committed_minor"] += part * (one.stage in OPEN[1:])
            level["paid_minor"] += (part - back) * (one.stage in GIVEN)
            level["confirmed_minor"] += (part - back) * (one.stage == "confirmed")
            level["used_minor"] += (part - back) * (one.stage in GIVEN and used)
    rows = {(row["programme"], row["depth"], row["level"]): row for row in answer(season, "demand_by_level")}
    assert rows.keys() == sums.keys()
    for key, level in sums.items():
        assert {name: rows[key][name] for name in level} == dict(level)
    assert any(len(one.lines) > 1 for one in book.requests.values())


def test_each_request_is_traced_to_the_root_and_each_movement_to_its_lines(season):
    book = season[1]
    rows = {row["request"]: row for row in answer(season, "trace_up")}
    assert rows.keys() == book.requests.keys()
    for number, one in book.requests.items():
        assert rows[number]["path"] == " < ".join(path(book, one.lines[0]))
        assert (rows[number]["uetr"], rows[number]["stage"], rows[number]["returned_minor"]) == (
            one.uetr, one.stage, one.returned)
        assert rows[number]["released_by"] == (None if one.batch is None else book.batches[one.batch]["by"])
    free: Counter[str] = Counter()
    for row in answer(season, "trace_down"):
        free[row["target"]] += row["amount_minor"]
        if row["source"] is not None:
            free[row["source"]] -= row["amount_minor"]
    for name, line in book.lines.items():
        assert free[name] == sum(line.money.values()), name


def test_idle_days_are_counted_from_the_last_step(season):
    book, now = season[1], now_of(season)
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in book.requests.values():
        if one.stage in (*OPEN, "settled"):
            waiting[one.programme, one.stage].append(now // DAY_MS - one.stage_at // DAY_MS)
    rows = {(row["programme"], row["stage"]): (row["requests"], row["days_longest"], row["days_median"])
            for row in answer(season, "days_idle")}
    assert rows == {key: (len(days), max(days), sorted(days)[(len(days) - 1) // 2]) for key, days in waiting.items()}


def test_stage_times_are_those_of_the_history(season):
    seconds: dict[str, list[int]] = defaultdict(list)
    last: dict[int, tuple[str, int]] = {}
    for row in season[2].query("SELECT number, stage, epoch_ms(stage_at) FROM funds.requests_history "
                               "ORDER BY _height, number").rows:
        number, stage, at = row
        if number in last and last[number][0] != stage:
            seconds[last[number][0]].append(at // 1000 - last[number][1] // 1000)
        last[number] = (stage, at)
    rows = {row["stage"]: row for row in answer(season, "stage_times") if row["programme"] == "roofs"}
    for stage, row in rows.items():
        assert row["requests"] >= len(seconds[stage]) > 0, stage
        assert row["seconds_longest"] >= max(seconds[stage])


def test_returned_payments_are_those_of_which_something_came_back(season):
    book = season[1]
    rows = {row["request"]: row["returned_minor"] for row in answer(season, "returned_payments")}
    assert rows == {one.number: one.returned for one in book.requests.values() if one.returned}


def test_unspent_money_is_told_thirty_days_before_it_lapses(season):
    book, now = season[1], now_of(season)
    rows = {row["line"]: row["free_minor"] for row in answer(season, "unspent_before_lapse")}
    assert rows == {name: one.money["free"] for name, one in book.lines.items()
                    if one.parent and one.lapses_at < now + 30 * DAY_MS and one.money["free"]}


def test_unmatched_items_are_those_that_wait(season):
    rows = {(row["message"], row["position"]): (row["state"], row["reason"])
            for row in answer(season, "unmatched_items")}
    assert rows == {name: (one.state, one.why) for name, one in season[1].items.items()
                    if one.state in ("unmatched", "quarantined")}


def test_shared_accounts_name_their_payees(season):
    alike: dict[tuple[str, bytes], list[str]] = defaultdict(list)
    for name, one in season[1].payees.items():
        alike[one.programme, one.account].append(name)
    rows = {(row["programme"], row["account"]): row["names"] for row in answer(season, "shared_accounts")}
    assert rows == {key: ", ".join(sorted(names)) for key, names in alike.items() if len(names) > 1}


def test_split_requests_are_three_in_a_week_just_under_the_limit(season):
    near: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in season[1].requests.values():
        if LARGE_MINOR * 8 <= one.amount * 10 < LARGE_MINOR * 10:
            near[one.payee].append((one.submitted_at, one.amount))
    most = {}
    for payee, times in near.items():
        windows = [[amount for at, amount in times if end - 7 * DAY_MS <= at <= end] for end, _amount in times]
        good = [window for window in windows if len(window) >= 3 and sum(window) > LARGE_MINOR]
        if good:
            most[payee] = max(map(len, good))
    rows = {row["payee"]: row["requests"] for row in answer(season, "split_requests")}
    assert rows == most
    assert rows["p-clerk"] >= 3


def test_the_months_of_a_year_share_what_was_paid(season):
    paid: Counter[str] = Counter()
    for one in season[1].requests.values():
        if one.first_word is not None:
            paid[one.programme] += one.amount
    rows = answer(season, "year_end_burst")
    told: Counter[str] = Counter()
    for row in rows:
        told[row["programme"]] += row["paid_minor"]
    assert told == paid


def test_rubber_stamps_are_approvals_within_a_minute(season):
    rows = {(row["request"], row["stage"]): row for row in answer(season, "rubber_stamps")}
    last = 4
    assert rows[last, "review"]["approvers"] == "reviewer-0"
    assert rows[last, "review"]["seconds"] == 1
    for number, stage in rows:
        acts = season[1].proposals[season[1].requests[number].proposal].acts.values()
        assert ("approval", stage, None) in acts


def test_own_interest_finds_the_clerk_who_asks_for_itself(season):
    book = season[1]
    rows = {row["request"] for row in answer(season, "own_interest")}
    assert rows >= {1, 2, 3, 4}
    for number in rows:
        one = book.requests[number]
        alike = {other.controller for other in book.payees.values()
                 if (other.programme, other.account) == (one.programme, book.payees[one.payee].account)}
        acts = book.proposals[one.proposal].acts
        assert any(acts.get(party, ("",))[0] in ("proposal", "approval") for party in alike if party is not None)


def test_reused_invoices_emergencies_missing_receipts_and_complaints_are_those_of_the_book(season):
    book, now = season[1], now_of(season)
    named: dict[str, list[str]] = defaultdict(list)
    for one in book.requests.values():
        if one.invoice is not None:
            named[one.invoice].append(one.payee)
    assert {row["invoice"]: row["requests"] for row in answer(season, "invoices_reused")} == {
        name: len(payees) for name, payees in named.items()
        if len(payees) > 1 or payees[0] != book.invoices[name]["payee"]}
    assert {row["request"] for row in answer(season, "emergencies")} == {
        one.number for one in book.requests.values() if one.needs_approval}
    assert {row["request"] for row in answer(season, "receipts_missing")} == {
        one.number for one in book.requests.values()
        if one.stage == "settled" and one.stage_at + 14 * DAY_MS <= now}
    assert {row["request"] for row in answer(season, "complaints")} == {
        one.number for one in book.requests.values()
        if one.stage == "confirmed" and (one.complaint is not None or one.confirmed < one.amount)}
