"""A network under load to which something is done, and what must hold afterwards.

    with World.founded(folder, seed=7) as world:
        with world.load():
            world.network.node("moss").kill()
            world.settle(2)
            world.network.node("moss").start()
        world.check()

The load: for each member a few clients send commands to its node, one after another, drawn from the seed: units are
issued and moved between a few accounts, registers read, written and swapped. Who gets no answer sends the same bytes
again, to the same or another node, as users do, or gives up.

What holds afterwards (``check``): every node has the same state and log after every height. Each acknowledged
transaction is on each node once, in the same place, with the receipt that was given; and what was not acknowledged is
on all nodes or on none. Units are those that were issued. What clients saw of each account, of each register and of
the counter is linearizable, and the order on the ledger agrees with their clock. No engine failed in consensus.
"""

import collections
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster.harness import MEMBERS, NETWORK, TESTS
from cluster.linearizable import NEVER, Operation, balance, counter, linearizable, register
from cluster.relay import Wires
from engine_binary import cometbft
from guildbook.client import Client, TransactionRefused
from guildbook.client.base import transaction_id_of
from guildbook.client.documents import ReceiptDocument
from guildbook.client.keyfile import read_key
from guildbook.engine.cometbft.process import CONSENSUS_FAILURE
from guildbook.primitives.errors import GuildbookError
from guildbook.testing.network import LocalNetwork, LocalNode, Organisation

APPLICATIONS = ("sample_contract:Units", "register_contract:Registers")
SETTINGS = {"network.propose_ms": 1_000}
CLIENTS_EACH = 3
ACCOUNTS = ("red", "green", "blue")
REGISTERS = ("north", "south", "east", "west")
ANSWER_TIMEOUT_S = 5.0
SETTLE_TIMEOUT_S = 240.0


class Sent:
    """A transaction as its client sees it: ``receipt`` is what it was answered, None where nobody was told."""

    def __init__(self, call: tuple[str, dict[str, Any]], envelope: bytes) -> None:
        self.call = call
        self.id = transaction_id_of(envelope).hex()
        self.invoked = time.monotonic()
        self.answered = NEVER
        self.receipt: ReceiptDocument | None = None


class Before(NamedTuple):
    """What was there when everything was checked last: units, values, the last number of an issue, and the height."""

    accounts: dict[str, int]
    registers: dict[str, int]
    issues: int
    height: int


class World:
    """Members' nodes with wires between them, a load, and everything that was sent."""

    def __init__(
        self, network: LocalNetwork, seed: int, environment: Mapping[str, str], wires: Wires | None = None
    ) -> None:
        self.network = network
        self.seed = seed
        self.sent: list[Sent] = []
        self.recovered_s: dict[str, float] = {}
        """How long it took until there were blocks, and until all nodes were ready, after each thing that was done."""
        self._environment = environment
        self._wires = wires
        self._numbers = iter(range(1, 1 << 40))
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._turn = 0
        self._before = Before({}, {}, 0, 0)
        self.lying: set[str] = set()
        """Members whose node is not what it should be: they are not compared, and nothing is sent to them."""

    @property
    def wires(self) -> Wires:
        """The wires between the nodes, where there are some."""
        assert self._wires is not None, "this world was founded without wires"
        return self._wires

    @classmethod
    @contextlib.contextmanager
    def founded(
        cls,
        folder: Path,
        seed: int,
        *,
        members: Iterable[str] = MEMBERS,
        observers: Iterable[str] = (),
        wires: bool = False,
        settings: Mapping[str, Any] | None = None,
        start: bool = True,
        permissions: Iterable[str] = (),
        **options: Any,
    ) -> "Iterator[World]":
        """A network of ``members``, started; skips the test where there is no CometBFT."""
        cometbft()
        organisations = [
            Organisation(one, {f"clerk-{one}": ["units:issuer", *permissions]}) for one in members
        ]
        organisations += [Organisation(one, {f"clerk-{one}": []}, observer=True) for one in observers]
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        network = LocalNetwork.found(
            folder, organisations, APPLICATIONS, network=NETWORK, settings={**SETTINGS, **(settings or {})},
            environment=environment, **options,
        )  # fmt: skip
        print(f"\nseed {seed}")
        with contextlib.ExitStack() as stack:
            laid = stack.enter_context(Wires(network)) if wires else None
            stack.enter_context(network)
            if start:
                network.start()
            yield cls(network, seed, environment, laid)

    def drawn_from(self, *names: object) -> random.Random:
        """A source of its own for what is named, from the seed."""
        return random.Random(f"{self.seed} {names}")

    def others(self, *names: str) -> list[LocalNode]:
        """All nodes but these."""
        return [one for one in self.network.nodes if one.organisation.id not in names]

    def betray(self, name: str, mode: str) -> None:
        """Start the node of ``name`` as one that is not what it should be, see ``traitor/sitecustomize.py``."""
        path = os.pathsep.join((str(TESTS / "cluster" / "traitor"), self._environment["PYTHONPATH"]))
        self.network.node(name).start({"TRAITOR": mode, "PYTHONPATH": path})

    # the load ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def load(self, clients_each: int = CLIENTS_EACH) -> Iterator[None]:
        """Clients send as long as this lasts; at the end the last answers are waited for a little."""
        self._ends.clear()
        self._turn += 1
        threads = [
            threading.Thread(target=self._client, args=(node, number), name=f"client {number} of {node}")
            for node in self.network.validators
            for number in range(clients_each)
        ]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            self._ends.set()
            for one in threads:
                one.join()

    def _client(self, home: LocalNode, number: int) -> None:
        name = home.organisation.id
        source = self.drawn_from("client", self._turn, name, number)
        key = read_key(home.path / "keys" / f"clerk-{name}.key")
        clients: dict[str, Client] = {}

        def client(node: LocalNode) -> Client:
            url = node.url
            if not url:
                raise GuildbookError("client.unreachable", "it does not run")
            if url not in clients:
                clients[url] = Client(url, key, timeout_s=ANSWER_TIMEOUT_S)
            return clients[url]

        try:
            while not self._ends.is_set():
                call = self._draw(source)
                try:
                    envelope = client(home).sign([call])
                except GuildbookError:
                    self._ends.wait(0.2)
                    continue
                sent = Sent(call, envelope)
                with self._lock:
                    self.sent.append(sent)
                self._send(source, home, client, sent, envelope)
        finally:
            for one in clients.values():
                one.close()

    def _send(
        self,
        source: random.Random,
        home: LocalNode,
        client: Callable[[LocalNode], Client],
        sent: Sent,
        envelope: bytes,
    ) -> None:
        """Send until it is answered, somewhere; or give up, sometimes."""
        node = home
        while not self._ends.is_set() or node is home:
            try:
                sent.receipt = client(node).submit(envelope)
            except TransactionRefused as refused:
                sent.receipt = refused.receipt
            except GuildbookError as error:
                if self._ends.is_set() or not error.code.startswith(("client.", "api.")) or source.random() < 0.2:
                    return
                node = source.choice(self.others(*self.lying))
                self._ends.wait(0.1)
                continue
            sent.answered = time.monotonic()
            return

    def _draw(self, source: random.Random) -> tuple[str, dict[str, Any]]:
        with self._lock:
            number = next(self._numbers)
        kind = source.randrange(6)
        if kind == 0:
            return "units.issue", {"to": source.choice(ACCOUNTS), "units": source.randrange(1, 10)}
        if kind in (1, 2):
            one, other = source.sample(ACCOUNTS, 2)
            return "units.move", {"source": one, "target": other, "units": source.randrange(1, 30)}
        name = source.choice(REGISTERS)
        if kind == 3:
            return "registers.get", {"name": name}
        if kind == 4:
            return "registers.put", {"name": name, "value": number}
        known = [
            one.call[1]["value"]
            for one in self.sent[-40:]
            if one.call[0] == "registers.put" and one.call[1]["name"] == name
        ]
        return "registers.swap", {"name": name, "expected": source.choice(known or [0]), "value": number}

    # waiting -----------------------------------------------------------------------------------------------------

    @property
    def answered(self) -> int:
        """How many transactions were answered since the last check."""
        return sum(one.receipt is not None for one in list(self.sent))

    def settle(self, answers: int = 30) -> None:
        """Let the load go on until so many more were answered."""
        wanted = self.answered + answers
        self.until(lambda: self.answered >= wanted, f"{answers} more answers")

    def until(self, true: Callable[[], object], what: str, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Wait for a condition, for long on a busy machine; a node that does not answer now is asked again."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(GuildbookError):
                if true():
                    return
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
            time.sleep(0.05)

    @contextlib.contextmanager
    def recovering(self, what: str, nodes: Iterable[LocalNode] | None = None) -> Iterator[None]:
        """Around what mends or breaks something: measures from its end until ``nodes`` (None: all) have two new blocks
        and are ready. There must be a load.
        """
        yield
        began = time.monotonic()
        compared = list(self.network.nodes if nodes is None else nodes)
        for one in compared:
            one.wait_answering(SETTLE_TIMEOUT_S)
        height = max(one.height for one in compared)
        self.network.wait_height(height + 2, compared, SETTLE_TIMEOUT_S)
        self.recovered_s[f"{what}: blocks"] = time.monotonic() - began
        for one in compared:
            one.wait_ready(SETTLE_TIMEOUT_S)
        self.recovered_s[f"{what}: all ready"] = time.monotonic() - began
        print(f"{what}: blocks again after {self.recovered_s[f'{what}: blocks']:.2f} s, all nodes ready after "
              f"{self.recovered_s[f'{what}: all ready']:.2f} s")  # fmt: skip

    # what must hold ----------------------------------------------------------------------------------------------

    def check(self, *failed: str) -> None:
        """Everything in the head of this file, since the last check; the nodes run, and there is no load.

        The engines of those in ``failed`` may have failed, and were started again.
        """
        honest = self.others(*self.lying)
        for one in honest:
            one.wait_ready(SETTLE_TIMEOUT_S)
        self._until_quiet(honest)
        height, _hash = self.network.same_roots(honest, SETTLE_TIMEOUT_S)
        for number in range(self._before.height + 1, height + 1):
            hashes = {one.client().block(number + 1).app_hash for one in honest}
            assert len(hashes) == 1, f"after block {number} nodes differ: {hashes}"
        receipts = self._receipts(honest)
        places = [(one.height, one.index) for one in receipts.values()]
        assert len(set(places)) == len(places), "two transactions in one place"
        for sent in self.sent:
            if sent.receipt is not None:
                assert receipts.get(sent.id) == sent.receipt, f"{sent.call} was acknowledged otherwise"
        issued = sum(
            one.call[1]["units"]
            for one in self.sent
            if one.call[0] == "units.issue" and one.id in receipts and receipts[one.id].outcome == "applied"
        )
        accounts = {row["id"]: row["units"] for row in honest[0].client().rows("units.accounts").rows}
        assert sum(accounts.values()) == sum(self._before.accounts.values()) + issued, accounts
        self._check_order(receipts)
        self._check_histories(receipts)
        for node in self.others(*self.lying, *failed):
            log = node.path / "engine" / "engine.log"
            assert CONSENSUS_FAILURE not in log.read_bytes(), log
        outcomes = collections.Counter("no answer" if one.receipt is None else one.receipt.outcome for one in self.sent)
        print(f"{len(self.sent)} transactions, {dict(outcomes)}, {height} blocks, "
              f"{sum(one.id in receipts and one.receipt is None for one in self.sent)} took effect unseen")  # fmt: skip
        registers = {row["name"]: row["value"] for row in honest[0].client().rows("registers.registers").rows}
        issued_ids = [sent.id for sent in self.sent if sent.call[0] == "units.issue" and sent.id in receipts]
        issues = [receipts[each].result for each in issued_ids]
        self._before = Before(accounts, registers, max([self._before.issues, *issues]), height)
        self.sent = [one for one in self.sent if one.id not in receipts]

    def _until_quiet(self, honest: list[LocalNode]) -> None:
        """Wait until what is under way is in a block: what nobody waits for can come late."""
        client = honest[0].client(f"clerk-{honest[0].organisation.id}")
        for _each in range(3):
            client.call("registers.get", name="last")

    def _receipts(self, honest: list[LocalNode]) -> dict[str, ReceiptDocument]:
        """By id, what is on the ledger of what was sent; all nodes say the same of each."""
        found: dict[str, ReceiptDocument] = {}
        for sent in self.sent:
            told = [one.client().receipt(sent.id) for one in honest]
            assert all(one == told[0] for one in told), f"{sent.call} is not alike on all nodes: {told}"
            if told[0] is not None:
                found[sent.id] = told[0]
        return found

    def _check_order(self, receipts: dict[str, ReceiptDocument]) -> None:
        """What was answered before another was sent is before it on the ledger."""
        on_ledger = sorted(
            (one for one in self.sent if one.id in receipts),
            key=lambda one: (receipts[one.id].height, receipts[one.id].index),
        )
        latest = None
        for one in on_ledger:
            if latest is not None:
                assert one.answered >= latest.invoked, (
                    f"{one.call} was answered before {latest.call} was sent, and stands behind it"
                )
            if latest is None or one.invoked > latest.invoked:
                latest = one

    def _check_histories(self, receipts: dict[str, ReceiptDocument]) -> None:
        """By what clients were told alone; whoever was told nothing is told now, if it took effect."""
        histories: dict[tuple[str, str], list[Operation]] = collections.defaultdict(list)
        now = time.monotonic()
        for one in self.sent:
            receipt = receipts.get(one.id)
            if receipt is None:
                continue
            name, given = one.call
            for kind, key, call, answer in _single(name, given, receipt):
                histories[kind, key].append(Operation(one.invoked, min(one.answered, now), call, answer))
        before = self._before
        for (kind, key), operations in histories.items():
            if kind == "register":
                good = linearizable(operations, register, before.registers.get(key, 0))
            elif kind == "account":
                good = linearizable(operations, balance, before.accounts.get(key, 0))
            else:
                good = linearizable(operations, counter, before.issues)
            assert good, f"the history of {kind} {key} is not linearizable"


def _single(name: str, given: dict[str, Any], receipt: ReceiptDocument) -> list[tuple[str, str, Any, Any]]:
    """A transaction as operations on single objects: (kind, which one, call, answer).

    A move that was refused read one account and touched no other.
    """
    applied = receipt.outcome == "applied"
    if name == "units.issue":
        assert applied, receipt
        return [("account", given["to"], ("add", given["units"]), None), ("counter", "issue", "next", receipt.result)]
    if name == "units.move":
        taken = None if applied else ("free", receipt.fields["free"])
        found: list[tuple[str, str, Any, Any]] = [("account", given["source"], ("take", given["units"]), taken)]
        if applied:
            found.append(("account", given["target"], ("add", given["units"]), None))
        return found
    if name == "registers.get":
        return [("register", given["name"], ("get",), receipt.result)]
    if name == "registers.put":
        return [("register", given["name"], ("put", given["value"]), receipt.result)]
    answer = None if applied else ("other", receipt.fields["found"])
    return [("register", given["name"], ("swap", given["expected"], given["value"]), answer)]
