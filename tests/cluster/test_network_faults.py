"""What a network bears: standing machines, too many away, a power failure everywhere, two versions of the engine."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.harness import clerks, held, issue
from engine_binary import cometbft
from guildbook.engine.cometbft.binary import COMPATIBLE, PINNED
from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.view import EngineView
from guildbook.primitives.errors import GuildbookError
from guildbook.testing.network import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SETTINGS = {"network.propose_ms": 1_000}


@pytest.fixture
def network(tmp_path):
    with clerks(tmp_path, observers=(), settings=SETTINGS) as network:
        yield network


def until_applied(node, envelope: bytes):
    """The receipt of `envelope`, sent again and again through `node`, as a careful sender does."""
    deadline = time.monotonic() + 300
    while True:
        try:
            return node.client(f"clerk-{node.organisation.id}").submit(envelope)
        except GuildbookError as error:
            if error.code not in ("client.timeout", "api.unavailable") or time.monotonic() > deadline:
                raise


def test_a_validator_that_stands_still_is_waited_for_by_nobody_and_catches_up(network):
    network.start()
    moss, anchor = network.node("moss"), network.node("anchor")
    moss.pause()
    receipts = [issue(anchor, "paused", 1) for _each in range(5)]
    moss.resume()
    moss.wait_height(max(one.height for one in receipts))
    assert held(moss, "paused") == 5
    network.same_roots()


def test_with_half_of_the_power_away_nothing_is_acknowledged_and_nothing_is_lost(network):
    network.start()
    anchor = network.node("anchor")
    network.node("moss").kill()
    network.node("lantern").kill()
    before = anchor.height
    client = anchor.client("clerk-anchor")
    envelope = client.sign([("units.issue", {"to": "late", "units": 3})])
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(until_applied, anchor, envelope)
        time.sleep(3)
        assert not waiting.done()
        assert anchor.height <= before + 1, "at most what was decided before they went"
        network.node("moss").start()
        receipt = waiting.result()
    assert receipt.outcome == "applied"
    network.node("lantern").start()
    network.node("lantern").wait_ready()
    network.same_roots()
    assert {held(one, "late") for one in network.nodes} == {3}


def test_a_power_failure_everywhere_loses_nothing_that_was_acknowledged(network):
    network.start()
    acknowledged = []

    def send(node) -> None:
        with contextlib.suppress(GuildbookError):
            while len(acknowledged) < 400:
                acknowledged.append(issue(node, "everywhere", 1))

    with ThreadPoolExecutor(4) as threads:
        for node in network.nodes:
            threads.submit(send, node)
        while len(acknowledged) < 40:
            time.sleep(0.01)
        for node in network.nodes:
            node.kill()
    network.start()
    network.same_roots()
    for node in network.nodes:
        found = [node.client().receipt(one.id) for one in acknowledged]
        assert found == acknowledged
        assert held(node, "everywhere") >= len(acknowledged)


def test_two_versions_of_the_engine_make_one_network_and_a_member_upgrades_alone(network):
    cometbft(COMPATIBLE)
    moss = network.node("moss")
    moss.configure(network__version=COMPATIBLE)
    network.node("kettle").configure(network__version=COMPATIBLE)
    network.start()
    assert EngineView(EngineHome(moss.path / "engine")).status().version == COMPATIBLE
    assert EngineView(EngineHome(network.node("anchor").path / "engine")).status().version == PINNED
    for node in network.nodes:
        assert issue(node, "mixed", 1).outcome == "applied"
    network.same_roots()
    moss.stop()
    moss.configure(network__version=PINNED)
    moss.start()
    moss.wait_ready()
    assert EngineView(EngineHome(moss.path / "engine")).status().version == PINNED
    for node in network.nodes:
        assert issue(node, "mixed", 1).outcome == "applied"
    network.same_roots()
    assert {held(one, "mixed") for one in network.nodes} == {8}


def test_a_node_that_comes_later_begins_with_a_snapshot_where_it_is_told_to(network):
    ports = free_ports(2)
    servers = [network.node(name) for name in ("anchor", "kettle")]
    for node in network.nodes:
        node.configure(snapshots__interval_blocks=10)
    for node, port in zip(servers, ports, strict=True):
        node.configure(network__rpc_listen=f"127.0.0.1:{port}")
    network.start()
    anchor = network.node("anchor")
    first = issue(anchor, "early", 1)
    while anchor.height < 25:
        issue(anchor, "early", 1)
    trusted = anchor.client().block(first.height)
    late = network.add_observer("late")
    late.configure(
        network__state_sync_servers=",".join(f"http://127.0.0.1:{port}" for port in ports),
        network__state_sync_height=trusted.height,
        network__state_sync_block_hash=trusted.hash,
    )
    late.start()
    late.wait_ready()
    again = issue(anchor, "early", 1)
    late.wait_height(again.height)
    assert held(late, "early") == held(anchor, "early")
    network.same_roots()
    with pytest.raises(GuildbookError):
        late.client().block(first.height)  # it never saw it
