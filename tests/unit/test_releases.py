"""Contracts change by releases: at a height, with a migration, and never so that a bad source stops the ledger."""

import inspect

import pytest

import sample_contract
from agent_contract import Agent
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.replay import compare, replay
from guildbook.chain.snapshot import Restore, take_snapshot
from guildbook.chain.transition import BlockInput
from guildbook.engine.crash import CrashPoints
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.runtime.registry import Registry, source_hash
from guildbook.state.kv import MemoryStore
from guildbook.testing import TestLedger, refused
from guildbook.testing.ledger import test_key as key_of
from sample_contract import Units

ACTORS = {"mill/anna": ["units:issuer"], "council/governor": ["governance:governor"]}
FIRST = inspect.getsource(sample_contract)
SECOND = (
    FIRST.replace('name="units", version=1', 'name="units", version=2')
    .replace("from guildbook.contract import (", "from guildbook.contract import (\n    migration,")
    .replace(
        "    @query\n    def total",
        '    @migration(from_version=1)\n    def double(self) -> None:\n        """Each unit becomes two."""\n'
        "        for account in self.accounts.find(index=()):\n"
        "            self.accounts.update(account, units=account.units * 2)\n\n    @query\n    def total",
    )
)


def release(ledger, text, version, *, in_blocks):
    governor = ledger.actor("council/governor")
    governor.governance.register_source("units", text)
    height = ledger.ledger.head.height + in_blocks
    governor.governance.schedule_release("units", version, source_hash(text), height)
    return height


def test_a_release_runs_from_its_height_with_its_migration_and_old_blocks_replay():
    ledger = TestLedger(Units, actors=ACTORS)
    ledger.actor("mill/anna").units.issue("x", 5)
    height = release(ledger, SECOND, 2, in_blocks=4)
    while ledger.ledger.head.height < height - 1:
        ledger.cut([])
        assert ledger.query("units.total") == 5
    ledger.cut([])
    assert ledger.query("units.total") == 10
    ledger.actor("mill/anna").units.issue("x", 1)
    assert ledger.query("units.total") == 11
    fresh = Registry()
    again = Ledger(ledger.store, fresh)
    assert again.view().releases()["units"].version == 2
    assert again.state.head == ledger.ledger.head


def test_a_source_that_cannot_be_loaded_leaves_the_earlier_release_running():
    for text in (
        "import os\n",
        "def broken(:\n",
        FIRST.replace("version=1", "version=7"),
        FIRST.replace('name="units"', 'name="other"'),
        FIRST.replace("class Account(Record)", "class Account(Rejected)"),
    ):
        ledger = TestLedger(Units, actors=ACTORS)
        height = release(ledger, text, 2, in_blocks=3)
        while ledger.ledger.head.height <= height:
            ledger.cut([])
        assert ledger.ledger.view().releases()["units"].version == 1
        ledger.actor("mill/anna").units.issue("x", 5)
        assert ledger.query("units.total") == 5


HOLDINGS = FIRST[
    FIRST.index("    @query\n    def holdings") : FIRST.index("    @invariant\n    def units_are")
]


def indexed(version, *orders):
    """The contract with these orders over its accounts, and a query that reads the first of them."""
    text = FIRST.replace('name="units", version=1', f'name="units", version={version}').replace(HOLDINGS, "")
    text = text.replace('index=[("holder", "units", "id")]', f"index={list(orders)!r}")
    listing = '    @query\n    def in_order(self) -> tuple[str, ...]:\n        """The accounts in the first order."""\n'
    listing += f"        return tuple(account.id for account in self.accounts.find(index={orders[0]!r}))\n\n"
    return text.replace("    @query\n    def total", listing + "    @query\n    def total")


def test_an_order_that_a_release_declares_has_the_rows_that_were_there_before():
    """And one that it gives up leaves nothing: a restored ledger has the same indexes as one that ran all blocks."""
    ledger = TestLedger(Units, actors=ACTORS)
    anna = ledger.actor("mill/anna")
    for name, units in (("x", 5), ("y", 2), ("z", 9)):
        anna.units.issue(name, units)
    by_units, by_holder = ("units", "id"), ("holder", "units", "id")
    for version, orders, expected in (
        (2, (by_units, by_holder), ("y", "x", "z")),
        (3, (by_holder,), ("y", "x", "z", "w")),
        (4, (by_units,), ("w", "y", "x", "z")),
    ):
        height = release(ledger, indexed(version, *orders), version, in_blocks=3)
        while ledger.ledger.head.height < height:
            ledger.cut([])
        if version == 3:
            anna.units.issue("w", 20)
        if version == 4:
            anna.units.move("w", "z", 19)
        assert ledger.query("units.in_order") == expected, version
        chunks: dict[int, bytes] = {}
        metadata = take_snapshot(ledger.ledger.view(), chunks.__setitem__)
        restore = Restore(MemoryStore(), Registry())
        restore.offer(metadata, ledger.ledger.head.app_hash)
        for number, chunk in chunks.items():
            restore.apply_chunk(number, chunk)
        other = restore.finish()
        assert list(other.store.scan(b"I", b"J")) == list(ledger.store.scan(b"I", b"J"))


def test_replay_runs_each_block_under_its_own_code():
    ledger = TestLedger(Units, actors=ACTORS)
    engine = SoloEngine(
        ledger.ledger,
        key_of("validator"),
        SoloSettings(gather_ms=1, proof_delay_ms=2, signature_workers=0),
        crash=CrashPoints(""),
    )
    engine.start()

    def send(actor, *call):
        answer = engine.submit([ledger.sign(ledger.actor(actor), [call])]).result(10)[0]
        assert answer.error is None, answer.error

    send("mill/anna", "units.issue", ("x", 5), {})
    send("council/governor", "governance.register_source", ("units", SECOND), {})
    height = ledger.ledger.head.height + 4
    send("council/governor", "governance.schedule_release", ("units", 2, source_hash(SECOND), height), {})
    while ledger.ledger.head.height < height:
        send("mill/anna", "units.issue", ("x", 1), {})
    engine.stop()
    view = ledger.ledger.view()
    assert view.releases()["units"].version == 2
    scratch = MemoryStore()
    assert list(replay(view, scratch, Registry())) == []
    assert list(compare(view.reader, scratch)) == []


WIDER = (
    FIRST.replace('name="units", version=1', 'name="units", version=2')
    .replace("    units: NonNegative\n", "    units: NonNegative\n    note: Code | None = None\n")
    .replace(
        "    @query\n    def total",
        '    @command\n    def annotate(self, account: Code, note: Code) -> None:\n        """Note something."""\n'
        "        row = self.accounts.get(account)\n"
        "        require(row is not None, NotEnough, wanted=0, free=0)\n"
        "        if row is not None:\n            self.accounts.update(row, note=note)\n\n    @query\n    def total",
    )
)
MIGRATION = (
    '    @migration(from_version=1)\n    def bring(self) -> None:\n        """Brings the rows along."""\n'
    "        for account in self.accounts.find(index=()):\n            self.accounts.update(account, {})\n\n"
)


@pytest.mark.parametrize("with_migration", [False, True])
def test_rows_that_were_read_under_the_old_code_are_read_anew_under_the_next(with_migration):
    text = WIDER
    if with_migration:
        text = text.replace(
            "from guildbook.contract import (", "from guildbook.contract import (\n    migration,"
        ).replace("    @query\n    def total", MIGRATION.format('note="old"') + "    @query\n    def total")
    ledger = TestLedger(Units, actors=ACTORS)
    anna = ledger.actor("mill/anna")
    for account in ("x", "y"):
        anna.units.issue(account, 5)
    height = release(ledger, text, 2, in_blocks=3)
    while ledger.ledger.head.height < height - 1:
        anna.units.issue("x", 1)
    cold = Ledger(ledger.store, Registry())
    for call in (
        ("units.issue", ("x", 1), {}),
        ("units.annotate", ("y", "new"), {}),
        ("units.annotate", ("x", "n"), {}),
    ):
        envelope = ledger.sign(anna, [call])
        head = ledger.ledger.head
        block = BlockInput(head.height + 1, head.time_ns + 1, [encode_bundle([envelope])])
        warm, anew = ledger.ledger.apply(block), cold.apply(block)
        assert decode_receipt(warm.receipts[0]).code == ""
        assert (warm.app_hash, warm.changes) == (anew.app_hash, anew.changes)
        ledger.ledger.commit(warm)
        cold = Ledger(ledger.store, Registry())
    assert [row.note for row in ledger.rows("units.accounts")] == ["n", "new"]


@pytest.mark.parametrize("mistake", ["units=1 // 0", "units=-1", "units=account.units + 2**70", "other=1"])
def test_a_migration_that_fails_leaves_nothing_and_the_earlier_release_running(mistake):
    text = SECOND.replace("units=account.units * 2", mistake)
    ledger = TestLedger(Units, actors=ACTORS)
    anna = ledger.actor("mill/anna")
    for account in ("x", "y"):
        anna.units.issue(account, 5)
    height = release(ledger, text, 2, in_blocks=3)
    while ledger.ledger.head.height < height:
        ledger.cut([])
    assert len(ledger.faults) == 1
    assert ledger.ledger.view().releases()["units"].version == 1
    anna.units.issue("x", 1)
    assert ledger.query("units.total") == 11
    again = Ledger(ledger.store, Registry())
    assert again.view().releases()["units"].version == 1
    assert [row.version for row in ledger.rows("governance.releases", "units")] == [1]


def test_an_inner_call_keeps_the_bounds_and_permissions_of_the_one_called():
    ledger = TestLedger(Agent, actors={"mill/anna": ["money:issuer"], "mill/ben": []})
    anna = ledger.actor("mill/anna")
    anna.agent.open_ledger("cash", "EUR")
    with refused("call.bad_arguments", contract="money", command="transfer"):
        anna.agent.transfer("r-1", "a", "b", -5)
    with refused("call.not_permitted", contract="money", command="freeze", permission="money:supervisor"):
        anna.agent.freeze("a", "frozen", "because")
