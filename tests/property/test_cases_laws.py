"""The laws of cases: a seeded workload on a ledger with money, and an auditor who keeps a diary of his own.

The auditor foretells of each call whether it is applied, and with which refusal it is not. From his diary alone he says
after each what is frozen, what an invoice lets go, and what anybody's account holds; in the end, that each case which
is over gave back exactly what it froze, less what was awarded.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from docket_contract import Docket
from guildbook.chain.receipt import Outcome
from guildbook.testing.ledger import TestLedger

DAY_MS = 86_400_000
PEOPLE = {
    "mill/mia": ["docket:judge"], "mill/mo": [], "shop/sam": ["docket:judge"], "court/dan": ["docket:judge"],
    "court/dee": ["docket:judge", "docket:appeal"], "high/hal": ["docket:appeal"], "town/anna": [],
    "bench/bea": ["docket:judge", "docket:appeal"], "bench/bob": ["docket:judge", "docket:appeal"],
}  # fmt: skip
INVOICES = ("i-1", "i-2")
WEIGHTS = {
    "dispute": 5, "speak": 2, "decide": 7, "appeal": 5, "withdraw": 1, "close": 5, "freeze": 2, "freeze_money": 3,
    "release": 1, "pay": 2,
}  # fmt: skip
SEEDS, STEPS = 4, 60
CASH, MANDATE, OWED, APPEAL_DAYS = 5_000, 4_000, 1_000, 5


@dataclass
class Frozen:
    """What the diary says of a freeze."""

    case: int
    subject: str
    amount: int | None
    until: int
    money: bool = False
    over: bool = False
    gone: bool = False
    """Whether money holds it no longer."""
    paid: int = 0

    def counts(self, now: int) -> bool:
        return not self.over and now < self.until


@dataclass
class Story:
    """What the diary says of a case."""

    invoice: str
    opener: str
    respondent: str
    appealable: bool
    said: list[tuple[str, str]] = field(default_factory=list)
    """(what, who) in order."""
    award: int = 0
    until: int = 0
    end: str = ""

    def count(self, what: str) -> int:
        return len([one for one, _who in self.said if one == what])

    @property
    def state(self) -> str:
        if self.end:
            return self.end
        return ("open", "decided", "appealed", "decided")[self.count("decision") + self.count("appeal")]

    @property
    def running(self) -> bool:
        return self.state in ("open", "appealed")


class Auditor:
    """The diary."""

    def __init__(self) -> None:
        self.stories: dict[int, Story] = {}
        self.freezes: dict[int, Frozen] = {}
        self.owed = dict.fromkeys(INVOICES, OWED)
        self.cash = {"anna": CASH, "mill": 0}
        self.mandate = MANDATE

    def live(self, now: int, subject: str) -> list[Frozen]:
        return [one for one in self.freezes.values() if one.subject == subject and one.counts(now)]

    def amount(self, now: int, subject: str) -> int:
        return sum(one.amount or 0 for one in self.live(now, subject))

    def of(self, case: int) -> list[Frozen]:
        return [one for one in self.freezes.values() if one.case == case]

    def free(self, now: int, invoice: str) -> int:
        live = self.live(now, invoice)
        return 0 if any(one.amount is None for one in live) else max(self.owed[invoice] - self.amount(now, invoice), 0)

    def held(self) -> int:
        """What money still holds: what runs out of time is held until somebody has it expire."""
        return sum(one.amount or 0 for one in self.freezes.values() if one.money and not one.gone)

    def decision(self, now: int, case: int, who: str, award: int, outcome: str) -> str:
        story = self.stories[case]
        home, name = who.split("/")
        needed = "docket:judge" if story.state == "open" else "docket:appeal"
        frozen = sum(one.amount or 0 for one in self.of(case) if one.money and one.counts(now))
        return first(
            (not story.running, "cases.wrong_state"),
            (name == story.opener.split("/")[1] or name in [one for _what, one in story.said], "cases.has_part"),
            (home in (story.respondent, story.opener.split("/")[0]), "cases.own_organisation"),
            (needed not in PEOPLE[who], "cases.permission_missing"),
            (award > frozen or (award > 0 and outcome == "rejected"), "cases.award_too_large"),
        )


def first(*checks: tuple[bool, str]) -> str:
    return next((code for holds, code in checks if holds), "")


class Play:
    """A workload on a ledger, with the auditor beside it."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.book = Auditor()
        self.codes: dict[str, int] = {}
        self.ledger = TestLedger(Docket, actors={**PEOPLE, "bank/teller": ["money:issuer", "money:treasurer"]})
        teller, anna = self.ledger.actor("bank/teller").money, self.ledger.actor("town/anna")
        with self.ledger.block() as receipts:
            teller.open_ledger("eur", "EUR")
            teller.open_account("issue", "eur", "organisation", "bank", "none")
            teller.open_account("anna", "eur", "party", "anna")
            teller.open_account("mill", "eur", "organisation", "mill")
            teller.transfer("cash", "issue", "anna", CASH, "cash")
            anna.money.give_mandate("anna", "cases", MANDATE, self.ledger.now + 390 * DAY_MS)
            for invoice in INVOICES:
                anna.docket.enter(invoice, "mill", OWED)
        assert [one.code for one in receipts] == [""] * 8

    def call(self, expected: str, who: str, command: str, **arguments: Any) -> Any:
        """Run a call in a block of its own; its result, or None where it was refused as expected."""
        actor = self.ledger.actor(who)
        receipt = self.ledger.cut([self.ledger.sign(actor, [(command, (), arguments)])])[0]
        assert receipt.code == expected, (command, arguments, who, dict(receipt.fields))
        self.codes[f"{command} {receipt.code}"] = self.codes.get(f"{command} {receipt.code}", 0) + 1
        return receipt.results[0] if receipt.outcome == Outcome.APPLIED else None

    @property
    def now(self) -> int:
        """The time of the next block."""
        return self.ledger.now

    def anybody(self) -> str:
        return self.source.choice(sorted(PEOPLE))

    def step(self) -> None:
        what = self.source.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if not self.book.stories:
            what = "dispute"
        getattr(self, what)()
        draw = self.source.random()
        self.ledger.advance(seconds=self.source.randrange(60), days=0 if draw < 0.7 else self.source.randrange(1, 7))

    def a_case(self, *states: str) -> int:
        """The number of a case, mostly in one of the states."""
        fitting = [number for number, one in self.book.stories.items() if one.state in states]
        if fitting and self.source.random() < 0.85:
            return self.source.choice(fitting)
        return self.source.choice(sorted(self.book.stories))

    def until(self) -> int:
        return self.now + self.source.choice((0, 1, 3, 30, 30, 100, 400)) * DAY_MS

    # calls

    def dispute(self) -> None:
        invoice, opener = self.source.choice(INVOICES), self.source.choice(("mill/mia", "mill/mo", "town/anna"))
        respondent = self.source.choice(("shop", "court"))
        appealable = self.source.random() < 0.7
        amount = self.source.choice((None, 10, 300))
        until = self.until() if self.source.random() < 0.6 else None
        number = self.call(
            first((until is not None and until <= self.now, "cases.time_out_of_range")), opener, "docket.dispute",
            reference=f"r-{self.source.randrange(10**9)}", invoice=invoice, respondent=respondent, frozen_minor=amount,
            until=until, appeal_decider="docket:appeal" if appealable else None,
            appeal_days=APPEAL_DAYS if appealable else 0,
        )  # fmt: skip
        if number is not None:
            self.book.stories[number] = Story(invoice, opener, respondent, appealable)
            if until is not None:
                self.froze(number, invoice, amount, until)

    def froze(self, case: int, subject: str, amount: int | None, until: int, *, money: bool = False) -> None:
        number = len(self.book.freezes) + 1
        self.book.freezes[number] = Frozen(case, subject, amount, until, money)

    def speak(self) -> None:
        number, who = self.a_case("open", "appealed"), self.anybody()
        story = self.book.stories[number]
        side = who.split("/")[0] in (story.opener.split("/")[0], story.respondent)
        expected = first((not story.running, "cases.wrong_state"), (not side, "cases.not_a_party"))
        self.call(expected, who, "cases.speak", case=number, text="So it was.")
        if not expected:
            story.said.append(("statement", who.split("/")[1]))

    def decide(self) -> None:
        number = self.a_case("open", "appealed")
        who = self.anybody()
        frozen = sum(one.amount or 0 for one in self.book.of(number) if one.money and one.counts(self.now))
        award = self.source.choice((0, frozen, frozen, frozen // 2, frozen + 1))
        outcome = self.source.choice(("upheld", "upheld", "partly_upheld", "rejected"))
        able = [one for one in sorted(PEOPLE) if not self.book.decision(self.now, number, one, award, outcome)]
        if able and self.source.random() < 0.7:
            who = self.source.choice(able)
        expected = self.book.decision(self.now, number, who, award, outcome)
        at = self.now
        self.call(
            expected, who, "cases.decide", case=number, outcome=outcome, finding="seen", statement="", document=None,
            award_minor=award,
        )  # fmt: skip
        if not expected:
            story = self.book.stories[number]
            story.said.append(("decision", who.split("/")[1]))
            story.award = award
            story.until = at + APPEAL_DAYS * DAY_MS if story.appealable and story.count("decision") == 1 else 0

    def appeal(self) -> None:
        number = self.a_case("decided")
        story = self.book.stories[number]
        who = self.source.choice((story.opener, self.anybody()))
        side = who.split("/")[0] in (story.opener.split("/")[0], story.respondent)
        expected = first(
            (story.state != "decided", "cases.wrong_state"),
            (not story.until, "cases.no_appeal"),
            (self.now >= story.until, "cases.appeal_time_over"),
            (not side, "cases.not_a_party"),
        )
        self.call(expected, who, "cases.appeal", case=number, reason="wrong", statement="")
        if not expected:
            story.said.append(("appeal", who.split("/")[1]))
            story.until = 0

    def over(self, number: int, award: int, end: str) -> int:
        """Note the end of a case; what was paid."""
        paid = 0
        for one in self.book.of(number):
            if not one.over:
                if one.money and one.counts(self.now):
                    one.paid, one.gone = min(award - paid, one.amount or 0), True
                    paid += one.paid
                one.over = True
        self.book.cash["anna"] -= paid
        self.book.cash["mill"] += paid
        self.book.stories[number].end = end
        return paid

    def expire_money(self) -> None:
        """Anybody has what money holds beyond its time expire."""
        for one in self.book.freezes.values():
            one.gone = one.gone or (one.money and one.until <= self.now)
        self.ledger.actor("mill/mo").money.expire_holds()

    def withdraw(self) -> None:
        number = self.a_case("open")
        story = self.book.stories[number]
        who = self.source.choice((story.opener, self.anybody()))
        expected = first((who != story.opener, "cases.not_the_opener"), (story.state != "open", "cases.wrong_state"))
        self.call(expected, who, "docket.withdraw", case=number)
        if not expected:
            self.ledger.now_ns -= 10**9
            self.over(number, 0, "withdrawn")
            self.ledger.now_ns += 10**9
            self.expire_money()

    def close(self) -> None:
        number = self.a_case("decided")
        story = self.book.stories[number]
        expected = first(
            (story.state != "decided", "cases.wrong_state"),
            (self.now < story.until, "cases.appeal_time_not_over"),
        )
        paid = self.call(expected, self.anybody(), "docket.close", case=number)
        if not expected:
            self.ledger.now_ns -= 10**9
            assert paid == self.over(number, story.award, "closed")
            self.ledger.now_ns += 10**9
            self.expire_money()

    def freeze(self) -> None:
        number, invoice = self.a_case("open", "appealed"), self.source.choice(INVOICES)
        until, amount = self.until(), self.source.choice((None, 5, 50))
        expected = first(
            (not self.book.stories[number].running, "cases.wrong_state"),
            (len(self.book.of(number)) >= 16, "cases.too_many"),
            (until <= self.now, "cases.time_out_of_range"),
        )
        who = self.source.choice(("mill/mia", "mill/mo", self.anybody()))
        self.call(expected, who, "docket.freeze", case=number, invoice=invoice, amount_minor=amount, until=until)
        if not expected:
            self.froze(number, invoice, amount, until)
            self.book.stories[number].said.append(("freeze", who.split("/")[1]))

    def freeze_money(self) -> None:
        number, until = self.a_case("open", "appealed"), self.until()
        amount = self.source.choice((1, 200, 600, 10**6))
        story, who = self.book.stories[number], self.source.choice(("mill/mo", "town/anna", "court/dan"))
        name = who.split("/")[1]
        expected = first(
            (not story.running, "cases.wrong_state"),
            (("decision", name) in story.said, "cases.has_part"),
            (len(self.book.of(number)) >= 16, "cases.too_many"),
            (until <= self.now, "cases.time_out_of_range"),
            (amount > self.book.cash["anna"] - self.book.held(), "money.overdrawn"),
            (amount > self.book.mandate, "money.mandate_exceeded"),
        )
        self.call(
            expected, who, "docket.freeze_money", case=number, account="anna", into="mill", amount_minor=amount,
            until=until,
        )  # fmt: skip
        if not expected:
            self.froze(number, "anna", amount, until, money=True)
            self.book.mandate -= amount
            story.said.append(("freeze", name))

    def release(self) -> None:
        if self.book.freezes:
            number = self.source.choice(sorted(self.book.freezes))
            one = self.book.freezes[number]
            expected = first((one.over, "cases.already_released"))
            in_time = one.counts(self.now)
            self.call(expected, self.anybody(), "docket.release", freeze=number)
            one.over, one.gone = True, one.gone or (one.money and in_time)
            self.expire_money()

    def pay(self) -> None:
        invoice, amount = self.source.choice(INVOICES), self.source.choice((1, 5, 20, 500))
        expected = first((amount > self.book.free(self.now, invoice), "docket.invoice_frozen"))
        self.call(expected, self.anybody(), "docket.pay", invoice=invoice, amount_minor=amount)
        if not expected:
            self.book.owed[invoice] -= amount

    # comparing

    def look(self) -> None:
        self.ledger.cut([])
        now = self.ledger.now - 1_000
        ask = self.ledger.query
        for invoice in INVOICES:
            live = self.book.live(now, invoice)
            assert ask("cases.frozen", "docket", "invoices", invoice) == any(one.amount is None for one in live)
            assert ask("cases.frozen_minor", "docket", "invoices", invoice) == self.book.amount(now, invoice)
            running = [n for n, one in self.book.stories.items() if one.invoice == invoice and not one.end]
            assert ask("cases.running_cases", "docket", "invoices", invoice) == tuple(running)
        assert ask("cases.frozen_minor", "money", "accounts", "anna") == self.book.amount(now, "anna")
        for account, cash in self.book.cash.items():
            assert ask("money.balance", account) == cash
        assert ask("money.available", "anna") == self.book.cash["anna"] - self.book.held()
        for number, story in self.book.stories.items():
            assert ask("cases.status", number) == story.state
            final = bool(story.end) or (story.state == "decided" and now >= story.until)
            assert ask("cases.is_final", number) == final


def test_a_workload_of_cases_agrees_with_the_auditors_diary_and_reaches_what_the_laws_are_about():
    codes: dict[str, int] = {}
    for seed in range(SEEDS):
        play = Play(seed)
        for number in range(STEPS):
            play.step()
            if number % 3 == 0 or number == STEPS - 1:
                play.look()
        rows = play.ledger.rows("cases.freezes")
        assert [(row.case, row.subject, row.amount_minor, row.paid_minor) for row in rows] == [
            (one.case, one.subject, one.amount, one.paid) for one in play.book.freezes.values()
        ]
        assert sum(row.paid_minor for row in rows) == play.book.cash["mill"]
        for row in rows:
            assert row.released_at is not None or not play.book.stories[row.case].end
        for code, count in play.codes.items():
            codes[code] = codes.get(code, 0) + count
    for wanted in (
        "docket.close ", "docket.withdraw ", "cases.decide ", "cases.appeal ", "docket.freeze_money ", "docket.pay ",
        "docket.pay docket.invoice_frozen", "cases.decide cases.has_part", "cases.decide cases.own_organisation",
        "cases.decide cases.award_too_large", "cases.appeal cases.appeal_time_over",
        "docket.close cases.appeal_time_not_over",
    ):  # fmt: skip
        assert codes.get(wanted, 0) > 0, (wanted, codes)
