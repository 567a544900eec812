"""What members decide is proven to strangers, before and after the validators themselves have changed."""

from typing import Any

import pytest

from governed import MEMBERS, SET_EVENTS, Network, SignedLedger, action, proven, validator_key
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.format import EvidenceError
from guildbook.evidence.source import LedgerSource
from guildbook.evidence.verify import AbsenceFact, RangeFact, ReceiptFact, RowFact, verify
from guildbook.foundation.council import Council
from guildbook.runtime.registry import Registry
from guildbook.state.kv import MemoryStore
from guildbook.testing.ledger import test_key as key_of


def signed_network() -> Network:
    names = [f"validator {one}" for one in MEMBERS] + [f"new {one}" for one in MEMBERS]
    return Network(ledger=SignedLedger, signers=[key_of(name) for name in names])


def key_in(table: str, *key: object) -> bytes:
    schema = Council.tables[table].schema
    return bytes(schema.key(*key)[len(schema.row_prefix) :])


@pytest.fixture(scope="module")
def network() -> Any:
    """Each member's validator is replaced by a vote, one after another."""
    network: Any = signed_network()
    network.heights = {}
    for organisation in MEMBERS:
        new = proven(organisation, f"new {organisation}")
        network.decide(
            action(
                "replace_validator",
                public_key=validator_key(organisation),
                new_key=new["public_key"],
                proof=new["proof"],
            )
        )
        network.heights[organisation] = network.ledger.ledger.head.height
    network.propose(SET_EVENTS)
    network.vote(5, mill="yes")
    for _ in range(4):
        network.ledger.cut([])
    return network


def test_the_chain_is_sound_over_all_its_validator_sets(network):
    view = network.ledger.ledger.view()
    assert list(check_chain(view)) == []
    scratch = MemoryStore()
    assert list(replay(view, scratch, Registry())) == []
    assert list(compare(network.ledger.store, scratch)) == []


def test_receipts_from_before_and_after_each_handover_are_proven_from_the_genesis_set(network):
    source = LedgerSource(network.ledger.ledger.view())
    handovers = []
    for organisation in MEMBERS:
        for height in (network.heights[organisation] - 1, network.heights[organisation]):
            data = receipt_evidence(source, network.ledger.receipt_of(height))
            verdict = verify(data, network.ledger.trust())
            assert verdict.height == height
            handovers.append(verdict.handovers)
    assert handovers == [0, 0, 1, 1, 2, 2, 3, 3]
    transaction = network.ledger.receipt_of(network.heights["port"] + 2)
    last = verify(receipt_evidence(source, transaction), network.ledger.trust())
    assert last.handovers == 4
    assert set(last.signers) == {key_of(f"new {one}").public_key for one in MEMBERS}


def test_a_reader_who_trusts_a_later_set_needs_fewer_handovers(network):
    source = LedgerSource(network.ledger.ledger.view())
    later = network.ledger.trust(network.heights["farm"] + 2)
    transaction = network.ledger.receipt_of(network.heights["port"] + 2)
    assert verify(receipt_evidence(source, transaction, trust=later), later).handovers == 2
    early = network.ledger.receipt_of(3)
    with pytest.raises(EvidenceError):
        verify(receipt_evidence(source, early, trust=later), later)


def test_an_execution_is_proven_with_its_events(network):
    height = network.heights["mill"]
    source = LedgerSource(network.ledger.ledger.view())
    fact = verify(receipt_evidence(source, network.ledger.receipt_of(height)), network.ledger.trust()).fact
    assert isinstance(fact, ReceiptFact)
    events: Any = fact.events
    assert [event[:2] for event in events] == [
        ["governance", "validator_changed"], ["governance", "validator_changed"], ["council", "proposal_executed"]]
    assert fact.signed is not None
    calls = [(call.contract, call.command, call.arguments) for call in fact.signed.calls]
    assert calls == [("council", "execute", [1])]


def test_a_vote_is_proven_with_the_key_that_cast_it(network):
    source, trust = LedgerSource(network.ledger.ledger.view()), network.ledger.trust()
    data = receipt_evidence(source, network.ledger.receipt_of(2))
    fact = verify(data, trust).fact
    assert isinstance(fact, ReceiptFact)
    assert fact.signed is not None
    assert fact.signed.key == network.ledger.actor("mill/mill-voter").key.public_key
    assert fact.signed.calls[0].arguments == [1, "yes", "agreed"]


def test_a_decision_its_ballots_and_a_missing_vote_are_proven_as_rows(network):
    source, trust = LedgerSource(network.ledger.ledger.view()), network.ledger.trust()
    row = verify(row_evidence(source, "council.proposals", key_in("proposals", 1)), trust)
    assert isinstance(row.fact, RowFact)
    assert row.handovers == 4
    names = [field.name for field in Council.tables["proposals"].schema.fields]
    held: Any = row.fact.values
    values = dict(zip(names, held, strict=True))
    assert (values["status"], values["decision"], values["electorate"]) == ("executed", "membership", 4)
    start = Council.tables["votes"].schema.key_prefixes[1](1)[len(Council.tables["votes"].schema.row_prefix) :]
    end = Council.tables["votes"].schema.key_prefixes[1](2)[len(Council.tables["votes"].schema.row_prefix) :]
    ballots = verify(range_evidence(source, "council.votes", start, end), trust).fact
    assert isinstance(ballots, RangeFact)
    cast: Any = [one.values for one in ballots.rows]
    assert [(one[1], one[3]) for one in cast] == [(one, "yes") for one in sorted(MEMBERS)]
    missing = verify(row_evidence(source, "council.votes", key_in("votes", 5, "port")), trust).fact
    assert isinstance(missing, AbsenceFact)


def test_a_report_of_the_engine_is_proven_without_an_envelope():
    network = signed_network()
    ledger = network.ledger
    ledger.cut([])
    ledger.report("shop")
    for _ in range(3):
        ledger.cut([])
    source = LedgerSource(ledger.ledger.view())
    fact = verify(receipt_evidence(source, ledger.receipt_of(2)), ledger.trust()).fact
    assert isinstance(fact, ReceiptFact)
    assert fact.signed is None
    events: Any = fact.events
    assert events[-1][:2] == ["governance", "misbehaviour_recorded"]
    assert ledger.ledger.view().validators(4).total_power == 30
    assert list(check_chain(ledger.ledger.view())) == []
    scratch = MemoryStore()
    assert list(replay(ledger.ledger.view(), scratch, Registry())) == []
