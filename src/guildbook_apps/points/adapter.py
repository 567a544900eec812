"""Retail lines in the layout of UCI "Online Retail" <-> calls of the points contract.

The layout (D. Chen, 2015, doi:10.24432/C5BW33) is a CSV file with the eight columns of ``COLUMNS``, one line of an
invoice a row. What its columns really hold, and what is made of it:

* an ``InvoiceNo`` that begins with ``C`` is a cancellation, with a negative ``Quantity``; it names no line, so it is
  matched with the same customer's latest earlier lines of the same ``StockCode``, in part where need be;
* a line with a negative ``Quantity`` on another invoice, or an ``A`` invoice, or a negative price, is a stock or
  account adjustment: no purchase;
* an empty ``CustomerID`` is an anonymous sale: counted, earning nothing; ``17850.0`` is the customer 17850;
* a price of zero is a gift: counted, earning nothing;
* fees and postage (``POST``, ``DOT``, ``M``) stand among the goods and are treated alike;
* two lines of an invoice can be equal in every column: both count, told apart by their occurrence.

No float is involved: a price is read as ten-thousandths of a pound, an amount is floored to pence for each line, and
points are floored for each line (lines are never added up first).

**Evidence.** The hash of a line is over what the line says and its occurrence among equal lines of its file, and not
over file, place or time of reading; so the same file again gives the same hashes, and the ledger refuses them. The
customer's number goes into it under a salted keyed hash only, as does the pseudonym on the ledger.

A malformed line is given as a ``BadLine`` with file, number and reason, and reading goes on.
"""

import csv
import dataclasses
import hashlib
import hmac
import random
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
LINE_SIZE_BYTES_MAX = 4_096
QUANTITY_MAX = 10**6
PRICE_E4_MAX = 10**10
"""Ten-thousandths: a million pounds."""
OPEN_INVOICES_MAX = 1_000
"""Invoices of one file whose equal lines are told apart, counted from the latest."""
MERCHANTS = ("paper-lantern", "kettle-and-crumb", "rope-and-anchor", "moss-and-fern")
"""Among these the stock of the one retailer is divided. None of them exists."""
PRICE_SCALE = 10_000
DAY_MS = 86_400_000

_INVOICE = re.compile(r"[CA]?[0-9]{1,12}\Z")
_QUANTITY = re.compile(r"-?[0-9]{1,9}\Z")
_PRICE = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,4}))?\Z")
_CUSTOMER = re.compile(r"([0-9]{1,12})(?:\.0)?\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice as read.

    ``quantity`` is signed; ``price_e4`` ten-thousandths of the currency's unit; ``at_ms`` milliseconds UTC since 1970;
    ``customer`` None for an anonymous sale; ``occurrence`` counts from 1 among equal lines of the file's invoice.
    """

    file: str
    number: int
    invoice: str
    stock: str
    description: str
    quantity: int
    at_ms: int
    price_e4: int
    customer: str | None
    country: str
    occurrence: int

    @property
    def amount_minor(self) -> int:
        """The line's amount in minor units (pence), floored towards zero; 0 or more."""
        return abs(self.quantity) * abs(self.price_e4) * 100 // PRICE_SCALE

    @property
    def is_cancellation(self) -> bool:
        """Whether the line takes back an earlier one."""
        return self.invoice.startswith("C")

    @property
    def is_adjustment(self) -> bool:
        """Whether the line corrects stock or accounts and is no purchase."""
        return not self.is_cancellation and (self.quantity < 0 or self.price_e4 < 0 or self.invoice.startswith("A"))


@dataclasses.dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be read: file, line number from 1 (the header is 1), and why."""

    file: str
    number: int
    reason: str


def purchase_files(path: Path) -> list[Path]:
    """The CSV files at ``path``: itself, or those of a folder in order of name.

    Raises GuildbookError ``cli.usage`` when there are none.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise GuildbookError("cli.usage", f"there are no purchases at {path}",
                             hint="name a CSV file in the layout of Online Retail, or a folder of such files")
    return files


def read_purchases(files: Iterable[Path], zone: str = "Europe/London") -> Iterator[Line | BadLine]:
    """Each line of ``files`` in order, read one at a time; ``zone`` is the zone of the shop's clock."""
    for file in files:
        yield from _read_file(file, ZoneInfo(zone))


def _read_file(file: Path, zone: ZoneInfo) -> Iterator[Line | BadLine]:
    occurrences: OrderedDict[str, dict[tuple[str, ...], int]] = OrderedDict()
    header_read = False
    for number, raw in _physical_lines(file):
        fields = _fields(raw)
        if isinstance(fields, str):
            yield BadLine(file.name, number, fields)
            if not header_read:
                return
        elif not header_read:
            if tuple(fields) != COLUMNS:
                yield BadLine(file.name, number, f"the header is not {','.join(COLUMNS)}; nothing of the file is read")
                return
            header_read = True
        elif fields:
            read = _line(file.name, number, fields, zone)
            if isinstance(read, Line):
                read = dataclasses.replace(read, occurrence=_occurrence(occurrences, read.invoice, tuple(fields)))
            yield read


def _physical_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each line; of an over-long one just enough to see that it is."""
    with file.open("rb") as source:
        number = 0
        while raw := source.readline(LINE_SIZE_BYTES_MAX + 2):
            number += 1
            yield number, raw
            while len(raw) > LINE_SIZE_BYTES_MAX and not raw.endswith(b"\n"):
                raw = source.readline(LINE_SIZE_BYTES_MAX + 2)
                if not raw:
                    return


def _fields(raw: bytes) -> list[str] | str:
    """The columns of one line, or why there are none."""
    if len(raw.rstrip(b"\r\n")) > LINE_SIZE_BYTES_MAX:
        return f"the line has more than {LINE_SIZE_BYTES_MAX} bytes"
    if b"\0" in raw:
        return "the line has a zero byte"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    try:
        return next(csv.reader([text.rstrip("\r\n")], strict=True), [])
    except csv.Error as error:
        return f"the quotes do not close: {error}"


def _line(file: str, number: int, fields: list[str], zone: ZoneInfo) -> Line | BadLine:
    if len(fields) != len(COLUMNS):
        return BadLine(file, number, f"{len(fields)} columns, and there should be {len(COLUMNS)}")
    invoice, stock, description, quantity, date, price, customer, country = fields
    amount = _PRICE.match(price)
    at_ms = _moment_ms(date, zone)
    known = _CUSTOMER.match(customer)
    good_quantity = _QUANTITY.match(quantity) is not None and 0 < abs(int(quantity)) <= QUANTITY_MAX
    good_price = amount is not None and int(amount[2]) * PRICE_SCALE <= PRICE_E4_MAX
    most = PRICE_E4_MAX // PRICE_SCALE
    found = (
        (_INVOICE.match(invoice) is not None, f"InvoiceNo {invoice[:40]!r} is no number after C or A"),
        (1 <= len(stock) <= 32 and stock.isprintable(), f"StockCode {stock[:40]!r} is empty or too long"),
        (good_quantity, f"Quantity {quantity[:40]!r} is not a whole number other than 0, of at most {QUANTITY_MAX}"),
        (at_ms is not None, f"InvoiceDate {date[:40]!r} is not a date and time as in 2010-12-01 08:26:00"),
        (good_price, f"UnitPrice {price[:40]!r} is not an amount with at most 4 decimals, of at most {most}"),
        (customer == "" or known is not None, f"CustomerID {customer[:40]!r} is not a number"),
        (quantity.startswith("-") or not invoice.startswith("C"), "a cancellation has a positive quantity"),
    )
    reason = next((reason for holds, reason in found if not holds), None)
    if reason is not None:
        return BadLine(file, number, reason)
    assert amount is not None
    assert at_ms is not None
    price_e4 = int(amount[2]) * PRICE_SCALE + int((amount[3] or "").ljust(4, "0"))
    return Line(file, number, invoice, stock, description, int(quantity), at_ms, -price_e4 if amount[1] else price_e4,
                known[1] if known is not None else None, country, 1)


def _moment_ms(text: str, zone: ZoneInfo) -> int | None:
    if _DATE.match(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        return None
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def _occurrence(occurrences: OrderedDict[str, dict[tuple[str, ...], int]], invoice: str,
                fields: tuple[str, ...]) -> int:
    equal = occurrences.setdefault(invoice, {})
    occurrences.move_to_end(invoice)
    if len(occurrences) > OPEN_INVOICES_MAX:
        occurrences.popitem(last=False)
    equal[fields] = equal.get(fields, 0) + 1
    return equal[fields]


# From lines to calls -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class EarnTerms:
    """The earn rule of a programme: floor(amount * units / per_minor) points for a line."""

    programme: str
    issuer: str
    units: int
    per_minor: int


@dataclasses.dataclass(frozen=True, slots=True)
class Earn:
    """A purchase line that earns: the arguments of ``points.issue``, the issuer, and when."""

    issuer: str
    programme: str
    member: str
    units: int
    evidence: bytes
    at_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class TakeBack:
    """A refund of what a line earned: the arguments of ``points.revoke_issue``, the issuer, and when."""

    issuer: str
    programme: str
    member: str
    units: int
    evidence: bytes
    at_ms: int


@dataclasses.dataclass
class Tally:
    """What became of the lines, counted. Every line read is in exactly one of the first seven counts."""

    earning: int = 0
    repeated: int = 0
    """Lines whose evidence was read before."""
    below_one_point: int = 0
    anonymous: int = 0
    gifts: int = 0
    adjustments: int = 0
    cancellations: int = 0
    matched_quantity: int = 0
    unmatched_quantity: int = 0
    """Pieces taken back for which no earlier purchase was found."""
    sales_minor: int = 0

    @property
    def lines(self) -> int:
        """Lines read, without malformed ones."""
        return (self.earning + self.repeated + self.below_one_point + self.anonymous + self.gifts + self.adjustments
                + self.cancellations)


@dataclasses.dataclass
class _Bought:
    """Pieces of one line that have not come back yet."""

    earn: Earn | None
    quantity: int
    returned: int = 0
    taken: int = 0


class Desk:
    """Turns lines, in order, into what to issue and what to take back; it remembers purchases for later refunds.

    ``salt`` (16 bytes or more) keys pseudonyms and evidence; ``terms`` gives the earn rule for each merchant.
    """

    def __init__(self, terms: Mapping[str, EarnTerms], salt: bytes) -> None:
        if len(salt) < 16:
            raise GuildbookError("cli.usage", "the salt has fewer than 16 bytes",
                                 hint="draw 16 random bytes, and keep them")
        self.terms = dict(terms)
        self.tally = Tally()
        self._salt = salt
        self._seen: set[bytes] = set()
        self._bought: dict[tuple[str, str], list[_Bought]] = {}

    def member(self, customer: str) -> str:
        """The pseudonym of a customer: "m-" and 20 hexadecimal digits that nobody without the salt can lead back."""
        return "m-" + hmac.new(self._salt, b"member\0" + customer.encode(), hashlib.sha256).hexdigest()[:20]

    def merchant(self, stock: str) -> str:
        """The merchant that sells ``stock``: always the same for one code, spread evenly over the merchants."""
        names = sorted(self.terms)
        return names[int.from_bytes(hashlib.sha256(stock.encode()).digest()[:8], "big") % len(names)]

    def evidence(self, line: Line) -> bytes:
        """The hash (32 bytes) by which a line earns once."""
        customer = self.member(line.customer) if line.customer is not None else ""
        return tagged("points-purchase", self._salt_digest, encode(
            [line.invoice, line.stock, line.description, line.quantity, line.at_ms, line.price_e4, customer,
             line.country, line.occurrence]))

    @property
    def _salt_digest(self) -> bytes:
        return hmac.new(self._salt, b"evidence", hashlib.sha256).digest()

    def take(self, line: Line) -> list[Earn | TakeBack]:
        """What follows from one line."""
        tally = self.tally
        evidence = self.evidence(line)
        if evidence in self._seen:
            tally.repeated += 1
            return []
        self._seen.add(evidence)
        if line.is_cancellation:
            tally.cancellations += 1
            return self._take_back(line)
        if line.is_adjustment:
            tally.adjustments += 1
            return []
        tally.sales_minor += line.amount_minor
        if line.amount_minor == 0:
            tally.gifts += 1
            return []
        if line.customer is None:
            tally.anonymous += 1
            return []
        terms = self.terms[self.merchant(line.stock)]
        units = line.amount_minor * terms.units // terms.per_minor
        earn = Earn(terms.issuer, terms.programme, self.member(line.customer), units, evidence, line.at_ms)
        self._bought.setdefault((line.customer, line.stock), []).append(_Bought(earn if units else None,
                                                                                line.quantity))
        if not units:
            tally.below_one_point += 1
            return []
        tally.earning += 1
        return [earn]

    def _take_back(self, line: Line) -> list[Earn | TakeBack]:
        """Set a cancellation against the customer's latest lines of the same stock; points in proportion, floored."""
        missing = -line.quantity
        found: list[Earn | TakeBack] = []
        bought = self._bought.get((line.customer, line.stock), []) if line.customer is not None else []
        for one in reversed(bought):
            pieces = min(missing, one.quantity - one.returned)
            missing -= pieces
            one.returned += pieces
            if one.earn is not None and pieces:
                units = one.earn.units * one.returned // one.quantity - one.taken
                one.taken += units
                if units:
                    found.append(TakeBack(one.earn.issuer, one.earn.programme, one.earn.member, units,
                                          one.earn.evidence, line.at_ms))
            if not missing:
                break
        self.tally.matched_quantity += -line.quantity - missing
        self.tally.unmatched_quantity += missing
        return found


# Calendars ---------------------------------------------------------------------------------------------------


def month_ends(zone: str, year: int, month: int, count: int) -> tuple[int, ...]:
    """The ends of ``count`` months from ``month`` (1 to 12) of ``year``: midnight in ``zone``, milliseconds UTC."""
    ends = []
    for place in range(month, month + count):
        start_of_next = datetime(year + place // 12, place % 12 + 1, 1, tzinfo=ZoneInfo(zone))
        ends.append((start_of_next - _EPOCH) // timedelta(milliseconds=1))
    return tuple(ends)


def day_end(zone: str, year: int, month: int, day: int) -> int:
    """The end of a day: midnight in ``zone``, milliseconds UTC."""
    midnight = datetime(year, month, day, tzinfo=ZoneInfo(zone)) + timedelta(days=1)
    return (midnight - _EPOCH) // timedelta(milliseconds=1)


# A world of one's own ----------------------------------------------------------------------------------------

_THINGS = ("LANTERN", "KETTLE", "TEA TOWEL", "ROPE BASKET", "FERN POT", "BISCUIT TIN", "CANDLE, TALL", "BRASS BELL",
           "PENCIL SET", "DOOR STOP", "GARDEN TWINE", "EGG CUP")
_COLOURS = ("RED", "BLUE", "GREEN", "PAINTED", "SMALL", "LARGE", "STRIPED", "PLAIN")
_COUNTRIES = ("United Kingdom",) * 18 + ("France", "Germany", "Norway")


def write_purchases(folder: Path, seed: int, days: int = 12, customers: int = 60,
                    invoices_a_day: int = 25) -> list[Path]:
    """Write made-up purchases of like shape: a file a day from 2010-12-01, then five days in March 2011.

    About a third of the invoices are anonymous, one in twelve is followed by a cancellation, and a few lines are
    adjustments, gifts or repeated lines. The same ``seed`` writes the same bytes.
    """
    source = random.Random(seed)  # noqa: S311 - a repeatable source, nothing secret
    folder.mkdir(parents=True, exist_ok=True)
    stock = [(f"{20_000 + 7 * place}{source.choice(['', '', 'A', 'B'])}",
              f"{source.choice(_COLOURS)} {source.choice(_THINGS)}", source.randrange(29, 1_995))
             for place in range(160)]
    start = datetime(2010, 12, 1, tzinfo=UTC)
    dates = [start + timedelta(days=place) for place in range(days)]
    dates += [datetime(2011, 3, 1, tzinfo=UTC) + timedelta(days=place) for place in range(5)]
    invoice, files = 500_000, []
    bought: list[tuple[str, str, int, int, str]] = []
    for date in dates:
        rows: list[tuple[str, str, str, int, str, int, str, str]] = []
        for minute in sorted(source.randrange(8 * 60, 18 * 60) for _invoice in range(invoices_a_day)):
            invoice += 1
            at = (date + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
            customer = "" if source.random() < 0.3 else f"{12_000 + source.randrange(customers)}.0"
            country = source.choice(_COUNTRIES)
            for _line_number in range(source.randrange(1, 14)):
                code, name, pence = source.choice(stock)
                quantity = source.choice([1, 1, 2, 3, 4, 6, 6, 12, 24])
                pence = 0 if source.random() < 0.01 else pence
                rows += [(str(invoice), code, name, quantity, at, pence, customer, country)] * (
                    2 if source.random() < 0.01 else 1)
                if customer:
                    bought.append((code, name, quantity, pence, customer))
            if bought and source.random() < 0.08:
                code, name, quantity, pence, customer = bought.pop(source.randrange(len(bought)))
                rows.append((f"C{invoice}", code, name, -source.randrange(1, quantity + 1), at, pence, customer,
                             country))
            if source.random() < 0.03:
                rows.append((str(invoice), source.choice(stock)[0], "", -source.randrange(1, 40), at, 0, "", country))
        file = folder / f"{date:%Y-%m-%d}.csv"
        with file.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows((number, code, name, quantity, at, f"{pence // 100}.{pence % 100:02d}", customer, country)
                             for number, code, name, quantity, at, pence, customer, country in rows)
        files.append(file)
    return files
