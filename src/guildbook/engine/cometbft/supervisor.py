"""Keeps one CometBFT process running for as long as its node runs.

A process that ends by itself is started again, after a pause that grows while it keeps ending soon. One that halted in
consensus is not: what it would do again is what it did, so it is told to the node, and left as it is for a look.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.process import EngineProcess
from guildbook.primitives.errors import GuildbookError

PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0
SETTLED_S = 60.0
"""A process that ran so long begins with the first pause again."""

_log = logging.getLogger("guildbook.engine")


class EngineSupervisor:
    """Runs ``program`` with the home folder ``home``; ``on_halt`` is told, once, that it halted in consensus."""

    def __init__(
        self,
        program: Path,
        home: EngineHome,
        *,
        on_halt: Callable[[GuildbookError], None],
        pause_first_s: float = PAUSE_FIRST_S,
    ) -> None:
        self._program = program
        self._home = home
        self._on_halt = on_halt
        self._pause_first_s = pause_first_s
        self._process = self._new()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cometbft-supervisor")
        self.starts = 0
        """How often the process was started."""
        self.failure: GuildbookError | None = None
        """Why it does not run now, or takes no part; None while all is well."""

    def _new(self) -> EngineProcess:
        return EngineProcess(self._program, self._home, on_failure=self._failed)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid

    def start(self) -> None:
        """Start it; returns when the process runs. Raises GuildbookError ``engine.stopped`` when it cannot be."""
        self._process.start()
        self.starts += 1
        self._thread.start()

    def expect_end(self) -> None:
        """The node is about to stop: from now on the end of the process is no failure, and it is not started again."""
        self._stopping.set()
        self._process.expect_end()

    def stop(self) -> None:
        """End the process, and wait for it. Stopping twice, or before a start, is allowed."""
        self.expect_end()
        self._process.stop()
        if self._thread.ident is not None:
            self._thread.join()
            self._process.stop()  # one that was started meanwhile

    def _failed(self, error: GuildbookError) -> None:
        self.failure = error
        if error.code == "engine.halted":
            self._on_halt(error)

    def _run(self) -> None:
        pause_s = self._pause_first_s
        while True:
            began = time.monotonic()
            self._process.join()
            if self._stopping.is_set() or (self.failure is not None and self.failure.code == "engine.halted"):
                return
            if time.monotonic() - began > SETTLED_S:
                pause_s = self._pause_first_s
            _log.error("%s", self.failure, extra={"again_in_s": pause_s})
            if self._stopping.wait(pause_s):
                return
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
            process = self._new()
            try:
                process.start()
            except GuildbookError as error:
                self.failure = error
                continue
            self._process, self.failure = process, None
            self.starts += 1
            if self._stopping.is_set():  # told while it was being started
                process.stop()
                return
