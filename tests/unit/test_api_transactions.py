"""Handing in transactions over HTTP: receipts, refusals, batches, and bodies for keys that are held elsewhere."""

import os

import msgspec
import pytest

from guildbook.chain.receipt import decode_receipt
from guildbook.chain.transaction import Envelope, build_transaction, encode_body, transaction_id
from guildbook.client.keyfile import new_key
from guildbook.primitives.canonical import encode
from guildbook.primitives.keys import key_text
from node_harness import NETWORK, asking, founded, problem

MSGPACK = {"content-type": "application/msgpack"}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("node") / "n", http__batch_transactions_max=50)
    with asking(folder) as http:
        yield http


def issue(node, units=1, *, to="x", valid_until=1000, key=None, network=NETWORK):
    return build_transaction(
        network, key or node.key, valid_until, os.urandom(16), [("units", "issue", [to, units])]
    )


def post(node, envelope, **options):
    return node.post("/v1/transactions", content=envelope, headers=MSGPACK, **options)


def test_a_signed_transaction_is_answered_with_its_receipt(node):
    envelope = issue(node, 7, to="first")
    response = post(node, envelope)
    assert response.status_code == 200
    receipt = response.json()
    assert (receipt["outcome"], receipt["code"], receipt["party"]) == ("applied", "", "admin")
    stored = decode_receipt(bytes.fromhex(receipt["receipt"]))
    assert stored.transaction.hex() == receipt["id"]
    assert stored.height == receipt["height"]
    assert node.get(f"/v1/transactions/{receipt['id']}").json() == receipt


def test_the_same_bytes_again_get_the_same_receipt(node):
    envelope = issue(node)
    assert post(node, envelope).json() == post(node, envelope).json()


def test_an_envelope_can_be_sent_as_json(node):
    response = node.post("/v1/transactions", json={"envelope": issue(node).hex()})
    assert response.json()["outcome"] == "applied"


def test_a_refusal_of_the_contract_is_a_receipt_that_says_why(node):
    calls = [("units", "move", ["nobody", "x", 5])]
    response = post(node, build_transaction(NETWORK, node.key, 1000, os.urandom(16), calls))
    receipt = response.json()
    assert response.status_code == 200
    assert (receipt["outcome"], receipt["code"]) == ("rejected", "units.not_enough")
    assert receipt["fields"] == {"wanted": 5, "free": 0}
    assert receipt["message"] == "The account does not hold that many units."
    assert receipt["next_step"]


def test_events_in_a_receipt_have_names(node):
    node.client.call("units.issue", to="giver", units=9)
    receipt = node.client.call("units.move", source="giver", target="taker", units=4)
    (event,) = receipt.events
    assert (event.contract, event.event) == ("units", "moved")
    assert event.fields == {"source": "giver", "target": "taker", "units": 4}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), 401, "transaction.bad_signature"),
        (lambda data: data + b"\0", 400, "transaction.malformed"),
        (lambda data: b"", 400, "transaction.malformed"),
        (lambda data: b"\x92\xc5\x00\x01a\xc4\x00", 400, "transaction.not_canonical"),
    ],
    ids=["another signature", "a byte more", "nothing", "a longer form"],
)
def test_bytes_that_are_no_good_transaction_are_a_problem(node, change, status, code):
    problem(post(node, change(issue(node))), status, code)


def test_what_may_not_be_in_a_block_is_a_problem(node):
    problem(post(node, issue(node, network="other-net")), 400, "transaction.wrong_network")
    problem(post(node, issue(node, valid_until=0)), 409, "transaction.expired")
    problem(post(node, issue(node, valid_until=10**12)), 400, "transaction.valid_too_far")
    problem(post(node, issue(node, key=new_key())), 401, "transaction.unknown_key")


def test_without_waiting_the_answer_is_the_id_and_the_receipt_follows(node):
    envelope = issue(node)
    response = post(node, envelope, params={"wait": 0})
    assert response.status_code == 202
    assert response.json()["state"] == "pending"
    transaction = response.json()["id"]
    assert transaction == transaction_id(msgspec.msgpack.decode(envelope)[0]).hex()
    assert node.client.wait(transaction).outcome == "applied"


def test_a_refusal_that_nobody_waited_for_can_be_asked_for_later(node):
    envelope = issue(node, key=new_key())
    transaction = post(node, envelope, params={"wait": 0}).json()["id"]
    for _ in range(200):
        response = node.get(f"/v1/transactions/{transaction}")
        if response.status_code not in (202, 404):
            break
    problem(response, 401, "transaction.unknown_key")


def test_an_unknown_transaction_is_not_found(node):
    assert (
        problem(node.get(f"/v1/transactions/{'ab' * 32}"), 404, "api.not_found")["fields"]["absent"] is True
    )
    problem(node.get("/v1/transactions/abc"), 400, "api.bad_request")


def test_a_batch_is_answered_in_order_with_receipts_and_codes(node):
    good = [issue(node) for _ in range(5)]
    envelopes = [good[0], b"rubbish", *good[1:], good[0], issue(node, valid_until=0)]
    response = node.post("/v1/transactions/batch", content=encode(envelopes), headers=MSGPACK)
    assert response.headers["content-type"] == "application/msgpack"
    answers = msgspec.msgpack.decode(response.content)
    assert [code for _id, _receipt, code in answers] == [
        None, "transaction.malformed", None, None, None, None, None, "transaction.expired",
    ]  # fmt: skip
    assert answers[0] == answers[6]
    assert [decode_receipt(receipt).outcome for _id, receipt, _code in answers if receipt] == [0] * 6
    assert node.post("/v1/transactions/batch", content=encode([]), headers=MSGPACK).content == encode([])


@pytest.mark.parametrize(
    "body", [b"", b"\x91", b"\x91\x01", encode([b"a"]) + b"\0", b"\xdc\x00\x01\xc4\x01a", b"\x91" * 100_000]
)
def test_a_batch_that_is_no_canonical_array_is_refused(node, body):
    problem(node.post("/v1/transactions/batch", content=body, headers=MSGPACK), 400, "api.bad_request")


def test_a_batch_has_a_greatest_number(node):
    body = encode([b"x"] * 51)
    document = problem(
        node.post("/v1/transactions/batch", content=body, headers=MSGPACK), 413, "api.payload_too_large"
    )
    assert document["fields"]["transactions"] == 51


@pytest.mark.parametrize("path", ["/v1/transactions", "/v1/transactions/batch"])
def test_another_media_type_is_refused(node, path):
    response = node.post(path, content=b"x", headers={"content-type": "text/plain"})
    assert problem(response, 415, "api.bad_request")["next_step"].startswith("send application/msgpack")


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"envelope": 1}', '{"envelope": "zz"}', "[" * 100_000])
def test_json_that_is_no_envelope_is_refused(node, body):
    response = node.post("/v1/transactions", content=body, headers={"content-type": "application/json"})
    problem(response, 400, "api.bad_request")


def test_a_body_can_be_prepared_here_and_signed_elsewhere(node):
    key = node.key
    asked = {"arguments": {"to": "prepared", "units": 3}, "key": key_text(key.public_key)}
    prepared = node.post("/v1/contracts/units/issue", json=asked).json()
    body = bytes.fromhex(prepared["body"])
    assert transaction_id(body).hex() == prepared["id"]
    envelope = encode(Envelope(body, key.sign(bytes.fromhex(prepared["sign"]))))
    receipt = post(node, envelope).json()
    assert (receipt["id"], receipt["outcome"]) == (prepared["id"], "applied")
    assert node.client.row("units.accounts", "prepared").row["units"] == 3


def test_a_prepared_body_is_exactly_what_was_asked_for(node):
    asked = {
        "arguments": {"source": "a", "target": "b"},
        "key": key_text(node.key.public_key),
        "valid_until": 77,
        "nonce": "00" * 8,
    }
    prepared = node.post("/v1/contracts/units/move", json=asked).json()
    assert bytes.fromhex(prepared["body"]) == encode_body(
        NETWORK, node.key.public_key, 77, bytes(8), [("units", "move", ["a", "b", 1])]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "to is missing"),
        ({"to": "x", "units": 1, "extra": 1}, "unknown argument extra"),
        ({"to": "x", "units": 0}, "units"),
        ({"to": "x", "units": "1"}, "units"),
        ({"to": "x", "units": 1.5}, "not a whole number"),
        ({"to": "no spaces", "units": 1}, "to"),
        ({"to": None, "units": 1}, "to"),
        ({"to": "x", "units": 2**63}, "units"),
    ],
)
def test_arguments_that_do_not_fit_are_named(node, arguments, said):
    asked = {"arguments": arguments, "key": key_text(node.key.public_key)}
    document = problem(node.post("/v1/contracts/units/issue", json=asked), 422, "call.bad_arguments")
    assert said in document["detail"]


def test_only_commands_open_to_transactions_can_be_prepared(node):
    asked = {"arguments": {}, "key": key_text(node.key.public_key)}
    problem(node.post("/v1/contracts/units/inner", json=asked), 403, "call.not_permitted")
    problem(node.post("/v1/contracts/units/nothing", json=asked), 404, "call.unknown_command")
    problem(node.post("/v1/contracts/nothing/issue", json=asked), 404, "call.unknown_contract")
    asked["arguments"] = {"to": "x", "units": 1}
    problem(node.post("/v1/contracts/units/issue", json={**asked, "key": "ed25519:00"}), 400, "key.malformed")
    problem(node.post("/v1/contracts/units/issue", json={**asked, "nonce": "00"}), 400, "api.bad_request")
    problem(node.post("/v1/contracts/units/issue", json={**asked, "valid_until": -1}), 400, "api.bad_request")
    small = "ed25519:" + "01" + "00" * 31
    problem(node.post("/v1/contracts/units/issue", json={**asked, "key": small}), 400, "key.small_order")
