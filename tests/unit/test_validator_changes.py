"""Validator sets over time: what a block changes, from which height it signs, and what the engine reports."""

import inspect

import pytest

from guildbook.chain.misbehaviour import DUPLICATE_VOTE, LIGHT_CLIENT_ATTACK, Misbehaviour
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.transition import BlockInput
from guildbook.chain.validators import next_validators
from guildbook.engine.solo import SoloEngine
from guildbook.foundation import governance as governance_module
from guildbook.foundation.governance import validator_address
from guildbook.primitives.cometbft import Validator, ValidatorSet
from guildbook.primitives.errors import GuildbookError
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of

MEMBERS = ("mill", "shop", "port")


def public_key(organisation: str) -> bytes:
    return key_of(f"validator {organisation}").public_key


def address(organisation: str) -> bytes:
    return validator_address(public_key(organisation))


def network(**options) -> TestLedger:
    options.setdefault("validators", dict.fromkeys(MEMBERS, 10))
    return TestLedger(
        actors={f"{one}/{one}-clerk": ["council:voter"] for one in MEMBERS}, members=dict.fromkeys(MEMBERS, "member"),
        **options,
    )  # fmt: skip


def report(ledger: TestLedger, *organisations: str, kind: int = DUPLICATE_VOTE):
    """Commit an empty block in which the engine reports these validators."""
    head = ledger.ledger.head
    reports = [Misbehaviour(kind, address(one), 10, head.height, head.time_ns, 30) for one in organisations]
    result = ledger.ledger.apply(BlockInput(head.height + 1, head.time_ns + 1, [], reports))
    ledger.ledger.commit(result)
    return result


def powers(ledger: TestLedger, height: int) -> dict[bytes, int]:
    return {one.public_key: one.power for one in ledger.ledger.view().validators(height).validators}


def test_the_rows_of_genesis_are_its_validator_set():
    ledger = network()
    rows = {row.public_key: row.power for row in ledger.rows("governance.validators")}
    assert rows == powers(ledger, 1) == dict.fromkeys(map(public_key, MEMBERS), 10)


def test_a_reported_validator_is_recorded_removed_and_signs_two_more_blocks():
    ledger = network()
    result = report(ledger, "shop")
    assert result.validator_updates == ((public_key("shop"), 0),)
    assert public_key("shop") in powers(ledger, result.height + 1)
    assert powers(ledger, result.height + 2) == {public_key("mill"): 10, public_key("port"): 10}
    row = ledger.rows("governance.misbehaviour")[0]
    assert (row.height, row.number, row.kind, row.organisation, row.removed) == (1, 0, DUPLICATE_VOTE, "shop", True)
    receipt = decode_receipt(result.receipts[0])
    assert [name for _contract, name, _fields in receipt.events] == ["validator_changed", "misbehaviour_recorded"]
    assert ledger.ledger.view().receipt(receipt.transaction) == receipt
    ledger.ledger.view().execution().check_invariants()


def test_the_last_validator_is_recorded_and_stays():
    ledger = network()
    result = report(ledger, "mill", "shop", "port", "port", kind=LIGHT_CLIENT_ATTACK)
    assert [row.removed for row in ledger.rows("governance.misbehaviour")] == [True, True, False, False]
    assert [row.organisation for row in ledger.rows("governance.validators")] == ["port"]
    assert len(result.validator_updates) == 2


def test_by_parameter_a_report_is_recorded_alone():
    ledger = network(parameters={"misbehaviour_removes": 0})
    assert report(ledger, "shop").validator_updates == ()
    assert [row.removed for row in ledger.rows("governance.misbehaviour")] == [False]


def test_a_report_of_a_stranger_is_recorded():
    ledger = network()
    assert report(ledger, "nobody").validator_updates == ()
    assert ledger.rows("governance.misbehaviour")[0].organisation is None


def test_a_release_that_cannot_record_a_report_stops_nobody():
    text = inspect.getsource(governance_module).replace("def record_misbehaviour(", "def record_it_not(")
    text = text.replace('name="governance", version=1', 'name="governance", version=2')
    ledger = TestLedger(validators={"council": 10, "mill": 10})
    governor = ledger.actor("council/registrar").governance
    source = governor.register_source("governance", text)
    governor.schedule_release("governance", 2, source, ledger.ledger.head.height + 2)
    ledger.cut([])
    result = report(ledger, "mill")
    assert result.validator_updates == ()
    assert decode_receipt(result.receipts[0]).code == "call.contract_fault"
    assert "record_misbehaviour" in result.faults[0].text


def test_the_solo_engine_decides_for_no_network_of_validators():
    with pytest.raises(GuildbookError) as caught:
        SoloEngine(TestLedger(validators={"council": 1}).ledger, key_of("validator council"))
    assert caught.value.code == "genesis.mismatch"


def test_a_report_depends_on_the_block_alone():
    first, second = network(), network()
    one, two = report(first, "shop", "mill"), report(second, "shop", "mill")
    assert (one.app_hash, one.receipts, one.changes) == (two.app_hash, two.receipts, two.changes)


def test_a_set_holds_from_its_height_until_the_next():
    ledger = network()
    report(ledger, "shop")
    ledger.cut([])
    report(ledger, "mill")
    counts = [len(powers(ledger, height)) for height in range(1, 7)]
    assert counts == [3, 3, 2, 2, 1, 1]


def test_updates_that_cannot_be_are_our_own_mistake():
    current = ValidatorSet.of([Validator(public_key("mill"), 1)])
    with pytest.raises(AssertionError):
        next_validators(current, [(public_key("mill"), 0)])
    with pytest.raises(AssertionError):
        next_validators(current, [(public_key("shop"), 0)])
