"""A process that ends is started again; one that halted, or whose node stops, is not."""

import os
import signal
import threading
import time

import pytest

from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.supervisor import EngineSupervisor
from guildbook.primitives.errors import GuildbookError

WAIT_S = 30


def until(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def supervise(tmp_path):
    made: list[EngineSupervisor] = []
    halts: list[GuildbookError] = []

    def make(script: str) -> tuple[EngineSupervisor, list[GuildbookError]]:
        program = tmp_path / "program"
        program.write_text(f"#!/usr/bin/env bash\n{script}\n")
        program.chmod(0o755)
        (tmp_path / "engine").mkdir(exist_ok=True)
        made.append(
            EngineSupervisor(
                program, EngineHome(tmp_path / "engine"), on_halt=halts.append, pause_first_s=0.01
            )
        )
        return made[-1], halts

    yield make
    for one in made:
        one.stop()


def test_one_that_was_killed_is_started_again(supervise):
    one, halts = supervise("while :; do sleep 0.02; done")
    one.start()
    first = one.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: one.starts == 2 and one.pid not in (None, first))
    assert one.failure is None
    one.stop()
    assert one.pid is None
    assert halts == []


def test_one_that_keeps_ending_says_why(supervise, caplog):
    one, _halts = supervise("echo 'the port is taken'; exit 7")
    one.start()
    until(lambda: one.starts >= 3)
    one.stop()
    assert "the port is taken" in caplog.text
    assert "status 7" in caplog.text


def test_one_that_halted_in_consensus_is_told_and_left_alone(supervise):
    one, halts = supervise("echo 'CONSENSUS FAILURE!!!'; while :; do sleep 0.02; done")
    one.start()
    until(lambda: halts)
    assert one.pid is not None, "it stays for a look"
    assert (halts[0].code, one.starts) == ("engine.halted", 1)
    os.kill(one.pid, signal.SIGKILL)
    until(lambda: one.pid is None)
    one.stop()
    assert one.starts == 1


def test_an_end_that_the_node_expects_is_no_failure(supervise):
    one, halts = supervise("while :; do sleep 0.02; done")
    one.start()
    one.expect_end()
    os.kill(one.pid, signal.SIGTERM)
    until(lambda: one.pid is None)
    one.stop()
    assert (one.starts, one.failure, halts) == (1, None, [])


def test_it_stops_while_it_pauses(supervise):
    one, _halts = supervise("exit 1")
    one._pause_first_s = 3_600.0
    one.start()
    until(lambda: one.failure is not None)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    stopping.join(WAIT_S)
    assert not stopping.is_alive()


def test_a_program_that_cannot_be_started_is_told_at_once(tmp_path):
    one = EngineSupervisor(tmp_path / "none", EngineHome(tmp_path), on_halt=lambda _error: None)
    with pytest.raises(GuildbookError) as caught:
        one.start()
    assert caught.value.code == "engine.stopped"
    one.stop()
