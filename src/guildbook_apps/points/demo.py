"""A points alliance from purchases to proof: everything through signed transactions on a ledger on disk.

Four merchants, each with a programme of its own and other rules of validity, share one retailer's purchases. Each line
of an invoice is one signed transaction; members redeem, hold, transfer by a seeded rule; cancellations claw back;
points expire day by day. An auditor that sees nothing but the signed calls and the receipts keeps its own book, checks
it with the rows that each block changed, and at the end with every row.

The ledger's clock follows the purchases: a block is as late as the last line in it.
"""

import csv
import dataclasses
import datetime
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table as Columns

from guildbook.chain.genesis import (
    GENESIS_FORMAT,
    Genesis,
    GenesisContract,
    GenesisOrganisation,
    GenesisParty,
    GenesisValidator,
)
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction
from guildbook.engine.desk import Committed
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.evidence.build import receipt_evidence
from guildbook.evidence.report import as_text
from guildbook.evidence.source import LedgerSource
from guildbook.evidence.trust import Trust, TrustedSet, format_trust
from guildbook.evidence.verify import Verdict, verify
from guildbook.foundation import FOUNDATION
from guildbook.node.folder import NodeFolder, make_node
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.arguments import bind
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore
from guildbook_apps.points.adapter import (
    MERCHANTS,
    BadLine,
    Desk,
    Earn,
    EarnTerms,
    TakeBack,
    Tally,
    day_end,
    month_ends,
    purchase_files,
    read_purchases,
    write_purchases,
)
from guildbook_apps.points.auditor import Auditor, check
from guildbook_apps.points.contract import DAY_MS, EXPIRY_BATCH_LOTS_MAX, REVERSAL_MS, Points
from guildbook_apps.points.workload import Command, made_up_lei, signer_of

NETWORK = "points-demo"
NODE_FOLDER = "node"
"""What lies here goes on as a node when it is run."""
ZONE = "Europe/London"
OPERATOR = "harbour-alliance/steward"
RISK_OFFICER = "harbour-alliance/risk"
SUPERVISOR = "points-watch/inspector"
WALLETS = 16
PROOF_DELAY_MS = 24 * 3600 * 1000
PROGRAMMES = {"kettle-and-crumb": "crumbs", "moss-and-fern": "leaves", "paper-lantern": "lights",
              "rope-and-anchor": "knots"}
PRICES = {"kettle-and-crumb": (4, 5), "moss-and-fern": (3, 4), "paper-lantern": (9, 10), "rope-and-anchor": (7, 10)}
"""Issuer -> what it owes another merchant for a unit, pence."""
QUOTA_UNITS = 1_000_000
BATCH_TRANSACTIONS = 500
VALIDITY_BLOCKS = 10_000
ANSWER_WAIT_S = 120
DAYS_AFTER = 30
"""Days that the alliance goes on after the last purchase."""
HOLD_MS = 44 * 3_600_000
"""Over one evening, on which a merchant may capture, and before the second."""
SHARE_SHOPPING, SHARE_QUIET = 0.05, 0.015
"""Shares of the members that do something on a day with and without sales."""
UNITS_WORTH_SPENDING = 20


class Progress(Protocol):
    """Told how far the work is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` steps of ``stage``."""


@dataclasses.dataclass
class Day:
    """One day of the alliance: units that moved (redeemed: before reversals), and units outstanding at its end, by
    programme.
    """

    start_ms: int
    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0
    outstanding: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Summary:
    """What a demonstration did. Amounts are units or pence; ``seconds`` is the time of the whole run."""

    files: int
    tally: Tally
    bad_lines: list[BadLine]
    members: int
    transactions: int
    refusals: dict[str, int]
    blocks: int
    ledger_seconds: float
    seconds: float
    programmes: dict[str, dict[str, int]]
    claims_minor: dict[tuple[str, str, str], int]
    days: list[Day]
    rows_compared: int
    second_reading: tuple[int, int]
    """Earnings sent a second time, and how many of them the ledger refused."""
    verdict: Verdict
    written: list[Path]


class DemoLedger:
    """A node made in ``folder``, with a solo engine whose clock is set by hand and keys that follow from ``seed``.

    Afterwards it is a node as any other: ``guildbook run`` goes on with it, in the time of the day. Nothing about its
    keys is secret: whoever knows the seed can sign. It is for demonstrations alone.
    """

    def __init__(self, folder: Path, seed: int, start_ms: int) -> None:
        self._seed = seed
        self.now_ms = start_ms
        self.keys = {name: self._key(name) for name in _cast()}
        self.times: dict[int, int] = {}
        self._nonce = 0
        registry = Registry()
        contracts = [registry.install(one) for one in (*FOUNDATION, Points)]
        validator = self._key("validator")
        genesis = Genesis(
            format=GENESIS_FORMAT, network=NETWORK, time_ms=start_ms, parameters={},
            validators=[GenesisValidator(key_text(validator.public_key), 1, "harbour-alliance")],
            organisations=self._organisations(),
            contracts=[GenesisContract(one.name, one.version, one.text) for one in contracts])
        make_node(folder, genesis, validator, settings={"applications": ["points"]},
                  keys={name.rpartition("/")[2]: key for name, key in self.keys.items()})
        self.ledger = Ledger(RocksStore(NodeFolder(folder).store), registry)
        # A proof block takes a millisecond of the ledger's time: cut when the machine happens to be slow, it would
        # make another run of the same seed. So there is one at the end alone.
        settings = SoloSettings(gather_ms=0, signature_workers=0, proof_delay_ms=PROOF_DELAY_MS)
        self.engine = SoloEngine(self.ledger, validator, settings, clock=self._clock, on_block=self._committed)
        self.trust = Trust(NETWORK, (TrustedSet(genesis.validator_set),))
        self.engine.start()

    def _key(self, name: str) -> SigningKey:
        return SigningKey.from_seed(hashlib.sha256(f"guildbook points demo {self._seed} {name}".encode()).digest())

    def _organisations(self) -> list[GenesisOrganisation]:
        parties: dict[str, list[GenesisParty]] = {}
        for name, permissions in _cast().items():
            organisation, _slash, party = name.partition("/")
            parties.setdefault(organisation, []).append(
                GenesisParty(party, "service", party, key_text(self.keys[name].public_key), permissions))
        return [GenesisOrganisation(name, name, "XX", sorted({held for one in people for held in one.permissions}),
                                    people) for name, people in parties.items()]

    def _clock(self) -> int:
        return self.now_ms * 1_000_000

    def _committed(self, block: Committed) -> None:
        """Runs in the sequencer's thread, before the block's transactions are answered."""
        self.times[block.height] = block.time_ns // 1_000_000

    def sign(self, actor: str, name: str, arguments: dict[str, Any]) -> bytes:
        """A signed envelope with one call of the points contract."""
        self._nonce += 1
        return build_transaction(NETWORK, self.keys[actor], self.ledger.head.height + VALIDITY_BLOCKS,
                                 self._nonce.to_bytes(8, "big"),
                                 [("points", name, bind(Points.commands[name], (), arguments))])

    def batch(self, envelopes: Sequence[bytes]) -> list[bytes]:
        """Hand in envelopes together; their receipts in order, when all are durable."""
        receipts = []
        for answer in self.engine.submit(envelopes).result(ANSWER_WAIT_S):
            if answer.error is not None:
                raise answer.error
            assert answer.receipt is not None
            receipts.append(answer.receipt)
        return receipts

    def rows(self, table: str) -> Iterable[Any]:
        """All rows of ``points.table``."""
        return self.ledger.view().rows(Points.tables[table.partition(".")[2]].schema)

    def changed(self, height: int) -> Iterable[tuple[str, Any, Any]]:
        """The rows of the contract that the block of ``height`` changed: (table, before, after)."""
        changes = self.ledger.view().changes(height)
        assert changes is not None
        for one in changes.rows:
            if one.table.startswith("points.") and one.table.partition(".")[2] in Points.tables:
                decode = Points.tables[one.table.partition(".")[2]].schema.decode
                yield (one.table, None if one.before is None else decode(one.before),
                       None if one.after is None else decode(one.after))

    def stop(self) -> None:
        """Finish, so that the last state is provable; the ledger stays readable."""
        self.engine.stop()

    def evidence(self, transaction: bytes) -> bytes:
        """The evidence file for a transaction and its receipt; after ``stop``."""
        return receipt_evidence(LedgerSource(self.ledger.view()), transaction)

    def close(self) -> None:
        """Release the store."""
        self.ledger.close()


def _cast() -> dict[str, list[str]]:
    """Everyone who signs, "organisation/party" -> permissions. None of these organisations exists."""
    actors = {OPERATOR: ["points:operator"], RISK_OFFICER: ["points:approver"], SUPERVISOR: ["points:supervisor"]}
    for merchant in MERCHANTS:
        actors[f"{merchant}/officer"] = ["points:issuer"]
        actors[f"{merchant}/till"] = ["points:merchant"]
    for number in range(WALLETS):
        actors[f"harbour-wallet/wallet-{number:02d}"] = []
    # A party's name is its own on the whole network.
    return {f"{organisation}/{party}-{organisation}" if organisation in MERCHANTS else name: permissions
            for name, permissions in actors.items() for organisation, _slash, party in [name.partition("/")]}


class Alliance:
    """The demonstration itself: what happens each day, and the auditor that watches."""

    def __init__(self, ledger: DemoLedger, seed: int, salt: bytes) -> None:
        self.ledger = ledger
        self.book = Auditor()
        self.random = random.Random(seed)  # noqa: S311 - a repeatable source, nothing secret
        self.desk = Desk({issuer: EarnTerms(programme, issuer, 1, 100)
                          for issuer, programme in PROGRAMMES.items()}, salt)
        self.days: list[Day] = []
        self.rows_compared = 0
        self.ledger_seconds = 0.0
        self.signers = {name: signer_of(name, _cast()) for name in _cast()}
        self.largest: tuple[int, int, bytes] = (0, 0, b"")
        """Rank of the command, units and transaction: of the largest redemption, or of what comes next to one."""
        self._waiting: list[Command] = []
        self._known: set[str] = set()
        self._renewed = False

    # sending -----------------------------------------------------------------------------------------------------

    def send(self, *commands: Command) -> None:
        """Put commands into the batch that is being gathered."""
        self._waiting.extend(commands)
        if len(self._waiting) >= BATCH_TRANSACTIONS:
            self.flush()

    def flush(self) -> list[str]:
        """Send what was gathered, show it to the auditor, and compare the rows it changed. Returns the codes."""
        commands, self._waiting = self._waiting, []
        if not commands:
            return []
        envelopes = [self.ledger.sign(one.actor, one.name, one.arguments) for one in commands]
        started = time.perf_counter()
        receipts = [decode_receipt(one) for one in self.ledger.batch(envelopes)]
        self.ledger_seconds += time.perf_counter() - started
        for command, receipt in zip(commands, receipts, strict=True):
            self.book.observe(self.ledger.times[receipt.height], self.signers[command.actor],
                              [(command.name, command.arguments)], receipt)
            if receipt.outcome == Outcome.APPLIED:
                rank = {"redeem": 2, "issue": 1}.get(command.name, 0)
                self.largest = max(self.largest, (rank, command.arguments.get("units", 0), receipt.transaction))
        heights = sorted({receipt.height for receipt in receipts})
        if len(heights) == 1:
            self.rows_compared += self.book.compare_changed(self.ledger.changed(heights[0]))
        else:  # the book stands after the last block: rows are compared as they are there
            last = {(table, schema_key(table, before, after)): (table, before, after)
                    for height in heights for table, before, after in self.ledger.changed(height)}
            self.rows_compared += self.book.compare_changed(last.values())
        self.book.check_sums()
        return [receipt.code for receipt in receipts]

    def compare_all(self) -> None:
        """Compare every row of the ledger with the auditor's book."""
        self.book.compare(self.ledger.rows)

    # founding ----------------------------------------------------------------------------------------------------

    def found(self, first_day_ms: int) -> None:
        """Admit the programmes with their terms, merchants and quotas."""
        first = datetime.datetime.fromtimestamp(first_day_ms / 1000, datetime.UTC).date()
        for number, (issuer, programme) in enumerate(sorted(PROGRAMMES.items()), 1):
            officer = f"{issuer}/officer-{issuer}"
            self.send(
                Command(OPERATOR, "register_programme",
                        {"programme": programme, "issuer": issuer, "supervisor": "points-watch",
                         "unit": programme.upper()}),
                Command(officer, "publish_profile", self._terms(programme, first)),
                *(Command(officer, "admit_merchant", {
                    "programme": programme, "merchant": merchant, "price_numerator": PRICES[issuer][0],
                    "price_denominator": PRICES[issuer][1]}) for merchant in MERCHANTS if merchant != issuer),
                Command(officer, "propose_quota",
                        {"programme": programme, "units": QUOTA_UNITS, "reason": "the first season"}),
                Command(RISK_OFFICER, "approve_quota",
                        {"proposal": number, "programme": programme, "units": QUOTA_UNITS}))
        refused = [code for code in self.flush() if code]
        check(not refused, "the founding was refused:", refused)

    def _terms(self, programme: str, first: datetime.date) -> dict[str, Any]:
        """Terms of each programme: rolling days, rolling months, a fixed date, and a year with a pending time."""
        rules: dict[str, dict[str, Any]] = {
            "lights": {"validity": "rolling_days", "validity_length": 60, "period_ends": ()},
            "crumbs": {"validity": "rolling_months", "validity_length": 1,
                       "period_ends": month_ends(ZONE, first.year - 1, 12, 120)},
            "knots": {"validity": "fixed_date", "validity_length": 0, "period_ends": (_season_end(first),)},
            "leaves": {"validity": "rolling_days", "validity_length": 365, "period_ends": (), "pending_days": 7},
        }
        return {
            "programme": programme, "effective_from": 0,
            "issuer_lei": made_up_lei(f"0000MADEUP{programme.upper():0<8}"),
            "currency": "GBP", "nominal_numerator": 1, "nominal_denominator": 1, "earn_rule": "line-floor",
            "earn_rule_version": 1, "earn_units": 1, "earn_per_minor": 100, "pending_days": 0, "zone": ZONE,
            "transferable": programme != "knots", "exchangeable": False, "scope": "partners", "reserve_numerator": 1,
            "reserve_denominator": 2, "terms": tagged("points-terms", programme.encode()), "notice_days": 14,
            **rules[programme]}

    # days --------------------------------------------------------------------------------------------------------

    def morning(self, day_ms: int, first_day_ms: int) -> None:
        """Begin a day: clear lapsed holds, expire what is due, and renew the fixed date in time."""
        self.ledger.now_ms = max(self.ledger.now_ms, day_ms + 60_000)
        self.days.append(Day(day_ms))
        before = self._sums()
        if self.book.holds:
            self.send(Command("harbour-wallet/wallet-00", "void_due", {}))
        due = self.book.due(self.ledger.now_ms)
        for _batch in range(-(-due // EXPIRY_BATCH_LOTS_MAX)):
            self.send(Command("harbour-wallet/wallet-00", "expire_due",
                              {"lots_max": EXPIRY_BATCH_LOTS_MAX, "after": 0}))
            self.flush()
        first = datetime.datetime.fromtimestamp(first_day_ms / 1000, datetime.UTC).date()
        season_end = _season_end(first)
        if not self._renewed and day_ms >= season_end - 21 * DAY_MS:
            self._renewed = True
            officer = "rope-and-anchor/officer-rope-and-anchor"
            self.send(Command(officer, "publish_profile", {
                **self._terms("knots", first), "effective_from": season_end - 2 * DAY_MS,
                "period_ends": (_season_end(first.replace(year=first.year + 1)),)}))
        self.flush()
        self._note(before)

    def purchases(self, orders: Iterable[Earn | TakeBack]) -> None:
        """Send what lines earn and give back, in order; new members are enrolled first."""
        for order in orders:
            officer = f"{order.issuer}/officer-{order.issuer}"
            self.ledger.now_ms = max(self.ledger.now_ms, order.at_ms)
            if isinstance(order, Earn):
                if order.member not in self._known:
                    self._known.add(order.member)
                    self.send(Command(officer, "enrol", {"member": order.member, "controller": _wallet(order.member)}))
                self.send(Command(officer, "issue", {"programme": order.programme, "member": order.member,
                                                     "units": order.units, "evidence": order.evidence}))
            else:
                self.send(Command(officer, "revoke_issue", {"evidence": order.evidence, "units": order.units}))

    def evening(self, *, shopping: bool) -> None:
        """End a day: some members spend, set aside or give away, merchants capture, and a few redemptions come back."""
        before = self._sums()
        self.ledger.now_ms = max(self.ledger.now_ms, self.days[-1].start_ms + 20 * 3_600_000)
        members = list(self.book.members)
        active = math.ceil(len(members) * (SHARE_SHOPPING if shopping else SHARE_QUIET))
        for member in self.random.sample(members, active):
            self._act(member, members)
        for number, hold in list(self.book.holds.items()):
            if self.random.random() < 0.5:
                units = sum(part for _lot, part in hold.parts)
                self.send(Command(f"{hold.merchant}/till-{hold.merchant}", "capture", {
                    "hold": number, "units": self.random.choice([units, units, max(1, units // 2)])}))
        recent = [(number, one.merchant) for number, one in list(self.book.redemptions.items())[-40:]
                  if not one.reversed and self.ledger.now_ms - one.at < REVERSAL_MS - DAY_MS]
        for number, merchant in recent:
            if self.random.random() < 0.02:
                self.send(Command(f"{merchant}/till-{merchant}", "reverse_redemption", {"redemption": number}))
        self.flush()
        self._note(before)
        self.days[-1].outstanding = {name: self._outstanding(name) for name in self.book.programmes}

    def _act(self, member: str, members: list[str]) -> None:
        now = self.ledger.now_ms
        free, programme = max((self.book.free(now, member, one), one) for one in PROGRAMMES.values())
        if free < UNITS_WORTH_SPENDING:
            return
        units = self.random.randrange(UNITS_WORTH_SPENDING, free + 1)
        wallet = f"harbour-wallet/{self.book.members[member].controller}"
        payment = {"programme": programme, "member": member, "units": units, "merchant": self.random.choice(MERCHANTS),
                   "reference": f"till-{self.random.randrange(10**8):08d}"}
        draw = self.random.random()
        if draw < 0.72:
            self.send(Command(wallet, "redeem", payment))
        elif draw < 0.92:
            self.send(Command(wallet, "hold", {**payment, "ttl_ms": HOLD_MS}))
        else:
            other = self.random.choice(members)
            if other != member:
                self.send(Command(wallet, "transfer", {"programme": programme, "from_member": member,
                                                       "to_member": other, "units": units}))

    def noted(self, work: Callable[[], None]) -> None:
        """Do ``work``, and book what it changed to the present day."""
        before = self._sums()
        work()
        self.flush()
        self._note(before)

    def _sums(self) -> Counter[str]:
        sums: Counter[str] = Counter()
        for one in self.book.programmes.values():
            sums.update({"issued": one.issued, "redeemed": one.redeemed + one.restored, "expired": one.expired,
                         "revoked": one.revoked})
        return sums

    def _note(self, before: Counter[str]) -> None:
        day, after = self.days[-1], self._sums()
        day.issued += after["issued"] - before["issued"]
        day.redeemed += after["redeemed"] - before["redeemed"]
        day.expired += after["expired"] - before["expired"]
        day.revoked += after["revoked"] - before["revoked"]

    def _outstanding(self, programme: str) -> int:
        one = self.book.programmes[programme]
        return one.issued - one.redeemed - one.expired - one.revoked

    def totals(self) -> dict[str, dict[str, int]]:
        """The sums of each programme, by name."""
        names = ("granted", "issued", "redeemed", "restored", "expired", "revoked", "debt")
        return {programme: {**{name: getattr(one, name) for name in names}, "outstanding": self._outstanding(programme)}
                for programme, one in sorted(self.book.programmes.items())}


def schema_key(table: str, before: Any, after: Any) -> bytes:
    """The ordered primary key of a changed row."""
    return Points.tables[table.partition(".")[2]].schema.key_of(before if after is None else after)


def _wallet(member: str) -> str:
    return f"wallet-{hashlib.sha256(member.encode()).digest()[0] % WALLETS:02d}"


def _season_end(first: datetime.date) -> int:
    """The end of the second month after that of ``first``."""
    last = (first.replace(day=1) + datetime.timedelta(days=95)).replace(day=1) - datetime.timedelta(days=1)
    return day_end(ZONE, last.year, last.month, last.day)


def run_demo(out_dir: Path, *, purchases: Path | None = None, seed: int = 20,
             progress: Progress | None = None) -> Summary:
    """Run the alliance over ``purchases`` (a file or folder in the layout of Online Retail; None: made-up ones).

    ``out_dir`` is a new or empty folder: it gets the folder ``node`` with the ledger, a picture, an evidence file with
    its trust anchor and verdict, the malformed lines, and a summary. The same purchases and ``seed`` give the same
    points. Raises ``Difference`` should the ledger and the auditor disagree, and GuildbookError ``store.not_empty``,
    ``cli.usage``.
    """
    started = time.perf_counter()
    if out_dir.exists() and any(out_dir.iterdir()):
        raise GuildbookError("store.not_empty", f"{out_dir} is not empty",
                             hint="name another folder, or remove this one")
    out_dir.mkdir(parents=True, exist_ok=True)
    told: Progress = _silent if progress is None else progress
    files = purchase_files(purchases) if purchases is not None else write_purchases(out_dir / "purchases", seed)
    first_day_ms = _first_moment(files) // DAY_MS * DAY_MS
    ledger = DemoLedger(out_dir / NODE_FOLDER, seed, first_day_ms - DAY_MS)
    try:
        salt = hashlib.sha256(f"guildbook points demo salt {seed}".encode()).digest()[:16]
        alliance = Alliance(ledger, seed, salt)
        alliance.found(first_day_ms)
        bad_lines = _seasons(alliance, files, first_day_ms, told)
        second_reading = _second_reading(alliance, files[0], salt)
        told("comparing every row", 0, 1)
        alliance.compare_all()
        told("comparing every row", 1, 1)
        ledger.stop()
        evidence = ledger.evidence(alliance.largest[2])
        verdict = verify(evidence, ledger.trust)
        summary = Summary(
            len(files), alliance.desk.tally, bad_lines, len(alliance.book.members), alliance.book.transactions,
            dict(sorted(alliance.book.refusals.items())), ledger.ledger.head.height, alliance.ledger_seconds, 0.0,
            alliance.totals(), dict(sorted(alliance.book.claims.items())), alliance.days, alliance.rows_compared,
            second_reading, verdict, [out_dir / NODE_FOLDER])
        (out_dir / "largest-redemption.evidence").write_bytes(evidence)
        (out_dir / "trust.json").write_bytes(format_trust(ledger.trust))
        (out_dir / "verdict.txt").write_text(as_text(verdict), "utf-8")
        summary.written += [out_dir / "largest-redemption.evidence", out_dir / "trust.json", out_dir / "verdict.txt"]
    finally:
        ledger.stop()
        ledger.close()
    _write_files(summary, out_dir)
    summary.seconds = time.perf_counter() - started
    return summary


def _silent(stage: str, done: int, total: int) -> None:
    """Says nothing."""


def _first_moment(files: Sequence[Path]) -> int:
    """When the first readable line was sold; raises GuildbookError ``cli.usage`` when there is none."""
    for line in read_purchases(files, ZONE):
        if not isinstance(line, BadLine):
            return line.at_ms
    raise GuildbookError("cli.usage", f"no line of {len(files)} files can be read as a purchase",
                         hint="see the layout in the application's README")


def _seasons(alliance: Alliance, files: Sequence[Path], first_day_ms: int, told: Progress) -> list[BadLine]:
    """Go through all lines day by day, and DAYS_AFTER days on; returns the malformed ones."""
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    bad_lines: list[BadLine] = []
    orders: list[Earn | TakeBack] = []
    today = first_day_ms
    alliance.morning(today, first_day_ms)

    def close(day_ms: int) -> None:
        """End the present day with its purchases, and go on to the morning of ``day_ms``."""
        nonlocal today
        shopping = bool(orders)
        alliance.noted(lambda: alliance.purchases(orders))
        orders.clear()
        alliance.evening(shopping=shopping)
        if shopping:
            alliance.compare_all()
        while today < day_ms:
            today += DAY_MS
            alliance.morning(today, first_day_ms)
            if today < day_ms:
                alliance.evening(shopping=False)

    for number, line in enumerate(read_purchases(files, ZONE)):
        if isinstance(line, BadLine):
            bad_lines.append(line)
            continue
        if line.at_ms // DAY_MS * DAY_MS > today:
            close(line.at_ms // DAY_MS * DAY_MS)
            told("purchases", number, lines)
        orders += alliance.desk.take(line)
    close(today + DAYS_AFTER * DAY_MS)
    alliance.evening(shopping=False)
    told("purchases", lines, lines)
    return bad_lines


def _second_reading(alliance: Alliance, file: Path, salt: bytes) -> tuple[int, int]:
    """Read the first file again at a desk without memory and send all that it earns: the ledger must refuse all."""
    desk = Desk(alliance.desk.terms, salt)
    orders = [one for line in read_purchases([file], ZONE) if not isinstance(line, BadLine) for one in desk.take(line)
              if isinstance(one, Earn)]
    before = alliance.totals()
    refused = 0
    for start in range(0, len(orders), BATCH_TRANSACTIONS):
        for order in orders[start:start + BATCH_TRANSACTIONS]:
            alliance._waiting.append(Command(f"{order.issuer}/officer-{order.issuer}", "issue", {
                "programme": order.programme, "member": order.member, "units": order.units,
                "evidence": order.evidence}))
        refused += sum(code == "points.duplicate_evidence" for code in alliance.flush())
    check(refused == len(orders) and alliance.totals() == before, "the same file earned a second time")
    return len(orders), refused


# What is left behind -----------------------------------------------------------------------------------------


def _write_files(summary: Summary, out_dir: Path) -> None:
    bad = out_dir / "malformed-lines.csv"
    with bad.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["file", "line", "reason"])
        writer.writerows((one.file, one.number, one.reason) for one in summary.bad_lines)
    overview = out_dir / "summary.json"
    overview.write_text(json.dumps({
        "files": summary.files, "lines": dataclasses.asdict(summary.tally), "malformed_lines": len(summary.bad_lines),
        "members": summary.members, "transactions": summary.transactions, "refusals": summary.refusals,
        "blocks": summary.blocks, "programmes": summary.programmes,
        "claims_minor": [[*parties, minor] for parties, minor in summary.claims_minor.items()],
        "rows_compared": summary.rows_compared, "second_reading": summary.second_reading}, indent=2) + "\n", "utf-8")
    summary.written += [bad, overview]
    picture = draw(summary.days, out_dir / "outstanding.png")
    if picture is not None:
        summary.written.append(picture)


def net_positions(claims_minor: dict[tuple[str, str, str], int]) -> dict[str, int]:
    """What each merchant would receive (or, negative, pay) if all claims were netted now, in pence; the sum is 0."""
    net: Counter[str] = Counter()
    for (debtor, creditor, _currency), minor in claims_minor.items():
        net[creditor] += minor
        net[debtor] -= minor
    return {name: net[name] for name in sorted(net)}


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A ``Progress`` that shows a bar on ``console`` while the block runs."""
    with ProgressBar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                     console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield show


def print_summary(summary: Summary, console: Console) -> None:
    """The tables of a demonstration, for people."""
    tally = summary.tally
    lines = Columns(title="Purchases")
    lines.add_column("lines")
    lines.add_column("", justify="right")
    for name, count in (
            ("read", tally.lines), ("earned points", tally.earning), ("below one point", tally.below_one_point),
            ("anonymous", tally.anonymous), ("gifts", tally.gifts), ("adjustments", tally.adjustments),
            ("cancellations", tally.cancellations), ("pieces taken back, matched", tally.matched_quantity),
            ("pieces taken back, unmatched", tally.unmatched_quantity), ("malformed", len(summary.bad_lines))):
        lines.add_row(name, f"{count:,}")
    console.print(lines)
    points = Columns(title="Points")
    points.add_column("programme")
    names = ("issued", "redeemed", "expired", "revoked", "outstanding", "debt")
    for name in names:
        points.add_column(name, justify="right")
    issuers = {programme: issuer for issuer, programme in PROGRAMMES.items()}
    for programme, sums in summary.programmes.items():
        points.add_row(f"{programme} ({issuers[programme]})", *(f"{sums[name]:,}" for name in names))
    points.add_section()
    points.add_row("all", *(f"{sum(sums[name] for sums in summary.programmes.values()):,}" for name in names))
    console.print(points)
    console.print(_settlement(summary.claims_minor))
    sent, refused = summary.second_reading
    rate = summary.transactions / summary.ledger_seconds if summary.ledger_seconds else 0
    console.print(
        f"{summary.transactions:,} signed transactions in {summary.blocks:,} blocks, {rate:,.0f} a second on the "
        f"ledger; {summary.seconds:.1f} s in all, with the auditor.\n"
        f"The auditor agreed on every outcome and event, on {summary.rows_compared:,} changed rows after their "
        f"blocks, and on every row at the end: no point was lost or invented.\n"
        f"The first file a second time: {sent:,} earnings sent, {refused:,} refused.\n"
        f"Evidence: {summary.verdict.kind}, block {summary.verdict.height}, verified in "
        f"{len(summary.verdict.steps)} steps.", highlight=False, soft_wrap=True)
    if summary.refusals:
        console.print("Refused: " + ", ".join(f"{count:,} {code}" for code, count in summary.refusals.items()),
                      highlight=False, soft_wrap=True)
    for path in summary.written:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    node = next(path for path in summary.written if path.name == NODE_FOLDER)
    console.print(f'Ask it: guildbook sql "SHOW TABLES" --node {node}\nRun it: guildbook run {node}', highlight=False,
                  soft_wrap=True, markup=False)


def _settlement(claims_minor: dict[tuple[str, str, str], int]) -> Columns:
    """Who would owe whom at redemption prices, pounds; rows pay, columns receive."""
    table = Columns(title="Settlement preview: the issuer (row) owes the merchant (column), GBP")
    table.add_column("issuer")
    for merchant in sorted(MERCHANTS):
        table.add_column(merchant, justify="right")
    for issuer in sorted(MERCHANTS):
        table.add_row(issuer, *("-" if issuer == merchant else _pounds(claims_minor.get((issuer, merchant, "GBP"), 0))
                                for merchant in sorted(MERCHANTS)))
    table.add_section()
    net = net_positions(claims_minor)
    table.add_row("net", *(_pounds(net.get(merchant, 0)) for merchant in sorted(MERCHANTS)))
    return table


def _pounds(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100:,}.{abs(minor) % 100:02d}"


def draw(days: Sequence[Day], path: Path) -> Path | None:
    """Draw points outstanding by merchant over the days, and what moved each day; None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import dates as mdates
    from matplotlib import pyplot

    moments = [datetime.datetime.fromtimestamp(day.start_ms / 1000, datetime.UTC) for day in days]
    issuers = {programme: issuer for issuer, programme in PROGRAMMES.items()}
    programmes = sorted(issuers, key=lambda one: days[-1].outstanding.get(one, 0), reverse=True)
    colours = dict(zip(sorted(issuers), ("#c8553d", "#588157", "#e0a63a", "#33658a"), strict=True))
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(11, 7), sharex=True, height_ratios=(3, 1.3), dpi=130)
    heights = [[day.outstanding.get(programme, 0) / 1000 for day in days] for programme in programmes]
    above.stackplot(moments, heights, colors=[colours[one] for one in programmes], step="post", edgecolor="white",
                    linewidth=0.6)
    stack = [sum(one) for one in zip(*heights, strict=True)]
    top = max(stack) or 1.0
    floor, lowest = 0.0, 0.0
    for programme, height in zip(programmes, heights, strict=True):
        lowest = max(floor + height[-1] / 2, lowest)
        above.annotate(f"{programme} ({issuers[programme]})", (moments[-1], lowest), xytext=(8, 0),
                       textcoords="offset points", va="center", fontsize=9, color=colours[programme],
                       fontweight="bold")
        floor, lowest = floor + height[-1], lowest + 0.05 * top
        drops = [(height[day - 1] - height[day], day) for day in range(1, len(days))]
        drop, day = max(drops, default=(0.0, 0))
        if drop > 0.08 * top:
            above.annotate(f"{drop:,.0f},000 {programme} expire", (moments[day], max(stack[day - 1:day + 35])),
                           xytext=(4, 5), textcoords="offset points", fontsize=9, color=colours[programme])
    above.set_ylabel("points outstanding, thousands")
    above.set_title("Points outstanding by merchant, at the end of each day", loc="left", fontweight="bold")
    width = datetime.timedelta(days=0.8)
    redeemed = [-day.redeemed / 1000 for day in days]
    below.bar(moments, [day.issued / 1000 for day in days], width, color="#b4bcc4", label="issued", align="edge")
    below.bar(moments, redeemed, width, color="#66717c", label="redeemed", align="edge")
    below.bar(moments, [-day.expired / 1000 for day in days], width, color="#1f2933", label="expired", bottom=redeemed,
              align="edge")
    below.axhline(0, color="#444444", linewidth=0.8)
    below.set_ylabel("thousands a day")
    below.legend(ncols=3, frameon=False, fontsize=9, loc="lower left")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    below.set_xlim(moments[0] - datetime.timedelta(days=2), moments[-1])
    below.xaxis.set_major_locator(mdates.AutoDateLocator(maxticks=7))
    below.xaxis.set_major_formatter(mdates.DateFormatter("%d %b\n%Y"))
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path
