"""What a network of four bears under load: a member killed, paused, restarted, cut off, slow; a clock that is wrong."""

import itertools
import time

import pytest

from cluster.harness import MEMBERS
from cluster.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 20_261_125


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with World.founded(tmp_path_factory.mktemp("bears"), SEED, wires=True) as world:
        yield world


@pytest.fixture
def world(running):
    """The network that the tests before left behind, well; everything that was sent since is checked again."""
    running.wires.mend()
    for node in running.network.nodes:
        if not node.running:
            node.start()
    for node in running.network.nodes:
        node.wait_ready()
    return running


def test_a_member_that_is_killed_stops_nobody_and_has_everything_when_it_is_back(world):
    victim = world.network.node("moss")
    with world.load():
        world.settle()
        with world.recovering("a member killed", world.others("moss")):
            victim.kill()
        world.settle()
        with world.recovering("started again"):
            victim.start()
        world.settle()
    world.check()


def test_each_member_in_turn_is_killed(world):
    with world.load():
        for name in world.drawn_from("order").sample(MEMBERS, 4):
            world.settle(10)
            world.network.node(name).kill()
            world.settle(10)
            with world.recovering(f"{name} killed and started"):
                world.network.node(name).start()
    world.check()


def test_a_member_that_stands_still_for_ten_seconds_catches_up(world):
    victim = world.network.node("kettle")
    with world.load():
        world.settle()
        with world.recovering("a member paused", world.others("kettle")):
            victim.pause()
        time.sleep(10)
        with world.recovering("it goes on"):
            victim.resume()
        world.settle()
    world.check()


def test_members_restart_in_order_one_after_another(world):
    with world.load():
        for node in world.network.nodes:
            assert node.stop() == 0
            with world.recovering(f"{node.organisation.id} restarted"):
                node.start()
            world.settle(10)
    world.check()


def test_a_member_that_is_cut_off_decides_nothing_and_comes_back(world):
    victim = world.network.node("lantern")
    with world.load():
        world.settle()
        with world.recovering("one cut off", world.others("lantern")):
            world.wires.part([one for one in MEMBERS if one != "lantern"])
        height = victim.height
        world.settle(60)
        assert victim.height <= height + 1, "at most what was under way when it was cut off"
        with world.recovering("mended"):
            world.wires.mend()
        world.settle()
    world.check()


def test_two_halves_decide_nothing_apart_and_go_on_together(world):
    with world.load():
        world.settle()
        world.wires.part(MEMBERS[:2], MEMBERS[2:])
        time.sleep(3)
        heights = [one.height for one in world.network.nodes]
        answered = world.answered
        time.sleep(8)
        assert [one.height for one in world.network.nodes] == heights
        assert world.answered == answered, "nothing is acknowledged by half of the power"
        with world.recovering("two halves mended"):
            world.wires.mend()
        world.settle()
    world.check()


def test_in_a_ring_where_each_reaches_two_others_there_are_blocks(world):
    """Nobody reaches everybody; what the neighbours pass on is enough."""
    ring = set(zip(MEMBERS, (*MEMBERS[1:], MEMBERS[0]), strict=True))
    across = [
        (one, other)
        for one, other in itertools.combinations(MEMBERS, 2)
        if (one, other) not in ring and (other, one) not in ring
    ]
    assert len(across) == 2
    with world.load():
        world.settle()
        with world.recovering("a ring"):
            world.wires.cut(*across)
        world.settle(60)
        with world.recovering("a ring mended"):
            world.wires.mend()
    world.check()


def test_wires_that_come_and_go_lose_nothing(world):
    source = world.drawn_from("wires")
    with world.load():
        for _turn in range(6):
            world.wires.cut(*source.sample(list(itertools.combinations(MEMBERS, 2)), 3))
            time.sleep(source.uniform(0.5, 4))
            world.wires.mend()
            time.sleep(source.uniform(0, 2))
        with world.recovering("wires came and went"):
            pass
    world.check()


def test_a_slow_network_is_slower_and_otherwise_the_same(world):
    with world.load():
        world.wires.slow(0.15)
        with world.recovering("150 ms on all wires"):
            pass
        world.settle()
        world.wires.mend()
    world.check()
