"""A network of four members and an observer: five nodes and five engines as processes, on real sockets."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.harness import MEMBERS, NETWORK, OBSERVER, clerks, held, issue, proven
from guildbook.chain.transaction import build_transaction
from guildbook.client import TransactionRefused
from guildbook.evidence.trust import format_trust
from guildbook.evidence.verify import verify
from guildbook.node.doctor import examine
from guildbook.primitives.errors import GuildbookError
from guildbook.testing.network import LocalNetwork, LocalNode

PER_MEMBER = 10


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with clerks(tmp_path_factory.mktemp("cluster"), settings={"network.propose_ms": 1_000}) as network:
        network.start()
        yield network


def issued_by_all(network: LocalNetwork, account: str, count: int, nodes=None) -> list:
    """Every member issues one unit `count` times through its own node, all at the same time; the receipts."""
    nodes = network.validators if nodes is None else nodes

    def issues(node: LocalNode) -> list:
        return [issue(node, account, 1) for _each in range(count)]

    with ThreadPoolExecutor(len(nodes)) as threads:
        return [receipt for many in threads.map(issues, nodes) for receipt in many]


def test_what_members_send_to_their_own_nodes_is_on_all_nodes_alike(network):
    receipts = issued_by_all(network, "shared", PER_MEMBER)
    assert sorted(one.result for one in receipts) == list(range(1, 4 * PER_MEMBER + 1)), (
        "each was applied once"
    )
    height, _app_hash = network.same_roots()
    assert height >= max(one.height for one in receipts)
    assert {held(one, "shared") for one in network.nodes} == {4 * PER_MEMBER}
    by_id = {one.id: one for one in receipts}
    for node in network.nodes:
        for receipt in by_id.values():
            assert node.client().receipt(receipt.id) == receipt


def test_the_same_transaction_through_two_members_is_applied_once(network):
    anchor, moss = network.node("anchor"), network.node("moss")
    client = anchor.client("clerk-anchor")
    envelope = client.sign([("units.issue", {"to": "twice", "units": 7})])
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda one: one.submit(envelope), (client, moss.client("clerk-moss")))
    assert first == second
    network.wait_height(first.height)
    assert {held(one, "twice") for one in network.validators} == {7}


def test_a_refusal_is_the_same_everywhere(network):
    client = network.node("kettle").client("clerk-kettle")
    with pytest.raises(TransactionRefused) as caught:
        client.call("units.move", source="nobody", target="shared", units=5)
    assert caught.value.code == "units.not_enough"
    receipt = caught.value.receipt
    for node in network.nodes:
        node.wait_height(receipt.height)
        assert node.client().receipt(receipt.id) == receipt


def test_a_strangers_transaction_fills_no_block(network):
    from guildbook.client.keyfile import new_key

    node = network.node("lantern")
    before = node.client().status().log_size
    with pytest.raises(GuildbookError):
        node.client().submit(
            build_transaction(NETWORK, new_key(), 10_000, b"\0" * 8, [("units", "issue", [])])
        )
    assert node.client().status().log_size == before


def test_evidence_of_one_node_convinces_a_stranger(network, tmp_path):
    """The stranger has the validators of the genesis, and of the four signatures at least three."""
    receipt = issue(network.node("anchor"), "proven", 3)
    for name in ("moss", OBSERVER):
        verdict = proven(network, network.node(name), receipt)
        assert (verdict.network, verdict.height, verdict.total_power) == (NETWORK, receipt.height, 4)
        assert verdict.power >= 3
    file = tmp_path / "issue.evidence"
    file.write_bytes(network.node("moss").client().evidence_receipt(receipt.id))
    trust = tmp_path / "trust.json"
    trust.write_bytes(format_trust(network.trust))
    program = [sys.executable, "-m", "guildbook.evidence", str(file), "--trust", str(trust), "--json"]
    told = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout)["verified"] is True
    spoilt = bytearray(file.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    with pytest.raises(GuildbookError):
        verify(bytes(spoilt), network.trust)


def test_the_observer_follows_takes_transactions_and_has_no_vote(network):
    observer = network.node(OBSERVER)
    receipt = issue(network.node("kettle"), "watched", 4)
    observer.wait_height(receipt.height)
    assert held(observer, "watched") == 4
    client = observer.client(f"clerk-{OBSERVER}")
    moved = client.call("units.move", source="watched", target="shared", units=1)
    assert moved.outcome == "applied"
    assert len(network.genesis.validators) == 4
    findings = {one.name: one for one in examine(observer.path)}
    assert "power 0" in findings["engine"].found


def test_the_doctor_finds_a_running_network_well(network):
    for node in network.nodes:
        deadline = time.monotonic() + 60
        findings = examine(node.path)
        while any(one.state != "ok" for one in findings) and time.monotonic() < deadline:
            time.sleep(0.2)  # engines that started late are still connecting
            findings = examine(node.path)
        assert [one for one in findings if one.state != "ok"] == []
        peers = {f"peer {one.organisation.id}" for one in network.nodes if one is not node}
        assert peers < {one.name for one in findings}


def test_a_validator_that_is_killed_holds_nobody_up_and_comes_back(network):
    moss = network.node("moss")
    others = [one for one in network.nodes if one is not moss]
    moss.kill()
    receipts = issued_by_all(network, "without-moss", 2, [one for one in others if one in network.validators])
    assert len(receipts) == 2 * (len(MEMBERS) - 1)
    network.same_roots(others)
    moss.start()
    moss.wait_ready()
    moss.wait_height(max(one.height for one in receipts))
    assert held(moss, "without-moss") == len(receipts)
    again = issue(moss, "without-moss", 1)
    assert again.outcome == "applied"
    network.same_roots()


def test_an_engine_that_is_killed_is_started_again_by_its_node(network):
    lantern = network.node("lantern")
    engine = lantern.engine_pid
    assert engine is not None
    os.kill(engine, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while lantern.engine_pid in (None, engine):
        assert time.monotonic() < deadline, lantern.log.read_text()
        time.sleep(0.05)
    lantern.wait_ready()
    assert issue(lantern, "again", 2).outcome == "applied"
    network.same_roots()


def test_an_observer_that_comes_later_fetches_all_and_agrees(network):
    receipt = issue(network.node("anchor"), "before", 5)
    late = network.add_observer("late")
    late.start()
    late.wait_ready()
    late.wait_height(receipt.height)
    assert held(late, "before") == 5
    network.same_roots()
    assert proven(network, late, receipt).height == receipt.height


def test_all_stop_well_and_nothing_is_left_running(network):
    engines = [one.engine_pid for one in network.nodes]
    assert None not in engines
    assert set(network.stop().values()) == {0}
    for pid in engines:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
