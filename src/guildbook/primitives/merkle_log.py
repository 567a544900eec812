"""The append-only log: an RFC 6962 Merkle tree over SHA-256, kept in tiles.

*Tree.* A leaf is hashed as SHA-256(00 || data), an inner node as SHA-256(01 || left || right). The tree of n
leaves has the greatest power of two below n leaves on its left side and the rest on its right, so everything
left of the right edge is a perfect tree that never changes again. The tree without leaves has the hash of no
bytes as its root. (RFC 6962, section 2.1; RFC 9162, section 2.1.)

*Edge.* To go on, an appender needs no more than the roots of the perfect trees that the binary digits of n
name, its *peaks*, and the part of each tile that is not yet full. `LogEdge` holds both. It never changes:
`extend` answers with a new edge and the tiles to write, so an append that is not committed is forgotten by
dropping what was returned.

*Tiles.* A tile has up to 256 consecutive hashes of one level; the hashes of level l+1 are the roots of the
full tiles of level l. A full tile is never written again; a tile at the right edge is written whenever it has
grown, at most 8,192 bytes a level. Cut to w hashes, a tile is the partial tile of width w of the C2SP
tlog-tiles layout, so mirrors and witnesses can be served from the store as it is.

*Keys.* A tile is kept under 1 byte of level and 8 bytes of index, big-endian, relative to the log's space.

Sources: RFC 6962; RFC 9162, section 2.1; C2SP tlog-tiles v1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.proof import ProofError

HASH_SIZE_BYTES: Final = 32
TILE_HEIGHT_LEVELS: Final = 8
TILE_WIDTH_HASHES: Final = 1 << TILE_HEIGHT_LEVELS
TILE_SIZE_BYTES_MAX: Final = TILE_WIDTH_HASHES * HASH_SIZE_BYTES
LOG_SIZE_LEAVES_MAX: Final = 2**63 - 1
EMPTY_ROOT: Final = sha256(b"").digest()

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

Read = Callable[[bytes], bytes | None]


# Hashes


def leaf_hash(data: bytes) -> bytes:
    """The hash (32 bytes) of a leaf with the content `data` (any length)."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash (32 bytes) of the node over two hashes of 32 bytes."""
    return sha256(_NODE + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root (32 bytes) of the tree over leaf hashes (32 bytes each) in log order, all in memory."""
    return _fold_peaks(_peaks(leaf_hashes))


def _next_height(hashes: Sequence[bytes]) -> list[bytes]:
    """The nodes over neighbouring pairs of hashes; of an odd number, the last is left out."""
    return [
        sha256(_NODE + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=False)
    ]


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root of the perfect tree over hashes whose number is a power of two."""
    while len(hashes) > 1:
        hashes = _next_height(hashes)
    return hashes[0]


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of the perfect trees that the binary digits of the number of hashes name, widest first."""
    peaks = []
    while hashes:
        if len(hashes) & 1:
            peaks.append(hashes[-1])
        hashes = _next_height(hashes)
    return peaks[::-1]


def _fold_peaks(peaks: Iterable[bytes]) -> bytes:
    """The root over perfect trees, the widest first; without any, the root of the empty tree."""
    folded = None
    for peak in reversed(list(peaks)):
        folded = peak if folded is None else node_hash(peak, folded)
    return EMPTY_ROOT if folded is None else folded


# Verifiers


def _require(condition: bool, code: str, message: str) -> None:
    if not condition:
        raise ProofError(code, message)


def _check_proof_hashes(proof: Sequence[bytes], code: str) -> None:
    for number, node in enumerate(proof):
        _require(
            len(node) == HASH_SIZE_BYTES, code, f"Hash {number} of the proof has {len(node)} bytes, not 32."
        )


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the log of `size` leaves with the root `root` has `leaf_hash` at `index` (from 0).

    `proof` is the hashes (32 bytes each) of the siblings from the leaf to the root, by RFC 9162, section
    2.1.3.2. Raises `ProofError` "evidence.log_inclusion" unless it shows that.
    """
    code = "evidence.log_inclusion"
    _require(
        0 <= index < size <= LOG_SIZE_LEAVES_MAX, code, f"There is no leaf {index} in a log of {size} leaves."
    )
    _require(len(leaf_hash) == HASH_SIZE_BYTES, code, f"The leaf hash has {len(leaf_hash)} bytes, not 32.")
    _check_proof_hashes(proof, code)
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    _require(
        len(proof) == inner + border,
        code,
        f"The proof has {len(proof)} hashes; leaf {index} of {size} needs {inner + border}.",
    )
    computed = leaf_hash
    for height, sibling in enumerate(proof):
        if height >= inner or index >> height & 1:
            computed = node_hash(sibling, computed)
        else:
            computed = node_hash(computed, sibling)
    _require(computed == root, code, f"The proof leads to the root {computed.hex()}, not to {root.hex()}.")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the log of `size1` leaves with `root1` is the beginning of the log of `size2` with `root2`.

    `proof` is the hashes (32 bytes each) of RFC 9162, section 2.1.4.2; for equal sizes it is empty. A log
    without leaves is refused as the older one: any log continues it, so such a proof would say nothing.
    Raises `ProofError` "evidence.log_consistency".
    """
    code = "evidence.log_consistency"
    _require(
        0 < size1 <= size2 <= LOG_SIZE_LEAVES_MAX,
        code,
        f"A log of {size2} leaves cannot be shown to continue one of {size1}.",
    )
    _check_proof_hashes(proof, code)
    if size1 == size2:
        _require(
            not proof, code, f"Between equal sizes the proof is empty; this one has {len(proof)} hashes."
        )
        _require(root1 == root2, code, f"Two roots of one size differ: {root1.hex()} and {root2.hex()}.")
        return
    trailing = (size1 & -size1).bit_length() - 1
    path = list(proof)
    if size1 == 1 << trailing:
        path.insert(0, root1)  # The older tree is perfect, hence a node of the newer one.
    inner = ((size1 - 1) ^ (size2 - 1)).bit_length() - trailing
    border = ((size1 - 1) >> (trailing + inner)).bit_count()
    _require(
        len(path) == 1 + inner + border,
        code,
        f"The proof has {len(proof)} hashes, which is not the number between sizes {size1} and {size2}.",
    )
    older = newer = path[0]
    for height, sibling in enumerate(path[1:]):
        if height >= inner or (size1 - 1) >> (trailing + height) & 1:
            older = node_hash(sibling, older)
            newer = node_hash(sibling, newer)
        else:
            newer = node_hash(newer, sibling)
    _require(older == root1, code, f"The proof leads to the older root {older.hex()}, not to {root1.hex()}.")
    _require(newer == root2, code, f"The proof leads to the newer root {newer.hex()}, not to {root2.hex()}.")


# Tiles


def tile_key(level: int, index: int) -> bytes:
    """The key (9 bytes, relative to the space of the log) of tile `index` (from 0) of `level` (0 to 7)."""
    return level.to_bytes(1, "big") + index.to_bytes(8, "big")


def tile_path(level: int, index: int, width: int = TILE_WIDTH_HASHES) -> str:
    """The path of a tile below the prefix of a log, as C2SP tlog-tiles writes it.

    `width` is 1 to 256; below 256 it names a partial tile. Tile 1234067 of level 0 is
    `tile/0/x001/x234/067`.
    """
    assert 1 <= width <= TILE_WIDTH_HASHES, width
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    partial = "" if width == TILE_WIDTH_HASHES else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes (0 to 256) tile `index` of `level` has in the log of `size` leaves."""
    complete = size >> (TILE_HEIGHT_LEVELS * level)
    return max(0, min(TILE_WIDTH_HASHES, complete - index * TILE_WIDTH_HASHES))


def read_tile(read: Read, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes (1 to 256, 32 bytes each, joined) of a tile, from its space of the store.

    Raises `GuildbookError` "store.corrupt" if the store has fewer.
    """
    stored = read(tile_key(level, index)) or b""
    if len(stored) < width * HASH_SIZE_BYTES:
        raise GuildbookError(
            "store.corrupt",
            f"Tile {index} of level {level} of the log has {len(stored)} bytes; {width} hashes are needed.",
            level=level,
            index=index,
            width=width,
        )
    return stored[: width * HASH_SIZE_BYTES]


def _split(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_SIZE_BYTES] for at in range(0, len(tile), HASH_SIZE_BYTES)]


# Appending


@dataclasses.dataclass(frozen=True, slots=True)
class LogEdge:
    """The right edge of a log: all that is needed to append and to tell the root.

    `size` is the number of leaves (0 to 2**63 - 1). `tiles` has the partial tile of each level, from level 0
    up (0 to 255 hashes of 32 bytes, joined). `peaks` has, by height from 0 up, the root of the perfect tree
    of 2**height leaves where the binary digits of `size` have a one, and None where they have a zero.
    """

    size: int = 0
    tiles: tuple[bytes, ...] = ()
    peaks: tuple[bytes | None, ...] = ()

    def root(self) -> bytes:
        """The root (32 bytes) of the log; of the empty log, the SHA-256 of no bytes."""
        return _fold_peaks(peak for peak in reversed(self.peaks) if peak is not None)


def load_edge(read: Read, size: int) -> LogEdge:
    """The edge of the log of `size` leaves, from the partial tiles at its right edge (one read a level).

    `read` takes keys relative to the space of the log. Raises `GuildbookError` "store.corrupt" if a tile is
    missing or too short.
    """
    tiles: list[bytes] = []
    peaks: list[bytes | None] = []
    for level in range(-(-size.bit_length() // TILE_HEIGHT_LEVELS)):
        complete = size >> (TILE_HEIGHT_LEVELS * level)
        width = complete % TILE_WIDTH_HASHES
        tile = read_tile(read, level, complete // TILE_WIDTH_HASHES, width) if width else b""
        found = _peaks(_split(tile))
        tiles.append(tile)
        peaks.extend(found.pop() if width >> height & 1 else None for height in range(TILE_HEIGHT_LEVELS))
    return LogEdge(size, tuple(tiles), tuple(peaks[: size.bit_length()]))


def extend(edge: LogEdge, leaf_hashes: Sequence[bytes]) -> tuple[LogEdge, dict[bytes, bytes]]:
    """Append leaf hashes (32 bytes each) behind `edge`: the new edge, and the tiles to write by their keys.

    The keys are relative to the space of the log; of the tiles, those at the right edge replace the ones that
    were written before. `edge` is as it was. About one hash a leaf.
    """
    size = edge.size + len(leaf_hashes)
    assert size <= LOG_SIZE_LEAVES_MAX, f"a log of {size} leaves"
    tiles = list(edge.tiles)
    peaks = list(edge.peaks)
    writes: dict[bytes, bytes] = {}
    nodes = list(
        leaf_hashes
    )  # The new nodes of one height; the first of them is node `first` of that height.
    first = edge.size
    height = 0
    while nodes:
        if height % TILE_HEIGHT_LEVELS == 0:
            _append_to_tiles(tiles, height // TILE_HEIGHT_LEVELS, first, nodes, writes)
        if height == len(peaks):
            peaks.append(None)
        peak = peaks[height]
        if peak is not None:  # Then `first` is odd, and the peak is the left neighbour.
            nodes.insert(0, peak)
        peaks[height] = nodes[-1] if len(nodes) & 1 else None
        nodes = _next_height(nodes)
        first >>= 1
        height += 1
    return LogEdge(size, tuple(tiles), tuple(peaks)), writes


def _append_to_tiles(
    tiles: list[bytes], level: int, first: int, hashes: Sequence[bytes], writes: dict[bytes, bytes]
) -> None:
    """Put `hashes`, of which the first is number `first` of `level`, behind the partial tile of the level."""
    if level == len(tiles):
        tiles.append(b"")
    content = tiles[level] + b"".join(hashes)
    index = first // TILE_WIDTH_HASHES
    for at in range(0, len(content), TILE_SIZE_BYTES_MAX):
        writes[tile_key(level, index)] = content[at : at + TILE_SIZE_BYTES_MAX]
        index += 1
    tiles[level] = content[len(content) - len(content) % TILE_SIZE_BYTES_MAX :]


# Reading


class LogReader:
    """Roots, leaf hashes and proofs of a log, read from its tiles.

    `read` takes keys relative to the space of the log, and may belong to a snapshot; `size` is the number of
    leaves there. Nothing is kept between calls, so readers are cheap and one may serve several threads. A
    proof reads at most one tile a level for each of its hashes.
    """

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.size = size

    def leaf_hash_at(self, index: int) -> bytes:
        """The leaf hash (32 bytes) at `index` (0 to size - 1)."""
        assert 0 <= index < self.size, (index, self.size)
        tile, place = divmod(index, TILE_WIDTH_HASHES)
        return read_tile(self._read, 0, tile, place + 1)[-HASH_SIZE_BYTES:]

    def root(self, size: int | None = None) -> bytes:
        """The root (32 bytes) of the log when it had `size` leaves (default: all)."""
        return self._subtree(0, self._size(size))

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof (32 bytes a hash, at most 63) that leaf `index` is in the log of `size` leaves
        (default: all). RFC 9162, section 2.1.3.1.
        """
        end = self._size(size)
        assert 0 <= index < end, (index, end)
        start = 0
        proof = []
        while end - start > 1:
            middle = _split_point(start, end)
            if index < middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """The proof (32 bytes a hash, at most 64) that the log of `old_size` leaves (1 to size) is the
        beginning of the log of `size` (default: all). RFC 9162, section 2.1.4.1.
        """
        end = self._size(size)
        assert 0 < old_size <= end, (old_size, end)
        start = 0
        proof = []
        while old_size != end:
            middle = _split_point(start, end)
            if old_size <= middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        if start:  # Otherwise the older root itself stands here, and its holder knows it.
            proof.append(self._subtree(start, end))
        return proof[::-1]

    def _size(self, size: int | None) -> int:
        assert size is None or 0 <= size <= self.size, (size, self.size)
        return self.size if size is None else size

    def _subtree(self, start: int, end: int) -> bytes:
        """The root over the leaves [start, end), a node of the tree of some size: a row of perfect trees."""
        peaks = []
        while start < end:
            height = (end - start).bit_length() - 1
            peaks.append(self._perfect(start >> height, height))
            start += 1 << height
        return _fold_peaks(peaks)

    def _perfect(self, index: int, height: int) -> bytes:
        """Node `index` of `height`, the root of a perfect tree of 2**height leaves."""
        level, above = divmod(height, TILE_HEIGHT_LEVELS)
        tile, place = divmod(index << above, TILE_WIDTH_HASHES)
        content = read_tile(self._read, level, tile, place + (1 << above))
        return _perfect_root(_split(content[place * HASH_SIZE_BYTES :]))


def _split_point(start: int, end: int) -> int:
    """Where the tree over the leaves [start, end) divides: behind the greatest power of two below it."""
    return start + (1 << ((end - start - 1).bit_length() - 1))
