"""A node of a network of one validator, with a real CometBFT: for tests that stop, kill and restart either of them.

Run as a program it writes until it is killed: ``network_node.py FOLDER PROGRAM FIRST``. For each answer with a receipt
it writes the number of the transaction to its standard output after the answer came: what is read there was
acknowledged.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from crashing_ledger import envelope, found, registry
from guildbook.chain.head import application_hash
from guildbook.chain.ledger import Ledger
from guildbook.engine.abci.engine import NetworkEngine, NetworkSettings
from guildbook.engine.cometbft.home import EngineHome, HomeSettings, Timing, write_home
from guildbook.engine.cometbft.process import EngineProcess
from guildbook.state.rocks import RocksStore
from guildbook.testing.ledger import test_key as key_of

SETTINGS = NetworkSettings(bundle_ms=5, resubmit_ms=1_000, stop_wait_ms=10_000, signature_workers=0)
WAIT_S = 60.0


def wait_until(true: Callable[[], object], what: str) -> None:
    """Wait for a condition, for long on a busy machine."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class NetworkNode:
    """Ledger, network engine and CometBFT in one folder; each can be stopped and started by itself."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self.program = program
        self.halted: list[BaseException] = []
        if not (folder / "store").exists():
            found(folder / "store")
        self.open()
        self.home: EngineHome = write_home(
            folder / "engine",
            self.ledger.genesis,
            self.founded_hash,
            key_of("validator"),
            key_of("node"),
            HomeSettings(
                p2p_listen="127.0.0.1:0", timing=Timing(commit_ms=20, heartbeat_ms=0), log_level="*:error"
            ),
            [],
        )
        self.process: EngineProcess | None = None

    def open(self) -> None:
        """Open the store and make the engine's node side."""
        self.store = RocksStore(self.folder / "store")
        self.ledger = Ledger(self.store, registry())
        roots = self.ledger.view().roots(0)
        assert roots is not None
        self.founded_hash = application_hash(roots.state_root, roots.log_root, roots.log_size)
        home = EngineHome(self.folder / "engine")
        home.path.mkdir(exist_ok=True)
        self.engine = NetworkEngine(
            self.ledger, home.app_socket, home.rpc_socket, SETTINGS, on_halt=self.halted.append
        )

    def start(self) -> None:
        """Start both, and wait until they have found each other."""
        self.engine.start()
        self.start_process()
        self.ready()

    def ready(self) -> None:
        wait_until(lambda: not self.engine.not_ready(), f"{self.engine.not_ready()}")

    def start_process(self) -> None:
        self.process = EngineProcess(self.program, self.home)
        self.process.start()

    def close(self) -> None:
        """Stop both, in the order in which a node does it."""
        self.engine.drain()
        if self.process is not None:
            self.process.stop()
        self.engine.stop()
        self.store.close()

    def send(self, first: int, count: int) -> list[bytes]:
        """The receipts of ``count`` transactions from number ``first``."""
        answers = self.engine.submit([envelope(number) for number in range(first, first + count)]).result(WAIT_S)
        assert all(one.error is None for one in answers), answers
        return [one.receipt for one in answers if one.receipt is not None]


def write(folder: Path, program: Path, first: int) -> None:
    """Write until killed."""
    node = NetworkNode(folder, program)
    node.start()
    number = first
    while True:
        node.send(number, 5)
        for one in range(number, number + 5):
            os.write(1, b"%d\n" % one)
        number += 5


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
