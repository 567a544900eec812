"""A node: the one place where store, contracts, engine, views and interface are put together.

Life. ``open_node`` opens everything or nothing. ``serve`` runs until it is told to stop (SIGTERM, SIGINT, or ``stop``
from any thread) or the engine halts: first the interface stops taking requests and finishes those that run, then the
engine finishes what is queued and makes it provable, then the store is closed. What a node acknowledged is durable at
any moment, so none of this is needed for safety; it is there for those who wait for an answer.

Halting. A full volume and a broken law end the node by themselves: the first with the status of a node that needs
attention, the second with one of its own, which a supervisor must not answer with a restart.
"""

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import msgspec
import uvloop

import guildbook
from guildbook.api.app import build_app
from guildbook.api.metrics import Metrics
from guildbook.api.services import ApiLimits, HeightSignal, Services
from guildbook.chain.ledger import Ledger, View
from guildbook.client.base import TIMEOUT_S
from guildbook.client.keyfile import read_key
from guildbook.client.local import LocalClient
from guildbook.client.prover import Prover
from guildbook.client.reader import LedgerReader
from guildbook.engine.abci.engine import NetworkEngine, NetworkSettings
from guildbook.engine.cometbft.home import EngineHome
from guildbook.engine.cometbft.supervisor import EngineSupervisor
from guildbook.engine.desk import Answer, Committed, Engine
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.foundation import FOUNDATION
from guildbook.node.allocator import give_back_freed_memory
from guildbook.node.applications import load_applications
from guildbook.node.config import NodeConfig, read_config
from guildbook.node.folder import FOLDER_MODE, NodeFolder, announce, stored_genesis
from guildbook.node.member import engine_beside, prepare_engine
from guildbook.node.observer import Observer
from guildbook.node.pruner import Pruner
from guildbook.node.server import HttpServer, listen, url_of
from guildbook.node.snapshots import SnapshotStore, Snapshotter
from guildbook.node.state_sync import StateSync
from guildbook.node.views import NodeViews
from guildbook.node.witnesses import Witnesses, parse_witness_place
from guildbook.primitives.checkpoint import Checkpoint, sign_checkpoint
from guildbook.primitives.errors import EXIT_NODE, GuildbookError
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore

EXIT_DONE = 0
EXIT_HALTED = 70
"""A law is broken: this node must not go on by itself (EX_SOFTWARE of sysexits)."""
PASSPHRASE_VARIABLE = "GUILDBOOK_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
DISK_CHECK_S = 2.0
THREAD_SWITCH_S = 0.001
"""How long one thread may keep the others of this process waiting: the interface answers between blocks' work."""
COLLECT_AFTER_OBJECTS = (20_000, 50, 1_000)
"""When the interpreter looks for cycles: rarely, since a block makes many objects and few cycles (its contracts know
one another), but not so rarely that freeing them all at once keeps callers waiting for a fifth of a second."""
START_WAIT_S = 30.0

_log = logging.getLogger("guildbook.node")


def require_assertions() -> None:
    """Refuse to run where ``assert`` is switched off: a node must halt on a broken law, not go on."""
    if sys.flags.optimize:
        raise GuildbookError(
            "node.assertions_off",
            "Python runs with assertions switched off (-O or PYTHONOPTIMIZE)",
            hint="start the node without them",
        )


def open_node(path: Path, config: NodeConfig | None = None, passphrase: str | None = None) -> "Node":
    """The node in the folder ``path``, opened and not yet running.

    ``config`` replaces that of the folder. The passphrase of the keys is taken from GUILDBOOK_KEY_PASSPHRASE unless
    it is given. Raises GuildbookError: ``node.*``, ``store.*``, ``genesis.*`` or ``key.malformed``.
    """
    require_assertions()
    folder = NodeFolder(path)
    if config is None:
        config = read_config(folder.config, os.environ)
    genesis = stored_genesis(folder)
    passphrase = os.environ.get(PASSPHRASE_VARIABLE) if passphrase is None else passphrase
    key = read_key(folder.validator_key, passphrase)
    node_key = read_key(folder.node_key, passphrase) if folder.peers.exists() else None
    registry = Registry()
    for contract in FOUNDATION:
        registry.install(contract)
    for name in config.applications:
        try:
            for contract in load_applications([name]):
                registry.install(contract)
        except GuildbookError as error:
            _log.warning("the application %s is not installed here; its source on the ledger runs: %s", name, error)
    settle_decoders()
    store = RocksStore(folder.store, must_exist=True)
    try:
        ledger = Ledger(store, registry)
        if ledger.genesis.hash != genesis.hash:
            raise GuildbookError(
                "genesis.mismatch",
                f"{folder.genesis} is not what the store was founded with",
                hint="put back the genesis document that the members agreed on",
                file=genesis.hash.hex(),
                store=ledger.genesis.hash.hex(),
            )
        return Node(folder, config, ledger, key, node_key)
    except BaseException:
        store.close()
        raise


def settle_decoders() -> None:
    """Have msgspec work out how each class that is known by now is decoded, while there is one thread.

    It does so at a class's first use, and threads that are the first at the same time crash the process.
    """
    waiting: list[type] = [msgspec.Struct]
    while waiting:
        found: list[type] = waiting.pop().__subclasses__()
        for kind in found:
            waiting.append(kind)
            with contextlib.suppress(TypeError, NameError):  # one that is never decoded, or not by itself
                msgspec.msgpack.Decoder(kind)


class Node:
    """An open node. ``serve`` runs it; ``running`` runs it in a thread, for tests and demonstrations."""

    def __init__(
        self,
        folder: NodeFolder,
        config: NodeConfig,
        ledger: Ledger,
        key: SigningKey,
        node_key: SigningKey | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self._key = key
        self._node_key = node_key
        self.consensus: EngineSupervisor | None = None
        """The CometBFT that this node runs beside it, while it does."""
        self.ledger = ledger
        self.metrics = Metrics()
        self.reader = LedgerReader(ledger, guildbook.__version__)
        self.url = ""
        self.exit_status = EXIT_DONE
        self.snapshots = SnapshotStore(folder.snapshots, config.snapshots.kept_max)
        self.engine = self._make_engine()
        self._signal = HeightSignal(ledger.head.height)
        try:
            self._views = NodeViews(folder.views, self.reader, config.views) if config.views.enabled else None
        except BaseException:
            self.engine.stop()
            raise
        self._sql = None if self._views is None else self._views.sql
        self._snapshotter = (
            Snapshotter(self.snapshots, config.snapshots.interval_blocks) if config.snapshots.interval_blocks else None
        )
        self.witnesses = Witnesses(
            [parse_witness_place(one) for one in config.witnesses], self.reader.view, self._signed_checkpoint
        )
        self._pruner = Pruner(self, config.store.retain_blocks) if config.store.retain_blocks else None
        self._observer = Observer(self.engine, self.metrics, self._views)
        self._free_bytes = shutil.disk_usage(folder.store).free
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: HttpServer | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._closed = False
        self.metrics.before_reading(lambda: self.metrics.disk_free.set(self._free_bytes))

    def _make_engine(self) -> Engine:
        """The engine that the configuration names. Raises GuildbookError ``genesis.mismatch``."""
        sequencer, engine = self.config.sequencer, self.config.engine
        if engine.kind == "solo":
            return SoloEngine(
                self.ledger,
                self._key,
                SoloSettings(
                    gather_ms=sequencer.gather_ms,
                    proof_delay_ms=sequencer.proof_delay_ms,
                    signature_workers=sequencer.signature_workers,
                    pending_transactions_max=sequencer.pending_transactions_max,
                    block_transactions_max=sequencer.block_transactions_max,
                ),
                on_block=self._on_block,
                on_halt=self._on_halt,
            )
        home = EngineHome(self.folder.engine)
        home.path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        return NetworkEngine(
            self.ledger,
            home.app_socket,
            home.rpc_socket,
            NetworkSettings(
                bundle_ms=engine.bundle_ms,
                bundle_transactions_max=engine.bundle_transactions_max,
                bundle_size_bytes_max=engine.bundle_size_bytes_max,
                resubmit_ms=engine.resubmit_ms,
                stall_ms=engine.stall_ms,
                stop_wait_ms=engine.stop_wait_ms,
                retain_blocks=engine.kept_blocks_max,
                signature_workers=sequencer.signature_workers,
                pending_transactions_max=sequencer.pending_transactions_max,
            ),
            snapshots=StateSync(self.ledger, self.snapshots),
            software=guildbook.__version__,
            on_block=self._on_block,
            on_halt=self._on_halt,
        )

    # what the parts tell the node --------------------------------------------------------------------------------

    def _on_block(self, committed: Committed) -> None:
        """In the sequencer's thread, after each durable block: wake those who follow, and wait for nobody."""
        self._signal.publish(committed.height)
        self._observer.tell()
        if self._pruner is not None:
            self._pruner.on_block(committed.height)
        if self._snapshotter is not None and self._snapshotter.wants(committed.height):
            self._snapshotter.on_block(self.ledger.view())

    def _on_halt(self, error: BaseException) -> None:
        """In the sequencer's thread: the engine has stopped by itself."""
        halted = not isinstance(error, GuildbookError) or error.code == "engine.halted"
        self.exit_status = EXIT_HALTED if halted else EXIT_NODE
        notes = "; ".join(getattr(error, "__notes__", []))
        _log.critical(
            "the engine halted: %s", notes or error, exc_info=error, extra={"height": self.ledger.head.height}
        )
        self.stop()

    def _submit(self, envelopes: Sequence[bytes]) -> "Future[list[Answer]]":
        if self._free_bytes < self.config.store.free_bytes_min:
            raise GuildbookError(
                "store.full",
                f"{self._free_bytes} bytes are free on the volume of the store",
                hint="free space on the volume; the node goes on by itself",
                free_bytes=self._free_bytes,
            )
        return self.engine.submit(envelopes)

    def _checkpoint(self) -> bytes:
        return self.witnesses.with_cosignatures(self._signed_checkpoint(self.reader.view()))

    def _signed_checkpoint(self, view: View) -> bytes:
        origin = f"guildbook/{self.ledger.genesis.network}"
        return sign_checkpoint(Checkpoint(origin, view.head.log_size, view.head.log_root), self._key)

    @property
    def followed_height(self) -> int:
        """The last height that nobody here needs the changes of any more."""
        return self.ledger.head.height if self._views is None else self._views.height

    def not_ready(self) -> list[str]:
        """Why this node should get no requests now; [] when it should."""
        reasons = []
        if self._stopping.is_set():
            reasons.append("the node is stopping")
        reasons.extend(self.engine.not_ready())
        if self._observer.failure is not None:
            reasons.append("the views and the metrics stand still")
        if self._free_bytes < self.config.store.free_bytes_warn:
            reasons.append(
                f"the volume of the store has {self._free_bytes} bytes free, and "
                f"{self.config.store.free_bytes_warn} are wanted"
            )
        if self._views is not None:
            reasons.extend(self._views.not_ready(self.ledger.head.height))
        return reasons

    # running -----------------------------------------------------------------------------------------------------

    def services(self) -> Services:
        """What the interface stands on."""
        http = self.config.http
        limits = ApiLimits(
            body_size_bytes_max=http.body_size_bytes_max,
            batch_transactions_max=http.batch_transactions_max,
            requests_running_max=http.requests_running_max,
            subscribers_max=http.subscribers_max,
            body_timeout_s=http.body_timeout_s,
            answer_timeout_s=http.answer_timeout_s,
            stream_stall_s=http.stream_stall_s,
        )
        return Services(
            reader=self.reader,
            submit=self._submit,
            signal=self._signal,
            metrics=self.metrics,
            not_ready=self.not_ready,
            genesis=self.ledger.genesis.to_json(),
            prover=Prover(self.reader),
            checkpoint=self._checkpoint,
            sql=self._sql,
            limits=limits,
        )

    def serve(self, on_ready: Callable[[str], None] | None = None) -> int:
        """Run until told to stop; returns the exit status. ``on_ready`` gets the node's address.

        In the main thread SIGTERM and SIGINT stop the node. The node is closed when this returns.
        """
        sys.setswitchinterval(THREAD_SWITCH_S)
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER_OBJECTS)
        give_back_freed_memory()
        try:
            uvloop.run(self._serve(on_ready))
        finally:
            self.close()
        return self.exit_status

    async def _serve(self, on_ready: Callable[[str], None] | None) -> None:
        loop = self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_signal, number)
        self._server = HttpServer(build_app(self.services(), guildbook.__version__), self.config.http)
        bound = listen(self.config.http)
        self.url = url_of(bound)
        self._signal.bind(loop)
        self._observer.start()
        for worker in (self._snapshotter, self._pruner, self.witnesses):
            if worker is not None:
                worker.start()
        self.engine.start()
        self._start_consensus()
        serving = asyncio.ensure_future(self._server.serve(sockets=[bound]))
        watching = asyncio.ensure_future(self._watch_disk())
        try:
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.01)
            self._announce()
            if on_ready is not None:
                on_ready(self.url)
            self._started.set()
            await serving
        finally:
            watching.cancel()
            self._signal.bind(None)

    def _start_consensus(self) -> None:
        """Bring the engine's folder up to date, and start CometBFT, where this node is the one that runs it."""
        if self.config.engine.kind != "cometbft":
            return
        if self._node_key is None:
            _log.warning("there is no %s: the engine is expected to be run by something else", self.folder.peers)
            return
        home = prepare_engine(self.folder, self.config, self.ledger, self._key, self._node_key)
        if self.config.network.start:
            self.consensus = engine_beside(home, self.config.network.version, self._on_halt)
            self.consensus.start()

    def _announce(self) -> None:
        announce(self.folder, self.url)
        _log.info(
            "the node is ready",
            extra={
                "url": self.url,
                "network": self.ledger.genesis.network,
                "height": self.ledger.head.height,
                "version": guildbook.__version__,
            },
        )

    async def _watch_disk(self) -> None:
        while True:
            await asyncio.sleep(DISK_CHECK_S)
            try:
                free = shutil.disk_usage(self.folder.store).free
            except OSError as error:
                _log.error("the volume of the store cannot be looked at: %s", error)
                continue
            if (free < self.config.store.free_bytes_warn) != (
                self._free_bytes < self.config.store.free_bytes_warn
            ):
                _log.warning("free space on the volume of the store changed", extra={"free_bytes": free})
            self._free_bytes = free

    def _on_signal(self, number: int) -> None:
        _log.info("the node is told to stop", extra={"signal": signal.Signals(number).name})
        if self._stopping.is_set() and self._server is not None:
            self._server.force_exit = True  # asked twice: do not wait for requests
        self.stop()

    def stop(self) -> None:
        """Tell the node to stop; returns at once. May be called in any thread."""
        self._stopping.set()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(self._stop_serving)

    def _stop_serving(self) -> None:
        self._signal.stop()
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Finish what is queued, make it provable, and release everything. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        if self.consensus is not None:
            self.consensus.expect_end()
            self.engine.drain()
            self.consensus.stop()
        self.engine.stop()
        self._observer.stop()
        for worker in (self._snapshotter, self._pruner, self.witnesses):
            if worker is not None:
                worker.stop()
        if self._views is not None:
            self._views.close(self.ledger.head.height)
        try:
            self.ledger.close()
        except Exception as error:
            if self.engine.failure is None:
                raise
            _log.warning("the store that failed before failed again as it was closed: %s", error)
        if self.url:
            self.folder.running.unlink(missing_ok=True)
        _log.info(
            "the node has stopped", extra={"height": self.ledger.head.height, "status": self.exit_status}
        )

    # in the same process -----------------------------------------------------------------------------------------

    def client(self, key: SigningKey | None = None, *, timeout_s: float = TIMEOUT_S) -> LocalClient:
        """A client of this node that does not go through HTTP."""
        return LocalClient(self.engine, key, timeout_s=timeout_s, reader=self.reader, sql=self._sql)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Run the node in a thread; gives its address, and closes it at the end."""
        failure: list[BaseException] = []

        def run() -> None:
            try:
                self.serve()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                failure.append(error)
            finally:
                self._started.set()

        thread = threading.Thread(target=run, name="node")
        thread.start()
        try:
            if not self._started.wait(START_WAIT_S) or failure:
                raise (
                    failure[0]
                    if failure
                    else GuildbookError("api.unavailable", "the node did not start in time")
                )
            yield self.url
        finally:
            self.stop()
            thread.join()

    def __enter__(self) -> "Node":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
