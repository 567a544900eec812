"""A node for a demonstration: on disk as any other, with a clock that is set by hand and keys that follow from a seed.

An application shows on it what it does, in the time of its story: everybody signs, every call is a transaction in a
block, and what is left behind is the folder of a node, which ``guildbook run`` goes on with and ``guildbook sql`` asks.
Nothing about its keys is secret: whoever knows the seed can sign.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from guildbook.contract import Contract
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.evidence.build import receipt_evidence, row_evidence
from guildbook.evidence.source import LedgerSource
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.foundation import FOUNDATION
from guildbook.node.folder import NodeFolder, make_node
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.arguments import bind
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore

ANSWER_WAIT_S = 120
VALIDITY_BLOCKS = 10_000

Call = tuple[str, Mapping[str, Any]]
"""A command (``contract.command``) and its arguments by name."""


class StagedNode:
    """The node of the network ``network`` in ``folder``, with one application beside the foundation contracts.

    ``cast`` is everybody who signs: "organisation/party" and the party's permissions; an organisation holds what its
    parties hold. The first organisation runs the node.
    """

    def __init__(self, folder: Path, network: str, application: type[Contract], cast: Mapping[str, Sequence[str]], *,
                 seed: int, start_ms: int) -> None:
        self.network = network
        self.now_ms = start_ms
        self._seed = f"guildbook staged {network} {seed}"
        self._nonce = 0
        self._application = application.contract_name
        self.contracts: dict[str, type[Contract]] = {one.contract_name: one for one in (*FOUNDATION, application)}
        self.keys = {name: self._key(name) for name in cast}
        registry = Registry()
        installed = [registry.install(one) for one in self.contracts.values()]
        validator = self._key("validator")
        organisations = _organisations(cast, self.keys)
        genesis = Genesis(
            format=GENESIS_FORMAT, network=network, time_ms=start_ms, parameters={},
            validators=[GenesisValidator(key_text(validator.public_key), 1, organisations[0].id)],
            organisations=organisations,
            contracts=[GenesisContract(one.name, one.version, one.text) for one in installed])
        make_node(folder, genesis, validator, settings={"applications": [self._application]},
                  keys={name.rpartition("/")[2]: key for name, key in self.keys.items()})
        self.ledger = Ledger(RocksStore(NodeFolder(folder).store), registry)
        self.trust = Trust(network, (TrustedSet(genesis.validator_set),))
        self._engine = SoloEngine(self.ledger, validator, SoloSettings(gather_ms=0, signature_workers=0),
                                  clock=self._clock)
        self._engine.start()

    def _key(self, name: str) -> SigningKey:
        return SigningKey.from_seed(hashlib.sha256(f"{self._seed} {name}".encode()).digest())

    def _clock(self) -> int:
        return self.now_ms * 1_000_000

    def sign(self, actor: str, *calls: Call) -> bytes:
        """A signed envelope with ``calls``, all or nothing, in the name of ``actor``."""
        self._nonce += 1
        bound = []
        for full, arguments in calls:
            contract, _dot, command = full.partition(".")
            bound.append((contract, command, bind(self.contracts[contract].commands[command], (), arguments)))
        return build_transaction(self.network, self.keys[actor], self.ledger.head.height + VALIDITY_BLOCKS,
                                 self._nonce.to_bytes(8, "big"), bound)

    def send(self, envelopes: Sequence[bytes]) -> list[Receipt]:
        """Hand in envelopes together; their receipts in order, when all are durable."""
        receipts = []
        for answer in self._engine.submit(envelopes).result(ANSWER_WAIT_S):
            if answer.error is not None:
                raise answer.error
            assert answer.receipt is not None
            receipts.append(decode_receipt(answer.receipt))
        return receipts

    def call(self, actor: str, command: str, **arguments: Any) -> Receipt:
        """One call in a transaction of its own; its receipt, whatever became of it."""
        return self.send([self.sign(actor, (command, arguments))])[0]

    def query(self, name: str, *arguments: Any) -> Any:
        """The result of the query ``contract.query`` on the state after the last block."""
        contract, _dot, query = name.partition(".")
        spec = self.contracts[contract].queries[query]
        return self.ledger.view().execution().query(contract, query, bind(spec, arguments, {}))

    def rows(self, table: str) -> Iterable[Any]:
        """All rows of ``contract.table`` in the order of their keys."""
        contract, _dot, name = table.partition(".")
        return self.ledger.view().rows(self.contracts[contract].tables[name].schema)

    def stop(self) -> None:
        """Finish, so that the last state is provable; the ledger stays readable."""
        self._engine.stop()

    def receipt_evidence(self, transaction: bytes) -> bytes:
        """The evidence file for a transaction and its receipt; after ``stop``."""
        return receipt_evidence(LedgerSource(self.ledger.view()), transaction)

    def row_evidence(self, table: str, row: Any) -> bytes:
        """The evidence file that ``contract.table`` has ``row``; after ``stop``."""
        contract, _dot, name = table.partition(".")
        schema = self.contracts[contract].tables[name].schema
        key = schema.key_of(row)[len(schema.row_prefix):]
        return row_evidence(LedgerSource(self.ledger.view()), table, key)

    def close(self) -> None:
        """Release the store."""
        self.ledger.close()


def _organisations(cast: Mapping[str, Sequence[str]], keys: Mapping[str, SigningKey]) -> list[GenesisOrganisation]:
    parties: dict[str, list[GenesisParty]] = {}
    for name, permissions in cast.items():
        organisation, _slash, party = name.partition("/")
        parties.setdefault(organisation, []).append(
            GenesisParty(party, "service", party, key_text(keys[name].public_key), list(permissions)))
    return [GenesisOrganisation(name, name, "XX", sorted({held for one in people for held in one.permissions}), people)
            for name, people in parties.items()]


def applied(receipt: Receipt) -> Any:
    """What the first call of an applied transaction returned; raises GuildbookError with the code of a refused one."""
    if receipt.outcome != Outcome.APPLIED:
        raise GuildbookError(receipt.code, f"the ledger refused with {receipt.code}: {receipt.fields}",
                             hint="nothing took effect")
    return receipt.results[0]
