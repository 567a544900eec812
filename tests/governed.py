"""A network of several members for tests: its ledger, its votes, and actions written shortly."""

from collections.abc import Mapping, Sequence
from typing import Any

from guildbook.chain.bundle import encode_bundle
from guildbook.chain.keeping import NO_PARTS
from guildbook.chain.ledger import validators_at
from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.chain.receipt import Receipt, decode_receipt
from guildbook.chain.transition import BlockInput
from guildbook.contract import Contract
from guildbook.contract.keys import possession_statement
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.primitives import cometbft as comet
from guildbook.primitives import protobuf as pb
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.decisions import Action, ActionKind
from guildbook.state import layout
from guildbook.testing import TestLedger
from guildbook.testing.ledger import BLOCK_INTERVAL_NS
from guildbook.testing.ledger import test_key as key_of

DAY_MS = 24 * 3600 * 1000
MEMBERS = {"mill": "maker", "farm": "maker", "shop": "seller", "port": "carrier"}


def action(kind: str, **fields: Any) -> Action:
    return Action(kind=ActionKind(kind), **fields)


SET_EVENTS = action("set_parameter", name="events_max", value=99)
CHARTER = action("set_charter", digest=b"c" * 32)


def suspend(organisation: str) -> Action:
    return action("suspend_member", organisation=organisation)


def validator_key(organisation: str) -> bytes:
    return key_of(f"validator {organisation}").public_key


def proven(organisation: str, name: str, network: str = "test-net") -> dict[str, bytes]:
    """A public key named ``name``, with its proof that ``organisation`` possesses it as a validator."""
    signing = key_of(name)
    statement = possession_statement(network, f"validator/{organisation}", signing.public_key)
    return {"public_key": signing.public_key, "proof": signing.sign(statement)}


class Network:
    """A ledger of members, each with one voter."""

    def __init__(
        self,
        members: Mapping[str, str] | None = None,
        *contracts: type[Contract],
        permissions: Sequence[str] = ("council:voter",),
        ledger: type[TestLedger] = TestLedger,
        **options: Any,
    ) -> None:
        self.members = dict(MEMBERS if members is None else members)
        options.setdefault("validators", dict.fromkeys(self.members, 10))
        actors = {f"{one}/{one}-voter": list(permissions) for one in self.members}
        actors["guest/guest-clerk"] = ["council:voter"]
        self.ledger: Any = ledger(
            *contracts, actors={**actors, **options.pop("actors", {})}, members=self.members, **options
        )

    def of(self, organisation: str) -> Any:
        """The council's commands, for a member's voter."""
        return self.actor(organisation).council

    def actor(self, organisation: str) -> Any:
        party = "registrar" if organisation == "council" else f"{organisation}-voter"
        return self.ledger.actor(f"{organisation}/{party}" if organisation != "guest" else "guest/guest-clerk")

    def propose(self, *actions: Action, by: str = "mill", **options: Any) -> int:
        number: int = self.of(by).propose("A title", "A reason", tuple(actions), **options)
        return number

    def vote(self, proposal: int, **choices: str) -> None:
        for organisation, choice in choices.items():
            self.of(organisation).vote(proposal, choice, "because")

    def proposal(self, number: int) -> Any:
        return self.ledger.rows("council.proposals", number)[0]

    def tally(self, number: int) -> Any:
        return self.ledger.query("council.tally", number)

    def close(self, number: int, by: str = "guest") -> str:
        """Let the time of voting pass, and count; returns the status."""
        self.ledger.now_ns = max(self.ledger.now_ns, self.proposal(number).closes_at * 1_000_000)
        self.of(by).close(number)
        status: str = self.proposal(number).status.value
        return status

    def execute(self, number: int, by: str = "guest") -> None:
        """Let the delay pass, and execute."""
        earliest = self.proposal(number).executable_from
        self.ledger.now_ns = max(self.ledger.now_ns, (earliest or 0) * 1_000_000)
        self.of(by).execute(number)

    def decide(
        self, *actions: Action, no: Sequence[str] = (), by: str = "mill", **options: Any
    ) -> int:
        """Propose, let all but ``no`` say yes, close and execute; returns the proposal's number."""
        number = self.propose(*actions, by=by, **options)
        for organisation in self.members:
            if organisation not in no:
                self.of(organisation).vote(number, "yes", "agreed")
        assert self.close(number, by) == "passed", self.tally(number)
        self.execute(number, by)
        return number


class SignedLedger(TestLedger):
    """A ledger whose blocks are signed by the validators of their height, as those of a network are.

    ``signers`` are the keys that can sign.
    """

    def __init__(self, *contracts: type[Contract], signers: Sequence[SigningKey], **options: Any) -> None:
        self.signers = {one.public_key: one for one in signers}
        self._previous = comet.NO_BLOCK
        self._evidence: list[bytes] = []
        super().__init__(*contracts, **options)

    def cut(self, envelopes: Sequence[bytes]) -> list[Receipt]:
        """Run, sign and commit one block."""
        self.now_ns += BLOCK_INTERVAL_NS
        ledger, head = self.ledger, self.ledger.head
        height, network = head.height + 1, ledger.genesis.network
        validators = validators_at(self.store, height)
        bundles = (encode_bundle(envelopes),) if envelopes else ()
        stored = self.store.get(layout.height_key(layout.COMMITS, head.height))
        last_commit = comet.EMPTY_COMMIT if stored is None else comet.decode_commit(stored)
        header = comet.Header(
            chain_id=network,
            height=height,
            time_ns=self.now_ns,
            last_block_id=self._previous,
            last_commit_hash=comet.commit_hash(last_commit),
            data_hash=comet.data_hash(bundles),
            validators_hash=comet.validator_set_hash(validators),
            next_validators_hash=comet.validator_set_hash(validators_at(self.store, height + 1)),
            consensus_hash=comet.consensus_params_hash(4_194_304, -1),
            app_hash=head.app_hash,
            last_results_hash=head.results_hash,
            evidence_hash=comet.evidence_hash(self._evidence),
            proposer_address=validators.validators[0].address,
        )
        data = comet.encode_block(header, bundles, last_commit, self._evidence)
        block = comet.block_id(header, data)
        message = comet.vote_sign_bytes(network, height, 0, block, self.now_ns)
        votes = [
            comet.CommitSig(
                comet.FLAG_COMMIT, one.address, self.now_ns, self.signers[one.public_key].sign(message)
            )
            for one in validators.validators
        ]
        commit = comet.Commit(height, 0, block, tuple(votes))
        self.last_block = ledger.apply(
            BlockInput(height, self.now_ns, bundles, misbehaviour_of(self._evidence))
        )
        ledger.commit(
            self.last_block,
            comet.BlockID(block.hash, NO_PARTS),
            header.app_hash,
            [
                (layout.height_key(layout.BLOCKS, height), data),
                (layout.height_key(layout.COMMITS, height), comet.encode_commit(commit)),
            ],
        )
        self._previous, self._evidence = block, []
        self.ledger.view().execution().check_invariants()
        return [decode_receipt(one) for one in self.last_block.receipts]

    def report(self, organisation: str) -> None:
        """Cut a block with evidence that the organisation's validator voted twice in the last one."""
        head = self.ledger.head
        time = pb.integer(1, head.time_ns // comet.NANOSECONDS_PER_SECOND)
        address = comet.Validator(validator_key(organisation), 1).address
        vote = pb.integer(1, 2) + pb.integer(2, head.height) + pb.octets(6, address)
        double = pb.message(1, vote) + pb.message(2, vote) + pb.integer(3, 40) + pb.integer(4, 10)
        self._evidence = [pb.message(1, double + pb.message(5, time))]
        self.cut([])

    def trust(self, height: int = 1, last_height: int | None = None) -> Trust:
        """An anchor of the set that signs ``height``, believed from there on."""
        members = self.ledger.view().validators(height)
        return Trust(self.ledger.genesis.network, (TrustedSet(members, height, last_height),))

    def receipt_of(self, height: int, index: int = 0) -> bytes:
        """The id of a transaction by its place."""
        changes = self.ledger.view().changes(height)
        assert changes is not None
        return decode_receipt(changes.receipts[index]).transaction
