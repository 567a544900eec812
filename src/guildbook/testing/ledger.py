"""A whole ledger in the process, for tests of contracts: real transactions, blocks, receipts and roots, no disk.

    ledger = TestLedger(Points, actors={"kiosk-chain/till": ["points:issuer"], "kiosk-chain/anna": []})
    till = ledger.actor("kiosk-chain/till")
    lot = till.points.issue(programme="summer", to="member-1", units=30, evidence=bytes(32))
    with refused("points.not_enough_units", wanted=31):
        ledger.actor("kiosk-chain/anna").points.redeem(member="member-1", units=31)
    assert ledger.query("points.balance", "member-1") == 30

Each call is one signed transaction in a block of its own; ``ledger.block()`` puts several into one. After every
block all invariants of all contracts are checked. Time stands still until it is moved.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from guildbook.chain.bundle import encode_bundle
from guildbook.chain.changes import BlockChanges, decode_changes
from guildbook.chain.genesis import (
    GENESIS_FORMAT,
    Genesis,
    GenesisContract,
    GenesisOrganisation,
    GenesisParty,
    GenesisValidator,
)
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, Receipt, decode_receipt
from guildbook.chain.transaction import build_transaction
from guildbook.chain.transition import BlockInput, BlockResult
from guildbook.contract import Contract
from guildbook.foundation import FOUNDATION
from guildbook.primitives.errors import spec_for
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.arguments import bind
from guildbook.runtime.registry import Registry
from guildbook.state.kv import KeyValueStore, MemoryStore
from guildbook.state.overlay import Overlay

START_TIME_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
BLOCK_INTERVAL_NS = 1_000_000_000
VALIDITY_BLOCKS = 1_000


class CallRefused(Exception):
    """A transaction was refused; ``code`` and ``fields`` as in its receipt."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.code = receipt.code
        self.fields: dict[str, Any] = dict(receipt.fields)
        super().__init__(f"{receipt.code} {self.fields or ''}".strip())


@contextmanager
def refused(code: str, **fields: Any) -> Iterator[None]:
    """The block inside must be refused with ``code``, and with these ``fields`` where they are given."""
    refusal = None
    try:
        yield
    except CallRefused as error:
        refusal = error
    assert refusal is not None, f"nothing was refused; expected {code}: {spec_for(code).summary}"
    assert refusal.code == code, f"refused with {refusal.code} {refusal.fields}, not with {code}"
    for name, value in fields.items():
        assert name in refusal.fields, f"{code} has no field {name}; it has {sorted(refusal.fields)}"
        assert refusal.fields[name] == value, f"{code}: {name} is {refusal.fields[name]!r}, not {value!r}"


def test_key(name: str) -> SigningKey:
    """The signing key that tests give to ``name``; the same in every run."""
    return SigningKey.from_seed(hashlib.sha256(b"guildbook test key " + name.encode()).digest())


test_key.__test__ = False  # type: ignore[attr-defined]


class Actor:
    """A party with its key. ``actor.points.issue(...)`` calls a command and returns its result."""

    def __init__(self, ledger: "TestLedger", name: str, key: SigningKey) -> None:
        self._ledger = ledger
        self.name = name
        self.organisation, _slash, self.party = name.partition("/")
        self.key = key

    def __getattr__(self, contract: str) -> "_Commands":
        if contract.startswith("__"):
            raise AttributeError(contract)
        return _Commands(self, contract)

    def call(self, command: str, *arguments: Any, **named: Any) -> Any:
        """Call ``contract.command``; returns its result, raises CallRefused."""
        return self._ledger.run(self, [(command, arguments, named)]).results[0]

    def calls(self, *calls: tuple[str, Mapping[str, Any]]) -> Receipt:
        """Several calls in one transaction, all or nothing."""
        return self._ledger.run(self, [(command, (), named) for command, named in calls])


class _Commands:
    """The commands of one contract, for one actor."""

    def __init__(self, actor: Actor, contract: str) -> None:
        self._actor = actor
        self._contract = contract

    def __getattr__(self, command: str) -> Any:
        if command.startswith("__"):
            raise AttributeError(command)
        return lambda *arguments, **named: self._actor.call(
            f"{self._contract}.{command}", *arguments, **named
        )


class TestLedger:
    """An in-process ledger with the foundation contracts and ``contracts``.

    ``actors`` maps "organisation/party" to permissions (``contract:role``); their organisations hold the same. The
    actor "council/registrar" holds every permission of the foundation contracts, and "council" is the only member.

    ``members`` maps the organisations that are members instead to their classes, ``affiliations`` those that have one
    vote together to their group. ``validators`` maps organisations to voting powers, each with the key
    ``test_key("validator <organisation>")``: then the set can change, as under CometBFT.
    """

    __test__ = False

    def __init__(
        self,
        *contracts: type[Contract],
        actors: Mapping[str, Sequence[str]] | None = None,
        store: KeyValueStore | None = None,
        network: str = "test-net",
        check_invariants: bool = True,
        parameters: Mapping[str, int] | None = None,
        members: Mapping[str, str] | None = None,
        affiliations: Mapping[str, str] | None = None,
        validators: Mapping[str, int] | None = None,
    ) -> None:
        self._members = dict(members) if members is not None else {"council": "member"}
        self._affiliations = dict(affiliations or {})
        self.registry = Registry()
        loaded = [self.registry.install(one) for one in (*FOUNDATION, *contracts)]
        self.check_invariants = check_invariants
        permissions = [
            f"{one.name}:{role}"
            for one in loaded
            if one.contract in FOUNDATION
            for role in one.contract.roles
        ]
        everyone: dict[str, list[str]] = {"council/registrar": permissions}
        for name, held in (actors or {}).items():
            everyone[name] = [*everyone.get(name, []), *held]
        self._keys = {name: test_key(name) for name in everyone}
        self._validator = test_key("validator")
        self.store = store if store is not None else MemoryStore()
        genesis = Genesis(
            format=GENESIS_FORMAT,
            network=network,
            time_ms=START_TIME_MS,
            parameters=dict(parameters or {}),
            validators=[GenesisValidator(key_text(self._validator.public_key), 1, "council")]
            if validators is None
            else [
                GenesisValidator(key_text(test_key(f"validator {one}").public_key), power, one)
                for one, power in validators.items()
            ],
            organisations=[
                self._organisation(one, everyone)
                for one in dict.fromkeys(name.partition("/")[0] for name in everyone)
            ],
            contracts=[GenesisContract(one.name, one.version, one.text) for one in loaded],
            engine="solo" if validators is None else "cometbft",
        )
        self.ledger = Ledger.create(self.store, genesis, self.registry)
        self.now_ns = START_TIME_MS * 1_000_000
        self._nonce = 0
        self._gathering: list[bytes] | None = None
        self.last_block: BlockResult | None = None

    def _organisation(self, name: str, everyone: Mapping[str, Sequence[str]]) -> GenesisOrganisation:
        parties = [
            GenesisParty(
                full.partition("/")[2],
                "person",
                full.partition("/")[2],
                key_text(self._keys[full].public_key),
                sorted(set(held)),
            )
            for full, held in everyone.items()
            if full.partition("/")[0] == name
        ]
        held = sorted({one for party in parties for one in party.permissions})
        return GenesisOrganisation(
            name, name, "XX", held, parties, self._members.get(name, ""), self._affiliations.get(name, "")
        )

    # acting --------------------------------------------------------------------------------------------------

    def actor(self, name: str) -> Actor:
        """The actor "organisation/party"; one that is not registered may be used to test refusals."""
        return Actor(self, name, self._keys.get(name) or test_key(name))

    @property
    def now(self) -> int:
        """The time of the next block, milliseconds since 1970."""
        return (self.now_ns + BLOCK_INTERVAL_NS) // 1_000_000

    def advance(self, *, days: int = 0, hours: int = 0, seconds: int = 0, milliseconds: int = 0) -> None:
        """Move the clock forward."""
        self.now_ns += (((days * 24 + hours) * 3600 + seconds) * 1000 + milliseconds) * 1_000_000

    def sign(
        self,
        actor: Actor,
        calls: Sequence[tuple[str, Sequence[Any], Mapping[str, Any]]],
        valid_until: int | None = None,
    ) -> bytes:
        """A signed envelope of ``calls``: (``contract.command``, positional, named arguments)."""
        catalogue = {**self._active()}
        bound = []
        for full, positional, named in calls:
            contract, _dot, command = full.partition(".")
            spec = catalogue[contract].commands.get(command) if contract in catalogue else None
            bound.append(
                (contract, command, bind(spec, positional, named) if spec is not None else list(positional))
            )
        self._nonce += 1
        until = self.ledger.head.height + VALIDITY_BLOCKS if valid_until is None else valid_until
        return build_transaction(
            self.ledger.genesis.network, actor.key, until, self._nonce.to_bytes(8, "big"), bound
        )

    def _active(self) -> dict[str, type[Contract]]:
        return {name: one.contract for name, one in self.ledger.view().execution().active.items()}

    def run(self, actor: Actor, calls: Sequence[tuple[str, Sequence[Any], Mapping[str, Any]]]) -> Receipt:
        """Sign and run one transaction in a block of its own; inside ``block()`` it waits for the end of the block.

        Raises CallRefused unless it is applied.
        """
        envelope = self.sign(actor, calls)
        if self._gathering is not None:
            self._gathering.append(envelope)
            return Receipt(b"", 0, 0, 0, "", [], [None], [])
        receipt = self.cut([envelope])[0]
        if receipt.outcome != Outcome.APPLIED:
            raise CallRefused(receipt)
        return receipt

    @contextmanager
    def block(self) -> Iterator[list[Receipt]]:
        """Calls made inside go into one block; the list holds their receipts afterwards, refused ones too."""
        self._gathering = []
        receipts: list[Receipt] = []
        try:
            yield receipts
            gathered = self._gathering
        finally:
            self._gathering = None
        receipts.extend(self.cut(gathered))

    def cut(self, envelopes: Sequence[bytes]) -> list[Receipt]:
        """Run and commit one block of signed envelopes; returns its receipts."""
        self.now_ns += BLOCK_INTERVAL_NS
        block = BlockInput(
            self.ledger.head.height + 1, self.now_ns, [encode_bundle(envelopes)] if envelopes else []
        )
        result = self.ledger.apply(block)
        self.ledger.commit(result)
        self.last_block = result
        if self.check_invariants:
            self.ledger.view().execution().check_invariants()
        return [decode_receipt(one) for one in result.receipts]

    # looking ---------------------------------------------------------------------------------------------------

    def query(self, name: str, *arguments: Any, **named: Any) -> Any:
        """The result of ``contract.query``."""
        contract, _dot, query = name.partition(".")
        execution = self.ledger.view().execution()
        spec = execution.active[contract].contract.queries[query]
        return execution.query(contract, query, bind(spec, arguments, named))

    def rows(self, table: str, *prefix: Any) -> list[Any]:
        """The rows of ``contract.table`` whose primary key starts with ``prefix``, in key order."""
        contract, _dot, name = table.partition(".")
        schema = self._active()[contract].tables[name].schema
        overlay = Overlay(self.store)
        return list(overlay.scan(schema, None, schema.key_prefixes[len(prefix)](*prefix)))

    def changes(self) -> BlockChanges:
        """The change feed's entry of the last block."""
        assert self.last_block is not None, "no block was cut yet"
        return decode_changes(self.last_block.changes)

    @property
    def faults(self) -> list[str]:
        """Texts of the author's mistakes met in the last block."""
        return [] if self.last_block is None else [one.text for one in self.last_block.faults]
