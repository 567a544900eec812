"""A release is rehearsed on the blocks that were: the state of then, the new code, and a digest to compare."""

import inspect

import pytest

import sample_contract
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.keeping import Decided, decided
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.rehearsal import rehearse, state_at
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.registry import source_hash
from guildbook.state import layout
from guildbook.state.kv import MemoryStore
from guildbook.state.layered import LayeredStore
from guildbook.testing import CallRefused, TestLedger
from guildbook.testing.ledger import BLOCK_INTERVAL_NS
from sample_contract import Units

ACTORS = {"mill/anna": ["units:issuer"], "council/governor": ["governance:governor"]}
MIGRATION = '''    @migration(from_version=1)
    def double(self) -> None:
        """Each unit becomes two."""
        for account in self.accounts.find(index=()):
            self.accounts.update(account, units=account.units * 2)

    @query
    def total'''
FIRST = inspect.getsource(sample_contract)
SECOND = (
    FIRST.replace('name="units", version=1', 'name="units", version=2')
    .replace("from guildbook.contract import (", "from guildbook.contract import (\n    migration,")
    .replace("    @query\n    def total", MIGRATION)
)
STRICT = SECOND.replace("account.units * 2", "account.units")


def release(ledger, text, version, *, in_blocks):
    governor = ledger.actor("council/governor").governance
    governor.register_source("units", text)
    height = ledger.ledger.head.height + in_blocks
    governor.schedule_release("units", version, source_hash(text), height)
    return height


class Recorded(TestLedger):
    """A ledger that keeps what it ran, as the node of a network does until a block is fetched in full."""

    def cut(self, envelopes):
        self.now_ns += BLOCK_INTERVAL_NS
        bundles = [encode_bundle(envelopes)] if envelopes else []
        run = Decided(self.ledger.head.height + 1, self.now_ns, b"", bundles, [])
        self.last_block = self.ledger.apply(run.input)
        self.ledger.commit(self.last_block, engine_writes=[run.write()])
        return [decode_receipt(one) for one in self.last_block.receipts]


def busy() -> Recorded:
    """A ledger with some blocks of issues, moves, refusals and a double."""
    ledger = Recorded(Units, actors=ACTORS)
    anna = ledger.actor("mill/anna")
    for number in range(4):
        anna.units.issue("x", 5 + number)
        anna.units.move("x", "y", 1)
        with pytest.raises(CallRefused):
            anna.units.move("y", "x", 10_000)
        with ledger.block():
            anna.units.issue("z", 1)
            ledger.actor("council/governor").units.issue("z", 1)
    twice = ledger.sign(anna, [("units.issue", ("x", 1), {})])
    ledger.cut([twice])
    ledger.cut([twice])
    return ledger


def same_as_replayed(ledger: TestLedger, height: int) -> None:
    """The state that is made by undoing is the one that a replay reaches."""
    view = ledger.ledger.view()
    undone = state_at(view, height)
    scratch = MemoryStore()
    again = Ledger.create(scratch, ledger.ledger.genesis, ledger.registry)
    for before in range(1, height + 1):
        again.commit(again.apply(decided(view, before).input))
    for space in (layout.ROWS, layout.INDEXES, layout.TREE, layout.TRANSACTIONS, layout.VALIDATORS):
        end = bytes((space[0] + 1,))
        assert list(undone.scan(space, end)) == list(scratch.scan(space, end)), (height, space)
        assert list(undone.scan(space, end, reverse=True)) == list(scratch.scan(space, end, reverse=True))
    assert Ledger(undone, ledger.registry).head.app_hash == again.head.app_hash


def test_undoing_blocks_gives_the_state_of_then_to_the_byte():
    ledger = busy()
    for height in range(ledger.ledger.head.height + 1):
        same_as_replayed(ledger, height)


def test_undoing_goes_back_over_a_release_with_its_migration():
    ledger = busy()
    at = release(ledger, SECOND, 2, in_blocks=3)
    while ledger.ledger.head.height < at + 2:
        ledger.actor("mill/anna").units.issue("x", 1)
    for height in range(at - 3, at + 2):
        same_as_replayed(ledger, height)


def test_two_members_get_the_same_and_the_ledger_is_untouched():
    ledger, other = busy(), busy()
    before = list(ledger.store.scan(b"", None))
    done, again = (rehearse(one.ledger.view(), SECOND, 3, 12) for one in (ledger, other))
    assert done == again
    assert (done.contract, done.version, done.from_height, done.to_height) == ("units", 2, 3, 12)
    assert done.state_root == ledger.ledger.view().roots(3).state_root
    assert list(ledger.store.scan(b"", None)) == before


def test_a_rehearsal_tells_what_would_have_ended_otherwise():
    ledger = busy()
    last = ledger.ledger.head.height
    assert rehearse(ledger.ledger.view(), STRICT, 0, last).differing == 0
    stingy = STRICT.replace("require(free >= units,", "require(free >= units + 10,")
    done = rehearse(ledger.ledger.view(), stingy, 0, last)
    assert done.transactions == ledger.ledger.head.log_size
    assert [(one.before, one.after) for one in done.differences] == [("", "units.not_enough")]
    assert done.differing == 1
    assert done.faults == ()


def test_other_code_other_blocks_and_other_state_give_another_digest():
    view = busy().ledger.view()
    outcomes = [
        rehearse(view, text, first, last).outcome
        for text, first, last in ((SECOND, 3, 9), (SECOND, 3, 10), (SECOND, 2, 9), (STRICT, 3, 9))
    ]
    assert len(set(outcomes)) == 4


@pytest.mark.parametrize(("first", "last"), [(5, 5), (6, 5), (0, 10_000), (-1, 3)])
def test_blocks_that_are_not_there_are_not_rehearsed(first, last):
    with pytest.raises(GuildbookError) as caught:
        rehearse(busy().ledger.view(), SECOND, first, last)
    assert caught.value.code == "rehearsal.no_blocks"


@pytest.mark.parametrize("text", [FIRST + "\n", SECOND.replace("units=account.units * 2", "units=1 // 0")])
def test_a_source_that_would_not_run_is_told(text):
    with pytest.raises(GuildbookError) as caught:
        rehearse(busy().ledger.view(), text, 9, 12)
    assert caught.value.code == "rehearsal.not_active"


def test_a_source_is_rehearsed_before_a_newer_one_runs():
    ledger = busy()
    release(ledger, SECOND, 2, in_blocks=2)
    ledger.cut([])
    ledger.cut([])
    third = STRICT.replace("version=2", "version=3").replace("from_version=1", "from_version=2")
    last = ledger.ledger.head.height
    assert rehearse(ledger.ledger.view(), third, last - 1, last).differing == 0
    with pytest.raises(GuildbookError) as caught:
        rehearse(ledger.ledger.view(), STRICT, last - 1, last)
    assert caught.value.code == "rehearsal.not_active"


def test_a_source_that_no_node_loads_is_refused():
    with pytest.raises(GuildbookError) as caught:
        rehearse(busy().ledger.view(), "import os\n", 1, 2)
    assert caught.value.code == "contract.not_deterministic"


def test_a_damaged_change_feed_is_noticed():
    ledger = busy()
    key = layout.height_key(layout.CHANGES, 6)
    ledger.store.write([(key, ledger.store.get(layout.height_key(layout.CHANGES, 5)))])
    with pytest.raises(GuildbookError) as caught:
        rehearse(ledger.ledger.view(), SECOND, 3, 9)
    assert caught.value.code == "store.corrupt"


def test_a_layer_is_one_store_with_what_is_beneath():
    base = MemoryStore()
    base.write([(b"a", b"1"), (b"c", b"3"), (b"e", b"5")])
    layer = LayeredStore(base)
    layer.write([(b"b", b"2"), (b"c", None), (b"e", b"6"), (b"x", None)])
    expected = [(b"a", b"1"), (b"b", b"2"), (b"e", b"6")]
    assert list(layer.scan(b"", None)) == expected
    assert list(layer.scan(b"", None, reverse=True)) == expected[::-1]
    assert list(layer.scan(b"b", b"e")) == expected[1:2]
    assert layer.get_many([b"a", b"c", b"e"]) == [b"1", None, b"6"]
    moment = layer.snapshot()
    layer.write([(b"a", None)])
    assert moment.page(b"", None, 1) == expected[:1]
    assert base.get(b"c") == b"3"
