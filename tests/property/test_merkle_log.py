"""Laws of the log: any portions make one tree, and a proof shows what it says and no more."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.merkle_log import (
    EMPTY_ROOT,
    TILE_SIZE_BYTES_MAX,
    LogEdge,
    LogReader,
    extend,
    leaf_hash,
    load_edge,
    node_hash,
    root,
    tile_key,
    tile_width,
    verify_consistency,
    verify_inclusion,
)
from guildbook.primitives.proof import ProofError

LEAVES = [leaf_hash(number.to_bytes(3, "big")) for number in range(70_000)]
SIZES = st.one_of(
    st.integers(1, 40),
    st.integers(200, 1100),
    st.sampled_from([255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000]),
)


def tree_of_the_definition(leaves):
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return node_hash(tree_of_the_definition(leaves[:left]), tree_of_the_definition(leaves[left:]))


@cache
def stored(size):
    """The edge and the tiles of the first `size` leaves; not to be changed."""
    return extend(LogEdge(), LEAVES[:size])


@given(st.integers(0, 600))
def test_the_root_is_that_of_the_definition(size):
    assert root(LEAVES[:size]) == tree_of_the_definition(LEAVES[:size])


@given(st.lists(st.integers(0, 700), max_size=8))
def test_appending_in_portions_gives_the_tiles_and_the_root_of_appending_at_once(portions):
    edge, tiles = LogEdge(), {}
    for portion in portions:
        edge, writes = extend(edge, LEAVES[edge.size : edge.size + portion])
        tiles.update(writes)
    size = sum(portions)
    assert (edge, tiles) == extend(LogEdge(), LEAVES[:size])
    assert edge.root() == root(LEAVES[:size]) == LogReader(tiles.get, size).root()


@given(SIZES, st.integers(0, 3))
def test_an_edge_that_is_loaded_goes_on_as_the_one_that_was_kept(size, more):
    edge, tiles = stored(size)
    reads = []

    def read(key):
        reads.append(key)
        return tiles.get(key)

    loaded = load_edge(read, size)
    assert loaded == edge
    assert len(reads) <= len(edge.tiles)
    assert extend(loaded, LEAVES[:more]) == extend(edge, LEAVES[:more])


@given(SIZES, SIZES)
def test_an_append_that_is_dropped_leaves_no_trace(size, more):
    edge, tiles = stored(size)
    before = dict(tiles)
    extend(edge, LEAVES[:more])
    assert tiles == before
    assert edge == load_edge(tiles.get, size)


@given(SIZES, st.integers(1, 300))
def test_an_append_writes_full_tiles_and_one_partial_tile_a_level(size, more):
    edge, _ = stored(size)
    _, writes = extend(edge, LEAVES[:more])
    for key, tile in writes.items():
        level, index = key[0], int.from_bytes(key[1:], "big")
        assert len(tile) == 32 * tile_width(level, index, size + more) <= TILE_SIZE_BYTES_MAX
        assert tile_width(level, index, size) < tile_width(level, index, size + more)


@given(SIZES, st.data())
def test_every_inclusion_proof_holds(size, data):
    _, tiles = stored(70_000)
    reader = LogReader(tiles.get, 70_000)
    index = data.draw(st.integers(0, size - 1))
    proof = reader.inclusion_proof(index, size)
    assert reader.leaf_hash_at(index) == LEAVES[index]
    verify_inclusion(LEAVES[index], index, size, proof, reader.root(size))


@given(SIZES, st.data())
def test_every_consistency_proof_holds(size, data):
    _, tiles = stored(70_000)
    reader = LogReader(tiles.get, 70_000)
    old_size = data.draw(st.integers(1, size))
    proof = reader.consistency_proof(old_size, size)
    verify_consistency(old_size, reader.root(old_size), size, reader.root(size), proof)


@given(st.integers(1, 600), st.data())
def test_an_inclusion_proof_shows_no_other_leaf_place_or_log(size, data):
    _, tiles = stored(size)
    reader = LogReader(tiles.get, size)
    index = data.draw(st.integers(0, size - 1))
    proof, good = reader.inclusion_proof(index), reader.root()
    refused = [
        (LEAVES[index + 1], index, size, proof, good),
        (LEAVES[index], index, size, [*proof, proof[-1] if proof else good], good),
        (LEAVES[index], -1, size, proof, good),
        (LEAVES[index], index, size, proof, flip(good, data)),
        (LEAVES[index], size, size, proof, good),
        (LEAVES[index], index, 0, proof, good),
        (LEAVES[index], 0, 0, [], EMPTY_ROOT),
    ]
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        refused.append((LEAVES[index], other, size, proof, good))
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        refused.append((LEAVES[index], index, size, changed(proof, at, data), good))
        refused.append((LEAVES[index], index, size, proof[:at] + proof[at + 1 :], good))
    for arguments in refused:
        with pytest.raises(ProofError) as refusal:
            verify_inclusion(*arguments)
        assert refusal.value.code == "evidence.log_inclusion"


@given(st.integers(2, 600), st.data())
def test_a_consistency_proof_shows_no_other_past_or_log(size, data):
    _, tiles = stored(size)
    reader = LogReader(tiles.get, size)
    old_size = data.draw(st.integers(1, size - 1))
    proof, old, new = reader.consistency_proof(old_size), reader.root(old_size), reader.root()
    at = data.draw(st.integers(0, len(proof) - 1))
    refused = [
        (old_size, flip(old, data), size, new, proof),
        (old_size, old, size, flip(new, data), proof),
        (old_size, old, size, new, changed(proof, at, data)),
        (old_size, old, size, new, proof[:at] + proof[at + 1 :]),
        (old_size, old, size, new, [*proof, new]),
        (size, new, old_size, old, proof),
        (0, EMPTY_ROOT, size, new, []),
        (0, EMPTY_ROOT, 0, EMPTY_ROOT, []),
        (size, new, size, new, proof),
        (size, old, size, new, []),
    ]
    for arguments in refused:
        with pytest.raises(ProofError) as refusal:
            verify_consistency(*arguments)
        assert refusal.value.code == "evidence.log_consistency"


def flip(value, data):
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(value))


def changed(proof, at, data):
    return [*proof[:at], flip(proof[at], data), *proof[at + 1 :]]


def test_a_missing_or_short_tile_is_reported_as_a_corrupt_store():
    _, tiles = stored(300)
    tile = tiles[tile_key(0, 1)]
    for left in ([], [tile[:-1]]):
        with pytest.raises(GuildbookError) as refusal:
            load_edge(dict.fromkeys([tile_key(0, 1)], *left).get, 300)
        assert refusal.value.code == "store.corrupt"
        assert refusal.value.fields["index"] == 1
