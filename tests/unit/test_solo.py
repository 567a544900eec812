"""The solo engine: what it promises to whoever submits, at the same time, twice, too much, and when it fails."""

import os
import time
from concurrent.futures import wait

import pytest

from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import build_transaction
from guildbook.engine.crash import CrashPoints
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import MemoryStore
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of
from sample_contract import Units

NETWORK = "test-net"
QUICK = SoloSettings(gather_ms=1, proof_delay_ms=5, signature_workers=0)


def found(store, actors=None):
    return TestLedger(
        Units, actors=actors or {"mill/anna": ["units:issuer"]}, store=store, check_invariants=False
    )


@pytest.fixture
def running():
    ledger = found(MemoryStore()).ledger
    blocks = []
    engine = SoloEngine(ledger, key_of("validator"), QUICK, on_block=blocks.append, crash=CrashPoints(""))
    engine.start()
    yield engine, blocks
    engine.stop()


def issue(units=1, *, to="x", network=NETWORK, valid_until=1000):
    return build_transaction(
        network, key_of("mill/anna"), valid_until, os.urandom(16), [("units", "issue", [to, units])]
    )


def test_each_transaction_is_answered_with_its_receipt_in_order(running):
    engine, blocks = running
    answers = engine.submit([issue() for _ in range(30)]).result(10)
    assert [decode_receipt(one.receipt).results for one in answers] == [[n] for n in range(1, 31)]
    assert [block.height for block in blocks] == list(range(1, len(blocks) + 1))


def test_a_block_takes_no_more_transactions_than_the_engine_is_told():
    ledger = found(MemoryStore()).ledger
    settings = SoloSettings(gather_ms=50, proof_delay_ms=5, signature_workers=0, block_transactions_max=7)
    engine = SoloEngine(ledger, key_of("validator"), settings, crash=CrashPoints(""))
    engine.start()
    answers = engine.submit([issue() for _ in range(30)]).result(10)
    engine.stop()
    heights = [decode_receipt(one.receipt or b"").height for one in answers]
    assert max(heights.count(one) for one in heights) == 7
    assert heights == sorted(heights)


def test_the_same_transaction_gets_the_first_receipt_however_it_is_sent(running):
    engine, _blocks = running
    data = issue()
    first, twin = engine.submit([data, data]).result(10)
    together = [engine.submit([data]) for _ in range(5)]
    wait(together)
    assert {first, twin, *(one.result()[0] for one in together)} == {first}
    assert first.receipt is not None
    assert engine.submit([issue()]).result(10)[0].receipt != first.receipt
    assert engine.submit([data]).result(10)[0] == first


def test_an_applied_transaction_keeps_its_receipt_after_it_has_expired(running):
    engine, _blocks = running
    data = issue(valid_until=2)
    first = engine.submit([data]).result(10)[0]
    for _ in range(3):
        engine.submit([issue()]).result(10)
    assert engine.ledger.head.height > 2
    assert engine.submit([data]).result(10)[0] == first


def test_what_cannot_be_in_a_block_is_refused_before_it_with_a_next_step(running):
    engine, blocks = running
    good, forged = issue(), issue()
    forged = forged[:-1] + bytes([forged[-1] ^ 1])
    answers = engine.submit(
        [b"rubbish", issue(network="other-net"), issue(valid_until=0), forged, good, issue(valid_until=10**9)]
    ).result(10)
    assert [one.error.code if one.error else None for one in answers] == [
        "transaction.malformed",
        "transaction.wrong_network",
        "transaction.expired",
        "transaction.bad_signature",
        None,
        "transaction.valid_too_far",
    ]
    assert all(one.error is None or one.error.hint for one in answers)
    assert engine.ledger.head.log_size == 1, "only the good one is in the ledger"
    assert engine.submit([]).result(10) == []
    assert len(blocks) <= 2


def test_an_unregistered_key_is_told_so_and_the_transaction_may_come_again(running):
    engine, _blocks = running
    stranger = build_transaction(
        NETWORK, key_of("no/body"), 100, os.urandom(16), [("units", "move", ["x", "y", 1])]
    )
    for _ in range(2):
        answer = engine.submit([stranger]).result(10)[0]
        assert answer.receipt is None
        assert answer.error.code == "transaction.unknown_key"
    assert engine.ledger.head.log_size == 0, "a stranger leaves nothing in a block"
    mixed = engine.submit([stranger, issue()]).result(10)
    assert mixed[0].error is not None
    assert mixed[1].receipt is not None


def test_too_much_at_once_is_told_to_come_again():
    ledger = found(MemoryStore()).ledger
    settings = SoloSettings(gather_ms=1, proof_delay_ms=5, signature_workers=0, pending_transactions_max=10)
    engine = SoloEngine(ledger, key_of("validator"), settings)
    with pytest.raises(GuildbookError, match=r"api\.too_busy"):
        engine.submit([issue() for _ in range(11)])
    engine.start()
    assert len(engine.submit([issue() for _ in range(10)]).result(10)) == 10
    engine.stop()


def test_an_idle_ledger_becomes_provable_and_then_stays_still(running):
    engine, blocks = running
    engine.submit([issue()]).result(10)
    for _ in range(200):
        if not engine.ledger.head.needs_proof_block:
            break
        time.sleep(0.01)
    assert not engine.ledger.head.needs_proof_block
    height = engine.ledger.head.height
    view = engine.ledger.view()
    assert view.block(height).header.app_hash == engine.ledger.head.app_hash
    assert len(blocks) == height


def test_a_failed_write_keeps_nothing_tells_everybody_and_stops(tmp_path):
    class FullStore(MemoryStore):
        full = False

        def write(self, pairs):
            if self.full:
                raise GuildbookError("store.full", "no space is left", hint="free space")
            super().write(pairs)

    store = FullStore()
    halted = []
    engine = SoloEngine(found(store).ledger, key_of("validator"), QUICK, on_halt=halted.append)
    engine.start()
    engine.submit([issue()]).result(10)
    head = engine.ledger.head
    store.full = True
    answer = engine.submit([issue()]).result(10)[0]
    assert answer.error.code == "store.full"
    with pytest.raises(GuildbookError, match=r"api\.unavailable"):
        engine.submit([issue()])
    engine.stop()
    assert len(halted) == 1
    assert engine.ledger.head.log_size == head.log_size
    store.full = False
    assert Ledger(store, engine.ledger.registry).head == engine.ledger.head


def test_a_broken_law_halts_the_engine_and_names_height_and_transaction():
    engine = SoloEngine(found(MemoryStore()).ledger, key_of("validator"), QUICK)
    engine.start()
    bad = build_transaction(
        NETWORK, key_of("mill/anna"), 100, os.urandom(16), [("units", "break_the_law", [])]
    )
    answer = engine.submit([bad]).result(10)[0]
    assert answer.error.code == "api.unavailable"
    assert isinstance(engine.failure, AssertionError)
    assert "height 1" in engine.failure.__notes__[0]
    engine.stop()


def test_another_key_than_the_validators_is_refused():
    with pytest.raises(GuildbookError, match=r"genesis\.mismatch"):
        SoloEngine(found(MemoryStore()).ledger, key_of("mill/anna"), QUICK)


def test_signatures_are_checked_the_same_in_workers():
    engine = SoloEngine(
        found(MemoryStore()).ledger,
        key_of("validator"),
        SoloSettings(gather_ms=1, proof_delay_ms=5, signature_workers=1),
    )
    engine.start()
    batch = [issue() for _ in range(40)]
    batch[7] = batch[7][:-1] + bytes([batch[7][-1] ^ 1])
    answers = engine.submit(batch).result(60)
    assert [number for number, one in enumerate(answers) if one.error] == [7]
    engine.stop()


def test_a_store_on_disk_replays_to_the_same_roots_and_every_byte(tmp_path):
    store = RocksStore(tmp_path / "store")
    founded = found(store)
    engine = SoloEngine(founded.ledger, key_of("validator"), QUICK)
    engine.start()
    for _ in range(5):
        engine.submit([issue(3, to=f"account-{n}") for n in range(20)]).result(10)
    engine.stop()
    store.close()
    store = RocksStore(tmp_path / "store", must_exist=True)
    ledger = Ledger(store, founded.registry)
    assert ledger.head == engine.ledger.head
    view = ledger.view()
    assert list(check_chain(view)) == []
    scratch = MemoryStore()
    assert list(replay(view, scratch, founded.registry)) == []
    assert list(compare(view.reader, scratch)) == []
    store.close()
    with pytest.raises(GuildbookError, match=r"store\.missing"):
        RocksStore(tmp_path / "elsewhere", must_exist=True)
