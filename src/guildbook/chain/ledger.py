"""A ledger on a store: open it, apply a block, commit it in one batch, read what it holds.

Invariant. Everything a block changes, with its height and hashes, is one atomic durable write; so at any moment the
store is exactly the state after some block. What memory holds beside (tree, edge, cached rows) moves only after that
write has returned.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from guildbook.chain.changes import BlockChanges, decode_changes
from guildbook.chain.genesis import Genesis, apply_genesis, empty_state, read_genesis
from guildbook.chain.head import (
    FORMAT_KEY,
    GENESIS_KEY,
    HEAD_KEY,
    KEPT_KEY,
    RESTORE_KEY,
    STORE_FORMAT,
    Head,
    Roots,
    decode_head,
)
from guildbook.chain.receipt import Location, Receipt, decode_receipt
from guildbook.chain.state import State
from guildbook.chain.transaction import Transaction
from guildbook.chain.transition import BlockInput, BlockResult, apply_block, begin_block
from guildbook.chain.validators import ACTIVE_AFTER_BLOCKS, next_validators
from guildbook.primitives.canonical import CanonicalError, decode, encode
from guildbook.primitives.cometbft import (
    NO_BLOCK,
    Block,
    BlockID,
    Commit,
    ValidatorSet,
    decode_block,
    decode_commit,
    decode_validator_set,
    encode_validator_set,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.primitives.log_entry import ENTRY_SIZE_BYTES
from guildbook.primitives.merkle_log import LogReader, load_edge
from guildbook.primitives.state_tree import StateTree, TreeReader
from guildbook.runtime.call import Execution
from guildbook.runtime.catalogue import Catalogue
from guildbook.runtime.registry import Registry
from guildbook.runtime.releases import active_releases
from guildbook.state import layout
from guildbook.state.kv import KeyValueStore, Reader
from guildbook.state.overlay import Overlay
from guildbook.state.schema import TableSchema


def _corrupt(what: str) -> GuildbookError:
    return GuildbookError(
        "store.corrupt", f"the store is damaged: {what}", hint="restore a backup, or rebuild from the blocks"
    )


def validators_at(reader: Reader, height: int) -> ValidatorSet:
    """The validator set of ``height``; raises GuildbookError ``store.corrupt`` where there is none."""
    end = layout.height_key(layout.VALIDATORS, height) + b"\0"
    found = next(iter(reader.scan(layout.VALIDATORS, end, reverse=True)), None)
    if found is None:
        raise _corrupt(f"no validator set for height {height}")
    return decode_validator_set(found[1])


def not_kept(location: Location) -> GuildbookError:
    """The error for a receipt whose transaction is known, and which this node does not keep."""
    return GuildbookError(
        "evidence.not_available",
        f"the transaction is in block {location.height}, whose receipts this node does not keep",
        hint="ask a node that keeps the whole history for the receipt; the transaction does not take effect again",
        height=location.height,
        index=location.index,
        log_index=location.log_index,
    )


def _require_no_restore(store: Reader) -> None:
    if store.get(RESTORE_KEY) is not None:
        raise GuildbookError(
            "snapshot.unfinished",
            "a snapshot is being restored here, and is no ledger yet",
            hint="go on with: guildbook snapshot restore, or remove the folder",
        )


class View:
    """Everything a ledger holds, as of one committed block. Cheap to make, and safe in any thread."""

    def __init__(self, network: str, reader: Reader, registry: Registry) -> None:
        self.network = network
        self.reader = reader
        self.registry = registry
        self._kept_height = -1
        data = reader.get(HEAD_KEY)
        if data is None:
            _require_no_restore(reader)
            raise _corrupt("it has no head")
        self.head: Head = decode_head(data)

    @property
    def kept_height(self) -> int:
        """The last height whose block and commit are here.

        It is the head's, unless an engine outside this process is still to be asked for the last blocks.
        """
        if self.head.parts_total or not self.head.height:
            return self.head.height
        if self._kept_height < 0:
            end = layout.height_key(layout.BLOCKS, self.head.height) + b"\0"
            last = next(iter(self.reader.scan(layout.BLOCKS, end, reverse=True)), None)
            self._kept_height = 0 if last is None else int.from_bytes(last[0][1:], "big")
        return self._kept_height

    def block(self, height: int) -> Block | None:
        """The block of ``height`` (1 up), or None."""
        data = self.reader.get(layout.height_key(layout.BLOCKS, height))
        return None if data is None else decode_block(data)

    def block_bytes(self, height: int) -> bytes | None:
        """The block of ``height`` as stored."""
        return self.reader.get(layout.height_key(layout.BLOCKS, height))

    def commit(self, height: int) -> Commit | None:
        """The commit that decided the block of ``height``, or None."""
        data = self.reader.get(layout.height_key(layout.COMMITS, height))
        return None if data is None else decode_commit(data)

    def commit_bytes(self, height: int) -> bytes | None:
        """The commit that decided the block of ``height`` as stored."""
        return self.reader.get(layout.height_key(layout.COMMITS, height))

    def validators(self, height: int) -> ValidatorSet:
        """The validator set of ``height``, which is known up to the second block after the last one."""
        return validators_at(self.reader, height)

    def changes_bytes(self, height: int) -> bytes | None:
        """The change feed's entry of ``height`` (0 is genesis) as stored, or None."""
        return self.reader.get(layout.height_key(layout.CHANGES, height))

    def changes(self, height: int) -> BlockChanges | None:
        """The changes of ``height``, or None."""
        data = self.changes_bytes(height)
        return None if data is None else decode_changes(data)

    @property
    def kept_from(self) -> int:
        """The first height of which everything is here: 0, or later where old blocks were given up or never came."""
        data = self.reader.get(KEPT_KEY)
        return 0 if data is None else decode(data, int)

    def roots(self, height: int) -> Roots | None:
        """Roots and log size after the block of ``height`` (0 is genesis), or None."""
        data = self.reader.get(layout.height_key(layout.ROOTS, height))
        return None if data is None else decode(data, Roots)

    def location(self, transaction: bytes) -> Location | None:
        """Where the receipt of ``transaction`` is, or None when it was never applied or rejected."""
        data = self.reader.get(layout.TRANSACTIONS + transaction)
        return None if data is None else decode(data, Location)

    def receipt_bytes(self, location: Location) -> bytes:
        """The canonical receipt at ``location``.

        Raises GuildbookError ``evidence.not_available`` where this node does not keep it, and ``store.corrupt``.
        """
        changes = self.changes(location.height)
        if changes is None and location.height < self.kept_from:
            raise not_kept(location)
        if changes is None or location.index >= len(changes.receipts):
            raise _corrupt(f"no receipt {location.index} in block {location.height}")
        return changes.receipts[location.index]

    def entries(self, first: int, count: int) -> list[bytes]:
        """The entries (77 bytes each) at ``count`` places of the log from ``first``, which are in it."""
        if not count:
            return []
        assert 0 <= first <= first + count <= self.head.log_size, (first, count)
        start = layout.height_key(layout.ENTRIES, first)
        key, data = next(self.reader.scan(layout.ENTRIES, start + b"\0", reverse=True), (b"", b""))
        content = bytearray(data[(first - int.from_bytes(key[1:], "big")) * ENTRY_SIZE_BYTES :])
        if len(content) < count * ENTRY_SIZE_BYTES:
            for _key, data in self.reader.scan(start + b"\0", layout.ENTRIES + b"\xff" * 9):
                content += data
                if len(content) >= count * ENTRY_SIZE_BYTES:
                    break
        if len(content) < count * ENTRY_SIZE_BYTES:
            raise _corrupt(f"entries of the log are missing behind {first}")
        places = range(0, count * ENTRY_SIZE_BYTES, ENTRY_SIZE_BYTES)
        return [bytes(content[at : at + ENTRY_SIZE_BYTES]) for at in places]

    def receipt(self, transaction: bytes) -> Receipt | None:
        """The receipt of ``transaction``, or None."""
        location = self.location(transaction)
        return None if location is None else decode_receipt(self.receipt_bytes(location))

    def log(self) -> LogReader:
        """The log over all receipts."""
        return LogReader(lambda tile: self.reader.get(layout.LOG + tile), self.head.log_size)

    def tree(self) -> TreeReader:
        """The state tree."""

        def digest(key: bytes) -> bytes:
            row = self.reader.get(layout.ROWS + key)
            if row is None:
                raise _corrupt(f"the state tree has a row that is not there: {key.hex()}")
            return sha256(row)

        return TreeReader(lambda path: self.reader.get(layout.TREE + path), digest)

    def row_bytes(self, schema: TableSchema, *key: Any) -> bytes | None:
        """The canonical row with this primary key, or None."""
        return self.reader.get(schema.key(*key))

    def rows(self, schema: TableSchema, prefix: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The rows whose key starts with ``prefix``, in key order."""
        overlay = Overlay(self.reader)
        yield from overlay.scan(schema, None, schema.key_prefixes[len(prefix)](*prefix))

    def execution(self) -> Execution:
        """The contracts as they run after this block, for queries; nothing that they write is kept."""
        return begin_block(
            Overlay(self.reader),
            self.network,
            self.head.height,
            self.head.time_ns,
            self.registry,
            migrate=False,
        )

    def catalogue(self) -> Catalogue:
        """The declarations of the contracts that run after this block."""
        execution = self.execution()
        return Catalogue(loaded.contract for loaded in execution.active.values())

    def releases(self) -> dict[str, Any]:
        """The release of each contract that runs after this block."""
        return {**active_releases(Overlay(self.reader), self.head.height, self.registry)}


class Ledger:
    """The writing side: one instance for a store, used by one thread."""

    def __init__(self, store: KeyValueStore, registry: Registry) -> None:
        """Open the ledger in ``store``.

        Raises GuildbookError ``store.missing``, ``store.version`` or ``store.corrupt``.
        """
        self.store = store
        self.registry = registry
        self.reload()

    def reload(self) -> None:
        """Read anew what the store holds, after a snapshot was restored to it. Raises as the constructor."""
        store = self.store
        _require_no_restore(store)
        form = store.get(FORMAT_KEY)
        if form is None:
            raise GuildbookError(
                "store.missing", "the store holds no ledger", hint="create one with: guildbook init"
            )
        if form != encode(STORE_FORMAT):
            raise GuildbookError(
                "store.version",
                f"the store has format {form.hex()}",
                hint=f"this software reads format {STORE_FORMAT}; see the changelog",
            )
        try:
            self.genesis: Genesis = read_genesis(store.get(GENESIS_KEY) or b"")
            head = decode_head(store.get(HEAD_KEY) or b"")
        except (GuildbookError, CanonicalError) as error:
            raise _corrupt(str(error)) from error
        tree = StateTree(lambda path: store.get(layout.TREE + path))
        edge = load_edge(lambda tile: store.get(layout.LOG + tile), head.log_size)
        if tree.root() != head.state_root or edge.root() != head.log_root:
            raise _corrupt("its roots do not belong to its head")
        self._latest = store.latest()
        self.state = State(self.genesis.network, self._latest, tree, edge, head)

    @classmethod
    def create(cls, store: KeyValueStore, genesis: Genesis, registry: Registry) -> "Ledger":
        """Found the ledger of ``genesis`` in an empty ``store``. Raises GuildbookError ``store.not_empty``."""
        _require_no_restore(store)
        if store.get(FORMAT_KEY) is not None:
            raise GuildbookError(
                "store.not_empty",
                "the store holds a ledger already",
                hint="name another folder, or open this one with: guildbook run",
            )
        state = empty_state(genesis.network, store)
        result = apply_genesis(genesis, state, registry)
        head = Head(
            0,
            result.time_ns,
            result.state_root,
            result.edge.root(),
            0,
            result.app_hash,
            result.results_hash,
            b"",
            0,
            b"",
            b"",
        )
        store.write(
            [
                *result.writes,
                (FORMAT_KEY, encode(STORE_FORMAT)),
                (GENESIS_KEY, genesis.to_json()),
                (layout.height_key(layout.VALIDATORS, 1), encode_validator_set(genesis.validator_set)),
                (HEAD_KEY, head.encode()),
            ]
        )
        return cls(store, registry)

    @property
    def head(self) -> Head:
        """The last committed block."""
        return self.state.head

    def view(self) -> View:
        """What the ledger holds now; later blocks do not change it."""
        return View(self.genesis.network, self.store.snapshot(), self.registry)

    def apply(self, block: BlockInput, checked: Mapping[bytes, Transaction] | None = None) -> BlockResult:
        """Run a block; nothing is kept until ``commit``."""
        return apply_block(self.state, block, self.registry, checked)

    def commit(
        self,
        result: BlockResult,
        block: BlockID = NO_BLOCK,
        header_app_hash: bytes = b"",
        engine_writes: list[tuple[bytes, bytes | None]] | None = None,
    ) -> Head:
        """Store ``result`` and what the engine adds to it (block, commit) in one batch, and move on.

        Raises GuildbookError ``store.full`` or ``store.io``; then the ledger is as it was.
        """
        state = self.state
        assert result.height == state.head.height + 1, f"commit of {result.height} after {state.head.height}"
        head = Head(
            result.height,
            result.time_ns,
            result.state_root,
            result.edge.root(),
            result.edge.size,
            result.app_hash,
            result.results_hash,
            block.hash,
            block.parts.total,
            block.parts.hash,
            header_app_hash,
        )
        writes = [*result.writes, *(engine_writes or []), (HEAD_KEY, head.encode())]
        if result.validator_updates:
            active_from = result.height + ACTIVE_AFTER_BLOCKS
            members = next_validators(
                validators_at(self.store, active_from - 1), result.validator_updates
            )
            writes.append(
                (layout.height_key(layout.VALIDATORS, active_from), encode_validator_set(members))
            )
        self.store.write(writes)
        self._latest.refresh()
        state.tree.commit(result.tree_update)
        state.edge = result.edge
        state.head = head
        for difference in result.differences:
            state.cache.put(difference.key, difference.data)
        state.groups.forget(result.groups)
        return head

    def close(self) -> None:
        """Release the store."""
        self.store.close()
