"""What a network of four bears from one member that does not do what it should."""

import base64
import json
from pathlib import Path

import pytest

from cluster.world import World
from guildbook.client.keyfile import read_key
from guildbook.engine.abci.rpc import EngineRpc, RpcRefused, base64_text
from guildbook.engine.cometbft.home import EngineHome
from guildbook.primitives.cometbft import BlockID, PartSetHeader, Validator, format_time, vote_sign_bytes
from guildbook.primitives.errors import GuildbookError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 20_261_126
TRAITOR = "moss"


@pytest.fixture
def world(tmp_path):
    with World.founded(tmp_path, SEED) as world:
        yield world


def engine(world: World, name: str) -> EngineRpc:
    return EngineRpc(EngineHome(world.network.node(name).path / "engine").rpc_socket)


def logged(world: World, name: str) -> str:
    return world.network.node(name).log.read_text()


@pytest.mark.parametrize("mode", ["garbage", "forged", "twice"])
def test_blocks_with_what_may_not_be_in_them_are_voted_down(world, mode):
    world.network.node(TRAITOR).stop()
    world.betray(TRAITOR, mode)
    world.network.node(TRAITOR).wait_answering()
    with world.load():
        world.settle(80)
        world.until(lambda: "is refused" in logged(world, "anchor"), "a block of the traitor comes up")
        world.settle(40)
    reasons = {"garbage": "block.malformed", "forged": "transaction.bad_signature", "twice": "transaction.duplicate"}
    for node in world.others(TRAITOR):
        refused = [line for line in node.log.read_text().splitlines() if "is refused" in line]
        assert refused
        assert all(reasons[mode] in line for line in refused), refused
    world.check()


def test_a_member_that_votes_for_nothing_holds_up_nobody(world):
    world.network.node(TRAITOR).stop()
    world.betray(TRAITOR, "refuses")
    with world.load():
        world.settle(80)
    world.check()


def test_a_member_that_computes_another_state_halts_alone_and_says_so(world):
    traitor = world.network.node(TRAITOR)
    height = world.network.node("anchor").height + 5
    traitor.stop()
    world.lying.add(TRAITOR)
    world.betray(TRAITOR, f"result:{height}")
    with world.load():
        assert traitor.wait_ended(240) != 0
        world.settle(40)
    assert "CONSENSUS FAILURE" in logged(world, TRAITOR)
    world.check()
    before = traitor.path / "engine"
    traitor.start()
    with world.load():
        world.settle(20)
    told = EngineHome(before).log.read_text()
    assert "wrong Block.Header.AppHash" in told or "AppHash" in told
    world.check()


def double_vote(world: World, name: str, height: int) -> dict:
    """Evidence that the validator of ``name`` signed two blocks at ``height``, as its key can make it."""
    rpc = engine(world, "anchor")
    key = read_key(world.network.node(name).path / "keys" / "validator.key")
    address = Validator(key.public_key, 1).address
    block = rpc.ask("block", height=str(height))["block"]
    validators = rpc.ask("validators", height=str(height))["validators"]
    rpc.close()
    place = next(
        number for number, one in enumerate(validators) if one["address"] == address.hex().upper()
    )
    time_ns = world.network.node("anchor").client().block(height).time_ms * 1_000_000

    def vote(digest: bytes) -> dict:
        subject = BlockID(digest, PartSetHeader(1, digest))
        signature = key.sign(vote_sign_bytes(world.network.genesis.network, height, 0, subject, time_ns))
        return {
            "type": 2, "height": str(height), "round": 0,
            "block_id": {"hash": digest.hex().upper(), "parts": {"total": 1, "hash": digest.hex().upper()}},
            "timestamp": format_time(time_ns), "validator_address": address.hex().upper(),
            "validator_index": place, "signature": base64.b64encode(signature).decode(),
            "extension": None, "extension_signature": None,
        }  # fmt: skip

    return {
        "type": "tendermint/DuplicateVoteEvidence",
        "value": {
            "vote_a": vote(b"\x11" * 32), "vote_b": vote(b"\x22" * 32), "TotalVotingPower": str(len(validators)),
            "ValidatorPower": validators[place]["voting_power"], "Timestamp": block["header"]["time"],
        },
    }  # fmt: skip


def test_a_validator_that_signs_twice_is_recorded_and_loses_its_vote(world):
    anchor = world.network.node("anchor")
    with world.load():
        world.settle(20)
        rpc = engine(world, "kettle")
        evidence = double_vote(world, TRAITOR, anchor.height - 1)
        spoilt = json.loads(json.dumps(evidence))
        spoilt["value"]["vote_b"]["signature"] = spoilt["value"]["vote_a"]["signature"]
        with pytest.raises(RpcRefused):
            rpc.ask("broadcast_evidence", evidence=spoilt)
        assert not anchor.client().rows("governance.misbehaviour").rows
        rpc.ask("broadcast_evidence", evidence=evidence)
        rpc.close()
        world.until(lambda: anchor.client().rows("governance.misbehaviour").rows, "it is recorded")
        world.settle(60)
    (row,) = anchor.client().rows("governance.misbehaviour").rows
    names = ("organisation", "kind", "power", "total_power", "removed")
    assert [row[one] for one in names] == [TRAITOR, 1, 1, 4, True]
    assert len(anchor.client().rows("governance.validators").rows) == 3
    status = engine(world, TRAITOR)
    assert status.ask("status")["validator_info"]["voting_power"] == "0"
    status.close()
    world.check()


def test_bytes_that_are_no_bundle_and_forged_transactions_are_refused_with_a_code(world):
    """Whoever reaches one node's engine gets no further than that."""
    anchor = world.network.node("anchor")
    client = anchor.client("clerk-anchor")
    envelope = bytearray(client.sign([("units.issue", {"to": "thief", "units": 1_000_000})]))
    envelope[-1] ^= 1
    from guildbook.chain.bundle import encode_bundle

    source = world.drawn_from("garbage")
    rpc = engine(world, TRAITOR)
    with world.load():
        world.settle(10)
        for garbage in (b"\xff", source.randbytes(1_000), source.randbytes(900_000), encode_bundle([b"x"])):
            assert rpc.ask("broadcast_tx_sync", tx=base64_text(garbage))["code"] == 1
        found = rpc.ask("broadcast_tx_sync", tx=base64_text(encode_bundle([bytes(envelope)])))
        assert (found["code"], found["log"]) == (1, "transaction.bad_signature")
        with pytest.raises((RpcRefused, GuildbookError)):
            rpc.ask("broadcast_tx_sync", tx=base64_text(bytes(4 << 20)))
        world.settle(30)
    rpc.close()
    assert anchor.client().row("units.accounts", "thief") is None
    world.check()


def test_what_the_engines_interface_gives_away_is_nothing_that_stops_it(world):
    """The socket is for its owner alone, and the unsafe routes are off."""
    path = Path(EngineHome(world.network.node("anchor").path / "engine").rpc_socket)
    assert path.parent.stat().st_mode & 0o077 == 0
    rpc = engine(world, "anchor")
    for method in ("unsafe_flush_mempool", "dial_peers", "dial_seeds"):
        with pytest.raises(RpcRefused):
            rpc.ask(method)
    rpc.close()
