"""A node's side of a network, under an engine that a test plays: what is lost is sent again, who waits is answered."""

import time

import pytest

from fake_engine import REGISTRY, Connection, FakeEngine, founded, several_validators
from fake_rpc import FakeRpc, Refusal
from guildbook.chain.bundle import decode_bundle, encode_bundle
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.client.reader import LedgerReader
from guildbook.engine.abci.engine import NetworkEngine, NetworkSettings
from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import MemoryStore
from guildbook.testing.ledger import test_key as key_of

GENESIS = several_validators()
QUICK = NetworkSettings(
    bundle_ms=2, resubmit_ms=30, stall_ms=50, stop_wait_ms=100, signature_workers=0, bundle_transactions_max=4
)
WAIT_S = 20.0


class Running:
    """A network engine, and the CometBFT that the test plays: four connections, an interface, a chain."""

    def __init__(self, folder, settings=QUICK):
        self.folder = folder
        self.halted = []
        self.ledger = founded(GENESIS)
        self.engine = NetworkEngine(
            self.ledger, folder / "abci.sock", folder / "rpc.sock", settings, on_halt=self.halted.append
        )
        self.engine.start()
        self.connections = []
        self.comet = FakeEngine(GENESIS, self.call)
        self.rpc = FakeRpc(folder / "rpc.sock", self.comet)
        self.time_ns = GENESIS.time_ms * 1_000_000

    def call(self, request):
        kind = request.WhichOneof("value")
        return self.connections[kind in ("check_tx", "info", "query")].ask(request)

    def connect(self):
        self.connections = [Connection(self.folder / "abci.sock") for _ in range(4)]
        until(lambda: self.engine.connections == 4)
        self.comet.start()

    def disconnect(self):
        for one in self.connections:
            one.close()
        self.connections = []
        until(lambda: self.engine.connections == 0)

    def block(self, bundles=()):
        """A block of what was handed in, or of ``bundles``."""
        chosen = self.comet.propose(self.time_ns, bundles)
        self.comet.finalize(self.comet.decide(self.time_ns, chosen))
        self.comet.commit()
        self.time_ns += 1_000_000_000

    def handed_in(self, count):
        until(lambda: len(self.rpc.bundles) >= count)
        return self.rpc.bundles

    def close(self):
        self.engine.stop()
        self.disconnect()
        self.rpc.close()


def until(true):
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def running(tmp_path):
    one = Running(tmp_path)
    yield one
    one.close()


@pytest.fixture
def connected(running):
    running.connect()
    return running


def issue(number, valid_until=1_000, key="mill/anna"):
    call = [("units", "issue", ["x", number + 1])]
    return build_transaction("test-net", key_of(key), valid_until, number.to_bytes(8, "big"), call)


def codes(answers):
    return [one.error.code if one.error is not None else "" for one in answers.result(WAIT_S)]


def test_what_is_submitted_goes_in_bundles_and_is_answered_from_the_block(connected):
    answers = connected.engine.submit([issue(number) for number in range(10)])
    bundles = connected.handed_in(3)
    assert [len(decode_bundle(one)) for one in bundles] == [4, 4, 2]
    assert connected.engine.pending == 10
    connected.block(bundles)
    assert [decode_receipt(one.receipt).index for one in answers.result(WAIT_S)] == list(range(10))
    assert connected.engine.pending == 0


def test_no_more_is_under_way_than_a_mempool_holds_and_a_block_makes_room(connected, monkeypatch):
    monkeypatch.setattr("guildbook.engine.abci.engine.UNDER_WAY_MAX", 1)
    answers = connected.engine.submit([issue(number) for number in range(8)])
    assert len(connected.handed_in(1)) == 1
    connected.block(connected.rpc.bundles)
    connected.block(connected.handed_in(2)[1:])
    assert codes(answers) == [""] * 8


def test_a_transaction_in_another_members_bundle_is_answered_here(connected):
    mine = connected.engine.submit([issue(1)])
    (bundle,) = connected.handed_in(1)
    connected.block([encode_bundle([issue(5), issue(1)]), bundle])
    assert decode_receipt(mine.result(WAIT_S)[0].receipt).index == 1


def test_an_engine_that_is_away_takes_nothing_and_is_told(running):
    assert running.engine.not_ready() == ["the consensus engine is not connected"]
    assert not running.engine.condition().connected
    with pytest.raises(GuildbookError) as caught:
        running.engine.submit([issue(1)])
    assert caught.value.code == "api.unavailable"
    running.connect()
    assert running.engine.not_ready() == []
    assert running.engine.condition().connected


def test_what_is_under_way_is_handed_in_again_when_the_engine_comes_back(connected):
    answers = connected.engine.submit([issue(1), issue(2)])
    connected.handed_in(1)
    connected.disconnect()
    connected.connect()
    bundles = connected.handed_in(2)
    assert bundles[0] == bundles[1]
    connected.block(bundles[1:])
    assert codes(answers) == ["", ""]


def test_what_is_in_no_block_after_a_while_is_handed_in_again(connected):
    answers = connected.engine.submit([issue(1)])
    connected.handed_in(1)
    connected.block()
    connected.rpc.take = _refuse("tx already exists in cache")
    bundles = connected.handed_in(2)
    connected.block(bundles[1:])
    assert codes(answers) == [""]


def _refuse(why):
    def take(_bundle):
        raise Refusal(why)

    return take


def test_a_full_mempool_is_asked_again_later(connected):
    connected.rpc.take = _refuse("mempool is full: number of txs 1000 (max: 1000)")
    answers = connected.engine.submit([issue(1)])
    connected.handed_in(1)
    connected.rpc.take = lambda _bundle: {"code": 0}
    connected.block(connected.handed_in(2)[1:])
    assert codes(answers) == [""]


def test_a_bundle_that_is_refused_costs_only_what_is_meant(connected):
    bad = decode_transaction(issue(2)).id
    connected.rpc.take = lambda bundle: (
        {"code": 2, "log": "block.too_large"}
        if any(decode_transaction(one).id == bad for one in decode_bundle(bundle))
        else {"code": 0}
    )
    answers = connected.engine.submit([issue(number) for number in range(4)])
    bundles = connected.handed_in(5)
    connected.block([one for one in bundles if connected.rpc.take(one)["code"] == 0])
    assert codes(answers) == ["", "", "block.too_large", ""]


def test_a_bundle_too_large_for_the_engine_is_divided(connected):
    connected.rpc.take = _refuse("Tx too large. Max size is 100, but got 200")
    assert codes(connected.engine.submit([issue(1), issue(2)])) == ["transaction.too_large"] * 2


def test_what_was_in_no_block_until_its_last_height_is_refused_as_expired(connected):
    answers = connected.engine.submit([issue(1, valid_until=2), issue(2, valid_until=50)])
    connected.handed_in(1)
    connected.block()
    connected.block()
    until(lambda: connected.engine.pending == 1)
    connected.block(connected.rpc.bundles[-1:])
    assert codes(answers) == ["transaction.expired", ""]


def test_a_stranger_and_a_known_transaction_put_nothing_into_a_bundle(connected):
    first = connected.engine.submit([issue(1)])
    connected.block(connected.handed_in(1))
    receipt = first.result(WAIT_S)[0].receipt
    answers = connected.engine.submit([issue(1), issue(2, key="nobody")])
    assert codes(answers) == ["", "transaction.unknown_key"]
    assert answers.result()[0].receipt == receipt
    assert len(connected.rpc.bundles) == 1


def test_waiting_without_a_block_and_catching_up_are_told(connected):
    connected.engine.submit([issue(1)])
    until(lambda: any("no block" in one for one in connected.engine.not_ready()))
    connected.rpc.catching_up = True
    connected.block()
    until(lambda: any("catching up" in one for one in connected.engine.not_ready()))
    assert connected.engine.condition().catching_up


def test_a_node_that_stops_tells_who_waits_that_it_may_come_yet(tmp_path):
    one = Running(tmp_path)
    one.connect()
    answers = one.engine.submit([issue(1)])
    one.handed_in(1)
    one.close()
    assert codes(answers) == ["api.unavailable"]
    assert "may come" in answers.result()[0].error.message
    with pytest.raises(GuildbookError):
        one.engine.submit([issue(2)])


def test_a_broken_law_halts_and_tells_everybody(connected):
    breaker = build_transaction("test-net", key_of("mill/anna"), 9, bytes(8), [("units", "break_the_law", [])])
    answers = connected.engine.submit([breaker])
    bundles = connected.handed_in(1)
    connected.comet.decide(connected.time_ns, bundles)
    with pytest.raises(AssertionError):
        connected.comet.finalize(1)
    assert codes(answers) == ["api.unavailable"]
    until(lambda: connected.halted)
    assert isinstance(connected.halted[0], AssertionError)
    assert connected.engine.not_ready() == ["the engine has halted"]


def test_blocks_are_kept_and_make_heights_provable(connected):
    connected.engine.submit([issue(1)])
    connected.block(connected.handed_in(1))
    connected.block()
    until(lambda: connected.engine.condition().kept_height == 2)
    view = connected.ledger.view()
    assert LedgerReader(connected.ledger).status().provable_height == 2
    scratch = MemoryStore()
    assert list(check_chain(view)) == []
    assert list(replay(view, scratch, REGISTRY)) == []
    assert list(compare(view.reader, scratch)) == []


@pytest.mark.parametrize("how", ["pruned", "other block", "nonsense"])
def test_a_block_that_cannot_be_had_is_told_and_the_next_ones_are_kept(connected, how):
    reader = LedgerReader(connected.ledger)
    assert reader.status().provable_height is None

    def change(method, result):
        if how == "nonsense" and method == "block" and result["block"]["header"]["height"] == "1":
            return {"block": {"header": 7}}
        if how == "other block" and method == "block" and result["block"]["header"]["height"] == "1":
            result["block"]["data"]["txs"] = ["kA=="]
        return result

    connected.rpc.change = change
    if how == "pruned":
        connected.rpc.pruned_below = 2
    connected.block()
    connected.block()
    until(lambda: connected.engine.condition().kept_height == 2)
    assert connected.engine.condition().blocks_lost == 1
    assert connected.engine.keeper.lost == {1}
    assert [one.where for one in check_chain(connected.ledger.view())] == ["block 1"]
    assert connected.halted == []
