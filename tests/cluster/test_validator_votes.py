"""A real CometBFT takes the validators that members decide on, block by block, and goes on.

The network has one member, whose validator runs; those that are added here are never started, and stay below a third.
"""

from typing import Any

import msgspec
import pytest

from engine_binary import cometbft
from governed import action, proven
from guildbook.chain.genesis import Genesis
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import build_transaction
from guildbook.evidence.build import receipt_evidence
from guildbook.evidence.source import LedgerSource
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.evidence.verify import verify
from guildbook.foundation.council import Council
from guildbook.runtime.arguments import bind
from guildbook.runtime.registry import Registry
from guildbook.state.kv import MemoryStore
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of
from network_node import WAIT_S, NetworkNode, wait_until

NETWORK = "test-net"


def genesis() -> Genesis:
    """A network of one member, whose validator has power 10 and can be changed."""
    founded = TestLedger(check_invariants=False).ledger.genesis
    validators = [msgspec.structs.replace(founded.validators[0], power=10)]
    return msgspec.structs.replace(founded, engine="cometbft", validators=validators)


@pytest.fixture
def node(tmp_path):
    program = cometbft()
    store = RocksStore(tmp_path / "store")
    Ledger.create(store, genesis(), Registry())
    store.close()
    one = NetworkNode(tmp_path, program)
    one.start()
    yield one
    one.close()


def act(node: NetworkNode, *actions: Any) -> Any:
    """Let the only member act; the receipt, once the block after the one from which it holds is there."""
    height = node.ledger.head.height
    arguments = bind(Council.commands["act"], ("A change", "for the test", tuple(actions)))
    call = ("council", "act", arguments)
    envelope = build_transaction(
        NETWORK, key_of("council/registrar"), 1_000_000, height.to_bytes(8, "big"), [call]
    )
    answer = node.engine.submit([envelope]).result(WAIT_S)[0]
    assert answer.receipt is not None, answer
    receipt = decode_receipt(answer.receipt)
    assert receipt.outcome == Outcome.APPLIED, receipt
    return receipt


def powers(node: NetworkNode, height: int) -> list[int]:
    return [one.power for one in node.ledger.view().validators(height).validators]


def test_validators_come_go_and_change_their_power_on_a_running_chain(node):
    first, second = proven("council", "second"), proven("council", "third")
    receipts = [
        act(node, action("add_validator", organisation="council", value=3, **first)),
        act(node, action("set_power", public_key=first["public_key"], value=4)),
        act(
            node,
            action(
                "replace_validator",
                public_key=first["public_key"],
                new_key=second["public_key"],
                proof=second["proof"],
            ),
        ),
        act(node, action("remove_validator", public_key=second["public_key"])),
    ]
    for expected, receipt in zip(([10, 3], [10, 4], [10, 4], [10]), receipts, strict=True):
        assert powers(node, receipt.height + 2) == expected
    last = receipts[-1].height
    for number in range(4):
        act(node, action("set_parameter", name="events_max", value=100 + number))
    wait_until(lambda: node.engine.keeper.kept_height >= last + 3, "the chain does not go on")
    wait_until(lambda: node.engine.keeper.kept_height == node.ledger.head.height, "blocks are not kept")

    view = node.ledger.view()
    assert list(check_chain(view)) == []
    scratch = MemoryStore()
    assert list(replay(view, scratch, Registry())) == []
    assert list(compare(view.reader, scratch)) == []
    assert len(view.commit(receipts[0].height + 2).signatures) == 2
    trust = Trust(NETWORK, (TrustedSet(view.validators(1)),))
    source = LedgerSource(view)
    handovers = [
        verify(receipt_evidence(source, one.transaction), trust).handovers
        for one in (receipts[0], receipts[3])
    ]
    assert handovers[0] == 0
    assert handovers[1] >= 1
    assert node.halted == []
