"""The event stream: every event once and in order, for whoever was away, too slow, or many."""

import itertools
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from guildbook.client.documents import Position, parse_position
from guildbook.primitives.errors import GuildbookError
from node_harness import asking, founded, problem

EVENTS = 30


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("node") / "n", http__subscribers_max=12, http__stream_stall_s=1)
    with asking(folder) as http:
        client = http.client
        client.call("units.issue", to="giver", units=10**9)
        for first in range(0, EVENTS, 5):  # five events in each block
            calls = [
                ("units.move", {"source": "giver", "target": "x", "units": first + n + 1}) for n in range(5)
            ]
            client.calls(calls)
        yield http


def units(events):
    return [one.fields["units"] for one in events]


def test_events_come_in_order_from_the_beginning(node):
    events = list(node.client.events("0", contract="units", follow=False))
    assert units(events)[:EVENTS] == list(range(1, EVENTS + 1))
    places = [parse_position(one.position) for one in events]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert {(one.contract, one.event) for one in events} == {("units", "moved")}
    assert all(len(one.transaction) == 64 and one.time_ms > 0 for one in events)


def test_a_reader_goes_on_behind_the_last_event_that_it_has(node):
    everything = list(node.client.events("0", contract="units", follow=False))
    for cut in (0, 1, 7, EVENTS - 1):
        headers = {"last-event-id": everything[cut].position}
        text = node.get("/v1/events", params={"follow": "false", "contract": "units"}, headers=headers).text
        ids = [line[4:] for line in text.splitlines() if line.startswith("id: ")]
        assert ids == [one.position for one in everything[cut + 1 :]]


def test_a_position_is_where_reading_begins(node):
    everything = list(node.client.events("0", contract="units", follow=False))
    assert list(node.client.events(everything[6].position, contract="units", follow=False)) == everything[6:]
    height = everything[6].height
    assert list(node.client.events(str(height), contract="units", follow=False)) == [
        one for one in everything if one.height >= height
    ]


def test_events_can_be_of_one_contract_or_one_kind(node):
    assert list(node.client.events("0", contract="parties", follow=False)) == []
    kind = list(node.client.events("0", contract="units", event="moved", follow=False))
    assert len(kind) >= EVENTS
    assert list(node.client.events("0", contract="units", event="nothing", follow=False)) == []


def test_what_cannot_be_subscribed_to_is_a_problem(node):
    problem(node.get("/v1/events?from=x"), 400, "api.bad_request")
    problem(node.get("/v1/events?from=999999"), 400, "api.bad_request")
    problem(node.get("/v1/events", headers={"last-event-id": "1.2.3"}), 400, "api.bad_request")
    problem(node.get("/v1/events?contract=nothing"), 404, "call.unknown_contract")
    problem(node.get("/v1/events?event=moved"), 400, "api.bad_request")


def test_a_subscriber_hears_of_events_as_they_happen(node):
    heard = []
    ready = threading.Event()

    def listen():
        stream = node.client.events(contract="units")
        ready.set()
        heard.extend(itertools.islice(stream, 3))

    height = node.client.status().height
    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait()
    for _ in range(200):  # until the stream is open: without a position it begins with the next block
        if b"guildbook_event_streams 1.0" in node.get("/metrics").content:
            break
        time.sleep(0.01)
    for number in range(3):
        node.client.call("units.move", source="giver", target="y", units=1000 + number)
    thread.join(10)
    assert units(heard) == [1000, 1001, 1002]
    assert all(one.height > height for one in heard)


def test_many_subscribers_hear_the_same_while_blocks_are_cut(node):
    start = str(node.client.status().height + 1)
    heard = [[] for _ in range(6)]

    def listen(number):
        with_own_connection = node.client.with_key(None)
        heard[number] = list(itertools.islice(with_own_connection.events(start, contract="units"), 40))

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for number in range(40):
        node.client.call("units.move", source="giver", target="z", units=2000 + number)
    for thread in threads:
        thread.join(20)
    assert all(units(one) == list(range(2000, 2040)) for one in heard)


def test_more_streams_than_the_node_keeps_are_told_to_come_again(node):
    with httpx.Client(base_url=node.base_url, limits=httpx.Limits(max_connections=20)) as http:
        open_streams = [http.stream("GET", "/v1/events") for _ in range(12)]
        for one in open_streams:
            assert one.__enter__().status_code == 200
        response = http.get("/v1/events")
        problem(response, 429, "api.too_busy")
        assert response.headers["retry-after"] == "1"
        for one in open_streams:
            one.__exit__(None, None, None)


def test_a_subscriber_that_takes_nothing_is_closed_and_holds_up_nobody(node):
    place = urlsplit(str(node.base_url))
    before = len(list(node.client.events("0", follow=False)))
    with closing(socket.create_connection((place.hostname, place.port))) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /v1/events?from=0 HTTP/1.1\r\nhost: x\r\n\r\n")
        for round_ in range(40):  # enough for every buffer on the way to be full
            calls = [("units.move", {"source": "giver", "target": "w", "units": n + 1}) for n in range(32)]
            answers = node.client.batch([node.client.sign(calls) for _ in range(20)])
            assert all(one.receipt is not None for one in answers), round_
        for _ in range(100):
            if b"guildbook_event_streams 0.0" in node.get("/metrics").content:
                break
            time.sleep(0.1)
        assert b"guildbook_event_streams 0.0" in node.get("/metrics").content
    assert len(list(node.client.events("0", follow=False))) == before + 40 * 20 * 32


@pytest.mark.parametrize("text", ["", "x", "-1", "1.", ".1", "1.1.1", "1" * 19, "1 ", "１"])
def test_a_position_is_a_height_and_perhaps_a_number(text):
    with pytest.raises(GuildbookError, match=r"api\.bad_request"):
        parse_position(text)
    assert parse_position("17") == Position(17, 0)
    assert str(parse_position("17.3")) == "17.3"
