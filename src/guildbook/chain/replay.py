"""Replay and check: the whole ledger recomputed from genesis and its blocks, and held against what a store has.

Everything in a store follows from the genesis document and the blocks. ``replay`` runs them again into a scratch
store; ``compare`` then walks both stores in key order, so that a byte that differs anywhere is found and named.
``check_chain`` holds each block against the one before it and against its commit, as an outsider would.
"""

from collections.abc import Callable, Iterator

import msgspec

from guildbook.chain.block import build_block
from guildbook.chain.genesis import read_genesis
from guildbook.chain.head import GENESIS_KEY
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.transition import BlockInput
from guildbook.primitives.cometbft import (
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
    try:
        for height in range(1, view.head.height + 1):
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
            identity = block_id(header, data)
            if previous is not None and header.last_block_id != previous:
                yield Finding(f"block {height}", "it does not follow the block before it")
            verify_commit(view.network, validators, height, identity, commit)
            previous = identity
            progress(height, view.head.height)
        if previous is not None and previous != view.head.block_id:
            yield Finding("head", "it names another block than the last one")
    except GuildbookError as error:
        yield Finding(f"block {height}", str(error))


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
    last_commit = None
    last = source.head.height if until is None else min(until, source.head.height)
    for height in range(1, last + 1):
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
        validators = genesis.validator_set
        proposers = [one for one in validators.validators if one.address == header.proposer_address]
        if not proposers:
            yield Finding(f"block {height}", "its proposer is no validator")
            return
        built = build_block(
            genesis.network, ledger.head, last_commit, validators, proposers[0], header.time_ns, block.txs
        )
        if header_hash(built.header) != header_hash(header) or built.data != data:
            yield Finding(f"block {height}", "it is not the block that follows from the ledger before it")
            return
        result = ledger.apply(BlockInput(height, header.time_ns, block.txs))
        ledger.commit(
            result,
            built.id,
            header.app_hash,
            [
                (layout.height_key(layout.BLOCKS, height), data),
                (layout.height_key(layout.COMMITS, height), encode_commit(commit)),
            ],
        )
        last_commit = commit
        progress(height, last)
    if until is None and ledger.head != source.head:
        yield Finding(
            "head",
            f"replay ends with state root {ledger.head.state_root.hex()}, and the store says "
            f"{source.head.state_root.hex()}",
        )


def compare(store: Reader, replayed: Reader) -> Iterator[Finding]:
    """Walk both stores in key order and report every pair that is missing, surplus or different."""
    count = 0
    left, right = store.scan(b"", None), replayed.scan(b"", None)
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
        key[:1] in (layout.BLOCKS, layout.COMMITS, layout.CHANGES, layout.VALIDATORS, layout.ROOTS)
        and len(rest) == 8
    ):
        return f"{space} {int.from_bytes(rest, 'big')}"
    if key[:1] in (layout.ROWS, layout.INDEXES):
        table, _zero, tail = rest.partition(b"\0")
        return f"{space} {table.decode('utf-8', 'replace')} {tail.hex()}"
    return f"{space} {rest.decode() if key[:1] == layout.META else rest.hex()}"
