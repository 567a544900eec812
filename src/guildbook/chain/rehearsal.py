"""Rehearsing a release: the last blocks run again as if the new code had run them, without touching the ledger.

Before members let a new version of a contract decide their blocks, each runs a stretch of blocks under it by itself and
states what it got. Two numbers make that comparable: the state root before the stretch, which all know, and a digest
over the application hash after each of its blocks. Members whose digests differ have found out, before it could halt
the network, that the code does not do the same on all of their machines.

The state before the stretch is made by undoing: every block's changes are kept with the rows as they were before, so
they are taken back from the newest to the oldest, in a layer above the store. The tree's root must then be the one
that was recorded at that height; a store whose changes do not lead there is damaged. Into that state the source and
its release are put, as if members had agreed on it one block earlier, and the blocks run: with the new code's
migration, under the limits and the other contracts of their time.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec

from guildbook.chain.bundle import decode_bundle
from guildbook.chain.changes import BlockChanges
from guildbook.chain.head import HEAD_KEY, Head, application_hash, decode_head
from guildbook.chain.keeping import decided
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import Transaction, decode_transaction
from guildbook.chain.transition import BlockInput
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.state_tree import StateTree
from guildbook.runtime.registry import LoadedContract
from guildbook.runtime.releases import RELEASES, SOURCES, Release, Source, active_releases, source_text
from guildbook.state import layout
from guildbook.state.layered import LayeredStore
from guildbook.state.overlay import Overlay
from guildbook.state.schema import TableSchema

DIFFERENCES_MAX = 100
"""Differing receipts that a report lists; all are counted."""

Progress = Callable[[int, int], None]


class Difference(NamedTuple):
    """A transaction that ends otherwise under the new code: block and place in it, and the codes of then and now
    ("": applied).
    """

    height: int
    place: int
    transaction: bytes
    before: str
    after: str


class Rehearsed(NamedTuple):
    """What the blocks after ``from_height`` up to ``to_height`` gave under the source.

    ``state_root`` is the one before them, ``outcome`` the digest that members compare. ``differing`` counts the
    transactions that end otherwise than they did, ``differences`` lists the first of them; ``faults`` are texts of
    mistakes met in the new code, for its author.
    """

    contract: str
    version: int
    source: bytes
    from_height: int
    to_height: int
    state_root: bytes
    outcome: bytes
    transactions: int
    differing: int
    differences: tuple[Difference, ...]
    faults: tuple[str, ...]


def _no_progress(_done: int, _total: int) -> None:
    """A progress report that nobody reads."""


def rehearse(
    view: View, text: str, from_height: int, to_height: int, progress: Progress = _no_progress
) -> Rehearsed:
    """Run the blocks after ``from_height`` (0 up) up to ``to_height`` under the contract source ``text``.

    Raises GuildbookError ``rehearsal.no_blocks`` for a stretch that the ledger does not have, ``rehearsal.not_active``
    where the source would not run (another version is newer, or its migration fails), ``contract.*`` for a source
    that no node loads, and ``store.corrupt``.
    """
    if not 0 <= from_height < to_height <= view.head.height:
        raise GuildbookError(
            "rehearsal.no_blocks",
            f"there are no blocks after {from_height} up to {to_height}; the last block is {view.head.height}",
            from_height=from_height,
            to_height=to_height,
        )
    loaded = view.registry.load(text, "<rehearsal>")
    layer = state_at(view, from_height)
    state_root = StateTree(lambda path: layer.get(layout.TREE + path)).root()
    _install(layer, loaded, from_height)
    ledger = Ledger(layer, view.registry)
    hashes: list[bytes] = []
    differences: list[Difference] = []
    faults: list[str] = []
    transactions = 0
    for height in range(from_height + 1, to_height + 1):
        block, changes = _input(view, height), _changes(view, height)
        result = ledger.apply(block, _signed(block, changes))
        ledger.commit(result)
        _require_active(ledger, layer, loaded, height, [one.text for one in result.faults])
        hashes.append(result.app_hash)
        faults.extend(one.text for one in result.faults)
        transactions += len(result.receipts)
        differences.extend(_differences(changes.receipts, result.receipts))
        progress(height - from_height, to_height - from_height)
    return Rehearsed(
        loaded.name,
        loaded.version,
        loaded.source_hash,
        from_height,
        to_height,
        state_root,
        tagged("rehearsal", loaded.source_hash, state_root, *hashes),
        transactions,
        len(differences),
        tuple(differences[:DIFFERENCES_MAX]),
        tuple(faults),
    )


def state_at(view: View, height: int) -> LayeredStore:
    """The ledger as it was after the block of ``height``, in a layer above ``view``: rows, indexes, tree, head, ids.

    Later blocks, receipts and log tiles stay beneath, where nothing asks for them. Raises ``store.corrupt`` where
    what is undone does not lead to the recorded root.
    """
    layer = LayeredStore(view.reader)
    before: dict[tuple[str, bytes], bytes | None] = {}
    for undone in range(view.head.height, height, -1):
        changes = _changes(view, undone)
        for row in changes.rows:
            before[(row.table, row.key)] = row.before
        for receipt in map(decode_receipt, changes.receipts):
            if receipt.outcome != Outcome.INVALID:
                layer.write([(layout.TRANSACTIONS + receipt.transaction, None)])
    now = _schemas(view, layer, view.head.height)
    leaves: dict[bytes, bytes | None] = {}
    for (table, key), data in sorted(before.items()):
        full = layout.ROWS + table.encode() + b"\0" + key
        _index(layer, now.get(table), view.reader.get(full), None)
        layer.write([(full, data)])
        leaves[full[1:]] = None if data is None else sha256(data).digest()
    then = _schemas(view, layer, height)
    for (table, _key), data in sorted(before.items()):
        _index(layer, then.get(table), None, data)
    update = StateTree(lambda path: view.reader.get(layout.TREE + path)).update(leaves)
    layer.write((layout.TREE + path, node) for path, node in update.writes.items())
    roots = view.roots(height)
    if roots is None or roots.state_root != update.root:
        raise GuildbookError(
            "store.corrupt",
            f"the changes of the blocks after {height} do not lead back to the state root of that height",
            hint="check the store with: guildbook check",
            height=height,
        )
    time_ns = _changes(view, height).time_ms * 1_000_000 if height == 0 else _input(view, height).time_ns
    app_hash = application_hash(roots.state_root, roots.log_root, roots.log_size)
    head = Head(
        height, time_ns, roots.state_root, roots.log_root, roots.log_size, app_hash, b"", b"", 0, b"", b""
    )
    layer.write([(HEAD_KEY, head.encode())])
    later = layout.height_key(layout.VALIDATORS, height + 3)
    for validators_key, _value in list(view.reader.scan(later, layout.VALIDATORS + b"\xff" * 8)):
        layer.write([(validators_key, None)])
    return layer


def _schemas(view: View, layer: LayeredStore, height: int) -> dict[str, TableSchema]:
    """The tables of the contracts that ran at ``height``, by name; ``layer`` has the releases of that time."""
    overlay = Overlay(layer)
    found: dict[str, TableSchema] = {}
    for release in active_releases(overlay, height, view.registry).values():
        loaded = view.registry.resolve(release.source, _text_of(overlay, release.source))
        for table in loaded.contract.tables.values():
            found[table.schema.name] = table.schema
    return found


def _text_of(overlay: Overlay, source: bytes) -> Callable[[], str]:
    return lambda: source_text(overlay, source)


def _index(
    layer: LayeredStore, schema: TableSchema | None, gone: bytes | None, come: bytes | None
) -> None:
    """Take the index entries of the row ``gone`` out, and put those of ``come`` in."""
    if schema is None:
        return
    for index in schema.indexes:
        if gone is not None:
            layer.write([(index.key_of(schema.decode(gone)), None)])
        if come is not None:
            row = schema.decode(come)
            key = schema.key_of(row)
            layer.write([(index.key_of(row), key[len(schema.row_prefix) :])])


def _install(layer: LayeredStore, loaded: LoadedContract, height: int) -> None:
    """Put the source and its release, active from the next block, into the state of ``height``."""
    rows = (
        (SOURCES, Source(hash=loaded.source_hash, contract=loaded.name, text=loaded.text)),
        (
            RELEASES,
            Release(
                contract=loaded.name,
                version=loaded.version,
                source=loaded.source_hash,
                active_from=height + 1,
            ),
        ),
    )
    known = layer.get(RELEASES.key(loaded.name, loaded.version))
    if known is not None:
        raise _not_active(loaded, height, "such a version was scheduled already")
    leaves: dict[bytes, bytes | None] = {}
    for schema, row in rows:
        key, data = schema.key_of(row), schema.encode(row)
        layer.write([(key, data)])
        leaves[key[1:]] = sha256(data).digest()
    update = StateTree(lambda path: layer.get(layout.TREE + path)).update(leaves)
    layer.write((layout.TREE + path, node) for path, node in update.writes.items())
    head = decode_head(layer.get(HEAD_KEY) or b"")
    app_hash = application_hash(update.root, head.log_root, head.log_size)
    changed = msgspec.structs.replace(head, state_root=update.root, app_hash=app_hash)
    layer.write([(HEAD_KEY, changed.encode())])


def _require_active(
    ledger: Ledger, layer: LayeredStore, loaded: LoadedContract, height: int, faults: list[str]
) -> None:
    running = active_releases(Overlay(layer), height, ledger.registry).get(loaded.name)
    if running is None or running.source != loaded.source_hash:
        raise _not_active(loaded, height, faults[0] if faults else "a newer version runs there")


def _not_active(loaded: LoadedContract, height: int, reason: str) -> GuildbookError:
    return GuildbookError(
        "rehearsal.not_active",
        f"version {loaded.version} of {loaded.name} does not run after block {height}: {reason}",
        contract=loaded.name,
        version=loaded.version,
        height=height,
    )


def _input(view: View, height: int) -> BlockInput:
    """The block of ``height`` as it was run."""
    run = decided(view, height)
    if run is not None:
        return run.input
    block = view.block(height)
    if block is None:
        raise GuildbookError(
            "rehearsal.no_blocks",
            f"this node does not have block {height}",
            hint="rehearse fewer blocks, or ask a node that keeps the whole history",
            height=height,
        )
    return BlockInput(height, block.header.time_ns, block.txs, misbehaviour_of(block.evidence))


def _changes(view: View, height: int) -> BlockChanges:
    changes = view.changes(height)
    if changes is None:
        raise GuildbookError(
            "rehearsal.no_blocks",
            f"this node does not have the changes of block {height}",
            hint="rehearse fewer blocks, or ask a node that keeps the whole history",
            height=height,
        )
    return changes


def _signed(block: BlockInput, changes: BlockChanges) -> Mapping[bytes, Transaction]:
    """The transactions whose signatures held when the block was decided; they need no second check."""
    envelopes: list[bytes] = []
    for bundle in block.bundles:
        try:
            envelopes.extend(decode_bundle(bundle))
        except GuildbookError:
            continue
    return {
        envelope: decode_transaction(envelope)
        for envelope, data in zip(envelopes, changes.receipts, strict=False)
        if decode_receipt(data).outcome != Outcome.INVALID
    }


def _differences(before: list[bytes], after: list[bytes]) -> list[Difference]:
    found = []
    for old, new in zip(before, after, strict=True):
        if old != new:
            was, becomes = decode_receipt(old), decode_receipt(new)
            if (was.outcome, was.code) != (becomes.outcome, becomes.code):
                found.append(
                    Difference(becomes.height, becomes.index, becomes.transaction, was.code, becomes.code)
                )
    return found
