"""A programme's year on a ledger: who does what on which day, from the appropriation to what lapses.

``Year`` acts; the bank's part is ``bank.Bank``, and everything between the two goes through files in a folder.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guildbook.chain.receipt import Outcome
from guildbook.node.staged import Call, StagedNode, applied
from guildbook.primitives.hashing import sha256, tagged
from guildbook.standards.iso20022 import read
from guildbook_apps.funds import people
from guildbook_apps.funds.adapter import PayeeBook, deliveries, payment_file, read_book, recall_file
from guildbook_apps.funds.bank import Bank, account_of
from guildbook_apps.funds.contract import DAY_MS, Batch, Request
from guildbook_apps.funds.people import (
    COUNTIES,
    PROGRAMME,
    ROOT,
    WATCH,
    Household,
    project_line,
    township_line,
    unit_of,
)

START_MS = 20_458 * DAY_MS + 8 * 3_600_000
"""2026-01-05T08:00:00Z, a Monday."""
YEAR_END_MS = 20_819 * DAY_MS
"""2027-01-01T00:00:00Z."""
CYCLE = "2026"
APPROPRIATED_MINOR = 300_000_000
COUNTY_MINOR, TOWNSHIP_MINOR, PROJECT_MINOR = 90_000_000, 12_000_000, 60_000_000
GRANT_MINOR = 2_000_000
WORKS_MINOR, ADVANCE_MINOR, RETENTION_PER_MILLE = 40_000_000, 8_000_000, 50
PAY_FIRST_MINOR = 500_000
APPROVER_FROM_MINOR = 10_000_000
FEE_MINOR = 3_500
HOUR_MS = 3_600_000


@dataclasses.dataclass
class Refused:
    """Something that was tried and refused, and why it is as it should be."""

    what: str
    code: str


class Year:
    """The programme ``roofs`` from its founding to the end of its year.

    ``folder`` gets the payee book, and in ``bank`` the files that went to the bank and came from it.
    """

    def __init__(self, node: StagedNode, folder: Path, seed: int) -> None:
        self.node = node
        self.seed = seed
        self.refused: list[Refused] = []
        self.transactions = 0
        self.confirmation: tuple[int, bytes] = (0, b"")
        """The request whose receipt was confirmed first, and the transaction that did it."""
        self._places = {name.partition("/")[2]: name for name in node.keys}
        self.folder = folder
        self.book_file = folder / "payees.json"
        self._to_bank, self._from_bank = folder / "bank" / "out", folder / "bank" / "in"
        for one in (self._to_bank, self._from_bank):
            one.mkdir(parents=True)
        self.files: list[Path] = []
        self._save_book(people.payee_book(seed))
        holder = self.book.debtor
        self.bank = Bank(people.BANK_NAME, people.BANK_BIC, account_of(holder.iban, holder.other), people.CURRENCY,
                         2 * APPROPRIATED_MINOR)
        self.households = people.households()
        self._references = 0

    # Acting

    @property
    def book(self) -> PayeeBook:
        """The payee book, as its file has it."""
        return read_book(self.book_file.read_bytes())

    def _save_book(self, book: PayeeBook) -> None:
        self.book_file.write_bytes(msgspec.json.format(msgspec.json.encode(book), indent=2) + b"\n")

    def at(self, day: int, hour: int = 8) -> None:
        """Go on to an hour of the ``day``-th day of the year's work."""
        self.node.now_ms = max(self.node.now_ms + 1, START_MS + day * DAY_MS + (hour - 8) * HOUR_MS)

    def do(self, who: str, command: str, **arguments: Any) -> Any:
        """One call by the party ``who``, which must be applied; what it returned."""
        return self.all([(who, command, arguments)])[0]

    def all(self, calls: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Any]:
        """Calls, each a transaction of its own, handed in together; what they returned."""
        receipts = self.node.send([self.node.sign(self._places[who], (command, arguments))
                                   for who, command, arguments in calls])
        self.transactions += len(receipts)
        return [applied(one) for one in receipts]

    def try_(self, what: str, who: str, *calls: Call) -> None:
        """Something that must be refused; noted with its code."""
        receipt = self.node.send([self.node.sign(self._places[who], *calls)])[0]
        self.transactions += 1
        assert receipt.outcome == Outcome.REJECTED, f"{what} was not refused"
        self.refused.append(Refused(what, receipt.code))

    def _reference(self, what: str) -> str:
        self._references += 1
        return f"{what}/{self._references}"

    def request(self, number: int) -> Request:
        """The row of a request."""
        found: Request = next(one for one in self.node.rows("funds.requests") if one.number == number)
        return found

    # The budget

    def found(self) -> None:
        """The policies, the programme, its lines; money from the appropriation down to townships and projects."""
        budget = {"stages": [["council", "funds:budget", 2, "owners", "persons", 0, None]], "direct": True}
        request = {"stages": [
            ["review", "funds:reviewer", 1, "anywhere", "persons", 0, None],
            ["approve", "funds:approver", 1, "anywhere", "persons", APPROVER_FROM_MINOR, None]], "direct": False}
        for name, terms in (("budget", budget), ("request", request)):
            version = self.do("administrator", "approvals.publish_policy", policy=name, life_ms=60 * DAY_MS,
                              currency=people.CURRENCY, executor="not_proposer", **terms)
            self.do("secretary", "approvals.confirm_policy", policy=name, version=version)
        self.do("administrator", "funds.register_programme", programme=PROGRAMME, supervisor=WATCH,
                bank=people.BANK, currency=people.CURRENCY, debtor=self.book.debtor.account_digest,
                budget_policy="budget", request_policy="request", pay_first_minor=PAY_FIRST_MINOR,
                regularise_ms=3 * DAY_MS, root=ROOT, purpose="housing", level="province",
                lapses_at=YEAR_END_MS + 365 * DAY_MS, calendar=None)
        self.do("administrator", "funds.admit_deliverer", programme=PROGRAMME, party="feed", public_key=None)
        for county, townships in COUNTIES.items():
            line = f"{PROGRAMME}/{county}"
            self._open("treasurer", line, ROOT, county, "county", "housing")
            for township in townships:
                self._open(f"treasurer-{county}", f"{line}/{township}", line, county, "township", "housing")
            self._open(f"treasurer-{county}", project_line(county), line, county, "project", "works")
        self._move([("treasurer", "appropriate", None, ROOT, APPROPRIATED_MINOR)])
        self._move([("treasurer", "allocate", ROOT, f"{PROGRAMME}/{one}", COUNTY_MINOR) for one in COUNTIES])
        self._move([(f"treasurer-{county}", "allocate", f"{PROGRAMME}/{county}", f"{PROGRAMME}/{county}/{part}",
                     PROJECT_MINOR if part == people.PROJECT else TOWNSHIP_MINOR)
                    for county, townships in COUNTIES.items() for part in (*townships, people.PROJECT)])

    def _open(self, who: str, line: str, parent: str, county: str, level: str, purpose: str) -> None:
        self.do(who, "funds.open_line", line=line, parent=parent, organisation=unit_of(county), level=level,
                purpose=purpose, lapses_at=YEAR_END_MS)

    def _move(self, movements: Sequence[tuple[str, str, str | None, str, int]]) -> None:
        """Movements of money: proposed by a treasurer, approved by two persons, made by the deputy."""
        terms = [{"kind": kind, "source": source, "target": target, "amount_minor": minor,
                  "basis": tagged("funds-demo-basis", f"{kind} {target}".encode())}
                 for _who, kind, source, target, minor in movements]
        numbers = self.all([(who, "funds.propose_movement", {"reference": self._reference("movement"), **one})
                            for (who, *_), one in zip(movements, terms, strict=True)])
        payloads = {row.number: row.payload for row in self.node.rows("approvals.proposals")}
        for name in ("budget-one", "budget-two"):
            self.all([(name, "approvals.approve", {"proposal": number, "stage": "council",
                                                   "payload": payloads[number]}) for number in numbers])
        self.all([(who.replace("treasurer", "treasurer-deputy"), "funds.move", {"proposal": number, **one})
                  for number, (who, *_), one in zip(numbers, movements, terms, strict=True)])

    # Payees

    def enrol(self) -> None:
        """Households and contractors: enrolled by one registrar, verified by another, with what they may get."""
        book = self.book
        everybody = [(one.payee, one.county, one.controller) for one in self.households]
        everybody += [(one.payee, one.county, None) for one in people.contractors()]
        self.all([(f"registrar-one-{county}", "funds.enrol", {
            "payee": payee, "programme": PROGRAMME, "identity": book.identity_of(book.payees[payee]),
            "account": book.payees[payee].account_digest, "controller": controller})
            for payee, county, controller in everybody])
        first = book.payees[self.households[0].payee]
        self.try_("the same person enrolled a second time, in another county", "registrar-one-otter",
                  ("funds.enrol", {"payee": "p-again", "programme": PROGRAMME, "identity": book.identity_of(first),
                                   "account": first.account_digest, "controller": None}))
        self.try_("a payee verified by the registrar who enrolled it", "registrar-one-heron",
                  ("funds.verify", {"payee": self.households[0].payee, "account": first.account_digest,
                                    "credential": tagged("funds-demo-credential", b"own")}))
        self.all([self._verify(county, payee, book) for payee, county, _controller in everybody])
        self.all([(f"registrar-two-{one.county}", "funds.entitle", {
            "payee": one.payee, "cycle": CYCLE, "purpose": "housing", "granted_minor": GRANT_MINOR})
            for one in self.households])
        self.all([(f"treasurer-{one.county}", "funds.register_works", {
            "works": f"{one.county}/{people.PROJECT}", "line": project_line(one.county), "payee": one.payee,
            "document": tagged("funds-demo-contract", one.payee.encode()), "value_minor": WORKS_MINOR,
            "advance_minor": ADVANCE_MINOR, "retention_per_mille": RETENTION_PER_MILLE})
            for one in people.contractors()])

    def _verify(self, county: str, payee: str, book: PayeeBook) -> tuple[str, str, dict[str, Any]]:
        account = book.payees[payee].account_digest
        return (f"registrar-two-{county}", "funds.verify", {
            "payee": payee, "account": account, "credential": tagged("funds-demo-credential", payee.encode())})

    # Requests

    def benefit(self, household: Household, amount: int, **changes: Any) -> tuple[str, str, dict[str, Any]]:
        """The call that asks for a household's benefit."""
        return (f"clerk-{household.county}", "funds.submit", {**self._benefit(household, amount), **changes})

    def _benefit(self, household: Household, amount: int) -> dict[str, Any]:
        return {"reference": self._reference("benefit"), "kind": "benefit", "payee": household.payee, "about": CYCLE,
                "gross_minor": amount, "shares": [[township_line(household), 1]],
                "evidence": tagged("funds-demo-photo", household.payee.encode()), "invoice": None}

    def works(self, county: str, kind: str, amount: int) -> tuple[str, str, dict[str, Any]]:
        """The call that asks for an advance, a claim or what was retained of a county's bridge."""
        return (f"clerk-{county}", "funds.submit", {
            "reference": self._reference(kind), "kind": kind, "payee": f"c-{county}",
            "about": f"{county}/{people.PROJECT}", "gross_minor": amount, "shares": [[project_line(county), 1]],
            "evidence": tagged("funds-demo-measure", f"{county} {kind} {amount}".encode()), "invoice": None})

    def approve(self, numbers: Sequence[int]) -> None:
        """Each stage by another person: a reviewer, and from a certain amount an approver."""
        for who, stage in (("reviewer", "review"), ("approver", "approve")):
            rows = [self.request(number) for number in numbers]
            self.all([(who, "funds.approve", {"request": row.number, "stage": stage, "acting_for": None,
                                              "payload": self.node.query("funds.payload_of", row.number)})
                      for row in rows if stage == "review" or row.amount_minor >= APPROVER_FROM_MINOR])

    # The bank

    def release(self, batch: str, numbers: Sequence[int]) -> None:
        """The payment file of approved requests, to the bank; and what the bank answers at once."""
        day = self.node.now_ms // DAY_MS
        file = payment_file(batch, day, [self.request(number) for number in numbers], self.book)
        path = self._put(self._to_bank, file, batch)
        self.do("releaser", "funds.release", batch=batch, programme=PROGRAMME, requests=list(numbers),
                execution_day=day, file=sha256(file))
        self._put(self._from_bank, self.bank.take(path.read_bytes(), self.node.now_ms), batch)
        self.deliver()

    def book_payments(self) -> None:
        """The bank pays what it accepted, and says so."""
        told = self.bank.book(self.node.now_ms)
        if told is not None:
            self._put(self._from_bank, told, "booked")
        self.deliver()

    def statement(self) -> None:
        """The bank's statement, which says again what was booked."""
        self._put(self._from_bank, self.bank.statement(self.node.now_ms), "statement")
        self.deliver()

    def give_back(self, number: int, reason: str) -> None:
        """The bank could not reach the account after all."""
        for one in self.bank.give_back(self.request(number).end_to_end, reason, self.node.now_ms):
            self._put(self._from_bank, one, "return")
        self.deliver()

    def recall(self, number: int, reason: str) -> None:
        """A payment asked back, and what the bank says to that."""
        row = self.request(number)
        batch: Batch = next(one for one in self.node.rows("funds.batches") if one.id == row.batch)
        file = recall_file(row, batch, reason, self.book)
        path = self._put(self._to_bank, file, f"recall-{number}")
        self.do("releaser", "funds.recall", request=number, reason=reason, file=sha256(file))
        for one in self.bank.recalled(path.read_bytes(), self.node.now_ms):
            self._put(self._from_bank, one, "recall")
        self.deliver()

    def _put(self, folder: Path, data: bytes, about: str) -> Path:
        kind = read(data).name[:8]
        path = folder / f"{len(self.files) + 1:03d}-{kind}-{about}.xml"
        path.write_bytes(data)
        self.files.append(path)
        return path

    def deliver(self) -> None:
        """Every file from the bank that was not delivered yet, in order of its name."""
        requests = list(self.node.rows("funds.requests"))
        holders = {row.end_to_end: row.payee for row in requests}

        def names(batch: str) -> list[tuple[str, str]]:
            return [(row.end_to_end, row.uetr) for row in requests if row.batch == batch]

        known = {row.digest for row in self.node.rows("messages.messages")}
        for path in sorted(self._from_bank.iterdir()):
            data = path.read_bytes()
            if sha256(data) not in known:
                self.all([("feed", "funds.deliver", one.arguments(PROGRAMME))
                          for one in deliveries(data, self.book, holders, names, file=path.name)])

    # What came of it

    def confirm(self, household: Household, number: int, confirmed: int, complaint: str | None = None) -> None:
        """What arrived, by the household's own key or by the witness of its county."""
        own = household.controller is not None
        who = household.controller if household.controller is not None else f"witness-{household.county}"
        command = "funds.confirm_receipt" if own else "funds.witness_receipt"
        receipt = self.node.send([self.node.sign(self._places[who], (command, {
            "request": number, "confirmed_minor": confirmed, "complaint": complaint}))])[0]
        self.transactions += 1
        applied(receipt)
        if own and not self.confirmation[0]:
            self.confirmation = (number, receipt.transaction)

    # The story

    def run(self, told: Callable[[str, int, int], None]) -> None:
        """The year up to December."""
        steps = (self.found, self.enrol, self._emergency, self._first_file, self._second_file, self._what_went_wrong,
                 self._receipts, self._audit, self._december)
        for place, step in enumerate(steps):
            told("the programme's year", place, len(steps))
            step()
        told("the programme's year", len(steps), len(steps))

    def _emergency(self) -> None:
        """A roof fell in: an officer has it paid at once, and the approval follows within three days."""
        self.at(1)
        home = self.households[3]
        number = self.do(f"officer-{home.county}", "funds.pay_first", **self._benefit(home, 480_000))
        self.try_("an emergency beyond the limit of what is paid first", f"officer-{home.county}",
                  ("funds.pay_first", self._benefit(self.households[2], PAY_FIRST_MINOR + 1)))
        self.release("E1", [number])
        self.book_payments()
        self.at(2)
        self.approve([number])
        self.confirm(home, number, 480_000)

    def _first_file(self) -> None:
        self.at(4)
        homes = self.households[:3] + self.households[4:20]
        numbers = self.all([self.benefit(one, 600_000 + 25_000 * (place % 5)) for place, one in enumerate(homes)])
        self.try_("a second benefit beyond what the household may get", f"clerk-{homes[0].county}",
                  ("funds.submit", self._benefit(homes[0], GRANT_MINOR)))
        self.at(5)
        doubtful = numbers[7]
        payload = self.node.query("funds.payload_of", doubtful)
        self.do("reviewer", "funds.reject", request=doubtful, stage="review", payload=payload,
                reason="photo-of-another-house", acting_for=None)
        taken_back = numbers[11]
        self.do(f"clerk-{homes[11].county}", "funds.cancel", request=taken_back, reason="moved-away")
        alive = [one for one in numbers if one not in (doubtful, taken_back)]
        self.try_("a request approved by the clerk who submitted it", f"clerk-{homes[0].county}",
                  ("funds.approve", {"request": alive[0], "stage": "review", "acting_for": None,
                                     "payload": self.node.query("funds.payload_of", alive[0])}))
        self.try_("a request released before it is approved", "releaser",
                  ("funds.release", {"batch": "B0", "programme": PROGRAMME, "requests": [alive[0]],
                                     "execution_day": self.node.now_ms // DAY_MS, "file": sha256(b"")}))
        self.approve(alive)
        self.closed_home = homes[4]
        self.bank.closed.add(self.book.payees[self.closed_home.payee].number)
        self.at(7)
        self.release("B1", alive)
        self.at(7, 16)
        self.book_payments()
        self.at(7, 18)
        self.statement()
        self.first = {home.payee: number for home, number in zip(homes, numbers, strict=True)}

    def _second_file(self) -> None:
        """The household with the closed account brings another; contractors get advances and claim."""
        self.at(10)
        home, book = self.closed_home, self.book
        holder = people.another_account(self.seed, book.payees[home.payee], home.payee)
        self._save_book(PayeeBook(book.programme, book.currency, book.identity_salt, book.debtor,
                                  {**book.payees, home.payee: holder}))
        self.do(f"registrar-one-{home.county}", "funds.change_account", payee=home.payee,
                account=holder.account_digest)
        self.all([self._verify(home.county, home.payee, self.book)])
        again = self.do(*self.benefit(home, 700_000)[:2], **self.benefit(home, 700_000)[2])
        advances = self.all([self.works(county, "advance", ADVANCE_MINOR) for county in COUNTIES])
        self.approve([again, *advances])
        self.at(12)
        self.release("B2", [again, *advances])
        self.at(12, 16)
        self.book_payments()
        self.at(90)
        claims = self.all([self.works(county, "claim", minor) for county, minor in
                           zip(COUNTIES, (20_000_000, 15_000_000, 40_000_000), strict=True)])
        self.approve(claims)
        self.at(92)
        self.release("B3", claims)
        self.at(92, 16)
        self.book_payments()
        self.at(95)
        kept = self.works("otter", "retention", WORKS_MINOR * RETENTION_PER_MILLE // 1000)
        number = self.do(kept[0], kept[1], **kept[2])
        self.approve([number])
        self.release("B4", [number])
        self.book_payments()
        self.at(95, 18)
        self.statement()
        self.second = {home.payee: again}

    def _what_went_wrong(self) -> None:
        """A payment comes back, another is asked back, and a fee is about no request."""
        self.at(100)
        self.give_back(self.first[self.households[6].payee], "AC06")
        self.at(101)
        self.recall(self.first[self.households[9].payee], "DUPL")
        self.bank.charge(FEE_MINOR, self.node.now_ms)
        self.at(101, 18)
        self.statement()

    def _receipts(self) -> None:
        """Households say what arrived: most all of it, one less; two have not said yet."""
        self.at(110)
        paid = {row.payee: row for row in self.node.rows("funds.requests") if row.stage.value == "settled"}
        homes = [one for one in self.households if one.payee in paid]
        for place, home in enumerate(homes[:-2]):
            row = paid[home.payee]
            less = place == 5
            self.confirm(home, row.number, row.amount_minor - (50_000 if less else 0), "short" if less else None)
        confirmed = [row for row in self.node.rows("funds.requests") if row.stage.value == "confirmed"]
        county_of = {home.payee: home.county for home in self.households}
        self.all([(f"clerk-{county_of[row.payee]}", "funds.attach_usage", {
            "request": row.number, "kind": "photo", "evidence": tagged("funds-demo-usage", row.uetr.encode())})
            for row in confirmed])

    def _audit(self) -> None:
        """The court of accounts asks about the complaint; another of its auditors closes what was answered."""
        self.at(120)
        complaint = next(row for row in self.node.rows("funds.requests") if row.complaint is not None)
        finding = self.do("auditor-one", "funds.raise_finding", request=complaint.number, severity="medium",
                          statement=tagged("funds-demo-finding", b"less arrived than was paid"))
        self.at(130)
        self.do("auditor-two", "funds.close_finding", finding=finding,
                answer=tagged("funds-demo-answer", b"the bank of the payee took a charge and gave it back"))

    def _december(self) -> None:
        """The last weeks: a request with the bank, one that is approved, and one that waits for its reviewer."""
        self.at(340)
        homes = self.households[20:]
        numbers = self.all([self.benefit(one, 900_000) for one in homes[:3]])
        self.approve(numbers[:2])
        self.release("B5", numbers[:1])

    def end(self) -> None:
        """The year is over: what lines have left goes up, level by level; what is committed stays."""
        self.at((YEAR_END_MS - START_MS) // DAY_MS + 2)
        self.try_("money spent from a line whose time is over", f"clerk-{self.households[0].county}",
                  ("funds.submit", self._benefit(self.households[0], 100_000)))
        lines = sorted(self.node.rows("funds.lines"), key=lambda row: -row.depth)
        for row in lines:
            if row.parent is not None and self.node.query("funds.standing_of", row.id)[0] > 0:
                self.do("supervisor", "funds.lapse", line=row.id)
