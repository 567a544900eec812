"""CometBFT as an application meets it: asks in the orders that the specification allows, and keeps a chain of its own.

It holds what a real engine holds (blocks with headers, evidence and the signatures of four validators, and what it was
answered), so that it can crash, come back and send again what the application lacks. Beside it runs a ledger that
applies the same blocks directly: whatever is asked and however often, both must have the same roots.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from guildbook.chain.block import BLOCK_SIZE_BYTES_MAX, GAS_UNLIMITED
from guildbook.chain.genesis import Genesis, GenesisValidator, read_genesis
from guildbook.chain.ledger import Ledger, validators_at
from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.chain.transition import BlockInput
from guildbook.chain.validators import Updates
from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.server import encode_frame
from guildbook.primitives import cometbft as comet
from guildbook.primitives import protobuf
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.registry import Registry
from guildbook.state.kv import MemoryStore
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of
from sample_contract import Units

VALIDATORS = ("validator", "second", "third", "fourth")
ACTORS = {"mill/anna": ["units:issuer"], "mill/bert": []}
MAX_TX_BYTES = 1 << 20
Call = Callable[[pb.Request], pb.Response]


def several_validators(names: Sequence[str] = VALIDATORS) -> Genesis:
    """The genesis of the sample contract with the validators ``names``, each of power 10."""
    founded = TestLedger(Units, actors=ACTORS, check_invariants=False).ledger.genesis
    organisation = founded.validators[0].organisation
    members = [GenesisValidator(key_text(key_of(name).public_key), 10, organisation) for name in names]
    return msgspec.structs.replace(founded, validators=members)


REGISTRY = Registry()
"""Loads each contract's source once for all tests."""


@cache
def _founding(genesis: bytes) -> list[tuple[bytes, bytes]]:
    store = MemoryStore()
    Ledger.create(store, read_genesis(genesis), REGISTRY)
    return list(store.scan(b"", None))


def founded(genesis: Genesis, store: MemoryStore | None = None) -> Ledger:
    """The ledger of ``genesis`` in ``store``, just founded."""
    store = store if store is not None else MemoryStore()
    store.write(_founding(genesis.to_json()))
    return Ledger(store, REGISTRY)


@dataclass(frozen=True)
class MadeBlock:
    """A block of the fake chain, with the signatures under it."""

    block: comet.Block
    data: bytes
    id: comet.BlockID
    commit: comet.Commit


class Connection:
    """One of the engine's connections, as a blocking client."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *requests: pb.Request) -> None:
        self.socket.sendall(b"".join(encode_frame(one.SerializeToString()) for one in requests))

    def receive(self) -> pb.Response:
        size = shift = 0
        while True:
            octet = self.file.read(1)
            if not octet:
                raise EOFError
            size |= (octet[0] & 0x7F) << shift
            shift += 7
            if octet[0] < 0x80:
                return pb.Response.FromString(self.file.read(size))

    def ask(self, request: pb.Request) -> pb.Response:
        self.send(request, pb.Request(flush=pb.RequestFlush()))
        answer = self.receive()
        assert self.receive().HasField("flush")
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class FakeEngine:
    """Drives an application through ``call``; every answer is checked for its form and against the laws."""

    def __init__(self, genesis: Genesis, call: Call) -> None:
        self.genesis = genesis
        self.call = call
        self.blocks: list[MadeBlock] = []
        self.mempool: list[bytes] = []
        self.reference = founded(genesis)
        self._founded_hash = self.reference.head.app_hash
        self._signers: dict[bytes, SigningKey] = {key_of(name).public_key: key_of(name) for name in VALIDATORS}
        self._answers: dict[int, bytes] = {}
        self._updates: dict[int, Updates] = {}
        self._app_hash = self.reference.head.app_hash
        self._results_hash = comet.EMPTY_HASH

    # asking ----------------------------------------------------------------------------------------------------

    def ask(self, kind: str, **fields: Any) -> Any:
        """The answer to one request, which must be of the request's kind."""
        of = getattr(pb, "Request" + "".join(part.title() for part in kind.split("_")))
        response = self.call(pb.Request(**{kind: of(**fields)}))
        assert response.WhichOneof("value") == kind, response
        return getattr(response, kind)

    def small_talk(self) -> None:
        """What may be asked at any time."""
        assert self.ask("echo", message="hello").message == "hello"
        self.ask("flush")
        assert self.ask("query", path="/head").height == self.committed
        assert self.ask("query", path="/nowhere").code
        assert not self.ask("list_snapshots").snapshots

    @property
    def committed(self) -> int:
        """The height that the application says it has committed."""
        return int(self.ask("info", version="fake").last_block_height)

    @property
    def height(self) -> int:
        """The last height that the chain has decided."""
        return len(self.blocks)

    def check(self, bundle: bytes) -> bool:
        """A bundle comes to the mempool; whether it may wait there."""
        good: bool = self.ask("check_tx", tx=bundle).code == 0
        if good:
            self.mempool.append(bundle)
        return good

    def recheck(self) -> None:
        """After a block: what is left in the mempool is checked again."""
        self.mempool = [
            one for one in self.mempool if self.ask("check_tx", tx=one, type=pb.RequestCheckTx.RECHECK).code == 0
        ]

    def start(self) -> None:
        """What an engine asks first: where the application stands; then it sends what is missing."""
        info = self.ask("info", version="fake")
        height = info.last_block_height
        assert 0 <= height <= self.height
        if height:
            assert info.last_block_app_hash == self._answers[height]
        else:
            self.init_chain()
        for number in range(height + 1, self.height + 1):
            self.finalize(number)
            self.commit()

    def init_chain(self) -> None:
        """The beginning of the chain, asked for as long as nothing is committed."""
        answer = self.ask("init_chain", **self.founding())
        assert answer.app_hash == self._founded_hash
        assert not answer.validators
        assert not answer.HasField("consensus_params")

    def founding(self) -> dict[str, Any]:
        """What InitChain carries."""
        return {
            "time": timestamp(self.genesis.time_ms * 1_000_000),
            "chain_id": self.genesis.network,
            "consensus_params": pb.ConsensusParams(
                block=pb.BlockParams(max_bytes=BLOCK_SIZE_BYTES_MAX, max_gas=GAS_UNLIMITED)
            ),
            "validators": [
                pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=one.public_key[1:]), power=one.power)
                for one in self.genesis.validator_set.validators
            ],
            "app_state_bytes": b'{"genesis_hash":"%s"}' % self.genesis.hash.hex().encode(),
            "initial_height": 1,
        }

    # deciding --------------------------------------------------------------------------------------------------

    def propose(self, time_ns: int, bundles: Sequence[bytes], max_tx_bytes: int = MAX_TX_BYTES) -> list[bytes]:
        """The application makes a proposal of ``bundles``."""
        answer = self.ask(
            "prepare_proposal",
            txs=bundles,
            max_tx_bytes=max_tx_bytes,
            height=self.height + 1,
            time=timestamp(time_ns),
        )
        size = sum(1 + len(protobuf.varint(len(one))) + len(one) for one in answer.txs)
        assert size <= max_tx_bytes, "a proposal larger than allowed stops the engine"
        return list(answer.txs)

    def accepts(self, time_ns: int, bundles: Sequence[bytes]) -> bool:
        """Whether the application accepts a proposal."""
        answer = self.ask(
            "process_proposal",
            txs=bundles,
            height=self.height + 1,
            time=timestamp(time_ns),
            hash=bytes(32),
            proposer_address=self.genesis.validator_set.validators[0].address,
        )
        verdict = pb.ResponseProcessProposal
        assert answer.status in (verdict.ACCEPT, verdict.REJECT), "UNKNOWN stops the engine"
        return bool(answer.status == verdict.ACCEPT)

    def decide(
        self, time_ns: int, bundles: Sequence[bytes], *, guilty: str | None = None, absent: str | None = None
    ) -> int:
        """More than two thirds have decided a block, which this engine stores; its height.

        ``guilty`` names a validator of whose double vote the block has evidence, ``absent`` one that did not sign,
        where the others are enough.
        """
        height = self.height + 1
        last = self.blocks[-1] if self.blocks else None
        validators = validators_at(self.reference.store, height)
        evidence = () if guilty is None else (double_vote(guilty, max(height - 1, 1), time_ns),)
        last_commit = comet.EMPTY_COMMIT if last is None else last.commit
        header = comet.Header(
            chain_id=self.genesis.network,
            height=height,
            time_ns=time_ns,
            last_block_id=comet.NO_BLOCK if last is None else last.id,
            last_commit_hash=comet.commit_hash(last_commit),
            data_hash=comet.data_hash(bundles),
            validators_hash=comet.validator_set_hash(validators),
            next_validators_hash=comet.validator_set_hash(validators_at(self.reference.store, height + 1)),
            consensus_hash=comet.consensus_params_hash(BLOCK_SIZE_BYTES_MAX, GAS_UNLIMITED),
            app_hash=self._app_hash,
            last_results_hash=self._results_hash,
            evidence_hash=comet.evidence_hash(evidence),
            proposer_address=validators.validators[height % len(validators.validators)].address,
        )
        data = comet.encode_block(header, bundles, last_commit, evidence)
        identity = comet.block_id(header, data)
        votes = []
        for place, validator in enumerate(validators.validators):
            key = self._signers[validator.public_key]
            rest = validators.total_power - validator.power
            away = absent is not None and validator.public_key == key_of(absent).public_key
            if away and rest * 3 > validators.total_power * 2:
                votes.append(comet.ABSENT)
                continue
            at_ns = time_ns + place
            signed = comet.vote_sign_bytes(self.genesis.network, height, 0, identity, at_ns)
            votes.append(comet.CommitSig(comet.FLAG_COMMIT, validator.address, at_ns, key.sign(signed)))
        commit = comet.Commit(height, 0, identity, tuple(votes))
        block = comet.Block(header, tuple(bundles), evidence, last_commit)
        self.blocks.append(MadeBlock(block, data, identity, commit))
        return height

    def finalize(self, height: int) -> Any:
        """The block of ``height`` is run; the answer must be the one of every other time, and the reference's."""
        made = self.blocks[height - 1]
        block = made.block
        answer = self.ask(
            "finalize_block",
            txs=block.txs,
            height=height,
            time=timestamp(block.header.time_ns),
            hash=made.id.hash,
            misbehavior=[
                pb.Misbehavior(
                    type=one.kind,  # type: ignore[arg-type]
                    validator=pb.Validator(address=one.address, power=one.power),
                    height=one.height,
                    time=timestamp(one.time_ns),
                    total_voting_power=one.total_power,
                )
                for one in misbehaviour_of(block.evidence)
            ],
        )
        assert len(answer.tx_results) == len(block.txs)
        results = [comet.ExecTxResult(one.code, one.data) for one in answer.tx_results]
        if self.reference.head.height < height:
            expected = self.reference.apply(
                BlockInput(height, block.header.time_ns, block.txs, misbehaviour_of(block.evidence))
            )
            assert list(expected.results) == results
            self.reference.commit(expected, comet.BlockID(made.id.hash, comet.NO_BLOCK.parts), self._app_hash)
            self._results_hash = comet.results_hash(results)
            self._app_hash = expected.app_hash
            self._answers[height] = expected.app_hash
            self._updates[height] = expected.validator_updates
        assert answer.app_hash == self._answers[height]
        updates = tuple((b"\x01" + one.pub_key.ed25519, one.power) for one in answer.validator_updates)
        assert updates == self._updates[height]
        return answer

    def commit(self) -> None:
        """What was run is to be kept for good."""
        self.ask("commit")


def timestamp(time_ns: int) -> pb.Timestamp:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return pb.Timestamp(seconds=seconds, nanos=nanoseconds)


def double_vote(name: str, height: int, time_ns: int) -> bytes:
    """Evidence that the validator ``name`` signed two blocks of one height, as a block holds it."""
    address = comet.Validator(key_of(name).public_key, 10).address

    def vote(content: bytes) -> bytes:
        identity = protobuf.octets(1, content * 32) + protobuf.message(2, b"")
        return (
            protobuf.integer(1, comet.PRECOMMIT)
            + protobuf.integer(2, height)
            + protobuf.message(4, identity)
            + protobuf.message(5, _time(time_ns))
            + protobuf.octets(6, address)
            + protobuf.octets(8, bytes(64))
        )

    return protobuf.message(
        1,
        protobuf.message(1, vote(b"a"))
        + protobuf.message(2, vote(b"b"))
        + protobuf.integer(3, 40)
        + protobuf.integer(4, 10)
        + protobuf.message(5, _time(time_ns)),
    )


def _time(time_ns: int) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return protobuf.integer(1, seconds) + protobuf.integer(2, nanoseconds)
