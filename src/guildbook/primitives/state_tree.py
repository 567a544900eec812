"""The state tree: an authenticated map from keys to the digests of rows.

*Shape.* A key is bytes (1 to 512) of a prefix-free set, read as a sequence of nibbles (half bytes, the high
one first), so that the order of keys is the order of nibbles. A *branch* stands at every path where the keys
below it part, so it has 2 to 16 children; a leaf hangs directly below the branch where its key parts from all
others. There are no other nodes: the shape, and with it the root, is a function of the content alone,
whatever the history was.

*Hashes*, over SHA-256:

    leaf    H(00 || length of the key, 2 bytes || key || digest of the row, 32 bytes)
    branch  H(01 || nibbles in the path, 2 bytes || path || children, 2 bytes || hashes of the children)
    root    the hash of the top node, and H() without any key

Integers are big-endian. A path is absolute and packed two nibbles a byte, an odd last one in the high half
with a zero below. Bit c (the value 2**c) of *children* says that there is a child at nibble c; the hashes
follow in nibble order. As a hash says where its node stands, moving a node below another parent does not
change its hash.

*Store.* Only branches are kept, each under its path as it is hashed (length and packed nibbles). The value is

    children || hashes of the children || leaves, 2 bytes || rest of each child's path, joined by commas

so what is hashed is a prefix of the key and a prefix of the value, joined. Bit c of *leaves* says that the
child at nibble c is a leaf. The rest of a child's path are the nibbles behind c, as lower-case hexadecimal
digits: those of the key for a leaf, those of its path for a branch. Under `TOP_KEY` stands the top node: its
tag (00 leaf, 01 branch), its hash, and its path or key in hexadecimal digits; nothing for the empty tree.

*Batch.* `StateTree.update` goes down from the top once for a whole batch, in key order: at each branch the
changes divide by their next nibble. On the way back every touched branch is hashed once. Nothing is changed
in place: the update that is returned has the new root and the writes, and only `commit` makes the tree go on
from there. An adversary who chooses keys can make a path at most as deep as a key has nibbles (1,024).

*Proofs.* All three claims (a key has a digest; a key is absent; the keys of a range are these and no others)
are shown in one way. The proof has the hash of every subtree that lies outside the range and is a child of a
branch on the way to its bounds, and every leaf outside that is reached by such a way. The verifier builds the
tree over these and the claimed entries and compares the root. A hash proves only the branch it hangs from and
its nibble there, so a subtree counts as outside by that prefix alone. A single key is the range that holds
it.

Source: Merkle radix trees as of the Ethereum state trie, with path compression for absolute paths.
"""

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.proof import ProofError

KEY_SIZE_BYTES_MAX: Final = 512
DIGEST_SIZE_BYTES: Final = 32
CACHE_NODES_MAX_DEFAULT: Final = 65_536
EMPTY_ROOT: Final = sha256(b"").digest()
TOP_KEY: Final = b"\xff\xff"

Read = Callable[[bytes], bytes | None]

_LEAF: Final = 0
_BRANCH: Final = 1
_Subtree = tuple[bytes, bytes, int]  # Path of the top node (hexadecimal digits), its hash, _LEAF or _BRANCH.

_DIGITS: Final = b"0123456789abcdef"
_BIT: Final = [1 << _DIGITS.index(digit) if digit in _DIGITS else 0 for digit in range(128)]
_LENGTH: Final = [length.to_bytes(2, "big") for length in range(2 * KEY_SIZE_BYTES_MAX + 1)]
_SPLIT_BY_SEARCH_CHANGES_MIN: Final = 48


def leaf_hash(key: bytes, digest: bytes) -> bytes:
    """The hash (32 bytes) of the leaf with `key` (1 to 512 bytes) and the digest of its row (32 bytes)."""
    return sha256(b"\x00" + _LENGTH[len(key)] + key + digest).digest()


def branch_hash(path: bytes, children: bytes) -> bytes:
    """The hash (32 bytes) of a branch.

    `path` is the key of the branch in the store (`node_key`), `children` the 2 bytes of its children and
    their hashes.
    """
    return sha256(b"\x01" + path + children).digest()


def node_key(path: bytes) -> bytes:
    """The key of the branch at `path` (0 to 1,023 hexadecimal digits), relative to the space of the tree:
    2 bytes of length in nibbles and the packed nibbles.
    """
    digits = path.decode("ascii")
    return _LENGTH[len(path)] + bytes.fromhex(digits + "0" if len(path) & 1 else digits)


def _digits(data: bytes) -> bytes:
    return data.hex().encode("ascii")


# Stored branches


def _children(value: bytes) -> Iterator[tuple[bytes, bytes, int, bytes]]:
    """The children of a stored branch in order: nibble (a hexadecimal digit), hash, kind and rest of the
    path.
    """
    bitmap = value[0] << 8 | value[1]
    end = 2 + DIGEST_SIZE_BYTES * bitmap.bit_count()
    leaves = value[end] << 8 | value[end + 1]
    at = 2
    rests = iter(value[end + 2 :].split(b","))
    for nibble in range(16):
        if bitmap >> nibble & 1:
            kind = _LEAF if leaves >> nibble & 1 else _BRANCH
            yield _DIGITS[nibble : nibble + 1], value[at : at + DIGEST_SIZE_BYTES], kind, next(rests)
            at += DIGEST_SIZE_BYTES


def _encode_top(top: _Subtree | None) -> bytes | None:
    return None if top is None else bytes((top[2],)) + top[1] + top[0]


def _read_top(read: Read) -> _Subtree | None:
    value = read(TOP_KEY)
    return None if value is None else (value[33:], value[1:33], value[0])


def _root_of(top: _Subtree | None) -> bytes:
    return EMPTY_ROOT if top is None else top[1]


def _corrupt(key: bytes) -> GuildbookError:
    return GuildbookError(
        "store.corrupt", f"The state tree has no branch {key.hex()}, to which its parent refers.", key=key
    )


# Building


def _fold(
    items: Sequence[_Subtree], close: Callable[[bytes, Sequence[_Subtree]], _Subtree]
) -> _Subtree | None:
    """The tree over subtrees in path order, none a prefix of another; None over nothing.

    `close` is called for each branch, children before parents, with its path and its children in order, and
    answers with the branch as a subtree.
    """
    done: list[_Subtree] = []  # Subtrees whose parent is not complete yet.
    waiting: list[
        tuple[int, int]
    ] = []  # Branches on the way to the last item: depth, place of the first child.
    last = len(items) - 1
    for number, item in enumerate(items):
        path = item[0]
        done.append(item)
        depth = _common(path, items[number + 1][0]) if number < last else -1
        while waiting and waiting[-1][0] > depth:
            closed, first = waiting.pop()
            branch = close(path[:closed], done[first:])
            del done[first:]
            done.append(branch)
        if depth >= 0 and (not waiting or waiting[-1][0] < depth):
            waiting.append((depth, len(done) - 1))
    return done[0] if done else None


def _common(left: bytes, right: bytes) -> int:
    """The number of digits that two paths, neither a prefix of the other, have in common at the beginning."""
    length = min(len(left), len(right))
    difference = int.from_bytes(left[:length], "big") ^ int.from_bytes(right[:length], "big")
    assert difference, f"key {left!r} is a prefix of key {right!r}"
    return length - (difference.bit_length() + 7) // 8


# Updating


@dataclasses.dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What a batch of changes does to a tree: computed, not yet committed.

    `base` and `root` are the roots (32 bytes) before and after, `writes` the values to put under keys
    relative to the space of the tree (None deletes).
    """

    base: bytes
    root: bytes
    writes: dict[bytes, bytes | None]
    top: _Subtree | None


class _Touched:
    """A branch with changes below it. `content` starts as its stored value, and changed hashes are put into
    it; a child that comes, goes or moves waits in `moved` until all that is below the branch is known.
    """

    __slots__ = ("bitmap", "content", "digit", "key", "moved", "parent", "path", "value")

    def __init__(
        self, parent: "_Touched | _Joined | None", digit: int, path: bytes, key: bytes, value: bytes
    ) -> None:
        self.parent = parent
        self.digit = digit
        self.path = path
        self.key = key
        self.bitmap = value[0] << 8 | value[1]
        self.value = value
        self.content = bytearray(value)
        self.moved: list[tuple[int, _Subtree | None]] = []


class _Joined:
    """A place above a branch where leaves come in: what was there before, what has become of it, and they."""

    __slots__ = ("added", "before", "digit", "parent", "remaining")

    def __init__(self, parent: _Touched | None, digit: int, before: _Subtree, added: list[_Subtree]) -> None:
        self.parent = parent
        self.digit = digit
        self.before = before
        self.remaining: _Subtree | None = before
        self.added = added


class StateTree:
    """The state tree as its one writer holds it: reads branches, keeps the recent ones, computes updates.

    `read` takes keys relative to the space of the tree and answers from the last commit. At most
    `cache_nodes_max` branches (typically 0.6 to 1.2 KB each) are kept in memory; those that have not been
    used for longest are forgotten first. Not for several threads; `TreeReader` is.
    """

    def __init__(self, read: Read, cache_nodes_max: int = CACHE_NODES_MAX_DEFAULT) -> None:
        assert cache_nodes_max >= 2, cache_nodes_max
        self._read = read
        self._top = _read_top(read)
        # Two generations: what is used moves to the young one; when that is full, the old one is forgotten.
        self._generation_nodes_max = cache_nodes_max // 2
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def root(self) -> bytes:
        """The root (32 bytes) after the last commit."""
        return _root_of(self._top)

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """Set the digests (32 bytes) of rows by their keys (1 to 512 bytes); None takes a key out, and does
        nothing if it is not there.

        The keys of the tree and of `changes` are a prefix-free set. The tree stays as it is until `commit`;
        an update that is not wanted is simply dropped.
        """
        return _Batch(self._top, self._node, changes).run()

    def commit(self, update: TreeUpdate) -> None:
        """Go on from `update`, whose writes are in the store now. It was computed on this state."""
        assert update.base == self.root(), "an update of another state"
        self._top = update.top
        for key, value in update.writes.items():
            if key == TOP_KEY:
                continue
            if value is None:
                self._young.pop(key, None)
                self._old.pop(key, None)
            else:
                self._keep(key, value)

    def _node(self, key: bytes) -> bytes:
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is None:
                value = self._read(key)
                if value is None:
                    raise _corrupt(key)
            self._keep(key, value)
        return value

    def _keep(self, key: bytes, value: bytes) -> None:
        if len(self._young) >= self._generation_nodes_max:
            self._old = self._young
            self._young = {}
        self._young[key] = value


class _Batch:
    """One run of `StateTree.update`: down with the changes, and back up with the hashes."""

    def __init__(
        self, top: _Subtree | None, node: Callable[[bytes], bytes], changes: Mapping[bytes, bytes | None]
    ) -> None:
        self.before = top
        self.top = top
        self.node = node
        self.paths: list[bytes] = []
        self.hashes: list[bytes | None] = []
        for key in sorted(changes):
            assert 0 < len(key) <= KEY_SIZE_BYTES_MAX, f"a key of {len(key)} bytes"
            digest = changes[key]
            assert digest is None or len(digest) == DIGEST_SIZE_BYTES, f"a digest of {len(digest)} bytes"
            self.paths.append(_digits(key))
            self.hashes.append(None if digest is None else leaf_hash(key, digest))
        self.writes: dict[bytes, bytes | None] = {}
        self.open: list[tuple[_Touched, int, int]] = []  # Branches to go down from, with their changes.
        self.order: list[_Touched | _Joined] = []  # Everything touched, parents before children.

    def run(self) -> TreeUpdate:
        """The update: down from the top, then everything that was touched in the opposite order."""
        if self.paths:
            self.enter(None, 0, self.top, 0, len(self.paths))
        while self.open:
            self.go_down(*self.open.pop())
        for place in reversed(self.order):
            if isinstance(place, _Touched):
                self.finish_branch(place)
            else:
                self.finish_join(place)
        if self.top != self.before:
            self.writes[TOP_KEY] = _encode_top(self.top)
        return TreeUpdate(_root_of(self.before), _root_of(self.top), self.writes, self.top)

    def go_down(self, branch: _Touched, start: int, end: int) -> None:
        """Hand the changes [start, end) below a branch on to its children."""
        paths = self.paths
        depth = len(branch.path)
        assert len(paths[start]) > depth, f"key {paths[start]!r} is a prefix of others"
        content = branch.content
        bitmap = branch.bitmap
        hashes_end = 2 + DIGEST_SIZE_BYTES * bitmap.bit_count()
        leaves = content[hashes_end] << 8 | content[hashes_end + 1]
        rests = bytes(content[hashes_end + 2 :]).split(b",")
        while start < end:
            digit = paths[start][depth]
            following = self.next_digit(start, end, depth)
            bit = _BIT[digit]
            if bitmap & bit:
                slot = (bitmap & (bit - 1)).bit_count()
                path = paths[start][: depth + 1] + rests[slot]
                at = 2 + DIGEST_SIZE_BYTES * slot
                kind = _LEAF if leaves & bit else _BRANCH
                child = (path, bytes(content[at : at + DIGEST_SIZE_BYTES]), kind)
                self.enter(branch, digit, child, start, following)
            else:
                self.enter(branch, digit, None, start, following)
            start = following

    def next_digit(self, start: int, end: int, depth: int) -> int:
        """Where the changes from `start` on stop having the same digit at `depth`."""
        paths = self.paths
        digit = paths[start][depth]
        if paths[end - 1][depth] == digit:
            return end
        if end - start >= _SPLIT_BY_SEARCH_CHANGES_MIN:
            return bisect_left(paths, paths[start][:depth] + bytes((digit + 1,)), start, end)
        start += 1
        while paths[start][depth] == digit:
            start += 1
        return start

    def enter(
        self, parent: _Touched | None, digit: int, before: _Subtree | None, start: int, end: int
    ) -> None:
        """Bring the changes [start, end) to the place below `parent` at `digit` where `before` stands."""
        paths = self.paths
        if before is None:
            added = self.leaves(start, end)
            if added:
                self.settle(parent, digit, None, _fold(added, self.close))
        elif before[2] == _LEAF:
            path = before[0]
            added = self.leaves(start, end)
            at = bisect_left(paths, path, start, end)
            if at == end or paths[at] != path:  # The leaf is not among the changes, so it stays.
                added.append(before)
                added.sort()
            self.settle(parent, digit, before, _fold(added, self.close))
        else:
            path = before[0]
            above: _Touched | _Joined | None = parent
            if not (paths[start].startswith(path) and paths[end - 1].startswith(path)):
                first = bisect_left(paths, path, start, end)
                behind = bisect_left(paths, path + b"g", first, end)  # "g" comes after every digit.
                above = _Joined(parent, digit, before, self.leaves(start, first) + self.leaves(behind, end))
                self.order.append(above)
                start, end = first, behind
            if start < end:
                key = node_key(path)
                branch = _Touched(above, digit, path, key, self.node(key))
                self.order.append(branch)
                self.open.append((branch, start, end))

    def leaves(self, start: int, end: int) -> list[_Subtree]:
        """The leaves that the changes [start, end) set."""
        return [
            (path, digest, _LEAF)
            for path, digest in zip(self.paths[start:end], self.hashes[start:end], strict=True)
            if digest is not None
        ]

    def settle(
        self, parent: _Touched | None, digit: int, before: _Subtree | None, after: _Subtree | None
    ) -> None:
        """Say what stands now below `parent` at `digit`."""
        if parent is None:
            self.top = after
        elif before is not None and after is not None and before[0] == after[0]:
            at = 2 + DIGEST_SIZE_BYTES * (parent.bitmap & (_BIT[digit] - 1)).bit_count()
            parent.content[at : at + DIGEST_SIZE_BYTES] = after[1]
        else:
            parent.moved.append((digit, after))

    def finish_join(self, join: _Joined) -> None:
        """Put together what was there and the leaves that came."""
        items = join.added if join.remaining is None else sorted([*join.added, join.remaining])
        self.settle(join.parent, join.digit, join.before, _fold(items, self.close))

    def finish_branch(self, branch: _Touched) -> None:
        """Write and hash a branch, everything below it being settled, or replace it by its only child."""
        path = branch.path
        before: _Subtree = (path, b"", _BRANCH)
        after: _Subtree | None
        if branch.moved:
            children = {
                child: (hashed, kind, rest) for child, hashed, kind, rest in _children(bytes(branch.content))
            }
            for digit, subtree in branch.moved:
                symbol = bytes((digit,))
                if subtree is None:
                    children.pop(symbol, None)
                else:
                    children[symbol] = (subtree[1], subtree[2], subtree[0][len(path) + 1 :])
            items = [
                (path + symbol + rest, hashed, kind)
                for symbol, (hashed, kind, rest) in sorted(children.items())
            ]
            if len(items) > 1:
                after = self.close(path, items)
            else:
                after = items[0] if items else None
                self.writes[branch.key] = None
        else:
            value = bytes(branch.content)
            hashed = branch_hash(branch.key, value[: 2 + DIGEST_SIZE_BYTES * branch.bitmap.bit_count()])
            if value != branch.value:
                self.writes[branch.key] = value
            after = (path, hashed, _BRANCH)
        above = branch.parent
        if isinstance(above, _Joined):
            above.remaining = after
        else:
            self.settle(above, branch.digit, before, after)

    def close(self, path: bytes, children: Sequence[_Subtree]) -> _Subtree:
        """Write the branch at `path` over two or more children."""
        depth = len(path)
        bitmap = leaves = 0
        for child, _, kind in children:
            bit = _BIT[child[depth]]
            bitmap |= bit
            if kind == _LEAF:
                leaves |= bit
        key = node_key(path)
        hashed_part = bitmap.to_bytes(2, "big") + b"".join([child[1] for child in children])
        rests = b",".join([child[0][depth + 1 :] for child in children])
        self.writes[key] = hashed_part + leaves.to_bytes(2, "big") + rests
        return (path, branch_hash(key, hashed_part), _BRANCH)


# Proving


class OutsideBranch(msgspec.Struct, frozen=True, array_like=True):
    """Children of one branch that lie outside the range of a proof.

    `path` is that of the branch, as its key in the store; `children` their bits, 1 to 65,535; `hashes` their
    hashes in nibble order (32 bytes each, joined).
    """

    path: bytes
    children: int
    hashes: bytes


class OutsideLeaf(msgspec.Struct, frozen=True, array_like=True):
    """A leaf outside the range of a proof, on the way to one of its bounds: its key, its row's digest."""

    key: bytes
    digest: bytes


class TreeProof(msgspec.Struct, frozen=True, array_like=True):
    """All that a verifier needs besides the entries of a range: what is outside, each part in key order."""

    branches: tuple[OutsideBranch, ...]
    leaves: tuple[OutsideLeaf, ...]


class _Bounds:
    """The range of the keys k with start <= k < end, asked about prefixes of paths. Without `end`: to the
    last key.
    """

    def __init__(self, start: bytes, end: bytes | None) -> None:
        self.start = _digits(start)
        self.end = None if end is None else _digits(end)

    def holds(self, path: bytes) -> bool:
        """Whether the path of a whole key is in the range."""
        return self.start <= path and (self.end is None or path < self.end)

    def excludes(self, prefix: bytes) -> bool:
        """Whether no path that begins with `prefix` is in the range. (When `end` is `prefix` and zeros, the
        answer is no although it could be yes: prover and verifier agree on that.)
        """
        if prefix < self.start and not self.start.startswith(prefix):
            return True
        return self.end is not None and prefix >= self.end

    def includes(self, prefix: bytes) -> bool:
        """Whether every path that begins with `prefix` is in the range."""
        if prefix < self.start:
            return False
        return self.end is None or (prefix < self.end and not self.end.startswith(prefix))


def _range_of(key: bytes) -> tuple[bytes, bytes]:
    """The range that of a prefix-free set with `key` holds `key` alone."""
    return key, key + b"\x00"


class TreeReader:
    """Roots and proofs of a state tree as it is in the store, for instance in a snapshot.

    `read` takes keys relative to the space of the tree. `digest` answers with the digest (32 bytes) of the
    row that a key of the tree has in the same snapshot: the tree has only hashes, and a proof must sometimes
    show a leaf. Nothing is kept between calls, so one reader may serve several threads.
    """

    def __init__(self, read: Read, digest: Callable[[bytes], bytes]) -> None:
        self._read = read
        self._digest = digest

    def root(self) -> bytes:
        """The root (32 bytes)."""
        return _root_of(_read_top(self._read))

    def prove(self, key: bytes) -> TreeProof:
        """The proof that `key` has its digest, or that it is absent: for `verify_presence` or
        `verify_absence`.
        """
        return self.prove_range(*_range_of(key))

    def prove_range(self, start: bytes, end: bytes | None) -> TreeProof:
        """The proof that the tree has no other keys k with start <= k < end than it has: for `verify_range`.

        `end` is None for a range that ends with the last key. The size grows with the depth of the tree at
        the two bounds and not with the number of keys between.
        """
        bounds = _Bounds(start, end)
        branches: list[tuple[bytes, OutsideBranch]] = []
        leaves: list[OutsideLeaf] = []
        top = _read_top(self._read)
        open_: list[tuple[bytes, int]] = [] if top is None else [(top[0], top[2])]
        while open_:
            path, kind = open_.pop()
            if kind == _LEAF:
                if not bounds.holds(path):
                    key = bytes.fromhex(path.decode("ascii"))
                    leaves.append(OutsideLeaf(key, self._digest(key)))
            elif not bounds.includes(path):
                key = node_key(path)
                value = self._read(key)
                if value is None:
                    raise _corrupt(key)
                outside = 0
                hashes: list[bytes] = []
                for digit, hashed, child_kind, rest in _children(value):
                    if bounds.excludes(path + digit):
                        outside |= _BIT[digit[0]]
                        hashes.append(hashed)
                    else:
                        open_.append((path + digit + rest, child_kind))
                if outside:
                    branches.append((path, OutsideBranch(key, outside, b"".join(hashes))))
        branches.sort(key=lambda pair: pair[0])
        leaves.sort(key=lambda leaf: leaf.key)
        return TreeProof(tuple(branch for _, branch in branches), tuple(leaves))


# Verifying


def verify_presence(root: bytes, key: bytes, digest: bytes, proof: TreeProof) -> None:
    """Check that in the tree with `root` (32 bytes), `key` has the row digest `digest` (32 bytes).

    Raises `ProofError` "evidence.row_proof" unless `proof` shows that.
    """
    _verify("evidence.row_proof", root, _range_of(key), [(key, digest)], proof)


def verify_absence(root: bytes, key: bytes, proof: TreeProof) -> None:
    """Check that the tree with `root` (32 bytes) does not have `key`.

    Raises `ProofError` "evidence.absence_proof" unless `proof` shows that.
    """
    _verify("evidence.absence_proof", root, _range_of(key), [], proof)


def verify_range(
    root: bytes, start: bytes, end: bytes | None, entries: Sequence[tuple[bytes, bytes]], proof: TreeProof
) -> None:
    """Check that of the keys k with start <= k < end (None: to the last key), the tree with `root` (32 bytes)
    has exactly those of `entries` (key and row digest, in key order), with these digests.

    Raises `ProofError` "evidence.range_proof" unless `proof` shows that.
    """
    _verify("evidence.range_proof", root, (start, end), entries, proof)


def _verify(
    code: str,
    root: bytes,
    of: tuple[bytes, bytes | None],
    entries: Sequence[tuple[bytes, bytes]],
    proof: TreeProof,
) -> None:
    def require(condition: bool, message: str) -> None:
        if not condition:
            raise ProofError(code, message)

    start, end = of
    require(end is None or start < end, "The range ends before it begins.")
    bounds = _Bounds(start, end)
    items: list[_Subtree] = []
    for key, digest in entries:
        require(start <= key and (end is None or key < end), f"Key {key.hex()} is not in the range.")
        items.append(_shown_leaf(key, digest, require))
    require(_ascends([item[0] for item in items]), "The entries are not in key order.")
    for leaf in proof.leaves:
        require(
            leaf.key < start or (end is not None and leaf.key >= end),
            f"Leaf {leaf.key.hex()} is in the range.",
        )
        items.append(_shown_leaf(leaf.key, leaf.digest, require))
    require(_ascends([leaf.key for leaf in proof.leaves]), "The leaves of the proof are not in key order.")
    subtrees: set[bytes] = set()
    paths = [_shown_path(branch.path, require) for branch in proof.branches]
    require(_ascends(paths), "The branches of the proof are not in path order.")
    for path, branch in zip(paths, proof.branches, strict=True):
        require(0 < branch.children < 1 << 16, f"The children of branch {path!r} are not 1 to 16.")
        count = branch.children.bit_count()
        require(
            len(branch.hashes) == DIGEST_SIZE_BYTES * count, f"Branch {path!r} does not have {count} hashes."
        )
        digits = [_DIGITS[nibble : nibble + 1] for nibble in range(16) if branch.children >> nibble & 1]
        for number, digit in enumerate(digits):
            prefix = path + digit
            require(bounds.excludes(prefix), f"The subtree below {prefix!r} is not outside the range.")
            at = DIGEST_SIZE_BYTES * number
            items.append((prefix, branch.hashes[at : at + DIGEST_SIZE_BYTES], _BRANCH))
            subtrees.add(prefix)
    items.sort()
    for (before, _, _), (after, _, _) in pairwise(items):
        require(not after.startswith(before), f"{before!r} is a prefix of {after!r}.")

    def close(path: bytes, children: Sequence[_Subtree]) -> _Subtree:
        bitmap = 0
        for child, _, _ in children:
            # Only the branch and the nibble of a subtree are proven, so it must not claim more.
            require(
                child not in subtrees or len(child) == len(path) + 1, f"Branch {child[:-1]!r} is not there."
            )
            bitmap |= _BIT[child[len(path)]]
        hashed = branch_hash(
            node_key(path), bitmap.to_bytes(2, "big") + b"".join([child[1] for child in children])
        )
        return (path, hashed, _BRANCH)

    top = _fold(items, close)
    require(top is None or top[0] not in subtrees, "The proof consists of one subtree.")
    computed = _root_of(top)
    require(computed == root, f"The proof leads to the root {computed.hex()}, not to {root.hex()}.")


def _shown_leaf(key: bytes, digest: bytes, require: Callable[[bool, str], None]) -> _Subtree:
    require(0 < len(key) <= KEY_SIZE_BYTES_MAX, f"A key has 1 to {KEY_SIZE_BYTES_MAX} bytes, not {len(key)}.")
    require(len(digest) == DIGEST_SIZE_BYTES, f"The digest of {key.hex()} has {len(digest)} bytes, not 32.")
    return (_digits(key), leaf_hash(key, digest), _LEAF)


def _shown_path(key: bytes, require: Callable[[bool, str], None]) -> bytes:
    length = int.from_bytes(key[:2], "big")
    path = _digits(key[2:])[:length]
    good = len(key) >= 2 and length < 2 * KEY_SIZE_BYTES_MAX and len(path) == length and node_key(path) == key
    require(good, f"{key.hex()} is not the path of a branch.")
    return path


def _ascends(values: Sequence[bytes]) -> bool:
    return all(before < after for before, after in pairwise(values))
