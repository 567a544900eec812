"""One node with a real CometBFT beside it: transactions, receipts, evidence, and either of them stopped or killed."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crashing_ledger import envelope
from engine_binary import cometbft
from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.client.prover import Prover
from guildbook.client.reader import LedgerReader
from guildbook.engine.abci.rpc import EngineRpc
from guildbook.engine.cometbft.binary import COMPATIBLE, PINNED
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.evidence.verify import verify
from guildbook.primitives import cometbft as comet
from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import MemoryStore
from guildbook.testing.ledger import test_key as key_of
from network_node import WAIT_S, NetworkNode, wait_until

NETWORK = "test-net"
TESTS = Path(__file__).parents[1]
VERSIONS = pytest.mark.parametrize("version", [PINNED, COMPATIBLE])


@pytest.fixture
def node(tmp_path, version):
    one = NetworkNode(tmp_path, cometbft(version))
    one.start()
    yield one
    one.close()


def require_sound(node: NetworkNode) -> None:
    """What ``guildbook check`` asks: each block follows, is signed, and gives what the store holds."""
    wait_until(lambda: node.engine.keeper.kept_height == node.ledger.head.height, "blocks are not kept")
    view = node.ledger.view()
    scratch = MemoryStore()
    assert list(check_chain(view)) == []
    assert list(replay(view, scratch, node.ledger.registry)) == []
    assert list(compare(view.reader, scratch)) == []
    assert not node.engine.keeper.lost
    assert node.halted == []


@VERSIONS
def test_what_is_submitted_is_answered_proven_and_survives_both(node):
    receipts = [decode_receipt(one) for one in node.send(0, 30)]
    assert [one.outcome for one in receipts[:4]] == [Outcome.APPLIED] * 3 + [Outcome.REJECTED]
    assert [decode_receipt(one) for one in node.send(0, 30)] == receipts, (
        "the same bytes have the first receipt"
    )
    stranger = build_transaction(NETWORK, key_of("nobody"), 50, bytes(8), [("units", "issue", ["x", 1])])
    late = build_transaction(NETWORK, key_of("mill/anna"), 0, bytes(8), [("units", "issue", ["x", 1])])
    told = [
        one.error.code if one.error else "" for one in node.engine.submit([stranger, late]).result(WAIT_S)
    ]
    assert told == ["transaction.unknown_key", "transaction.expired"]

    prover = Prover(LedgerReader(node.ledger))
    trust = Trust(NETWORK, (TrustedSet(node.ledger.genesis.validator_set),))
    wait_until(lambda: not node.ledger.head.needs_proof_block, "the empty block after the last is not cut")
    for number in (0, 3, 29):
        verdict = verify(prover.receipt(decode_transaction(envelope(number)).id), trust)
        assert verdict.height >= receipts[number].height
    require_sound(node)

    node.close()
    node.open()
    node.start()
    assert [decode_receipt(one) for one in node.send(0, 5)] == receipts[:5]
    assert decode_receipt(node.send(30, 1)[0]).height > receipts[-1].height
    require_sound(node)


@VERSIONS
def test_an_engine_that_is_killed_leaves_nothing_behind_and_nobody_without_an_answer(node):
    node.send(0, 10)
    under_way = node.engine.submit([envelope(number) for number in range(10, 60)])
    assert node.process is not None
    node.process.kill()
    wait_until(lambda: node.engine.connections == 0, "the end of the engine is not seen")
    assert node.engine.not_ready() == ["the consensus engine is not connected"]
    with pytest.raises(GuildbookError) as caught:
        node.engine.submit([envelope(99)])
    assert caught.value.code == "api.unavailable"
    node.start_process()
    answers = under_way.result(WAIT_S)
    assert all(one.receipt is not None for one in answers), "what was under way is handed in again"
    node.ready()
    node.send(60, 5)
    require_sound(node)


@VERSIONS
def test_evidence_of_a_double_vote_is_told_kept_byte_for_byte_and_replayed(node):
    """The engine takes two votes of its validator for one height; the block that has them is kept and run again."""
    height = decode_receipt(node.send(0, 3)[0]).height
    wait_until(lambda: node.engine.keeper.kept_height > height, "the block of the votes is not kept")
    block = node.ledger.view().block(height)
    assert block is not None
    validator = node.ledger.genesis.validator_set.validators[0]
    votes = []
    for name in (b"a", b"b"):
        identity = comet.BlockID(name * 32, comet.PartSetHeader(1, name * 32))
        signed = comet.vote_sign_bytes(NETWORK, height, 0, identity, block.header.time_ns)
        votes.append(
            {
                "type": comet.PRECOMMIT,
                "height": str(height),
                "round": 0,
                "block_id": {
                    "hash": identity.hash.hex().upper(),
                    "parts": {"total": 1, "hash": identity.parts.hash.hex().upper()},
                },
                "timestamp": comet.format_time(block.header.time_ns),
                "validator_address": validator.address.hex().upper(),
                "validator_index": 0,
                "signature": base64.b64encode(key_of("validator").sign(signed)).decode(),
            }
        )
    value = {
        "vote_a": votes[0],
        "vote_b": votes[1],
        "TotalVotingPower": str(validator.power),
        "ValidatorPower": str(validator.power),
        "Timestamp": comet.format_time(block.header.time_ns),
    }
    rpc = EngineRpc(node.home.rpc_socket)
    rpc.ask("broadcast_evidence", evidence={"type": "tendermint/DuplicateVoteEvidence", "value": value})
    rpc.close()
    node.send(3, 3)
    wait_until(lambda: any(evidence_blocks(node)), "the evidence is in no block")
    (found,) = evidence_blocks(node)
    (proven,) = misbehaviour_of(found.evidence)
    assert (proven.kind, proven.address, proven.height) == (1, validator.address, height)
    assert (proven.time_ns, proven.power, proven.total_power) == (
        block.header.time_ns, validator.power, validator.power,
    )  # fmt: skip
    node.send(6, 3)
    require_sound(node)


def evidence_blocks(node: NetworkNode) -> list[comet.Block]:
    view = node.ledger.view()
    blocks = [view.block(height) for height in range(1, view.kept_height + 1)]
    return [one for one in blocks if one is not None and one.evidence]


@pytest.mark.crash
def test_a_node_that_is_killed_under_load_has_what_it_acknowledged(tmp_path):
    program = cometbft()
    acknowledged: set[int] = set()
    for turn in range(2):
        first = max(acknowledged, default=-1) + 100
        writer = subprocess.Popen(
            [sys.executable, str(TESTS / "network_node.py"), str(tmp_path), str(program), str(first)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(TESTS)},
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(20 + 10 * turn):
            line = writer.stdout.readline()
            assert line, "the writer ended by itself"
            acknowledged.add(int(line))
        writer.send_signal(signal.SIGKILL)
        acknowledged.update(int(line) for line in writer.stdout.read().split())
        writer.stdout.close()
        writer.wait(WAIT_S)
        wait_until(lambda: not engines_of(tmp_path), "an engine ends with its node")
    node = NetworkNode(tmp_path, program)
    try:
        view = node.ledger.view()
        assert all(
            view.location(decode_transaction(envelope(number)).id) is not None for number in acknowledged
        )
        node.start()
        node.send(max(acknowledged) + 100, 5)
        require_sound(node)
    finally:
        node.close()


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("version", [PINNED, COMPATIBLE])
def test_an_engine_that_ends_at_any_of_its_own_crash_points_goes_on(tmp_path, version, monkeypatch):
    """CometBFT ends itself at its n-th passage of a crash point: before and after each of its writes around a block."""
    node = NetworkNode(tmp_path, cometbft(version))
    node.engine.start()
    try:
        for index in range(12):
            monkeypatch.setenv("FAIL_TEST_INDEX", str(index))
            node.start_process()
            assert node.process is not None
            number, under_way = 1_000 * index, []
            while not node.process.wait(0.02):
                if not node.engine.not_ready() and len(under_way) < 900:
                    with contextlib.suppress(GuildbookError):  # it has just ended
                        under_way.append(node.engine.submit([envelope(number)]))
                        number += 1
            node.process.stop()
            monkeypatch.delenv("FAIL_TEST_INDEX")
            node.start_process()
            assert all(one.receipt is not None for few in under_way for one in few.result(WAIT_S)), index
            node.ready()
            node.send(number, 2)
            require_sound(node)
            node.process.stop()
    finally:
        node.close()


def engines_of(folder: Path) -> list[str]:
    """Processes whose working directory is the engine's home in ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "cwd") == str(folder / "engine"):
                    found.append(process.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize("version", [PINNED])
def test_a_block_of_many_bundles_is_answered_in_full(node):
    """More than a bundle holds, more than one block holds: everybody has one answer, and it is the first."""
    began = time.monotonic()
    first = node.engine.submit([envelope(number) for number in range(1_200)])
    again = node.engine.submit([envelope(number) for number in range(600, 1_300)])
    ids = [one.transaction for one in first.result(WAIT_S)]
    assert len(set(ids)) == 1_200
    assert [one.receipt for one in first.result()[600:]] == [
        one.receipt for one in again.result(WAIT_S)[:600]
    ]
    assert node.engine.pending == 0
    assert time.monotonic() - began < WAIT_S
    require_sound(node)
