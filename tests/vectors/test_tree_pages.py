"""The vectors on the pages of the log and of the state tree are what the code does."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from guildbook.primitives import canonical, merkle_log, state_tree
from guildbook.primitives.checkpoint import (
    Checkpoint,
    NoteKey,
    parse_note_key,
    sign_checkpoint,
    verify_checkpoint,
)
from guildbook.primitives.keys import SigningKey

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"
KEY = SigningKey.from_seed(bytes(range(32)))


def behind_mark(page: str, mark: str) -> str:
    return (PAGES / page).read_text("utf-8").split(f"<!-- vectors: {mark} -->\n")[1].strip()


def rows(page: str, table: str) -> list[list[str]]:
    """The cells of the table behind a mark, without its two head lines and without backquotes."""
    lines = behind_mark(page, table).split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    assert cells
    return [["" if cell in ("empty", "none") else cell for cell in row] for row in cells]


def hashes(cell: str) -> list[bytes]:
    return [bytes.fromhex(digits) for digits in cell.split()]


# The log

APPENDED = rows("log.md", "leaves")
LEAVES = [bytes.fromhex(leaf) for _, _, leaf, _ in APPENDED]
ROOTS = {int(index) + 1: bytes.fromhex(root) for index, _, _, root in APPENDED}


def reader() -> merkle_log.LogReader:
    edge, tiles = merkle_log.extend(merkle_log.LogEdge(), LEAVES)
    return merkle_log.LogReader(tiles.get, edge.size)


def test_leaf_hashes_and_roots_are_those_of_the_page():
    edge = merkle_log.LogEdge()
    for index, data, leaf, root in APPENDED:
        assert merkle_log.leaf_hash(bytes.fromhex(data)).hex() == leaf
        assert edge.size == int(index)
        edge, _ = merkle_log.extend(edge, [bytes.fromhex(leaf)])
        assert edge.root().hex() == root


@pytest.mark.parametrize(("index", "size", "proof"), rows("log.md", "inclusion"))
def test_an_inclusion_proof_is_that_of_the_page(index, size, proof):
    assert reader().inclusion_proof(int(index), int(size)) == hashes(proof)
    merkle_log.verify_inclusion(LEAVES[int(index)], int(index), int(size), hashes(proof), ROOTS[int(size)])


@pytest.mark.parametrize(("older", "size", "proof"), rows("log.md", "consistency"))
def test_a_consistency_proof_is_that_of_the_page(older, size, proof):
    assert reader().consistency_proof(int(older), int(size)) == hashes(proof)
    merkle_log.verify_consistency(int(older), ROOTS[int(older)], int(size), ROOTS[int(size)], hashes(proof))


@pytest.mark.parametrize(("size", "root", "partial"), rows("log.md", "tiles"))
def test_a_long_log_has_the_root_and_the_partial_tiles_of_the_page(size, root, partial):
    leaves = [merkle_log.leaf_hash(index.to_bytes(3, "big")) for index in range(int(size))]
    edge, _ = merkle_log.extend(merkle_log.LogEdge(), leaves)
    assert edge.root().hex() == root
    assert [len(tile) // merkle_log.HASH_SIZE_BYTES for tile in edge.tiles] == [
        int(width) for width in partial.split(",")
    ]


def test_the_checkpoint_is_signed_as_on_the_page():
    key_text = behind_mark("log.md", "key").splitlines()[0].strip()
    found = re.match(r"```text\n(.*?)```", behind_mark("log.md", "note"), re.DOTALL)
    assert found is not None
    note = found[1].encode()
    checkpoint = Checkpoint("ledger.example/receipts", len(LEAVES), ROOTS[len(LEAVES)])
    assert NoteKey(checkpoint.origin, KEY.public_key).text() == key_text
    assert sign_checkpoint(checkpoint, KEY) == note
    assert verify_checkpoint(note, parse_note_key(key_text)) == checkpoint


# The state tree

PUT_IN = [hashes(" ".join(cells)) for _, *cells in rows("state-tree.md", "roots")]
CONTENT = {key: digest for key, digest, _ in PUT_IN}
STORE = {bytes.fromhex(key): bytes.fromhex(value) for key, value in rows("state-tree.md", "store")}


def test_the_roots_of_a_growing_tree_are_those_of_the_page():
    store: dict[bytes, bytes | None] = {}
    tree = state_tree.StateTree(store.get)
    for key, digest, root in PUT_IN:
        update = tree.update({key: digest})
        store.update(update.writes)
        tree.commit(update)
        assert tree.root() == root
    assert store == STORE


def test_the_hash_of_a_branch_is_that_of_its_key_and_the_beginning_of_its_value():
    top = STORE[state_tree.TOP_KEY]
    value = STORE[b"\x01\x00\x00"]
    end = 2 + 32 * int.from_bytes(value[:2], "big").bit_count()
    assert top == b"\x01" + sha256(b"\x01\x00\x00" + value[:end]).digest()


@pytest.mark.parametrize(("start", "end", "entries", "proof"), rows("state-tree.md", "proofs"))
def test_a_proof_is_that_of_the_page(start, end, entries, proof):
    source = state_tree.TreeReader(STORE.get, CONTENT.__getitem__)
    root, key = source.root(), bytes.fromhex(start)
    behind = key + b"\x00" if end == "key" else bytes.fromhex(end) if end else None
    pairs = [(entry, CONTENT[entry]) for entry in hashes(entries)]
    shown = canonical.decode(bytes.fromhex(proof), state_tree.TreeProof)
    assert source.prove_range(key, behind) == shown
    state_tree.verify_range(root, key, behind, pairs, shown)
    if end == "key" and pairs:
        state_tree.verify_presence(root, key, CONTENT[key], shown)
    elif end == "key":
        state_tree.verify_absence(root, key, shown)
