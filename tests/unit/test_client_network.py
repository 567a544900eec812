"""The client on a bad network: it sends the same bytes again where that helps, and says plainly where it does not."""

import itertools

import httpx
import msgspec
import pytest

from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.client import Client
from guildbook.client.documents import ProblemDocument
from guildbook.client.keyfile import new_key
from guildbook.primitives.errors import GuildbookError

KEY = new_key()
ENVELOPE = build_transaction("test-net", KEY, 100, bytes(16), [("units", "issue", ["x", 1])])
RECEIPT = {
    "id": decode_transaction(ENVELOPE).id.hex(),
    "height": 2,
    "index": 0,
    "log_index": 0,
    "time_ms": 1,
    "party": "p",
    "organisation": "o",
    "outcome": "applied",
    "code": "",
    "message": "",
    "next_step": "",
    "fields": {},
    "results": [1],
    "events": [],
    "receipt": "",
}


def client_of(*answers, timeout_s=5.0):
    """A client to whom the network answers as listed, the last answer for ever; and what it sent."""
    sent = []
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def respond(request):
        sent.append(request)
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://node", KEY, timeout_s=timeout_s, transport=httpx.MockTransport(respond)), sent


def problem(status, code):
    document = ProblemDocument("/v1/errors/x", "t", status, "d", code, {"n": 1}, "do this")
    return httpx.Response(status, content=msgspec.json.encode(document))


GOOD = httpx.Response(200, json=RECEIPT)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
        problem(429, "api.too_busy"),
        problem(503, "api.unavailable"),
    ],
    ids=["no connection", "no answer", "cut off", "too busy", "starting"],
)
def test_the_same_bytes_are_sent_again_until_there_is_a_receipt(failure):
    client, sent = client_of(failure, failure, GOOD)
    assert client.submit(ENVELOPE).outcome == "applied"
    assert [one.content for one in sent] == [ENVELOPE] * 3


def test_a_refusal_is_final():
    client, sent = client_of(problem(409, "transaction.expired"))
    with pytest.raises(GuildbookError, match=r"transaction\.expired") as caught:
        client.submit(ENVELOPE)
    assert len(sent) == 1
    assert (caught.value.fields, caught.value.hint) == ({"n": 1}, "do this")


def test_a_failure_of_the_node_itself_is_not_asked_for_again():
    client, sent = client_of(problem(500, "api.unavailable"))
    with pytest.raises(GuildbookError, match=r"api\.unavailable"):
        client.status()
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [(httpx.ConnectError("refused"), "client.unreachable"), (httpx.ReadTimeout("slow"), "client.timeout")],
)
def test_when_time_is_up_the_error_names_the_transaction(failure, code):
    client, sent = client_of(failure, timeout_s=0.4)
    with pytest.raises(GuildbookError, match=code) as caught:
        client.submit(ENVELOPE)
    assert caught.value.fields["transaction"] == RECEIPT["id"]
    assert f"whether transaction {RECEIPT['id']} is applied is not known" in caught.value.message
    assert len(sent) > 1


def test_a_node_that_stays_busy_is_said_to_be_busy():
    client, sent = client_of(problem(429, "api.too_busy"), timeout_s=0.4)
    with pytest.raises(GuildbookError, match=r"api\.too_busy"):
        client.status()
    assert len(sent) > 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={"network": 1}),
        httpx.Response(502, content=b"Bad Gateway"),
        httpx.Response(404, json={"detail": "x"}),
    ],
    ids=["a page", "another document", "a proxy", "another service"],
)
def test_what_is_no_node_is_said_to_be_none(answer):
    client, _sent = client_of(answer)
    with pytest.raises(GuildbookError, match=r"client\.unreachable"):
        client.status()


def test_a_batch_that_cannot_be_read_is_an_error():
    client, _sent = client_of(httpx.Response(200, content=b"\xc1"))
    with pytest.raises(GuildbookError, match=r"client\.unreachable"):
        client.batch([ENVELOPE])


def stream(*lines, status=200):
    return httpx.Response(status, content="".join(lines).encode())


def event(position):
    height, _dot, index = position.partition(".")
    document = {
        "position": position,
        "height": int(height),
        "index": int(index),
        "time_ms": 1,
        "transaction": "",
        "contract": "units",
        "event": "moved",
        "fields": {},
    }
    return f"id: {position}\ndata: {msgspec.json.encode(document).decode()}\n\n"


def test_a_broken_stream_goes_on_behind_the_last_event():
    client, sent = client_of(
        stream("retry: 1000\n: hello\n\n", event("1.0"), event("1.1")),
        httpx.ConnectError("gone"),
        stream(event("2.0"), event("2.1")),
    )
    heard = [one.position for one in itertools.islice(client.events("0"), 4)]
    assert heard == ["1.0", "1.1", "2.0", "2.1"]
    assert [one.headers.get("last-event-id") for one in sent] == [None, "1.1", "1.1"]
    assert sent[0].url.params["from"] == "0"


def test_a_stream_that_does_not_come_back_ends_with_the_place_to_go_on():
    client, _sent = client_of(stream(event("1.0")), httpx.ConnectError("gone"), timeout_s=0.3)
    events = client.events("0")
    assert next(events).position == "1.0"
    with pytest.raises(GuildbookError, match=r"client\.unreachable") as caught:
        next(events)
    assert caught.value.fields["last"] == "1.0"


def test_a_refused_subscription_is_an_error():
    client, _sent = client_of(problem(400, "api.bad_request"))
    with pytest.raises(GuildbookError, match=r"api\.bad_request"):
        next(client.events("x"))
