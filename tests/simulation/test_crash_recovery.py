"""What a node acknowledged is there after any crash, once; and what it did not acknowledge can be sent again."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crashing_ledger import check, envelope, found, opened
from guildbook.engine.crash import POINTS
from guildbook.primitives.errors import GuildbookError

pytestmark = pytest.mark.crash

PROGRAM = Path(__file__).resolve().parents[1] / "crashing_ledger.py"
SEED = 20_261_123
MEBIBYTE = 1 << 20


class Life:
    """One ledger through many crashes: what was acknowledged so far, and how many transactions were tried."""

    def __init__(self, folder):
        self.folder = folder
        self.acknowledged = set()
        self.tried = 0
        self.runs = 0
        found(folder)

    @contextlib.contextmanager
    def writer(self, **environment):
        """The writing process."""
        self.runs += 1
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.folder), str(self.tried), str(self.runs)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
            child.stdout.close()

    def read(self, text):
        """Take note of what a writer acknowledged; returns how it said that it failed, if it did."""
        lines = text.decode().split("\n")
        assert lines.pop() == "", "an acknowledgement was cut off"
        failed = [line for line in lines if line.startswith("failed ")]
        numbers = {int(line) for line in lines if not line.startswith("failed ")}
        assert numbers.isdisjoint(self.acknowledged)
        self.acknowledged |= numbers
        self.tried = max([self.tried, *(number + 1 for number in numbers)])
        return failed[0].removeprefix("failed ") if failed else ""

    def crash_at(self, point, count):
        """Run until the process kills itself at a crash point."""
        with self.writer(GUILDBOOK_CRASH_AT=f"{point}:{count}") as child:
            text, _ = child.communicate(timeout=60)
            assert child.returncode == -signal.SIGKILL, text[-200:]
        self.read(text)

    def kill_after(self, seconds):
        """Run, and kill the process after ``seconds`` from its first acknowledgement."""
        with self.writer() as child:
            text = os.read(child.stdout.fileno(), 1 << 20)
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
            text += child.stdout.read()
        self.read(text)

    def check(self):
        """The ledger keeps its word, and goes on."""
        self.tried = check(self.folder, self.acknowledged, self.tried)
        self.acknowledged = set(range(self.tried))


@pytest.fixture
def life(tmp_path):
    return Life(tmp_path / "store")


@pytest.mark.parametrize("point", POINTS)
def test_nothing_acknowledged_is_lost_at_a_write_boundary(life, point):
    for count in (1, 4):
        life.crash_at(point, count)
        life.check()


def test_nothing_acknowledged_is_lost_at_random_moments(life):
    rng = random.Random(SEED)
    for _ in range(3):
        life.kill_after(rng.random() * 0.3)
        life.check()
    assert life.tried > 0


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_nothing_acknowledged_is_lost_at_a_write_boundary_many_times(life, point):
    for count in (1, 2, 3, 5, 8, 13, 21, 34):
        life.crash_at(point, count)
        life.check()


@pytest.mark.slow
@pytest.mark.parametrize("series", range(5))
def test_nothing_acknowledged_is_lost_at_a_hundred_random_moments(life, series):
    rng = random.Random(SEED + series)
    for _ in range(20):
        for _ in range(rng.randrange(1, 4)):  # several crashes in a row, without a look in between
            life.kill_after(rng.random() ** 2 * 0.5)
        life.check()


def test_a_process_that_dies_while_it_opens_leaves_the_ledger_as_it_was(life):
    life.kill_after(0.1)
    for delay in (0.0, 0.2, 0.35, 0.5):
        with life.writer() as child:
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            text = child.stdout.read()
        life.read(text)
    life.check()


def test_a_second_process_is_told_that_the_store_is_in_use_and_can_have_it_after_a_crash(life):
    with life.writer() as child:
        text = os.read(child.stdout.fileno(), 1 << 20)
        with pytest.raises(GuildbookError, match=r"store\.locked"):
            opened(life.folder)
        child.send_signal(signal.SIGKILL)
        text += child.stdout.read()
    life.read(text)
    life.check()


def test_a_file_that_may_not_grow_stops_the_node_and_loses_nothing(life):
    life.kill_after(0.05)

    def bound():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MEBIBYTE, 2 * MEBIBYTE))

    child = subprocess.run(
        [sys.executable, str(PROGRAM), str(life.folder), str(life.tried), "7"],
        stdout=subprocess.PIPE,
        preexec_fn=bound,
        timeout=110,
        check=False,
    )
    assert child.returncode == 0
    assert life.read(child.stdout) == "store.full"
    life.check()


def test_a_full_volume_stops_the_node_and_loses_nothing(tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(volume)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small volume")
    try:
        life = Life(volume / "store")
        with life.writer() as child:
            text, _ = child.communicate(timeout=110)
            assert child.returncode == 0
        assert life.read(text) == "store.full"
        with pytest.raises(GuildbookError, match=r"store\.full"):
            life.check()  # there is still no room, not even to open it
        subprocess.run(["mount", "-o", "remount,size=200m", str(volume)], check=True)
        life.check()
    finally:
        subprocess.run(["umount", "--lazy", str(volume)], check=True)


def test_the_numbered_transactions_are_the_same_in_every_run():
    assert envelope(5) == envelope(5)
    assert len({envelope(number) for number in range(100)}) == 100
