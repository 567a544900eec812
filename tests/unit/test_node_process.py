"""A node as a process: it starts, says so, stops when told, halts when it must, and says why with its exit status."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from guildbook.client import Client
from guildbook.node import EXIT_HALTED, open_node, running_node
from guildbook.primitives.errors import EXIT_NODE, GuildbookError
from node_harness import administrator, founded, serving

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys
from pathlib import Path
from guildbook.node import open_node
from guildbook.node.log import configure_logging
from guildbook.primitives.errors import GuildbookError, spec_for

if __name__ == "__main__":
    try:
        node = open_node(Path(sys.argv[1]))
        configure_logging(node.config.log)
        sys.exit(node.serve())
    except GuildbookError as error:
        print(error, file=sys.stderr)
        sys.exit(spec_for(error.code).exit_status)
"""


@contextlib.contextmanager
def process(folder, *options, **environment):
    """The node of ``folder`` in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, *options, "-c", PROGRAM, str(folder)],
        env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def client_of(child, folder):
    """A client of the node, once it runs."""
    for _ in range(600):
        found = running_node(folder)
        if found is not None:
            return Client(found.url, administrator(folder), timeout_s=20)
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    raise AssertionError("the node did not start")


@pytest.fixture
def folder(tmp_path):
    return founded(tmp_path / "node", log__format="json")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_told_to_stop_finishes_and_leaves_everything_provable(folder, number):
    with process(folder) as child:
        with contextlib.closing(client_of(child, folder)) as client:
            receipt = client.call("units.issue", to="x", units=5)
        child.send_signal(number)
        _out, text = child.communicate(timeout=30)
        assert child.returncode == 0
    lines = [json.loads(line) for line in text.splitlines()]
    messages = [line["message"] for line in lines]
    assert messages[0] == "the node is ready"
    assert messages[-1] == "the node has stopped"
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert lines[0]["url"].startswith("http://127.0.0.1:")
    assert running_node(folder) is None
    assert not (folder / "node.json").exists()
    with open_node(folder) as node:
        assert not node.ledger.head.needs_proof_block
        assert node.client().receipt(receipt.id) == receipt


def test_what_is_running_when_the_node_is_told_to_stop_is_answered(folder):
    with serving_slowly(folder) as (child, client):
        envelopes = [client.sign([("units.issue", {"to": "x", "units": 1})]) for _ in range(20)]
        transport = httpx.Client(base_url=client.url, timeout=20)
        with contextlib.closing(transport), stream_of(transport) as events:
            before = client.status().height
            answers = []
            thread = threading.Thread(target=lambda: answers.extend(client.batch(envelopes)))
            thread.start()
            time.sleep(0.15)
            child.send_signal(signal.SIGTERM)
            thread.join(20)
            assert [one.code for one in answers] == [None] * 20
            events.read()  # the stream ends by itself
        assert child.wait(30) == 0
    with open_node(folder) as node:
        assert node.ledger.head.height > before
        assert node.client().query("units.total") == 20


@contextlib.contextmanager
def serving_slowly(folder):
    """A node that gathers transactions for half a second."""
    with (
        process(folder, GUILDBOOK_SEQUENCER_GATHER_MS="500") as child,
        contextlib.closing(client_of(child, folder)) as client,
    ):
        yield child, client


@contextlib.contextmanager
def stream_of(transport):
    with transport.stream("GET", "/v1/events") as response:
        yield response


def test_a_broken_law_halts_the_node_with_a_status_of_its_own(folder):
    with process(folder) as child, contextlib.closing(client_of(child, folder)) as client:
        client.call("units.issue", to="x", units=5)
        with pytest.raises(GuildbookError, match=r"api\.unavailable|client\.unreachable"):
            Client(client.url, client.key, timeout_s=3).call("units.break_the_law")
        _out, text = child.communicate(timeout=30)
        assert child.returncode == EXIT_HALTED
    lines = [json.loads(line) for line in text.splitlines()]
    halt = next(line for line in lines if line["level"] == "critical")
    assert "units.break_the_law" in halt["message"]
    assert "height" in halt
    assert "AssertionError" in halt["failure"]
    with open_node(folder) as node:
        assert node.client().query("units.total") == 5


def test_a_second_node_on_the_same_folder_is_told_so(folder):
    with process(folder) as first, contextlib.closing(client_of(first, folder)) as client:
        with process(folder) as second:
            _out, text = second.communicate(timeout=30)
            assert second.returncode == EXIT_NODE
            assert "store.locked" in text
        assert client.call("units.issue", to="x", units=5).outcome == "applied"


def test_a_node_refuses_to_run_without_assertions(folder):
    with process(folder, "-O") as child:
        _out, text = child.communicate(timeout=30)
        assert child.returncode != 0
        assert "node.assertions_off" in text


def test_an_address_that_is_taken_is_named(folder):
    with process(folder) as first, contextlib.closing(client_of(first, folder)) as client:
        other = founded(folder.parent / "other")
        port = client.url.rpartition(":")[2]
        with process(other, GUILDBOOK_HTTP_PORT=port) as second:
            _out, text = second.communicate(timeout=30)
            assert second.returncode != 0
            assert f"cannot listen on 127.0.0.1:{port}" in text
    open_node(other).close()


def test_a_node_goes_on_where_it_was(folder):
    for round_ in range(3):
        with process(folder) as child, contextlib.closing(client_of(child, folder)) as client:
            assert client.query("units.total") == round_ * 7
            client.call("units.issue", to="x", units=7)
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0


def test_low_space_is_a_reason_not_to_be_ready_and_no_space_refuses_transactions(tmp_path, monkeypatch):
    from guildbook.node import node as module

    class Usage:
        free = 10**15

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage)
    monkeypatch.setattr(module, "DISK_CHECK_S", 0.02)
    folder = founded(tmp_path / "node", store__free_bytes_warn=2000, store__free_bytes_min=1000)
    with serving(folder) as (node, client), httpx.Client(base_url=client.url) as http:
        assert http.get("/v1/health/ready").status_code == 200
        Usage.free = 1500
        wait_until(lambda: http.get("/v1/health/ready").status_code == 503)
        assert "1500 bytes free" in http.get("/v1/health/ready").json()["reasons"][0]
        assert client.call("units.issue", to="x", units=1).outcome == "applied"
        Usage.free = 500
        wait_until(lambda: node._free_bytes == 500)
        with pytest.raises(GuildbookError, match=r"store\.full"):
            client.call("units.issue", to="x", units=1)
        assert client.query("units.total") == 1
        Usage.free = 10**15
        wait_until(lambda: http.get("/v1/health/ready").status_code == 200)
        assert client.call("units.issue", to="x", units=1).outcome == "applied"


def wait_until(holds):
    for _ in range(300):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come about")
