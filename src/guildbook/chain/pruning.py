"""Giving up old blocks: what a node may forget, and what can still be checked afterwards.

Blocks, commits and row changes with their receipts are kept from a height on. What everything else needs stays: rows,
state tree, the log with its entries, the place of every transaction, validator sets, roots, and the last block of each
validator set, from which evidence leads to the next. So a node that has given up its old blocks goes on, refuses what
was used up, proves rows and makes snapshots, the same as others; it answers for old receipts with the way to them.

Blocks are given up from the lowest height up, in batches, each of which moves the mark of the first kept height in the
same atomic write: at any moment everything from the mark on is there, and nothing below it.
"""

from collections.abc import Iterator

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.changes import BlockChanges
from guildbook.chain.head import KEPT_KEY
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.receipt import decode_receipt
from guildbook.chain.replay import SPACE_NAMES, Finding, Progress, compare_spaces, no_progress
from guildbook.chain.snapshot import Restore, take_snapshot
from guildbook.chain.transaction import decode_transaction
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.log_entry import entry_of
from guildbook.runtime.registry import Registry
from guildbook.state import layout
from guildbook.state.kv import KeyValueStore

BATCH_HEIGHTS = 500
KEPT_BLOCKS_MIN = 2
"""The last block's header states what the one before has done; both stay."""
REBUILT = (layout.ROWS, layout.INDEXES, layout.TREE, layout.LOG, layout.ENTRIES, layout.TRANSACTIONS)
"""The spaces that follow from rows and entries."""


def prune(store: KeyValueStore, view: View, keep_blocks: int, progress: Progress = no_progress) -> int:
    """Give up blocks, commits and changes below the last ``keep_blocks`` (2 up); returns the first height kept.

    ``view`` is of ``store``. What the engine is still to deliver is not given up. Raises GuildbookError ``store.io``
    or ``store.full``; then the rest is given up the next time.
    """
    assert keep_blocks >= KEPT_BLOCKS_MIN, keep_blocks
    start = view.kept_from
    pending = next(iter(view.reader.scan(layout.DECIDED, layout.DECIDED + b"\xff" * 9)), None)
    lowest = view.head.height if pending is None else int.from_bytes(pending[0][1:], "big")
    end = max(start, min(view.head.height - keep_blocks + 1, lowest))
    handovers = {
        int.from_bytes(key[1:], "big") - 1
        for key, _data in view.reader.scan(layout.VALIDATORS, layout.height_key(layout.VALIDATORS, end) + b"\0")
    }
    for first in range(start, end, BATCH_HEIGHTS):
        behind = min(first + BATCH_HEIGHTS, end)
        writes: list[tuple[bytes, bytes | None]] = [(KEPT_KEY, encode(behind))]
        for height in range(first, behind):
            writes.append((layout.height_key(layout.CHANGES, height), None))
            if height not in handovers:
                writes.append((layout.height_key(layout.BLOCKS, height), None))
                writes.append((layout.height_key(layout.COMMITS, height), None))
        store.write(writes)
        progress(behind - start, end - start)
    return end


def require_all(view: View, what: str) -> None:
    """Raise GuildbookError ``store.pruned`` where ``what`` needs blocks that ``view`` does not have."""
    if view.kept_from:
        raise GuildbookError(
            "store.pruned",
            f"{what} needs all blocks, and this node keeps them from height {view.kept_from} on",
            hint="use the folder of a node that keeps the whole history",
            first=view.kept_from,
        )


def check_kept(view: View, progress: Progress = no_progress) -> Iterator[Finding]:
    """Hold what is kept of receipts and changes against the log's entries and the rows.

    Each receipt has its entry. Backwards from the rows as they are, each change ends in what the next one found.
    """
    after: dict[tuple[str, bytes], bytes | None] = {}
    for height in range(view.head.height, view.kept_from - 1, -1):
        changes = view.changes(height)
        roots = view.roots(height)
        if changes is None or roots is None:
            yield Finding(f"change feed {height}", "it is missing, or the roots of its height are")
            return
        first = roots.log_size - len(changes.receipts)
        for entry, data in zip(view.entries(first, len(changes.receipts)), changes.receipts, strict=True):
            receipt = decode_receipt(data)
            if entry != entry_of(data, receipt.transaction, receipt.height, receipt.index, receipt.outcome):
                yield Finding(f"change feed {height}", f"receipt {receipt.index} is not the one of the log")
        yield from _check_summaries(view, height, changes)
        for change in changes.rows:
            place = (change.table, change.key)
            if place not in after:
                after[place] = view.reader.get(layout.ROWS + change.table.encode() + b"\0" + change.key)
            if after[place] != change.after:
                yield Finding(
                    f"change feed {height}", f"row {change.key.hex()} of {change.table} did not become what is there"
                )
            after[place] = change.before
        progress(view.head.height - height + 1, view.head.height - view.kept_from + 1)


def _check_summaries(view: View, height: int, changes: BlockChanges) -> Iterator[Finding]:
    """What was called is what the block's transactions say. Who sent them was in the rows of then, and is believed."""
    block = view.block(height)
    if block is None:
        return
    called: list[tuple[bytes, list[list[str]]]] = []
    for bundle in block.txs:
        try:
            envelopes = decode_bundle(bundle)
        except GuildbookError:
            continue
        for envelope in envelopes:
            try:
                transaction = decode_transaction(envelope)
            except GuildbookError:
                called.append((tagged("malformed", envelope), []))
            else:
                calls = [[call.contract, call.command] for call in transaction.body.calls]
                called.append((transaction.id, calls))
    if called != [(one.id, one.calls) for one in changes.transactions]:
        yield Finding(f"change feed {height}", "its transactions are not those of the block")


def rebuild(
    view: View, scratch: KeyValueStore, registry: Registry, progress: Progress = no_progress
) -> Iterator[Finding]:
    """Make the state of ``view`` anew in the empty ``scratch`` from rows and entries, and compare what follows.

    The roots are those of the head. Whether the rows are what the blocks led to, only a replay of all blocks shows.
    """
    restore = Restore(scratch, registry)

    def apply(index: int, chunk: bytes) -> None:
        restore.apply_chunk(index, chunk)
        progress(index + 1, metadata.chunks)

    try:
        metadata = restore.offer(take_snapshot(view, lambda _index, _chunk: None), view.head.app_hash)
        take_snapshot(view, apply)  # the same bytes again, so that no more than one chunk is in memory
        ledger: Ledger = restore.finish()
    except GuildbookError as error:
        yield Finding("state", error.message)
        return
    for space in REBUILT:
        assert space in SPACE_NAMES, space
    yield from compare_spaces(view.reader, ledger.store, REBUILT)
