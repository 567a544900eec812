"""Evidence exported from a real ledger under the solo engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.engine.crash import CrashPoints
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.format import EvidenceError
from guildbook.evidence.source import LedgerSource
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.evidence.verify import ReceiptFact, RowFact, verify
from guildbook.primitives.ordered import encode_text
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of
from sample_contract import Units

TABLE = "units.accounts"
ACTORS = {"mill/anna": ["units:issuer"]}


class Running:
    """A ledger with its engine at work."""

    def __init__(self) -> None:
        self.ledger = TestLedger(Units, actors=ACTORS, check_invariants=False).ledger
        settings = SoloSettings(gather_ms=1, proof_delay_ms=5, signature_workers=0)
        self.engine = SoloEngine(self.ledger, key_of("validator"), settings, crash=CrashPoints(""))
        self.engine.start()

    def send(self, account: str, units: int) -> bytes:
        """Issue units and give the transaction's id once its receipt is there."""
        envelope = build_transaction(
            "test-net", key_of("mill/anna"), 1000, os.urandom(16), [("units", "issue", [account, units])]
        )
        answer = self.engine.submit([envelope]).result(10)[0]
        assert answer.receipt is not None
        return decode_transaction(envelope).id

    def rest(self) -> None:
        """Wait for the empty block behind the last one."""
        for _ in range(1000):
            if not self.ledger.head.needs_proof_block:
                return
            time.sleep(0.01)
        pytest.fail("the engine has not cut its proof block")

    @property
    def source(self) -> LedgerSource:
        return LedgerSource(self.ledger.view())

    @property
    def trust(self) -> Trust:
        return Trust("test-net", (TrustedSet(self.ledger.genesis.validator_set),))


@pytest.fixture
def running() -> Iterator[Running]:
    engine_at_work = Running()
    yield engine_at_work
    engine_at_work.engine.stop()


def test_every_receipt_of_a_running_ledger_can_be_proven(running: Running) -> None:
    sent = [running.send(f"account-{number % 3}", number + 1) for number in range(12)]
    running.rest()
    for number, transaction in enumerate(sent):
        verdict = verify(receipt_evidence(running.source, transaction), running.trust)
        fact = verdict.fact
        assert isinstance(fact, ReceiptFact)
        assert (fact.transaction, fact.outcome, fact.results) == (transaction, 0, [number + 1])
        assert fact.signed is not None
        assert fact.signed.key == key_of("mill/anna").public_key
        assert fact.signed.calls[0].arguments == [f"account-{number % 3}", number + 1]
        block = running.ledger.view().block(verdict.height)
        assert block is not None
        assert block.header.time_ns == verdict.time_ns


def test_the_rows_of_a_ledger_at_rest_can_be_proven_from_any_store(running: Running) -> None:
    running.send("acorn", 5)
    running.send("birch", 7)
    running.rest()
    view = running.ledger.view()
    source = LedgerSource(view)
    row = verify(row_evidence(source, TABLE, encode_text("acorn")), running.trust).fact
    assert isinstance(row, RowFact)
    assert row.values == ["acorn", "anna", 5]
    assert verify(row_evidence(source, TABLE, encode_text("beech")), running.trust).kind == "absence"
    whole = verify(range_evidence(source, TABLE), running.trust)
    assert [found.values for found in whole.fact.rows] == [["acorn", "anna", 5], ["birch", "anna", 7]]  # type: ignore[union-attr]
    part = verify(range_evidence(source, TABLE, encode_text("b"), encode_text("c")), running.trust)
    assert [found.values for found in part.fact.rows] == [["birch", "anna", 7]]  # type: ignore[union-attr]


def test_rows_are_proven_while_the_ledger_moves_on(running: Running) -> None:
    running.send("acorn", 5)
    view = running.ledger.view()
    running.send("acorn", 6)
    source = LedgerSource(view, running.ledger.view())
    verdict = verify(row_evidence(source, TABLE, encode_text("acorn")), running.trust)
    assert verdict.fact.values == ["acorn", "anna", 5]  # type: ignore[union-attr]


def test_the_last_block_cannot_be_proven_before_the_next() -> None:
    ledger = TestLedger(Units, actors=ACTORS, check_invariants=False).ledger
    view = ledger.view()
    with pytest.raises(EvidenceError, match=r"evidence\.not_available"):
        row_evidence(LedgerSource(view), TABLE, encode_text("acorn"))
