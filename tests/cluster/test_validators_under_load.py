"""Validators come and go while transactions are under way: nodes that followed begin to vote, and stop again."""

from typing import Any

import pytest

from cluster.world import World
from guildbook.client.keyfile import read_key
from guildbook.contract.keys import possession_statement

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEED = 20_261_129


def act(world: World, kind: str, **fields: Any) -> int:
    """Let the only member act; the height of the block."""
    client = world.network.node("anchor").client("clerk-anchor")
    given = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    receipt = client.call("council.act", title="A change", reason="for the test", actions=[{"kind": kind, **given}])
    assert receipt.outcome == "applied", receipt
    return receipt.height


def keys_of(world: World, name: str) -> dict[str, bytes]:
    """The key of a node's validator, with the proof that the only member possesses it."""
    key = read_key(world.network.node(name).path / "keys" / "validator.key")
    statement = possession_statement(world.network.genesis.network, "validator/anchor", key.public_key)
    return {"public_key": key.public_key, "proof": key.sign(statement)}


def test_nodes_become_validators_and_leave_under_load(tmp_path):
    followers = ("kettle", "lantern", "moss")
    with World.founded(
        tmp_path, SEED, members=("anchor",), observers=followers, permissions=["council:voter"]
    ) as world:
        anchor = world.network.node("anchor")
        with world.load(6):
            world.settle(20)
            for name in followers:
                with world.recovering(f"{name} gets a vote"):
                    act(world, "add_validator", organisation="anchor", value=1, **keys_of(world, name))
                world.settle(20)
            assert len(anchor.client().rows("governance.validators").rows) == 4
            with world.recovering("one of four killed", world.others("kettle")):
                world.network.node("kettle").kill()
            world.settle(20)
            with world.recovering("started again"):
                world.network.node("kettle").start()
            act(world, "set_power", public_key=keys_of(world, "moss")["public_key"], value=2)
            world.settle(20)
            for name in reversed(followers):
                with world.recovering(f"{name} loses its vote"):
                    act(world, "remove_validator", public_key=keys_of(world, name)["public_key"])
                world.settle(20)
        assert len(anchor.client().rows("governance.validators").rows) == 1
        world.check()
