"""Contracts change by releases: at a height, with a migration, and never so that a bad source stops the ledger."""

import inspect

import sample_contract
from agent_contract import Agent
from guildbook.chain.ledger import Ledger
from guildbook.chain.replay import compare, replay
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


def test_an_inner_call_keeps_the_bounds_and_permissions_of_the_one_called():
    ledger = TestLedger(Agent, actors={"mill/anna": ["money:issuer"], "mill/ben": []})
    anna = ledger.actor("mill/anna")
    anna.agent.open_ledger("cash", "EUR")
    with refused("call.bad_arguments", contract="money", command="transfer"):
        anna.agent.transfer("r-1", "a", "b", -5)
    with refused("call.not_permitted", contract="money", command="freeze", permission="money:supervisor"):
        anna.agent.freeze("a", "frozen", "because")
