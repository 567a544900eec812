"""A contract and the one that it uses may come from different texts: values cross between them by their encoding.

A node that has a contract installed and one that has loaded its text from the ledger must decide the same. Their
enumerations and records are different classes then, though they mean the same.
"""

from agent_contract import Agent
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transition import BlockInput
from guildbook.foundation.money import Guard, OwnerKind, Transfer
from guildbook.runtime.registry import Registry
from guildbook.testing import TestLedger


def test_enumerations_and_records_reach_a_contract_that_was_loaded_from_the_ledger():
    ledger = TestLedger(Agent, actors={"mill/anna": ["money:issuer"]})
    anna = ledger.actor("mill/anna")
    moved = Transfer(debit="a", credit="b", amount_minor=5, purpose="test")
    calls = [
        ("agent.open_ledger", ("cash", "EUR")),
        ("agent.open_account", ("a", "cash", OwnerKind.CONTRACT, "agent", Guard.NONE)),
        ("agent.open_account", ("b", "cash", OwnerKind.CONTRACT, "agent", Guard.NONE)),
        ("agent.post", ("r-1", (moved,))),
    ]
    for name, arguments in calls:
        envelope = ledger.sign(anna, [(name, arguments, {})])
        head = ledger.ledger.head
        block = BlockInput(head.height + 1, head.time_ns + 1, [encode_bundle([envelope])])
        warm, cold = ledger.ledger.apply(block), Ledger(ledger.store, Registry()).apply(block)
        receipt = decode_receipt(warm.receipts[0])
        assert receipt.outcome == Outcome.APPLIED, receipt
        assert decode_receipt(cold.receipts[0]) == receipt
        assert cold.app_hash == warm.app_hash
        ledger.ledger.commit(warm)
