"""The log against official vectors: RFC 6962 proofs, good and bad, and a C2SP log in tiles."""

import base64
import json

import pytest

from guildbook.primitives.merkle_log import (
    EMPTY_ROOT,
    HASH_SIZE_BYTES,
    LogEdge,
    LogReader,
    extend,
    leaf_hash,
    root,
    tile_key,
    tile_path,
    verify_consistency,
    verify_inclusion,
)
from guildbook.primitives.proof import ProofError
from shared_data import shared

SIZES = range(1, 16)


def vectors(kind):
    paths = sorted(shared(f"crypto/merkle-rfc6962/{kind}").rglob("*.json"))
    assert paths
    return [(path.relative_to(path.parents[2]), json.loads(path.read_text())) for path in paths]


def hashes(texts):
    return [base64.b64decode(text) for text in texts or []]


def refusal(verify, *arguments):
    """The code with which a verifier refuses, or None."""
    try:
        verify(*arguments)
    except ProofError as error:
        return error.code
    return None


def test_inclusion_proofs_are_judged_as_the_vectors_say():
    wrong = []
    for name, vector in vectors("inclusion"):
        leaf, expected_root = hashes([vector["leafHash"], vector["root"]])
        code = refusal(
            verify_inclusion,
            leaf,
            vector["leafIdx"],
            vector["treeSize"],
            hashes(vector["proof"]),
            expected_root,
        )
        if code != ("evidence.log_inclusion" if vector["wantErr"] else None):
            wrong.append(name)
    assert not wrong


def test_consistency_proofs_are_judged_as_the_vectors_say():
    wrong = []
    for name, vector in vectors("consistency"):
        root1, root2 = hashes([vector["root1"], vector["root2"]])
        code = refusal(
            verify_consistency,
            vector["size1"],
            root1,
            vector["size2"],
            root2,
            hashes(vector["proof"]),
        )
        if code != ("evidence.log_consistency" if vector["wantErr"] else None):
            wrong.append(name)
    assert not wrong


def entries():
    """The 15 entries of the tile log, from its widest bundle: each behind its length in two bytes."""
    data = (shared("crypto/merkle-tile-log") / "tile/entries/000.p/15").read_bytes()
    found = []
    while data:
        length = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    assert len(found) == 15
    return found


def checkpoint_root(size):
    text = (shared("crypto/merkle-tile-log") / f"checkpoint.{size}").read_text()
    _, size_line, root_line = text.splitlines()[:3]
    assert int(size_line) == size
    return base64.b64decode(root_line)


def test_the_roots_of_a_growing_tile_log_are_those_of_its_checkpoints():
    leaves = [leaf_hash(entry) for entry in entries()]
    edge = LogEdge()
    assert edge.root() == EMPTY_ROOT == checkpoint_root(0)
    for size in SIZES:
        edge, _ = extend(edge, leaves[size - 1 : size])
        assert edge.root() == root(leaves[:size]) == checkpoint_root(size)


def test_partial_tiles_are_the_files_of_the_tile_log():
    edge = LogEdge()
    for size, entry in zip(SIZES, entries(), strict=True):
        edge, writes = extend(edge, [leaf_hash(entry)])
        published = (shared("crypto/merkle-tile-log") / tile_path(0, 0, size)).read_bytes()
        assert writes == {tile_key(0, 0): published}


def test_older_roots_are_read_from_the_newest_tile():
    tile = (shared("crypto/merkle-tile-log") / tile_path(0, 0, 15)).read_bytes()
    reader = LogReader({tile_key(0, 0): tile}.get, 15)
    assert len(tile) == 15 * HASH_SIZE_BYTES
    for size in SIZES:
        assert reader.root(size) == checkpoint_root(size)


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (0, 273, 112, "tile/0/273.p/112"),
        (1, 1, 17, "tile/1/001.p/17"),
        (2, 0, 1, "tile/2/000.p/1"),
    ],
)
def test_tile_paths_are_written_as_the_tiles_page_says(level, index, width, path):
    assert tile_path(level, index, width) == path
