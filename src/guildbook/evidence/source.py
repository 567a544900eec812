"""A ledger's store as a source of evidence.

The state tree and the last roots are those of the last block. The roots after older blocks, which the
evidence of a receipt needs, come from whoever keeps them: `roots` gives them by height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.ledger import View
from guildbook.evidence.build import ReceiptPlace, Roots
from guildbook.evidence.format import EvidenceError
from guildbook.primitives.cometbft import Commit, Header, ValidatorSet
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.merkle_log import LogReader
from guildbook.primitives.state_tree import TreeReader
from guildbook.state import layout


def last_roots(view: View) -> Callable[[int], Roots]:
    """The roots that every store has: those after the last block, and after the one before it if they are the
    same.

    For any other height the function raises `EvidenceError` "evidence.not_available".
    """
    head = view.head
    found = Roots(head.state_root, head.log_root, head.log_size)

    def roots(height: int) -> Roots:
        if height == head.height or (height == head.height - 1 and not head.needs_proof_block):
            return found
        raise EvidenceError(
            "evidence.not_available",
            f"this store does not have the roots after block {height}",
            hint="ask a node that keeps the roots of all blocks",
            step="build",
            height=height,
        )

    return roots


class LedgerSource:
    """An `EvidenceSource` over one view of a ledger; safe in any thread, as the view is."""

    def __init__(self, view: View, roots: Callable[[int], Roots]) -> None:
        self._view = view
        self._roots = roots

    @property
    def network(self) -> str:
        """The network's id."""
        return self._view.network

    @property
    def height(self) -> int:
        """The last committed block."""
        return self._view.head.height

    def header(self, height: int) -> Header | None:
        """The header of block `height`, None if the store has none."""
        block = self._view.block(height)
        return None if block is None else block.header

    def commit(self, height: int) -> Commit | None:
        """The commit for block `height`, None if the store has none."""
        return self._view.commit(height)

    def validators(self, height: int) -> ValidatorSet:
        """The validators that sign block `height`."""
        return self._view.validators(height)

    def handover_heights(self, height: int) -> Sequence[int]:
        """The heights below `height`, ascending, whose block is the last of its validator set."""
        starts = self._view.reader.scan(
            layout.height_key(layout.VALIDATORS, 2), layout.height_key(layout.VALIDATORS, height) + b"\0"
        )
        return [int.from_bytes(key[1:], "big") - 1 for key, _ in starts]

    def roots(self, height: int) -> Roots:
        """The roots after block `height`."""
        return self._roots(height)

    def place(self, transaction: bytes) -> ReceiptPlace | None:
        """Where the receipt of a transaction is, None if it was neither applied nor rejected."""
        found = self._view.location(transaction)
        return None if found is None else ReceiptPlace(found.height, found.index, found.log_index)

    def receipt(self, place: ReceiptPlace) -> bytes:
        """The canonical receipt at a place that `place` has given."""
        changes = self._view.changes(place.height)
        if changes is None or place.index >= len(changes.receipts):
            raise GuildbookError(
                "store.corrupt",
                f"the store has no receipt {place.index} of block {place.height}, which its index names",
                height=place.height,
                index=place.index,
            )
        return changes.receipts[place.index]

    def envelope(self, place: ReceiptPlace) -> bytes | None:
        """The envelope at the receipt's place in the block, None if the store no longer has the block."""
        block = self._view.block(place.height)
        if block is None:
            return None
        bundles = []
        for bundle in block.txs:
            try:
                bundles.append(decode_bundle(bundle))
            except GuildbookError:
                continue  # what is no bundle has no receipts either
        return next(envelope for index, envelope in enumerate(chain(*bundles)) if index == place.index)

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
