"""Payments of public bodies, as published month by month: every row of the files, and every way to write a cell."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.spend import read_day, read_printed_money, read_spend
from guildbook.standards.times import date_at
from shared_data import shared


def test_every_row_of_the_published_months_is_taken():
    rows = refused = 0
    paths = sorted(shared("funds/uk-spend").glob("*.csv"))
    for path in paths:
        found = read_spend(path.read_bytes(), file=path.name)
        rows += len(found.records)
        refused += len(found.refusals)
        assert len({record.id for record in found.records}) == len(found.records)
        assert found.not_carried in ((), ("#",))
    assert (len(paths), rows, refused) == (23, 10_835, 0)


def test_a_file_gives_the_same_records_each_time_and_other_files_none_of_its_ids():
    first, second = sorted(shared("funds/uk-spend").glob("*.csv"))[:2]
    once = read_spend(first.read_bytes(), file=first.name)
    assert read_spend(first.read_bytes(), file=first.name) == once
    other = read_spend(second.read_bytes(), file=second.name)
    assert not {record.id for record in once.records} & {record.id for record in other.records}


def test_a_bad_row_does_not_stop_the_others_and_names_its_place():
    table = (
        "Spend over 500 pounds,,\n"
        '"Supplier Name","Payment  Date","Net Amount (£)"\n'
        '"Weir\nBooks",31/03/2026,"1,250.00"\n'
        "Weir Books,31/02/2026,10\n"
        "Weir Books,01/04/2026,10.005\n"
        ",01/04/2026,10\n"
        "Weir Books,01/04/2026,(10.5)\n"
        ",,\n"
        "Total,,1250\n"
        "Weir Books,02/04/2026,7,8\n"
    )
    found = read_spend(table.encode(), file="march.csv")
    assert [(row.line, row.supplier, row.date.day, row.amount.text) for row in found.records] == [
        (3, "Weir Books", "2026-03-31", "1250.00"),
        (8, "Weir Books", "2026-04-01", "-10.50"),
    ]
    places = [(one.file, one.line, one.path, one.code) for one in found.refusals]
    assert places == [
        ("march.csv", 5, "Payment  Date", "standards.bad_value"),
        ("march.csv", 6, "Net Amount (£)", "standards.bad_value"),
        ("march.csv", 7, "Supplier Name", "standards.missing"),
        ("march.csv", 10, "Payment  Date", "standards.missing"),
        ("march.csv", 11, "", "standards.bad_value"),
    ]
    assert "no such day" in found.refusals[0].reason
    assert "more decimals than GBP" in found.refusals[1].reason


def test_equal_rows_are_different_payments():
    table = b"Date,Supplier,Amount\n2026-04-01,A,1\n2026-04-01,A,1\n"
    one, other = read_spend(table).records
    assert one.id != other.id


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings_are_told_apart(encoding):
    table = "Date,Supplier,Amount £\r\n2026-04-01,Café Weir,£1.50\r\n".encode(encoding)
    (row,) = read_spend(table).records
    assert (row.supplier, row.amount.minor) == ("Café Weir", 150)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2022-05-04", "2022-05-04"), ("04/05/2022", "2022-05-04"), ("4.5.22", "2022-05-04"),
        ("04-May-22", "2022-05-04"), ("4 May 2022", "2022-05-04"), ("Wednesday, May 04, 2022", "2022-05-04"),
        ("4th May 2022", "2022-05-04"), ("20220504", "2022-05-04"), ("2022-05-04T00:00:00", "2022-05-04"),
        ("04/05/2022 00:00", "2022-05-04"), ("Sept 30, 2021", "2021-09-30"), ("31/12/99", "1999-12-31"),
    ],
)  # fmt: skip
def test_days_are_read_with_the_day_first(text, day):
    assert read_day(text).day == day


@pytest.mark.parametrize("text", ["", "31/04/2022", "05/13/2022", "4 Mai 2022", "44000", "yesterday", "2022-05"])
def test_what_is_no_day_is_refused(text):
    with pytest.raises(ValueError, match="date"):
        read_day(text)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1,234.50", 123450), ("£1,234", 123400), ("(12.00)", -1200), ("-12", -1200), ("12.00-", -1200),
        ("GBP 5", 500), (".5", 50), ("1.5000", 150), ("-£3.10", -310), ("0", 0),
    ],
)  # fmt: skip
def test_printed_amounts_are_exact(text, minor):
    assert read_printed_money(text, "GBP").minor == minor


@pytest.mark.parametrize("text", ["", "1.005", "1,23", "12,34,567", "(-1)", "1e3", "one", "--1", "9" * 19])
def test_what_is_no_printed_amount_is_refused(text):
    with pytest.raises(ValueError, match=r"amount|decimals|digits"):
        read_printed_money(text, "GBP")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "standards.missing"),
        (b"a,b,c\n1,2,3\n", "standards.missing"),
        (b"Date,Supplier,Amount\n\x81\x8d\n", "standards.malformed"),
        (b'Date,Supplier,Amount\n"a"b,c,d\n', "standards.malformed"),
        (b"Date,Supplier,Amount\n\0\n", "standards.malformed"),
    ],
)
def test_what_is_no_table_of_payments_is_refused(data, code):
    with pytest.raises(GuildbookError) as error:
        read_spend(data, file="f.csv")
    assert (error.value.code, error.value.fields["file"]) == (code, "f.csv")


ROWS = st.lists(
    st.tuples(
        st.integers(0, 2_000_000_000_000).map(lambda ms: date_at(ms).day),
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
            lambda text: text.split() and " ".join(text.split()).lower() not in ("-", "n/a", "#n/a", "null")
        ),
        st.integers(-(10**12), 10**12),
    ),
    max_size=6,
)


@given(ROWS)
def test_a_written_table_reads_back_in_full(rows):
    import csv
    import io

    out = io.StringIO(newline="")
    written = [(day, supplier, _text(minor)) for day, supplier, minor in rows]
    csv.writer(out).writerows([("Date", "Supplier", "Amount"), *written])
    found = read_spend(out.getvalue().encode())
    assert not found.refusals
    assert [(row.date.day, row.amount.minor) for row in found.records] == [(day, minor) for day, _, minor in rows]
    assert [row.supplier for row in found.records] == [" ".join(supplier.split()) for _, supplier, _ in rows]


def _text(minor):
    whole, rest = divmod(abs(minor), 100)
    return f"{'-' if minor < 0 else ''}{whole:,}.{rest:02}"


@pytest.mark.fuzz
@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_damage_gives_rows_or_a_refusal(noise, at):
    table = b'Date,Supplier,Amount\n2026-04-01,"A, B",1.50\n2026-04-02,C,2\n'
    refused: GuildbookError | None = None
    try:
        read_spend(table[:at] + noise + table[at:])
    except GuildbookError as error:
        refused = error
    assert refused is None or refused.code.startswith("standards.")
