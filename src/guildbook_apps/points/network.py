"""The alliance as a network: each of four merchants runs a node with a vote, and a supervisor one without.

Every merchant issues points of its own programme, and its members spend at the others. Each merchant's transactions go
to its own node, all at the same time; the order is what the nodes agree on. Afterwards an auditor that kept every
command and its receipt goes through them in that order, foretells each outcome, and compares its book with every row of
the supervisor's node. ``guildbook network demo`` plays it.
"""

import collections
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, Receipt, decode_receipt
from guildbook.client import Client
from guildbook.foundation import FOUNDATION
from guildbook.node.folder import NodeFolder
from guildbook.primitives.hashing import tagged
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore
from guildbook.testing.network import LocalNetwork, Organisation, Played, Stages
from guildbook_apps.points.adapter import MERCHANTS
from guildbook_apps.points.auditor import Auditor, check
from guildbook_apps.points.contract import Points
from guildbook_apps.points.demo import PRICES, PROGRAMMES
from guildbook_apps.points.workload import Command, signer_of, terms

SUPERVISOR = "points-watch"
OPERATOR = "kettle-and-crumb"
APPLICATIONS = ["points"]
MEMBERS_EACH = 40
QUOTA_UNITS = 1_000_000_000
BATCH_TRANSACTIONS = 200
SPOILT = 0.03
"""Of the commands that should be refused, since nobody has that much."""


def organisations() -> list[Organisation]:
    """Who takes part, with everyone who signs. None of these organisations exists."""
    found = []
    for merchant in MERCHANTS:
        parties: dict[str, list[str]] = {
            f"officer-{merchant}": ["points:issuer"], f"risk-{merchant}": ["points:approver"],
            f"till-{merchant}": ["points:merchant"], f"wallet-{merchant}": []}
        if merchant == OPERATOR:
            parties["steward"] = ["points:operator"]
        found.append(Organisation(merchant, parties))
    return [*found, Organisation(SUPERVISOR, {"inspector": ["points:supervisor"]}, observer=True)]


class Alliance:
    """Sends commands through their signers' own nodes, and keeps them with their receipts."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network
        self._clients: dict[str, Client] = {}
        self.seen: list[tuple[Receipt, Command]] = []

    def client(self, actor: str) -> Client:
        """A client of the actor's own node that signs as the actor ("organisation/party")."""
        organisation, _slash, party = actor.partition("/")
        if actor not in self._clients:
            self._clients[actor] = self._network.node(organisation).client(party, timeout_s=120)
        return self._clients[actor]

    def send(self, commands: Sequence[Command]) -> list[Receipt]:
        """Hand in ``commands`` of one organisation together; their receipts in order, when all are durable."""
        envelopes = [self.client(one.actor).sign([(f"points.{one.name}", one.arguments)]) for one in commands]
        receipts = []
        for command, answer in zip(commands, self.client(commands[0].actor).batch(envelopes), strict=True):
            check(answer.receipt is not None, command, "has no receipt:", answer.code)
            assert answer.receipt is not None
            receipt = decode_receipt(answer.receipt)
            receipts.append(receipt)
            self.seen.append((receipt, command))
        return receipts

    def found(self, now: int) -> None:
        """Admit the programmes with their terms, merchants, quotas and members."""
        for number, (issuer, programme) in enumerate(sorted(PROGRAMMES.items()), 1):
            officer = f"{issuer}/officer-{issuer}"
            numerator, denominator = PRICES[issuer]
            self._must([Command(f"{OPERATOR}/steward", "register_programme", {
                "programme": programme, "issuer": issuer, "supervisor": SUPERVISOR, "unit": programme.upper()})])
            self._must([Command(officer, "publish_profile", terms(
                programme, now, pending_days=0, validity="rolling_days", validity_length=365, period_ends=()))])
            self._must([
                *(Command(officer, "admit_merchant", {
                    "programme": programme, "merchant": merchant, "price_numerator": numerator,
                    "price_denominator": denominator}) for merchant in MERCHANTS if merchant != issuer),
                Command(officer, "propose_quota", {"programme": programme, "units": QUOTA_UNITS, "reason": "opening"}),
                *(Command(officer, "enrol", {"member": _member(issuer, one), "controller": f"wallet-{issuer}"})
                  for one in range(MEMBERS_EACH))])
            self._must([Command(f"{issuer}/risk-{issuer}", "approve_quota", {
                "proposal": number, "programme": programme, "units": QUOTA_UNITS})])

    def _must(self, commands: Sequence[Command]) -> None:
        refused = [one.code for one in self.send(commands) if one.code]
        check(not refused, "the founding was refused:", refused)


def _member(merchant: str, number: int) -> str:
    return f"{merchant}.{number}"


def _command(source: random.Random, merchant: str, number: int) -> Command:
    """A command of ``merchant``: it issues, or one of its members spends or gives."""
    programme = PROGRAMMES[merchant]
    member = _member(merchant, source.randrange(MEMBERS_EACH))
    draw = source.random()
    if draw < 0.4:
        return Command(f"{merchant}/officer-{merchant}", "issue", {
            "programme": programme, "member": member, "units": source.randrange(20, 200),
            "evidence": tagged("points-network", merchant.encode(), number.to_bytes(8, "big"))})
    units = 10**9 if source.random() < SPOILT else source.randrange(1, 20)
    if draw < 0.7:
        other = _member(source.choice(MERCHANTS), source.randrange(MEMBERS_EACH))
        return Command(f"{merchant}/wallet-{merchant}", "transfer", {
            "programme": programme, "from_member": member, "to_member": other, "units": units})
    return Command(f"{merchant}/wallet-{merchant}", "redeem", {
        "programme": programme, "member": member, "units": units, "merchant": source.choice(MERCHANTS),
        "reference": f"till-{number:06d}"})


def play(network: LocalNetwork, seconds: int, seed: int, progress: Stages) -> Played:
    """Found the alliance on ``network``, which runs, and let all merchants send for ``seconds``."""
    alliance = Alliance(network)
    progress("founding the alliance", 0, 1)
    alliance.found(network.genesis.time_ms)
    progress("founding the alliance", 1, 1)
    founding = len(alliance.seen)
    for merchant in MERCHANTS:  # keys are read, and connections opened, before the clock runs
        alliance.client(f"{merchant}/wallet-{merchant}")
        alliance.client(f"{merchant}/officer-{merchant}")
    started = time.monotonic()

    def trade(merchant: str) -> None:
        source, number = random.Random(f"{seed} {merchant}"), 0  # noqa: S311 - repeatable, nothing secret
        while time.monotonic() - started < seconds:
            batch = [_command(source, merchant, number + one) for one in range(BATCH_TRANSACTIONS)]
            number += len(batch)
            alliance.send(batch)
            progress("four merchants trade, seconds", min(seconds, int(time.monotonic() - started)), seconds)

    with ThreadPoolExecutor(len(MERCHANTS)) as threads:
        for one in [threads.submit(trade, merchant) for merchant in MERCHANTS]:
            one.result()
    spent = time.monotonic() - started
    traded = alliance.seen[founding:]
    codes = collections.Counter(receipt.code for receipt, _command in traded if receipt.code)
    _units, largest = max((command.arguments["units"], receipt.transaction) for receipt, command in traded
                          if command.name == "redeem" and receipt.outcome == Outcome.APPLIED)
    return Played(transactions=len(traded), seconds=spent, refusals=dict(sorted(codes.items())), proven=largest,
                  memory=alliance.seen)


def audit(network: LocalNetwork, played: Played) -> str:
    """Go through what was played, in the order that the nodes agreed on, and compare with the supervisor's store.

    The nodes have stopped. Raises ``Difference``; gives what to say.
    """
    registry = Registry()
    for one in (*FOUNDATION, Points):
        registry.install(one)
    actors: dict[str, list[str]] = {f"{one.id}/{party}": held for one in organisations()
                                    for party, held in one.parties.items()}
    book = Auditor()
    store = RocksStore(NodeFolder(network.node(SUPERVISOR).path).store, must_exist=True, read_only=True)
    try:
        view = Ledger(store, registry).view()
        by_height = collections.defaultdict(list)
        for receipt, command in played.memory:
            by_height[receipt.height].append((receipt, command))
        for height, seen in sorted(by_height.items()):
            block, changes = view.block(height), view.changes(height)
            assert block is not None
            assert changes is not None
            stored = [decode_receipt(one) for one in changes.receipts]
            for receipt, command in sorted(seen, key=lambda one: one[0].index):
                check(stored[receipt.index] == receipt, command, "has another receipt at", SUPERVISOR)
                book.observe(block.header.time_ns // 1_000_000, signer_of(command.actor, actors),
                             [(command.name, command.arguments)], receipt)
        rows: Any = lambda table: view.rows(Points.tables[table.partition(".")[2]].schema)  # noqa: E731
        book.compare(rows)
    finally:
        store.close()
    return (f"The auditor went through {book.transactions:,} transactions in the order the nodes agreed on, foretold "
            f"every outcome, and found every row at {SUPERVISOR}: no point was lost or invented.")
