"""A ledger's store as a source of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.head import Roots
from guildbook.chain.ledger import View
from guildbook.evidence.build import ReceiptPlace
from guildbook.evidence.format import EvidenceError
from guildbook.primitives.cometbft import Commit, Header, ValidatorSet
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.merkle_log import LogReader
from guildbook.primitives.state_tree import TreeReader
from guildbook.state import layout


class LedgerSource:
    """An `EvidenceSource` over one view of a ledger; safe in any thread, as the view is.

    `later` is a view of the same ledger in which the header after the last block of `view` is there already: under
    load the state has moved on by the time that its header comes.
    """

    def __init__(self, view: View, later: View | None = None) -> None:
        self._view = view
        self._blocks = later if later is not None else view

    @property
    def network(self) -> str:
        """The network's id."""
        return self._view.network

    @property
    def height(self) -> int:
        """The last block whose header is there."""
        return self._blocks.kept_height

    @property
    def state_height(self) -> int:
        """The block after which the rows, the tree and the log are."""
        return self._view.head.height

    def header(self, height: int) -> Header | None:
        """The header of block `height`, None if the store has none."""
        block = self._blocks.block(height)
        return None if block is None else block.header

    def commit(self, height: int) -> Commit | None:
        """The commit for block `height`, None if the store has none."""
        return self._blocks.commit(height)

    def validators(self, height: int) -> ValidatorSet:
        """The validators that sign block `height`."""
        return self._blocks.validators(height)

    def handover_heights(self, height: int) -> Sequence[int]:
        """The heights below `height`, ascending, whose block is the last of its validator set."""
        starts = self._blocks.reader.scan(
            layout.height_key(layout.VALIDATORS, 2), layout.height_key(layout.VALIDATORS, height) + b"\0"
        )
        return [int.from_bytes(key[1:], "big") - 1 for key, _ in starts]

    def roots(self, height: int) -> Roots:
        """The roots after block `height`; raises `EvidenceError` "evidence.not_available" if the store has none."""
        found = self._blocks.roots(height)
        if found is None:
            raise EvidenceError(
                "evidence.not_available",
                f"this store does not have the roots after block {height}",
                hint="ask a node that keeps the whole history",
                step="build",
                height=height,
            )
        return found

    def place(self, transaction: bytes) -> ReceiptPlace | None:
        """Where the receipt of a transaction is, None if it was neither applied nor rejected."""
        found = self._view.location(transaction)
        return None if found is None else ReceiptPlace(found.height, found.index, found.log_index)

    def receipt(self, place: ReceiptPlace) -> bytes:
        """The canonical receipt at a place that `place` has given."""
        changes = self._view.changes(place.height)
        if changes is None and place.height < self._view.kept_from:
            raise EvidenceError(
                "evidence.not_available",
                f"this node does not keep the receipts of block {place.height}",
                hint="ask a node that keeps the whole history",
                step="build",
                height=place.height,
            )
        if changes is None or place.index >= len(changes.receipts):
            raise GuildbookError(
                "store.corrupt",
                f"the store has no receipt {place.index} of block {place.height}, which its index names",
                height=place.height,
                index=place.index,
            )
        return changes.receipts[place.index]

    def envelope(self, place: ReceiptPlace) -> bytes | None:
        """The envelope at the receipt's place in the block; None if the store no longer has the block, or if the
        receipt is of a report of the engine and not of a transaction.
        """
        block = self._blocks.block(place.height)
        if block is None:
            return None
        bundles = []
        for bundle in block.txs:
            try:
                bundles.append(decode_bundle(bundle))
            except GuildbookError:
                continue  # what is no bundle has no receipts either
        return next(
            (envelope for index, envelope in enumerate(chain(*bundles)) if index == place.index), None
        )

    def row(self, table: str, key: bytes) -> bytes | None:
        """The canonical row under an ordered primary key, None if there is none."""
        return self._view.reader.get(layout.ROWS + table.encode() + b"\0" + key)

    def rows(self, table: str, start: bytes, end: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        """All (key, row) of a table with start <= key < end (None: to its end), in key order."""
        prefix = layout.ROWS + table.encode() + b"\0"
        stop = layout.ROWS + table.encode() + b"\x01" if end is None else prefix + end
        return [(key[len(prefix) :], row) for key, row in self._view.reader.scan(prefix + start, stop)]

    def log(self) -> LogReader:
        """The log over all receipts."""
        return self._view.log()

    def tree(self) -> TreeReader:
        """The state tree after the last block."""
        return self._view.tree()
