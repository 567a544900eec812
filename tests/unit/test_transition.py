"""What a block does with each kind of transaction: every refusal by name, and what stays behind (nothing)."""

import msgspec
import pytest

from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction, decode_transaction, encode_body, sign_body
from guildbook.chain.transition import BlockInput
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import ERRORS, GuildbookError
from guildbook.primitives.hashing import sha256, tagged
from guildbook.primitives.log_entry import entry_of
from guildbook.primitives.merkle_log import leaf_hash, verify_inclusion
from guildbook.primitives.state_tree import verify_absence, verify_presence
from guildbook.testing import CallRefused, TestLedger, refused
from sample_contract import Account, Units

NETWORK = "test-net"


@pytest.fixture
def ledger():
    made = TestLedger(Units, actors={"mill/anna": ["units:issuer"], "mill/ben": []})
    made.actor("mill/anna").units.issue("x", 10)
    return made


def envelope(ledger, calls, *, who="mill/ben", network=NETWORK, valid_until=None, nonce=b"12345678"):
    until = ledger.ledger.head.height + 5 if valid_until is None else valid_until
    return build_transaction(network, ledger.actor(who).key, until, nonce, calls)


def outcome(ledger, data):
    before = ledger.ledger.head.state_root
    receipt = ledger.cut([data])[0]
    if receipt.outcome != Outcome.APPLIED:
        assert ledger.ledger.head.state_root == before, "a refused transaction changed the state"
        assert receipt.events == []
        assert receipt.results == []
    return receipt


MOVE = [("units", "move", ["x", "y", 1])]


def test_an_applied_transaction_has_its_result_events_and_rows(ledger):
    data = envelope(ledger, MOVE)
    receipt = outcome(ledger, data)
    assert receipt.transaction == decode_transaction(data).id
    assert (receipt.outcome, receipt.code, receipt.fields, receipt.results) == (
        Outcome.APPLIED,
        "",
        [],
        [None],
    )
    assert receipt.events == [["units", "moved", ["x", "y", 1]]]
    assert ledger.rows("units.accounts") == [
        Account(id="x", holder="anna", units=9),
        Account(id="y", holder="ben", units=1),
    ]
    changes = ledger.changes()
    assert [(row.table, row.before is None) for row in changes.rows] == [
        ("units.accounts", False),
        ("units.accounts", True),
    ]
    assert (changes.transactions[0].party, changes.transactions[0].organisation) == ("ben", "mill")


def test_a_rejection_names_its_code_and_fields_and_is_used_up(ledger):
    data = envelope(ledger, [("units", "move", ["x", "y", 11])])
    receipt = outcome(ledger, data)
    assert (receipt.outcome, receipt.code) == (Outcome.REJECTED, "units.not_enough")
    assert receipt.fields == [["wanted", 11], ["free", 10]]
    ledger.actor("mill/anna").units.issue("x", 10)
    assert outcome(ledger, data).code == "transaction.duplicate"


def test_all_calls_take_effect_or_none(ledger):
    with refused("units.not_enough", free=8):
        ledger.actor("mill/ben").calls(
            ("units.move", {"source": "x", "target": "y", "units": 2}),
            ("units.move", {"source": "x", "target": "z", "units": 9}),
        )
    assert ledger.query("units.holdings", "ben") == ()
    ledger.actor("mill/ben").calls(
        ("units.move", {"source": "x", "target": "y", "units": 2}),
        ("units.move", {"source": "y", "target": "z", "units": 1}),
    )
    assert ledger.query("units.holdings", "ben") == (("y", 1), ("z", 1))


def test_bytes_that_are_no_envelope_are_malformed(ledger):
    for data in (b"", b"\x00", b"\x92\xc4\x00\xc4\x00", b"\xff" * 100, encode(["body", "signature"])):
        receipt = outcome(ledger, data)
        assert (receipt.outcome, receipt.code) == (Outcome.INVALID, "transaction.malformed")
        assert receipt.transaction == tagged("malformed", data)


def test_a_long_form_is_not_canonical(ledger):
    data = envelope(ledger, MOVE)
    assert data[1:2] == b"\xc4"
    longer = data[:1] + b"\xc5\x00" + data[2:]
    assert outcome(ledger, longer).code == "transaction.not_canonical"


def test_another_version_is_refused(ledger):
    key = ledger.actor("mill/ben").key
    body = encode([2, NETWORK, key.public_key, 10, b"12345678", [["units", "move", ["x", "y", 1]]]])
    assert outcome(ledger, sign_body(body, key)).code == "transaction.wrong_version"


@pytest.mark.parametrize("nonce", [b"", b"1234567", b"1" * 33])
def test_a_nonce_outside_its_bounds_is_refused(ledger, nonce):
    assert outcome(ledger, envelope(ledger, MOVE, nonce=nonce)).code == "transaction.malformed"


def test_a_transaction_without_calls_is_refused(ledger):
    assert outcome(ledger, envelope(ledger, [])).code == "transaction.malformed"


def test_a_foreign_network_is_refused(ledger):
    assert outcome(ledger, envelope(ledger, MOVE, network="other-net")).code == "transaction.wrong_network"


def test_an_expired_transaction_is_refused_and_the_last_valid_height_is_not(ledger):
    height = ledger.ledger.head.height + 1
    assert outcome(ledger, envelope(ledger, MOVE, valid_until=height - 1)).code == "transaction.expired"
    assert outcome(ledger, envelope(ledger, MOVE, valid_until=height + 1)).outcome == Outcome.APPLIED


def test_a_validity_too_far_ahead_is_refused(ledger):
    far = ledger.ledger.head.height + 2_000_000
    receipt = outcome(ledger, envelope(ledger, MOVE, valid_until=far))
    assert receipt.code == "transaction.valid_too_far"


def test_a_wrong_signature_is_refused(ledger):
    key, other = ledger.actor("mill/ben").key, ledger.actor("mill/anna").key
    body = encode_body(NETWORK, key.public_key, 100, b"12345678", [("units", "move", ["x", "y", 1])])
    assert outcome(ledger, sign_body(body, other)).code == "transaction.bad_signature"
    good = sign_body(body, key)
    assert outcome(ledger, good[:-1] + bytes([good[-1] ^ 1])).code == "transaction.bad_signature"
    assert outcome(ledger, good).outcome == Outcome.APPLIED, "a refused forgery does not use up the id"


def test_the_same_transaction_twice_is_applied_once_also_within_a_block(ledger):
    data = envelope(ledger, MOVE)
    first, second = ledger.cut([data, data])
    assert (first.outcome, second.outcome, second.code) == (
        Outcome.APPLIED,
        Outcome.INVALID,
        "transaction.duplicate",
    )
    assert outcome(ledger, data).code == "transaction.duplicate"
    assert ledger.query("units.holdings", "ben") == (("y", 1),)
    location = ledger.ledger.view().location(first.transaction)
    assert (location.height, location.index) == (first.height, first.index)


def test_an_unknown_key_is_refused(ledger):
    assert outcome(ledger, envelope(ledger, MOVE, who="nowhere/nobody")).code == "transaction.unknown_key"


def test_an_unknown_contract_and_command_are_refused(ledger):
    assert outcome(ledger, envelope(ledger, [("nothing", "move", [])])).code == "call.unknown_contract"
    assert outcome(ledger, envelope(ledger, [("units", "__init__", [])])).code == "call.unknown_command"
    assert (
        outcome(ledger, envelope(ledger, [("units", "total", [])], nonce=b"87654321")).code
        == "call.unknown_command"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x"],
        ["x", "y", 1, 2],
        ["x", "y", 0],
        ["x", "y", -1],
        ["x", "y", "1"],
        ["x", 5, 1],
        ["a b", "y", 1],
        ["x", "y" * 65, 1],
        ["x", "y", 2**63],
        [None, "y", 1],
        [["x"], "y", 1],
        ["x", "y", True],
    ],
)
def test_arguments_that_do_not_fit_are_refused(ledger, arguments):
    assert outcome(ledger, envelope(ledger, [("units", "move", arguments)])).code == "call.bad_arguments"


def test_a_missing_role_and_an_inner_command_are_not_permitted(ledger):
    receipt = outcome(ledger, envelope(ledger, [("units", "issue", ["x", 1])]))
    assert receipt.code == "call.not_permitted"
    assert ["permission", "units:issuer"] in receipt.fields
    assert outcome(ledger, envelope(ledger, [("units", "inner", [])])).code == "call.not_permitted"


@pytest.mark.parametrize("call", [("divide", [1, 0]), ("overflow", []), ("negative", ["bad"])])
def test_an_authors_mistake_is_a_fixed_code_and_leaves_nothing(ledger, call):
    receipt = outcome(ledger, envelope(ledger, [("units", *call)]))
    assert (receipt.outcome, receipt.code) == (Outcome.REJECTED, "call.contract_fault")
    assert receipt.fields == [["contract", "units"], ["command", call[0]]]
    assert len(ledger.faults) == 1
    assert "Traceback" in ledger.faults[0]


def test_limits_are_refused_by_name():
    small = TestLedger(
        Units,
        actors={"mill/ben": []},
        parameters={
            "rows_touched_max": 100,
            "events_max": 16,
            "calls_per_transaction_max": 2,
            "transaction_size_bytes_max": 4096,
        },
    )
    ben = small.actor("mill/ben").units
    ben.chatter(16)
    with refused("call.limit_exceeded", limit="events_max", most=16):
        ben.chatter(17)
    ben.rummage(100)
    with refused("call.limit_exceeded", limit="rows_touched_max", most=100):
        ben.rummage(101)
    with refused("transaction.too_many_calls", calls=3, most=2):
        small.actor("mill/ben").calls(*[("units.chatter", {"times": 1})] * 3)
    with refused("transaction.too_large"):
        small.actor("mill/ben").call("units.move", "x" * 5000, "y", 1)


def test_a_broken_law_halts_with_height_and_transaction(ledger):
    with pytest.raises(AssertionError) as caught:
        ledger.actor("mill/ben").units.break_the_law()
    assert "height 2" in caught.value.__notes__[0]
    assert "units.break_the_law" in caught.value.__notes__[0]


def test_a_query_leaves_nothing_and_refuses_wrong_arguments(ledger):
    assert ledger.query("units.writes") == 1
    assert ledger.query("units.total") == 10
    execution = ledger.ledger.view().execution()
    for contract, name, arguments, code in (
        ("none", "x", [], "call.unknown_contract"),
        ("units", "x", [], "call.unknown_command"),
        ("units", "holdings", [], "call.bad_arguments"),
        ("units", "holdings", [1.5], "call.bad_arguments"),
    ):
        with pytest.raises(GuildbookError) as caught:
            execution.query(contract, name, arguments)
        assert caught.value.code == code


def test_a_malformed_bundle_takes_no_effect(ledger):
    before = ledger.ledger.head
    for bad in (b"", b"\x81\x01\x02", b"\x91\xa1x", b"\xdc\x00\x01\xc4\x01x"):
        head = ledger.ledger.head
        result = ledger.ledger.apply(BlockInput(head.height + 1, head.time_ns + 1, [bad]))
        assert result.receipts == []
        assert result.app_hash == head.app_hash
    assert ledger.ledger.head == before


def test_a_block_that_does_not_follow_is_refused(ledger):
    head = ledger.ledger.head
    for height, time_ns in (
        (head.height, head.time_ns + 1),
        (head.height + 2, head.time_ns + 1),
        (head.height + 1, head.time_ns),
    ):
        with pytest.raises(GuildbookError, match=r"block\.wrong_height"):
            ledger.ledger.apply(BlockInput(height, time_ns, []))


def test_an_empty_block_does_not_move_the_application_hash(ledger):
    before = ledger.ledger.head.app_hash
    ledger.cut([])
    assert ledger.ledger.head.app_hash == before


def test_a_block_that_is_dropped_changes_nothing(ledger):
    head = ledger.ledger.head
    block = BlockInput(head.height + 1, head.time_ns + 1, [encode_bundle([envelope(ledger, MOVE)])])
    dropped = ledger.ledger.apply(block)
    again = ledger.ledger.apply(block)
    assert again.app_hash == dropped.app_hash != head.app_hash
    assert ledger.query("units.total") == 10


def test_every_receipt_row_and_absence_is_provable(ledger):
    receipts = [
        outcome(ledger, envelope(ledger, [("units", "move", ["x", "y", n])], nonce=bytes([n] * 8)))
        for n in range(1, 6)
    ]
    view = ledger.ledger.view()
    log = view.log()
    for receipt in receipts:
        location = view.location(receipt.transaction)
        data = view.receipt_bytes(location)
        assert decode_receipt(data) == receipt
        verify_inclusion(
            leaf_hash(entry_of(data, *msgspec.structs.astuple(receipt)[:4])),
            location.log_index,
            log.size,
            log.inclusion_proof(location.log_index),
            view.head.log_root,
        )
    schema = view.catalogue().tables["units.accounts"]
    row = view.row_bytes(schema, "x")
    tree_key = schema.key("x")[1:]
    verify_presence(view.head.state_root, tree_key, sha256(row), view.tree().prove(tree_key))
    nobody = schema.key("nobody")[1:]
    verify_absence(view.head.state_root, nobody, view.tree().prove(nobody))


def test_an_opened_ledger_continues_where_it_was(ledger):
    ledger.actor("mill/ben").units.move("x", "y", 3)
    again = Ledger(ledger.store, ledger.registry)
    assert again.head == ledger.ledger.head
    block = BlockInput(
        again.head.height + 1, again.head.time_ns + 1, [encode_bundle([envelope(ledger, MOVE)])]
    )
    assert again.apply(block).app_hash == ledger.ledger.apply(block).app_hash


def test_founding_twice_in_one_store_is_refused(ledger):
    with pytest.raises(GuildbookError, match=r"store\.not_empty"):
        Ledger.create(ledger.store, ledger.ledger.genesis, ledger.registry)


def test_a_damaged_head_or_tree_is_refused_at_opening(ledger):
    ledger.actor("mill/ben").units.move("x", "y", 3)
    for key in [key for key, _value in ledger.store.scan(b"", None) if key in (b"Mhead", b"Mgenesis", b"T")]:
        kept = ledger.store.get(key)
        ledger.store.write([(key, kept[:-1] + bytes([kept[-1] ^ 1]))])
        with pytest.raises(GuildbookError, match=r"store\.corrupt"):
            Ledger(ledger.store, ledger.registry)
        ledger.store.write([(key, kept)])
    Ledger(ledger.store, ledger.registry)


def test_every_code_that_the_transition_gives_is_in_the_table(ledger):
    with pytest.raises(CallRefused) as caught:
        ledger.actor("mill/ben").units.issue("x", 1)
    assert caught.value.code in ERRORS
