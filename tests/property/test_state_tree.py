"""Laws of the state tree: its root is that of the content, and a proof shows what it says and no more."""

from functools import partial
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guildbook.primitives import canonical
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.proof import ProofError
from guildbook.primitives.state_tree import (
    EMPTY_ROOT,
    KEY_SIZE_BYTES_MAX,
    TOP_KEY,
    OutsideBranch,
    OutsideLeaf,
    StateTree,
    TreeProof,
    TreeReader,
    leaf_hash,
    verify_absence,
    verify_presence,
    verify_range,
)

# Keys of one length are prefix-free. Few different bytes make them share nibbles, whole bytes and nothing.
KEYS = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xF0, 0xFF]), min_size=3, max_size=3).map(bytes)
DIGESTS = st.integers(0, 9).map(lambda number: sha256(bytes([number])).digest())
CONTENTS = st.dictionaries(KEYS, DIGESTS, max_size=40)
CHANGES = st.dictionaries(KEYS, st.none() | DIGESTS, max_size=12)


def root_of_the_definition(content, depth=0):
    """The root as the specification defines it, over {nibbles in hexadecimal: (key, digest)}."""
    if not content:
        return sha256(b"").digest()
    if len(content) == 1:
        ((key, digest),) = content.values()
        return sha256(b"\x00" + len(key).to_bytes(2, "big") + key + digest).digest()
    while len({nibbles[depth] for nibbles in content}) == 1:
        depth += 1
    path = next(iter(content))[:depth]
    bitmap, hashes = 0, b""
    for value, nibble in enumerate("0123456789abcdef"):
        below = {nibbles: entry for nibbles, entry in content.items() if nibbles[depth] == nibble}
        if below:
            bitmap += 2**value
            hashes += root_of_the_definition(below, depth + 1)
    packed = bytes.fromhex(path + "0" * (depth % 2))
    return sha256(b"\x01" + depth.to_bytes(2, "big") + packed + bitmap.to_bytes(2, "big") + hashes).digest()


def reference_root(content):
    return root_of_the_definition({key.hex(): (key, digest) for key, digest in content.items()})


Store = dict[bytes, bytes]


def put(store, writes):
    for key, value in writes.items():
        if value is None:
            del store[key]
        else:
            store[key] = value


def applied(content, changes):
    after = content | changes
    return {key: digest for key, digest in after.items() if digest is not None}


def stored(content):
    """A store that has the tree of `content`, built at once."""
    store: Store = {}
    put(store, StateTree(store.get).update(content).writes)
    return store


def reader(content):
    return TreeReader(stored(content).get, content.__getitem__)


class Histories(RuleBasedStateMachine):
    """Batches of changes, dropped batches and restarts, in any order, with a cache that is far too small."""

    def __init__(self):
        super().__init__()
        self.store: Store = {}
        self.content = {}
        self.tree = StateTree(self.store.get, cache_nodes_max=4)

    @rule(changes=CHANGES)
    def commit(self, changes):
        update = self.tree.update(changes)
        put(self.store, update.writes)
        self.tree.commit(update)
        self.content = applied(self.content, changes)
        assert update.root == self.tree.root()

    @rule(changes=CHANGES)
    def drop(self, changes):
        before = dict(self.store), self.tree.root()
        assert self.tree.update(changes).root == reference_root(applied(self.content, changes))
        assert (self.store, self.tree.root()) == before

    @rule()
    def restart(self):
        self.tree = StateTree(self.store.get, cache_nodes_max=4)

    @precondition(lambda self: self.content)
    @rule(data=st.data())
    def change_what_is_there(self, data):
        keys = st.sampled_from(sorted(self.content))
        self.commit(data.draw(st.dictionaries(keys, st.none() | DIGESTS, max_size=12)))

    @invariant()
    def the_tree_is_that_of_the_content(self):
        assert self.tree.root() == reference_root(self.content)
        assert self.store == stored(self.content)


TestHistories = Histories.TestCase
TestHistories.settings = settings(stateful_step_count=20)


@given(CONTENTS, st.randoms(use_true_random=False))
def test_the_root_and_the_store_do_not_depend_on_the_order_of_changes(content, random):
    keys = sorted(content)
    random.shuffle(keys)
    store: Store = {}
    tree = StateTree(store.get)
    for key in keys:
        update = tree.update({key: content[key]})
        put(store, update.writes)
        tree.commit(update)
    assert tree.root() == reference_root(content)
    assert store == stored(content)


@given(CONTENTS)
def test_setting_what_is_there_writes_nothing(content):
    tree = StateTree(stored(content).get)
    assert tree.update(content).writes == {}
    assert tree.update(dict.fromkeys([b"\x77\x77\x77"])).writes == {}


def test_the_empty_tree_and_the_tree_of_one_key_have_the_roots_of_the_definition():
    digest = sha256(b"row").digest()
    store: Store = {}
    tree = StateTree(store.get)
    assert tree.root() == EMPTY_ROOT == sha256(b"").digest()
    update = tree.update({b"key": digest})
    assert update.root == leaf_hash(b"key", digest) == sha256(b"\x00\x00\x03key" + digest).digest()
    assert list(update.writes) == [TOP_KEY]


def test_an_update_of_another_state_cannot_be_committed():
    digest = sha256(b"row").digest()
    store: Store = {}
    tree = StateTree(store.get)
    first, second = tree.update({b"a": digest}), tree.update({b"b": digest})
    tree.commit(first)
    with pytest.raises(AssertionError, match="another state"):
        tree.commit(second)


def test_a_missing_branch_is_reported_as_a_corrupt_store():
    content = {bytes([number]): sha256(bytes([number])).digest() for number in range(40)}
    store = stored(content)
    top = {TOP_KEY: store[TOP_KEY]}
    for use in (
        lambda: StateTree(top.get).update({b"\x00": None}),
        lambda: TreeReader(top.get, content.__getitem__).prove(b"\x00"),
    ):
        with pytest.raises(GuildbookError) as refusal:
            use()
        assert refusal.value.code == "store.corrupt"


@pytest.mark.parametrize(
    "changes",
    [
        {b"key": b"short"},
        {b"": sha256(b"").digest()},
        {b"k" * (KEY_SIZE_BYTES_MAX + 1): sha256(b"").digest()},
        {b"key": sha256(b"").digest(), b"key and more": sha256(b"").digest()},
        {b"taken": sha256(b"").digest()},
        {b"taken already and more": sha256(b"").digest()},
    ],
    ids=["short digest", "empty key", "long key", "prefix in the batch", "prefix of a key", "behind a key"],
)
def test_keys_and_digests_that_the_tree_cannot_have_are_our_own_mistake(changes):
    tree = StateTree(
        stored({b"taken already": sha256(b"").digest(), b"taken twice": sha256(b"").digest()}).get
    )
    with pytest.raises(AssertionError):
        tree.update(changes)


# Keys chosen by an adversary


def test_a_path_as_deep_as_a_key_has_nibbles_stays_within_limits():
    """Keys of 512 bytes that leave the way of zeros at each of its nibbles: 1,024 branches on one way."""
    zero = bytes(KEY_SIZE_BYTES_MAX)
    keys = [zero[:at] + b"\x01" + zero[at + 1 :] for at in range(KEY_SIZE_BYTES_MAX)]
    keys += [zero[:at] + b"\x10" + zero[at + 1 :] for at in range(KEY_SIZE_BYTES_MAX)]
    content = {key: sha256(key).digest() for key in [*keys, zero]}
    store = stored(content)
    assert len(store) == 2 * KEY_SIZE_BYTES_MAX + 1
    tree = StateTree(store.get)
    update = tree.update({zero: sha256(b"changed").digest()})
    assert len(update.writes) == 2 * KEY_SIZE_BYTES_MAX + 1
    put(store, update.writes)
    content[zero] = sha256(b"changed").digest()
    source = TreeReader(store.get, content.__getitem__)
    verify_presence(update.root, zero, content[zero], source.prove(zero))
    verify_absence(update.root, zero[1:] + b"\x02", source.prove(zero[1:] + b"\x02"))
    tree.commit(update)
    emptied = tree.update(dict.fromkeys(content))
    put(store, emptied.writes)
    assert (emptied.root, store) == (EMPTY_ROOT, {})


# Proofs


@given(CONTENTS, KEYS)
def test_every_key_is_proven_present_or_absent(content, key):
    root, proof = reference_root(content), reader(content).prove(key)
    if key in content:
        verify_presence(root, key, content[key], proof)
        refused("evidence.absence_proof", verify_absence, root, key, proof)
    else:
        verify_absence(root, key, proof)
        refused("evidence.row_proof", verify_presence, root, key, sha256(b"").digest(), proof)


@given(CONTENTS, st.sampled_from([1, 2, 4, 5]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_keys_of_other_lengths_are_proven_absent(content, key):
    if not any(other.startswith(key) or key.startswith(other) for other in content):
        verify_absence(reference_root(content), key, reader(content).prove(key))


BOUNDS = st.one_of(
    KEYS, KEYS.map(lambda key: key[:1]), KEYS.map(lambda key: key[:2]), KEYS.map(lambda key: key + b"\0")
)
RANGES = st.tuples(BOUNDS | st.just(b""), BOUNDS | st.none()).filter(
    lambda pair: pair[1] is None or pair[0] < pair[1]
)


def within(content, start, end):
    return [(key, content[key]) for key in sorted(content) if start <= key and (end is None or key < end)]


@given(CONTENTS, RANGES)
def test_every_range_is_proven_complete(content, bounds):
    proof = reader(content).prove_range(*bounds)
    start, end = bounds
    verify_range(reference_root(content), start, end, within(content, start, end), proof)


@given(CONTENTS, RANGES, st.data())
def test_no_entry_can_be_hidden_invented_or_changed(content, bounds, data):
    proof, entries = reader(content).prove_range(*bounds), within(content, *bounds)
    check = partial(refused, "evidence.range_proof", verify_range, reference_root(content), *bounds)
    if entries:
        at = data.draw(st.integers(0, len(entries) - 1))
        key, digest = entries[at]
        check(entries[:at] + entries[at + 1 :], proof)
        check([*entries[:at], (key, flip(digest, data)), *entries[at + 1 :]], proof)
        check([*entries, entries[at]], proof)
        check([*entries[:at], (key, digest[1:]), *entries[at + 1 :]], proof)
    if len(entries) > 1:
        check(entries[::-1], proof)
    key = data.draw(KEYS)
    if key not in content:
        check(sorted([*entries, (key, sha256(b"").digest())]), proof)


@given(CONTENTS, RANGES, CONTENTS)
def test_a_proof_shows_nothing_about_another_tree(content, bounds, other):
    if content != other:
        proof = reader(content).prove_range(*bounds)
        entries = within(content, *bounds)
        refused("evidence.range_proof", verify_range, reference_root(other), *bounds, entries, proof)


@given(CONTENTS, RANGES, st.data())
def test_a_proof_of_a_narrower_range_does_not_pass_for_the_wider_one(content, bounds, data):
    """Whatever is in the wider range and not in the narrower one is outside there, and must not be hidden
    here.
    """
    start, end = bounds
    key = data.draw(KEYS)
    if key in content and start <= key and (end is None or key < end) and key != start:
        proof = reader(content).prove_range(start, key)
        entries = within(content, start, key)
        refused("evidence.range_proof", verify_range, reference_root(content), *bounds, entries, proof)


@given(CONTENTS, KEYS, st.data())
def test_every_changed_byte_of_a_proof_is_refused(content, key, data):
    """Whatever byte is changed, the encoding or the verifier refuses it, for presence and absence alike."""
    root, proof = reference_root(content), reader(content).prove(key)
    encoded = canonical.encode(proof)
    assert canonical.decode(encoded, TreeProof) == proof
    try:
        changed = canonical.decode(flip(encoded, data), TreeProof)
    except GuildbookError:
        return
    if key in content:
        refused("evidence.row_proof", verify_presence, root, key, content[key], changed)
    else:
        refused("evidence.absence_proof", verify_absence, root, key, changed)


@given(CONTENTS, KEYS, st.data())
def test_a_proof_is_of_one_key_and_one_digest(content, key, data):
    root, proof = reference_root(content), reader(content).prove(key)
    other = data.draw(KEYS)
    if key in content:
        refused("evidence.row_proof", verify_presence, root, key, flip(content[key], data), proof)
        if other != key:
            refused("evidence.row_proof", verify_presence, root, other, content[key], proof)
    elif other in content:
        refused("evidence.absence_proof", verify_absence, root, other, proof)


@given(CONTENTS, RANGES, st.data())
def test_no_part_of_a_proof_can_be_left_out_repeated_or_moved(content, bounds, data):
    proof, entries = reader(content).prove_range(*bounds), within(content, *bounds)
    check = partial(refused, "evidence.range_proof", verify_range, reference_root(content), *bounds, entries)
    for name in ("branches", "leaves"):
        parts = getattr(proof, name)
        if parts:
            at = data.draw(st.integers(0, len(parts) - 1))
            check(msgspec.structs.replace(proof, **{name: parts[:at] + parts[at + 1 :]}))
            check(msgspec.structs.replace(proof, **{name: (*parts, parts[at])}))
        if len(parts) > 1:
            check(msgspec.structs.replace(proof, **{name: parts[::-1]}))


HASH = sha256(b"").digest()


@pytest.mark.parametrize(
    "proof",
    [
        TreeProof((OutsideBranch(b"\x01\x00\x00", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x00", 0, b""),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x00", 1 << 16, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x00", 3, HASH),), ()),
        TreeProof((OutsideBranch(b"\x00", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x01\x01", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x01\x00\x00", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x03\x00", 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\xff\xff" + bytes(600), 1, HASH),), ()),
        TreeProof((OutsideBranch(b"\x01\x00\x00", 1 << 7, HASH),), ()),
        TreeProof((), (OutsideLeaf(b"\x00", HASH), OutsideLeaf(b"\x01\x00\x00", HASH))),
        TreeProof((), (OutsideLeaf(b"", HASH),)),
        TreeProof((), (OutsideLeaf(b"\x00", HASH[1:]),)),
        TreeProof((), (OutsideLeaf(bytes(KEY_SIZE_BYTES_MAX + 1), HASH),)),
        TreeProof((), (OutsideLeaf(b"\x77", HASH),)),
    ],
    ids=[
        "one subtree",
        "no children",
        "seventeenth child",
        "missing hash",
        "half a length",
        "no path",
        "unclean padding",
        "path too long for its length",
        "path too short for its length",
        "path longer than keys",
        "subtree on the way to the key",
        "key that is a prefix",
        "empty key",
        "short digest",
        "long key",
        "leaf in the range",
    ],
)
def test_what_is_no_proof_is_refused(proof):
    refused("evidence.absence_proof", verify_absence, HASH, b"\x77", proof)


def test_a_range_that_ends_before_it_begins_is_refused():
    refused("evidence.range_proof", verify_range, EMPTY_ROOT, b"b", b"a", [], TreeProof((), ()))


def test_a_subtree_cannot_claim_a_longer_path_than_its_branch_proves():
    """The left subtree of a tree over 00.. and 70.. could be presented as one below the path 0f, so that 01
    would seem to be absent."""
    content = {key: sha256(key).digest() for key in (b"\x00", b"\x01", b"\x70", b"\x71")}
    (outside,) = reader(content).prove_range(b"\x70", None).branches
    (hidden,) = [outside.hashes]
    lie = TreeProof((OutsideBranch(b"\x01\x00\x01\x00", 1 << 15, hidden),), ())
    entries = within(content, b"\x70", None)
    verify_range(reference_root(content), b"\x70", None, entries, TreeProof((outside,), ()))
    refused("evidence.range_proof", verify_range, reference_root(content), b"\x10", None, entries, lie)
    refused("evidence.absence_proof", verify_absence, reference_root(content), b"\x01", lie)


def refused(code, verify, *arguments):
    with pytest.raises(ProofError) as refusal:
        verify(*arguments)
    assert refusal.value.code == code


def flip(value, data):
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(value))
