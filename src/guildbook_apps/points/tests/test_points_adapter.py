"""Retail lines: what is read, what is refused line by line, and what becomes of each."""

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.primitives.errors import GuildbookError
from guildbook_apps.points import adapter
from guildbook_apps.points.adapter import (
    COLUMNS,
    MERCHANTS,
    BadLine,
    Desk,
    Earn,
    EarnTerms,
    Line,
    TakeBack,
    day_end,
    month_ends,
    purchase_files,
    read_purchases,
    write_purchases,
)
from shared_data import shared

HEADER = ",".join(COLUMNS)
SALT = bytes(range(16))
GOOD = "500001,20007,RED LANTERN,6,2010-12-01 08:26:00,2.55,12001.0,United Kingdom"


def desk(units=1, per_minor=100):
    return Desk({name: EarnTerms(f"p-{name}", name, units, per_minor) for name in MERCHANTS}, SALT)


def read(tmp_path, *lines, header=HEADER):
    file = tmp_path / "day.csv"
    file.write_bytes(b"".join(one if isinstance(one, bytes) else one.encode() + b"\n" for one in (header, *lines)))
    return list(read_purchases([file]))


def taken(lines, at=None):
    at = at or desk()
    return [one for line in lines for one in at.take(line)]


def test_a_line_is_read_in_whole_numbers(tmp_path):
    line, = read(tmp_path, GOOD)
    assert (line.invoice, line.stock, line.customer) == ("500001", "20007", "12001")
    assert (line.quantity, line.price_e4) == (6, 25_500)
    assert line.amount_minor == 1_530
    assert line.at_ms == 1_291_191_960_000


def test_the_shop_clock_is_read_in_its_zone(tmp_path):
    winter, summer = read(tmp_path, GOOD, GOOD.replace("2010-12-01", "2011-07-01"))
    assert winter.at_ms % 86_400_000 == (8 * 60 + 26) * 60_000
    assert summer.at_ms % 86_400_000 == (7 * 60 + 26) * 60_000


@pytest.mark.parametrize(("line", "reason"), [
    (GOOD.replace(",6,", ",six,"), "Quantity 'six'"),
    (GOOD.replace(",6,", ",6.5,"), "Quantity '6.5'"),
    (GOOD.replace(",6,", ",0,"), "Quantity '0'"),
    (GOOD.replace(",6,", ",9999999,"), "Quantity '9999999'"),
    (GOOD.replace("2010-12-01", "2010-13-01"), "InvoiceDate '2010-13-01 08:26:00'"),
    (GOOD.replace("2010-12-01", "01/12/2010"), "InvoiceDate"),
    (GOOD.replace("2.55", "2,55"), "9 columns"),
    (GOOD.replace("2.55", "free"), "UnitPrice 'free'"),
    (GOOD.replace("2.55", "1e3"), "UnitPrice '1e3'"),
    (GOOD.replace("2.55", "2.55555"), "UnitPrice"),
    (GOOD.replace("12001.0", "12001.5"), "CustomerID '12001.5'"),
    (GOOD.replace("12001.0", "Mrs Smith"), "CustomerID"),
    (GOOD.replace("500001", "X500001"), "InvoiceNo 'X500001'"),
    (GOOD.replace("20007", ""), "StockCode ''"),
    (GOOD.replace("500001", "C500001"), "a cancellation has a positive quantity"),
    ("500001,20007,RED LANTERN", "3 columns"),
    (GOOD.replace("RED", '"RED'), "the quotes do not close"),
    (GOOD.replace("RED", "RED\0"), "zero byte"),
    (GOOD.encode().replace(b"RED", b"R\xc3(D") + b"\n", "is not UTF-8"),
    (GOOD.replace("RED", "R" * 5_000), "more than 4096 bytes"),
    (GOOD.replace("RED", "R" * 20_000), "more than 4096 bytes"),
])
def test_a_malformed_line_is_listed_with_its_reason_and_the_rest_is_read(tmp_path, line, reason):
    first, bad, last = read(tmp_path, GOOD, line, GOOD.replace("500001", "500002"))
    assert isinstance(first, Line)
    assert isinstance(last, Line)
    assert isinstance(bad, BadLine)
    assert (bad.file, bad.number) == ("day.csv", 3)
    assert reason in bad.reason
    assert last.number == 4


@pytest.mark.parametrize("header", ["Invoice,StockCode,Description", GOOD, "", "﻿InvoiceNo"])
def test_a_file_with_another_header_is_left_unread_and_the_next_file_is_read(tmp_path, header):
    wrong, right = tmp_path / "a.csv", tmp_path / "b.csv"
    wrong.write_text(f"{header}\n{GOOD}\n", "utf-8")
    right.write_text(f"{HEADER}\n{GOOD}\n", "utf-8-sig")
    bad, line = read_purchases(purchase_files(tmp_path))
    assert (bad.file, bad.number) == ("a.csv", 1)
    assert line.file == "b.csv"


def test_quotes_commas_and_other_line_ends_are_no_trouble(tmp_path):
    tray = b'500001,20007,"TRAY, ""BREAKFAST""",6,2010-12-01 08:26:00,2.55,,France\r\n'
    line, blank_end = read(tmp_path, tray, b"\r\n",
                           b"500001,20007,LAST LINE WITHOUT AN END,6,2010-12-01 08:26:00,2.55,,France")
    assert line.description == 'TRAY, "BREAKFAST"'
    assert blank_end.number == 4


def test_a_folder_without_purchases_is_told_apart_from_one_with(tmp_path):
    with pytest.raises(GuildbookError) as refusal:
        purchase_files(tmp_path)
    assert refusal.value.code == "cli.usage"


# What lines become


def test_points_are_floored_for_each_line_and_never_over_the_basket(tmp_path):
    lines = read(tmp_path, *[GOOD.replace(",6,", ",1,").replace("20007", str(20007 + place)).replace("2.55", "1.99")
                             for place in range(4)])
    assert [one.units for one in taken(lines)] == [1, 1, 1, 1]  # the basket of 7.96 would have earned 7


def test_a_line_below_one_point_earns_nothing_and_is_counted(tmp_path):
    at = desk()
    assert taken(read(tmp_path, GOOD.replace(",6,", ",1,").replace("2.55", "0.99")), at) == []
    assert at.tally.below_one_point == 1


def test_equal_lines_of_one_invoice_both_earn_and_the_same_file_again_gives_the_same_hashes(tmp_path):
    lines = read(tmp_path, GOOD, GOOD)
    first = taken(lines)
    assert len({one.evidence for one in first}) == 2
    (tmp_path / "day.csv").rename(tmp_path / "renamed.csv")
    assert taken(read_purchases([tmp_path / "renamed.csv"])) == first
    at = desk()
    assert taken(lines, at) == first
    assert taken(lines, at) == []  # nor does the desk send them again itself
    assert at.tally.repeated == 2


@pytest.mark.parametrize("change", [("500001", "500002"), ("20007", "20014"), (",6,", ",7,"), ("2.55", "2.56"),
                                    ("12001.0", "12002.0"), ("08:26", "08:27")])
def test_evidence_differs_with_whatever_the_line_says(tmp_path, change):
    one, other = read(tmp_path, GOOD, GOOD.replace(*change))
    assert desk().evidence(one) != desk().evidence(other)


def test_no_customer_number_reaches_the_ledger_and_another_salt_gives_other_names(tmp_path):
    line, = read(tmp_path, GOOD)
    other = Desk(desk().terms, bytes(16))
    assert "12001" not in desk().member("12001")
    assert desk().member("12001") != other.member("12001")
    assert desk().evidence(line) != other.evidence(line)
    with pytest.raises(GuildbookError, match="salt"):
        Desk(desk().terms, b"short")


def test_anonymous_sales_gifts_and_adjustments_earn_nothing_and_each_is_counted(tmp_path):
    at = desk()
    assert taken(read(
        tmp_path, GOOD.replace("12001.0", ""), GOOD.replace("2.55", "0.0"), GOOD.replace(",6,", ",-6,"),
        GOOD.replace("500001", "A500001"), GOOD.replace("2.55", "-11062.06")), at) == []
    assert (at.tally.anonymous, at.tally.gifts, at.tally.adjustments, at.tally.lines) == (1, 1, 3, 5)


def test_a_cancellation_takes_back_the_latest_purchase_first_and_in_part(tmp_path):
    early, late = GOOD, GOOD.replace("500001", "500002").replace("2.55", "3.00")
    back = GOOD.replace("500001", "C500003").replace(",6,", ",-8,")
    first, second, *returns = taken(read(tmp_path, early, late, back))
    assert (first.units, second.units) == (15, 18)
    assert [(one.evidence, one.units) for one in returns] == [(second.evidence, 18), (first.evidence, 5)]


def test_cancellations_piece_by_piece_take_back_all_points_in_the_end(tmp_path):
    back = [GOOD.replace("500001", f"C50001{place}").replace(",6,", ",-1,") for place in range(7)]
    at = desk()
    earn, *returns = taken(read(tmp_path, GOOD, *back), at)
    assert [one.units for one in returns] == [2, 3, 2, 3, 2, 3]
    assert sum(one.units for one in returns) == earn.units
    assert (at.tally.matched_quantity, at.tally.unmatched_quantity) == (6, 1)


@pytest.mark.parametrize("change", [("12001.0", "12002.0"), ("20007", "20014"), ("12001.0", "")])
def test_a_cancellation_of_what_was_not_bought_is_recorded_as_unmatched(tmp_path, change):
    at = desk()
    back = GOOD.replace("500001", "C500003").replace(",6,", ",-6,").replace(*change)
    assert [type(one) for one in taken(read(tmp_path, GOOD, back), at)] == [Earn]
    assert at.tally.unmatched_quantity == 6


@given(quantity=st.integers(1, 500), units=st.integers(1, 3), per_minor=st.integers(1, 500),
       pence=st.integers(1, 10**5), back=st.lists(st.integers(1, 200), max_size=8))
def test_what_comes_back_is_never_more_than_was_earned_and_all_of_it_when_all_comes_back(
        quantity, units, per_minor, pence, back):
    at = desk(units, per_minor)
    line = Line("f", 2, "1", "S", "", quantity, 0, pence * 100, "1", "", 1)
    earned = sum(one.units for one in at.take(line))
    assert earned == quantity * pence * units // per_minor
    returned = 0
    for number, pieces in enumerate(back):
        cancellation = Line("f", 3, f"C{number}", "S", "", -pieces, 0, pence * 100, "1", "", 1)
        returned += sum(one.units for one in at.take(cancellation) if isinstance(one, TakeBack))
    assert returned == earned * min(quantity, sum(back)) // quantity


def test_stock_is_spread_over_the_merchants_and_stays_where_it_is():
    merchants = [desk().merchant(str(code)) for code in range(20_000, 21_000)]
    assert merchants == [desk().merchant(str(code)) for code in range(20_000, 21_000)]
    assert all(200 < merchants.count(name) < 300 for name in MERCHANTS)


def test_month_ends_are_midnights_of_the_zone():
    london = month_ends("Europe/London", 2011, 2, 3)
    assert [end % 86_400_000 // 3_600_000 for end in london] == [0, 23, 23]  # summer time began on 27 March
    assert month_ends("Europe/London", 2010, 12, 2)[0] == day_end("Europe/London", 2010, 12, 31)


# Made-up and real purchases


def test_made_up_purchases_have_the_shape_of_real_ones_and_follow_their_seed(tmp_path):
    files = write_purchases(tmp_path / "one", 7)
    assert [one.read_bytes() for one in files] == [one.read_bytes() for one in write_purchases(tmp_path / "two", 7)]
    assert files[0].read_bytes() != write_purchases(tmp_path / "three", 8)[0].read_bytes()
    at, lines = desk(), list(read_purchases(files))
    assert not [one for one in lines if isinstance(one, BadLine)]
    taken(lines, at)
    assert min(at.tally.anonymous, at.tally.gifts, at.tally.adjustments, at.tally.matched_quantity) > 0
    assert at.tally.lines == len(lines)


def test_the_sample_is_read_with_its_deliberately_bad_lines_listed():
    lines = list(read_purchases(purchase_files(Path(adapter.__file__).parent / "samples" / "purchases.csv")))
    assert [one.number for one in lines if isinstance(one, BadLine)] == [8, 12, 15, 19, 22, 23]


def test_the_real_files_are_read_without_a_malformed_line_and_every_line_has_a_count():
    folder = shared("bank-retail-risk/online-retail")
    at = desk()
    for line in read_purchases(purchase_files(folder)):
        assert isinstance(line, Line), line
        at.take(line)
    tally = at.tally
    assert (tally.lines, tally.earning, tally.below_one_point, tally.anonymous) == (36_738, 23_989, 832, 11_086)
    assert (tally.gifts, tally.adjustments, tally.cancellations, tally.repeated) == (127, 88, 616, 0)
    assert tally.matched_quantity > 1_000


def test_the_adapter_has_no_floats():
    assert "float(" not in inspect.getsource(adapter)
