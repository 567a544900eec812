"""Faults at random, one after another, on one network under load, for as long as wanted: ``make soak SECONDS=3600``.

What was done and the seed are printed; the same seed (``SEED=``) does the same things in the same order.
"""

import itertools
import os
import random
import time
from collections.abc import Callable

import pytest

from cluster.harness import MEMBERS
from cluster.world import World
from guildbook.engine.cometbft.home import EngineHome

SECONDS = int(os.environ.get("GUILDBOOK_SOAK_SECONDS") or 60)
SEED = int(os.environ.get("GUILDBOOK_SOAK_SEED") or time.time_ns() % 1_000_000)
FAULTS_BETWEEN_CHECKS = 5

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 1_200)]


def kill(world: World, source: random.Random) -> None:
    node = world.network.node(source.choice(MEMBERS))
    node.kill()
    time.sleep(source.uniform(0, 8))
    node.start()


def kill_the_engine(world: World, source: random.Random) -> None:
    """The node stays, and starts its engine again."""
    pid = world.network.node(source.choice(MEMBERS)).engine_pid
    if pid is not None:
        os.kill(pid, 9)


def restart(world: World, source: random.Random) -> None:
    node = world.network.node(source.choice(MEMBERS))
    node.stop()
    node.start()


def pause(world: World, source: random.Random) -> None:
    node = world.network.node(source.choice(MEMBERS))
    node.pause()
    time.sleep(source.uniform(0.2, 12))
    node.resume()


def two_at_once(world: World, source: random.Random) -> None:
    """More than the network bears while it lasts: it stands still, and loses nothing."""
    nodes = [world.network.node(one) for one in source.sample(MEMBERS, 2)]
    for one in nodes:
        one.kill()
    time.sleep(source.uniform(0, 4))
    for one in nodes:
        one.start()


def cut_off(world: World, source: random.Random) -> None:
    away = source.choice(MEMBERS)
    world.wires.part([one for one in MEMBERS if one != away])
    time.sleep(source.uniform(1, 12))
    world.wires.mend()


def halve(world: World, source: random.Random) -> None:
    order = source.sample(MEMBERS, 4)
    world.wires.part(order[:2], order[2:])
    time.sleep(source.uniform(1, 12))
    world.wires.mend()


def cut_some(world: World, source: random.Random) -> None:
    world.wires.cut(*source.sample(list(itertools.combinations(MEMBERS, 2)), source.randrange(1, 5)))
    time.sleep(source.uniform(1, 8))
    world.wires.mend()


def slow(world: World, source: random.Random) -> None:
    world.wires.slow(source.uniform(0.02, 0.4))
    time.sleep(source.uniform(2, 8))
    world.wires.mend()


def shorten_a_journal(world: World, source: random.Random) -> None:
    node = world.network.node(source.choice(MEMBERS))
    node.kill()
    journal = EngineHome(node.path / "engine").path / "data" / "cs.wal" / "wal"
    data = journal.read_bytes()
    journal.write_bytes(data[: source.randrange(len(data) + 1)])
    node.start()


FAULTS: list[Callable[[World, random.Random], None]] = [
    kill, kill_the_engine, restart, pause, two_at_once, cut_off, halve, cut_some, slow, shorten_a_journal,
]  # fmt: skip


def test_faults_at_random_lose_nothing_and_part_nobody(tmp_path):
    ends = time.monotonic() + SECONDS
    with World.founded(tmp_path, SEED, wires=True) as world:
        source = world.drawn_from("soak")
        done = 0
        while time.monotonic() < ends or not done:
            with world.load():
                for _each in range(FAULTS_BETWEEN_CHECKS):
                    fault = source.choice(FAULTS)
                    own = random.Random(source.random())
                    done += 1
                    with world.recovering(f"{done} {fault.__name__}"):
                        fault(world, own)
                    world.settle(20)
            world.check()
        slowest = sorted(world.recovered_s.items(), key=lambda one: -one[1])[:5]
        print(f"{done} faults in {SECONDS} s with the seed {SEED}; the slowest recoveries: {slowest}")
