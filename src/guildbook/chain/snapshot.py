"""Snapshots: the state after one block as chunks that anybody can verify, and a ledger from them.

*Content.* A snapshot of height H has the genesis document, every row, and every entry of the log. Everything else that
a ledger keeps follows from these: indexes and state tree from the rows, tiles and the index of transactions from
the entries. Old blocks and receipts are not in it.

*Same everywhere.* The bytes are a function of the state alone: no clock, no compression, no order but that of keys. Two
nodes give the same chunks and the same metadata whether they ran the blocks live, replayed them or were restored.

*Verified before written.* Who restores trusts one hash, the application hash after H, and the genesis document. The
metadata names the roots that the application hash is made of. A chunk of rows is a range of keys with a proof that
these are all of them; a chunk of entries is a perfect subtree of the log, whose root the metadata names. So each chunk
is judged by itself, in any order, and a wrong one says nothing about the others.

*No half a ledger.* Until the last step the store has no format mark, and no ledger opens on it. The last step is one
atomic write, made after tree and log were rebuilt and had the roots. A restore that was cut off goes on where it was.

What the application hash does not cover (the block's time, its hash, the validators) is checked against the block
and its commit where the caller has them, and is otherwise the word of whoever gave the snapshot. Format:
docs/spec/snapshot.md.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from guildbook.chain.genesis import Genesis, read_genesis
from guildbook.chain.head import (
    FORMAT_KEY,
    GENESIS_KEY,
    HEAD_KEY,
    KEPT_KEY,
    RESTORE_KEY,
    STORE_FORMAT,
    Head,
    Roots,
    application_hash,
    decode_head,
)
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.receipt import Location, Outcome
from guildbook.primitives.canonical import CanonicalError, decode, encode
from guildbook.primitives.cometbft import (
    SignedHeader,
    ValidatorSet,
    block_id,
    check_block,
    decode_block,
    decode_commit,
    decode_header,
    decode_validator_set,
    header_hash,
    validator_set_hash,
    verify_commit,
    verify_signed_header,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256, tagged
from guildbook.primitives.log_entry import ENTRY_SIZE_BYTES, read_entry
from guildbook.primitives.merkle_log import (
    EMPTY_ROOT,
    TILE_HEIGHT_LEVELS,
    TILE_WIDTH_HASHES,
    LogEdge,
    extend,
    leaf_hash,
    load_edge,
    tile_key,
)
from guildbook.primitives.merkle_log import root as merkle_root
from guildbook.primitives.proof import ProofError
from guildbook.primitives.state_tree import KEY_SIZE_BYTES_MAX, TreeProof, build_tree, verify_range
from guildbook.runtime.catalogue import Catalogue
from guildbook.runtime.registry import Registry
from guildbook.runtime.releases import active_releases, source_text
from guildbook.state import layout
from guildbook.state.kv import KeyValueStore
from guildbook.state.overlay import Overlay
from guildbook.state.schema import TableSchema

SNAPSHOT_FORMAT = 1
MAGIC = "guildbook-snapshot"
CHUNK_SIZE_BYTES = 4 << 20
"""A chunk of rows is closed when its rows have this size; one row more may be in it."""
CHUNK_SIZE_BYTES_MAX = 16_000_000
METADATA_SIZE_BYTES_MAX = 4 << 20
CHUNKS_MAX = 100_000
CHUNK_ENTRIES = 1 << (2 * TILE_HEIGHT_LEVELS)
"""Entries of the log in a chunk: the leaves of one full tile of level 1."""
WRITE_BATCH_PAIRS = 20_000
ABSENT_HASH = bytes(32)

Progress = Callable[[int, int], None]
"""Told (chunks done, chunks in all)."""


def no_progress(_done: int, _total: int) -> None:
    """A progress report that nobody reads."""


class RowsChunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a chunk of rows begins (its first key may be later; it ends where the next begins), and its SHA-256."""

    start: bytes
    sha256: bytes


class ValidatorsFrom(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A validator set (protobuf) and the height from which it signs."""

    height: int
    validators: bytes


class Metadata(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a snapshot holds; its canonical bytes go before the chunks.

    Hashes and roots are 32 bytes. ``block_hash`` and ``previous_app_hash`` are of block ``height``, ``results_hash`` is
    what the next header states. The chunks are those of ``genesis`` (hashes), then ``rows``, then ``log`` (the roots of
    the perfect subtrees of 65,536 entries, the last of which may be partial). ``validators`` are the set that signs
    block ``height`` and all later ones.
    """

    magic: str
    format: int
    network: str
    genesis_hash: bytes
    height: int
    time_ns: int
    state_root: bytes
    log_root: bytes
    log_size: int
    results_hash: bytes
    block_hash: bytes
    previous_app_hash: bytes
    validators: list[ValidatorsFrom]
    genesis: list[bytes]
    rows: list[RowsChunk]
    log: list[bytes]

    @property
    def app_hash(self) -> bytes:
        """The application hash after block ``height``."""
        return application_hash(self.state_root, self.log_root, self.log_size)

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return len(self.genesis) + len(self.rows) + len(self.log)

    def validators_at(self, height: int) -> ValidatorSet:
        """The set that signs block ``height``, this snapshot's or a later one."""
        return decode_validator_set([one for one in self.validators if one.height <= height][-1].validators)


def snapshot_hash(metadata: bytes) -> bytes:
    """What names a snapshot: a tagged hash (32 bytes) of its metadata."""
    return tagged("snapshot", metadata)


# taking ----------------------------------------------------------------------------------------------------------


def take_snapshot(
    view: View, put: Callable[[int, bytes], None], *, chunk_size_bytes: int = CHUNK_SIZE_BYTES
) -> bytes:
    """Give every chunk of the state in ``view`` to ``put`` (index, bytes), in order; returns the metadata.

    ``chunk_size_bytes`` is the network's own; another one gives another snapshot. Raises GuildbookError
    ``snapshot.no_block`` before the first block, and ``snapshot.too_large``.
    """
    head = view.head
    if head.height == 0:
        raise GuildbookError(
            "snapshot.no_block", "the ledger has no block yet", hint="take a snapshot after the first block"
        )
    placed = _Counter(put)
    genesis = view.reader.get(GENESIS_KEY) or b""
    genesis_hashes = [placed.put(piece) for piece in _pieces(genesis, chunk_size_bytes)]
    rows = [RowsChunk(start, placed.put(data)) for start, data in _row_chunks(view, chunk_size_bytes)]
    log = []
    for first in range(0, head.log_size, CHUNK_ENTRIES):
        entries = view.entries(first, min(CHUNK_ENTRIES, head.log_size - first))
        placed.put(b"".join(entries))
        log.append(merkle_root([leaf_hash(one) for one in entries]))
    metadata = encode(
        Metadata(
            MAGIC,
            SNAPSHOT_FORMAT,
            view.network,
            read_genesis(genesis).hash,
            head.height,
            head.time_ns,
            head.state_root,
            head.log_root,
            head.log_size,
            head.results_hash,
            head.block_hash or ABSENT_HASH,
            head.header_app_hash or ABSENT_HASH,
            _validators_from(view, head.height),
            genesis_hashes,
            rows,
            log,
        )
    )
    if len(metadata) > METADATA_SIZE_BYTES_MAX or placed.count > CHUNKS_MAX:
        raise GuildbookError(
            "snapshot.too_large",
            f"the snapshot would have {placed.count} chunks and {len(metadata)} bytes of metadata",
            hint="this ledger is larger than snapshots of this format can be",
        )
    return metadata


class _Counter:
    """Numbers the chunks as they come."""

    def __init__(self, put: Callable[[int, bytes], None]) -> None:
        self._put = put
        self.count = 0

    def put(self, data: bytes) -> bytes:
        """Hand on the next chunk; returns its SHA-256."""
        assert len(data) <= CHUNK_SIZE_BYTES_MAX, f"a chunk of {len(data)} bytes"
        self._put(self.count, data)
        self.count += 1
        return sha256(data)


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _row_chunks(view: View, chunk_size_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """(start, bytes) of each chunk of rows; the first starts at the empty key."""
    tree = view.tree()

    def chunk(start: bytes, end: bytes | None, rows: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        proof = tree.prove_range(start, end)
        return start, encode([rows, proof])

    start, size = b"", 0
    rows: list[tuple[bytes, bytes]] = []
    for key, row in view.reader.scan(layout.ROWS, layout.ROWS_END):
        if size >= chunk_size_bytes:
            yield chunk(start, key[1:], rows)
            start, size, rows = key[1:], 0, []
        rows.append((key[1:], row))
        size += len(key) + len(row)
    yield chunk(start, None, rows)


def _validators_from(view: View, height: int) -> list[ValidatorsFrom]:
    """The set that signs block ``height``, and those that follow."""
    first = layout.height_key(layout.VALIDATORS, height)
    current = next(iter(view.reader.scan(layout.VALIDATORS, first + b"\0", reverse=True)))
    later = view.reader.scan(first + b"\0", layout.VALIDATORS + b"\xff" * 9)
    return [ValidatorsFrom(int.from_bytes(key[1:], "big"), data) for key, data in (current, *later)]


# reading metadata ------------------------------------------------------------------------------------------------


def _malformed(what: str) -> GuildbookError:
    return GuildbookError(
        "snapshot.malformed",
        f"the metadata of the snapshot is wrong: {what}",
        hint="take it from another member",
    )


def read_metadata(data: bytes) -> Metadata:
    """The metadata in canonical ``data``, consistent in itself.

    Raises GuildbookError ``snapshot.malformed`` or ``snapshot.wrong_format``.
    """
    if len(data) > METADATA_SIZE_BYTES_MAX:
        raise _malformed(f"it has {len(data)} bytes, and at most {METADATA_SIZE_BYTES_MAX} are read")
    try:
        fields = decode(data, list[Any])
        if fields[:1] == [MAGIC] and len(fields) > 1 and fields[1] != SNAPSHOT_FORMAT:
            raise GuildbookError(
                "snapshot.wrong_format",
                f"the snapshot has format {fields[1]!r}",
                hint=f"this software restores format {SNAPSHOT_FORMAT}",
            )
        metadata: Metadata = decode(data, Metadata)
    except CanonicalError as error:
        raise _malformed(error.message) from None
    _check_metadata(metadata)
    return metadata


def _check_metadata(one: Metadata) -> None:
    if one.magic != MAGIC:
        raise _malformed(f"it begins with {one.magic[:40]!r}")
    if not (0 < one.height < 1 << 63 and 0 < one.time_ns < 1 << 63 and 0 <= one.log_size < 1 << 63):
        raise _malformed(f"height {one.height}, time {one.time_ns} or log size {one.log_size} is none")
    hashes = (
        one.genesis_hash, one.state_root, one.log_root, one.results_hash, one.block_hash, one.previous_app_hash,
        *one.genesis, *(chunk.sha256 for chunk in one.rows), *one.log,
    )  # fmt: skip
    if any(len(value) != 32 for value in hashes):
        raise _malformed("a hash has not 32 bytes")
    if not one.genesis or not one.rows or one.chunks > CHUNKS_MAX:
        raise _malformed(f"it names {len(one.genesis)}, {len(one.rows)} and {len(one.log)} chunks")
    starts = [chunk.start for chunk in one.rows]
    if starts[0] or sorted(set(starts)) != starts or max(map(len, starts)) > KEY_SIZE_BYTES_MAX:
        raise _malformed("its chunks of rows do not follow one another from the first key on")
    if len(one.log) != -(-one.log_size // CHUNK_ENTRIES):
        raise _malformed(f"{len(one.log)} chunks are not those of a log of {one.log_size} entries")
    if (merkle_root(one.log) if one.log else EMPTY_ROOT) != one.log_root:
        raise _malformed("its chunks of the log do not have the log's root")
    heights = [begin.height for begin in one.validators]
    if (
        not heights
        or not 0 < heights[0] <= one.height
        or sorted(set(heights)) != heights
        or any(height <= one.height for height in heights[1:])
    ):
        raise _malformed("its validator sets are not those from its height on")
    try:
        for begin in one.validators:
            decode_validator_set(begin.validators)
    except GuildbookError as error:
        raise _malformed(f"a validator set: {error.message}") from None


# restoring -------------------------------------------------------------------------------------------------------


class LastBlock(NamedTuple):
    """Block ``height`` of a snapshot and the commit that decided it (protobuf bytes)."""

    block: bytes
    commit: bytes


class Restore:
    """A ledger in the making in ``store``, which holds nothing, the genesis state, or a restore that was cut off.

    Use: ``offer`` once, ``apply_chunk`` for each of ``missing``, ``finish``. ``genesis_hash`` is that of the document
    that the members agreed on; None takes the snapshot's own, for whoever compares it later.
    """

    def __init__(self, store: KeyValueStore, registry: Registry, genesis_hash: bytes | None = None) -> None:
        self._store = store
        self._registry = registry
        self._genesis_hash = genesis_hash
        self.metadata: Metadata | None = None
        self.missing: list[int] = []

    def offer(self, data: bytes, app_hash: bytes) -> Metadata:
        """Begin with the snapshot of the metadata ``data``, or go on with it where an earlier process left off.

        ``app_hash`` is trusted: it comes from a header that the caller has verified. What another snapshot left
        behind is removed. Raises GuildbookError ``snapshot.malformed``, ``snapshot.wrong_format``,
        ``snapshot.wrong_network`` (of another genesis), ``snapshot.wrong_app_hash`` or ``snapshot.not_empty``; then
        the store is as it was.
        """
        metadata = read_metadata(data)
        if self._genesis_hash not in (None, metadata.genesis_hash):
            raise GuildbookError(
                "snapshot.wrong_network",
                f"the snapshot is of the ledger {metadata.network} with genesis {metadata.genesis_hash.hex()}",
                hint="take a snapshot from a member of this network",
            )
        if metadata.app_hash != app_hash:
            raise GuildbookError(
                "snapshot.wrong_app_hash",
                f"the snapshot's roots make {metadata.app_hash.hex()}, and the trusted hash is {app_hash.hex()}",
                hint="take it from another member; the one who offered it is wrong or lies",
                height=metadata.height,
            )
        if self._store.get(RESTORE_KEY) != data:
            self._clear()
            self._store.write([(RESTORE_KEY, data)])
        self.metadata = metadata
        self.missing = [
            index for index in range(metadata.chunks) if self._store.get(_applied_key(index)) is None
        ]
        return metadata

    def _clear(self) -> None:
        """Make the store empty, unless it holds a ledger with blocks."""
        head = self._store.get(HEAD_KEY)
        if head is not None and decode_head(head).height > 0:
            raise GuildbookError(
                "snapshot.not_empty",
                f"the store holds a ledger at block {decode_head(head).height}",
                hint="restore to an empty folder",
            )
        self._store.write([(FORMAT_KEY, None), (HEAD_KEY, None), (RESTORE_KEY, b"")])
        for space in sorted(
            layout.SPACES, key=lambda one: one == layout.META
        ):  # what marks it as no ledger goes last
            self._remove(space)

    def _remove(self, space: bytes) -> None:
        start = space
        while page := self._store.page(start, bytes((space[0] + 1,)), WRITE_BATCH_PAIRS):
            self._store.write([(key, None) for key, _value in page])
            start = page[-1][0] + b"\0"

    def abandon(self) -> None:
        """Remove everything, so that another ledger can be made in the store."""
        self._clear()
        self.metadata = None
        self.missing = []

    def apply_chunk(self, index: int, data: bytes) -> bool:
        """Verify chunk ``index`` and store what is in it; False when it was there already and nothing was done.

        Raises GuildbookError ``snapshot.bad_chunk``: fetch it again, from another member. AssertionError before an
        accepted ``offer``.
        """
        metadata = self.metadata
        assert metadata is not None, "no snapshot was offered"
        writes = chunk_writes(metadata, index, data)
        if index not in self.missing:
            return False
        self._store.write([*writes, (_applied_key(index), b"\1")])
        self.missing.remove(index)
        return True

    def finish(self, last: LastBlock | None = None, *, progress: Progress = no_progress) -> Ledger:
        """Rebuild what follows from rows and entries, compare the roots, and make it a ledger.

        ``last`` is the block of the snapshot's height with its commit, where the caller has them: then its time, its
        hash and its validators are checked too, and a solo engine can go on from it. Raises GuildbookError
        ``snapshot.incomplete``, ``snapshot.wrong_block``, ``snapshot.wrong_network`` for a genesis document that is
        not the agreed one, and ``snapshot.wrong_app_hash`` when what was rebuilt has not the roots.
        """
        metadata = self.metadata
        assert metadata is not None, "no snapshot was offered"
        if self.missing:
            raise GuildbookError(
                "snapshot.incomplete",
                f"{len(self.missing)} of {metadata.chunks} chunks are missing, the first is {self.missing[0]}",
                hint="fetch the missing chunks, then finish",
            )
        genesis = self._genesis(metadata)
        parts, block_writes = _checked_last_block(metadata, last)
        steps = 3
        progress(0, steps)
        self._join_entries(metadata)
        self._write_upper_tiles(metadata)
        progress(1, steps)
        self._write_tree(metadata)
        progress(2, steps)
        self._write_indexes(metadata)
        progress(3, steps)
        self._become_ledger(metadata, genesis, parts, block_writes)
        return Ledger(self._store, self._registry)

    def _genesis(self, metadata: Metadata) -> Genesis:
        pieces = [self._store.get(_genesis_key(index)) or b"" for index in range(len(metadata.genesis))]
        try:
            genesis = read_genesis(b"".join(pieces))
        except GuildbookError as error:
            raise _malformed(f"its genesis document: {error.message}") from None
        if genesis.hash != metadata.genesis_hash or genesis.network != metadata.network:
            raise GuildbookError(
                "snapshot.wrong_network",
                f"the genesis document in the snapshot has the hash {genesis.hash.hex()} and is of {genesis.network}",
                hint="take the snapshot from another member",
            )
        first = metadata.validators[0]
        if first.height == 1 and decode_validator_set(first.validators) != genesis.validator_set:
            raise _malformed("its first validator set is not that of genesis")
        return genesis

    def _join_entries(self, metadata: Metadata) -> None:
        """Put together the entries of a block that two chunks divide: the store keeps a block's entries as one."""
        for chunk in range(len(metadata.log) - 1, 0, -1):
            border = layout.height_key(layout.ENTRIES, chunk * CHUNK_ENTRIES)
            behind = self._store.get(border)
            if behind is None:
                continue  # joined by an earlier attempt
            key, before = next(self._store.scan(layout.ENTRIES, border, reverse=True))
            if read_entry(before[:ENTRY_SIZE_BYTES]).height == read_entry(behind[:ENTRY_SIZE_BYTES]).height:
                self._store.write([(key, before + behind), (border, None)])

    def _write_upper_tiles(self, metadata: Metadata) -> None:
        """The tiles of level 2 and up; those below came with the chunks."""
        hashes = metadata.log[: metadata.log_size // CHUNK_ENTRIES]
        level = 2
        writes: list[tuple[bytes, bytes | None]] = []
        while hashes:
            tiles = [hashes[at : at + TILE_WIDTH_HASHES] for at in range(0, len(hashes), TILE_WIDTH_HASHES)]
            writes += [
                (layout.LOG + tile_key(level, number), b"".join(tile)) for number, tile in enumerate(tiles)
            ]
            hashes = [merkle_root(tile) for tile in tiles if len(tile) == TILE_WIDTH_HASHES]
            level += 1
        if writes:
            self._store.write(writes)
        edge = load_edge(lambda tile: self._store.get(layout.LOG + tile), metadata.log_size)
        _require_root("log", edge.root(), metadata.log_root)

    def _write_tree(self, metadata: Metadata) -> None:
        leaves = ((key[1:], sha256(row)) for key, row in self._store.scan(layout.ROWS, layout.ROWS_END))
        root = build_tree(
            leaves, lambda pairs: self._store.write((layout.TREE + key, value) for key, value in pairs)
        )
        _require_root("state", root, metadata.state_root)

    def _write_indexes(self, metadata: Metadata) -> None:
        overlay = Overlay(self._store)
        releases = active_releases(overlay, metadata.height, self._registry)
        catalogue = Catalogue(
            self._registry.resolve(one.source, partial(source_text, overlay, one.source)).contract
            for one in releases.values()
        )
        batch: list[tuple[bytes, bytes | None]] = []
        for schema in catalogue.tables.values():
            if not schema.indexes:
                continue
            for pair in index_entries(
                schema, self._store.scan(schema.row_prefix, schema.row_prefix[:-1] + b"\1")
            ):
                batch.append(pair)
                if len(batch) >= WRITE_BATCH_PAIRS:
                    self._store.write(batch)
                    batch = []
        if batch:
            self._store.write(batch)

    def _become_ledger(
        self,
        metadata: Metadata,
        genesis: Genesis,
        parts: tuple[int, bytes],
        block_writes: list[tuple[bytes, bytes | None]],
    ) -> None:
        roots = Roots(metadata.state_root, metadata.log_root, metadata.log_size)
        head = Head(
            metadata.height,
            metadata.time_ns,
            metadata.state_root,
            metadata.log_root,
            metadata.log_size,
            metadata.app_hash,
            metadata.results_hash,
            _present(metadata.block_hash),
            *parts,
            _present(metadata.previous_app_hash),
        )
        writes: list[tuple[bytes, bytes | None]] = [
            (layout.height_key(layout.VALIDATORS, one.height), one.validators) for one in metadata.validators
        ]
        writes += block_writes
        writes.append((layout.height_key(layout.ROOTS, metadata.height), encode(roots)))
        writes += [(key, None) for key, _value in self._store.scan(RESTORE_KEY, RESTORE_KEY + b"\xff")]
        writes += [
            (KEPT_KEY, encode(metadata.height + 1)),
            (GENESIS_KEY, genesis.to_json()),
            (FORMAT_KEY, encode(STORE_FORMAT)),
            (HEAD_KEY, head.encode()),
        ]
        self._store.write(writes)


def index_entries(schema: TableSchema, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The index entries of stored ``rows`` (key, canonical row) of a table, as the store has them."""
    behind_name = len(schema.row_prefix)
    for key, data in rows:
        row = schema.decode(data)
        for index in schema.indexes:
            yield index.key_of(row), key[behind_name:]


def _applied_key(index: int) -> bytes:
    return RESTORE_KEY + b"/applied/" + index.to_bytes(4, "big")


def _genesis_key(index: int) -> bytes:
    return RESTORE_KEY + b"/genesis/" + index.to_bytes(4, "big")


def _present(value: bytes) -> bytes:
    return b"" if value == ABSENT_HASH else value


def _bad_chunk(index: int, what: str) -> GuildbookError:
    return GuildbookError(
        "snapshot.bad_chunk",
        f"chunk {index} is refused: {what}",
        hint="fetch it from another member",
        chunk=index,
    )


def chunk_writes(metadata: Metadata, index: int, data: bytes) -> list[tuple[bytes, bytes | None]]:
    """What is in chunk ``index``, as pairs to store, after it was verified against the metadata's hashes and roots.

    Raises GuildbookError ``snapshot.bad_chunk``.
    """
    if not 0 <= index < metadata.chunks:
        raise _bad_chunk(index, f"the snapshot has chunks 0 to {metadata.chunks - 1}")
    if len(data) > CHUNK_SIZE_BYTES_MAX:
        raise _bad_chunk(index, f"it has {len(data)} bytes")
    log_from = len(metadata.genesis) + len(metadata.rows)
    if index >= log_from:
        return _log_writes(metadata, index, data)
    _require_digest(metadata, index, data)
    return _row_writes(metadata, index, data) if index >= len(metadata.genesis) else [(_genesis_key(index), data)]


def _require_digest(metadata: Metadata, index: int, data: bytes) -> None:
    digests = [*metadata.genesis, *(one.sha256 for one in metadata.rows)]
    found = sha256(data)
    if found != digests[index]:
        if found in digests:
            raise _bad_chunk(index, f"these are the bytes of chunk {digests.index(found)}")
        raise _bad_chunk(
            index, f"its SHA-256 is {found.hex()}, and the metadata names {digests[index].hex()}"
        )


def _row_writes(metadata: Metadata, index: int, data: bytes) -> list[tuple[bytes, bytes | None]]:
    """The rows in a chunk, after the proof that they are all of its range."""
    place = index - len(metadata.genesis)
    start = metadata.rows[place].start
    end = metadata.rows[place + 1].start if place + 1 < len(metadata.rows) else None
    try:
        rows, proof = decode(data, tuple[list[tuple[bytes, bytes]], TreeProof])
        verify_range(metadata.state_root, start, end, [(key, sha256(row)) for key, row in rows], proof)
    except (CanonicalError, ProofError) as error:
        raise _bad_chunk(index, error.message) from None
    return [(layout.ROWS + key, row) for key, row in rows]


def _log_writes(metadata: Metadata, index: int, data: bytes) -> list[tuple[bytes, bytes | None]]:
    """Entries, tiles and places of transactions in a chunk, after its root was found to be the one of the metadata."""
    place = index - len(metadata.genesis) - len(metadata.rows)
    first = place * CHUNK_ENTRIES
    count = min(CHUNK_ENTRIES, metadata.log_size - first)
    if len(data) != count * ENTRY_SIZE_BYTES:
        raise _bad_chunk(
            index, f"it has {len(data)} bytes, and {count} entries have {count * ENTRY_SIZE_BYTES}"
        )
    entries = [data[at : at + ENTRY_SIZE_BYTES] for at in range(0, len(data), ENTRY_SIZE_BYTES)]
    edge, tiles = extend(LogEdge(), [leaf_hash(one) for one in entries])
    if edge.root() != metadata.log[place]:
        raise _bad_chunk(
            index,
            f"its entries have the root {edge.root().hex()}, and the metadata names {metadata.log[place].hex()}",
        )
    writes: list[tuple[bytes, bytes | None]] = []
    for tile, hashes in tiles.items():
        level, number = tile[0], int.from_bytes(tile[1:], "big")
        if level < 2:
            shift = place << TILE_HEIGHT_LEVELS if level == 0 else place
            writes.append((layout.LOG + tile_key(level, shift + number), hashes))
    block_first, block_height = first, -1
    for number, data_of in enumerate(entries, first):
        entry = read_entry(data_of)
        if entry.height != block_height:
            if number > first:
                writes.append(_entries_of(block_first, number, first, data))
            block_first, block_height = number, entry.height
        if entry.outcome != Outcome.INVALID:
            location = Location(entry.height, entry.place, number)
            writes.append((layout.TRANSACTIONS + entry.transaction, encode(location)))
    writes.append(_entries_of(block_first, first + count, first, data))
    return writes


def _entries_of(first: int, end: int, chunk_first: int, data: bytes) -> tuple[bytes, bytes]:
    place, stop = (first - chunk_first) * ENTRY_SIZE_BYTES, (end - chunk_first) * ENTRY_SIZE_BYTES
    return layout.height_key(layout.ENTRIES, first), data[place:stop]


def _require_root(what: str, found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise GuildbookError(
            "snapshot.wrong_app_hash",
            f"the {what} that was rebuilt has the root {found.hex()}, and the snapshot's is {wanted.hex()}",
            hint="the disk or the software is faulty: check both, and restore to another folder",
        )


def signed_app_hash(
    metadata: Metadata,
    last: LastBlock | None,
    next_header: bytes,
    next_commit: bytes,
    believes: Callable[[bytes, int], bool],
) -> bytes:
    """The application hash after the snapshot's block, as it was signed by validators whom ``believes`` (hash of the
    set, height) accepts.

    It is in the next header (``next_header`` with ``next_commit``, protobuf bytes, empty where not at hand); or in the
    header of block ``last``, where that block has changed nothing. Raises GuildbookError ``snapshot.wrong_block`` for
    what does not belong together or is not signed, and ``snapshot.unproven`` where nothing states the hash.
    """
    parts, _writes = _checked_last_block(metadata, last)
    if next_header and next_commit:
        height = metadata.height + 1
        validators = metadata.validators_at(height)
        try:
            header = decode_header(next_header)
            verify_signed_header(metadata.network, SignedHeader(header, decode_commit(next_commit)), validators)
        except GuildbookError as error:
            raise _wrong_block(height, error.message) from None
        for holds, what in (
            (header.height == height, f"it is block {header.height}"),
            (header.last_block_id.hash == metadata.block_hash, "it follows another block"),
            (header.last_results_hash == metadata.results_hash, "it states other results"),
            (believes(header.validators_hash, height), "its validators are not trusted"),
        ):
            if not holds:
                raise _wrong_block(height, what)
        return header.app_hash
    if last is not None and metadata.previous_app_hash == metadata.app_hash:
        signers = validator_set_hash(metadata.validators_at(metadata.height))
        if not believes(signers, metadata.height):
            raise _wrong_block(metadata.height, "its validators are not trusted")
        assert parts[0], parts
        return metadata.previous_app_hash
    raise GuildbookError(
        "snapshot.unproven",
        f"no signed header at hand states the application hash after block {metadata.height}",
        hint="give the hash that another member reports for this height, or take the snapshot after the next block",
        height=metadata.height,
    )


def _wrong_block(height: int, what: str) -> GuildbookError:
    return GuildbookError(
        "snapshot.wrong_block",
        f"block {height} does not belong to the snapshot: {what}",
        hint="take snapshot and block from one member, or from another one",
        height=height,
    )


def _checked_last_block(
    metadata: Metadata, last: LastBlock | None
) -> tuple[tuple[int, bytes], list[tuple[bytes, bytes | None]]]:
    """Number and hash of the parts of the block of the snapshot's height, and what the store keeps of it."""
    if last is None:
        return (0, b""), []

    def require(condition: bool, what: str) -> None:
        if not condition:
            raise _wrong_block(metadata.height, what)

    validators = metadata.validators_at(metadata.height)
    try:
        block, commit = decode_block(last.block), decode_commit(last.commit)
        check_block(block)
        header = block.header
        identity = block_id(header, last.block)
        require(header.chain_id == metadata.network, f"it is of network {header.chain_id}")
        require(header.height == metadata.height, f"it is block {header.height}")
        require(header_hash(header) == metadata.block_hash, "its hash is another")
        require(header.time_ns == metadata.time_ns, "its time is another")
        require(header.app_hash == metadata.previous_app_hash, "it states another application hash")
        require(header.validators_hash == validator_set_hash(validators), "its validators are others")
        following = validator_set_hash(metadata.validators_at(metadata.height + 1))
        require(header.next_validators_hash == following, "the validators after it are others")
        verify_commit(metadata.network, validators, metadata.height, identity, commit)
    except GuildbookError as error:
        if error.code == "snapshot.wrong_block":
            raise
        raise _wrong_block(metadata.height, error.message) from None
    return (identity.parts.total, identity.parts.hash), [
        (layout.height_key(layout.BLOCKS, metadata.height), last.block),
        (layout.height_key(layout.COMMITS, metadata.height), last.commit),
    ]
