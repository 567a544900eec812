"""One interface, two places: every story holds for the client over HTTP and for the one in the process."""

import threading
from itertools import islice

import pytest

from guildbook.chain.transaction import decode_transaction
from guildbook.client import LocalClient, TransactionRefused
from guildbook.client.keyfile import new_key
from guildbook.primitives.errors import GuildbookError
from node_harness import founded, serving


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("node") / "n", views__enabled=True)
    with serving(folder) as (node, remote):
        yield {"remote": remote, "local": node.client(remote.key)}


@pytest.fixture(params=["remote", "local"])
def client(places, request):
    return places[request.param]


def test_a_call_returns_its_receipt(client):
    before = client.query("units.total")
    receipt = client.call("units.issue", to="anna", units=5)
    assert (receipt.outcome, receipt.party) == ("applied", "admin")
    assert isinstance(receipt.result, int)
    assert client.receipt(receipt.id) == client.receipt(bytes.fromhex(receipt.id)) == receipt
    assert client.wait(receipt.id, 1) == receipt
    assert client.query("units.total") == before + 5


def test_arguments_go_by_place_or_by_name(client):
    client.call("units.issue", "ben", 7)
    assert client.call("units.move", "ben", "cleo").events[0].fields["units"] == 1
    with pytest.raises(GuildbookError, match="unknown argument unit"):
        client.call("units.issue", to="x", unit=5)


def test_a_refusal_is_an_error_that_has_its_receipt(client):
    with pytest.raises(TransactionRefused, match=r"units\.not_enough") as caught:
        client.call("units.move", source="nobody", target="x", units=3)
    assert caught.value.fields == {"wanted": 3, "free": 0}
    assert caught.value.receipt.outcome == "rejected"
    assert client.receipt(caught.value.receipt.id) == caught.value.receipt


def test_calls_of_one_transaction_take_effect_together_or_not_at_all(client):
    before = client.query("units.total")
    with pytest.raises(TransactionRefused):
        client.calls(
            [
                ("units.issue", {"to": "d", "units": 1}),
                ("units.move", {"source": "d", "target": "e", "units": 2}),
            ]
        )
    assert client.query("units.total") == before
    receipt = client.calls(
        [("units.issue", {"to": "d", "units": 1}), ("units.move", {"source": "d", "target": "e"})]
    )
    assert len(receipt.results) == 2


def test_a_key_that_nobody_registered_is_told_so(client):
    with pytest.raises(GuildbookError, match=r"transaction\.unknown_key"):
        client.with_key(new_key()).call("units.issue", to="x", units=1)
    with pytest.raises(GuildbookError, match="no key to sign with"):
        client.with_key(None).call("units.issue", to="x", units=1)
    assert client.with_key(None).query("units.total") >= 0


def test_a_batch_is_answered_in_order(client):
    envelopes = [client.sign([("units.issue", {"to": "f", "units": 1})]) for _ in range(5)]
    answers = client.batch([*envelopes, b"rubbish", envelopes[0]])
    assert [one.code for one in answers] == [None] * 5 + ["transaction.malformed", None]
    assert answers[6] == answers[0]
    assert [one.transaction for one in answers[:5]] == [decode_transaction(one).id for one in envelopes]
    assert client.batch([]) == []


def test_what_is_signed_can_be_dated_and_named(client):
    one, two = (
        client.sign([("units.issue", {"to": "g", "units": 1})], valid_until=900, nonce=bytes(8))
        for _ in range(2)
    )
    assert one == two
    body = decode_transaction(one).body
    assert (body.network, body.valid_until, body.nonce) == ("test-net", 900, bytes(8))
    assert decode_transaction(client.sign([("units.issue", {"to": "g", "units": 1})])).body.nonce != bytes(8)


def test_rows_and_blocks_are_read(client):
    client.call("units.issue", to="row", units=5)
    found = client.row("units.accounts", "row")
    assert found.row["id"] == "row"
    assert client.row("units.accounts", "not-there") is None
    page = client.rows("units.accounts", limit=1)
    following = client.rows("units.accounts", limit=1, after=page.next)
    assert page.rows != following.rows
    assert client.rows("parties.party_roles", "admin", "units:issuer").rows == [
        {"party": "admin", "permission": "units:issuer"}
    ]
    assert client.row("parties.keys", client.key.public_key).row["party"] == "admin"
    assert client.block(1).height == 1
    with pytest.raises(GuildbookError, match=r"api\.not_found"):
        client.block(10**6)
    with pytest.raises(GuildbookError, match=r"api\.not_found"):
        client.row("units.nothing", "x")


def test_queries_name_the_height_that_they_reflect(client):
    height = client.call("units.issue", to="h", units=5).height
    answer = client.ask("units.holdings", holder="admin")
    assert answer.height >= height
    assert dict(answer.result)["h"] in (5, 10)


def test_sql_waits_for_what_was_just_written(client):
    receipt = client.call("units.issue", to="sql", units=11)
    answer = client.sql("SELECT id, units FROM units.accounts WHERE id = ?", ["sql"], wait_for=receipt.height)
    assert answer.columns == ["id", "units"]
    assert answer.rows[0][1] >= 11
    assert answer.height >= receipt.height
    before = client.sql("SELECT count(*) FROM units.accounts", at=0)
    assert before.rows == [[0]]
    row = client.sql(
        "SELECT id, time FROM chain.transactions WHERE id = ?",
        [bytes.fromhex(receipt.id)],
        wait_for=receipt.height,
    )
    assert row.rows[0][0] == receipt.id
    named = client.sql("SELECT $a + $b AS total", {"a": 2, "b": 3})
    assert named.rows == [[5]]
    with pytest.raises(GuildbookError, match=r"sql\.syntax"):
        client.sql("SELEKT")
    with pytest.raises(GuildbookError, match=r"sql\.not_allowed"):
        client.sql("DROP TABLE units.accounts")
    with pytest.raises(GuildbookError, match=r"sql\.too_many_rows"):
        client.sql("SELECT * FROM units.accounts", limit=1)


def test_events_are_read_and_followed(client):
    client.call("units.issue", to="giver", units=100)
    first = client.call("units.move", source="giver", target="taker", units=3)
    stored = [
        one for one in client.events("0", contract="units", follow=False) if one.transaction == first.id
    ]
    assert stored[0].fields["units"] == 3
    heard = []
    start = f"{client.status().height + 1}.0"
    thread = threading.Thread(target=lambda: heard.extend(islice(client.events(start, contract="units"), 2)))
    thread.start()
    for units in (4, 5):
        client.call("units.move", source="giver", target="taker", units=units)
    thread.join(10)
    assert [one.fields["units"] for one in heard] == [4, 5]


def test_evidence_of_a_row_its_absence_and_a_range_is_a_file(client):
    client.call("units.issue", to="proven", units=5)
    files = {
        client.evidence_row("units.accounts", "proven"),
        client.evidence_absence("units.accounts", "nobody"),
        client.evidence_range("units.accounts"),
        client.evidence_range("parties.party_roles", "admin"),
    }
    assert len(files) == 4
    with pytest.raises(GuildbookError, match=r"api\.not_found"):
        client.evidence_row("units.accounts", "nobody")
    with pytest.raises(GuildbookError, match=r"evidence\.not_available"):
        client.evidence_absence("units.accounts", "proven")


def test_evidence_of_a_receipt_is_a_file(client):
    receipt = client.call("units.issue", to="proven", units=5)
    assert client.evidence_receipt(receipt.id) == client.evidence_receipt(bytes.fromhex(receipt.id))
    with pytest.raises(GuildbookError, match=r"evidence\.not_available"):
        client.evidence_receipt("00" * 32)


def test_both_places_say_the_same(places):
    remote, local = places["remote"], places["local"]
    assert remote.fetch_catalogue() == local.fetch_catalogue()
    receipt = remote.call("units.issue", to="same", units=5)
    assert local.receipt(receipt.id) == receipt
    assert local.block(receipt.height) == remote.block(receipt.height)
    assert local.rows("units.accounts").rows == remote.rows("units.accounts").rows
    assert list(local.events("0", follow=False)) == list(remote.events("0", follow=False))
    assert isinstance(local, LocalClient)
    assert "ed25519:" in repr(local)
    assert "reading" in repr(remote.with_key(None))


def test_waiting_for_a_transaction_that_never_comes_ends(client):
    with pytest.raises(GuildbookError, match=r"client\.timeout"):
        client.wait("00" * 32, 0.1)
