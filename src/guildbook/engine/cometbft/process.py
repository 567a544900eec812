"""One CometBFT process beside its node: start, stop, and what became of it.

The process belongs to the node that started it: it is told to end when the node ends, also when the node is killed. A
thread of this object starts it, reads what it writes into a log file of bounded size, and waits for its end, so
nothing has to be asked again and again.

Three ends are told apart: it was stopped; it ended by itself (the last lines it wrote say why); or it still runs and
takes no part any more, which CometBFT writes as CONSENSUS FAILURE and an outsider does not see. The last two are told
to ``on_failure``, once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from guildbook.engine.cometbft.home import HOME_MODE, RPC_SOCKET, EngineHome
from guildbook.primitives.errors import GuildbookError

STOP_WAIT_S = 20.0
LOG_SIZE_BYTES_MAX = 32 << 20
"""Of the log; the one before it is kept beside it."""
LAST_LINES = 12
LINE_SHOWN_CHARS_MAX = 400
CONSENSUS_FAILURE = b"CONSENSUS FAILURE!!!"
FOREIGN_VARIABLES = ("CMT", "TM")
"""Variables of these beginnings would change CometBFT's configuration from outside."""

_LAUNCH = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the system to be told when the parent ends (PR_SET_PDEATHSIG), looks whether it has, and becomes the program."""


class EngineProcess:
    """CometBFT with the home folder ``home``, started from ``program``. Methods may be called in any thread."""

    def __init__(
        self,
        program: Path,
        home: EngineHome,
        *,
        on_failure: Callable[[GuildbookError], None] | None = None,
    ) -> None:
        self._program = program
        self._home = home
        self._on_failure = on_failure
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._ended = threading.Event()
        self._stopping = False
        self._told = False
        self._thread = threading.Thread(target=self._run, name="cometbft")
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self.failure: GuildbookError | None = None
        """Why it takes no part any more; None while it does, and after an orderly stop."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def running(self) -> bool:
        """Whether the process runs; it may do so and take no part, see ``failure``."""
        return self.pid is not None and not self._ended.is_set()

    def start(self) -> None:
        """Start it; returns when the process runs, which is before it has found its node and its peers.

        Raises GuildbookError ``engine.stopped`` when the program cannot be started.
        """
        self._thread.start()
        self._started.wait()
        if self._process is None and self.failure is not None:
            self._thread.join()
            raise self.failure

    def expect_end(self) -> None:
        """From now on its end is no failure: the node closes the connection that it lives on."""
        self._stopping = True

    def join(self) -> None:
        """Wait until it has ended, and everything about it was told."""
        if self._thread.ident is not None:
            self._thread.join()

    def stop(self, timeout_s: float = STOP_WAIT_S) -> None:
        """Ask it to end, wait, and kill it if it does not. Stopping twice, or before a start, is allowed."""
        self._stopping = True
        process = self._process
        if process is not None and not self._ended.wait(0):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            if not self._ended.wait(timeout_s):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        self.join()

    def kill(self) -> None:
        """End it at once, as a power failure would, and wait until it has ended; no failure is told."""
        self._stopping = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self.join()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; whether it has."""
        return self._ended.wait(timeout_s)

    # in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """The life of the process. This thread outlives it, as the system's notice of a parent's end asks for."""
        try:
            with contextlib.ExitStack() as undo:
                log = undo.enter_context(self._open_log())
                process = self._process = self._popen()
                undo.pop_all()
        except OSError as error:
            self.failure = GuildbookError(
                "engine.stopped",
                f"CometBFT cannot be started: {error.strerror or error}: {error.filename or self._program}",
                hint="check the program and the node's folder",
            )
            self._ended.set()
            self._started.set()
            return
        self._started.set()
        with log:
            self._follow(process, log)
        status = process.wait()
        self._ended.set()
        if not self._stopping:
            self._fail(
                GuildbookError(
                    "engine.stopped",
                    f"CometBFT ended by itself ({_ending(status)}); its last lines:\n"
                    + "\n".join(self._last),
                    hint=f"its log is {self._home.log}",
                    status=status,
                )
            )

    def _popen(self) -> subprocess.Popen[bytes]:
        (self._home.path / RPC_SOCKET).unlink(missing_ok=True)  # left by one that was killed
        environment = {
            name: value
            for name, value in os.environ.items()
            if not any(name == one or name.startswith((f"{one}_", f"{one}HOME")) for one in FOREIGN_VARIABLES)
        }
        words = [str(self._program), "start", "--home", str(self._home.path.absolute())]
        if not os.access(self._program, os.X_OK):
            raise PermissionError(13, "it is no program", str(self._program))
        return subprocess.Popen(  # noqa: S603 - the program that the node was given
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *words],
            cwd=self._home.path, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _open_log(self) -> BinaryIO:
        self._home.path.mkdir(mode=HOME_MODE, parents=True, exist_ok=True)
        return self._home.log.open("ab", buffering=0)

    def _follow(self, process: subprocess.Popen[bytes], log: BinaryIO) -> None:
        assert process.stdout is not None
        size = log.tell()
        try:
            for line in process.stdout:
                if size > LOG_SIZE_BYTES_MAX:
                    os.replace(self._home.log, self._home.log.with_suffix(".log.1"))
                    log.close()
                    log, size = self._open_log(), 0
                with contextlib.suppress(
                    OSError
                ):  # a full volume is for the node to tell; the engine must be read
                    log.write(line)
                size += len(line)
                if line.strip():
                    self._last.append(line.decode("utf-8", "replace").rstrip()[:LINE_SHOWN_CHARS_MAX])
                if CONSENSUS_FAILURE in line:
                    self._fail(
                        GuildbookError(
                            "engine.halted",
                            f"CometBFT takes no part in consensus any more: {self._last[-1]}",
                            hint=f"keep its folder as it is; its log is {self._home.log}",
                        )
                    )
        finally:
            process.stdout.close()
            log.close()

    def _fail(self, error: GuildbookError) -> None:
        if self.failure is None:
            self.failure = error
        if not self._told:
            self._told = True
            if self._on_failure is not None:
                self._on_failure(error)


def _ending(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
