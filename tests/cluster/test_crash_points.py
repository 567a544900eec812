"""Crashes at each point of a block at which the engine can be ended, times each at which the node can be.

The engine ends itself at its n-th point (FAIL_TEST_INDEX: around the saving of a block, the end of a height in its
journal, FinalizeBlock, Commit and its own state), also when it is started again; the node ends itself when it passes a
point of its own (GUILDBOOK_CRASH_AT). Then both are started as they should be.
"""

import contextlib
import time

import pytest

from cluster.world import World
from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.crash import POINTS
from guildbook.primitives.errors import GuildbookError

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(1_200)]
ENGINE_POINTS = range(10)
SEED = 20_261_128
PATIENCE_S = 6.0


def crash(world: World, engine_point: int, node_point: str) -> str:
    """Start the only member so that its engine ends at one point and the node at another; says what happened first."""
    node = world.network.node("anchor")
    log = EngineHome(node.path / "engine").log
    node.stop()
    before = log.stat().st_size if log.exists() else 0
    node.start({"FAIL_TEST_INDEX": str(engine_point), "GUILDBOOK_CRASH_AT": f"{node_point}:2"})

    def engine_ended() -> bool:
        return log.exists() and b"*** fail-test" in log.read_bytes()[before:]

    with contextlib.suppress(GuildbookError):  # it may end before it answers
        node.wait_answering()
    world.until(lambda: engine_ended() or not node.running, "engine or node ends", 120)
    first = "engine" if engine_ended() else "node"
    deadline = time.monotonic() + PATIENCE_S
    while node.running and time.monotonic() < deadline:  # an engine that ends again and again may never let it pass
        time.sleep(0.05)
    both = engine_ended() and not node.running
    node.kill()
    return "both" if both else first


@pytest.mark.parametrize("node_point", POINTS)
def test_a_member_alone_recovers_from_every_pair_of_crashes(tmp_path, node_point):
    with World.founded(tmp_path, SEED, members=("anchor",), start=False) as world:
        node = world.network.node("anchor")
        happened = []
        with world.load(2):
            for engine_point in ENGINE_POINTS:
                happened.append(crash(world, engine_point, node_point))
                with world.recovering(f"engine point {engine_point}, node {node_point}, {happened[-1]}"):
                    node.start()
                    node.wait_ready()
                world.settle(3)
        print(node_point, happened)
        assert "both" in happened
        world.check()


@pytest.mark.parametrize("node_point", POINTS)
def test_one_of_four_crashes_at_each_of_its_points_under_load(tmp_path, node_point):
    with World.founded(tmp_path, SEED) as world:
        victim = world.network.node("moss")
        with world.load():
            for count in (1, 4):
                victim.stop()
                victim.start({"GUILDBOOK_CRASH_AT": f"{node_point}:{count}"})
                victim.wait_ended()
                world.settle(10)
                with world.recovering(f"{node_point}, pass {count}"):
                    victim.start()
                world.settle(10)
        world.check()


@pytest.mark.parametrize("engine_point", ENGINE_POINTS)
def test_one_engine_of_four_crashes_at_each_of_its_points_under_load(tmp_path, engine_point):
    """The node stays, and starts its engine again, which ends again, until the node is started without."""
    with World.founded(tmp_path, SEED) as world:
        victim = world.network.node("moss")
        log = EngineHome(victim.path / "engine").log
        with world.load():
            victim.stop()
            victim.start({"FAIL_TEST_INDEX": str(engine_point)})
            world.until(lambda: log.read_bytes().count(b"*** fail-test") >= 2, "it ended twice")
            assert victim.running
            world.settle(10)
            victim.stop()
            with world.recovering(f"engine point {engine_point}"):
                victim.start()
            world.settle(10)
        world.check()
