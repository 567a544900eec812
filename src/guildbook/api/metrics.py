"""Metrics in the format of Prometheus; names and units follow its conventions (base units, suffixes by kind).

Each node has a registry of its own, so that several can run in one process. What counts blocks and transactions is
read from the ledger after it is durable, never guessed on the way.
"""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STAGES = ("execute", "build", "write", "answer")

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series


class Metrics:
    """The metrics of one node."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.height = Gauge("guildbook_height", "Height of the last committed block.", registry=self.registry)
        self.transactions = Counter(
            "guildbook_transactions",
            "Transactions in blocks, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.pending = Gauge(
            "guildbook_pending_transactions", "Transactions that wait for a block.", registry=self.registry
        )
        self.stage_seconds = Counter(
            "guildbook_stage_seconds", "Time of the sequencer, by stage.", ["stage"], registry=self.registry
        )
        self.views_lag = Gauge(
            "guildbook_views_lag_blocks", "Blocks that the views are behind.", registry=self.registry
        )
        self.engine_connected = Gauge(
            "guildbook_engine_connected",
            "Whether the engine takes part: 1 or 0.",
            registry=self.registry,
        )
        self.engine_catching_up = Gauge(
            "guildbook_engine_catching_up",
            "Whether the engine still fetches old blocks from other members: 1 or 0.",
            registry=self.registry,
        )
        self.kept_height = Gauge(
            "guildbook_kept_height",
            "Height of the last block that is stored with the signatures under it.",
            registry=self.registry,
        )
        self.blocks_lost = Gauge(
            "guildbook_blocks_lost",
            "Blocks that could not be stored with their signatures since the node's start.",
            registry=self.registry,
        )
        self.disk_free = Gauge(
            "guildbook_disk_free_bytes", "Free space on the volume of the store.", registry=self.registry
        )
        self.subscribers = Gauge(
            "guildbook_event_streams", "Event streams that are open.", registry=self.registry
        )
        self.requests = Counter(
            "guildbook_http_requests",
            "Requests, by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "guildbook_http_request_seconds",
            "Time of a request, by route.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.refused = Counter(
            "guildbook_refused",
            "Transactions that were kept out of blocks, by code.",
            ["code"],
            registry=self.registry,
        )
        self._refreshers: list[Callable[[], None]] = []

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Call ``refresh`` each time that the metrics are read, for those that are looked up rather than counted."""
        self._refreshers.append(refresh)

    def text(self) -> bytes:
        """All metrics as text."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)
