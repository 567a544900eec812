"""A made-up chain for tests of the views: it makes blocks of changes, and remembers every state by plain Python."""

from __future__ import annotations

import hashlib
from typing import Any

from guildbook.chain.changes import BlockChanges, RowChange, TransactionSummary
from guildbook.chain.receipt import Receipt
from guildbook.primitives.canonical import encode
from guildbook.views.schema import EventView, Field, Shape, TableView, ViewSchema

GENESIS_MS = 1_767_225_600_000

LOTS = TableView("points.lots", (
    Field("id", "int", False, True),
    Field("holder", "text", False, False),
    Field("units", "int", False, False),
    Field("expires_at", "timestamp", False, False),
    Field("evidence", "digest", True, False),
    Field("open", "bool", False, False),
    Field("shares", "json", False, False, Shape((), (Shape(("party", "units"), (None, None)),)))))
TOTALS = TableView("points.totals", (
    Field("holder", "text", False, True), Field("branch", "text", True, True), Field("units", "int", False, False)))
TRANSFERRED = EventView("points.transferred", (
    Field("lot", "int", False, False), Field("to", "text", False, False), Field("units", "int", False, False)))
SCHEMA = ViewSchema((LOTS, TOTALS), (TRANSFERRED,))

Row = list[Any]


def lot(number: int, holder: str = "ann", units: int = 10, evidence: bytes | None = b"\x01" * 32, *,
        expires_at: int = GENESIS_MS, is_open: bool = True, shares: tuple[tuple[str, int], ...] = ()) -> Row:
    """A row of ``points.lots`` as its canonical array."""
    return [number, holder, units, expires_at, evidence, is_open, [list(share) for share in shares]]


class Book:
    """The chain: what each table holds after each block, and the blocks of changes that led there."""

    def __init__(self) -> None:
        self.blocks: list[BlockChanges] = []
        self.states: list[dict[tuple[str, bytes], bytes]] = []
        self.events: list[list[Any]] = []

    @property
    def height(self) -> int:
        """The height of the last block."""
        return len(self.blocks) - 1

    def block(self, changes: dict[tuple[str, Any], Row | None] | None = None,
              transactions: list[tuple[int, list[list[Any]]]] | None = None) -> BlockChanges:
        """Add a block: rows by (table, key), None to delete; transactions by (outcome, events)."""
        height, time_ms = len(self.blocks), GENESIS_MS + 1000 * len(self.blocks)
        state = dict(self.states[-1]) if self.states else {}
        rows = []
        for (table, key), row in sorted(((table, repr(key).encode()), row)
                                        for (table, key), row in (changes or {}).items()):
            before = state.pop((table, key), None)
            after = None if row is None else encode(row)
            if before == after:
                if before is not None:
                    state[table, key] = before
                continue
            if after is not None:
                state[table, key] = after
            rows.append(RowChange(table, key, before, after))
        receipts, summaries = [], []
        for index, (outcome, events) in enumerate(transactions or []):
            identity = hashlib.sha256(b"%d/%d" % (height, index)).digest()
            code, fields = ("", []) if outcome == 0 else ("points.not_enough_units", [["wanted", 5], ["free", index]])
            receipts.append(encode(Receipt(identity, height, index, outcome, code, fields, [index], events)))
            summaries.append(TransactionSummary(identity, "ann", "bank", [["points", "transfer"]]))
            self.events += [[height, index, place, values] for place, (_contract, _name, values) in enumerate(events)]
        self.states.append(state)
        self.blocks.append(BlockChanges(height, time_ms, rows, receipts, summaries))
        return self.blocks[-1]
