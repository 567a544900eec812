"""Replay and check: the whole ledger recomputed from genesis and its blocks, and held against what a store has.

Everything in a store follows from the genesis document and the blocks. ``replay`` runs them again into a scratch
store; ``compare`` then walks both stores in key order, so that a byte that differs anywhere is found and named.
``check_chain`` holds each block against the one before it and against its commit, as an outsider would.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from guildbook.chain.block import build_block
from guildbook.chain.genesis import read_genesis
from guildbook.chain.head import GENESIS_KEY, Head
from guildbook.chain.keeping import NO_PARTS, decided
from guildbook.chain.ledger import Ledger, View, validators_at
from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.chain.transition import BlockInput
from guildbook.primitives.cometbft import (
    Block,
    BlockID,
    Commit,
    block_id,
    check_block,
    encode_commit,
    header_hash,
    validator_set_hash,
    verify_commit,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.registry import Registry
from guildbook.state import layout
from guildbook.state.kv import KeyValueStore, Reader

FINDINGS_MAX = 100
SPACE_NAMES = {
    layout.ROWS: "row",
    layout.INDEXES: "index entry",
    layout.TREE: "tree node",
    layout.LOG: "log tile",
    layout.ENTRIES: "log entries",
    layout.BLOCKS: "block",
    layout.COMMITS: "commit",
    layout.CHANGES: "change feed",
    layout.TRANSACTIONS: "transaction location",
    layout.VALIDATORS: "validator set",
    layout.ROOTS: "roots",
    layout.DECIDED: "block that is not kept in full yet",
    layout.META: "head",
}

Progress = Callable[[int, int], None]


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong in a store: where, and what."""

    where: str
    what: str


def no_progress(_done: int, _total: int) -> None:
    """A progress report that nobody reads."""


def check_chain(view: View, progress: Progress = no_progress) -> Iterator[Finding]:
    """Hold every block against its predecessor, its validators and its commit."""
    previous = None
    height = 0
    kept = view.kept_height
    try:
        for height in range(max(1, view.kept_from), kept + 1):
            block, commit, data = view.block(height), view.commit(height), view.block_bytes(height)
            if block is None or commit is None or data is None:
                yield Finding(f"block {height}", "it is missing, or its commit is")
                return
            header, validators = block.header, view.validators(height)
            check_block(block)
            if header.height != height or header.chain_id != view.network:
                yield Finding(
                    f"block {height}", f"its header is of block {header.height} of {header.chain_id}"
                )
            if header.validators_hash != validator_set_hash(validators):
                yield Finding(f"block {height}", "its validators are not the ledger's")
            if header.next_validators_hash != validator_set_hash(view.validators(height + 1)):
                yield Finding(f"block {height}", "the next validators that it names are not the ledger's")
            identity = block_id(header, data)
            if previous is not None and header.last_block_id != previous:
                yield Finding(f"block {height}", "it does not follow the block before it")
            verify_commit(view.network, validators, height, identity, commit)
            previous = identity
            progress(height, view.head.height)
        for height in range(max(kept + 1, view.kept_from), view.head.height + 1):
            run = decided(view, height)
            if run is None:
                yield Finding(f"block {height}", "it is missing, or its commit is")
                return
            previous = run.block_id
        if previous is not None and not _names(view.head, previous):
            yield Finding("head", "it names another block than the last one")
    except GuildbookError as error:
        yield Finding(f"block {height}", str(error))


def _names(head: Head, identity: BlockID) -> bool:
    """Whether ``head`` names this block: by its whole id, or by its hash where it knows no parts."""
    return head.block_id == identity if head.parts_total else head.block_hash == identity.hash


def replay(
    source: View,
    scratch: KeyValueStore,
    registry: Registry,
    *,
    until: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[Finding]:
    """Run the blocks of ``source`` again into the empty ``scratch`` and report where the results part.

    Stops at the first block whose application hash differs from what the next header states.
    """
    genesis = read_genesis(source.reader.get(GENESIS_KEY) or b"")
    ledger = Ledger.create(scratch, genesis, registry)
    ordered_here = bool(source.head.parts_total) or not source.head.height
    previous: tuple[BlockID, Commit] | None = None
    last = source.head.height if until is None else min(until, source.head.height)
    for height in range(1, last + 1):
        run = None if ordered_here else decided(source, height)
        if run is not None:
            header_app_hash = ledger.head.app_hash
            ledger.commit(ledger.apply(run.input), run.block_id, header_app_hash, [run.write()])
            progress(height, last)
            continue
        block, commit, data = source.block(height), source.commit(height), source.block_bytes(height)
        if block is None or commit is None or data is None:
            yield Finding(f"block {height}", "it is missing, or its commit is")
            return
        header = block.header
        if header.app_hash != ledger.head.app_hash:
            yield Finding(
                f"block {height - 1}",
                f"replay gives application hash {ledger.head.app_hash.hex()}, and header "
                f"{height} states {header.app_hash.hex()}",
            )
            return
        found = (
            _built_again(ledger, block, data, previous)
            if ordered_here
            else _agreed(ledger, block, commit, data, previous)
        )
        if isinstance(found, Finding):
            yield found
            return
        result = ledger.apply(
            BlockInput(height, header.time_ns, block.txs, misbehaviour_of(block.evidence))
        )
        ledger.commit(
            result,
            found if ordered_here else BlockID(found.hash, NO_PARTS),
            header.app_hash,
            [
                (layout.height_key(layout.BLOCKS, height), data),
                (layout.height_key(layout.COMMITS, height), encode_commit(commit)),
            ],
        )
        previous = found, commit
        progress(height, last)
    if until is None and ledger.head != source.head:
        yield Finding(
            "head",
            f"replay ends with state root {ledger.head.state_root.hex()}, and the store says "
            f"{source.head.state_root.hex()}",
        )


def _built_again(
    ledger: Ledger, block: Block, data: bytes, previous: tuple[BlockID, Commit] | None
) -> BlockID | Finding:
    """The id of a block that the solo engine cut, made again from the ledger before it."""
    header, genesis = block.header, ledger.genesis
    validators = genesis.validator_set
    proposers = [one for one in validators.validators if one.address == header.proposer_address]
    if not proposers:
        return Finding(f"block {header.height}", "its proposer is no validator")
    last_commit = None if previous is None else previous[1]
    built = build_block(
        genesis.network, ledger.head, last_commit, validators, proposers[0], header.time_ns, block.txs
    )
    if header_hash(built.header) != header_hash(header) or built.data != data:
        return Finding(f"block {header.height}", "it is not the block that follows from the ledger before it")
    return built.id


def _agreed(
    ledger: Ledger, block: Block, commit: Commit, data: bytes, previous: tuple[BlockID, Commit] | None
) -> BlockID | Finding:
    """The id of a block that its validators agreed on; nobody else could have made it, so it is held against theirs."""
    header = block.header
    where = f"block {header.height}"
    validators = validators_at(ledger.store, header.height)
    identity = block_id(header, data)
    try:
        check_block(block)
        verify_commit(ledger.genesis.network, validators, header.height, identity, commit)
    except GuildbookError as error:
        return Finding(where, str(error))
    if header.chain_id != ledger.genesis.network or header.validators_hash != validator_set_hash(validators):
        return Finding(where, "it is of another network, or of other validators")
    following = validators_at(ledger.store, header.height + 1)
    if header.next_validators_hash != validator_set_hash(following):
        return Finding(where, "the next validators that it names are not the ledger's")
    if header.last_results_hash != ledger.head.results_hash:
        return Finding(where, "it states other results than the block before it gives")
    if previous is not None and header.last_block_id != previous[0]:
        return Finding(where, "it does not follow the block before it")
    return identity


def compare(store: Reader, replayed: Reader) -> Iterator[Finding]:
    """Walk both stores in key order and report every pair that is missing, surplus or different."""
    return _differences(store.scan(b"", None), replayed.scan(b"", None))


def compare_spaces(store: Reader, rebuilt: Reader, spaces: Sequence[bytes]) -> Iterator[Finding]:
    """As ``compare``, for some key spaces alone."""
    for space in spaces:
        end = bytes((space[0] + 1,))
        yield from _differences(store.scan(space, end), rebuilt.scan(space, end))


def _differences(
    left: Iterator[tuple[bytes, bytes]], right: Iterator[tuple[bytes, bytes]]
) -> Iterator[Finding]:
    count = 0
    mine, theirs = next(left, None), next(right, None)
    while (mine is not None or theirs is not None) and count < FINDINGS_MAX:
        if theirs is None or (mine is not None and mine[0] < theirs[0]):
            assert mine is not None
            yield Finding(_place(mine[0]), "it does not follow from the blocks")
            mine = next(left, None)
        elif mine is None or theirs[0] < mine[0]:
            yield Finding(_place(theirs[0]), "it is missing")
            theirs = next(right, None)
        else:
            if mine[1] != theirs[1]:
                yield Finding(_place(mine[0]), f"it is {_short(mine[1])} and should be {_short(theirs[1])}")
                count += 1
            mine, theirs = next(left, None), next(right, None)
            continue
        count += 1


def _short(value: bytes) -> str:
    return value.hex() if len(value) <= 24 else f"{value[:24].hex()}... ({len(value)} bytes)"


def _place(key: bytes) -> str:
    space = SPACE_NAMES.get(key[:1], "unknown space")
    rest = key[1:]
    if (
        key[:1] in (layout.BLOCKS, layout.COMMITS, layout.CHANGES, layout.VALIDATORS, layout.ROOTS, layout.DECIDED)
        and len(rest) == 8
    ):
        return f"{space} {int.from_bytes(rest, 'big')}"
    if key[:1] in (layout.ROWS, layout.INDEXES):
        table, _zero, tail = rest.partition(b"\0")
        return f"{space} {table.decode('utf-8', 'replace')} {tail.hex()}"
    return f"{space} {rest.decode() if key[:1] == layout.META else rest.hex()}"
