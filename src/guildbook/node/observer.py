"""Following the ledger in a thread of its own: counts what blocks did, and hands their changes to the views.

The sequencer only says that there is a new block, and waits for nobody.
"""

import logging
import threading

import msgspec

from guildbook.api.metrics import STAGES, Metrics
from guildbook.chain.receipt import Outcome
from guildbook.client.reader import OUTCOME_NAMES
from guildbook.engine.desk import Engine
from guildbook.node.views import NodeViews

NANOSECONDS_PER_SECOND = 1_000_000_000

_log = logging.getLogger("guildbook.node")


class _Receipts(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a block's changes."""

    height: int
    time_ms: int
    rows: msgspec.Raw
    receipts: list[bytes]


class _Outcome(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a receipt."""

    transaction: bytes
    height: int
    index: int
    outcome: int


_changes = msgspec.msgpack.Decoder(_Receipts).decode
_receipt = msgspec.msgpack.Decoder(_Outcome).decode


class Observer:
    """Follows an engine's ledger from the height at which it is made; keeps ``metrics`` current and feeds ``views``."""

    def __init__(self, engine: Engine, metrics: Metrics, views: NodeViews | None) -> None:
        self._engine = engine
        self._metrics = metrics
        self._views = views
        self._counted = engine.ledger.head.height
        self._stage_ns = dict.fromkeys(STAGES, 0)
        self._news = threading.Event()
        self._stopping = False
        self._told: set[bytes] = set()
        self.failure: Exception | None = None
        """What ended the observer, if something did: views and counts stand still from then on."""
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        metrics.height.set(self._counted)
        metrics.before_reading(self._refresh)

    def start(self) -> None:
        """Start counting."""
        self._thread.start()

    def tell(self) -> None:
        """There is a new block."""
        self._news.set()

    def stop(self) -> None:
        """Count what is left, and stop."""
        self._stopping = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def _refresh(self) -> None:
        if self._views is not None:
            self._metrics.views_lag.set(max(0, self._engine.ledger.head.height - self._views.height))
        self._metrics.pending.set(self._engine.pending)
        condition = self._engine.condition()
        self._metrics.engine_connected.set(condition.connected)
        self._metrics.engine_catching_up.set(condition.catching_up)
        self._metrics.kept_height.set(condition.kept_height)
        self._metrics.blocks_lost.set(condition.blocks_lost)
        for stage in STAGES:
            spent = getattr(self._engine.times, stage)
            self._metrics.stage_seconds.labels(stage).inc(
                (spent - self._stage_ns[stage]) / NANOSECONDS_PER_SECOND
            )
            self._stage_ns[stage] = spent

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._news.wait()
                self._news.clear()
                self._count()
        except Exception as error:  # noqa: BLE001 - the thread's rim: nobody else would hear of it
            self.failure = error
            _log.critical("the views and the metrics stand still", exc_info=error)

    def _count(self) -> None:
        view = self._engine.ledger.view()
        for height in range(self._counted + 1, view.head.height + 1):
            data = view.changes_bytes(height)
            if data is not None and self._views is not None:
                self._views.follow(view, height, data)
            if data is not None:
                outcomes = dict.fromkeys(Outcome, 0)
                for receipt in _changes(data).receipts:
                    outcomes[Outcome(_receipt(receipt).outcome)] += 1
                for outcome, count in outcomes.items():
                    if count:
                        self._metrics.transactions.labels(OUTCOME_NAMES[outcome]).inc(count)
            self._counted = height
            self._metrics.height.set(height)
        for source, reason in view.registry.unloadable.items():
            if source not in self._told:
                self._told.add(source)
                _log.error(
                    "a released contract cannot be loaded, and the version before it goes on: %s", reason
                )
