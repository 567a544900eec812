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
follow in nibble order. As a hash says where its node stands, a node that comes below another parent keeps its
hash.

*Store.* Only branches are kept, each under the beginning of what is hashed, 01 to path. The value is

    children || hashes of the children || leaves, 2 bytes || rest of each child's path, joined by commas

so the hash of a branch is that of its key and the beginning of its value. Bit c of *leaves* says that the
child at nibble c is a leaf. The rest of a child's path are the nibbles behind c, as lower-case hexadecimal
digits: of the key for a leaf, of its path for a branch. Under `TOP_KEY` stands the top node: its tag (00
leaf, 01 branch), its hash, and its key or path in hexadecimal digits; nothing for the empty tree.

*Batch.* `StateTree.update` goes down from the top once for a whole batch, in key order: at each branch the
changes divide by their next nibble, and a change that is alone follows its way without further ado. On the
way back every touched branch is hashed once. Nothing is changed in place: the update that is returned has the
new root and the writes, and only `commit` makes the tree go on from there. Whoever chooses the keys can make
a way at most as long as a key has nibbles (1,024 branches).

*Proofs.* All three claims (a key has a digest; a key is absent; the keys of a range are these and no others)
are shown in one way. The proof has the hash of every subtree that lies outside the range and hangs from a
branch on the way to one of its bounds, and every leaf outside to which such a way leads. The verifier builds
the tree over these and the claimed entries, and compares the root. A hash proves only the branch that it
hangs from and its nibble there, so a subtree counts as outside by that prefix alone. One key is the range of
it.

Source: the radix trees of the Ethereum state (Yellow Paper, appendix D), with absolute paths.
"""

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.proof import ProofError

KEY_SIZE_BYTES_MAX: Final = 512
DIGEST_SIZE_BYTES: Final = 32
BRANCH_DEPTH_NIBBLES_MAX: Final = 2 * KEY_SIZE_BYTES_MAX - 1
CACHE_NODES_MAX_DEFAULT: Final = 98_304
BUILD_BATCH_NODES: Final = 20_000
EMPTY_ROOT: Final = sha256(b"").digest()
TOP_KEY: Final = b"\x00"

Read = Callable[[bytes], bytes | None]
Pairs = Iterable[tuple[bytes, bytes | None]]

_LEAF: Final = 0
_BRANCH: Final = 1
_Subtree = tuple[bytes, bytes, int]
"""A node with all that is below it: its path or key in hexadecimal digits, its hash, _LEAF or _BRANCH."""

_DIGITS: Final = b"0123456789abcdef"
_BIT: Final = [1 << _DIGITS.index(digit) if digit in _DIGITS else 0 for digit in range(128)]
_BEHIND_DIGITS: Final = b"g"
_HIGH_NIBBLE: Final = [bytes((byte & 0xF0,)) for byte in range(256)]
_LEAF_START: Final = [b"\x00" + size.to_bytes(2, "big") for size in range(KEY_SIZE_BYTES_MAX + 1)]
_BRANCH_START: Final = [b"\x01" + depth.to_bytes(2, "big") for depth in range(BRANCH_DEPTH_NIBBLES_MAX + 1)]
# By the bits of the children: where the hashes of a stored branch end. By the bits below a child: where its is.
_HASHES_END: Final = [2 + DIGEST_SIZE_BYTES * bits.bit_count() for bits in range(1 << 16)]
_SEARCH_CHANGES_MIN: Final = (
    48  # From so many changes on, halving finds the end of a group faster than walking.
)


def leaf_hash(key: bytes, digest: bytes) -> bytes:
    """The hash (32 bytes) of the leaf with `key` (1 to 512 bytes) and the digest of its row (32 bytes)."""
    return sha256(_LEAF_START[len(key)] + key + digest).digest()


def branch_hash(key: bytes, children: bytes) -> bytes:
    """The hash (32 bytes) of the branch under `key` (`branch_key`); `children` is the 2 bytes of its children
    and their hashes.
    """
    return sha256(key + children).digest()


def branch_key(path: bytes) -> bytes:
    """The key of the branch at `path` (0 to 1,023 hexadecimal digits), relative to the space of the tree."""
    digits = path.decode("ascii")
    return _BRANCH_START[len(path)] + bytes.fromhex(digits + "0" if len(path) & 1 else digits)


def _digits(data: bytes) -> bytes:
    return data.hex().encode("ascii")


# What is stored


def _children(value: bytes) -> Iterator[tuple[bytes, bytes, int, bytes]]:
    """The children of a stored branch in order: nibble (one digit), hash, kind, and rest of the path."""
    bits = value[0] << 8 | value[1]
    end = _HASHES_END[bits]
    leaves = value[end] << 8 | value[end + 1]
    rests = iter(value[end + 2 :].split(b","))
    at = 2
    for nibble in range(16):
        if bits >> nibble & 1:
            kind = _LEAF if leaves >> nibble & 1 else _BRANCH
            yield _DIGITS[nibble : nibble + 1], value[at : at + DIGEST_SIZE_BYTES], kind, next(rests)
            at += DIGEST_SIZE_BYTES


def _with_child(value: bytes, bit: int, hashed: bytes, kind: int, rest: bytes) -> bytes:
    """A stored branch with a child at the nibble of `bit`, in place of the one that may be there."""
    bits = value[0] << 8 | value[1]
    at, end = _HASHES_END[bits & (bit - 1)], _HASHES_END[bits]
    behind = at + DIGEST_SIZE_BYTES if bits & bit else at
    leaves = value[end] << 8 | value[end + 1]
    leaves = leaves | bit if kind == _LEAF else leaves & ~bit
    rests = value[end + 2 :].split(b",")
    rests[at >> 5 : behind >> 5] = [rest]
    hashes = value[2:at] + hashed + value[behind:end]
    return (bits | bit).to_bytes(2, "big") + hashes + leaves.to_bytes(2, "big") + b",".join(rests)


def _without_child(value: bytes, bit: int) -> bytes:
    """A stored branch without the child that is at the nibble of `bit`."""
    bits = value[0] << 8 | value[1]
    at, end = _HASHES_END[bits & (bit - 1)], _HASHES_END[bits]
    leaves = value[end] << 8 | value[end + 1]
    rests = value[end + 2 :].split(b",")
    del rests[at >> 5]
    hashes = value[2:at] + value[at + DIGEST_SIZE_BYTES : end]
    return (bits & ~bit).to_bytes(2, "big") + hashes + (leaves & ~bit).to_bytes(2, "big") + b",".join(rests)


def _read_branch(read: Read, key: bytes) -> bytes:
    value = read(key)
    if value is None:
        raise GuildbookError(
            "store.corrupt", f"The state tree has no branch {key.hex()}, to which its parent refers.", key=key
        )
    return value


def _read_top(read: Read) -> _Subtree | None:
    value = read(TOP_KEY)
    return (
        None
        if value is None
        else (value[1 + DIGEST_SIZE_BYTES :], value[1 : 1 + DIGEST_SIZE_BYTES], value[0])
    )


def _top_value(top: _Subtree | None) -> bytes | None:
    return None if top is None else bytes((top[2],)) + top[1] + top[0]


def _root_of(top: _Subtree | None) -> bytes:
    return EMPTY_ROOT if top is None else top[1]


# Building


def _fold(
    items: Sequence[_Subtree], close: Callable[[bytes, Sequence[_Subtree]], _Subtree]
) -> _Subtree | None:
    """The tree over subtrees in path order, none a prefix of another; None over nothing.

    `close` is called for each new branch, children before parents, with its path and its children in order,
    and answers with the branch as a subtree.
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
    size = min(len(left), len(right))
    difference = int.from_bytes(left[:size], "big") ^ int.from_bytes(right[:size], "big")
    assert difference, f"{left!r} is a prefix of {right!r}, or the other way round"
    return size - (difference.bit_length() + 7) // 8


# Updating


@dataclasses.dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What a batch of changes makes of a tree: computed, not yet committed.

    `base` and `root` are the roots (32 bytes) before and after, `writes` the values to put under keys relative
    to the space of the tree (None deletes), `top` the new top node, for `StateTree.commit`.
    """

    base: bytes
    root: bytes
    writes: dict[bytes, bytes | None]
    top: _Subtree | None


class StateTree:
    """The state tree as its one writer holds it: reads branches, keeps recent ones, computes updates.

    `read` takes keys relative to the space of the tree and answers from the last commit. At most
    `cache_nodes_max` branches (typically 0.2 to 0.6 KB each) are kept in memory, those used last. Not for
    several threads: other threads have a `TreeReader` on a snapshot.
    """

    def __init__(self, read: Read, cache_nodes_max: int = CACHE_NODES_MAX_DEFAULT) -> None:
        assert cache_nodes_max >= 2, cache_nodes_max
        self._top = _read_top(read)
        self._recent = _Recent(read, cache_nodes_max)

    def root(self) -> bytes:
        """The root (32 bytes) after the last commit."""
        return _root_of(self._top)

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """Set the digests (32 bytes) of rows by their keys (1 to 512 bytes). None takes a key out, and does
        nothing if it is not there.

        The keys of the tree and those of `changes` together are a prefix-free set. The tree stays as it is
        until `commit`; an update that is not wanted is simply dropped.
        """
        return _Batch(self._top, self._recent, changes).run()

    def commit(self, update: TreeUpdate) -> None:
        """Go on from `update`, whose writes are in the store now. It was computed on this state."""
        assert update.base == self.root(), "an update of another state"
        self._top = update.top
        for key, value in update.writes.items():
            if key != TOP_KEY:
                self._recent.put(key, value)


class _Recent:
    """The branches used last, in two generations: what is used moves to the young one, and when that is full,
    the old one is forgotten.
    """

    def __init__(self, read: Read, nodes_max: int) -> None:
        self.read = read
        self.generation_nodes_max = nodes_max // 2
        self.young: dict[bytes, bytes] = {}
        self.old: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes:
        """The stored branch under `key`."""
        value = self.young.get(key)
        if value is None:
            value = self.old.get(key)
            if value is None:
                value = _read_branch(self.read, key)
            self.put(key, value)
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take note of what is stored under `key` (None: nothing)."""
        if value is None:
            self.young.pop(key, None)
            self.old.pop(key, None)
            return
        if len(self.young) >= self.generation_nodes_max:
            self.old = self.young
            self.young = {}
        self.young[key] = value


class _Touched:
    """A branch with several changes below it, or with one that may take it away.

    `value` is what is stored. `content` begins as the same, and takes the hashes of children that have changed;
    children that come, go or are replaced by another node wait in `moved`, by digit, until all that is below
    the branch is settled. `digit` is the nibble at which it hangs below `parent`, if that is a branch.
    """

    __slots__ = ("content", "digit", "key", "moved", "parent", "path", "value")

    def __init__(
        self, parent: "_Touched | _Joined | None", digit: int, path: bytes, key: bytes, value: bytes
    ) -> None:
        self.parent = parent
        self.digit = digit
        self.path = path
        self.key = key
        self.value = value
        self.content = bytearray(value)
        self.moved: list[tuple[int, _Subtree | None]] = []


class _Joined:
    """A place above a branch where leaves come in: the branch that was there, what has become of it, and they."""

    __slots__ = ("added", "before", "digit", "parent", "remaining")

    def __init__(self, parent: _Touched | None, digit: int, before: _Subtree, added: list[_Subtree]) -> None:
        self.parent = parent
        self.digit = digit
        self.before = before
        self.remaining: _Subtree | None = before
        self.added = added


class _Batch:
    """One run of `StateTree.update`. Changes are known by their number in key order."""

    def __init__(self, top: _Subtree | None, recent: _Recent, changes: Mapping[bytes, bytes | None]) -> None:
        self.before = top
        self.top = top
        self.recent = recent
        self.keys = sorted(changes)
        self.paths: list[bytes] = []
        self.hashes: list[bytes | None] = []
        for key in self.keys:
            size = len(key)
            assert 0 < size <= KEY_SIZE_BYTES_MAX, f"a key of {size} bytes"
            self.paths.append(key.hex().encode())
            digest = changes[key]
            if digest is None:
                self.hashes.append(None)
            else:
                assert len(digest) == DIGEST_SIZE_BYTES, f"a digest of {len(digest)} bytes"
                self.hashes.append(sha256(_LEAF_START[size] + key + digest).digest())
        self.writes: dict[bytes, bytes | None] = {}
        self.open: list[tuple[_Touched, int, int]] = []  # Branches to go down from, with their changes.
        self.order: list[_Touched | _Joined] = []  # What is to be finished, parents before children.

    def run(self) -> TreeUpdate:
        """Go down from the top with all changes, then finish what was touched, children before parents."""
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
            self.writes[TOP_KEY] = _top_value(self.top)
        return TreeUpdate(_root_of(self.before), _root_of(self.top), self.writes, self.top)

    def go_down(self, branch: _Touched, start: int, end: int) -> None:
        """Hand the changes [start, end) on to the children of a branch."""
        paths, hashes = self.paths, self.hashes
        value, content = branch.value, branch.content
        depth = len(branch.path)
        below = depth + 1
        assert len(paths[start]) > depth, f"{paths[start]!r} is a prefix of other keys"
        bits = value[0] << 8 | value[1]
        hashes_end = _HASHES_END[bits]
        leaves = value[hashes_end] << 8 | value[hashes_end + 1]
        rests = value[hashes_end + 2 :].split(b",")
        while start < end:
            path = paths[start]
            digit = path[depth]
            bit = _BIT[digit]
            following = start + 1
            if following < end and paths[following][depth] == digit:
                following = self.end_of_group(start, end, depth)
            if bits & bit:
                at = _HASHES_END[bits & (bit - 1)]
                rest = rests[at >> 5]
                hashed = hashes[start]
                if following - start > 1:
                    done = False
                elif leaves & bit:
                    done = hashed is not None and path[below:] == rest
                    if done:
                        content[at : at + DIGEST_SIZE_BYTES] = hashed or b""
                else:
                    done = path.startswith(rest, below) and self.follow(start, below + len(rest), content, at)
                if not done:
                    kind = _LEAF if leaves & bit else _BRANCH
                    child = (path[:below] + rest, value[at : at + DIGEST_SIZE_BYTES], kind)
                    self.enter(branch, digit, child, start, following)
            else:
                self.enter(branch, digit, None, start, following)
            start = following

    def end_of_group(self, start: int, end: int, depth: int) -> int:
        """Where the changes from `start` on, of which the first two agree in the digit at `depth`, stop to."""
        paths = self.paths
        digit = paths[start][depth]
        if paths[end - 1][depth] == digit:
            return end
        if end - start >= _SEARCH_CHANGES_MIN:
            return bisect_left(paths, paths[start][:depth] + bytes((digit + 1,)), start, end)
        start += 2
        while paths[start][depth] == digit:
            start += 1
        return start

    def follow(self, number: int, depth: int, content: bytearray, at: int) -> bool:
        """Bring a change, alone below the branch that its way has at `depth`, to its place, and put the new hash
        of that branch into `content` at `at`. False, and nothing is done, if that would leave a branch with one
        child: such a branch gives way to the child, and then the parent has to take part.
        """
        path, hashed, key = self.paths[number], self.hashes[number], self.keys[number]
        recent = self.recent
        way: list[
            tuple[bytes, bytes, int, int]
        ] = []  # Branches: key, value, where the hash to change is, end.
        while True:
            assert len(path) > depth, f"{path!r} is a prefix of other keys"
            half = depth >> 1
            if depth & 1:
                branch = _BRANCH_START[depth] + key[:half] + _HIGH_NIBBLE[key[half]]
            else:
                branch = _BRANCH_START[depth] + key[:half]
            value = recent.young.get(branch)
            if value is None:
                value = recent.get(branch)
            bits = value[0] << 8 | value[1]
            end = _HASHES_END[bits]
            bit = _BIT[path[depth]]
            depth += 1
            if not bits & bit:
                if hashed is None:
                    return True
                value = _with_child(value, bit, hashed, _LEAF, path[depth:])
                break
            place = _HASHES_END[bits & (bit - 1)]
            only_commas = len(value) == end + 1 + (end >> 5)
            rest = b"" if only_commas else value[end + 2 :].split(b",")[place >> 5]
            kind = _LEAF if (value[end] << 8 | value[end + 1]) & bit else _BRANCH
            if kind == _BRANCH and path.startswith(rest, depth):
                way.append((branch, value, place, end))
                depth += len(rest)
                continue
            before = value[place : place + DIGEST_SIZE_BYTES]
            if kind == _LEAF and path[depth:] == rest:
                if hashed == before:
                    return True
                if hashed is not None:
                    value = value[:place] + hashed + value[place + DIGEST_SIZE_BYTES :]
                elif bits.bit_count() > 2:
                    value = _without_child(value, bit)
                else:
                    return False
                break
            if hashed is None:
                return True
            fork = _fold(sorted([(path[:depth] + rest, before, kind), (path, hashed, _LEAF)]), self.close)
            assert fork is not None
            value = _with_child(value, bit, fork[1], _BRANCH, fork[0][depth:])
            break
        writes = self.writes
        writes[branch] = value
        hashed = branch_hash(branch, value[: _HASHES_END[value[0] << 8 | value[1]]])
        for upper, stored, place, end in reversed(way):
            changed = stored[:place] + hashed + stored[place + DIGEST_SIZE_BYTES :]
            writes[upper] = changed
            hashed = sha256(upper + changed[:end]).digest()
        content[at : at + DIGEST_SIZE_BYTES] = hashed
        return True

    def enter(
        self, parent: _Touched | None, digit: int, before: _Subtree | None, start: int, end: int
    ) -> None:
        """Bring the changes [start, end) to the place below `parent` at `digit`, where `before` stands."""
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
                added = sorted([*added, before])
            self.settle(parent, digit, before, _fold(added, self.close))
        else:
            path = before[0]
            above: _Touched | _Joined | None = parent
            if not (paths[start].startswith(path) and paths[end - 1].startswith(path)):
                first = bisect_left(paths, path, start, end)
                behind = bisect_left(paths, path + _BEHIND_DIGITS, first, end)
                above = _Joined(parent, digit, before, self.leaves(start, first) + self.leaves(behind, end))
                self.order.append(above)
                start, end = first, behind
            if start < end:
                key = branch_key(path)
                branch = _Touched(above, digit, path, key, self.recent.get(key))
                self.order.append(branch)
                self.open.append((branch, start, end))

    def leaves(self, start: int, end: int) -> list[_Subtree]:
        """The leaves that the changes [start, end) set."""
        return [
            (path, hashed, _LEAF)
            for path, hashed in zip(self.paths[start:end], self.hashes[start:end], strict=True)
            if hashed is not None
        ]

    def settle(
        self, parent: _Touched | None, digit: int, before: _Subtree | None, after: _Subtree | None
    ) -> None:
        """Say what stands now below `parent` at `digit`."""
        if parent is None:
            self.top = after
        elif before is not None and after is not None and before[0] == after[0]:
            bits = parent.value[0] << 8 | parent.value[1]
            at = _HASHES_END[bits & (_BIT[digit] - 1)]
            parent.content[at : at + DIGEST_SIZE_BYTES] = after[1]
        else:
            parent.moved.append((digit, after))

    def finish_join(self, join: _Joined) -> None:
        """Put together what has become of the branch and the leaves that came in above it."""
        items = join.added if join.remaining is None else sorted([*join.added, join.remaining])
        self.settle(join.parent, join.digit, join.before, _fold(items, self.close))

    def finish_branch(self, branch: _Touched) -> None:
        """Write and hash a branch below which all is settled, or let its only child stand in its place."""
        path, key, value = branch.path, branch.key, bytes(branch.content)
        gone = []
        for digit, child in branch.moved:
            if child is None:
                gone.append(_BIT[digit])
            else:
                value = _with_child(value, _BIT[digit], child[1], child[2], child[0][len(path) + 1 :])
        for bit in gone:  # Last, so that the branch has children all the time.
            value = _without_child(value, bit)
        bits = value[0] << 8 | value[1]
        after: _Subtree | None = None
        if bits.bit_count() > 1:
            after = (path, branch_hash(key, value[: _HASHES_END[bits]]), _BRANCH)
            if value != branch.value:
                self.writes[key] = value
        else:
            self.writes[key] = None
            if bits:
                ((nibble, hashed, kind, rest),) = _children(value)
                after = (path + nibble + rest, hashed, kind)
        above = branch.parent
        if isinstance(above, _Joined):
            above.remaining = after
        else:
            self.settle(above, branch.digit, (path, b"", _BRANCH), after)

    def close(self, path: bytes, children: Sequence[_Subtree]) -> _Subtree:
        """Write the branch at `path` over two or more children."""
        depth = len(path)
        bits = leaves = 0
        for child, _, kind in children:
            bit = _BIT[child[depth]]
            bits |= bit
            if kind == _LEAF:
                leaves |= bit
        key = branch_key(path)
        hashed_part = bits.to_bytes(2, "big") + b"".join([child[1] for child in children])
        rests = b",".join([child[0][depth + 1 :] for child in children])
        self.writes[key] = hashed_part + leaves.to_bytes(2, "big") + rests
        return (path, branch_hash(key, hashed_part), _BRANCH)


# Proving


class OutsideBranch(msgspec.Struct, frozen=True, array_like=True):
    """Children of one branch that lie outside the range of a proof.

    `key` is that of the branch in the store (`branch_key`); `children` are their bits (1 to 65,535) and
    `hashes` their hashes in nibble order (32 bytes each, joined).
    """

    key: bytes
    children: int
    hashes: bytes


class OutsideLeaf(msgspec.Struct, frozen=True, array_like=True):
    """A leaf outside the range of a proof to which the way to a bound leads: `key`, and `digest` of its row."""

    key: bytes
    digest: bytes


class TreeProof(msgspec.Struct, frozen=True, array_like=True):
    """All that a verifier needs besides the entries of a range: what is outside, branches in path order, leaves
    in key order.
    """

    branches: tuple[OutsideBranch, ...]
    leaves: tuple[OutsideLeaf, ...]


class _Range:
    """The keys k with start <= k < end (None: to the last key), as a question about paths."""

    def __init__(self, start: bytes, end: bytes | None) -> None:
        self.start = _digits(start)
        self.end = None if end is None else _digits(end)

    def holds(self, path: bytes) -> bool:
        """Whether the path of a whole key is in the range."""
        return self.start <= path and (self.end is None or path < self.end)

    def holds_all(self, prefix: bytes) -> bool:
        """Whether every path that begins with `prefix` is in the range."""
        return self.start <= prefix and (
            self.end is None or (prefix < self.end and not self.end.startswith(prefix))
        )

    def holds_none(self, prefix: bytes) -> bool:
        """Whether no path that begins with `prefix` is in the range. (False as well if `end` is `prefix` and
        zeros, although there may be none then; prover and verifier agree on that.)
        """
        if prefix < self.start and not self.start.startswith(prefix):
            return True
        return self.end is not None and self.end <= prefix


def _range_of(key: bytes) -> tuple[bytes, bytes]:
    """The range in which a prefix-free set that has `key` has no other key."""
    return key, key + b"\x00"


class TreeReader:
    """Root and proofs of a state tree as it is in the store, for instance in a snapshot.

    `read` takes keys relative to the space of the tree. `digest` answers with the digest (32 bytes) of the row
    of a key that the tree has, from the same snapshot: the tree itself has hashes only, and a proof must
    sometimes show a leaf. Nothing is kept between calls, so one reader may serve several threads.
    """

    def __init__(self, read: Read, digest: Callable[[bytes], bytes]) -> None:
        self._read = read
        self._digest = digest

    def root(self) -> bytes:
        """The root (32 bytes)."""
        return _root_of(_read_top(self._read))

    def prove(self, key: bytes) -> TreeProof:
        """The proof that `key` has its digest, or is absent: for `verify_presence` or `verify_absence`."""
        return self.prove_range(*_range_of(key))

    def prove_range(self, start: bytes, end: bytes | None) -> TreeProof:
        """The proof that of the keys k with start <= k < end (None: to the last key), the tree has no others
        than it has: for `verify_range`. Its size grows with the depth of the tree at the two bounds, not with
        the number of keys between.
        """
        wanted = _Range(start, end)
        branches: list[tuple[bytes, OutsideBranch]] = []
        leaves: list[OutsideLeaf] = []
        top = _read_top(self._read)
        ways = [] if top is None else [(top[0], top[2])]
        while ways:
            path, kind = ways.pop()
            if kind == _LEAF:
                if not wanted.holds(path):
                    key = bytes.fromhex(path.decode("ascii"))
                    leaves.append(OutsideLeaf(key, self._digest(key)))
            elif not wanted.holds_all(path):
                key = branch_key(path)
                bits = 0
                hashes = []
                for nibble, hashed, child_kind, rest in _children(_read_branch(self._read, key)):
                    if wanted.holds_none(path + nibble):
                        bits |= _BIT[nibble[0]]
                        hashes.append(hashed)
                    else:
                        ways.append((path + nibble + rest, child_kind))
                if bits:
                    branches.append((path, OutsideBranch(key, bits, b"".join(hashes))))
        branches.sort(key=lambda found: found[0])
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
    bounds: tuple[bytes, bytes | None],
    entries: Sequence[tuple[bytes, bytes]],
    proof: TreeProof,
) -> None:
    def require(condition: bool, message: str) -> None:
        if not condition:
            raise ProofError(code, message)

    # 1. The range is one, and the entries and the shown leaves are on the right side of its bounds.
    start, end = bounds
    require(end is None or start < end, "The range ends before it begins.")
    wanted = _Range(start, end)
    shown = [(leaf.key, leaf.digest) for leaf in proof.leaves]
    items: list[_Subtree] = []
    for pairs, inside in ((entries, True), (shown, False)):
        for key, digest in pairs:
            require(
                0 < len(key) <= KEY_SIZE_BYTES_MAX and len(digest) == DIGEST_SIZE_BYTES,
                f"{len(key)} bytes are no key, or {len(digest)} are no digest.",
            )
            path = _digits(key)
            where = "outside" if inside else "inside"
            require(wanted.holds(path) == inside, f"Key {key.hex()} is {where} the range.")
            items.append((path, leaf_hash(key, digest), _LEAF))
        require(_ascends([key for key, _ in pairs]), "Keys are not in order.")

    # 2. Every hidden subtree is outside, judged by what its hash proves: its branch and its nibble.
    hidden: set[bytes] = set()
    paths = []
    for branch in proof.branches:
        path = _path_of_branch(branch.key)
        require(branch_key(path) == branch.key, f"{branch.key.hex()} is no key of a branch.")
        paths.append(path)
        bits = branch.children
        require(0 < bits < 1 << 16, f"{bits} are not the bits of children.")
        require(
            2 + len(branch.hashes) == _HASHES_END[bits], f"Branch {path!r} lacks hashes, or has too many."
        )
        for nibble in range(16):
            if bits >> nibble & 1:
                prefix = path + _DIGITS[nibble : nibble + 1]
                require(wanted.holds_none(prefix), f"What is below {prefix!r} may be inside the range.")
                at = _HASHES_END[bits & ((1 << nibble) - 1)] - 2
                items.append((prefix, branch.hashes[at : at + DIGEST_SIZE_BYTES], _BRANCH))
                hidden.add(prefix)
    require(_ascends(paths), "Branches are not in order.")

    # 3. The tree over all these has the root.
    items.sort()
    for (left, _, _), (right, _, _) in pairwise(items):
        require(not right.startswith(left), f"{left!r} is a prefix of {right!r}.")

    def close(path: bytes, children: Sequence[_Subtree]) -> _Subtree:
        bits = 0
        for child, _, _ in children:
            claimed = child[:-1] if child in hidden else path
            require(claimed == path, f"A subtree is said to be below {claimed!r}, and is below {path!r}.")
            bits |= _BIT[child[len(path)]]
        hashes = b"".join([child[1] for child in children])
        return (path, branch_hash(branch_key(path), bits.to_bytes(2, "big") + hashes), _BRANCH)

    top = _fold(items, close)
    require(top is None or top[0] not in hidden, "The proof is a single subtree.")
    computed = _root_of(top)
    require(computed == root, f"The proof leads to the root {computed.hex()}, not to {root.hex()}.")


def _path_of_branch(key: bytes) -> bytes:
    """The path of which `key` is the `branch_key`; any short path if it is none."""
    return _digits(key[3 : 3 + KEY_SIZE_BYTES_MAX])[
        : min(int.from_bytes(key[1:3], "big"), BRANCH_DEPTH_NIBBLES_MAX)
    ]


def _ascends(values: Sequence[bytes]) -> bool:
    return all(left < right for left, right in pairwise(values))


# Building a whole tree


def build_tree(leaves: Iterable[tuple[bytes, bytes]], write: Callable[[Pairs], None]) -> bytes:
    """Build the tree over ``leaves`` in one pass from below; returns its root (32 bytes).

    ``leaves`` are keys (1 to 512 bytes, a prefix-free set) in key order with the digests (32 bytes) of their rows.
    ``write`` gets what is to be stored under keys relative to the space of the tree, in batches; memory holds the way
    to one leaf and one batch. The result is what updates of an empty tree would give. AssertionError for keys that
    are not in order.
    """
    batch = _Batch(None, _Recent(lambda _key: None, 2), {})
    done: list[_Subtree] = []
    waiting: list[tuple[int, int]] = []
    last = b""

    def close_below(depth: int) -> None:
        while waiting and waiting[-1][0] > depth:
            closed, first = waiting.pop()
            branch = batch.close(done[-1][0][:closed], done[first:])
            del done[first:]
            done.append(branch)

    for key, digest in leaves:
        assert 0 < len(key) <= KEY_SIZE_BYTES_MAX, f"a key of {len(key)} bytes"
        path = key.hex().encode()
        if done:
            assert last < path, f"{path!r} does not follow {last!r}"
            depth = _common(last, path)
            close_below(depth)
            if not waiting or waiting[-1][0] < depth:
                waiting.append((depth, len(done) - 1))
        done.append((path, leaf_hash(key, digest), _LEAF))
        last = path
        if len(batch.writes) >= BUILD_BATCH_NODES:
            write(batch.writes.items())
            batch.writes = {}
    close_below(-1)
    top = done[0] if done else None
    if top is not None:
        batch.writes[TOP_KEY] = _top_value(top)
    write(batch.writes.items())
    return _root_of(top)
