"""Payments that public bodies publish each month: CSV with headings, dates and encodings of many kinds.

The British rule (payments over 500, or 25,000, pounds) names what to publish and not how. Headings differ, amounts
have grouping commas, pound signs or brackets for a refund, dates come in a dozen forms, and files in UTF-8, with or
without a mark, or in Windows-1252. Each row becomes a record or a refusal with its line and column; a bad row does not
stop the others. A month of a published file always gives the same ids: an id is a digest of what the row says, and of
how many equal rows stood before it.

Source: Local Government Transparency Code 2015, sections 28 to 31; HM Treasury, Guidance for publishing spend over
25,000 pounds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import Money, read_money
from guildbook.standards.imported import Imported
from guildbook.standards.place import (
    BAD_VALUE,
    MALFORMED,
    MISSING,
    TOO_LARGE,
    Refusal,
    refusal_of,
    refuse,
    shown,
)
from guildbook.standards.times import When, read_date

DOCUMENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest file that is read."""

CELL_CHARACTERS_MAX: Final = 8_000
"""The longest cell that is read."""

HEADINGS_SEARCHED: Final = 20
"""How many lines may stand before the headings."""

HEADINGS: Final = {
    "body": ("departmental family", "department family", "department", "body", "body name", "organisation name",
             "organisation", "council", "council name"),
    "entity": ("entity", "service area", "service label", "directorate", "division", "portfolio", "service"),
    "date": ("date", "payment date", "date paid", "paid date", "transaction date", "pay date", "date of payment",
             "invoice date", "posting date"),
    "expense_type": ("expense type", "expenditure type", "expenses type", "purpose", "expenditure category",
                     "purpose of spend", "summary of purpose", "account description", "subjective description"),
    "expense_area": ("expense area", "expenses area", "cost centre", "cost centre description", "cost center",
                     "merchant category", "service division label"),
    "supplier": ("supplier", "supplier name", "beneficiary name", "beneficiary", "payee", "payee name",
                 "vendor name", "vendor", "merchant name"),
    "reference": ("transaction number", "transaction no", "transaction id", "transaction reference", "trans no",
                  "document number", "document no", "invoice number", "payment reference", "payment number",
                  "reference", "ref no", "doc no"),
    "amount": ("amount", "amount gbp", "net amount", "amount paid", "payment amount", "value", "total amount",
               "net amount gbp", "invoice amount", "amount excl vat", "amount excluding vat", "actual amount"),
}  # fmt: skip
"""The headings that mean each field, in lower case and without marks; the first heading of a file that fits counts."""

NEEDED: Final = ("date", "supplier", "amount")
"""Fields without which a row is no payment."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY: Final = r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?"
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<y>[0-9]{4})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})(?:[T ]00:00(?::00)?)?\Z",
        r"(?P<d>[0-9]{1,2})[-/.](?P<m>[0-9]{1,2})[-/.](?P<y>[0-9]{4}|[0-9]{2})(?: 00:00(?::00)?)?\Z",
        rf"(?:[a-z]+,? )?{_DAY}[- ](?P<n>[a-z]{{3,9}})[- ,]+(?P<y>[0-9]{{4}}|[0-9]{{2}})\Z",
        rf"(?:[a-z]+,? )?(?P<n>[a-z]{{3,9}}) {_DAY},? (?P<y>[0-9]{{4}})\Z",
        r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})\Z",
    )
)
_AMOUNT: Final = re.compile(
    r"(?P<sign>-?)(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.(?P<decimals>[0-9]{0,10}))?\Z"
)
_EMPTY: Final = ("", "-", "n/a", "#n/a", "null")


class SpendRow(msgspec.Struct, frozen=True):
    """One payment of a public body. `id` is 64 hexadecimal digits, `line` where its row begins."""

    id: str
    line: int
    date: When
    supplier: str
    amount: Money
    body: str | None = None
    entity: str | None = None
    expense_type: str | None = None
    expense_area: str | None = None
    reference: str | None = None


def read_spend(
    data: bytes, *, file: str = "", currency: str = "GBP", encoding: str | None = None
) -> Imported[SpendRow]:
    """The payments in a CSV file. Dates with the day first, as in Britain; amounts in `currency`.

    Without `encoding`, UTF-8 is tried and then Windows-1252. Raises GuildbookError `standards.too_large` for the file,
    `standards.malformed` where it is no CSV, and `standards.missing` where no line has headings for date, supplier and
    amount. Rows that are no payment (a total, an amount that is not exact) are refusals beside the records.
    """
    lines = _lines(data, file, encoding)
    rows = _rows(lines, file)
    columns, headings = _columns(rows, file)
    records: list[SpendRow] = []
    refusals: list[Refusal] = []
    seen: dict[str, int] = {}
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        try:
            records.append(_record(line, cells, columns, headings, currency, file, seen))
        except GuildbookError as error:
            refusals.append(refusal_of(error))
    taken = set(columns.values())
    left = tuple(heading for position, heading in enumerate(headings) if position not in taken and heading)
    return Imported(tuple(records), tuple(refusals), left)


def _lines(data: bytes, file: str, encoding: str | None) -> list[str]:
    if len(data) > DOCUMENT_SIZE_BYTES_MAX:
        raise refuse(
            TOO_LARGE, f"the file has {len(data)} bytes, and {DOCUMENT_SIZE_BYTES_MAX} are read", file=file
        )
    names = (
        [encoding]
        if encoding
        else ["utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "cp1252"]
    )
    for name in names:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return list(io.StringIO(text, newline=""))
    raise refuse(MALFORMED, f"the file is not text in {' or '.join(names)}", file=file, line=1)


def _rows(lines: list[str], file: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line where it begins."""
    reader = csv.reader(lines, strict=True)
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise refuse(MALFORMED, f"the file is no CSV: {error}", file=file, line=begins) from None
        yield begins, cells
        begins = reader.line_num + 1


def _plain(heading: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", heading.lower().replace("£", " gbp ")).split())


def _columns(rows: Iterator[tuple[int, list[str]]], file: str) -> tuple[dict[str, int], list[str]]:
    """Which column fills which field, and the headings, of the first line that has the needed ones."""
    for _, (_, cells) in zip(range(HEADINGS_SEARCHED), rows, strict=False):
        plain = [_plain(cell) for cell in cells]
        found: dict[str, int] = {}
        for field, names in HEADINGS.items():
            position = next((plain.index(name) for name in names if name in plain), None)
            if position is not None and position not in found.values():
                found[field] = position
        if all(field in found for field in NEEDED):
            return found, [cell.strip() for cell in cells]
    raise refuse(
        MISSING,
        f"none of the first {HEADINGS_SEARCHED} rows has headings for date, supplier and amount",
        file=file,
        line=1,
        hint="name the columns as in: Date, Supplier, Amount",
    )


def _record(
    line: int,
    cells: list[str],
    columns: dict[str, int],
    headings: list[str],
    currency: str,
    file: str,
    seen: dict[str, int],
) -> SpendRow:
    if len(cells) > len(headings) and any(cell.strip() for cell in cells[len(headings) :]):
        raise refuse(
            BAD_VALUE, f"has {len(cells)} cells under {len(headings)} headings", file=file, line=line
        )
    values: dict[str, str | None] = {}
    for field, position in columns.items():
        cell = " ".join(cells[position].split()) if position < len(cells) else ""
        if len(cell) > CELL_CHARACTERS_MAX:
            raise refuse(TOO_LARGE, "the cell is too long", file=file, line=line, path=headings[position])
        values[field] = None if cell.lower() in _EMPTY else cell
        if field in NEEDED and values[field] is None:
            raise refuse(MISSING, "the cell is empty", file=file, line=line, path=headings[position])
    try:
        where = headings[columns["date"]]
        date = read_day(values["date"] or "")
        where = headings[columns["amount"]]
        money = read_printed_money(values["amount"] or "", currency)
    except ValueError as error:
        column = columns["date"] if where == headings[columns["date"]] else columns["amount"]
        raise refuse(BAD_VALUE, f"{shown(cells[column])} {error}", file=file, line=line, path=where) from None
    said = [values.get(field) or "" for field in HEADINGS if field not in ("date", "amount")]
    digest = hashlib.sha256(b"guildbook.spend")
    for part in (*said, date.day, str(money.minor), money.currency):
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    same = digest.hexdigest()
    seen[same] = seen.get(same, 0) + 1
    digest.update(seen[same].to_bytes(8, "big"))
    return SpendRow(
        id=digest.hexdigest(),
        line=line,
        date=date,
        supplier=values["supplier"] or "",
        amount=money,
        body=values.get("body"),
        entity=values.get("entity"),
        expense_type=values.get("expense_type"),
        expense_area=values.get("expense_area"),
        reference=values.get("reference"),
    )


def read_day(text: str) -> When:
    """The day that a cell writes, day first; raises `ValueError` with the reason for what is none.

    A year of two digits is of this century up to 69, as in ISO C. The name of a weekday is passed over.
    """
    for pattern in _DATES:
        found = pattern.match(text)
        if found is None:
            continue
        parts = found.groupdict()
        named = parts.get("n")
        if named is not None:
            if named[:3].lower() not in _MONTHS:
                continue
            month = _MONTHS.index(named[:3].lower()) + 1
        else:
            month = int(parts["m"])
        year = int(parts["y"])
        if len(parts["y"]) == 2:
            year += 2000 if year < 70 else 1900
        return read_date(f"{year:04d}-{month:02d}-{int(parts['d']):02d}")
    raise ValueError("is no date")


def read_printed_money(text: str, currency: str) -> Money:
    """The amount that a cell prints: grouping commas, a pound sign, brackets or a minus sign for a refund.

    Raises `ValueError` with the reason; decimals beyond the currency's are refused unless they are zeros.
    """
    plain = text.replace("£", "").replace(" ", "").removeprefix("GBP")
    bracketed = plain.startswith("(") and plain.endswith(")")
    if bracketed:
        plain = plain[1:-1]
    if plain.endswith("-"):
        plain = "-" + plain[:-1]
    found = _AMOUNT.match(plain)
    if found is None or (found["digits"] is None and not found["decimals"]) or (bracketed and found["sign"]):
        raise ValueError("is no amount")
    decimals = (found["decimals"] or "").rstrip("0")
    digits = (found["digits"] or "0").replace(",", "")
    negative = "-" if bracketed or found["sign"] else ""
    return read_money(f"{negative}{digits}" + (f".{decimals}" if decimals else ""), currency)
