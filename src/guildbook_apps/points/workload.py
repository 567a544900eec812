"""Seeded commands for a points alliance: good ones, bad ones, and time passing.

A workload reads the auditor's book to choose commands that mostly make sense (spend what is there, capture a hold
that lives), and spoils a part of them (a stranger signs, more is asked than there is, a number that nobody drew).
It does not say which will be refused: the auditor foretells that for each command, and is compared with the ledger.
The same seed gives the same commands as long as the ledger answers the same.
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guildbook.primitives.hashing import tagged
from guildbook.testing import TestLedger
from guildbook_apps.points.auditor import Auditor, BookHold, Signer
from guildbook_apps.points.contract import CAPITALS, DAY_MS, Points

OPERATOR = "harbour-alliance/steward"
RISK_OFFICER = "harbour-alliance/risk"
SUPERVISOR = "points-watch/inspector"
STRANGER = "nobody-in-particular/passer-by"
ISSUERS = {"crumbs": "kettle-and-crumb", "knots": "rope-and-anchor"}
"""Programme -> the organisation that issues it. None of these organisations exists."""
MERCHANTS = ("kettle-and-crumb", "rope-and-anchor", "paper-lantern")
CONTROLLERS = 6
MONTH_ENDS = 40


def cast() -> dict[str, list[str]]:
    """Everyone who signs in a workload, "organisation/party" -> permissions, as ``TestLedger`` takes them."""
    actors = {
        OPERATOR: ["points:operator"],
        RISK_OFFICER: ["points:approver"],
        SUPERVISOR: ["points:supervisor"],
        STRANGER: [],
    }
    for issuer in ISSUERS.values():
        actors[f"{issuer}/officer-{issuer}"] = ["points:issuer"]
        actors[f"{issuer}/second-{issuer}"] = ["points:approver", "points:issuer"]
    for merchant in MERCHANTS:
        actors[f"{merchant}/till-{merchant}"] = ["points:merchant"]
    for number in range(CONTROLLERS):
        actors[f"members/wallet-{number}"] = []
    return actors


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: who signs ("organisation/party"), its name, and its arguments by name."""

    actor: str
    name: str
    arguments: dict[str, Any]


def made_up_lei(prefix: str) -> str:
    """An identifier of the form of ISO 17442 with right check digits: ``prefix`` has 18 letters and digits."""
    remainder = int("".join(str(("0123456789" + CAPITALS).index(one)) for one in prefix + "00")) % 97
    return f"{prefix}{98 - remainder:02d}"


def terms(programme: str, now: int, **changes: Any) -> dict[str, Any]:
    """Arguments of ``publish_profile`` for a programme of the workload; ``changes`` replace some."""
    rolling = programme == "crumbs"
    return {
        "programme": programme, "effective_from": now, "issuer_lei": made_up_lei(f"0000MADEUP{programme.upper():0<8}"),
        "currency": "GBP", "nominal_numerator": 1, "nominal_denominator": 1, "earn_rule": "line-floor",
        "earn_rule_version": 1, "earn_units": 1, "earn_per_minor": 100, "pending_days": 0 if rolling else 3,
        "validity": "rolling_months" if rolling else "rolling_days", "validity_length": 2 if rolling else 45,
        "zone": "Etc/UTC",
        "period_ends": tuple(now + (month * 30 - 15) * DAY_MS for month in range(MONTH_ENDS)) if rolling else (),
        "transferable": True, "exchangeable": False, "scope": "partners", "reserve_numerator": 1,
        "reserve_denominator": 2, "terms": tagged("points-terms", programme.encode()), "notice_days": 5, **changes,
    }


def opening(now: int, members: int) -> Iterator[Command]:
    """The commands that found the alliance: programmes, terms, merchants, quotas under two hands, members."""
    for number, (programme, issuer) in enumerate(ISSUERS.items(), 1):
        officer = f"{issuer}/officer-{issuer}"
        yield Command(OPERATOR, "register_programme", {"programme": programme, "issuer": issuer,
                                                       "supervisor": "points-watch", "unit": programme.upper()})
        yield Command(officer, "publish_profile", terms(programme, now))
        for place, merchant in enumerate(MERCHANTS):
            if merchant != issuer:
                yield Command(officer, "admit_merchant", {"programme": programme, "merchant": merchant,
                                                          "price_numerator": 3 + place, "price_denominator": 4})
        yield Command(officer, "propose_quota", {"programme": programme, "units": 20_000, "reason": "opening"})
        yield Command(RISK_OFFICER, "approve_quota", {"proposal": number, "programme": programme, "units": 20_000})
    for number in range(members):
        yield Command(f"{ISSUERS['crumbs']}/officer-{ISSUERS['crumbs']}", "enrol",
                      {"member": f"m{number}", "controller": f"wallet-{number % CONTROLLERS}"})


class Workload:
    """Draws commands from a repeatable ``source``; ``book`` is the auditor that watches the same ledger."""

    def __init__(self, source: random.Random, book: Auditor) -> None:
        self.random = source
        self.book = book
        self.evidence = 0
        self.cursor = 0

    def pause_ms(self) -> int:
        """How long to wait before the next block: mostly seconds, at times days or weeks."""
        draw = self.random.random()
        if draw < 0.85:
            return self.random.randrange(0, 60_000)
        return self.random.randrange(DAY_MS) if draw < 0.95 else self.random.randrange(20 * DAY_MS)

    def command(self, now: int) -> Command:
        """The next command at about ``now``, in about one case of eight spoilt on purpose."""
        name = self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        command: Command = getattr(self, f"_{name}")(now)
        return self._spoilt(command) if self.random.random() < 0.12 else command

    def _spoilt(self, command: Command) -> Command:
        arguments = dict(command.arguments)
        kind = self.random.randrange(3)
        names = [one for one in ("programme", "member", "to_member", "merchant") if one in arguments]
        numbers = [one for one in ("units", "hold", "redemption", "proposal") if one in arguments]
        if kind == 0 and numbers:
            arguments[self.random.choice(numbers)] = self.random.choice([1, 10**6, 10**15])
        elif kind == 1 and names:
            arguments[self.random.choice(names)] = "not-there"
        else:
            return dataclasses.replace(command, actor=self._any([STRANGER, SUPERVISOR, RISK_OFFICER, *_TILLS]))
        return dataclasses.replace(command, arguments=arguments)

    def _any(self, choices: Sequence[Any]) -> Any:
        return choices[self.random.randrange(len(choices))]

    def _programme(self) -> str:
        return str(self._any(list(ISSUERS)))

    def _officer(self, programme: str) -> str:
        issuer = ISSUERS[programme]
        return f"{issuer}/{self._any(['officer', 'second'])}-{issuer}"

    def _member(self) -> str:
        return str(self._any(list(self.book.members)))

    def _wallet(self, member: str) -> str:
        return f"members/{self.book.members[member].controller}"

    def _owner(self, now: int, programme: str) -> str:
        """A member that most likely has something to spend."""
        for _attempt in range(4):
            member = self._member()
            if self.book.free(now, member, programme):
                return member
        return self._member()

    def _amount(self, now: int, member: str, programme: str) -> int:
        free = self.book.free(now, member, programme)
        return int(self._any([1, max(1, free // 3), max(1, free), free + 1]))

    def _issue(self, _now: int) -> Command:
        programme = self._programme()
        number = self.evidence
        if number and self.random.random() < 0.05:
            number = self.random.randrange(number)
        else:
            self.evidence += 1
        return Command(self._officer(programme), "issue", {
            "programme": programme, "member": self._member(), "units": self.random.randrange(1, 120),
            "evidence": tagged("points-workload", number.to_bytes(8, "big"))})

    def _transfer(self, now: int) -> Command:
        programme = self._programme()
        member = self._owner(now, programme)
        return Command(self._wallet(member), "transfer", {
            "programme": programme, "from_member": member, "to_member": self._member(),
            "units": self._amount(now, member, programme)})

    def _payment(self, now: int, name: str, **more: Any) -> Command:
        programme = self._programme()
        member = self._owner(now, programme)
        return Command(self._wallet(member), name, {
            "programme": programme, "member": member, "units": self._amount(now, member, programme),
            "merchant": self._any(MERCHANTS), "reference": f"till-{self.random.randrange(10**6)}", **more})

    def _redeem(self, now: int) -> Command:
        return self._payment(now, "redeem")

    def _hold(self, now: int) -> Command:
        return self._payment(now, "hold", ttl_ms=self._any([60_000, 3_600_000, DAY_MS, 7 * DAY_MS, 8 * DAY_MS]))

    def _held(self) -> tuple[int, BookHold] | None:
        return self._any(list(self.book.holds.items())) if self.book.holds else None

    def _capture(self, now: int) -> Command:
        found = self._held()
        if found is None:
            return self._hold(now)
        number, hold = found
        units = sum(part for _lot, part in hold.parts)
        return Command(f"{hold.merchant}/till-{hold.merchant}", "capture",
                       {"hold": number, "units": self._any([units, max(1, units // 2), 1, units + 1])})

    def _void(self, now: int) -> Command:
        found = self._held()
        if found is None:
            return self._hold(now)
        return Command(f"{found[1].merchant}/till-{found[1].merchant}", "void", {"hold": found[0]})

    def _void_due(self, _now: int) -> Command:
        return Command(STRANGER, "void_due", {})

    def _reverse_redemption(self, now: int) -> Command:
        if not self.book.redemptions:
            return self._redeem(now)
        number = self._any(list(self.book.redemptions)[-30:])
        merchant = self.book.redemptions[number].merchant
        return Command(f"{merchant}/till-{merchant}", "reverse_redemption", {"redemption": number})

    def _earned(self) -> bytes | None:
        return self._any(list(self.book.earnings)[-60:]) if self.book.earnings else None

    def _revoke_issue(self, now: int) -> Command:
        evidence = self._earned()
        if evidence is None:
            return self._issue(now)
        earning = self.book.earnings[evidence]
        return Command(self._officer(earning.programme), "revoke_issue", {
            "evidence": evidence, "units": self._any([earning.units, max(1, earning.units // 2), 1])})

    def _activate(self, now: int) -> Command:
        evidence = self._earned()
        if evidence is None:
            return self._issue(now)
        return Command(self._officer(self.book.earnings[evidence].programme), "activate", {"evidence": evidence})

    def _expire_due(self, _now: int) -> Command:
        return Command(STRANGER, "expire_due", {"lots_max": self._any([1, 5, 1_000, 1_001]), "after": self.cursor})

    def _set_member_status(self, _now: int) -> Command:
        member = self._member()
        frozen = [name for name, one in self.book.members.items() if one.status == "frozen"]
        status = self._any(["frozen", "active", "merged"])
        if frozen and self.random.random() < 0.7:
            member, status = self._any(frozen), "active"
        return Command(SUPERVISOR, "set_member_status", {"member": member, "status": status, "reason": "a look"})

    def _set_programme_status(self, _now: int) -> Command:
        programme = self._programme()
        status = "frozen" if self.book.programmes[programme].active and self.random.random() < 0.2 else "active"
        return Command(SUPERVISOR, "set_programme_status",
                       {"programme": programme, "status": status, "reason": "a look"})

    def _merge_members(self, _now: int) -> Command:
        gone = self._member()
        controller = self.book.members[gone].controller
        alike = [name for name, one in self.book.members.items() if one.controller == controller]
        return Command(f"members/{controller}", "merge_members", {"member": gone, "survivor": self._any(alike)})

    def _enrol(self, _now: int) -> Command:
        number = len(self.book.members)
        return Command(self._officer(self._programme()), "enrol", {
            "member": f"m{self._any([number, number, 0])}",
            "controller": f"wallet-{self.random.randrange(CONTROLLERS)}"})

    def _set_controller(self, _now: int) -> Command:
        member = self._member()
        return Command(self._wallet(member), "set_controller", {
            "member": member, "controller": f"wallet-{self.random.randrange(CONTROLLERS)}"})

    def _propose_quota(self, _now: int) -> Command:
        programme = self._programme()
        return Command(self._officer(programme), "propose_quota", {
            "programme": programme, "units": self._any([500, 5_000]), "reason": "the season"})

    def _approve_quota(self, now: int) -> Command:
        if not self.book.proposals:
            return self._propose_quota(now)
        number = self._any(list(self.book.proposals))
        asked = self.book.proposals[number]
        approver = self._any([RISK_OFFICER, RISK_OFFICER, self._officer(asked["programme"])])
        return Command(approver, "approve_quota", {
            "proposal": number, "programme": asked["programme"], "units": asked["units"]})

    def _publish_profile(self, now: int) -> Command:
        programme = self._programme()
        changes: dict[str, Any] = {"effective_from": now + self._any([0, 4, 6]) * DAY_MS}
        changes["transferable"] = self.random.random() < 0.8
        changes["scope"] = self._any(["issuer", "partners", "partners", "partners"])
        if programme == "knots":
            changes["validity_length"] = self._any([20, 45, 90])
        if self.random.random() < 0.2:
            changes.update(self._any([{"currency": "gbp"}, {"issuer_lei": "0" * 20}, {"period_ends": (5, 4)},
                                      {"currency": "EUR"}, {"validity_length": 0}]))
        return Command(self._officer(programme), "publish_profile", terms(programme, now, **changes))

    def _admit_merchant(self, _now: int) -> Command:
        programme = self._programme()
        return Command(self._officer(programme), "admit_merchant", {
            "programme": programme, "merchant": self._any([*MERCHANTS, "moss-and-co"]),
            "price_numerator": self._any([1, 2, 3, 10**7]), "price_denominator": self._any([2, 3])})

    def _withdraw_merchant(self, _now: int) -> Command:
        programme = self._programme()
        return Command(self._officer(programme), "withdraw_merchant",
                       {"programme": programme, "merchant": self._any([*MERCHANTS, "moss-and-co", "moss-and-co"])})


_TILLS = tuple(f"{merchant}/till-{merchant}" for merchant in MERCHANTS)
_WEIGHTS = {
    "issue": 30, "transfer": 16, "redeem": 10, "hold": 12, "capture": 7, "void": 3, "void_due": 2,
    "reverse_redemption": 4, "revoke_issue": 6, "activate": 2, "expire_due": 6, "set_member_status": 1.5,
    "set_programme_status": 0.8, "merge_members": 0.8, "enrol": 0.8, "set_controller": 0.5, "propose_quota": 1,
    "approve_quota": 1.5, "publish_profile": 1, "admit_merchant": 0.8, "withdraw_merchant": 0.3,
}


def found(*, members: int = 12, check_invariants: bool = True) -> tuple[TestLedger, Auditor]:
    """A ledger in the process with the workload's alliance on it, and the auditor that watched it being founded."""
    ledger, book = TestLedger(Points, actors=cast(), check_invariants=check_invariants), Auditor()
    for command in opening(ledger.now, members):
        play(ledger, book, [command])
    return ledger, book


def play(ledger: TestLedger, book: Auditor, commands: Sequence[Command],
         actors: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Run ``commands``, each a signed transaction, in one block under the auditor's eyes; returns their codes.

    ``actors`` are those of the ledger with their permissions (None: those of ``cast``).
    Raises ``Difference`` when the ledger and the auditor disagree on an outcome, an event, or afterwards on any row.
    """
    known = cast() if actors is None else actors
    envelopes = [ledger.sign(ledger.actor(one.actor), [(f"points.{one.name}", (), one.arguments)]) for one in commands]
    receipts = ledger.cut(envelopes)
    for command, receipt in zip(commands, receipts, strict=True):
        book.observe(ledger.now_ns // 1_000_000, signer_of(command.actor, known), [(command.name, command.arguments)],
                     receipt)
    book.compare(ledger.rows)
    return [one.code for one in receipts]


def run(source: random.Random, *, blocks: int, commands_per_block: int = 8,
        members: int = 12) -> tuple[TestLedger, Auditor]:
    """Found an alliance and play ``blocks`` blocks of commands drawn from ``source`` on it."""
    ledger, book = found(members=members)
    workload = Workload(source, book)
    for _block in range(blocks):
        ledger.advance(milliseconds=workload.pause_ms())
        play(ledger, book, [workload.command(ledger.now) for _command in range(commands_per_block)])
    return ledger, book


def signer_of(actor: str, actors: Mapping[str, Sequence[str]]) -> Signer:
    """The auditor's view of "organisation/party" with its permissions in ``actors``."""
    organisation, _slash, party = actor.partition("/")
    return Signer(party, organisation, frozenset(one.partition(":")[2] for one in actors.get(actor, [])))


# A crowd, for measuring ----------------------------------------------------------------------------------------

CROWD_UNITS = 10_000


def crowd_cast(signers: int) -> dict[str, list[str]]:
    """Everyone who signs for a crowd: the founders, and ``signers`` wallets, "organisation/party" -> permissions."""
    founders = {name: permissions for name, permissions in cast().items() if not name.startswith("members/")}
    return {**founders, **{f"members/wallet-{number}": [] for number in range(signers)}}


def crowd_opening(now: int, accounts: int, signers: int) -> Iterator[Command]:
    """The founding of "crumbs" and ``accounts`` members with CROWD_UNITS each, whose wallets take turns.

    Commands that follow one another may share a block; the first twenty or so need to be in order.
    """
    for command in opening(now, 0):
        if command.name in ("propose_quota", "approve_quota"):
            command = dataclasses.replace(command, arguments={**command.arguments, "units": accounts * CROWD_UNITS})
        yield command
    officer = f"{ISSUERS['crumbs']}/officer-{ISSUERS['crumbs']}"
    for number in range(accounts):
        yield Command(officer, "enrol", {"member": f"m{number}", "controller": f"wallet-{number % signers}"})
        yield Command(officer, "issue", {"programme": "crumbs", "member": f"m{number}", "units": CROWD_UNITS,
                                         "evidence": tagged("points-crowd", number.to_bytes(8, "big"))})


def crowd_transfers(source: random.Random, accounts: int, signers: int) -> Iterator[Command]:
    """Transfers between accounts drawn evenly, each signed by the giver's wallet, without end."""
    while True:
        giver = source.randrange(accounts)
        taker = (giver + 1 + source.randrange(accounts - 1)) % accounts
        yield Command(f"members/wallet-{giver % signers}", "transfer", {
            "programme": "crumbs", "from_member": f"m{giver}", "to_member": f"m{taker}",
            "units": source.randrange(1, 4)})
