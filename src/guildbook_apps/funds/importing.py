"""Published spending on a ledger: what ``spending`` read, as signed calls of a desk that keeps it.

What is new is sent, what the ledger has already is counted, and what it refuses joins the refusals, with its code and
the place in the file. In the end each line has committed exactly what its payments add up to.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from guildbook.chain.receipt import Outcome, Receipt
from guildbook.node.staged import StagedNode, applied
from guildbook.primitives.hashing import tagged
from guildbook.standards.place import Refusal
from guildbook_apps.funds.contract import DAY_MS
from guildbook_apps.funds.spending import CHANGED, Payment, Place, Spending, Works, plain

DESK, WATCH, NO_BANK = "spending-desk", "court-of-accounts", "no-bank"
PURPOSE = "published"
LAPSES_AFTER_MS = 30 * 365 * DAY_MS
BATCH_TRANSACTIONS = 500
NAME_CHARS, ID_DIGITS, PAYEE_DIGITS = 18, 10, 32

Told = Callable[[str, int, int], None]
Calls = list[tuple[str, str, dict[str, Any]]]


class FileTally(NamedTuple):
    """What became of a file: contracts and payments on the ledger, those that it had already, and refusals."""

    file: str
    works: int
    payments: int
    already: int
    refused: int


class LineTally(NamedTuple):
    """What is committed on a line, and by how many requests."""

    body: str
    unit: str
    line: str
    currency: str
    requests: int
    committed_minor: int


class _Unit(NamedTuple):
    """A line as it is known by names."""

    body: str
    currency: str
    unit: str

    @property
    def programme(self) -> str:
        return f"{_slug(self.body)}-{self.currency.lower()}-{_short(plain(self.body), self.currency)}"

    @property
    def root(self) -> str:
        return f"{self.programme}/all"

    @property
    def line(self) -> str:
        return f"{_slug(self.body)}/{_slug(self.unit)}-{_short(plain(self.body), self.currency, plain(self.unit))}"


class _Sent(NamedTuple):
    """A payment that the ledger took as a request, and what its approver approves."""

    payment: Payment
    request: int
    payload: bytes


def signers() -> dict[str, list[str]]:
    """Everybody who signs for the desk that brings published spending in."""
    return {
        f"{DESK}/administrator": ["funds:administrator", "approvals:policymaker"],
        f"{DESK}/secretary": ["approvals:policymaker"],
        f"{DESK}/treasurer": ["funds:treasurer"],
        f"{DESK}/treasurer-deputy": ["funds:treasurer"],
        f"{DESK}/budget-one": ["funds:budget"],
        f"{DESK}/budget-two": ["funds:budget"],
        f"{DESK}/registrar-one": ["funds:registrar"],
        f"{DESK}/registrar-two": ["funds:registrar"],
        f"{DESK}/clerk": ["funds:clerk"],
        f"{DESK}/reviewer": ["funds:reviewer"],
        f"{WATCH}/supervisor": ["funds:supervisor"],
    }


class Import:
    """Brings published spending onto the ledger of ``node``, whose cast is ``signers``.

    ``salt`` hides the suppliers' names; with the same salt the same supplier is the same payee.
    """

    def __init__(self, node: StagedNode, salt: bytes) -> None:
        self._node = node
        self._salt = salt
        self.refusals: list[Refusal] = []
        self.suppliers: dict[str, tuple[str, str]] = {}
        """Payee -> its programme and the supplier's name, which is not on the ledger."""
        self.units: dict[str, tuple[str, str]] = {}
        """Line -> the names of its body and its unit."""
        self.transactions = 0

    def take(self, found: Sequence[Spending], told: Told) -> list[FileTally]:
        """Send what was read and is new; what became of each file."""
        before = len(self.refusals)
        self.refusals += [one for file in found for one in file.refusals]
        already: Counter[str] = Counter()
        payments = self._new_payments([one for file in found for one in file.payments], already)
        works = self._new_works([one for file in found for one in file.works], already)
        if payments or works:
            named: list[Payment | Works] = [*payments, *works]
            self._open([_unit_of(one) for one in named])
            self._enrol([(_unit_of(one), one.payee) for one in named])
        registered = self._register(works)
        self._entitle([one for one in payments if not one.works])
        sent = self._submit(payments, told)
        self._fund(sent)
        self._approve(sent, told)
        refused = Counter(one.file for one in self.refusals[before:])
        taken = Counter(one.payment.place.file for one in sent)
        contracts = Counter(one.place.file for one in registered)
        return [FileTally(one.file, contracts[one.file], taken[one.file], already[one.file], refused[one.file])
                for one in found]

    def tallies(self) -> list[LineTally]:
        """What is committed on each line that has requests, from the rows of the ledger."""
        counts: Counter[str] = Counter(row.parts[0].line for row in self._node.rows("funds.requests"))
        currencies = {row.id: row.currency for row in self._node.rows("funds.programmes")}
        found = []
        for row in self._node.rows("funds.lines"):
            if counts[row.id]:
                body, unit = self.units.get(row.id, (row.programme, row.id))
                found.append(LineTally(body, unit, row.id, currencies[row.programme], counts[row.id],
                                       self._node.query("funds.standing_of", row.id)[1]))
        return found

    # What is new

    def _new_payments(self, payments: Iterable[Payment], already: Counter[str]) -> list[Payment]:
        evidence = {row.number: row.evidence for row in self._node.rows("funds.requests")}
        known = {row.reference: evidence[row.request] for row in self._node.rows("funds.references")}
        return [one for one in payments if self._is_new(known, one.reference, one.evidence, one.place, already)]

    def _new_works(self, works: Iterable[Works], already: Counter[str]) -> list[Works]:
        known = {row.id: row.document for row in self._node.rows("funds.works")}
        return [one for one in works if self._is_new(known, one.id, one.document, one.place, already)]

    def _is_new(self, known: dict[str, bytes], name: str, digest: bytes, place: Place, already: Counter[str]) -> bool:
        """Whether nothing is known under a name; the same again is counted, and other content refused."""
        said = known.get(name)
        known.setdefault(name, digest)
        if said is not None and said != digest:
            self.refusals.append(place.refused(CHANGED, "it was published before with other content"))
        elif said is not None:
            already[place.file] += 1
        return said is None

    # Programmes, lines and payees

    def _open(self, units: Sequence[_Unit]) -> None:
        """Open what the units need and the ledger does not have: policies, programmes, lines."""
        policies = {row.name for row in self._node.rows("approvals.policies") if row.owner == DESK}
        for currency in sorted({one.currency for one in units}):
            for name, stage in (("budget", ["council", "funds:budget", 2, "owners", "persons", 0, None]),
                                ("request", ["review", "funds:reviewer", 1, "anywhere", "persons", 0, None])):
                policy = _policy(name, currency)
                if policy not in policies:
                    version = self._do("administrator", "approvals.publish_policy", policy=policy, stages=[stage],
                                       life_ms=60 * DAY_MS, currency=currency, direct=name == "budget",
                                       executor="not_proposer")
                    self._do("secretary", "approvals.confirm_policy", policy=policy, version=version)
        lapses_at = self._node.now_ms + LAPSES_AFTER_MS
        programmes = {row.id for row in self._node.rows("funds.programmes")}
        lines = {row.id for row in self._node.rows("funds.lines")}
        calls: Calls = []
        for unit in units:
            self.units.setdefault(unit.line, (unit.body, unit.unit))
            if unit.programme not in programmes:
                programmes.add(unit.programme)
                calls.append(("administrator", "funds.register_programme", {
                    "programme": unit.programme, "supervisor": WATCH, "bank": NO_BANK, "currency": unit.currency,
                    "debtor": tagged("funds-no-account", unit.programme.encode()),
                    "budget_policy": _policy("budget", unit.currency),
                    "request_policy": _policy("request", unit.currency), "pay_first_minor": 0, "regularise_ms": DAY_MS,
                    "root": unit.root, "purpose": PURPOSE, "level": "body", "lapses_at": lapses_at, "calendar": None}))
            if unit.line not in lines:
                lines.add(unit.line)
                calls.append(("treasurer", "funds.open_line", {
                    "line": unit.line, "parent": unit.root, "organisation": DESK, "level": "unit", "purpose": PURPOSE,
                    "lapses_at": lapses_at - 1}))
        self._all(calls)

    def _payee(self, unit: _Unit, name: str) -> str:
        return f"s-{tagged('funds-supplier', self._salt + unit.programme.encode() + plain(name).encode()).hex()}"[
            :PAYEE_DIGITS]

    def _enrol(self, named: Sequence[tuple[_Unit, str]]) -> None:
        """Enrol suppliers by one registrar and verify them by another; what is verified is that a body named them."""
        known = {row.id for row in self._node.rows("funds.payees")}
        enrolled: Calls = []
        verified: Calls = []
        for unit, name in named:
            payee = self._payee(unit, name)
            self.suppliers.setdefault(payee, (unit.programme, name))
            if payee in known:
                continue
            known.add(payee)
            account = tagged("funds-account-not-published", self._salt + payee.encode())
            enrolled.append(("registrar-one", "funds.enrol", {
                "payee": payee, "programme": unit.programme, "account": account, "controller": None,
                "identity": tagged("funds-supplier-identity", self._salt + plain(name).encode())}))
            verified.append(("registrar-two", "funds.verify", {
                "payee": payee, "account": account, "credential": tagged("funds-published", payee.encode())}))
        self._all(enrolled)
        self._all(verified)

    def _register(self, works: Sequence[Works]) -> list[Works]:
        """Register contracts; those that the ledger took."""
        calls: Calls = []
        for one in works:
            unit = _unit_of(one)
            calls.append(("treasurer", "funds.register_works", {
                "works": one.id, "line": unit.line, "payee": self._payee(unit, one.payee), "document": one.document,
                "value_minor": one.value.minor, "advance_minor": 0, "retention_per_mille": 0}))
        receipts = self._send(calls)
        return [one for one, receipt in zip(works, receipts, strict=True) if self._took(one.place, receipt)]

    # Requests

    def _entitle(self, payments: Sequence[Payment]) -> None:
        """Say that each payee may get in each month what was published of it, beside what it got already."""
        sums: Counter[tuple[str, str]] = Counter()
        for one in payments:
            sums[self._payee(_unit_of(one), one.payee), one.cycle] += one.money.minor
        taken = {(row.payee, row.cycle): row.taken_minor for row in self._node.rows("funds.entitlements")}
        self._all([("registrar-one", "funds.entitle", {
            "payee": payee, "cycle": cycle, "purpose": PURPOSE,
            "granted_minor": minor + taken.get((payee, cycle), 0)}) for (payee, cycle), minor in sums.items()])

    def _submit(self, payments: Sequence[Payment], told: Told) -> list[_Sent]:
        """Submit payments; those that the ledger took."""
        calls: Calls = []
        for one in payments:
            unit = _unit_of(one)
            calls.append(("clerk", "funds.submit", {
                "reference": one.reference, "kind": "claim" if one.works else "benefit",
                "payee": self._payee(unit, one.payee), "about": one.works or one.cycle, "gross_minor": one.money.minor,
                "shares": [[unit.line, 1]], "evidence": one.evidence, "invoice": None}))
        receipts = self._send(calls, lambda done: told("submitting", done, len(calls)))
        sent = []
        for one, receipt in zip(payments, receipts, strict=True):
            if self._took(one.place, receipt):
                said = next(values for contract, name, values in receipt.events
                            if (contract, name) == ("funds", "submitted"))
                sent.append(_Sent(one, said[0], said[2]))
        return sent

    def _fund(self, sent: Sequence[_Sent]) -> None:
        """Appropriate and allocate to each line exactly what its requests ask for."""
        sums: Counter[_Unit] = Counter()
        for one in sent:
            sums[_unit_of(one.payment)] += one.payment.money.minor
        roots: Counter[str] = Counter()
        for unit, minor in sums.items():
            roots[unit.root] += minor
        self._move([("appropriate", None, root, minor) for root, minor in roots.items()])
        lines: dict[str, tuple[str, int]] = {}
        for unit, minor in sums.items():
            lines[unit.line] = (unit.root, lines.get(unit.line, ("", 0))[1] + minor)
        self._move([("allocate", root, line, minor) for line, (root, minor) in lines.items()])

    def _move(self, movements: Sequence[tuple[str, str | None, str, int]]) -> None:
        if not movements:
            return
        height = self._node.ledger.head.height
        terms = [{"kind": kind, "source": source, "target": target, "amount_minor": minor,
                  "basis": tagged("funds-published-sum", f"{height} {target} {minor}".encode())}
                 for kind, source, target, minor in movements]
        numbers = self._all([("treasurer", "funds.propose_movement", {"reference": f"{height}/{place}", **one})
                             for place, one in enumerate(terms)])
        payloads = {row.number: row.payload for row in self._node.rows("approvals.proposals")}
        for name in ("budget-one", "budget-two"):
            self._all([(name, "approvals.approve", {"proposal": number, "stage": "council",
                                                    "payload": payloads[number]}) for number in numbers])
        self._all([("treasurer-deputy", "funds.move", {"proposal": number, **one})
                   for number, one in zip(numbers, terms, strict=True)])

    def _approve(self, sent: Sequence[_Sent], told: Told) -> None:
        calls: Calls = [("reviewer", "funds.approve", {"request": one.request, "stage": "review",
                                                       "payload": one.payload, "acting_for": None}) for one in sent]
        for receipt in self._send(calls, lambda done: told("approving", done, len(calls))):
            applied(receipt)

    # Sending

    def _took(self, place: Place, receipt: Receipt) -> bool:
        """Whether the ledger took what stands at a place; if not, it is refused with the ledger's code."""
        if receipt.outcome == Outcome.APPLIED:
            return True
        fields = ", ".join(f"{name} {value}" for name, value in receipt.fields)
        self.refusals.append(place.refused(receipt.code, f"the ledger refused it: {fields}"))
        return False

    def _do(self, who: str, command: str, **arguments: Any) -> Any:
        return self._all([(who, command, arguments)])[0]

    def _all(self, calls: Calls) -> list[Any]:
        """Calls that must be applied; what they returned."""
        return [applied(one) for one in self._send(calls)]

    def _send(self, calls: Calls, told: Callable[[int], None] | None = None) -> list[Receipt]:
        """Calls, each a transaction of its own, in order; their receipts."""
        receipts: list[Receipt] = []
        for start in range(0, len(calls), BATCH_TRANSACTIONS):
            part = calls[start:start + BATCH_TRANSACTIONS]
            receipts += self._node.send([self._node.sign(_place(who), (command, arguments))
                                         for who, command, arguments in part])
            if told is not None:
                told(len(receipts))
        self.transactions += len(receipts)
        return receipts


def counts_of(refusals: Iterable[Refusal]) -> Mapping[str, int]:
    """How many refusals there are of each code."""
    return dict(sorted(Counter(one.code for one in refusals).items()))


def _policy(name: str, currency: str) -> str:
    return f"{name}-{currency.lower()}"


def _place(who: str) -> str:
    return f"{WATCH if who == 'supervisor' else DESK}/{who}"


def _unit_of(one: Payment | Works) -> _Unit:
    money = one.money if isinstance(one, Payment) else one.value
    return _Unit(one.body, money.currency, one.unit)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plain(name)).strip("-")[:NAME_CHARS].strip("-") or "x"


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:ID_DIGITS]
