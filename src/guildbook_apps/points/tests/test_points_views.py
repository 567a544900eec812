"""The SQL readings of the application say what the auditor counts, on a ledger that has seen a season."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from guildbook.views.database import Views
from guildbook_apps.points import contract
from guildbook_apps.points.workload import run

READINGS = dict(re.findall(r"^-- name: (\w+)\n(?:--[^\n]*\n)*(.*?);$",
                           (Path(contract.__file__).parent / "views.sql").read_text("utf-8"), re.M | re.S))


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    ledger, book = run(random.Random(77), blocks=60)
    view = ledger.ledger.view()
    with Views(tmp_path_factory.mktemp("views") / "views.duckdb", "test-net", view.catalogue()) as views:
        heights = range(views.first_height, view.head.height + 1)
        views.apply([changes for changes in map(view.changes, heights) if changes is not None])
        yield ledger, book, views


def answer(season, name):
    return season[2].query(READINGS[name]).rows


def test_every_reading_is_one_select_that_runs(season):
    assert len(READINGS) == 11
    for name in READINGS:
        assert answer(season, name), name


def test_balances_are_the_auditors(season):
    ledger, book, _views = season
    now = ledger.now_ns // 1_000_000
    found = {tuple(row[:2]): tuple(row[2:]) for row in answer(season, "balances")}
    keys = {(lot.member, lot.programme) for lot in book.lots.values()} | set(book.debts)
    assert found.keys() == keys
    for (member, programme), (spendable, pending, held, over, debt) in found.items():
        lots = book.lots_of(member, programme)
        assert spendable == book.free(now, member, programme)
        assert held == sum(lot.held for lot in lots)
        assert pending == sum(lot.units for lot in lots if lot.active_from > now and lot.expires_at > now)
        assert over == sum(lot.units for lot in lots if lot.expires_at <= now)
        assert debt == book.debts.get((member, programme), 0)


def test_the_law_of_totals_can_be_read_in_one_line_a_programme(season):
    rows = answer(season, "outstanding")
    assert {row[0]: row[-1] for row in rows} == {name: season[1].outstanding(name) for name in season[1].programmes}
    assert all(row[-1] == row[-2] for row in rows)


def test_settlement_and_net_positions_are_the_auditors_claims(season):
    assert {tuple(row[:3]): row[4] for row in answer(season, "settlement")} == season[1].claims
    assert sum(row[2] for row in answer(season, "net_positions")) == 0


def test_movements_by_day_add_up_to_the_totals(season):
    moved: dict[str, Counter[str]] = {}
    names = ("issued", "redeemed", "expired", "revoked")
    for programme, _day, *units in answer(season, "movements_by_day"):
        moved.setdefault(programme, Counter()).update(dict(zip(names, units, strict=True)))
    for name, sums in season[1].programmes.items():
        assert {field: getattr(sums, field) for field in moved[name]} == dict(moved[name])


def test_the_expiry_calendar_and_the_liability_hold_every_unit_in_lots(season):
    in_lots = sum(season[1].outstanding(name) for name in season[1].programmes)
    assert sum(row[2] for row in answer(season, "expiry_calendar")) == in_lots
    assert sum(row[2] for row in answer(season, "liability_by_vintage")) == in_lots
