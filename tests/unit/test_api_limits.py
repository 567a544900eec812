"""What the interface bears: too much, too slow, too many, and connections that are not HTTP at all."""

import os
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from guildbook.chain.transaction import build_transaction
from node_harness import NETWORK, asking, founded, problem

BODY_BYTES = 65_536
MSGPACK = {"content-type": "application/msgpack"}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(
        tmp_path_factory.mktemp("node") / "n",
        http__body_size_bytes_max=BODY_BYTES,
        http__body_timeout_s=1,
        http__header_timeout_s=1,
        http__header_size_bytes_max=4096,
        http__requests_running_max=3,
        http__idle_timeout_s=2,
        sequencer__gather_ms=100,
    )
    with asking(folder) as http:
        yield http


def connection(node):
    place = urlsplit(str(node.base_url))
    made = socket.create_connection((place.hostname, place.port))
    made.settimeout(10)
    return closing(made)


def received(sock):
    parts = []
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_a_body_that_says_it_is_too_large_is_not_read(node):
    with connection(node) as sock:
        sock.sendall(b"POST /v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"api.payload_too_large" in answer


def test_a_body_that_grows_too_large_is_cut_off(node):
    def endless():
        for _ in range(64):
            yield bytes(8192)

    problem(node.post("/v1/transactions", content=endless(), headers=MSGPACK), 413, "api.payload_too_large")
    response = node.post("/v1/transactions", content=bytes(BODY_BYTES), headers=MSGPACK)
    problem(response, 400, "transaction.malformed")


def test_a_body_that_does_not_arrive_is_not_waited_for(node):
    with connection(node) as sock:
        sock.sendall(b"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n")
        sock.sendall(b"content-type: application/msgpack\r\n\r\nabc")
        started = time.monotonic()
        answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive in time" in answer
    assert 0.5 < time.monotonic() - started < 8


def test_a_head_that_does_not_arrive_closes_the_connection(node):
    with connection(node) as sock:
        started = time.monotonic()
        sock.sendall(b"GET /v1/status HTTP/1.1\r\nhost: ")
        assert received(sock) == b""
    assert 0.5 < time.monotonic() - started < 8


def test_a_head_that_is_too_large_is_refused(node):
    with connection(node) as sock:
        sock.sendall(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n" + b"x-long: " + b"y" * 8192 + b"\r\n\r\n")
        assert received(sock).startswith(b"HTTP/1.1 400 ")
    with connection(node) as sock:
        sock.sendall(b"GET /" + b"y" * 8192 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert received(sock).startswith(b"HTTP/1.1 400 ")
    assert node.get("/v1/health/live").status_code == 200


def test_several_requests_on_one_connection_each_have_their_own_bounds(node):
    with connection(node) as sock:
        for _ in range(3):
            sock.sendall(b"GET /v1/health/live HTTP/1.1\r\nhost: x\r\nx-long: " + b"y" * 3000 + b"\r\n\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed(node):
    with connection(node) as sock:
        sock.sendall(b"GET /v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        started = time.monotonic()
        assert received(sock).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\x00" * 100,
        b"HELLO\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["TLS", "zeros", "another protocol", "half a line", "HTTP/2"],
)
def test_what_is_not_http_is_refused(node, data):
    with connection(node) as sock:
        sock.sendall(data)
        answer = received(sock)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert node.get("/v1/health/live").status_code == 200


def test_more_requests_than_the_node_runs_are_told_to_come_again(node):
    with connection(node) as first, connection(node) as second, connection(node) as third:
        for sock in (first, second, third):  # three requests that wait for their bodies
            sock.sendall(b"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        time.sleep(0.2)
        problem(node.get("/v1/health/live"), 429, "api.too_busy")
    time.sleep(0.2)
    assert node.get("/v1/health/live").status_code == 200


def test_a_caller_that_goes_away_leaves_its_transaction_on_its_way(node):
    envelope = build_transaction(
        NETWORK, node.key, 1000, os.urandom(16), [("units", "issue", ["left-alone", 5])]
    )
    with connection(node) as sock:
        head = f"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(envelope)}\r\n"
        sock.sendall(head.encode() + b"content-type: application/msgpack\r\n\r\n" + envelope)
        time.sleep(0.05)  # handed in, and its block is still gathering
    for _ in range(100):
        if node.client.row("units.accounts", "left-alone") is not None:
            break
        time.sleep(0.02)
    assert node.client.row("units.accounts", "left-alone").row["units"] == 5
    assert node.node.engine.failure is None


def test_callers_at_the_same_time_each_get_their_own_receipt(node):
    results = {}

    def call(number):
        results[number] = node.client.call("units.issue", to=f"own-{number}", units=number + 1)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in results.values()}) == 12
    for number in range(12):
        assert node.client.row("units.accounts", f"own-{number}").row["units"] == number + 1


@pytest.mark.parametrize("route", ["/v1/sql", "/v1/contracts/parties/grant_role", "/v1/transactions"])
def test_a_body_that_is_nested_too_deeply_is_a_bad_request(node, route):
    deep = b"[" * 3000 + b"]" * 3000
    response = node.post(route, content=b'{"sql": ' + deep + b"}", headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["code"] in ("api.bad_request", "transaction.malformed")
