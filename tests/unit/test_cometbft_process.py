"""The engine's process: it stops, is killed, ends by itself or halts, and each is told for what it is.

The program is a stand-in in shell.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guildbook.engine.cometbft import process as module
from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.process import EngineProcess
from guildbook.engine.cometbft.view import EngineView
from guildbook.primitives.errors import GuildbookError

WAIT_S = 30


class Told:
    """What the engine told of its end."""

    def __init__(self) -> None:
        self.errors: list[GuildbookError] = []
        self.came = threading.Event()

    def __call__(self, error: GuildbookError) -> None:
        self.errors.append(error)
        self.came.set()


@pytest.fixture
def engine(tmp_path):
    """Makes an engine of a shell script, and ends it with the test."""
    made: list[EngineProcess] = []
    told = Told()

    def make(script: str) -> tuple[EngineProcess, Told]:
        program = tmp_path / "program"
        program.write_text(f"#!/usr/bin/env bash\n{script}\n")
        program.chmod(0o755)
        one = EngineProcess(program, EngineHome(tmp_path / "engine"), on_failure=told)
        (tmp_path / "engine").mkdir(exist_ok=True)
        made.append(one)
        return one, told

    yield make
    for one in made:
        one.kill()


def line_in(log: Path, text: str) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if log.exists() and text in log.read_text():
            return log.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{text!r} did not come: {log.read_text() if log.exists() else 'no log'}")


def gone(pid: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_it_runs_in_its_home_and_stops_when_it_is_told(engine, tmp_path):
    one, told = engine('trap "echo bye; exit 0" TERM; echo "$PWD $*"; while :; do sleep 0.02; done')
    one.start()
    home = tmp_path / "engine"
    line_in(home / "engine.log", f"{home} start --home {home}")
    assert one.running
    assert one.pid is not None
    one.stop()
    assert not one.running
    assert one.pid is None
    assert "bye" in (home / "engine.log").read_text()
    assert told.errors == []
    assert one.failure is None
    one.stop()


def test_one_that_does_not_stop_is_killed(engine, tmp_path):
    one, told = engine('trap "" TERM; echo up; while :; do sleep 0.02; done')
    one.start()
    line_in(tmp_path / "engine" / "engine.log", "up")
    pid = one.pid
    one.stop(timeout_s=0.1)
    assert gone(pid)
    assert told.errors == []


def test_one_that_ends_by_itself_says_why(engine):
    one, told = engine("echo 'panic: the disk is full'; exit 3")
    one.start()
    assert told.came.wait(WAIT_S)
    one.stop()
    (error,) = told.errors
    assert error.code == "engine.stopped"
    assert "status 3" in error.message
    assert "panic: the disk is full" in error.message
    assert error is one.failure


def test_one_that_somebody_killed_says_by_what(engine, tmp_path):
    one, told = engine("echo up; while :; do sleep 0.02; done")
    one.start()
    line_in(tmp_path / "engine" / "engine.log", "up")
    os.kill(one.pid, signal.SIGKILL)
    assert told.came.wait(WAIT_S)
    one.stop()
    assert "killed by SIGKILL" in told.errors[0].message


def test_a_failure_of_consensus_is_told_while_the_process_lives_on(engine):
    one, told = engine(
        'echo "E[x] CONSENSUS FAILURE!!! module=consensus err=wrong-app-hash"; while :; do sleep 0.02; done'
    )
    one.start()
    assert told.came.wait(WAIT_S)
    assert one.running
    assert told.errors[0].code == "engine.halted"
    assert "wrong-app-hash" in told.errors[0].message
    one.kill()
    assert len(told.errors) == 1


@pytest.mark.parametrize("what", ["absent", "no program"])
def test_a_program_that_cannot_be_started_is_told_at_once(tmp_path, what):
    program = tmp_path / "program"
    if what == "no program":
        program.write_text("text")
    one = EngineProcess(program, EngineHome(tmp_path / "engine"))
    with pytest.raises(GuildbookError) as caught:
        one.start()
    assert caught.value.code == "engine.stopped"
    assert str(program) in caught.value.message
    one.stop()


def test_its_log_is_bounded(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_SIZE_BYTES_MAX", 2_000)
    one, told = engine(
        'for number in {1..100}; do echo "line $number ...................................."; done; exit 0'
    )
    one.start()
    assert told.came.wait(WAIT_S)
    one.stop()
    now, before = tmp_path / "engine" / "engine.log", tmp_path / "engine" / "engine.log.1"
    assert now.stat().st_size < 2_100
    assert before.stat().st_size < 2_100
    assert now.read_text().endswith("line 100 ....................................\n")


PARENT = """
import sys, pathlib
from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.process import EngineProcess
one = EngineProcess(pathlib.Path(sys.argv[1]), EngineHome(pathlib.Path(sys.argv[2])))
one.start()
print(one.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/usr/bin/env bash\nwhile :; do sleep 0.02; done\n")
    program.chmod(0o755)
    home = tmp_path / "engine"
    home.mkdir()
    with subprocess.Popen([sys.executable, "-c", PARENT, program, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as parent:  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_a_variable_of_the_environment_changes_nothing(engine, tmp_path, monkeypatch):
    for name in ("CMTHOME", "TMHOME", "CMT_P2P_LADDR", "TM_PROXY_APP"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    one, told = engine("env; exit 0")
    one.start()
    assert told.came.wait(WAIT_S)
    one.stop()
    log = (tmp_path / "engine" / "engine.log").read_text()
    assert "elsewhere" not in log
    assert "TMPDIR=" in log


def test_a_socket_that_a_killed_one_left_is_removed(engine, tmp_path):
    (tmp_path / "engine").mkdir()
    left = tmp_path / "engine" / "rpc.sock"
    left.touch()
    one, told = engine("[ -e rpc.sock ] && echo 'it is there'; exit 0")
    one.start()
    assert told.came.wait(WAIT_S)
    one.stop()
    assert not left.exists()


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_an_engine_that_does_not_run_does_not_answer(tmp_path, folder):
    with pytest.raises(GuildbookError) as caught:
        EngineView(EngineHome(tmp_path / folder)).status()
    assert caught.value.code == "engine.unreachable"
