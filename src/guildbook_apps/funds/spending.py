"""Spending that public bodies published, brought onto a ledger: OCDS, IATI, and payments by month in CSV.

``read_spending`` takes a file to *contracts* and *payments*, or to refusals with file, place and reason; a bad row does
not stop the others. ``importing.Import`` sends what was read as signed calls:

- a body (buyer, department, reporting organisation) and a currency are a programme; a department, budget line or
  activity is a line of it; a supplier is a payee, under a salted digest of its name and no account, as none is known;
- a contract is registered as works, and what OCDS says was paid of it is a claim on them, never above its value;
- a payment without a contract is a request of what the payee may get in that month;
- each is submitted, approved and committed on its line, for which exactly that money is appropriated.

There it ends: what a body says it paid is no bank's word, and nothing counts as paid without one. A payment that is
below zero or zero, has no payee, amount or currency, or was published before with other content is refused by name; so
is what the ledger refuses, with its code.

The reference of a request follows from what a row says of itself, so that the same file a second time sends nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from guildbook.primitives.errors import GuildbookError
from guildbook.standards import iati, ocds
from guildbook.standards.amounts import Money
from guildbook.standards.json import canonical_json
from guildbook.standards.place import Refusal, refusal_of
from guildbook.standards.spend import read_spend
from guildbook_apps.funds.contract import MONEY_MINOR_MAX

REFUND, ZERO, TOO_GREAT = "spending.refund", "spending.zero", "spending.too_great"
NO_PAYEE, NO_AMOUNT, NO_BODY = "spending.no_payee", "spending.no_amount", "spending.no_body"
NOT_SPENT, CHANGED = "spending.not_spent", "spending.changed"
OTHER_PAYEE, OTHER_CURRENCY = "spending.other_payee", "spending.other_currency"
SUFFIXES = (".csv", ".json", ".xml")
REFERENCE_DIGITS = 48
SPENT_TYPES = ("3", "4")
"""IATI: disbursement and expenditure."""


class Place(NamedTuple):
    """Where something stands in a file."""

    file: str
    line: int
    path: str

    def refused(self, code: str, reason: str) -> Refusal:
        """The refusal of what stands here."""
        return Refusal(self.file, self.line, self.path, code, reason)


class Works(NamedTuple):
    """A contract with a supplier: ``id`` is the same wherever it is published."""

    id: str
    body: str
    unit: str
    payee: str
    value: Money
    document: bytes
    place: Place


class Payment(NamedTuple):
    """One payment: ``reference`` is the same wherever it is published, ``evidence`` a digest of all that is said.

    ``works`` is the id of the contract it is under, or empty; ``cycle`` the month.
    """

    reference: str
    evidence: bytes
    body: str
    unit: str
    payee: str
    cycle: str
    works: str
    money: Money
    place: Place


class Spending(NamedTuple):
    """What a file says: ``items`` are its rows, releases' contracts and payments, and activities' transactions."""

    file: str
    works: tuple[Works, ...]
    payments: tuple[Payment, ...]
    refusals: tuple[Refusal, ...]


# Reading ------------------------------------------------------------------------------------------------------


def spending_files(paths: Sequence[Path]) -> list[Path]:
    """The CSV, JSON and XML files at ``paths``, files or folders, in the order of their names.

    Raises GuildbookError ``cli.usage`` where there is none.
    """
    found = [path for one in paths for path in (sorted(one.rglob("*")) if one.is_dir() else [one])
             if path.is_file() and (path.suffix.lower() in SUFFIXES or path == one)]
    if not found:
        raise GuildbookError("cli.usage", "there is no CSV, JSON or XML file", hint="name a file, or a folder of them")
    return found


def read_spending(data: bytes, file: str) -> Spending:
    """The contracts and payments in a file: OCDS where it is JSON, IATI where it is XML, and else a table.

    Nothing is raised: a file that cannot be read is one refusal.
    """
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    read = {b"{": _of_releases, b"[": _of_releases, b"<": _of_activities}.get(start, _of_table)
    works: list[Works] = []
    payments: list[Payment] = []
    refusals: list[Refusal] = []
    try:
        for one in read(data, file):
            if isinstance(one, Refusal):
                refusals.append(one)
            elif isinstance(one, Works):
                works.append(one)
            else:
                payments.append(one)
    except GuildbookError as error:
        refusals.append(refusal_of(error))
    return Spending(file, tuple(works), tuple(payments), tuple(refusals))


def _of_table(data: bytes, file: str) -> Iterator[Works | Payment | Refusal]:
    found = read_spend(data, file=file)
    yield from found.refusals
    for row in found.records:
        place = Place(file, row.line, "")
        refusal = _amount_refused(row.amount, place)
        yield refusal or Payment(
            f"row/{row.id[:REFERENCE_DIGITS]}", bytes.fromhex(row.id), row.body or "publisher",
            row.entity or "general", row.supplier, row.date.day[:7], "", row.amount, place)


def _of_releases(data: bytes, file: str) -> Iterator[Works | Payment | Refusal]:
    found = ocds.read_releases(data, file=file)
    yield from found.refusals
    for record in found.records:
        release, place = record.release, Place(file, record.line, record.path)
        if not release.contracts:
            yield place.refused(NOT_SPENT, f"the release has no contract; it is tagged {', '.join(release.tag)}")
            continue
        for number, contract in enumerate(release.contracts):
            yield from _of_contract(release, contract, place._replace(path=f"{place.path}/contracts/{number}"))


def _of_contract(release: ocds.Release, contract: ocds.Contract, place: Place) -> Iterator[Works | Payment | Refusal]:
    body = release.buyer.name if release.buyer is not None else None
    award = next((one for one in release.awards if one.id == contract.award_id), None)
    suppliers = award.suppliers if award is not None else ()
    money = None if contract.value is None else contract.value.money
    if not body:
        yield place.refused(NO_BODY, "the release names no buyer")
        return
    if len(suppliers) != 1 or not suppliers[0].name:
        yield place.refused(NO_PAYEE, f"its award names {len(suppliers)} suppliers, and a contract has one")
        return
    if money is None:
        yield place.refused(NO_AMOUNT, "the contract has no value with a currency")
        return
    refusal = _amount_refused(money, place)
    if refusal is not None:
        yield refusal
        return
    supplier = suppliers[0]
    budget = release.planning.budget if release.planning is not None else None
    unit = str((budget.project or budget.id or "") if budget is not None else "") or "contracts"
    name = str(supplier.name)
    works = f"works/{_stable('ocds', release.ocid, str(contract.id))}"
    said = [release.ocid, str(contract.id), body, unit, name, money.text, money.currency]
    yield Works(works, body, unit, name, money, hashlib.sha256(canonical_json(said)).digest(), place)
    transactions = contract.implementation.transactions if contract.implementation is not None else ()
    for number, one in enumerate(transactions):
        inner = place._replace(path=f"{place.path}/implementation/transactions/{number}")
        yield _of_transaction(release, contract, one, supplier, works, body, unit, money.currency, inner)


def _of_transaction(release: ocds.Release, contract: ocds.Contract, one: ocds.Transaction, supplier: ocds.Reference,
                    works: str, body: str, unit: str, currency: str, place: Place) -> Payment | Refusal:
    money = None if one.value is None else one.value.money
    if money is None:
        return place.refused(NO_AMOUNT, "the payment has no amount with a currency")
    if money.currency != currency:
        return place.refused(OTHER_CURRENCY, f"the contract is in {currency}, and the payment in {money.currency}")
    if one.payee is not None and not _same_party(one.payee, supplier):
        return place.refused(OTHER_PAYEE, "the payment goes to somebody else than the supplier of its contract")
    said = [release.ocid, str(contract.id), str(one.id), money.text, currency, one.date or "", str(supplier.name)]
    return _amount_refused(money, place) or Payment(
        f"ocds/{_stable('ocds', release.ocid, str(contract.id), str(one.id))}",
        hashlib.sha256(canonical_json(said)).digest(), body, unit, str(supplier.name),
        (one.date or release.date)[:7], works, money, place)


def _same_party(one: ocds.Reference, other: ocds.Reference) -> bool:
    if one.id is not None and other.id is not None:
        return one.id == other.id
    return plain(one.name or "") == plain(other.name or "")


def _of_activities(data: bytes, file: str) -> Iterator[Works | Payment | Refusal]:
    found = iati.read_activities(data, file=file)
    yield from found.refusals
    seen: Counter[str] = Counter()
    for record in found.records:
        activity, place = record.activity, Place(file, record.line, f"iati-activity[{record.id}]")
        names = activity.reporting_org.names
        body = names[0].text if names else activity.reporting_org.ref
        if not activity.transactions:
            yield place.refused(NOT_SPENT, "the activity has no transaction")
        for number, one in enumerate(activity.transactions, 1):
            inner = place._replace(path=f"{place.path}/transaction[{number}]")
            payee = "" if one.receiver is None else \
                one.receiver.names[0].text if one.receiver.names else one.receiver.ref or ""
            if one.type not in SPENT_TYPES:
                kind = iati.TRANSACTION_TYPES.get(one.type, "not in the list of types")
                yield inner.refused(NOT_SPENT, f"its type {one.type[:20]!r} is {kind}")
                continue
            if not payee.strip():
                yield inner.refused(NO_PAYEE, "the payment names no receiver")
                continue
            try:
                money = one.value.money(activity.default_currency)
            except ValueError as error:
                yield inner.refused(NO_AMOUNT, f"{one.value.amount[:40]!r} {error}")
                continue
            said = [body, record.id, one.ref or "", one.type, one.date.day, money.text, money.currency, payee]
            digest = hashlib.sha256(canonical_json(said)).hexdigest()
            seen[digest] += 1
            reference = _stable("iati", record.id, one.ref) if one.ref else _stable("iati", digest, str(seen[digest]))
            yield _amount_refused(money, inner) or Payment(
                f"iati/{reference}", bytes.fromhex(digest), body, record.id or "activity", payee, one.date.day[:7], "",
                money, inner)


def _amount_refused(money: Money, place: Place) -> Refusal | None:
    if money.minor < 0:
        return place.refused(REFUND, f"{money.text} {money.currency} is a refund or a credit, which pays nobody")
    if money.minor == 0:
        return place.refused(ZERO, "nothing is paid")
    if money.minor > MONEY_MINOR_MAX:
        return place.refused(TOO_GREAT, f"{money.text} {money.currency} is more than one payment can be")
    return None


def _stable(*parts: str) -> str:
    return hashlib.sha256(canonical_json(["guildbook.funds", *parts])).hexdigest()[:REFERENCE_DIGITS]


def plain(name: str) -> str:
    """A name as it is compared: case and spacing say nothing."""
    return " ".join(name.split()).casefold()
