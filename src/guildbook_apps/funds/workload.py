"""Seeded commands for supervised funds: good ones, bad ones, a bank that says all sorts of things, and time passing.

A workload reads the auditor's book to choose commands that mostly make sense (approve what waits, book what was sent),
and spoils a part of them (a stranger signs, a number that nobody drew, another amount). It does not say which will be
refused: the auditor foretells that for each command, and is compared with the ledger. The same seed gives the same
commands as long as the ledger answers the same.
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guildbook.contract import digest_of
from guildbook.primitives.hashing import tagged
from guildbook.testing import TestLedger
from guildbook_apps.funds.auditor import GIVEN, ON_ITS_WAY, Auditor, BookItem, BookRequest, Signer
from guildbook_apps.funds.contract import DAY_MS, Funds

AUTHORITY, HERON, OTTER, BANK, WATCH = ("juniper-province", "heron-county", "otter-county", "lantern-bank",
                                        "court-of-accounts")
"""None of these organisations exists."""
HOUSEHOLDS = 8
LARGE_MINOR = 10_000_000
STRANGER = "nobody-in-particular/passer-by"
FEED = f"{BANK}/feed"
YEAR_MS = 365 * DAY_MS
Entry = list[Any]


def cast() -> dict[str, list[str]]:
    """Everyone who signs in a workload, "organisation/party" -> permissions, as ``TestLedger`` takes them."""
    def roles(*names: str) -> list[str]:
        return [f"funds:{name}" for name in names]

    actors = {
        f"{AUTHORITY}/steward": [*roles("administrator", "treasurer"), "approvals:policymaker"],
        f"{AUTHORITY}/second": [*roles("treasurer"), "approvals:policymaker"],
        **{f"{AUTHORITY}/council-{number}": roles("budget") for number in range(3)},
        f"{AUTHORITY}/reviewer-0": roles("reviewer"), f"{AUTHORITY}/reviewer-1": roles("reviewer"),
        f"{AUTHORITY}/approver": roles("approver"),
        f"{AUTHORITY}/releaser-0": roles("releaser", "resolver"),
        f"{AUTHORITY}/releaser-1": roles("releaser", "reviewer", "witness", "resolver"),
        FEED: [], f"{BANK}/clerk-of-the-bank": [],
        f"{WATCH}/supervisor": roles("supervisor"),
        f"{WATCH}/auditor-0": roles("auditor"), f"{WATCH}/auditor-1": roles("auditor"),
        STRANGER: [],
    }
    for county in (HERON, OTTER):
        short = county.partition("-")[0]
        actors[f"{county}/clerk-{short}"] = roles("clerk", "treasurer", "auditor")
        actors[f"{county}/officer-{short}"] = roles("officer", "clerk", "treasurer", "reviewer", "resolver")
        actors[f"{county}/registrar-{short}"] = roles("registrar")
        actors[f"{county}/witness-{short}"] = roles("witness", "registrar")
    for number in range(HOUSEHOLDS):
        actors[f"households/home-{number}"] = []
    return actors


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: who signs ("organisation/party"), its name (``funds.submit``), and its arguments by name."""

    actor: str
    name: str
    arguments: dict[str, Any]


def digest(*text: object) -> bytes:
    """A digest that stands for something outside of the ledger."""
    return tagged("funds-workload", " ".join(str(one) for one in text).encode())


def policies() -> Iterator[Command]:
    """Movements by two of the council, requests by a reviewer, and large ones by an approver too."""
    terms: tuple[tuple[str, list[list[Any]], bool], ...] = (
        ("budget", [["council", "funds:budget", 2, "owners", "persons", 0, None]], True),
        ("request", [["review", "funds:reviewer", 1, "anywhere", "persons", 0, None],
                     ["approve", "funds:approver", 1, "anywhere", "persons", LARGE_MINOR, None]], False))
    for name, stages, direct in terms:
        yield Command(f"{AUTHORITY}/steward", "approvals.publish_policy", {
            "policy": name, "stages": stages, "life_ms": 20 * DAY_MS, "currency": "CNY", "direct": direct,
            "executor": "not_proposer"})
        yield Command(f"{AUTHORITY}/second", "approvals.confirm_policy", {"policy": name, "version": 1})


def programme(name: str, root: str, currency: str, now: int) -> Command:
    """The registration of a programme of the authority."""
    return Command(f"{AUTHORITY}/steward", "funds.register_programme", {
        "programme": name, "supervisor": WATCH, "bank": BANK, "currency": currency, "debtor": digest("debtor", name),
        "budget_policy": "budget", "request_policy": "request", "pay_first_minor": 500_000,
        "regularise_ms": 3 * DAY_MS, "root": root, "purpose": "housing", "level": "province",
        "lapses_at": now + 3 * YEAR_MS, "calendar": None})


def line(name: str, parent: str, organisation: str, level: str, purpose: str, lapses_at: int) -> Command:
    """The opening of a line, by whoever spends its parent."""
    actor = f"{AUTHORITY}/second" if level == "county" else _clerk(organisation)
    return Command(actor, "funds.open_line", {"line": name, "parent": parent, "organisation": organisation,
                                              "level": level, "purpose": purpose, "lapses_at": lapses_at})


def enrolment(number: int, short: str = "heron", programme_id: str = "roofs") -> list[Command]:
    """A household, enrolled by one and verified by another; every other one confirms receipt itself."""
    county = HERON if short == "heron" else OTTER
    account = digest("account", number if number % 5 else 1)
    controller = None if number % 2 else f"home-{number % HOUSEHOLDS}"
    return [
        Command(f"{county}/registrar-{short}", "funds.enrol", {
            "payee": f"p{number}", "programme": programme_id, "identity": digest("identity", number),
            "account": account, "controller": controller}),
        Command(f"{county}/witness-{short}", "funds.verify", {
            "payee": f"p{number}", "account": account, "credential": digest("credential", number)}),
        Command(f"{county}/registrar-{short}", "funds.entitle", {
            "payee": f"p{number}", "cycle": "2026", "purpose": "housing", "granted_minor": 15_000_000}),
    ]


def opening(now: int, payees: int) -> Iterator[Command]:
    """The commands that found the programmes, with their lines, some money, payees and works."""
    yield from policies()
    yield programme("roofs", "roofs/province", "CNY", now)
    yield programme("wells", "wells/province", "EUR", now)
    for one in ("roofs", "wells"):
        yield Command(f"{AUTHORITY}/steward", "funds.admit_deliverer", {
            "programme": one, "party": "feed", "public_key": None})
    for county in (HERON, OTTER):
        short = county.partition("-")[0]
        yield line(f"roofs/{short}", "roofs/province", county, "county", "housing", now + YEAR_MS)
        for project, days in (("school", 300), ("bridge", 40)):
            yield line(f"roofs/{short}/{project}", f"roofs/{short}", county, "project",
                       "housing" if project == "school" else "roads", now + days * DAY_MS)
    for number, (source, target, amount) in enumerate([
            (None, "roofs/province", 300_000_000), ("roofs/province", "roofs/heron", 60_000_000),
            ("roofs/province", "roofs/otter", 60_000_000), ("roofs/heron", "roofs/heron/school", 9_000_000)], 1):
        yield from movement(number, source, target, amount)
    for number in range(payees):
        yield from enrolment(number, "heron" if number % 3 else "otter")
    yield from enrolment(99, programme_id="wells")
    for short, number in (("heron", 1), ("otter", 3)):
        yield works(f"works-{short}", short, f"p{number}", 6_000_000, 1_500_000, 50)


def movement(number: int, source: str | None, target: str, amount: int) -> Iterator[Command]:
    """A movement of money, proposed, approved by two and made; ``number`` is that of its proposal."""
    actor = _clerk(HERON) if source == "roofs/heron" else f"{AUTHORITY}/steward"
    terms = {"kind": "appropriate" if source is None else "allocate", "source": source, "target": target,
             "amount_minor": amount, "basis": digest("act of", number)}
    yield Command(actor, "funds.propose_movement", {"reference": f"opening-{number}", **terms})
    for voter in range(2):
        yield Command(f"{AUTHORITY}/council-{voter}", "approvals.approve", {
            "proposal": number, "stage": "council", "payload": digest_of("funds.movement", *terms.values())})
    mover = f"{HERON}/officer-heron" if source == "roofs/heron" else f"{AUTHORITY}/second"
    yield Command(mover, "funds.move", {"proposal": number, **terms})


def works(name: str, short: str, payee: str, value: int, advance: int, per_mille: int) -> Command:
    """The registration of works on a county's line."""
    return Command(_clerk(HERON if short == "heron" else OTTER), "funds.register_works", {
        "works": name, "line": f"roofs/{short}", "payee": payee, "document": digest("contract", name),
        "value_minor": value, "advance_minor": advance, "retention_per_mille": per_mille})


def _clerk(organisation: str) -> str:
    if organisation == AUTHORITY:
        return f"{AUTHORITY}/steward"
    return f"{organisation}/clerk-{organisation.partition('-')[0]}"


class Workload:
    """Draws commands from a repeatable ``source``; ``book`` is the auditor that watches the same ledger."""

    def __init__(self, source: random.Random, book: Auditor) -> None:
        self.random = source
        self.book = book
        self.drawn = 0
        self.movements: dict[bytes, dict[str, Any]] = {}
        self.delivered: list[Command] = []
        self.submitted: list[Command] = []
        self.rejections: list[Command] = []

    def pause_ms(self) -> int:
        """How long to wait before the next block: mostly minutes, at times days or weeks."""
        draw = self.random.random()
        if draw < 0.9:
            return self.random.randrange(0, 3_600_000)
        return self.random.randrange(4 * DAY_MS) if draw < 0.985 else self.random.randrange(25 * DAY_MS)

    def command(self, now: int) -> Command:
        """The next command at about ``now``, in about one case of ten spoilt on purpose."""
        self.drawn += 1
        while True:
            name = self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            command: Command | None = getattr(self, f"_{name}")(now)
            if command is not None:
                return self._spoilt(command) if self.random.random() < 0.1 else command

    def _spoilt(self, command: Command) -> Command:
        arguments = dict(command.arguments)
        names = [one for one in ("programme", "line", "payee", "about", "target", "batch") if arguments.get(one)]
        numbers = [one for one in ("request", "amount_minor", "gross_minor", "confirmed_minor", "granted_minor",
                                   "proposal", "message", "position") if arguments.get(one)]
        digests = [one for one in ("payload", "account") if arguments.get(one)]
        kind = self.random.randrange(4)
        if kind == 0 and numbers:
            arguments[self._any(numbers)] = self._any([1, 10**6, 10**15 + 1])
        elif kind == 1 and names:
            arguments[self._any(names)] = self._any(["not-there", "roofs/province", "p99", "wells"])
        elif kind == 2 and digests:
            arguments[self._any(digests)] = digest("another")
        else:
            return dataclasses.replace(command, actor=self._any(list(cast())))
        return dataclasses.replace(command, arguments=arguments)

    def _any(self, choices: Sequence[Any]) -> Any:
        return choices[self.random.randrange(len(choices))]

    def _one(self, choices: Sequence[Any]) -> Any | None:
        return self._any(choices) if choices else None

    def _where(self, *stages: str) -> list[BookRequest]:
        return [one for one in self.book.requests.values() if one.stage in stages]

    # The budget

    def _propose_movement(self, now: int) -> Command:
        draw = self.random.random()
        source: str | None = None
        if draw < 0.3:
            kind, target, actor = "appropriate", "roofs/province", f"{AUTHORITY}/steward"
        else:
            names = [name for name in self.book.lines if name.startswith("roofs/")]
            low = self._any([name for name in names if self.book.lines[name].parent is not None])
            high = str(self.book.lines[low].parent)
            kind = self._any(["allocate", "allocate", "allocate", "withdraw", "reappropriate"])
            source, target = (low, high) if kind == "withdraw" else (high, low)
            if kind == "reappropriate":
                source, target = self._any(names), self._any(names)
            owner = AUTHORITY if kind == "reappropriate" else self.book.lines[high].organisation
            actor = _clerk(owner)
        del now
        free = 0 if source is None else self.book.lines[source].money["free"]
        amount = self._any([30_000_000, 30_000_000, 1]) if source is None else self._any(
            [max(1, free // 3), max(1, free // 5), max(1, free // 9), free + 1])
        terms = {"kind": kind, "source": source, "target": target, "amount_minor": amount,
                 "basis": digest("act", self.drawn)}
        self.movements[digest_of("funds.movement", *terms.values())] = terms
        reference = f"m{self.random.randrange(self.drawn) if self.random.random() < 0.05 else self.drawn}"
        return Command(actor, "funds.propose_movement", {"reference": reference, **terms})

    def _vote(self, _now: int) -> Command | None:
        waiting = [number for number, one in self.book.proposals.items()
                   if one.state == "open" and one.payload in self.movements]
        number = self._one(waiting)
        if number is None:
            return None
        payload = self.book.proposals[number].payload
        actor = f"{AUTHORITY}/council-{self.random.randrange(3)}"
        if self.random.random() < 0.05:
            return Command(actor, "approvals.reject", {"proposal": number, "stage": "council", "payload": payload,
                                                       "reason": "not-now"})
        return Command(actor, "approvals.approve", {"proposal": number, "stage": "council", "payload": payload})

    def _move(self, _now: int) -> Command | None:
        ready = [number for number, one in self.book.proposals.items()
                 if one.state == "ready" and one.payload in self.movements]
        number = self._one(ready)
        if number is None:
            return None
        terms = self.movements[self.book.proposals[number].payload]
        if self.random.random() < 0.05:
            terms = {**terms, "amount_minor": 1}
        source, target = terms["source"], terms["target"]
        high = source if terms["kind"] == "allocate" else target
        owner = self.book.lines[high].organisation if terms["kind"] in ("allocate", "withdraw") else AUTHORITY
        actor = f"{AUTHORITY}/second"
        if owner != AUTHORITY:
            actor = f"{owner}/officer-{owner.partition('-')[0]}"
        return Command(actor, "funds.move", {"proposal": number, **terms})

    def _lapse(self, now: int) -> Command:
        late = [name for name, one in self.book.lines.items() if now >= one.lapses_at]
        return Command(STRANGER, "funds.lapse", {"line": self._one(late) or self._any(list(self.book.lines))})

    def _open_line(self, now: int) -> Command:
        short = self._any(["heron", "otter"])
        county = HERON if short == "heron" else OTTER
        return line(f"roofs/{short}/{self._any(['lane', 'bank', 'school', 'paid', 'x' * 45])}-{self.drawn % 9}",
                    f"roofs/{short}", county, "project", self._any(["housing", "roads"]),
                    now + self._any([5, 60, 200, 2_000]) * DAY_MS)

    def _register_programme(self, now: int) -> Command:
        name = self._any(["roofs", "wells", "x" * 60, f"more-{self.drawn}"])
        return programme(name, f"root-{self.drawn}", "CNY", now)

    def _set_line_status(self, _now: int) -> Command:
        suspended = [name for name, one in self.book.lines.items() if one.status == "suspended"]
        if suspended and self.random.random() < 0.8:
            name, status = self._any(suspended), "open"
        else:
            name, status = self._any(list(self.book.lines)), self._any(["suspended", "open"])
        return Command(f"{WATCH}/supervisor", "funds.set_line_status", {"line": name, "status": status,
                                                                        "reason": "a look"})

    def _admission(self, _now: int) -> Command:
        name = self._any(["admit_deliverer", "admit_deliverer", "dismiss_deliverer"])
        party = self._any(["clerk-of-the-bank", "clerk-of-the-bank", "steward"])
        arguments: dict[str, Any] = {"programme": "roofs", "party": party}
        if name == "admit_deliverer":
            arguments["public_key"] = None
        return Command(f"{AUTHORITY}/steward", f"funds.{name}", arguments)

    # Payees

    def _payee(self) -> str:
        return str(self._any(list(self.book.payees)))

    def _registrar(self) -> str:
        short = self._any(["heron", "otter"])
        return f"{short}-county/{self._any(['registrar', 'witness'])}-{short}"

    def _enrol(self, _now: int) -> Command:
        steps = enrolment(len(self.book.payees) + self._any([0, 1, -3]), self._any(["heron", "otter"]))
        command = steps[self.random.randrange(len(steps))]
        if command.name == "funds.enrol" and self.random.random() < 0.2:
            return dataclasses.replace(command, arguments={**command.arguments, "payee": f"p-again-{self.drawn}"})
        return command

    def _registry(self, _now: int) -> Command:
        name = self._any(["change_account", *["verify"] * 6, "block", "unblock"])
        wanted = {"unblock": "blocked", "verify": "enrolled"}.get(name)
        payee = self._one([one for one, row in self.book.payees.items() if row.status == wanted]) or self._payee()
        arguments: dict[str, Any] = {"payee": payee}
        if name == "change_account":
            arguments["account"] = digest("account", self.random.randrange(30))
        elif name == "verify":
            arguments |= {"account": self.book.payees[payee].account, "credential": digest("seen")}
        elif name == "block" and self.random.random() < 0.7:
            return Command(self._registrar(), "funds.unblock", arguments)
        return Command(self._registrar(), f"funds.{name}", arguments)

    def _entitle(self, _now: int) -> Command:
        payee = self._payee()
        return Command(self._registrar(), "funds.entitle", {
            "payee": payee, "cycle": self._any(["2026", "2027", "food"]),
            "purpose": self._any(["housing", "housing", "food"]),
            "granted_minor": self._any([100_000, 15_000_000, 30_000_000, 10**15 + 1])})

    def _register_works(self, _now: int) -> Command:
        return works(f"works-{self.drawn % 7}", self._any(["heron", "otter"]), self._payee(),
                     self._any([999_999, 6_000_000]), self._any([0, 500_000, 999_999, 7_000_000]),
                     self._any([0, 50, 333, 1_000]))

    def _register_invoice(self, _now: int) -> Command:
        number = self.drawn % 12
        return Command(f"{HERON}/clerk-heron", "funds.register_invoice", {
            "invoice": f"inv-{number}", "payee": self._any(["p1", "p3", "p99", self._payee()]),
            "digest": digest("invoice", number), "face_minor": self._any([500_000, 2_000_000]),
            "fingerprints": [["number.payee", digest("print", number % 8)]]})

    # Requests

    def _terms(self) -> tuple[str, dict[str, Any]]:
        """Who would submit what: (unit, arguments of a submission without a reference)."""
        book = self.book
        short = self._any(["heron", "otter"])
        lines = [f"roofs/{short}"]
        kind = self._any(["benefit", "benefit", "claim", "claim", "advance", "retention"])
        payee, about, invoice = self._payee(), "2026", None
        gross = self._any([90_000, 100_001, 300_000, 400_000, 1_900_000, LARGE_MINOR])
        if kind != "benefit":
            about = str(self._any(list(book.works)))
            row, given = book.works[about], book.given(about)
            payee, lines = row.payee, [row.line]
            short = row.line.split("/")[1]
            left = {"advance": row.advance - given["advanced"] - given["advancing"],
                    "retention": given["retained"] + max(0, given["recovered"] - given["advanced"]) - given["released"],
                    "claim": row.value - given["claimed"]}[kind]
            gross = max(1, self._any([left, left // 2, left // 5, left // 9, left // 20, left + 1]))
            if kind == "claim" and self.random.random() < 0.5:
                invoice = self._one([name for name, one in book.invoices.items() if one["payee"] == payee])
        elif self.random.random() < 0.1:
            invoice = self._one(list(book.invoices))
        if self.random.random() < 0.3:
            lines += self._any([[f"roofs/{short}/school"], [f"roofs/{short}/school", f"roofs/{short}/bridge"],
                                ["roofs/otter/school"], [lines[0]], ["wells/province"]])
        shares = [[name, self._any([1, 1, 2, 10**6])] for name in lines]
        if self.random.random() < 0.02:
            shares = self._any([[], [[lines[0], 10**15 + 1]], [["not-there", 1]]])
        return short, {"kind": kind, "payee": payee, "about": about, "gross_minor": gross, "shares": shares,
                       "evidence": digest("evidence", self.drawn), "invoice": invoice}

    def _submit(self, _now: int) -> Command:
        if self.submitted and self.random.random() < 0.04:
            earlier = self.submitted[self.random.randrange(len(self.submitted))]
            changed = self._any([{}, {"gross_minor": 77}])
            return dataclasses.replace(earlier, arguments={**earlier.arguments, **changed})
        short, terms = self._terms()
        command = Command(_clerk(f"{short}-county"), "funds.submit", {"reference": f"s{self.drawn}", **terms})
        self.submitted.append(command)
        return command

    def _pay_first(self, _now: int) -> Command:
        short, terms = self._terms()
        terms["gross_minor"] = min(terms["gross_minor"], self._any([400_000, 400_000, 600_000]))
        return Command(f"{short}-county/officer-{short}", "funds.pay_first", {"reference": f"e{self.drawn}", **terms})

    def _waiting(self) -> BookRequest | None:
        return self._one([one for one in self.book.requests.values()
                          if self.book.proposals[one.proposal].state == "open"])

    def _approve(self, _now: int) -> Command | None:
        row = self._waiting()
        if row is None:
            return None
        stage = self.book.proposals[row.proposal].stages[0][0]
        actor = f"{AUTHORITY}/{'approver' if stage == 'approve' else self._any(['reviewer-0', 'reviewer-1'])}"
        if stage == "review" and self.random.random() < 0.1:
            actor = self._any([f"{AUTHORITY}/releaser-1", f"{HERON}/officer-heron"])
        return Command(actor, "funds.approve", {"request": row.number, "stage": stage,
                                                "payload": self.book.payload(row), "acting_for": None})

    def _reject(self, _now: int) -> Command | None:
        if self.rejections and self.random.random() < 0.3:
            return self.rejections[-1]
        row = self._waiting()
        if row is None:
            return None
        command = Command(f"{AUTHORITY}/reviewer-0", "funds.reject", {
            "request": row.number, "stage": "review", "payload": self.book.payload(row), "reason": "not-needed",
            "acting_for": None})
        self.rejections.append(command)
        return command

    def _some_request(self) -> int | None:
        return self._one(list(self.book.requests)[-40:])

    def _unit_of(self, number: int) -> str:
        return self.book.lines[self.book.requests[number].lines[0]].organisation

    def _cancel(self, _now: int) -> Command | None:
        chosen = self._one(self._where("submitted", "approved", "settled"))
        if chosen is None:
            return None
        actor = self._any([_clerk(self._unit_of(chosen.number)), _clerk(self._unit_of(chosen.number)), STRANGER])
        return Command(actor, "funds.cancel", {"request": chosen.number, "reason": "withdrawn"})

    def _late(self, now: int) -> Command | None:
        """What has to do with emergencies that were not approved."""
        late = [one.number for one in self.book.requests.values() if one.needs_approval]
        number = self._one(late) or self._some_request()
        if number is None:
            return None
        del now
        draw = self.random.random()
        if draw < 0.5:
            return Command(STRANGER, "funds.mark_overdue", {"request": number})
        if draw < 0.9:
            return Command(_clerk(self._unit_of(number)), "funds.propose_again", {"request": number})
        return Command(STRANGER, "funds.commit", {"request": number})

    # Paying

    def _release(self, now: int) -> Command | None:
        ready = [one for one in self._where("approved") if one.programme == "roofs"]
        if not ready:
            return None
        chosen = [one.number for one in self.random.sample(ready, min(len(ready), self._any([1, 2, 4])))]
        if self.random.random() < 0.05:
            chosen = self._any([[], [*chosen, chosen[0]], [*chosen, 10_000]])
        actor = f"{AUTHORITY}/{self._any(['releaser-0', 'releaser-1'])}"
        return Command(actor, "funds.release", {
            "batch": f"B{self._any([self.drawn, self.drawn, self.drawn, 1])}", "programme": "roofs", "requests": chosen,
            "execution_day": now // DAY_MS + self._any([0, 1, 1, 1, 400]), "file": digest("file", self.drawn)})

    def _entry(self, row: BookRequest, status: str) -> Entry:
        """What the bank says of a request: mostly right."""
        names = [["EndToEndId", f"F{row.number}"], ["UETR", row.uetr]]
        amount, currency, code, account = None, None, None, None
        if status == "BOOK":
            amount, currency, account = row.amount, "CNY", row.account
            names.append(["AcctSvcrRef", f"entry of {row.number}"])
        elif status == "RTRN":
            amount = self._any([row.amount - row.returned, max(1, row.amount // 3), 1]) or 1
            code = self._any(["AC04", "MS03", None])
            names.append(["AcctSvcrRef", f"return {self.random.randrange(4)} of {row.number}"])
        elif status == "RJCT":
            code = self._any(["AC01", "MS03", "AM05", None])
        draw = self.random.random()
        if draw < 0.04:
            amount = (amount or 0) + 1
        elif draw < 0.06:
            currency = "USD"
        elif draw < 0.09 and status == "BOOK":
            account = digest("stranger's account")
        elif draw < 0.12:
            names = names[:2]
        elif draw < 0.15:
            names[0] = ["EndToEndId", self._any(["NOTPROVIDED", "F999", f"F{self._some_request()}"])]
        elif draw < 0.17:
            names = [["EndToEndId", "NOTPROVIDED"]]
        elif draw < 0.19 and status == "BOOK":
            names[-1] = ["AcctSvcrRef", f"another entry {self.drawn}"]
        return [status, names, amount, currency, code, account, None]

    def _bank(self, _now: int) -> Command | None:
        """A message about payments on their way, or about anything."""
        if self.delivered and self.random.random() < 0.08:
            earlier = self.delivered[self.random.randrange(len(self.delivered))]
            changed = self._any([{}, {}, {"digest": digest("other bytes")}, {"part": 2}])
            return dataclasses.replace(earlier, arguments={**earlier.arguments, **changed})
        schema, statuses = self._any([
            ("pain.002", ["ACSP", "ACSP", "ACCP", "RJCT", "PDNG"]), ("camt.054", ["BOOK"]), ("camt.054", ["BOOK"]),
            ("camt.054", ["BOOK", "RTRN"]), ("camt.053", ["BOOK", "BOOK", "RTRN", "CRDT"]), ("pacs.004", ["RTRN"]),
            ("camt.029", ["CNCL", "RJCR", "PDCR"])])
        on_its_way = self._where(*ON_ITS_WAY)
        if schema == "camt.029":
            rows = [self.book.requests[number] for number in self.book.recalls]
        elif statuses == ["RTRN"]:
            rows = self._where(*GIVEN, "returned")[-12:]
        else:
            rows = on_its_way
        rows = rows or self._where(*GIVEN, *ON_ITS_WAY)
        if self.random.random() < 0.1:
            rows = list(self.book.requests.values())
        if not rows:
            return None
        chosen = self.random.sample(rows, min(len(rows), self._any([1, 2, 3])))
        entries = [self._entry(row, self._any(statuses)) for row in chosen]
        command = Command(self._any([FEED] * 9 + [f"{BANK}/clerk-of-the-bank"]), "funds.deliver", {
            "programme": "roofs", "schema": f"{schema}.001.08", "message_id": f"msg {self.drawn}",
            "digest": digest("message", self.drawn), "entries": entries, "part": 1})
        self.delivered.append(command)
        return command

    def _resolve(self, _now: int) -> Command | None:
        waiting: list[BookItem] = [one for one in self.book.items.values() if one.state in ("unmatched", "quarantined")]
        item = self._one(waiting)
        if item is None or self.random.random() < 0.05:
            item = self._one(list(self.book.items.values()))
        if item is None:
            return None
        about = [item.request, item.request, None, self._some_request()]
        actor = self._any([f"{AUTHORITY}/releaser-0", f"{AUTHORITY}/releaser-0", f"{AUTHORITY}/releaser-1",
                           f"{HERON}/officer-heron"])
        return Command(actor, "funds.resolve", {
            "message": item.message, "position": item.position + self._any([0] * 20 + [5]), "resolution": "looked",
            "note": "a person looked", "request": self._any(about)})

    def _recall(self, _now: int) -> Command | None:
        row = self._one(self._where(*ON_ITS_WAY, *GIVEN)) or self._one(list(self.book.requests.values()))
        return None if row is None else Command(f"{AUTHORITY}/releaser-0", "funds.recall", {
            "request": row.number, "reason": "CUST", "file": digest("recall", row.number)})

    # What came of it

    def _receipt(self, _now: int) -> Command | None:
        row = self._one(self._where("settled")) or self._one(self._where(*GIVEN))
        if row is None:
            return None
        controller = self.book.payees[row.payee].controller
        arguments = {"request": row.number, "confirmed_minor": self._any([row.amount, row.amount, 0, row.amount + 1]),
                     "complaint": self._any([None, None, "short"])}
        if controller is None or self.random.random() < 0.05:
            actor = self._any([f"{HERON}/witness-heron", f"{OTTER}/witness-otter", f"{AUTHORITY}/releaser-1"])
            return Command(actor, "funds.witness_receipt", arguments)
        return Command(f"households/{controller}", "funds.confirm_receipt", arguments)

    def _attach_usage(self, _now: int) -> Command | None:
        row = self._one(self._where(*GIVEN)) or self._one(list(self.book.requests.values()))
        return None if row is None else Command(_clerk(self._unit_of(row.number)), "funds.attach_usage", {
            "request": row.number, "kind": "photo", "evidence": digest("photo", self.drawn % 3)})

    def _finding(self, _now: int) -> Command | None:
        if self.book.findings and self.random.random() < 0.5:
            return Command(f"{WATCH}/auditor-{self.random.randrange(2)}", "funds.close_finding", {
                "finding": self._any([*self.book.findings, 99]), "answer": digest("answer")})
        number = self._some_request()
        actor = self._any([f"{WATCH}/auditor-0", f"{WATCH}/auditor-1", f"{HERON}/clerk-heron"])
        return None if number is None else Command(actor, "funds.raise_finding", {
            "request": number, "severity": "high", "statement": digest("statement", self.drawn)})


_WEIGHTS = {
    "propose_movement": 6, "vote": 12, "move": 6, "lapse": 1.5, "open_line": 0.7, "register_programme": 0.4,
    "set_line_status": 0.8, "admission": 0.6, "enrol": 1.5, "registry": 8, "entitle": 2, "register_works": 0.8,
    "register_invoice": 1, "submit": 16, "pay_first": 2.5, "approve": 18, "reject": 1.2, "cancel": 1, "late": 2,
    "release": 9, "bank": 22, "resolve": 4, "recall": 1.5, "receipt": 5, "attach_usage": 2, "finding": 1.5,
}


def found(*, payees: int = 9, check_invariants: bool = True) -> tuple[TestLedger, Auditor]:
    """A ledger in the process with the workload's programmes on it, and the auditor that watched them being founded."""
    ledger = TestLedger(Funds, actors=cast(), check_invariants=check_invariants)
    book = Auditor("test-net", {BANK: ["feed", "clerk-of-the-bank"]})
    for command in opening(ledger.now, payees):
        assert play(ledger, book, [command]) == [""], command
    return ledger, book


def play(ledger: TestLedger, book: Auditor, commands: Sequence[Command]) -> list[str]:
    """Run ``commands``, each a signed transaction, in one block under the auditor's eyes; returns their codes.

    Raises ``Difference`` when the ledger and the auditor disagree on an outcome, a result, an event, or afterwards on
    any row.
    """
    envelopes = [ledger.sign(ledger.actor(one.actor), [(one.name, (), one.arguments)]) for one in commands]
    receipts = ledger.cut(envelopes)
    for command, receipt in zip(commands, receipts, strict=True):
        assert receipt.code != "call.contract_fault", (command, ledger.faults[-1])
        book.observe(ledger.now_ns // 1_000_000, signer_of(command.actor, cast()), (command.name, command.arguments),
                     receipt)
    book.compare(ledger.rows)
    return [one.code for one in receipts]


def run(source: random.Random, *, blocks: int, commands_per_block: int = 8,
        payees: int = 9) -> tuple[TestLedger, Auditor]:
    """Found the programmes and play ``blocks`` blocks of commands drawn from ``source`` on them."""
    ledger, book = found(payees=payees)
    workload = Workload(source, book)
    for _block in range(blocks):
        ledger.advance(milliseconds=workload.pause_ms())
        play(ledger, book, [workload.command(ledger.now) for _command in range(commands_per_block)])
    return ledger, book


def signer_of(actor: str, actors: Mapping[str, Sequence[str]]) -> Signer:
    """The auditor's view of "organisation/party" with its permissions in ``actors``."""
    organisation, _slash, party = actor.partition("/")
    return Signer(party, organisation, frozenset(actors.get(actor, [])))
